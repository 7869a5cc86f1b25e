//! Log lines to stderr and notices to stdout, for people or as JSON.
//!
//! A module may log from any thread and must not block there, so lines go through one bounded queue to a writer
//! thread; when a terminal or pipe is too slow, lines are dropped and their number is printed. Control characters
//! are escaped, so that text from outside can neither forge a line nor steer a terminal.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use log::{Level, LevelFilter};
use serde_json::{Map, Value, json};

use crate::args::LogFormat;
use crate::error::{Error, Result, code};
use crate::limits::{LOG_FLUSH_MAX, LOG_LINES_MAX, LOG_MESSAGE_BYTES_MAX};

/// Where a line goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
}

/// How lines look.
#[derive(Clone, Copy)]
struct Style {
    format: LogFormat,
    /// On a terminal: colours, and the time of day instead of the full time.
    terminal: bool,
}

struct Logger {
    style: Style,
    /// A std mutex with a condition variable: the flush waits with a deadline. Never held while writing.
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<(Stream, String)>,
    dropped: u64,
    writing: bool,
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Starts the writer thread and becomes the process's logger. Called once, before anything logs.
pub fn start(format: LogFormat, level: LevelFilter) -> Result<()> {
    let fail = |why: String| Error::new(code::HOST_SETUP, format!("the log: {why}"));
    let style = Style { format, terminal: std::io::stderr().is_terminal() };
    let logger = LOGGER.get_or_init(|| Logger { style, queue: Mutex::default(), changed: Condvar::new() });
    // Nobody joins this thread: it lives as long as the process, and `flush` waits for its work.
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(|| logger.write_forever())
        .map_err(|error| fail(error.to_string()))?;
    log::set_logger(logger).map_err(|error| fail(error.to_string()))?;
    log::set_max_level(level);
    Ok(())
}

/// Waits until all lines are written, within `LOG_FLUSH_MAX`.
pub fn flush() {
    let Some(logger) = LOGGER.get() else { return };
    let busy = |queue: &mut Queue| queue.writing || !queue.lines.is_empty();
    // A pipe that nobody reads must not keep the process alive, so the result of the wait does not matter.
    let _ = logger.changed.wait_timeout_while(logger.lock(), LOG_FLUSH_MAX, busy);
}

/// A line for people on stdout: what the host is doing. `fields` are shown in JSON only.
pub fn notice(message: &str, fields: Value) {
    let Some(logger) = LOGGER.get() else { return };
    let line = match logger.style.format {
        LogFormat::Text => escaped(message),
        LogFormat::Json => json_line(Level::Info, "host-shim", message, Some(fields)),
    };
    logger.submit(Stream::Stdout, line);
}

/// A log line of the module. `fields` is a JSON object or empty.
pub fn module_line(level: Level, target: &str, message: &str, fields: &str) {
    if level > log::max_level() {
        return;
    }
    let fields = match fields {
        "" => None,
        text => Some(serde_json::from_str(cut(text).0).unwrap_or_else(|_| Value::String(text.to_owned()))),
    };
    if let Some(logger) = LOGGER.get() {
        logger.log_line(level, target, message, fields);
    }
}

impl Logger {
    fn log_line(&self, level: Level, target: &str, message: &str, fields: Option<Value>) {
        let (message, is_cut) = cut(message);
        let message = if is_cut { format!("{message}... (cut)") } else { message.to_owned() };
        let line = match self.style.format {
            LogFormat::Json => json_line(level, target, &message, fields),
            LogFormat::Text => text_line(self.style.terminal, level, target, &message, fields),
        };
        self.submit(Stream::Stderr, line);
    }

    fn submit(&self, stream: Stream, line: String) {
        let mut queue = self.lock();
        if queue.lines.len() >= LOG_LINES_MAX {
            queue.dropped += 1;
            return;
        }
        queue.lines.push_back((stream, line));
        drop(queue);
        self.changed.notify_all();
    }

