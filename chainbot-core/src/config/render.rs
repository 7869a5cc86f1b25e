//! The table for readers: JSON Schema, commented default file, the effective values.

use serde_json::{Map, Value, json};

use super::key::{Key, Kind};
use super::known::KNOWN;
use super::{Setting, table};

/// The effective values in the shape of the file.
pub(super) fn show(settings: &[Setting]) -> Value {
    let mut root = Map::new();
    for setting in settings {
        let mut place = root.entry(setting.key.section()).or_insert_with(|| json!({}));
        for name in setting.key.name().split('.') {
            place = &mut place[name];
        }
        *place = setting.value.clone();
    }
    Value::Object(root)
}

/// JSON Schema of the file and of `values`.
pub(super) fn schema() -> Value {
    let mut sections = Map::new();
    for key in table::KEYS {
        let section = sections.entry(key.section()).or_insert_with(empty_section);
        *below(section, key.name()) = property(key);
    }
    for known in KNOWN {
        let (section, name) = known.split_once('.').unwrap_or((known, "*"));
        let entry = sections.entry(section).or_insert_with(empty_section);
        let note = "Known, without effect in this version.";
        match name.strip_suffix('*') {
            Some("") => *entry = json!({ "type": ["object", "null"], "description": note }),
            Some(map) => {
                *below(entry, map.trim_end_matches('.')) =
                    json!({ "type": ["object", "null"], "description": note });
            }
            None => *below(entry, name) = json!({ "description": note }),
        }
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ChainBot configuration",
        "type": ["object", "null"],
        "properties": sections,
        "additionalProperties": false,
    })
}

/// The place of a key within its section's schema. Maps on the way are made.
fn below<'a>(section: &'a mut Value, name: &str) -> &'a mut Value {
    let mut place = section;
    let mut parts = name.split('.').peekable();
    while let Some(part) = parts.next() {
        place = &mut place["properties"][part];
        if parts.peek().is_some() && place.is_null() {
            *place = empty_section();
        }
    }
    place
}

fn empty_section() -> Value {
    json!({ "type": ["object", "null"], "properties": {}, "additionalProperties": false })
}

fn property(key: &Key) -> Value {
    let mut property = match key.kind {
        Kind::Name => json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" }),
        Kind::Folder | Kind::Address => json!({ "type": "string", "minLength": 1 }),
        Kind::Addresses => json!({ "type": "array", "items": { "type": "string", "minLength": 2 } }),
        Kind::File => json!({ "type": ["string", "null"], "minLength": 1 }),
        Kind::Cron => json!({ "type": ["string", "null"], "minLength": 1 }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Int { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Port => json!({ "type": ["integer", "null"], "minimum": 0, "maximum": 65_535 }),
        Kind::Duration { min_s, max_s } => json!({
            "type": ["number", "string"], "minimum": min_s, "maximum": max_s,
            "pattern": r"^\s*([0-9.]+|([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)\s*$",
        }),
        // The words are taken in any case, which an `enum` cannot say.
        Kind::Choice(words) => json!({ "type": "string", "pattern": any_case(words) }),
        Kind::DatabaseUrl => json!({ "type": "string", "pattern": "^sqlite:[^/].*" }),
        Kind::Prefixes => {
            json!({ "type": "array", "items": { "type": "string", "pattern": r"^([A-Za-z0-9_-]+\.)+$" } })
        }
        Kind::Accounts => super::account::schema(),
        Kind::Pins => super::pins::schema(),
        Kind::McpServers => super::mcp::schema(),
        Kind::Secret => json!({ "type": ["string", "null"], "minLength": 1 }),
        Kind::NameOrNone | Kind::Url | Kind::Key => json!({ "type": ["string", "null"], "minLength": 1 }),
        Kind::Line => json!({ "type": "string", "minLength": 1 }),
        Kind::Amount => json!({ "type": "number", "minimum": 0, "maximum": 1_000_000 }),
        Kind::Temperature => json!({ "type": "number", "minimum": 0, "maximum": 2 }),
        Kind::Providers => super::models::providers_schema(),
        Kind::Models => super::models::models_schema(),
        Kind::Fallback => super::models::fallback_schema(),
        Kind::Presets => super::models::presets_schema(),
        Kind::Constants => json!({ "type": "object", "description": "Any values by name." }),
        Kind::Channels => super::channels::schema(),
        Kind::Grants => json!({ "type": "array", "items": {
            "type": "object",
            "properties": {
                "host": { "type": "string", "description": "One host name or address." },
                "ports": { "type": "array", "minItems": 1,
                           "items": { "type": "integer", "minimum": 1, "maximum": 65_535 } },
                "why": { "type": "string", "minLength": 1, "description": "For whoever reads this later." },
            },
            "required": ["host", "ports", "why"],
            "additionalProperties": false,
        } }),
    };
    property["description"] = Value::from(key.doc);
    property["default"] = serde_json::from_str(key.default).unwrap_or(Value::Null);
    property
}

fn any_case(words: &[&str]) -> String {
    let letter = |c: char| format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase());
    let word = |word: &&str| word.chars().map(letter).collect::<String>();
    format!("^({})$", words.iter().map(word).collect::<Vec<_>>().join("|"))
}

/// The keys by section, each section where its first key stands; plain keys before those of a map.
pub(super) fn in_sections() -> Vec<&'static Key> {
    let sections = table::sections();
    let mut keys: Vec<&Key> = table::KEYS.iter().collect();
    let place = |key: &&Key| sections.iter().position(|section| *section == key.section());
    keys.sort_by_key(|key| (place(key), key.name().contains('.')));
    keys
}

/// A file that sets every key to its default, with what it means and takes above it.
pub(super) fn default_yaml() -> String {
    let mut out = String::from(
        "# ChainBot's configuration. Every key is optional; what stands here are the defaults.\n\
         # Beaten by environment variables (ALEX_OS_CHAINBOT_SECTION__KEY), and those by the host.\n",
    );
    let (mut section, mut group) = ("", "");
    for key in in_sections() {
        if key.section() != section {
            (section, group) = (key.section(), "");
            out.push_str(&format!("\n{section}:\n"));
        }
        let (map, name) = key.name().rsplit_once('.').unwrap_or(("", key.name()));
        if map != group {
            group = map;
            // The table has no map within a map of a section; a test reads the file back.
            out.push_str(&format!("  {map}:\n"));
        }
        let indent = if map.is_empty() { "  " } else { "    " };
        for line in wrapped(key.doc, 100) {
            out.push_str(&format!("{indent}# {line}\n"));
        }
        out.push_str(&format!("{indent}# Takes {}.\n", key.kind.takes()));
        out.push_str(&format!("{indent}{name}: {}\n", key.default));
    }
    out
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line: the list begins with one and only grows");
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + 1 + word.len() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
