//! Keys of what uses the secret store: `auth` and `pagination` of `api_call`, and `email`.

use super::{Shape, Table, may, must};
use crate::limits::PAGES_MAX;

/// `auth` of `api_call`.
pub static AUTH: Table = Table {
    what: "`auth`",
    keys: &[
        may("bearer", Shape::Name, "Secret of `Authorization: Bearer`."),
        may("basic", Shape::Name, "Secret `user:password`, or `{user, password: SECRET}`."),
        may("header", Shape::Object(&HEADER), "A header that holds a secret."),
    ],
};

/// `basic` of `auth`, when written with a user.
pub static BASIC: Table = Table {
    what: "`basic`",
    keys: &[
        must("user", Shape::Text, "The user."),
        must("password", Shape::Name, "The secret that is the password."),
    ],
};

/// `header` of `auth`.
pub static HEADER: Table = Table {
    what: "`header`",
    keys: &[
        must("name", Shape::Name, "The header's name."),
        must("secret", Shape::Name, "The secret that is its value."),
    ],
};

/// `pagination` of `api_call`.
pub static PAGINATION: Table = Table {
    what: "`pagination`",
    keys: &[
        may("link", Shape::Flag, "The next page is in the `Link` header."),
        may("next", Shape::Literal, "Path in the data to the next page's URL: `meta.next`."),
        may("page", Shape::Literal, "Query parameter that counts the pages."),
        may("start", Shape::Number(0, 1_000_000), "`page`: the first page; 1 by default."),
        may("items", Shape::Literal, "Path in the data to the list of items."),
        may("max_pages", Shape::Number(1, PAGES_MAX), "More pages are an error; 10 by default."),
    ],
};

/// One of `attachments`.
pub static ATTACHMENT: Table = Table {
    what: "an attachment",
    keys: &[
        must("filename", Shape::Text, "What the receiver sees it as."),
        may("content", Shape::Text, "Text."),
        may("json", Shape::Template, "A value, written as JSON."),
        may("base64", Shape::Text, "Bytes, as Base64."),
        may("content_type", Shape::Text, "By the kind of content unless said."),
    ],
};

/// `email`.
pub static EMAIL: Table = Table {
    what: "`config` of `email`",
    keys: &[
        must("to", Shape::Template, "An address, or a list of them."),
        may("cc", Shape::Template, "An address, or a list of them."),
        may("bcc", Shape::Template, "An address, or a list of them; not shown to the others."),
        may("reply_to", Shape::Text, "Where answers go."),
        must("subject", Shape::Text, "One line."),
        may("body", Shape::Text, "As plain text."),
        may("html", Shape::Text, "As HTML."),
        may(
            "attachments",
            Shape::Objects(&ATTACHMENT),
            "A list of `{filename, content | json | base64, content_type}`.",
        ),
        may("smtp", Shape::Name, "Account of the configuration; the only one, or `default`."),
    ],
};
