//! What must hold after any number of kills: the journals, the ledger and what was acknowledged, held against each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chainbot_core::time::Timestamp;
use serde_json::Value;

use super::client::Client;
use super::ledger::Counted;
use super::load::Load;

/// Steps whose effect may be sent once only, whatever happens.
const AT_MOST_ONCE: [&str; 2] = ["careful/once", "asking/once"];

/// A run as the API shows it.
pub struct Run {
    pub id: String,
    pub workflow: String,
    /// The number of its start, or what its trigger says instead.
    pub n: String,
    pub status: String,
    pub waiting_for: String,
    pub records: Vec<Value>,
    /// The run that made it, when one did.
    pub parent: Option<String>,
    pub finished_ms: Option<i64>,
    pub output: Value,
}

/// One effect in a journal: a step in one iteration.
#[derive(Default)]
struct Effect {
    keys: BTreeSet<String>,
    starts: u64,
    from_ms: i64,
    until_ms: Option<i64>,
    completions: u64,
    began_after_end: bool,
}

/// Reads everything about every run.
pub fn read(client: &Client) -> Vec<Run> {
    let id_of = |run: &Value| run["id"].as_str().expect("an id").to_owned();
    let heads = client.list("/api/chainbot/runs", id_of).expect("the list of runs");
    let whole = |head: &Value| {
        let id = id_of(head);
        let run = client.get(&format!("/api/chainbot/runs/{id}"));
        let path = format!("/api/chainbot/runs/{id}/journal");
        Run {
            records: client.list(&path, |record| record["seq"].to_string()).expect("a journal"),
            workflow: run["workflow_name"].as_str().expect("a name").to_owned(),
            n: text_of(&run["inputs"]["n"]),
            parent: run["trigger"]["run"].as_str().map(str::to_owned),
            finished_ms: run["finished_at"].as_str().map(|at| Timestamp::parse(at).expect("a time").0),
            output: run["output"].clone(),
            status: run["status"].as_str().expect("a status").to_owned(),
            waiting_for: run["waiting_for"].as_str().unwrap_or_default().to_owned(),
            id,
        }
    };
    heads.iter().map(whole).collect()
}

fn text_of(n: &Value) -> String {
    n.as_str().map_or_else(|| n.to_string(), str::to_owned)
}

/// Whether no run will change any more by itself: it is over, or waits as its workflow declares.
pub fn is_settled(client: &Client) -> bool {
    let heads = client.list("/api/chainbot/runs", |run| run["id"].as_str().unwrap_or_default().to_owned());
    heads.expect("the list of runs").iter().all(|head| {
        let text = |name: &str| head[name].as_str().unwrap_or_default();
        match text("status") {
            "waiting" => is_declared(text("workflow_name"), text("detail")),
            status => is_over(status),
        }
    })
}

fn is_over(status: &str) -> bool {
    matches!(status, "completed" | "failed" | "cancelled")
}

fn is_declared(workflow: &str, detail: &str) -> bool {
    match workflow {
        "signalled" => detail.contains("signal `go`"),
        "asking" => detail.contains("once: a person must say"),
        _ => false,
    }
}

/// Every broken promise, in words. `kills`: the milliseconds at which processes ended.
pub fn check(runs: &[Run], load: &Load, counted: &Counted, kills: &[i64]) -> Vec<String> {
    let mut wrong = load.violations.clone();
    check_starts(runs, load, &mut wrong);
    runs.iter().for_each(|run| check_end(run, &mut wrong));
    check_effects(runs, load, counted, kills, &mut wrong);
    wrong
}

/// The journals against the ledger.
pub fn check_effects(runs: &[Run], load: &Load, counted: &Counted, kills: &[i64], wrong: &mut Vec<String>) {
    let mut sent = BTreeSet::new();
    for run in runs {
        let effects = check_journal(run, load, wrong);
        for (step, effect) in &effects {
            let path = format!("/{}/{}/{step}", run.workflow, run.n);
            check_effect(run, &path, effect, counted.get(&path), kills, wrong);
            sent.insert(path);
        }
    }
    for path in counted.keys().filter(|path| !sent.contains(*path)) {
        wrong.push(format!("{path} was sent and no journal says that it began"));
    }
}

/// Every acknowledged start is one run, and every refused one none.
pub fn check_starts(runs: &[Run], load: &Load, wrong: &mut Vec<String>) {
    for start in &load.starts {
        let made: Vec<&Run> = runs
            .iter()
            .filter(|run| run.workflow == start.workflow && run.n == start.n.to_string())
            .collect();
        match (&start.run, made.as_slice()) {
            (Some(id), [run]) if run.id == *id => {}
            (None, []) if start.is_refused => {}
            (id, _) => {
                let ids: Vec<&str> = made.iter().map(|run| run.id.as_str()).collect();
                wrong.push(format!("start {}: acknowledged as {id:?}, and there are {ids:?}", start.n));
            }
        }
    }
}

