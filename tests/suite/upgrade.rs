//! One version in place of another in a running host: what is refused, what fails, and that the old one serves on then.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use chainbot_abi::{ABI_VERSION, BaseModule, EntryFn, ErrorBuf, Health, Str, name};
use serde_json::Value;

use crate::crash::client::Client;
use crate::host_shim::{Host, host_shim};
use crate::support::{self, root};

/// Compiles tests/c/version.c with a version of its own.
pub fn version(folder: &Path, version: &str, defines: &[&str]) -> PathBuf {
    let out = folder.join(format!("libversion-{version}.so"));
    let mut command = Command::new("cc");
    command.args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-pthread"]);
    command.arg(format!("-DVERSION=\"{version}\"")).arg("-I").arg(root().join("include"));
    for define in defines {
        command.arg(format!("-D{define}"));
    }
    command.arg(root().join("tests/c/version.c")).arg("-o").arg(&out);
    support::run(&mut command);
    out
}

/// A copy of the built module under another name: another file, so another image.
pub fn copy_of_the_module(folder: &Path, name: &str) -> PathBuf {
    let out = folder.join(format!("libchainbot_plugin-{name}.so"));
    std::fs::copy(support::plugin(), &out).unwrap();
    out
}

/// `host-shim upgrade`.
pub fn upgrade(data: &Path, module: &Path, args: &[&str]) -> Output {
    let mut command = host_shim();
    command.arg("upgrade").arg("--data").arg(data).arg("--module").arg(module).args(args);
    command.stdin(Stdio::null()).output().unwrap()
}

