//! Checks one value against its key and gives it in the one form that the rest reads.
//!
//! Normal forms: durations are numbers of seconds, choices are upper case, addresses are IP addresses, folders and
//! names are text. Says every problem of a value, not only the first.

use std::net::IpAddr;
use std::path::{Component, Path};

use serde_json::{Value, json};

use super::key::{Key, Kind};
use super::reference::Reference;
use crate::error::similar;
use crate::model::document::NodeValue;
use crate::model::{Node, Pos};
use crate::time::parse_duration;

/// Items of one list. Each is written by a person.
const LIST_MAX: usize = 256;
/// Characters of one text. Longer ones are mistakes.
const TEXT_MAX: usize = 1_024;
/// Ports of one grant.
const PORTS_MAX: usize = 64;

/// What is wrong with a value.
pub(super) struct Problem {
    /// Where, in the source.
    pub pos: Pos,
    /// Below the key: `[0].ports`, or empty.
    pub below: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Refused for safety's sake rather than for its shape.
    pub unsafe_setting: bool,
}

impl Problem {
    pub(super) fn new(pos: Pos, message: impl Into<String>) -> Self {
        Self { pos, below: String::new(), message: message.into(), hint: None, unsafe_setting: false }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn below(mut self, below: impl Into<String>) -> Self {
        self.below = below.into();
        self
    }
}

/// Values that expressions see as `config.<name>`.
fn constants(key: &Key, node: &Node) -> Result<Value, Vec<Problem>> {
    let NodeValue::Map(entries) = &node.value else { return Err(vec![wrong(key, node)]) };
    let mut problems = Vec::new();
    for (name, pos, _) in entries {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.len() > 63 || !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(fits)
        {
            let message = "a constant's name is 1 to 63 letters, digits and `_`, and begins with a letter";
            problems.push(Problem::new(*pos, message).below(format!(".{name}")));
        }
    }
    let value = node.to_json();
    if let Err(error) = crate::expr::check_json(&value, crate::limits::CONSTANTS_BYTES_MAX) {
        problems.push(Problem::new(node.pos, format!("the constants: {}", error.message)));
    }
    if problems.is_empty() { Ok(value) } else { Err(problems) }
}

/// The normal form of `node` for `key`, or everything that is wrong with it.
pub(super) fn value(key: &Key, node: &Node) -> Result<Value, Vec<Problem>> {
    let one = |result: Result<Value, Problem>| result.map_err(|problem| vec![problem]);
    match key.kind {
        Kind::Name => one(name(key, node)),
        Kind::Folder => one(folder(key, node)),
        Kind::File => match node.value {
            NodeValue::Null => Ok(Value::Null),
            _ => one(folder(key, node)),
        },
        Kind::Cron => match node.value {
            NodeValue::Null => Ok(Value::Null),
            _ => one(cron(key, node)),
        },
        Kind::Bool => match node.value {
            NodeValue::Bool(value) => Ok(Value::Bool(value)),
            _ => Err(vec![wrong(key, node)]),
        },
        Kind::Int { min, max } => one(integer(key, node, min, max)),
        Kind::Port => match node.value {
            NodeValue::Null => Ok(Value::Null),
            _ => one(integer(key, node, 0, 65_535)),
        },
        Kind::Address => one(address(key, node)),
        Kind::Addresses => addresses(key, node),
        Kind::Duration { min_s, max_s } => one(duration(key, node, min_s, max_s)),
        Kind::Choice(words) => one(choice(key, node, words)),
        Kind::DatabaseUrl => one(database_url(key, node)),
        Kind::Prefixes => prefixes(key, node),
        Kind::Grants => grants(key, node),
        Kind::Accounts => super::account::accounts(items(key, node)?),
        Kind::NameOrNone => one(or_null(node, || one_text(key, node, super::fields::is_name))),
        Kind::Url => one(or_null(node, || one_text(key, node, super::fields::is_base_url))),
        Kind::Key => one(or_null(node, || one_text(key, node, super::fields::is_secret))),
        Kind::Line => one(one_text(key, node, |text| !text.is_empty())),
        Kind::Temperature => super::models::temperature(node).ok_or_else(|| vec![wrong(key, node)]),
        Kind::Amount => super::models::amount(node).ok_or_else(|| vec![wrong(key, node)]),
        Kind::Providers => super::models::providers(node),
        Kind::Models => super::models::models(node),
        Kind::Fallback => super::fields::lists(node, crate::limits::MODELS_MAX),
        Kind::Presets => super::models::presets(node),
        Kind::Constants => constants(key, node),
        Kind::Secret => one(secret(key, node)),
        Kind::Channels => match &node.value {
            NodeValue::Map(entries) => super::channels::channels(entries),
            _ => Err(vec![wrong(key, node)]),
        },
        Kind::McpServers => match &node.value {
            NodeValue::Map(entries) => super::mcp::servers(entries),
            _ => Err(vec![wrong(key, node)]),
        },
        Kind::Pins => match &node.value {
            NodeValue::Map(entries) => super::pins::pins(entries),
            _ => Err(vec![wrong(key, node)]),
        },
    }
}

fn or_null(node: &Node, read: impl FnOnce() -> Result<Value, Problem>) -> Result<Value, Problem> {
    if matches!(node.value, NodeValue::Null) { Ok(Value::Null) } else { read() }
}

/// A text that fits. No message repeats it: somebody may have written a secret where its name goes.
fn one_text(key: &Key, node: &Node, fits: impl Fn(&str) -> bool) -> Result<Value, Problem> {
    match text(key, node).ok().map(str::trim).filter(|text| fits(text)) {
        Some(text) => Ok(Value::from(text)),
        None => Err(Problem::new(node.pos, format!("`{}` takes {}", key.path, key.kind.takes()))),
    }
}

fn wrong(key: &Key, node: &Node) -> Problem {
    Problem::new(node.pos, format!("`{}` takes {}, not {}", key.path, key.kind.takes(), shown(node)))
}

/// The value as a message shows it: short, and never a whole structure.
fn shown(node: &Node) -> String {
    match &node.value {
        NodeValue::Null => "null".to_owned(),
        NodeValue::Bool(value) => value.to_string(),
        NodeValue::Number(value) => value.to_string(),
        NodeValue::String(text) if text.chars().count() > 60 => {
            format!("\"{}…\"", text.chars().take(60).collect::<String>())
        }
        NodeValue::String(text) => format!("\"{text}\""),
        NodeValue::List(_) => "a list".to_owned(),
        NodeValue::Map(_) => "a map".to_owned(),
    }
}

fn text<'a>(key: &Key, node: &'a Node) -> Result<&'a str, Problem> {
    let text = node.as_str().ok_or_else(|| wrong(key, node))?;
    if text.chars().count() > TEXT_MAX {
        return Err(Problem::new(node.pos, format!("`{}` is longer than {TEXT_MAX} characters", key.path)));
    }
    match text.chars().find(|c| c.is_control()) {
        Some(_) => Err(Problem::new(node.pos, format!("`{}` has a control character in it", key.path))),
        None => Ok(text),
    }
}

