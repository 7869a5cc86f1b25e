//! The example workflows, run as their reader runs them and compared with what they promise.
//!
//! A folder below `examples/workflows` is an example: `workflow.yaml`, `inputs.json`, `expected.json`, and
//! `signal.json` where it waits for one. `UPDATE_GOLDEN=1` rewrites `expected.json`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::cli::{Outcome, chainbot};
use super::support;

/// The port in the examples' own configuration.
const PORT: &str = "8090";
/// Fewer would mean that the search goes wrong.
const EXAMPLES_MIN: usize = 8;

/// The example service on a free port; ends with the test.
struct Service {
    child: Child,
    port: String,
}

impl Service {
    fn start() -> Self {
        let mut child = Command::new("python3")
            .arg(support::root().join("examples/server/server.py"))
            .args(["--port", "0", "--quiet"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().rsplit(':').next().unwrap().to_owned();
        assert!(port.parse::<u16>().is_ok(), "the example service did not start: {line:?}");
        Self { child, port }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A data folder, and a configuration that grants the service's port.
struct Place {
    folder: tempfile::TempDir,
    service: Service,
}

impl Place {
    fn new() -> Self {
        let (folder, service) = (tempfile::tempdir().unwrap(), Service::start());
        let config = std::fs::read_to_string(support::root().join("examples/config.yaml")).unwrap();
        assert!(config.contains(&format!("ports: [{PORT}]")), "the examples' configuration grants {PORT}");
        std::fs::write(folder.path().join("config.yaml"), config.replace(PORT, &service.port)).unwrap();
        Self { folder, service }
    }

    fn chainbot(&self, args: &[&str]) -> Outcome {
        let place = ["--data", "data", "--config", "config.yaml", "--json"];
        chainbot(self.folder.path(), &[args, &place].concat())
    }

    fn json(&self, code: i32, args: &[&str]) -> Value {
        let shown = self.chainbot(args);
        assert_eq!(shown.code, code, "{args:?}: {}{}", shown.stdout, shown.stderr);
        serde_json::from_str(&shown.stdout)
            .unwrap_or_else(|error| panic!("{args:?}: {error}: {}", shown.stdout))
    }

    /// The inputs of an example, with the service where it is now.
    fn inputs(&self, example: &Path) -> String {
        let mut inputs = read(&example.join("inputs.json"));
        let source = std::fs::read_to_string(example.join("workflow.yaml")).unwrap();
        if source.contains("inputs.service") {
            inputs["service"] = json!(format!("http://127.0.0.1:{}", self.service.port));
        }
        let path = self.folder.path().join("inputs.json");
        std::fs::write(&path, inputs.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn run(&self, example: &Path) -> Value {
        let (file, inputs) = (file(example), self.inputs(example));
        self.json(0, &["run", &file, "--input-file", &inputs])
    }

    /// Starts the run in a server, hands it the signal, and follows it to its end.
    fn run_with_signal(&self, example: &Path) -> Value {
        let (file, inputs) = (file(example), self.inputs(example));
        let signal = read(&example.join("signal.json"));
        let name = signal["name"].as_str().unwrap();
        let data = signal["data"].to_string();
        self.json(0, &["start", "--http", "127.0.0.1:0"]);
        let waiting = self.json(4, &["run", &file, "--input-file", &inputs, "--no-wait"]);
        assert_eq!(waiting["run"]["status"], "waiting", "{waiting}");
        let id = waiting["run"]["id"].as_str().unwrap();
        self.json(0, &["signal", id, name, "--data-json", &data]);
        assert_eq!(self.chainbot(&["logs", id, "--follow"]).code, 0);
        let shown = self.json(0, &["runs", id]);
        assert_eq!(self.chainbot(&["stop"]).code, 0);
        shown
    }
}

fn file(example: &Path) -> String {
    example.join("workflow.yaml").to_str().unwrap().to_owned()
}

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn examples() -> Vec<PathBuf> {
    let folder = support::root().join("examples/workflows");
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    assert!(found.len() >= EXAMPLES_MIN, "{found:?}");
    found
}

/// What of a run does not change from one to the next: status, output, error, and how often each step ended how.
fn normalised(shown: &Value) -> Value {
    let mut steps: BTreeMap<&str, BTreeMap<&str, u32>> = BTreeMap::new();
    for step in shown["steps"].as_array().unwrap() {
        let (id, status) = (step["id"].as_str().unwrap(), step["status"].as_str().unwrap());
        *steps.entry(id).or_default().entry(status).or_default() += 1;
    }
    let run = &shown["run"];
    json!({ "status": run["status"], "output": run["output"], "error": run["error"], "steps": steps })
}

fn check(example: &Path, shown: &Value) {
    let (actual, path) = (normalised(shown), example.join("expected.json"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, format!("{actual:#}\n")).unwrap();
    }
    assert_eq!(actual, read(&path), "{} differs; UPDATE_GOLDEN=1 rewrites it", path.display());
}

#[test]
fn each_example_agent_does_its_task_offline() {
    let root = support::root().join("examples/agents");
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    assert!(!found.is_empty());
    for example in found {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let readme = std::fs::read_to_string(example.join("README.md")).unwrap();
        // The commands of its page, in a folder of their own.
        let commands: Vec<Vec<String>> = readme
            .lines()
            .filter_map(|line| line.strip_prefix("chainbot "))
            .map(|line| {
                shell(line).into_iter().map(|word| word.replace("./data", data.to_str().unwrap())).collect()
            })
            .collect();
        assert!(commands.len() >= 2, "{}", example.display());
        for (number, words) in commands.iter().enumerate() {
            let mut all: Vec<&str> = words.iter().map(String::as_str).collect();
            all.push("--json");
            let shown = chainbot(&example, &all);
            assert_eq!(shown.code, 0, "{all:?}: {}{}", shown.stdout, shown.stderr);
            if number + 1 == commands.len() {
                let output = serde_json::from_str::<Value>(&shown.stdout).unwrap()["run"]["output"].clone();
                let expected = read(&example.join("expected.json"));
                assert!(holds(&output, &expected), "{}: {output:#}", example.display());
            }
        }
    }
}

/// All that is expected is there; there may be more members.
fn holds(shown: &Value, expected: &Value) -> bool {
    match expected {
        Value::Object(entries) => entries.iter().all(|(key, value)| holds(&shown[key], value)),
        other => shown == other,
    }
}

/// Words as a shell takes them, of lines that quote with `'` alone.
fn shell(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate();
    parts
        .flat_map(|(number, part)| match number % 2 {
            1 => vec![part.to_owned()],
            _ => part.split_whitespace().map(str::to_owned).collect(),
        })
        .collect()
}

#[test]
fn every_example_gives_what_it_promises() {
    if !support::has_tool("python3") {
        support::skip!("every_example_gives_what_it_promises", "python3 is missing");
    }
    support::chainbot(); // with host-shim and the plugin beside it
    let place = Place::new();
    let folder = support::root().join("examples/workflows");
    let folder = folder.to_str().unwrap();
    let stored = place.json(0, &["deploy", folder]);
    assert!(stored.as_array().unwrap().iter().all(|one| one["result"] == "created"), "{stored}");
    for example in examples() {
        let waits = example.join("signal.json").exists();
        let shown = if waits { place.run_with_signal(&example) } else { place.run(&example) };
        check(&example, &shown);
    }
    let again = place.json(0, &["deploy", folder]);
    assert!(again.as_array().unwrap().iter().all(|one| one["result"] == "unchanged"), "{again}");
}

#[test]
fn every_example_is_valid_without_a_warning() {
    for example in examples() {
        for entry in std::fs::read_dir(&example).unwrap() {
            let path = entry.unwrap().path();
            let is_test = path.to_str().is_some_and(|path| path.ends_with(".test.yaml"));
            if is_test || path.extension().is_none_or(|ending| ending != "yaml") {
                continue;
            }
            let shown = chainbot(support::root(), &["validate", path.to_str().unwrap(), "--json"]);
            let report: Value = serde_json::from_str(&shown.stdout).unwrap();
            assert_eq!((shown.code, &report[0]["diagnostics"]), (0, &json!([])), "{}", path.display());
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("# "), "{} begins with what it shows", path.display());
        }
    }
}

#[test]
fn the_configuration_of_the_examples_is_valid_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let config = support::root().join("examples/config.yaml");
    let shown = chainbot(folder.path(), &["config", "check", "--config", config.to_str().unwrap(), "--json"]);
    let report: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!((&report["valid"], &report["diagnostics"]), (&json!(true), &json!([])), "{}", shown.stderr);
}
