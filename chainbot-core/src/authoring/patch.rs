//! A definition changed in part: a JSON merge patch (RFC 7396) over its tree.
//!
//! What the patch does not name stays, with its order. Comments do not: they are in the version before. The result is checked as
//! any definition is, so a key that there is not is refused there.

use serde_json::Value;

use super::import::{value::from_json, yaml};
use crate::error::code::definition as code;
use crate::error::{Error, Pos, Result};
use crate::model::document::{Node, NodeValue};

/// The definition with the patch in it, as YAML.
pub fn patch(source: &str, patch: &Value) -> Result<String> {
    let mut tree = crate::validate::document(source).map_err(|problems| {
        // It was checked when it was stored.
        Error::new(&code::INVALID, "the definition does not parse").diagnostics_of(problems)
    })?;
    merge(&mut tree, patch);
    Ok(yaml::write(&tree))
}

fn merge(target: &mut Node, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = from_json(patch);
        return;
    };
    if !matches!(target.value, NodeValue::Map(_)) {
        target.value = NodeValue::Map(Vec::new());
    }
    let NodeValue::Map(entries) = &mut target.value else { return };
    for (key, change) in changes {
        let at = entries.iter().position(|(name, _, _)| name == key);
        match (at, change) {
            (Some(at), Value::Null) => {
                entries.remove(at);
            }
            (None, Value::Null) => {}
            (Some(at), change) => merge(&mut entries[at].2, change),
            (None, change) => {
                let mut new = Node { pos: Pos::default(), value: NodeValue::Null };
                merge(&mut new, change);
                entries.push((key.clone(), Pos::default(), new));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::patch;

    #[test]
    fn a_patch_changes_what_it_names_and_keeps_the_order_of_the_rest() {
        let source = "name: a\n# a comment\nvars: { z: 1, a: 2 }\ntimeout: 1h\nsteps:\n  - id: x\n";
        let made = patch(source, &json!({ "timeout": null, "vars": { "a": 3, "b": { "c": null, "d": 4 } } }))
            .unwrap();
        assert_eq!(made, "name: a\nvars: { z: 1, a: 3, b: { d: 4 } }\nsteps:\n  - { id: x }\n");
        let made = patch(&made, &json!({ "steps": [], "vars": "text" })).unwrap();
        assert_eq!(made, "name: a\nvars: text\nsteps: []\n");
        assert_eq!(patch("name: a\n", &json!([1])).unwrap(), "- 1\n");
    }
}
