//! Passwords: what may be one, and how one is hashed and checked.
//!
//! Made: argon2id with 19 MiB, two passes, one lane. Checked: that, and bcrypt of accounts that were taken over, which becomes
//! argon2id at the first sign-in. Everything here takes a processor for a while and blocks; callers bound how many at once.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};

use crate::error::code::{account as code, general};
use crate::error::{Error, Result};
use crate::limits::{BCRYPT_COST_MAX, PASSWORD_BYTES_MAX, SIGN_IN_FLOOR_MS};
use crate::port::HashText;

const COMMON: &str = include_str!("common.txt");
/// Of a password in memory, in KiB.
const MEMORY_KIB: u32 = 19_456;
/// What bcrypt reads of a password.
const BCRYPT_BYTES: usize = 72;

/// Checked for a name that nobody has, so that it takes as long as for one that somebody has.
pub const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What a check found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checked {
    /// Another password.
    Wrong,
    /// It is that.
    Right,
    /// It is, and its hash is to be made anew.
    Old,
    /// Its first 72 bytes are, and bcrypt has seen no more of it: it must be changed.
    Cut,
}

/// Refuses what must not be a password. The message does not repeat it.
pub fn check_new(password: &str, name: &str, chars_min: usize) -> Result<()> {
    let refuse = |why: String, help: &str| Err(Error::new(&code::PASSWORD, why).help(help));
    let chars = password.chars().count();
    if chars < chars_min {
        return refuse(
            format!("the password has {chars} characters and needs {chars_min}"),
            "take a longer one; a sentence is fine",
        );
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return refuse(format!("the password has over {PASSWORD_BYTES_MAX} bytes"), "take a shorter one");
    }
    if password.contains('\0') {
        return refuse("the password holds a NUL".to_owned(), "leave it out");
    }
    let lower = password.to_lowercase();
    if lower == name {
        return refuse("the password is the user's name".to_owned(), "take another one");
    }
    let mut common = COMMON.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace);
    match common.any(|word| word == lower) {
        true => refuse(
            "the password is one of the commonest".to_owned(),
            "take one that others do not: three words that do not belong together",
        ),
        false => Ok(()),
    }
}

/// A hash for the store. Blocks.
pub fn hash(password: &str, salt: [u8; 16]) -> Result<HashText> {
    let failed = |error: argon2::password_hash::Error| {
        Error::new(&general::INTERNAL, "a password cannot be hashed").because(error.to_string())
    };
    let made: PasswordHash = argon2()?.hash_password_with_salt(password.as_bytes(), &salt).map_err(failed)?;
    Ok(HashText(made.to_string()))
}

/// Whether the password is that of the hash. Blocks. A hash that does not read is nobody's.
pub fn check(password: &str, hash: &HashText) -> Result<Checked> {
    if let Some(cost) = bcrypt_cost(&hash.0) {
        if cost > BCRYPT_COST_MAX || !bcrypt::verify(password.as_bytes(), &hash.0).unwrap_or(false) {
            return Ok(Checked::Wrong);
        }
        return Ok(if password.len() > BCRYPT_BYTES { Checked::Cut } else { Checked::Old });
    }
    let Ok(known) = PasswordHash::new(&hash.0) else { return Ok(Checked::Wrong) };
    let argon2 = argon2()?;
    if argon2.verify_password(password.as_bytes(), &known).is_err() {
        return Ok(Checked::Wrong);
    }
    let is_current = Params::try_from(&known)
        .is_ok_and(|params| (params.m_cost(), params.t_cost(), params.p_cost()) == (MEMORY_KIB, 2, 1));
    Ok(if is_current { Checked::Right } else { Checked::Old })
}

/// Refuses a hash that cannot be taken over.
pub fn check_bcrypt(text: &str) -> Result<()> {
    match bcrypt_cost(text) {
        Some(cost) if (4..=BCRYPT_COST_MAX).contains(&cost) => Ok(()),
        Some(cost) => Err(Error::new(
            &code::PASSWORD,
            format!("the bcrypt hash has a cost of {cost}, 4 to 14 are taken"),
        )
        .help("set a password instead")),
        None => Err(Error::new(&code::PASSWORD, "the hash is not bcrypt as `$2a$`, `$2b$` or `$2y$`")
            .help("take over 60 characters such as `$2b$12$...`, or set a password instead")),
    }
}

/// How long an answer to a sign-in takes where these are the stored hashes: longer than the slowest of them needs, and the
/// same for every name. Each step of bcrypt's cost doubles its time.
pub fn floor_ms<'a>(hashes: impl Iterator<Item = &'a HashText>) -> u64 {
    let cost = hashes.filter_map(|hash| bcrypt_cost(&hash.0)).max().unwrap_or(0);
    SIGN_IN_FLOOR_MS << cost.min(BCRYPT_COST_MAX).saturating_sub(11)
}

