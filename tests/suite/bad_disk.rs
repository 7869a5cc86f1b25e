//! The module in its host on a disk that goes bad: flushes and writes that fail, no room, a file system that becomes read-only.
//!
//! ```text
//! host-shim + plugin → SQLite → ext4 → loop device → file over FUSE by qemu-storage-daemon → blkdebug → disk
//! ```
//!
//! After the first failed flush nothing is acknowledged; the module fails, says why and ends; on a disk that works again the next
//! start finds everything that was acknowledged. A disk without room is no failure: see decision 0006.

mod disk;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::disk::{Disk, Fails};
use crate::crash::client::{Client, Reply};
use crate::crash::host::Host;
use crate::power_cut::alone;
use crate::support;

const NOTES: &str = "name: notes\nsteps:\n  - { id: a, type: set, config: { variables: { x: \"1\" } } }\n  \
    - { id: b, type: wait, config: { duration: 20ms } }\n";
/// The module ended because it could not work on; a supervisor starts it again.
const MODULE_FAILED: i32 = 3;
/// Turns a hang into a failure.
const HANG: Duration = Duration::from_secs(60);

fn start_host(data: &Path) -> Host {
    Host::with(data, &["api.port=0", "api.rate_limit_per_token=0"])
}

fn define(client: &Client) {
    let media = "content-type: application/yaml\r\n";
    let reply = client.send("POST", "/api/chainbot/workflows", media, NOTES).expect("an answer");
    assert_eq!(reply.status, 201, "{}", reply.body);
}

fn start_run(client: &Client, text: &str) -> std::io::Result<Reply> {
    let body = json!({ "inputs": { "text": text } }).to_string();
    client.send("POST", "/api/chainbot/workflows/notes/runs", "content-type: application/json\r\n", &body)
}

fn id_of(reply: &Reply) -> String {
    reply.body["id"].as_str().expect("an id").to_owned()
}

fn runs(client: &Client) -> Vec<Value> {
    let id = |run: &Value| run["id"].as_str().unwrap_or_default().to_owned();
    client.list("/api/chainbot/runs", id).expect("the list of runs")
}

/// Every run that was acknowledged is there and comes to its end, and the database is whole.
fn holds(data: &Path, kept: &BTreeSet<String>) {
    let mut host = start_host(data);
    let client =
        host.ready(data).unwrap_or_else(|| panic!("no start on a disk that works: {}", data.display()));
    client.wait_until(|| runs(&client).iter().all(|run| run["status"] == "completed"));
    let found: BTreeSet<String> =
        runs(&client).iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect();
    let gone: Vec<_> = kept.difference(&found).collect();
    assert!(gone.is_empty(), "acknowledged and gone: {gone:?}");
    host.terminate();
    let (code, stderr) = host.end();
    assert_eq!(code, Some(0), "{stderr}");
    let fsck = support::run(Command::new(support::chainbot()).args(["fsck", "--json", "--data"]).arg(data));
    assert_eq!(serde_json::from_str::<Value>(&fsck).expect("JSON")["ok"], true, "{fsck}");
    crate::crash::verdict::check_database(data);
}

fn a_failing_disk(what: Fails) {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = Disk::start(folder.path(), 160 << 20);
    let data = disk.mount().join("data");
    let mut host = start_host(&data);
    let client = host.ready(&data).expect("it starts");
    define(&client);
    let mut kept = BTreeSet::new();
    for _ in 0..10 {
        let reply = start_run(&client, "kept").expect("an answer");
        assert_eq!(reply.status, 201, "{}", reply.body);
        kept.insert(id_of(&reply));
    }
    disk.fail(what);
    let mut refused = 0;
    for _ in 0..20 {
        match start_run(&client, "lost") {
            Ok(reply) => {
                assert!(reply.status >= 500, "{what:?}: acknowledged on a disk that fails: {}", reply.body);
                refused += 1;
            }
            // The module has ended meanwhile.
            Err(_) => break,
        }
    }
    let (code, stderr) = host.end();
    assert_eq!(code, Some(MODULE_FAILED), "{what:?}: {stderr}");
    let says = ["CB-0404", "nothing more is acknowledged"];
    assert!(says.iter().all(|word| stderr.contains(word)), "{what:?}: {stderr}");
    println!(
        "bad_disk: {what:?}: {} acknowledged before, {refused} refused after, then the module ended",
        kept.len()
    );
    disk.heal();
    holds(&data, &kept);
}

