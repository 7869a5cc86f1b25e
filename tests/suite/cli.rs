//! The command line as a person meets it, as far as no engine is needed.

use std::path::Path;
use std::process::{Command, Stdio};

/// What a command gave.
pub struct Outcome {
    /// Its exit code.
    pub code: i32,
    /// Results.
    pub stdout: String,
    /// What was said about them.
    pub stderr: String,
}

/// The program in a folder of its own, without anything of the caller's environment that it reads.
pub fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chainbot"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ALEX_OS_")) {
        command.env_remove(name);
    }
    command.args(args).current_dir(folder).env("XDG_STATE_HOME", folder.join("state")).stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub fn chainbot(folder: &Path, args: &[&str]) -> Outcome {
    outcome(&mut command(folder, args))
}

/// The same, with a text on its standard input.
pub fn fed(folder: &Path, args: &[&str], text: &str) -> Outcome {
    let mut pipe = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut pipe, text.as_bytes()).unwrap();
    std::io::Seek::rewind(&mut pipe).unwrap();
    outcome(command(folder, args).stdin(pipe))
}

fn outcome(command: &mut Command) -> Outcome {
    let output = command.output().unwrap();
    Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Compares with `tests/golden/cli/<name>`.
fn golden(name: &str, text: &str) {
    crate::support::golden(&crate::support::root().join("tests/golden/cli").join(name), text);
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"))
}

#[test]
fn version_is_the_packages_for_people_and_machines() {
    let folder = tempfile::tempdir().unwrap();
    let people = chainbot(folder.path(), &["version"]);
    assert_eq!(people.code, 0);
    assert!(
        people.stdout.starts_with(concat!("chainbot ", env!("CARGO_PKG_VERSION"), " (")),
        "{}",
        people.stdout
    );
    let machines = chainbot(folder.path(), &["version", "--json"]);
    assert_eq!(json(&machines.stdout)["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chainbot(folder.path(), &["--version"]).code, 0);
}

#[test]
fn help_is_as_reviewed() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = String::new();
    for command in [
        "",
        "validate",
        "run",
        "deploy",
        "workflows",
        "delete",
        "start",
        "stop",
        "status",
        "health",
        "runs",
        "cancel",
        "signal",
        "logs",
        "config",
        "secret",
        "secret set",
        "user",
        "user add",
        "token",
        "token create",
        "schema",
        "test",
        "graph",
        "import",
        "import chatgpt",
    ] {
        let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let shown = chainbot(folder.path(), &args);
        assert_eq!((shown.code, shown.stderr.as_str()), (0, ""), "{command}");
        all.push_str(&format!("$ chainbot {}\n{}\n", args.join(" "), shown.stdout));
    }
    golden("help.txt", &all);
}

#[test]
fn a_misspelt_command_is_told_the_right_one() {
    let folder = tempfile::tempdir().unwrap();
    let shown = chainbot(folder.path(), &["statsu"]);
    assert_eq!(shown.code, 2);
    assert!(shown.stderr.contains("'status'"), "{}", shown.stderr);
    assert_eq!(shown.stdout, "");
}

#[test]
fn a_valid_definition_is_said_to_be_valid() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hello.yaml"), HELLO).unwrap();
    let shown = chainbot(folder.path(), &["validate", "hello.yaml"]);
    assert_eq!(
        (shown.code, shown.stdout.as_str()),
        (0, "valid: 1 file, 0 errors, 0 warnings\n"),
        "{}",
        shown.stderr
    );
}

#[test]
fn a_wrong_definition_shows_every_problem_under_its_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("broken.yaml"), BROKEN).unwrap();
    let shown = chainbot(folder.path(), &["validate", "broken.yaml"]);
    assert_eq!((shown.code, shown.stderr.as_str()), (1, ""));
    golden("validate.txt", &shown.stdout);
    assert!(!shown.stdout.contains('\x1b'), "no colours where no terminal is");
    let machines = chainbot(folder.path(), &["validate", "broken.yaml", "--json"]);
    assert_eq!(machines.code, 1);
    let report = json(&machines.stdout);
    assert_eq!(report[0]["valid"], false);
    assert!(report[0]["diagnostics"].as_array().unwrap().len() >= 2, "{report}");
}

#[test]
fn standard_input_is_a_file_called_dash() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let mut child = command(folder.path(), &["validate", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(HELLO.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let report = json(&String::from_utf8(output.stdout).unwrap());
    assert_eq!((&report[0]["file"], &report[0]["valid"]), (&"<stdin>".into(), &true.into()));
}

#[test]
fn an_error_has_code_message_and_remedy_for_people_and_machines() {
    let folder = tempfile::tempdir().unwrap();
    let people = chainbot(folder.path(), &["run", "none.yaml"]);
    assert_eq!((people.code, people.stdout.as_str()), (2, ""));
    let expected = "error[CB-0901]: none.yaml cannot be read: No such file or directory (os error 2)\n  \
                    help: check the path; `-` reads standard input\n";
    assert_eq!(people.stderr, expected);
    let machines = chainbot(folder.path(), &["run", "none.yaml", "--json"]);
    assert_eq!((machines.code, machines.stderr.as_str()), (2, ""));
    assert_eq!(json(&machines.stdout)["error"]["code"], "CB-0901");
}

#[test]
fn a_wrong_definition_is_not_run() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("broken.yaml"), BROKEN).unwrap();
    let people = chainbot(folder.path(), &["run", "broken.yaml", "--data", "data"]);
    assert_eq!((people.code, people.stdout.as_str()), (2, ""));
    assert!(people.stderr.contains("nothing was run"), "{}", people.stderr);
    let machines = chainbot(folder.path(), &["run", "broken.yaml", "--data", "data", "--json"]);
    assert_eq!((machines.code, machines.stderr.as_str()), (2, ""));
    assert_eq!(json(&machines.stdout)["error"]["code"], "CB-0100");
    assert!(!folder.path().join("data").exists(), "a refused definition leaves no folder behind");
}

