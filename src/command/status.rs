//! `chainbot status`: whether a server runs on the data folder, and what it does.

use serde_json::{Value, json};

use crate::args::Query;
use crate::client::Client;
use crate::error::{Result, code};
use crate::folder::Folder;
use crate::output::{self, Stream, Tone, printable};

/// Shows the server; 1 when none runs.
pub async fn run(args: &Query) -> Result<u8> {
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
    if let Value::Object(counts) = &info["counts"] {
        let parts: Vec<String> = ["running", "queued", "waiting"]
            .iter()
            .filter_map(|name| Some(format!("{} {name}", counts.get(*name)?)))
            .collect();
        output::line(&format!("runs     {}", parts.join(", ")))?;
    }
    Ok(0)
}
