//! From a step's input to the bytes of a mail and the addresses of its envelope. Pure but for the moment it is given.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Attachment, Body, Mailbox, Message, MultiPart, SinglePart};
use serde::Deserialize;
use serde_json::Value;

use super::MailAccount;
use crate::error::Code;
use crate::error::code::mail as code;
use crate::limits::{MAIL_ATTACHMENTS_MAX, MAIL_BYTES_MAX, MAIL_RECIPIENTS_MAX, MAIL_SUBJECT_CHARS_MAX};
use crate::model::{StepError, class};
use crate::step::Failure;
use crate::time::Timestamp;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    to: Value,
    #[serde(default)]
    cc: Value,
    #[serde(default)]
    bcc: Value,
    reply_to: Option<String>,
    subject: String,
    body: Option<String>,
    html: Option<String>,
    #[serde(default)]
    attachments: Option<Vec<Attached>>,
    pub(super) smtp: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attached {
    filename: String,
    content: Option<String>,
    #[serde(default, deserialize_with = "crate::step::config::present")]
    json: Option<Value>,
    base64: Option<String>,
    content_type: Option<String>,
}

/// A mail that can be handed over.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) id: String,
    pub(super) from: String,
    /// Everybody, once each.
    pub(super) to: Vec<String>,
    pub(super) bytes: Vec<u8>,
}

/// Makes it. `key` is the same on every attempt and so is the message id.
pub(super) fn make(input: &Input, account: &MailAccount, key: &str, now: Timestamp) -> Result<Made, Failure> {
    let from = mailbox(&account.from, "the account's `from`")?;
    let (to, cc, bcc) =
        (mailboxes(&input.to, "to")?, mailboxes(&input.cc, "cc")?, mailboxes(&input.bcc, "bcc")?);
    let mut envelope: Vec<String> = Vec::new();
    for one in to.iter().chain(&cc).chain(&bcc) {
        let address = one.email.to_string();
        if !envelope.contains(&address) {
            envelope.push(address);
        }
    }
    if to.is_empty() || envelope.len() > MAIL_RECIPIENTS_MAX {
        let message = format!(
            "a mail has 1 to {MAIL_RECIPIENTS_MAX} recipients, and one at least in `to`; this has {}",
            envelope.len()
        );
        return Err(wrong(&code::ADDRESS, message));
    }
    let subject = input.subject.trim();
    if subject.chars().any(char::is_control) || subject.chars().count() > MAIL_SUBJECT_CHARS_MAX {
        let message = format!("subject: it is one line of at most {MAIL_SUBJECT_CHARS_MAX} characters");
        return Err(wrong(&code::MESSAGE, message));
    }
    if [&input.body, &input.html].into_iter().flatten().any(|text| text.contains('\0')) {
        return Err(wrong(&code::MESSAGE, "the body holds a NUL, which mail cannot carry"));
    }
    let id = format!("<{key}@{}>", from.email.domain());
    let date = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(now.0).unwrap_or(0));
    let mut builder =
        Message::builder().message_id(Some(id.clone())).date(date).from(from.clone()).subject(subject);
    if let Some(reply_to) = &input.reply_to {
        builder = builder.reply_to(mailbox(reply_to, "reply_to")?);
    }
    builder = to.into_iter().fold(builder, |builder, one| builder.to(one));
    builder = cc.into_iter().fold(builder, |builder, one| builder.cc(one));
    let message = content(input)?
        .into_message(builder)
        .map_err(|error| wrong(&code::MESSAGE, format!("the mail cannot be made: {error}")))?;
    let bytes = message.formatted();
    if bytes.len() > MAIL_BYTES_MAX {
        let message =
            format!("the mail has {} bytes and may have {MAIL_BYTES_MAX}; send a link instead", bytes.len());
        return Err(StepError::new(class::LIMIT, &code::MESSAGE, message).into());
    }
    Ok(Made { id, from: from.email.to_string(), to: envelope, bytes })
}

/// What a mail holds.
enum Content {
    Single(SinglePart),
    Multi(MultiPart),
}

impl Content {
    fn into_message(self, builder: lettre::message::MessageBuilder) -> Result<Message, lettre::error::Error> {
        match self {
            Content::Single(part) => builder.singlepart(part),
            Content::Multi(part) => builder.multipart(part),
        }
    }
}

