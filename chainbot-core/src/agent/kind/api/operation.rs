//! One operation: where each argument goes, and a request made of arguments.

use serde_json::{Map, Value, json};

use crate::model::{EffectClass, ToolSpec};
use crate::net::percent_encoded;

/// One operation of an API.
#[derive(Clone, Debug)]
pub struct Operation {
    /// As the document calls it, or `GET /path`.
    pub id: String,
    /// The tool that it is.
    pub tool: ToolSpec,
    pub(super) method: &'static str,
    /// With `{name}` for what is put in.
    pub(super) path: String,
    pub(super) arguments: Vec<Argument>,
    pub(super) body: Option<Body>,
}

/// Where an argument goes.
#[derive(Clone, Debug)]
pub(super) struct Argument {
    /// Among the tool's arguments.
    pub(super) key: String,
    /// In the request.
    pub(super) name: String,
    pub(super) at: At,
    pub(super) is_required: bool,
    /// Its schema is that of an object; members of any other make no parameters of their own.
    pub(super) is_object: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    Path,
    Header,
    Query(Style),
}

/// How a list or an object becomes text in a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// `a=1&a=2`; members of an object by their own names.
    Each,
    /// `a=1,2`, with this between two.
    Joined(char),
    /// `a[x]=1`.
    Deep,
}

#[derive(Clone, Debug)]
pub(super) struct Body {
    pub(super) key: String,
    pub(super) is_required: bool,
    pub(super) form: Form,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// With its content type, where that is not the usual one.
    Json(Option<String>),
    Pairs,
    Text(String),
}

