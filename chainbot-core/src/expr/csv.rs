//! CSV to rows and back: what the `transform` step and the pipelines of data processors have in common.
//!
//! Invariant: a row has the header's names or is a list; a row of another length is an error with its line, never padded or cut.

use std::io::Read;

use serde_json::{Map, Value as JsonValue};

use super::data::{Budget, Data, json_kind};
use super::error::Error;
use super::time;
use crate::error::code::expression as code;

/// How CSV is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CsvForm {
    /// Whether the first row names the columns.
    pub(crate) header: bool,
    /// Between two fields.
    pub(crate) delimiter: u8,
    /// Whether fields become numbers, booleans and null where they look like it.
    pub(crate) infer: bool,
}

/// Rows as objects by the header's names, or as lists, one after another.
pub(crate) struct CsvRows<R> {
    reader: csv::Reader<R>,
    record: csv::StringRecord,
    names: Option<Vec<String>>,
    infer: bool,
}

/// A row and what it takes as JSON text.
pub(crate) struct CsvRow {
    pub(crate) value: JsonValue,
    pub(crate) bytes: usize,
}

impl<R: Read> CsvRows<R> {
    /// Reads the header, if there is one.
    pub(crate) fn new(from: R, form: CsvForm) -> Result<Self, Error> {
        let CsvForm { header, delimiter, infer } = form;
        let mut reader = csv::ReaderBuilder::new().has_headers(header).delimiter(delimiter).from_reader(from);
        let mut names: Vec<String> = Vec::new();
        if header {
            for name in reader.headers().map_err(|error| unreadable(&error))? {
                if names.iter().any(|known| known == name) {
                    let message = format!("the column `{}` is there twice", time::shortened(name));
                    return Err(wrong(message).hint("rename one of them, or write `header: false` for lists"));
                }
                names.push(name.to_owned());
            }
        }
        let names = header.then_some(names);
        Ok(Self { reader, record: csv::StringRecord::new(), names, infer })
    }

    /// The next row; after an error the one behind it, when the text goes on.
    pub(crate) fn next(&mut self) -> Option<Result<CsvRow, Error>> {
        match self.reader.read_record(&mut self.record) {
            Ok(false) => return None,
            Ok(true) => {}
            Err(error) => return Some(Err(unreadable(&error))),
        }
        let record = &self.record;
        let names = self.names.iter().flatten();
        let bytes = names.map(String::len).sum::<usize>() + record.as_slice().len() + 8 * record.len() + 8;
        let cells = record.iter().map(|text| cell(text, self.infer));
        let value = match &self.names {
            Some(names) => JsonValue::Object(names.iter().cloned().zip(cells).collect::<Map<_, _>>()),
            None => JsonValue::Array(cells.collect()),
        };
        Some(Ok(CsvRow { value, bytes }))
    }
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(&code::TRANSFORM, message.into())
}

fn unreadable(error: &csv::Error) -> Error {
    wrong(format!("the input is not CSV: {error}"))
        .hint("every row needs as many fields as the first; `delimiter` says what is between them")
}

/// Text as it stands, or what it looks like. `007` and numbers that JSON cannot keep exactly stay text.
fn cell(text: &str, infer: bool) -> JsonValue {
    if !infer {
        return JsonValue::String(text.to_owned());
    }
    let is_whole = text.strip_prefix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit());
    match text {
        "" => JsonValue::Null,
        "true" => JsonValue::Bool(true),
        "false" => JsonValue::Bool(false),
        _ => match serde_json::from_str::<serde_json::Number>(text) {
            Ok(number) if !(is_whole && number.is_f64()) => JsonValue::Number(number),
            _ => JsonValue::String(text.to_owned()),
        },
    }
}

/// Objects with a header, lists without one.
pub(crate) fn stringify(rows: &[Data], columns: &[String], delimiter: u8) -> Result<String, Error> {
    let rows: Vec<&JsonValue> = rows.iter().map(|row| &**row.json()).collect();
    let mut names: Vec<String> = columns.to_vec();
    let by_name = rows.iter().any(|row| row.is_object());
    if by_name && names.is_empty() {
        let mut seen = std::collections::HashSet::new();
        let keys = rows.iter().filter_map(|row| row.as_object()).flat_map(Map::keys);
        names = keys.filter(|key| seen.insert(key.as_str())).cloned().collect();
    }
    let mut writer = csv::WriterBuilder::new().delimiter(delimiter).flexible(true).from_writer(Vec::new());
    let mut budget = Budget::new();
    let mut write = |fields: Vec<String>| -> Result<(), Error> {
        // Each field may be put in quotes.
        budget.pay(fields.iter().map(|field| field.len() + 3).sum())?;
        writer.write_record(&fields).map_err(|error| wrong(format!("the row cannot be written: {error}")))
    };
    if !names.is_empty() {
        write(names.clone())?;
    }
    for (index, row) in rows.iter().enumerate() {
        let fields = match row {
            JsonValue::Object(entries) if by_name => {
                names.iter().map(|name| entries.get(name).map_or(String::new(), field)).collect()
            }
            JsonValue::Array(cells) if !by_name => cells.iter().map(field).collect(),
            other => {
                let message = format!("item {index} is {} and is no row like the others", json_kind(other));
                return Err(wrong(message).hint("give a list of objects, or a list of lists"));
            }
        };
        write(fields)?;
    }
    let bytes = writer.into_inner().map_err(|error| wrong(format!("the text cannot be made: {error}")))?;
    String::from_utf8(bytes).map_err(|_| wrong("the text cannot be made"))
}

fn field(value: &JsonValue) -> String {
    match value {
        JsonValue::Null => String::new(),
        JsonValue::String(text) => text.clone(),
        other => other.to_string(),
    }
}
