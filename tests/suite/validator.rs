//! `host-shim validate`: it passes the module and a clean one in C, and finds each planted defect with its check.
//!
//! `CHAINBOT_PROOF=long` makes every check on every defect; else a defect meets the check that is meant for it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use chainbot_core::env::proof;
use serde_json::Value;

use super::support::{has_tool, host_shim, plugin, root, skip};

/// Every file of tests/c/defects, and the check that must find it.
const DEFECTS: &[(&str, &str)] = &[
    ("aborts_on_bad_payload", "event-arguments"),
    ("accepts_after_stop", "states-stopped"),
    ("any_extension", "extension-unknown"),
    ("apply_changes_what_it_refuses", "fuzz-reconfigure"),
    ("apply_crashes_on_depth", "fuzz-reconfigure"),
    ("apply_takes_nonsense", "reconfigure"),
    ("bad_utf8_to_log", "host-arguments"),
    ("calls_after_cleanup", "host-after-cleanup"),
    ("changes_environment", "environment"),
    ("changes_folder", "working-directory"),
    ("changes_locale", "locale"),
    ("changes_mask", "signal-mask"),
    ("changes_umask", "umask"),
    ("check_applies", "reconfigure"),
    ("completes_after_stop", "completion-at-stop"),
    ("completes_never", "completion-once"),
    ("completes_on_stack", "completion-stack"),
    ("completes_refused", "completion-refused"),
    ("completes_twice", "completion-once"),
    ("config_on_other_thread", "reconfigure"),
    ("describe_not_json", "manifest"),
    ("describe_slow", "describe-time"),
    ("drain_cancel_forgets", "drain"),
    ("drain_drops_work", "drain"),
    ("drain_gives_requests_up", "drain"),
    ("drain_never_rests", "drain"),
    ("drain_overstays", "drain"),
    ("drain_takes_work", "drain"),
    ("event_blocks", "call-time"),
    ("failed_init_sets_out", "initialize-failure"),
    ("health_blocks", "call-time"),
    ("import_trusts_text", "fuzz-hand-over"),
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
    ("reconfigure_keeps_pointer", "borrowed-pointers"),
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

#[test]
fn the_validator_passes_the_module_in_full() {
    let fuzz = format!("{}s", proof::size(10, 600));
    // The port that the module takes when nothing is said is in use: by this, or by whoever had it first.
    let _taken = std::net::TcpListener::bind(("127.0.0.1", 8000));
    let (output, table) = validate(&plugin(), &["--fuzz", &fuzz]);
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
    // The one offers neither drain nor reconfigure: a check and a fuzzer of each.
    for (name, skips) in [("clean", 4), ("clean_extended", 0)] {
        let (output, table) = validate(&compile(folder.path(), name), &["--fuzz", "1s"]);
        assert_eq!(rows(&table, "fail"), [""; 0], "{name}");
        assert_eq!(rows(&table, "skip").len(), skips, "{name}: {:?}", rows(&table, "skip"));
        assert_eq!(output.status.code(), Some(0), "{name}");
    }
}

#[test]
fn each_planted_defect_is_found_by_its_check() {
    if !has_tool("cc") {
        skip!("each_planted_defect_is_found_by_its_check", "no cc");
    }
    let files = std::fs::read_dir(root().join("tests/c/defects")).unwrap();
    let mut names: Vec<String> = files
        .filter_map(|file| Some(file.unwrap().path().file_name()?.to_str()?.strip_suffix(".c")?.to_owned()))
        .filter(|name| !name.starts_with("clean"))
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
            validate(&compile(folder.path(), name), if proof::is_long() { &only[..2] } else { &only });
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
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("CB-0801") && said.contains("/nonexistent/x.so") && said.lines().count() == 1,
        "{said}"
    );
    let output = run(&[root().join("Cargo.toml").to_str().unwrap()]);
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("fail  entry") && told.contains("the other checks are skipped"), "{told}");
    assert!(!told.contains("skip  "), "a row for every check that could not be made: {told}");
    let output = run(&["--list"]);
    assert!(String::from_utf8_lossy(&output.stdout).lines().count() > 40);
}
