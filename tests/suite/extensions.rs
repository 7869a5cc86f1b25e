//! The extensions of the built module, used by a program in C through the header alone, and the figures over HTTP.

use std::process::Command;

use crate::crash::client::Client;
use crate::host_shim::Host;
use crate::support::{self, has_tool, root, run, skip};

#[test]
fn a_program_in_c_uses_every_extension_through_the_header() {
    if !has_tool("cc") {
        skip!("a_program_in_c_uses_every_extension_through_the_header", "no C compiler is installed as `cc`");
    }
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("extensions");
    let mut compile = Command::new("cc");
    compile.args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1", "-pthread", "-I"]);
    compile.arg(root().join("include")).arg(root().join("tests/c/extensions.c"));
    run(compile.arg("-o").arg(&program).arg("-ldl"));
    let got = run(Command::new(&program).arg(support::plugin()).arg(folder.path().join("data")));
    let expected = "\
initialize 0
import of another version -4 CB-0713
import 0
apply before start -2 CB-0702
start 0
metrics 0
score 1, commits 1, end 1
check 0
apply of what needs a restart -4 CB-0509
snapshot 0
public before 1
apply 0
snapshot 0
closed after 1, restart 1
export before a drain -2 CB-0702
drain 0
health 0
state 4, score 0.5
export 0
format 1
cancel 0
drain again 0
warnings 0
stop on another thread 0
warnings 1
cleanup 0
";
    assert_eq!(got, expected);
}

#[test]
fn the_figures_are_the_same_by_the_port_and_through_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let host = Host::of(&support::plugin(), &["--data", data.to_str().unwrap(), "--set", "api.port=0"]);
    let client = Client::of(&data).unwrap();
    let json = "content-type: application/json\r\n";
    let definition = r#"{"name":"one","steps":[{"id":"a","type":"set","config":{"variables":{"x":"1"}}}]}"#;
    assert_eq!(client.send("POST", "/api/chainbot/workflows", json, definition).unwrap().status, 201);
    let run = client.send("POST", "/api/chainbot/workflows/one/runs", json, "{}").unwrap().body;
    let path = format!("/api/chainbot/runs/{}", run["id"].as_str().unwrap());
    client.wait_until(|| client.get(&path)["status"] == "completed");
    let figures = client.get("/api/chainbot/metrics");
    assert_eq!(figures["chainbot_health_score"], 1.0, "{figures}");
    assert_eq!(figures["chainbot_workflow_executions_total"]["completed"], 1.0, "{figures}");
    assert!(figures["chainbot_journal_commit_seconds"]["count"].as_u64() >= Some(2), "{figures}");
    assert!(figures["chainbot_journal_bytes_total"].as_f64() > Some(0.0), "{figures}");
    assert!(figures["process_resident_memory_bytes"].as_f64() > Some(1e6), "{figures}");
    // The module looks once a second, and the host shows what it saw; nothing but its own look ends this wait.
    let scrape = || String::from_utf8(host.request("GET /host/metrics", b"").2).unwrap();
    while !scrape().contains("\nchainbot_workflow_executions_total{status=\"completed\"} 1\n") {
        std::thread::yield_now();
    }
    let text = scrape();
    for line in [
        "# TYPE chainbot_workflow_executions counter",
        "chainbot_module_state 3",
        "alex_host_upgrades_total 0",
    ] {
        assert!(text.lines().any(|own| own == line), "{line} is not in: {text}");
    }
    assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
    let names = |text: &str| {
        let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE chainbot_"));
        lines.filter(|line| !line.starts_with("module_")).count()
    };
    // A scraper's text has the same families; there counters keep their suffix in the type's line.
    let token = std::fs::read_to_string(data.join("token")).unwrap();
    let head = format!("GET /metrics\nauthorization: Bearer {}", token.trim());
    let (status, head, body) = host.request(&head, b"");
    let scraped = String::from_utf8(body).unwrap();
    assert_eq!((status, names(&scraped)), (200, names(&text)), "{scraped}");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(scraped.contains("# TYPE chainbot_workflow_executions_total counter\n"), "{scraped}");
    assert_eq!(host.request("GET /metrics", b"").0, 401, "an address is no credential");
    assert_eq!(host.stop().0, 0);
}
