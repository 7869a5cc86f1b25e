//! A key as a file of its own: a label and 32 random bytes in base64, readable by its owner alone, never in the database.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::env::Env;
use crate::error::{Code, Error, Result};
use crate::limits::PRIVATE_FILE_BYTES_MAX;
use crate::store::DataDir;

/// What a key file is and says.
pub struct KeyFile {
    /// Its name in the data folder.
    pub name: &'static str,
    /// Says what the file is, and of which form.
    pub prefix: &'static str,
    /// Of its errors.
    pub code: &'static Code,
    /// What to do when others can read it, besides `chmod`.
    pub exposed: &'static str,
    /// What to do when it does not read.
    pub damaged: &'static str,
    /// Keys in it at most, a line each.
    pub keys_max: usize,
}

/// 32 bytes, wiped when dropped.
pub type Master = Zeroizing<[u8; 32]>;

impl KeyFile {
    /// The keys; none when there is no file yet.
    pub fn read(&self, folder: &DataDir) -> Result<Vec<Master>> {
        let Some(bytes) = folder.read(self.name)?.map(Zeroizing::new) else { return Ok(Vec::new()) };
        self.decode(&folder.path().join(self.name), &bytes)
    }

    /// The keys of a folder that another process may hold.
    pub fn read_in(&self, folder: &Path) -> Result<Vec<Master>> {
        let path = folder.join(self.name);
        let read = read_bounded(&path).map_err(|error| {
            Error::new(self.code, format!("{} cannot be read", path.display()))
                .help("use the account that the server runs as")
                .because(error)
        })?;
        read.map_or_else(|| Ok(Vec::new()), |bytes| self.decode(&path, &bytes))
    }

    fn decode(&self, path: &Path, bytes: &[u8]) -> Result<Vec<Master>> {
        let mode = std::fs::metadata(path)
            .map_err(|error| {
                Error::new(self.code, format!("{} cannot be looked at", path.display())).because(error)
            })?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            let message = format!("{} can be read by others than its owner", path.display());
            return Err(Error::new(self.code, message).help(format!(
                "run `chmod 600 {}`, and {}",
                path.display(),
                self.exposed
            )));
        }
        self.decode_text(path, bytes)
    }

    fn decode_text(&self, path: &Path, bytes: &[u8]) -> Result<Vec<Master>> {
        let keys: Option<Vec<Master>> = std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| text.trim().lines().map(|l| self.line(l)).collect());
        match keys {
            Some(keys) if (1..=self.keys_max).contains(&keys.len()) => Ok(keys),
            _ => Err(Error::new(self.code, format!("{} is not a key of ChainBot", path.display()))
                .help(self.damaged)),
        }
    }

    /// The keys of a credential of the service, by the file's name; none where there is no such credential.
    pub fn read_credential(&self, credentials: &Path) -> Result<Vec<Master>> {
        let path = credentials.join(self.name);
        match read_bounded(&path) {
            Ok(None) => Ok(Vec::new()),
            // Its mode is systemd's, and it is this service's alone.
            Ok(Some(bytes)) => self.decode_text(&path, &bytes),
            Err(error) => {
                Err(Error::new(self.code, format!("{} cannot be read", path.display())).because(error))
            }
        }
    }

    /// Makes a key. On disk when this returns.
    pub fn make(&self, folder: &DataDir, env: &Env) -> Result<Master> {
        let master = Zeroizing::new(env.bytes::<32>());
        self.write(folder, std::slice::from_ref(&master))?;
        Ok(master)
    }

    /// Puts these keys in place of those that are there, in one step. On disk when this returns.
    pub fn write(&self, folder: &DataDir, keys: &[Master]) -> Result<()> {
        let mut text = Zeroizing::new(String::new());
        for key in keys {
            text.push_str(self.prefix);
            STANDARD.encode_string(&key[..], &mut text);
            text.push('\n');
        }
        folder.write_private(self.name, text.as_bytes())
    }

    fn line(&self, line: &str) -> Option<Master> {
        let bytes = Zeroizing::new(STANDARD.decode(line.trim().strip_prefix(self.prefix)?).ok()?);
        <[u8; 32]>::try_from(bytes.as_slice()).ok().map(Zeroizing::new)
    }
}

/// A file's bytes, up to the bound; `None` when it is not there.
fn read_bounded(path: &Path) -> std::io::Result<Option<Zeroizing<Vec<u8>>>> {
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(PRIVATE_FILE_BYTES_MAX as u64).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
