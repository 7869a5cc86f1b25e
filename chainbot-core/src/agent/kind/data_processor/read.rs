//! `read`: where rows come from, and how bytes become rows.

use std::io::{BufRead, BufReader, Cursor};
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::mpsc;

use super::guard::{Guard, Watch};
use super::json::{self, Sink};
use crate::error::code::data as code;
use crate::expr::{CsvForm, CsvRows, check_json, json_kind};
use crate::limits::{DATA_ROW_BYTES_MAX, DATA_ROWS_MAX};
use crate::model::{StepError, class};

/// A source of rows.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) source: Source,
    pub(super) format: Format,
    pub(super) csv: CsvForm,
    /// Members of a JSON document that lead to its list of rows.
    pub(super) at: Vec<String>,
    /// Rows that do not read are counted and left out.
    pub(super) skips_bad: bool,
}

#[derive(Debug)]
pub(super) enum Source {
    /// A member of the task's input.
    Input(String),
    /// Text of the configuration.
    Text(String),
    /// A value of the configuration.
    Value(Value),
    /// The input of a request, as an `api_call` has it.
    Url(Arc<Value>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// By what is there: a value as it is, text by its first character.
    Auto,
    Value,
    Csv,
    Json,
    Jsonl,
}

/// Asks for the bytes of a URL; whoever drives the task sends them.
pub(super) struct Ask {
    pub(super) request: Arc<Value>,
    pub(super) chunks: mpsc::Sender<Result<Vec<u8>, StepError>>,
}

/// What sources are taken from.
pub(super) struct Sources<'a> {
    pub(super) input: &'a Value,
    pub(super) asks: &'a mpsc::Sender<Ask>,
}

/// What was read.
#[derive(Clone, Copy, Default)]
pub(super) struct Count {
    pub(super) rows: u64,
    pub(super) bad: u64,
    pub(super) bytes: u64,
}

impl Read {
    /// Gives every row to the sink.
    pub(super) fn each(&self, sources: &Sources<'_>, sink: &mut Sink<'_>) -> Result<Count, StepError> {
        match &self.source {
            Source::Text(text) => self.each_of_text(text.as_bytes(), sink),
            Source::Value(value) => self.each_of_value(value, sink),
            Source::Input(name) => match sources.input.get(name) {
                Some(Value::String(text)) if self.format != Format::Value => {
                    self.each_of_text(text.as_bytes(), sink)
                }
                Some(value) => self.each_of_value(value, sink),
                None => Err(self.missing(name, sources.input)),
            },
            Source::Url(request) => {
                let (chunks, receiver) = mpsc::channel(CHUNKS_MAX);
                let ask = Ask { request: request.clone(), chunks };
                sources.asks.blocking_send(ask).map_err(|_| super::run::cancelled())?;
                let watch = Watch::default();
                let chunks = Chunks { receiver, chunk: Cursor::default(), watch: watch.clone() };
                self.each_of(chunks, self.format, watch, sink)
            }
        }
    }

    fn missing(&self, name: &str, input: &Value) -> StepError {
        let known = input.as_object().into_iter().flat_map(|entries| entries.keys().map(String::as_str));
        let hint = match crate::error::similar(name, known) {
            Some(known) => format!("did you mean `{known}`?"),
            None => "its input is the `context` of the task, or the task itself when it is an object; `read` can name another source".to_owned(),
        };
        source(format!("the task's input has no `{name}` to read; {hint}"))
    }

    fn each_of_value(&self, value: &Value, sink: &mut Sink<'_>) -> Result<Count, StepError> {
        if !matches!(self.format, Format::Auto | Format::Value) {
            let message =
                format!("the data is {} and no text in the format that `read` names", json_kind(value));
            return Err(source(message));
        }
        let mut at = value;
        for member in &self.at {
            at = at.get(member).ok_or_else(|| self.nothing_at())?;
        }
        let mut rows = Rows { count: Count::default(), sink };
        match at {
            Value::Array(items) => items.iter().try_for_each(|item| rows.take(item.clone()))?,
            Value::Object(_) => rows.take(at.clone())?,
            other => return Err(source(format!("the data is {} and no list of rows", json_kind(other)))),
        }
        Ok(rows.count)
    }

    fn each_of_text(&self, text: &[u8], sink: &mut Sink<'_>) -> Result<Count, StepError> {
        let first = text.iter().find(|byte| byte.is_ascii_graphic());
        let format = match (self.format, first) {
            (Format::Auto, Some(b'[')) => Format::Json,
            (Format::Auto, Some(b'{')) if self.at.is_empty() => Format::Jsonl,
            (Format::Auto, Some(b'{')) => Format::Json,
            (Format::Auto, _) => Format::Csv,
            (format, _) => format,
        };
        self.each_of(text, format, Watch::default(), sink)
    }