fn content(input: &Input) -> Result<Content, Failure> {
    let text = match (&input.body, &input.html) {
        (Some(body), Some(html)) => Content::Multi(MultiPart::alternative_plain_html(crlf(body), crlf(html))),
        (Some(body), None) => Content::Single(SinglePart::plain(crlf(body))),
        (None, Some(html)) => Content::Single(SinglePart::html(crlf(html))),
        (None, None) => return Err(wrong(&code::MESSAGE, "a mail needs `body` or `html`")),
    };
    let attached = input.attachments.as_deref().unwrap_or_default();
    if attached.is_empty() {
        return Ok(text);
    }
    if attached.len() > MAIL_ATTACHMENTS_MAX {
        let message = format!("attachments: {} are over the bound of {MAIL_ATTACHMENTS_MAX}", attached.len());
        return Err(wrong(&code::MESSAGE, message));
    }
    let mixed = MultiPart::mixed();
    let mut mixed = match text {
        Content::Single(part) => mixed.singlepart(part),
        Content::Multi(part) => mixed.multipart(part),
    };
    for (number, one) in attached.iter().enumerate() {
        mixed = mixed.singlepart(attachment(one, &format!("attachments[{number}]"))?);
    }
    Ok(Content::Multi(mixed))
}

/// Lines ending as mail has them. The builder would insert each CR by itself, which takes the square of the length.
fn crlf(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    for line in text.split_inclusive('\n') {
        let bare = line.strip_suffix('\n').unwrap_or(line);
        out.push_str(bare.strip_suffix('\r').unwrap_or(bare));
        if line.ends_with('\n') {
            out.push_str("\r\n");
        }
    }
    out
}

fn attachment(one: &Attached, place: &str) -> Result<SinglePart, Failure> {
    let name = one.filename.as_str();
    if name.is_empty()
        || name.chars().count() > 200
        || name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\'))
    {
        let message =
            format!("{place}.filename: it is 1 to 200 characters without `/`, `\\` and line breaks");
        return Err(wrong(&code::MESSAGE, message));
    }
    let (bytes, usual) = match (&one.content, &one.json, &one.base64) {
        (Some(text), None, None) => (text.clone().into_bytes(), "text/plain; charset=utf-8"),
        (None, Some(json), None) => (json.to_string().into_bytes(), "application/json"),
        (None, None, Some(text)) => {
            let decoded = STANDARD.decode(text.trim());
            let bytes = decoded
                .map_err(|error| wrong(&code::MESSAGE, format!("{place}.base64 is not base64: {error}")))?;
            (bytes, "application/octet-stream")
        }
        _ => {
            return Err(wrong(
                &code::MESSAGE,
                format!("{place} needs one of `content`, `json` and `base64`"),
            ));
        }
    };
    let named = one.content_type.as_deref().unwrap_or(usual);
    let content_type = ContentType::parse(named)
        .ok()
        .filter(|_| !named.chars().any(char::is_control))
        .ok_or_else(|| wrong(&code::MESSAGE, format!("{place}.content_type is none: write `text/csv`")))?;
    // Whatever is in it, no line of it is read as SMTP or MIME.
    let body = Body::new_with_encoding(bytes, ContentTransferEncoding::Base64)
        .map_err(|_| wrong(&code::MESSAGE, format!("{place} cannot be written as base64")))?;
    Ok(Attachment::new(name.to_owned()).body(body, content_type))
}

/// Nothing, an address, or a list of them.
fn mailboxes(value: &Value, place: &str) -> Result<Vec<Mailbox>, Failure> {
    let items = match value {
        Value::Null => &[],
        Value::Array(items) => items.as_slice(),
        other => std::slice::from_ref(other),
    };
    items
        .iter()
        .enumerate()
        .map(|(number, item)| match item {
            Value::String(text) => mailbox(text, &format!("{place}[{number}]")),
            _ => Err(wrong(&code::ADDRESS, format!("{place}[{number}] is no text: write `a@example.com`"))),
        })
        .collect()
}

/// `a@example.com` or `Name <a@example.com>`.
fn mailbox(text: &str, place: &str) -> Result<Mailbox, Failure> {
    let refuse = |why: &str| {
        let shown: String =
            text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(80).collect();
        let message = format!(
            "{place}: `{shown}` is no mail address: {why}; write `a@example.com` or `Name <a@example.com>`"
        );
        wrong(&code::ADDRESS, message)
    };
    if text.chars().any(char::is_control) {
        return Err(refuse("it holds a line break or another control character"));
    }
    let mailbox: Mailbox = text.trim().parse().map_err(|error| refuse(&format!("{error}")))?;
    let address: &str = mailbox.email.as_ref();
    // Quoted names and letters beyond ASCII would need more of each server than most have.
    let plain =
        |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"' | '\\' | '(' | ')' | ',' | ';');
    if !address.chars().all(plain) || address.len() > 254 {
        return Err(refuse("only plain ASCII addresses of at most 254 characters are taken"));
    }
    Ok(mailbox)
}

