//! `chainbot agent`: agents, and their tasks.

use chainbot_core::model::RunView;
use serde_json::{Map, Value, json};

use super::run::{announce, finish};
use crate::args::{AgentTask, AgentView, DeployAgents, OfAgent, Query};
use crate::client::{Client, segment};
use crate::error::{Error, Result, code};
use crate::follow::{Until, follow};
use crate::inputs::{self, pairs};
use crate::output::{self, printable};
use crate::progress::Progress;
use crate::session::Session;

/// Tasks that are listed.
const TASKS: usize = 50;

/// Carries the command out.
pub async fn run(view: &AgentView) -> Result<u8> {
    match view {
        AgentView::List(args) => list(args).await,
        AgentView::Show(args) => show(args).await,
        AgentView::Deploy(args) => deploy(args).await,
        AgentView::Task(args) => task(args).await,
        AgentView::Tasks(args) => tasks(args).await,
        AgentView::Wake(args) => wake(args).await,
        AgentView::Terminate(args) => terminate(args).await,
        AgentView::Delete(args) => delete(args).await,
    }
}

fn path(name: &str) -> String {
    format!("/agents/{}", segment(name))
}

async fn list(args: &Query) -> Result<u8> {
    let session = Session::open(&args.place, "chainbot agent").await?;
    let listed = session.client.list::<Value>("/agents", usize::MAX).await;
    let closed = session.close().await;
    let (all, _) = listed?;
    closed?;
    if args.json.json {
        output::json(&Value::Array(all))?;
        return Ok(0);
    }
    if all.is_empty() {
        output::note("no agents; `chainbot agent deploy FILE` makes one");
        return Ok(0);
    }
    let mut rows =
        vec![["NAME", "TYPE", "STATUS", "DONE", "FAILED", "ACTIVE", "LAST"].map(str::to_owned).to_vec()];
    for one in &all {
        let text = |field: &str| one[field].as_str().map(printable).unwrap_or_default();
        rows.push(vec![
            text("name"),
            text("type"),
            text("status"),
            one["tasks_completed"].to_string(),
            one["tasks_failed"].to_string(),
            one["tasks_active"].to_string(),
            text("last_activity"),
        ]);
    }
    output::table(&rows)?;
    Ok(0)
}

async fn show(args: &OfAgent) -> Result<u8> {
    let session = Session::open(&args.place, "chainbot agent").await?;
    let asked = async {
        let agent: Value = session.client.get(&path(&args.name)).await?;
        let usage: Value = session.client.get(&format!("{}/usage", path(&args.name))).await?;
        Ok::<_, Error>((agent, usage))
    };
    let asked = asked.await;
    let closed = session.close().await;
    let (mut agent, usage) = asked?;
    closed?;
    agent["usage"] = usage["days"].clone();
    if args.json.json {
        output::json(&agent)?;
        return Ok(0);
    }
    let text = |field: &str| agent[field].as_str().map(printable).unwrap_or_default();
    output::line(&format!(
        "{} ({}), {}, version {}",
        text("name"),
        text("type"),
        text("status"),
        agent["version"]
    ))?;
    if agent["reason"].is_string() {
        output::line(&text("reason"))?;
    }
    output::line(&format!(
        "tasks: {} done, {} failed, {} active",
        agent["tasks_completed"], agent["tasks_failed"], agent["tasks_active"]
    ))?;
    let days = agent["usage"].as_array().cloned().unwrap_or_default();
    let sum = |field: &str| days.iter().filter_map(|day| day[field].as_f64()).sum::<f64>();
    output::line(&format!(
        "last 30 days: {} calls of models, {} + {} tokens, cost {:.6}",
        sum("calls"),
        sum("input_tokens"),
        sum("output_tokens"),
        sum("cost")
    ))?;
    output::json(&agent["definition"])?;
    Ok(0)
}

async fn deploy(args: &DeployAgents) -> Result<u8> {
    let sources = args.files.iter().map(|file| inputs::source(file)).collect::<Result<Vec<_>>>()?;
    let session = Session::open(&args.place, "chainbot agent").await?;
    let mut made = Vec::new();
    let mut failure = None;
    for (file, source) in args.files.iter().zip(sources) {
        match store(&session.client, &source).await {
            Ok(agent) => made.push(agent),
            Err(error) => {
                output::note(&format!("{}: nothing was changed by it", inputs::shown(file)));
                failure = Some(error);
                break;
            }
        }
    }
    let closed = session.close().await;
    if args.json.json && failure.is_none() {
        output::json(&Value::Array(made))?;
    } else if !args.json.json {
        for agent in &made {
            let name = agent["name"].as_str().map(printable).unwrap_or_default();
            output::line(&format!("{name} (version {})", agent["version"]))?;
        }
    }
    match failure {
        Some(error) => Err(error),
        None => closed.map(|()| 0),
    }
}

