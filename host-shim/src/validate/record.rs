//! What a check writes down while it runs: findings, and the call under way. On disk, because the process may die at
//! any moment; the parent reads it afterwards.
//!
//! | file | holds |
//! |---|---|
//! | `report` | a JSON object a line: a finding, or that the exercise ended |
//! | `call` | the latest call, overwritten in place |

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

/// The same finding comes again with every call; the first few say it all.
const FINDINGS_OF_A_CHECK_MAX: usize = 8;
/// Room for the latest call in its file.
const CALL_BYTES: usize = 1_024;

struct Record {
    report: File,
    call: File,
    seen: BTreeMap<&'static str, Vec<String>>,
}

/// A std mutex, held for a write; findings come from every thread of the module. Replaced at the start of an exercise.
static RECORD: Mutex<Option<Record>> = Mutex::new(None);
/// The report's descriptor for the handler of crashes, which may not lock.
static REPORT_FD: AtomicI32 = AtomicI32::new(-1);

/// Opens the files in `folder`.
pub fn open(folder: &Path) -> std::io::Result<()> {
    let report = File::options().create(true).append(true).open(folder.join("report"))?;
    let call = File::create(folder.join("call"))?;
    REPORT_FD.store(report.as_raw_fd(), Ordering::Relaxed);
    *RECORD.lock().unwrap_or_else(PoisonError::into_inner) =
        Some(Record { report, call, seen: BTreeMap::new() });
    Ok(())
}

/// The descriptor of the report, or -1.
pub fn report_fd() -> i32 {
    REPORT_FD.load(Ordering::Relaxed)
}

/// The check found the module wrong.
pub fn fail(check: &'static str, text: impl Into<String>) {
    finding("fail", check, text.into());
}

/// The check found what should be looked at.
pub fn warn(check: &'static str, text: impl Into<String>) {
    finding("warn", check, text.into());
}

/// The check could not be made.
pub fn skip(check: &'static str, reason: impl Into<String>) {
    finding("skip", check, reason.into());
}

/// From here on it is this check that a crash without an explanation belongs to.
pub fn at(check: &'static str) {
    write(&json!({"at": check}));
}

/// The exercise ran to its end.
pub fn end() {
    write(&json!({"end": true}));
}

/// Fails unless it holds.
pub fn expect(check: &'static str, holds: bool, text: impl FnOnce() -> String) -> bool {
    if !holds {
        fail(check, text());
    }
    holds
}

/// A call begins. Written before it is made, so that a crash can be told.
pub fn call(name: &str, detail: &str) {
    let mut line = vec![b' '; CALL_BYTES];
    let text: String = format!("{name} {detail}").chars().take(CALL_BYTES / 4).collect();
    line[..text.len()].copy_from_slice(text.as_bytes());
    let record = RECORD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(record) = &*record {
        // Without the line the check still judges; only a crash would tell less.
        let _ = record.call.write_all_at(&line, 0);
    }
}

fn finding(kind: &str, check: &'static str, text: String) {
    {
        let mut record = RECORD.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(record) = &mut *record else { return };
        let seen = record.seen.entry(check).or_default();
        if seen.len() >= FINDINGS_OF_A_CHECK_MAX || seen.contains(&text) {
            return;
        }
        seen.push(text.clone());
    }
    write(&json!({kind: check, "text": text}));
}

fn write(line: &Value) {
    let mut record = RECORD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(record) = &mut *record {
        // A report that cannot be written lacks its end, and the parent fails the exercise for that.
        let _ = record.report.write_all(format!("{line}\n").as_bytes());
    }
}

/// A line of the report, read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A finding: its kind, the check, the text.
    Finding(Kind, String, String),
    /// The check whose turn it is.
    At(String),
    /// The exercise ran to its end.
    End,
}

/// What a finding means for its check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Could not be made.
    Skip,
    /// To be looked at.
    Warn,
    /// Wrong.
    Fail,
}

/// Reads a report. A last line that was cut off by a crash is left out.
pub fn read(text: &str) -> Vec<Line> {
    let line = |line: &str| {
        let value: Value = serde_json::from_str(line).ok()?;
        if value.get("end").is_some() {
            return Some(Line::End);
        }
        if let Some(check) = value["at"].as_str() {
            return Some(Line::At(check.to_owned()));
        }
        [("fail", Kind::Fail), ("warn", Kind::Warn), ("skip", Kind::Skip)].iter().find_map(|(word, kind)| {
            let check = value.get(word)?.as_str()?.to_owned();
            Some(Line::Finding(*kind, check, value["text"].as_str().unwrap_or_default().to_owned()))
        })
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_cut_off_by_a_crash_is_read_up_to_there() {
        let text = "{\"fail\":\"a\",\"text\":\"x\"}\n{\"warn\":\"b\",\"text\":\"y\"}\n{\"fail\":\"c\",\"te";
        let expect = [(Kind::Fail, "a", "x"), (Kind::Warn, "b", "y")]
            .map(|(kind, check, text)| Line::Finding(kind, check.to_owned(), text.to_owned()));
        assert_eq!(read(text), expect);
        assert_eq!(read("{\"end\":true}\n"), [Line::End]);
    }
}
