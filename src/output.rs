//! The only place that prints. Results go to stdout, everything said about them to stderr.
//!
//! A closed pipe is [`Error::Closed`] and ends the program quietly. Colours are for terminals only and obey
//! `NO_COLOR`. Text that came from elsewhere is shown with its control characters escaped, so that no name or
//! message can steer the terminal.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::{Error, Finding, Result, code};
use crate::snippet;

/// Colours by meaning.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Ended well.
    Good,
    /// Ended badly.
    Bad,
    /// Needs attention.
    Warn,
    /// Less important.
    Faint,
    /// More important.
    Strong,
}

/// One of the two streams.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Results.
    Stdout,
    /// What is said about them.
    Stderr,
}

impl Stream {
    /// Whether somebody looks at it.
    pub fn is_terminal(self) -> bool {
        match self {
            Stream::Stdout => std::io::stdout().is_terminal(),
            Stream::Stderr => std::io::stderr().is_terminal(),
        }
    }

    /// Whether to colour what goes there.
    pub fn is_coloured(self) -> bool {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        !refused && !dumb && self.is_terminal()
    }

    /// `text` in a tone, where colours are shown.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        if !self.is_coloured() {
            return text.to_owned();
        }
        let number = match tone {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Warn => "33",
            Tone::Faint => "2",
            Tone::Strong => "1",
        };
        format!("\x1b[{number}m{text}\x1b[0m")
    }
}

/// Prints a result as it is, and a line end.
pub fn line(text: &str) -> Result<()> {
    raw(&format!("{text}\n"))
}

/// Prints a result as it is.
pub fn raw(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Error::Closed,
        _ => Error::new(&code::OUTPUT, format!("stdout: {error}")),
    })
}

/// Prints a JSON document, readable.
pub fn json(value: &Value) -> Result<()> {
    line(&format!("{value:#}"))
}

/// Prints a JSON document on one line, for streams of them.
pub fn json_line(value: &Value) -> Result<()> {
    line(&value.to_string())
}

/// Says something on stderr. That nobody listens there is no reason to stop.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Prints a table: the first row is its head. Columns are as wide as they must be.
pub fn table(rows: &[Vec<String>]) -> Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for (index, row) in rows.iter().enumerate() {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let text = cells.join("  ").trim_end().to_owned();
        line(&if index == 0 { Stream::Stdout.paint(Tone::Strong, &text) } else { text })?;
    }
    Ok(())
}

/// Prints an error: as one JSON object on stdout when a machine reads, else on stderr for people.
pub fn error(error: &Error, as_json: bool) {
    if matches!(error, Error::Closed) {
        return;
    }
    if as_json {
        let body = json!({ "error": {
            "code": error.code(), "message": error.message(), "help": error.remedy(), "errors": error.findings(),
        } });
        // The exit code tells as well, should stdout be closed.
        let _ = json(&body);
        return;
    }
    for finding in error.findings() {
        note(&snippet::plain(&finding));
    }
    let head = Stream::Stderr.paint(Tone::Bad, &format!("error[{}]", error.code()));
    note(&format!("{head}: {}", printable(&error.message())));
    if let Some(help) = error.remedy() {
        note(&format!("  {}: {}", Stream::Stderr.paint(Tone::Strong, "help"), printable(help)));
    }
}

/// What a step or run waits for, as a sentence's end.
pub fn waits_for(what: &str) -> String {
    let what = printable(what);
    if what.starts_with("until ") {
        format!("waits {what}")
    } else if what.starts_with("next try ") {
        what
    } else if what.starts_with("a person ") {
        format!("waits: {what}")
    } else {
        format!("waits for {what}")
    }
}

/// Text from elsewhere with its control characters escaped; line ends and tabs stay.
pub fn printable(text: &str) -> String {
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.contains(steers) {
        return text.to_owned();
    }
    text.chars().map(|c| if steers(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// A duration as people say it: `430 ms`, `1.2 s`, `3 m 05 s`, `2 h 10 m`.
pub fn duration(duration: Duration) -> String {
    let (ms, seconds) = (duration.as_millis(), duration.as_secs());
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3_600 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} m", seconds / 3_600, seconds / 60 % 60),
    }
}

/// `1 error`, `2 errors`.
pub fn counted(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

/// How many errors and warnings there are.
pub fn tally(findings: &[Finding]) -> (usize, usize) {
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    (errors, findings.len() - errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
        let cases =
            [(0, "0 ms"), (430, "430 ms"), (1_240, "1.2 s"), (185_000, "3 m 05 s"), (7_800_000, "2 h 10 m")];
        for (ms, text) in cases {
            assert_eq!(duration(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn a_message_cannot_steer_the_terminal() {
        assert_eq!(printable("a\x1b[2J\tb\nc\u{9b}"), "a\\u{1b}[2J\tb\nc\\u{9b}");
    }

    #[test]
    fn counts_take_the_plural() {
        assert_eq!((counted(1, "run"), counted(0, "run")), ("1 run".to_owned(), "0 runs".to_owned()));
    }
}
