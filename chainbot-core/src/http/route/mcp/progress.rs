//! A call as it goes: notices of steps that ended, then the result, as server-sent events.
//!
//! Invariants: progress only grows, from 0 on; there are as many notices as the bound lets be; the result comes when the run is over, a person is
//! asked, or the patience is at its end, and is the last event. Dropping the stream ends the watching and not the run.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::shown;
use crate::error::Result;
use crate::id::RunId;
use crate::limits::MCP_PROGRESS_MAX;
use crate::mcp::alone::Manner;
use crate::mcp::serve;
use crate::mcp::wire::{INTERNAL, refusal, reply};
use crate::model::RunView;
use crate::model::record::RecordBody;
use crate::runtime::{Handle, Subscription};

/// What is watched, and for whom.
pub struct Watched {
    /// The runtime for whoever calls.
    pub people: Handle,
    /// From before the run began.
    pub events: Subscription,
    /// Which run.
    pub run: RunId,
    /// Of the request.
    pub id: Value,
    /// What notices name.
    pub token: Value,
    /// How many steps there are at most, where that is known.
    pub steps: Option<u32>,
    /// Whether its output is a list of content blocks.
    pub gives_content: bool,
    /// How the request was spoken.
    pub manner: Manner,
    /// How long the result is waited for.
    pub patience: Duration,
    /// Counts the stream until its client goes.
    pub _place: OwnedSemaphorePermit,
}

/// A call under way.
pub struct Watch {
    of: Watched,
    until: Instant,
    done: u32,
    told: u32,
    is_over: bool,
}

impl Watch {
    pub fn new(of: Watched) -> Self {
        let until = Instant::now() + of.patience;
        Self { of, until, done: 0, told: 0, is_over: false }
    }

    /// The next event.
    async fn next(&mut self) -> Option<Value> {
        if self.is_over {
            return None;
        }
        if self.told == 0 {
            return Some(self.notice());
        }
        match self.step().await {
            Ok(true) => Some(self.notice()),
            Ok(false) => {
                self.is_over = true;
                Some(match self.of.people.run(self.of.run).await {
                    Ok(view) => {
                        let result = shown(&view, self.of.gives_content);
                        self.of.manner.given(reply(&self.of.id, result)).1
                    }
                    Err(error) => self.failed(&error),
                })
            }
            Err(error) => {
                self.is_over = true;
                Some(self.failed(&error))
            }
        }
    }

    fn notice(&mut self) -> Value {
        self.told += 1;
        serve::progress(&self.of.token, self.done, self.of.steps)
    }

    fn failed(&self, error: &crate::Error) -> Value {
        // What is inside stays inside, as in every other answer.
        log::warn!("a call of a client of MCP is not told its result: {error}");
        refusal(&self.of.id, INTERNAL, "the result cannot be given; ask run_status for it later")
    }

    /// Waits until another step ended, which is `true`, or there is a result.
    async fn step(&mut self) -> Result<bool> {
        loop {
            let next = match timeout_at(self.until, self.of.events.next()).await {
                Ok(Some(next)) => next,
                // The time is over, or the module stops.
                Err(_) | Ok(None) => return Ok(false),
            };
            let record = match next {
                Ok(record) if record.run == self.of.run => record,
                Ok(_) => continue,
                // What was missed is seen by looking.
                Err(_) => {
                    self.of.events = self.of.people.subscribe(None).await?;
                    match self.is_settled().await? {
                        true => return Ok(false),
                        false => continue,
                    }
                }
            };
            let body = &record.record.body;
            let is_step = matches!(
                body,
                RecordBody::StepCompleted { .. }
                    | RecordBody::StepFailed { .. }
                    | RecordBody::StepSkipped { .. }
                    | RecordBody::StepCancelled { .. }
            );
            let is_end = matches!(
                body,
                RecordBody::RunCompleted { .. }
                    | RecordBody::RunFailed { .. }
                    | RecordBody::RunCancelled { .. }
            );
            let may_ask = matches!(
                body,
                RecordBody::RunPaused { .. }
                    | RecordBody::StepWaiting { .. }
                    | RecordBody::StepUncertain { .. }
            );
            self.done += u32::from(is_step);
            if is_step && self.told < MCP_PROGRESS_MAX {
                return Ok(true);
            }
            if is_end || may_ask && self.is_settled().await? {
                return Ok(false);
            }
        }
    }

    async fn is_settled(&self) -> Result<bool> {
        let view: RunView = self.of.people.run(self.of.run).await?;
        self.of.people.is_settled(&view).await
    }
}

impl IntoResponse for Watch {
    fn into_response(self) -> Response {
        let body = stream::unfold(self, |mut watch| async move {
            let message = watch.next().await?;
            Some((Ok::<_, Infallible>(format!("event: message\ndata: {message}\n\n")), watch))
        });
        let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        // Proxies that buffer answers would hold events back.
        let unbuffered = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
        ([kind, unbuffered], Body::from_stream(body)).into_response()
    }
}
