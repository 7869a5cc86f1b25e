//! The power-cut rig: the module in its host on a disk whose every write and flush is logged, and that disk as it was at
//! each flush, with what was not flushed gone or torn.
//!
//! ```text
//! host-shim + plugin → SQLite → ext4 → loop device → file over FUSE by qemu-storage-daemon → blklogwrites → disk + log
//! ```
//!
//! A kill leaves the page cache alive; only this shows what fsync really did. `disk` is the machine, `log` reads what it
//! wrote, `cut` makes the disks that a power cut leaves, `module` and `toy` are what runs on it and what must be found
//! again. Each test runs as a process in its own mount and process namespace, so that whatever ends it takes the mounts,
//! the loop devices and the storage daemon with it. `CHAINBOT_PROOF=long` takes 5,000 points, `CHAINBOT_SEED` repeats the
//! choices.

mod cut;
mod disk;
mod log;
mod module;
mod toy;

use std::path::Path;
use std::process::{Command, Stdio};

use crate::crash::{Random, size};
use crate::support;

/// Set in the process that has its own namespaces.
const ALONE: &str = "CHAINBOT_POWER_CUT_ALONE";

/// Linux, root, and what the rig is made of.
const TOOLS: [(&str, &str); 6] = [
    ("qemu-storage-daemon", "--version"),
    ("unshare", "--version"),
    ("mkfs.ext4", "-V"),
    ("e2fsck", "-V"),
    ("mount", "--version"),
    ("python3", "--version"),
];

#[test]
fn what_the_module_acknowledged_survives_a_power_cut_at_any_instant() {
    alone("power_cut", "power_cut::what_the_module_acknowledged_survives_a_power_cut_at_any_instant", || {
        let mut random = Random::seeded("power_cut");
        module::check(&mut random, size(300, 5_000) as usize, size(20, 360) as usize);
    });
}

/// The rig must tell right settings from wrong ones, or it proves nothing of the module.
#[test]
fn the_rig_sees_what_a_wal_without_full_syncs_forgets() {
    alone("power_cut", "power_cut::the_rig_sees_what_a_wal_without_full_syncs_forgets", || {
        let mut random = Random::seeded("power_cut_toy");
        let forgets = toy::check(&mut random, "NORMAL");
        assert!(forgets.damaged.is_empty(), "{:?}", forgets.damaged);
        assert!(
            forgets.lost_most > 50,
            "WAL + NORMAL lost {} of 100 commits: the rig is broken",
            forgets.lost_most
        );
        let keeps = toy::check(&mut random, "FULL");
        assert!(keeps.damaged.is_empty(), "{:?}", keeps.damaged);
        assert_eq!((keeps.points_that_lost, keeps.lost_most), (0, 0), "WAL + FULL lost commits");
        assert_eq!(keeps.points, 100, "WAL + FULL did not flush");
    });
}

/// Runs the body of the test `name` in a process of its own, which sees a mount table and processes of its own. A skip is that of
/// `rig`, which also begins the lines that are passed on.
pub fn alone(rig: &str, name: &str, body: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return body();
    }
    if let Some(missing) = missing() {
        support::skip!(rig, "{missing}");
    }
    // Built here, for the process inside is told that they are fresh.
    support::plugin();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(std::env::current_exe().expect("the test's own path"));
    command.args(["--exact", name, "--nocapture"]).env(ALONE, "1").env("CHAINBOT_PREBUILT", "1");
    let said = support::run(command.stdin(Stdio::null()));
    assert!(said.contains("1 passed"), "the test did not run inside: {said}");
    said.lines().filter(|line| line.starts_with(rig)).for_each(|line| println!("{line}"));
}

/// What this machine lacks for the rig.
fn missing() -> Option<String> {
    for (tool, option) in TOOLS {
        let found = Command::new(tool).arg(option).output().is_ok_and(|output| output.status.success());
        if !found {
            return Some(format!("{tool} is not installed"));
        }
    }
    for device in ["/dev/fuse", "/dev/loop-control"] {
        if !Path::new(device).exists() {
            return Some(format!("there is no {device}"));
        }
    }
    let help = Command::new("qemu-storage-daemon").arg("--help").output();
    if !help.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("type=]fuse")) {
        return Some("qemu-storage-daemon was built without FUSE".to_owned());
    }
    // Root of a container may still be refused mounts; what the rig's own mounts then say is a failure.
    let script = "test $(id -u) = 0 && mount -t tmpfs none /mnt";
    let mounts = Command::new("unshare").args(["--mount", "--pid", "--fork", "sh", "-c", script]).output();
    (!mounts.is_ok_and(|output| output.status.success())).then(|| "no root that may mount".to_owned())
}
