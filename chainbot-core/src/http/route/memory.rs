//! What an agent remembers: looked at, searched, corrected, forgotten. For those who may change the agent.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::code::{general, memory as code};
use crate::error::{Error, Result};
use crate::http::Shared;
use crate::http::page;
use crate::http::problem::{Answer, Failure};
use crate::http::request::{Call, Tags};
use crate::id::MemoryId;
use crate::limits::{MEMORY_BLOCK_CHARS_MAX, MEMORY_DESCRIPTION_BYTES_MAX, PAGE_DEFAULT};
use crate::port::{ItemScope, MemoryItem, Origin, RecallSource, Recalled, StoredBlock};
use crate::runtime::NewBlock;

/// What an agent remembers.
#[derive(Serialize, ToSchema)]
struct AgentMemory {
    /// Always in its prompts, by label.
    blocks: Vec<Block>,
    /// Saved items that it recalls when they fit a task, newest first.
    items: Vec<Item>,
    /// Items in all.
    total: u64,
    /// The cursor of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u32>,
    /// With `q`: what it would recall, the best first.
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<Vec<Found>>,
}

/// A block of an agent's memory.
#[derive(Serialize, ToSchema)]
struct Block {
    /// Which.
    label: String,
    /// What it is for.
    description: String,
    /// The text.
    value: String,
    /// Characters of it, at most.
    chars_max: u32,
    /// From 1; the ETag.
    version: u32,
    /// `trusted`, or `untrusted` when a task wrote it that had seen something from outside.
    origin: &'static str,
    /// When it was last written.
    #[schema(format = "date-time")]
    updated_at: String,
}

impl From<StoredBlock> for Block {
    fn from(block: StoredBlock) -> Self {
        Self {
            label: block.label,
            description: block.description,
            value: block.value,
            chars_max: block.chars_max,
            version: block.version,
            origin: origin(block.origin),
            updated_at: block.updated_at.to_string(),
        }
    }
}

/// An item of an agent's memory.
#[derive(Serialize, ToSchema)]
struct Item {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// `agent`, or `owner`: every agent of the agent's owner recalls it.
    scope: &'static str,
    /// `fact`, `preference`, `event` or another word.
    kind: String,
    /// What.
    text: String,
    /// Where it comes from.
    source: String,
    /// `trusted` or `untrusted`.
    origin: &'static str,
    /// When it was saved.
    #[schema(format = "date-time")]
    created_at: String,
    /// When it is forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    expires_at: Option<String>,
}

impl From<MemoryItem> for Item {
    fn from(item: MemoryItem) -> Self {
        let scope = match item.scope {
            ItemScope::Agent => "agent",
            ItemScope::Owner => "owner",
        };
        Self {
            id: item.id.to_string(),
            scope,
            kind: item.kind,
            text: item.text,
            source: item.source,
            origin: origin(item.origin),
            created_at: item.at.to_string(),
            expires_at: item.expires_at.map(|at| at.to_string()),
        }
    }
}

/// What a search found.
#[derive(Serialize, ToSchema)]
struct Found {
    /// `item`, `thread` or `archive`.
    from: &'static str,
    /// An item's kind, a message's place, a conversation's title.
    place: String,
    /// The text.
    text: String,
    /// `trusted` or `untrusted`.
    origin: &'static str,
    /// When it was said.
    #[schema(format = "date-time")]
    at: Option<String>,
}

impl From<Recalled> for Found {
    fn from(one: Recalled) -> Self {
        let from = match one.from {
            RecallSource::Item => "item",
            RecallSource::Thread => "thread",
            RecallSource::Archive => "archive",
        };
        let at = one.at.map(|at| at.to_string());
        Self { from, place: one.place, text: one.text, origin: origin(one.origin), at }
    }
}

fn origin(origin: Origin) -> &'static str {
    if origin.taints() { "untrusted" } else { "trusted" }
}

/// What a block is written from.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the document; the body is read field by field")]
struct NewBlockBody {
    /// The text.
    value: String,
    /// What the block is for; stays unless given.
    description: Option<String>,
    /// Characters of the text, at most; stays unless given, 2,000 for a new block.
    chars_max: Option<u32>,
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(show, forget_all))
        .routes(routes!(write, forget_block))
        .routes(routes!(forget_item))
}

/// What an agent remembers
#[utoipa::path(get, path = "/api/chainbot/agents/{id}/memory", tag = "agents",
    params(
        ("id" = String, Path, description = "The agent's id or name"),
        ("q" = Option<String>, Query, description = "Words to look for as well"),
        ("count" = Option<u32>, Query, description = "Items at most: 1 to 200; 50 unless said"),
        ("cursor" = Option<u32>, Query, description = "`next` of an earlier page")),
    responses(
        (status = 200, description = "Blocks, and a page of items", body = AgentMemory),
        (status = 404, description = "There is no such agent that the caller may change")))]
