//! Sends a trace for each run that ends, in the order of the journal.
//!
//! It is one more reader of the journal with a cursor: what was sent before a crash may be sent once more, under the same ids, and
//! nothing is left out while a collector is away, as long as the journal keeps the run's end. A collector that refuses a trace for what it
//! is will not take it later: that one is let go.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::error::{Error, Result};
use crate::id::{Lsn, RunId};
use crate::limits::{TRACE_LOOK_S, TRACE_PAGE, TRACE_PAUSE_S_MAX, TRACE_SEND_S};
use crate::model::RecordBody;
use crate::net::{Egress, Endpoint, Request};
use crate::port::{Batch, Op, SecretText, Secrets, Store};
use crate::runtime::Handle;

/// The cursor's name in the store.
const CURSOR: &str = "traces";

/// What traces are sent with.
pub struct TraceOptions {
    /// The journal.
    pub store: Arc<dyn Store>,
    /// Runs and their steps.
    pub handle: Handle,
    /// The way to the collector.
    pub egress: Arc<Egress>,
    /// Of the collector, without `/v1/traces`.
    pub endpoint: String,
    /// Which secret opens it.
    pub token: Option<String>,
    /// Where that secret is.
    pub secrets: Arc<dyn Secrets>,
}

/// The task that sends traces; ends when this is dropped.
pub struct Traces(JoinHandle<()>);

impl Drop for Traces {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Traces {
    /// Begins with what ends from here on, or where it was.
    pub fn start(options: TraceOptions) -> Self {
        Self(tokio::spawn(async move { Exporter(Arc::new(options)).run().await }))
    }
}

/// What becomes of a trace that was not taken.
enum Failed {
    /// It is sent again.
    Later(String),
    /// It would not be taken then either.
    Never(String),
}

/// It goes on later, from where it came to.
struct Stopped {
    reached: Option<Lsn>,
    why: String,
}

impl Stopped {
    fn of(error: Error) -> Self {
        Self { reached: None, why: error.to_string() }
    }
}

struct Exporter(Arc<TraceOptions>);

impl Exporter {
    async fn run(&self) {
        let look = Duration::from_secs(TRACE_LOOK_S);
        let mut pause = look;
        let mut at = None;
        loop {
            let done = match at {
                Some(from) => self.page(from).await,
                None => self.begin().await,
            };
            match done {
                Ok((next, is_more)) => {
                    (at, pause) = (Some(next), look);
                    if !is_more {
                        tokio::time::sleep(look).await;
                    }
                }
                Err(Stopped { reached, why }) => {
                    log::warn!("traces wait: {why}");
                    at = reached.or(at);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(TRACE_PAUSE_S_MAX));
                }
            }
        }
    }

    /// Where it was, or here.
    async fn begin(&self) -> Result<(Lsn, bool), Stopped> {
        let from = self.ask(|store| match store.cursor(CURSOR)? {
            Some(from) => Ok(from),
            None => store.newest_lsn(),
        });
        let from = from.await.map_err(Stopped::of)?;
        self.save(from);
        Ok((from, true))
    }

    /// What was committed after a place; the place that is done with, and whether there may be more.
    async fn page(&self, from: Lsn) -> Result<(Lsn, bool), Stopped> {
        let page = self.ask(move |store| store.journal_after(from, TRACE_PAGE)).await;
        let page = page.map_err(Stopped::of)?;
        let (mut reached, is_more) = (from, page.len() == TRACE_PAGE as usize);
        for committed in page {
            let is_end = matches!(
                committed.record.body,
                RecordBody::RunCompleted { .. }
                    | RecordBody::RunFailed { .. }
                    | RecordBody::RunCancelled { .. }
            );
            if is_end {
                match self.send(committed.run).await {
                    Ok(()) => {}
                    Err(Failed::Never(why)) => {
                        log::warn!("the trace of run {} was not taken: {why}", committed.run);
                    }
                    Err(Failed::Later(why)) => {
                        self.save(reached);
                        return Err(Stopped { reached: Some(reached), why });
                    }
                }
            }
            reached = committed.lsn;
        }
        if reached != from {
            self.save(reached);
        }
        Ok((reached, is_more))
    }

    async fn send(&self, id: RunId) -> Result<(), Failed> {
        let options = &self.0;
        // A run that is forgotten already has no trace.
        let (Ok(run), Ok(steps)) = (options.handle.run(id).await, options.handle.steps(id).await) else {
            return Ok(());
        };
        let url = format!("{}/v1/traces", options.endpoint.trim_end_matches('/'));
        let mut request = Request::new("POST", url);
        request.headers.push(("content-type".to_owned(), "application/json".to_owned()));
        if let Some(token) = self.token()? {
            request.headers.push(("authorization".to_owned(), format!("Bearer {}", token.reveal())));
            request.has_secrets = true;
        }
        request.body = super::request(&run, &steps).to_string().into_bytes();
        request.timeout = Some(Duration::from_secs(TRACE_SEND_S));
        let reply = options.egress.send(request).await.map_err(|error| Failed::Later(error.message))?;
        match reply.status {
            200..=299 => Ok(()),
            429 | 500..=599 => Err(Failed::Later(format!("the collector answers with {}", reply.status))),
            status => Err(Failed::Never(format!("the collector answers with {status}"))),
        }
    }

    /// Opened anew for each trace, so that a new value counts at once.
    fn token(&self) -> Result<Option<SecretText>, Failed> {
        let Some(name) = &self.0.token else { return Ok(None) };
        let later = |why: String| Failed::Later(why);
        let opened = self.0.secrets.open_of_operator(name).map_err(|error| later(error.to_string()))?;
        let server = Endpoint::of_url(&self.0.endpoint).map_err(|error| later(error.message))?;
        match server.is_allowed_by(&opened.hosts) {
            true => Ok(Some(opened.value)),
            false => Err(later(format!("the secret `{name}` may not be sent to {}", server.entry()))),
        }
    }

    fn save(&self, lsn: Lsn) {
        let batch = Batch {
            run: RunId::from([0; 16]),
            records: Vec::new(),
            ops: vec![Op::CursorSet { name: CURSOR, lsn }],
            // Lost with a crash, and then some traces are sent again.
            ack: Box::new(|_| {}),
        };
        if let Err(error) = self.0.store.submit(batch) {
            log::debug!("the cursor of the traces was not saved: {error}");
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = self.0.store.clone();
        tokio::task::spawn_blocking(move || question(store.as_ref())).await.map_err(|error| {
            Error::new(&crate::error::code::general::INTERNAL, "looking for traces was cut short")
                .because(error)
        })?
    }
}
