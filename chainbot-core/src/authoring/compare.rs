//! Compares what came with what was expected, and names the first difference.

use serde_json::Value;

/// Longest value in a message.
const SHOWN_CHARS: usize = 200;

/// How much must agree.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it.
    Exact,
    /// Keys that are not expected may be there besides.
    AsFarAsGiven,
}

/// The first difference, as `at: this, not that`.
pub(super) fn difference(expected: &Value, actual: &Value, extent: Extent) -> Option<String> {
    at("", expected, actual, extent)
}

fn at(path: &str, expected: &Value, actual: &Value, extent: Extent) -> Option<String> {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            for (key, expected) in expected {
                let path = format!("{path}.{key}");
                match actual.get(key) {
                    Some(actual) => {
                        if let Some(found) = at(&path, expected, actual, extent) {
                            return Some(found);
                        }
                    }
                    None => return Some(format!("{}is missing, expected {}", said(&path), shown(expected))),
                }
            }
            let more = actual.iter().find(|(key, _)| !expected.contains_key(*key));
            more.filter(|_| extent == Extent::Exact).map(|(key, value)| {
                format!("{}is {}, and was not expected", said(&format!("{path}.{key}")), shown(value))
            })
        }
        (Value::Array(expected), Value::Array(actual)) => {
            let pairs = expected.iter().zip(actual).enumerate();
            for (index, (expected, actual)) in pairs {
                if let Some(found) = at(&format!("{path}[{index}]"), expected, actual, extent) {
                    return Some(found);
                }
            }
            (expected.len() != actual.len())
                .then(|| format!("{}has {} items, expected {}", said(path), actual.len(), expected.len()))
        }
        _ => (!is_same(expected, actual))
            .then(|| format!("{}is {}, expected {}", said(path), shown(actual), shown(expected))),
    }
}

/// `3` and `3.0` are one number.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        _ => a == b,
    }
}

fn said(path: &str) -> String {
    match path.trim_start_matches('.') {
        "" => String::new(),
        path => format!("`{path}` "),
    }
}

/// A value in a message.
pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        let check = |expected: Value, actual: Value, extent, found: Option<&str>| {
            assert_eq!(difference(&expected, &actual, extent).as_deref(), found, "{expected} {actual}");
        };
        check(json!({"a": [1, 2]}), json!({"a": [1, 2.0]}), Extent::Exact, None);
        check(json!({"a": [1]}), json!({"a": [2]}), Extent::Exact, Some("`a[0]` is 2, expected 1"));
        check(json!({}), json!({"b": 1}), Extent::AsFarAsGiven, None);
        check(json!({}), json!({"b": 1}), Extent::Exact, Some("`b` is 1, and was not expected"));
        check(json!({"b": 1}), json!({}), Extent::AsFarAsGiven, Some("`b` is missing, expected 1"));
        check(json!([1]), json!([1, 2]), Extent::AsFarAsGiven, Some("has 2 items, expected 1"));
        check(json!("1"), json!(1), Extent::Exact, Some("is 1, expected \"1\""));
    }
}