async fn show(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query = call.query(&["q", "count", "cursor"])?;
    let limit = page::number_of(&query, "count", PAGE_DEFAULT)?;
    let skip = page::number_cursor(&query)?.unwrap_or(0);
    let found =
        call.engine(&shared)?.people()?.remembered(call.path("id")?, query.text("q"), skip, limit).await?;
    let next = found.items.more.then(|| skip.saturating_add(limit));
    let memory = AgentMemory {
        blocks: found.blocks.into_iter().map(Block::from).collect(),
        items: found.items.items.into_iter().map(Item::from).collect(),
        total: found.items.total,
        next,
        found: found.found.map(|found| found.into_iter().map(Found::from).collect()),
    };
    Ok(Json(memory).into_response())
}

/// Has an agent forget everything: conversations, blocks, its own items
#[utoipa::path(delete, path = "/api/chainbot/agents/{id}/memory", tag = "agents",
    params(("id" = String, Path, description = "The agent's id or name")),
    responses(
        (status = 204, description = "Nothing is left"),
        (status = 404, description = "There is no such agent that the caller may change")))]
async fn forget_all(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    call.engine(&shared)?.people()?.forget_all(call.path("id")?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Writes a block over the version that was read
#[utoipa::path(put, path = "/api/chainbot/agents/{id}/memory/blocks/{label}", tag = "agents",
    params(
        ("id" = String, Path, description = "The agent's id or name"),
        ("label" = String, Path, description = "Lower-case letters, digits, `_` and `-`"),
        ("If-Match" = Option<String>, Header, description = "The version that was read, as its ETag; without it whichever is replaced")),
    request_body(content = NewBlockBody, example = json!({ "value": "Likes tomatoes.", "description": "What is known of the user" })),
    responses(
        (status = 200, description = "The block as it is", body = Block, headers(("ETag", description = "Its version"))),
        (status = 404, description = "There is no such agent that the caller may change"),
        (status = 412, description = "The block has changed meanwhile"),
        (status = 422, description = "Label or text cannot be taken")))]
async fn write(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let mut fields = call.fields(&["value", "description", "chars_max"]).await?;
    // Four bytes a character, at most.
    let value = fields.needed("value", MEMORY_BLOCK_CHARS_MAX as usize * 4)?;
    let description = fields.text("description", MEMORY_DESCRIPTION_BYTES_MAX)?;
    let chars_max = fields.count("chars_max")?.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    let if_version = call.tags("if-match")?.map(version).transpose()?.flatten();
    let new = NewBlock { value, description, chars_max, if_version };
    let (agent, label) = (call.path("id")?, call.path("label")?);
    let block = call.engine(&shared)?.people()?.write_block(agent, label, new).await?;
    reply(block)
}

/// Forgets a block
#[utoipa::path(delete, path = "/api/chainbot/agents/{id}/memory/blocks/{label}", tag = "agents",
    params(
        ("id" = String, Path, description = "The agent's id or name"),
        ("label" = String, Path, description = "Which")),
    responses(
        (status = 204, description = "It is gone, or was not there"),
        (status = 404, description = "There is no such agent that the caller may change")))]
async fn forget_block(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    call.engine(&shared)?.people()?.forget_block(call.path("id")?, call.path("label")?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Forgets an item
#[utoipa::path(delete, path = "/api/chainbot/agents/{id}/memory/items/{item}", tag = "agents",
    params(
        ("id" = String, Path, description = "The agent's id or name"),
        ("item" = String, Path, description = "The item's id")),
    responses(
        (status = 204, description = "It is gone, or was not there"),
        (status = 404, description = "There is no such agent that the caller may change")))]
async fn forget_item(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let item: MemoryId = call.path("item")?.parse().map_err(|_| {
        Error::new(&code::NOT_FOUND, "that is no item's id").help("the agent's memory lists its items")
    })?;
    call.engine(&shared)?.people()?.forget_item(call.path("id")?, item).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The version in `If-Match`. `*` is a block of any version.
fn version(tags: Tags) -> Result<Option<u32>> {
    match tags {
        Tags::Any => Ok(None),
        Tags::These(tags) => match tags.first().map(|tag| tag.parse()) {
            Some(Ok(version)) if tags.len() == 1 => Ok(Some(version)),
            _ => Err(Error::new(&general::MALFORMED, "If-Match is not a block's version").help(
                "send the ETag of the block as it came, such as \"3\"; \"0\" for a block that is not there",
            )),
        },
    }
}

fn reply(block: StoredBlock) -> Result<Response, Failure> {
    let tag = format!("\"{}\"", block.version);
    let tag = HeaderValue::try_from(tag)
        .map_err(|e| Error::new(&general::INTERNAL, "the version is no header").because(e))?;
    Ok(([(header::ETAG, tag)], Json(Block::from(block))).into_response())
}
