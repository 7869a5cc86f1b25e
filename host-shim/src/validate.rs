//! `host-shim validate`: is this library a module that keeps the contract?
//!
//! It knows the ABI and nothing of any module. Exercises run in processes of their own, made from this very program, so that a
//! crash, an abort or a hang is a result. Inside waits a strict host: it lends every argument in pages that are taken
//! away after the call, checks what services are given, and books every completion.
//!
//! ```text
//! command ─► for each exercise: child process ─► load, exercise, write findings down
//!    └─ rows: a finding belongs to its check, whichever exercise met it ◄─ report, latest call, exit status
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `catalogue` `exercise` | the checks, and what is done to make them |
//! | `child` `record` `crash` `table` | processes, what they write down, how they end, what is printed |
//! | `bench` `offered` `arguments` `pages` | calls, those of extensions too, and the memory they lend |
//! | `strict` `ledger` `surroundings` | the host's services, completions, the process |
//! | `routes` `random` | what may be asked of this module, numbers by chance |

mod arguments;
mod bench;
mod catalogue;
mod child;
mod crash;
mod exercise;
mod ledger;
mod offered;
mod pages;
mod random;
mod record;
mod routes;
mod strict;
mod surroundings;
mod table;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use serde_json::{Map, Value};

use crate::args::ValidateArgs;
use crate::config;
use crate::error::{Error, Result, code};
use crate::load;
use catalogue::{CHECKS, Check, EXERCISES, Run};
use child::{Order, Outcome};
use record::{Kind, Line};
use table::{Row, Status, Table};

/// The exercise that tells whether there is a module at all.
const FIRST: &str = "entry";

/// Runs the command; the exit code says how it went.
pub fn command(args: &ValidateArgs) -> ExitCode {
    let result = match &args.child {
        Some(name) => child_main(args, name).map(|()| ExitCode::SUCCESS),
        None if args.list => list().map(|()| ExitCode::SUCCESS),
        None => validate(args),
    };
    result.unwrap_or_else(|error| {
        // Nothing else can be done when stderr is gone too.
        let _ = writeln!(std::io::stderr(), "host-shim validate: {error}");
        ExitCode::from(2)
    })
}

fn list() -> Result<()> {
    let width = CHECKS.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let lines: String =
        CHECKS.iter().map(|check| format!("{:width$}  {}\n", check.name, check.about)).collect();
    printed(std::io::stdout().write_all(lines.as_bytes()))
}

/// A reader that has seen enough is no failure.
fn printed(result: std::io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| Error::new(code::HOST_SETUP, format!("standard output: {error}"))),
    }
}

