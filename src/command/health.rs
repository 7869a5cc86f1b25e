//! `chainbot health`: how well the server does, by component.

use serde_json::Value;

use crate::args::Query;
use crate::error::Result;
use crate::output::{self, printable};
use crate::session::Session;

/// From this score on the exit code is 0.
const GOOD_ENOUGH: f64 = 0.5;

/// Shows the health of the server.
pub async fn run(args: &Query) -> Result<u8> {
    let session = Session::remote(&args.place)?;
    let report: Value = session.client.get("/health").await?;
    let score = report["score"].as_f64().unwrap_or(0.0);
    if args.json.json {
        output::json(&report)?;
    } else {
        let mut rows = vec![["COMPONENT", "STATUS", "SCORE", "REASON"].map(str::to_owned).to_vec()];
        for (name, check) in report["checks"].as_object().into_iter().flatten() {
            rows.push(row(name, check, check["reason"].as_str().unwrap_or_default()));
        }
        rows.push(row("all", &report, report["detail"].as_str().unwrap_or_default()));
        output::table(&rows)?;
    }
    Ok(u8::from(score < GOOD_ENOUGH))
}

fn row(name: &str, check: &Value, reason: &str) -> Vec<String> {
    let score = check["score"].as_f64().map_or_else(String::new, |score| format!("{score:.2}"));
    vec![printable(name), printable(check["status"].as_str().unwrap_or_default()), score, printable(reason)]
}
