//! The counting server as a process of its own, and its file.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::support;

/// A running ledger.
pub struct Ledger {
    child: Child,
    file: PathBuf,
    pub port: u16,
    /// Each path as it is counted, long before its answer is sent.
    pub arrivals: Receiver<String>,
}

/// What was counted: for each path the keys, in order of arrival.
pub type Counted = BTreeMap<String, Vec<String>>;

/// When each path was counted, in milliseconds of the machine's clock, in order of arrival.
pub type Moments = BTreeMap<String, Vec<i64>>;

impl Ledger {
    /// Starts it; it answers after at most `delay_ms_max`.
    pub fn start(folder: &Path, delay_ms_max: u64) -> Self {
        let file = folder.join("ledger.txt");
        let mut child = Command::new("python3")
            .arg(support::root().join("tests/data/ledger.py"))
            .arg(&file)
            .arg(delay_ms_max.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let port = lines.next().and_then(|line| line.parse().ok()).expect("a port");
        let (sender, arrivals) = channel();
        // Ends with the ledger, or when nobody listens any more.
        std::thread::spawn(move || lines.try_for_each(|line| sender.send(line)));
        Self { child, file, port, arrivals }
    }

    /// The base of its URLs.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Everything counted so far.
    pub fn counted(&self) -> Counted {
        let mut counted = Counted::new();
        for [key, path, _] in self.lines() {
            counted.entry(path).or_default().push(key);
        }
        counted
    }

    /// When it was.
    pub fn moments(&self) -> Moments {
        let mut moments = Moments::new();
        for [_, path, at] in self.lines() {
            moments.entry(path).or_default().push(at.parse().expect("milliseconds"));
        }
        moments
    }

    fn lines(&self) -> Vec<[String; 3]> {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        let parts = |line: &str| {
            let parts: Vec<String> = line.split(' ').map(str::to_owned).collect();
            parts.try_into().expect("a key, a path and a moment")
        };
        text.lines().map(parts).collect()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
