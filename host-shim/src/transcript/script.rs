//! Reads the lines of a script.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::limits::SCRIPT_BYTES_MAX;

/// One line of a script.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// `describe`
    Describe,
    /// `initialize JSON`
    Initialize(String),
    /// `start`
    Start,
    /// `event` and `force-event`
    Event {
        /// Whether subscriptions are not looked at.
        forced: bool,
        /// The topic.
        topic: String,
        /// The payload.
        payload: String,
    },
    /// `webhook`
    Webhook {
        /// The method.
        method: String,
        /// Path and query.
        path: String,
        /// A JSON object.
        headers: String,
        /// The body.
        body: Vec<u8>,
    },
    /// `wait-event PATTERN`
    WaitEvent(String),
    /// `save NAME KEY`
    Save(String, String),
    /// `health`
    Health,
    /// `extension ID`
    Extension(String),
    /// `stop MS`
    Stop(u32),
    /// `cleanup`
    Cleanup,
}

/// Reads one line after `${NAME}` was replaced; `Err` says what is wrong with it.
pub fn parse(line: &str) -> Result<Command, String> {
    let (word, rest) = match line.split_once(' ') {
        Some((word, rest)) => (word, Some(rest)),
        None => (line, None),
    };
    let alone = |command| match rest {
        None => Ok(command),
        Some(rest) => Err(format!("`{word}` takes nothing, but `{rest}` follows")),
    };
    let one = |what: &str| match rest {
        Some(rest) if !rest.is_empty() && !rest.contains(' ') => Ok(rest.to_owned()),
        _ => Err(format!("write `{word} {what}`")),
    };
    match word {
        "describe" => alone(Command::Describe),
        "start" => alone(Command::Start),
        "health" => alone(Command::Health),
        "cleanup" => alone(Command::Cleanup),
        "initialize" => Ok(Command::Initialize(rest.unwrap_or_default().to_owned())),
        "event" | "force-event" => match rest.and_then(|rest| rest.split_once(' ')) {
            Some((topic, payload)) if !topic.is_empty() => {
                let (topic, payload) = (topic.to_owned(), payload.to_owned());
                Ok(Command::Event { forced: word == "force-event", topic, payload })
            }
            _ => Err(format!("write `{word} TOPIC JSON`")),
        },
        "webhook" => webhook(rest.unwrap_or_default()),
        "wait-event" => one("PATTERN").map(Command::WaitEvent),
        "extension" => one("ID").map(Command::Extension),
        "stop" => match one("MS")?.parse() {
            Ok(ms) => Ok(Command::Stop(ms)),
            Err(_) => Err("write `stop MS` with a number of milliseconds".to_owned()),
        },
        "save" => match rest.and_then(|rest| rest.split_once(' ')) {
            Some((name, key)) if is_name(name) && !key.is_empty() && !key.contains(' ') => {
                Ok(Command::Save(name.to_owned(), key.to_owned()))
            }
            _ => Err("write `save NAME KEY`; a NAME is of A-Z a-z 0-9 _".to_owned()),
        },
        _ => Err(format!("unknown command `{word}`")),
    }
}

/// Reads `METHOD PATH [name: value]... -- BODY`.
fn webhook(rest: &str) -> Result<Command, String> {
    let usage = || "write `webhook METHOD PATH [name: value] -- BODY`".to_owned();
    let (method, rest) = rest.split_once(' ').ok_or_else(usage)?;
    let end = rest.find(' ').unwrap_or(rest.len());
    let (path, mut rest) = rest.split_at(end);
    if method.is_empty() || path.is_empty() {
        return Err(usage());
    }
    let mut headers = Map::new();
    while let Some(after) = rest.strip_prefix(" [") {
        let (header, after) = after.split_once(']').ok_or("a header has no `]`")?;
        let (name, value) =
            header.split_once(": ").ok_or_else(|| format!("write `[name: value]`, not `[{header}]`"))?;
        if name.is_empty() || name.contains(' ') || name.chars().any(|c| c.is_ascii_uppercase()) {
            return Err(format!("the header name `{name}` is empty, has a space or a capital letter"));
        }
        if headers.insert(name.to_owned(), Value::String(with_files(value)?)).is_some() {
            return Err(format!("the header `{name}` stands twice"));
        }
        rest = after;
    }
    // White space at the end of a line was dropped, so an empty body leaves `--` alone.
    let body = match rest.strip_prefix(" -- ") {
        Some(body) => match body.strip_prefix("@file:") {
            Some(path) => file(path)?,
            None => body.as_bytes().to_vec(),
        },
        None if rest.is_empty() || rest == " --" => Vec::new(),
        None => return Err(format!("`{}` is neither a header nor ` -- BODY`", rest.trim_start())),
    };
    let headers = Value::Object(headers).to_string();
    Ok(Command::Webhook { method: method.to_owned(), path: path.to_owned(), headers, body })
}

