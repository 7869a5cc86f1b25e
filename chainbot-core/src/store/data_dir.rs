//! The data folder: made with mode 0700, held by one process at a time, with small files written whole.
//!
//! Invariants: while a [`DataDir`] lives no other process has one on the same folder. The lock is the
//! kernel's and
//! ends with the process, however that ends; the text in the file only tells who holds it. A file written by
//! [`DataDir::write_private`] is there whole, old or new, after a power cut, and readable by its owner alone.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::problem;
use crate::env::{Clock, SystemClock};
use crate::error::code::store;
use crate::error::{Error, Result};
use crate::limits;
use crate::time::Timestamp;

const LOCK: &str = "lock";

/// Who holds the folder, as the lock file says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Holder {
    /// What the process calls itself: `host-shim`, `chainbot run`.
    pub process: String,
    /// Its number.
    pub pid: u32,
    /// Since when.
    pub since: Timestamp,
}

/// A data folder that this process holds.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Locked as long as it is open. `None` once it was given back.
    lock: Mutex<Option<File>>,
}

/// How long a small file must last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lasting {
    PowerCut,
    Process,
}

impl DataDir {
    /// Makes the folder if it is not there, checks that it can be used, and takes it.
    pub fn open(path: &Path, process_name: &str) -> Result<DataDir> {
        make(path)?;
        check_mode(path)?;
        let mut lock = open_lock(path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(path, &mut lock)),
            Err(TryLockError::Error(error)) => {
                return Err(problem::data_dir(path, "cannot lock the data folder", error));
            }
        }
        let holder = Holder {
            process: process_name.to_owned(),
            pid: std::process::id(),
            since: SystemClock::default().now(),
        };
        tell(&mut lock, &holder)
            .map_err(|error| problem::data_dir(path, "cannot write the lock file in", error))?;
        let path = path
            .canonicalize()
            .map_err(|error| problem::data_dir(path, "cannot find the full path of", error))?;
        Ok(DataDir { path, lock: Mutex::new(Some(lock)) })
    }

    /// Who holds a folder, without taking it. `None` when nobody does or the folder is not there.
    pub fn holder(path: &Path) -> Option<Holder> {
        let mut lock = File::open(path.join(LOCK)).ok()?;
        match lock.try_lock_shared() {
            Err(TryLockError::WouldBlock) => read_holder(&mut lock),
            _ => None,
        }
    }

    /// Gives the folder back: another process, or the next start in this one, may take it from here on, also while
    /// somebody still holds this value.
    pub fn release(&self) {
        drop(self.lock.lock().take());
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a small file whole, readable by its owner alone: new file, fsync, rename, fsync of the folder.
    pub fn write_private(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.write(name, bytes, Lasting::PowerCut)
    }

    /// The same without fsync, for what means nothing after this process: where its port is.
    pub fn write_passing(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.write(name, bytes, Lasting::Process)
    }

    fn write(&self, name: &str, bytes: &[u8], lasting: Lasting) -> Result<()> {
        let target = self.file(name)?;
        if bytes.len() > limits::PRIVATE_FILE_BYTES_MAX {
            let error = std::io::Error::new(ErrorKind::FileTooLarge, "larger than such a file may be");
            return Err(problem::data_dir(&target, "cannot write", error));
        }
        let mut temporary = target.as_os_str().to_owned();
        temporary.push(".new");
        let temporary = PathBuf::from(temporary);
        let written = (|| {
            // A leftover of a crash may have another mode, which `mode` would not change.
            match fs::remove_file(&temporary) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(bytes)?;
            if lasting == Lasting::Process {
                return fs::rename(&temporary, &target);
            }
            crate::fault!("data_dir.write.before_sync", problem::io_on_purpose);
            file.sync_all()?;
            crate::fault!("data_dir.write.before_rename", problem::io_on_purpose);
            fs::rename(&temporary, &target)?;
            crate::fault!("data_dir.write.after_rename", problem::io_on_purpose);
            File::open(&self.path)?.sync_all()
        })();
        written.map_err(|error| problem::data_dir(&target, "cannot write", error))
    }

    /// Reads a small file. `None` when it is not there.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.file(name)?;
        let fail = |error| problem::data_dir(&path, "cannot read", error);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail(error)),
        };
        let mut bytes = Vec::new();
        file.take(limits::PRIVATE_FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(fail)?;
        if bytes.len() > limits::PRIVATE_FILE_BYTES_MAX {
            return Err(fail(std::io::Error::new(ErrorKind::FileTooLarge, "larger than such a file may be")));
        }
        Ok(Some(bytes))
    }

    /// Removes a small file; nothing happens when it is not there.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.file(name)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(problem::data_dir(&path, "cannot remove", error))
            }
            _ => Ok(()),
        }
    }

    /// A name is a name in this folder: no path leads out of it.
    fn file(&self, name: &str) -> Result<PathBuf> {
        let mut parts = Path::new(name).components();
        match (parts.next(), parts.next()) {
            (Some(Component::Normal(only)), None) if only != LOCK => Ok(self.path.join(only)),
            _ => {
                let error = std::io::Error::new(ErrorKind::InvalidFilename, "not a plain file name");
                Err(problem::data_dir(&self.path.join(name), "cannot use", error))
            }
        }
    }
}

fn make(path: &Path) -> Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => {
            let error = std::io::Error::from(ErrorKind::NotADirectory);
            Err(problem::data_dir(path, "cannot use as the data folder", error))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| problem::data_dir(path, "cannot make the data folder", error)),
        Err(error) => Err(problem::data_dir(path, "cannot look at the data folder", error)),
    }
}

/// Others who may write into the folder could replace the database; others who may only list it see
/// names, since every file is 0600.
fn check_mode(path: &Path) -> Result<()> {
    let mode = fs::metadata(path)
        .map_err(|error| problem::data_dir(path, "cannot look at the data folder", error))?
        .permissions()
        .mode();
    if mode & 0o002 != 0 {
        let message = format_args!("every user may write to the data folder {}", path.display()).to_string();
        return Err(Error::new(&store::DATA_DIR, message).help("run `chmod 700` on it"));
    }
    Ok(())
}

fn open_lock(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path.join(LOCK))
        .map_err(|error| problem::data_dir(path, "cannot write to the data folder", error))
}

fn tell(lock: &mut File, holder: &Holder) -> std::io::Result<()> {
    crate::fault!("data_dir.lock", problem::io_on_purpose);
    let text = serde_json::to_vec(holder).map_err(std::io::Error::other)?;
    lock.set_len(0)?;
    lock.write_all(&text)?;
    lock.sync_all()
}

fn read_holder(lock: &mut File) -> Option<Holder> {
    let mut text = Vec::new();
    lock.take(limits::PRIVATE_FILE_BYTES_MAX as u64).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

fn held(path: &Path, lock: &mut File) -> Error {
    let message = match read_holder(lock) {
        Some(holder) => format_args!(
            "the data folder {} is used by `{}` (process {}, since {})",
            path.display(),
            holder.process,
            holder.pid,
            holder.since
        )
        .to_string(),
        // The holder has the lock but has not written its name yet, or was out of room to do so.
        None => format_args!("the data folder {} is used by another process", path.display()).to_string(),
    };
    Error::new(&store::LOCKED, message).help("stop that process, or choose another data folder")
}
