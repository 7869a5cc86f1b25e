//! What a trace says, and what it does not.

use super::*;
use crate::id::WorkflowId;
use crate::model::StepError;

fn view(name: &str, status: RunStatus) -> RunView {
    RunView {
        id: RunId::from([7; 16]),
        workflow_id: WorkflowId::from([1; 16]),
        workflow_name: name.to_owned(),
        definition: "d1".to_owned(),
        status,
        trigger: Trigger::Api,
        inputs: json!({ "hidden": "canary-input" }),
        output: Some(
            json!({ "hidden": "canary-output", "usage": { "input_tokens": 12, "output_tokens": 3 } }),
        ),
        error: None,
        waiting_for: None,
        created_at: Timestamp(1_700_000_000_001),
        started_at: None,
        finished_at: Some(Timestamp(1_700_000_000_009)),
    }
}

fn step(id: &str, kind: &str, status: StepStatus) -> StepView {
    StepView {
        id: id.to_owned(),
        kind: kind.to_owned(),
        path: Vec::new(),
        status,
        attempts: 1,
        input: None,
        output: None,
        error: None,
        key: None,
        waiting_for: None,
        started_at: Some(Timestamp(1_700_000_000_002)),
        finished_at: Some(Timestamp(1_700_000_000_003)),
    }
}

fn spans(request: &Value) -> &Vec<Value> {
    request["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap()
}

/// An attribute's value, whatever its type.
fn get<'a>(span: &'a Value, key: &str) -> Option<&'a Value> {
    let found = span["attributes"].as_array()?.iter().find(|one| one["key"] == key)?;
    found["value"].as_object()?.values().next()
}

#[test]
fn a_run_is_a_trace_and_its_steps_are_spans_with_ids_that_stay() {
    let failed = StepView {
        error: Some(StepError::new(
            "network",
            &crate::error::code::general::TIMEOUT,
            "canary-message".to_owned(),
        )),
        key: Some("00".repeat(16)),
        attempts: 3,
        path: vec![2, 0],
        input: Some(json!("canary-step-input")),
        output: Some(json!("canary-step-output")),
        ..step("call", "api_call", StepStatus::Failed)
    };
    let steps = [step("one", "set", StepStatus::Completed), failed, step("no", "set", StepStatus::Skipped)];
    let made = request(&view("report", RunStatus::Failed), &steps);
    assert_eq!(made, request(&view("report", RunStatus::Failed), &steps), "the same again");
    let [root, one, call] = &spans(&made)[..] else { panic!("{made}") };
    assert_eq!(root["traceId"], "07".repeat(16));
    assert_eq!((&root["name"], &root["status"]["code"]), (&json!("run report"), &json!(2)));
    assert_eq!(root["startTimeUnixNano"], "1700000000001000000");
    assert_eq!(root["endTimeUnixNano"], "1700000000009000000");
    assert!(root["parentSpanId"].is_null() && root["spanId"].as_str().unwrap().len() == 16);
    for span in [one, call] {
        assert_eq!((&span["traceId"], &span["parentSpanId"]), (&root["traceId"], &root["spanId"]));
    }
    assert!(root["spanId"] != one["spanId"] && one["spanId"] != call["spanId"]);
    assert_eq!((&one["kind"], &one["status"]["code"]), (&json!(1), &json!(1)));
    assert_eq!((&call["kind"], &call["name"]), (&json!(3), &json!("api_call call[2][0]")));
    assert_eq!(get(call, "error.type"), Some(&json!("CB-0013")));
    assert_eq!(get(call, "chainbot.step.attempts"), Some(&json!("3")), "64-bit numbers are text");
    assert_eq!(made["resourceSpans"][0]["resource"]["attributes"][0]["value"]["stringValue"], "chainbot");
    assert!(!made.to_string().contains("canary"), "{made}");
}

#[test]
fn a_task_and_its_calls_have_the_names_of_generative_ai() {
    let model = StepView {
        input: Some(json!({ "model": "home", "max_output": 200, "prompt": "canary" })),
        output: Some(
            json!({ "text": "canary", "provider": "local", "model": "qwen", "input": 40, "output": 7, "stop": "max_output" }),
        ),
        ..step("model", "model_call", StepStatus::Completed)
    };
    let tool = StepView {
        input: Some(json!({ "tool": "look", "arguments": { "x": "canary" } })),
        ..step("tool", "tool_call", StepStatus::Completed)
    };
    let made = request(&view("agent:butler", RunStatus::Completed), &[model, tool]);
    let [root, model, tool] = &spans(&made)[..] else { panic!("{made}") };
    assert_eq!(root["name"], "invoke_agent butler");
    assert_eq!(get(root, "gen_ai.agent.name"), Some(&json!("butler")));
    assert_eq!(get(root, "gen_ai.usage.input_tokens"), Some(&json!("12")));
    assert_eq!(model["name"], "chat home");
    for (key, value) in [
        ("gen_ai.operation.name", json!("chat")),
        ("gen_ai.request.model", json!("home")),
        ("gen_ai.response.model", json!("qwen")),
        ("gen_ai.provider.name", json!("local")),
        ("gen_ai.request.max_tokens", json!("200")),
        ("gen_ai.usage.input_tokens", json!("40")),
        ("gen_ai.usage.output_tokens", json!("7")),
        ("gen_ai.response.finish_reasons", json!({ "values": [{ "stringValue": "length" }] })),
    ] {
        assert_eq!(get(model, key), Some(&value), "{key}");
    }
    assert_eq!(
        (&tool["name"], get(tool, "gen_ai.tool.name")),
        (&json!("execute_tool look"), Some(&json!("look")))
    );
    assert!(!made.to_string().contains("canary"), "{made}");
}

#[test]
fn who_started_a_run_is_a_link_and_a_long_run_is_cut_and_says_so() {
    let parent = RunId::from([9; 16]);
    let child =
        RunView { trigger: Trigger::Parent { run: parent, depth: 1 }, ..view("part", RunStatus::Completed) };
    let made = request(&child, &vec![step("s", "set", StepStatus::Completed); TRACE_SPANS_MAX + 5]);
    assert_eq!(spans(&made).len(), TRACE_SPANS_MAX + 1);
    let root = &spans(&made)[0];
    assert_eq!(get(root, "chainbot.run.steps_left_out"), Some(&json!("5")));
    let whole = request(&view("whole", RunStatus::Completed), &[]);
    assert_eq!((&root["links"][0]["traceId"], &whole["links"]), (&json!("09".repeat(16)), &Value::Null));
    let of_parent = request(&RunView { id: parent, ..view("whole", RunStatus::Completed) }, &[]);
    assert_eq!(root["links"][0]["spanId"], spans(&of_parent)[0]["spanId"]);
}
