//! The newest lines of the log, held in memory for those who may read them.
//!
//! The program's logger hands every line to [`note`], which may be called under any lock and so only puts it aside. Secrets are taken
//! out when a line is taken up ([`Lines::settle`]), on another thread, and before anybody can read it. Lines are bounded
//! in length and number; what came too fast is counted.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, Weak};

use log::Level;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::log_file::LogFile;
use crate::env::Env;
use crate::limits::{LOG_LINE_BYTES_MAX, LOG_LINES_MAX};
use crate::time::Timestamp;

/// Who wants lines. The `log` crate has one logger for a program, so this is one list for it; a second instance gets the lines of
/// the first as well, as it does in the host's log.
static WANTED: RwLock<Vec<Weak<Lines>>> = RwLock::new(Vec::new());

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Counts up from 1.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// How important.
    pub level: Level,
    /// Which part of the program.
    pub target: String,
    /// What.
    pub text: String,
}

/// The newest lines.
pub struct Lines {
    env: Env,
    /// As they came; nobody reads here.
    raw: Mutex<Raw>,
    kept: Mutex<Kept>,
    came: Notify,
    /// Where they are written besides, where the operator wants that.
    file: OnceLock<Arc<LogFile>>,
}

#[derive(Default)]
struct Raw {
    lines: VecDeque<(Timestamp, Level, String, String)>,
    lost: u64,
}

#[derive(Default)]
struct Kept {
    lines: VecDeque<Line>,
    newest: u64,
}

/// Hands over a line of the log. Never logs and waits for nothing that does.
pub fn note(record: &log::Record<'_>) {
    // Whoever changes the list holds it for an instant and logs nothing meanwhile.
    for lines in WANTED.read().iter().filter_map(Weak::upgrade) {
        lines.put(record.level(), record.target(), &record.args().to_string());
    }
}

impl Lines {
    /// Takes lines from now on, for as long as it is held.
    pub fn open(env: Env) -> Arc<Self> {
        let lines = Arc::new(Self {
            env,
            raw: Mutex::default(),
            kept: Mutex::default(),
            came: Notify::new(),
            file: OnceLock::new(),
        });
        let mut wanted = WANTED.write();
        wanted.retain(|lines| lines.strong_count() > 0);
        wanted.push(Arc::downgrade(&lines));
        lines
    }

    /// Writes lines to a file as well, as they are settled. The first one counts.
    pub fn write_to(&self, file: Arc<LogFile>) {
        // A second one would be a mistake of the wiring, and harmless.
        let _ = self.file.set(file);
    }

    pub(super) fn put(&self, level: Level, target: &str, text: &str) {
        let mut end = text.len().min(LOG_LINE_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let mut raw = self.raw.lock();
        if raw.lines.len() >= LOG_LINES_MAX {
            raw.lines.pop_front();
            raw.lost += 1;
        }
        raw.lines.push_back((self.env.now(), level, target.to_owned(), text[..end].to_owned()));
        drop(raw);
        self.came.notify_one();
    }

    /// Waits until there are lines to settle.
    pub async fn came(&self) {
        self.came.notified().await;
    }

    /// Takes up what came, without secrets, and gives it.
    pub fn settle(&self, redact: impl Fn(&str) -> Option<String>) -> Vec<Line> {
        // Held throughout, so that two who settle keep the order.
        let mut kept = self.kept.lock();
        let raw = std::mem::take(&mut *self.raw.lock());
        let lost = (raw.lost > 0).then(|| {
            let at = raw.lines.front().map_or_else(|| self.env.now(), |line| line.0);
            (at, Level::Warn, "chainbot::log".to_owned(), format!("{} lines came too fast", raw.lost))
        });
        let mut settled = Vec::new();
        for (at, level, target, text) in lost.into_iter().chain(raw.lines) {
            kept.newest += 1;
            let text = redact(&text).unwrap_or(text);
            let line = Line { seq: kept.newest, at, level, target, text };
            if let Some(file) = self.file.get() {
                file.put(&line);
            }
            kept.lines.push_back(line.clone());
            if kept.lines.len() > LOG_LINES_MAX {
                kept.lines.pop_front();
            }
            settled.push(line);
        }
        settled
    }

    /// The newest settled lines that are wanted, oldest first.
    pub fn newest(&self, most: usize, is_wanted: impl Fn(&Line) -> bool) -> Vec<Line> {
        let kept = self.kept.lock();
        let mut found: Vec<Line> =
            kept.lines.iter().rev().filter(|line| is_wanted(line)).take(most).cloned().collect();
        found.reverse();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_in_order_and_without_secrets() {
        let lines = Lines::open(Env::system());
        lines.put(Level::Info, "chainbot::http", "the key is hunter22 here");
        lines.put(Level::Warn, "chainbot", &"ä".repeat(LOG_LINE_BYTES_MAX));
        let hide = |text: &str| text.contains("hunter22").then(|| text.replace("hunter22", "***"));
        let settled = lines.settle(hide);
        assert_eq!((settled[0].seq, settled[0].text.as_str()), (1, "the key is *** here"));
        assert!(settled[1].text.len() <= LOG_LINE_BYTES_MAX && settled[1].text.ends_with('ä'));
        assert!(lines.settle(hide).is_empty());
        for number in 0..LOG_LINES_MAX + 5 {
            lines.put(Level::Debug, "chainbot", &number.to_string());
        }
        let settled = lines.settle(hide);
        assert_eq!(settled[0].text, "5 lines came too fast");
        assert_eq!(settled.last().unwrap().text, (LOG_LINES_MAX + 4).to_string());
        let kept = lines.newest(usize::MAX, |_| true);
        assert_eq!(kept.len(), LOG_LINES_MAX);
        assert!(kept.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq));
        assert_eq!(lines.newest(2, |line| line.level == Level::Debug).len(), 2);
    }

    #[test]
    fn what_is_logged_is_taken_for_as_long_as_somebody_holds_it() {
        let lines = Lines::open(Env::system());
        let log = |text: &str| {
            note(
                &log::Record::builder()
                    .level(Level::Error)
                    .target("chainbot::x")
                    .args(format_args!("{text}"))
                    .build(),
            );
        };
        log("one");
        assert_eq!(lines.settle(|_| None)[0].target, "chainbot::x");
        drop(lines);
        log("two");
        let other = Lines::open(Env::system());
        assert!(other.settle(|_| None).is_empty());
    }
}