/// The value itself or the reference; whoever merges the sources hides the value. No message repeats it.
fn secret(key: &Key, node: &Node) -> Result<Value, Problem> {
    match &node.value {
        NodeValue::Null => Ok(Value::Null),
        NodeValue::String(text) if Reference::begins(text) => Ok(Value::from(text.trim())),
        NodeValue::String(text) => match super::reference::weakness(text) {
            None => Ok(Value::from(text.as_str())),
            Some(why) => Err(Problem::new(node.pos, format!("`{}` {why}", key.path))
                .hint("make one with `openssl rand -base64 32`, or leave it out")),
        },
        _ => Err(Problem::new(node.pos, format!("`{}` takes {}", key.path, key.kind.takes()))),
    }
}

fn cron(key: &Key, node: &Node) -> Result<Value, Problem> {
    let text = text(key, node)?;
    match crate::schedule::Schedule::parse_cron(text) {
        Ok(_) => Ok(Value::from(text.trim())),
        Err(why) => Err(Problem::new(node.pos, format!("`{}` is no cron expression: {why}", key.path))),
    }
}

fn name(key: &Key, node: &Node) -> Result<Value, Problem> {
    let text = text(key, node)?;
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if text.is_empty() || text.len() > 64 || !plain {
        return Err(wrong(key, node));
    }
    Ok(Value::from(text))
}

fn folder(key: &Key, node: &Node) -> Result<Value, Problem> {
    let text = text(key, node)?;
    if text.trim().is_empty() {
        return Err(wrong(key, node));
    }
    if text.starts_with('~') {
        return Err(Problem::new(
            node.pos,
            format!("`{}` begins with `~`, which only a shell knows", key.path),
        )
        .hint("write the whole path"));
    }
    Ok(Value::from(text))
}

