//! What must hold of people and triggers after any number of kills, by the ledger's own count and clock.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chainbot_core::time::Timestamp;
use serde_json::{Value, json};

use super::client::Client;
use super::crowd::Crowd;
use super::ledger::{Counted, Moments};
use super::load::Load;
use super::verdict::{Run, check_effects, check_starts};

/// Every broken promise, in words.
pub fn check(
    runs: &[Run],
    load: &Load,
    crowd: &Crowd,
    counted: &Counted,
    moments: &Moments,
    kills: &[i64],
) -> Vec<String> {
    let mut wrong = [load.violations.as_slice(), crowd.violations.as_slice()].concat();
    check_starts(runs, load, &mut wrong);
    check_effects(runs, load, counted, kills, &mut wrong);
    runs.iter().for_each(|run| check_end(run, &mut wrong));
    check_answers(runs, crowd, &mut wrong);
    check_families(runs, &mut wrong);
    check_triggers(runs, crowd, &mut wrong);
    check_ticks(runs, &mut wrong);
    check_waits(runs, moments, &mut wrong);
    check_gates(runs, load, moments, &mut wrong);
    check_undoing(runs, &mut wrong);
    wrong
}

fn of<'a>(runs: &'a [Run], workflow: &'a str) -> impl Iterator<Item = &'a Run> {
    runs.iter().filter(move |run| run.workflow == workflow)
}

fn records<'a>(run: &'a Run, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    run.records.iter().filter(move |record| record["type"] == kind)
}

fn check_end(run: &Run, wrong: &mut Vec<String>) {
    let is_ok = match (run.workflow.as_str(), run.status.as_str()) {
        ("dropped" | "lasting", status) => status == "cancelled",
        ("undo", status) => status == "failed",
        ("newest", "cancelled") => true,
        (_, status) => status == "completed",
    };
    if !is_ok {
        let last = run.records.last();
        wrong.push(format!(
            "run {} of {} is {} ({}): {last:?}",
            run.id, run.workflow, run.status, run.waiting_for
        ));
    }
}

/// An acknowledged answer was taken once and is the one that counts; an acknowledged signal was taken once.
fn check_answers(runs: &[Run], crowd: &Crowd, wrong: &mut Vec<String>) {
    for run in of(runs, "approve") {
        let taken: Vec<&Value> = records(run, "step.answered").collect();
        let [answer] = taken[..] else {
            wrong.push(format!("run {} has {} answers", run.id, taken.len()));
            continue;
        };
        if run.output != answer["action"] {
            wrong.push(format!("run {} went on with {}, answered {}", run.id, run.output, answer["action"]));
        }
        let told = crowd.answers.iter().find(|(question, _)| answer["question"] == *question);
        if told.is_some_and(|(_, action)| answer["action"] != *action) {
            wrong.push(format!(
                "run {} has taken {}, and {told:?} was acknowledged",
                run.id, answer["action"]
            ));
        }
    }
    let all: BTreeSet<&str> = of(runs, "approve")
        .flat_map(|run| records(run, "step.answered"))
        .filter_map(|record| record["question"].as_str())
        .collect();
    for (question, action) in crowd.answers.iter().filter(|(question, _)| !all.contains(question.as_str())) {
        wrong.push(format!("the answer {action} to {question} was acknowledged and is nowhere"));
    }
    for run in of(runs, "signals") {
        let keys: Vec<&Value> = records(run, "signal.received").map(|record| &record["key"]).collect();
        let once: BTreeSet<&str> = keys.iter().filter_map(|key| key.as_str()).collect();
        if keys.len() != 2 || once.len() != 2 || run.output != json!(keys) {
            wrong.push(format!("run {} has received {keys:?} and taken {}", run.id, run.output));
        }
    }
}

/// A parent has one child, whose end it was told.
fn check_families(runs: &[Run], wrong: &mut Vec<String>) {
    for (workflow, child) in [("parent", "child"), ("dropped", "lasting")] {
        for run in of(runs, workflow) {
            let children: Vec<&Run> =
                of(runs, child).filter(|child| child.parent.as_deref() == Some(run.id.as_str())).collect();
            // A parent that was cancelled at once has none.
            let is_ok = children.len() == 1 || (workflow == "dropped" && children.is_empty());
            if !is_ok || children.iter().any(|child| child.n != run.n) {
                wrong.push(format!("run {} of {workflow} has {} children", run.id, children.len()));
            }
            if workflow == "parent" && run.output.as_u64() != run.n.parse().ok() {
                wrong.push(format!("run {} was told {} of its child", run.id, run.output));
            }
        }
    }
}

/// Each occasion has its one run.
fn check_triggers(runs: &[Run], crowd: &Crowd, wrong: &mut Vec<String>) {
    let said: BTreeSet<&str> = of(runs, "says").map(|run| run.n.as_str()).collect();
    let sent: BTreeSet<String> = crowd.deliveries.iter().map(|delivery| delivery.n.to_string()).collect();
    let sent: BTreeSet<&str> = sent.iter().map(String::as_str).collect();
    for (workflow, occasions) in [("hears", &said), ("after", &said), ("hooked", &sent)] {
        let made: Vec<&str> = of(runs, workflow).map(|run| run.n.as_str()).collect();
        let once: BTreeSet<&str> = made.iter().copied().collect();
        if made.len() != once.len() || once != *occasions {
            wrong.push(format!("{workflow}: {} runs for the occasions {occasions:?}: {made:?}", made.len()));
        }
    }
    for delivery in &crowd.deliveries {
        let is_there = |run: &Run| Some(&run.id) == delivery.run.as_ref() && run.n == delivery.n.to_string();
        if !of(runs, "hooked").any(is_there) {
            wrong.push(format!("delivery {} was acknowledged as {:?}", delivery.n, delivery.run));
        }
    }
}

