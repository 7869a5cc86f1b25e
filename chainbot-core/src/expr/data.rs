//! [`Data`]: JSON that many hold at once, with the engine's form of it made at most once; and the bounds of JSON.
//!
//! Invariants: a `Data` never changes; both forms say the same. The engine's form holds plain values only (null,
//! booleans, numbers, text, lists, maps), never an object with behaviour.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use minijinja::value::{Value, ValueKind};
use serde_json::{Map, Number, Value as JsonValue};

use super::error::Error;
use crate::error::code::expression as code;
use crate::limits;
use crate::model::Json;

/// JSON shared by many holders. Cloning is cheap.
#[derive(Clone)]
pub struct Data(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Made when asked for, for composed data.
    json: OnceLock<Json>,
    value: OnceLock<Value>,
    size_bytes: OnceLock<usize>,
    /// Of composed data.
    entries: Option<Vec<(&'static str, Data)>>,
}

impl Data {
    /// From JSON.
    pub fn new(json: JsonValue) -> Self {
        Self::from_json(Arc::new(json))
    }

    /// From JSON that is shared already.
    pub fn from_json(json: Json) -> Self {
        Self(Arc::new(Inner { json: OnceLock::from(json), ..Inner::default() }))
    }

    /// `null`.
    pub fn null() -> Self {
        Self::new(JsonValue::Null)
    }

    /// An object of shared values; nothing is copied until somebody asks for its JSON.
    pub fn object(entries: Vec<(&'static str, Data)>) -> Self {
        Self(Arc::new(Inner { entries: Some(entries), ..Inner::default() }))
    }

    /// As JSON.
    pub fn json(&self) -> &Json {
        self.0.json.get_or_init(|| {
            let entries = self.0.entries.iter().flatten();
            Arc::new(JsonValue::Object(
                entries.map(|(key, data)| ((*key).to_owned(), (**data.json()).clone())).collect(),
            ))
        })
    }

    /// Its JSON, not copied when nobody else holds it.
    pub(crate) fn into_json(self) -> JsonValue {
        let json = match Arc::try_unwrap(self.0) {
            Ok(Inner { json, entries: None, .. }) => json.into_inner().unwrap_or_default(),
            Ok(inner) => Self(Arc::new(inner)).json().clone(),
            Err(shared) => Self(shared).json().clone(),
        };
        Arc::try_unwrap(json).unwrap_or_else(|shared| (*shared).clone())
    }

    /// Length of its compact JSON text, without the escapes of control characters.
    pub fn size_bytes(&self) -> usize {
        *self.0.size_bytes.get_or_init(|| match &self.0.entries {
            Some(entries) => {
                entries.iter().map(|(key, data)| key.len() + 4 + data.size_bytes()).sum::<usize>() + 2
            }
            None => size_bytes(self.json()),
        })
    }

    /// As the engine has it.
    pub(super) fn value(&self) -> &Value {
        self.0.value.get_or_init(|| match &self.0.entries {
            Some(entries) => {
                let mut map = BTreeMap::new();
                for (key, data) in entries {
                    map.insert(Value::from(*key), data.value().clone());
                }
                Value::from_object(map)
            }
            None => to_value(self.json()),
        })
    }

    /// From a result of the engine, for which `budget` pays.
    pub(super) fn from_value(value: &Value, budget: &mut Budget) -> Result<Self, Error> {
        Ok(Self::new(budget.json_of(value)?))
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.json() == other.json()
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.json(), f)
    }
}

impl From<JsonValue> for Data {
    fn from(json: JsonValue) -> Self {
        Self::new(json)
    }
}

/// JSON to the engine's form. Recurses as deep as the value, which [`check_json`] bounds at the door.
fn to_value(json: &JsonValue) -> Value {
    match json {
        JsonValue::Null => Value::from(()),
        JsonValue::Bool(value) => Value::from(*value),
        JsonValue::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), _, _) => Value::from(value),
            (_, Some(value), _) => Value::from(value),
            (_, _, value) => Value::from(value.unwrap_or(f64::NAN)),
        },
        JsonValue::String(text) => Value::from(text.as_str()),
        JsonValue::Array(items) => Value::from(items.iter().map(to_value).collect::<Vec<_>>()),
        JsonValue::Object(entries) => {
            Value::from_pairs(entries.iter().map(|(key, value)| (key.as_str(), to_value(value))))
        }
    }
}

