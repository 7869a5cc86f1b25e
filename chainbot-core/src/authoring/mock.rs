//! Which reply of the mocks a call gets.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::drive::step_name;
use super::suite::{Mock, Reply};

/// The mocks of one case, and how far each list is used up.
pub(super) struct Mocks<'a> {
    all: &'a BTreeMap<String, Mock>,
    used: HashMap<&'a str, usize>,
}

impl<'a> Mocks<'a> {
    pub(super) fn new(all: &'a BTreeMap<String, Mock>) -> Self {
        Self { all, used: HashMap::new() }
    }

    /// The next reply for a step; a mock for one iteration beats that of the step. Else why there is none.
    pub(super) fn take(&mut self, id: &str, path: &[u32]) -> Result<Reply, String> {
        let exact = step_name(id, path);
        let found = self.all.get_key_value(&exact).or_else(|| self.all.get_key_value(id));
        let Some((name, mock)) = found else { return Err("has no mock".to_owned()) };
        let used = self.used.entry(name).or_default();
        let index = if mock.repeats { 0 } else { *used };
        *used += 1;
        mock.replies.get(index).cloned().ok_or_else(|| {
            format!("calls for the {} time and its mock has {}", ordinal(*used), counted(mock.replies.len()))
        })
    }
}

fn ordinal(n: usize) -> String {
    let end = match (n % 10, n % 100) {
        (1, r) if r != 11 => "st",
        (2, r) if r != 12 => "nd",
        (3, r) if r != 13 => "rd",
        _ => "th",
    };
    format!("{n}{end}")
}

fn counted(n: usize) -> String {
    if n == 1 { "1 reply".to_owned() } else { format!("{n} replies") }
}

/// The output of a mock as the step's executor would give it: what is always there need not be written.
pub(super) fn whole(kind: &str, output: Value) -> Value {
    let filled: &[(&str, Value)] = match kind {
        "api_call" => &[("status_code", json!(200)), ("headers", json!({})), ("data", Value::Null)],
        "webhook" => &[("status_code", json!(200)), ("response", Value::Null)],
        _ => &[],
    };
    let Value::Object(mut object) = output else { return output };
    for (key, value) in filled {
        object.entry(*key).or_insert_with(|| value.clone());
    }
    Value::Object(object)
}
