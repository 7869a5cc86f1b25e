//! The module's own places for faults, in a host as a process: its start, its supervisor, its wind-down, the host's services. Whatever
//! goes wrong, the host sees an exit code that means it, and the module that is shipped goes on from what was acknowledged.

use std::path::Path;

use serde_json::json;

use crate::crash::client::Client;
use crate::crash::host::{Host, Module};

const SET: &str = "name: notes\nsteps:\n  - { id: a, type: set, config: { variables: { x: \"1\" } } }\n";
/// Nobody listens there.
const NO_LEDGER: u16 = 9;

/// How the host's process ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    /// In order.
    Well,
    /// The start was refused.
    Refused,
    /// The module failed while it ran.
    Failed,
    /// With the process.
    Died,
}

const TABLE: &[(&str, Ends)] = &[
    ("module.start 1 error once", Ends::Refused),
    ("module.start 1 panic once", Ends::Refused),
    ("module.start 1 abort once", Ends::Died),
    ("module.start 1 stall once", Ends::Well),
    ("module.serve 1 panic once", Ends::Failed),
    ("module.serve 1 abort once", Ends::Died),
    ("module.serve 1 stall ever-after", Ends::Well),
    ("module.wind_down 1 abort once", Ends::Died),
    ("module.wind_down 1 stall once", Ends::Well),
    ("module.stop 1 panic once", Ends::Well),
    ("module.stop 1 abort once", Ends::Died),
    ("module.stop 1 stall once", Ends::Well),
    ("module.host.publish 1 error ever-after", Ends::Well),
    ("module.host.publish 1 stall ever-after", Ends::Well),
    ("module.host.log 1 error ever-after", Ends::Well),
    ("module.host.log 1 stall ever-after", Ends::Well),
];

/// Makes the workflow if it is not there, and starts a run; its id when that was acknowledged.
fn work(client: &Client) -> Option<String> {
    let media = "content-type: application/yaml\r\n";
    let made = client.send("POST", "/api/chainbot/workflows", media, SET).ok()?;
    assert!([201, 409, 503].contains(&made.status), "{}", made.body);
    let media = "content-type: application/json\r\n";
    let path = "/api/chainbot/workflows/notes/runs";
    let started = client.send("POST", path, media, &json!({ "inputs": {} }).to_string()).ok()?;
    (started.status == 201).then(|| started.body["id"].as_str().expect("an id").to_owned())
}

fn check(data: &Path, plan: &str, expected: Ends) {
    let mut host = Host::start_module(&Module::with_fault("CHAINBOT_FAULT", plan), data, NO_LEDGER);
    let acknowledged = host.ready(data).and_then(|client| work(&client));
    if expected != Ends::Failed {
        // A process that has ended takes no signal.
        host.terminate();
    }
    let (code, stderr) = host.end();
    let ends = match code {
        Some(0) => Ends::Well,
        Some(1) => Ends::Refused,
        Some(3) => Ends::Failed,
        None => Ends::Died,
        other => panic!("{plan}: exit code {other:?}: {stderr}"),
    };
    assert_eq!(ends, expected, "{plan}: {stderr}");
    if matches!(expected, Ends::Refused | Ends::Failed) {
        assert!(stderr.contains("a fault on purpose") && stderr.contains("CB-08"), "{plan}: {stderr}");
    }
    assert!(expected != Ends::Well || acknowledged.is_some(), "{plan}: nothing was acknowledged: {stderr}");

    let mut host = Host::with(data, &["api.port=0"]);
    let client = host.ready(data).unwrap_or_else(|| panic!("after {plan} the module does not start"));
    if let Some(run) = acknowledged {
        client.wait_until(|| client.get(&format!("/api/chainbot/runs/{run}"))["status"] == "completed");
    }
    host.terminate();
    let (code, stderr) = host.end();
    assert_eq!(code, Some(0), "after {plan}: {stderr}");
    crate::crash::verdict::check_database(data);
}

#[test]
fn whatever_goes_wrong_in_the_module_the_host_sees_it_and_nothing_acknowledged_is_lost() {
    for (plan, expected) in TABLE {
        let folder = tempfile::tempdir().unwrap();
        check(&folder.path().join("data"), plan, *expected);
    }
}

#[test]
fn every_place_of_the_module_has_a_row() {
    let golden =
        std::fs::read_to_string(crate::support::root().join("tests/golden/fault-points.txt")).unwrap();
    let missing: Vec<&str> = golden
        .lines()
        .filter(|name| name.starts_with("module."))
        .filter(|name| !TABLE.iter().any(|(plan, _)| plan.split(' ').next() == Some(name)))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
