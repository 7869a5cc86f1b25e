//! Reads maps of a setting field by field: names of entries, kinds of fields, what is unknown, what is lacking. Says every problem.

use serde_json::{Map, Value, json};

use super::check::Problem;
use super::reference::Reference;
use crate::error::similar;
use crate::model::document::NodeValue;
use crate::model::{Node, Pos};
use crate::time::parse_duration;

/// One entry in the reading.
pub(super) struct Fields<'a> {
    /// For messages: `provider`.
    what: &'static str,
    node: &'a Node,
    pub problems: Vec<Problem>,
    out: Map<String, Value>,
}

/// A map from names to entries, in normal form. `read` fills one entry; a field that is not said is not there.
pub(super) fn entries(
    what: &'static str,
    node: &Node,
    most: usize,
    known: &[&str],
    read: impl Fn(&mut Fields<'_>),
) -> Result<Value, Vec<Problem>> {
    let NodeValue::Map(entries) = &node.value else {
        return Err(vec![Problem::new(node.pos, format!("this takes a map from names to {what}s"))]);
    };
    let (mut out, mut problems) = (Map::new(), Vec::new());
    if let Some((_, pos, _)) = entries.get(most) {
        problems.push(Problem::new(*pos, format!("there are more than {most} {what}s")));
    }
    for (name, pos, node) in entries.iter().take(most) {
        let mut fields = Fields { what, node, problems: Vec::new(), out: Map::new() };
        if !is_name(name) {
            let wanted = "a name is 1 to 63 lower-case letters, digits, `_`, `-` or `.`, and begins with a letter or digit";
            fields.problems.push(Problem::new(*pos, wanted));
        }
        if fields.is_map(known) {
            read(&mut fields);
        }
        let Fields { problems: found, out: entry, .. } = fields;
        problems.extend(found.into_iter().map(|mut problem| {
            problem.below.insert_str(0, &format!(".{name}"));
            problem
        }));
        out.insert(name.clone(), Value::Object(entry));
    }
    if problems.is_empty() { Ok(Value::Object(out)) } else { Err(problems) }
}

/// A name that people write.
pub(super) fn is_name(name: &str) -> bool {
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.');
    name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.len() <= 63
        && name.chars().all(rest)
}

/// The name of a secret, or a reference to one.
pub(super) fn is_secret(text: &str) -> bool {
    let is_name = text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    is_name || Reference::begins(text)
}

/// The address of a server: no query, nobody's name, and a host that may be called at all.
pub(super) fn is_base_url(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    }) && crate::net::Endpoint::of_url(text).is_ok()
}

