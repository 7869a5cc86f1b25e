//! What authors try out: what a run would do, and what an expression gives. Nothing is sent, stored or changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authoring::dry::{DryRun, DryStep};
use crate::engine::Previewed;
use crate::error::code::general;
use crate::error::{Error, Result};
use crate::expr;
use crate::http::Shared;
use crate::http::problem::Answer;
use crate::http::request::Call;
use crate::limits::{DEFINITION_BODY_BYTES_MAX, EXPRESSION_BYTES_MAX};
use crate::model::StepError;
use crate::runtime::{NewDryRun, NewPreview, PreviewNames};

/// Names in a body.
const TEXT_BYTES_MAX: usize = 256;

/// What a dry run is made from.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the document; the body is read field by field")]
struct DryRunBody {
    /// As a run would get them.
    #[schema(value_type = Option<Object>)]
    inputs: Option<Value>,
    /// Outputs of steps that are known, by `step` or `step[0]`; the others get placeholders.
    #[schema(value_type = Option<Object>)]
    outputs: Option<Value>,
    /// A draft of the definition, as YAML, in place of the stored one.
    source: Option<String>,
}

/// What a run would do.
#[derive(Serialize, ToSchema)]
struct DryRunView {
    /// The workflow.
    workflow: String,
    /// With defaults filled in.
    #[schema(value_type = Object)]
    inputs: Value,
    /// How the run would stand in the end.
    status: &'static str,
    /// Steps in the order of their beginning.
    steps: Vec<DryStepView>,
    /// Steps of the definition that this way does not reach.
    not_reached: Vec<String>,
    /// The result, with placeholders.
    #[schema(value_type = Option<Value>)]
    output: Option<Value>,
    /// Why it would fail.
    #[schema(value_type = Option<Object>)]
    error: Option<StepError>,
    /// On a virtual clock, where nothing but waits and retries takes time.
    duration_ms: u64,
}

/// One step of the plan.
#[derive(Serialize, ToSchema)]
struct DryStepView {
    /// `fetch`, or `fetch[0]` in a loop.
    step: String,
    /// Its type.
    #[serde(rename = "type")]
    kind: String,
    /// How it would stand.
    status: &'static str,
    /// After the start.
    at_ms: u64,
    /// What it would send.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    sends: Option<Value>,
    /// Which branch, how many iterations, what it waits for, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// What it gave: computed, known, or a placeholder.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    output: Option<Value>,
    /// The output is a placeholder.
    placeholder: bool,
    /// Why it would fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    error: Option<StepError>,
    /// It failed on a value that only a real run has.
    unknown: bool,
}

impl From<DryRun> for DryRunView {
    fn from(plan: DryRun) -> Self {
        Self {
            workflow: plan.workflow,
            inputs: plan.inputs,
            status: plan.status.as_str(),
            steps: plan.steps.into_iter().map(DryStepView::from).collect(),
            not_reached: plan.not_reached,
            output: plan.output,
            error: plan.error,
            duration_ms: plan.duration_ms,
        }
    }
}

impl From<DryStep> for DryStepView {
    fn from(step: DryStep) -> Self {
        Self {
            step: step.step,
            kind: step.kind,
            status: step.status.as_str(),
            at_ms: step.at_ms,
            sends: step.sends,
            detail: step.detail,
            output: step.output,
            placeholder: step.is_placeholder,
            error: step.error,
            unknown: step.is_unknown,
        }
    }
}

/// What is looked at.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the document; the body is read field by field")]
struct PreviewBody {
    /// Text with `{{ }}`. Either this or `expression`.
    text: Option<String>,
    /// An expression, as conditions have it.
    expression: Option<String>,
    /// In the names of this run. Either this or `context`.
    #[schema(format = "uuid")]
    run: Option<String>,
    /// Of the run: as it stood after this record; as it stands without.
    at: Option<u32>,
    /// Of the run: at this step.
    step: Option<String>,
    /// Of the run: within these iterations of the loops around the step.
    path: Option<Vec<u32>>,
    /// Names with example values: `inputs`, `vars`, `steps` and others, such as `item`.
    #[schema(value_type = Option<Object>)]
    context: Option<Value>,
}

/// What it gives.
#[derive(Serialize, ToSchema)]
struct PreviewView {
    /// Whether it gives a value.
    valid: bool,
    /// The value, of whatever type.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    value: Option<Value>,
    /// Why it gives none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<WhyNot>,
}

/// Why an expression gives no value.
#[derive(Serialize, ToSchema)]
struct WhyNot {
    /// `CB-02xx`.
    code: &'static str,
    /// What is wrong.
    message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// Where, in bytes from the beginning of the expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<usize>,
}

