//! Cases as their authors write them: what passes, and what a failing one says.

use std::sync::Arc;

use crate::authoring::{CaseReport, coverage, read, run};
use crate::engine::{Defaults, compile};
use crate::model::RunStatus;

/// Plays the only case of a test file.
fn play(workflow: &str, case: &str) -> CaseReport {
    let checked = crate::validate::check(workflow);
    let Some(definition) = checked.definition else { panic!("{:#?}", checked.diagnostics) };
    let program = Arc::new(compile(&definition, workflow).unwrap());
    let indented: String = case.lines().map(|line| format!("    {line}\n")).collect();
    let source = format!("workflow: w.yaml\ncases:\n  - name: case\n{indented}");
    let suite = read(&source).unwrap_or_else(|problems| panic!("{problems:#?}\n{source}"));
    assert_eq!(suite.check(&program), Vec::new(), "{source}");
    let report = run(&program, &suite.cases[0], &Defaults::default());
    let steps = coverage(&program, std::slice::from_ref(&report));
    assert_eq!(steps.len(), program.step_count());
    report
}

fn passes(workflow: &str, case: &str) -> CaseReport {
    let report = play(workflow, case);
    assert!(report.passed, "{:#?}", report.problems);
    report
}

/// The problems of a case that must fail.
fn fails(workflow: &str, case: &str) -> String {
    let report = play(workflow, case);
    assert!(!report.passed, "{report:#?}");
    report.problems.iter().map(|problem| format!("{}: {}\n", problem.line, problem.message)).collect()
}

const CALLS: &str = "\
name: calls
steps:
  - id: each
    type: loop
    config:
      times: 2
      steps:
        - id: call
          type: api_call
          retry: { attempts: 2, delay: 10s, jitter: none }
          config: { url: 'http://example.org/{{ index }}', query: { page: '{{ index }}' } }
  - id: done
    type: emit
    config: { topic: user.done, data: { n: '{{ steps.each.output.count }}' } }
output: '{{ steps.each.output.loop_results }}'
";

#[test]
fn a_list_of_replies_is_used_up_by_tries_and_iterations() {
    let case = "\
mocks:
  call: [{ error: http_5xx }, { output: { data: a } }, { output: { data: b }, delay: 3s }]
expect:
  path: [each, 'call[0]', 'call[1]', done]
  calls: { call: [{ query: { page: 0 } }, {}, { url: 'http://example.org/1' }] }
  events: [{ topic: user.done, data: { n: 2 } }]
  duration: 13s";
    let report = passes(CALLS, case);
    assert_eq!(report.output.unwrap()[1]["data"], "b");
}

#[test]
fn an_iteration_may_have_a_mock_of_its_own() {
    let case = "\
mocks:
  call: { output: { data: all } }
  call[1]: { output: { data: second } }
expect:
  calls: { 'call[1]': 1, call: 2 }";
    let output = passes(CALLS, case).output.unwrap();
    assert_eq!((&output[0]["data"], &output[1]["data"]), (&"all".into(), &"second".into()));
}

#[test]
fn nothing_leaves_without_a_mock() {
    let said = fails(CALLS, "inputs: {}");
    assert!(
        said.contains("step `call[0]` has no mock; it would have sent GET http://example.org/0"),
        "{said}"
    );
    let said = fails(CALLS, "mocks: { call: [{ output: {} }] }");
    assert!(said.contains("calls for the 2nd time and its mock has 1 reply"), "{said}");
}

#[test]
fn an_answer_that_takes_too_long_is_a_timeout() {
    let workflow = "\
name: slow
steps:
  - { id: call, type: api_call, timeout: 5s, retry: { attempts: 1 }, config: { url: 'http://example.org/' } }
";
    let case = "\
mocks: { call: { output: {}, delay: 6s } }
expect: { status: failed, error: { class: timeout, code: CB-0307 }, duration: 5s }";
    passes(workflow, case);
    passes(workflow, "mocks: { call: { output: {}, delay: 5s } }\nexpect: { duration: 5s }");
}

#[test]
fn every_expectation_that_does_not_hold_is_told_with_its_line() {
    let case = "\
mocks: { call: { output: { data: 1 } } }
expect:
  status: failed
  output: []
  error: { class: timeout }
  path: [each]
  skipped: [done]
  not_run: [done]
  calls: { call: [{ query: { page: 5 } }, {}] }
  events: [{ topic: user.other }]
  variables: { x: 1 }
  duration: 1s";
    let expected = "\
6: the run is completed, expected failed
7: output: has 2 items, expected 0
8: there is no error
9: the path was [each, call[0], call[1], done], expected [each]
10: skipped are [], expected [done]
11: step `done` is completed, expected not to run
12: call 1 of `call`: `query.page` is 0, expected 5
13: the event is \"user.done\", expected \"user.other\"
14: variable `x` is not set
15: the run took 0s, expected 1s
";
    assert_eq!(fails(CALLS, case), expected);
}

const WAITS: &str = "\
name: waits
steps:
  - { id: ask, type: wait, timeout: 2d, config: { approval: { message: 'Open {{ inputs.what }}?', actions: [open, leave], default: leave } } }
  - { id: rain, type: wait, config: { event: { topic: weather.*, when: event.data.mm > 5 } } }
  - { id: go, type: wait, config: { signal: go } }
