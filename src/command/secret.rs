//! `chainbot secret`: stores, lists and removes secrets.

use serde_json::{Value, json};

use crate::args::{Query, SecretRemove, SecretSet, SecretView};
use crate::client::segment;
use crate::error::Result;
use crate::hidden;
use crate::output;
use crate::session::Session;

/// Carries the command out.
pub async fn run(view: &SecretView) -> Result<u8> {
    match view {
        SecretView::Set(args) => set(args).await,
        SecretView::List(args) => {
            let session = Session::open(&args.place, "chainbot secret").await?;
            let listed = session.client.get::<Value>("/secrets").await;
            session.close().await?;
            show(&listed?, args.json.json)
        }
        SecretView::Remove(args) => remove(args).await,
        SecretView::RotateKey(args) => rotate(args).await,
        SecretView::Export(args) => super::secret_file::export(args).await,
        SecretView::Import(args) => super::secret_file::import(args).await,
    }
}

async fn set(args: &SecretSet) -> Result<u8> {
    let value = hidden::read(args.from_file.as_deref(), &format!("value of `{}`", args.name))?;
    let session = Session::open(&args.place, "chainbot secret").await?;
    let body = json!({ "value": value.reveal(), "hosts": args.hosts, "description": args.description });
    let path = format!("/secrets/{}", segment(&args.name));
    let content = Some(("application/json", body.to_string().into_bytes()));
    let sent = session.client.send("PUT", &path, &[], content).await.and_then(|reply| reply.read::<Value>());
    session.close().await?;
    let info = sent?;
    if args.json.json {
        output::json(&info)?;
        return Ok(0);
    }
    output::line(&format!("secret `{}` is stored (version {})", args.name, info["version"]))?;
    if info["hosts"].as_array().is_some_and(Vec::is_empty) {
        output::note("it allows no host, so it can only sign; name the hosts it may be sent to with --host");
    }
    Ok(0)
}

async fn remove(args: &SecretRemove) -> Result<u8> {
    let session = Session::open(&args.place, "chainbot secret").await?;
    let path = format!("/secrets/{}", segment(&args.name));
    let removed = session.client.send("DELETE", &path, &[], None).await;
    session.close().await?;
    let reply = removed?;
    if reply.status >= 300 {
        return Err(reply.failure());
    }
    match args.json.json {
        true => output::json(&json!({ "removed": args.name }))?,
        false => output::line(&format!("secret `{}` is removed", args.name))?,
    }
    Ok(0)
}

async fn rotate(args: &Query) -> Result<u8> {
    let session = Session::open(&args.place, "chainbot secret").await?;
    let rotated = session.client.post::<Value>("/secrets/rotate-key", &json!({})).await;
    session.close().await?;
    let rotated = rotated?;
    if args.json.json {
        output::json(&rotated)?;
        return Ok(0);
    }
    output::line(&format!("secrets sealed with a new key: {}", rotated["secrets"]))?;
    if rotated["credential"] == true {
        output::note("the keys are a credential of the service: take the second line of its file away now");
    }
    Ok(0)
}

fn show(all: &Value, as_json: bool) -> Result<u8> {
    if as_json {
        output::json(all)?;
        return Ok(0);
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut rows = vec![["NAME", "HOSTS", "VERSION", "CHANGED", "DESCRIPTION"].map(str::to_owned).to_vec()];
    for one in all.as_array().map(Vec::as_slice).unwrap_or_default() {
        let hosts = one["hosts"].as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(" ");
        let hosts = if hosts.is_empty() { "none".to_owned() } else { hosts };
        let described = match one["readable"].as_bool() {
            Some(false) => "sealed with another key".to_owned(),
            _ => text(&one["description"]),
        };
        rows.push(vec![
            text(&one["name"]),
            hosts,
            one["version"].to_string(),
            text(&one["updated_at"]),
            described,
        ]);
    }
    if rows.len() == 1 {
        output::line("no secrets")?;
    } else {
        output::table(&rows)?;
    }
    Ok(0)
}
