//! Arguments that a tool's schema wants as headers as well, so that what routes requests need not read bodies. Pure.
//!
//! ```text
//! properties: { region: { type: string, x-mcp-header: Region } }      ─►   Mcp-Param-Region: eu
//! ```
//!
//! A schema that wants what cannot be is no tool's: nobody knows what its server would make of half of it.

use serde_json::Value;

use crate::mcp::alone::encoded;

/// Arguments of one tool that may be headers: as many as a request has room for beside its own.
const HEADERS_MAX: usize = 32;
const WORD: &str = "x-mcp-header";

/// The headers of a schema with the properties that they repeat; `None` when they cannot be.
fn wanted(schema: &Value) -> Option<Vec<(&str, &str)>> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    for (property, about) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let Some(header) = about.get(WORD) else { continue };
        let header = header.as_str().filter(|header| is_word(header))?;
        let is_simple =
            matches!(about.get("type").and_then(Value::as_str), Some("string" | "integer" | "boolean"));
        let is_taken = found.iter().any(|(other, _)| other.eq_ignore_ascii_case(header));
        if !is_simple || is_taken || found.len() == HEADERS_MAX {
            return None;
        }
        found.push((header, property));
    }
    Some(found)
}

fn is_word(header: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !header.is_empty() && header.len() <= 128 && header.bytes().all(fits)
}

/// Whether a tool with this schema can be called.
pub(super) fn is_good(schema: &Value) -> bool {
    wanted(schema).is_some()
}

/// The headers of a call. What is missing or null has none.
pub(super) fn headers(schema: &Value, arguments: &Value) -> Vec<(String, String)> {
    let value = |(header, property): (&str, &str)| {
        let value = match arguments.get(property)? {
            Value::String(text) => encoded(text),
            Value::Bool(flag) => flag.to_string(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        Some((format!("mcp-param-{}", header.to_ascii_lowercase()), value))
    };
    wanted(schema).unwrap_or_default().into_iter().filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_are_repeated_as_headers_where_the_schema_says_so() {
        let property = |kind: &str, header: &str| json!({ "type": kind, WORD: header });
        let schema = json!({ "properties": {
            "a": property("string", "Region"), "b": property("integer", "N"), "c": property("boolean", "Sure"),
            "d": property("string", "Gone"), "e": property("string", "None"), "f": { "type": "string" },
        } });
        let arguments = json!({ "a": "größe", "b": 42, "c": false, "e": null, "f": "x" });
        let expected = [
            ("mcp-param-region", "=?base64?Z3LDtsOfZQ==?="),
            ("mcp-param-n", "42"),
            ("mcp-param-sure", "false"),
        ];
        assert_eq!(headers(&schema, &arguments), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
        for (text, value) in [
            ("a b", "a b"),
            (" a", "=?base64?IGE=?="),
            ("a\n", "=?base64?YQo=?="),
            ("", ""),
            ("=?base64?", "=?base64?PT9iYXNlNjQ/?="),
        ] {
            assert_eq!(encoded(text), value, "{text:?}");
        }
    }

    #[test]
    fn a_schema_that_wants_what_cannot_be_is_no_tool_s() {
        for (kind, header) in [
            ("string", ""),
            ("string", "a b"),
            ("string", "a:b"),
            ("string", "é"),
            ("string", "a\tb"),
            ("number", "N"),
            ("object", "O"),
            ("array", "A"),
            ("null", "Nil"),
        ] {
            assert!(
                !is_good(&json!({ "properties": { "p": { "type": kind, WORD: header } } })),
                "{kind} {header:?}"
            );
        }
        let twice = json!({ "properties": { "p": { "type": "string", WORD: "X" }, "q": { "type": "string", WORD: "x" } } });
        assert!(
            !is_good(&twice)
                && is_good(&json!({}))
                && is_good(&json!({ "properties": { "p": { "type": "array" } } }))
        );
    }
}
