//! Which messages of a thread go into a prompt: whole exchanges, the newest ones that fit.
//!
//! An exchange begins with what a person says and holds the model's answers, its calls and their results. It is taken whole; when
//! it does not fit, the payloads of its results are left out first, and say so, because call, status and digest never leave.
//! Over three quarters of the budget the oldest go, down to half of it, so that not every task makes a summary.

use serde_json::Value;

use crate::agent::provider::{Message, ToolCall};
use crate::port::{Speaker, StoredThreadMessage, ThreadMessage, ToolMark};
use crate::task::estimate_tokens;

/// How much goes in.
pub struct Budget {
    /// Exchanges.
    pub exchanges_max: usize,
    /// Tokens of the whole memory.
    pub tokens_max: u64,
    /// What the other parts take of them.
    pub taken: u64,
}

/// A result that is shorter than this stays: the words that replace it are no fewer.
const PAYLOAD_BYTES_MIN: usize = 256;

/// The messages that go in, and those that do not. Messages before the first of a person are an exchange of their own, whose beginning
/// is not at hand.
pub fn choose(
    messages: Vec<StoredThreadMessage>,
    budget: &Budget,
) -> (Vec<StoredThreadMessage>, Vec<StoredThreadMessage>) {
    let mut exchanges: Vec<Vec<StoredThreadMessage>> = Vec::new();
    for message in messages {
        match exchanges.last_mut() {
            Some(last) if message.message.speaker != Speaker::User => last.push(message),
            _ => exchanges.push(vec![message]),
        }
    }
    let most = (budget.tokens_max * 3 / 4).saturating_sub(budget.taken);
    let many = exchanges.len().saturating_sub(budget.exchanges_max);
    let newest = || exchanges[many..].iter();
    let fits = newest().flatten().map(tokens).sum::<u64>() <= most;
    // A half of the budget once something has to go.
    let goal = if fits { most } else { (budget.tokens_max / 2).saturating_sub(budget.taken) };
    let (mut kept, mut left_tokens) = (Vec::new(), goal);
    let mut rest = exchanges;
    // Results without their call, because the beginning of the exchange is not at hand, are no use in a prompt.
    while rest.len() > many && rest.last().is_some_and(|one| one[0].message.speaker == Speaker::User) {
        let Some(exchange) = rest.pop() else { break };
        let is_last = kept.is_empty();
        // The newest may take what the budget has: without it the conversation has no thread.
        let allowed = if is_last { most } else { left_tokens };
        match fitting(&exchange, allowed) {
            Some(fitting) => {
                left_tokens = left_tokens.saturating_sub(fitting.iter().map(tokens).sum());
                kept.push(fitting);
            }
            None => {
                rest.push(exchange);
                break;
            }
        }
    }
    kept.reverse();
    (kept.into_iter().flatten().collect(), rest.into_iter().flatten().collect())
}

/// A message as a model is told it.
pub fn spoken(message: &ThreadMessage) -> Message {
    let text = message.text.clone();
    match (message.speaker, &message.tool) {
        (Speaker::User, _) => Message::User(text),
        (Speaker::Tool, Some(mark)) => {
            let ToolMark { call, name, is_error, .. } = mark.clone();
            Message::Tool { call, name, text, is_error }
        }
        // What says no more of its call is what somebody said.
        (Speaker::Tool, None) => Message::User(text),
        (Speaker::Assistant, _) => {
            let calls = message.calls.iter().filter_map(Value::as_array).flatten();
            let field = |call: &Value, name: &str| call[name].as_str().unwrap_or_default().to_owned();
            let call = |call: &Value| ToolCall {
                id: field(call, "id"),
                name: field(call, "name"),
                arguments: field(call, "arguments"),
            };
            Message::Assistant { text, calls: calls.map(call).collect() }
        }
    }
}

fn tokens(one: &StoredThreadMessage) -> u64 {
    u64::from(one.message.tokens)
}

/// The exchange, or the exchange without payloads, when it fits.
fn fitting(exchange: &[StoredThreadMessage], allowed: u64) -> Option<Vec<StoredThreadMessage>> {
    let cost = |exchange: &[StoredThreadMessage]| exchange.iter().map(tokens).sum::<u64>();
    if cost(exchange) <= allowed {
        return Some(exchange.to_vec());
    }
    let bare: Vec<_> = exchange.iter().map(without_payload).collect();
    (cost(&bare) <= allowed).then_some(bare)
}

fn without_payload(one: &StoredThreadMessage) -> StoredThreadMessage {
    let mut one = one.clone();
    let message = &mut one.message;
    if let Some(mark) = message.tool.as_ref().filter(|_| message.text.len() >= PAYLOAD_BYTES_MIN) {
        message.text = format!("[{} bytes left out; digest {}]", message.text.len(), mark.digest);
        message.tokens = u32::try_from(estimate_tokens(&message.text)).unwrap_or(u32::MAX);
    }
    one
}
