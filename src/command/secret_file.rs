//! `chainbot secret export` and `import`: between a data folder that no server works on and a file under a passphrase.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use chainbot_core::env::Env;
use chainbot_core::secret::{Brought, Import, Vault, check_passphrase};
use chainbot_core::store::backup::Shelf;
use chainbot_core::store::{self, DataDir, SqliteStore};
use serde_json::json;

use crate::args::{SecretExport, SecretImport};
use crate::error::{Error, Result, code};
use crate::folder::Folder;
use crate::hidden;
use crate::output;

/// More than a file may have, so that the vault says what is wrong with one that is longer.
const FILE_BYTES_MAX: u64 = 17 * 1024 * 1024;

/// Whether there must be a database already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Database,
    Nothing,
}

/// All secrets into a new file.
pub async fn export(args: &SecretExport) -> Result<u8> {
    let folder = Folder::choose(&args.place)?;
    let passphrase =
        hidden::read_passphrase(args.passphrase_file.as_deref(), "a passphrase for the secrets")?;
    check_passphrase(&passphrase)?;
    let vault = vault(&folder, Need::Database, "chainbot secret export")?;
    let written = |error: std::io::Error| {
        Error::new(&code::OUTPUT, format!("{}: {error}", args.file.display()))
            .help("name a file that is not there yet, in a folder where you may write")
    };
    // Before anything is opened and written down: a place that does not serve is the commonest slip.
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&args.file).map_err(written)?;
    let exported = vault.export(&passphrase).await.map_err(Error::Core).and_then(|(bytes, count)| {
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(written)?;
        Ok(count)
    });
    let count = exported.inspect_err(|_| {
        // What is not whole is not left behind; that it cannot be removed would change nothing about the error.
        let _ = std::fs::remove_file(&args.file);
    })?;
    if args.json.json {
        output::json(&json!({ "file": args.file, "secrets": count }))?;
        return Ok(0);
    }
    output::line(&format!("{} exported to {}", output::counted(count, "secret"), args.file.display()))?;
    output::note("without the passphrase nobody can open them, you neither; keep the two apart");
    Ok(0)
}

/// The secrets of such a file into the vault.
pub async fn import(args: &SecretImport) -> Result<u8> {
    let folder = Folder::choose(&args.place)?;
    let bytes = read(&args.file)?;
    let passphrase = hidden::read(args.passphrase_file.as_deref(), "the passphrase of the secrets")?;
    let vault = vault(&folder, Need::Nothing, "chainbot secret import")?;
    let how = Import { is_replacing: args.replace, owner: args.owner.clone() };
    let Brought { added, replaced } = vault.import(&bytes, &passphrase, &how).await?;
    if args.json.json {
        output::json(&json!({ "added": added, "replaced": replaced }))?;
        return Ok(0);
    }
    for (names, what) in [(&added, "brought in"), (&replaced, "replaced")] {
        if !names.is_empty() {
            output::line(&format!(
                "{} {what}: {}",
                output::counted(names.len(), "secret"),
                names.join(", ")
            ))?;
        }
    }
    Ok(0)
}

/// The vault of a folder that no server works on: what happens to it is one row of the audit log in one transaction, and only who
/// holds the folder may write one.
fn vault(folder: &Folder, need: Need, process: &str) -> Result<Vault> {
    let file = &folder.config().database.file;
    let database = folder.path().join(file);
    if need == Need::Database && !database.exists() {
        return Err(Error::new(&code::FOLDER, format!("there is no database {}", database.display()))
            .help("name the data folder with --data"));
    }
    let data_dir = Arc::new(DataDir::open(folder.path(), process)?);
    let shelf = Shelf::new(folder.config().backup.dir.clone());
    let options =
        store::OpenOptions { path: file.clone(), shelf, ..store::OpenOptions::new(data_dir.clone()) };
    Ok(Vault::open(SqliteStore::open(options)?, data_dir, Env::system())?)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
    read.map_err(|error| {
        Error::new(&code::SOURCE, format!("{} cannot be read: {error}", path.display()))
            .help("name a file of `chainbot secret export`")
    })?;
    Ok(bytes)
}
