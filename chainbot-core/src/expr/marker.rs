//! Markers: what a secret is while an expression is evaluated.
//!
//! `{{ secrets.x }}` gives a marker, text around a number that is drawn for this one evaluation. Nothing but writing it
//! out can be done with it (see [`super::shape`]), and as soon as the value is rendered, [`Marker::split`] takes all
//! markers out again: each string falls into text and names of secrets. So a look-alike in data stays text,
//! because data that names the number would have to know it before it was drawn.

use serde_json::{Value, json};

/// Around a marker: a control character, so that no honest text is searched twice.
const OPEN: char = '\u{2}';
const CLOSE: char = '\u{3}';
/// Stands in the shown value where a secret is.
const SHOWN: &str = "***";

/// The markers of one evaluation.
pub struct Marker(String);

impl Marker {
    /// `key` is drawn by the process and told to nobody; `seed` differs from evaluation to evaluation.
    pub fn new(key: &[u8; 32], seed: &[u8; 32]) -> Self {
        let hash = blake3::keyed_hash(key, seed).to_hex();
        Self(format!("{OPEN}{}:", &hash.as_str()[..32]))
    }

    /// The marker of a secret.
    pub fn text(&self, name: &str) -> String {
        format!("{}{name}{CLOSE}", self.0)
    }

    /// Takes the markers out: the value as it may be shown, and for each string that held one its place and parts.
    pub fn split(&self, value: &Value) -> (Value, Vec<Value>) {
        let mut fills = Vec::new();
        let shown = self.walk(value, &mut String::new(), &mut fills);
        (shown, fills)
    }

    /// Recurses as deep as the value, which its evaluation has bounded.
    fn walk(&self, value: &Value, at: &mut String, fills: &mut Vec<Value>) -> Value {
        let mut below = |step: &str, value: &Value, fills: &mut Vec<Value>| {
            let length = at.len();
            at.push('/');
            at.push_str(&step.replace('~', "~0").replace('/', "~1"));
            let out = self.walk(value, at, fills);
            at.truncate(length);
            out
        };
        match value {
            Value::String(text) => match self.parts(text) {
                None => value.clone(),
                Some((shown, parts)) => {
                    fills.push(json!({ "at": at.as_str(), "parts": parts }));
                    Value::String(shown)
                }
            },
            Value::Array(items) => {
                let items = items.iter().enumerate();
                Value::Array(items.map(|(i, item)| below(&i.to_string(), item, fills)).collect())
            }
            Value::Object(entries) => Value::Object(
                entries.iter().map(|(key, value)| (key.clone(), below(key, value, fills))).collect(),
            ),
            other => other.clone(),
        }
    }

    /// Text as strings and `{"secret": name}`.
    fn parts(&self, text: &str) -> Option<(String, Vec<Value>)> {
        let (mut shown, mut parts, mut rest) = (String::new(), Vec::new(), text);
        while let Some((before, after)) = rest.split_once(self.0.as_str()) {
            let (name, after) = after.split_once(CLOSE)?;
            if !before.is_empty() {
                shown.push_str(before);
                parts.push(json!(before));
            }
            shown.push_str(SHOWN);
            parts.push(json!({ "secret": name }));
            rest = after;
        }
        if parts.is_empty() {
            return None;
        }
        if !rest.is_empty() {
            shown.push_str(rest);
            parts.push(json!(rest));
        }
        Some((shown, parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_become_places_and_parts() {
        let marker = Marker::new(&[1; 32], &[2; 32]);
        let (a, b) = (marker.text("a"), marker.text("b_2"));
        let value = json!({ "x/y": [1, format!("Bearer {a}"), "plain"], "z~": { "w": format!("{a}{b}!") }, "n": null });
        let (shown, fills) = marker.split(&value);
        assert_eq!(shown, json!({ "x/y": [1, "Bearer ***", "plain"], "z~": { "w": "******!" }, "n": null }));
        assert_eq!(
            json!(fills),
            json!([
                { "at": "/x~1y/1", "parts": ["Bearer ", { "secret": "a" }] },
                { "at": "/z~0/w", "parts": [{ "secret": "a" }, { "secret": "b_2" }, "!"] },
            ])
        );
        for fill in &fills {
            assert!(shown.pointer(fill["at"].as_str().unwrap()).is_some(), "the place is found again");
        }
    }

    #[test]
    fn a_look_alike_stays_text() {
        let marker = Marker::new(&[1; 32], &[2; 32]);
        for other in [Marker::new(&[1; 32], &[3; 32]), Marker::new(&[9; 32], &[2; 32])] {
            let value = json!([other.text("a"), "\u{2}00:a\u{3}", "{\"secret\":\"a\"}"]);
            assert_eq!(marker.split(&value), (value.clone(), Vec::new()));
        }
    }
}