/// Each run is where its workflow says that it may be.
fn check_end(run: &Run, wrong: &mut Vec<String>) {
    let unknown = |record: &Value| record["error"]["class"] == "uncertain" && record["step"] == "once";
    let ok = match run.status.as_str() {
        "completed" => true,
        "failed" => run.workflow == "careful" && run.records.iter().any(unknown),
        "waiting" => is_declared(&run.workflow, &run.waiting_for),
        _ => false,
    };
    if !ok {
        let last = run.records.last();
        wrong.push(format!(
            "run {} of {} is {} ({}): {last:?}",
            run.id, run.workflow, run.status, run.waiting_for
        ));
    }
}

/// Numbers without gaps, nothing after a completion; gives the effects.
fn check_journal(run: &Run, load: &Load, wrong: &mut Vec<String>) -> BTreeMap<String, Effect> {
    if !load.seen.get(&run.id).is_none_or(|seen| run.records.starts_with(seen)) {
        wrong.push(format!("run {}: records that were shown have changed or gone", run.id));
    }
    let (mut effects, mut over) = (BTreeMap::<String, Effect>::new(), BTreeSet::new());
    for (index, record) in run.records.iter().enumerate() {
        if record["seq"] != index {
            wrong.push(format!("run {}: record {index} has seq {}", run.id, record["seq"]));
        }
        let (Some(step), Some(kind)) = (record["step"].as_str(), record["type"].as_str()) else { continue };
        let path = record["path"].as_array().cloned().unwrap_or_default();
        let place = path.iter().fold(step.to_owned(), |place, index| format!("{place}.{index}"));
        let ends = matches!(kind, "step.completed" | "step.failed");
        let is_again = over.contains(&place);
        if is_again && kind.starts_with("step.") {
            wrong.push(format!("run {}: {kind} of {place} after its end", run.id));
        }
        let effect = effects.entry(place.clone()).or_default();
        if kind == "step.started" && record["input"]["workflow"].is_null() {
            let at = ms(record);
            effect.from_ms = if effect.starts == 0 { at } else { effect.from_ms };
            effect.starts += 1;
            effect.keys.insert(record["key"].as_str().unwrap_or_default().to_owned());
            effect.began_after_end |= is_again;
        }
        if ends {
            effect.until_ms = Some(ms(record));
            effect.completions += u64::from(kind == "step.completed");
            over.insert(place);
        }
    }
    effects.retain(|_, effect| effect.starts > 0);
    effects
}

/// The ledger against the journal, for one effect.
fn check_effect(
    run: &Run,
    path: &str,
    effect: &Effect,
    counted: Option<&Vec<String>>,
    kills: &[i64],
    wrong: &mut Vec<String>,
) {
    let keys: BTreeSet<String> = counted.into_iter().flatten().cloned().collect();
    let count = counted.map_or(0, |keys| keys.len() as u64);
    let until = effect.until_ms.unwrap_or(i64::MAX);
    // Both clocks are the machine's; a millisecond on each side covers their rounding.
    let hits = kills.iter().filter(|kill| (effect.from_ms - 1..=until.saturating_add(1)).contains(*kill));
    let hits = hits.count() as u64;
    let mut tell = |what: String| wrong.push(format!("run {} {path}: {what}", run.id));
    if effect.keys.len() != 1 || !keys.is_subset(&effect.keys) {
        tell(format!("journal keys {:?}, ledger keys {keys:?}", effect.keys));
    }
    if effect.completions > 1 || effect.began_after_end {
        tell(format!("{} completions, began after its end: {}", effect.completions, effect.began_after_end));
    }
    if count > effect.starts || effect.starts > 1 + hits {
        tell(format!("sent {count} times, begun {} times, {hits} kills in flight", effect.starts));
    }
    if effect.completions > 0 && count == 0 {
        tell("completed without having been sent".to_owned());
    }
    let once = AT_MOST_ONCE.iter().any(|step| step.split_once('/') == Some(of_path(path)));
    if once && (count > 1 || effect.starts > 1) {
        tell(format!("at most once, and sent {count} times, begun {} times", effect.starts));
    }
}

/// `/careful/17/once` is the step `once` of `careful`.
fn of_path(path: &str) -> (&str, &str) {
    let mut parts = path.split('/').skip(1);
    (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default())
}

fn ms(record: &Value) -> i64 {
    let time = Timestamp::parse(record["time"].as_str().unwrap_or_default()).expect("a time");
    time.0
}

/// Opens the database from outside, after every process has ended, and lets SQLite check it.
pub fn check_database(data: &Path) {
    let conn = rusqlite::Connection::open(data.join("chainbot.db")).expect("the database opens");
    let answer: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a check");
    assert_eq!(answer, "ok");
    let doubled: i64 = conn
        .query_row(
            "SELECT count(*) FROM (SELECT 1 FROM journal GROUP BY run, seq HAVING count(*) > 1)",
            [],
            |row| row.get(0),
        )
        .expect("a count");
    assert_eq!(doubled, 0, "records with one number in one run");
    drop(conn);
    let violations = chainbot_core::store::check_file(&data.join("chainbot.db")).expect("a check");
    let told: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
}