impl From<expr::Error> for WhyNot {
    fn from(error: expr::Error) -> Self {
        Self { code: error.code.id, message: error.message, hint: error.hint, offset: error.offset }
    }
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(dry_run)).routes(routes!(preview))
}

/// What a run would do: every effect is shown instead of sent, nothing is stored
#[utoipa::path(post, path = "/api/chainbot/workflows/{id}/dry-run", tag = "workflows",
    params(("id" = String, Path, description = "Id or name")),
    request_body(content = DryRunBody, example = json!({ "inputs": {}, "outputs": { "fetch": { "data": [1, 2] } } })),
    responses(
        (status = 200, description = "The plan, also of a run that would fail", body = DryRunView),
        (status = 404, description = "There is no such workflow"),
        (status = 422, description = "The inputs do not fit, the draft has problems, a step is not there, or it does not end"),
        (status = 429, description = "As many are under way as there may be")))]
async fn dry_run(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let mut fields = call.fields_within(&["inputs", "outputs", "source"], DEFINITION_BODY_BYTES_MAX).await?;
    let source = fields.text("source", DEFINITION_BODY_BYTES_MAX)?;
    let inputs = fields.object("inputs")?.unwrap_or_else(|| json!({}));
    let outputs: BTreeMap<String, Value> = match fields.object("outputs")? {
        Some(Value::Object(outputs)) => outputs.into_iter().collect(),
        _ => BTreeMap::new(),
    };
    let reference = call.path("id")?;
    let plan =
        call.engine(&shared)?.people()?.dry_run(reference, NewDryRun { source, inputs, outputs }).await?;
    Ok(Json(DryRunView::from(plan)).into_response())
}

/// What an expression or a text gives; nothing is executed
///
/// Secrets have no value here. What gives none is an answer all the same, with the reason.
#[utoipa::path(post, path = "/api/chainbot/expressions/preview", tag = "workflows",
    request_body(content = PreviewBody,
        example = json!({ "text": "Hello, {{ inputs.who }}", "context": { "inputs": { "who": "Mia" } } })),
    responses(
        (status = 200, description = "The value, or why there is none", body = PreviewView),
        (status = 404, description = "There is no such run"),
        (status = 422, description = "The body does not say what to look at, in whose names"),
        (status = 429, description = "As many are under way as there may be")))]
async fn preview(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let mut fields = call.fields(&["text", "expression", "run", "at", "step", "path", "context"]).await?;
    let text = fields.text("text", EXPRESSION_BYTES_MAX)?;
    let expression = fields.text("expression", EXPRESSION_BYTES_MAX)?;
    let what = match (text, expression) {
        (Some(text), None) => Previewed::Text(text),
        (None, Some(expression)) => Previewed::Expression(expression),
        _ => return Err(wrong("give either `text` or `expression`").into()),
    };
    let run = fields.text("run", TEXT_BYTES_MAX)?;
    let at = fields.count("at")?.map(|at| u32::try_from(at).unwrap_or(u32::MAX));
    let step = fields.text("step", TEXT_BYTES_MAX)?;
    let path = path(fields.any("path"))?;
    let names = match (run, fields.object("context")?) {
        (Some(run), None) => {
            let run = run.parse().map_err(|_| wrong("`run` is the id of a run"))?;
            PreviewNames::Run { run, at, step, path }
        }
        (None, context) => {
            if at.is_some() || step.is_some() || !path.is_empty() {
                return Err(wrong("`at`, `step` and `path` are of a `run`").into());
            }
            match context {
                Some(Value::Object(example)) => PreviewNames::Example(example),
                _ => PreviewNames::Example(serde_json::Map::new()),
            }
        }
        (Some(_), Some(_)) => return Err(wrong("give either `run` or `context`").into()),
    };
    let seen = call.engine(&shared)?.people()?.preview(NewPreview { what, names }).await?;
    let view = match seen {
        Ok(data) => PreviewView { valid: true, value: Some((**data.json()).clone()), error: None },
        Err(error) => PreviewView { valid: false, value: None, error: Some(error.into()) },
    };
    Ok(Json(view).into_response())
}

fn path(value: Value) -> Result<Vec<u32>> {
    match value {
        Value::Null => Ok(Vec::new()),
        other => {
            serde_json::from_value(other).map_err(|_| wrong("`path` is a list of indexes, such as [0, 3]"))
        }
    }
}

fn wrong(help: &str) -> Error {
    Error::new(&general::FIELD, "the body does not say what to look at, in whose names").help(help)
}