/// Length of compact JSON text, without recursion, and without the escapes of control characters.
pub(crate) fn size_bytes(json: &JsonValue) -> usize {
    let (mut size, mut rest) = (0usize, vec![json]);
    while let Some(json) = rest.pop() {
        size += match json {
            JsonValue::Null => 4,
            JsonValue::Bool(_) => 5,
            JsonValue::Number(number) => number_bytes(number),
            JsonValue::String(text) => text.len() + 2,
            JsonValue::Array(items) => {
                rest.extend(items);
                items.len() + 2
            }
            JsonValue::Object(entries) => {
                rest.extend(entries.values());
                entries.keys().map(|key| key.len() + 4).sum::<usize>() + 2
            }
        };
    }
    size
}

/// Length of a number's text; a fraction is taken as long as they get.
fn number_bytes(number: &Number) -> usize {
    match (number.as_i64(), number.as_u64()) {
        (Some(value), _) => {
            value.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1 + usize::from(value < 0)
        }
        (_, Some(value)) => value.checked_ilog10().unwrap_or(0) as usize + 1,
        _ => 17,
    }
}

/// Checks a value at the door: at most [`limits::JSON_DEPTH_MAX`] levels and `bytes_max` bytes of text. Does not
/// recurse, so that no value can end the stack here.
pub fn check_json(value: &JsonValue, bytes_max: usize) -> Result<(), Error> {
    let mut rest = vec![(value, 1usize)];
    while let Some((json, depth)) = rest.pop() {
        if depth > limits::JSON_DEPTH_MAX {
            let message = format!("the value is nested deeper than {} levels", limits::JSON_DEPTH_MAX);
            return Err(Error::new(&code::VALUE, message).hint("flatten it, or pass the inner part as text"));
        }
        match json {
            JsonValue::Array(items) => rest.extend(items.iter().map(|item| (item, depth + 1))),
            JsonValue::Object(entries) => rest.extend(entries.values().map(|item| (item, depth + 1))),
            _ => {}
        }
    }
    let size = size_bytes(value);
    if size > bytes_max {
        let message = format!("the value has {size} bytes as JSON, and {bytes_max} are allowed");
        return Err(Error::new(&code::VALUE, message).hint("keep large data in a file or behind a URL"));
    }
    Ok(())
}

/// What a result may still cost. One budget serves all results that end in one value.
pub(super) struct Budget {
    bytes_max: usize,
    bytes_left: usize,
}

impl Budget {
    /// For one result.
    pub(super) fn new() -> Self {
        Self::of(limits::EXPRESSION_RESULT_BYTES_MAX)
    }

    /// For a result of at most so many bytes.
    pub(super) fn of(bytes_max: usize) -> Self {
        Self { bytes_max, bytes_left: bytes_max }
    }

    /// Pays for bytes of JSON text.
    pub(super) fn pay(&mut self, bytes: usize) -> Result<(), Error> {
        match self.bytes_left.checked_sub(bytes) {
            Some(left) => self.bytes_left = left,
            None => {
                let message = format!("the result is larger than {} bytes of JSON", self.bytes_max);
                return Err(Error::new(&code::RESULT_SIZE, message)
                    .hint("select the part that is needed, or keep large data in a file or behind a URL"));
            }
        }
        Ok(())
    }

    /// The engine's form to JSON.
    pub(super) fn json_of(&mut self, value: &Value) -> Result<JsonValue, Error> {
        self.convert(value, 1)
    }

