//! One case: the run is played, and what came is compared with what was expected.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use super::compare::{Extent, difference, shown};
use super::drive::{Drive, step_name};
use super::mock::Mocks;
use super::player::{Call, Outside, Played, Trouble, play, spoken};
use super::suite::{Case, Happening, Named, Reply};
use crate::engine::{Defaults, Program, inputs, view};
use crate::error::{Pos, Result};
use crate::model::document::NodeValue;
use crate::model::{RecordBody, RunStatus, StepError, StepStatus, StepView};

/// What came of a case.
#[derive(Debug, Serialize)]
pub struct CaseReport {
    /// Its name.
    pub name: String,
    /// Where it stands in the file.
    pub line: u32,
    /// Everything was as expected.
    pub passed: bool,
    /// What was not.
    pub problems: Vec<Problem>,
    /// How the run stood at the end.
    pub status: RunStatus,
    /// On the virtual clock.
    pub duration_ms: u64,
    /// Its result.
    pub output: Option<Value>,
    /// Why it failed.
    pub error: Option<StepError>,
    /// Every step that began, in order.
    pub steps: Vec<StepView>,
    /// What was called, in order.
    pub calls: Vec<CallMade>,
    /// What was emitted, in order.
    pub events: Vec<Value>,
    /// Variables at the end.
    pub variables: BTreeMap<String, Value>,
}

/// Something that was not as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// In the test file, from 1; 0 when it is about no single place.
    pub line: u32,
    /// From 1.
    pub column: u32,
    /// What.
    pub message: String,
    /// What to do, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A call that was answered by a mock.
#[derive(Debug, Serialize)]
pub struct CallMade {
    /// `fetch`, or `fetch[0]` in a loop.
    pub step: String,
    /// Which try.
    pub attempt: u32,
    /// After the start, on the virtual clock.
    pub at_ms: u64,
    /// What was sent.
    pub input: Value,
}

struct ByMocks<'a>(Mocks<'a>);

impl Outside for ByMocks<'_> {
    fn reply(&mut self, call: &Call) -> std::result::Result<Reply, String> {
        self.0.take(&call.step, &call.path)
    }

    fn idle(&mut self, _: &Drive) -> Option<Happening> {
        None
    }
}

/// Runs a case. An error is not the test's: the workflow's inputs, or a bug.
pub fn run(program: &Arc<Program>, case: &Case, defaults: &Defaults) -> CaseReport {
    match played(program, case, defaults) {
        Ok(played) => report(case, &played),
        Err(error) => {
            let message = format!("the run could not be played: {error}");
            let problem = Problem { line: case.pos.line, column: case.pos.column, message, hint: None };
            CaseReport {
                name: case.name.clone(),
                line: case.pos.line,
                passed: false,
                problems: vec![problem],
                status: RunStatus::Pending,
                duration_ms: 0,
                output: None,
                error: None,
                steps: Vec::new(),
                calls: Vec::new(),
                events: Vec::new(),
                variables: BTreeMap::new(),
            }
        }
    }
}

fn played(program: &Arc<Program>, case: &Case, defaults: &Defaults) -> Result<Played> {
    let inputs = inputs::prepare(program, case.inputs.clone())?;
    let drive = Drive::begin(program.clone(), inputs, case.start, defaults.clone())?;
    play(drive, &mut ByMocks(Mocks::new(&case.mocks)), &case.sends)
}

fn report(case: &Case, played: &Played) -> CaseReport {
    let state = &played.drive.state;
    let calls = played.calls.iter().map(|call| CallMade {
        step: step_name(&call.step, &call.path),
        attempt: call.attempt,
        at_ms: ms(call.at),
        input: (*call.input).clone(),
    });
    let events = played.drive.journal.iter().filter_map(|record| match &record.body {
        RecordBody::EventEmitted { topic, data, .. } => Some(json!({ "topic": topic, "data": **data })),
        _ => None,
    });
    let mut report = CaseReport {
        name: case.name.clone(),
        line: case.pos.line,
        passed: false,
        problems: played.troubles.iter().map(problem_of).collect(),
        status: played.status,
        duration_ms: ms(played.took),
        output: state.output.as_ref().map(|output| (**output.json()).clone()),
        error: state.error.clone(),
        steps: view::steps(&played.drive.program, &played.drive.journal),
        calls: calls.collect(),
        events: events.collect(),
        variables: state.vars.iter().map(|(name, data)| (name.clone(), (**data.json()).clone())).collect(),
    };
    // A play that was cut short differs everywhere, which would hide why it was.
    if report.problems.is_empty() {
        let mut judge = Judge { report: &report, case, problems: Vec::new() };
        judge.judge();
        report.problems = judge.problems;
    }
    report.passed = report.problems.is_empty();
    report
}

