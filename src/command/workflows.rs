//! `chainbot workflows|delete`: what is stored, and taking it away again.

use serde_json::{Value, json};

use crate::args::{Delete, Share, With, Workflows};
use crate::client::{Client, segment};
use crate::error::{Error, Result};
use crate::output::{self, printable};
use crate::session::Session;

/// Workflows that are listed at most.
const LISTED_MAX: usize = 10_000;

/// Lists the stored workflows by name.
pub async fn list(args: &Workflows) -> Result<u8> {
    let session = Session::open(&args.place, "chainbot workflows").await?;
    let listed = session.client.list::<Value>("/workflows", LISTED_MAX).await;
    let closed = session.close().await;
    let (workflows, total) = listed?;
    closed?;
    if args.json.json {
        output::json(&json!(workflows))?;
    } else if workflows.is_empty() {
        output::note("no workflows; `chainbot deploy FILE` stores one");
    } else {
        show(&workflows, total)?;
    }
    Ok(0)
}

fn show(workflows: &[Value], total: usize) -> Result<()> {
    let mut rows = vec![["NAME", "VERSION", "STATE", "CHANGED", "DESCRIPTION"].map(str::to_owned).to_vec()];
    rows.extend(workflows.iter().map(|one| {
        let text = |key: &str| printable(one[key].as_str().unwrap_or_default());
        let description = text("description").lines().next().unwrap_or_default().to_owned();
        vec![text("name"), one["version"].to_string(), text("status"), text("updated_at"), description]
    }));
    output::table(&rows)?;
    if total > workflows.len() {
        output::note(&format!("{} of {total}", workflows.len()));
    }
    Ok(())
}

/// Says whose a workflow is, and who sees it besides. Durable when this returns.
pub async fn share(args: &Share) -> Result<u8> {
    let mut body = serde_json::Map::new();
    if let Some(with) = args.with {
        let role = match with {
            With::Viewer => json!("viewer"),
            With::Operator => json!("operator"),
            With::Editor => json!("editor"),
            With::Nobody => Value::Null,
        };
        body.insert("shared".to_owned(), role);
    }
    if let Some(owner) = &args.owner {
        let owner = if owner == "local" { Value::Null } else { json!(owner) };
        body.insert("owner".to_owned(), owner);
    }
    let session = Session::open(&args.place, "chainbot share").await?;
    let path = format!("/workflows/{}/sharing", segment(&args.workflow));
    let shared = session.client.patch::<Value>(&path, &Value::Object(body)).await;
    let closed = session.close().await;
    let shared = shared?;
    closed?;
    if args.json.json {
        output::json(&shared)?;
        return Ok(0);
    }
    let whose = if shared["owner"].is_null() { "the operator's" } else { "a user's" };
    let with = match shared["shared"].as_str() {
        Some(role) => format!("shared with {role}s and above"),
        None => "shared with nobody".to_owned(),
    };
    output::line(&format!("{} is {whose}, {with}", printable(shared["name"].as_str().unwrap_or_default())))?;
    Ok(0)
}

/// Deletes a workflow; what it has run stays.
pub async fn delete(args: &Delete) -> Result<u8> {
    let session = Session::open(&args.place, "chainbot delete").await?;
    let deleted = deleted(&session.client, &args.workflow).await;
    let closed = session.close().await;
    deleted?;
    closed?;
    if args.json.json {
        output::json(&json!({ "deleted": args.workflow }))?;
    } else {
        output::line(&format!("deleted {}; its runs stay", printable(&args.workflow)))?;
    }
    Ok(0)
}

async fn deleted(client: &Client, workflow: &str) -> Result<()> {
    let reply = client.send("DELETE", &format!("/workflows/{}", segment(workflow)), &[], None).await?;
    if reply.status == 404 {
        return Err(unknown(client, workflow, "the data folder has no workflow of this name or id").await?);
    }
    reply.done()
}

/// That there is no such workflow, with the one that was probably meant.
pub async fn unknown(client: &Client, workflow: &str, why: &str) -> Result<Error> {
    let (stored, _) = client.list::<Value>("/workflows", LISTED_MAX).await?;
    let names = stored.iter().filter_map(|one| one["name"].as_str());
    let help = match chainbot_core::error::similar(workflow, names) {
        Some(meant) => format!("did you mean `{}`?", printable(meant)),
        None => "`chainbot workflows` lists what is stored".to_owned(),
    };
    let code = &chainbot_core::error::code::definition::NOT_FOUND;
    Ok(Error::new(code, format!("{}: {why}", printable(workflow))).help(help))
}