fn integer(key: &Key, node: &Node, min: u64, max: u64) -> Result<Value, Problem> {
    let NodeValue::Number(number) = &node.value else {
        let problem = wrong(key, node);
        return Err(match node.as_str().map(str::parse::<u64>) {
            Some(Ok(number)) => problem.hint(format!("write {number} without quotes")),
            _ => problem,
        });
    };
    match number.as_u64() {
        Some(value) if (min..=max).contains(&value) => Ok(Value::from(value)),
        _ => Err(wrong(key, node)),
    }
}

fn address(key: &Key, node: &Node) -> Result<Value, Problem> {
    let text = text(key, node)?;
    if text == "localhost" {
        return Ok(Value::from("127.0.0.1"));
    }
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(Value::from(address.to_string())),
        // A name may mean another address tomorrow, and then the API would listen there.
        Err(_) => Err(wrong(key, node).hint("write the address itself, such as 127.0.0.1")),
    }
}

fn addresses(key: &Key, node: &Node) -> Result<Value, Vec<Problem>> {
    let (mut out, mut problems) = (Vec::new(), Vec::new());
    for (index, item) in items(key, node)?.iter().enumerate() {
        match item.as_str().map(str::parse::<IpAddr>) {
            Some(Ok(address)) if !address.is_unspecified() => out.push(Value::from(address.to_string())),
            _ => problems.push(
                Problem::new(item.pos, format!("{} is not the address of a machine", shown(item)))
                    .below(format!("[{index}]"))
                    .hint("write each address itself, such as 127.0.0.1; a range of them is not taken"),
            ),
        }
    }
    if problems.is_empty() { Ok(Value::Array(out)) } else { Err(problems) }
}

fn duration(key: &Key, node: &Node, min_s: u64, max_s: u64) -> Result<Value, Problem> {
    let parsed = match &node.value {
        NodeValue::Number(number) => parse_duration(&number.to_string()),
        NodeValue::String(text) => parse_duration(text),
        _ => None,
    };
    let Some(duration) = parsed else { return Err(wrong(key, node)) };
    let seconds = duration.as_secs_f64();
    // Both bounds are far below 2^52, so the conversion is exact.
    if seconds < min_s as f64 || seconds > max_s as f64 {
        return Err(wrong(key, node));
    }
    Ok(if duration.subsec_nanos() == 0 { json!(duration.as_secs()) } else { json!(seconds) })
}

fn choice(key: &Key, node: &Node, words: &[&'static str]) -> Result<Value, Problem> {
    let text = text(key, node)?;
    let word = text.to_ascii_uppercase();
    match words.iter().find(|known| **known == word) {
        Some(word) => Ok(Value::from(*word)),
        None => {
            let problem = wrong(key, node);
            Err(match similar(&word, words.iter().copied()) {
                Some(word) => problem.hint(format!("did you mean {word}?")),
                None => problem,
            })
        }
    }
}

fn database_url(key: &Key, node: &Node) -> Result<Value, Problem> {
    let text = text(key, node)?;
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        // The address may hold a password, so the message does not repeat it.
        return Err(Problem::new(
            node.pos,
            format!("`{}` names PostgreSQL, which is not in this version", key.path),
        )
        .hint("write sqlite:chainbot.db"));
    }
    let Some(path) = text.strip_prefix("sqlite:") else {
        return Err(Problem::new(node.pos, format!("`{}` takes {}", key.path, key.kind.takes()))
            .hint("write sqlite:chainbot.db"));
    };
    let inside = !path.is_empty()
        && !path.ends_with('/')
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if inside {
        Ok(Value::from(text))
    } else {
        Err(Problem::new(node.pos, format!("`{}` must lie within the data folder", key.path))
            .hint("write a relative path without `..`, such as sqlite:chainbot.db; module.data_dir moves the folder"))
    }
}

fn items<'a>(key: &Key, node: &'a Node) -> Result<&'a [Node], Vec<Problem>> {
    match &node.value {
        NodeValue::List(items) if items.len() <= LIST_MAX => Ok(items),
        NodeValue::List(_) => {
            Err(vec![Problem::new(node.pos, format!("`{}` has more than {LIST_MAX} items", key.path))])
        }
        _ => Err(vec![wrong(key, node)]),
    }
}

