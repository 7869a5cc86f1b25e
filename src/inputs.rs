//! Inputs of a run from the command line: `--input k=v` on top of `--input-file`.

use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result, code};

/// A definition is at most a megabyte; anything much larger is not one.
const SOURCE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The input object. A value is JSON if it parses as JSON, else text; `k:=v` would be a third way and is not one.
pub fn read(pairs: &[String], file: Option<&Path>) -> Result<Value> {
    let mut inputs = match file {
        Some(path) => read_file(path)?,
        None => Map::new(),
    };
    inputs.extend(self::pairs(pairs)?);
    Ok(Value::Object(inputs))
}

/// Names and values written as `name=value`.
pub fn pairs(pairs: &[String]) -> Result<Map<String, Value>> {
    named("input", pairs)
}

/// As [`pairs`], of an option that is called so.
pub fn named(option: &str, pairs: &[String]) -> Result<Map<String, Value>> {
    let mut values = Map::new();
    for pair in pairs {
        let Some((name, text)) = pair.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(Error::new(&code::INPUT, format!("`{pair}` is not name=value"))
                .help(format!("write --{option} name=value, for example --{option} zone=north")));
        };
        if values.contains_key(name) {
            return Err(Error::new(&code::INPUT, format!("the {option} `{name}` is given twice"))
                .help(format!("give a list as JSON, for example --{option} 'rows=[1, 2]'")));
        }
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
        values.insert(name.to_owned(), value);
    }
    Ok(values)
}

fn read_file(path: &Path) -> Result<Map<String, Value>> {
    let text = source(path)?;
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    let document = chainbot_core::validate::document(&text).map_err(|problems| {
        let first = problems.first().map_or_else(String::new, |problem| {
            format!(" at line {}, column {}: {}", problem.pos.line, problem.pos.column, problem.message)
        });
        Error::new(&code::INPUT, format!("{} does not parse{first}", shown(path)))
    })?;
    match document.to_json() {
        Value::Object(inputs) => Ok(inputs),
        Value::Null => Ok(Map::new()),
        _ => Err(Error::new(&code::INPUT, format!("{} is not an object of inputs", shown(path)))
            .help("write one `name: value` a line")),
    }
}

/// The text of a file, or of standard input for `-`.
pub fn source(path: &Path) -> Result<String> {
    let failed = |error: std::io::Error| {
        let error = Error::new(&code::SOURCE, format!("{} cannot be read: {error}", shown(path)));
        error.help("check the path; `-` reads standard input")
    };
    let mut bytes = Vec::new();
    if is_stdin(path) {
        std::io::stdin().lock().take(SOURCE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(SOURCE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    }
    if bytes.len() as u64 > SOURCE_BYTES_MAX {
        return Err(failed(std::io::Error::other(format!("it is over {SOURCE_BYTES_MAX} bytes"))));
    }
    String::from_utf8(bytes).map_err(|_| failed(std::io::Error::other("it is not UTF-8 text")))
}

/// Whether standard input is meant.
pub fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The path as messages name it.
pub fn shown(path: &Path) -> String {
    if is_stdin(path) { "<stdin>".to_owned() } else { path.display().to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(pairs: &[&str], expect: Value) {
        let pairs: Vec<String> = pairs.iter().map(|pair| (*pair).to_owned()).collect();
        assert_eq!(read(&pairs, None).unwrap(), expect, "{pairs:?}");
    }

    #[test]
    fn a_value_is_json_if_it_parses_and_text_otherwise() {
        check(&[], json!({}));
        check(
            &["zone=north", "n=3", "on=true", "rows=[1, 2]"],
            json!({"zone": "north", "n": 3, "on": true, "rows": [1, 2]}),
        );
        check(
            &["url=http://x/?a=b", "empty=", "quoted=\"3\""],
            json!({"url": "http://x/?a=b", "empty": "", "quoted": "3"}),
        );
    }

    #[test]
    fn what_is_not_name_and_value_is_refused() {
        for pairs in
            [vec!["zone".to_owned()], vec!["=x".to_owned()], vec!["a=1".to_owned(), "a=2".to_owned()]]
        {
            assert_eq!(read(&pairs, None).unwrap_err().code(), "CB-0902", "{pairs:?}");
        }
    }

    #[test]
    fn pairs_beat_the_file_of_json_or_yaml() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["zone: south\nn: 1\n", r#"{"zone": "south", "n": 1}"#] {
            let path = dir.path().join("inputs");
            std::fs::write(&path, text).unwrap();
            let inputs = read(&["zone=north".to_owned()], Some(&path)).unwrap();
            assert_eq!(inputs, json!({"zone": "north", "n": 1}));
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("inputs");
        assert_eq!(read(&[], Some(&path)).unwrap_err().code(), "CB-0901");
        std::fs::write(&path, "[1]").unwrap();
        assert_eq!(read(&[], Some(&path)).unwrap_err().code(), "CB-0902");
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(read(&[], Some(&path)).unwrap_err().message().contains("UTF-8"));
    }
}