    fn each_of(
        &self,
        from: impl std::io::Read,
        format: Format,
        watch: Watch,
        sink: &mut Sink<'_>,
    ) -> Result<Count, StepError> {
        let guarded = Guard::new(from, watch.clone());
        let mut rows = Rows { count: Count::default(), sink };
        match format {
            Format::Csv => self.each_of_csv(guarded, &watch, &mut rows)?,
            Format::Jsonl => self.each_line(guarded, &watch, &mut rows)?,
            Format::Json | Format::Auto | Format::Value => {
                let found = json::each_item(guarded, &self.at, &watch, &mut |row| rows.take(row));
                let found = found.map_err(|error| {
                    watch.broken().unwrap_or_else(|| bad(format!("the data is not JSON: {error}")))
                })?;
                if !found {
                    return Err(self.nothing_at());
                }
            }
        }
        rows.count.bytes = watch.bytes();
        Ok(rows.count)
    }

    fn each_of_csv(
        &self,
        from: Guard<impl std::io::Read>,
        watch: &Watch,
        rows: &mut Rows<'_, '_>,
    ) -> Result<(), StepError> {
        let unreadable =
            |error: &crate::expr::Error| watch.broken().unwrap_or_else(|| bad(error.to_string()));
        let mut reader = CsvRows::new(from, self.csv).map_err(|error| unreadable(&error))?;
        while let Some(row) = reader.next() {
            watch.row();
            match row {
                Ok(row) => rows.take(row.value)?,
                Err(error) => match watch.broken() {
                    Some(broken) => return Err(broken),
                    None if self.skips_bad => rows.count.bad += 1,
                    None => return Err(bad(error.to_string())),
                },
            }
        }
        Ok(())
    }

    fn each_line(
        &self,
        from: Guard<impl std::io::Read>,
        watch: &Watch,
        rows: &mut Rows<'_, '_>,
    ) -> Result<(), StepError> {
        let mut reader = BufReader::new(from);
        let mut line = Vec::new();
        for number in 1u64.. {
            line.clear();
            let count = reader.read_until(b'\n', &mut line).map_err(|error| {
                watch.broken().unwrap_or_else(|| bad(format!("line {number} does not read: {error}")))
            })?;
            watch.row();
            if count == 0 {
                break;
            }
            let text = line.trim_ascii();
            if text.is_empty() {
                continue;
            }
            match serde_json::from_slice(text) {
                Ok(row) => rows.take(row)?,
                Err(_) if self.skips_bad => rows.count.bad += 1,
                Err(error) => {
                    // The line is its own document to the parser.
                    let column = error.column();
                    let what = error.to_string();
                    let what = what.split(" at line ").next().unwrap_or_default();
                    return Err(bad(format!("line {number}, column {column} is not JSON: {what}")));
                }
            }
        }
        Ok(())
    }

    fn nothing_at(&self) -> StepError {
        source(format!("the data has nothing at `{}`", self.at.join(".")))
    }
}

/// Chunks on their way: each is what came in one piece over the connection.
const CHUNKS_MAX: usize = 4;

/// Counts rows and holds each against the bounds of a value.
struct Rows<'a, 's> {
    count: Count,
    sink: &'a mut Sink<'s>,
}

impl Rows<'_, '_> {
    fn take(&mut self, row: Value) -> Result<(), StepError> {
        if self.count.rows == DATA_ROWS_MAX {
            let message = format!("the data has more than {DATA_ROWS_MAX} rows; work on it in parts");
            return Err(StepError::new(class::LIMIT, &code::BOUND, message));
        }
        self.count.rows += 1;
        check_json(&row, DATA_ROW_BYTES_MAX).map_err(|error| {
            let message = format!("row {}: {error}", self.count.rows);
            StepError::new(class::LIMIT, &code::BOUND, message)
        })?;
        (self.sink)(row)
    }
}

fn bad(message: String) -> StepError {
    StepError::new(class::INVALID, &code::ROW, message)
}

fn source(message: String) -> StepError {
    StepError::new(class::INVALID, &code::SOURCE, message)
}

/// What comes over a channel, as a reader.
struct Chunks {
    receiver: mpsc::Receiver<Result<Vec<u8>, StepError>>,
    chunk: Cursor<Vec<u8>>,
    watch: Watch,
}

impl std::io::Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let count = self.chunk.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            match self.receiver.blocking_recv() {
                None => return Ok(0),
                Some(Ok(chunk)) => self.chunk = Cursor::new(chunk),
                Some(Err(error)) => return Err(self.watch.breaks(error)),
            }
        }
    }
}
