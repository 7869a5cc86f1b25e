//! The command line with the engine: in the process, and in a server of its own.
//!
//! The server tests need `host-shim` and `libchainbot_plugin.so` beside the program, which
//! `cargo build --workspace` puts there.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use super::cli::{HELLO, Outcome, chainbot, command};

const WAITS: &str = "\
name: waits
steps:
  - id: go
    type: wait
    config: { signal: go }
";

const FAILS: &str = "\
name: fails
steps:
  - id: fine
    type: set
    config: { variables: { a: \"1\" } }
  - id: refused
    type: api_call
    retry: { attempts: 1 }
    config: { url: \"http://127.0.0.1:9/\" }
";

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("hello.yaml", HELLO), ("waits.yaml", WAITS), ("fails.yaml", FAILS)] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn chainbot(&self, line: &str) -> Outcome {
        let args: Vec<&str> = line.split_whitespace().chain(["--data", "data"]).collect();
        chainbot(self.path(), &args)
    }

    fn json(&self, line: &str) -> (i32, Value) {
        let shown = self.chainbot(&format!("{line} --json"));
        let value = serde_json::from_str(&shown.stdout)
            .unwrap_or_else(|error| panic!("{line}: {error}: {}{}", shown.stdout, shown.stderr));
        (shown.code, value)
    }

    fn waiting_run(&self) -> String {
        let (code, shown) = self.json("run waits.yaml --no-wait");
        assert_eq!(code, 4, "{shown}");
        shown["run"]["id"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_run_prints_its_result_and_nothing_else_on_stdout() {
    let place = Place::new();
    let shown = place.chainbot("run hello.yaml --input who=Mia");
    assert_eq!((shown.code, shown.stdout.as_str()), (0, "Hello, Mia\n"), "{}", shown.stderr);
    assert!(shown.stderr.contains("✓ greet"), "{}", shown.stderr);
    let (code, shown) = place.json("run hello.yaml");
    assert_eq!((code, &shown["run"]["output"]), (0, &Value::from("Hello, world")));
    assert_eq!(shown["steps"][0]["status"], "completed");
}

#[test]
fn a_changed_file_is_a_new_version_and_an_unchanged_one_is_not() {
    let place = Place::new();
    assert!(place.chainbot("run hello.yaml").stderr.contains("(version 1)"));
    assert!(place.chainbot("run hello.yaml").stderr.contains("(version 1)"));
    std::fs::write(place.path().join("hello.yaml"), HELLO.replace("Hello", "Good day")).unwrap();
    let shown = place.chainbot("run hello.yaml");
    assert!(shown.stderr.contains("(version 2)"), "{}", shown.stderr);
    assert_eq!(shown.stdout, "Good day, world\n");
}

#[test]
fn a_stored_workflow_is_run_listed_and_deleted_by_its_name() {
    let place = Place::new();
    assert!(place.chainbot("workflows").stderr.contains("no workflows"));
    assert_eq!(place.chainbot("deploy hello.yaml waits.yaml").code, 0);
    let shown = place.chainbot("run hello --input who=Mia");
    assert_eq!((shown.code, shown.stdout.as_str()), (0, "Hello, Mia\n"), "{}", shown.stderr);
    let plan = place.chainbot("run hello --dry");
    assert_eq!(plan.code, 0, "{}", plan.stderr);
    assert!(plan.stdout.contains("greet"), "{}", plan.stdout);
    let listed = place.chainbot("workflows");
    let names: Vec<&str> = listed.stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["NAME", "hello", "waits"], "{}", listed.stdout);
    let (_, listed) = place.json("workflows");
    assert_eq!((&listed[0]["name"], &listed[0]["version"]), (&Value::from("hello"), &Value::from(1)));
    assert_eq!(place.chainbot("delete waits").code, 0);
    for (line, says) in [
        ("run helo", "did you mean `hello`?"),
        ("run helo --dry", "did you mean `hello`?"),
        ("delete waits", "`chainbot workflows` lists what is stored"),
    ] {
        let shown = place.chainbot(line);
        assert!(shown.stderr.contains("error[CB-0190]"), "{line}: {}", shown.stderr);
        assert!(shown.stderr.contains(says), "{line}: {}", shown.stderr);
        assert_ne!(shown.code, 0, "{line}");
    }
    // A file of that name comes first.
    std::fs::write(place.path().join("hello"), HELLO.replace("Hello", "Good day")).unwrap();
    assert_eq!(place.chainbot("run hello").stdout, "Good day, world\n");
}

#[test]
fn a_failed_run_names_step_class_and_code_and_exits_with_1() {
    let place = Place::new();
    let shown = place.chainbot("run fails.yaml");
    assert_eq!((shown.code, shown.stdout.as_str()), (1, ""));
    assert!(shown.stderr.contains("failed at step `refused`"), "{}", shown.stderr);
    assert!(shown.stderr.contains(" egress: "), "{}", shown.stderr);
    assert!(shown.stderr.contains("chainbot logs "), "{}", shown.stderr);
}

#[test]
fn a_wrong_input_exits_with_2() {
    let place = Place::new();
    let shown = place.chainbot("run hello.yaml --input who=5");
    assert_eq!((shown.code, shown.stdout.as_str()), (2, ""));
    assert!(shown.stderr.contains("error[CB-0301]"), "{}", shown.stderr);
}

#[test]
fn a_run_that_waits_is_left_signalled_and_goes_on_at_the_next_run() {
    let place = Place::new();
    let id = place.waiting_run();
    assert_eq!(place.chainbot(&format!("signal {id} go --data-json 5")).code, 0);
    place.chainbot("run hello.yaml");
    let (_, shown) = place.json(&format!("runs {id}"));
    assert_eq!(shown["run"]["status"], "completed", "{shown}");
}

#[test]
fn other_unfinished_runs_are_announced() {
    let place = Place::new();
    place.waiting_run();
    let shown = place.chainbot("run hello.yaml");
    assert!(shown.stderr.contains("1 unfinished run continues"), "{}", shown.stderr);
}

#[test]
fn a_cancelled_run_is_listed_as_such() {
    let place = Place::new();
    let id = place.waiting_run();
    assert_eq!(place.chainbot(&format!("cancel {id} --reason enough")).code, 0);
    let (_, runs) = place.json("runs --status cancelled --workflow waits");
    assert_eq!(runs[0]["id"], Value::from(id.as_str()));
    let again = place.chainbot(&format!("cancel {id}"));
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("error[CB-0303]"), "{}", again.stderr);
}

#[test]
fn an_unknown_run_is_told_where_to_look() {
    let place = Place::new();
    let shown = place.chainbot("runs 01932b6e-0f2a-7c40-8000-3c1f4b1d2a00");
    assert_eq!(shown.code, 2);
    assert!(
        shown.stderr.contains("error[CB-0300]") && shown.stderr.contains("chainbot runs"),
        "{}",
        shown.stderr
    );
}

#[test]
fn the_journal_of_a_run_is_readable_and_complete() {
    let place = Place::new();
    let (_, shown) = place.json("run hello.yaml");
    let id = shown["run"]["id"].as_str().unwrap().to_owned();
    let people = place.chainbot(&format!("logs {id}"));
    assert!(people.stdout.lines().next().unwrap().contains("run.created"), "{}", people.stdout);
    assert!(people.stdout.lines().last().unwrap().contains("run.completed"), "{}", people.stdout);
    let machines = place.chainbot(&format!("logs {id} --json"));
    assert_eq!(machines.stdout.lines().count(), people.stdout.lines().count());
    for (seq, line) in machines.stdout.lines().enumerate() {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["seq"], seq);
    }
}

#[test]
fn a_killed_run_goes_on_with_the_next_command() {
    let place = Place::new();
    let mut child = command(place.path(), &["run", "waits.yaml", "--data", "data"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The line about waiting comes after the run is durable and parked.
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains("waits for")));
    child.kill().unwrap();
    child.wait().unwrap();
    let (_, runs) = place.json("runs");
    let id = runs[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(runs[0]["status"], "waiting");
    assert_eq!(place.chainbot(&format!("signal {id} go")).code, 0);
    place.chainbot("run hello.yaml");
    assert_eq!(place.json(&format!("runs {id}")).1["run"]["status"], "completed");
}

/// Stops the server of a folder also when a test fails.
struct Server<'a>(&'a Place);

impl Drop for Server<'_> {
    fn drop(&mut self) {
        self.0.chainbot("stop");
    }
}

