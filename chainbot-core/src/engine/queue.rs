//! Steps that are done once a message is on disk: `webhook` with `delivery: outbox`, and `notification` over channels.
//!
//! The message goes into the transaction of the step's completion, so it is there exactly when the step is done. Whether
//! there is room is told by the context; what this decision has put in already counts.

use serde_json::{Value, json};

use crate::error::Result;
use crate::error::code::outbox as code;
use crate::expr::Data;
use crate::limits;
use crate::model::{BUILT_IN_CHANNELS, EffectKey, Json, Place, StepError, class};
use crate::port::{MessageKind, NewMessage, Op as StoreOp};

use super::decide::Stepper;
use super::program::{EffectOp, NotifyOp};

impl Stepper<'_> {
    /// `webhook` with `delivery: outbox`.
    pub(super) fn queue(&mut self, place: Place, effect: &EffectOp) -> Result<()> {
        let id = self.effect_key(&place);
        let queued = self.effect_input(&effect.input, &place).and_then(|input| {
            let url = input["url"].as_str().unwrap_or_default();
            let target = url.split(['?', '#']).next().unwrap_or_default().to_owned();
            self.put(&place, id, MessageKind::Webhook, target, input)
        });
        match queued {
            Ok(()) => {
                self.out.is_durable = true;
                self.complete_step(place, Data::new(json!({ "queued": true, "message_id": id.to_string() })))
            }
            Err(error) => self.fail_step(place, error),
        }
    }

    /// `notification`: an event for channels of our own, a message for each other one.
    pub(super) fn notify(&mut self, place: Place, notify: &NotifyOp) -> Result<()> {
        let rendered = self.render_text(&notify.message, &place, b'm').and_then(|message| {
            let title =
                notify.title.as_ref().map(|title| self.render_text(title, &place, b'n')).transpose()?;
            Ok(json!({
                "message": message, "title": title, "type": notify.level, "channels": notify.channels,
                "run": self.state.id, "workflow": self.state.created.name,
            }))
        });
        let before = self.out.ops.len();
        let queued = rendered.and_then(|data| Ok((self.queue_channels(&place, notify, &data)?, data)));
        let (queued, data) = match queued {
            Ok(done) => done,
            Err(error) => {
                // All of them or none.
                self.out.ops.truncate(before);
                return self.fail_step(place, error);
            }
        };
        if notify.channels.iter().any(|channel| BUILT_IN_CHANNELS.contains(&channel.as_str())) {
            self.event(&place, "chainbot.notification".to_owned(), Json::new(data))?;
        }
        let mut output = json!({ "notification_sent": true, "channels": notify.channels });
        if !queued.is_empty() {
            self.out.is_durable = true;
            output["queued"] = Value::Object(queued);
        }
        self.complete_step(place, Data::new(output))
    }

    fn queue_channels(
        &mut self,
        place: &Place,
        notify: &NotifyOp,
        data: &Value,
    ) -> Result<serde_json::Map<String, Value>, StepError> {
        let own = self.effect_key(place);
        let mut queued = serde_json::Map::new();
        for channel in notify.channels.iter().filter(|name| !BUILT_IN_CHANNELS.contains(&name.as_str())) {
            let id = channel_key(own, channel);
            let mut input = data.clone();
            if let Value::Object(entries) = &mut input {
                entries.remove("channels");
                entries.insert("channel".to_owned(), channel.as_str().into());
            }
            self.put(place, id, MessageKind::Channel, channel.clone(), Json::new(input))?;
            queued.insert(channel.clone(), id.to_string().into());
        }
        Ok(queued)
    }

    fn put(
        &mut self,
        place: &Place,
        id: EffectKey,
        kind: MessageKind,
        target: String,
        input: Json,
    ) -> Result<(), StepError> {
        let step = self.state.program.node(place.node).id.clone();
        let message = NewMessage { id, kind, run: self.state.id, step, target, input, at: self.context.now };
        let bytes = message.bytes();
        if bytes > limits::OUTBOX_MESSAGE_BYTES_MAX {
            let most = limits::OUTBOX_MESSAGE_BYTES_MAX;
            let text =
                format!("the message would be {bytes} bytes and the bound is {most}; send a link instead");
            return Err(StepError::new(class::LIMIT, &code::TOO_LARGE, text));
        }
        let (mut rows, mut held) = (1, bytes);
        for op in &self.out.ops {
            if let StoreOp::OutboxPut(other) = op {
                (rows, held) = (rows + 1, held + other.bytes());
            }
        }
        let room = self.context.outbox;
        if rows > room.rows || held > room.bytes {
            let text = format!(
                "the outbox is full: {} messages or {} bytes wait to be sent; see `chainbot outbox list` for the receiver \
                 that does not take them",
                limits::OUTBOX_ROWS_MAX,
                limits::OUTBOX_BYTES_MAX
            );
            return Err(StepError::new(class::LIMIT, &code::FULL, text));
        }
        self.out.ops.push(StoreOp::OutboxPut(Box::new(message)));
        Ok(())
    }
}

/// One step tells several channels, and each message has an id of its own.
fn channel_key(own: EffectKey, channel: &str) -> EffectKey {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&own.0).update(channel.as_bytes());
    let mut key = [0; 16];
    hasher.finalize_xof().fill(&mut key);
    EffectKey(key)
}