/// Makes an agent; one of the same name gets the definition.
async fn store(client: &Client, source: &str) -> Result<Value> {
    let content = |body: &str| ("application/yaml", body.as_bytes().to_vec());
    let reply = client.send("POST", "/agents", &[], Some(content(source))).await?;
    if reply.status != 409 {
        return reply.read();
    }
    let tree = chainbot_core::validate::document(source)
        .map_err(|_| Error::new(&code::INPUT, "the definition does not parse".to_owned()))?
        .to_json();
    let name = tree["name"].as_str().unwrap_or_default().to_owned();
    let current: Value = client.get(&path(&name)).await?;
    // What the new definition does not have any more is taken out.
    let mut patch = match tree {
        Value::Object(entries) => entries,
        _ => Map::new(),
    };
    for key in current["definition"].as_object().into_iter().flatten().map(|(key, _)| key) {
        patch.entry(key.clone()).or_insert(Value::Null);
    }
    client.patch(&path(&name), &Value::Object(patch)).await
}

async fn task(args: &AgentTask) -> Result<u8> {
    let read =
        |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|_| Value::String(text.to_owned()));
    let mut body = json!({ "task": match read(&args.task) {
        object @ Value::Object(_) => object,
        _ => Value::String(args.task.clone()),
    } });
    if let Some(context) = &args.context {
        body["context"] = read(context);
    }
    if !args.budget.is_empty() {
        body["budget"] = Value::Object(pairs(&args.budget)?);
    }
    let session = Session::open(&args.place, "chainbot agent").await?;
    let outcome = with_session(&session, args, &body).await;
    let closed = session.close().await;
    let code = outcome?;
    closed?;
    Ok(code)
}

async fn with_session(session: &Session, args: &AgentTask, body: &Value) -> Result<u8> {
    let client = &session.client;
    let quiet = args.json.json;
    let run: RunView = client.post(&format!("{}/tasks", path(&args.name)), body).await?;
    if !quiet {
        announce(session, &format!("task {} of {}", run.id, printable(&args.name)));
    }
    let mut progress = if quiet { Progress::silent() } else { Progress::for_people() };
    let until = Until { waiting: args.no_wait, timeout: args.timeout };
    let end = follow(client, &run.id.to_string(), &mut progress, &until).await;
    progress.finish();
    let end = end?;
    if !quiet
        && let crate::follow::End::Over(run) = &end
        && let Some(output) = &run.output
    {
        // The answer is what was asked for; the rest is in --json and in `chainbot runs`.
        let usage = &output["usage"];
        output::note(&format!(
            "{}: {} turns, {} uses of tools, {} + {} tokens, cost {}",
            output["reason"].as_str().unwrap_or_default(),
            output["turns"],
            output["tool_calls"],
            usage["input_tokens"],
            usage["output_tokens"],
            usage["cost"]
        ));
        match &output["result"] {
            Value::String(text) => output::line(text)?,
            other => output::json(other)?,
        }
        return Ok(0);
    }
    finish(session, quiet, end).await
}

async fn tasks(args: &OfAgent) -> Result<u8> {
    let session = Session::open(&args.place, "chainbot agent").await?;
    let listed = session.client.list::<Value>(&format!("{}/tasks", path(&args.name)), TASKS).await;
    let closed = session.close().await;
    let (all, _) = listed?;
    closed?;
    if args.json.json {
        output::json(&Value::Array(all))?;
        return Ok(0);
    }
    let mut rows = vec![["TASK", "STATUS", "CREATED", "DETAIL"].map(str::to_owned).to_vec()];
    for one in &all {
        let text = |field: &str| one[field].as_str().map(printable).unwrap_or_default();
        rows.push(vec![text("id"), text("status"), text("created_at"), text("detail")]);
    }
    output::table(&rows)?;
    Ok(0)
}

async fn wake(args: &OfAgent) -> Result<u8> {
    change(args, "PATCH", "", Some(json!({ "status": "idle" })), "takes tasks").await
}

async fn terminate(args: &OfAgent) -> Result<u8> {
    change(args, "POST", "/terminate", Some(json!({})), "is ended for good").await
}

async fn delete(args: &OfAgent) -> Result<u8> {
    change(args, "DELETE", "", None, "is deleted").await
}

async fn change(args: &OfAgent, method: &str, below: &str, body: Option<Value>, says: &str) -> Result<u8> {
    let session = Session::open(&args.place, "chainbot agent").await?;
    let content = body.map(|body| ("application/json", body.to_string().into_bytes()));
    let sent = session.client.send(method, &format!("{}{below}", path(&args.name)), &[], content).await;
    let closed = session.close().await;
    let reply = sent?;
    let agent: Value = match reply.status {
        204 => json!({ "deleted": args.name }),
        _ => reply.read()?,
    };
    closed?;
    if args.json.json {
        output::json(&agent)?;
    } else {
        output::line(&format!("agent {} {says}", printable(&args.name)))?;
    }
    Ok(0)
}