#[test]
fn a_server_starts_takes_runs_and_stops() {
    let place = Place::new();
    let (code, started) = place.json("start --http 127.0.0.1:0");
    assert_eq!(code, 0, "{started}");
    let server = Server(&place);
    assert!(started["server"]["url"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    assert_eq!(place.json("status").1["running"], true);
    assert_eq!(place.chainbot("health").code, 0);
    let shown = place.chainbot("run hello.yaml");
    assert_eq!(shown.stdout, "Hello, world\n", "{}", shown.stderr);
    assert!(shown.stderr.contains("leaves it to the server"), "{}", shown.stderr);
    let id = place.waiting_run();
    assert_eq!(place.chainbot(&format!("signal {id} go")).code, 0);
    let (code, again) = place.json("start");
    assert_eq!((code, &again["started"]), (0, &Value::from(false)), "a server that runs is left as it is");
    let log = place.chainbot("logs");
    assert!(!log.stdout.is_empty() && !log.stdout.starts_with('{'), "{}", log.stdout);
    drop(server);
    let (code, status) = place.json("status");
    assert_eq!((code, &status["running"]), (1, &Value::from(false)));
    assert_eq!(place.json(&format!("runs {id}")).1["run"]["status"], "completed");
}

#[test]
fn a_run_is_followed_over_a_restart_of_its_server() {
    let place = Place::new();
    let (_, started) = place.json("start --http 127.0.0.1:0");
    let server = Server(&place);
    let address = started["server"]["url"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let mut follower = command(place.path(), &["run", "waits.yaml", "--data", "data"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(follower.stderr.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains("waits for")));
    let id = place.json("runs --status waiting").1[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(place.chainbot("stop").code, 0);
    assert_eq!(place.chainbot(&format!("start --http {address}")).code, 0);
    assert_eq!(place.chainbot(&format!("signal {id} go")).code, 0);
    let last: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(follower.wait().unwrap().success(), "{last:?}");
    drop(server);
}

#[test]
fn a_run_is_shown_as_it_stood_and_with_what_its_steps_were_given() {
    let place = Place::new();
    let id = place.waiting_run();
    place.chainbot(&format!("signal {id} go --data-json 5"));
    place.chainbot("run hello.yaml");
    let (code, stood) = place.json(&format!("runs {id} --at 0"));
    assert_eq!(
        (code, &stood["seq"], &stood["status"]),
        (0, &Value::from(0), &Value::from("pending")),
        "{stood}"
    );
    let shown = place.chainbot(&format!("runs {id} --at 1"));
    assert!(shown.code == 0 && shown.stdout.contains("record    1 of "), "{}{}", shown.stdout, shown.stderr);
    let beyond = place.chainbot(&format!("runs {id} --at 99"));
    assert!(beyond.code == 2 && beyond.stderr.contains("error[CB-0016]"), "{}", beyond.stderr);
    let steps = place.chainbot(&format!("runs {id} --steps"));
    assert!(steps.code == 0 && steps.stdout.contains("    output  "), "{}", steps.stdout);
    assert_eq!(place.chainbot("runs --at 1").code, 2, "a record of which run?");
}

#[test]
fn the_doctor_and_fsck_find_nothing_in_a_sound_folder_and_name_damage() {
    let place = Place::new();
    place.waiting_run();
    let (code, report) = place.json("doctor");
    let failing: Vec<_> =
        report["checks"].as_array().unwrap().iter().filter(|check| check["level"] == "fail").collect();
    assert_eq!((code, failing.len()), (0, 0), "{report}");
    for name in [
        "configuration",
        "folder",
        "space",
        "flush",
        "clock",
        "settings",
        "integrity",
        "journal",
        "models",
        "environment",
        "server",
    ] {
        assert!(
            report["checks"].as_array().unwrap().iter().any(|check| check["check"] == name),
            "{name}: {report}"
        );
    }
    assert_eq!(place.json("fsck").0, 0);
    let database = rusqlite::Connection::open(place.path().join("data/chainbot.db")).unwrap();
    database.execute("UPDATE run SET name = 'wine'", []).unwrap();
    drop(database);
    let shown = place.chainbot("fsck");
    assert!(shown.code == 1 && shown.stdout.starts_with("I3 run "), "{}{}", shown.stdout, shown.stderr);
    assert_eq!(place.chainbot("doctor").code, 1);
    let (code, repaired) = place.json("fsck --repair");
    assert_eq!((code, &repaired["repaired"]), (0, &Value::from(1)), "{repaired}");
    assert_eq!(place.json("fsck").0, 0);
    // A command that only looks may be over before its engine has parked the run.
    let waiting = || place.json("runs --status waiting").1.as_array().unwrap().len();
    assert!((0..50).any(|_| waiting() == 1), "the run was taken up again and waits");
}
