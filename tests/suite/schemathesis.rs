//! Requests by chance and by rule, made from the module's own OpenAPI document by schemathesis: none gives a 5xx, and every
//! answer is one that the document tells of.
//!
//! The tool is installed into a cache folder outside of the clone, from its registry, by name and with fixed versions; where that
//! cannot be reached the test says so and is skipped.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::furnished::{Names, furnish};
use crate::server::{Server, data};
use crate::support::{has_tool, root, skip};

const NAME: &str = "schemathesis";
/// Requests of one operation in the phase by chance. With the phase by rule it makes some 40 of each.
const BY_CHANCE: &str = "14";
const REQUESTS_MIN: u64 = 3_000;

/// The tool, installed; or why it cannot be.
fn tool() -> Result<PathBuf, String> {
    let constraints = root().join("tests/data/schemathesis/constraints.txt");
    let text = std::fs::read_to_string(&constraints).unwrap();
    let wanted = text.lines().find(|line| line.starts_with("schemathesis==")).unwrap();
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    let folder = cache.unwrap_or_else(std::env::temp_dir).join("chainbot").join(wanted.replace("==", "-"));
    let program = folder.join("bin/st");
    if folder.join("installed").exists() && works(&program) {
        return Ok(program);
    }
    let said = |output: std::io::Result<Output>| match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            Err(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned())
        }
        Err(error) => Err(error.to_string()),
    };
    said(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder).output())?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--timeout",
        "15",
        "--retries",
        "1",
    ]);
    said(pip.arg("-c").arg(&constraints).arg(wanted).output())?;
    std::fs::write(folder.join("installed"), "").map_err(|error| error.to_string())?;
    Ok(program)
}

fn works(program: &Path) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The document, with names that lead somewhere beside those by chance, and without the entry for any other status: what is not
/// named is not expected.
fn narrowed(mut document: Value, names: &Names) -> Value {
    for (path, item) in document["paths"].as_object_mut().unwrap() {
        for (method, operation) in item.as_object_mut().unwrap() {
            operation["responses"].as_object_mut().unwrap().remove("default");
            for parameter in
                operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten()
            {
                let name = parameter["name"].as_str().unwrap();
                // Any name of a secret is taken, so there is no wrong one to narrow to.
                if path.contains("/secrets/") {
                    continue;
                }
                let Some(kind) = names.of(path, name).filter(|_| parameter["in"] == "path") else { continue };
                let mut all = if method == "delete" { kind.go.clone() } else { kind.stay.clone() };
                all.push("none".to_owned());
                parameter["schema"] = json!({ "type": "string", "enum": all });
            }
        }
    }
    document
}

#[test]
fn three_thousand_requests_by_chance_meet_no_failure_and_no_answer_that_the_document_does_not_tell() {
    if !has_tool("python3") {
        skip!(NAME, "python3 is not installed");
    }
    let tool = match tool() {
        Ok(tool) => tool,
        Err(why) => skip!(NAME, "it cannot be installed: {why}"),
    };
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(&data(&folder), &["api.rate_limit_per_token=0"]);
    let names = furnish(&server);
    let document = narrowed(server.port.ask("GET openapi.json", &[], "").json(), &names);
    let (file, report) = (folder.path().join("openapi.json"), folder.path().join("report.json"));
    std::fs::write(&file, document.to_string()).unwrap();
    let checks = [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
        "missing_required_header",
        "unsupported_method",
        "ignored_auth",
    ];
    let mut command = Command::new(tool);
    command.current_dir(folder.path()).arg("run").arg(&file);
    command.args(["--url", &format!("http://{}", server.port.address)]);
    command.args(["--header", &format!("Authorization: Bearer {}", server.port.token)]);
    command.args([
        "--checks",
        &checks.join(","),
        "--max-examples",
        BY_CHANCE,
        "--phases",
        "examples,coverage,fuzzing",
    ]);
    // A stream of events does not end.
    command.args(["--exclude-path", "/api/chainbot/events"]);
    command.args([
        "--generation-with-security-parameters",
        "false",
        "--generation-database",
        "none",
        "--seed",
        "7",
    ]);
    command.args([
        "--suppress-health-check",
        "all",
        "--no-shrink",
        "--continue-on-failure",
        "--no-color",
        "--warnings",
        "off",
    ]);
    command
        .args(["--request-timeout", "60", "--workers", "1", "--report", "json", "--report-json-path"])
        .arg(&report);
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = std::fs::read_to_string(&report).unwrap_or_else(|error| panic!("{error}: {told}"));
    let report: Value = serde_json::from_str(&report).unwrap();
    assert!(output.status.success(), "{told}\n{:#}", report["failures"]);
    assert_eq!((report["complete"].as_bool(), report["failures"].as_array().unwrap().len()), (Some(true), 0));
    let requests = report["test_cases"]["generated"].as_u64().unwrap();
    assert!(requests >= REQUESTS_MIN, "{requests} requests only");
    assert_eq!(server.port.ask("GET health", &[], "").json()["status"], "healthy");
    assert_eq!(server.port.ask("GET audit/verify", &[], "").json()["ok"], true);
    println!("{requests} requests");
}
