//! One script of calls, two hosts: the C host and host-shim print the same bytes, and those of the golden file.
//!
//! The language is described in docs/abi/transcript.md. `UPDATE_GOLDEN=1` rewrites the golden file from what the C
//! host printed; host-shim must still print the same.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{host_shim, plugin, root, run};

const SCRIPT: &str = "tests/data/transcript/run.script";
const GOLDEN: &str = "tests/golden/transcript/run.txt";

/// Compiles the C host into a folder.
fn c_host(folder: &Path) -> Command {
    let out = folder.join("c-host");
    let sources = ["host.c", "services.c", "text.c"].map(|name| root().join("examples/c-host").join(name));
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-pthread", "-I"]).arg(root().join("include"));
    run(cc.args(sources).arg("-o").arg(&out).arg("-ldl"));
    Command::new(out)
}

/// Plays the script in an empty folder and gives the transcript. The hosts read no environment, the module does.
fn play(command: &mut Command) -> String {
    let folder = tempfile::tempdir().unwrap();
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ALEX_OS_")) {
        command.env_remove(name);
    }
    run(command.current_dir(folder.path()).stdin(Stdio::null()))
}

/// The first line that differs, which says more than two long texts.
fn assert_same(what: &str, got: &str, expected: &str) {
    for (at, (got, expected)) in got.lines().zip(expected.lines()).enumerate() {
        assert_eq!(got, expected, "{what}: line {}", at + 1);
    }
    assert_eq!(got, expected, "{what}");
}

#[test]
fn a_host_in_c_and_host_shim_see_the_same_module() {
    let folder = tempfile::tempdir().unwrap();
    let script = root().join(SCRIPT);
    let in_c = play(c_host(folder.path()).arg(plugin()).arg(&script));
    let in_rust = play(
        Command::new(host_shim())
            .arg("transcript")
            .arg("--module")
            .arg(plugin())
            .arg("--script")
            .arg(&script),
    );
    let golden = root().join(GOLDEN);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &in_c).unwrap();
    }
    assert_same("the C host", &in_c, &std::fs::read_to_string(&golden).unwrap());
    assert_same("host-shim", &in_rust, &in_c);
}
