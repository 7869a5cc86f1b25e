//! `chainbot import chatgpt`: an export of chats goes into an archive, a few megabytes a request.
//!
//! The file is read piece by piece and cut between conversations, so neither this process nor the server holds more than a few of them, and each
//! request is a small export of its own. What is in the archive already is left alone, so an import that was interrupted is repeated.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use chainbot_core::agent::memory::archive::{Format, Report, Splitter};
use serde_json::{Value, json};

use crate::args::ImportChats;
use crate::client::{Client, segment};
use crate::error::{Error, Result, code};
use crate::inputs;
use crate::output::{self, counted};
use crate::session::Session;

/// Bytes of the file that are read at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Bytes of conversations in a request, unless one alone is larger: a small machine stores them in a second or two.
const REQUEST_BYTES: usize = 2 * 1024 * 1024;

/// What all requests did together.
#[derive(Default)]
struct Done {
    report: Report,
    added: u64,
    archive: Value,
}

/// Imports a file, or says what is in it.
pub async fn run(args: &ImportChats) -> Result<u8> {
    let session = Session::open(&args.place, "chainbot import chatgpt").await?;
    let sent = send_all(&session.client, args).await;
    let closed = session.close().await;
    let done = sent?;
    closed?;
    if args.json.json {
        let mut shown = json!({ "report": done.report });
        if !args.check {
            shown = json!({ "archive": done.archive, "added": done.added, "report": done.report });
        }
        output::json(&shown)?;
        return Ok(0);
    }
    tell(args, &done)?;
    Ok(0)
}

async fn send_all(client: &Client, args: &ImportChats) -> Result<Done> {
    let unreadable = |error: std::io::Error| {
        Error::new(&code::SOURCE, format!("{} cannot be read: {error}", inputs::shown(&args.file)))
            .help("give `conversations.json` of an export")
    };
    let mut file = File::open(Path::new(&args.file)).map_err(unreadable)?;
    let path = match args.check {
        true => "/agents/archives/validate".to_owned(),
        false => format!("/agents/archives?name={}", segment(&args.name)),
    };
    let (mut splitter, mut piece) = (Splitter::default(), vec![0; PIECE_BYTES]);
    let (mut batch, mut done) = (Batch::default(), Done::default());
    loop {
        let count = file.read(&mut piece).map_err(unreadable)?;
        if count == 0 {
            break;
        }
        let mut complete = Vec::new();
        let mut too_large = 0;
        let cut = splitter.push(&piece[..count], &mut |format, conversation| match conversation {
            Some(text) => complete.push((format, text.to_vec())),
            None => too_large += 1,
        });
        done.report.skipped.too_large += too_large;
        for (format, text) in complete {
            batch.add(format, &text);
            if batch.bytes.len() >= REQUEST_BYTES {
                batch.send(client, &path, &mut done).await?;
            }
        }
        if let Err(error) = cut {
            // What was whole before the place in the message is kept.
            batch.send(client, &path, &mut done).await?;
            return Err(error.into());
        }
    }
    // An empty list makes the archive as well.
    batch.send(client, &path, &mut done).await?;
    done.report.bytes = splitter.end()?;
    Ok(done)
}

/// Conversations on their way.
#[derive(Default)]
struct Batch {
    format: Option<Format>,
    bytes: Vec<u8>,
}

impl Batch {
    fn add(&mut self, format: Format, conversation: &[u8]) {
        self.format = Some(format);
        if !self.bytes.is_empty() {
            self.bytes.push(b',');
        }
        self.bytes.extend_from_slice(conversation);
    }

    async fn send(&mut self, client: &Client, path: &str, done: &mut Done) -> Result<()> {
        let (before, after): (&[u8], &[u8]) = match self.format {
            Some(Format::Chainbot) => (b"{\"conversations\":[", b"]}"),
            Some(Format::Chatgpt) | None => (b"[", b"]"),
        };
        let body = [before, &self.bytes, after].concat();
        *self = Self::default();
        let reply = client.send("POST", path, &[], Some(("application/json", body))).await?;
        let mut answer: Value = reply.read()?;
        let report = match answer.get_mut("report") {
            Some(report) => report.take(),
            None => answer.take(),
        };
        let report: Report = serde_json::from_value(report).map_err(|error| {
            Error::new(&code::REPLY, format!("the server's report does not read: {error}"))
        })?;
        done.report.add(&report);
        done.added += answer["added"].as_u64().unwrap_or(0);
        done.archive = answer["archive"].take();
        Ok(())
    }
}

fn tell(args: &ImportChats, done: &Done) -> Result<()> {
    let report = &done.report;
    let format = report.format.map_or("nothing in it", Format::as_str);
    output::line(&format!(
        "{format}: {} in {}",
        counted(usize::try_from(report.messages).unwrap_or(usize::MAX), "message"),
        counted(usize::try_from(report.conversations).unwrap_or(usize::MAX), "conversation")
    ))?;
    if let (Some(first), Some(last)) = (report.first_at, report.last_at) {
        output::note(&format!("from {first} to {last}"));
    }
    let skipped = &report.skipped;
    for (count, what) in [
        (report.on_branches, "messages on other branches, kept and marked"),
        (skipped.empty, "nodes without a message"),
        (skipped.hidden, "hidden and system messages"),
        (skipped.not_text, "parts that are no text"),
        (skipped.without_text, "messages that say nothing"),
        (skipped.without_time, "messages without a time"),
        (skipped.orphans, "messages whose parent is missing"),
        (skipped.cycles, "conversations that lead in a circle"),
        (skipped.unreadable, "conversations that do not read"),
        (skipped.too_large, "conversations that are too large"),
    ] {
        if count > 0 {
            output::note(&format!("{count} {what}"));
        }
    }
    match args.check {
        true => output::note("nothing was stored"),
        false => {
            output::note(&format!("{} new in the archive `{}`", done.added, output::printable(&args.name)))
        }
    }
    Ok(())
}
