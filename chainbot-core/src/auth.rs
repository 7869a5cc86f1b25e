//! Accounts: who somebody is, what they may do, and how they come in.
//!
//! ```text
//! password ──► sign_in ──► access token (15 minutes) + refresh token (good once) ──┐
//! API token, token of the data folder ───────────────────────────────────────────┤
//!                                              request ──► Accounts::admit ──► Who ──► Access: may it?
//! ```
//!
//! Invariants: users, logins and tokens are changed through the store, one change after another, and held in memory as
//! they are on disk; so whoever was disabled, signed out or given another role is so at the next request. A credential only
//! says *who*; role and scopes come from here. No password, token or key is kept in clear, logged or shown in a debug print.
//! What routes need is in one table, `auth/access.txt`. Nothing here knows HTTP.

mod access;
mod accounts;
mod act;
mod jwt;
mod password;
mod people;
mod seldom;
mod sign_in;
#[cfg(test)]
mod tests;
mod token;
mod tokens;
mod tries;
mod who;

pub use access::{Access, HOOK, Need};
pub use accounts::{Accounts, AccountsOptions, Pause, Rules};
pub use jwt::KEY_FILE;
pub use people::{Credential, NewUser, UserChange};
pub use seldom::Seldom;
pub use sign_in::{Client, Pair, SignIn};
pub use token::{AccessToken, digest_of};
pub use tokens::NewToken;
pub use who::{Via, Who};

/// The first account's token, in the data folder until it was used.
pub const SETUP_FILE: &str = "setup-token";
