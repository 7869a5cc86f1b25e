//! `chainbot audit`: who changed what; whether the log is as it was written; all of it as JSON lines.

use std::io::Write;

use chainbot_core::store::audit_of_file;
use serde_json::{Value, json};

use crate::args::{AuditExport, AuditList, AuditVerify, AuditView};
use crate::client::Client;
use crate::error::{Error, Result, code};
use crate::folder::Folder;
use crate::output::{self, printable};
use crate::session::{Session, elsewhere};

/// Findings that are shown one by one.
const SHOWN_MAX: usize = 20;

/// Carries the command out.
pub async fn run(view: &AuditView) -> Result<u8> {
    match view {
        AuditView::List(args) => list(args).await,
        AuditView::Verify(args) => verify(args).await,
        AuditView::Export(args) => export(args).await,
    }
}

async fn list(args: &AuditList) -> Result<u8> {
    let session = Session::open(&args.place, "chainbot audit").await?;
    let mut query = Vec::new();
    let filters = [
        ("action", &args.action),
        ("actor", &args.actor),
        ("target", &args.target),
        ("target_id", &args.id),
        ("since", &args.since),
        ("until", &args.until),
    ];
    for (name, value) in filters {
        query.extend(value.as_ref().map(|value| format!("{name}={}", crate::client::segment(value))));
    }
    let path = if query.is_empty() { "/audit".to_owned() } else { format!("/audit?{}", query.join("&")) };
    let listed = session.client.list::<Value>(&path, args.limit as usize).await;
    let closed = session.close().await;
    let (rows, total) = listed?;
    closed?;
    if args.json.json {
        output::json(&json!(rows))?;
        return Ok(0);
    }
    if rows.is_empty() {
        output::note("nothing is written down");
        return Ok(0);
    }
    let text = |value: &Value| value.as_str().map(printable).unwrap_or_default();
    let mut table = vec![["SEQ", "TIME", "ACTOR", "ACTION", "ON", "MORE"].map(str::to_owned).to_vec()];
    table.extend(rows.iter().map(|row| {
        vec![
            row["seq"].to_string(),
            text(&row["at"]),
            text(&row["actor"]),
            text(&row["action"]),
            format!("{} {}", text(&row["target"]), text(&row["target_id"])),
            if row["meta"].is_null() { String::new() } else { printable(&row["meta"].to_string()) },
        ]
    }));
    output::table(&table)?;
    if total > rows.len() {
        output::note(&format!("{} of {total} are shown", rows.len()));
    }
    Ok(0)
}

async fn verify(args: &AuditVerify) -> Result<u8> {
    let (found, folder) = match elsewhere(&args.place)? {
        Some(client) => (client.get::<Value>("/audit/verify").await?, None),
        None => {
            let folder = Folder::choose(&args.place)?;
            let found = match folder.server()?.and_then(|server| server.url) {
                Some(url) => Client::remote(&url, &folder.token()?)?.get("/audit/verify").await?,
                None => of_file(&folder)?,
            };
            (found, Some(folder))
        }
    };
    let mut problems: Vec<String> = found["broken"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| format!("row {}: {}", one["seq"], one["what"].as_str().unwrap_or_default()))
        .collect();
    let head = format!("{}:{}", found["head_seq"], found["head_link"].as_str().unwrap_or_default());
    if let Some(noted) = &args.head {
        // The rows are read from the file: a server that was made to lie would say that the head is as it was noted.
        let folder = folder.map_or_else(|| Folder::choose(&args.place), Ok)?;
        problems.extend(against(&folder, noted)?);
    }
    if args.json.json {
        output::json(&json!({
            "ok": problems.is_empty(), "rows": found["rows"], "dropped": found["dropped"], "head": head,
            "problems": problems,
        }))?;
        return Ok(u8::from(!problems.is_empty()));
    }
    for problem in problems.iter().take(SHOWN_MAX) {
        output::line(problem)?;
    }
    match problems.len() {
        0 => output::line(&format!("{} rows are as they were written", found["rows"]))?,
        count => output::note(&format!("{} do not hold", output::counted(count, "finding"))),
    }
    output::note(&format!("the newest is {head}; noted elsewhere, --head finds a log that was made anew"));
    Ok(u8::from(!problems.is_empty()))
}

fn of_file(folder: &Folder) -> Result<Value> {
    let found = audit_of_file(&folder.path().join(&folder.config().database.file), None)?;
    let broken: Vec<Value> =
        found.verdict.broken.iter().map(|one| json!({ "seq": one.seq, "what": one.what })).collect();
    Ok(json!({
        "rows": found.verdict.rows, "dropped": found.verdict.dropped, "head_seq": found.verdict.head.seq,
        "head_link": hex(&found.verdict.head.link), "broken": broken,
    }))
}

/// Holds a head that was noted against the row of its number.
fn against(folder: &Folder, noted: &str) -> Result<Option<String>> {
    let wrong = || {
        Error::new(&code::USAGE, format!("`{}` is no head of an audit log", printable(noted))).help(
            "give it as `chainbot audit verify` printed it: a number, a colon and 64 hexadecimal digits",
        )
    };
    let (seq, link) = noted.split_once(':').ok_or_else(wrong)?;
    let seq: i64 = seq.parse().map_err(|_| wrong())?;
    let found = audit_of_file(&folder.path().join(&folder.config().database.file), Some(seq))?;
    Ok(match found.link {
        Some(found) if hex(&found) == link.to_ascii_lowercase() => None,
        Some(_) => Some(format!(
            "row {seq}: it is not the one that was noted; the log was made anew from there or before"
        )),
        None => Some(format!("row {seq}: it was noted, and is not there")),
    })
}

async fn export(args: &AuditExport) -> Result<u8> {
    let session = Session::open(&args.place, "chainbot audit").await?;
    let sent = session.client.send("GET", "/audit/export", &[], None).await;
    let closed = session.close().await;
    let reply = sent?;
    closed?;
    if reply.status >= 300 {
        return Err(reply.failure());
    }
    match &args.to {
        None => output::raw(&String::from_utf8_lossy(&reply.body))?,
        Some(path) => {
            let written = std::fs::File::create_new(path).and_then(|mut file| file.write_all(&reply.body));
            written.map_err(|error| {
                Error::new(&code::OUTPUT, format!("{}: {error}", path.display()))
                    .help("name a file that is not there yet")
            })?;
            output::note(&format!("{} bytes are in {}", reply.body.len(), path.display()));
        }
    }
    Ok(0)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
