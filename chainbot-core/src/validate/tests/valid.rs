//! Definitions without a flaw: no diagnostic, and every key arrives in the AST.

use std::time::Duration;

use crate::model::*;
use crate::validate::check;

fn read(source: &str) -> Definition {
    let checked = check(source);
    assert!(checked.diagnostics.is_empty(), "{source}\n{}", super::report(&checked.diagnostics));
    checked.definition.expect("no diagnostic, so a definition")
}

/// The action of the only step of a definition.
fn action(step: &str) -> Action {
    let source = format!("name: a\nsteps:\n  - {}\n", step.trim().replace('\n', "\n    "));
    read(&source).steps.remove(0).action
}

fn text(text: &Text) -> &str {
    &text.source
}

#[test]
fn the_smallest_definition_takes_all_defaults() {
    let definition = read("name: tiny\nsteps:\n  - { id: a, type: set, config: { variables: { x: 1 } } }\n");
    assert_eq!(definition.name, "tiny");
    assert_eq!(definition.kind, WorkflowKind::Sequential);
    assert_eq!((&definition.inputs, &definition.timeout, &definition.output), (&None, &None, &None));
    let step = &definition.steps[0];
    assert_eq!((step.on_error, step.on_uncertain, step.checkpoint), (OnError::Fail, None, false));
    assert_eq!(step.pos, Pos { line: 3, column: 5 });
    let Action::Set { variables } = &step.action else { panic!("{step:?}") };
    assert_eq!((variables[0].0.as_str(), variables[0].1.source.as_str()), ("x", "1"));
}

#[test]
fn the_same_definition_in_json_is_the_same() {
    let json = "{\"name\": \"tiny\", \"steps\": [{\"id\": \"a\", \"type\": \"set\", \"config\": {\"variables\": {\"x\": 1}}}]}";
    let definition = read(json);
    let yaml = read("name: tiny\nsteps:\n- {id: a, type: set, config: {variables: {x: 1}}}");
    assert_eq!(definition.name, yaml.name);
    assert_eq!(definition.steps[0].id, yaml.steps[0].id);
}

#[test]
fn every_key_of_the_definition_is_read() {
    let definition = read(
        "name: green_house-2\ndescription: Waters\ntype: parallel\nmax_parallel_steps: 7\ntimeout: 1h30m\n\
         retry: { attempts: 4, backoff: fixed, delay: 250ms, max_delay: 2, jitter: none, on: [timeout, http_5xx] }\n\
         inputs: { type: object, properties: { zone: { type: string, default: north } } }\n\
         steps:\n  - { id: a, type: set, config: { variables: { x: inputs.zone } } }\noutput: { zone: \"{{ inputs.zone }}\" }\n",
    );
    assert_eq!(definition.description.as_deref(), Some("Waters"));
    assert_eq!((definition.kind, definition.max_parallel_steps), (WorkflowKind::Parallel, Some(7)));
    assert_eq!(definition.timeout, Some(Duration::from_secs(5_400)));
    let expected = Retry {
        attempts: 4,
        backoff: Backoff::Fixed,
        delay: Duration::from_millis(250),
        max_delay: Duration::from_secs(2),
        full_jitter: false,
        on: vec!["timeout".to_owned(), "http_5xx".to_owned()],
    };
    assert_eq!(definition.retry, Some(expected));
    assert_eq!(definition.inputs.unwrap()["properties"]["zone"]["default"], "north");
    assert_eq!(definition.output.unwrap().get("zone").unwrap().as_str(), Some("{{ inputs.zone }}"));
}

#[test]
fn every_key_of_a_step_is_read() {
    let definition = read(
        "name: a\nsteps:\n  - id: one\n    name: First\n    type: emit\n    when: inputs.go\n    timeout: 90\n    \
         retry: {}\n    on_error: continue\n    on_uncertain: ask\n    output_variable: sent\n    checkpoint: true\n    \
         config: { topic: user.go, data: [1, \"{{ inputs.x }}\"] }\n",
    );
    let step = &definition.steps[0];
    assert_eq!(step.name.as_deref(), Some("First"));
    assert_eq!(step.when.as_ref().unwrap().source, "inputs.go");
    assert_eq!(step.when.as_ref().unwrap().pos, Pos { line: 6, column: 11 });
    assert_eq!(step.timeout, Some(Duration::from_secs(90)));
    let retry = step.retry.as_ref().unwrap();
    assert_eq!((retry.attempts, retry.delay, retry.full_jitter), (3, Duration::from_secs(5), true));
    assert_eq!((step.on_error, step.on_uncertain), (OnError::Continue, Some(OnUncertain::Ask)));
    assert_eq!((step.output_variable.as_deref(), step.checkpoint), (Some("sent"), true));
    assert!(matches!(&step.action, Action::Emit { topic, data: Some(_) } if topic.source == "user.go"));
}

