//! Link arguments of the module, and the commit for its manifest.
//!
//! `nodelete`: the library stays mapped after `dlclose`, because threads of the host may hold destructors that lie in
//! it. `relro` and `now`: every symbol is resolved at load, so a missing one is an error of
//! `dlopen` and never a crash later.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        for argument in ["nodelete", "relro", "now"] {
            println!("cargo:rustc-cdylib-link-arg=-Wl,-z,{argument}");
        }
    }
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    if let Some(log) =
        git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| std::path::Path::new(log).exists())
    {
        println!("cargo:rerun-if-changed={log}");
    }
    let commit = git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=CHAINBOT_COMMIT={commit}");
}
