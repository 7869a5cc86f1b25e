//! The programs of docs/abi: taken out of the pages, compiled as the pages say, and run.

use std::path::Path;
use std::process::Command;

use crate::support::{host_shim, plugin, root, run};

/// The first block of a language on a page.
fn block(page: &str, language: &str) -> String {
    let text = std::fs::read_to_string(root().join("docs/abi").join(page)).unwrap();
    let start = format!("```{language}\n");
    let (_, rest) = text.split_once(&start).unwrap_or_else(|| panic!("{page} has no block of {language}"));
    rest.split_once("\n```")
        .unwrap_or_else(|| panic!("{page}: a block of {language} does not end"))
        .0
        .to_owned()
}

/// Compiles a block of C.
fn compile(folder: &Path, page: &str, out: &str, flags: &[&str]) {
    std::fs::write(folder.join("page.c"), block(page, "c")).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pthread", "-I"]).arg(root().join("include"));
    run(cc.args(flags).args(["-o", out, "page.c", "-ldl"]).current_dir(folder));
}

#[test]
fn the_host_in_c_of_the_page_runs() {
    let folder = tempfile::tempdir().unwrap();
    compile(folder.path(), "host-in-50-lines.md", "host", &[]);
    let got = run(Command::new(folder.path().join("host")).arg(plugin()).current_dir(folder.path()));
    assert_eq!(got, "200 {\"status\":\"ok\"}\n");
}

#[test]
fn the_host_in_python_of_the_page_runs() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("host.py"), block("host-in-50-lines.md", "python")).unwrap();
    let mut python = Command::new("python3");
    python.args(["-B", "-W", "error", "host.py"]).arg(plugin()).current_dir(folder.path());
    let got = run(python.env("PYTHONPATH", root().join("examples/python-host")));
    let (events, rest): (Vec<_>, Vec<_>) = got.lines().partition(|line| line.starts_with("event "));
    assert_eq!(rest, ["200 {\"status\":\"ok\"}", "healthy"]);
    assert!(events.contains(&"event chainbot.module.stopping"), "{events:?}");
}

/// Plays a module's whole life.
fn check_module(folder: &Path, module: &str) {
    let script = "health\ninitialize {}\nhealth\nwebhook GET /x\nstart\nstart\nwebhook GET /x\nevent a.b {}\nforce-event a.b {}\n\
                  cleanup\nstop 1000\nwebhook GET /x\nstart\nwebhook POST /y -- body\nstop 1000\ncleanup\nstart\n";
    let expected = "health INVALID\ninitialize OK\n\
        health OK state=initialized score=0.50 label=degraded in_flight=0 queue_depth=0 panics=0 threads=none detail=\n\
        webhook GET /x STATE not in this state\nstart OK\nstart STATE not in this state\n\
        webhook GET /x DONE OK 200 text/plain hello\nevent a.b UNROUTED\nforce-event a.b OK\n\
        cleanup STATE not in this state\nstop OK\nwebhook GET /x STATE not in this state\nstart OK\n\
        webhook POST /y DONE OK 200 text/plain hello\nstop OK\ncleanup OK\nstart INVALID no such instance\n";
    std::fs::write(folder.join("life.script"), script).unwrap();
    let mut shim = Command::new(host_shim());
    shim.args(["transcript", "--module", module, "--script", "life.script"]).current_dir(folder);
    assert_eq!(run(&mut shim), expected);
    let manifest = run(Command::new(host_shim()).args(["describe", "--module", module]).current_dir(folder));
    assert!(manifest.contains("greeter"), "{manifest}");
}

#[test]
fn the_module_in_c_of_the_page_works() {
    let folder = tempfile::tempdir().unwrap();
    compile(folder.path(), "writing-a-module.md", "greeter.so", &["-shared", "-fPIC"]);
    check_module(folder.path(), "./greeter.so");
}

#[test]
fn the_module_in_rust_of_the_page_works() {
    let folder = tempfile::tempdir().unwrap();
    let library = plugin(); // builds the crates, chainbot-abi with them
    let built = library.parent().unwrap();
    std::fs::write(folder.path().join("greeter.rs"), block("writing-a-module.md", "rust")).unwrap();
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--edition", "2024", "--crate-type", "cdylib", "-C", "link-arg=-Wl,-z,nodelete"]);
    rustc.arg("--extern").arg(format!("chainbot_abi={}", built.join("libchainbot_abi.rlib").display()));
    rustc.arg("-L").arg(format!("dependency={}", built.join("deps").display()));
    run(rustc.args(["-D", "warnings", "-o", "greeter.so", "greeter.rs"]).current_dir(folder.path()));
    check_module(folder.path(), "./greeter.so");
}
