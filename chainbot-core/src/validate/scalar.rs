//! Plain scalars by the core schema of YAML 1.2, which JSON's literals are a part of.
//!
//! `yes`, `no`, `on`, `off` are text. What has no exact meaning in JSON (infinity, an integer of thirty
//! digits, a decimal with a leading zero) is refused rather than changed silently.

use serde_json::Number;

use crate::model::document::NodeValue;

/// What a plain scalar is, or why it cannot be taken.
pub(super) fn resolve(text: &str) -> Result<NodeValue, String> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => NodeValue::Null,
        "true" | "True" | "TRUE" => NodeValue::Bool(true),
        "false" | "False" | "FALSE" => NodeValue::Bool(false),
        _ => match number(text) {
            Some(number) => NodeValue::Number(number?),
            None => NodeValue::String(text.to_owned()),
        },
    })
}

/// `None` when the text is not written as a number.
fn number(text: &str) -> Option<Result<Number, String>> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(digits, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Some(Err(format!("`{text}` has no place in JSON")));
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(rest) = text.strip_prefix(prefix) {
            if rest.is_empty() || !rest.chars().all(|c| c.is_digit(radix)) {
                return None;
            }
            return Some(u64::from_str_radix(rest, radix).map(Number::from).map_err(|_| too_big(text)));
        }
    }
    if !is_decimal(digits) {
        return None;
    }
    if digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit() {
        return Some(Err(format!("`{text}` starts with 0, which is read differently by different readers")));
    }
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        let text = text.strip_prefix('+').unwrap_or(text);
        let whole = text.parse::<u64>().map(Number::from).or_else(|_| text.parse::<i64>().map(Number::from));
        return Some(whole.map_err(|_| too_big(text)));
    }
    let value = text.parse::<f64>().ok().and_then(Number::from_f64);
    Some(value.ok_or_else(|| too_big(text)))
}

/// `12`, `1.5`, `.5`, `1.`, `1e9`.
fn is_decimal(digits: &str) -> bool {
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (digits, None),
    };
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && all_digits(exponent)
    });
    all_digits(whole) && all_digits(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent_fits
}

fn too_big(text: &str) -> String {
    let shown = super::findings::shown(text, 40);
    format!("the number `{shown}` cannot be kept exactly")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_mean_what_the_core_schema_says() {
        let cases = [
            ("true", "true"),
            ("FALSE", "false"),
            ("yes", "\"yes\""),
            ("no", "\"no\""),
            ("on", "\"on\""),
            ("~", "null"),
            ("", "null"),
            ("12", "12"),
            ("-7", "-7"),
            ("+7", "7"),
            ("0", "0"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("1.5", "1.5"),
            (".5", "0.5"),
            ("1.", "1.0"),
            ("1E3", "1000.0"),
            ("-0", "0"),
            ("18446744073709551615", "18446744073709551615"),
            ("1_000", "\"1_000\""),
            ("1.2.3", "\"1.2.3\""),
            ("12:30", "\"12:30\""),
            ("2026-01-01", "\"2026-01-01\""),
            ("e5", "\"e5\""),
            (".", "\".\""),
            ("-", "\"-\""),
            ("0xZZ", "\"0xZZ\""),
        ];
        for (text, json) in cases {
            let value = resolve(text).unwrap();
            let node = crate::model::Node { pos: crate::error::Pos::default(), value };
            assert_eq!(node.to_json().to_string(), json, "{text}");
        }
    }

    #[test]
    fn numbers_that_json_cannot_keep_are_refused() {
        for text in
            ["007", "-012", ".inf", "-.INF", ".nan", "1e400", "18446744073709551616", "0xFFFFFFFFFFFFFFFFF"]
        {
            assert!(resolve(text).is_err(), "{text}");
        }
    }
}
