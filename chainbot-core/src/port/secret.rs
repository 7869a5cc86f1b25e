//! Secrets as the layers below their vault see them: rows for the store, opened values for steps.
//!
//! Invariants: a [`SecretText`] shows itself as `***` and is wiped when it is dropped; a stored row holds no value
//! that reads without the key.

use std::fmt;

use zeroize::Zeroizing;

use super::Possession;
use crate::error::Result;
use crate::id::UserId;
use crate::time::Timestamp;

/// A value that must not be shown. Wiped from memory when dropped.
#[derive(Clone)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes the text over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The value. Whoever calls this answers for where it goes.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A secret as its row holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSecret {
    /// `[a-z][a-z0-9_]{0,62}`: what expressions call it.
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// From 1; grows with every change.
    pub version: u32,
    /// Which key sealed it.
    pub key_id: [u8; 8],
    /// Drawn for this version.
    pub nonce: [u8; 24],
    /// The value, sealed.
    pub sealed: Vec<u8>,
    /// Where it may be sent, in normal form.
    pub hosts: Vec<String>,
    /// For people.
    pub description: Option<String>,
    /// Of version 1.
    pub created_at: Timestamp,
    /// Of this version.
    pub updated_at: Timestamp,
}

/// The operator as an owner's text.
const OPERATOR: &str = "operator";

impl StoredSecret {
    /// The owner as text, which is bound to the sealed value.
    pub fn owner_of(user: Option<UserId>) -> String {
        user.map_or_else(|| OPERATOR.to_owned(), |user| user.to_string())
    }

    /// Whose it is: the operator's is everybody's to use, a user's nobody else's. An owner that does not read is nobody.
    pub fn possession(&self) -> Possession {
        match (self.owner == OPERATOR, self.owner.parse()) {
            (true, _) => Possession::HOUSE,
            (false, Ok(user)) => Possession { owner: Some(user), shared: None },
            (false, Err(_)) => Possession { owner: None, shared: None },
        }
    }

    /// Whether what belongs to `owner` may use it.
    pub fn serves(&self, owner: Option<UserId>) -> bool {
        self.owner == OPERATOR || (owner.is_some() && self.possession().owner == owner)
    }
}

/// Reads the rows; they are written by [`super::Op::SecretPut`] and [`super::Op::SecretRemove`].
pub trait SecretRows: Send + Sync {
    /// All of them, by name.
    fn secrets(&self) -> Result<Vec<StoredSecret>>;
}

/// A secret opened for one use.
#[derive(Clone, Debug)]
pub struct OpenSecret {
    /// Its value.
    pub value: SecretText,
    /// Where it may be sent, in normal form.
    pub hosts: Vec<String>,
}

/// What steps ask of the vault.
pub trait Secrets: Send + Sync {
    /// Opens a secret for what belongs to `owner` (`None` is the operator), which may use its owner's and the operator's. Another
    /// one's is as if there were none. From memory; does not block.
    fn open(&self, owner: Option<UserId>, name: &str) -> Result<OpenSecret>;
    /// Opens a secret that the operator's configuration names: of the vault, or a reference that definitions cannot reach.
    fn open_of_operator(&self, name: &str) -> Result<OpenSecret> {
        self.open(None, name)
    }
    /// The text with every secret's value replaced by `***`; `None` when there is none in it.
    fn redact(&self, text: &str) -> Option<String>;
}
