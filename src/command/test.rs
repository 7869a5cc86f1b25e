//! `chainbot test`: runs the cases of test files, each on a virtual clock, and shows which passed and what never ran.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chainbot_core::authoring::case::{CaseReport, Coverage, Problem, coverage, run as run_case};
use chainbot_core::authoring::{Suite, read};
use chainbot_core::engine::{Defaults, Program, compile};
use chainbot_core::error::Diagnostic;
use serde_json::{Value, json};

use crate::args::Test;
use crate::error::{Error, Finding, Result, code};
use crate::output::{self, Stream, Tone, counted, printable};
use crate::{inputs, snippet};

/// Exit code when a case failed.
const FAILED: u8 = 1;
/// Exit code when a file is broken.
const BROKEN: u8 = 2;

/// What came of one test file.
struct Tested {
    file: String,
    source: String,
    workflow: String,
    cases: Vec<CaseReport>,
    coverage: Vec<Coverage>,
}

/// A file that cannot be tested, with the source that its problems are about.
struct Broken {
    file: String,
    source: String,
    problems: Vec<Diagnostic>,
}

/// Runs the tests.
pub fn run(args: &Test) -> Result<u8> {
    let (mut tested, mut broken) = (Vec::new(), Vec::new());
    for path in &args.files {
        match test(path, args.only.as_deref())? {
            Ok(done) => tested.push(done),
            Err(file) => broken.push(file),
        }
    }
    if let Some(path) = &args.junit {
        let text = junit(&tested, &broken);
        std::fs::write(path, text).map_err(|error| {
            Error::new(&code::OUTPUT, format!("{} cannot be written: {error}", path.display()))
        })?;
    }
    if args.json.json {
        print_json(&tested, &broken)?
    } else {
        print(&tested, &broken)?
    }
    let cases: usize = tested.iter().map(|done| done.cases.len()).sum();
    if cases == 0 && broken.is_empty() {
        let only = args.only.as_deref().unwrap_or_default();
        return Err(Error::new(&code::USAGE, format!("no case has `{only}` in its name")));
    }
    Ok(match (broken.is_empty(), tested.iter().all(passed)) {
        (false, _) => BROKEN,
        (true, false) => FAILED,
        (true, true) => 0,
    })
}

fn passed(tested: &Tested) -> bool {
    tested.cases.iter().all(|case| case.passed)
}

