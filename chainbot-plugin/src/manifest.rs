//! The manifest: what the module is, as a JSON document.
//!
//! The core says what it offers; this file adds what belongs to the boundary. Invariants: no instance, no threads, no effects;
//! `extensions` names only what `get_extension` has.

use chainbot_abi::{ABI_MAJOR, ABI_MINOR};
use serde_json::{Value, json};

use crate::extension;
use crate::limits::BODY_BYTES_MAX;

/// The document.
pub fn document() -> String {
    let mut manifest = json!({
        "description": "Durable workflows and agents that survive a power cut at any instant",
        "capabilities": ["workflow_orchestration", "real_time_monitoring"],
        "api_endpoints": {
            "health": "/api/chainbot/health", "metrics": "/api/chainbot/metrics",
            "workflows": "/api/chainbot/workflows", "runs": "/api/chainbot/runs",
        },
        "event_topics": { "publish": ["chainbot.#"], "subscribe": [] },
        "webhooks": [{ "method": "*", "path": "/", "max_body": BODY_BYTES_MAX }],
        "config_schema": { "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object" },
    });
    merge(&mut manifest, chainbot_core::app::manifest());
    merge(
        &mut manifest,
        json!({
            "abi": format!("{ABI_MAJOR}.{ABI_MINOR}"),
            "commit": env!("CHAINBOT_COMMIT"),
            "extensions": extension::IDS,
            "unload": "never",
            // A free port: whoever tries the module out may do so beside one that runs.
            "trial_values": { "api": { "port": 0 } },
        }),
    );
    manifest.to_string()
}

/// Members of `over` replace those of `base`.
fn merge(base: &mut Value, over: Value) {
    if let (Value::Object(base), Value::Object(over)) = (base, over) {
        base.extend(over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_has_every_member_of_the_contract() {
        let manifest: Value = serde_json::from_str(&document()).unwrap();
        for member in [
            "name",
            "version",
            "abi",
            "commit",
            "description",
            "capabilities",
            "api_endpoints",
            "event_topics",
            "webhooks",
            "config_schema",
            "extensions",
            "unload",
            "trial_values",
        ] {
            assert!(!manifest[member].is_null(), "{member} is missing");
        }
        assert_eq!(manifest["name"], "chainbot");
        assert_eq!(manifest["abi"], "1.0");
        assert_eq!(manifest["extensions"], json!(["alex.metrics/1", "alex.drain/1", "alex.reconfigure/1"]));
        assert!(manifest["storage"]["version"].as_u64().is_some_and(|version| version > 0));
        assert_eq!(manifest["unload"], "never");
    }
}
