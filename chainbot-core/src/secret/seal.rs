//! XChaCha20-Poly1305 over a value, bound to its owner, name, version and hosts: none can be changed in the
//! database without the value becoming unreadable.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::key::Key;
use crate::error::code::secret as code;
use crate::error::{Error, Result};
use crate::port::{SecretText, StoredSecret};

/// Seals a value into a row; the row's nonce is drawn for it and used once.
pub(super) fn seal(key: &Key, row: &mut StoredSecret, value: &SecretText) -> Result<()> {
    row.key_id = key.id;
    let payload = Payload { msg: value.reveal().as_bytes(), aad: &bound(row) };
    row.sealed = cipher(key)
        .encrypt(&XNonce::from(row.nonce), payload)
        .map_err(|_| Error::new(&code::VALUE, format!("the secret `{}` cannot be sealed", row.name)))?;
    Ok(())
}

/// Opens a row.
pub(super) fn open(key: &Key, row: &StoredSecret) -> Result<SecretText> {
    if row.key_id != key.id {
        return Err(other_key(&row.name));
    }
    let payload = Payload { msg: &row.sealed, aad: &bound(row) };
    let opened = cipher(key).decrypt(&XNonce::from(row.nonce), payload);
    let damaged = || {
        Error::new(&code::DAMAGED, format!("the stored secret `{}` was changed or damaged", row.name))
            .help(format!("set it again with `chainbot secret set {}`", row.name))
    };
    let bytes = opened.map_err(|_| damaged())?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(SecretText::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(damaged())
        }
    }
}

/// Sealed with a key that is not there.
pub(super) fn other_key(name: &str) -> Error {
    Error::new(&code::KEY, format!("the secret `{name}` was sealed with another key than the one at hand")).help(
        "put the file `secret.key` back that belongs to this database; or remove the secret and set it again",
    )
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new((&*key.seal).into())
}

/// Every field with its length before it, so that no two rows give the same bytes.
fn bound(row: &StoredSecret) -> Vec<u8> {
    let mut out = b"secret 1".to_vec();
    out.extend_from_slice(&row.version.to_le_bytes());
    let fields = [row.owner.as_str(), row.name.as_str()];
    for field in fields.into_iter().chain(row.hosts.iter().map(String::as_str)) {
        out.extend_from_slice(&(field.len() as u64).to_le_bytes());
        out.extend_from_slice(field.as_bytes());
    }
    out
}
