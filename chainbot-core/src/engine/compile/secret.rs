//! Inputs of the executors that open secrets. A named secret becomes the expression that writes it out, so that there
//! is one way for secrets through the engine.

use super::{Tree, map, string, text_node};
use crate::model::document::NodeValue;
use crate::model::{Auth, Email, PageBy, Pagination, Pos};

/// A secret by its name, which validation has checked to be one.
pub(super) fn secret(pos: Pos, name: &str) -> Tree {
    string(pos, &format!("{{{{ secrets.{name} }}}}"))
}

pub(super) fn auth_input(pos: Pos, auth: &Auth) -> Tree {
    let (kind, value) = match auth {
        Auth::Bearer { secret: name } => ("bearer", secret(pos, name)),
        Auth::Basic { user, secret: name } => {
            let mut entries = vec![("password", secret(pos, name))];
            entries.extend(user.as_ref().map(|user| ("user", text_node(user))));
            ("basic", map(pos, entries))
        }
        Auth::Header { name: header, secret: name } => {
            ("header", map(pos, vec![("name", string(pos, header)), ("value", secret(pos, name))]))
        }
    };
    map(pos, vec![(kind, value)])
}

pub(super) fn pages_input(pos: Pos, pages: &Pagination) -> Tree {
    let number = |number: u32| Tree { pos, value: NodeValue::Number(number.into()) };
    let mut entries = match &pages.by {
        PageBy::Link => vec![("link", Tree { pos, value: NodeValue::Bool(true) })],
        PageBy::Next(path) => vec![("next", string(pos, path))],
        PageBy::Page { parameter, start } => {
            vec![("page", string(pos, parameter)), ("start", number(*start))]
        }
    };
    entries.extend(pages.items.as_ref().map(|path| ("items", string(pos, path))));
    entries.extend(pages.max_pages.map(|most| ("max_pages", number(most))));
    map(pos, entries)
}

pub(super) fn hmac_input(input: &Tree, name: &str) -> Tree {
    map(input.pos, vec![("input", input.clone()), ("secret", secret(input.pos, name))])
}

pub(super) fn email_input(email: &Email) -> Tree {
    let at = email.subject.pos;
    let mut entries = vec![("to", email.to.clone()), ("subject", text_node(&email.subject))];
    entries.extend(email.cc.clone().map(|cc| ("cc", cc)));
    entries.extend(email.bcc.clone().map(|bcc| ("bcc", bcc)));
    entries.extend(email.attachments.clone().map(|attachments| ("attachments", attachments)));
    let texts = [("reply_to", &email.reply_to), ("body", &email.body), ("html", &email.html)];
    entries.extend(texts.into_iter().filter_map(|(key, text)| Some((key, text_node(text.as_ref()?)))));
    entries.extend(email.smtp.as_ref().map(|name| ("smtp", string(at, name))));
    map(at, entries)
}