impl Fields<'_> {
    fn is_map(&mut self, known: &[&str]) -> bool {
        let NodeValue::Map(entries) = &self.node.value else {
            let message = format!("a {} is a map of {}", self.what, known.join(", "));
            self.problems.push(Problem::new(self.node.pos, message));
            return false;
        };
        for (name, pos, _) in entries.iter().filter(|(name, _, _)| !known.contains(&name.as_str())) {
            let hint = similar(name, known.iter().copied()).map_or_else(
                || format!("it has {}", known.join(", ")),
                |field| format!("did you mean `{field}`?"),
            );
            let problem = Problem::new(*pos, format!("a {} has no `{name}`", self.what));
            self.problems.push(problem.below(format!(".{name}")).hint(hint));
        }
        true
    }

    /// Adds a problem with a field, or with the whole entry when it is empty.
    pub fn say(&mut self, field: &str, message: impl Into<String>, hint: &str) {
        let pos = self.node.get(field).map_or(self.node.pos, |node| node.pos);
        let below = if field.is_empty() { String::new() } else { format!(".{field}") };
        self.problems.push(Problem::new(pos, message).below(below).hint(hint));
    }

    /// Says that a field must be there, when it is not.
    pub fn must(&mut self, field: &str, hint: &str) {
        if self.node.get(field).is_none() {
            self.say(field, format!("a {} needs `{field}`", self.what), hint);
        }
    }

    /// Says that a field has no place here, when it is there.
    pub fn must_not(&mut self, field: &str, why: &str) {
        if self.node.get(field).is_some() {
            self.say(field, format!("`{field}` has no meaning here: {why}"), "leave it out");
        }
    }

    pub fn put(&mut self, field: &str, value: Value) {
        self.out.insert(field.to_owned(), value);
    }

    /// A text of one line that fits; no message repeats it, for it may be what should be a secret.
    pub fn text(
        &mut self,
        field: &str,
        most: usize,
        fits: impl Fn(&str) -> bool,
        wanted: &str,
    ) -> Option<String> {
        let node = self.node.get(field)?;
        let plain = |text: &&str| {
            !text.is_empty() && text.len() <= most && !text.chars().any(char::is_control) && fits(text)
        };
        match node.as_str().map(str::trim).filter(plain) {
            Some(text) => {
                self.put(field, json!(text));
                Some(text.to_owned())
            }
            None => {
                self.say(field, format!("`{field}` takes {wanted}"), "correct it");
                None
            }
        }
    }

    /// A text of several lines.
    pub fn prose(&mut self, field: &str, most: usize) {
        let Some(node) = self.node.get(field) else { return };
        match node.as_str().map(str::trim).filter(|text| !text.is_empty() && text.len() <= most) {
            Some(text) => self.put(field, json!(text)),
            None => self.say(field, format!("`{field}` takes a text of at most {most} bytes"), "shorten it"),
        }
    }

    /// One of some words.
    pub fn word(&mut self, field: &str, words: &[&str]) -> Option<String> {
        let node = self.node.get(field)?;
        let text = node.as_str().unwrap_or_default();
        if words.contains(&text) {
            self.put(field, json!(text));
            return Some(text.to_owned());
        }
        let hint = similar(text, words.iter().copied())
            .map_or_else(|| "correct it".to_owned(), |word| format!("did you mean `{word}`?"));
        self.say(field, format!("`{field}` is one of {}", words.join(", ")), &hint);
        None
    }

    /// A whole number.
    pub fn number(&mut self, field: &str, min: u64, max: u64) {
        let Some(node) = self.node.get(field) else { return };
        let number = match &node.value {
            NodeValue::Number(number) => number.as_u64().filter(|number| (min..=max).contains(number)),
            _ => None,
        };
        match number {
            Some(number) => self.put(field, json!(number)),
            None => {
                self.say(field, format!("`{field}` takes a whole number from {min} to {max}"), "correct it")
            }
        }
    }

    /// A number.
    pub fn decimal(&mut self, field: &str, min: f64, max: f64) {
        let Some(node) = self.node.get(field) else { return };
        match decimal(node, min, max) {
            Some(number) => self.put(field, json!(number)),
            None => self.say(field, format!("`{field}` takes a number from {min} to {max}"), "correct it"),
        }
    }

    /// A duration, in seconds.
    pub fn duration(&mut self, field: &str, min_s: u64, max_s: u64) {
        let Some(node) = self.node.get(field) else { return };
        let time = match &node.value {
            NodeValue::Number(number) => parse_duration(&number.to_string()),
            NodeValue::String(text) => parse_duration(text),
            _ => None,
        };
        match time.map(|time| time.as_secs_f64()).filter(|s| (min_s as f64..=max_s as f64).contains(s)) {
            Some(seconds) => self.put(field, json!(seconds)),
            None => {
                let message =
                    format!("`{field}` takes seconds from {min_s} to {max_s}, or a duration such as 2m");
                self.say(field, message, "correct it");
            }
        }
    }

    /// `true` or `false`.
    pub fn flag(&mut self, field: &str) {
        match self.node.get(field).map(|node| &node.value) {
            None => {}
            Some(NodeValue::Bool(flag)) => self.put(field, json!(flag)),
            Some(_) => self.say(field, format!("`{field}` takes true or false"), "write it without quotes"),
        }
    }

    /// A map of numbers below a field.
    pub fn numbers(&mut self, field: &str, names: &[&str], max: f64) {
        let Some(node) = self.node.get(field) else { return };
        let NodeValue::Map(entries) = &node.value else {
            return self.say(field, format!("`{field}` is a map of {}", names.join(", ")), "correct it");
        };
        let mut out = Map::new();
        for (name, _, node) in entries {
            match decimal(node, 0.0, max).filter(|_| names.contains(&name.as_str())) {
                Some(number) => drop(out.insert(name.clone(), json!(number))),
                None => {
                    let message =
                        format!("`{field}` has {}, each a number from 0 to {max}", names.join(", "));
                    self.say(field, message, "correct it");
                }
            }
        }
        self.put(field, Value::Object(out));
    }
}

/// A number within bounds.
pub(super) fn decimal(node: &Node, min: f64, max: f64) -> Option<f64> {
    match &node.value {
        NodeValue::Number(number) => number.as_f64().filter(|number| (min..=max).contains(number)),
        _ => None,
    }
}

/// Names in a list under a name: `{smart: [home]}`.
pub(super) fn lists(node: &Node, most: usize) -> Result<Value, Vec<Problem>> {
    let NodeValue::Map(entries) = &node.value else {
        return Err(vec![Problem::new(node.pos, "this takes a map from names to lists of names")]);
    };
    let (mut out, mut problems): (Map<String, Value>, Vec<Problem>) = (Map::new(), Vec::new());
    let mut wrong = |pos: Pos, below: String, message: &str| {
        problems.push(Problem::new(pos, message).below(below));
    };
    if let Some((_, pos, _)) = entries.get(most) {
        wrong(*pos, String::new(), "there are too many");
    }
    for (name, _, node) in entries.iter().take(most) {
        let NodeValue::List(items) = &node.value else {
            wrong(node.pos, format!(".{name}"), "this takes a list of names, such as [home]");
            continue;
        };
        let mut names: Vec<&str> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match item.as_str().filter(|item| is_name(item) && *item != name && !names.contains(item)) {
                Some(item) if names.len() < most => names.push(item),
                _ => wrong(
                    item.pos,
                    format!(".{name}[{index}]"),
                    "this takes the name of another model, each once",
                ),
            }
        }
        out.insert(name.clone(), json!(names));
    }
    if problems.is_empty() { Ok(Value::Object(out)) } else { Err(problems) }
}