/// Replaces every `@file:PATH` by the file's content without white space at its end.
fn with_files(value: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("@file:") {
        out.push_str(before);
        let end = after.find(' ').unwrap_or(after.len());
        let (path, tail) = after.split_at(end);
        let content =
            String::from_utf8(file(path)?).map_err(|_| format!("the file `{path}` is not UTF-8"))?;
        out.push_str(content.trim_ascii_end());
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

/// Reads a file within the bound.
pub fn file(path: &str) -> Result<Vec<u8>, String> {
    let fail = |error: std::io::Error| format!("the file `{path}`: {error}");
    let meta = std::fs::metadata(path).map_err(fail)?;
    if !meta.is_file() || meta.len() > SCRIPT_BYTES_MAX {
        return Err(format!("`{path}` is not a file of at most {SCRIPT_BYTES_MAX} bytes"));
    }
    std::fs::read(path).map_err(fail)
}

/// Replaces every `${NAME}` by what was saved under that name.
pub fn substitute(line: &str, saved: &BTreeMap<String, String>) -> Result<String, String> {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        match after.split_once('}').filter(|(name, _)| is_name(name)) {
            Some((name, tail)) => {
                out.push_str(saved.get(name).ok_or_else(|| format!("`${{{name}}}` was never saved"))?);
                rest = tail;
            }
            None => {
                let _ = out.write_str("${");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The first string or number behind `"KEY":` in a document, without regard to nesting.
pub fn find_value(document: &[u8], key: &str) -> Result<String, String> {
    let quoted = format!("\"{key}\"");
    let quoted = quoted.as_bytes();
    for at in 0..document.len().saturating_sub(quoted.len() - 1) {
        let Some(rest) = document[at..].strip_prefix(quoted) else { continue };
        let Some(rest) = skip_space(rest).strip_prefix(b":") else { continue };
        let rest = skip_space(rest);
        let value = match rest.first() {
            Some(b'"') => {
                let len = rest[1..].iter().position(|byte| *byte == b'"').ok_or("the string has no end")?;
                &rest[1..=len]
            }
            Some(b'0'..=b'9' | b'-') => {
                let len =
                    rest.iter().take_while(|byte| byte.is_ascii_digit() || b"-+.eE".contains(byte)).count();
                &rest[..len]
            }
            _ => continue,
        };
        if value.contains(&b'\\') {
            return Err(format!("the value of `{key}` holds a backslash"));
        }
        return String::from_utf8(value.to_vec()).map_err(|_| format!("the value of `{key}` is not UTF-8"));
    }
    Err(format!("no string or number stands under `{key}`"))
}

fn skip_space(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
    &text[spaces..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(headers: &str, body: &str) -> Command {
        let (method, path) = ("POST".to_owned(), "/a?b".to_owned());
        Command::Webhook { method, path, headers: headers.to_owned(), body: body.as_bytes().to_vec() }
    }

    #[test]
    fn lines_are_read_as_the_language_says() {
        for (line, expect) in [
            ("initialize", Command::Initialize(String::new())),
            ("initialize {\"a\": 1}", Command::Initialize("{\"a\": 1}".to_owned())),
            ("stop 250", Command::Stop(250)),
            ("webhook POST /a?b", webhook("{}", "")),
            ("webhook POST /a?b --", webhook("{}", "")),
            ("webhook POST /a?b -- {\"x\": 1} -- y", webhook("{}", "{\"x\": 1} -- y")),
            ("webhook POST /a?b [n: v \"w\"] [m: -- x] -- b", webhook(r#"{"m":"-- x","n":"v \"w\""}"#, "b")),
            ("save ID run_id", Command::Save("ID".to_owned(), "run_id".to_owned())),
        ] {
            assert_eq!(parse(line), Ok(expect), "{line}");
        }
        for line in [
            "strat",
            "start now",
            "stop",
            "stop x",
            "stop -1",
            "event",
            "event a",
            "wait-event",
            "wait-event a b",
            "webhook",
            "webhook GET",
            "webhook GET /a body",
            "webhook GET /a [n v]",
            "webhook GET /a [N: v]",
            "webhook GET /a [n: 1] [n: 2]",
            "webhook GET /a [n: @file:/nonexistent]",
            "webhook GET /a -- @file:/nonexistent",
            "save a-b c",
            "save a",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn saved_values_replace_their_names() {
        let saved = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        for (line, expect) in
            [("x${A}y${A}", "x1y1"), ("$A ${} ${a-b} $${A}", "$A ${} ${a-b} $1"), ("${", "${")]
        {
            assert_eq!(substitute(line, &saved).as_deref(), Ok(expect));
        }
        assert!(substitute("${B}", &saved).is_err());
    }

    #[test]
    fn a_value_is_found_by_its_key() {
        let document = br#"{"id":null,"x":{"id" : "a-1"},"n":-1.5e3,"b":"\\","e":""}"#;
        for (key, expect) in
            [("id", Ok("a-1")), ("n", Ok("-1.5e3")), ("e", Ok("")), ("b", Err(())), ("z", Err(()))]
        {
            let got = find_value(document, key);
            assert_eq!(got.as_deref().map_err(|_| ()), expect, "{key}");
        }
        assert!(find_value(b"", "id").is_err());
    }
}
