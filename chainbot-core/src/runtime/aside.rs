//! What authors try out beside the runs: previews of expressions and dry runs of definitions. Neither sends nor stores anything.
//!
//! Their authors may be hostile, so each is evaluated on a thread of its own with the stack of a worker, so many at once, for so long:
//! beyond it the answer is a refusal, the thread is told to stop, and its place counts as taken until it has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::core::Runtime;
use super::handle::Handle;
use super::worker::STACK_BYTES;
use crate::authoring::dry::{DryRun, dry_run_until};
use crate::engine::{Names, Previewed, RunState, preview};
use crate::error::code::{authoring as code, general};
use crate::error::{Error, Result, similar};
use crate::expr::{self, Data, Volatile};
use crate::id::RunId;
use crate::limits;
use crate::validate;

/// What is looked at, and in whose names.
#[derive(Clone, Debug)]
pub struct NewPreview {
    /// The text or expression.
    pub what: Previewed,
    /// Whose names.
    pub names: PreviewNames,
}

/// Whose names count.
#[derive(Clone, Debug)]
pub enum PreviewNames {
    /// Those of a run.
    Run {
        /// Which.
        run: RunId,
        /// As it stood after this record; as it stands without.
        at: Option<u32>,
        /// At this step.
        step: Option<String>,
        /// Within these iterations.
        path: Vec<u32>,
    },
    /// Those of an example.
    Example(Map<String, Value>),
}

/// A dry run to be made.
#[derive(Clone, Debug)]
pub struct NewDryRun {
    /// The definition in place of the stored one: a draft.
    pub source: Option<String>,
    /// Inputs.
    pub inputs: Value,
    /// Outputs of steps that are known.
    pub outputs: BTreeMap<String, Value>,
}

impl Handle {
    /// Evaluates an expression or a text. The inner result is the author's: what it gives, or why it gives nothing.
    pub async fn preview(&self, new: NewPreview) -> Result<std::result::Result<Data, expr::Error>> {
        self.0.check_open()?;
        let volatile = Volatile { now: self.0.env.now(), seed: self.0.env.bytes() };
        let constants = self.0.defaults.read().constants.clone();
        let scope = self.1;
        let what = new.what;
        match new.names {
            PreviewNames::Example(example) => {
                let look = move |_: &Arc<AtomicBool>| {
                    preview(&what, &Names::Example(&example), &constants, &volatile)
                };
                self.0.aside(look).await
            }
            PreviewNames::Run { run, at, step, path } => {
                let state = self.0.read(move |runtime| runtime.stood(&scope, run, at)).await?;
                if let Some(step) = &step {
                    known_step(&state, step)?;
                }
                let look = move |_: &Arc<AtomicBool>| {
                    let names = Names::Run { state: &state, step: step.as_deref(), path };
                    preview(&what, &names, &constants, &volatile)
                };
                self.0.aside(look).await
            }
        }
    }

    /// Shows what a run of a workflow would do. CB-0100 with all problems of a draft, CB-0382 for one that does not end.
    pub async fn dry_run(&self, reference: &str, new: NewDryRun) -> Result<DryRun> {
        self.0.check_open()?;
        let stored = self.0.workflow_of(&self.1, reference).await?;
        let source = new.source.unwrap_or(stored.source);
        let program = self.0.compile_draft(&source).await?;
        for name in new.outputs.keys() {
            let id = name.split('[').next().unwrap_or(name);
            if !program.by_id.contains_key(id) {
                let help = match similar(id, program.by_id.keys().map(String::as_str)) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => "name a step of the definition".to_owned(),
                };
                let shown: String = id.chars().filter(|c| !c.is_control()).take(63).collect();
                return Err(Error::new(
                    &general::FIELD,
                    format!("`outputs` names `{shown}`, which is no step"),
                )
                .help(help));
            }
        }
        let (inputs, outputs) = (new.inputs, new.outputs);
        self.0.aside(move |stop| dry_run_until(&program, &source, inputs, &outputs, stop)).await?
    }
}

fn known_step(state: &RunState, step: &str) -> Result<()> {
    if state.program.by_id.contains_key(step) {
        return Ok(());
    }
    let help = match similar(step, state.program.by_id.keys().map(String::as_str)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "name a step of the run's definition".to_owned(),
    };
    let shown: String = step.chars().filter(|c| !c.is_control()).take(63).collect();
    Err(Error::new(&general::FIELD, format!("the run has no step `{shown}`")).help(help))
}

impl Runtime {
    /// A definition that is checked as one to be stored, and kept nowhere.
    async fn compile_draft(self: &Arc<Self>, source: &str) -> Result<Arc<crate::engine::Program>> {
        let source = source.to_owned();
        self.read(move |runtime| {
            let checked = validate::check_on(&source, &runtime.known.read().clone());
            match &checked.definition {
                Some(definition) => crate::engine::compile(definition, &source).map(Arc::new),
                None => Err(super::programs::problems(checked.diagnostics)),
            }
        })
        .await
    }

    /// Evaluates on a thread of its own. `work` looks now and then whether it is to stop.
    async fn aside<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<AtomicBool>) -> T + Send + 'static,
    ) -> Result<T> {
        let place = self.asides.clone().try_acquire_owned().map_err(|_| {
            Error::new(&general::BUSY, "as many previews and dry runs are under way as there may be")
                .help("try again in a second")
                .retry_after(1)
        })?;
        let (done, waits) = oneshot::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let contained = move || {
            let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&told)));
            // Before the answer: who has it may ask again at once.
            drop(place);
            if let Ok(result) = worked {
                // Nobody may be waiting any more.
                let _ = done.send(result);
            }
        };
        // Joined by nobody: it ends by itself, by fuel and by `stop`, and holds nothing of the runtime.
        std::thread::Builder::new()
            .name("cb-aside".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(contained)
            .map_err(|error| Error::new(&general::INTERNAL, "no thread can be started").because(error))?;
        match tokio::time::timeout(Duration::from_millis(limits::ASIDE_MS_MAX), waits).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => {
                Err(Error::new(&general::INTERNAL, "an evaluation panicked; this is a bug in ChainBot"))
            }
            Err(_) => {
                stop.store(true, Ordering::SeqCst);
                let message = format!("it took longer than {} ms", limits::ASIDE_MS_MAX);
                Err(Error::new(&code::ENDLESS, message).help("make loops shorter, or values smaller"))
            }
        }
    }
}
