//! `chainbot status`: whether a server runs on the data folder, and what it does.

use serde_json::{Value, json};

use crate::args::Query;
use crate::client::Client;
use crate::error::{Result, code};
use crate::folder::Folder;
use crate::output::{self, Stream, Tone, printable};
use crate::session::elsewhere;

/// Shows the server; 1 when none runs.
pub async fn run(args: &Query) -> Result<u8> {
    if let Some(client) = elsewhere(&args.place)? {
        return of_url(args, &client).await;
    }
    let folder = Folder::choose(&args.place)?;
    let Some(server) = folder.server()? else {
        if args.json.json {
            output::json(&json!({ "running": false, "data_dir": folder.path() }))?;
        } else {
            output::line(&format!(
                "{} on {}",
                Stream::Stdout.paint(Tone::Warn, "not running"),
                folder.path().display()
            ))?;
            output::note("`chainbot start` starts a server");
        }
        return Ok(1);
    };
    let info: Value = match &server.url {
        Some(url) => match Client::remote(url, &folder.token()?)?.get("/info").await {
            // The process is there and its API is not: that is what this command is asked to tell.
            Err(error) if error.code() == code::SERVER_GONE.id => json!({ "unreachable": error.message() }),
            other => other?,
        },
        None => Value::Null,
    };
    if args.json.json {
        output::json(&json!({ "running": true, "data_dir": folder.path(), "server": server, "info": info }))?;
        return Ok(0);
    }
    output::line(&format!("{} on {}", Stream::Stdout.paint(Tone::Good, "running"), folder.path().display()))?;
    output::line(&format!(
        "url      {}",
        server.url.as_deref().unwrap_or("none: the host forwards requests")
    ))?;
    output::line(&format!("process  {} (pid {})", printable(&server.process), server.pid))?;
    output::line(&format!("since    {}", printable(&server.started_at)))?;
    if let Some(why) = info["unreachable"].as_str() {
        output::line(&format!(
            "api      {} {}",
            Stream::Stdout.paint(Tone::Bad, "unreachable:"),
            printable(why)
        ))?;
    }
    if let Some(version) = info["version"].as_str().or(server.version.as_deref()) {
        output::line(&format!("version  {}", printable(version)))?;
    }
    if let Some(module) = &server.module {
        output::line(&format!("module   {}", printable(module)))?;
    }
    runs(&info)?;
    Ok(0)
}

/// Of a server elsewhere, whose folder and process are not to be seen.
async fn of_url(args: &Query, client: &Client) -> Result<u8> {
    let url = args.place.url.as_deref().unwrap_or_default();
    let info: Value = match client.get("/info").await {
        Err(error) if error.code() == code::SERVER_GONE.id => {
            match args.json.json {
                true => {
                    output::json(&json!({ "running": false, "url": url, "unreachable": error.message() }))?;
                }
                false => {
                    let verdict = Stream::Stdout.paint(Tone::Bad, "unreachable:");
                    output::line(&format!("{verdict} {}", printable(&error.message())))?;
                }
            }
            return Ok(1);
        }
        other => other?,
    };
    if args.json.json {
        output::json(&json!({ "running": true, "url": url, "info": info }))?;
        return Ok(0);
    }
    output::line(&format!("{} at {}", Stream::Stdout.paint(Tone::Good, "running"), printable(url)))?;
    output::line(&format!("version  {}", printable(info["version"].as_str().unwrap_or_default())))?;
    runs(&info)?;
    Ok(0)
}

fn runs(info: &Value) -> Result<()> {
    let Value::Object(counts) = &info["counts"] else { return Ok(()) };
    let parts: Vec<String> = ["running", "queued", "waiting"]
        .iter()
        .filter_map(|name| Some(format!("{} {name}", counts.get(*name)?)))
        .collect();
    output::line(&format!("runs     {}", parts.join(", ")))
}