impl Operation {
    /// The input of an `api_call`. `Err` says what is wrong with the arguments, for whoever gave them.
    pub(super) fn request(&self, base: &str, arguments: &Value) -> Result<Map<String, Value>, String> {
        let empty = Map::new();
        let arguments = match arguments {
            Value::Object(arguments) => arguments,
            Value::Null => &empty,
            _ => return Err("the arguments are no object".to_owned()),
        };
        self.check_names(arguments)?;
        let (mut path, mut query, mut headers) = (self.path.clone(), Map::new(), Map::new());
        for Argument { key, name, at, is_required, is_object } in &self.arguments {
            let value = arguments.get(key).filter(|value| !value.is_null());
            let Some(value) = value else {
                if *is_required {
                    return Err(format!("the argument `{key}` is missing"));
                }
                continue;
            };
            if value.is_object() && !is_object {
                return Err(format!("the argument `{key}` is an object, and none fits there"));
            }
            match at {
                At::Path => {
                    let text = joined(value, ',', key, percent_encoded)?;
                    if text.is_empty() {
                        return Err(format!("the argument `{key}` is empty and stands in the path"));
                    }
                    path = path.replace(&format!("{{{name}}}"), &text);
                }
                At::Header => {
                    let text = joined(value, ',', key, str::to_owned)?;
                    if text.chars().any(char::is_control) {
                        return Err(format!(
                            "the argument `{key}` holds a line break and goes into a header"
                        ));
                    }
                    headers.insert(name.clone(), Value::String(text));
                }
                At::Query(style) => into_query(&mut query, name, value, *style, key)?,
            }
        }
        // Whatever stands there by now: it would lead out of the path that the document has.
        let is_dots =
            |part: &str| matches!(part.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
        if path.split('/').any(is_dots) {
            return Err("an argument of the path is `.` or `..`".to_owned());
        }
        let mut input = Map::new();
        input.insert("url".to_owned(), Value::String(format!("{base}{path}")));
        input.insert("method".to_owned(), Value::from(self.method));
        input.insert("query".to_owned(), Value::Object(query));
        self.put_body(arguments, &mut input, &mut headers)?;
        input.insert("headers".to_owned(), Value::Object(headers));
        Ok(input)
    }

    fn check_names(&self, arguments: &Map<String, Value>) -> Result<(), String> {
        let known = || {
            self.arguments.iter().map(|argument| &argument.key).chain(self.body.iter().map(|body| &body.key))
        };
        match arguments.keys().find(|key| !known().any(|known| known == *key)) {
            None => Ok(()),
            Some(unknown) => {
                let known: Vec<&str> = known().map(String::as_str).collect();
                let unknown: String = unknown.chars().take(64).collect();
                Err(format!("there is no argument `{unknown}`; there are: {}", known.join(", ")))
            }
        }
    }

    fn put_body(
        &self,
        arguments: &Map<String, Value>,
        input: &mut Map<String, Value>,
        headers: &mut Map<String, Value>,
    ) -> Result<(), String> {
        let Some(Body { key, is_required, form }) = &self.body else { return Ok(()) };
        let Some(body) = arguments.get(key) else {
            return match is_required {
                true => Err(format!("the argument `{key}` is missing")),
                false => Ok(()),
            };
        };
        match form {
            Form::Json(content_type) => {
                headers.extend(content_type.iter().map(|kind| ("Content-Type".to_owned(), json!(kind))));
                input.insert("json".to_owned(), body.clone());
            }
            Form::Pairs => match body {
                Value::Object(_) => {
                    input.insert("form".to_owned(), body.clone());
                }
                _ => {
                    return Err(format!(
                        "the argument `{key}` is no object, and its members are sent as a form"
                    ));
                }
            },
            Form::Text(content_type) => match body {
                Value::String(_) => {
                    headers.insert("Content-Type".to_owned(), json!(content_type));
                    input.insert("body".to_owned(), body.clone());
                }
                _ => return Err(format!("the argument `{key}` is no text")),
            },
        }
        Ok(())
    }
}

/// What doing it twice means, by the method; `is_keyed`: the server tells tries apart by their key.
pub(super) fn class_of(method: &str, is_keyed: bool) -> EffectClass {
    match method {
        "GET" | "HEAD" | "OPTIONS" => EffectClass::ReadOnly,
        "PUT" | "DELETE" => EffectClass::Idempotent,
        _ if is_keyed => EffectClass::Keyed,
        _ => EffectClass::Unsafe,
    }
}

fn into_query(
    query: &mut Map<String, Value>,
    name: &str,
    value: &Value,
    style: Style,
    key: &str,
) -> Result<(), String> {
    match (value, style) {
        (Value::Object(entries), Style::Deep) => {
            for (member, value) in entries {
                query.insert(format!("{name}[{member}]"), Value::String(scalar(value, key)?));
            }
        }
        (Value::Object(entries), Style::Each) => {
            for (member, value) in entries {
                // A name that is taken is that of another argument.
                query.entry(member).or_insert(Value::String(scalar(value, key)?));
            }
        }
        (Value::Array(items), Style::Each) => {
            let items = items.iter().map(|item| scalar(item, key).map(Value::String));
            query.insert(name.to_owned(), Value::Array(items.collect::<Result<_, _>>()?));
        }
        (value, Style::Joined(between)) => {
            query.insert(name.to_owned(), Value::String(joined(value, between, key, str::to_owned)?));
        }
        (value, _) => {
            query.insert(name.to_owned(), Value::String(scalar(value, key)?));
        }
    }
    Ok(())
}

/// Scalars of a list with something between them.
fn joined(
    value: &Value,
    between: char,
    key: &str,
    encode: impl Fn(&str) -> String,
) -> Result<String, String> {
    let items = match value {
        Value::Array(items) => items.as_slice(),
        other => std::slice::from_ref(other),
    };
    let parts =
        items.iter().map(|item| Ok(encode(&scalar(item, key)?))).collect::<Result<Vec<_>, String>>()?;
    Ok(parts.join(&between.to_string()))
}

fn scalar(value: &Value, key: &str) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        _ => Err(format!("the argument `{key}` holds a list, an object or null where text or a number fits")),
    }
}
