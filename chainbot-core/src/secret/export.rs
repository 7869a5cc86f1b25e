//! Secrets under a passphrase, to take them to another machine: opened with the key of the one, sealed for the way, sealed again
//! with the key of the other.
//!
//! Argon2id makes the key of the way from the passphrase, so slowly that guessing is expensive; XChaCha20-Poly1305 seals, bound
//! to what the secrets belong to: a backup, or a file of their own (`vault/transfer.rs`). Values are in memory only, and wiped.

use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::key::{self, Keys};
use super::seal;
use crate::env::Env;
use crate::error::code::{backup as code, general};
use crate::error::{Error, Result};
use crate::limits;
use crate::port::{SecretText, StoredSecret};
use crate::store::DataDir;
use crate::time::Timestamp;

const FORMAT: u32 = 1;
/// What the sealed bytes are, so that they are nothing else.
const PURPOSE: &[u8] = b"ChainBot 2026-11 secrets under a passphrase\0";
/// 64 MiB and three passes: half a second on a Pi 4, and as much for each guess.
const COST: Cost = Cost { memory_kib: 64 * 1024, passes: 3, lanes: 1 };
/// What a file may ask of the machine that opens it.
const COST_MAX: Cost = Cost { memory_kib: 256 * 1024, passes: 10, lanes: 4 };

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    format: u32,
    argon2id: Cost,
    salt: String,
    nonce: String,
    sealed: String,
}

/// A secret on its way. Its value is wiped with the text that holds it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) owner: String,
    pub(super) version: u32,
    pub(super) hosts: Vec<String>,
    pub(super) description: Option<String>,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) value: String,
}

impl Drop for Item {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.value);
    }
}

impl Item {
    /// A row that was opened.
    pub(super) fn of(row: &StoredSecret, value: &SecretText) -> Self {
        Self {
            name: row.name.clone(),
            owner: row.owner.clone(),
            version: row.version,
            hosts: row.hosts.clone(),
            description: row.description.clone(),
            created_at: row.created_at,
            updated_at: row.updated_at,
            value: value.reveal().to_owned(),
        }
    }

    /// As it is stored here, sealed with a key of this machine.
    pub(super) fn sealed(&self, key: &key::Key, env: &Env) -> Result<StoredSecret> {
        let mut row = StoredSecret {
            name: self.name.clone(),
            owner: self.owner.clone(),
            version: self.version,
            key_id: [0; 8],
            nonce: env.bytes(),
            sealed: Vec::new(),
            hosts: self.hosts.clone(),
            description: self.description.clone(),
            created_at: self.created_at,
            updated_at: self.updated_at,
        };
        seal::seal(key, &mut row, &SecretText::new(self.value.clone()))?;
        Ok(row)
    }
}

/// Opens rows with the key of a data folder and seals them under a passphrase. `bound`: what they belong to.
pub fn seal_for_export(
    folder: &Path,
    rows: &[StoredSecret],
    passphrase: &SecretText,
    bound: &str,
    env: &Env,
) -> Result<Vec<u8>> {
    let keys = Keys::of_folder(folder, key::credentials().as_deref())?;
    let items = rows.iter().map(|row| Ok(Item::of(row, &keys.open(row)?))).collect::<Result<Vec<_>>>()?;
    seal_items(&items, passphrase, bound, env)
}

/// Opens what [`seal_for_export`] made and seals it with the key of this folder, which is made where there is none.
pub fn seal_again(
    bytes: &[u8],
    passphrase: &SecretText,
    bound: &str,
    folder: &DataDir,
    env: &Env,
) -> Result<Vec<StoredSecret>> {
    let damaged = |what: &str| {
        Error::new(&code::DAMAGED, format!("the exported secrets do not read: {what}"))
            .help("take another backup with --with-secrets, or restore without them")
    };
    let items = open_items(bytes, passphrase, bound, &damaged)?;
    let mut keys = Keys::read(folder, key::credentials().as_deref())?;
    if keys.first().is_none() {
        keys = Keys::make(folder, env)?;
    }
    let key =
        keys.first().ok_or_else(|| Error::new(&general::INTERNAL, "a key that was made is not there"))?;
    items.iter().map(|item| item.sealed(key, env)).collect()
}

