//! The key file: 32 random bytes in the data folder, made at the first use, readable by its owner alone.
//!
//! It is not in the database, so a copy of the database opens nothing; a backup that is to restore secrets needs both.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::env::Env;
use crate::error::code::secret as code;
use crate::error::{Error, Result};
use crate::limits::PRIVATE_FILE_BYTES_MAX;
use crate::store::DataDir;

/// The key file's name in the data folder.
pub const KEY_FILE: &str = "secret.key";
/// Says what the file is, and of which form.
const PREFIX: &str = "chainbot-secret-key-1:";
/// Makes the sealing key; another purpose takes another label, so that no two uses share bytes.
const SEAL_LABEL: &str = "ChainBot 2026-11 secrets at rest, XChaCha20-Poly1305";
/// Makes the key's public id.
const ID_LABEL: &str = "ChainBot 2026-11 id of the key of secrets at rest";

/// A key that was read or made. Wiped when dropped.
pub(super) struct Key {
    pub(super) id: [u8; 8],
    pub(super) seal: Zeroizing<[u8; 32]>,
}

impl Key {
    /// The folder's key; `None` when there is none yet.
    pub(super) fn read(folder: &DataDir) -> Result<Option<Self>> {
        let Some(bytes) = folder.read(KEY_FILE)?.map(Zeroizing::new) else { return Ok(None) };
        Self::decode(&folder.path().join(KEY_FILE), &bytes).map(Some)
    }

    /// The key of a folder that another process may hold.
    pub(super) fn of_folder(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(KEY_FILE);
        let mut bytes = Zeroizing::new(Vec::new());
        let read = match std::fs::File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other
                .and_then(|file| file.take(PRIVATE_FILE_BYTES_MAX as u64).read_to_end(&mut bytes)),
        };
        read.map_err(|error| {
            Error::new(&code::KEY, format!("{} cannot be read", path.display()))
                .help("use the account that the server runs as")
                .because(error)
        })?;
        Self::decode(&path, &bytes).map(Some)
    }

    fn decode(path: &Path, bytes: &[u8]) -> Result<Self> {
        let mode = std::fs::metadata(path)
            .map_err(|error| {
                Error::new(&code::KEY, format!("{} cannot be looked at", path.display())).because(error)
            })?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            let message = format!("{} can be read by others than its owner", path.display());
            return Err(Error::new(&code::KEY, message).help(format!(
                "run `chmod 600 {}`, and change the secrets if others are on this machine",
                path.display()
            )));
        }
        let master = std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| text.trim().strip_prefix(PREFIX))
            .and_then(|text| STANDARD.decode(text).ok())
            .map(Zeroizing::new)
            .filter(|master| master.len() == 32);
        match master {
            Some(master) => Ok(Self::of(&master)),
            None => Err(Error::new(&code::KEY, format!("{} is not a key of ChainBot", path.display()))
                .help("put the right file back, from the backup of the data folder")),
        }
    }

    /// Makes the folder's key. On disk when this returns.
    pub(super) fn make(folder: &DataDir, env: &Env) -> Result<Self> {
        let master = Zeroizing::new(env.bytes::<32>());
        let text = Zeroizing::new(format!("{PREFIX}{}\n", STANDARD.encode(*master)));
        folder.write_private(KEY_FILE, text.as_bytes())?;
        log::info!("a key for secrets was made: {}", folder.path().join(KEY_FILE).display());
        Ok(Self::of(&master[..]))
    }

    fn of(master: &[u8]) -> Self {
        let mut id = [0; 8];
        id.copy_from_slice(&blake3::derive_key(ID_LABEL, master)[..8]);
        Self { id, seal: Zeroizing::new(blake3::derive_key(SEAL_LABEL, master)) }
    }
}
