//! `host-shim validate`: it passes the module and a clean one in C, and finds each planted defect with its check.
//!
//! `CHAINBOT_PROOF=long` makes every check on every defect; else a defect meets the check that is meant for it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use super::support::{has_tool, host_shim, plugin, root, skip};

/// Every file of tests/c/defects, and the check that must find it.
const DEFECTS: &[(&str, &str)] = &[
    ("aborts_on_bad_payload", "event-arguments"),
    ("accepts_after_stop", "states-stopped"),
    ("any_extension", "extension-unknown"),
    ("bad_utf8_to_log", "host-arguments"),
    ("calls_after_cleanup", "host-after-cleanup"),
    ("changes_environment", "environment"),
    ("changes_folder", "working-directory"),
    ("changes_locale", "locale"),
    ("changes_mask", "signal-mask"),
    ("changes_umask", "umask"),
    ("completes_after_stop", "completion-at-stop"),
    ("completes_never", "completion-once"),
    ("completes_on_stack", "completion-stack"),
    ("completes_refused", "completion-refused"),
    ("completes_twice", "completion-once"),
    ("describe_not_json", "manifest"),
    ("describe_slow", "describe-time"),
    ("event_blocks", "call-time"),
    ("failed_init_sets_out", "initialize-failure"),
    ("health_blocks", "call-time"),
    ("init_leaves_thread", "initialize-threads"),
    ("installs_handler", "signal-handlers"),
    ("keeps_borrowed_pointer", "borrowed-pointers"),
    ("leaks_descriptor", "descriptors"),
    ("leaks_thread", "threads"),
    ("leaves_message", "error-buffer"),
    ("missing_extension", "extensions-served"),
    ("null_function", "functions"),
    ("overruns_error_buffer", "error-buffer"),
    ("payload_not_json", "host-arguments"),
    ("reads_beyond_topic", "argument-bounds"),
    ("reads_host_after_cleanup", "host-after-cleanup"),
    ("released_crashes", "released-instance"),
    ("score_above_one", "health-score"),
    ("score_nan", "health-score"),
    ("short_struct", "struct-size"),
    ("start_twice", "states-started"),
    ("stop_hangs", "stop-deadline"),
    ("takes_any_major", "versions"),
    ("trusts_any_instance", "unknown-instance"),
    ("undeclared_topic", "topics-declared"),
    ("writes_into_host", "host-read-only"),
    ("wrong_http_status", "reply"),
    ("wrong_major", "versions"),
];

fn compile(folder: &Path, name: &str) -> PathBuf {
    let out = folder.join(format!("{name}.so"));
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-pthread", "-I"]);
    cc.arg(root().join("include")).arg(root().join(format!("tests/c/defects/{name}.c")));
    super::support::run(cc.arg("-o").arg(&out));
    out
}

fn validate(module: &Path, args: &[&str]) -> (Output, Value) {
    let seed = std::env::var("CHAINBOT_SEED").unwrap_or_else(|_| "1".to_owned());
    let output = Command::new(host_shim())
        .arg("validate")
        .arg(module)
        .args(["--json", "--seed", &seed])
        .args(args)
        .output()
        .unwrap();
    let table = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output, table)
}

/// Rows of one status: check and first reason.
fn rows(table: &Value, status: &str) -> Vec<String> {
    let rows = table["checks"].as_array().unwrap().iter().filter(|row| row["status"] == status);
    rows.map(|row| format!("{}: {}", row["check"].as_str().unwrap(), row["reasons"])).collect()
}

fn is_long() -> bool {
    std::env::var("CHAINBOT_PROOF").is_ok_and(|size| size == "long")
}

#[test]
fn the_validator_passes_the_module_in_full() {
    let fuzz = if is_long() { "10m" } else { "6s" };
    let (output, table) = validate(&plugin(), &["--set", "api.port=null", "--fuzz", fuzz]);
    assert_eq!(rows(&table, "fail"), [""; 0], "seed {}", table["seed"]);
    assert_eq!(rows(&table, "skip"), [""; 0]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn the_validator_passes_a_clean_module_in_c() {
    if !has_tool("cc") {
        skip!("the_validator_passes_a_clean_module_in_c", "no cc");
    }
    let folder = tempfile::tempdir().unwrap();
    let (output, table) = validate(&compile(folder.path(), "clean"), &["--fuzz", "1s"]);
    assert_eq!(rows(&table, "fail"), [""; 0]);
    let skipped = rows(&table, "skip");
    assert_eq!(skipped.len(), 2, "it offers neither drain nor reconfigure: {skipped:?}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn each_planted_defect_is_found_by_its_check() {
    if !has_tool("cc") {
        skip!("each_planted_defect_is_found_by_its_check", "no cc");
    }
    let files = std::fs::read_dir(root().join("tests/c/defects")).unwrap();
    let mut names: Vec<String> = files
        .filter_map(|file| Some(file.unwrap().path().file_name()?.to_str()?.strip_suffix(".c")?.to_owned()))
        .filter(|name| name != "clean")
        .collect();
    names.sort();
    assert_eq!(
        names,
        DEFECTS.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        "every defect is in the table"
    );
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for (name, check) in DEFECTS {
        let only = ["--fuzz", "300ms", "--only", check];
        let (output, table) =
            validate(&compile(folder.path(), name), if is_long() { &only[..2] } else { &only });
        let failed = rows(&table, "fail");
        let found = failed.iter().any(|row| row.starts_with(&format!("{check}: ")));
        if !found || output.status.code() != Some(1) {
            wrong.push(format!("{name}: {check} did not find it, but {failed:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_wrong_name_or_a_missing_file_is_told() {
    let run = |args: &[&str]| Command::new(host_shim()).arg("validate").args(args).output().unwrap();
    let output = run(&["x.so", "--only", "helth"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("`helth`"));
    let output = run(&["/nonexistent/x.so"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("CB-0801"));
    let output = run(&["--list"]);
    assert!(String::from_utf8_lossy(&output.stdout).lines().count() > 40);
}
