//! Pipelines that are ready: what a `processing_type` does when the configuration has no pipeline of its own.
//!
//! All read `data` of the task's input.

use serde_json::{Value, json};

use super::compile::Processing;

/// Rows of a sample beside figures.
const SAMPLE_ROWS: usize = 20;

/// As the configuration would write it.
pub(super) fn pipeline(of: Processing) -> Value {
    match of {
        Processing::General => json!([{ "read": {} }, { "write": "value" }]),
        Processing::Analysis => {
            json!([{ "read": {} }, { "stats": null }, { "limit": SAMPLE_ROWS }, { "write": "value" }])
        }
        Processing::Reporting => json!([{ "read": {} }, { "stats": null }, { "write": "csv" }]),
    }
}