#[test]
fn an_api_call_is_read() {
    let call = action(
        "id: a\ntype: api_call\nconfig:\n  url: \"https://{{ inputs.host }}/v1\"\n  method: POST\n  \
         query: { q: [1, 2] }\n  headers: { X-Id: \"{{ run.id }}\" }\n  json: { a: 1 }\n  \
         expect: { status: [200, 4xx], schema: { type: object } }\n  response: json\n  max_bytes: 4096\n  \
         follow_redirects: true\n  idempotency: key",
    );
    let Action::ApiCall(call) = call else { panic!("{call:?}") };
    assert_eq!((text(&call.url), call.method.as_str()), ("https://{{ inputs.host }}/v1", "POST"));
    assert_eq!(call.expect_status, ["200", "4xx"]);
    assert!(call.expect_schema.is_some() && call.query.is_some() && call.headers.is_some());
    assert!(matches!(call.body, Body::Json(_)));
    assert_eq!((call.response, call.max_bytes), (ResponseAs::Json, Some(4096)));
    assert!(call.follow_redirects && call.idempotent);
    let Action::ApiCall(call) =
        action("{ id: a, type: api_call, config: { url: \"http://[::1]:8080/x?y=z#f\" } }")
    else {
        panic!("an api_call")
    };
    assert_eq!((call.method.as_str(), call.body, call.idempotent), ("GET", Body::Empty, false));
}

#[test]
fn a_webhook_and_a_notification_are_read() {
    let webhook =
        action("{ id: a, type: webhook, config: { url: \"https://example.org/h\", payload: { a: 1 } } }");
    assert!(matches!(webhook, Action::Webhook(Webhook { payload: Some(_), headers: None, .. })));
    let Action::Notification(plain) = action("{ id: a, type: notification, config: { message: hi } }") else {
        panic!("a notification")
    };
    assert_eq!((plain.level.as_str(), plain.channels), ("info", vec!["gui".to_owned()]));
    let Action::Notification(full) = action(
        "{ id: a, type: notification, config: { message: hi, title: t, type: error, channels: [event_bus, gui] } }",
    ) else {
        panic!("a notification")
    };
    assert_eq!((full.level.as_str(), full.channels.len()), ("error", 2));
}

#[test]
fn both_forms_of_condition_are_read() {
    let set = |id: &str| format!("[ {{ id: {id}, type: set, config: {{ variables: {{ x: 1 }} }} }} ]");
    let (b, c) = (set("b"), set("c"));
    let Action::Condition(Condition::If { condition, then, otherwise }) = action(&format!(
        "{{ id: a, type: condition, config: {{ if: inputs.x > 1, then: {b}, else: {c} }} }}"
    )) else {
        panic!("if")
    };
    assert_eq!((condition.source.as_str(), then.len(), otherwise.len()), ("inputs.x > 1", 1, 1));
    let Action::Condition(Condition::Switch { cases, default, .. }) = action(&format!(
        "{{ id: a, type: condition, config: {{ switch: inputs.x, cases: {{ 1: {b}, north west: {c} }}, default: {} }} }}",
        set("d")
    )) else {
        panic!("switch")
    };
    let names: Vec<_> = cases.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names, default.len()), (vec!["1", "north west"], 1));
}

