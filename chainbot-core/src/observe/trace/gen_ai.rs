//! What agents' tasks, models' calls and tools' are called in a trace: OpenTelemetry's names for generative AI, all of them here. They
//! are in development there, so this is the one place that follows.

use serde_json::{Value, json};

use super::attribute;
use crate::model::StepView;
use crate::port::AGENT_PREFIX;

/// A call of a model or a tool as a span.
pub(super) struct Call {
    pub(super) name: String,
    pub(super) attributes: Vec<Value>,
}

/// The agent whose task a run is, by the name of its workflow.
pub(super) fn agent_of(workflow: &str) -> Option<&str> {
    workflow.strip_prefix(AGENT_PREFIX)
}

pub(super) fn task_name(agent: &str) -> String {
    format!("invoke_agent {agent}")
}

/// A task: who did it and what it used.
pub(super) fn of_task(agent: &str, output: Option<&Value>) -> Vec<Value> {
    let mut all = vec![
        attribute("gen_ai.operation.name", json!("invoke_agent")),
        attribute("gen_ai.agent.name", json!(agent)),
    ];
    let usage = output.map(|output| &output["usage"]);
    usage.into_iter().for_each(|usage| all.extend(tokens(&usage["input_tokens"], &usage["output_tokens"])));
    all
}

/// A step of a task that asks a model or uses a tool; `None` is another step.
pub(super) fn of_call(step: &StepView) -> Option<Call> {
    let (input, output) = (step.input.as_ref(), step.output.as_ref());
    let text = |value: Option<&Value>, key: &str| value?[key].as_str().map(str::to_owned);
    match step.kind.as_str() {
        "model_call" => {
            let asked = text(input, "model").unwrap_or_default();
            let mut attributes = vec![
                attribute("gen_ai.operation.name", json!("chat")),
                attribute("gen_ai.request.model", json!(asked)),
            ];
            if let Some(most) = input.and_then(|input| input["max_output"].as_u64()) {
                attributes.push(attribute("gen_ai.request.max_tokens", json!(most)));
            }
            for (key, name) in [("provider", "gen_ai.provider.name"), ("model", "gen_ai.response.model")] {
                attributes.extend(text(output, key).map(|value| attribute(name, json!(value))));
            }
            if let Some(output) = output {
                attributes.extend(tokens(&output["input"], &output["output"]));
                let stop = output["stop"].as_str().map(|stop| match stop {
                    "max_output" => "length",
                    "filtered" => "content_filter",
                    _ => "stop",
                });
                // OTLP has lists in a form of their own.
                attributes.extend(stop.map(|stop| {
                    json!({ "key": "gen_ai.response.finish_reasons",
                        "value": { "arrayValue": { "values": [{ "stringValue": stop }] } } })
                }));
            }
            Some(Call { name: format!("chat {asked}"), attributes })
        }
        "tool_call" => {
            let tool = text(input, "tool").unwrap_or_default();
            let attributes = vec![
                attribute("gen_ai.operation.name", json!("execute_tool")),
                attribute("gen_ai.tool.name", json!(tool)),
                attribute("gen_ai.tool.type", json!("function")),
            ];
            Some(Call { name: format!("execute_tool {tool}"), attributes })
        }
        _ => None,
    }
}

fn tokens(input: &Value, output: &Value) -> Vec<Value> {
    [("gen_ai.usage.input_tokens", input), ("gen_ai.usage.output_tokens", output)]
        .into_iter()
        .filter(|(_, value)| value.is_u64())
        .map(|(name, value)| attribute(name, value.clone()))
        .collect()
}
