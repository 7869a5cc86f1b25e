//! What the suite's tests share: the built artifacts, folders, and how to skip out loud.
//!
//! The artifacts lie beside the test's executable. They are built once for each run of the suite, so that a test never
//! meets a stale library; `CHAINBOT_PREBUILT=1` says that they are fresh and only a missing one is built.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

/// Says that a test did not run, and why, and leaves it. Only for tools of the machine that may be missing.
macro_rules! skip {
    ($name:expr, $($reason:tt)+) => {{
        println!("SKIPPED {}: {}", $name, format_args!($($reason)+));
        return;
    }};
}
pub(crate) use skip;

/// The library of the module.
pub fn plugin() -> PathBuf {
    artifact("libchainbot_plugin.so")
}

/// The library of the module with places for faults; see the core's feature `fault`.
#[allow(dead_code)] // each subject of the suite uses what it needs
pub fn plugin_with_faults() -> PathBuf {
    static BUILT: Once = Once::new();
    let path = artifacts().join("examples/libchainbot_plugin_fault.so");
    let fresh = std::env::var("CHAINBOT_PREBUILT").is_ok_and(|value| value == "1");
    if !fresh || !path.exists() {
        let example = ["--example", "chainbot_plugin_fault", "--features", "chainbot-plugin/fault"];
        BUILT.call_once(|| cargo_build(&artifacts(), &example));
    }
    assert!(path.exists(), "{} was not built", path.display());
    path
}

/// The program host-shim.
#[allow(dead_code)] // each subject of the suite uses what it needs
pub fn host_shim() -> PathBuf {
    artifact("host-shim")
}

/// The program chainbot.
#[allow(dead_code)] // as above
pub fn chainbot() -> PathBuf {
    artifact("chainbot")
}

/// The root of the source tree.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether a program of the machine can be run.
pub fn has_tool(name: &str) -> bool {
    Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Runs a command and gives its standard output; a failure shows everything it said.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}{stderr}", output.status);
    stdout
}

/// Compares with a file of the tree; `UPDATE_GOLDEN=1` writes it instead.
pub fn golden(path: &Path, text: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(text, expected, "{} differs; UPDATE_GOLDEN=1 rewrites it", path.display());
}

fn artifact(name: &str) -> PathBuf {
    static BUILT: Once = Once::new();
    let folder = artifacts();
    let fresh = std::env::var("CHAINBOT_PREBUILT").is_ok_and(|value| value == "1");
    if !fresh || !folder.join(name).exists() {
        BUILT.call_once(|| build(&folder));
    }
    let path = folder.join(name);
    assert!(path.exists(), "{} was not built", path.display());
    path
}

/// `target/debug` or the like: the suite's executable lies in its `deps`.
fn artifacts() -> PathBuf {
    let me = std::env::current_exe().expect("the test's own path");
    me.ancestors().nth(2).expect("target/<profile>/deps/suite-...").to_owned()
}

fn build(folder: &Path) {
    cargo_build(folder, &["--lib", "--bins"]);
}

fn cargo_build(folder: &Path, what: &[&str]) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--workspace"]).args(what).current_dir(root());
    command.arg("--target-dir").arg(folder.parent().expect("a profile's folder has a parent"));
    if folder.ends_with("release") {
        command.arg("--release");
    }
    run(&mut command);
}

/// Memory of a process that is its own, in KiB.
#[allow(dead_code)] // each subject of the suite uses what it needs
pub fn rss_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
