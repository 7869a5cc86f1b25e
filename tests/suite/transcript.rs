//! One script of calls, hosts in every language: all print the bytes of one golden file.
//!
//! The language is described in docs/abi/transcript.md. `UPDATE_GOLDEN=1` rewrites the golden file from what the C
//! host printed; the others must still print the same.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{has_tool, host_shim, plugin, root, run, skip};

const SCRIPT: &str = "tests/data/transcript/run.script";
const GOLDEN: &str = "tests/golden/transcript/run.txt";

/// Compiles the C host with a header of one's choice; `flags` come on top.
pub fn c_host(folder: &Path, include: &Path, flags: &[&str]) -> Command {
    let out = folder.join("c-host");
    let sources = ["host.c", "services.c", "text.c"].map(|name| root().join("examples/c-host").join(name));
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread"]).args(flags);
    run(cc.arg("-I").arg(include).args(sources).arg("-o").arg(&out).arg("-ldl"));
    Command::new(out)
}

fn cpp_host(folder: &Path) -> Command {
    let out = folder.join("cpp-host");
    let sources = ["host.cpp", "transcript.cpp"].map(|name| root().join("examples/cpp-host").join(name));
    let mut cc = Command::new("c++");
    cc.args(["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread"]);
    run(cc.arg("-I").arg(root().join("include")).args(sources).arg("-o").arg(&out).arg("-ldl"));
    Command::new(out)
}

pub fn python_host() -> Command {
    let mut python = Command::new("python3");
    // The tree stays as it is: no folder of compiled files.
    python.args(["-B", "-W", "error", "-m", "alex_host"]);
    python.env("PYTHONPATH", root().join("examples/python-host"));
    python
}

fn go_host(folder: &Path) -> Command {
    let out = folder.join("go-host");
    let mut go = Command::new("go");
    go.args(["build", "-buildvcs=false", "-o"]).arg(&out).arg(".");
    go.current_dir(root().join("examples/go-host"));
    // Kept between runs, because the first build compiles cgo's runtime.
    go.env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-cache"))
        .env("GOFLAGS", "-mod=readonly");
    run(&mut go);
    Command::new(out)
}

fn shim(door: &str) -> Command {
    let mut shim = Command::new(host_shim());
    shim.args(["transcript", "--door", door, "--module"])
        .arg(plugin())
        .arg("--script")
        .arg(root().join(SCRIPT));
    shim
}

/// Plays the script in an empty folder and gives the transcript. The hosts read no environment, the module does.
fn play(command: &mut Command) -> String {
    let folder = tempfile::tempdir().unwrap();
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ALEX_OS_")) {
        command.env_remove(name);
    }
    let text = run(command.current_dir(folder.path()).stdin(Stdio::null()));
    // How far a run has come by the time its start is answered is the scheduler's affair.
    let settle = |line: &str| match line.split_once(r#","status":"#) {
        Some((made, _)) if line.contains("/runs DONE OK 201 ") => format!("{made} ...\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(settle).collect()
}

/// Compares with the golden file; the first line that differs says more than two long texts.
fn check(what: &str, got: &str) {
    let expected = std::fs::read_to_string(root().join(GOLDEN)).unwrap();
    for (at, (got, expected)) in got.lines().zip(expected.lines()).enumerate() {
        assert_eq!(got, expected, "{what}: line {}", at + 1);
    }
    assert_eq!(got, expected, "{what}");
}

/// Plays the script with a host that takes library and script as its arguments.
fn check_host(what: &str, mut host: Command) {
    check(what, &play(host.arg(plugin()).arg(root().join(SCRIPT))));
}

#[test]
fn a_host_in_c_prints_the_golden_transcript() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = c_host(folder.path(), &root().join("include"), &[]);
    let got = play(host.arg(plugin()).arg(root().join(SCRIPT)));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(root().join(GOLDEN), &got).unwrap();
    }
    check("C", &got);
}

#[test]
fn a_host_in_cpp_prints_the_golden_transcript() {
    let folder = tempfile::tempdir().unwrap();
    check_host("C++", cpp_host(folder.path()));
}

#[test]
fn a_host_in_python_prints_the_golden_transcript() {
    check_host("Python", python_host());
}

#[test]
fn a_host_in_go_prints_the_golden_transcript() {
    if !has_tool_named("go", "version") {
        skip!("a_host_in_go_prints_the_golden_transcript", "go is not installed (Debian's golang-go)");
    }
    let folder = tempfile::tempdir().unwrap();
    check_host("Go", go_host(folder.path()));
}

#[test]
fn host_shim_prints_the_golden_transcript_through_either_door() {
    for door in ["c", "abi-stable"] {
        check(door, &play(&mut shim(door)));
    }
}

/// Every host, with what makes it, for tests of what they refuse.
pub fn every_host(folder: &Path) -> Vec<(&'static str, Command)> {
    let mut hosts = vec![
        ("C", c_host(folder, &root().join("include"), &[])),
        ("C++", cpp_host(folder)),
        ("Python", python_host()),
    ];
    if has_tool_named("go", "version") {
        hosts.push(("Go", go_host(folder)));
    }
    hosts
}

/// The same command once more, since a command cannot be cloned.
pub fn again(command: &Command) -> Command {
    let mut same = Command::new(command.get_program());
    same.args(command.get_args());
    same.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    same
}

/// Go asks for its version with a word, not with a flag.
fn has_tool_named(name: &str, argument: &str) -> bool {
    has_tool(name) || Command::new(name).arg(argument).output().is_ok_and(|output| output.status.success())
}
