//! Pairs as `application/x-www-form-urlencoded`, by the same encoder that URLs' queries use.

use reqwest::Url;

/// Encodes pairs.
pub fn form(pairs: &[(String, String)]) -> String {
    if pairs.is_empty() {
        return String::new();
    }
    // The encoder is reached through a URL's query; its address is never called.
    let mut url = Url::parse("http://form.invalid/").expect("a constant URL that is proper");
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

/// Text as a part of a URL: everything but letters, digits and `-._~` as `%XX`, so that it cannot move into another
/// part.
pub fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
