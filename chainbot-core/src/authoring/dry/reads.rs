//! The shape of a step's output, by how the text of a definition reads it: `steps.fetch.output.data.id` means that there
//! is `data`, and `id` in it.
//!
//! Only for placeholders: it looks at the text alone, so it may be wrong, and then the plan says "unknown".

use serde_json::{Map, Value, json};

/// Reads of one step that are looked at.
const READS_MAX: usize = 200;

/// What the definition reads of a step's output; null when nothing.
pub(super) fn shape(source: &str, id: &str) -> Value {
    let start = format!("steps.{id}.output");
    let mut shape = Value::Null;
    for (at, _) in source.match_indices(&start).take(READS_MAX) {
        let line = source[..at].rsplit('\n').next().unwrap_or_default();
        let members = members(&source[at + start.len()..]);
        let rest = &source[at..];
        let end = rest.find(['\n', '}']).unwrap_or(rest.len());
        let is_list =
            line.contains("for_each") || (line.contains("input:") && rest[end..].starts_with("}}\", by"));
        let is_number = [" sum", " float", " int", "round"].iter().any(|word| rest[..end].contains(word));
        let leaf = match (is_list, is_number) {
            (true, _) => json!([format!("‹one of {}›", named(&members, id))]),
            (_, true) => json!(0),
            _ => json!(format!("‹{}›", named(&members, id))),
        };
        merge(&mut shape, &members, leaf);
    }
    shape
}

fn named(members: &[String], id: &str) -> String {
    match members.last() {
        Some(last) => format!("{last} of {id}"),
        None => format!("output of {id}"),
    }
}

/// `.data['items'].x` as names; an index or anything else ends it.
fn members(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = text;
    loop {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
            // A method is no member.
            if end == 0 || after[end..].starts_with('(') {
                return names;
            }
            names.push(after[..end].to_owned());
            rest = &after[end..];
        } else if let Some(after) = rest.strip_prefix("['").or_else(|| rest.strip_prefix("[\"")) {
            let Some(end) = after.find(['\'', '"']) else { return names };
            names.push(after[..end].to_owned());
            rest = after[end + 1..].strip_prefix(']').unwrap_or_default();
        } else {
            return names;
        }
    }
}

/// Puts a leaf at its place; what has members wins over what has none.
fn merge(shape: &mut Value, members: &[String], leaf: Value) {
    match members.split_first() {
        None => {
            if !shape.is_object() && !shape.is_array() {
                *shape = leaf;
            }
        }
        Some((first, rest)) => {
            if !shape.is_object() {
                *shape = Value::Object(Map::new());
            }
            if let Value::Object(entries) = shape {
                merge(entries.entry(first.clone()).or_insert(Value::Null), rest, leaf);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_what_the_text_reads() {
        let source = "a: steps.x.output.data.id\nb: {{ steps.x.output.data['n m'].k | float }}\nc: steps.xy.output.z\n\
                      for_each: steps.x.output.rows\nd: steps.x.output.data.id.upper()\n";
        let expected = json!({
            "data": { "id": "‹id of x›", "n m": { "k": 0 } }, "rows": ["‹one of rows of x›"],
        });
        assert_eq!(shape(source, "x"), expected);
        assert_eq!(shape(source, "y"), Value::Null);
    }
}
