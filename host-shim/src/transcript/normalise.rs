//! Makes a transcript's line comparable: volatile values, escapes, length.
//!
//! Works on bytes, as the language of transcripts defines it, so that hosts in other languages agree.

use crate::limits::TRANSCRIPT_LINE_BYTES_MAX;

/// The line as it is printed, without its line feed.
pub fn line(raw: &[u8]) -> String {
    let text = escape(&replace_volatile(raw));
    if text.len() <= TRANSCRIPT_LINE_BYTES_MAX {
        return text;
    }
    format!("{}...", &text[..text.floor_char_boundary(TRANSCRIPT_LINE_BYTES_MAX)])
}

/// Replaces from left to right; at each place the first rule that matches wins.
fn replace_volatile(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        let rest = &raw[at..];
        let word_before = at > 0 && raw[at - 1].is_ascii_alphanumeric();
        let found = [(uuid(rest), "<uuid>"), (time(rest), "<time>"), (hash(rest), "<hash>")]
            .into_iter()
            .find_map(|(len, name)| {
                let len =
                    len.filter(|len| !word_before && !rest.get(*len).is_some_and(u8::is_ascii_alphanumeric))?;
                Some((len, name))
            })
            .or_else(|| Some((milliseconds(&raw[..at], rest)?, "<ms>")));
        match found {
            Some((len, name)) => {
                out.extend_from_slice(name.as_bytes());
                at += len;
            }
            None => {
                out.push(raw[at]);
                at += 1;
            }
        }
    }
    out
}

/// The length of a UUID at the start.
fn uuid(rest: &[u8]) -> Option<usize> {
    fits(rest, "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh")
}

/// The length of an RFC 3339 time at the start.
fn time(rest: &[u8]) -> Option<usize> {
    let mut len = fits(rest, "dddd-dd-ddTdd:dd:dd")?;
    if rest.get(len) == Some(&b'.') {
        let digits = rest[len + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&digits) {
            return None;
        }
        len += 1 + digits;
    }
    match rest.get(len)? {
        b'Z' => Some(len + 1),
        b'+' | b'-' => Some(len + 1 + fits(&rest[len + 1..], "dd:dd")?),
        _ => None,
    }
}

/// The length of 64 or 40 lower-case hexadecimal digits; a longer run is neither, since a digit would follow.
fn hash(rest: &[u8]) -> Option<usize> {
    let digits = rest.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).count();
    (digits == 64 || digits == 40).then_some(digits)
}

/// The length of a number at the start, when `_ms":` and spaces stand before it.
fn milliseconds(before: &[u8], rest: &[u8]) -> Option<usize> {
    let spaces = before.iter().rev().take_while(|byte| **byte == b' ').count();
    if !before[..before.len() - spaces].ends_with(b"_ms\":") || !matches!(rest[0], b'0'..=b'9' | b'-') {
        return None;
    }
    Some(rest.iter().take_while(|byte| byte.is_ascii_digit() || b"-+.eE".contains(byte)).count())
}

/// Whether a shape stands at the start: `h` any hexadecimal digit, `d` a digit, else the byte itself.
fn fits(rest: &[u8], shape: &str) -> Option<usize> {
    let fits = rest.len() >= shape.len()
        && shape.bytes().zip(rest).all(|(shape, byte)| match shape {
            b'h' => byte.is_ascii_hexdigit(),
            b'd' => byte.is_ascii_digit(),
            own => own == *byte,
        });
    fits.then_some(shape.len())
}

/// Escapes what does not print, and bytes that are not UTF-8.
fn escape(raw: &[u8]) -> String {
    let mut out = String::with_capacity(raw.len());
    for chunk in raw.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\0'..='\x1f' | '\x7f' => out.push_str(&format!("\\x{:02x}", c as u32)),
                other => out.push(other),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volatile_values_become_their_names() {
        let (hex40, hex64) = ("0123456789abcdef0123456789abcdef01234567", "0".repeat(64));
        for (raw, expect) in [
            ("a 0190b0a0-7C3e-7abc-8def-0123456789ab.", "a <uuid>."),
            ("x0190b0a0-7c3e-7abc-8def-0123456789ab", "x0190b0a0-7c3e-7abc-8def-0123456789ab"),
            ("\"2026-01-02T03:04:05Z\"", "\"<time>\""),
            ("2026-01-02T03:04:05.123456789+02:00", "<time>"),
            ("2026-01-02T03:04:05.1234567891Z", "2026-01-02T03:04:05.1234567891Z"),
            ("2026-01-02T03:04:05", "2026-01-02T03:04:05"),
            (hex40, "<hash>"),
            (&hex64, "<hash>"),
            (&hex64[1..], &hex64[1..]),
            ("{\"uptime_ms\":  -1.5e+3,\"n\":7}", "{\"uptime_ms\":  <ms>,\"n\":7}"),
            ("\"a_ms\":null", "\"a_ms\":null"),
        ] {
            assert_eq!(line(raw.as_bytes()), expect);
        }
    }

    #[test]
    fn what_does_not_print_is_escaped() {
        assert_eq!(line(b"a\\b\n\r\t\x01\x7f\xff\xc3\xa4"), "a\\\\b\\n\\r\\t\\x01\\x7f\\xff\u{e4}");
    }

    #[test]
    fn a_long_line_is_cut_at_a_whole_character() {
        let long = format!("x{}", "ä".repeat(TRANSCRIPT_LINE_BYTES_MAX));
        let cut = line(long.as_bytes());
        assert!(cut.ends_with("ä...") && cut.len() == TRANSCRIPT_LINE_BYTES_MAX - 1 + 3, "{}", cut.len());
    }
}
