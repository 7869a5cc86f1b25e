//! What names secrets: `auth`, the keys of a webhook, and with them `pagination` and `email`.
//!
//! A secret is named, as `github_token`, and never written out; whether it exists is known only where it is opened.

use super::action::nothing;
use super::value::{Rule, is_template, kind};
use super::{Decoder, Map};
use crate::error::code::definition as code;
use crate::error::code::secret as secret_code;
use crate::model::document::{Node, NodeValue};
use crate::model::{Auth, Email, PageBy, Pagination};
use crate::validate::findings::index_path;
use crate::validate::keys;

impl Decoder<'_> {
    /// The name of a secret.
    pub(super) fn secret(&mut self, map: &Map<'_>, key: &str) -> Option<String> {
        let node = map.get(key)?;
        self.secret_of(node, &map.path_of(key), key)
    }

    fn secret_of(&mut self, node: &Node, path: &str, key: &str) -> Option<String> {
        let Some(name) = node.as_str() else {
            let message = format!("`{key}` names a secret, this is {}", kind(node));
            let hint = "write the name under which it is stored: `github_token`".to_owned();
            self.error(&code::WRONG_TYPE, node.pos, path, message, hint);
            return None;
        };
        if is_template(name) {
            let message = format!("`{key}` takes the name of a secret, without `{{{{ }}}}`");
            let hint = "write `github_token` for the secret that `chainbot secret set github_token` stored"
                .to_owned();
            self.error(&secret_code::PLACE, node.pos, path, message, hint);
            return None;
        }
        self.check_name(node, path, name, Rule::Step).then(|| name.to_owned())
    }

    /// One secret or a list of them.
    pub(super) fn secrets(&mut self, map: &Map<'_>, key: &str) -> Vec<String> {
        let Some(node) = map.get(key) else { return Vec::new() };
        let path = map.path_of(key);
        match &node.value {
            NodeValue::List(items) => {
                let named = items.iter().enumerate();
                named.filter_map(|(i, item)| self.secret_of(item, &index_path(&path, i), key)).collect()
            }
            _ => self.secret_of(node, &path, key).into_iter().collect(),
        }
    }

    /// `auth`.
    pub(super) fn auth(&mut self, map: &Map<'_>) -> Option<Auth> {
        let node = map.get("auth")?;
        let auth = self.map(node, &map.path_of("auth"), &keys::AUTH, None)?;
        match self.one_of(&auth, &["bearer", "basic", "header"], true)? {
            "bearer" => Some(Auth::Bearer { secret: self.secret(&auth, "bearer")? }),
            "basic" => match auth.get("basic") {
                Some(node @ Node { value: NodeValue::Map(_), .. }) => {
                    let basic = self.map(node, &auth.path_of("basic"), &keys::BASIC, None)?;
                    let user = self.text(&basic, "user");
                    Some(Auth::Basic { user, secret: self.secret(&basic, "password")? })
                }
                _ => Some(Auth::Basic { user: None, secret: self.secret(&auth, "basic")? }),
            },
            _ => {
                let node = auth.get("header")?;
                let header = self.map(node, &auth.path_of("header"), &keys::HEADER, None)?;
                let name = self.literal(&header, "name")?;
                let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
                if name.is_empty() || !name.chars().all(token) {
                    let hint = "use letters, digits and `-`, such as `X-Api-Key`".to_owned();
                    self.at(
                        &code::NAME,
                        &header,
                        "name",
                        "this is not the name of a header".to_owned(),
                        Some(hint),
                    );
                    return None;
                }
                Some(Auth::Header { name, secret: self.secret(&header, "secret")? })
            }
        }
    }

    /// `pagination`.
    pub(super) fn pagination(&mut self, map: &Map<'_>) -> Option<Pagination> {
        let node = map.get("pagination")?;
        if map.get("method").and_then(Node::as_str).is_some_and(|method| method != "GET") {
            let hint = Some("call each page in a `loop` instead".to_owned());
            self.at(&code::EXCLUSIVE, map, "pagination", "pages are fetched with GET only".to_owned(), hint);
        }
        let pages = self.map(node, &map.path_of("pagination"), &keys::PAGINATION, None)?;
        let by = match self.one_of(&pages, &["link", "next", "page"], true)? {
            "link" => match self.flag(&pages, "link")? {
                true => PageBy::Link,
                false => {
                    let message = "`link: false` finds no next page".to_owned();
                    let hint = Some("write `link: true`, or one of `next` and `page`".to_owned());
                    self.at(&code::RANGE, &pages, "link", message, hint);
                    return None;
                }
            },
            "next" => PageBy::Next(self.path(&pages, "next")?),
            _ => {
                let start = self.number(&pages, "start").unwrap_or(1);
                PageBy::Page { parameter: self.path(&pages, "page")?, start }
            }
        };
        self.only_for(&pages, "start", matches!(by, PageBy::Page { .. }), "`page`");
        let items = if pages.has("items") { Some(self.path(&pages, "items")?) } else { None };
        Some(Pagination { by, items, max_pages: self.number(&pages, "max_pages") })
    }

    /// Text that is not empty and no template.
    fn path(&mut self, map: &Map<'_>, key: &str) -> Option<String> {
        let text = self.literal(map, key)?;
        if text.is_empty() || is_template(&text) {
            let message = format!("`{key}` takes plain text, such as `meta.next`");
            self.at(&code::RANGE, map, key, message, None);
            return None;
        }
        Some(text)
    }

    fn account(&mut self, map: &Map<'_>) -> Option<String> {
        let name = self.name(map, "smtp", Rule::Safe)?;
        let pos = map.get("smtp").map_or(map.pos, |node| node.pos);
        self.known_account(pos, &map.path_of("smtp"), &name);
        Some(name)
    }

    /// `email`.
    pub(super) fn email(&mut self, map: &Map<'_>) -> Email {
        if !map.has("body") && !map.has("html") {
            let message = "a mail needs `body` or `html`";
            self.error(&code::MISSING_KEY, map.pos, &map.path, message, "write `body: \"...\"`".to_owned());
        }
        Email {
            to: self.template(map, "to").unwrap_or(Node { pos: map.pos, value: NodeValue::Null }),
            cc: self.template(map, "cc"),
            bcc: self.template(map, "bcc"),
            reply_to: self.text(map, "reply_to"),
            subject: self.text(map, "subject").unwrap_or_else(|| nothing(map)),
            body: self.text(map, "body"),
            html: self.text(map, "html"),
            attachments: self.attachments(map),
            smtp: self.account(map),
        }
    }

    /// A list that is written out has its keys checked here; one that an expression gives, when the step begins.
    fn attachments(&mut self, map: &Map<'_>) -> Option<Node> {
        let found = self.template(map, "attachments")?;
        if let NodeValue::List(items) = &found.value {
            for (number, item) in items.iter().enumerate() {
                if let NodeValue::Map(_) = item.value {
                    let path = index_path(&map.path_of("attachments"), number);
                    self.map(item, &path, &keys::ATTACHMENT, None);
                }
            }
        }
        Some(found)
    }
}