/// Its last line with `--json`.
pub fn report(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    serde_json::from_str(last).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A host with a module and a data folder.
fn host(module: &Path, data: &Path, args: &[&str]) -> Host {
    let data = data.to_str().unwrap();
    let mut all = vec!["--data", data, "--set", "api.port=0"];
    all.extend(args);
    Host::of(module, &all)
}

/// Which version answers, and how often its image was asked.
fn asked(host: &Host) -> String {
    let (status, _, body) = host.request("GET /version", b"");
    assert_eq!(status, 200);
    String::from_utf8(body).unwrap().rsplit("\"/version\" ").next().unwrap().to_owned()
}

#[test]
fn versions_take_turns_and_each_image_has_globals_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (one, two) = (version(folder.path(), "1.0.0", &[]), version(folder.path(), "2.0.0", &[]));
    let host = host(&one, &data, &[]);
    assert_eq!(asked(&host), "1.0.0 1");
    for (module, expect) in [(&two, "2.0.0 1"), (&one, "1.0.0 2"), (&two, "2.0.0 2"), (&one, "1.0.0 3")] {
        let output = upgrade(&data, module, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(String::from_utf8_lossy(&output.stdout).contains("upgraded: echo "), "{output:?}");
        assert_eq!(asked(&host), expect);
        assert_eq!(host.json("GET /host/health", b"").1["module"]["path"], module.to_str().unwrap());
    }
    let (code, stderr) = host.stop();
    assert_eq!(code, 0, "{stderr}");
    assert!(!stderr.contains("CB-0814"), "{stderr}");
    assert!(!data.join("host-shim.sock").exists());
}

#[test]
fn a_new_version_that_fails_at_any_point_leaves_the_old_one_serving() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let host = host(&support::plugin(), &data, &[]);
    let client = Client::of(&data).unwrap();
    let definition = r#"{"name":"one","steps":[{"id":"a","type":"set","config":{"variables":{"x":"1"}}}]}"#;
    let json = "content-type: application/json\r\n";
    assert_eq!(client.send("POST", "/api/chainbot/workflows", json, definition).unwrap().status, 201);
    // A wait that each failed upgrade interrupts and none ends.
    let waits = r#"{"name":"waits","steps":[{"id":"a","type":"wait","config":{"signal":"go"}}]}"#;
    assert_eq!(client.send("POST", "/api/chainbot/workflows", json, waits).unwrap().status, 201);
    let waiting = client.send("POST", "/api/chainbot/workflows/waits/runs", json, "{}").unwrap();
    let waiting = waiting.body["id"].as_str().unwrap().to_owned();
    for (fault, step, words) in [
        ("describe", "describe", "FAILED"),
        ("manifest", "describe", "JSON"),
        ("initialize", "initialize", "planted in initialize"),
        ("import", "import", "planted in import"),
        ("start", "start", "planted in start"),
        ("failed", "health", "it failed"),
        ("unhealthy", "health", "it stays unhealthy"),
        ("hang-describe", "describe", "left behind"),
        ("hang-initialize", "initialize", "left behind"),
        ("hang-import", "import", "left behind"),
        ("hang-start", "start", "left behind"),
    ] {
        let fault_define = format!("FAULT=\"{fault}\"");
        let new = version(folder.path(), fault, &["NAME=\"chainbot\"", &fault_define]);
        let output = upgrade(&data, &new, &["--json", "--timeout", "2s"]);
        let report = report(&output);
        assert_eq!(output.status.code(), Some(1), "{fault}: {report}");
        assert_eq!(
            (&report["result"], &report["step"]),
            (&"failed".into(), &step.into()),
            "{fault}: {report}"
        );
        assert!(report["reason"].as_str().unwrap().contains(words), "{fault}: {report}");
        assert_eq!(report["serving"]["path"], support::plugin().to_str().unwrap(), "{report}");
        assert_eq!(report["health"]["state"], "started", "{fault}: {report}");
        // By the old door and through the host: it works, and on the port that clients know.
        let started = client.send("POST", "/api/chainbot/workflows/one/runs", json, "{}").unwrap();
        assert_eq!(started.status, 201, "{fault}: {}", started.body);
        assert_eq!(host.request("GET /api/chainbot/health/ready", b"").0, 200, "{fault}");
    }
    let path = format!("/api/chainbot/runs/{waiting}");
    assert_eq!(client.get(&path)["status"], "waiting");
    assert_eq!(client.send("POST", &format!("{path}/signal/go"), json, "{}").unwrap().status, 200);
    client.wait_until(|| client.get(&path)["status"] == "completed");
    let (code, stderr) = host.stop();
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn a_version_without_drain_is_stopped_for_the_next_and_started_again_when_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let one = version(folder.path(), "1.0.0", &["NO_DRAIN"]);
    let two = version(folder.path(), "2.0.0", &["NO_DRAIN"]);
    let broken = version(folder.path(), "3.0.0", &["NO_DRAIN", "FAULT=\"start\""]);
    let host = host(&one, &data, &[]);
    assert_eq!(upgrade(&data, &two, &[]).status.code(), Some(0));
    assert_eq!(asked(&host), "2.0.0 1");
    let output = upgrade(&data, &broken, &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("CB-0832") && said.contains("planted in start"), "{said}");
    assert!(said.contains("echo 2.0.0 serves on"), "{said}");
    assert_eq!(asked(&host), "2.0.0 2");
    assert_eq!(host.stop().0, 0);
}

#[test]
fn a_host_that_is_left_without_a_version_ends_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let one = version(folder.path(), "1.0.0", &["NO_DRAIN", "FAULT=\"restart\""]);
    let two = version(folder.path(), "2.0.0", &["FAULT=\"start\""]);
    let host = host(&one, &data, &[]);
    let output = upgrade(&data, &two, &[]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("planted in start") && said.contains("the host ends"), "{said}");
    let (code, stderr) = host.end();
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("CB-0834") && stderr.contains("planted in the second start"), "{stderr}");
}

