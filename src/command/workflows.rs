//! `chainbot workflows|delete`: what is stored, and taking it away again.

use serde_json::{Value, json};

use crate::args::{Delete, Workflows};
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