#[test]
fn after_a_failed_flush_nothing_is_acknowledged_and_the_module_ends() {
    alone("bad_disk", "bad_disk::after_a_failed_flush_nothing_is_acknowledged_and_the_module_ends", || {
        a_failing_disk(Fails::Flush);
    });
}

#[test]
fn after_a_failed_write_nothing_is_acknowledged_and_the_module_ends() {
    alone("bad_disk", "bad_disk::after_a_failed_write_nothing_is_acknowledged_and_the_module_ends", || {
        a_failing_disk(Fails::Write);
        a_failing_disk(Fails::WriteForRoom);
    });
}

#[test]
fn a_full_disk_refuses_new_runs_reads_and_deletes_and_recovers_alone() {
    alone("bad_disk", "bad_disk::a_full_disk_refuses_new_runs_reads_and_deletes_and_recovers_alone", || {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::start(folder.path(), 64 << 20);
        let data = disk.mount().join("data");
        let mut host = start_host(&data);
        let client = host.ready(&data).expect("it starts");
        define(&client);
        let first = id_of(&start_run(&client, "first").expect("an answer"));
        client.wait_until(|| runs(&client).iter().all(|run| run["status"] == "completed"));
        // Made some seconds after the start; it is what deleting lives on when the disk is full.
        let begun = Instant::now();
        while !data.join("reserve").exists() {
            assert!(begun.elapsed() < HANG, "no reserve is made");
            std::thread::sleep(Duration::from_millis(50));
        }
        let ballast = disk.mount().join("ballast");
        // What is left goes to somebody else, to the last block.
        let to = format!("of={}", ballast.display());
        let filled = Command::new("dd").args(["if=/dev/zero", "bs=4096", &to]).output().expect("it runs");
        assert!(!filled.status.success(), "the disk is not full");
        let (mut kept, text) = (BTreeSet::new(), "x".repeat(100_000));
        let refusal = loop {
            assert!(kept.len() < 1_000, "a full disk has room for everything");
            let reply = start_run(&client, &text).expect("an answer");
            if reply.status != 201 {
                break reply;
            }
            kept.insert(id_of(&reply));
        };
        assert_eq!((refusal.status, &refusal.body["code"]), (507, &json!("CB-0408")), "{}", refusal.body);
        assert!(runs(&client).len() > kept.len(), "reading goes on");
        let path = format!("/api/chainbot/runs/{first}");
        let deleted = client.send("DELETE", &path, "", "").expect("an answer");
        assert_eq!(deleted.status, 204, "{}", deleted.body);
        std::fs::remove_file(ballast).expect("there");
        // It looks every few seconds whether there is room.
        let begun = Instant::now();
        loop {
            let reply = start_run(&client, "again").expect("an answer");
            if reply.status == 201 {
                kept.insert(id_of(&reply));
                break;
            }
            assert!(begun.elapsed() < HANG, "it does not recover: {}", reply.body);
            std::thread::sleep(Duration::from_millis(100));
        }
        client.wait_until(|| runs(&client).iter().all(|run| run["status"] == "completed"));
        host.terminate();
        let (code, stderr) = host.end();
        assert_eq!(code, Some(0), "{stderr}");
        println!("bad_disk: full after {} more runs; recovered alone", kept.len() - 1);
        holds(&data, &kept);
    });
}

#[test]
fn a_file_system_that_is_read_only_is_refused_at_the_start_and_ends_the_module_under_way() {
    let name =
        "bad_disk::a_file_system_that_is_read_only_is_refused_at_the_start_and_ends_the_module_under_way";
    alone("bad_disk", name, || {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Disk::start(folder.path(), 64 << 20);
        let data = disk.mount().join("data");
        let mut host = start_host(&data);
        let client = host.ready(&data).expect("it starts");
        define(&client);
        let kept = BTreeSet::from([id_of(&start_run(&client, "kept").expect("an answer"))]);
        // What ext4 does by itself when its journal cannot be written.
        disk.remount("abort");
        while start_run(&client, "lost").is_ok_and(|reply| {
            assert!(reply.status >= 500, "acknowledged on a file system that is read-only: {}", reply.body);
            true
        }) {}
        let (code, stderr) = host.end();
        assert_eq!(code, Some(MODULE_FAILED), "{stderr}");
        assert!(stderr.contains("CB-0404"), "{stderr}");
        disk.heal();
        holds(&data, &kept);
        disk.remount("ro");
        let (code, stderr) = start_host(&data).end();
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains("CB-0407") && stderr.contains("Read-only file system"), "{stderr}");
        disk.remount("rw");
        holds(&data, &kept);
    });
}
