//! Steps that send HTTP requests: `api_call` and `webhook`. Only what is constant can be judged; what a
//! template gives is judged where the request is made.

use super::action::nothing;
use super::value::{constant, is_template, kind};
use super::{Decoder, Map};
use crate::error::code::definition as code;
use crate::model::document::{Node, NodeValue};
use crate::model::{ApiCall, Body, ResponseAs, Text, Webhook};
use crate::validate::findings::{index_path, key_path, shown};
use crate::validate::keys;

impl Decoder<'_> {
    /// `api_call`.
    pub(super) fn api_call(&mut self, map: &Map<'_>) -> ApiCall {
        let body = match self.one_of(map, &["body", "json", "form", "multipart"], false) {
            Some("body") => self.text(map, "body").map(Body::Text),
            Some("json") => self.template(map, "json").map(Body::Json),
            Some("multipart") => self.template_map(map, "multipart").map(Body::Multipart),
            Some(_) => self.template_map(map, "form").map(Body::Form),
            None => None,
        };
        let path = map.path_of("expect");
        let expect = map.get("expect").and_then(|node| self.map(node, &path, &keys::EXPECT, None));
        ApiCall {
            url: self.url(map),
            method: self.choice(map, "method").unwrap_or("GET").to_owned(),
            query: self.template_map(map, "query"),
            headers: self.headers(map),
            body: body.unwrap_or(Body::Empty),
            expect_status: expect.as_ref().map_or_else(Vec::new, |expect| self.statuses(expect)),
            expect_schema: expect.as_ref().and_then(|expect| self.schema(expect, "schema")),
            response: match self.choice(map, "response") {
                Some("json") => ResponseAs::Json,
                Some("text") => ResponseAs::Text,
                Some("bytes") => ResponseAs::Bytes,
                _ => ResponseAs::Auto,
            },
            max_bytes: self.number(map, "max_bytes").map(|bytes| bytes as usize),
            follow_redirects: self.flag(map, "follow_redirects").unwrap_or(false),
            idempotent: self.choice(map, "idempotency").is_some(),
            auth: self.auth(map),
            pagination: self.pagination(map),
        }
    }

    /// `webhook`.
    pub(super) fn webhook(&mut self, map: &Map<'_>) -> Webhook {
        Webhook {
            url: self.url(map),
            payload: self.template(map, "payload"),
            headers: self.headers(map),
            secrets: self.secrets(map, "secret"),
            is_queued: self.choice(map, "delivery") == Some("outbox"),
        }
    }

    fn url(&mut self, map: &Map<'_>) -> Text {
        let Some(text) = self.text(map, "url") else { return nothing(map) };
        if let Some((message, hint)) = url_problem(&text) {
            self.at(&code::URL, map, "url", message, Some(hint));
        }
        text
    }

    fn headers(&mut self, map: &Map<'_>) -> Option<Node> {
        let headers = self.template_map(map, "headers")?;
        let NodeValue::Map(entries) = &headers.value else { return Some(headers) };
        let path = map.path_of("headers");
        for (name, pos, value) in entries {
            let path = key_path(&path, name);
            let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            if (name.is_empty() || !name.chars().all(token)) && !is_template(name) {
                let message = format!("`{}` is not the name of a header", shown(name, 60));
                let hint = "use letters, digits and `-`, such as `X-Request-Id`".to_owned();
                self.error(&code::NAME, *pos, &path, message, hint);
            }
            if matches!(value.value, NodeValue::List(_) | NodeValue::Map(_) | NodeValue::Null) {
                let message = format!("a header's value must be text, this is {}", kind(value));
                self.error(&code::WRONG_TYPE, value.pos, &path, message, None);
            } else if value.as_str().is_some_and(|text| text.contains(['\r', '\n', '\0'])) {
                let message = "a header's value cannot hold line breaks".to_owned();
                let hint = "use `>-` instead of `|` for text over several lines".to_owned();
                self.error(&code::RANGE, value.pos, &path, message, hint);
            }
        }
        Some(headers)
    }

    /// `200`, `2xx`, or a list of them.
    fn statuses(&mut self, expect: &Map<'_>) -> Vec<String> {
        let Some(node) = expect.get("status") else { return Vec::new() };
        let path = expect.path_of("status");
        let mut out = Vec::new();
        match &node.value {
            NodeValue::List(items) if !items.is_empty() => {
                for (i, item) in items.iter().enumerate() {
                    out.extend(self.status(item, &index_path(&path, i)));
                }
            }
            _ => out.extend(self.status(node, &path)),
        }
        out
    }

    fn status(&mut self, node: &Node, path: &str) -> Option<String> {
        let text = match &node.value {
            NodeValue::Number(number) => number.to_string(),
            NodeValue::String(text) => text.clone(),
            _ => String::new(),
        };
        let bytes = text.as_bytes();
        let fits = bytes.len() == 3
            && (b'1'..=b'5').contains(&bytes[0])
            && (bytes[1..].iter().all(u8::is_ascii_digit) || &bytes[1..] == b"xx");
        if !fits {
            let what =
                if text.is_empty() { kind(node).to_owned() } else { format!("`{}`", shown(&text, 40)) };
            let message = format!("a status must be a code or a class of codes, this is {what}");
            self.error(
                &code::RANGE,
                node.pos,
                path,
                message,
                "write `200`, `2xx`, or a list of them".to_owned(),
            );
        }
        fits.then_some(text)
    }
}

/// What is wrong with a URL, as far as it is constant, and what to write.
fn url_problem(text: &Text) -> Option<(String, String)> {
    let source = text.source.as_str();
    let absolute = "write an absolute URL: `https://host/path`".to_owned();
    let Some(url) = constant(text) else {
        // Up to the first template only the scheme can be judged, and only if the template is not in it.
        let fixed = source.split("{{").next().unwrap_or(source).trim_start();
        let starts = |scheme: &str| fixed.starts_with(scheme) || scheme.starts_with(fixed);
        return (!starts("http://") && !starts("https://"))
            .then(|| (format!("`{}` does not start with http:// or https://", shown(source, 80)), absolute));
    };
    if url.trim() != url || url.is_empty() {
        return Some((format!("`{}` is not a URL", shown(url, 80)), absolute));
    }
    let parsed = match url::Url::parse(url) {
        Ok(parsed) => parsed,
        Err(error) => return Some((format!("`{}` is not a URL: {error}", shown(url, 80)), absolute)),
    };
    if !matches!(parsed.scheme(), "http" | "https") {
        let message = format!("`{}` has the scheme `{}`", shown(url, 80), shown(parsed.scheme(), 40));
        return Some((message, "only http and https are called".to_owned()));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        // The URL is not repeated: it holds a password.
        let hint = "remove them: definitions, logs and runs would show them".to_owned();
        return Some(("the URL holds a user name or password".to_owned(), hint));
    }
    None
}
