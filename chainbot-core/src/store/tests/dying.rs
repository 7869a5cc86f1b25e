//! A test that ends its own process at a chosen moment: the child is this test program again, told where to die.

use std::path::Path;
use std::process::{Command, Stdio};

/// Tells the child at which moment.
const AT: &str = "CHAINBOT_TEST_DIES_AT";
/// Tells the child where it works.
const FOLDER: &str = "CHAINBOT_TEST_DIES_IN";

/// How a child ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Child {
    /// At the moment.
    Died,
    /// There is no such moment: it did all.
    Done,
}

/// Where this process works, when it is such a child.
pub fn folder() -> Option<std::path::PathBuf> {
    std::env::var_os(FOLDER).map(Into::into)
}

/// One more moment; the process ends when it is the chosen one.
pub fn pass() {
    thread_local!(static PASSED: std::cell::Cell<u32> = const { std::cell::Cell::new(0) });
    let Some(at) = std::env::var(AT).ok().and_then(|at| at.parse::<u32>().ok()) else { return };
    let passed = PASSED.get() + 1;
    PASSED.set(passed);
    if passed == at {
        // As by a kill: nothing is cleaned up.
        std::process::abort();
    }
}

/// Runs one test of this program in a process that ends at the moment.
pub fn run(test: &str, at: u32, folder: &Path) -> Child {
    let child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--test-threads=1"])
        .env(AT, at.to_string())
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(said.contains("running 1 test"), "there is no test {test}: {said}");
    match child.status.code() {
        Some(0) => Child::Done,
        None => Child::Died,
        Some(_) => panic!("the child failed: {said}{}", String::from_utf8_lossy(&child.stderr)),
    }
}