#[test]
fn every_form_of_loop_is_read() {
    let looped = |keys: &str| {
        let body = "[ { id: b, type: set, config: { variables: { x: index } } } ]";
        match action(&format!("{{ id: a, type: loop, config: {{ {keys}, steps: {body} }} }}")) {
            Action::Loop(inner) => inner,
            other => panic!("{other:?}"),
        }
    };
    let each = looped(
        "for_each: inputs.rows, as: row, max_concurrency: 4, max_iterations: 9, on_error: continue, collect: \"row + steps.b.output.x\"",
    );
    assert!(matches!(&each.over, LoopOver::ForEach(Items::Expr(expr)) if expr.source == "inputs.rows"));
    assert_eq!((each.item_name.as_str(), each.max_concurrency, each.max_iterations), ("row", 4, 9));
    assert!(each.continue_on_error && each.collect.is_some());
    let list = looped("for_each: [1, \"{{ inputs.x }}\"]");
    assert!(matches!(list.over, LoopOver::ForEach(Items::Literal(_))));
    assert_eq!((list.item_name.as_str(), list.max_concurrency, list.max_iterations), ("item", 1, 100_000));
    assert!(matches!(looped("for_each: 5").over, LoopOver::ForEach(Items::Expr(_))));
    assert!(matches!(looped("while: \"index < 3\"").over, LoopOver::While(_)));
    assert!(matches!(looped("until: \"steps.b.output.x > 3\"").over, LoopOver::Until(_)));
    assert!(matches!(looped("times: inputs.n").over, LoopOver::Times(_)));
}

#[test]
fn both_forms_of_parallel_are_read() {
    let Action::Parallel(steps) = action(
        "id: p\ntype: parallel\nconfig:\n  max_concurrency: 2\n  on_error: wait\n  join: quorum\n  quorum: 1\n  steps:\n    \
         - { id: a, type: set, config: { variables: { x: 1 } } }\n    \
         - { id: b, type: set, depends_on: [a], config: { variables: { x: steps.a.output.x } } }",
    ) else {
        panic!("parallel")
    };
    assert_eq!((steps.max_concurrency, steps.cancel_others, steps.join), (2, false, Join::Quorum(1)));
    assert_eq!(
        (steps.branches[1].name.as_str(), &steps.branches[1].depends_on),
        ("b", &vec!["a".to_owned()])
    );
    let Action::Parallel(branches) = action(
        "id: p\ntype: parallel\nconfig:\n  join: any\n  branches:\n    left:\n      \
         - { id: a, type: set, config: { variables: { x: 1 } } }\n      \
         - { id: b, type: set, config: { variables: { x: steps.a.output.x } } }\n    right:\n      \
         - { id: c, type: set, config: { variables: { x: 1 } } }",
    ) else {
        panic!("parallel")
    };
    assert_eq!((branches.max_concurrency, branches.cancel_others, branches.join), (5, true, Join::Any));
    assert_eq!((branches.branches[0].name.as_str(), branches.branches[0].steps.len()), ("left", 2));
}

#[test]
fn every_form_of_wait_is_read() {
    let wait = |config: &str| match action(&format!("{{ id: a, type: wait, config: {{ {config} }} }}")) {
        Action::Wait(wait) => wait,
        other => panic!("{other:?}"),
    };
    for duration in ["90s", "90", "\"{{ inputs.minutes }}m\""] {
        assert!(matches!(wait(&format!("duration: {duration}")).target, WaitFor::Duration(_)));
    }
    for until in ["\"2026-05-01T06:30:00+02:00\"", "\"{{ inputs.at }}\""] {
        assert!(matches!(wait(&format!("until: {until}")).target, WaitFor::Until(_)));
    }
    assert!(matches!(wait("signal: go-on").target, WaitFor::Signal { schema: None, .. }));
    let full = wait(
        "signal: { name: \"go-{{ inputs.x }}\", schema: { type: object } }, timeout: 5m, on_timeout: continue",
    );
    assert!(matches!(full.target, WaitFor::Signal { schema: Some(_), .. }));
    assert!(full.continue_on_timeout);
    let definition =
        read("name: a\nsteps:\n  - { id: a, type: wait, config: { signal: go, timeout: 5m } }\n");
    assert_eq!(definition.steps[0].timeout, Some(Duration::from_secs(300)));
}

#[test]
fn a_child_workflow_is_read() {
    let child =
        action("{ id: a, type: workflow, config: { workflow: nightly, inputs: { x: 1 }, wait: false } }");
    assert!(matches!(child, Action::Workflow { wait: false, inputs: Some(_), .. }));
    let child = action("{ id: a, type: workflow, config: { workflow: nightly } }");
    assert!(matches!(child, Action::Workflow { wait: true, inputs: None, .. }));
}

