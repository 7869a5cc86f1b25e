//! The family of tools `memory`: an agent searches, saves and rewrites what it remembers, its own and no other's.
//!
//! The grant is `{}` for everything, or `{operations: [search, save, block_replace], save_for: agent | owner, archives: [names]}`. A save is
//! known by the key of its call, so that the same call saves once, whenever it is tried; a rewritten block keeps the key that wrote
//! it, for the same reason. What a tainted task writes is untrusted for whoever recalls it.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::agent::tool::{ToolFamily, ToolFuture, ToolOutcome, ToolOwner, ToolRequest};
use crate::env::Env;
use crate::error::ErrorKind;
use crate::error::code::memory as code;
use crate::id::MemoryId;
use crate::limits;
use crate::model::{EffectClass, StepError, ToolSpec, class};
use crate::port::{
    BlockPut, ItemScope, MemoryItem, MemoryOp, Op, Origin, Recall, Recalled, Scope, Store, Terms,
};
use crate::store::commit;
use crate::time::Timestamp;

/// Pieces that one search gives.
const FOUND_MAX: u32 = 10;
/// Days that an item may be kept when it says so itself: ten years.
const DAYS_MAX: u64 = 3_650;

/// The family, over the store.
pub struct MemoryTools {
    store: Arc<dyn Store>,
    env: Env,
}

/// What an agent's definition says of it.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Grant {
    operations: Option<Vec<Operation>>,
    save_for: Option<ItemScope>,
    archives: Vec<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Operation {
    Search,
    Save,
    BlockReplace,
}

impl Operation {
    const ALL: [Operation; 3] = [Operation::BlockReplace, Operation::Save, Operation::Search];

    fn as_str(self) -> &'static str {
        match self {
            Operation::Search => "search",
            Operation::Save => "save",
            Operation::BlockReplace => "block_replace",
        }
    }

    fn spec(self) -> ToolSpec {
        let (name, description, schema, class) = match self {
            Operation::Search => (
                "memory_search",
                "Search what you have saved and what was said before, by words.",
                json!({ "type": "object", "additionalProperties": false, "required": ["query"],
                    "properties": { "query": { "type": "string", "minLength": 1, "maxLength": 1_000 } } }),
                EffectClass::ReadOnly,
            ),
            Operation::Save => (
                "memory_save",
                "Save one fact for later tasks. Save what lasts, one fact a call.",
                json!({ "type": "object", "additionalProperties": false, "required": ["text"], "properties": {
                    "text": { "type": "string", "minLength": 1, "maxLength": limits::MEMORY_ITEM_BYTES_MAX },
                    "kind": { "type": "string", "enum": ["fact", "preference", "event"] },
                    "days": { "type": "integer", "minimum": 1, "maximum": DAYS_MAX, "description": "Forget it after so many days." } } }),
                EffectClass::Keyed,
            ),
            Operation::BlockReplace => (
                "memory_block_replace",
                "Replace the text of a memory block. Give the version that you were shown, 0 for a new block.",
                json!({ "type": "object", "additionalProperties": false, "required": ["label", "value", "if_version"],
                    "properties": {
                        "label": { "type": "string", "pattern": "^[a-z0-9_-]{1,64}$" },
                        "value": { "type": "string", "maxLength": limits::MEMORY_BLOCK_CHARS_MAX },
                        "if_version": { "type": "integer", "minimum": 0 } } }),
                EffectClass::Keyed,
            ),
        };
        ToolSpec {
            name: name.to_owned(),
            family: FAMILY.to_owned(),
            operation: self.as_str().to_owned(),
            description: description.to_owned(),
            schema,
            class,
            reads_private: self == Operation::Search,
            // A result says itself whether something untrusted is in it.
            is_untrusted: false,
            is_outward: false,
        }
    }
}

const FAMILY: &str = "memory";

#[derive(Deserialize)]
struct Search {
    query: String,
}

#[derive(Deserialize)]
struct Save {
    text: String,
    kind: Option<String>,
    days: Option<u64>,
}

#[derive(Deserialize)]
struct Replace {
    label: String,
    value: String,
    if_version: u32,
}

impl MemoryTools {
    /// Over the store that keeps the memory.
    pub fn new(store: Arc<dyn Store>, env: Env) -> Self {
        Self { store, env }
    }