#[test]
fn a_host_that_is_asked_to_end_takes_an_upgrade_back_first() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let one = version(folder.path(), "1.0.0", &[]);
    let two = version(folder.path(), "2.0.0", &["FAULT=\"unhealthy\""]);
    let mut host = host(&one, &data, &[]);
    let asking = {
        let (data, two) = (data.clone(), two.clone());
        std::thread::spawn(move || upgrade(&data, &two, &["--timeout", "10m"]))
    };
    host.line_with("upgrade: start");
    host.signal("TERM");
    let said = stderr(&asking.join().unwrap());
    assert!(said.contains("was asked to end") && said.contains("echo 1.0.0 serves on"), "{said}");
    let (code, stderr) = host.end();
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn a_file_that_is_mapped_is_refused_in_every_guise() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (one, two) = (version(folder.path(), "1.0.0", &[]), version(folder.path(), "2.0.0", &[]));
    let host = host(&one, &data, &[]);
    let refused = |module: &Path, words: &str| {
        let output = upgrade(&data, module, &[]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("CB-0831") && said.contains(words), "{said}");
        assert!(said.contains("under its own name"), "the remedy: {said}");
    };
    let (link, twin) = (folder.path().join("link.so"), folder.path().join("twin.so"));
    std::os::unix::fs::symlink(&one, &link).unwrap();
    std::fs::hard_link(&one, &twin).unwrap();
    for guise in [&one, &link, &twin] {
        refused(guise, "is the version that serves");
    }
    // Replaced by rename: the loader would give the old content for this path.
    assert_eq!(upgrade(&data, &two, &[]).status.code(), Some(0));
    std::fs::rename(version(folder.path(), "9.0.0", &[]), &one).unwrap();
    refused(&one, "before it was replaced");
    assert_eq!(asked(&host), "2.0.0 1");
    assert_eq!(host.stop().0, 0);
}

#[test]
fn stores_that_do_not_fit_are_refused_before_anything_stops() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let host = host(&support::plugin(), &data, &[]);
    let chainbot = "NAME=\"chainbot\"";
    for (name, defines, args, words) in [
        ("newer", vec![chainbot, "STORAGE=\"99\""], vec![], "--allow-migration"),
        ("older", vec![chainbot, "STORAGE=\"1\""], vec!["--allow-migration"], "up to version 1"),
        ("other", vec!["NAME=\"other\""], vec![], "the module `other`"),
    ] {
        let output = upgrade(&data, &version(folder.path(), name, &defines), &args);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("CB-0833") && said.contains("`compare`") && said.contains(words), "{said}");
    }
    let health = host.json("GET /host/health", b"").1;
    assert!(health["uptime_ms"].as_u64().is_some_and(|ms| ms > 0), "it was never interrupted: {health}");
    assert_eq!(host.stop().0, 0);
}

