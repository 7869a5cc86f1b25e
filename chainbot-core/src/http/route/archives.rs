//! Archives of chats: imported from an export while it comes in, looked at, searched, forgotten.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use futures_util::StreamExt;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::agent::memory::archive::{Reader, Report};
use crate::error::code::general;
use crate::error::{Error, Result};
use crate::http::Shared;
use crate::http::page;
use crate::http::problem::Answer;
use crate::http::request::{Call, Query, wrong};
use crate::id::{ArchiveId, SafeName};
use crate::limits;
use crate::port::{ArchiveFilter, ArchivedMessage, StoredArchive, Terms};
use crate::runtime::{Handle, no_archive};
use crate::time::Timestamp;

/// What an import is called unless it says so.
const NAME_DEFAULT: &str = "chatgpt";
/// An archive of chats.
#[derive(Serialize, ToSchema)]
struct Archive {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// What agents attach.
    name: String,
    /// Whose it is; null is the operator.
    #[schema(format = "uuid")]
    owner: Option<String>,
    /// Conversations with a message.
    conversations: u64,
    /// Messages.
    messages: u64,
    /// Of the oldest message that has a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    first_at: Option<String>,
    /// Of the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    last_at: Option<String>,
    /// When it was made.
    #[schema(format = "date-time")]
    created_at: String,
    /// When something was last added.
    #[schema(format = "date-time")]
    updated_at: String,
}

impl From<StoredArchive> for Archive {
    fn from(stored: StoredArchive) -> Self {
        let said = |at: Option<Timestamp>| at.map(|at| at.to_string());
        Self {
            id: stored.archive.id.to_string(),
            name: stored.archive.name,
            owner: stored.archive.possession.owner.map(|user| user.to_string()),
            conversations: stored.conversations,
            messages: stored.messages,
            first_at: said(stored.first_at),
            last_at: said(stored.last_at),
            created_at: stored.archive.at.to_string(),
            updated_at: stored.updated_at.to_string(),
        }
    }
}

/// What is in an export, and what of it was not taken.
#[derive(Serialize, ToSchema)]
struct ExportReport {
    /// `chatgpt` or `chainbot`; null when there is no conversation in it.
    format: Option<String>,
    /// Bytes read.
    bytes: u64,
    /// Conversations with a message.
    conversations: u64,
    /// Messages with text.
    messages: u64,
    /// Of those, the ones on other branches than the last.
    on_branches: u64,
    /// Of the oldest message that has a time.
    #[schema(format = "date-time")]
    first_at: Option<String>,
    /// Of the newest.
    #[schema(format = "date-time")]
    last_at: Option<String>,
    /// What was not taken, or is odd.
    skipped: Skipped,
}

/// How often something was not taken, or is odd.
#[derive(Serialize, ToSchema)]
struct Skipped {
    /// Nodes without a message.
    empty: u64,
    /// Messages that the chat did not show, and of the system.
    hidden: u64,
    /// Parts that are no text.
    not_text: u64,
    /// Messages that say nothing.
    without_text: u64,
    /// Conversations whose messages lead in a circle.
    cycles: u64,
    /// Messages whose parent is not there.
    orphans: u64,
    /// Messages without a time.
    without_time: u64,
    /// Conversations that do not read.
    unreadable: u64,
    /// Conversations over the bound.
    too_large: u64,
}

impl From<Report> for ExportReport {
    fn from(report: Report) -> Self {
        let of = report.skipped;
        Self {
            format: report.format.map(|format| format.as_str().to_owned()),
            bytes: report.bytes,
            conversations: report.conversations,
            messages: report.messages,
            on_branches: report.on_branches,
            first_at: report.first_at.map(|at| at.to_string()),
            last_at: report.last_at.map(|at| at.to_string()),
            skipped: Skipped {
                empty: of.empty,
                hidden: of.hidden,
                not_text: of.not_text,
                without_text: of.without_text,
                cycles: of.cycles,
                orphans: of.orphans,
                without_time: of.without_time,
                unreadable: of.unreadable,
                too_large: of.too_large,
            },
        }
    }
}

/// What an import did.
#[derive(Serialize, ToSchema)]
struct Imported {
    /// The archive after it.
    archive: Archive,
    /// Messages that were not there before.
    added: u64,
    /// What is in the export.
    report: ExportReport,
}

