//! The module under power cuts: two lives of the real host on the logged disk, and at each cut the database held against
//! what had been acknowledged.
//!
//! Acknowledged is what the API said: a workflow was made, a run started, a run is over. Each is noted with the length
//! that the log has after the answer came. At every tenth point the host is started on what was left, and everything
//! goes on to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use rusqlite::Connection;
use serde_json::Value;

use super::cut::{Cut, Replay, Tail, choose};
use super::disk::{self, Disk, Mounted, Recovery};
use super::log::Log;
use super::toy::open_whole;
use crate::crash::client::Client;
use crate::crash::host::Host;
use crate::crash::ledger::Ledger;
use crate::crash::load::Load;
use crate::crash::{Random, verdict};
use crate::support;

/// One point in so many is carried on to the end of its runs.
const RESTART_EVERY: usize = 10;
/// Lives of the host on the logged disk, each stopped in order, so that cuts fall into start, work, stop and recovery.
const LIVES: usize = 2;

/// Something the API said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Made(String),
    Started(String),
    Over(String),
}

/// What was said, with the log's length when it had been heard.
type Acknowledged = BTreeMap<Said, u64>;

/// Counts for the report.
#[derive(Default)]
struct Counts {
    torn: usize,
    /// Points before the first acknowledgement: cuts in the first start.
    early: usize,
    acknowledged: usize,
    restarts: usize,
    checked_file_systems: usize,
    lost: Vec<String>,
    damaged: Vec<String>,
}

/// Loads the module with `runs` runs and looks at no more than `points` power cuts.
pub fn check(random: &mut Random, points: usize, runs: usize) {
    let folder = disk::folder();
    let ledger = Ledger::start(folder.path(), 5);
    let disk = Disk::start(folder.path());
    let from = disk.logged();
    let mut acknowledged = Acknowledged::new();
    let mut load = Load::new(ledger.url());
    for life in 1..=LIVES {
        live(&disk, &ledger, &mut load, runs * life / LIVES, &mut acknowledged);
    }
    let log = Log::read(&disk.end());
    let over = acknowledged.keys().filter(|said| matches!(said, Said::Over(_))).count();
    assert_eq!(over, runs, "each run was seen to end");

    let cuts = choose(&log, from, points, random);
    assert_eq!(cuts.len(), points, "the load gave too few flushes: more runs");
    let image = folder.path().join("image");
    let (mut replay, mut counts) = (Replay::new(&log, disk::BYTES), Counts::default());
    for (index, cut) in cuts.iter().enumerate() {
        counts.torn += usize::from(cut.tail != Tail::Gone);
        let due: Vec<&Said> =
            acknowledged.iter().filter(|(_, at)| **at <= cut.at).map(|(said, _)| said).collect();
        counts.acknowledged += due.len();
        counts.early += usize::from(due.is_empty());
        replay.write(cut, random, &image).expect("an image");
        match Mounted::new(folder.path(), &image) {
            Err(error) => counts.damaged.push(format!("{cut:?}: file system: {error}")),
            Ok((mounted, recovery)) => {
                counts.checked_file_systems += usize::from(recovery == Recovery::Check);
                let data = mounted.path().join("data");
                examine(&data, cut, &due, &mut counts);
                // Before the first acknowledgement there is nothing but the start to look at.
                if index % RESTART_EVERY == 0 || due.is_empty() {
                    counts.restarts += 1;
                    go_on(&data, &ledger, cut, &due, &mut counts);
                }
            }
        }
    }
    report(&log, &cuts, runs, &counts);
    assert!(counts.damaged.is_empty(), "{} damaged:\n{}", counts.damaged.len(), counts.damaged.join("\n"));
    assert!(counts.lost.is_empty(), "{} lost:\n{}", counts.lost.len(), counts.lost.join("\n"));
    assert!(counts.acknowledged > points, "hardly anything had been acknowledged: the rig proves nothing");
}

/// One life: starts until there are `starts`, an answer or an end noted as it comes, and a stop in order.
fn live(disk: &Disk, ledger: &Ledger, load: &mut Load, starts: usize, acknowledged: &mut Acknowledged) {
    let data = disk.mount().join("data");
    let mut host = Host::start(&data, ledger.port);
    let client = host.ready(&data).expect("it starts");
    let mut note = |said| {
        acknowledged.entry(said).or_insert_with(|| disk.logged());
    };
    if load.starts.is_empty() {
        Load::define(&client);
        heads(&client, "workflows", "name").into_keys().for_each(|name| note(Said::Made(name)));
    }
    while load.starts.len() < starts {
        let index = load.add();
        assert!(load.send(&client, index), "start {index}");
        note(Said::Started(load.starts[index].run.clone().expect("an id")));
    }
    let (mut gates, mut over) = (BTreeSet::new(), 0);
    client.wait_until(|| {
        over = 0;
        for (id, run) in heads(&client, "runs", "id") {
            match run["status"].as_str() {
                Some("completed") => {
                    note(Said::Over(id));
                    over += 1;
                }
                // The one wait of the load that only a signal ends.
                Some("waiting") if is_gate(&run) && gates.insert(id.clone()) => {
                    let headers = "idempotency-key: go\r\n";
                    let path = format!("/api/chainbot/runs/{id}/signal/go");
                    let reply = client.send("POST", &path, headers, "").expect("an answer");
                    assert_eq!(reply.status, 200, "{}", reply.body);
                }
                Some("failed" | "cancelled") => panic!("nothing was cut yet: {run}"),
                _ => {}
            }
        }
        over == starts
    });
    host.terminate();
    let (code, stderr) = host.end();
    assert_eq!(code, Some(0), "{stderr}");
}

