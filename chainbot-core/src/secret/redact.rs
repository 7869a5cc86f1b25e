//! The one place that takes secrets out of text: every known value, as it is and as others write it.
//!
//! Servers echo what they were sent, and libraries quote it. So a value is looked for as plain text, percent-encoded,
//! in base64 at each of the three alignments it can have inside something longer (`user:password` is one), and
//! line by line when it has several. All patterns are found in one pass, whatever their number.

use std::borrow::Cow;
use std::sync::{Arc, Weak};

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use parking_lot::RwLock;
use zeroize::Zeroizing;

use crate::error::code::general;
use crate::error::{Error, Result};
use crate::limits::SECRET_VALUE_BYTES_MIN;

/// What vaults of this process know, for the log, which belongs to no vault. A plain lock, written when a vault is opened and
/// read with each line of the log; behind it lies a lock that is held for a copy of a pointer.
static OF_LOG: RwLock<Vec<Weak<Shared>>> = RwLock::new(Vec::new());

/// A redactor that is replaced as a whole when secrets change.
pub(super) type Shared = RwLock<Arc<Redactor>>;

/// Takes what a vault knows out of the log too, for as long as it lives.
pub(super) fn watch_log(redactor: &Arc<Shared>) {
    let mut all = OF_LOG.write();
    all.retain(|known| known.strong_count() > 0);
    all.push(Arc::downgrade(redactor));
}

/// A line of the log without the secrets that this process knows. The loggers of the module and of the command line call it with
/// everything they write.
pub fn redact_log(line: &str) -> Cow<'_, str> {
    let all: Vec<Arc<Redactor>> =
        OF_LOG.read().iter().filter_map(Weak::upgrade).map(|shared| shared.read().clone()).collect();
    let mut out = Cow::Borrowed(line);
    for redactor in all {
        if let Some(clean) = redactor.redact(&out) {
            out = Cow::Owned(clean);
        }
    }
    out
}

/// What stands where a secret was.
const HIDDEN: &str = "***";

/// Finds known values. Empty at first.
#[derive(Default)]
pub(super) struct Redactor {
    search: Option<AhoCorasick>,
}

impl Redactor {
    /// For these values.
    pub(super) fn new<'a>(values: impl Iterator<Item = &'a str>) -> Result<Self> {
        let mut patterns = Zeroizing::new(Vec::new());
        values.for_each(|value| add(value, &mut patterns));
        if patterns.is_empty() {
            return Ok(Self::default());
        }
        let search = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(patterns.iter())
            .map_err(|error| Error::new(&general::INTERNAL, "secrets cannot be looked for").because(error))?;
        Ok(Self { search: Some(search) })
    }

    /// The text without the values; `None` when none is in it.
    pub(super) fn redact(&self, text: &str) -> Option<String> {
        let search = self.search.as_ref()?;
        if !search.is_match(text) {
            return None;
        }
        let mut out = String::with_capacity(text.len());
        search.replace_all_with(text, &mut out, |_, _, out| {
            out.push_str(HIDDEN);
            true
        });
        Some(out)
    }
}

/// All spellings of a value that are long enough not to be found by chance.
fn add(value: &str, patterns: &mut Vec<String>) {
    let mut push = |pattern: String| {
        if pattern.len() >= SECRET_VALUE_BYTES_MIN && !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    };
    push(value.to_owned());
    push(crate::net::percent_encoded(value));
    push(crate::net::form(&[(value.to_owned(), String::new())]).trim_end_matches('=').to_owned());
    for offset in 0..3 {
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let mut bytes = Zeroizing::new(vec![0; offset]);
            bytes.extend_from_slice(value.as_bytes());
            let text = Zeroizing::new(engine.encode(&*bytes));
            // Characters that hold bits of what stands before or after differ from place to place.
            let first = [0, 2, 3][offset];
            let last = bytes.len() * 8 / 6;
            push(text.get(first..last).unwrap_or_default().to_owned());
        }
    }
    if value.lines().count() > 1 {
        value.lines().for_each(|line| push(line.trim().to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(secret: &str, text: &str) -> String {
        let redactor = Redactor::new([secret].into_iter()).unwrap();
        redactor.redact(text).unwrap_or_else(|| text.to_owned())
    }

    #[test]
    fn a_value_is_found_in_every_spelling() {
        let secret = "s3cr3t /+välue!";
        for text in [
            secret.to_owned(),
            format!("before{secret}after"),
            format!("/path/{}", crate::net::percent_encoded(secret)),
            crate::net::form(&[("a".to_owned(), secret.to_owned())]),
        ] {
            let out = redacted(secret, &text);
            assert!(out.contains("***") && !out.contains("3cr3t"), "{out}");
        }
        for before in ["", "a", "ab", "user:"] {
            for after in ["", "z", "zz"] {
                for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
                    let text = engine.encode(format!("{before}{secret}{after}"));
                    let out = redacted(secret, &text);
                    assert!(out.contains("***") && out.len() < 14, "{before} {after}: {text} -> {out}");
                }
            }
        }
    }

    #[test]
    fn other_text_stays_and_lines_of_a_long_secret_are_found() {
        assert_eq!(redacted("correct horse", "correct hors"), "correct hors");
        let key = "-----BEGIN-----\nMIIabcdefgh\n-----END-----";
        assert_eq!(redacted(key, "line MIIabcdefgh here"), "line *** here");
        assert_eq!(Redactor::default().redact("anything"), None);
    }
}
