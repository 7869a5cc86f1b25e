//! What happens before there is a run: whether a trigger fires, with which inputs, and for which run the new one counts.
//!
//! Only the event, or the inputs, have names here: there is no run yet whose steps could have any.

use serde_json::Value;

use crate::error::code::run as run_code;
use crate::error::{Error, Result};
use crate::expr::{self, Data, Expression, Scope, Template, Volatile};
use crate::id::WorkflowId;
use crate::limits::CONCURRENCY_KEY_BYTES_MAX;
use crate::model::{self, ConcurrencyMode, TriggerDef, TriggerSource};
use crate::schedule::Schedule;

/// A compiled trigger.
pub struct Trigger {
    /// See [`TriggerDef::key`].
    pub key: String,
    /// What it listens to.
    pub source: TriggerSource,
    /// Of a cron trigger.
    pub schedule: Option<Schedule>,
    when: Option<Expression>,
    inputs: Option<Template>,
}

impl Trigger {
    /// Compiles what validation has accepted.
    pub fn compile(def: &TriggerDef) -> Result<Self> {
        let schedule = match &def.source {
            TriggerSource::Cron { cron, timezone, .. } => {
                let parsed = Schedule::parse(cron, timezone);
                Some(parsed.map_err(|why| Error::new(&crate::error::code::definition::CRON, why))?)
            }
            _ => None,
        };
        Ok(Self {
            key: def.key(),
            source: def.source.clone(),
            schedule,
            when: def.when.as_ref().map(super::compile::expression).transpose()?,
            inputs: def.inputs.as_ref().map(super::compile::template).transpose()?,
        })
    }

    /// Whether there is anything to evaluate before it fires.
    pub fn has_when(&self) -> bool {
        self.when.is_some()
    }

    /// Whether there is anything to evaluate for its inputs.
    pub fn has_inputs(&self) -> bool {
        self.inputs.is_some()
    }

    /// Whether its `when` holds.
    pub fn wants(&self, event: &Value, volatile: &Volatile) -> Result<bool> {
        let Some(when) = &self.when else { return Ok(true) };
        when.test(&Only("event", Data::new(event.clone())), volatile).map_err(|error| failed("`when`", error))
    }

    /// The inputs that it gives a run, before defaults are filled in.
    pub fn inputs(&self, event: &Value, volatile: &Volatile) -> Result<Value> {
        let Some(inputs) = &self.inputs else { return Ok(Value::Object(serde_json::Map::new())) };
        let rendered = inputs.render(&Only("event", Data::new(event.clone())), volatile);
        rendered.map(|data| (**data.json()).clone()).map_err(|error| failed("`inputs`", error))
    }
}

/// Compiled `concurrency`.
pub struct Concurrency {
    /// What happens to one more.
    pub mode: ConcurrencyMode,
    /// At once.
    pub max: usize,
    key: Option<Template>,
}

impl Concurrency {
    /// Compiles what validation has accepted.
    pub fn compile(def: &model::Concurrency) -> Result<Self> {
        Ok(Self {
            mode: def.mode,
            max: def.max.map_or(usize::MAX, |max| max as usize),
            key: def.key.as_ref().map(super::compile::text).transpose()?,
        })
    }

    /// Whether there is anything to evaluate for [`Self::gate`].
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// The name that runs share which count for each other.
    pub fn gate(&self, workflow: WorkflowId, inputs: &Value, volatile: &Volatile) -> Result<String> {
        let Some(key) = &self.key else { return Ok(workflow.to_string()) };
        let rendered = key.render_text(&Only("inputs", Data::new(inputs.clone())), volatile);
        let text = rendered.map_err(|error| failed("`concurrency.key`", error))?;
        if text.len() > CONCURRENCY_KEY_BYTES_MAX {
            let message = format!(
                "`concurrency.key` gives {} bytes; at most {CONCURRENCY_KEY_BYTES_MAX} are taken",
                text.len()
            );
            return Err(
                Error::new(&run_code::INPUTS, message).help("let the key name one thing, such as an id")
            );
        }
        Ok(format!("{workflow} {text}"))
    }
}

fn failed(what: &str, error: expr::Error) -> Error {
    let made = Error::new(error.code, format!("{what}: {}", error.message));
    match error.hint {
        Some(hint) => made.help(hint),
        None => made,
    }
}

/// A scope with one name.
struct Only(&'static str, Data);

impl Scope for Only {
    fn value(&self, name: &str) -> Option<Data> {
        (name == self.0).then(|| self.1.clone())
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
        vec![self.0.to_owned()]
    }
}
