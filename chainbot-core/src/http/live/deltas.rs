//! Replies of agents as they come, for people who watch: signals `agent.AGENT.delta`.
//!
//! Invariants: pieces are put together, so that a fast model does not push other signals out of the queue; what was put together is told before the
//! reply is over; only who sees the agent sees what it says. Nothing is kept: the reply is in the run's journal when it is whole.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Live;
use super::event::Event;
use crate::agent::calls::{Watched, Watcher};
use crate::agent::provider::{Delta, DeltaSink};
use crate::env::Env;
use crate::limits::{DELTA_BYTES, DELTA_MS};

/// Tells listeners.
pub struct Deltas {
    /// Who listens.
    pub live: Arc<Live>,
    /// The clock.
    pub env: Env,
}

impl Watcher for Deltas {
    fn watch(&self, of: Watched) -> Option<Box<dyn DeltaSink>> {
        self.live.is_heard().then(|| {
            Box::new(Reply {
                live: self.live.clone(),
                env: self.env.clone(),
                of,
                text: String::new(),
                told: None,
            }) as Box<dyn DeltaSink>
        })
    }
}

/// One reply.
struct Reply {
    live: Arc<Live>,
    env: Env,
    of: Watched,
    /// Not told yet.
    text: String,
    /// When something was told last; the first piece is told at once.
    told: Option<Duration>,
}

impl Reply {
    fn tell(&mut self, key: &str, value: Value) {
        self.told = Some(self.env.monotonic());
        let Watched { agent, possession, run } = self.of;
        let at = self.env.now();
        self.live.signal(|| {
            let mut data = json!({ "agent_id": agent.to_string(), "run": run.to_string() });
            data[key] = value;
            let mut event = Event::signal(format!("agent.{agent}.delta"), "agent.delta", at, data);
            event.run = Some(run);
            event.of = Some(possession);
            event
        });
    }

    fn tell_text(&mut self) {
        if !self.text.is_empty() {
            let text = std::mem::take(&mut self.text);
            self.tell("text", Value::String(text));
        }
    }
}

impl DeltaSink for Reply {
    fn delta(&mut self, delta: &Delta) -> ControlFlow<()> {
        match delta {
            Delta::Text(more) => {
                self.text.push_str(more);
                let now = self.env.monotonic();
                let has_waited = |told| now.saturating_sub(told) >= Duration::from_millis(DELTA_MS);
                if self.text.len() >= DELTA_BYTES || self.told.is_none_or(has_waited) {
                    self.tell_text();
                }
            }
            Delta::Call(name) => {
                self.tell_text();
                self.tell("tool", Value::String(name.clone()));
            }
            Delta::Arguments(_) => {}
            Delta::Again => {
                self.text.clear();
                self.tell("again", Value::Bool(true));
            }
        }
        ControlFlow::Continue(())
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.tell_text();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::live::SocketLimits;
    use crate::id::{RunId, WorkflowId};
    use crate::port::Possession;

    #[test]
    fn pieces_are_put_together_and_nothing_of_them_is_lost() {
        let clock = Arc::new(crate::env::VirtualClock::at(crate::time::Timestamp(0)));
        let env = Env::new(clock, Arc::new(crate::env::SeededRandom::new(1)));
        let live = Live::new(SocketLimits::default(), env.clone());
        let mut heard = live.signals.subscribe();
        let of = Watched {
            agent: WorkflowId::from([1; 16]),
            possession: Possession::HOUSE,
            run: RunId::from([2; 16]),
        };
        let mut sink = Deltas { live: live.clone(), env }.watch(of).unwrap();
        for word in ["Only ", "a few ", "words."] {
            assert!(sink.delta(&Delta::Text(word.to_owned())).is_continue());
        }
        assert_eq!(heard.len(), 1, "the first at once, and the others not");
        assert!(sink.delta(&Delta::Call("http_get".to_owned())).is_continue());
        assert!(sink.delta(&Delta::Text("x".repeat(DELTA_BYTES))).is_continue());
        assert!(sink.delta(&Delta::Text("the rest".to_owned())).is_continue());
        drop(sink);
        let mut said = Vec::new();
        while let Ok(event) = heard.try_recv() {
            assert!(event.run == Some(of.run) && event.of == Some(of.possession));
            said.push(event.data.clone());
        }
        assert_eq!(said.len(), 5, "{said:?}");
        assert_eq!((&said[0]["text"], &said[1]["text"]), (&json!("Only "), &json!("a few words.")));
        assert_eq!((&said[2]["tool"], &said[4]["text"]), (&json!("http_get"), &json!("the rest")));
    }
}