fn problem_of(trouble: &Trouble) -> Problem {
    let Trouble { pos, message, hint } = trouble.clone();
    Problem { line: pos.line, column: pos.column, message, hint }
}

fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Compares.
struct Judge<'a> {
    report: &'a CaseReport,
    case: &'a Case,
    problems: Vec<Problem>,
}

impl Judge<'_> {
    fn fail(&mut self, pos: Pos, message: String) {
        self.problems.push(Problem { line: pos.line, column: pos.column, message, hint: None });
    }

    fn judge(&mut self) {
        let (report, expect) = (self.report, &self.case.expect);
        let (status, pos) = expect.status.unwrap_or((RunStatus::Completed, self.case.pos));
        if report.status != status {
            let why = match (&report.error, report.status) {
                (Some(error), _) => format!(": {} ({} {})", error.message, error.code, error.class),
                (None, RunStatus::Waiting) => self.waits(),
                _ => String::new(),
            };
            let message = format!("the run is {}{why}, expected {}", report.status.as_str(), status.as_str());
            self.fail(pos, message);
        }
        if let Some(output) = &expect.output {
            let actual = report.output.clone().unwrap_or_default();
            if let Some(found) = difference(&output.to_json(), &actual, Extent::Exact) {
                self.fail(output.pos, format!("output: {found}"));
            }
        }
        self.error();
        self.steps();
        self.calls();
        self.events();
        for (name, wanted) in expect.variables.iter().flatten() {
            let actual = report.variables.get(name);
            let found = match actual {
                None => Some("is not set".to_owned()),
                Some(actual) => difference(&wanted.to_json(), actual, Extent::Exact),
            };
            if let Some(found) = found {
                self.fail(wanted.pos, format!("variable `{name}` {found}"));
            }
        }
        if let Some((wanted, pos)) = expect.duration
            && ms(wanted) != report.duration_ms
        {
            let actual = spoken(std::time::Duration::from_millis(report.duration_ms));
            self.fail(pos, format!("the run took {actual}, expected {}", spoken(wanted)));
        }
    }

    fn waits(&self) -> String {
        let steps = self.report.steps.iter().filter_map(|step| {
            Some(format!("`{}` {}", step_name(&step.id, &step.path), step.waiting_for.as_ref()?))
        });
        format!(" ({})", steps.collect::<Vec<_>>().join("; "))
    }

    fn error(&mut self) {
        let Some(wanted) = &self.case.expect.error else { return };
        let Some(error) = &self.report.error else {
            return self.fail(wanted.pos, "there is no error".to_owned());
        };
        let pairs = [("class", &wanted.class, &error.class), ("code", &wanted.code, &error.code)];
        for (what, wanted_text, actual) in pairs {
            if let Some(text) = wanted_text.as_ref().filter(|text| *text != actual) {
                self.fail(wanted.pos, format!("the error's {what} is `{actual}`, expected `{text}`"));
            }
        }
        if let Some(part) = wanted.contains.as_ref().filter(|part| !error.message.contains(*part)) {
            let message = format!("the error's message is {:?}, expected to contain {part:?}", error.message);
            self.fail(wanted.pos, message);
        }
    }

    fn steps(&mut self) {
        let expect = &self.case.expect;
        let names = |steps: &mut dyn Iterator<Item = (String, StepStatus)>| -> String {
            let said = steps.map(|(name, status)| match status {
                StepStatus::Completed => name,
                status => format!("{name}: {}", status.as_str()),
            });
            said.collect::<Vec<_>>().join(", ")
        };
        if let Some((wanted, pos)) = &expect.path {
            let agrees = wanted.len() == self.report.steps.len()
                && wanted
                    .iter()
                    .zip(&self.report.steps)
                    .all(|(wanted, step)| is_named(&wanted.step, step) && wanted.status == step.status);
            if !agrees {
                let came = names(&mut self.report.steps.iter().map(|step| (full(step), step.status)));
                let want = names(&mut wanted.iter().map(|stood| (stood.step.name.clone(), stood.status)));
                self.fail(*pos, format!("the path was [{came}], expected [{want}]"));
            }
        }
        for (status, wanted, pos) in &expect.standing {
            let came: Vec<_> = self.report.steps.iter().filter(|step| step.status == *status).collect();
            let agrees = wanted.len() == came.len() && wanted.iter().zip(&came).all(|(w, s)| is_named(w, s));
            if !agrees {
                let came = came.iter().map(|step| full(step)).collect::<Vec<_>>().join(", ");
                let want = wanted.iter().map(|named| named.name.as_str()).collect::<Vec<_>>().join(", ");
                self.fail(*pos, format!("{} are [{came}], expected [{want}]", status.as_str()));
            }
        }
        for named in &expect.not_run {
            if let Some(step) = self.report.steps.iter().find(|step| is_named(named, step)) {
                let message =
                    format!("step `{}` is {}, expected not to run", full(step), step.status.as_str());
                self.fail(named.pos, message);
            }
        }
    }

    fn calls(&mut self) {
        for (named, wanted) in &self.case.expect.calls {
            let report = self.report;
            let is_named = |call: &&CallMade| {
                call.step == named.name || call.step.split('[').next() == Some(named.name.as_str())
            };
            let came: Vec<&CallMade> = report.calls.iter().filter(is_named).collect();
            let count = match &wanted.value {
                NodeValue::List(items) => items.len() as u64,
                NodeValue::Number(number) => number.as_u64().unwrap_or_default(),
                _ => continue,
            };
            if came.len() as u64 != count {
                let message = format!("step `{}` called {} times, expected {count}", named.name, came.len());
                self.fail(wanted.pos, message);
                continue;
            }
            let NodeValue::List(items) = &wanted.value else { continue };
            for (index, (wanted, call)) in items.iter().zip(&came).enumerate() {
                if let Some(found) = difference(&wanted.to_json(), &call.input, Extent::AsFarAsGiven) {
                    self.fail(wanted.pos, format!("call {} of `{}`: {found}", index + 1, named.name));
                }
            }
        }
    }

    fn events(&mut self) {
        let Some((wanted, pos)) = &self.case.expect.events else { return };
        let came = &self.report.events;
        if wanted.len() != came.len() {
            let topics: Vec<String> = came.iter().map(|event| shown(&event["topic"])).collect();
            let message = format!(
                "{} events were emitted ({}), expected {}",
                came.len(),
                topics.join(", "),
                wanted.len()
            );
            return self.fail(*pos, message);
        }
        for (wanted, came) in wanted.iter().zip(came) {
            if came["topic"] != wanted.topic.as_str() {
                let topic = shown(&came["topic"]);
                self.fail(wanted.pos, format!("the event is {topic}, expected \"{}\"", wanted.topic));
            } else if let Some(data) = &wanted.data
                && let Some(found) = difference(data, &came["data"], Extent::AsFarAsGiven)
            {
                self.fail(wanted.pos, format!("event `{}`: {found}", wanted.topic));
            }
        }
    }
}

