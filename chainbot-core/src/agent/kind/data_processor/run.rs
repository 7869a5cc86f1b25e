//! One task: rows are worked on by a thread of the blocking pool, and the bytes of URLs are fetched here for it.
//!
//! The future drives both. Dropping it sets a flag, which the thread sees at its next row, and closes the channel that it may wait at;
//! the thread is the runtime's to join.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::chain::Chain;
use super::compile::Pipeline;
use super::read::{Ask, Sources};
use crate::error::code::{data as code, general};
use crate::expr::{Data, PerRow, Scope, Volatile, size_bytes};
use crate::id::{RunId, UserId};
use crate::limits::{DATA_BYTES_MAX, DATA_FUEL_MAX, DATA_SILENCE_S_MAX, STEP_OUTPUT_BYTES_MAX};
use crate::model::{EffectKey, Json, StepError, class};
use crate::step::{Effect, EffectKind, Executors, Failure};

/// What a task may hold.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of rows in memory at once, as we count them.
    pub held_bytes: usize,
}

/// One task.
#[derive(Clone, Debug)]
pub struct Task {
    /// What expressions call `input`, and `read` takes `data` of.
    pub input: Json,
    /// Its run.
    pub run: RunId,
    /// Whom the agent belongs to; `None` is the operator.
    pub owner: Option<UserId>,
    /// The same on every try.
    pub key: EffectKey,
    /// From 1.
    pub attempt: u32,
    /// For `now()` and `random()`.
    pub volatile: Volatile,
    /// What it may hold.
    pub bounds: Bounds,
}

/// Carries a task out. Dropping the future ends it.
///
/// The result is `{processing_type, data_points, data, stats}`: rows that were read, what `write` made, and
/// `stats: {rows: {read, bad, written}, bytes, held_bytes, fields?}`.
pub async fn run(pipeline: Arc<Pipeline>, task: Task, executors: &Executors) -> Result<Value, Failure> {
    let stop = Stop(Arc::new(AtomicBool::new(false)));
    let (asks, mut asked) = mpsc::channel(1);
    let (stopped, input) = (stop.0.clone(), task.clone());
    let mut work = tokio::task::spawn_blocking(move || work(&pipeline, &input, &asks, &stopped));
    loop {
        tokio::select! {
            biased;
            done = &mut work => {
                let outcome = done.unwrap_or_else(|error| Err(lost(&error)));
                // A server may repeat the credential that it was sent.
                return executors.redacted(outcome.map_err(Failure::from));
            }
            // Closed when the work is over.
            Some(ask) = asked.recv() => fetch(ask, &task, executors).await,
        }
    }
}

/// Tells the thread to end.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn work(
    pipeline: &Pipeline,
    task: &Task,
    asks: &mpsc::Sender<Ask>,
    stop: &AtomicBool,
) -> Result<Value, StepError> {
    let check = || if stop.load(Ordering::Relaxed) { Err(cancelled()) } else { Ok(()) };
    let scope = Input(Data::from_json(task.input.clone()));
    let sources = Sources { input: &task.input, asks };
    let rows = PerRow::passing(&scope, task.volatile, DATA_FUEL_MAX);
    let mut chain = Chain::new(&pipeline.operations, &pipeline.write, rows, task.bounds.held_bytes);
    chain.prepare(&sources, &check)?;
    let count = pipeline.read.each(&sources, &mut |row| {
        check()?;
        chain.push(row)
    })?;
    let done = chain.finish(&check)?;
    let rows = json!({ "read": count.rows, "bad": count.bad, "written": done.written });
    let mut stats = json!({ "rows": rows, "bytes": count.bytes, "held_bytes": done.held_bytes });
    if let Some(fields) = done.fields {
        stats["fields"] = Value::Object(fields);
    }
    let result = json!({
        "processing_type": pipeline.processing.word(),
        "data_points": count.rows,
        "data": done.data,
        "stats": stats,
    });
    if size_bytes(&result) > STEP_OUTPUT_BYTES_MAX {
        let message =
            format!("the result has more than {STEP_OUTPUT_BYTES_MAX} bytes; name fewer columns in `stats`");
        return Err(StepError::new(class::LIMIT, &code::BOUND, message));
    }
    Ok(result)
}

/// Sends the bytes of a URL to the thread, until either has enough.
async fn fetch(ask: Ask, task: &Task, executors: &Executors) {
    let Ask { request, chunks } = ask;
    let effect = Effect {
        kind: EffectKind::ApiCall,
        input: request,
        key: task.key,
        attempt: task.attempt,
        run: task.run,
        owner: task.owner,
        shared: None,
        timeout: None,
    };
    let bytes_max = usize::try_from(DATA_BYTES_MAX).unwrap_or(usize::MAX);
    let mut stream = match executors.stream(&effect, bytes_max).await {
        Ok(stream) => stream,
        Err(failure) => return drop(chunks.send(Err(failure.error)).await),
    };
    let silence = Duration::from_secs(DATA_SILENCE_S_MAX);
    loop {
        let piece = match stream.chunk(silence).await {
            Ok(None) => return,
            Ok(Some(bytes)) => Ok(bytes),
            Err(error) => Err(error.into()),
        };
        let is_over = piece.is_err();
        // Nobody listens once the thread is done with it.
        if chunks.send(piece).await.is_err() || is_over {
            return;
        }
    }
}

pub(super) fn cancelled() -> StepError {
    StepError::new(class::CANCELLED, &general::STOPPING, "the work was cancelled")
}

fn lost(error: &tokio::task::JoinError) -> StepError {
    log::error!("a thread that worked on data ended: {error}");
    StepError::new(class::INTERNAL, &general::INTERNAL, "the work on the data ended unexpectedly")
}

/// `input`: what the task came with.
struct Input(Data);

impl Scope for Input {
    fn value(&self, name: &str) -> Option<Data> {
        (name == "input").then(|| self.0.clone())
    }

    fn is_container(&self, _: &str) -> bool {
        false
    }

    fn member(&self, _: &str, _: &str) -> Option<Data> {
        None
    }

    fn members(&self, _: &str) -> Vec<String> {
        Vec::new()
    }

    fn names(&self) -> Vec<String> {
        vec!["input".to_owned()]
    }
}