fn test(path: &Path, only: Option<&str>) -> Result<std::result::Result<Tested, Broken>> {
    let source = inputs::source(path)?;
    let file = inputs::shown(path);
    let suite: Suite = match read(&source) {
        Ok(suite) => suite,
        Err(problems) => return Ok(Err(Broken { file, source, problems })),
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let workflow = folder.join(&suite.workflow);
    let definition = inputs::source(&workflow).map_err(|error| {
        let at = suite.workflow_pos;
        let message = format!("{} (named at {file}:{}:{})", error.message(), at.line, at.column);
        Error::new(&code::SOURCE, message).help("`workflow` is a path from the folder of the test file")
    })?;
    let shown = workflow.display().to_string();
    let checked = chainbot_core::validate::check(&definition);
    let Some(found) = checked.definition else {
        return Ok(Err(Broken { file: shown, source: definition, problems: checked.diagnostics }));
    };
    let program: Arc<Program> = Arc::new(compile(&found, &definition)?);
    let problems = suite.check(&program);
    if !problems.is_empty() {
        return Ok(Err(Broken { file, source, problems }));
    }
    let defaults = Defaults::default();
    let chosen = suite.cases.iter().filter(|case| only.is_none_or(|part| case.name.contains(part)));
    let cases: Vec<CaseReport> = chosen.map(|case| run_case(&program, case, &defaults)).collect();
    let coverage = coverage(&program, &cases);
    Ok(Ok(Tested { file, source, workflow: shown, cases, coverage }))
}

fn print_json(tested: &[Tested], broken: &[Broken]) -> Result<()> {
    let tested = tested.iter().map(|done| {
        json!({
            "file": done.file, "workflow": done.workflow, "passed": passed(done), "cases": done.cases,
            "coverage": done.coverage,
        })
    });
    let broken = broken.iter().map(|file| {
        let findings: Vec<Finding> = file.problems.iter().map(Finding::from).collect();
        json!({ "file": file.file, "passed": false, "code": "CB-0380", "errors": findings })
    });
    output::json(&Value::Array(tested.chain(broken).collect()))
}

fn print(tested: &[Tested], broken: &[Broken]) -> Result<()> {
    for file in broken {
        for problem in &file.problems {
            let finding = Finding::from(problem);
            let coloured = Stream::Stderr.is_coloured();
            output::note(&(snippet::render(&finding, &file.file, &file.source, coloured) + "\n"));
        }
    }
    for done in tested {
        output::line(&Stream::Stdout.paint(Tone::Strong, &format!("{} ({})", done.file, done.workflow)))?;
        for case in &done.cases {
            print_case(done, case)?;
        }
        print_coverage(&done.coverage)?;
        output::line("")?;
    }
    let cases = || tested.iter().flat_map(|done| &done.cases);
    let failed = cases().filter(|case| !case.passed).count();
    let verdict = if failed > 0 || !broken.is_empty() {
        Stream::Stdout.paint(Tone::Bad, "failed")
    } else {
        Stream::Stdout.paint(Tone::Good, "passed")
    };
    let mut text = format!("{verdict}: {}, {failed} failed", counted(cases().count(), "case"));
    if !broken.is_empty() {
        text.push_str(&format!(", {}", counted(broken.len(), "broken file")));
    }
    output::line(&text)
}

fn print_case(done: &Tested, case: &CaseReport) -> Result<()> {
    let mark = match case.passed {
        true => Stream::Stdout.paint(Tone::Good, "✓"),
        false => Stream::Stdout.paint(Tone::Bad, "✗"),
    };
    let steps = counted(case.steps.len(), "step");
    let calls = counted(case.calls.len(), "call");
    let took = output::duration(Duration::from_millis(case.duration_ms));
    let name = printable(&case.name);
    output::line(&format!("  {mark} {name}  {} in {took}, {steps}, {calls}", case.status.as_str()))?;
    for problem in &case.problems {
        output::line(&format!("      {}", told(done, problem)))?;
        if let Some(hint) = &problem.hint {
            output::line(&format!("        help: {}", printable(hint)))?;
        }
    }
    Ok(())
}

/// The problem with its place and the line it is about.
fn told(done: &Tested, problem: &Problem) -> String {
    let message = printable(&problem.message);
    if problem.line == 0 {
        return message;
    }
    let line = usize::try_from(problem.line).unwrap_or(usize::MAX);
    let text = done.source.lines().nth(line.saturating_sub(1)).unwrap_or_default().trim();
    format!("{}:{}:{}: {message}\n        | {}", done.file, problem.line, problem.column, printable(text))
}

fn print_coverage(coverage: &[Coverage]) -> Result<()> {
    let ran = coverage.iter().filter(|step| !step.never_ran()).count();
    output::line(&format!("  {ran} of {} ran", counted(coverage.len(), "step")))?;
    let never: Vec<&Coverage> = coverage.iter().filter(|step| step.never_ran()).collect();
    for step in never {
        let skipped = if step.skipped > 0 { ", only skipped" } else { "" };
        let text = format!("    never ran: {} ({}, line {}{skipped})", step.step, step.kind, step.line);
        output::line(&Stream::Stdout.paint(Tone::Warn, &text))?;
    }
    Ok(())
}

/// The report that build servers read.
fn junit(tested: &[Tested], broken: &[Broken]) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for done in tested {
        let failed = done.cases.iter().filter(|case| !case.passed).count();
        let (file, count) = (escaped(&done.file), done.cases.len());
        text.push_str(&format!("  <testsuite name=\"{file}\" tests=\"{count}\" failures=\"{failed}\">\n"));
        for case in &done.cases {
            let name = escaped(&case.name);
            let time = Duration::from_millis(case.duration_ms).as_secs_f64();
            text.push_str(&format!("    <testcase classname=\"{file}\" name=\"{name}\" time=\"{time}\""));
            if case.passed {
                text.push_str("/>\n");
                continue;
            }
            text.push_str(">\n");
            for problem in &case.problems {
                let message = escaped(&problem.message);
                let line = problem.line;
                text.push_str(&format!("      <failure message=\"{message}\">line {line}</failure>\n"));
            }
            text.push_str("    </testcase>\n");
        }
        text.push_str("  </testsuite>\n");
    }
    for file in broken {
        let (name, count) = (escaped(&file.file), file.problems.len());
        text.push_str(&format!("  <testsuite name=\"{name}\" tests=\"0\" errors=\"{count}\">\n"));
        for problem in &file.problems {
            let (message, pos) = (escaped(&problem.message), &problem.pos);
            text.push_str(&format!(
                "    <testcase classname=\"{name}\" name=\"{}:{}\"><error message=\"{message}\"/></testcase>\n",
                pos.line, pos.column
            ));
        }
        text.push_str("  </testsuite>\n");
    }
    text + "</testsuites>\n"
}

/// Text for an attribute; what XML cannot hold becomes a question mark.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            c if c.is_control() => out.push('?'),
            c => out.push(c),
        }
    }
    out
}
