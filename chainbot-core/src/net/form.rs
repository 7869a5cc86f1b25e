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
