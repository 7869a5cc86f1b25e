//! Cases from files: a definition, a script, and everything that must come of them.
//!
//! A file in `cases/` holds many: `=== name`, the definition, `--- script`, `--- expect`. `UPDATE_GOLDEN=1` rewrites what is
//! expected; the review reads the difference. A script's lines:
//!
//! | line | what |
//! |---|---|
//! | `effect STEP: ok JSON, CLASS, CLASS+SECONDS, hang` | replies to the tries of a step, in order; `ok {}` when there is none left |
//! | `signal NAME JSON [#KEY]` | somebody sends a signal |
//! | `advance DURATION` | time passes |
//! | `crash`, `cancel REASON`, `abandon REASON` | as they say |
//! | `finish STEP REPLY` | an effect that hangs is answered |
//! | `child completed JSON`, `child failed`, `child cancelled` | the oldest child under way is over |
//! | `inputs JSON`, `depth N` | of the run; first |
//! | `queued` | the run has no permit yet
//! | `stuck STEP` | an expression of the step took its thread |
//! | `pause`, `resume`, `retry` | a person holds the run, lets it go on, takes it up after it failed |
//! | `answer STEP ACTION [JSON]` | a person answers the question that a step asks |
//! | `event TOPIC JSON [#ID]` | an event comes, for every wait there is |

use std::collections::{HashMap, VecDeque};
use std::path::Path;

use serde_json::Value;

use super::driver::{Driver, Reply};
use crate::engine::decide::{Input, Outcome};
use crate::engine::{Answer, Heard, view};
use crate::model::{Json, Place, RecordBody, StepError, class};
use crate::time::parse_duration;

struct Case {
    name: String,
    definition: String,
    script: String,
    expect: String,
}

#[test]
fn every_case_gives_what_its_file_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine/tests/cases");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut count, mut wrong) = (0, Vec::new());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let mut rewritten = String::new();
        for case in parse(&text) {
            count += 1;
            // A case that cannot be played is one wrong case, not the end of the table.
            let actual = std::panic::catch_unwind(|| play(&case))
                .unwrap_or_else(|_| "it panics; see above".to_owned());
            if actual != case.expect {
                wrong.push(format!("=== {}\nexpected:\n{}\nis:\n{actual}", case.name, case.expect));
            }
            rewritten.push_str(&format!(
                "=== {}\n{}\n--- script\n{}{}--- expect\n{actual}\n",
                case.name,
                case.definition,
                case.script,
                if case.script.is_empty() { "" } else { "\n" },
            ));
        }
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, rewritten.trim_end().to_owned() + "\n").unwrap();
        }
    }
    assert!(count >= 80, "only {count} cases were found");
    assert!(wrong.is_empty(), "{} of {count} cases:\n{}", wrong.len(), wrong.join("\n"));
}

fn parse(text: &str) -> Vec<Case> {
    let cases = text.split("=== ").filter(|part| !part.trim().is_empty());
    cases
        .map(|part| {
            let (name, rest) = part.split_once('\n').unwrap();
            let (definition, rest) =
                rest.split_once("--- script\n").unwrap_or_else(|| panic!("{name}: no script"));
            let (script, expect) =
                rest.split_once("--- expect").unwrap_or_else(|| panic!("{name}: no expect"));
            Case {
                name: name.trim().to_owned(),
                definition: definition.trim_end().to_owned(),
                script: script.trim().to_owned(),
                expect: expect.trim().to_owned(),
            }
        })
        .collect()
}

type Replies = HashMap<String, VecDeque<Reply>>;

fn play(case: &Case) -> String {
    let source = format!("name: t\n{}\n", case.definition);
    let lines: Vec<&str> = case.script.lines().collect();
    let first = |word: &str| lines.iter().find_map(|line| line.strip_prefix(word));
    let inputs = first("inputs ").map_or(Value::Null, |json| serde_json::from_str(json).unwrap());
    let depth = first("depth ").map_or(0, |depth| depth.parse().unwrap());
    let mut driver = Driver::new(&source, inputs, depth);
    let mut replies: Replies = lines
        .iter()
        .filter_map(|line| line.strip_prefix("effect "))
        .map(|line| {
            let (step, all) = line.split_once(": ").unwrap();
            (step.to_owned(), all.split(", ").map(reply).collect())
        })
        .collect();
    if !lines.contains(&"queued") {
        driver.input(Input::Admit).unwrap();
    }
    pump(&mut driver, &mut replies);
    for line in lines {
        act(&mut driver, &mut replies, line);
        pump(&mut driver, &mut replies);
    }
    driver.assert_sound();
    outcome(&driver)
}

