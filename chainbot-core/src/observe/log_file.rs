//! The log as a file: a line each, readable by its owner alone, turned over by size, so many kept.
//!
//! Lines come settled ([`super::Lines`]), which is where secrets are taken out; there is no other way in. A thread writes, so that
//! whoever logs waits for no disk: what comes faster than it is written is left out and counted in the file. A disk that refuses is
//! told once, and tried again with the next lines.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::lines::Line;
use crate::error::code::general;
use crate::error::{Error, Result};
use crate::limits::LOG_LINES_MAX;

/// Where it lies and how much of it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFileOptions {
    /// The file; older ones are beside it as `.1`, `.2` and so on, the newest first.
    pub path: PathBuf,
    /// Bytes after which it is turned over.
    pub bytes_max: u64,
    /// Older ones that are kept.
    pub kept: usize,
}

/// The file, open until it is closed.
pub struct LogFile {
    lines: Mutex<Option<SyncSender<Line>>>,
    lost: Arc<AtomicU64>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Writer {
    options: LogFileOptions,
    file: File,
    bytes: u64,
    lost: Arc<AtomicU64>,
    has_failed: bool,
}

impl LogFile {
    /// Opens it, or says why it cannot be written.
    pub fn open(options: LogFileOptions) -> Result<Arc<Self>> {
        let refused = |error: std::io::Error| {
            Error::new(&general::LOG_FILE, format!("the log cannot be written to {}", options.path.display()))
                .help("give `logging.file` a place that this account may write to, or leave it out")
                .because(error)
        };
        let (file, bytes) = open(&options.path).map_err(refused)?;
        let lost = Arc::<AtomicU64>::default();
        let writer = Writer { options: options.clone(), file, bytes, lost: lost.clone(), has_failed: false };
        let (sender, receiver) = sync_channel(LOG_LINES_MAX);
        let thread = std::thread::Builder::new()
            .name("cb-log".to_owned())
            .spawn(move || writer.run(&receiver))
            .map_err(|error| Error::new(&general::INTERNAL, "no thread for the log").because(error))?;
        Ok(Arc::new(Self { lines: Mutex::new(Some(sender)), lost, thread: Mutex::new(Some(thread)) }))
    }

    /// Takes a line. Waits for nothing.
    pub(super) fn put(&self, line: &Line) {
        let lines = self.lines.lock();
        if let Some(Err(TrySendError::Full(_))) = lines.as_ref().map(|lines| lines.try_send(line.clone())) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what came, and ends. Blocks.
    pub fn close(&self) {
        drop(self.lines.lock().take());
        if let Some(thread) = self.thread.lock().take() {
            // It contains nothing that panics; the log is over either way.
            let _ = thread.join();
        }
    }
}

impl Writer {
    fn run(mut self, lines: &Receiver<Line>) {
        while let Ok(line) = lines.recv() {
            let lost = self.lost.swap(0, Ordering::Relaxed);
            let mut text = shown(&line);
            if lost > 0 {
                text.push_str(&format!("{} WARN chainbot::log {lost} lines came too fast\n", line.at));
            }
            match self.write(&text) {
                Ok(()) => self.has_failed = false,
                // Told once: the word itself comes here again.
                Err(error) if !std::mem::replace(&mut self.has_failed, true) => {
                    log::warn!("the log cannot be written to {}: {error}", self.options.path.display());
                }
                Err(_) => {}
            }
        }
    }

    fn write(&mut self, text: &str) -> std::io::Result<()> {
        if self.bytes > 0 && self.bytes + text.len() as u64 > self.options.bytes_max {
            self.turn_over()?;
        }
        // Whole lines, so that a cut leaves at most one half.
        self.file.write_all(text.as_bytes())?;
        self.bytes += text.len() as u64;
        Ok(())
    }

    fn turn_over(&mut self) -> std::io::Result<()> {
        let path = &self.options.path;
        for number in (1..self.options.kept).rev() {
            let from = numbered(path, number);
            if from.exists() {
                std::fs::rename(from, numbered(path, number + 1))?;
            }
        }
        std::fs::rename(path, numbered(path, 1))?;
        (self.file, self.bytes) = open(path)?;
        Ok(())
    }
}

fn open(path: &Path) -> std::io::Result<(File, u64)> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    // One that was there before may have been readable by others.
    if about.permissions().mode() & 0o077 != 0 {
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    Ok((file, about.len()))
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// One line, whatever is in it: what came from outside must not look like a line of its own.
fn shown(line: &Line) -> String {
    let text: String = line.text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    format!("{} {} {} {text}\n", line.at, line.level, line.target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Env;
    use crate::observe::Lines;

    fn options(folder: &Path, bytes_max: u64) -> LogFileOptions {
        LogFileOptions { path: folder.join("chainbot.log"), bytes_max, kept: 2 }
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn lines_come_without_secrets_and_one_by_one_into_a_file_of_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path(), 1 << 20);
        std::fs::write(&options.path, "before\n").unwrap();
        std::fs::set_permissions(&options.path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let file = LogFile::open(options.clone()).unwrap();
        let lines = Lines::open(Env::system());
        lines.write_to(file.clone());
        lines.put(log::Level::Info, "chainbot::http", "the key is hunter22 here\nFAKE line");
        lines.settle(|text| text.contains("hunter22").then(|| text.replace("hunter22", "***")));
        file.close();
        let text = std::fs::read_to_string(&options.path).unwrap();
        let written: Vec<&str> = text.lines().collect();
        assert_eq!((written.len(), written[0]), (2, "before"));
        assert!(written[1].ends_with("INFO chainbot::http the key is *** here\u{fffd}FAKE line"), "{text}");
        assert_eq!(mode(&options.path), 0o600);
        // After the end nothing comes, and nothing breaks.
        lines.put(log::Level::Info, "chainbot", "late");
        lines.settle(|_| None);
        assert_eq!(std::fs::read_to_string(&options.path).unwrap(), text);
    }

    #[test]
    fn a_file_is_turned_over_by_size_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path(), 300);
        let file = LogFile::open(options.clone()).unwrap();
        let lines = Lines::open(Env::system());
        lines.write_to(file.clone());
        for number in 0..40 {
            lines.put(log::Level::Info, "chainbot", &format!("line number {number:04}"));
            lines.settle(|_| None);
        }
        file.close();
        let mut found: Vec<String> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("chainbot.log"))
            .collect();
        found.sort();
        assert_eq!(found, ["chainbot.log", "chainbot.log.1", "chainbot.log.2"]);
        let mut numbers = Vec::new();
        for name in found.iter().rev() {
            let path = folder.path().join(name);
            assert!(std::fs::metadata(&path).unwrap().len() <= 300, "{name}");
            assert_eq!(mode(&path), 0o600);
            let text = std::fs::read_to_string(path).unwrap();
            // Others of this process may log meanwhile.
            numbers.extend(
                text.lines().filter_map(|line| line.split_once("line number ")?.1.parse::<u32>().ok()),
            );
        }
        assert_eq!(numbers.last(), Some(&39));
        assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]) && numbers[0] > 0, "{numbers:?}");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_refused_with_the_key_to_change() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("none/chainbot.log")] {
            let error = LogFile::open(LogFileOptions { path, ..options(folder.path(), 300) }).err().unwrap();
            assert_eq!(error.code().id, "CB-0021");
            assert!(error.remedy().unwrap().contains("logging.file"));
        }
    }
}
