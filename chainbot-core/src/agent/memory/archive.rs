//! Exports of chats, read as they come: two formats, one conversation in memory at a time.
//!
//! ```text
//! bytes ──► cut (finds where a conversation begins and ends) ──► read (one conversation) ──► messages of an archive
//! ```
//!
//! Invariants: no more than one conversation is held, and one over its bound is skipped and counted; what is odd in a conversation (cycles,
//! orphans, no times, no text) is counted and is no error; what is not JSON is an error with its place. Everything read is untrusted.
//!
//! Must not know the store.

mod cut;
mod read;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use self::cut::{Cut, Found};
use crate::error::{Error, Result, code::memory as code};
use crate::limits;
use crate::port::ArchivedMessage;
use crate::time::Timestamp;

/// Which of the two formats a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The export of ChatGPT: a list of conversations, each a tree.
    Chatgpt,
    /// The older file of ChainBot: an object with `conversations`, each a list.
    Chainbot,
}

impl Format {
    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Chatgpt => "chatgpt",
            Format::Chainbot => "chainbot",
        }
    }
}

/// What was found in a file, and what of it was not taken.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Which format it is; none when there is no conversation in it.
    pub format: Option<Format>,
    /// Bytes read.
    pub bytes: u64,
    /// Conversations with a message.
    pub conversations: u64,
    /// Messages with text.
    pub messages: u64,
    /// Of those, the ones on other branches than the last.
    pub on_branches: u64,
    /// Of the oldest message that has a time.
    pub first_at: Option<Timestamp>,
    /// Of the newest.
    pub last_at: Option<Timestamp>,
    /// What was not taken, or is odd.
    pub skipped: Skipped,
}

/// How often something was not taken, or is odd.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Skipped {
    /// Nodes without a message.
    pub empty: u64,
    /// Messages that the chat did not show, and of the system.
    pub hidden: u64,
    /// Parts that are no text: pictures, code runs, files.
    pub not_text: u64,
    /// Messages that say nothing.
    pub without_text: u64,
    /// Conversations whose messages lead in a circle.
    pub cycles: u64,
    /// Messages whose parent is not there.
    pub orphans: u64,
    /// Messages without a time.
    pub without_time: u64,
    /// Conversations that do not read.
    pub unreadable: u64,
    /// Conversations over the bound.
    pub too_large: u64,
}

impl Report {
    /// With what another part of the same file had.
    pub fn add(&mut self, other: &Report) {
        self.format = self.format.or(other.format);
        self.bytes += other.bytes;
        self.conversations += other.conversations;
        self.messages += other.messages;
        self.on_branches += other.on_branches;
        self.first_at = [self.first_at, other.first_at].into_iter().flatten().min();
        self.last_at = [self.last_at, other.last_at].into_iter().flatten().max();
        let (mine, theirs) = (&mut self.skipped, &other.skipped);
        mine.empty += theirs.empty;
        mine.hidden += theirs.hidden;
        mine.not_text += theirs.not_text;
        mine.without_text += theirs.without_text;
        mine.cycles += theirs.cycles;
        mine.orphans += theirs.orphans;
        mine.without_time += theirs.without_time;
        mine.unreadable += theirs.unreadable;
        mine.too_large += theirs.too_large;
    }
}

/// Reads a file piece by piece.
#[derive(Default)]
pub struct Reader {
    cut: Cut,
    report: Report,
}

impl Reader {
    /// The next piece; what it completes is handed to `take`, conversation by conversation.
    pub fn push(&mut self, bytes: &[u8], take: &mut dyn FnMut(Vec<ArchivedMessage>)) -> Result<()> {
        self.report.bytes = within_bound(self.report.bytes, bytes)?;
        let report = &mut self.report;
        self.cut.push(bytes, &mut |format, found| {
            report.format = Some(format);
            match found {
                Found::TooLarge => report.skipped.too_large += 1,
                Found::Conversation(text) => {
                    let messages = read::conversation(format, text, report);
                    if !messages.is_empty() {
                        report.conversations += 1;
                        take(messages);
                    }
                }
            }
        })
    }

    /// After the last piece.
    pub fn end(self) -> Result<Report> {
        self.cut.end()?;
        Ok(self.report)
    }
}

/// Takes a file apart between its conversations, without reading them: for whoever sends it in pieces.
#[derive(Default)]
pub struct Splitter {
    cut: Cut,
    bytes: u64,
}

impl Splitter {
    /// The next piece; each conversation that it completes is handed to `take`, or `None` for one over its bound.
    pub fn push(&mut self, bytes: &[u8], take: &mut dyn FnMut(Format, Option<&[u8]>)) -> Result<()> {
        self.bytes = within_bound(self.bytes, bytes)?;
        self.cut.push(bytes, &mut |format, found| match found {
            Found::Conversation(text) => take(format, Some(text)),
            Found::TooLarge => take(format, None),
        })
    }

    /// After the last piece: how many bytes there were.
    pub fn end(self) -> Result<u64> {
        self.cut.end()?;
        Ok(self.bytes)
    }
}

fn within_bound(before: u64, piece: &[u8]) -> Result<u64> {
    let bytes = before + piece.len() as u64;
    if bytes <= limits::ARCHIVE_FILE_BYTES_MAX {
        return Ok(bytes);
    }
    let message = format!("the export is over {} bytes", limits::ARCHIVE_FILE_BYTES_MAX);
    Err(Error::new(&code::EXPORT_SIZE, message).help("split the list of conversations into several files"))
}