fn wrong(code: &'static Code, message: impl Into<String>) -> Failure {
    StepError::new(class::INVALID, code, message).into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::net::{MailServer, MailTls};

    const KEY: &str = "07070707070707070707070707070707";

    fn check(more: Value) -> Result<(Made, String), String> {
        let account = MailAccount {
            name: "main".into(),
            server: MailServer { host: "mail.test".into(), port: 587, tls: MailTls::StartTls },
            user: None,
            password: None,
            from: "Ländliche Wetterstation <bot@example.com>".into(),
        };
        let mut input = json!({"to": "a@example.com", "subject": "Hi", "body": "text"});
        for (key, value) in more.as_object().unwrap() {
            input[key] = value.clone();
        }
        let input = Input::deserialize(&input).map_err(|error| error.to_string())?;
        let now = Timestamp::parse("2026-11-22T12:00:00Z").unwrap();
        let made = make(&input, &account, KEY, now).map_err(|failure| failure.error.code)?;
        let text = String::from_utf8(made.bytes.clone()).unwrap();
        Ok((made, text))
    }

    #[test]
    fn a_mail_has_its_headers_and_every_recipient_once() {
        let (made, text) = check(json!({
            "to": ["Ann <a@example.com>", "b@example.com"], "cc": "a@example.com", "bcc": ["c@example.com"],
            "reply_to": "r@example.com", "subject": "Grüße",
        }))
        .unwrap();
        assert_eq!(made.to, ["a@example.com", "b@example.com", "c@example.com"]);
        assert_eq!(
            (made.from.as_str(), made.id.as_str()),
            ("bot@example.com", "<07070707070707070707070707070707@example.com>")
        );
        for line in [
            "Message-ID: <07070707070707070707070707070707@example.com>\r\n",
            "Date: Sun, 22 Nov 2026 12:00:00 +0000\r\n",
            "To: Ann <a@example.com>, b@example.com\r\n",
            "Cc: a@example.com\r\n",
            "Reply-To: r@example.com\r\n",
            "Subject: =?utf-8?b?",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(!text.contains("c@example.com"), "bcc is not shown: {text}");
    }

    #[test]
    fn no_text_becomes_a_header() {
        for more in [
            json!({"subject": "a\r\nBcc: x@example.com"}),
            json!({"subject": "a\nX: y"}),
            json!({"to": "a@example.com\r\nBcc: x@example.com"}),
            json!({"to": "A\r\nX: y <a@example.com>"}),
            json!({"to": "a@example.com> SIZE=1\r\nRCPT TO:<x@example.com"}),
            json!({"to": "\"a\\\"\"@example.com"}),
            json!({"reply_to": "a@example.com\nX: y"}),
            json!({"attachments": [{"filename": "a\"\r\nX: y", "content": "x"}]}),
            json!({"attachments": [{"filename": "a", "content": "x", "content_type": "text/plain\r\nX: y"}]}),
            json!({"to": []}),
            json!({"to": [1]}),
            json!({"to": "nobody"}),
            json!({"attachments": [{"filename": "../a", "content": "x"}]}),
            json!({"attachments": [{"filename": "a", "content": "x", "json": 1}]}),
            json!({"attachments": [{"filename": "a", "base64": "!"}]}),
        ] {
            let code = check(more.clone()).expect_err(&more.to_string());
            assert!(code == "CB-1101" || code == "CB-1102", "{more}: {code}");
        }
        let (_, text) = check(json!({"body": "a\r\n.\r\nQUIT\r\nBcc: x@example.com"})).unwrap();
        assert!(!text.split("\r\n\r\n").next().unwrap().contains("Bcc"), "{text}");
    }

    #[test]
    fn bodies_and_attachments_are_parts() {
        let (_, text) = check(json!({
            "html": "<p>x</p>",
            "attachments": [
                {"filename": "a.txt", "content": "plain"}, {"filename": "b.json", "json": {"k": 1}},
                {"filename": "c.bin", "base64": "AAEC"},
            ],
        }))
        .unwrap();
        for part in [
            "multipart/mixed",
            "multipart/alternative",
            "text/html",
            "filename=\"a.txt\"",
            "application/json",
            "AAEC",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn bounds_hold() {
        let many: Vec<String> = (0..=MAIL_RECIPIENTS_MAX).map(|n| format!("a{n}@example.com")).collect();
        assert_eq!(check(json!({ "to": many })).unwrap_err(), "CB-1101");
        assert!(check(json!({ "to": &many[1..] })).is_ok());
        assert_eq!(
            check(json!({ "subject": "x".repeat(MAIL_SUBJECT_CHARS_MAX + 1) })).unwrap_err(),
            "CB-1102"
        );
        assert_eq!(
            check(json!({ "body": "x".repeat(70).repeat(MAIL_BYTES_MAX / 70 + 1) })).unwrap_err(),
            "CB-1102"
        );
    }
}