/// A message of an archive.
#[derive(Serialize, ToSchema)]
struct ChatMessage {
    /// The conversation's id in the export.
    conversation: String,
    /// The message's id in it.
    message: String,
    /// The conversation's title.
    title: String,
    /// Place in the conversation, from 0.
    position: u32,
    /// `user`, `assistant` or `tool`.
    role: &'static str,
    /// When, where the export says so.
    #[schema(format = "date-time")]
    at: Option<String>,
    /// Not on the way to the conversation's last message.
    on_branch: bool,
    /// What.
    text: String,
}

impl From<ArchivedMessage> for ChatMessage {
    fn from(one: ArchivedMessage) -> Self {
        Self {
            conversation: one.conversation,
            message: one.message,
            title: one.title,
            position: one.position,
            role: one.speaker.as_str(),
            at: one.at.map(|at| at.to_string()),
            on_branch: one.is_branch,
            text: one.text,
        }
    }
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(list, import))
        .routes(routes!(validate))
        .routes(routes!(show, forget))
        .routes(routes!(search))
}

/// Archives of chats, by name
#[utoipa::path(get, path = "/api/chainbot/agents/archives", tag = "agents",
    responses((status = 200, description = "One's own, the operator's that are shared, all for an admin; at most 200", body = Vec<Archive>)))]
async fn list(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let all = call.engine(&shared)?.people()?.archives().await?;
    Ok(Json(all.into_iter().map(Archive::from).collect::<Vec<_>>()).into_response())
}

/// Imports an export of chats while it comes in; importing it again adds nothing
#[utoipa::path(post, path = "/api/chainbot/agents/archives", tag = "agents",
    params(("name" = Option<String>, Query, description = "The archive it goes into, which is made when there is none: `chatgpt` unless said")),
    request_body(content = serde_json::Value, description = "`conversations.json` of an export of ChatGPT, or an older file of ChainBot; at most 1 GiB",
        example = json!([{ "title": "Soil", "conversation_id": "c1", "current_node": "a",
            "mapping": { "a": { "parent": null, "message": { "author": { "role": "user" }, "create_time": 1_700_000_001.5,
                "content": { "content_type": "text", "parts": ["Which soil?"] } } } } }])),
    responses(
        (status = 200, description = "It is in the archive", body = Imported),
        (status = 413, description = "It is over 1 GiB"),
        (status = 422, description = "It is no export; what was read before the place in the message is in the archive")))]
async fn import(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let query = call.query(&["name"])?;
    let name = query.text("name").unwrap_or(NAME_DEFAULT);
    let name: SafeName =
        name.parse().map_err(|why: &str| wrong("name", "cannot be an archive's name", why))?;
    let engine = call.engine(&shared)?;
    let people = engine.people()?;
    let before = people.open_archive(name.as_str()).await?;
    let id = before.archive.id;
    let report = read(&mut call, Some((people, id))).await?;
    let after = people.archive(id).await?;
    let added = after.messages.saturating_sub(before.messages);
    Ok(Json(Imported { archive: after.into(), added, report: report.into() }).into_response())
}

/// Reads an export of chats and says what is in it; nothing is kept
#[utoipa::path(post, path = "/api/chainbot/agents/archives/validate", tag = "agents",
    request_body(content = serde_json::Value, description = "As for an import", example = json!([{ "title": "Soil", "conversation_id": "c1", "current_node": "a",
            "mapping": { "a": { "parent": null, "message": { "author": { "role": "user" }, "create_time": 1_700_000_001.5,
                "content": { "content_type": "text", "parts": ["Which soil?"] } } } } }])),
    responses(
        (status = 200, description = "What is in it", body = ExportReport),
        (status = 413, description = "It is over 1 GiB"),
        (status = 422, description = "It is no export")))]
async fn validate(mut call: Call) -> Answer {
    Ok(Json(ExportReport::from(read(&mut call, None).await?)).into_response())
}

/// One archive
#[utoipa::path(get, path = "/api/chainbot/agents/archives/{id}", tag = "agents",
    params(("id" = String, Path, description = "The archive")),
    responses(
        (status = 200, description = "The archive", body = Archive),
        (status = 404, description = "There is no such archive")))]
async fn show(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let archive = call.engine(&shared)?.people()?.archive(archive_id(&call)?).await?;
    Ok(Json(Archive::from(archive)).into_response())
}

/// Forgets an archive with all its messages
#[utoipa::path(delete, path = "/api/chainbot/agents/archives/{id}", tag = "agents",
    params(("id" = String, Path, description = "The archive")),
    responses(
        (status = 204, description = "It is gone; after a 504, ask again: the rest goes then"),
        (status = 404, description = "There is no such archive")))]
