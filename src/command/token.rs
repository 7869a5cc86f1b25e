//! `chainbot token`: what programs and devices come in by.

use serde_json::{Value, json};

use crate::args::{Query, TokenCreate, TokenRevoke, TokenView};
use crate::client::segment;
use crate::error::Result;
use crate::output;
use crate::session::Session;

const PROCESS: &str = "chainbot token";

/// Carries the command out.
pub async fn run(view: &TokenView) -> Result<u8> {
    match view {
        TokenView::Create(args) => create(args).await,
        TokenView::List(args) => {
            let session = Session::open(&args.place, PROCESS).await?;
            let listed = session.client.get::<Value>("/tokens").await;
            session.close().await?;
            show(&listed?, args.json.json)
        }
        TokenView::Revoke(args) => revoke(args).await,
        TokenView::RotateKey(args) => rotate(args).await,
    }
}

/// The key of access tokens, which is no API token and lies beside them.
async fn rotate(args: &Query) -> Result<u8> {
    let session = Session::open(&args.place, PROCESS).await?;
    let rotated = session.client.send("POST", "/auth/rotate-key", &[], None).await;
    session.close().await?;
    let reply = rotated?;
    if reply.status >= 300 {
        return Err(reply.failure());
    }
    match args.json.json {
        true => output::json(&json!({ "rotated": true }))?,
        false => output::line("access tokens are signed with a new key; nobody is signed out")?,
    }
    Ok(0)
}

async fn create(args: &TokenCreate) -> Result<u8> {
    let session = Session::open(&args.place, PROCESS).await?;
    let body = json!({ "name": args.name, "user": args.user, "scopes": args.scopes, "days": args.days });
    let made = session.client.post::<Value>("/tokens", &body).await;
    session.close().await?;
    let made = made?;
    if args.json.json {
        output::json(&made)?;
        return Ok(0);
    }
    // The text alone on stdout, so that a script can keep it.
    output::line(made["token"].as_str().unwrap_or_default())?;
    let expires = made["expires_at"].as_str().unwrap_or_default();
    output::note(&format!("keep it: it is not shown again. It acts for `{}` until {expires}", args.user));
    Ok(0)
}

async fn revoke(args: &TokenRevoke) -> Result<u8> {
    let session = Session::open(&args.place, PROCESS).await?;
    let sent = session.client.send("DELETE", &format!("/tokens/{}", segment(&args.id)), &[], None).await;
    session.close().await?;
    let reply = sent?;
    if reply.status >= 300 {
        return Err(reply.failure());
    }
    match args.json.json {
        true => output::json(&json!({ "revoked": args.id }))?,
        false => output::line(&format!("token {} is revoked", output::printable(&args.id)))?,
    }
    Ok(0)
}

fn show(all: &Value, as_json: bool) -> Result<u8> {
    if as_json {
        output::json(all)?;
        return Ok(0);
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let heads = ["NAME", "USER", "TOKEN", "EXPIRES", "USED", "SCOPES", "ID"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for one in all.as_array().map(Vec::as_slice).unwrap_or_default() {
        let scopes = one["scopes"].as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(" ");
        rows.push(vec![
            text(&one["name"]),
            text(&one["user"]),
            format!("{}...", text(&one["prefix"])),
            text(&one["expires_at"]),
            one["used_at"].as_str().unwrap_or("never").to_owned(),
            scopes,
            text(&one["id"]),
        ]);
    }
    match rows.len() {
        1 => output::line("no API tokens")?,
        _ => output::table(&rows)?,
    }
    Ok(0)
}
