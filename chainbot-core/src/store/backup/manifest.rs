//! The manifest: what a backup is, of when, and what its parts hash to. It is written last, so a folder without one is none.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{failed, new_file, sync_folder, with_suffix};
use crate::error::code::backup as code;
use crate::error::{Error, Result};
use crate::id::{Lsn, SafeName};
use crate::limits;
use crate::time::Timestamp;

/// The copy's name in its folder.
pub const DATABASE: &str = "chainbot.db";
/// The name of the secrets that a passphrase opens.
pub const SECRETS: &str = "secrets.sealed";
const MANIFEST: &str = "manifest.json";
/// Of the folder: a later one is refused.
const FORMAT: u32 = 1;

/// Why a backup was made. Only those of one kind make room for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Somebody asked for it.
    Manual,
    /// The schedule did.
    Scheduled,
    /// Before another one was put in the place of the database.
    BeforeRestore,
    /// Before the schema was brought up to date.
    BeforeMigration,
}

impl Kind {
    /// As the API says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Manual => "manual",
            Kind::Scheduled => "scheduled",
            Kind::BeforeRestore => "before_restore",
            Kind::BeforeMigration => "before_migration",
        }
    }
}

/// A table's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSum {
    /// Which.
    pub name: String,
    /// So many rows.
    pub rows: u64,
    /// blake3 of them, in hex.
    pub hash: String,
}

/// A file's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSum {
    /// In the folder of the backup.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// blake3 of it, in hex.
    pub blake3: String,
}

/// What a backup is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Of the folder.
    pub format: u32,
    /// Its own, also when the folder was renamed.
    pub name: SafeName,
    /// Why it was made.
    pub kind: Kind,
    /// The ChainBot that made it.
    pub version: String,
    /// Of the database.
    pub schema: usize,
    /// When.
    pub created_at: Timestamp,
    /// The newest place of its journal.
    pub newest_lsn: Lsn,
    /// The copy.
    pub database: FileSum,
    /// One hash over all tables.
    pub content: String,
    /// Each table.
    pub tables: Vec<TableSum>,
    /// The secrets that a passphrase opens, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<FileSum>,
}

impl Manifest {
    /// The form of what this version writes.
    pub(super) const FORMAT: u32 = FORMAT;

    /// Reads the manifest of a folder. CB-0850 when there is none, CB-0852 when it does not read.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let file = match File::open(&path) {
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                let message =
                    format_args!("{} is no backup: it has no manifest", folder.display()).to_string();
                return Err(Error::new(&code::NOT_FOUND, message)
                    .help("`chainbot backup list` shows those there are"));
            }
            other => other.map_err(|error| failed("cannot read", &path, error))?,
        };
        let mut bytes = Vec::new();
        file.take(limits::MANIFEST_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(|error| failed("cannot read", &path, error))?;
        let manifest: Self = serde_json::from_slice(&bytes).map_err(|error| {
            let message = format_args!("{} does not read: {error}", path.display()).to_string();
            Error::new(&code::DAMAGED, message).help("take another backup")
        })?;
        if manifest.format > FORMAT {
            let message = format_args!(
                "{} is a backup of format {}, and this ChainBot ({}) knows up to {FORMAT}",
                folder.display(),
                manifest.format,
                crate::VERSION
            );
            return Err(Error::new(&crate::error::code::store::NEWER, message.to_string())
                .help("restore it with the ChainBot that made it, or a later one"));
        }
        Ok(manifest)
    }

    /// Writes it into a folder: whole, old or new, also after a power cut.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(MANIFEST);
        let new = with_suffix(&path, ".new");
        let written = (|| {
            let _ = std::fs::remove_file(&new);
            let mut file = new_file(&new)?;
            let mut text = serde_json::to_vec_pretty(self)?;
            text.push(b'\n');
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&new, &path)?;
            sync_folder(folder)
        })();
        written.map_err(|error| failed("cannot write", &path, error))
    }

    /// Adds the secrets that a passphrase opens: the file, and then the line that names it.
    pub fn add_secrets(&mut self, folder: &Path, sealed: &[u8]) -> Result<()> {
        let path = folder.join(SECRETS);
        let written = (|| {
            let _ = std::fs::remove_file(&path);
            let mut file = new_file(&path)?;
            file.write_all(sealed)?;
            file.sync_all()
        })();
        written.map_err(|error| failed("cannot write", &path, error))?;
        self.secrets = Some(FileSum {
            file: SECRETS.to_owned(),
            bytes: sealed.len() as u64,
            blake3: blake3::hash(sealed).to_hex().to_string(),
        });
        self.write(folder)
    }

    /// Reads the secrets that a passphrase opens, and holds them against the manifest.
    pub fn sealed_secrets(&self, folder: &Path) -> Result<Option<Vec<u8>>> {
        let Some(sum) = &self.secrets else { return Ok(None) };
        let path = folder.join(SECRETS);
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(limits::SECRETS_EXPORT_BYTES_MAX).read_to_end(&mut bytes))
            .map_err(|error| failed("cannot read", &path, error))?;
        if blake3::hash(&bytes).to_hex().as_str() != sum.blake3 {
            let message = format_args!("{} was changed or damaged", path.display()).to_string();
            return Err(
                Error::new(&code::DAMAGED, message).help("take another backup, or restore without secrets")
            );
        }
        Ok(Some(bytes))
    }
}
