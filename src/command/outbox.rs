//! `chainbot outbox`: messages that leave after their steps.

use serde_json::{Value, json};

use crate::args::{OfMessage, OutboxList, OutboxView};
use crate::client::segment;
use crate::error::Result;
use crate::output::{self, printable};
use crate::session::Session;

/// Messages that are listed at most.
const LISTED_MAX: usize = 1_000;

/// Carries the command out.
pub async fn run(view: &OutboxView) -> Result<u8> {
    match view {
        OutboxView::List(args) => list(args).await,
        OutboxView::Resend(args) => resend(args).await,
        OutboxView::Remove(args) => remove(args).await,
    }
}

async fn list(args: &OutboxList) -> Result<u8> {
    let session = Session::open(&args.place, "chainbot outbox").await?;
    let path = args
        .status
        .map_or_else(|| "/outbox".to_owned(), |status| format!("/outbox?status={}", status.word()));
    let listed = session.client.list::<Value>(&path, LISTED_MAX).await;
    let closed = session.close().await;
    let (all, total) = listed?;
    closed?;
    if args.json.json {
        output::json(&json!(all))?;
        return Ok(0);
    }
    if all.is_empty() {
        output::note("no messages");
        return Ok(0);
    }
    let head = ["ID", "STATUS", "TRIES", "NEXT TRY", "STEP", "TO", "ERROR"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(all.iter().map(row));
    output::table(&rows)?;
    if total > all.len() {
        output::note(&format!("{} of {total} are shown", all.len()));
    }
    Ok(0)
}

async fn resend(args: &OfMessage) -> Result<u8> {
    let session = Session::open(&args.place, "chainbot outbox").await?;
    let path = format!("/outbox/{}/resend", segment(&args.id));
    let sent = session.client.post::<Value>(&path, &json!({})).await;
    let embedded = session.is_embedded();
    let closed = session.close().await;
    let message = sent?;
    closed?;
    if args.json.json {
        output::json(&message)?;
        return Ok(0);
    }
    output::line(&format!("message {} to {} is sent again", word(&message["id"]), word(&message["target"])))?;
    if embedded {
        output::note("no server runs: it goes on with the next `chainbot start` on this folder");
    }
    Ok(0)
}

async fn remove(args: &OfMessage) -> Result<u8> {
    let session = Session::open(&args.place, "chainbot outbox").await?;
    let path = format!("/outbox/{}", segment(&args.id));
    let removed = session.client.send("DELETE", &path, &[], None).await;
    let closed = session.close().await;
    let reply = removed?;
    closed?;
    if reply.status >= 300 {
        return Err(reply.failure());
    }
    match args.json.json {
        true => output::json(&json!({ "removed": args.id }))?,
        false => output::line(&format!("message {} is removed", printable(&args.id)))?,
    }
    Ok(0)
}

fn row(one: &Value) -> Vec<String> {
    vec![
        word(&one["id"]),
        word(&one["status"]),
        one["attempts"].to_string(),
        word(&one["next_at"]),
        word(&one["step"]),
        word(&one["target"]),
        word(&one["error"]),
    ]
}

fn word(value: &Value) -> String {
    value.as_str().map(printable).unwrap_or_default()
}
