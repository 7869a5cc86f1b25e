//! A run's inputs: defaults of the schema filled in, then checked against it.

use serde_json::{Map, Value};

use crate::error::code::run;
use crate::error::{Diagnostic, Error, PosJson, Result, Severity};
use crate::{expr, limits};

use super::program::Program;

/// Problems listed at most; a list of thousands helps nobody.
const PROBLEMS_MAX: usize = 20;
/// Nesting of schemas into which defaults are followed.
const DEPTH_MAX: usize = 16;

/// Fills in defaults and checks. Null counts as `{}`.
pub fn prepare(program: &Program, inputs: Value) -> Result<Value> {
    let mut inputs = if inputs.is_null() { Value::Object(Map::new()) } else { inputs };
    if !inputs.is_object() {
        return Err(Error::new(&run::INPUTS, "the inputs must be an object")
            .help("send {\"inputs\": {\"name\": value}}"));
    }
    expr::check_json(&inputs, limits::RUN_INPUTS_BYTES_MAX).map_err(|error| {
        Error::new(&run::INPUTS, format!("the inputs are over a bound: {}", error.message))
    })?;
    let Some(schema) = &program.inputs else { return Ok(inputs) };
    fill(&schema.schema, &mut inputs, 0);
    let problems: Vec<Diagnostic> = schema
        .validator
        .iter_errors(&inputs)
        .take(PROBLEMS_MAX)
        .map(|problem| Diagnostic {
            code: run::INPUTS.id,
            severity: Severity::Error,
            pos: PosJson { line: 0, column: 0 },
            path: format!("inputs{}", problem.instance_path().to_string().replace('/', ".")),
            message: problem.to_string(),
            hint: None,
        })
        .collect();
    let Some(first) = problems.first() else { return Ok(inputs) };
    let more = if problems.len() > 1 { format!(" (and {} more)", problems.len() - 1) } else { String::new() };
    Err(Error::new(&run::INPUTS, format!("{}: {}{more}", first.path, first.message))
        .help(format!("the workflow `{}` says under `inputs` what it takes", program.name))
        .diagnostics_of(problems))
}

fn fill(schema: &Value, value: &mut Value, depth: usize) {
    let (Some(properties), Value::Object(object)) =
        (schema.get("properties").and_then(Value::as_object), value)
    else {
        return;
    };
    if depth >= DEPTH_MAX {
        return;
    }
    for (name, property) in properties {
        if !object.contains_key(name)
            && let Some(default) = property.get("default")
        {
            object.insert(name.clone(), default.clone());
        }
        if let Some(inner) = object.get_mut(name) {
            fill(property, inner, depth + 1);
        }
    }
}