async fn forget(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    call.engine(&shared)?.people()?.forget_archive(archive_id(&call)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Messages of an archive that fit the words, the best first; without words all, in the order of the export
#[utoipa::path(get, path = "/api/chainbot/agents/archives/{id}/search", tag = "agents",
    params(
        ("id" = String, Path, description = "The archive"),
        ("q" = Option<String>, Query, description = "Words; any of them"),
        ("since" = Option<String>, Query, description = "Not older than this time"),
        ("until" = Option<String>, Query, description = "Not newer"),
        ("title" = Option<String>, Query, description = "A part of the conversation's title"),
        ("count" = Option<u32>, Query, description = "At most so many: 1 to 200; 50 unless said")),
    responses(
        (status = 200, description = "The best", body = Vec<ChatMessage>),
        (status = 404, description = "There is no such archive")))]
async fn search(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query = call.query(&["q", "since", "until", "title", "count"])?;
    let filter = ArchiveFilter {
        terms: query.text("q").map(Terms::of).unwrap_or_default(),
        since: time(&query, "since")?,
        until: time(&query, "until")?,
        title: query.text("title").map(str::to_owned),
        limit: page::number_of(&query, "count", limits::PAGE_DEFAULT)?,
    };
    let found = call.engine(&shared)?.people()?.archived(archive_id(&call)?, filter).await?;
    let mut room = limits::PAGE_BYTES_MAX;
    let mut fits = |one: &ArchivedMessage| {
        let bytes = one.text.len() + one.title.len();
        let is_first = room == limits::PAGE_BYTES_MAX;
        let fits = is_first || bytes <= room;
        room = room.saturating_sub(bytes.max(1));
        fits
    };
    let shown: Vec<ChatMessage> =
        found.into_iter().take_while(|one| fits(one)).map(ChatMessage::from).collect();
    Ok(Json(shown).into_response())
}

fn time(query: &Query, name: &str) -> Result<Option<Timestamp>> {
    query
        .text(name)
        .map(|text| {
            Timestamp::parse(text)
                .ok_or_else(|| wrong(name, "is no time", "give RFC 3339, such as 2026-01-31T00:00:00Z"))
        })
        .transpose()
}

fn archive_id(call: &Call) -> Result<ArchiveId> {
    let text = call.path("id")?;
    text.parse().map_err(|_| no_archive(&format!("`{}`", crate::http::request::printable(text))))
}

/// Reads the body as it comes, and adds what is complete to an archive. No more is held than one conversation and one batch.
async fn read(call: &mut Call, into: Option<(&Handle, ArchiveId)>) -> Result<Report> {
    let mut reader = Reader::default();
    let mut body = call.stream();
    let silence = Duration::from_secs(limits::ARCHIVE_SILENCE_S_MAX);
    loop {
        let next = tokio::time::timeout(silence, body.next()).await.map_err(|_| {
            Error::new(
                &general::TIMEOUT,
                format!("nothing more of the export came for {} s", silence.as_secs()),
            )
            .help("send it again: what is there already is added once")
        })?;
        let Some(piece) = next else { break };
        let piece = piece.map_err(|e| Error::new(&general::MALFORMED, "the body ended early").because(e))?;
        // A piece may hold many small conversations, or the end of a large one: either is parsed off the threads that serve others.
        let work = tokio::task::spawn_blocking(move || {
            let mut complete = Vec::new();
            let read = reader.push(&piece, &mut |messages| complete.extend(messages));
            (reader, complete, read)
        });
        let (back, complete, read) =
            work.await.map_err(|e| Error::new(&general::INTERNAL, "an import ended early").because(e))?;
        reader = back;
        if let Some((people, id)) = into {
            for batch in batches(complete) {
                people.add_to_archive(id, batch).await?;
            }
        }
        read?;
    }
    reader.end()
}

/// In pieces that one transaction takes.
fn batches(messages: Vec<ArchivedMessage>) -> Vec<Vec<ArchivedMessage>> {
    let mut out: Vec<Vec<ArchivedMessage>> = Vec::new();
    let mut bytes = usize::MAX;
    for one in messages {
        let size = one.text.len() + one.title.len();
        let is_full = out.last().is_none_or(|batch| batch.len() >= limits::ARCHIVE_ADD_ROWS_MAX)
            || bytes.saturating_add(size) > limits::ARCHIVE_ADD_BYTES_MAX;
        if is_full {
            out.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(batch) = out.last_mut() {
            batch.push(one);
        }
    }
    out
}
