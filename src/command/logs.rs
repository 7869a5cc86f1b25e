//! `chainbot logs`: the server's log, or a run's journal, as readable lines.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use chainbot_core::model::RunView;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::run::with_way_out;
use crate::args::Logs;
use crate::client::{Client, PAGE, segment};
use crate::error::{Error, Result, code};
use crate::folder::Folder;
use crate::output::{self, Stream, Tone, printable};
use crate::session::{Session, elsewhere};

/// Between two looks at a log or journal that is followed.
const LOOK: Duration = Duration::from_millis(250);
/// The end of a log that is searched for its last lines.
const TAIL_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// A line that is longer is shown in parts: the host cuts its own far below.
const LINE_BYTES_MAX: u64 = 1024 * 1024;
/// A value in a line of a journal; `--json` shows it whole.
const VALUE_CHARS_MAX: usize = 200;

/// Shows the log or the journal.
pub async fn run(args: &Logs) -> Result<u8> {
    match &args.id {
        Some(id) => journal(args, id).await?,
        None => match elsewhere(&args.place)? {
            Some(client) => remote_log(args, &client).await?,
            None => log(args).await?,
        },
    }
    Ok(0)
}

async fn log(args: &Logs) -> Result<()> {
    let folder = Folder::choose(&args.place)?;
    let path = folder.log();
    for line in tail(&path, args.lines)? {
        print(&line, args.json.json)?;
    }
    if !args.follow {
        return Ok(());
    }
    let mut reader = open(&path)?;
    reader.seek(SeekFrom::End(0)).map_err(|error| unreadable(&path, &error))?;
    let mut part = String::new();
    loop {
        let count = (&mut reader)
            .take(LINE_BYTES_MAX)
            .read_line(&mut part)
            .map_err(|error| unreadable(&path, &error))?;
        if part.ends_with('\n') || part.len() as u64 >= LINE_BYTES_MAX {
            print(part.trim_end(), args.json.json)?;
            part.clear();
        } else if count == 0 {
            sleep(LOOK).await;
            if let Some(fresh) = replaced(&path, &mut reader)? {
                reader = fresh;
                part.clear();
            }
        }
    }
}

/// The log of a server elsewhere: the lines that its API keeps, since its start.
async fn remote_log(args: &Logs, client: &Client) -> Result<()> {
    let first = format!("/logs?count={}", args.lines.clamp(1, PAGE));
    let mut lines: Vec<Value> = client.get(&first).await?;
    if args.lines == 0 {
        lines.clear();
    }
    let mut seen = 0;
    loop {
        for line in &lines {
            seen = line["seq"].as_u64().unwrap_or(seen);
            print(&line.to_string(), args.json.json)?;
        }
        if !args.follow {
            return Ok(());
        }
        sleep(LOOK).await;
        lines = client.get(&format!("/logs?since={seen}")).await?;
    }
}

/// A reader of the new file, when the log was put aside or cut.
fn replaced(path: &Path, reader: &mut BufReader<File>) -> Result<Option<BufReader<File>>> {
    let Ok(now) = std::fs::metadata(path) else { return Ok(None) };
    let at = reader.stream_position().map_err(|error| unreadable(path, &error))?;
    let open_file = reader.get_ref().metadata().map_err(|error| unreadable(path, &error))?;
    if now.ino() == open_file.ino() && now.len() >= at { Ok(None) } else { open(path).map(Some) }
}

fn print(line: &str, as_json: bool) -> Result<()> {
    if !as_json {
        return output::line(&readable(line));
    }
    // What did not come from the log, such as a panic's text, becomes an object as well.
    match serde_json::from_str::<Value>(line) {
        Ok(value @ Value::Object(_)) => output::json_line(&value),
        _ => output::json_line(&json!({ "message": line })),
    }
}

