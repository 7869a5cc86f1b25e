//! Opaque tokens: a prefix and 256 random bits in hex, kept by clients and known here by their SHA-256 only.
//!
//! `cb_`: the data folder's and API tokens, `cbr_`: refresh tokens, `cbs_`: the token of the first start. Invariants: the text
//! never reaches a debug print; a comparison takes the same time whatever is compared.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::env::Env;
use crate::error::code::general;
use crate::error::{Error, Result};
use crate::port::Digest as TokenDigest;

/// Makes secret scanners find a leaked token.
pub const PREFIX: &str = "cb_";
/// Of refresh tokens.
pub const REFRESH: &str = "cbr_";
/// Of the token of the first start.
pub const SETUP: &str = "cbs_";
/// 256 bits in hex.
const HEX_LEN: usize = 64;

/// A token in full.
#[derive(Clone)]
pub struct AccessToken(String);

impl AccessToken {
    /// A new token from the operating system's randomness.
    pub fn generate(env: &Env) -> Self {
        Self::with_prefix(PREFIX, env)
    }

    /// A new token for another use.
    pub fn with_prefix(prefix: &str, env: &Env) -> Self {
        let mut text = String::with_capacity(prefix.len() + HEX_LEN);
        text.push_str(prefix);
        for byte in env.bytes::<32>() {
            text.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
            text.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
        }
        Self(text)
    }

    /// Reads a token, as from a file; white space around it is dropped.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let well_formed = text.strip_prefix(PREFIX).is_some_and(|hex| {
            hex.len() == HEX_LEN && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        });
        if !well_formed {
            // The text may be a mistyped secret, so the message does not repeat it.
            return Err(Error::new(
                &general::TOKEN,
                "a token is `cb_` and 64 hexadecimal digits in lower case",
            )
            .help("remove the token file; a new token is made at the next start"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The token in full, for the file and for the person who asked.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What a server keeps.
    pub fn digest(&self) -> TokenDigest {
        digest_of(&self.0)
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(..)")
    }
}

/// The digest of any text that was sent as a token.
pub fn digest_of(text: &str) -> TokenDigest {
    TokenDigest(Sha256::digest(text.as_bytes()).into())
}

/// Whether both are of the same token. Looks at every byte, so time tells nothing; and as it compares digests, a caller
/// cannot even choose the bytes that are compared.
pub fn matches(one: &TokenDigest, other: &TokenDigest) -> bool {
    let difference = one.0.iter().zip(&other.0).fold(0u8, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_token_reads_back_and_no_two_are_alike() {
        let env = Env::system();
        let token = AccessToken::generate(&env);
        let read = AccessToken::parse(&format!("{}\n", token.reveal())).unwrap();
        assert!(matches(&token.digest(), &read.digest()));
        assert!(!matches(&token.digest(), &AccessToken::generate(&env).digest()));
        assert_eq!(token.reveal().len(), 67);
    }

    #[test]
    fn a_mistyped_token_is_refused_without_being_repeated() {
        let upper = format!("cb_{}", "A".repeat(64));
        for text in ["", "cb_", "secret", "cb_0123", upper.as_str()] {
            let error = AccessToken::parse(text).unwrap_err();
            assert_eq!(error.code().id, "CB-0018");
            assert!(text.len() < 4 || !error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn a_debug_print_shows_no_token() {
        let token = AccessToken::generate(&Env::system());
        assert!(!format!("{token:?} {:?}", token.digest()).contains(&token.reveal()[3..10]));
    }
}
