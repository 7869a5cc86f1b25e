//! A test file: which workflow, and cases with inputs, mocks, what is sent when, and what is expected.
//!
//! Read in two steps: [`read`] judges the file alone, [`Suite::check`] against the workflow it names. Both report all
//! problems, each with its place. Nothing here runs.

mod expect;
mod mocks;
mod send;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::reader::{Reader, entry};
use crate::engine::Program;
use crate::engine::program::Op;
use crate::error::code::definition as code;
use crate::error::{Diagnostic, Pos, similar};
use crate::limits::TEST_CASES_MAX;
use crate::model::document::Node;
use crate::time::Timestamp;

pub use expect::{ErrorIs, EventIs, Expect, Stood};
pub use mocks::{Mock, Reply};
pub use send::{Happening, Send};

/// When the virtual clock begins unless the file says otherwise: a Monday morning.
pub const START: Timestamp = Timestamp(1_767_600_000_000);

/// A test file.
#[derive(Debug)]
pub struct Suite {
    /// Path of the definition, from the folder of the test file.
    pub workflow: String,
    /// Where that stands.
    pub workflow_pos: Pos,
    /// In the order of the file.
    pub cases: Vec<Case>,
}

/// One run that is tested.
#[derive(Debug)]
pub struct Case {
    /// Unique in the file.
    pub name: String,
    /// Where it begins.
    pub pos: Pos,
    /// When its virtual clock begins.
    pub start: Timestamp,
    /// Of the run.
    pub inputs: Value,
    /// By step, `call` or `call[0]`.
    pub mocks: BTreeMap<String, Mock>,
    /// In the order of the file.
    pub sends: Vec<Send>,
    /// What must come of it.
    pub expect: Expect,
}

/// A step as a test names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// `call` or `call[0]`.
    pub name: String,
    /// Where.
    pub pos: Pos,
}

impl Named {
    /// Without the indexes of loops.
    pub fn id(&self) -> &str {
        self.name.split('[').next().unwrap_or(&self.name)
    }
}

const SUITE_KEYS: &[&str] = &["workflow", "start", "mocks", "cases"];
const CASE_KEYS: &[&str] = &["name", "start", "inputs", "mocks", "send", "expect"];

/// Reads a test file; all problems when there are some.
pub fn read(source: &str) -> Result<Suite, Vec<Diagnostic>> {
    let document = crate::validate::document(source)?;
    let mut reader = Reader::default();
    let suite = suite(&mut reader, &document);
    match suite {
        Some(suite) if reader.problems.is_empty() => Ok(suite),
        _ => Err(reader.problems),
    }
}

fn suite(reader: &mut Reader, document: &Node) -> Option<Suite> {
    let entries = reader.map(document, "", "a test file", SUITE_KEYS)?;
    let at = (document.pos, "", "a test file");
    let workflow = reader.required(entries, "workflow", at);
    let workflow_pos = workflow.map_or(document.pos, |node| node.pos);
    let workflow = workflow.and_then(|node| reader.text(node, "workflow"));
    let start = entry(entries, "start").map_or(Some(START), |node| time(reader, node, "start"));
    let shared = entry(entries, "mocks").map(|node| mocks::read(reader, node, "mocks")).unwrap_or_default();
    let listed = reader.required(entries, "cases", at)?;
    let items = reader.list(listed, "cases")?;
    if items.is_empty() || items.len() > TEST_CASES_MAX {
        let message = format!("`cases` holds {} cases; it takes 1 to {TEST_CASES_MAX}", items.len());
        reader.error(&code::RANGE, listed.pos, "cases", message, None);
    }
    let mut cases: Vec<Case> = Vec::new();
    for (index, item) in items.iter().take(TEST_CASES_MAX).enumerate() {
        let path = format!("cases[{index}]");
        let Some(case) = case(reader, item, &path, start.unwrap_or(START), &shared) else { continue };
        if cases.iter().any(|other| other.name == case.name) {
            let message = format!("two cases are called `{}`", case.name);
            reader.error(&code::DUPLICATE_KEY, case.pos, &path, message, None);
        }
        cases.push(case);
    }
    Some(Suite { workflow: workflow?, workflow_pos, cases })
}

