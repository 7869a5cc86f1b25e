//! Stopping in order under load, and starts that must be refused: exit codes, coded messages, and nothing lost or written.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::crash::host::Host;
use crate::crash::ledger::Ledger;
use crate::crash::load::Load;
use crate::crash::{Random, size, verdict};
use crate::support;

#[test]
fn a_stop_under_load_finishes_its_effects_and_the_next_start_goes_on() {
    if !support::has_tool("python3") {
        support::skip!("stop_loop", "no python3 for the ledger");
    }
    let mut random = Random::seeded("stop_loop");
    let (stops, runs_wanted) = (size(8, 200), size(50, 1_250));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let ledger = Ledger::start(folder.path(), 150);
    let mut load = Load::new(ledger.url());
    for stop in 0..stops {
        let mut host = Host::start(&data, ledger.port);
        let client = host.ready(&data).expect("it starts");
        if stop == 0 {
            Load::define(&client);
        }
        while (load.starts.len() as u64) < runs_wanted * (stop + 1) / stops {
            let index = load.add();
            assert!(load.send(&client, index), "start {index}");
        }
        // The stop falls while effects are in flight: after some more have been counted and not yet answered.
        while ledger.arrivals.try_recv().is_ok() {}
        for _ in 0..=random.below(4) {
            let waited = ledger.arrivals.recv_timeout(std::time::Duration::from_secs(60));
            waited.expect("effects go on under load");
        }
        host.terminate();
        let (code, stderr) = host.end();
        assert_eq!(code, Some(0), "stop {stop}: {stderr}");
        assert!(!data.join("server.json").exists(), "a stopped module says where it can be reached");
    }
    let mut host = Host::start(&data, ledger.port);
    let client = host.ready(&data).expect("it starts once more");
    client.wait_until(|| verdict::is_settled(&client));
    let runs = verdict::read(&client);
    // Nothing was killed, so every effect had its time: none is sent twice, fails as unknown or asks a person.
    let mut wrong = verdict::check(&runs, &load, &ledger.counted(), &[]);
    for run in runs.iter().filter(|run| run.workflow != "signalled" && run.status != "completed") {
        wrong.push(format!("run {} of {} is {} {}", run.id, run.workflow, run.status, run.waiting_for));
    }
    assert!(wrong.is_empty(), "{} after {stops} stops:\n{}", wrong.len(), wrong.join("\n"));
    println!("stop_loop: {stops} stops, {} runs, {} effects", runs.len(), ledger.counted().len());
    host.terminate();
    let (code, stderr) = host.end();
    assert_eq!(code, Some(0), "{stderr}");
    verdict::check_database(&data);
}

/// Runs the host to its end: exit code and stderr.
fn refused(mut command: Command) -> (Option<i32>, String) {
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn host_run(module: &Path, data: &Path) -> Command {
    let mut command = Command::new(support::host_shim());
    command.args(["run", "--set", "api.port=0", "--module"]).arg(module).arg("--data").arg(data);
    command
}

/// Every file of a folder with its bytes.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

#[test]
fn a_missing_module_is_refused_before_the_data_folder_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (code, stderr) = refused(host_run(&folder.path().join("none.so"), &data));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("CB-0801") && stderr.contains("none.so"), "{stderr}");
    assert!(files(folder.path()).is_empty(), "something was written");
}

#[test]
fn a_data_folder_that_cannot_be_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "kept").unwrap();
    // Nobody can make a folder in /proc, root included.
    for data in [file.as_path(), &file.join("below"), Path::new("/proc/chainbot-data")] {
        let (code, stderr) = refused(host_run(&support::plugin(), data));
        assert_eq!(code, Some(1), "{}: {stderr}", data.display());
        assert!(stderr.contains("CB-0407") && stderr.contains(data.to_str().unwrap()), "{stderr}");
    }
    assert_eq!(files(folder.path()), BTreeMap::from([("file".to_owned(), b"kept".to_vec())]));
}

#[test]
fn a_database_of_a_newer_version_is_refused_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut host = Host::with(&data, &["api.port=0"]);
    host.ready(&data).expect("it starts");
    host.terminate();
    assert_eq!(host.end().0, Some(0));
    let conn = rusqlite::Connection::open(data.join("chainbot.db")).unwrap();
    conn.pragma_update(None, "user_version", 4_711).unwrap();
    conn.close().unwrap();
    let before = files(&data);
    let (code, stderr) = refused(host_run(&support::plugin(), &data));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("CB-0402") && stderr.contains("4711"), "{stderr}");
    let mut after = files(&data);
    // The lock's file names the last process that held it.
    after.insert("lock".to_owned(), before["lock"].clone());
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert!(after == before, "a file has changed");
}

#[test]
fn a_full_disk_is_refused_at_the_start_and_one_with_room_starts_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, data) = (folder.path().join("disk"), folder.path().join("disk/data"));
    std::fs::create_dir(&disk).unwrap();
    // A disk of its own, seen by this process alone. `$1` is where, the rest a command.
    let on_disk = |size: &str, then: &str, host: &Command| {
        let mut command = Command::new("unshare");
        let script = format!("export DISK=$1; mount -t tmpfs -o size={size} none $DISK && shift && {then}");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"]).arg(&disk);
        command.arg(host.get_program()).args(host.get_args());
        command
    };
    if refused(on_disk("64k", ":", &Command::new("true"))).0 != Some(0) {
        support::skip!("a_full_disk", "no private mounts here");
    }
    let host = host_run(&support::plugin(), &data);
    let (code, stderr) = refused(on_disk("64k", "exec \"$@\"", &host));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("CB-0408"), "{stderr}");
    // The same folder on the same disk once it has grown. The signal may come before the start is done; it is kept.
    let grown = "! \"$@\" >/dev/null 2>$DISK/first && grep -q CB-0408 $DISK/first && \
        mount -o remount,size=64m $DISK && exec timeout --foreground --preserve-status -s TERM 2 \"$@\"";
    let (code, stderr) = refused(on_disk("64k", grown, &host));
    assert_eq!(code, Some(0), "{stderr}");
}
