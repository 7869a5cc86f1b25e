//! Transforms from one form to another: CSV (see [`super::csv`]), Base64, times. Pure; what they make is paid for before it is made.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value as JsonValue, json};

use super::csv::{self, CsvForm, CsvRows};
use super::data::{Budget, Data, json_kind, size_bytes};
use super::error::Error;
use super::items::{ItemSource, items_of};
use super::jsonpath;
use super::scope::{Scope, Volatile};
use super::shape::Name;
use super::template::Template;
use super::time;
use crate::error::code::expression as code;
use crate::limits;
use crate::model::{DateMode, Node, Pos, Text, Transform};
use crate::time::{Timestamp, parse_duration};

/// A compiled conversion.
#[derive(Clone)]
pub(super) enum Conversion {
    CsvParse { input: Template, form: CsvForm },
    CsvStringify { input: ItemSource, columns: Vec<String>, delimiter: u8 },
    Base64 { input: Template, decode: bool, url_safe: bool },
    Date { input: Template, mode: Mode },
    JsonPath { input: Template, path: Selected, many: bool },
}

/// A path without tags is parsed once.
#[derive(Clone)]
pub(super) enum Selected {
    Ready(Box<jsonpath::Path>),
    Rendered(Template),
}

#[derive(Clone)]
pub(super) enum Mode {
    Parse { format: Option<Template> },
    Format { format: Option<Template>, timezone: Option<Template> },
    Add { amount: Template },
    Diff,
}

impl Conversion {
    /// `None` exactly when an error was noted.
    pub(super) fn compile(transform: &Transform, errors: &mut Vec<(Pos, Error)>) -> Option<Self> {
        let mut node = |node: &Node| Template::compile(node).map_err(|found| errors.extend(found)).ok();
        match transform {
            Transform::CsvParse { input, header, delimiter, infer } => {
                let input = node(input)?;
                let form = CsvForm { header: *header, delimiter: *delimiter, infer: *infer };
                Some(Self::CsvParse { input, form })
            }
            Transform::CsvStringify { input, columns, delimiter } => {
                let input = ItemSource::compile(input).map_err(|found| errors.extend(found)).ok()?;
                Some(Self::CsvStringify { input, columns: columns.clone(), delimiter: *delimiter })
            }
            Transform::Base64 { input, decode, url_safe } => {
                Some(Self::Base64 { input: node(input)?, decode: *decode, url_safe: *url_safe })
            }
            Transform::Date { input, mode } => {
                let input = node(input);
                let mode = Mode::compile(mode, errors);
                Some(Self::Date { input: input?, mode: mode? })
            }
            Transform::JsonPath { input, path, many } => {
                let input = node(input);
                let path = Selected::compile(path).map_err(|error| errors.push((path.pos, error))).ok();
                Some(Self::JsonPath { input: input?, path: path?, many: *many })
            }
            _ => None,
        }
    }

    /// The names of every part.
    pub(super) fn names(&self) -> Vec<&[Name]> {
        match self {
            Self::CsvParse { input, .. } | Self::Base64 { input, .. } => vec![input.names()],
            Self::CsvStringify { input, .. } => vec![input.names()],
            Self::Date { input, mode } => {
                let parts: Vec<&Template> = match mode {
                    Mode::Parse { format } => format.iter().collect(),
                    Mode::Format { format, timezone } => format.iter().chain(timezone).collect(),
                    Mode::Add { amount } => vec![amount],
                    Mode::Diff => Vec::new(),
                };
                std::iter::once(input).chain(parts).map(Template::names).collect()
            }
            Self::JsonPath { input, path, .. } => {
                let mut out = vec![input.names()];
                if let Selected::Rendered(path) = path {
                    out.push(path.names());
                }
                out
            }
        }
    }

    /// The converted value.
    pub(super) fn run(&self, scope: &dyn Scope, volatile: &Volatile) -> Result<Data, Error> {
        let value = match self {
            Self::CsvParse { input, form } => csv_parse(&input.render_text(scope, volatile)?, *form)?,
            Self::CsvStringify { input, columns, delimiter } => {
                let rows = items_of(&input.value(scope, volatile)?)?;
                JsonValue::String(csv::stringify(&rows, columns, *delimiter)?)
            }
            Self::Base64 { input, decode, url_safe } => {
                JsonValue::String(base64(&input.render_text(scope, volatile)?, *decode, *url_safe)?)
            }
            Self::JsonPath { input, path, many } => {
                let value = input.render(scope, volatile)?;
                let (mut found, _) = match path {
                    Selected::Ready(path) => jsonpath::select(path, value.json(), jsonpath::STEPS_MAX)?,
                    Selected::Rendered(path) => {
                        let path = jsonpath::parse(&path.render_text(scope, volatile)?)?;
                        jsonpath::select(&path, value.json(), jsonpath::STEPS_MAX)?
                    }
                };
                match many {
                    true => JsonValue::Array(found),
                    false if found.is_empty() => JsonValue::Null,
                    false => found.swap_remove(0),
                }
            }
            Self::Date { input, mode } => mode.run(&input.render(scope, volatile)?, scope, volatile)?,
        };
        Budget::new().pay(size_bytes(&value))?;
        Ok(Data::new(value))
    }
}

impl Selected {
    fn compile(path: &Text) -> Result<Self, Error> {
        let template = Template::compile_text(path)?;
        match template.is_constant() {
            true => jsonpath::parse(&path.source).map(|path| Self::Ready(Box::new(path))),
            false => Ok(Self::Rendered(template)),
        }
    }
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(&code::TRANSFORM, message.into())
}

