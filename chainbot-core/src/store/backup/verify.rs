//! Holds a backup against its manifest: the file's bytes, its pages, every table, and the journal's invariants.

use std::path::Path;

use super::manifest::{DATABASE, Manifest};
use super::{content, copy_failed, take};
use crate::error::code::{backup as code, store};
use crate::error::{Error, Result};
use crate::store::sqlite::{connection, schema_version};
use crate::store::{invariants, problem};

/// A backup that is as it was made.
#[derive(Debug)]
pub struct Checked {
    /// What it is.
    pub manifest: Manifest,
    /// What does not hold of its journal: so it was in the database as well.
    pub violations: Vec<invariants::Violation>,
    /// Whether the invariants were looked at: those of an older schema are, when it is restored.
    pub is_current: bool,
}

/// Reads all of a backup. CB-0852 names the first difference; CB-0402 when a newer ChainBot made it.
pub fn verify(folder: &Path) -> Result<Checked> {
    let manifest = Manifest::read(folder)?;
    let path = folder.join(DATABASE);
    if manifest.schema > schema_version() {
        return Err(newer(folder, &manifest));
    }
    let found = take::sum(&path)?;
    if found != manifest.database {
        let message = format_args!(
            "{} has {} bytes and the hash {}, its manifest says {} and {}",
            path.display(),
            found.bytes,
            found.blake3,
            manifest.database.bytes,
            manifest.database.blake3
        );
        return Err(damaged(message.to_string()));
    }
    manifest.sealed_secrets(folder)?;
    let conn = connection::open_reader(&path)?;
    let transaction = conn.unchecked_transaction().map_err(problem::read)?;
    let sound: String = transaction
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(|error| copy_failed(&path, error))?;
    if sound != "ok" {
        return Err(damaged(format_args!("{}: {sound}", path.display()).to_string()));
    }
    let tables = content::of(&transaction).map_err(|error| copy_failed(&path, error))?;
    let other = tables.iter().zip(&manifest.tables).find(|(found, said)| found != said);
    if let Some((found, _)) = other.filter(|_| tables.len() == manifest.tables.len()) {
        let message =
            format_args!("{}: the table `{}` is not what the manifest says", path.display(), found.name);
        return Err(damaged(message.to_string()));
    }
    if tables.len() != manifest.tables.len() || content::digest(&tables) != manifest.content {
        return Err(damaged(
            format_args!("{} has other tables than its manifest says", path.display()).to_string(),
        ));
    }
    let is_current = manifest.schema == schema_version();
    let violations = if is_current { invariants::check_in(&transaction)? } else { Vec::new() };
    Ok(Checked { manifest, violations, is_current })
}

fn damaged(message: String) -> Error {
    Error::new(&code::DAMAGED, message).help("take another backup, and check the disk that this one is on")
}

fn newer(folder: &Path, manifest: &Manifest) -> Error {
    let message = format_args!(
        "{} was made by ChainBot {} with schema version {}, this ChainBot ({}) knows up to {}",
        folder.display(),
        manifest.version,
        manifest.schema,
        crate::VERSION,
        schema_version()
    );
    Error::new(&store::NEWER, message.to_string())
        .help("install the ChainBot that made it or a later one, then restore; nothing was changed")
}
