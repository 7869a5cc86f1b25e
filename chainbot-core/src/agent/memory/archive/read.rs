//! Reads one conversation of either format into messages of an archive.
//!
//! In the tree of ChatGPT the way from `current_node` up to the root is the conversation as it was last seen; other branches are kept and marked.
//! No walk follows a node twice, so a tree that is no tree ends all the same.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::Value;

use super::{Format, Report};
use crate::port::{ArchivedMessage, Speaker};
use crate::time::Timestamp;

/// Characters of a title that are kept: it is a line.
const TITLE_CHARS_MAX: usize = 200;

/// As ChatGPT writes it. What is not named here is passed over.
#[derive(Deserialize)]
struct Tree {
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    conversation_id: Option<String>,
    // Exports have the one or the other, or both with the same text.
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    create_time: Option<f64>,
    #[serde(default)]
    current_node: Option<String>,
    mapping: HashMap<String, Node>,
}

#[derive(Deserialize)]
struct Node {
    #[serde(default)]
    message: Option<Message>,
    #[serde(default)]
    parent: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    author: Option<Author>,
    #[serde(default)]
    create_time: Option<f64>,
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Author {
    #[serde(default)]
    role: Option<String>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    parts: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    is_visually_hidden_from_conversation: Option<bool>,
}

/// As the older ChainBot wrote it.
#[derive(Deserialize)]
struct List {
    #[serde(default)]
    id: Option<Value>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    created_at: Option<Value>,
    messages: Vec<Said>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    role: String,
    #[serde(default)]
    content: Option<Value>,
    #[serde(default)]
    timestamp: Option<Value>,
}

/// The messages of one conversation, in order; empty when there are none to take.
pub fn conversation(format: Format, text: &[u8], report: &mut Report) -> Vec<ArchivedMessage> {
    let messages = match format {
        Format::Chatgpt => serde_json::from_slice::<Tree>(text).ok().map(|tree| of_tree(tree, report)),
        Format::Chainbot => serde_json::from_slice::<List>(text).ok().map(|list| of_list(list, report)),
    };
    let Some(messages) = messages else {
        report.skipped.unreadable += 1;
        return Vec::new();
    };
    for one in &messages {
        report.messages += 1;
        report.on_branches += u64::from(one.is_branch);
        match one.at {
            None => report.skipped.without_time += 1,
            Some(at) => {
                report.first_at = Some(report.first_at.map_or(at, |first| first.min(at)));
                report.last_at = Some(report.last_at.map_or(at, |last| last.max(at)));
            }
        }
    }
    messages
}

fn of_tree(mut tree: Tree, report: &mut Report) -> Vec<ArchivedMessage> {
    report.skipped.orphans += tree
        .mapping
        .values()
        .filter(|node| node.parent.as_ref().is_some_and(|parent| !tree.mapping.contains_key(parent)))
        .count() as u64;
    let (way, is_circle) = way_up(&tree);
    let is_circle = is_circle || has_circle(&tree.mapping);
    report.skipped.cycles += u64::from(is_circle);
    let title = title_of(tree.title.take());
    let conversation = tree.conversation_id.take().or(tree.id.take()).unwrap_or_else(|| {
        // Older exports give none; title and time tell conversations apart in every export.
        derived(&[&title, &tree.create_time.unwrap_or_default().to_string()])
    });
    let on_way: HashSet<&String> = way.iter().collect();
    let mut others: Vec<String> = tree.mapping.keys().filter(|id| !on_way.contains(id)).cloned().collect();
    let began = |id: &String| {
        tree.mapping.get(id).and_then(|node| node.message.as_ref()).and_then(|message| message.create_time)
    };
    // In the order in which they were said, and the same in every export.
    others.sort_by(|one, other| {
        began(one).unwrap_or(0.0).total_cmp(&began(other).unwrap_or(0.0)).then_with(|| one.cmp(other))
    });
    let order = way.iter().map(|id| (id.clone(), false)).chain(others.into_iter().map(|id| (id, true)));
    let mut out: Vec<ArchivedMessage> = Vec::new();
    for (id, is_branch) in order.collect::<Vec<_>>() {
        let Some(message) = tree.mapping.remove(&id).and_then(|node| node.message) else {
            report.skipped.empty += 1;
            continue;
        };
        let at = message.create_time.and_then(epoch);
        let Some((speaker, text)) = said(message, report) else { continue };
        let position = u32::try_from(out.len()).unwrap_or(u32::MAX);
        let (conversation, title) = (conversation.clone(), title.clone());
        out.push(ArchivedMessage {
            conversation,
            message: id,
            title,
            position,
            speaker,
            at,
            is_branch,
            text,
        });
    }
    out
}

/// Ids from the root down to the current node, and whether the way led in a circle. Without a current node nothing is on the way, unless
/// it is the only line there is.
fn way_up(tree: &Tree) -> (Vec<String>, bool) {
    let newest = || {
        let parents: HashSet<&String> =
            tree.mapping.values().filter_map(|node| node.parent.as_ref()).collect();
        let time = |id: &&String| {
            tree.mapping.get(*id).and_then(|node| node.message.as_ref()).and_then(|one| one.create_time)
        };
        let leaves = tree.mapping.keys().filter(|id| !parents.contains(id));
        leaves.max_by(|one, other| {
            time(one).unwrap_or(0.0).total_cmp(&time(other).unwrap_or(0.0)).then_with(|| one.cmp(other))
        })
    };
    let named = tree.current_node.as_ref().filter(|id| tree.mapping.contains_key(*id));
    let mut next = named.or_else(newest);
    let (mut way, mut seen) = (Vec::new(), HashSet::new());
    while let Some(id) = next {
        if !seen.insert(id) {
            way.reverse();
            return (way, true);
        }
        let Some(node) = tree.mapping.get(id) else { break };
        way.push(id.clone());
        next = node.parent.as_ref();
    }
    way.reverse();
    (way, false)
}

/// Whether any node is its own ancestor. Each node is looked at once.
fn has_circle(mapping: &HashMap<String, Node>) -> bool {
    let mut done: HashSet<&String> = HashSet::new();
    for start in mapping.keys() {
        let (mut way, mut next) = (HashSet::new(), Some(start));
        while let Some(id) = next.filter(|id| !done.contains(*id)) {
            if !way.insert(id) {
                return true;
            }
            next = mapping.get(id).and_then(|node| node.parent.as_ref());
        }
        done.extend(way);
    }
    false
}

fn said(message: Message, report: &mut Report) -> Option<(Speaker, String)> {
    let role = message.author.and_then(|author| author.role).unwrap_or_default();
    let is_hidden =
        message.metadata.is_some_and(|one| one.is_visually_hidden_from_conversation == Some(true));
    let Some(speaker) = speaker(&role).filter(|_| !is_hidden) else {
        report.skipped.hidden += 1;
        return None;
    };
    let Some(content) = message.content else {
        report.skipped.without_text += 1;
        return None;
    };
    if !matches!(content.content_type.as_deref(), Some("text" | "multimodal_text")) {
        report.skipped.not_text += 1;
        return None;
    }
    let (mut text, mut skipped) = (String::new(), 0);
    for part in content.parts.unwrap_or_default() {
        match part {
            Value::String(part) => {
                if !text.is_empty() && !part.is_empty() {
                    text.push('\n');
                }
                text.push_str(&part);
            }
            _ => skipped += 1,
        }
    }
    report.skipped.not_text += skipped;
    if text.trim().is_empty() {
        // Nothing but pictures is counted once, as such.
        report.skipped.without_text += u64::from(skipped == 0);
        return None;
    }
    Some((speaker, text))
}

fn of_list(list: List, report: &mut Report) -> Vec<ArchivedMessage> {
    let title = title_of(list.title);
    let conversation = match &list.id {
        Some(Value::String(id)) if !id.is_empty() => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        _ => derived(&[&title, &list.created_at.as_ref().map(Value::to_string).unwrap_or_default()]),
    };
    let mut out = Vec::new();
    for (index, said) in list.messages.into_iter().enumerate() {
        let Some(speaker) = speaker(&said.role) else {
            report.skipped.hidden += 1;
            continue;
        };
        let text = match said.content {
            Some(Value::String(text)) if !text.trim().is_empty() => text,
            None | Some(Value::Null | Value::String(_)) => {
                report.skipped.without_text += 1;
                continue;
            }
            Some(_) => {
                report.skipped.not_text += 1;
                continue;
            }
        };
        let position = u32::try_from(index).unwrap_or(u32::MAX);
        let (conversation, title, message) = (conversation.clone(), title.clone(), index.to_string());
        let at = said.timestamp.as_ref().and_then(time);
        out.push(ArchivedMessage {
            conversation,
            message,
            title,
            position,
            speaker,
            at,
            is_branch: false,
            text,
        });
    }
    out
}

fn speaker(role: &str) -> Option<Speaker> {
    match role {
        "user" | "human" => Some(Speaker::User),
        "assistant" | "ai" | "bot" => Some(Speaker::Assistant),
        "tool" | "function" => Some(Speaker::Tool),
        _ => None,
    }
}

/// The same text for the same words, in every import.
fn derived(words: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for word in words {
        hasher.update(&(word.len() as u64).to_le_bytes()).update(word.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

fn title_of(title: Option<String>) -> String {
    let title = title.unwrap_or_default();
    title.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TITLE_CHARS_MAX).collect()
}

/// Seconds since 1970, within what a calendar has.
fn epoch(seconds: f64) -> Option<Timestamp> {
    let is_time = seconds.is_finite() && (1.0..253_402_300_800.0).contains(&seconds);
    #[allow(clippy::cast_possible_truncation, reason = "it is within the range of years up to 9999")]
    is_time.then_some(Timestamp((seconds * 1_000.0) as i64))
}

fn time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Number(seconds) => epoch(seconds.as_f64()?),
        // The older files have times without an offset, which were UTC.
        Value::String(text) => Timestamp::parse(text).or_else(|| Timestamp::parse(&[text, "Z"].concat())),
        _ => None,
    }
}