#[test]
fn without_a_server_status_health_and_stop_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let status = chainbot(folder.path(), &["status", "--data", "data"]);
    assert_eq!(status.code, 1);
    assert!(status.stdout.starts_with("not running on "), "{}", status.stdout);
    let status = chainbot(folder.path(), &["status", "--json"]);
    assert_eq!(json(&status.stdout)["running"], false);
    assert!(json(&status.stdout)["data_dir"].as_str().unwrap().ends_with("state/chainbot"));
    let health = chainbot(folder.path(), &["health"]);
    assert_eq!(health.code, 1);
    assert!(health.stderr.contains("error[CB-0903]"), "{}", health.stderr);
    assert_eq!(chainbot(folder.path(), &["stop"]).code, 0);
    let logs = chainbot(folder.path(), &["logs"]);
    assert_eq!(logs.code, 1);
    assert!(logs.stderr.contains("error[CB-0910]"), "{}", logs.stderr);
}

#[test]
fn a_server_whose_parts_are_missing_is_not_started() {
    let folder = tempfile::tempdir().unwrap();
    let shown = chainbot(folder.path(), &["start", "--host", "/nonexistent/host", "--data", "data"]);
    assert_eq!(shown.code, 1);
    assert!(
        shown.stderr.contains("error[CB-0905]") && shown.stderr.contains("--host PATH"),
        "{}",
        shown.stderr
    );
}

#[test]
fn a_server_that_ends_at_once_is_told_with_its_last_words() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let host = folder.path().join("host");
    std::fs::write(&host, "#!/bin/sh\necho 'the port is taken' >&2\nexit 7\n").unwrap();
    std::fs::set_permissions(&host, std::fs::Permissions::from_mode(0o755)).unwrap();
    let shown =
        chainbot(folder.path(), &["start", "--host", "./host", "--module", "./host", "--data", "data"]);
    assert_eq!(shown.code, 1);
    assert!(shown.stderr.starts_with("the port is taken\nerror[CB-0906]"), "{}", shown.stderr);
    let mode = std::fs::metadata(folder.path().join("data")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700, "the folder is the owner's alone");
}

#[test]
fn the_configuration_is_checked_with_file_line_and_suggestion() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.yaml"), "api:\n  prot: 1\nlogging:\n  level: loud\n").unwrap();
    let shown = chainbot(folder.path(), &["config", "check", "--config", "c.yaml"]);
    assert_eq!(shown.code, 1);
    golden("config-check.txt", &shown.stdout);
    let shown = chainbot(folder.path(), &["config", "check", "--config", "c.yaml", "--json"]);
    let report = json(&shown.stdout);
    assert_eq!(report["diagnostics"][0]["code"], "CB-0502");
    assert_eq!(report["diagnostics"][0]["line"], 2);
    std::fs::write(folder.path().join("c.yaml"), "audit:\n  enabled: true\n").unwrap();
    let shown = chainbot(folder.path(), &["config", "check", "--config", "c.yaml"]);
    assert_eq!(shown.code, 0, "a warning is no error");
    assert!(
        shown.stdout.contains("warning[CB-0504]") && shown.stdout.contains("1 warning"),
        "{}",
        shown.stdout
    );
}

#[test]
fn the_settings_in_force_are_shown_with_who_decided() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.yaml"), "api:\n  timeout: 1m\n").unwrap();
    let mut show = command(folder.path(), &["config", "show", "--config", "c.yaml", "--data", "here"]);
    let shown = outcome(show.env("ALEX_OS_CHAINBOT_PORT", "8123"));
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    let from = |path: &str| {
        let line = shown.stdout.lines().find(|line| line.starts_with(path)).unwrap().to_owned();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(from("api.timeout"), "60 file");
    assert_eq!(from("api.port"), "8123 environment ALEX_OS_CHAINBOT_PORT");
    assert!(from("module.data_dir").ends_with("/here --data"));
    assert_eq!(from("module.name"), "chainbot default");
}

#[test]
fn the_default_configuration_is_valid_and_the_schema_is_json() {
    let folder = tempfile::tempdir().unwrap();
    let default = chainbot(folder.path(), &["config", "default"]);
    std::fs::write(folder.path().join("c.yaml"), default.stdout).unwrap();
    let checked = chainbot(folder.path(), &["config", "check", "--config", "c.yaml"]);
    assert_eq!(checked.code, 0, "{}", checked.stdout);
    let schema = chainbot(folder.path(), &["config", "schema"]);
    assert_eq!(json(&schema.stdout)["additionalProperties"], false);
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let shown = outcome_with(command(folder.path(), &["config", "default"]).stdout(writer));
    assert_eq!(shown, (0, String::new()));
}

fn outcome_with(command: &mut Command) -> (i32, String) {
    let output = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8(output.stderr).unwrap())
}

/// A definition without a fault.
pub const HELLO: &str = "\
name: hello
inputs:
  type: object
  properties: { who: { type: string, default: world } }
steps:
  - id: greet
    type: set
    config: { variables: { greeting: \"'Hello, ' ~ inputs.who\" } }
output: \"{{ vars.greeting }}\"
";

const BROKEN: &str = "\
name: broken
steps:
  - id: greet
    type: sett
    config: { variables: { a: \"1\" } }
  - id: greet
    type: wait
    config: { duration: soon }
";
