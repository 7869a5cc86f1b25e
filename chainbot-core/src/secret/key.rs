//! The vault's keys: one, made at the first use; two while secrets are sealed anew. A copy of the database opens nothing; a backup
//! that is to restore secrets needs the key as well.
//!
//! A key comes from the file [`KEY_FILE`] of the data folder, or from a credential of the service by the same name, which beats the
//! file and which only the operator changes. The first key seals; rows say which one opens them. A rotation writes `new, old`, seals
//! every row with the new one in one transaction, and writes `new`: whatever it is cut short at, every row has its key.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::key_file::{KeyFile, Master};
use crate::env::Env;
use crate::error::code::secret as code;
use crate::error::{Error, Result};
use crate::port::{SecretText, StoredSecret};
use crate::store::DataDir;

/// The key file's name in the data folder, and among a service's credentials.
pub const KEY_FILE: &str = "secret.key";
const FILE: KeyFile = KeyFile {
    name: KEY_FILE,
    prefix: "chainbot-secret-key-1:",
    code: &code::KEY,
    exposed: "change the secrets if others are on this machine",
    damaged: "put the right file back, from the backup of the data folder",
    keys_max: 2,
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

/// The keys at hand: none yet, one, or two while secrets are sealed anew.
pub(super) struct Keys {
    all: Vec<Key>,
    is_credential: bool,
}

impl Keys {
    /// Those of a folder that this process holds.
    pub(super) fn read(folder: &DataDir, credentials: Option<&Path>) -> Result<Self> {
        Ok(match of_credential(credentials)? {
            Some(keys) => keys,
            None => Self::of(&FILE.read(folder)?, false),
        })
    }

    /// Those of a folder that another process may hold.
    pub(super) fn of_folder(folder: &Path, credentials: Option<&Path>) -> Result<Self> {
        Ok(match of_credential(credentials)? {
            Some(keys) => keys,
            None => Self::of(&FILE.read_in(folder)?, false),
        })
    }

    fn of(masters: &[Master], is_credential: bool) -> Self {
        Self { all: masters.iter().map(|master| Key::of(&master[..])).collect(), is_credential }
    }

    /// The one that seals.
    pub(super) fn first(&self) -> Option<&Key> {
        self.all.first()
    }

    /// Whether a row can be opened.
    pub(super) fn opens(&self, row: &StoredSecret) -> bool {
        self.all.iter().any(|key| key.id == row.key_id)
    }

    /// Opens a row with the key that it names.
    pub(super) fn open(&self, row: &StoredSecret) -> Result<SecretText> {
        match self.all.iter().find(|key| key.id == row.key_id) {
            Some(key) => super::seal::open(key, row),
            None => Err(super::seal::other_key(&row.name)),
        }
    }

    /// Makes the folder's first key. On disk when this returns.
    pub(super) fn make(folder: &DataDir, env: &Env) -> Result<Self> {
        let master = FILE.make(folder, env)?;
        log::info!("a key for secrets was made: {}", folder.path().join(KEY_FILE).display());
        Ok(Self::of(&[master], false))
    }

    /// First step of a rotation: a new key before the one that is there. A rotation that was cut short goes on with the new key
    /// it had. The operator's credential cannot be written: it must have two keys already.
    pub(super) fn begin_rotation(folder: &DataDir, credentials: Option<&Path>, env: &Env) -> Result<Self> {
        let keys = Self::read(folder, credentials)?;
        match (keys.all.len(), keys.is_credential) {
            (2, _) => Ok(keys),
            (_, true) => Err(Error::new(&code::KEY, "the key is a credential of the service, which only you change").help(
                "put a new line before the one in the credential's file, restart, and repeat this; then take the second line away",
            )),
            (_, false) => {
                let mut masters = FILE.read(folder)?;
                masters.insert(0, Zeroizing::new(env.bytes::<32>()));
                FILE.write(folder, &masters)?;
                Ok(Self::of(&masters, false))
            }
        }
    }

    /// Last step: the first key alone, once no row needs the other.
    pub(super) fn end_rotation(folder: &DataDir, credentials: Option<&Path>) -> Result<Self> {
        let keys = Self::read(folder, credentials)?;
        if keys.is_credential {
            return Ok(keys);
        }
        let masters = FILE.read(folder)?;
        let first = masters.get(..1).unwrap_or_default();
        FILE.write(folder, first)?;
        Ok(Self::of(first, false))
    }

    /// Whether the operator gives them.
    pub(super) fn is_credential(&self) -> bool {
        self.is_credential
    }
}

fn of_credential(credentials: Option<&Path>) -> Result<Option<Keys>> {
    let Some(credentials) = credentials else { return Ok(None) };
    let masters = FILE.read_credential(credentials)?;
    Ok((!masters.is_empty()).then(|| Keys::of(&masters, true)))
}

/// The folder of the service's credentials.
pub(super) fn credentials() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").filter(|path| !path.is_empty()).map(PathBuf::from)
}

impl Key {
    fn of(master: &[u8]) -> Self {
        let mut id = [0; 8];
        id.copy_from_slice(&blake3::derive_key(ID_LABEL, master)[..8]);
        Self { id, seal: Zeroizing::new(blake3::derive_key(SEAL_LABEL, master)) }
    }
}
