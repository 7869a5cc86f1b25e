//! The reference: walks a generated tree with plain recursion, without journal, crashes or concurrency, and says what a run must
//! give. Shares nothing with the engine but the tree.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::driver::Reply;
use super::generate::{Act, Num, Step, Test, VARS, Workflow};

/// The step failed and nothing in its sequence handled it.
pub struct Failed;

/// What an effect's try gives, by step, indexes and tries that failed before.
pub fn reply(seed: u64, id: &str, path: &[u32], failures: u32) -> Reply {
    let mut hash = seed;
    for byte in id.bytes().chain(path.iter().flat_map(|index| index.to_le_bytes())).chain([failures as u8]) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        hash ^= hash >> 29;
    }
    match hash % 10 {
        0 | 1 => Reply::Err("http_5xx".to_owned(), None),
        2 if hash.is_multiple_of(3) => Reply::Err("http_4xx".to_owned(), None),
        _ => Reply::Ok(json!({ "made": hash % 1000 })),
    }
}

/// What a child gives; `None` = it fails.
pub fn child(seed: u64, id: &str, path: &[u32]) -> Option<Value> {
    match reply(seed ^ 0xC0FFEE, id, path, 0) {
        Reply::Ok(value) => Some(value),
        _ => None,
    }
}

/// Statuses and outputs of the steps of one sequence and those around it.
#[derive(Clone, Default)]
struct Names(HashMap<String, (&'static str, Value)>);

pub struct Interpreter {
    seed: u64,
    vars: [i64; VARS],
}

impl Interpreter {
    /// The run's output; `None` when it fails.
    pub fn run(seed: u64, workflow: &Workflow) -> Option<Value> {
        let mut own = Self { seed, vars: [0, 1, 2] };
        let mut names = Names::default();
        let output = match own.sequence(&workflow.steps, &[], &mut names) {
            Ok(_) => Some(own.output(&workflow.steps, &names)),
            Err(Failed) if workflow.catch.is_empty() => None,
            Err(Failed) => own.sequence(&workflow.catch, &[], &mut names).ok(),
        };
        own.sequence(&workflow.finally, &[], &mut names).ok()?;
        output
    }

    fn output(&self, steps: &[Step], names: &Names) -> Value {
        let own = self;
        let mut output = Map::new();
        for (var, value) in own.vars.iter().enumerate() {
            output.insert(format!("v{var}"), json!(value));
        }
        for step in steps {
            let (status, value) = names.0[&step.id].clone();
            output.insert(step.id.clone(), json!(status));
            output.insert(format!("{}_out", step.id), value);
        }
        Value::Object(output)
    }

    /// The output of the last step that completed.
    fn sequence(&mut self, steps: &[Step], path: &[u32], names: &mut Names) -> Result<Value, Failed> {
        let mut last = Value::Null;
        for step in steps {
            let (status, output) = match self.step(step, path, names) {
                Ok(Some(output)) => ("completed", output),
                Ok(None) => ("skipped", Value::Null),
                Err(Failed) => ("failed", Value::Null),
            };
            names.0.insert(step.id.clone(), (status, output.clone()));
            match status {
                "completed" => last = output,
                "failed" if !step.continues => return Err(Failed),
                _ => {}
            }
        }
        Ok(last)
    }

    fn step(&mut self, step: &Step, path: &[u32], names: &Names) -> Result<Option<Value>, Failed> {
        if let Some(when) = &step.when
            && !self.test(when, path, names)?
        {
            return Ok(None);
        }
        self.act(step, path, names).map(Some)
    }

    fn act(&mut self, step: &Step, path: &[u32], names: &Names) -> Result<Value, Failed> {
        let inner = &mut names.clone();
        Ok(match &step.act {
            Act::Set(var, value) => {
                self.vars[*var] = self.num(value, path, names)?;
                let mut output = Map::new();
                output.insert(format!("v{var}"), json!(self.vars[*var]));
                Value::Object(output)
            }
            Act::Transform(value) => json!({ "transformed": self.num(value, path, names)? }),
            Act::Effect | Act::Webhook => return self.effect(step, path),
            Act::Emit => json!({}),
            Act::Notify => json!({ "notification_sent": true, "channels": ["gui"] }),
            Act::Duration(_) => json!({ "timed_out": false }),
            Act::Signal => json!({ "signal": { "by": step.id }, "timed_out": false }),
            Act::Child => child(self.seed, &step.id, path).ok_or(Failed)?,
            Act::If(test, then, otherwise) => {
                let holds = self.test(test, path, names)?;
                self.sequence(if holds { then } else { otherwise }, path, inner)?;
                json!({ "condition_result": holds, "branch": if holds { "then" } else { "else" } })
            }
            Act::Switch(value, one, default) => {
                let is_one = self.num(value, path, names)? == 1;
                self.sequence(if is_one { one } else { default }, path, inner)?;
                json!({ "condition_result": is_one, "branch": if is_one { "1" } else { "default" } })
            }
            Act::Times { count, goes_on, collect, steps, .. } => {
                let count = self.num(count, path, names)?;
                let indexes = 0..u32::try_from(count).map_err(|_| Failed)?;
                self.iterate(indexes, *goes_on, collect.as_ref(), steps, path, names)?
            }
            Act::Each { items, goes_on, steps, .. } => {
                self.iterate(0..items.len() as u32, *goes_on, None, steps, path, names)?
            }
            Act::Until(bound, steps) => {
                self.iterate(0..(*bound).max(0) as u32 + 1, false, None, steps, path, names)?
            }
            Act::While(bound, steps) => self.iterate(0..*bound as u32, false, None, steps, path, names)?,
            Act::Fork { branches, .. } => {
                let mut results = Map::new();
                let mut failed = false;
                for (name, steps) in branches {
                    match self.sequence(steps, path, &mut names.clone()) {
                        Ok(output) => drop(results.insert(name.clone(), output)),
                        Err(Failed) => failed = true,
                    }
                }
                if failed {
                    return Err(Failed);
                }
                json!({ "parallel_results": results })
            }
        })
    }

    fn iterate(
        &mut self,
        indexes: std::ops::Range<u32>,
        goes_on: bool,
        collect: Option<&Num>,
        steps: &[Step],
        path: &[u32],
        names: &Names,
    ) -> Result<Value, Failed> {
        let count = indexes.end;
        let mut results = Vec::new();
        for index in indexes {
            let mut path = path.to_vec();
            path.push(index);
            let mut inner = names.clone();
            let result = self.sequence(steps, &path, &mut inner).and_then(|last| match collect {
                Some(collect) => Ok(json!(self.num(collect, &path, &inner)?)),
                None => Ok(last),
            });
            match result {
                Ok(result) => results.push(result),
                Err(Failed) if goes_on => results.push(Value::Null),
                Err(Failed) => return Err(Failed),
            }
        }
        Ok(json!({ "loop_results": results, "count": count }))
    }

    fn effect(&self, step: &Step, path: &[u32]) -> Result<Value, Failed> {
        for failures in 0..step.attempts {
            match reply(self.seed, &step.id, path, failures) {
                Reply::Ok(value) => return Ok(value),
                Reply::Err(class, _) if class == "http_5xx" => {}
                _ => return Err(Failed),
            }
        }
        Err(Failed)
    }

    fn num(&self, value: &Num, path: &[u32], names: &Names) -> Result<i64, Failed> {
        Ok(match value {
            Num::Lit(value) => *value,
            Num::Var(var) => self.vars[*var],
            Num::Input => 2,
            Num::Index => i64::from(*path.last().ok_or(Failed)?),
            Num::Sum(a, b) => self.num(a, path, names)? + self.num(b, path, names)?,
            Num::Completed(id) => {
                i64::from(names.0.get(id).is_some_and(|(status, _)| *status == "completed"))
            }
            Num::Undefined => return Err(Failed),
        })
    }

    fn test(&self, Test(left, right): &Test, path: &[u32], names: &Names) -> Result<bool, Failed> {
        Ok(self.num(left, path, names)? >= *right)
    }
}
