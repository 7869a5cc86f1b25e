//! `chainbot model`: the configured models, and asking one how it calls tools.

use serde_json::{Value, json};

use crate::args::{ModelProbe, ModelView, Query};
use crate::client::segment;
use crate::error::Result;
use crate::output::{self, printable};
use crate::session::Session;

/// Carries the command out.
pub async fn run(view: &ModelView) -> Result<u8> {
    match view {
        ModelView::List(args) => list(args).await,
        ModelView::Probe(args) => probe(args).await,
    }
}

async fn list(args: &Query) -> Result<u8> {
    let session = Session::open(&args.place, "chainbot model").await?;
    let listed = session.client.get::<Value>("/models").await;
    let closed = session.close().await;
    let all = listed?;
    closed?;
    if args.json.json {
        output::json(&all)?;
        return Ok(0);
    }
    let all = all.as_array().cloned().unwrap_or_default();
    if all.is_empty() {
        output::note("no models are configured; see models.models");
        return Ok(0);
    }
    let head =
        ["NAME", "PROVIDER", "MODEL", "CONTEXT", "DIALECT", "IN/OUT PER MILLION", "SERVER", "FALLBACK"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for one in &all {
        let text = |field: &str| one[field].as_str().map(printable).unwrap_or_default();
        let name = if one["default"] == true { format!("{} *", text("name")) } else { text("name") };
        let price = |kind: &str| one["price"][kind].as_f64().unwrap_or_default() / 1e6;
        let names: Vec<&str> =
            one["fallback"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        rows.push(vec![
            name,
            format!("{} ({})", text("provider"), text("kind")),
            text("model"),
            one["context"].to_string(),
            dialect(one),
            format!("{} / {}", price("input_micros"), price("output_micros")),
            if one["breaker"] == "closed" { "asked".to_owned() } else { "left alone".to_owned() },
            names.join(", "),
        ]);
    }
    output::table(&rows)?;
    Ok(0)
}

fn dialect(model: &Value) -> String {
    if model["probing"] == true {
        return "is being asked".to_owned();
    }
    match (model["dialect"].as_str(), model["probe"].is_null()) {
        (Some(dialect), _) => printable(dialect),
        (None, true) => "not asked yet".to_owned(),
        (None, false) => "calls no tools".to_owned(),
    }
}

async fn probe(args: &ModelProbe) -> Result<u8> {
    let session = Session::open(&args.place, "chainbot model").await?;
    let path = format!("/models/{}/probe", segment(&args.name));
    let sent = session.client.post::<Value>(&path, &json!({})).await;
    let closed = session.close().await;
    let model = sent?;
    closed?;
    if args.json.json {
        output::json(&model)?;
        return Ok(0);
    }
    let found = &model["probe"];
    if found.is_null() {
        output::note("it is still being asked; `chainbot model list` shows the result");
        return Ok(0);
    }
    output::line(&format!(
        "{}: {}; right calls of 4: {} in its own words, {} where it must call ({} times ignored), {} held to a schema",
        printable(model["name"].as_str().unwrap_or_default()),
        dialect(&model),
        found["native"],
        found["native_required"],
        found["required_ignored"],
        found["schema"],
    ))?;
    Ok(0)
}