#[test]
fn every_transform_is_read() {
    let transform =
        |config: &str| match action(&format!("{{ id: a, type: transform, config: {{ {config} }} }}")) {
            Action::Transform(transform) => transform,
            other => panic!("{other:?}"),
        };
    assert!(matches!(
        transform("type: template, template: \"{{ input }}\", input: 1"),
        Transform::Template { .. }
    ));
    assert!(matches!(transform("type: expression, expr: 1 + 1"), Transform::Expression { input: None, .. }));
    assert!(matches!(transform("type: json_parse, input: \"{{ inputs.t }}\""), Transform::JsonParse { .. }));
    assert!(matches!(
        transform("type: json_stringify, input: [1], pretty: true"),
        Transform::JsonStringify { pretty: true, .. }
    ));
    assert!(matches!(transform("type: filter, input: [1], where: item > index"), Transform::Filter { .. }));
    assert!(matches!(
        transform("type: map, input: \"{{ inputs.rows }}\", expr: item"),
        Transform::Map { .. }
    ));
    assert!(matches!(
        transform("type: sort, input: [1], by: item, order: desc"),
        Transform::Sort { descending: true, by: Some(_), .. }
    ));
    assert!(matches!(transform("type: group, input: [1], by: item"), Transform::Group { collect: None, .. }));
    assert!(matches!(
        transform("type: merge, inputs: [{ a: 1 }, { b: 2 }], strategy: deep"),
        Transform::Merge { strategy: MergeStrategy::Deep, .. }
    ));
    assert!(matches!(
        transform("type: regex, input: x, pattern: \"a(b)\", mode: replace, replacement: \"${1}\""),
        Transform::Regex { mode: RegexMode::Replace, replacement: Some(_), .. }
    ));
    assert!(matches!(
        transform("type: hash, input: x, algorithm: blake3"),
        Transform::Hash { algorithm: HashAlgorithm::Blake3, .. }
    ));
}

#[test]
fn a_conditional_workflow_is_read() {
    let definition = read(
        "name: a\ntype: conditional\nmatch: first\nsteps:\n  \
         - { id: a, type: set, when: inputs.x, config: { variables: { x: 1 } } }\n  \
         - { id: b, type: set, when: true, config: { variables: { x: 1 } } }\noutput: \"{{ vars.x }}\"\n",
    );
    assert_eq!(definition.kind, WorkflowKind::Conditional { first_only: true });
}

#[test]
fn names_are_visible_where_a_run_has_them() {
    read(
        r#"
name: a
steps:
  - { id: rows, type: api_call, config: { url: "https://example.org" }, output_variable: reply }
  - id: choose
    type: condition
    config:
      if: steps.rows.output.status_code == 200
      then: [ { id: good, type: set, config: { variables: { n: "vars.reply.data|length", m: "vars.n + 1" } } } ]
      else: [ { id: bad, type: set, config: { variables: { n: 0 } } } ]
  - { id: after, type: notification, config: { message: "{{ steps.good.output.n }} {{ vars.n }} {{ steps.choose.output.branch }}" } }
  - id: each
    type: loop
    config:
      for_each: steps.rows.output.data
      as: row
      collect: steps.inner.output.loop_results
      steps:
        - { id: first, type: set, config: { variables: { k: "row.k + index" } } }
        - id: inner
          type: loop
          config:
            for_each: row.cells
            steps: [ { id: deep, type: set, config: { variables: { v: "steps.first.output.k + item + row.k" } } } ]
  - { id: total, type: transform, config: { type: map, input: "{{ steps.each.output.loop_results }}", expr: "item|sum + inputs.offset|default(0)" } }
output: { total: "{{ steps.total.output.transformed }}", run: "{{ run.id }}", left: "{{ steps.good.output.n if steps.good.status == 'completed' else 0 }}" }
"#,
    );
}

#[test]
fn a_branch_sees_what_it_depends_on_at_any_distance() {
    read(
        r#"
name: a
type: parallel
steps:
  - { id: d, type: set, depends_on: [c], config: { variables: { x: "steps.a.output.x + steps.c.output.x" } } }
  - { id: a, type: set, config: { variables: { x: 1 } } }
  - { id: c, type: set, depends_on: [b], config: { variables: { x: "steps.b.output.x" } } }
  - { id: b, type: set, depends_on: [a], config: { variables: { x: "steps.a.output.x" } } }
"#,
    );
}

#[test]
fn an_undefined_value_with_a_default_is_meant_that_way() {
    read(
        "name: a\nsteps:\n  - { id: a, type: set, config: { variables: { n: \"vars.n|default(0) + 1\" } } }\n",
    );
}

#[test]
fn what_looks_like_an_old_placeholder_and_is_none_stays() {
    read(
        "name: a\nsteps:\n  - { id: a, type: notification, config: { message: \"costs $5 ${} ${ x }\" } }\n",
    );
}
