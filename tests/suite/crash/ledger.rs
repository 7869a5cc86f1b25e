//! The counting server as a process of its own, and its file.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support;

/// A running ledger.
pub struct Ledger {
    child: Child,
    file: PathBuf,
    pub port: u16,
}

/// What was counted: for each path the keys, in order of arrival.
pub type Counted = BTreeMap<String, Vec<String>>;

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
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("the port");
        Self { child, file, port: line.trim().parse().expect("a port") }
    }

    /// The base of its URLs.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Everything counted so far.
    pub fn counted(&self) -> Counted {
        let mut counted = Counted::new();
        for line in std::fs::read_to_string(&self.file).unwrap_or_default().lines() {
            let (key, path) = line.split_once(' ').expect("a key and a path");
            counted.entry(path.to_owned()).or_default().push(key.to_owned());
        }
        counted
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