/// Every second from the first to the last has its run, none early.
fn check_ticks(runs: &[Run], wrong: &mut Vec<String>) {
    let mut dues: Vec<i64> = Vec::new();
    for run in of(runs, "tick") {
        let due = Timestamp::parse(&run.n).expect("a time").0;
        let made = run.records.first().and_then(|record| record["time"].as_str()).unwrap_or_default();
        if Timestamp::parse(made).expect("a time").0 < due {
            wrong.push(format!("the run of {} was made at {made}", run.n));
        }
        dues.push(due);
    }
    dues.sort_unstable();
    for pair in dues.windows(2).filter(|pair| pair[1] - pair[0] != 1_000) {
        wrong.push(format!("between two times of a schedule of seconds are {} ms", pair[1] - pair[0]));
    }
    if dues.is_empty() {
        wrong.push("no second had its run".to_owned());
    }
}

/// No wait is over early: between the last call before it and the first after it.
fn check_waits(runs: &[Run], moments: &Moments, wrong: &mut Vec<String>) {
    for run in of(runs, "timed") {
        let at = |step: &str| moments.get(&format!("/timed/{}/{step}", run.n)).cloned().unwrap_or_default();
        for (before, after, wait_ms) in [("begin", "middle", 50), ("middle", "end", 2_200)] {
            let (Some(before), Some(after)) = (at(before).last().copied(), at(after).first().copied()) else {
                wrong.push(format!("run {}: a call around a wait was not sent", run.id));
                continue;
            };
            // A millisecond is lost where each clock is cut to whole ones.
            if after - before < wait_ms - 1 {
                wrong.push(format!("run {}: a wait of {wait_ms} ms took {} ms", run.id, after - before));
            }
        }
    }
}

/// Never more at once than allowed: whoever enters finds the ones before it gone.
fn check_gates(runs: &[Run], load: &Load, moments: &Moments, wrong: &mut Vec<String>) {
    let kinds = super::crowd::STARTED.len() as u64;
    let lanes = |n: u64| n / kinds % 2;
    for (workflow, has_lanes) in [("line", true), ("single", false), ("newest", false)] {
        let mut by_lane: BTreeMap<u64, Vec<(i64, i64, &Run)>> = BTreeMap::new();
        for start in load.starts.iter().filter(|start| start.workflow == workflow) {
            let Some(run) = of(runs, workflow).find(|run| start.run.as_ref() == Some(&run.id)) else {
                continue;
            };
            let at = |step: &str| {
                moments.get(&format!("/{workflow}/{}/{step}", run.n)).cloned().unwrap_or_default()
            };
            let entered = at("enter").into_iter().chain(at("leave")).min();
            // What it did last, or its end where another took its place.
            let gone = at("enter").into_iter().chain(at("leave")).chain(run.finished_ms).max();
            if let (Some(entered), Some(gone)) = (entered, gone) {
                let lane = if has_lanes { lanes(start.n) } else { 0 };
                by_lane.entry(lane).or_default().push((entered, gone, run));
            }
        }
        for lane in by_lane.values_mut() {
            lane.sort_by_key(|(entered, ..)| *entered);
            for pair in lane.windows(2).filter(|pair| pair[1].0 < pair[0].1 - 1) {
                let (first, second) = (&pair[0], &pair[1]);
                wrong.push(format!(
                    "{workflow}: run {} entered at {} while {} was there until {}",
                    second.2.id, second.0, first.2.id, first.1
                ));
            }
        }
    }
}

/// Every completed step was undone once, the last one first, and `finally` came after.
fn check_undoing(runs: &[Run], wrong: &mut Vec<String>) {
    for run in of(runs, "undo") {
        let done: Vec<&str> =
            records(run, "step.completed").filter_map(|record| record["step"].as_str()).collect();
        if done != ["one", "two", "undo_two", "undo_one", "last"] {
            wrong.push(format!("run {} has done {done:?}", run.id));
        }
    }
}

/// Whether a run is of the crowd, and not of the old database in which the loop begins.
pub fn is_ours(workflow: &Value) -> bool {
    super::crowd::CROWD.iter().any(|(name, _)| workflow == name)
}

/// Whether all is over: everybody was answered, and schedules are switched off.
pub fn is_over(client: &Client) -> bool {
    let heads = client.list("/api/chainbot/runs", |run| run["id"].as_str().unwrap_or_default().to_owned());
    heads.expect("the list of runs").iter().filter(|head| is_ours(&head["workflow_name"])).all(|head| {
        matches!(head["status"].as_str().unwrap_or_default(), "completed" | "failed" | "cancelled")
    })
}

/// Runs that upkeep has moved to the archive meanwhile.
pub fn archived(data: &Path) -> i64 {
    let conn = rusqlite::Connection::open(data.join("chainbot.db")).expect("the database opens");
    conn.query_row("SELECT count(*) FROM archive", [], |row| row.get(0)).expect("a count")
}