output: '{{ steps.ask.output.approval.action }} {{ steps.rain.output.event.data.mm }} {{ steps.go.output.signal }}'
";

#[test]
fn people_events_and_signals_come_at_their_time() {
    let case = "\
inputs: { what: the valve }
send:
  - { at: 30m, signal: go, data: now }
  - { at: 1h, answer: ask, action: open, by: mia }
  - { at: 2h, event: weather.shed, data: { mm: 3 } }
  - { at: 3h, event: weather.shed, data: { mm: 9 } }
expect: { output: open 9 now, duration: 3h }";
    let said = fails(WAITS, case);
    assert!(said.contains("no step takes the event `weather.shed` at this time"), "{said}");
    passes(WAITS, &case.replace("  - { at: 2h, event: weather.shed, data: { mm: 3 } }\n", ""));
}

#[test]
fn a_default_answer_counts_when_its_time_has_come() {
    let case = "\
inputs: { what: it }
send: [{ at: 3d, event: weather.x, data: { mm: 6 } }, { at: 4d, signal: go, data: 1 }]
expect: { output: leave 6 1, duration: 4d }";
    passes(WAITS, case);
}

#[test]
fn what_nobody_takes_is_a_mistake_of_the_test() {
    let said = fails(WAITS, "inputs: { what: it }\nsend: [{ answer: rain }]");
    assert!(said.contains("step `rain` does not ask anybody at this time"), "{said}");
    let said = fails(WAITS, "inputs: { what: it }\nsend: [{ answer: ask, action: maybe }]");
    assert!(said.contains("`maybe` is no answer; it takes open, leave"), "{said}");
    let case = "inputs: { what: it }\nsend: [{ at: 1m, cancel: enough }, { at: 5m, signal: go }]\nexpect: { status: cancelled }";
    assert!(fails(WAITS, case).contains("the run was over after 1m, before this was sent"));
}

#[test]
fn a_run_that_waits_or_is_paused_says_so() {
    let report = passes(
        WAITS,
        "inputs: { what: it }\nexpect: { status: waiting, waiting: [] }"
            .replace(", waiting: []", "")
            .as_str(),
    );
    assert_eq!(report.status, RunStatus::Waiting);
    passes(
        WAITS,
        "inputs: { what: it }\nsend: [{ at: 1h, pause: true }]\nexpect: { status: paused, duration: 1h }",
    );
}

#[test]
fn catch_undo_and_finally_are_tested_too() {
    let workflow = "\
name: ends
steps:
  - id: book
    type: api_call
    config: { url: 'http://example.org/book', method: POST }
    compensate: { id: unbook, type: api_call, config: { url: 'http://example.org/unbook', method: POST } }
  - { id: pay, type: api_call, config: { url: 'http://example.org/pay', method: POST } }
finally: [{ id: tell, type: notification, config: { message: over } }]
";
    let case = "\
mocks:
  book: { output: {} }
  unbook: { output: {} }
  pay: { error: { class: http_4xx, message: no money } }
expect:
  status: failed
  error: { contains: no money }
  path: [book, pay: failed, unbook, tell]
  calls: { unbook: 1 }";
    passes(workflow, case);
}

#[test]
fn a_child_is_mocked_like_a_call() {
    let workflow = "\
name: parent
steps:
  - { id: child, type: workflow, config: { workflow: other, inputs: { n: 1 } } }
output: '{{ steps.child.output.m }}'
";
    let case = "\
mocks: { child: { output: { m: 2 }, delay: 1h } }
expect: { output: 2, duration: 1h, calls: { child: [{ workflow: other, inputs: { n: 1 } }] } }";
    passes(workflow, case);
    let case = "mocks: { child: { error: child_failed } }\nexpect: { status: failed, error: { class: child_failed } }";
    passes(workflow, case);
}

#[test]
fn inputs_that_do_not_fit_fail_the_case() {
    let workflow = "\
name: strict
inputs: { type: object, required: [n] }
steps: [{ id: a, type: set, config: { variables: { n: inputs.n } } }]
";
    assert!(fails(workflow, "inputs: {}").contains("CB-0301"));
}

#[test]
fn a_loop_without_end_ends_the_case() {
    let workflow = "\
name: endless
steps:
  - { id: l, type: loop, config: { while: 'true', max_iterations: 50, steps: [{ id: w, type: wait, config: { duration: 1h } }] } }
";
    let said = fails(workflow, "expect: { status: completed }");
    assert!(said.contains("the run is failed"), "{said}");
}

#[test]
fn messages_of_the_outbox_are_calls_that_need_no_mock() {
    let workflow = "\
name: tells
steps:
  - id: each
    type: loop
    config:
      times: 2
      steps:
        - { id: hook, type: webhook, config: { url: 'http://example.org/', payload: '{{ index }}', delivery: outbox } }
  - { id: tell, type: notification, config: { message: Dry, channels: [gui, phone] } }
output: '{{ steps.tell.output.channels }}'
";
    let case = "\
expect:
  output: [gui, phone]
  calls:
    hook[0]: [{ payload: 0 }]
    hook: 2
    tell: [{ channel: phone, message: Dry }]
  events: [{ topic: chainbot.notification, data: { message: Dry } }]
";
    passes(workflow, case);
}
