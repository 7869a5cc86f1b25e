//! Checks that `include/alex_module.h` is what cbindgen makes from `chainbot-abi`, and records the commit and the
//! target for `chainbot version`.
//!
//! It never writes into the tree: a build that edits sources is a nuisance. A stale header fails the build with
//! the command that makes it anew. A source archive without git builds too; its commit is `unknown`.

use std::path::Path;
use std::process::Command;

const HEADER: &str = "include/alex_module.h";
const REGENERATE: &str = "cargo run -p chainbot-abi --example header > include/alex_module.h";

fn main() {
    for input in ["build.rs", "chainbot-abi/src", "chainbot-abi/cbindgen.toml", HEADER] {
        println!("cargo:rerun-if-changed={input}");
    }
    // Asked when it runs: two checkouts may share a target folder, and with it this program.
    let home = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    if let Err(problem) = check_header(Path::new(&home)) {
        // `cargo::error` fails the build and shows this text alone, without a panic's noise.
        println!("cargo::error={problem}");
    }
    println!("cargo:rustc-env=CHAINBOT_COMMIT={}", commit().unwrap_or_else(|| "unknown".to_owned()));
    let target = std::env::var("TARGET").unwrap_or_else(|_| "unknown".to_owned());
    println!("cargo:rustc-env=CHAINBOT_TARGET={target}");
}

fn check_header(root: &Path) -> Result<(), String> {
    let abi = root.join("chainbot-abi");
    let config = cbindgen::Config::from_file(abi.join("cbindgen.toml"))?;
    let made = cbindgen::Builder::new()
        .with_config(config)
        .with_src(abi.join("src/lib.rs"))
        .generate()
        .map_err(|error| format!("cannot make {HEADER}: {error}"))?;
    let mut text = Vec::new();
    made.write(&mut text);
    let committed = std::fs::read(root.join(HEADER))
        .map_err(|error| format!("cannot read {HEADER}: {error}; make it with `{REGENERATE}`"))?;
    if committed == text {
        Ok(())
    } else {
        Err(format!("{HEADER} is not what chainbot-abi says; make it anew with `{REGENERATE}`"))
    }
}

/// The commit's short hash, with `-dirty` behind it when tracked files differ. `None` without git.
fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let hash = git(&["rev-parse", "--short=12", "HEAD"])?;
    // HEAD's log moves with every commit and every switch; a path that is missing would rebuild every time.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|path| Path::new(path).exists())
    {
        println!("cargo:rerun-if-changed={log}");
    }
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if dirty.is_empty() { hash } else { format!("{hash}-dirty") })
}
