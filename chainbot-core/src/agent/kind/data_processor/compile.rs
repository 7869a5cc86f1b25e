//! From a configuration to a [`Pipeline`], or everything that is wrong with it. Pure.
//!
//! ```yaml
//! processing_type: general | analysis | reporting
//! pipeline: [ { read: {...} }, { filter: "item.t > 3" }, ..., { write: csv } ]
//! ```

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::aggregate::{Aggregate, Figure};
use super::chain::Op;
use super::column::{Column, Columns};
use super::join::Join;
use super::read::{Format, Read, Source};
use super::ready;
use super::write::{Form, Write};
use crate::agent::credential::Credential;
use crate::error::code::data as code;
use crate::error::{Code, Diagnostic, Pos, Severity, similar};
use crate::expr::{CsvForm, Expression};
use crate::limits::{DATA_COLUMNS_MAX, DATA_OPERATIONS_MAX};
use crate::net::Endpoint;

/// A compiled pipeline.
#[derive(Debug)]
pub struct Pipeline {
    pub(super) processing: Processing,
    pub(super) read: Read,
    pub(super) operations: Vec<Op>,
    pub(super) write: Write,
}

/// What the work is for; which pipeline is ready when none is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Processing {
    /// The rows as they are.
    #[default]
    General,
    /// Figures of every column, and a sample.
    Analysis,
    /// Figures of every column, and the rows as CSV.
    Reporting,
}

impl Processing {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::General => "general",
            Self::Analysis => "analysis",
            Self::Reporting => "reporting",
        }
    }
}

/// Words about the result, by one call of a model that sees figures and a sample and can change neither.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// A configured model; `None` is the default one.
    pub model: Option<String>,
    /// What to say.
    pub prompt: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    processing_type: Processing,
    pipeline: Option<Vec<Value>>,
    #[allow(dead_code, reason = "its shape is checked here; the task has a model say it")]
    summary: Option<Summary>,
}

/// The operations by name; `read` is the first and `write` the last.
const WORDS: &[&str] = &[
    "read",
    "filter",
    "map",
    "select",
    "sort",
    "group",
    "aggregate",
    "stats",
    "join",
    "dedupe",
    "limit",
    "write",
];

impl Pipeline {
    /// Reads `config` of an agent and reports everything that is wrong. Evaluates nothing.
    pub fn compile(config: &Value) -> Result<Self, Vec<Diagnostic>> {
        let mut problems = Problems::default();
        match problems.pipeline(config) {
            Some(pipeline) if problems.0.is_empty() => Ok(pipeline),
            _ => Err(problems.0),
        }
    }
}

#[derive(Default)]
struct Problems(Vec<Diagnostic>);

impl Problems {
    fn add(&mut self, code: &'static Code, path: &str, message: String, hint: Option<String>) {
        let pos = Pos::default().into();
        let (path, code) = (path.to_owned(), code.id);
        self.0.push(Diagnostic { code, severity: Severity::Error, pos, path, message, hint });
    }

    fn wrong(&mut self, path: &str, message: impl Into<String>) {
        self.add(&code::PIPELINE, path, message.into(), None);
    }

    fn shape<T: DeserializeOwned>(&mut self, path: &str, value: &Value) -> Option<T> {
        T::deserialize(value).map_err(|error| self.wrong(path, error.to_string())).ok()
    }

    fn pipeline(&mut self, config: &Value) -> Option<Pipeline> {
        let none = json!({});
        let config: Config = self.shape("config", if config.is_null() { &none } else { config })?;
        let ready = || ready::pipeline(config.processing_type).as_array().cloned().unwrap_or_default();
        let steps = config.pipeline.unwrap_or_else(ready);
        if steps.len() > DATA_OPERATIONS_MAX {
            self.wrong(
                "config.pipeline",
                format!("there are {} operations, and {DATA_OPERATIONS_MAX} may be", steps.len()),
            );
            return None;
        }
        let (mut read, mut write, mut operations) = (None, None, Vec::new());
        for (at, step) in steps.iter().enumerate() {
            let path = format!("config.pipeline[{at}]");
            let Some((word, value)) = self.step(&path, step) else { continue };
            let path = format!("{path}.{word}");
            match word {
                "read" if at > 0 => {
                    self.wrong(&path, "`read` is the first operation; `join` reads another source")
                }
                "write" if at + 1 < steps.len() => self.wrong(&path, "`write` is the last operation"),
                "read" => read = self.read(&path, value),
                "write" => write = self.write(&path, value),
                _ => operations.extend(self.operation(&path, word, value)),
            }
        }
        let read = match read {
            Some(read) => read,
            None => self.read("config.pipeline", &Value::Null)?,
        };
        let mut write = match write {
            Some(write) => write,
            None => self.write("config.pipeline", &Value::Null)?,
        };
        if write.columns.is_empty() {
            write.columns = columns_of(&operations);
        }
        Some(Pipeline { processing: config.processing_type, read, operations, write })
    }

