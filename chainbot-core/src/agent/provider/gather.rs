//! Puts the pieces of a reply together. Pure.
//!
//! Servers disagree about how a call comes in pieces: with an index or without, two calls under one index, an id in the first piece only, in every
//! piece, or never. What decides is written at [`Gathered::call`].

use super::{Delta, DeltaSink, ModelError, ModelErrorClass, ModelReply, ModelRequest, Stop, ToolCall, Usage};
use crate::limits::MODEL_CALLS_MAX;

/// A call in the making.
#[derive(Default)]
struct Partial {
    index: Option<u64>,
    call: ToolCall,
}

/// What has come so far.
#[derive(Default)]
pub(super) struct Gathered {
    text: String,
    calls: Vec<Partial>,
    /// As the server names the model.
    pub model: Option<String>,
    /// Set once the server said why it stopped: then the reply is whole.
    pub stop: Option<Stop>,
    input: Option<u64>,
    cached: Option<u64>,
    output: Option<u64>,
}

/// A piece of a call, with what the server says about which call it is of.
#[derive(Default)]
pub(super) struct Piece<'a> {
    pub index: Option<u64>,
    pub id: Option<&'a str>,
    pub name: Option<&'a str>,
    pub arguments: &'a str,
}

impl Gathered {
    /// More text.
    pub fn text(&mut self, more: &str, sink: &mut dyn DeltaSink) -> Result<(), ModelError> {
        if more.is_empty() {
            return Ok(());
        }
        self.text.push_str(more);
        self.tell(&Delta::Text(more.to_owned()), sink)
    }

    /// A piece of a call. It begins a new one when its id is another than that of the call it would belong to, when it names a tool and that call
    /// has a name and arguments already, or when there is none to belong to. It belongs to the last call with its index, without an index to
    /// the last call.
    pub fn call(&mut self, piece: &Piece<'_>, sink: &mut dyn DeltaSink) -> Result<(), ModelError> {
        let id = piece.id.filter(|id| !id.is_empty());
        let name = piece.name.filter(|name| !name.is_empty());
        let at = match piece.index {
            Some(index) => self.calls.iter().rposition(|partial| partial.index == Some(index)),
            None => self.calls.len().checked_sub(1),
        };
        let belongs = at.filter(|at| {
            let own = &self.calls[*at].call;
            let other_id = id.is_some_and(|id| !own.id.is_empty() && own.id != id);
            let same_id = id.is_some_and(|id| own.id == id);
            let begins = name.is_some() && !same_id && !own.name.is_empty() && !own.arguments.is_empty();
            !other_id && !begins
        });
        let at = match belongs {
            Some(at) => at,
            None => {
                if self.calls.len() >= MODEL_CALLS_MAX {
                    let message = format!("the answer has over {MODEL_CALLS_MAX} calls of tools");
                    return Err(ModelError::new(ModelErrorClass::TooLarge, message));
                }
                self.calls.push(Partial { index: piece.index, call: ToolCall::default() });
                self.calls.len() - 1
            }
        };
        let call = &mut self.calls[at].call;
        if let Some(id) = id
            && call.id.is_empty()
        {
            id.clone_into(&mut call.id);
        }
        let is_new = call.name.is_empty();
        if let Some(name) = name
            && is_new
        {
            name.clone_into(&mut call.name);
        }
        call.arguments.push_str(piece.arguments);
        let (name, added) = (call.name.clone(), piece.arguments.len());
        if is_new && !name.is_empty() {
            self.tell(&Delta::Call(name), sink)?;
        }
        if added > 0 {
            self.tell(&Delta::Arguments(added), sink)?;
        }
        Ok(())
    }

    /// What the server counted; a later count replaces an earlier one, what it leaves out stays.
    pub fn count(&mut self, input: Option<u64>, cached: Option<u64>, output: Option<u64>) {
        self.input = input.or(self.input);
        self.cached = cached.or(self.cached);
        self.output = output.or(self.output);
    }

    fn tell(&self, delta: &Delta, sink: &mut dyn DeltaSink) -> Result<(), ModelError> {
        match sink.delta(delta) {
            std::ops::ControlFlow::Continue(()) => Ok(()),
            std::ops::ControlFlow::Break(()) => Err(ModelError::new(
                ModelErrorClass::Cancelled,
                "the call was ended in the middle of its answer",
            )),
        }
    }

    /// What it has cost so far. Without the server's word it is estimated: the whole prompt, and what has come.
    pub fn usage(&self, request: &ModelRequest) -> Usage {
        let came = || {
            let calls = self.calls.iter().map(|partial| {
                crate::task::estimate_tokens(&partial.call.name)
                    + crate::task::estimate_tokens(&partial.call.arguments)
            });
            crate::task::estimate_tokens(&self.text) + calls.sum::<u64>()
        };
        Usage {
            input: self.input.unwrap_or_else(|| request.estimated_input()),
            cached: self.cached.unwrap_or(0),
            // Servers count anew as they go on, so before the end a count may be of a while ago.
            output: match (self.output, self.stop) {
                (Some(counted), Some(_)) => counted,
                (counted, _) => counted.unwrap_or(0).max(came()),
            },
            is_reported: self.input.is_some() && self.output.is_some() && self.stop.is_some(),
        }
    }

    /// The whole reply. `cut` when the server never said that it was done.
    pub fn finish(mut self, request: &ModelRequest) -> Result<ModelReply, ModelError> {
        let usage = self.usage(request);
        let Some(stop) = self.stop else {
            let message = "the model server ended its answer before it was done";
            return Err(ModelError::new(ModelErrorClass::Cut, message).with_usage(usage));
        };
        let mut calls: Vec<ToolCall> =
            std::mem::take(&mut self.calls).into_iter().map(|partial| partial.call).collect();
        if let Some(nameless) = calls.iter().position(|call| call.name.is_empty()) {
            let message = format!("call {} of the answer names no tool", nameless + 1);
            return Err(ModelError::new(ModelErrorClass::Invalid, message).with_usage(usage));
        }
        for number in 0..calls.len() {
            // Results are matched by id, so each call needs one of its own.
            if calls[number].id.is_empty() || calls[..number].iter().any(|other| other.id == calls[number].id)
            {
                calls[number].id = format!("call_{}", number + 1);
            }
            if calls[number].arguments.trim().is_empty() {
                calls[number].arguments = "{}".to_owned();
            }
        }
        let model = self.model.unwrap_or_else(|| request.model.clone());
        Ok(ModelReply { text: self.text, calls, stop, usage, model })
    }
}