    async fn search(&self, request: &ToolRequest) -> Result<ToolOutcome, StepError> {
        let grant = grant(&request.grant)?;
        let Search { query } = arguments(request)?;
        let recall = Recall {
            agent: request.owner.agent,
            thread: None,
            archives: grant.archives,
            terms: Terms::of(&query),
            limit: FOUND_MAX,
            now: self.env.now(),
        };
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || store.memory().recall(&Scope::All, &recall)).await;
        let ended = |_| StepError::new(class::INTERNAL, &code::NOT_FOUND, "the search ended early");
        let found = read.map_err(ended)?.map_err(|error| StepError::from_error(class::INTERNAL, &error))?;
        let is_tainted = found.iter().any(|one| one.origin.taints());
        let found: Vec<Value> = found.iter().map(shown).collect();
        Ok(ToolOutcome { value: json!({ "found": found }), is_error: false, is_tainted })
    }

    async fn save(&self, request: &ToolRequest) -> Result<ToolOutcome, StepError> {
        let scope = grant(&request.grant)?.save_for.unwrap_or(ItemScope::Agent);
        let Save { text, kind, days } = arguments(request)?;
        let at = self.env.now();
        let days = days.map(|days| std::time::Duration::from_secs(days.min(DAYS_MAX) * 86_400));
        let item = MemoryItem {
            id: MemoryId::from(request.key.0),
            scope,
            kind: kind.unwrap_or_else(|| "fact".to_owned()),
            text,
            source: format!("task {}", request.owner.run),
            origin: Origin::of_task(request.is_tainted),
            expires_at: days.map(|days| at.after(days)),
            at,
        };
        let id = item.id.to_string();
        let op = MemoryOp::ItemSave { agent: request.owner.agent, item };
        self.write(op, json!({ "saved": id })).await
    }

    async fn replace(&self, request: &ToolRequest) -> Result<ToolOutcome, StepError> {
        let Replace { label, value, if_version } = arguments(request)?;
        let put = BlockPut {
            agent: request.owner.agent,
            label: label.clone(),
            description: None,
            value,
            chars_max: None,
            if_version: Some(if_version),
            key: Some(request.key),
            origin: Origin::of_task(request.is_tainted),
            at: self.env.now(),
        };
        let done = json!({ "label": label, "version": if_version.saturating_add(1) });
        self.write(MemoryOp::BlockPut(put), done).await
    }

    /// Writes, and tells the model when that is not possible and what to do; only what is wrong with the store is an error of ours.
    async fn write(&self, op: MemoryOp, done: Value) -> Result<ToolOutcome, StepError> {
        match commit(&*self.store, vec![Op::Memory(Box::new(op))]).await {
            Ok(()) => Ok(ToolOutcome::good(done)),
            Err(error) if code::ALL.iter().any(|one| **one == *error.code()) => {
                Ok(ToolOutcome::error(error.to_string()))
            }
            Err(error) if error.kind() == ErrorKind::Busy => Err(StepError::from_error(class::LIMIT, &error)),
            Err(error) => Err(StepError::from_error(class::INTERNAL, &error)),
        }
    }
}

impl ToolFamily for MemoryTools {
    fn family(&self) -> &'static str {
        FAMILY
    }

    fn offers<'a>(&'a self, granted: &'a Value, _: &'a ToolOwner) -> ToolFuture<'a, Vec<ToolSpec>> {
        Box::pin(async move {
            let operations = grant(granted)?.operations;
            let is_granted =
                |one: &Operation| operations.as_ref().is_none_or(|operations| operations.contains(one));
            Ok(Operation::ALL.into_iter().filter(is_granted).map(Operation::spec).collect())
        })
    }

    fn call<'a>(&'a self, request: &'a ToolRequest) -> ToolFuture<'a, ToolOutcome> {
        Box::pin(async move {
            match request.spec.operation.as_str() {
                "search" => self.search(request).await,
                "save" => self.save(request).await,
                "block_replace" => self.replace(request).await,
                other => {
                    let message = format!("the memory has no operation `{other}`");
                    Err(StepError::new(class::INVALID, &code::ITEM, message))
                }
            }
        })
    }
}

/// What the definition grants. `Err` says what is wrong with it, and the remedy.
fn grant(granted: &Value) -> Result<Grant, StepError> {
    if granted.is_null() {
        return Ok(Grant::default());
    }
    serde_json::from_value(granted.clone()).map_err(|why| {
        let message = format!(
            "`tools.memory`: {why}; give {{}}, or `operations` of search, save, block_replace, `save_for` agent or owner, `archives` by name"
        );
        StepError::new(class::INVALID, &code::ITEM, message)
    })
}

/// They fit the schema, which was checked before.
fn arguments<T: serde::de::DeserializeOwned>(request: &ToolRequest) -> Result<T, StepError> {
    serde_json::from_value(request.arguments.clone()).map_err(|why| {
        StepError::new(class::INVALID, &code::ITEM, format!("the arguments do not fit: {why}"))
    })
}

fn shown(one: &Recalled) -> Value {
    json!({ "text": one.text, "from": one.from, "place": one.place, "at": one.at.map(|at: Timestamp| at.to_string()) })
}
