//! Events that steps wait for.
//!
//! Invariant: an event is taken by a step at most once: the record that takes it holds its id, and a repeat of that id is
//! no news to the run.

use serde_json::{Value, json};

use crate::error::Result;
use crate::error::code::run;
use crate::expr::{self, Data, Expression};
use crate::model::{Json, Place, RecordBody, StepError, Waiting, class};
use crate::time::Timestamp;

use super::decide::Stepper;
use super::leaf::expression_error;
use super::program::{Op, WaitOp, WaitTarget};
use super::scope::{PlaceScope, volatile};

/// Longest topic pattern.
const TOPIC_BYTES_MAX: usize = 200;

/// Something that has happened outside of the run.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Segments separated by dots.
    pub topic: String,
    /// The same on every delivery; empty when the sender gave none.
    pub id: String,
    /// What it carries.
    pub data: Json,
    /// When it happened.
    pub at: Timestamp,
}

impl Stepper<'_> {
    /// The wait of an `event` step.
    pub(super) fn event_wait(&self, topic: String, due: Option<Timestamp>) -> Result<Waiting, StepError> {
        if expr::topic::is_pattern(&topic) && topic.len() <= TOPIC_BYTES_MAX {
            return Ok(Waiting::Event { topic, due });
        }
        Err(StepError::new(
            class::INVALID,
            &run::STEP_INVALID,
            format!(
                "`{topic}` is no topic: use words joined by dots, `*` for one of them and a last `#` for the rest"
            ),
        ))
    }

    /// Gives an event to the steps that wait for it, in order of the steps. `waits`: the records by which they do.
    pub(super) fn hear(&mut self, event: Heard, waits: &[u32]) -> Result<()> {
        if !event.id.is_empty() && self.state.event_ids.contains(&event.id) {
            return Ok(());
        }
        let mut places: Vec<Place> = self
            .state
            .instances()
            .filter(|(_, instance)| match (&instance.waiting, instance.listens) {
                (Some(Waiting::Event { topic, .. }), Some(seq)) => {
                    waits.contains(&seq) && expr::topic::matches(topic, &event.topic)
                }
                _ => false,
            })
            .map(|(place, _)| place)
            .collect();
        places.sort();
        for place in places {
            self.hear_at(place, &event)?;
        }
        Ok(())
    }

    fn hear_at(&mut self, place: Place, event: &Heard) -> Result<()> {
        let program = self.program;
        let Op::Wait(WaitOp { target: WaitTarget::Event { when, .. }, .. }) = &program.node(place.node).op
        else {
            return Ok(());
        };
        let said = json!({
            "topic": event.topic, "id": event.id, "time": event.at, "data": *event.data,
        });
        if let Some(when) = when {
            self.context.watch.entering(&place);
            match self.is_wanted(when, &place, &said) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => {
                    return self.fail_step(place, super::decide::prefixed("`when` of the event", error));
                }
            }
        }
        self.out.is_durable = true;
        let (topic, id) = (event.topic.clone(), event.id.clone());
        self.record(RecordBody::EventReceived { place: place.clone(), topic, id })?;
        let output = json!({ "waited": self.waited(&place), "event": said, "timed_out": false });
        self.complete_step(place, Data::new(output))
    }

    fn is_wanted(&self, when: &Expression, place: &Place, said: &Value) -> Result<bool, StepError> {
        let scope = WithEvent {
            inner: PlaceScope::new(self.state, place, &self.context.defaults.constants),
            event: Data::new(said.clone()),
        };
        let volatile = volatile(self.state, place, self.context.now, b'v');
        when.test(&scope, &volatile).map_err(|error| expression_error(&error))
    }
}

/// A place at which `event` means the one that has come.
struct WithEvent<'a> {
    inner: PlaceScope<'a>,
    event: Data,
}

impl expr::Scope for WithEvent<'_> {
    fn value(&self, name: &str) -> Option<Data> {
        if name == "event" { Some(self.event.clone()) } else { self.inner.value(name) }
    }
    fn is_container(&self, name: &str) -> bool {
        self.inner.is_container(name)
    }
    fn member(&self, container: &str, member: &str) -> Option<Data> {
        self.inner.member(container, member)
    }
    fn members(&self, container: &str) -> Vec<String> {
        self.inner.members(container)
    }
    fn names(&self) -> Vec<String> {
        let mut names = self.inner.names();
        names.push("event".to_owned());
        names
    }
}
