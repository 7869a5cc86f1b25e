//! The vault: secrets sealed at rest, opened for one use, and taken out of everything that is written down.
//!
//! ```text
//! set ──► seal (key file) ──► row in the store          step ──► open ──► value, for the hosts it allows
//!                                                       output, error ──► redact ──► journal, log, event, API
//! ```
//!
//! Invariants: a value leaves this folder only as a [`crate::port::SecretText`], whose holder checks the host; the key
//! is a file of its own or a credential of the service, never in the database; [`redact`] is the only place that takes values out of text. A key
//! that is missing or wrong is an error at the secret's use and loses nothing: sealed rows stay until the right
//! key is back. Nothing here knows steps, runs or HTTP.

mod export;
mod key;
mod key_file;
mod name;
mod redact;
mod seal;
#[cfg(test)]
mod tests;
mod vault;

pub use export::{check_passphrase, seal_again, seal_for_export};
pub use key::KEY_FILE;
pub use key_file::{KeyFile, Master};
pub use redact::redact_log;
pub use vault::{Brought, Import, NewSecret, Rotated, SecretInfo, Vault};
