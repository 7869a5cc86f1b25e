//! The folder that backups are in: names, list, rotation.

use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::manifest::{Kind, Manifest};
use super::{failed, new_file, sync_folder};
use crate::error::code::backup as code;
use crate::error::{Error, Result};
use crate::id::SafeName;
use crate::limits;
use crate::time::Timestamp;

/// Under way: not a backup, and no [`SafeName`].
const PARTIAL: &str = ".partial";
/// On its way out.
const DELETED: &str = ".deleted";

/// The folder.
#[derive(Clone, Debug)]
pub struct Shelf {
    dir: PathBuf,
}

/// A backup on the shelf.
#[derive(Debug)]
pub struct Entry {
    /// The folder's name.
    pub name: SafeName,
    /// What it says of itself, or why that cannot be read.
    pub manifest: Result<Manifest>,
}

impl Shelf {
    /// At a place. Makes nothing yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Where.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a backup is, or would be.
    pub fn path(&self, name: &SafeName) -> PathBuf {
        self.dir.join(name.as_str())
    }

    /// A name that is free: a word and the moment.
    pub fn free_name(&self, word: &str, at: Timestamp) -> SafeName {
        let moment: String =
            at.to_string().chars().take(19).filter(|c| c.is_ascii_digit() || *c == 'T').collect();
        let moment = moment.replace('T', "-");
        let name = |end: &str| [word, &moment, end].concat().parse::<SafeName>().ok();
        let mut free = (2..100u32).map(|number| ["-", &number.to_string()].concat());
        let mut tried = name("");
        while let Some(end) = tried.as_ref().filter(|name| self.path(name).exists()).and_then(|_| free.next())
        {
            tried = name(&end);
        }
        // A word of ours and digits are always a name.
        tried.unwrap_or_else(|| SafeName::from_time(at))
    }

    pub(super) fn partial(&self, name: &SafeName) -> PathBuf {
        self.dir.join([".", name.as_str(), PARTIAL].concat())
    }

    /// The folder itself.
    pub(super) fn make(&self) -> Result<()> {
        if self.dir.is_dir() {
            return Ok(());
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(|error| failed("cannot make the folder of backups", &self.dir, error))
    }

    /// All backups, newest first; those whose manifest does not read at the end.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let found = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|error| failed("cannot read", &self.dir, error))?,
        };
        let mut entries = Vec::new();
        for one in found {
            let one = one.map_err(|error| failed("cannot read", &self.dir, error))?;
            let name = one.file_name().to_str().and_then(|name| name.parse::<SafeName>().ok());
            let Some(name) = name.filter(|_| one.path().is_dir()) else { continue };
            if entries.len() >= limits::BACKUPS_LISTED_MAX {
                log::warn!("{} holds more than {} backups", self.dir.display(), limits::BACKUPS_LISTED_MAX);
                break;
            }
            entries.push(Entry { manifest: Manifest::read(&one.path()), name });
        }
        let made = |entry: &Entry| {
            entry.manifest.as_ref().map_or(Timestamp(i64::MIN), |manifest| manifest.created_at)
        };
        entries.sort_by(|a, b| made(b).cmp(&made(a)).then_with(|| b.name.cmp(&a.name)));
        Ok(entries)
    }

    /// Copies a backup from elsewhere onto the shelf; its folder.
    pub fn copy_from(&self, from: &Path, name: &SafeName) -> Result<PathBuf> {
        self.make()?;
        let (partial, target) = (self.partial(name), self.path(name));
        if target.exists() {
            return Err(taken(name, &self.dir));
        }
        let copied = (|| {
            if partial.exists() {
                fs::remove_dir_all(&partial)?;
            }
            DirBuilder::new().mode(0o700).create(&partial)?;
            for one in fs::read_dir(from)? {
                let one = one?;
                let mut to = new_file(&partial.join(one.file_name()))?;
                std::io::copy(&mut File::open(one.path())?, &mut to)?;
                to.sync_all()?;
            }
            sync_folder(&partial)?;
            fs::rename(&partial, &target)?;
            sync_folder(&self.dir)
        })();
        copied.map_err(|error| failed("cannot write", &target, error))?;
        Ok(target)
    }

    /// Deletes all but the newest `keep` of a kind; their names.
    pub fn prune(&self, kind: Kind, keep: usize) -> Result<Vec<SafeName>> {
        let of_kind = |entry: &Entry| entry.manifest.as_ref().is_ok_and(|manifest| manifest.kind == kind);
        let old: Vec<SafeName> =
            self.entries()?.into_iter().filter(of_kind).skip(keep).map(|entry| entry.name).collect();
        old.iter().try_for_each(|name| self.delete(name))?;
        Ok(old)
    }

    /// Deletes a backup. It loses its name first, so that none is ever half there.
    pub fn delete(&self, name: &SafeName) -> Result<()> {
        let gone = self.dir.join([".", name.as_str(), DELETED].concat());
        let deleted = (|| {
            if gone.exists() {
                fs::remove_dir_all(&gone)?;
            }
            match fs::rename(self.path(name), &gone) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                other => other?,
            }
            sync_folder(&self.dir)?;
            fs::remove_dir_all(&gone)
        })();
        deleted.map_err(|error| failed("cannot delete", &self.path(name), error))
    }

    /// Removes what a process left that ended in the middle.
    pub fn sweep(&self) -> Result<()> {
        let found = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|error| failed("cannot read", &self.dir, error))?,
        };
        for one in found.flatten() {
            let name = one.file_name();
            let Some(inner) = name.to_str().and_then(|name| name.strip_prefix('.')) else { continue };
            let inner = inner.strip_suffix(PARTIAL).or_else(|| inner.strip_suffix(DELETED));
            if inner.is_some_and(|name| name.parse::<SafeName>().is_ok()) {
                fs::remove_dir_all(one.path())
                    .map_err(|error| failed("cannot delete", &one.path(), error))?;
            }
        }
        Ok(())
    }
}

/// The name is not free.
pub(super) fn taken(name: &SafeName, dir: &Path) -> Error {
    let message = format_args!("there is a backup `{name}` in {}", dir.display()).to_string();
    Error::new(&code::EXISTS, message).help("give another name, or leave it out")
}