fn prefixes(key: &Key, node: &Node) -> Result<Value, Vec<Problem>> {
    let (mut out, mut problems) = (Vec::new(), Vec::new());
    for (index, item) in items(key, node)?.iter().enumerate() {
        let ok = item.as_str().filter(|text| {
            let segments = text.strip_suffix('.').unwrap_or_default();
            text.len() <= TEXT_MAX
                && segments.split('.').all(|segment| {
                    !segment.is_empty()
                        && segment.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
                })
        });
        match ok {
            Some(text) => out.push(Value::from(text)),
            None => problems.push(
                Problem::new(item.pos, format!("{} is not the beginning of a topic", shown(item)))
                    .below(format!("[{index}]"))
                    .hint("write segments of letters, digits, `_`, `-`, each followed by `.`, such as chainbot.user."),
            ),
        }
    }
    if problems.is_empty() { Ok(Value::Array(out)) } else { Err(problems) }
}

fn grants(key: &Key, node: &Node) -> Result<Value, Vec<Problem>> {
    let (mut out, mut problems) = (Vec::new(), Vec::new());
    for (index, item) in items(key, node)?.iter().enumerate() {
        let before = problems.len();
        let grant = grant(item, &mut problems);
        for problem in &mut problems[before..] {
            problem.below.insert_str(0, &format!("[{index}]"));
        }
        out.extend(grant);
    }
    if problems.is_empty() { Ok(Value::Array(out)) } else { Err(problems) }
}

fn grant(item: &Node, problems: &mut Vec<Problem>) -> Option<Value> {
    const FIELDS: [&str; 3] = ["host", "ports", "why"];
    let NodeValue::Map(entries) = &item.value else {
        problems
            .push(Problem::new(item.pos, format!("a grant is {{host, ports, why}}, not {}", shown(item))));
        return None;
    };
    for (name, pos, _) in entries.iter().filter(|(name, _, _)| !FIELDS.contains(&name.as_str())) {
        let hint = match similar(name, FIELDS) {
            Some(field) => format!("did you mean `{field}`?"),
            None => "a grant has host, ports and why".to_owned(),
        };
        problems.push(
            Problem::new(*pos, format!("a grant has no `{name}`")).below(format!(".{name}")).hint(hint),
        );
    }
    let host = field(item, "host", problems).and_then(|node| grant_host(node, problems));
    let ports = field(item, "ports", problems).and_then(|node| grant_ports(node, problems));
    let why = field(item, "why", problems).and_then(|node| match node.as_str().map(str::trim) {
        Some(text) if !text.is_empty() && text.chars().count() <= TEXT_MAX => Some(text),
        _ => {
            problems.push(
                Problem::new(node.pos, "`why` takes a few words for whoever reads this later").below(".why"),
            );
            None
        }
    });
    Some(json!({ "host": host?, "ports": ports?, "why": why? }))
}

fn field<'a>(item: &'a Node, name: &str, problems: &mut Vec<Problem>) -> Option<&'a Node> {
    let found = item.get(name);
    if found.is_none() {
        problems.push(Problem::new(item.pos, format!("the grant lacks `{name}`")).below(format!(".{name}")));
    }
    found
}

/// A host name or an address, never a pattern: a grant opens one machine.
fn grant_host(node: &Node, problems: &mut Vec<Problem>) -> Option<String> {
    let text = node.as_str().unwrap_or_default().trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let named = bare.len() <= 253
        && bare.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        });
    if bare.parse::<IpAddr>().is_ok() || named {
        return Some(bare.to_ascii_lowercase());
    }
    let mut problem =
        Problem::new(node.pos, format!("`host` takes one host name or address, not {}", shown(node)))
            .below(".host");
    if text.contains('*') || text.contains('/') {
        problem = problem
            .hint("a grant names one host, without pattern, scheme, port or path; write one grant a host");
    }
    problem.unsafe_setting = text.contains('*');
    problems.push(problem);
    None
}

fn grant_ports(node: &Node, problems: &mut Vec<Problem>) -> Option<Vec<u16>> {
    let NodeValue::List(items) = &node.value else {
        problems.push(
            Problem::new(node.pos, format!("`ports` takes a list of ports, not {}", shown(node)))
                .below(".ports")
                .hint("write [8080]"),
        );
        return None;
    };
    if items.is_empty() || items.len() > PORTS_MAX {
        let message = format!("`ports` takes 1 to {PORTS_MAX} ports");
        problems.push(Problem::new(node.pos, message).below(".ports"));
        return None;
    }
    let mut ports = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let port = match &item.value {
            NodeValue::Number(number) => {
                number.as_u64().and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0)
            }
            _ => None,
        };
        match port {
            Some(port) => ports.push(port),
            None => problems.push(
                Problem::new(item.pos, format!("a port is a number from 1 to 65535, not {}", shown(item)))
                    .below(format!(".ports[{index}]")),
            ),
        }
    }
    (ports.len() == items.len()).then_some(ports)
}