#[test]
fn sighup_takes_what_the_link_names_and_else_reads_the_configuration_anew() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (one, two) = (copy_of_the_module(folder.path(), "1"), copy_of_the_module(folder.path(), "2"));
    let (link, config) = (folder.path().join("module.so"), folder.path().join("config.yaml"));
    std::os::unix::fs::symlink(&one, &link).unwrap();
    let write = |text: &str| std::fs::write(&config, text).unwrap();
    write("workflow_engine: { max_concurrent_workflows: 3 }\n");
    let mut host = host(&link, &data, &["--config", config.to_str().unwrap()]);
    write("workflow_engine: { max_concurrent_workflows: 7, commit_delay_ms: 5 }\n");
    let refused = host_shim().args(["reconfigure", "--data"]).arg(&data).output().unwrap();
    let said = stderr(&refused);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("CB-0836") && said.contains("CB-0509") && said.contains("commit_delay_ms"),
        "{said}"
    );
    write("workflow_engine: { max_concurrent_workflows: 7 }\n");
    host.signal("HUP");
    host.line_with("read its configuration anew");
    // rename(2) is how a link is moved without a moment in which it is gone.
    let moved = folder.path().join("moved.so");
    std::os::unix::fs::symlink(&two, &moved).unwrap();
    std::fs::rename(&moved, &link).unwrap();
    host.signal("HUP");
    host.line_with("upgraded: chainbot");
    assert_eq!(host.json("GET /host/health", b"").1["module"]["path"], two.to_str().unwrap());
    let mut status = Command::new(support::chainbot());
    let shown = support::run(status.args(["status", "--data"]).arg(&data));
    assert!(shown.contains(two.to_str().unwrap()), "{shown}");
    let (code, stderr) = host.stop();
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn only_a_host_that_is_there_can_be_asked_and_a_wrong_request_changes_nothing() {
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    // Longer than the address of a socket may be.
    let data = folder.path().join("long".repeat(30));
    let one = version(folder.path(), "1.0.0", &[]);
    std::fs::create_dir(&data).unwrap();
    let said = stderr(&upgrade(&data, &one, &[]));
    assert!(said.contains("CB-0830") && said.contains("no host runs there"), "{said}");
    let said = stderr(&upgrade(&data, &folder.path().join("none.so"), &[]));
    assert!(said.contains("CB-0801"), "{said}");
    let killed = host(&one, &data, &[]);
    killed.signal("KILL");
    drop(killed);
    // What the killed one left is no obstacle.
    let host = host(&one, &data, &[]);
    let socket = data.join("host-shim.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let opened = std::fs::File::open(&data).unwrap();
    let short = format!("/proc/self/fd/{}/host-shim.sock", std::os::fd::AsRawFd::as_raw_fd(&opened));
    for line in ["{}", "no json", r#"{"command":"upgrade","module":"relative.so"}"#] {
        let mut stream = std::os::unix::net::UnixStream::connect(&short).unwrap();
        writeln!(stream, "{line}").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert!(reply.contains("CB-0835") && reply.contains("refused"), "{line}: {reply}");
    }
    let shown = host_shim().args(["status", "--json", "--data"]).arg(&data).output().unwrap();
    let status: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!((&status["module"]["version"], &status["failed"]), (&"1.0.0".into(), &0.into()));
    assert_eq!(host.stop().0, 0);
}

#[test]
fn two_copies_of_the_module_in_one_process_share_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let load = |name: &str| -> &'static BaseModule {
        // SAFETY: loading runs only the initialisers of std and of the module's own C code; nothing is unloaded.
        let library = unsafe { libloading::Library::new(copy_of_the_module(folder.path(), name)) }.unwrap();
        let library = Box::leak(Box::new(library));
        // SAFETY: the contract gives the symbol this type, and its result lives as long as the library.
        unsafe { library.get::<EntryFn>(name::ENTRY_SYMBOL.as_bytes()).unwrap()(ABI_VERSION).as_ref() }
            .unwrap()
    };
    let (one, two) = (load("one"), load("two"));
    assert!(!std::ptr::eq(one, two));
    let config = serde_json::json!({ "data_dir": folder.path().join("data") }).to_string();
    let initialize = |module: &BaseModule| {
        let (mut out, mut err) = (std::ptr::null_mut(), ErrorBuf::over(&mut []));
        // SAFETY: the host is static; the rest lives for the call.
        let status = unsafe {
            module.initialize.unwrap()(
                crate::abi_lifecycle::host(),
                Str::of_text(&config),
                &mut out,
                &mut err,
            )
        };
        (status.is_ok(), out)
    };
    let mut made = Vec::new();
    let full = loop {
        match initialize(one) {
            (true, instance) => made.push(instance),
            (false, _) => break made.len(),
        }
    };
    let (is_made, second) = initialize(two);
    assert!(is_made, "{full} instances of the one are no instance of the other");
    // SAFETY: plain numbers.
    let mut health: Health = unsafe { std::mem::zeroed() };
    health.struct_size = size_of::<Health>() as u32;
    let last = *made.last().unwrap();
    // SAFETY: any handle may be passed; the struct lives for the call.
    unsafe {
        assert!(one.health.unwrap()(last, &mut health).is_ok());
        assert!(!two.health.unwrap()(last, &mut health).is_ok(), "a handle of the one is none of the other");
        let mut err = ErrorBuf::over(&mut []);
        assert!(two.cleanup.unwrap()(second, &mut err).is_ok());
        for instance in made {
            assert!(one.cleanup.unwrap()(instance, &mut err).is_ok());
        }
    }
}