fn case(
    reader: &mut Reader,
    node: &Node,
    path: &str,
    start: Timestamp,
    shared: &BTreeMap<String, Mock>,
) -> Option<Case> {
    let entries = reader.map(node, path, "a case", CASE_KEYS)?;
    let below = |key: &str| format!("{path}.{key}");
    let name = reader.required(entries, "name", (node.pos, path, "a case"));
    let name = name.and_then(|node| reader.text(node, &below("name")));
    let start = match entry(entries, "start") {
        Some(node) => time(reader, node, &below("start")).unwrap_or(start),
        None => start,
    };
    let inputs = match entry(entries, "inputs") {
        Some(node) => {
            reader.open_map(node, &below("inputs"));
            node.to_json()
        }
        None => Value::Object(Map::new()),
    };
    let mut mocks = shared.clone();
    if let Some(node) = entry(entries, "mocks") {
        mocks.extend(mocks::read(reader, node, &below("mocks")));
    }
    let sends =
        entry(entries, "send").map(|node| send::read(reader, node, &below("send"))).unwrap_or_default();
    let expect = match entry(entries, "expect") {
        Some(node) => expect::read(reader, node, &below("expect")),
        None => Expect::default(),
    };
    Some(Case { name: name?, pos: node.pos, start, inputs, mocks, sends, expect })
}

fn time(reader: &mut Reader, node: &Node, path: &str) -> Option<Timestamp> {
    let read = node.as_str().and_then(Timestamp::parse);
    if read.is_none() {
        let hint = "write a time such as `2026-01-31T18:00:00Z`".to_owned();
        reader.error(&code::DURATION, node.pos, path, "this is not a time", Some(hint));
    }
    read
}

impl Suite {
    /// What does not fit the workflow: steps that it does not have, mocks of steps that run as they are.
    pub fn check(&self, program: &Program) -> Vec<Diagnostic> {
        let mut reader = Reader::default();
        for (index, case) in self.cases.iter().enumerate() {
            let path = format!("cases[{index}]");
            for (name, mock) in &case.mocks {
                let named = Named { name: name.clone(), pos: mock.pos };
                check_mock(&mut reader, program, &named, &format!("{path}.mocks"));
            }
            let named = case.expect.steps().chain(case.sends.iter().filter_map(|send| send.step.as_ref()));
            for named in named {
                known(&mut reader, program, named, &path);
            }
        }
        // A mock for all cases is looked at with each of them.
        reader.problems.sort_by(|a, b| (a.pos, &a.message).cmp(&(b.pos, &b.message)));
        reader.problems.dedup_by(|a, b| a.pos == b.pos && a.message == b.message);
        reader.problems
    }
}

fn known(reader: &mut Reader, program: &Program, named: &Named, path: &str) -> bool {
    if program.by_id.contains_key(named.id()) {
        return true;
    }
    let hint = similar(named.id(), program.by_id.keys().map(String::as_str))
        .map(|meant| format!("did you mean `{meant}`?"));
    let message = format!("the workflow `{}` has no step `{}`", program.name, named.id());
    reader.error(&code::UNKNOWN_STEP, named.pos, path, message, hint);
    false
}

fn check_mock(reader: &mut Reader, program: &Program, named: &Named, path: &str) {
    if !known(reader, program, named, path) {
        return;
    }
    let Some(id) = program.by_id.get(named.id()) else { return };
    let node = program.node(*id);
    if !matches!(node.op, Op::Effect(_) | Op::Child { .. }) {
        let message = format!("step `{}` is a `{}`, which runs as it is", named.id(), node.kind);
        let hint = match &node.op {
            Op::Wait(_) => "let it end with `send`; time passes by itself",
            Op::Queue(_) => {
                "it is done once the message is queued; what it sends can be expected with `calls`"
            }
            Op::Emit { .. } | Op::Notify(_) => "what it emits can be expected with `events`",
            _ => "mock the steps that call out, such as `api_call`",
        };
        reader.error(&code::MISPLACED_KEY, named.pos, path, message, Some(hint.to_owned()));
    }
}