/// The last lines of a log.
pub fn tail(path: &Path, count: usize) -> Result<Vec<String>> {
    let mut reader = open(path)?;
    let failed = |error: std::io::Error| unreadable(path, &error);
    let length = reader.seek(SeekFrom::End(0)).map_err(failed)?;
    let from = length.saturating_sub(TAIL_BYTES_MAX);
    reader.seek(SeekFrom::Start(from)).map_err(failed)?;
    let mut bytes = Vec::new();
    reader.take(TAIL_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: VecDeque<&str> = VecDeque::new();
    // The first line after a jump is only the end of one.
    for line in text.lines().skip(usize::from(from > 0)) {
        lines.push_back(line);
        if lines.len() > count {
            lines.pop_front();
        }
    }
    Ok(lines.into_iter().map(str::to_owned).collect())
}

fn open(path: &Path) -> Result<BufReader<File>> {
    File::open(path).map(BufReader::new).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let failure = Error::new(&code::FOLDER, format!("the log {} cannot be read: {error}", path.display()));
    failure.help("a server that `chainbot start` has started writes it; others log where their host does")
}

/// A line of the host's log for people; other text as it is.
pub fn readable(line: &str) -> String {
    let Ok(Value::Object(entry)) = serde_json::from_str::<Value>(line) else { return printable(line) };
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
    let level = text("level").to_ascii_uppercase();
    let tone = match level.as_str() {
        "ERROR" => Tone::Bad,
        "WARN" => Tone::Warn,
        _ => Tone::Faint,
    };
    let level = Stream::Stdout.paint(tone, &format!("{level:<5}"));
    let mut out = format!("{} {level} {}: {}", text("time"), text("target"), printable(text("message")));
    for (name, value) in entry.get("fields").and_then(Value::as_object).into_iter().flatten() {
        out.push_str(&format!(" {}={}", printable(name), shown(value)));
    }
    out
}

async fn journal(args: &Logs, id: &str) -> Result<()> {
    let session = Session::open(&args.place, "chainbot logs").await?;
    let shown = records(args, id, &session).await.map_err(with_way_out);
    let closed = session.close().await;
    shown.and(closed)
}

async fn records(args: &Logs, id: &str, session: &Session) -> Result<()> {
    let path = format!("/runs/{}", segment(id));
    let journal = format!("{path}/journal");
    let mut cursor: Option<String> = None;
    loop {
        // The state first: records that come after it is final do not exist.
        let is_over = session.client.get::<RunView>(&path).await?.status.is_terminal();
        loop {
            let (page, _) = session.client.list_after::<Value>(&journal, cursor.clone(), PAGE).await?;
            let Some(seq) = page.last().and_then(|record| record["seq"].as_u64()) else { break };
            cursor = Some(seq.to_string());
            for record in &page {
                if args.json.json {
                    output::json_line(record)?;
                } else {
                    output::line(&described(record))?;
                }
            }
        }
        if is_over || !args.follow {
            return Ok(());
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            error = session.client.failed() => return Err(error),
        }
    }
}

/// A record of a journal on one line: time, number, what, where, and its particulars.
fn described(record: &Value) -> String {
    const HEAD: [&str; 8] = ["time", "seq", "type", "step", "path", "run", "lsn", "attempt"];
    let text = |name: &str| record[name].as_str().unwrap_or_default();
    let indexes = record["path"].as_array().into_iter().flatten();
    let path: String = indexes.map(|index| format!("[{index}]")).collect();
    let place = printable(&format!("{}{path}", text("step")));
    let mut out = format!("{}  {:>5}  {:<22} {place}", text("time"), record["seq"].to_string(), text("type"));
    if let Some(attempt) = record["attempt"].as_u64().filter(|attempt| *attempt > 1) {
        out.push_str(&format!(" try {attempt}"));
    }
    for (name, value) in record.as_object().into_iter().flatten() {
        if HEAD.contains(&name.as_str()) {
            continue;
        }
        let error = (name == "error").then(|| value.as_object()).flatten();
        match error {
            Some(error) => {
                let part = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
                let message = printable(part("message"));
                out.push_str(&format!("  {} {}: {message}", part("code"), part("class")));
            }
            None => out.push_str(&format!("  {name}={}", shown(value))),
        }
    }
    out.trim_end().to_owned()
}

/// A value within a line: plain words as they are, anything else as JSON, cut where it is long.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) if !text.is_empty() && !text.contains([' ', '"', '=', '\n']) => text.clone(),
        other => other.to_string(),
    };
    let short: String = text.chars().take(VALUE_CHARS_MAX).collect();
    printable(&if short.len() < text.len() { short + "…" } else { short })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_readable_line() {
        let record = json!({
            "type": "step.attempt_failed", "run": "r", "seq": 7, "lsn": 9, "time": "2026-01-01T00:00:00.000Z",
            "step": "fetch", "path": [2], "attempt": 2, "due": "2026-01-01T00:00:05.000Z",
            "error": { "class": "timeout", "code": "CB-0310", "message": "too slow" },
        });
        let expected = "2026-01-01T00:00:00.000Z      7  step.attempt_failed    fetch[2] try 2  \
                        due=2026-01-01T00:00:05.000Z  CB-0310 timeout: too slow";
        assert_eq!(described(&record), expected);
        let done =
            json!({ "type": "run.completed", "seq": 8, "time": "t", "output": { "text": "x".repeat(999) } });
        assert!(described(&done).chars().count() < 260);
    }

    #[test]
    fn a_line_of_the_log_is_readable_and_anything_else_stays() {
        let line =
            r#"{"time":"t","level":"warn","target":"host","message":"a\u001bb","fields":{"n":1,"s":"a b"}}"#;
        assert_eq!(readable(line), "t WARN  host: a\\u{1b}b n=1 s=\"a b\"");
        assert_eq!(readable("thread 'main' panicked"), "thread 'main' panicked");
    }

    #[test]
    fn the_tail_is_the_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "a\nb\nc\n").unwrap();
        assert_eq!(tail(&path, 2).unwrap(), ["b", "c"]);
        assert_eq!(tail(&path, 9).unwrap(), ["a", "b", "c"]);
        assert!(tail(&path, 0).unwrap().is_empty());
        assert_eq!(tail(&dir.path().join("none"), 1).unwrap_err().code(), "CB-0910");
    }
}
