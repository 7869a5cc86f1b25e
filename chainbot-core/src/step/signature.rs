//! Signatures: HMAC-SHA256, and by it those of Standard Webhooks.
//!
//! Signed is `id.timestamp.body` over the bytes that are sent; a key is `whsec_` and the base64 of 24 to 64 bytes.
//! Several keys give several signatures, so that a receiver can change its key without losing a message.

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Failure;
use crate::error::code::secret as code;
use crate::model::{StepError, class};

/// Keys are handed around with and without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// As the specification has it.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// HMAC-SHA256.
pub(crate) fn hmac_sha256(key: &[u8], message: &[&[u8]]) -> Result<[u8; 32], Failure> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key)
        .map_err(|_| unusable("the key cannot be used for HMAC-SHA256"))?;
    message.iter().for_each(|part| mac.update(part));
    Ok(mac.finalize().into_bytes().into())
}

/// The value of `webhook-signature`: one signature a key, in their order.
pub(crate) fn webhook(keys: &[&str], id: &str, timestamp: &str, body: &[u8]) -> Result<String, Failure> {
    let mut out = String::new();
    for key in keys {
        let key = read_key(key)?;
        let signature = hmac_sha256(&key, &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body])?;
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str("v1,");
        out.push_str(&STANDARD.encode(signature));
    }
    Ok(out)
}

fn read_key(text: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let decoded =
        text.trim().strip_prefix("whsec_").and_then(|text| LENIENT.decode(text).ok()).map(Zeroizing::new);
    decoded.filter(|key| KEY_BYTES.contains(&key.len())).ok_or_else(|| {
        unusable(
            "the secret is no key of Standard Webhooks: it must be `whsec_` and the base64 of 24 to 64 bytes; make \
             one with `printf 'whsec_%s' \"$(openssl rand -base64 32)\"`",
        )
    })
}

fn unusable(message: &str) -> Failure {
    StepError::new(class::INVALID, &code::UNUSABLE, message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The specification's own vectors.
    #[test]
    fn signatures_are_those_of_the_specification() {
        for (key, id, at, body, expected) in [
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                "1614265330",
                r#"{"test": 2432232314}"#,
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            (
                "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
                "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
                "1649367553",
                r#"{"email":"test@example.com","username":"test_user"}"#,
                "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
            ),
        ] {
            assert_eq!(webhook(&[key], id, at, body.as_bytes()).unwrap(), expected);
        }
    }

    #[test]
    fn several_keys_sign_and_padding_is_no_matter() {
        let (padded, bare) = (
            "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        );
        let both = webhook(&[padded, bare], "a", "1", b"{}").unwrap();
        let (first, second) = both.split_once(' ').unwrap();
        assert_eq!(first, second);
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        for key in [
            "",
            "whsec_",
            "whsec_AAAA",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "whsec_!!!",
            "whsk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            let failure = webhook(&[key], "a", "1", b"").expect_err(key);
            assert_eq!(failure.error.code, "CB-1007");
            assert!(key.len() < 7 || !failure.error.message.contains(key));
        }
    }

    /// RFC 4231, test case 2.
    #[test]
    fn hmac_is_that_of_the_rfc() {
        let mac = hmac_sha256(b"Jefe", &[b"what do ya want ", b"for nothing?"]).unwrap();
        let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
