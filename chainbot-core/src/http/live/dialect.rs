//! What is spoken on a WebSocket: what a client's frames ask for, and how events are told.
//!
//! A dialect knows frames and nothing of connections; the session does what it says.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::event::{Event, Frame};
use super::topics::Topics;
use crate::auth::Who;
use crate::error::code::live as code;
use crate::error::{Error, Result};
use crate::http::body::{Fields, Media};
use crate::http::request::printable;
use crate::http::suggest;
use crate::id::Lsn;
use crate::time::Timestamp;

/// Longest name of a request that is given back with its answer.
const ID_BYTES_MAX: usize = 64;

/// A way to speak.
pub trait Dialect: Send {
    /// The first frame, once it is known who listens.
    fn welcome(&self, who: &Who, ping_s: u64) -> Said;
    /// Whether there is something to hear before anything was asked for.
    fn listens_at_once(&self) -> bool {
        false
    }
    /// Takes a client's frame.
    fn hear(&mut self, text: &str, stand: Stand) -> Result<Wish>;
    /// How an answer is told.
    fn say(&self, said: &Said, seq: Option<Lsn>, now: Timestamp) -> Utf8Bytes;
    /// Whether an event is wanted.
    fn wants(&self, event: &Event) -> bool;
    /// How it is told.
    fn tell(&self, event: &Event, is_last: bool) -> Utf8Bytes;
}

/// Where a client stands in the journal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stand {
    /// Everything up to here was told.
    pub told: Option<Lsn>,
    /// The newest place there is.
    pub newest: Option<Lsn>,
}

/// An answer.
#[derive(Debug)]
pub struct Said {
    /// Its type.
    pub kind: &'static str,
    /// What it says.
    pub data: Value,
}

/// What a client's frame asks for.
#[derive(Debug)]
pub enum Wish {
    /// Nothing but this answer.
    Answer(Said),
    /// To hear what is wanted from now on, or from a place.
    Listen(Option<Lsn>, Said),
}

/// The answer to what cannot be done.
pub fn mistake(error: &Error) -> Said {
    let mut data = json!({ "code": error.code().id, "title": error.code().title, "detail": error.message() });
    if let Some(help) = error.remedy() {
        data["help"] = json!(help);
    }
    Said { kind: "error", data }
}

/// The token of a first frame `{"type": "auth", "token": "..."}`.
pub fn token_of(text: &str) -> Result<String> {
    let mut fields = Fields::parse(Some(Media::Json), text.as_bytes(), &["type", "token"])?;
    match fields.needed("type", ID_BYTES_MAX)?.as_str() {
        "auth" => fields.needed("token", crate::limits::ACCESS_TOKEN_BYTES_MAX),
        other => Err(Error::new(&code::FRAME, format!("`{}` before `auth`", printable(other)))
            .help(r#"the first frame is {"type": "auth", "token": "..."}"#)),
    }
}

/// Topics, as docs/websocket.md has them.
#[derive(Default)]
pub struct Plain(Topics);

impl Dialect for Plain {
    fn welcome(&self, who: &Who, ping_s: u64) -> Said {
        let data = json!({ "version": crate::VERSION, "user": who.name, "ping_interval_s": ping_s });
        Said { kind: "welcome", data }
    }

    fn hear(&mut self, text: &str, stand: Stand) -> Result<Wish> {
        const TYPES: [&str; 3] = ["subscribe", "unsubscribe", "ping"];
        let mut fields =
            Fields::parse(Some(Media::Json), text.as_bytes(), &["type", "topics", "since", "id"])?;
        let kind = fields.needed("type", ID_BYTES_MAX)?;
        let id = fields.text("id", ID_BYTES_MAX)?;
        let answer = |kind, mut data: Value| {
            if let Some(id) = &id {
                data["id"] = json!(id);
            }
            Said { kind, data }
        };
        let (topics, since) = (fields.texts("topics")?, fields.count("since")?);
        match kind.as_str() {
            "subscribe" => {
                let since = since.map(|since| Lsn(i64::try_from(since).unwrap_or(i64::MAX)));
                // A place that is not in this journal holds nothing back.
                let from = since.filter(|since| stand.newest.is_none_or(|newest| *since <= newest));
                let mut next = self.0.clone();
                if let (Some(from), Some(told)) = (from, stand.told)
                    && from < told
                {
                    next.had(told);
                }
                next.add(topics, from)?;
                self.0 = next;
                Ok(Wish::Listen(since, answer("subscribed", json!({ "topics": self.0.names() }))))
            }
            "unsubscribe" => {
                self.0.remove(&topics);
                Ok(Wish::Answer(answer("unsubscribed", json!({ "topics": self.0.names() }))))
            }
            "ping" => Ok(Wish::Answer(answer("pong", json!({})))),
            other => Err(Error::new(&code::FRAME, format!("there is no `{}`", printable(other)))
                .help(suggest::hint(other, &TYPES))),
        }
    }

    fn say(&self, said: &Said, seq: Option<Lsn>, now: Timestamp) -> Utf8Bytes {
        Frame { kind: said.kind, topic: None, seq: seq.map(|lsn| lsn.0), time: now, data: &said.data }.text()
    }

    fn wants(&self, event: &Event) -> bool {
        self.0.want(event)
    }

    fn tell(&self, event: &Event, is_last: bool) -> Utf8Bytes {
        event.frame(is_last)
    }
}