    /// The one key of an operation.
    fn step<'v>(&mut self, path: &str, step: &'v Value) -> Option<(&'static str, &'v Value)> {
        let entries = step.as_object().filter(|entries| entries.len() == 1);
        let Some((word, value)) = entries.and_then(|entries| entries.iter().next()) else {
            self.wrong(path, "an operation is an object with one key, such as `filter: \"item.t > 3\"`");
            return None;
        };
        let known = WORDS.iter().find(|known| *known == word);
        if known.is_none() {
            let hint = match similar(word, WORDS.iter().copied()) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("there are {}", WORDS.join(", ")),
            };
            self.add(&code::PIPELINE, path, format!("there is no operation `{}`", short(word)), Some(hint));
        }
        known.map(|known| (*known, value))
    }

    fn operation(&mut self, path: &str, word: &str, value: &Value) -> Option<Op> {
        Some(match word {
            "filter" => {
                let Filter { condition } = self.shape(path, &keyed(value, "where"))?;
                Op::Filter(self.expr(path, &condition)?)
            }
            "map" => {
                let Mapped { expr } = self.shape(path, &keyed(value, "expr"))?;
                Op::Map(self.expr(path, &expr)?)
            }
            "select" => Op::Select(self.columns(path, value)?),
            "sort" => {
                let Sort { by, order } = self.shape(path, &keyed(value, "by"))?;
                let by = by.map(|by| self.expr(path, &by));
                let by = if let Some(by) = by { Some(by?) } else { None };
                Op::Sort { by, descending: order == Order::Desc }
            }
            "group" => {
                let Group { by, collect } = self.shape(path, &keyed(value, "by"))?;
                let (by, collect) = (self.expr(path, &by), collect.map(|expr| self.expr(path, &expr)));
                let collect = if let Some(collect) = collect { Some(collect?) } else { None };
                Op::Group { by: by?, collect }
            }
            "aggregate" => Op::Aggregate(self.aggregate(path, value)?),
            "stats" => {
                let Stats { fields } = self.shape(path, &keyed(value, "fields"))?;
                Op::Stats(fields)
            }
            "join" => Op::Join(Box::new(self.join(path, value)?)),
            "dedupe" => {
                let Dedupe { by } = self.shape(path, &keyed(value, "by"))?;
                let by = by.map(|by| self.columns(path, &by));
                Op::Dedupe(if let Some(by) = by { Some(by?) } else { None })
            }
            _ => {
                let Limit { rows } = self.shape(path, &keyed(value, "rows"))?;
                Op::Limit(rows)
            }
        })
    }

    /// An expression over a row. Its names are known before any row is.
    fn expr(&mut self, path: &str, source: &str) -> Option<Expression> {
        let compiled = Expression::compile(source);
        let expr = compiled.map_err(|error| self.add(error.code, path, error.message, error.hint)).ok()?;
        const KNOWN: &[&str] = &["item", "index", "input"];
        let mut is_known = true;
        for name in expr.names().iter().filter(|name| !KNOWN.contains(&name.root.as_str())) {
            is_known = false;
            let hint = format!(
                "a row is `item`, so a column is `item.{}`; known here: item, index, input",
                name.root
            );
            let message = format!("there is no name `{}` here", name.root);
            self.add(&crate::error::code::expression::UNDEFINED, path, message, Some(hint));
        }
        is_known.then_some(expr)
    }

    /// A list of names, or names with expressions.
    fn columns(&mut self, path: &str, value: &Value) -> Option<Columns> {
        let columns: Vec<(String, Option<&str>)> = match value {
            Value::String(name) => vec![(name.clone(), None)],
            Value::Array(names) if names.iter().all(Value::is_string) => {
                names.iter().filter_map(Value::as_str).map(|name| (name.to_owned(), None)).collect()
            }
            Value::Object(entries) if entries.values().all(Value::is_string) => {
                entries.iter().map(|(name, expr)| (name.clone(), expr.as_str())).collect()
            }
            _ => Vec::new(),
        };
        if columns.is_empty() || columns.len() > DATA_COLUMNS_MAX {
            let message = format!(
                "columns are a list of names, or an object of expressions by name; 1 to {DATA_COLUMNS_MAX}"
            );
            self.wrong(path, message);
            return None;
        }
        let mut out = Vec::new();
        for (name, expr) in columns {
            let column = match expr {
                None => Some(Column::Member),
                Some(expr) => self.expr(&format!("{path}.{}", short(&name)), expr).map(Column::Computed),
            };
            out.extend(column.map(|column| (name, column)));
        }
        Some(Columns(out))
    }

    fn aggregate(&mut self, path: &str, value: &Value) -> Option<Aggregate> {
        let Aggregated { by, values } = self.shape(path, value)?;
        let by = by.map(|by| self.columns(&format!("{path}.by"), &by));
        if values.is_empty() || values.len() > DATA_COLUMNS_MAX {
            self.wrong(path, format!("`values` names 1 to {DATA_COLUMNS_MAX} figures"));
        }
        let mut figures = Vec::new();
        for (name, figure) in &values {
            let path = format!("{path}.values.{}", short(name));
            figures.extend(self.figure(&path, figure).map(|figure| (name.clone(), figure)));
        }
        let by = if let Some(by) = by { Some(by?) } else { None };
        if let Some(twice) = by.iter().flat_map(Columns::names).find(|name| values.contains_key(name)) {
            self.wrong(path, format!("`{}` stands in `by` and in `values`", short(&twice)));
        }
        Some(Aggregate { by, figures })
    }

    fn figure(&mut self, path: &str, value: &Value) -> Option<Figure> {
        const FORM: &str = "a figure is `count`, or one of `count`, `sum`, `mean`, `min`, `max`, `quantile` with an \
                            expression, and for `quantile` also `q` from 0 to 1";
        if value == "count" {
            return Some(Figure::Count(None));
        }
        let entries = value.as_object();
        let q = entries.and_then(|entries| entries.get("q")).map(Value::as_f64);
        let mut others = entries.into_iter().flatten().filter(|(word, _)| *word != "q");
        let (Some((word, Value::String(source))), None) = (others.next(), others.next()) else {
            self.wrong(path, FORM);
            return None;
        };
        let make: Box<dyn Fn(Expression) -> Figure> = match (word.as_str(), q) {
            ("count", None) => Box::new(|expr| Figure::Count(Some(expr))),
            ("sum", None) => Box::new(Figure::Sum),
            ("mean", None) => Box::new(Figure::Mean),
            ("min", None) => Box::new(Figure::Min),
            ("max", None) => Box::new(Figure::Max),
            ("quantile", Some(Some(q))) if (0.0..=1.0).contains(&q) => {
                Box::new(move |expr| Figure::Quantile(expr, q))
            }
            _ => {
                self.wrong(path, FORM);
                return None;
            }
        };
        self.expr(path, source).map(make)
    }

    fn join(&mut self, path: &str, value: &Value) -> Option<Join> {
        let Joined { read, on, left, right, kind, under } = self.shape(path, value)?;
        let read = self.read(&format!("{path}.read"), &read);
        let (left, right) = match (on, left, right) {
            (Some(on), None, None) => (on.clone(), on),
            (None, Some(left), Some(right)) => (json!({ "key": left }), json!({ "key": right })),
            _ => {
                self.wrong(
                    path,
                    "a join needs `on` (columns of both sides), or `left` and `right` (expressions)",
                );
                return None;
            }
        };
        let (left, right) = (self.columns(path, &left), self.columns(path, &right));
        Some(Join { read: read?, left: left?, right: right?, keep_left: kind == Kind::Left, under })
    }

    fn read(&mut self, path: &str, value: &Value) -> Option<Read> {
        let read: Reading = self.shape(path, &keyed(value, "input"))?;
        let csv = CsvForm {
            header: read.header.unwrap_or(true),
            delimiter: self.delimiter(path, read.delimiter.as_deref())?,
            infer: read.types != Types::Text,
        };
        let is_url = read.url.is_some();
        let source = match (read.input, read.text, read.value, read.url) {
            (None, None, None, None) => Source::Input("data".to_owned()),
            (Some(name), None, None, None) => Source::Input(name),
            (None, Some(text), None, None) => Source::Text(text),
            (None, None, Some(value), None) => Source::Value(value),
            (None, None, None, Some(url)) => {
                let headers = read.headers.as_ref();
                Source::Url(self.request(path, &url, headers, read.auth.as_ref())?.into())
            }
            _ => {
                self.wrong(path, "rows come from one of `input`, `text`, `value` and `url`");
                return None;
            }
        };
        let format = match (read.format, &source) {
            (Formats::Auto, Source::Url(_)) => {
                self.wrong(path, "what comes from a `url` needs a `format`: csv, json or jsonl");
                return None;
            }
            (Formats::Value, Source::Url(_) | Source::Text(_)) => {
                self.wrong(path, "`format: value` is for values; this is text: csv, json or jsonl");
                return None;
            }
            (Formats::Auto, _) => Format::Auto,
            (Formats::Value, _) => Format::Value,
            (Formats::Csv, _) => Format::Csv,
            (Formats::Json, _) => Format::Json,
            (Formats::Jsonl, _) => Format::Jsonl,
        };
        if !is_url && (read.headers.is_some() || read.auth.is_some()) {
            self.wrong(path, "`headers` and `auth` belong to a `url`");
        }
        if read.on_error == OnError::Skip && format == Format::Json {
            self.wrong(path, "`on_error: skip` works for csv and jsonl: broken JSON has no next row");
        }
        let at = read.at.as_deref().unwrap_or_default();
        let at = at.split('.').filter(|member| !member.is_empty()).map(str::to_owned).collect();
        Some(Read { source, format, csv, at, skips_bad: read.on_error == OnError::Skip })
    }

    /// The input of an `api_call` that gets a URL.
    fn request(
        &mut self,
        path: &str,
        url: &str,
        headers: Option<&Map<String, Value>>,
        auth: Option<&Value>,
    ) -> Option<Value> {
        if let Err(error) = Endpoint::of_url(url) {
            self.wrong(&format!("{path}.url"), error.message);
            return None;
        }
        let mut input = Map::new();
        input.insert("url".to_owned(), Value::from(url));
        input.insert("method".to_owned(), Value::from("GET"));
        input.extend(headers.map(|headers| ("headers".to_owned(), Value::Object(headers.clone()))));
        if let Some(auth) = auth {
            match Credential::read(auth) {
                Ok(credential) => credential.add_to(&mut input),
                Err(message) => {
                    self.wrong(&format!("{path}.auth"), message);
                    return None;
                }
            }
        }
        Some(Value::Object(input))
    }

    fn write(&mut self, path: &str, value: &Value) -> Option<Write> {
        let write: Writing = self.shape(path, &keyed(value, "format"))?;
        let form = match write.format {
            Forms::Value => Form::Value,
            Forms::Csv => Form::Csv,
            Forms::Json => Form::Json,
            Forms::Jsonl => Form::Jsonl,
        };
        if form != Form::Csv && (write.columns.is_some() || write.delimiter.is_some()) {
            self.wrong(path, "`columns` and `delimiter` belong to `format: csv`");
        }
        let delimiter = self.delimiter(path, write.delimiter.as_deref())?;
        Some(Write { form, columns: write.columns.unwrap_or_default(), delimiter })
    }

    fn delimiter(&mut self, path: &str, text: Option<&str>) -> Option<u8> {
        match text.map(str::as_bytes) {
            None => Some(b','),
            Some([byte]) if byte.is_ascii() && !b"\"\r\n".contains(byte) => Some(*byte),
            Some(_) => {
                self.wrong(path, "`delimiter` is one ASCII character that is no quote");
                None
            }
        }
    }
}

