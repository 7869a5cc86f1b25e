//! An ext4 on a disk that can be told to fail: the storage daemon puts `blkdebug` between the file and its export.
//!
//! A disk that failed is healed by another daemon on the same file, as a machine that was switched off and on: what the failing
//! disk did not take is not on it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::{Value, json};

use crate::support;

/// What fails.
#[derive(Clone, Copy, Debug)]
pub enum Fails {
    /// Flushes, with EIO.
    Flush,
    /// Writes, with EIO.
    Write,
    /// Writes, with ENOSPC: a thin disk whose pool is full.
    WriteForRoom,
}

/// A mounted disk.
pub struct Disk {
    folder: PathBuf,
    daemon: Pid,
}

impl Disk {
    /// Makes it in `folder` and mounts it.
    pub fn start(folder: &Path, bytes: u64) -> Self {
        let made = std::fs::File::create(folder.join("disk")).expect("a file");
        made.set_len(bytes).expect("its length");
        let disk = Self { folder: folder.to_owned(), daemon: serve(folder) };
        let features = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
        support::run(
            Command::new("mkfs.ext4")
                .args(["-q", "-F", "-b", "4096", "-m", "0", "-E", features])
                .arg(folder.join("export")),
        );
        std::fs::create_dir(disk.mount()).expect("a folder");
        disk.mount_it();
        disk
    }

    /// Where it is mounted.
    pub fn mount(&self) -> PathBuf {
        self.folder.join("mnt")
    }

    /// Lets every request of a kind fail from now on.
    pub fn fail(&self, what: Fails) {
        let (kind, errno) = match what {
            Fails::Flush => ("flush", 5),
            Fails::Write => ("write", 5),
            Fails::WriteForRoom => ("write", 28),
        };
        let mut daemon = Daemon::connect(&self.folder);
        daemon.ask(
            "blockdev-add",
            json!({ "driver": "blkdebug", "node-name": "failing", "image": "disk",
                "inject-error": [{ "event": "none", "iotype": kind, "errno": errno, "once": false }] }),
        );
        let reopened = json!({ "options": [{ "driver": "raw", "node-name": "top", "file": "failing" }] });
        daemon.ask("blockdev-reopen", reopened);
    }

    /// Another machine with the same disk, which works.
    pub fn heal(&mut self) {
        // The file system is told that it is over before what is under it goes.
        support::run(Command::new("umount").arg(self.mount()));
        self.end_daemon();
        self.daemon = serve(&self.folder);
        let export = self.folder.join("export");
        let checked = Command::new("e2fsck").args(["-f", "-y"]).arg(&export).output().expect("it runs");
        assert!(
            checked.status.code().is_some_and(|code| code < 4),
            "the file system cannot be saved: {checked:?}"
        );
        self.mount_it();
    }

    /// Changes how it is mounted.
    pub fn remount(&self, option: &str) {
        let option = format!("remount,{option}");
        support::run(Command::new("mount").args(["-o", &option]).arg(self.mount()));
    }

    fn mount_it(&self) {
        let (export, mount) = (self.folder.join("export"), self.mount());
        support::run(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(export).arg(mount));
    }

    fn end_daemon(&self) {
        // Killed: it would try to flush what it may not, and wait for it.
        kill_process(self.daemon, Signal::KILL).expect("the daemon lives");
        waitpid(Some(self.daemon), WaitOptions::empty()).expect("a child of the first process");
        // Its end is the end of the export, whose place would still answer with errors.
        support::run(Command::new("umount").args(["--lazy"]).arg(self.folder.join("export")));
    }
}

/// Starts a storage daemon; this process is the first of its namespace, so it becomes its child.
fn serve(folder: &Path) -> Pid {
    let at = |text: &str, name: &str| format!("{text}{}", folder.join(name).display());
    std::fs::File::create(folder.join("export")).expect("a file");
    for left in ["control", "pid"] {
        let _ = std::fs::remove_file(folder.join(left));
    }
    let mut command = Command::new("qemu-storage-daemon");
    command.args(["--blockdev", &at("driver=file,node-name=disk,filename=", "disk")]);
    command.args(["--blockdev", "driver=raw,node-name=top,file=disk"]);
    command.args(["--chardev", &at("socket,id=control,server=on,wait=off,path=", "control")]);
    command.args(["--monitor", "chardev=control"]);
    command.args(["--export", &at("type=fuse,id=export,node-name=top,writable=on,mountpoint=", "export")]);
    command.arg("--daemonize").arg("--pidfile").arg(folder.join("pid"));
    assert!(command.status().expect("it runs").success(), "qemu-storage-daemon does not start");
    let pid = std::fs::read_to_string(folder.join("pid")).expect("its number");
    pid.trim().parse().ok().and_then(Pid::from_raw).expect("a number")
}

/// The daemon's control connection.
struct Daemon(BufReader<UnixStream>);

impl Daemon {
    fn connect(folder: &Path) -> Self {
        let stream = UnixStream::connect(folder.join("control")).expect("the daemon listens");
        let mut daemon = Self(BufReader::new(stream));
        daemon.line();
        daemon.ask("qmp_capabilities", json!({}));
        daemon
    }

    fn ask(&mut self, command: &str, arguments: Value) {
        let text = json!({ "execute": command, "arguments": arguments }).to_string();
        self.0.get_mut().write_all(text.as_bytes()).expect("sent");
        let answer = std::iter::from_fn(|| Some(self.line())).find(|line| line.get("event").is_none());
        let answer = answer.expect("an answer");
        assert!(answer.get("return").is_some(), "{command}: {answer}");
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).expect("JSON")
    }
}
