//! Upgrades to a version with one migration more: under load nothing is lost, the version before respects the newer store, and a
//! migration that fails costs nothing.
//!
//! The next version is the build with places for faults, told by `CHAINBOT_NEXT_SCHEMA` to be one schema ahead; the module that is
//! shipped does not read that variable, so both live in one host.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Output;

use rusqlite::Connection;
use serde_json::Value;

use crate::crash::client::Client;
use crate::crash::host::{Host, Module};
use crate::crash::ledger::Ledger;
use crate::crash::load::Load;
use crate::crash::verdict;
use crate::support;
use crate::upgrade::{report, upgrade};
use crate::upgrade_load::{Budget, HOOKS_FROM, INGRESS, call_hooks, define, start_runs};

const NEXT: &str = "CHAINBOT_NEXT_SCHEMA";
const JSON: &str = "content-type: application/json\r\n";
/// Nobody listens there.
const NO_LEDGER: u16 = 9;

/// The module that is shipped, in a process whose other versions see these variables.
fn shipped(variables: &[(&'static str, &str)]) -> Module {
    variables.iter().fold(Module::shipped(), |module, (name, value)| module.among(name, value))
}

fn migrate(data: &Path) -> Output {
    upgrade(data, &support::plugin_with_faults(), &["--json", "--allow-migration"])
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn database(data: &Path) -> PathBuf {
    data.join("chainbot.db")
}

fn version(file: &Path) -> i64 {
    let conn = Connection::open(file).unwrap();
    conn.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

/// The backup that the next version makes of what it finds.
fn backup() -> String {
    format!("schema-{}", chainbot_core::store::schema_version())
}

/// The database in it.
fn copy_of(data: &Path) -> PathBuf {
    data.join("backups").join(backup()).join("chainbot.db")
}

fn ids(file: &Path, sql: &str) -> BTreeSet<Vec<u8>> {
    let conn = Connection::open(file).unwrap();
    let mut rows = conn.prepare(sql).unwrap();
    rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn an_upgrade_that_migrates_the_store_under_load_loses_nothing_and_the_version_before_refuses_it() {
    if !support::has_tool("python3") {
        support::skip!("upgrade_migration", "no python3 for the ledger");
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let ledger = Ledger::start(folder.path(), 40);
    let mut host = Host::of(&shipped(&[(NEXT, "good")]), &data, ledger.port, &INGRESS);
    let client = host.ready(&data).expect("it starts");
    let inside = client.at(host.ingress.as_deref().expect("an ingress"));
    Load::define(&client);
    define(&client, &ledger.url());
    let (mut load, budget) = (Load::new(ledger.url()), Budget::new());
    let hooks = std::thread::scope(|scope| {
        scope.spawn(|| start_runs(&client, &mut load, &budget));
        let hooks = scope.spawn(|| call_hooks(&inside, &budget));
        budget.add(12);
        let refused = upgrade(&data, &support::plugin_with_faults(), &[]);
        // More while it goes on, and the rest after it.
        budget.add(12);
        let migrated = migrate(&data);
        budget.add(6);
        budget.close();
        assert!(said(&refused).contains("CB-0833") && said(&refused).contains("--allow-migration"));
        let report = report(&migrated);
        assert_eq!(report["result"], "upgraded", "{report}");
        println!("upgrade_migration: work waited {} ms", report["held_ms"]);
        hooks.join().unwrap()
    });
    let back = upgrade(&data, &support::plugin(), &["--allow-migration"]);
    assert!(said(&back).contains("CB-0833") && said(&back).contains("reads stores up to"), "{}", said(&back));
    client.wait_until(|| verdict::is_settled(&client));
    let runs = verdict::read(&client);
    let mut wrong = verdict::check(&runs, &load, &ledger.counted(), &[]);
    for n in HOOKS_FROM..HOOKS_FROM + hooks {
        if runs.iter().filter(|run| run.n == n.to_string()).count() != 1 {
            wrong.push(format!("hook {n} was acknowledged once and has not one run"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    host.terminate();
    let (code, stderr) = host.end();
    assert_eq!(code, Some(0), "{stderr}");

    // The migration met a store at work: it saw what the copy has, and runs that had not ended.
    let (now, copy) = (version(&database(&data)), copy_of(&data));
    assert_eq!(now, chainbot_core::store::schema_version() as i64 + 1);
    let kept = ids(&copy, "SELECT id FROM run");
    assert_eq!(ids(&database(&data), "SELECT run FROM found_by_next_schema"), kept);
    assert!(
        !ids(&database(&data), "SELECT id FROM run WHERE colour = 'green'").is_empty(),
        "no run was open"
    );
    assert!(kept.len() < runs.len(), "runs were made after it too");

    let mut before = Host::start(&data, ledger.port);
    assert!(before.ready(&data).is_none(), "the version before opens a newer store");
    let (code, stderr) = before.end();
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("CB-0402") && stderr.contains(&backup()), "{stderr}");
    assert_eq!(version(&database(&data)), now, "it was not touched");

    // As the remedy says: the store as it was, and the runs of that moment go on.
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(data.join(format!("chainbot.db{end}")));
    }
    std::fs::copy(&copy, database(&data)).unwrap();
    let mut before = Host::start(&data, ledger.port);
    let client = before.ready(&data).expect("the version before starts on its own store");
    let heads = client.list("/api/chainbot/runs", |run| run["id"].as_str().unwrap_or_default().to_owned());
    assert_eq!(heads.unwrap().len(), kept.len());
    before.terminate();
    assert_eq!(before.end().0, Some(0));
    verdict::check_database(&data);
}

/// A run that waits for its signal, and shows by its end that nothing was lost.
struct Waiting {
    client: Client,
    path: String,
}

impl Waiting {
    fn begin(client: Client) -> Self {
        let waits = r#"{"name":"waits","steps":[{"id":"a","type":"wait","config":{"signal":"go"}}]}"#;
        assert_eq!(client.send("POST", "/api/chainbot/workflows", JSON, waits).unwrap().status, 201);
        let run = client.send("POST", "/api/chainbot/workflows/waits/runs", JSON, "{}").unwrap();
        let path = format!("/api/chainbot/runs/{}", run.body["id"].as_str().unwrap());
        Self { client, path }
    }

    fn ends_well(&self) {
        let (client, path) = (&self.client, &self.path);
        client.wait_until(|| client.get(path)["status"] == "waiting");
        assert_eq!(client.send("POST", &format!("{path}/signal/go"), JSON, "{}").unwrap().status, 200);
        client.wait_until(|| client.get(path)["status"] == "completed");
    }
}

fn failed_at(output: &Output, step: &str) -> Value {
    let report = report(output);
    assert_eq!((&report["result"], &report["step"]), (&"failed".into(), &step.into()), "{report}");
    report
}

#[test]
fn a_migration_that_fails_changes_nothing_and_leaves_the_version_before_serving() {
    let ours = chainbot_core::store::schema_version() as i64;
    for (variables, works_later) in [
        (vec![(NEXT, "broken")], false),
        (vec![(NEXT, "good"), ("CHAINBOT_FAULT", "migrate.before 1 error once")], true),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut host = Host::start_module(&shipped(&variables), &data, NO_LEDGER);
        let waiting = Waiting::begin(host.ready(&data).expect("it starts"));
        let report = failed_at(&migrate(&data), "start");
        assert_eq!(report["serving"]["path"], support::plugin().to_str().unwrap(), "{report}");
        assert_eq!(report["health"]["state"], "started", "{report}");
        assert_eq!(version(&database(&data)), ours, "{variables:?}");
        if works_later {
            // What was in its way is gone.
            assert_eq!(self::report(&migrate(&data))["result"], "upgraded");
            assert_eq!(version(&database(&data)), ours + 1);
        }
        waiting.ends_well();
        host.terminate();
        let (code, stderr) = host.end();
        assert_eq!(code, Some(0), "{variables:?}: {stderr}");
    }
}

#[test]
fn a_version_that_fails_after_its_migration_ends_the_host_and_the_next_start_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let variables = [(NEXT, "good"), ("CHAINBOT_FAULT", "migrate.after 1 error once")];
    let mut host = Host::start_module(&shipped(&variables), &data, NO_LEDGER);
    let mut waiting = Waiting::begin(host.ready(&data).expect("it starts"));
    let report = failed_at(&migrate(&data), "start");
    assert!(report["lost"].as_str().is_some_and(|lost| lost.contains("CB-0402")), "{report}");
    let (code, stderr) = host.end();
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("CB-0834") && stderr.contains(&backup()), "{stderr}");
    let mut host = Host::start_module(&Module::with_fault(NEXT, "good"), &data, NO_LEDGER);
    waiting.client = host.ready(&data).expect("the next version has its store");
    waiting.ends_well();
    host.terminate();
    assert_eq!(host.end().0, Some(0));
}