    fn write_forever(&self) {
        loop {
            let mut queue = self
                .changed
                .wait_while(self.lock(), |queue| queue.lines.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            let lines = std::mem::take(&mut queue.lines);
            let dropped = std::mem::take(&mut queue.dropped);
            queue.writing = true;
            drop(queue);
            for (stream, line) in lines {
                write_line(stream, &line);
            }
            if dropped > 0 {
                let text = format!("{dropped} log lines were dropped: the reader of the log is too slow");
                self.log_line(Level::Warn, "host-shim", &text, None);
            }
            self.lock().writing = false;
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader that has gone away must not end a running module, so errors of writing are dropped.
fn write_line(stream: Stream, line: &str) {
    let bytes = format!("{line}\n");
    let _ = match stream {
        Stream::Stdout => {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes.as_bytes()).and_then(|()| out.flush())
        }
        Stream::Stderr => std::io::stderr().lock().write_all(bytes.as_bytes()),
    };
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let target = match record.target() {
            own if own.starts_with("host_shim") => "host-shim",
            other => other,
        };
        self.log_line(record.level(), target, &record.args().to_string(), None);
    }

    fn flush(&self) {
        flush();
    }
}

fn json_line(level: Level, target: &str, message: &str, fields: Option<Value>) -> String {
    let mut line = Map::new();
    line.insert("time".to_owned(), json!(format!("{:.3}", jiff::Timestamp::now())));
    line.insert("level".to_owned(), json!(level.as_str().to_ascii_lowercase()));
    line.insert("target".to_owned(), json!(target));
    line.insert("message".to_owned(), json!(message));
    if let Some(fields) = fields {
        line.insert("fields".to_owned(), fields);
    }
    Value::Object(line).to_string()
}

fn text_line(terminal: bool, level: Level, target: &str, message: &str, fields: Option<Value>) -> String {
    let (time, colour, plain) = if terminal {
        (jiff::Zoned::now().strftime("%H:%M:%S%.3f").to_string(), colour(level), "\x1b[0m")
    } else {
        (format!("{:.3}", jiff::Timestamp::now()), "", "")
    };
    let mut line = format!("{time} {colour}{level:<5}{plain} {}: {}", escaped(target), escaped(message));
    match fields {
        Some(Value::Object(fields)) => {
            for (key, value) in fields {
                let value = match value {
                    Value::String(text) if !text.is_empty() && !text.contains([' ', '"', '=']) => text,
                    other => other.to_string(),
                };
                line.push_str(&format!(" {}={}", escaped(&key), escaped(&value)));
            }
        }
        Some(other) => line.push_str(&format!(" fields={}", escaped(&other.to_string()))),
        None => {}
    }
    line
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::Error => "\x1b[31m",
        Level::Warn => "\x1b[33m",
        Level::Info => "\x1b[32m",
        Level::Debug => "\x1b[36m",
        Level::Trace => "\x1b[90m",
    }
}

/// The text with control characters written out, those of the C1 range included.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// The text up to the bound, at a character, and whether anything was cut.
fn cut(text: &str) -> (&str, bool) {
    if text.len() <= LOG_MESSAGE_BYTES_MAX {
        return (text, false);
    }
    (&text[..text.floor_char_boundary(LOG_MESSAGE_BYTES_MAX)], true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_lines_have_target_message_and_fields() {
        let line =
            text_line(false, Level::Warn, "chainbot::http", "slow", Some(json!({"ms": 12, "path": "a b"})));
        assert!(line.ends_with("WARN  chainbot::http: slow ms=12 path=\"a b\""), "{line}");
        assert!(!line.contains('\x1b'), "no colour without a terminal");
        assert!(text_line(true, Level::Warn, "t", "m", None).contains("\x1b[33mWARN"));
    }

    #[test]
    fn a_message_cannot_forge_a_line_or_steer_a_terminal() {
        let line = text_line(false, Level::Info, "t", "a\nb\x1b[2J\u{9b}c", None);
        assert!(line.ends_with("a\\nb\\u{1b}[2J\\u{9b}c"), "{line}");
    }

    #[test]
    fn json_lines_are_json_with_a_time() {
        let line: Value =
            serde_json::from_str(&json_line(Level::Error, "t", "a\n\"b\"", Some(json!({"k": 1})))).unwrap();
        assert_eq!(
            (&line["level"], &line["message"], &line["fields"]["k"]),
            (&json!("error"), &json!("a\n\"b\""), &json!(1))
        );
        assert!(line["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let text = "ä".repeat(LOG_MESSAGE_BYTES_MAX);
        assert_eq!(cut(&text), (&text[..LOG_MESSAGE_BYTES_MAX], true));
        assert_eq!(cut("short"), ("short", false));
    }
}
