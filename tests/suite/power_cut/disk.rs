//! The machine's disk: an ext4 on a file that the storage daemon exports and logs, and ext4 images mounted after a cut.
//!
//! Runs in a process that is the first of its namespace, so a daemon that went to the background is its child.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;

use crate::support;

/// More than the 128 MiB of ext4's first group, so that there is a second with a copy of the super block: a torn super
/// block is then mended at boot, as on a real card.
pub const BYTES: usize = 144 << 20;

/// A disk under load.
pub struct Disk {
    folder: PathBuf,
    daemon: Pid,
}

impl Disk {
    /// Makes it in `folder` and mounts it.
    pub fn start(folder: &Path) -> Self {
        let file = |name: &str| folder.join(name);
        for name in ["disk", "log", "export"] {
            let made = std::fs::File::create(file(name)).expect("a file");
            made.set_len(if name == "disk" { BYTES as u64 } else { 0 }).expect("its length");
        }
        let node = |text: &str, name: &str| format!("{text}{}", file(name).display());
        let mut command = Command::new("qemu-storage-daemon");
        command.args(["--blockdev", &node("driver=file,node-name=disk,filename=", "disk")]);
        command.args(["--blockdev", &node("driver=file,node-name=log,filename=", "log")]);
        command.args([
            "--blockdev",
            "driver=blklogwrites,node-name=logged,file=disk,log=log,log-sector-size=512",
        ]);
        command.args([
            "--export",
            &node("type=fuse,id=export,node-name=logged,writable=on,mountpoint=", "export"),
        ]);
        // It goes to the background when the export is there, so nothing waits for it.
        command.arg("--daemonize").arg("--pidfile").arg(file("pid"));
        // Not `output`: the daemon would keep the pipes open.
        assert!(command.status().expect("it runs").success(), "qemu-storage-daemon does not start");
        let pid = std::fs::read_to_string(file("pid")).expect("its number");
        let daemon = pid.trim().parse().ok().and_then(Pid::from_raw).expect("a number");
        let features = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
        support::run(
            Command::new("mkfs.ext4").args(["-q", "-F", "-b", "4096", "-E", features]).arg(file("export")),
        );
        std::fs::create_dir(file("mnt")).expect("a folder");
        support::run(
            Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(file("export")).arg(file("mnt")),
        );
        support::run(Command::new("sync").arg("--file-system").arg(file("mnt")));
        Self { folder: folder.to_owned(), daemon }
    }

    /// Where it is mounted.
    pub fn mount(&self) -> PathBuf {
        self.folder.join("mnt")
    }

    /// The log's length: everything that has been answered is in so many bytes.
    pub fn logged(&self) -> u64 {
        std::fs::metadata(self.folder.join("log")).expect("the log is there").len()
    }

    /// Unmounts it, ends the daemon and gives the log's file.
    pub fn end(self) -> PathBuf {
        support::run(Command::new("umount").arg(self.mount()));
        kill_process(self.daemon, Signal::TERM).expect("the daemon lives");
        waitpid(Some(self.daemon), WaitOptions::empty()).expect("a child of the first process");
        self.folder.join("log")
    }
}

/// What a mounted image needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Mounting it, which plays ext4's journal.
    Mount,
    /// `e2fsck -y` first, as a Pi does at boot.
    Check,
}

/// An image of a disk after a cut, mounted as the machine would at its next start.
pub struct Mounted(PathBuf);

impl Mounted {
    /// Mounts an image; `folder` has the place. An error is a file system that cannot be saved.
    pub fn new(folder: &Path, image: &Path) -> Result<(Self, Recovery), String> {
        let at = folder.join("recovered");
        std::fs::create_dir_all(&at).map_err(|error| error.to_string())?;
        if mount(image, &at).is_ok() {
            return Ok((Self(at), Recovery::Mount));
        }
        let checked = Command::new("e2fsck")
            .args(["-f", "-y"])
            .arg(image)
            .output()
            .map_err(|error| error.to_string())?;
        mount(image, &at).map_err(|error| format!("{error}{}", String::from_utf8_lossy(&checked.stdout)))?;
        Ok((Self(at), Recovery::Check))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(&self.0).status().is_ok_and(|status| status.success());
        assert!(done || std::thread::panicking(), "{} is still in use", self.0.display());
    }
}

fn mount(file: &Path, at: &Path) -> Result<(), String> {
    let output = Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(file).arg(at).output();
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// A folder for disks and images: in memory where there is room, for only the order of writes matters here.
pub fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}