/// All rows of a text.
fn csv_parse(text: &str, form: CsvForm) -> Result<JsonValue, Error> {
    let mut reader = CsvRows::new(text.as_bytes(), form)?;
    let (mut rows, mut budget) = (Vec::new(), Budget::new());
    while let Some(row) = reader.next() {
        let row = row?;
        if rows.len() >= limits::LOOP_ITERATIONS_MAX as usize {
            let message = format!("the input has more than {} rows", limits::LOOP_ITERATIONS_MAX);
            return Err(wrong(message).hint("work on it in parts"));
        }
        budget.pay(row.bytes)?;
        rows.push(row.value);
    }
    Ok(JsonValue::Array(rows))
}

/// The URL-safe alphabet is written without padding; both alphabets are read with and without.
fn base64(text: &str, decode: bool, url_safe: bool) -> Result<String, Error> {
    if !decode {
        Budget::new().pay(text.len().div_ceil(3) * 4)?;
        return Ok(if url_safe { URL_SAFE_NO_PAD.encode(text) } else { STANDARD.encode(text) });
    }
    let bare = text.trim().trim_end_matches('=');
    let decoded = if url_safe {
        URL_SAFE_NO_PAD.decode(bare)
    } else {
        base64::engine::general_purpose::STANDARD_NO_PAD.decode(bare)
    };
    let bytes = decoded.map_err(|error| {
        let hint = if url_safe {
            "`url_safe: false` reads `+` and `/`"
        } else {
            "`url_safe: true` reads `-` and `_`"
        };
        wrong(format!("the input is not Base64: {error}")).hint(hint)
    })?;
    String::from_utf8(bytes)
        .map_err(|_| wrong("the decoded bytes are no UTF-8 text").hint("only text can be decoded"))
}

impl Mode {
    fn compile(mode: &DateMode, errors: &mut Vec<(Pos, Error)>) -> Option<Self> {
        let mut text =
            |text: &Text| Template::compile_text(text).map_err(|error| errors.push((text.pos, error))).ok();
        let mut optional = |part: &Option<Text>| match part {
            Some(part) => text(part).map(Some),
            None => Some(None),
        };
        Some(match mode {
            DateMode::Parse { format } => Mode::Parse { format: optional(format)? },
            DateMode::Format { format, timezone } => {
                let (format, timezone) = (optional(format), optional(timezone));
                Mode::Format { format: format?, timezone: timezone? }
            }
            DateMode::Add { amount } => Mode::Add { amount: text(amount)? },
            DateMode::Diff => Mode::Diff,
        })
    }

    fn run(&self, input: &Data, scope: &dyn Scope, volatile: &Volatile) -> Result<JsonValue, Error> {
        let text = |part: &Template| part.render_text(scope, volatile);
        let input = &**input.json();
        Ok(match self {
            Mode::Parse { format } => {
                let format = format.as_ref().map(text).transpose()?;
                json!(instant(input, format.as_deref())?.to_string())
            }
            Mode::Format { format, timezone } => {
                let (format, zone) = (format.as_ref().map(text), timezone.as_ref().map(text));
                let (format, zone) = (format.transpose()?, zone.transpose()?);
                let time = instant(input, None)?;
                json!(time::format(time, format.as_deref(), zone.as_deref()).map_err(wrong)?)
            }
            Mode::Add { amount } => {
                let amount = text(amount)?;
                let (sign, length) = match amount.trim().strip_prefix('-') {
                    Some(length) => (-1, length),
                    None => (1, amount.trim().trim_start_matches('+')),
                };
                let length = parse_duration(length).ok_or_else(|| {
                    wrong(format!("`{}` is no duration", time::shortened(&amount)))
                        .hint("write `90s`, `1h30m`, `2d`, or `-2d` to go back")
                })?;
                // At most 366 days, as `parse_duration` promises.
                let ms = sign * i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
                let time = Timestamp(instant(input, None)?.0.saturating_add(ms));
                json!(in_range(time)?.to_string())
            }
            Mode::Diff => {
                let JsonValue::Array(times) = input else { return Err(no_pair()) };
                let [from, to] = times.as_slice() else { return Err(no_pair()) };
                let ms = instant(to, None)?.0 - instant(from, None)?.0;
                if ms % 1_000 == 0 { json!(ms / 1_000) } else { json!(ms as f64 / 1_000.0) }
            }
        })
    }
}

fn no_pair() -> Error {
    wrong("`mode: diff` needs a list of two times in `input`")
        .hint("write `input: [\"{{ earlier }}\", \"{{ later }}\"]`")
}

/// A time: text, or seconds since 1970.
fn instant(value: &JsonValue, format: Option<&str>) -> Result<Timestamp, Error> {
    match value {
        JsonValue::String(text) => time::parse(text, format).map_err(wrong),
        JsonValue::Number(seconds) => {
            let ms = seconds.as_f64().unwrap_or(f64::MAX) * 1_000.0;
            in_range(Timestamp(ms.round() as i64))
        }
        other => {
            let message = format!("a time is text or seconds since 1970, not {}", json_kind(other));
            Err(wrong(message))
        }
    }
}

/// Years 0 to 9999, beyond which RFC 3339 has no text.
fn in_range(time: Timestamp) -> Result<Timestamp, Error> {
    match (-62_167_219_200_000..=253_402_300_799_999).contains(&time.0) {
        true => Ok(time),
        false => Err(wrong("the time is outside of the years 0 to 9999")),
    }
}