/// Seals under a passphrase.
pub(super) fn seal_items(items: &[Item], passphrase: &SecretText, bound: &str, env: &Env) -> Result<Vec<u8>> {
    check_passphrase(passphrase)?;
    let unwritten = |error: serde_json::Error| {
        Error::new(&general::INTERNAL, "the secrets cannot be written down").because(error)
    };
    let plain = Zeroizing::new(serde_json::to_vec(items).map_err(unwritten)?);
    let (salt, nonce) = (env.bytes::<16>(), env.bytes::<24>());
    let sealed = cipher(passphrase, &salt, COST)?
        .encrypt(&XNonce::from(nonce), Payload { msg: &plain, aad: &associated(bound) })
        .map_err(|_| Error::new(&general::INTERNAL, "the secrets cannot be sealed"))?;
    let file = Sealed {
        format: FORMAT,
        argon2id: COST,
        salt: STANDARD.encode(salt),
        nonce: STANDARD.encode(nonce),
        sealed: STANDARD.encode(sealed),
    };
    let bytes = serde_json::to_vec_pretty(&file).map_err(unwritten)?;
    // What is not read whole afterwards is not written.
    if bytes.len() as u64 > limits::SECRETS_EXPORT_BYTES_MAX {
        let message = format!("{} bytes of sealed secrets are over the bound", bytes.len());
        return Err(Error::new(&general::FIELD, message).help("remove large secrets that nothing uses"));
    }
    Ok(bytes)
}

/// Opens what [`seal_items`] made. Nothing of it is believed before the passphrase has opened it, but how expensive that is, which
/// has bounds.
pub(super) fn open_items(
    bytes: &[u8],
    passphrase: &SecretText,
    bound: &str,
    damaged: &dyn Fn(&str) -> Error,
) -> Result<Vec<Item>> {
    let file: Sealed = serde_json::from_slice(bytes).map_err(|error| damaged(&error.to_string()))?;
    let decoded = |text: &str| STANDARD.decode(text).map_err(|error| damaged(&error.to_string()));
    let Cost { memory_kib, passes, lanes } = file.argon2id;
    if file.format != FORMAT
        || memory_kib > COST_MAX.memory_kib
        || passes > COST_MAX.passes
        || lanes > COST_MAX.lanes
    {
        return Err(damaged("their form is not one that this version opens"));
    }
    let nonce: [u8; 24] = decoded(&file.nonce)?.try_into().map_err(|_| damaged("their nonce"))?;
    let sealed = decoded(&file.sealed)?;
    let plain = cipher(passphrase, &decoded(&file.salt)?, file.argon2id)?
        .decrypt(&XNonce::from(nonce), Payload { msg: &sealed, aad: &associated(bound) })
        .map_err(|_| {
            Error::new(&code::PASSPHRASE, "the passphrase is not the one that the secrets were exported with")
                .help("repeat with the right one; without it nobody opens them, and the secrets have to be set again. Nothing was changed")
        })?;
    let plain = Zeroizing::new(plain);
    let items: Vec<Item> = serde_json::from_slice(&plain).map_err(|error| damaged(&error.to_string()))?;
    match items.len() > limits::SECRETS_MAX {
        true => Err(damaged("there are more than there may be")),
        false => Ok(items),
    }
}

/// Refuses a passphrase that could be guessed.
pub fn check_passphrase(passphrase: &SecretText) -> Result<()> {
    if passphrase.reveal().chars().count() >= limits::PASSPHRASE_CHARS_MIN {
        return Ok(());
    }
    let message = format!("a passphrase has at least {} characters", limits::PASSPHRASE_CHARS_MIN);
    Err(Error::new(&code::PASSPHRASE, message)
        .help("take four or more words, and keep them apart from the backup"))
}

fn cipher(passphrase: &SecretText, salt: &[u8], cost: Cost) -> Result<XChaCha20Poly1305> {
    let wrong = |error: argon2::Error| {
        Error::new(&code::PASSPHRASE, "no key can be made of the passphrase").because(error.to_string())
    };
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(wrong)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.reveal().as_bytes(), salt, &mut key[..])
        .map_err(wrong)?;
    Ok(XChaCha20Poly1305::new((&*key).into()))
}

fn associated(bound: &str) -> Vec<u8> {
    [PURPOSE, bound.as_bytes()].concat()
}
