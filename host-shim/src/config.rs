//! The document that `initialize` gets: `{"file": path, "data_dir": path, "values": {...}}`.
//!
//! The host does not read the file: what it means is the module's business.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result, code};

/// Makes the document from the command line's arguments. What was not given is absent.
pub fn document(file: Option<&Path>, data: Option<&Path>, set: &[String]) -> Result<Value> {
    let mut document = Map::new();
    if let Some(file) = file {
        let meta = std::fs::metadata(file)
            .map_err(|error| wrong(format!("--config `{}`: {error}", file.display())))?;
        if meta.is_dir() {
            return Err(wrong(format!("--config `{}` is a folder; name the file", file.display())));
        }
        document.insert("file".to_owned(), path_value("--config", file)?);
    }
    if let Some(data) = data {
        document.insert("data_dir".to_owned(), path_value("--data", data)?);
    }
    if !set.is_empty() {
        let mut values = Map::new();
        for assignment in set {
            assign(&mut values, assignment)?;
        }
        document.insert("values".to_owned(), Value::Object(values));
    }
    Ok(Value::Object(document))
}

/// Puts one `key.path=value` into the values.
fn assign(values: &mut Map<String, Value>, assignment: &str) -> Result<()> {
    let (path, text) = assignment
        .split_once('=')
        .ok_or_else(|| wrong(format!("--set `{assignment}`: write key=value, such as http.port=8080")))?;
    let mut keys: Vec<&str> = path.split('.').collect();
    let last = keys.pop().filter(|last| !last.is_empty() && keys.iter().all(|key| !key.is_empty()));
    let last = last.ok_or_else(|| wrong(format!("--set `{assignment}`: a part of the key is empty")))?;
    let mut place = values;
    for key in keys {
        let next = place.entry(key).or_insert_with(|| Value::Object(Map::new()));
        place = next.as_object_mut().ok_or_else(|| {
            wrong(format!("--set `{assignment}`: `{key}` already has a value that is no object"))
        })?;
    }
    let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
    place.insert(last.to_owned(), value);
    Ok(())
}

fn path_value(argument: &str, path: &Path) -> Result<Value> {
    let text = path.to_str().ok_or_else(|| {
        wrong(format!("{argument} `{}`: the path is not UTF-8, which JSON needs; rename it", path.display()))
    })?;
    Ok(Value::String(text.to_owned()))
}

fn wrong(message: String) -> Error {
    Error::new(code::CONFIG_ARGUMENT, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values(set: &[&str]) -> Result<Value> {
        let set: Vec<String> = set.iter().map(|text| (*text).to_owned()).collect();
        document(None, Some(Path::new("data")), &set)
    }

    #[test]
    fn assignments_become_nested_values_typed_by_json() {
        let got = values(&["http.port=8080", "http.host=localhost", "a=\"8\"", "b=x=y", "c="]).unwrap();
        let expect = json!({"http": {"port": 8080, "host": "localhost"}, "a": "8", "b": "x=y", "c": ""});
        assert_eq!(got, json!({"data_dir": "data", "values": expect}));
        assert_eq!(document(None, None, &[]).unwrap(), json!({}));
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (set, names) in [
            (vec!["a"], "`a`"),
            (vec!["=1"], "empty"),
            (vec!["a..b=1"], "empty"),
            (vec!["a=1", "a.b=2"], "`a`"),
        ] {
            let error = values(&set).unwrap_err();
            assert!(error.message.contains(names), "{error}");
        }
        let error = document(Some(Path::new("/nonexistent/x.yaml")), None, &[]).unwrap_err();
        assert!(error.message.contains("--config `/nonexistent/x.yaml`"), "{error}");
    }
}
