//! Signatures of incoming webhooks, by Standard Webhooks.
//!
//! Signed is `id.timestamp.body` over the bytes as they came. Pure: time and key come in. Comparison takes as long
//! whatever is wrong, because it is the check of the MAC itself.

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::limits::HOOK_TOLERANCE_S;
use crate::time::Timestamp;

/// Secrets are handed around with and without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// As the specification has it.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Signatures looked at in one header: old and new keys of a sender.
const SIGNATURES_MAX: usize = 8;
/// A message's id; it becomes part of a key of the store.
const ID_BYTES_MAX: usize = 200;

/// Whether a call is signed by this key, within the tolerance of time. `Err` says for the log what is wrong.
pub fn verify(
    key: &str,
    id: &str,
    timestamp: &str,
    signatures: &str,
    body: &[u8],
    now: Timestamp,
) -> Result<(), &'static str> {
    if id.is_empty()
        || id.len() > ID_BYTES_MAX
        || id.contains('.')
        || !id.bytes().all(|b| b.is_ascii_graphic())
    {
        return Err("the webhook-id is empty, too long, or has a character that it must not have");
    }
    let is_digits = !timestamp.is_empty() && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let at: i64 = timestamp
        .parse()
        .ok()
        .filter(|_| is_digits)
        .ok_or("the webhook-timestamp is no number of seconds")?;
    if (now.0 / 1_000).abs_diff(at) > HOOK_TOLERANCE_S.unsigned_abs() {
        return Err("the webhook-timestamp is more than five minutes away from this machine's clock");
    }
    let key = decode(key)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| "the secret cannot be used")?;
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    let given = signatures.split(' ').take(SIGNATURES_MAX).filter_map(|one| one.strip_prefix("v1,"));
    let is_signed = given
        .filter_map(|text| LENIENT.decode(text).ok())
        // `verify_slice` takes the whole MAC only, and always as long.
        .any(|signature| mac.clone().verify_slice(&signature).is_ok());
    if is_signed { Ok(()) } else { Err("no signature of the header is right") }
}

/// Whether a secret can be a key; `Err` says what is wrong with it.
pub fn check_key(key: &str) -> Result<(), &'static str> {
    decode(key).map(drop)
}

fn decode(key: &str) -> Result<Vec<u8>, &'static str> {
    let text = key.trim().strip_prefix("whsec_").ok_or("it does not begin with `whsec_`")?;
    let bytes = LENIENT.decode(text).map_err(|_| "what follows `whsec_` is not base64")?;
    if KEY_BYTES.contains(&bytes.len()) { Ok(bytes) } else { Err("it does not have 24 to 64 bytes") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT: &str = "1614265330";
    const BODY: &str = r#"{"test": 2432232314}"#;
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    /// At so many seconds after the call was made.
    fn check(key: &str, id: &str, at: &str, signatures: &str, body: &[u8], late_s: i64) -> bool {
        let now = Timestamp((1_614_265_330 + late_s) * 1_000);
        verify(key, id, at, signatures, body, now).is_ok()
    }

    #[test]
    fn the_vectors_of_the_specification_verify() {
        assert!(check(KEY, ID, AT, SIGNED, BODY.as_bytes(), 0));
        assert!(check(
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            "1649367553",
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
            br#"{"email":"test@example.com","username":"test_user"}"#,
            1_649_367_553 - 1_614_265_330,
        ));
    }

    #[test]
    fn time_counts_to_the_second() {
        for (late, good) in [(299, true), (300, true), (301, false), (-299, true), (-301, false)] {
            assert_eq!(check(KEY, ID, AT, SIGNED, BODY.as_bytes(), late), good, "{late}");
        }
    }

    #[test]
    fn one_right_signature_among_several_is_enough_and_a_part_is_none() {
        let several = format!("v1,AAAA v1a,xyz {SIGNED}");
        assert!(check(KEY, ID, AT, &several, BODY.as_bytes(), 0));
        for wrong in [
            "",
            "v1,",
            "v1,AAAA",
            "g0hM9SsE",
            "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            "v1,g0hM9SsE+OTPJTGt",
        ] {
            assert!(!check(KEY, ID, AT, wrong, BODY.as_bytes(), 0), "{wrong}");
        }
    }

    #[test]
    fn what_was_signed_must_be_what_came() {
        assert!(!check(KEY, ID, AT, SIGNED, br#"{"test":2432232314}"#, 0));
        assert!(!check(KEY, "msg_other", AT, SIGNED, BODY.as_bytes(), 0));
        assert!(!check(KEY, "a.b", AT, SIGNED, BODY.as_bytes(), 0));
        for at in ["", "+1614265330", "1614265330.0", "x"] {
            assert!(!check(KEY, ID, at, SIGNED, BODY.as_bytes(), 0), "{at}");
        }
        for key in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAA"] {
            assert!(check_key(key).is_err() && !check(key, ID, AT, SIGNED, BODY.as_bytes(), 0), "{key}");
        }
    }
}
