//! `email.accounts`: its normal form, what can be wrong with it, its schema and its type.

use serde_json::{Value, json};

use super::Account;
use super::check::Problem;
use super::reference::Reference;
use crate::error::similar;
use crate::model::Node;
use crate::model::document::NodeValue;
use crate::net::{MailTls, allowed_host};

const FIELDS: [&str; 7] = ["name", "host", "port", "tls", "user", "password", "from"];

/// The normal form of the list.
pub(super) fn accounts(items: &[Node]) -> Result<Value, Vec<Problem>> {
    let (mut out, mut problems): (Vec<Value>, Vec<Problem>) = (Vec::new(), Vec::new());
    for (index, item) in items.iter().enumerate() {
        let before = problems.len();
        if let Some(account) = account(item, &mut problems) {
            if out.iter().any(|other| other["name"] == account["name"]) {
                problems
                    .push(Problem::new(item.pos, "an account of this name is there already").below(".name"));
            }
            out.push(account);
        }
        for problem in &mut problems[before..] {
            problem.below.insert_str(0, &format!("[{index}]"));
        }
    }
    if problems.is_empty() { Ok(Value::Array(out)) } else { Err(problems) }
}

fn account(item: &Node, problems: &mut Vec<Problem>) -> Option<Value> {
    let NodeValue::Map(entries) = &item.value else {
        problems.push(Problem::new(item.pos, format!("an account is a map of {}", FIELDS.join(", "))));
        return None;
    };
    for (name, pos, _) in entries.iter().filter(|(name, _, _)| !FIELDS.contains(&name.as_str())) {
        let hint = similar(name, FIELDS).map_or_else(
            || format!("an account has {}", FIELDS.join(", ")),
            |field| format!("did you mean `{field}`?"),
        );
        problems.push(
            Problem::new(*pos, format!("an account has no `{name}`")).below(format!(".{name}")).hint(hint),
        );
    }
    let before = problems.len();
    let mut text = |field: &str, needed: bool, fits: &dyn Fn(&str) -> bool, wanted: &str| match item
        .get(field)
    {
        Some(node) => match node.as_str().map(str::trim).filter(|text| text.len() <= 254 && fits(text)) {
            Some(text) => Some(text.to_owned()),
            None => {
                problems.push(
                    Problem::new(node.pos, format!("`{field}` takes {wanted}")).below(format!(".{field}")),
                );
                None
            }
        },
        None if needed => {
            problems.push(
                Problem::new(item.pos, format!("the account lacks `{field}`")).below(format!(".{field}")),
            );
            None
        }
        None => None,
    };
    let plain = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
    let word = |text: &str| {
        let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
        !text.is_empty() && text.len() <= 63 && text.chars().all(rest)
    };
    let secret = |text: &str| {
        let is_name = word(text) && !text.contains('-') && text.starts_with(|c: char| c.is_ascii_lowercase());
        is_name || Reference::begins(text)
    };
    let host =
        |text: &str| allowed_host(text).is_some_and(|normal| !normal.contains("://") && parse_is_bare(text));
    let name = text("name", true, &word, "a name of lower-case letters, digits, `_` and `-`");
    let server = text("host", true, &host, "the name or address of one server, without a port");
    let tls = text("tls", false, &|text| tls_of(text).is_some(), "starttls, tls or none");
    let user = text("user", false, &plain, "the user that signs in");
    let password = text(
        "password",
        false,
        &secret,
        "the name of the secret that is the password, or ${file:/path} or ${credential:name}",
    );
    let from = text("from", true, &|text| plain(text) && text.contains('@'), "the sender: `bot@example.com`");
    if user.is_some() != password.is_some() && problems.len() == before {
        problems.push(
            Problem::new(item.pos, "`user` and `password` go together").hint(
                "write both, `password` as the name of a secret; or neither for a server without sign-in",
            ),
        );
    }
    let tls = tls.unwrap_or_else(|| "starttls".to_owned());
    let usual = match tls_of(&tls) {
        Some(MailTls::Tls) => 465,
        Some(MailTls::None) => 25,
        _ => 587,
    };
    let port = match item.get("port") {
        None => Some(usual),
        Some(Node { value: NodeValue::Number(number), .. }) => {
            number.as_u64().filter(|port| (1..=65_535).contains(port))
        }
        Some(_) => None,
    };
    if port.is_none() {
        problems.push(Problem::new(item.pos, "`port` takes a number from 1 to 65535").below(".port"));
    }
    if problems.len() > before {
        return None;
    }
    Some(json!({
        "name": name?, "host": server?, "port": port?, "tls": tls, "user": user, "password": password, "from": from?,
    }))
}

/// Without a port: `port` says it.
fn parse_is_bare(text: &str) -> bool {
    let after = text.rsplit(']').next().unwrap_or(text);
    !after.contains(':') || text.parse::<std::net::Ipv6Addr>().is_ok()
}

fn tls_of(text: &str) -> Option<MailTls> {
    match text {
        "starttls" => Some(MailTls::StartTls),
        "tls" => Some(MailTls::Tls),
        "none" => Some(MailTls::None),
        _ => None,
    }
}

/// From the normal form.
pub(super) fn read(value: &Value) -> Vec<Account> {
    let text = |item: &Value, field: &str| item[field].as_str().map(str::to_owned);
    let read = |item: &Value| {
        Some(Account {
            name: text(item, "name")?,
            host: text(item, "host")?,
            port: u16::try_from(item["port"].as_u64()?).ok()?,
            tls: tls_of(item["tls"].as_str()?)?,
            user: text(item, "user"),
            password: text(item, "password"),
            from: text(item, "from")?,
        })
    };
    value.as_array().into_iter().flatten().filter_map(read).collect()
}

/// JSON Schema of the list.
pub(super) fn schema() -> Value {
    let text = |doc: &str| json!({ "type": "string", "description": doc });
    json!({ "type": "array", "items": {
        "type": "object",
        "properties": {
            "name": text("What steps call it."),
            "host": text("Name or address of the server."),
            "port": { "type": "integer", "minimum": 1, "maximum": 65_535, "description": "587, 465 or 25 by `tls`." },
            "tls": { "enum": ["starttls", "tls", "none"],
                     "description": "How the way there is kept private; none only to this machine or a granted host." },
            "user": text("Who signs in."),
            "password": text("Name of the secret that is the password, ${file:/path} or ${credential:name}."),
            "from": text("Sender of every mail."),
        },
        "required": ["name", "host", "from"],
        "additionalProperties": false,
    } })
}