/// Columns that the last operation names, in their order; those after which they are others end the search.
fn columns_of(operations: &[Op]) -> Vec<String> {
    for op in operations.iter().rev() {
        match op {
            Op::Select(columns) => return columns.names(),
            Op::Aggregate(aggregate) => return aggregate.names(),
            Op::Filter(_) | Op::Sort { .. } | Op::Stats(_) | Op::Dedupe(_) | Op::Limit(_) => {}
            Op::Map(_) | Op::Group { .. } | Op::Join(_) => break,
        }
    }
    Vec::new()
}

/// The long form of an operation that was given by its main key alone.
fn keyed(value: &Value, main: &str) -> Value {
    match value {
        Value::Object(_) => value.clone(),
        Value::Null => json!({}),
        other => Value::Object([(main.to_owned(), other.clone())].into_iter().collect()),
    }
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    #[serde(rename = "where")]
    condition: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mapped {
    expr: String,
}

#[derive(Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    #[default]
    Asc,
    Desc,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sort {
    by: Option<String>,
    #[serde(default)]
    order: Order,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    by: String,
    collect: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Aggregated {
    by: Option<Value>,
    values: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stats {
    fields: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dedupe {
    by: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    rows: usize,
}

#[derive(Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Inner,
    Left,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Joined {
    read: Value,
    on: Option<Value>,
    left: Option<String>,
    right: Option<String>,
    #[serde(default)]
    kind: Kind,
    #[serde(rename = "as")]
    under: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Formats {
    #[default]
    Auto,
    Value,
    Csv,
    Json,
    Jsonl,
}

#[derive(Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Types {
    #[default]
    Infer,
    Text,
}

#[derive(Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OnError {
    #[default]
    Fail,
    Skip,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reading {
    input: Option<String>,
    text: Option<String>,
    value: Option<Value>,
    url: Option<String>,
    headers: Option<Map<String, Value>>,
    auth: Option<Value>,
    #[serde(default)]
    format: Formats,
    at: Option<String>,
    header: Option<bool>,
    delimiter: Option<String>,
    #[serde(default)]
    types: Types,
    #[serde(default)]
    on_error: OnError,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Forms {
    #[default]
    Value,
    Csv,
    Json,
    Jsonl,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Writing {
    #[serde(default)]
    format: Forms,
    columns: Option<Vec<String>>,
    delimiter: Option<String>,
}
