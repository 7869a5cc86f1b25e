//! A model without a model: it says what a script has, in order. For tests, and for examples that run offline.
//!
//! A turn may say what it expects of the request; another request is an error that names the difference. Counts what it was asked.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;

use super::{
    CallLimits, Delta, DeltaSink, Message, ModelError, ModelErrorClass, ModelProvider, ModelReply,
    ModelRequest, Pending, Stop, ToolCall, Usage,
};
use crate::error::code::config as code;
use crate::{Error, Result};

/// What a turn expects of the request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Expected {
    /// Text that the last message has.
    contains: Option<String>,
    /// Names of the tools that are offered, in order.
    tools: Option<Vec<String>>,
    /// How many messages there are.
    messages: Option<usize>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Called {
    name: String,
    #[serde(default)]
    arguments: Value,
}

/// One turn of a script: a reply, or what goes wrong.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Turn {
    expect: Expected,
    text: String,
    calls: Vec<Called>,
    /// Tokens; estimated unless said.
    input: Option<u64>,
    output: Option<u64>,
    /// The text comes in so many pieces.
    pieces: Option<usize>,
    /// The bound of the reply was reached.
    cut_by_bound: bool,
    /// In place of a reply: the word of a class.
    error: Option<String>,
    /// With `error`: seconds.
    after: Option<u64>,
    /// Nothing comes until the caller gives up.
    stall: bool,
    /// The connection ends after the text.
    cut: bool,
}

struct Played {
    next: usize,
    requests: Vec<ModelRequest>,
}

/// A scripted model.
#[derive(Clone)]
pub struct Scripted {
    turns: Arc<Vec<Turn>>,
    played: Arc<Mutex<Played>>,
}

/// Requests that are remembered for tests.
const REMEMBERED_MAX: usize = 10_000;

impl Scripted {
    /// `[{text}, {calls: [{name, arguments}]}, {error: rate_limited, after: 2}, {stall: true}, {cut: true, text}, ...]`. CB-0503 for another
    /// shape.
    pub fn new(script: &Value) -> Result<Self> {
        let turns: Vec<Turn> = Deserialize::deserialize(script).map_err(|error| {
            Error::new(&code::VALUE, format!("the script of a model does not read: {error}"))
        })?;
        for turn in &turns {
            if let Some(word) = turn.error.as_deref().filter(|word| class(word).is_none()) {
                return Err(Error::new(&code::VALUE, format!("`{word}` is no class of an error of a model")));
            }
        }
        let played = Played { next: 0, requests: Vec::new() };
        Ok(Self { turns: Arc::new(turns), played: Arc::new(Mutex::new(played)) })
    }

    /// What it was asked so far.
    pub fn requests(&self) -> Vec<ModelRequest> {
        self.played.lock().requests.clone()
    }

    fn next(&self, request: &ModelRequest) -> std::result::Result<Turn, ModelError> {
        let mut played = self.played.lock();
        if played.requests.len() < REMEMBERED_MAX {
            played.requests.push(request.clone());
        }
        let number = played.next;
        let Some(turn) = self.turns.get(number) else {
            let message =
                format!("the script has {} turns, and this is call {}", self.turns.len(), number + 1);
            return Err(ModelError::new(ModelErrorClass::Refused, message));
        };
        if let Some(difference) = turn.expect.differs(request) {
            let message = format!("turn {} of the script expects {difference}", number + 1);
            return Err(ModelError::new(ModelErrorClass::Refused, message));
        }
        played.next += 1;
        Ok(turn.clone())
    }
}

impl Expected {
    fn differs(&self, request: &ModelRequest) -> Option<String> {
        let last = match request.messages.last() {
            Some(Message::System(text) | Message::User(text) | Message::Tool { text, .. }) => text.as_str(),
            Some(Message::Assistant { text, .. }) => text.as_str(),
            None => "",
        };
        if let Some(part) = self.contains.as_deref().filter(|part| !last.contains(part)) {
            return Some(format!(
                "`{part}` in the last message, which is: {}",
                crate::net::excerpt(last.as_bytes())
            ));
        }
        let names: Vec<&str> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
        if let Some(tools) = self.tools.as_ref().filter(|tools| **tools != names) {
            return Some(format!("the tools {tools:?}, not {names:?}"));
        }
        let count = request.messages.len();
        self.messages
            .filter(|wanted| *wanted != count)
            .map(|wanted| format!("{wanted} messages, not {count}"))
    }
}

fn class(word: &str) -> Option<ModelErrorClass> {
    use ModelErrorClass as Class;
    [
        Class::Connect,
        Class::Timeout,
        Class::Cut,
        Class::RateLimited,
        Class::Overloaded,
        Class::Auth,
        Class::ContextExceeded,
        Class::TooLarge,
        Class::Refused,
        Class::Invalid,
    ]
    .into_iter()
    .find(|class| class.as_str() == word)
}

/// The text in so many pieces, cut between characters.
fn pieces(text: &str, count: usize) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let size = letters.len().div_ceil(count.max(1)).max(1);
    letters.chunks(size).map(|chunk| chunk.iter().collect()).collect()
}

impl Turn {
    async fn play(
        self,
        request: &ModelRequest,
        limits: &CallLimits,
        sink: &mut dyn DeltaSink,
    ) -> std::result::Result<ModelReply, ModelError> {
        let usage = Usage {
            input: self.input.unwrap_or_else(|| request.estimated_input()),
            cached: 0,
            output: self.output.unwrap_or_else(|| crate::task::estimate_tokens(&self.text)),
            is_reported: self.input.is_some() && self.output.is_some(),
        };
        if let Some(class) = self.error.as_deref().and_then(class) {
            let mut error = ModelError::new(class, "the script says so");
            error.after = self.after.map(Duration::from_secs);
            return Err(error);
        }
        if self.stall {
            tokio::time::sleep(limits.first).await;
            let message = format!("nothing came for {} s", limits.first.as_secs());
            return Err(ModelError::new(ModelErrorClass::Timeout, message).with_usage(usage));
        }
        for piece in pieces(&self.text, self.pieces.unwrap_or(1)) {
            if sink.delta(&Delta::Text(piece)).is_break() {
                let error = ModelError::new(
                    ModelErrorClass::Cancelled,
                    "the call was ended in the middle of its answer",
                );
                return Err(error.with_usage(usage));
            }
        }
        if self.cut {
            let error = ModelError::new(ModelErrorClass::Cut, "the script ends its answer before it is done");
            return Err(error.with_usage(usage));
        }
        let call = |(number, called): (usize, Called)| ToolCall {
            id: format!("call_{}", number + 1),
            name: called.name,
            arguments: if called.arguments.is_null() {
                "{}".to_owned()
            } else {
                super::wire::arguments(&called.arguments)
            },
        };
        let calls = self.calls.into_iter().enumerate().map(call).collect();
        let stop = if self.cut_by_bound { Stop::MaxOutput } else { Stop::End };
        Ok(ModelReply { text: self.text, calls, stop, usage, model: request.model.clone() })
    }
}

impl ModelProvider for Scripted {
    fn call<'a>(
        &'a self,
        request: &'a ModelRequest,
        limits: &'a CallLimits,
        sink: &'a mut dyn DeltaSink,
    ) -> Pending<'a, ModelReply> {
        Box::pin(async move { self.next(request)?.play(request, limits, sink).await })
    }

    fn list(&self) -> Pending<'_, Vec<String>> {
        Box::pin(async { Ok(vec!["scripted".to_owned()]) })
    }
}