fn argon2() -> Result<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, 2, 1, None).map_err(|error| {
        Error::new(&general::INTERNAL, "argon2 has no such parameters").because(error.to_string())
    })?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// The cost, where the text is bcrypt as it is taken.
fn bcrypt_cost(text: &str) -> Option<u32> {
    let rest = ["$2a$", "$2b$", "$2y$"].iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let (cost, rest) = rest.split_once('$')?;
    let is_base64 = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'/';
    (cost.len() == 2 && rest.len() == 53 && rest.bytes().all(is_base64)).then(|| cost.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_password() {
        for (password, code) in [
            ("correct horse battery", None),
            ("\u{1f98a}\u{1f98a}\u{1f98a}\u{1f98a}\u{1f98a}\u{1f98a}\u{1f98a}\u{1f98a}", None),
            (&"x".repeat(64) as &str, None),
            (&"x".repeat(1_025), Some("CB-0843")),
            ("1234567", Some("CB-0843")),
            ("baseball", Some("CB-0843")),
            ("BaseBall", Some("CB-0843")),
            ("qwertyuiop", Some("CB-0843")),
            ("marianne.k", Some("CB-0843")),
            ("with\0nothing", Some("CB-0843")),
        ] {
            let found = check_new(password, "marianne.k", 8).err();
            assert_eq!(found.as_ref().map(|error| error.code().id), code, "{password}");
            if let Some(error) = found {
                assert!(!error.to_string().contains(password), "{error}");
            }
        }
        let words = COMMON.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace);
        assert_eq!(words.count(), 3_000);
    }

    #[test]
    fn argon2id_is_made_with_its_parameters_and_read_again() {
        let made = hash("correct horse", [7; 16]).unwrap();
        assert!(made.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", made.0);
        assert_eq!(check("correct horse", &made).unwrap(), Checked::Right);
        assert_eq!(check("correct hors", &made).unwrap(), Checked::Wrong);
        assert_eq!(check("anything", &HashText(NOBODY.to_owned())).unwrap(), Checked::Wrong);
        assert_eq!(check("", &HashText("plain".to_owned())).unwrap(), Checked::Wrong);
        assert_ne!(made, hash("correct horse", [8; 16]).unwrap());
    }

    #[test]
    fn bcrypt_is_read_in_its_three_spellings_and_known_to_be_cut() {
        let long = "x".repeat(73);
        for version in ["2a", "2b", "2y"] {
            let of = |password: &str| {
                let made = bcrypt::hash(password, 4).unwrap();
                HashText(format!("${version}{}", &made[3..]))
            };
            assert_eq!(check("secret words", &of("secret words")).unwrap(), Checked::Old);
            assert_eq!(check("secret word", &of("secret words")).unwrap(), Checked::Wrong);
            assert_eq!(check(&long[..72], &of(&long[..72])).unwrap(), Checked::Old);
            // The stored one was longer or not: bcrypt cannot tell, so nobody can.
            assert_eq!(check(&long, &of(&long)).unwrap(), Checked::Cut);
            assert_eq!(check(&format!("{}y", &long[..72]), &of(&long)).unwrap(), Checked::Cut);
        }
    }

    #[test]
    fn a_hash_that_is_taken_over_is_bcrypt_of_a_bounded_cost() {
        let body = "abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234";
        assert_eq!(body.len(), 53);
        for (text, is_taken) in [
            (format!("$2b$12${body}"), true),
            (format!("$2y$14${body}"), true),
            (format!("$2a$04${body}"), true),
            (format!("$2b$15${body}"), false),
            (format!("$2b$03${body}"), false),
            (format!("$2x$12${body}"), false),
            (format!("$2b$12${body}x"), false),
            (format!("$2b$12${}-", &body[1..]), false),
            (NOBODY.to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(check_bcrypt(&text).is_ok(), is_taken, "{text}");
        }
        let floor = |texts: &[&str]| {
            let hashes: Vec<_> = texts.iter().map(|text| HashText((*text).to_owned())).collect();
            floor_ms(hashes.iter())
        };
        let cost = |cost: u32| format!("$2b${cost:02}${body}");
        assert_eq!((floor(&[]), floor(&[NOBODY]), floor(&[&cost(10)])), (1_000, 1_000, 1_000));
        assert_eq!((floor(&[&cost(12), NOBODY]), floor(&[&cost(14), &cost(4)])), (2_000, 8_000));
    }
}