fn reply(text: &str) -> Reply {
    if text == "hang" {
        return Reply::Hang;
    }
    if let Some(json) = text.strip_prefix("ok") {
        let json = json.trim();
        return Reply::Ok(if json.is_empty() { Value::Null } else { serde_json::from_str(json).unwrap() });
    }
    match text.split_once('+') {
        Some((class, seconds)) => {
            Reply::Err(class.to_owned(), Some(parse_duration(&format!("{seconds}s")).unwrap()))
        }
        None => Reply::Err(text.to_owned(), None),
    }
}

/// Answers effects as they are sent, oldest first, until only hanging ones are left.
fn pump(driver: &mut Driver, replies: &mut Replies) {
    driver.settle(|_| false);
    let mut hanging = 0;
    while hanging < driver.effects.len() {
        let place = driver.effects[hanging].place.clone();
        let name = driver.step_name(&place);
        let id = driver.program.node(place.node).id.clone();
        let list = if replies.contains_key(&name) { replies.get_mut(&name) } else { replies.get_mut(&id) };
        let next = match list {
            Some(list) if matches!(list.front(), Some(Reply::Hang)) => {
                hanging += 1;
                continue;
            }
            Some(list) => list.pop_front(),
            None => None,
        };
        driver.answer(hanging, next.unwrap_or(Reply::Ok(serde_json::json!({}))));
        driver.settle(|_| false);
    }
}

fn act(driver: &mut Driver, replies: &mut Replies, line: &str) {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    if word == "crash" || word == "finish" {
        // What hung has ended; the step's next try gets the next reply.
        for (step, list) in replies.iter_mut() {
            let ends = word == "crash" || rest.starts_with(step.as_str());
            if ends && matches!(list.front(), Some(Reply::Hang)) {
                list.pop_front();
            }
        }
    }
    match word {
        "effect" | "inputs" | "depth" | "queued" => {}
        "signal" => {
            let (rest, key) = match rest.split_once(" #") {
                Some((rest, key)) => (rest, Some(key.to_owned())),
                None => (rest, None),
            };
            let (name, data) = rest.split_once(' ').unwrap_or((rest, "null"));
            let data = Json::new(serde_json::from_str(data).unwrap());
            if let Err(refused) = driver.input(Input::Signal { name: name.to_owned(), data, key }) {
                driver.log.push(format!("refused: {}", refused.code));
            }
        }
        "advance" => {
            driver.now = driver.now.after(parse_duration(rest).unwrap());
            driver.input(Input::Tick).unwrap();
        }
        "crash" => driver.crash(),
        "abandon" => driver.input(Input::Abandon { reason: rest.to_owned() }).unwrap(),
        "cancel" => driver.input(Input::Cancel { reason: rest.to_owned() }).unwrap(),
        "finish" => {
            let (step, answer) = rest.split_once(' ').unwrap();
            let index = driver
                .effects
                .iter()
                .position(|effect| driver.step_name(&effect.place) == step)
                .unwrap_or_else(|| panic!("{step} is not under way"));
            driver.answer(index, reply(answer));
        }
        "child" => {
            let (how, data) = rest.split_once(' ').unwrap_or((rest, "null"));
            let outcome = match how {
                "completed" => Outcome::Completed(Json::new(serde_json::from_str(data).unwrap())),
                "failed" => {
                    let code = &crate::error::code::run::STEP_INVALID;
                    Outcome::Failed(StepError::new(class::INVALID, code, "it broke"))
                }
                _ => Outcome::Cancelled,
            };
            let index = driver.children.iter().position(|child| child.2.is_none()).unwrap();
            driver.end_child(index, outcome);
        }
        "stuck" => {
            let node = driver.program.by_id[rest];
            driver.input(Input::Stuck { place: Place { node, path: Vec::new() } }).unwrap();
        }
        _ => people(driver, word, rest),
    }
}