fn validate(args: &ValidateArgs) -> Result<ExitCode> {
    let begun = Instant::now();
    let asked = asked(&args.only)?;
    // What is wrong with the arguments is told once, not by every child.
    configuration(args, Path::new("."))?;
    let path = args.module.clone().unwrap_or_default();
    load::real_file(&path)?;
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let seed = args.seed.unwrap_or_else(|| crate::host::unix_ns() ^ u64::from(std::process::id()));
    let fuzzers = EXERCISES.iter().filter(|(name, run)| matches!(run, Run::Fuzz(_)) && wanted(&asked, name));
    let folder = tempfile::Builder::new()
        .prefix("host-shim-validate-")
        .tempdir()
        .map_err(|error| Error::new(code::HOST_SETUP, format!("a folder for the exercises: {error}")))?;
    let order = Order {
        module: absolute(&path),
        config_args: config_args(args),
        seed,
        fuzz: args.fuzz / u32::try_from(fuzzers.count().max(1)).unwrap_or(1),
        folder: folder.path().to_owned(),
    };
    let outcomes =
        if args.in_process { in_process(args, &order, &asked)? } else { in_children(args, &order, &asked)? };
    let table = Table {
        is_module: outcomes.get(FIRST).is_none_or(|outcome| !broken_entry(outcome)),
        rows: rows(&asked, &outcomes, seed),
        module: path.display().to_string(),
        seed,
        took: begun.elapsed(),
    };
    printed(table.print(args.json))?;
    Ok(if table.count(Status::Fail) > 0 { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// The checks that are asked for: all, or those of `--only`.
fn asked(only: &[String]) -> Result<Vec<&'static Check>> {
    for name in only {
        if !CHECKS.iter().any(|check| check.name == name) {
            let message = format!("--only `{name}`: no such check; `host-shim validate --list` names them");
            return Err(Error::new(code::CONFIG_ARGUMENT, message));
        }
    }
    Ok(CHECKS.iter().filter(|check| only.is_empty() || only.iter().any(|name| name == check.name)).collect())
}

fn wanted(asked: &[&Check], exercise: &str) -> bool {
    asked.iter().any(|check| check.exercise == exercise)
}

fn config_args(args: &ValidateArgs) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(file) = &args.config {
        // The children have folders of their own, so the path is made whole.
        let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        out.extend(["--config".to_owned(), file.display().to_string()]);
    }
    out.extend(args.set.iter().flat_map(|set| ["--set".to_owned(), set.clone()]));
    out
}

fn configuration(args: &ValidateArgs, folder: &Path) -> Result<Value> {
    config::document(args.config.as_deref(), Some(&folder.join("data")), &args.set)
}

/// The given configuration over the manifest's `trial_values`, under which instances do not get in each other's way.
fn tried(mut config: Value, manifest: &Value) -> Value {
    let mut values = match &manifest["trial_values"] {
        Value::Object(values) => Value::Object(values.clone()),
        _ => return config,
    };
    if let Some(given) = config.get_mut("values") {
        overlay(&mut values, given.take());
    }
    config["values"] = values;
    config
}

/// Puts one document over another, member by member.
fn overlay(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (name, value) in over {
                overlay(under.entry(name).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

type Outcomes = BTreeMap<&'static str, Outcome>;

/// `entry` comes first and alone: without a module there is nothing else to do.
fn in_children(args: &ValidateArgs, order: &Order, asked: &[&Check]) -> Result<Outcomes> {
    let (first, rest) = EXERCISES.split_first().unwrap_or((&EXERCISES[0], &[]));
    let mut outcomes = Outcomes::from([(first.0, child::run(order, first.0, first.1)?)]);
    if broken_entry(&outcomes[first.0]) {
        return Ok(outcomes);
    }
    // The order of taking is the order of the list, so that the long ones at its end overlap.
    let queue =
        Mutex::new(rest.iter().filter(|(name, _)| wanted(asked, name)).collect::<Vec<_>>().into_iter());
    let done = Mutex::new(Vec::new());
    let work = || {
        loop {
            let next = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
            let Some((name, run)) = next else { return };
            let outcome = child::run(order, name, *run);
            done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((*name, outcome));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            scope.spawn(work);
        }
    });
    for (name, outcome) in done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        outcomes.insert(name, outcome?);
    }
    Ok(outcomes)
}

/// All in this process, for a debugger: a crash ends it where it happens.
fn in_process(args: &ValidateArgs, order: &Order, asked: &[&Check]) -> Result<Outcomes> {
    let mut outcomes = Outcomes::new();
    for (name, run) in EXERCISES.iter().filter(|(name, _)| *name == FIRST || wanted(asked, name)) {
        let folder = order.folder.join(name);
        std::fs::create_dir_all(&folder)
            .map_err(|error| Error::new(code::HOST_SETUP, format!("the folder of an exercise: {error}")))?;
        let bench = ValidateArgs { seed: Some(order.seed), fuzz: order.fuzz, ..args.clone() };
        exercise(&bench, &order.module, *run, &folder)?;
        let status = std::os::unix::process::ExitStatusExt::from_raw(0);
        outcomes.insert(name, child::read(&folder, Some(status)));
        if broken_entry(&outcomes[FIRST]) {
            break;
        }
    }
    Ok(outcomes)
}

fn broken_entry(outcome: &Outcome) -> bool {
    let has_failed = |line: &Line| matches!(line, Line::Finding(Kind::Fail, ..));
    outcome.broken.is_some() || outcome.lines.iter().any(has_failed)
}

/// The process of one exercise.
fn child_main(args: &ValidateArgs, name: &str) -> Result<()> {
    let setup = |what: &str, error: std::io::Error| Error::new(code::HOST_SETUP, format!("{what}: {error}"));
    let (_, run) = EXERCISES
        .iter()
        .find(|(other, _)| *other == name)
        .ok_or_else(|| Error::new(code::CONFIG_ARGUMENT, format!("no exercise `{name}`")))?;
    child::settle_in().map_err(|error| setup("limits of the process", error))?;
    crash::install().map_err(|error| setup("the handler of faults", error))?;
    crash::watch().map_err(|error| setup("the watch over calls", error))?;
    let folder = std::env::current_dir().map_err(|error| setup("the folder of the exercise", error))?;
    exercise(args, args.module.as_deref().unwrap_or(Path::new("")), *run, &folder)?;
    // Destructors of static objects of a module that still has threads are its own affair, not a finding here.
    crate::end_at_once(0)
}

/// Loads the module and runs one exercise in this process.
fn exercise(args: &ValidateArgs, module: &Path, run: Run, folder: &Path) -> Result<()> {
    let setup = |what: &str, error: std::io::Error| Error::new(code::HOST_SETUP, format!("{what}: {error}"));
    record::open(folder).map_err(|error| setup("the report of an exercise", error))?;
    pages::reserve().map_err(|error| setup("address space for arguments", error))?;
    match run {
        Run::Path(exercise) => exercise(module),
        Run::Bench(exercise) | Run::Fuzz(exercise) => {
            let given = configuration(args, folder)?;
            std::fs::create_dir_all(folder.join("data")).map_err(|error| setup("the data folder", error))?;
            let before_load = surroundings::Surroundings::now();
            let table = *load::load(module)?.functions();
            let mut bench = bench::Bench {
                table,
                manifest: Value::Null,
                config: Value::Null,
                seed: args.seed.unwrap_or_default(),
                fuzz: args.fuzz,
                before_load,
            };
            bench.manifest = serde_json::from_slice(&bench.describe().1).unwrap_or(Value::Null);
            bench.config = tried(given, &bench.manifest);
            strict::set_up(bench.config.clone(), declared(&bench.manifest));
            exercise(&bench);
        }
    }
    record::end();
    Ok(())
}

/// The topics that the manifest says are published; none when it says nothing.
fn declared(manifest: &Value) -> Option<Vec<String>> {
    let empty = Map::new();
    let topics = manifest.as_object().unwrap_or(&empty).get("event_topics")?.get("publish")?.as_array()?;
    Some(topics.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Findings to rows. A finding belongs to its check, whichever exercise met it; of a check that was not asked for it is
/// shown with the exercise's first one that was.
fn rows(asked: &[&'static Check], outcomes: &Outcomes, seed: u64) -> Vec<Row> {
    let mut rows: Vec<Row> =
        asked.iter().map(|check| Row { check, status: Status::Pass, reasons: Vec::new() }).collect();
    for (exercise, outcome) in outcomes {
        for line in &outcome.lines {
            if let Line::Finding(kind, check, text) = line {
                add(&mut rows, exercise, check, *kind, text.clone());
            }
        }
        let Some(broken) = &outcome.broken else { continue };
        let owner = owner(exercise, &outcome.lines).to_owned();
        add(&mut rows, exercise, &owner, Kind::Fail, format!("{broken}; seed {seed}"));
        for row in rows.iter_mut().filter(|row| row.check.exercise == *exercise && row.status == Status::Pass)
        {
            row.status = Status::Skip;
            row.reasons.push(format!("the exercise `{exercise}` did not come to its end: see `{owner}`"));
        }
    }
    for row in rows.iter_mut().filter(|row| !outcomes.contains_key(row.check.exercise)) {
        if row.status == Status::Pass {
            row.status = Status::Skip;
            row.reasons.push("the library is no module that can be called".to_owned());
        }
    }
    rows
}

/// The check that a broken exercise belongs to: the one that its last words name, else the one whose turn it was.
fn owner<'a>(exercise: &str, lines: &'a [Line]) -> &'a str {
    if let Some(Line::Finding(Kind::Fail, check, _)) = lines.last() {
        return check;
    }
    let turn = lines.iter().rev().find_map(|line| match line {
        Line::At(check) => Some(check.as_str()),
        _ => None,
    });
    let lead = || CHECKS.iter().find(|check| check.exercise == exercise).map_or("entry", |check| check.name);
    turn.unwrap_or_else(lead)
}

fn add(rows: &mut [Row], exercise: &str, check: &str, kind: Kind, text: String) {
    let own = rows.iter().position(|row| row.check.name == check);
    let (at, text) = match own {
        Some(at) => (at, text),
        None => {
            let Some(at) = rows.iter().position(|row| row.check.exercise == exercise) else { return };
            // What only another check skips or warns of is not this one's affair.
            if kind != Kind::Fail {
                return;
            }
            (at, format!("{check}: {text}"))
        }
    };
    let row = &mut rows[at];
    let status = match kind {
        Kind::Skip => Status::Skip,
        Kind::Warn => Status::Warn,
        Kind::Fail => Status::Fail,
    };
    row.status = row.status.max(status);
    if row.reasons.len() < REASONS_MAX && !row.reasons.contains(&text) {
        row.reasons.push(text);
    }
}

/// Reasons shown of a check: the same defect met by every exercise says the same many times.
const REASONS_MAX: usize = 6;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_person_sets_stands_over_the_trial_values_of_the_manifest() {
        let manifest = json!({"trial_values": {"api": {"port": 0, "host": "x"}}});
        for (given, expect) in [
            (json!({"data_dir": "d"}), json!({"data_dir": "d", "values": {"api": {"port": 0, "host": "x"}}})),
            (
                json!({"values": {"api": {"port": null}, "n": 1}}),
                json!({"values": {"api": {"port": null, "host": "x"}, "n": 1}}),
            ),
        ] {
            assert_eq!(tried(given, &manifest), expect);
        }
        let given = json!({"values": {"n": 1}});
        assert_eq!(tried(given.clone(), &json!({})), given);
    }
}
