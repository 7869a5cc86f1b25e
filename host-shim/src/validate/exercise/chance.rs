//! Values by chance: texts, documents, configurations. Whoever draws them brings the numbers, so the seed decides all of it.

use std::time::Instant;

use serde_json::{Value, json};

use crate::validate::arguments::Field;
use crate::validate::bench::Bench;
use crate::validate::random::Random;

/// Until the time is over.
pub fn rounds(bench: &Bench) -> impl Iterator<Item = usize> + use<> {
    let until = Instant::now() + bench.fuzz;
    (0..).take_while(move |_| Instant::now() < until)
}

const PIECES: [&str; 24] = [
    "",
    "a",
    "0",
    "-1",
    "null",
    "true",
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    "%00",
    "%",
    "..",
    "//",
    "?",
    "#",
    "\u{0}",
    "\r\n",
    "\u{202e}",
    "\u{1f600}",
    "../../etc/passwd",
    "9223372036854775808",
];

/// A text, mostly readable, sometimes bytes that are none.
pub fn text(random: &mut Random) -> Vec<u8> {
    match random.below(8) {
        0 => random.bytes(64),
        1 => vec![b'a'; random.below(20_000)],
        _ => (0..random.below(6)).flat_map(|_| random.pick(&PIECES).bytes()).collect(),
    }
}

/// Any JSON value.
pub fn document(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth == 0 { 5 } else { 7 }) {
        0 => Value::Null,
        1 => json!(random.once_in(2)),
        2 => json!(random.next() as i64),
        3 => json!(f64::from_bits(random.next())),
        4 => json!(String::from_utf8_lossy(&text(random))),
        5 => (0..random.below(4)).map(|_| document(random, depth - 1)).collect(),
        _ => {
            let member = |random: &mut Random| {
                (String::from_utf8_lossy(&text(random)).into_owned(), document(random, depth - 1))
            };
            Value::Object((0..random.below(4)).map(|_| member(random)).collect())
        }
    }
}

/// JSON, mostly; sometimes cut off, deep, or none.
pub fn json_text(random: &mut Random) -> Vec<u8> {
    let mut bytes = document(random, 3).to_string().into_bytes();
    match random.below(12) {
        0 => bytes.truncate(random.below(bytes.len() + 1)),
        1 => bytes = text(random),
        2 => bytes = vec![b'['; random.below(5_000)],
        3 if !bytes.is_empty() => {
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
        }
        _ => {}
    }
    bytes
}

/// JSON of a document with something else in it: another value, a member more or less, cut off, or no text at all.
pub fn spoiled(random: &mut Random, good: &Value) -> Field {
    let mut value = good.clone();
    let names: Vec<String> = good.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    for _ in 0..random.below(3) {
        match random.below(4) {
            0 if value.is_object() && !names.is_empty() => {
                value.as_object_mut().map(|members| members.remove(random.pick::<String>(&names)));
            }
            1 if value.is_object() => {
                value[String::from_utf8_lossy(&text(random)).into_owned()] = document(random, 2);
            }
            _ if value.is_object() && !names.is_empty() => {
                let name = random.pick::<String>(&names).clone();
                value[name] = document(random, 2);
            }
            _ => value = document(random, 3),
        }
    }
    match random.below(10) {
        0 => Field::Bytes(json_text(random)),
        1 => Field::Null(random.below(3) * 7),
        2 => {
            let mut bytes = value.to_string().into_bytes();
            bytes.truncate(random.below(bytes.len()));
            Field::Bytes(bytes)
        }
        3 => {
            let mut bytes = value.to_string().into_bytes();
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
            Field::Bytes(bytes)
        }
        _ => Field::text(value.to_string()),
    }
}

/// A place of `config_schema`, which says what may stand in `values`: a JSON pointer and the schema of what stands there.
pub type Place = (String, Value);

/// The places that can be given a value.
pub fn places(bench: &Bench) -> Vec<Place> {
    let mut out = Vec::new();
    collect_places(&bench.manifest["config_schema"], "", &mut out);
    out
}

fn collect_places(schema: &Value, at: &str, out: &mut Vec<Place>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let place = format!("{at}/{name}");
        collect_places(inner, &place, out);
        out.push((place, inner.clone()));
    }
}

/// A value that a schema may well take.
fn plausible(random: &mut Random, schema: &Value) -> Value {
    if let Some(choices) = schema["enum"].as_array().filter(|choices| !choices.is_empty()) {
        return random.pick::<Value>(choices).clone();
    }
    let word = match &schema["type"] {
        Value::Array(words) => words.first().and_then(Value::as_str),
        word => word.as_str(),
    };
    match word {
        Some("boolean") => json!(random.once_in(2)),
        Some("integer" | "number") => {
            json!(schema["minimum"].as_i64().unwrap_or(0).saturating_add(random.below(100) as i64))
        }
        _ => document(random, 2),
    }
}

/// The given configuration with something else in it, or text that is none. Where the data lies stays.
pub fn configuration(random: &mut Random, bench: &Bench, places: &[Place]) -> Field {
    let mut config = bench.config.clone();
    for _ in 0..1 + random.below(3) {
        if places.is_empty() || random.once_in(4) {
            config[String::from_utf8_lossy(&text(random)).into_owned()] = document(random, 2);
        } else {
            let (pointer, schema) = random.pick::<Place>(places);
            let value = if random.once_in(2) { plausible(random, schema) } else { document(random, 2) };
            put(&mut config, &format!("/values{pointer}"), value);
        }
    }
    // A module under check has no business elsewhere.
    if let Some(folder) = bench.config.get("data_dir") {
        config["data_dir"] = folder.clone();
    }
    match random.below(10) {
        0 => Field::Bytes(json_text(random)),
        1 => {
            let mut bytes = config.to_string().into_bytes();
            bytes.truncate(random.below(bytes.len()));
            Field::Bytes(bytes)
        }
        _ => Field::text(config.to_string()),
    }
}

/// Puts a value at a pointer, making objects on the way.
fn put(config: &mut Value, pointer: &str, value: Value) {
    let mut place = config;
    for name in pointer.split('/').skip(1) {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[name];
    }
    *place = value;
}