/// What people do, and events.
fn people(driver: &mut Driver, word: &str, rest: &str) {
    let taken = match word {
        "pause" => driver.input(Input::Pause { reason: "to look".to_owned() }),
        "resume" => driver.input(Input::Unpause),
        "retry" => {
            driver.retry();
            Ok(())
        }
        "answer" => {
            let (step, rest) = rest.split_once(' ').unwrap();
            let (action, data) = rest.split_once(' ').unwrap_or((rest, "null"));
            let open = driver.questions().into_iter().find(|(name, _)| name == step);
            let question = open.map_or(crate::id::InboxId::from([0; 16]), |(_, id)| id);
            let data = Json::new(serde_json::from_str(data).unwrap());
            let by = Some("mia".to_owned());
            driver.input(Input::Answer(Answer { question, action: action.to_owned(), data, by }))
        }
        "event" => {
            let (rest, id) = rest.split_once(" #").unwrap_or((rest, ""));
            let (topic, data) = rest.split_once(' ').unwrap_or((rest, "null"));
            let event = Heard {
                topic: topic.to_owned(),
                id: id.to_owned(),
                data: Json::new(serde_json::from_str(data).unwrap()),
                at: driver.now,
            };
            let waits = driver.state.instances().filter_map(|(_, instance)| instance.listens).collect();
            driver.input(Input::Heard { event, waits })
        }
        other => panic!("what is `{other}`?"),
    };
    if let Err(refused) = taken {
        driver.log.push(format!("refused: {}", refused.code));
    }
}

/// Everything that came of it, in words.
fn outcome(driver: &Driver) -> String {
    let mut lines: Vec<String> = driver.log.clone();
    for record in &driver.journal {
        if let RecordBody::EventEmitted { topic, data, .. } = &record.body {
            lines.push(format!("event {topic} {data}").replace(&driver.state.id.to_string(), "RUN"));
        }
        if let RecordBody::PhaseStarted { phase, .. } = &record.body {
            lines.push(format!("phase {}", phase.as_str()));
        }
    }
    for step in view::steps(&driver.program, &driver.journal) {
        let indexes: String = step.path.iter().map(|index| format!("[{index}]")).collect();
        let mut line = format!("{}{indexes} {}", step.id, step.status.as_str());
        if step.attempts > 1 {
            line.push_str(&format!(" after {}", step.attempts));
        }
        if let Some(output) = &step.output {
            line.push_str(&format!(" {output}"));
        }
        if let (Some(error), true) = (&step.error, step.status.as_str() == "failed") {
            line.push_str(&format!(" {}: {}", error.class, error.message));
        }
        if let Some(waits) = &step.waiting_for {
            line.push_str(&format!(" ({waits})"));
        }
        lines.push(line);
    }
    for op in &driver.ops {
        if let crate::port::Op::InboxPut { question, .. } = op {
            lines.push(format!("asked about {} {}", question["step"], question["choices"]));
        }
        match op {
            crate::port::Op::InboxAnswer(answer) => {
                let by = answer.by.as_deref().unwrap_or_default();
                lines.push(format!("answered {} {} by {by}", answer.action, answer.data));
            }
            crate::port::Op::InboxClose { .. } => lines.push("no longer asked".to_owned()),
            _ => {}
        }
    }
    let mut last = format!("run {}", driver.state.status.as_str());
    if let Some(output) = &driver.state.output {
        last.push_str(&format!(" {}", output.json()));
    }
    if let Some(error) = &driver.state.error {
        last.push_str(&format!(" {} {}: {}", error.class, error.code, error.message));
    }
    lines.push(last);
    let text = lines.join("\n");
    let mut text = text.replace(&driver.state.id.to_string(), "RUN");
    for (index, child) in driver.children.iter().enumerate() {
        text = text.replace(&child.0.to_string(), &format!("CHILD{}", index + 1));
    }
    text
}