fn is_gate(run: &Value) -> bool {
    run["detail"].as_str().is_some_and(|detail| detail.contains("signal `go`"))
}

/// A list of the API by one of its fields.
fn heads(client: &Client, list: &str, key: &str) -> BTreeMap<String, Value> {
    let of = |field: &str, item: &Value| item[field].as_str().expect("a text").to_owned();
    let items = client.list(&format!("/api/chainbot/{list}"), |item| of("id", item)).expect("a list");
    items.into_iter().map(|item| (of(key, &item), item)).collect()
}

/// What the module itself and SQLite say of the database, and whether everything that was acknowledged is in it.
fn examine(data: &Path, cut: &Cut, due: &[&Said], counts: &mut Counts) {
    let file = data.join("chainbot.db");
    if due.is_empty() {
        // Perhaps no database yet: starting on it is the test.
        return;
    }
    let fsck = Command::new(support::chainbot())
        .args(["fsck", "--json", "--data"])
        .arg(data)
        .output()
        .expect("it runs");
    let verdict: Value = serde_json::from_slice(&fsck.stdout).unwrap_or_default();
    if !fsck.status.success() || verdict["ok"] != true {
        let said = String::from_utf8_lossy(&fsck.stderr);
        counts.damaged.push(format!("{cut:?}: fsck: {}: {verdict} {said}", fsck.status));
    }
    match open_whole(&file) {
        Err(error) => counts.damaged.push(format!("{cut:?}: database: {error}")),
        Ok(conn) => {
            let missing = due.iter().filter(|said| !holds(&conn, said));
            counts.lost.extend(missing.map(|said| format!("{cut:?}: {said:?}")));
        }
    }
}

fn holds(conn: &Connection, said: &Said) -> bool {
    let (sql, value) = match said {
        Said::Made(name) => ("SELECT count(*) FROM workflow WHERE name = ?1", name.clone()),
        Said::Started(id) => ("SELECT count(*) FROM run WHERE id = unhex(?1)", id.replace('-', "")),
        Said::Over(id) => {
            ("SELECT count(*) FROM run WHERE id = unhex(?1) AND finished_at IS NOT NULL", id.replace('-', ""))
        }
    };
    conn.query_row(sql, [value], |row| row.get::<_, i64>(0)).expect("a count") == 1
}

/// Starts the host on what was left: it serves, knows what was acknowledged, and brings every run to its end.
fn go_on(data: &Path, ledger: &Ledger, cut: &Cut, due: &[&Said], counts: &mut Counts) {
    let mut host = Host::start(data, ledger.port);
    let Some(client) = host.ready(data) else {
        counts.damaged.push(format!("{cut:?}: the host does not start: {}", host.end().1));
        return;
    };
    client.wait_until(|| verdict::is_settled(&client));
    let (workflows, runs) = (heads(&client, "workflows", "name"), heads(&client, "runs", "id"));
    for said in due {
        let is_there = match said {
            Said::Made(name) => workflows.contains_key(name),
            Said::Started(id) => runs.contains_key(id),
            Said::Over(id) => runs.get(id).is_some_and(|run| run["status"] == "completed"),
        };
        if !is_there {
            counts.lost.push(format!("{cut:?}: {said:?}, after a start"));
        }
    }
    host.killer().kill();
    host.end();
}

fn report(log: &Log, cuts: &[Cut], runs: usize, counts: &Counts) {
    let flushes = log.entries.iter().filter(|entry| entry.is_flush()).count();
    println!(
        "power_cut: {} points ({} torn, {} in the first start) of {flushes} flushes in {} MiB, {runs} runs, {} acknowledgements looked for, \
         {} restarts to the end, {} needed e2fsck, {} damaged, {} lost",
        cuts.len(),
        counts.torn,
        counts.early,
        log.bytes.len() >> 20,
        counts.acknowledged,
        counts.restarts,
        counts.checked_file_systems,
        counts.damaged.len(),
        counts.lost.len()
    );
}
