//! Tests of expressions: tables of cases, hostile sources, what can be reached, what must not end the process.

mod cases;
mod convert;
mod escape;
mod face;
mod jsonpath;
mod killer;
mod reach;
mod transforms;

use std::path::PathBuf;

use serde_json::{Value as JsonValue, json};

use super::{Data, Scope, Volatile};
use crate::time::Timestamp;

/// A run in the middle of its work.
pub(super) struct Run {
    vars: JsonValue,
    steps: JsonValue,
    inputs: Data,
}

impl Run {
    pub(super) fn new() -> Self {
        let rows = json!([
            { "name": "basil", "kind": "herb", "n": 3, "price": 1.5 },
            { "name": "Thyme", "kind": "herb", "n": 1, "price": 2.0 },
            { "name": "rose", "kind": "flower", "n": 2, "price": 4.25 },
        ]);
        Self {
            vars: json!({ "n": 41, "zone": "north", "list": [3, 1, 2], "empty": [], "flag": true, "nothing": null,
                "big": 9_007_199_254_740_993_u64, "json": "{\"a\": [1, 2]}", "text": "Hello, World" }),
            steps: json!({
                "read": { "status": "completed", "output": { "value": 21.5, "unit": "°C", "tags": ["a", "b"] } },
                "fetch": { "status": "failed", "error": { "message": "timeout" }, "output": null },
            }),
            inputs: Data::new(
                json!({ "zone": "south", "count": 3, "rows": rows, "nested": { "deep": { "x": 1 } } }),
            ),
        }
    }

    fn container(&self, name: &str) -> Option<&JsonValue> {
        match name {
            "vars" => Some(&self.vars),
            "steps" => Some(&self.steps),
            "secrets" | "config" => Some(&JsonValue::Null),
            _ => None,
        }
    }
}

impl Scope for Run {
    fn value(&self, name: &str) -> Option<Data> {
        match name {
            "inputs" => Some(self.inputs.clone()),
            "item" => Some(Data::new(json!({ "name": "basil", "n": 3 }))),
            "index" => Some(Data::new(json!(7))),
            "run" => Some(Data::object(vec![
                ("id", Data::new(json!("r1"))),
                ("started_at", Data::new(json!("2026-01-31T08:00:00.000Z"))),
            ])),
            _ => None,
        }
    }

    fn is_container(&self, name: &str) -> bool {
        self.container(name).is_some()
    }

    fn member(&self, container: &str, member: &str) -> Option<Data> {
        self.container(container)?.get(member).cloned().map(Data::new)
    }

    fn members(&self, container: &str) -> Vec<String> {
        let entries = self.container(container).and_then(JsonValue::as_object);
        entries.map(|entries| entries.keys().cloned().collect()).unwrap_or_default()
    }

    fn names(&self) -> Vec<String> {
        ["inputs", "item", "index", "run", "vars", "steps", "secrets", "config"].map(str::to_owned).to_vec()
    }
}

/// A fixed moment and seed.
pub(super) fn volatile() -> Volatile {
    Volatile { now: Timestamp::parse("2026-02-03T04:05:06.789Z").unwrap(), seed: [7; 32] }
}

/// A file or folder beside these tests.
pub(super) fn data_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/expr/tests/data").join(name)
}

/// A scope of values only.
pub(super) struct Values(pub Vec<(&'static str, Data)>);

impl Scope for Values {
    fn value(&self, name: &str) -> Option<Data> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, data)| data.clone())
    }

    fn is_container(&self, _: &str) -> bool {
        false
    }

    fn member(&self, _: &str, _: &str) -> Option<Data> {
        None
    }

    fn members(&self, _: &str) -> Vec<String> {
        Vec::new()
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| (*name).to_owned()).collect()
    }
}
