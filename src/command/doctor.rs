//! `chainbot doctor`: folder, disk, database, clock and server, each with what to do.

use chainbot_core::env::Env;
use chainbot_core::store::doctor::{Finding, Level, examine};
use serde_json::{Value, json};

use crate::args::Query;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::folder::{Folder, Server};
use crate::output::{self, Stream, Tone, printable};

/// Below this the server is not well.
const GOOD_ENOUGH: f64 = 0.5;

/// Shows every finding; 1 when one fails.
pub async fn run(args: &Query) -> Result<u8> {
    let folder = Folder::choose(&args.place)?;
    let mut found = vec![configuration(&folder)];
    found.extend(examine(folder.path(), &folder.config().database.file, Env::system().now()));
    found.push(models(&folder));
    found.push(environment());
    found.push(server(&folder).await);
    let failed = found.iter().any(|finding| finding.level == Level::Fail);
    if args.json.json {
        let checks: Vec<Value> = found
            .iter()
            .map(|one| json!({ "check": one.check, "level": word(one.level), "message": one.message, "help": one.remedy }))
            .collect();
        output::json(&json!({ "data_dir": folder.path(), "ok": !failed, "checks": checks }))?;
        return Ok(u8::from(failed));
    }
    let mut rows = vec![["CHECK", "STATE", "FOUND"].map(str::to_owned).to_vec()];
    rows.extend(found.iter().map(|one| {
        vec![one.check.to_owned(), word(one.level).to_owned(), printable(&one.message).replace('\n', " ")]
    }));
    output::table(&rows)?;
    for one in &found {
        if let Some(remedy) = one.remedy {
            let tone = if one.level == Level::Fail { Tone::Bad } else { Tone::Warn };
            output::note(&format!("{}: {remedy}", Stream::Stderr.paint(tone, one.check)));
        }
    }
    Ok(u8::from(failed))
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Warn => "warn",
        Level::Fail => "fail",
    }
}

fn configuration(folder: &Folder) -> Finding {
    let warnings = folder.config().warnings().len();
    let file = folder.config().file().map_or("defaults".to_owned(), |file| file.display().to_string());
    match warnings {
        0 => finding("configuration", Level::Ok, file, None),
        _ => finding(
            "configuration",
            Level::Warn,
            format!("{file}: {}", output::counted(warnings, "warning")),
            Some("`chainbot config check` shows each"),
        ),
    }
}

/// Models of agents, and the score of the predecessor, which none has.
fn models(folder: &Folder) -> Finding {
    const SCORE: &str = "gpt_integration.agent_brain.confidence_threshold";
    let config = folder.config();
    if config.warnings().iter().any(|warning| warning.path == SCORE) {
        let message = format!("{SCORE} has no effect: the old score measured nothing, and no reply has one");
        return finding("models", Level::Warn, message, Some("leave it out"));
    }
    let settings = &config.models;
    let message = match (settings.models.len(), &settings.default) {
        (0, _) => "none is configured; agents that need one cannot work".to_owned(),
        (count, Some(default)) => format!("{}, by default `{default}`", output::counted(count, "model")),
        (count, None) => format!("{}, none of them the default one", output::counted(count, "model")),
    };
    finding("models", Level::Ok, message, None)
}

/// Variables of the predecessor, which nobody reads.
fn environment() -> Finding {
    let names: Vec<String> = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
    let set = chainbot_core::config::known::bare_variables(names.iter().map(String::as_str));
    let told: Vec<String> = set
        .iter()
        .map(|(name, new)| match new {
            Some(new) => format!("{name} is not read: write {new}"),
            None => format!("{name} is not read, and nothing has its meaning"),
        })
        .collect();
    match told.is_empty() {
        true => finding("environment", Level::Ok, "no variable of the predecessor is set".to_owned(), None),
        false => finding(
            "environment",
            Level::Warn,
            told.join("; "),
            Some("if these were meant for ChainBot, rename them; variables of other programs may stay"),
        ),
    }
}

async fn server(folder: &Folder) -> Finding {
    const SEE: Option<&str> = Some("see `chainbot status` and `chainbot logs`");
    let server = match folder.server() {
        Ok(Some(server)) => server,
        Ok(None) => return finding("server", Level::Ok, "none runs on this folder".to_owned(), None),
        Err(error) => return finding("server", Level::Fail, error.message(), SEE),
    };
    match asked(folder, &server).await {
        Ok(None) => finding("server", Level::Ok, format!("process {}, without a port", server.pid), None),
        Ok(Some(report)) => {
            let score = report["score"].as_f64().unwrap_or(0.0);
            let message = format!("score {score:.2}: {}", report["detail"].as_str().unwrap_or_default());
            match score >= GOOD_ENOUGH {
                true => finding("server", Level::Ok, message, None),
                false => finding("server", Level::Fail, message, SEE),
            }
        }
        Err(error) => finding("server", Level::Fail, error.message(), SEE),
    }
}

async fn asked(folder: &Folder, server: &Server) -> Result<Option<Value>, Error> {
    match &server.url {
        Some(url) => Client::remote(url, &folder.token()?)?.get("/health").await.map(Some),
        None => Ok(None),
    }
}

fn finding(check: &'static str, level: Level, message: String, remedy: Option<&'static str>) -> Finding {
    Finding { check, level, message, remedy }
}
