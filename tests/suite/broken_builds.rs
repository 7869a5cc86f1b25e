//! The kill loop must fail when it should: builds that break one promise each are caught within 50 kills, and for that reason.
//!
//! The promises are switched off by name in a build with the core's feature `fault`; a build that is shipped has neither the switch
//! nor the names.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::crash::host::{Host, Module};
use crate::crash::ledger::Ledger;
use crate::crash::load::Load;
use crate::crash::{Random, now_ms, verdict};
use crate::kill_loop::live;
use crate::support;

const SWITCH: &str = "CHAINBOT_SABOTAGE";
const KILLS_MAX: usize = 50;
/// Runs for each kill.
const RUNS_A_KILL: usize = 2;
/// How long a broken build is given to bring its runs to an end; what it then leaves open is no reason to call it caught.
const SETTLES: Duration = Duration::from_secs(15);

/// The promises, and what the verdict says of a build that breaks one.
const PROMISES: [(&str, &str); 5] = [
    ("acknowledge-after-commit", "acknowledged as"),
    ("start-before-effect", " times, begun "),
    ("one-key-for-all-attempts", "journal keys"),
    ("key-of-a-start-is-kept", " made "),
    ("doubt-is-respected", "at most once"),
];

fn is_caught(promise: &'static str) {
    if !support::has_tool("python3") {
        support::skip!("broken_builds", "no python3 for the ledger");
    }
    let (_, reason) = PROMISES.into_iter().find(|(name, _)| *name == promise).expect("a promise");
    let mut random = Random::seeded("broken_builds");
    let module = Module::with_fault(SWITCH, promise);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let ledger = Ledger::start(folder.path(), 40);
    let mut load = Load::new(ledger.url());
    // By the module that is shipped: what is broken shall meet the load, not what makes it.
    let mut host = Host::start(&data, ledger.port);
    Load::define(&host.ready(&data).expect("it starts"));
    host.killer().kill();
    host.end();
    let mut kills = vec![now_ms()];
    while kills.len() < KILLS_MAX {
        for _ in 0..5 {
            for _ in 0..RUNS_A_KILL {
                load.add();
            }
            kills.push(live(&module, &mut random, &mut load, &data, &ledger));
        }
        let wrong = judge(&module, &mut load, &data, &ledger, &kills);
        if let Some(found) = wrong.iter().find(|what| what.contains(reason)) {
            println!("broken_builds: {promise} was caught after {} kills: {found}", kills.len());
            return;
        }
    }
    panic!("a build without `{promise}` was not caught by {} kills", kills.len());
}

/// What the verdict is once the runs have come to their ends. The process is killed after it, as before.
fn judge(module: &Module, load: &mut Load, data: &Path, ledger: &Ledger, kills: &[i64]) -> Vec<String> {
    let mut host = Host::start_module(module, data, ledger.port);
    let client = host.ready(data).expect("it starts once more");
    for index in load.open() {
        assert!(load.send(&client, index), "start {index} gets no answer from a host that lives");
    }
    let begun = Instant::now();
    while !verdict::is_settled(&client) && begun.elapsed() < SETTLES {
        // A broken build may never settle, so no event of it is waited for.
        std::thread::sleep(Duration::from_millis(20));
    }
    let wrong = verdict::check(&verdict::read(&client), load, &ledger.counted(), kills);
    host.killer().kill();
    host.end();
    wrong
}

#[test]
fn a_build_that_acknowledges_before_the_commit_is_caught() {
    is_caught("acknowledge-after-commit");
}

#[test]
fn a_build_that_sends_before_the_start_is_on_disk_is_caught() {
    is_caught("start-before-effect");
}

#[test]
fn a_build_that_makes_a_new_key_for_each_attempt_is_caught() {
    is_caught("one-key-for-all-attempts");
}

#[test]
fn a_build_that_forgets_the_key_of_a_start_is_caught() {
    is_caught("key-of-a-start-is-kept");
}

#[test]
fn a_build_that_repeats_what_is_in_doubt_is_caught() {
    is_caught("doubt-is-respected");
}

/// Whether a file has these bytes.
fn has(file: &Path, text: &str) -> bool {
    let found = Command::new("grep").args(["--quiet", "--fixed-strings", "--text", text]).arg(file).status();
    found.expect("grep runs").success()
}

#[test]
fn the_module_that_is_shipped_has_no_place_for_a_fault() {
    let (shipped, faulty) = (support::plugin(), support::plugin_with_faults());
    let names = PROMISES.iter().map(|(name, _)| *name);
    for name in names.chain([
        SWITCH,
        "CHAINBOT_FAULT",
        "CHAINBOT_NEXT_SCHEMA",
        "found_by_next_schema",
        "a fault on purpose",
        "journal.commit.before",
        "module.host.log",
    ]) {
        assert!(has(&faulty, name), "`{name}` is not in the module with faults: this test proves nothing");
        assert!(!has(&shipped, name), "`{name}` is in the module that is shipped");
    }
}
