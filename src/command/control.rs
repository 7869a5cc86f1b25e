//! `chainbot pause|resume|retry|fork`: what a person does with one run.

use chainbot_core::model::RunView;
use serde_json::{Map, Value, json};

use super::cancel::not_json;
use super::run::with_way_out;
use crate::args::{Fork, OfRun, Pause};
use crate::client::segment;
use crate::error::Result;
use crate::inputs::pairs;
use crate::output;
use crate::session::Session;

/// Holds a run.
pub async fn pause(args: &Pause) -> Result<u8> {
    let reason = args.reason.as_deref().unwrap_or("asked on the command line");
    let body = json!({ "reason": reason });
    let view = send(&args.run, "pause", &body, None).await?;
    show(&args.run, &view, &format!("run {} begins nothing new; it is {}", view.id, view.status.as_str()))
}

/// Lets it go on.
pub async fn resume(args: &OfRun) -> Result<u8> {
    let view = send(args, "resume", &json!({}), None).await?;
    show(args, &view, &format!("run {} goes on; it is {}", view.id, view.status.as_str()))
}

/// Takes a failed run up again.
pub async fn retry(args: &OfRun) -> Result<u8> {
    let view = send(args, "retry", &json!({}), None).await?;
    show(args, &view, &format!("run {} is taken up again; it is {}", view.id, view.status.as_str()))
}

/// Makes a new run with the history of an old one.
pub async fn fork(args: &Fork) -> Result<u8> {
    let mut body = json!({ "from": args.from });
    if !args.inputs.is_empty() {
        // What is not given stays as it was.
        let session = Session::open(&args.run.place, "chainbot fork").await?;
        let asked = session.client.get::<RunView>(&format!("/runs/{}", segment(&args.run.id))).await;
        let closed = session.close().await;
        let mut inputs = match asked.map_err(with_way_out)?.inputs {
            Value::Object(inputs) => inputs,
            _ => Map::new(),
        };
        closed?;
        inputs.extend(pairs(&args.inputs)?);
        body["inputs"] = Value::Object(inputs);
    }
    if !args.variables.is_empty() {
        body["variables"] = Value::Object(pairs(&args.variables)?);
    }
    let view = send(&args.run, "fork", &body, args.key.as_deref()).await?;
    show(&args.run, &view, &format!("run {} was made; it is {}", view.id, view.status.as_str()))
}

async fn send(args: &OfRun, verb: &str, body: &Value, key: Option<&str>) -> Result<RunView> {
    let session = Session::open(&args.place, &format!("chainbot {verb}")).await?;
    let path = format!("/runs/{}/{verb}", segment(&args.id));
    let headers: Vec<(String, String)> =
        key.iter().map(|key| ("idempotency-key".to_owned(), (*key).to_owned())).collect();
    let content = ("application/json", body.to_string().into_bytes());
    let sent = session.client.send("POST", &path, &headers, Some(content)).await;
    let embedded = session.is_embedded();
    let closed = session.close().await;
    let view: RunView = sent.and_then(crate::client::Reply::read).map_err(with_way_out)?;
    closed?;
    if embedded && !view.status.is_terminal() && verb != "pause" && !args.json.json {
        output::note(
            "no server runs: it goes on with the next `chainbot run` or `chainbot start` on this folder",
        );
    }
    Ok(view)
}

fn show(args: &OfRun, view: &RunView, text: &str) -> Result<u8> {
    if args.json.json {
        output::json(&serde_json::to_value(view).map_err(not_json)?)?;
    } else {
        output::line(text)?;
    }
    Ok(0)
}
