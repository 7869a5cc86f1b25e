//! The vault's key: made at the first use. A copy of the database opens nothing; a backup that is to restore secrets needs both.

use std::path::Path;

use zeroize::Zeroizing;

use super::key_file::KeyFile;
use crate::env::Env;
use crate::error::Result;
use crate::error::code::secret as code;
use crate::store::DataDir;

/// The key file's name in the data folder.
pub const KEY_FILE: &str = "secret.key";
const FILE: KeyFile = KeyFile {
    name: KEY_FILE,
    prefix: "chainbot-secret-key-1:",
    code: &code::KEY,
    exposed: "change the secrets if others are on this machine",
    damaged: "put the right file back, from the backup of the data folder",
    keys_max: 1,
};
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
        Ok(FILE.read(folder)?.first().map(|master| Self::of(&master[..])))
    }

    /// The key of a folder that another process may hold.
    pub(super) fn of_folder(folder: &Path) -> Result<Option<Self>> {
        Ok(FILE.read_in(folder)?.first().map(|master| Self::of(&master[..])))
    }

    /// Makes the folder's key. On disk when this returns.
    pub(super) fn make(folder: &DataDir, env: &Env) -> Result<Self> {
        let master = FILE.make(folder, env)?;
        log::info!("a key for secrets was made: {}", folder.path().join(KEY_FILE).display());
        Ok(Self::of(&master[..]))
    }

    fn of(master: &[u8]) -> Self {
        let mut id = [0; 8];
        id.copy_from_slice(&blake3::derive_key(ID_LABEL, master)[..8]);
        Self { id, seal: Zeroizing::new(blake3::derive_key(SEAL_LABEL, master)) }
    }
}
