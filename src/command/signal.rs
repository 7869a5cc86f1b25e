//! `chainbot signal`: hands a signal to a run.

use chainbot_core::model::RunView;
use serde_json::{Value, json};

use super::cancel::not_json;
use super::run::with_way_out;
use crate::args::Signal;
use crate::client::segment;
use crate::error::{Error, Result, code};
use crate::output;
use crate::session::Session;

/// Hands over the signal. Durable when this returns.
pub async fn run(args: &Signal) -> Result<u8> {
    let data = match &args.data_json {
        Some(text) => serde_json::from_str(text).map_err(|error| {
            Error::new(&code::INPUT, format!("--data-json is not JSON: {error}")).help(
                r#"quote it for the shell, for example --data-json '{"ok": true}' or --data-json '"text"'"#,
            )
        })?,
        None => Value::Null,
    };
    let session = Session::open(&args.place, "chainbot signal").await?;
    let sent = send(&session, args, &data).await;
    let embedded = session.is_embedded();
    let closed = session.close().await;
    let view = sent.map_err(with_way_out)?;
    closed?;
    if args.json.json {
        output::json(&serde_json::to_value(&view).map_err(not_json)?)?;
        return Ok(0);
    }
    output::line(&format!("run {} has the signal `{}`", view.id, args.name))?;
    if embedded && !view.status.is_terminal() {
        output::note(
            "no server runs: it goes on with the next `chainbot run` or `chainbot start` on this folder",
        );
    }
    Ok(0)
}

async fn send(session: &Session, args: &Signal, data: &Value) -> Result<RunView> {
    let path = format!("/runs/{}/signal/{}", segment(&args.id), segment(&args.name));
    let headers: Vec<(String, String)> =
        args.key.iter().map(|key| ("idempotency-key".to_owned(), key.clone())).collect();
    let body = json!({ "data": data }).to_string().into_bytes();
    session.client.send("POST", &path, &headers, Some(("application/json", body))).await?.read()
}