fn full(step: &StepView) -> String {
    step_name(&step.id, &step.path)
}

/// `call` means every iteration, `call[0]` the first.
fn is_named(named: &Named, step: &StepView) -> bool {
    named.name == step.id || named.name == full(step)
}

/// How often a step ran in the cases of a file.
#[derive(Debug, Serialize)]
pub struct Coverage {
    /// The step.
    pub step: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// In the definition.
    pub line: u32,
    /// How often it ended well, badly, and was skipped.
    pub completed: usize,
    /// Badly.
    pub failed: usize,
    /// Not meant to run.
    pub skipped: usize,
}

impl Coverage {
    /// Whether it never did anything.
    pub fn never_ran(&self) -> bool {
        self.completed == 0 && self.failed == 0
    }
}

/// Every step of the definition, in order of the text.
pub fn coverage(program: &Program, reports: &[CaseReport]) -> Vec<Coverage> {
    let count = |id: &str, status: StepStatus| {
        let steps = reports.iter().flat_map(|report| &report.steps);
        steps.filter(|step| step.id == id && step.status == status).count()
    };
    let nodes = program.nodes.iter().filter(|node| !node.id.is_empty());
    nodes
        .map(|node| Coverage {
            step: node.id.clone(),
            kind: node.kind.to_owned(),
            line: node.pos.line,
            completed: count(&node.id, StepStatus::Completed),
            failed: count(&node.id, StepStatus::Failed),
            skipped: count(&node.id, StepStatus::Skipped),
        })
        .collect()
}