    fn convert(&mut self, value: &Value, depth: usize) -> Result<JsonValue, Error> {
        if depth > limits::JSON_DEPTH_MAX {
            let message = format!("the result is nested deeper than {} levels", limits::JSON_DEPTH_MAX);
            return Err(Error::new(&code::RESULT, message));
        }
        Ok(match value.kind() {
            ValueKind::Undefined => {
                return Err(super::error::from_engine(&minijinja::Error::from(
                    minijinja::ErrorKind::UndefinedError,
                )));
            }
            ValueKind::None => {
                self.pay(4)?;
                JsonValue::Null
            }
            ValueKind::Bool => {
                self.pay(5)?;
                JsonValue::Bool(value.is_true())
            }
            ValueKind::Number => {
                let number = number(value)?;
                self.pay(number_bytes(&number))?;
                JsonValue::Number(number)
            }
            ValueKind::String => {
                let text = value.as_str().unwrap_or_default();
                self.pay(text.len() + 2)?;
                JsonValue::String(text.to_owned())
            }
            ValueKind::Seq | ValueKind::Iterable => {
                self.pay(2)?;
                let mut items = Vec::new();
                for item in value.try_iter().map_err(|error| super::error::from_engine(&error))?.checked() {
                    self.pay(1)?;
                    let item = item.map_err(|error| super::error::from_engine(&error))?;
                    items.push(self.convert(&item, depth + 1)?);
                }
                JsonValue::Array(items)
            }
            ValueKind::Map => self.convert_map(value, depth)?,
            kind => {
                let message = format!("the result is {} and has no JSON form", kind_name(kind));
                return Err(Error::new(&code::RESULT, message));
            }
        })
    }

    fn convert_map(&mut self, value: &Value, depth: usize) -> Result<JsonValue, Error> {
        self.pay(2)?;
        let mut entries = Map::new();
        for key in value.try_iter().map_err(|error| super::error::from_engine(&error))?.checked() {
            let key = key.map_err(|error| super::error::from_engine(&error))?;
            let text = match key.kind() {
                ValueKind::String => key.as_str().unwrap_or_default().to_owned(),
                ValueKind::Number | ValueKind::Bool => key.to_string(),
                kind => {
                    let message = format!("a key of the result is {}", kind_name(kind));
                    return Err(Error::new(&code::RESULT, message).hint("keys of objects are text"));
                }
            };
            self.pay(text.len() + 4)?;
            let item = value.get_item(&key).map_err(|error| super::error::from_engine(&error))?;
            entries.insert(text, self.convert(&item, depth + 1)?);
        }
        Ok(JsonValue::Object(entries))
    }
}

/// A number of the engine as one of JSON.
fn number(value: &Value) -> Result<Number, Error> {
    if value.is_integer() {
        if let Ok(number) = i64::try_from(value.clone()) {
            return Ok(Number::from(number));
        }
        if let Ok(number) = u64::try_from(value.clone()) {
            return Ok(Number::from(number));
        }
        return Err(Error::new(&code::RESULT, "the result is a whole number of more than 64 bits")
            .hint("write `|float` to give up its last digits"));
    }
    f64::try_from(value.clone()).ok().and_then(Number::from_f64).ok_or_else(|| {
        Error::new(&code::RESULT, "the result is infinite or not a number")
            .hint("JSON has finite numbers only; test the divisor first")
    })
}

/// What a kind is called in messages.
pub(super) fn kind_name(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Undefined => "undefined",
        ValueKind::None => "null",
        ValueKind::Bool => "a boolean",
        ValueKind::Number => "a number",
        ValueKind::String => "text",
        ValueKind::Seq | ValueKind::Iterable => "a list",
        ValueKind::Map => "an object",
        ValueKind::Bytes => "bytes",
        ValueKind::Plain => "a function",
        ValueKind::Invalid => "invalid",
        _ => "of an unknown kind",
    }
}

/// What a JSON value is called in messages.
pub(crate) fn json_kind(value: &JsonValue) -> &'static str {
    match value {
        JsonValue::Null => "null",
        JsonValue::Bool(_) => "a boolean",
        JsonValue::Number(_) => "a number",
        JsonValue::String(_) => "text",
        JsonValue::Array(_) => "a list",
        JsonValue::Object(_) => "an object",
    }
}

/// A scalar as text; lists and objects are an error that names them.
pub(super) fn scalar_text(value: &JsonValue) -> Result<String, Error> {
    match value {
        JsonValue::String(text) => Ok(text.clone()),
        JsonValue::Array(_) | JsonValue::Object(_) => {
            let message = format!("text is needed here and the value is {}", json_kind(value));
            Err(Error::new(&code::NOT_TEXT, message)
                .hint("write `|to_json` for its JSON text, `|join(', ')` for a list, or name the member that is meant"))
        }
        other => Ok(other.to_string()),
    }
}
