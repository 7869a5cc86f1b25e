//! The reserve file: room on the disk that is given up when everything else is taken, so that what is under way can go on
//! and deleting works. Holds nothing; only its blocks matter.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::limits::RESERVE_BYTES;

const NAME: &str = "reserve";

/// The file, there or not.
pub struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// In a data folder. Makes nothing yet.
    pub fn new(folder: &Path) -> Self {
        Self { path: folder.join(NAME) }
    }

    /// Whether it is there, whole.
    pub fn is_there(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|file| file.len() >= RESERVE_BYTES)
    }

    /// Gives the room back; false when there was none to give.
    pub fn release(&self) -> bool {
        crate::fault!("reserve.release" => return false);
        match fs::remove_file(&self.path) {
            Ok(()) => true,
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    log::error!("the reserve {} cannot be given up: {error}", self.path.display());
                }
                false
            }
        }
    }

    /// Takes the room when as much again is left after it. False when there is too little.
    pub fn make(&self) -> std::io::Result<bool> {
        if self.is_there() {
            return Ok(true);
        }
        let folder = self.path.parent().unwrap_or(Path::new("."));
        if free_bytes(folder)? < 2 * RESERVE_BYTES {
            return Ok(false);
        }
        let made = self.fill();
        if let Err(error) = &made {
            // A part of it is no reserve, and its room is wanted.
            self.release();
            if error.kind() == ErrorKind::StorageFull {
                return Ok(false);
            }
        }
        made.map(|()| true)
    }

    fn fill(&self) -> std::io::Result<()> {
        crate::fault!("reserve.make", super::problem::io_on_purpose);
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES) {
            Ok(()) => Ok(()),
            // A file system that cannot promise blocks takes them by being written to.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_out(&mut file),
            Err(error) => Err(error.into()),
        }
    }
}

fn write_out(file: &mut File) -> std::io::Result<()> {
    let zeros = vec![0; 1 << 20];
    for _ in 0..RESERVE_BYTES >> 20 {
        file.write_all(&zeros)?;
    }
    Ok(())
}

/// What an unprivileged process may still write to the disk of a folder.
pub fn free_bytes(folder: &Path) -> std::io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_takes_its_room_and_gives_it_back_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let reserve = Reserve::new(folder.path());
        assert!(!reserve.is_there() && !reserve.release());
        assert!(reserve.make().expect("the disk works"), "the tests need some free room");
        assert!(reserve.is_there());
        let blocks =
            std::os::unix::fs::MetadataExt::blocks(&fs::metadata(folder.path().join(NAME)).expect("there"));
        assert!(blocks * 512 >= RESERVE_BYTES, "it has a length and no blocks");
        assert!(reserve.release() && !reserve.is_there());
        fs::write(folder.path().join(NAME), b"cut").expect("written");
        assert!(!reserve.is_there(), "a part of it is no reserve");
        assert!(reserve.make().expect("the disk works") && reserve.is_there());
    }
}
