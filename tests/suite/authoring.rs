//! The commands for authors as a person meets them: test, dry run, graph, import.

use std::path::Path;

use serde_json::Value;

use super::cli::{Outcome, chainbot};
use super::support::root;

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

fn json(shown: &Outcome) -> Value {
    serde_json::from_str(&shown.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", shown.stdout, shown.stderr))
}

const WORKFLOW: &str = "\
name: shop
steps:
  - { id: fetch, type: api_call, config: { url: 'http://example.invalid/', method: POST, idempotency: key } }
  - { id: rare, type: set, when: steps.fetch.output.data == 7, config: { variables: { x: 1 } } }
";
const TESTS: &str = "\
workflow: shop.yaml
cases:
  - name: good
    mocks: { fetch: { output: { data: 1 } } }
    expect: { skipped: [rare] }
  - name: bad <1>
    mocks: { fetch: { output: { data: 7 } } }
    expect: { skipped: [rare] }
";

#[test]
fn the_tests_of_the_examples_pass() {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root().join("examples/workflows")).unwrap() {
        let file = entry.unwrap().path().join("workflow.test.yaml");
        if file.exists() {
            files.push(file.to_str().unwrap().to_owned());
        }
    }
    assert!(files.len() >= 2, "{files:?}");
    let args: Vec<&str> = ["test", "--json"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let folder = tempfile::tempdir().unwrap();
    let shown = chainbot(folder.path(), &args);
    assert_eq!(shown.code, 0, "{}{}", shown.stdout, shown.stderr);
    for tested in json(&shown).as_array().unwrap() {
        let never = tested["coverage"].as_array().unwrap().iter().filter(|step| step["completed"] == 0);
        let never: Vec<&Value> = never.filter(|step| step["failed"] == 0).collect();
        assert!(never.is_empty(), "{never:?}");
    }
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "a test stores nothing");
}

#[test]
fn a_failing_case_ends_with_1_and_a_broken_file_with_2() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "shop.yaml", WORKFLOW);
    write(folder.path(), "shop.test.yaml", TESTS);
    let shown = chainbot(folder.path(), &["test", "shop.test.yaml", "--junit", "report.xml"]);
    assert_eq!(shown.code, 1, "{}", shown.stderr);
    for part in
        ["✓ good", "✗ bad <1>", "shop.test.yaml:8:24: skipped are [], expected [rare]", "2 of 2 steps ran"]
    {
        assert!(shown.stdout.contains(part), "{part}: {}", shown.stdout);
    }
    let report = std::fs::read_to_string(folder.path().join("report.xml")).unwrap();
    assert!(
        report.contains("tests=\"2\" failures=\"1\"") && report.contains("name=\"bad &lt;1&gt;\""),
        "{report}"
    );
    let only = chainbot(folder.path(), &["test", "shop.test.yaml", "--only", "good"]);
    assert_eq!(only.code, 0, "{}", only.stdout);
    assert!(only.stdout.contains("never ran: rare (set, line 4, only skipped)"), "{}", only.stdout);
    write(folder.path(), "broken.test.yaml", &TESTS.replace("expect:", "expct:"));
    let shown = chainbot(folder.path(), &["test", "broken.test.yaml"]);
    assert_eq!(shown.code, 2);
    assert!(shown.stderr.contains("broken.test.yaml:5:5") && shown.stderr.contains("did you mean `expect`?"));
    write(folder.path(), "lost.test.yaml", &TESTS.replace("shop.yaml", "lost.yaml"));
    let shown = chainbot(folder.path(), &["test", "lost.test.yaml"]);
    assert_eq!(shown.code, 2);
    assert!(shown.stderr.contains("named at lost.test.yaml:1:11"), "{}", shown.stderr);
}

#[test]
fn a_dry_run_shows_what_would_be_sent_and_stores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "shop.yaml", WORKFLOW);
    let shown = chainbot(folder.path(), &["run", "shop.yaml", "--dry"]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    assert!(shown.stdout.contains("POST http://example.invalid/"), "{}", shown.stdout);
    let args = ["run", "shop.yaml", "--dry", "--json", "--mock", "fetch={\"data\": 7}"];
    let plan = json(&chainbot(folder.path(), &args));
    assert_eq!((&plan["status"], &plan["steps"][1]["status"]), (&"completed".into(), &"completed".into()));
    assert_eq!(plan["steps"][0]["sends"]["url"], "http://example.invalid/");
    assert_eq!(chainbot(folder.path(), &["run", "shop.yaml", "--dry", "--mock", "fetsh=1"]).code, 2);
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["shop.yaml"], "no data folder was made");
}

#[test]
fn a_graph_comes_in_three_forms_and_in_the_colours_of_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let source = "name: two\nsteps:\n  - { id: a, type: set, config: { variables: { x: 1 } } }\n  - { id: b, type: set, when: 'vars.x > 1', config: { variables: { x: 2 } } }\n";
    write(folder.path(), "two.yaml", source);
    let mermaid = chainbot(folder.path(), &["graph", "two.yaml"]);
    assert!(
        mermaid.stdout.contains("flowchart TD") && mermaid.stdout.contains("s_a --> s_b"),
        "{}",
        mermaid.stdout
    );
    let flow = json(&chainbot(folder.path(), &["graph", "two.yaml", "--format", "json"]));
    assert_eq!(flow["edges"].as_array().unwrap().len(), 3);
    let run = json(&chainbot(folder.path(), &["run", "two.yaml", "--data", "data", "--json"]));
    let id = run["run"]["id"].as_str().unwrap();
    let args = ["graph", "two.yaml", "--format", "svg", "--run", id, "--data", "data"];
    let svg = chainbot(folder.path(), &args);
    assert_eq!(svg.code, 0, "{}", svg.stderr);
    assert!(
        svg.stdout.starts_with("<svg ")
            && svg.stdout.contains("box completed")
            && svg.stdout.contains("box skipped")
    );
}

#[test]
fn an_import_writes_a_valid_definition_once_and_reports_every_line() {
    let folder = tempfile::tempdir().unwrap();
    let old = "{ \"name\": \"Old One\", \"steps\": [ { \"id\": \"A\", \"type\": \"webhook\", \"config\": { \"url\": \"http://example.org/${x}\" } } ] }";
    write(folder.path(), "old.json", old);
    let shown = chainbot(folder.path(), &["import", "old.json", "--out", "new.yaml"]);
    assert_eq!((shown.code, shown.stdout.as_str()), (0, ""), "{}", shown.stderr);
    assert!(shown.stderr.contains("`${x}` became `{{ inputs.x }}`"), "{}", shown.stderr);
    assert_eq!(chainbot(folder.path(), &["validate", "new.yaml"]).code, 0);
    let again = chainbot(folder.path(), &["import", "old.json", "--out", "new.yaml"]);
    assert_eq!(again.code, 1, "{}", again.stderr);
    assert!(again.stderr.contains("CB-0911"), "{}", again.stderr);
    write(folder.path(), "none.json", "[1]");
    let shown = chainbot(folder.path(), &["import", "none.json"]);
    assert_eq!(shown.code, 2);
    assert!(shown.stderr.contains("CB-0383"), "{}", shown.stderr);
}
