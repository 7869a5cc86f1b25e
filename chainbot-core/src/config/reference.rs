//! References to secrets: `${file:/path}` and `${credential:name}` in place of a value.
//!
//! The configuration keeps and shows the reference, never what it stands for. Only keys that hold a secret take one; anywhere
//! else, and in any other form, `${` at the beginning of a text is an error, so that nobody takes it for a variable of a
//! shell. What it stands for is read when the module starts, not when the file is checked: a person who may read the
//! file need not be one who may read the secret.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::check::Problem;
use super::key::{Key, Kind};
use crate::error::code::config as code;
use crate::error::{Error, Result};
use crate::limits::{SECRET_KEY_CHARS_MIN, SECRET_VALUE_BYTES_MAX, SECRET_VALUE_BYTES_MIN};
use crate::model::Node;
use crate::model::document::NodeValue;
use crate::port::SecretText;

/// Where systemd puts the credentials of a unit.
pub const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
const FORMS: &str = "write ${file:/path} for a file, or ${credential:name} for a credential of systemd";

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A file, by its absolute path.
    File(PathBuf),
    /// A credential of the unit (`LoadCredential=`), by its name.
    Credential(String),
}

impl Reference {
    /// Whether a text is meant as one.
    pub(crate) fn begins(text: &str) -> bool {
        text.trim_start().starts_with("${")
    }

    /// Reads the whole of a text as one, or says what is wrong with it.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let inside = text.trim().strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        let Some((form, of)) = inside.and_then(|inside| inside.split_once(':')) else {
            return Err("what begins with `${` is a reference to a secret, and this is none".to_owned());
        };
        match form {
            "file" => match Path::new(of).is_absolute() && !of.contains(['\0', '\n', '}']) {
                true => Ok(Self::File(of.into())),
                false => Err("`${file:...}` takes an absolute path".to_owned()),
            },
            "credential" => {
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
                let fits = (1..=255).contains(&of.len()) && of.chars().all(plain) && !of.starts_with('.');
                match fits {
                    true => Ok(Self::Credential(of.to_owned())),
                    false => {
                        Err("`${credential:...}` takes a name of letters, digits, `_`, `-`, `.`".to_owned())
                    }
                }
            }
            _ => Err("there is no such form of a reference".to_owned()),
        }
    }

    /// Reads what it stands for, without the line break at its end. `credentials`: the folder of [`CREDENTIALS_DIRECTORY`].
    pub fn read(&self, credentials: Option<&Path>) -> Result<SecretText> {
        let path = match (self, credentials) {
            (Self::File(path), _) => path.clone(),
            (Self::Credential(name), Some(folder)) => folder.join(name),
            (Self::Credential(_), None) => {
                let message = format!("{self}: ${CREDENTIALS_DIRECTORY} is not set");
                return Err(Error::new(&code::REFERENCE, message).help(
                    "it is there for a service of systemd: add `LoadCredential=NAME:/path` to the unit; elsewhere use ${file:/path}",
                ));
            }
        };
        let failed = |error: std::io::Error| {
            Error::new(&code::REFERENCE, format!("{self}: {} cannot be read: {error}", path.display()))
                .help("check the path, and that the account that the module runs as may read the file")
        };
        let file = std::fs::File::open(&path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(failed(std::io::Error::other("it is no file")));
        }
        // The credentials of systemd are for the unit alone, whatever their mode says.
        if matches!(self, Self::File(_)) && metadata.permissions().mode() & 0o007 != 0 {
            let message = format!("{self}: everybody on this machine may read or change {}", path.display());
            return Err(Error::new(&code::REFERENCE, message).help(format!(
                "run `chmod o= {}`, and change the secret if others are on this machine",
                path.display()
            )));
        }
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(SECRET_VALUE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        let text =
            std::str::from_utf8(&bytes).map_err(|_| failed(std::io::Error::other("it is not UTF-8 text")))?;
        let text = text.strip_suffix('\n').map_or(text, |rest| rest.strip_suffix('\r').unwrap_or(rest));
        match text.len() {
            SECRET_VALUE_BYTES_MIN..=SECRET_VALUE_BYTES_MAX => Ok(SecretText::new(text.to_owned())),
            bytes => {
                Err(Error::new(&code::REFERENCE, format!("{self}: the secret has {bytes} bytes or more"))
                    .help(format!("it may have {SECRET_VALUE_BYTES_MIN} to {SECRET_VALUE_BYTES_MAX}")))
            }
        }
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "${{file:{}}}", path.display()),
            Self::Credential(name) => write!(f, "${{credential:{name}}}"),
        }
    }
}

/// A secret of the configuration: written there, or somewhere else.
#[derive(Clone, Debug)]
pub enum Source {
    /// The value.
    Plain(SecretText),
    /// Where it is.
    Reference(Reference),
}

impl Source {
    /// From a checked text.
    pub(super) fn of(text: &str) -> Self {
        match Reference::parse(text) {
            Ok(reference) => Self::Reference(reference),
            Err(_) => Self::Plain(SecretText::new(text.to_owned())),
        }
    }

    /// The value, strong enough to sign with.
    pub fn signing_key(&self, credentials: Option<&Path>) -> Result<SecretText> {
        match self {
            // Was checked when the file was.
            Self::Plain(text) => Ok(text.clone()),
            Self::Reference(reference) => {
                let text = reference.read(credentials)?;
                match weakness(text.reveal()) {
                    None => Ok(text),
                    Some(why) => Err(Error::new(&code::REFERENCE, format!("{reference} {why}"))
                        .help("make one with `openssl rand -base64 32`")),
                }
            }
        }
    }
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain(own), Self::Plain(other)) => own.reveal() == other.reveal(),
            (Self::Reference(own), Self::Reference(other)) => own == other,
            _ => false,
        }
    }
}

impl Eq for Source {}

/// Why a text is no key to sign with; `None` when it is one.
pub(super) fn weakness(text: &str) -> Option<&'static str> {
    const PLACEHOLDERS: [&str; 8] =
        ["change", "placeholder", "example", "your-", "your_", "secret-key", "secret_key", "password"];
    let lower = text.to_ascii_lowercase();
    let distinct: std::collections::BTreeSet<char> = text.chars().collect();
    if text.chars().count() < SECRET_KEY_CHARS_MIN {
        Some("is too short: it takes 32 characters or more")
    } else if text.len() > SECRET_VALUE_BYTES_MAX {
        Some("is too long")
    } else if distinct.len() < 8 || PLACEHOLDERS.iter().any(|word| lower.contains(word)) {
        Some("is a placeholder, which others know too")
    } else {
        None
    }
}

/// What is wrong with the references of a value: their form, or that they are where none is taken.
pub(super) fn check(key: &Key, node: &Node) -> Vec<Problem> {
    let mut problems = Vec::new();
    let at_root = matches!(key.kind, Kind::Secret | Kind::Key);
    walk(key, node, String::new(), at_root, &mut problems);
    problems
}

/// The depth is that of the document, which its reader bounds.
fn walk(key: &Key, node: &Node, below: String, is_taken: bool, problems: &mut Vec<Problem>) {
    match &node.value {
        NodeValue::String(text) if Reference::begins(text) => {
            let wrong = match Reference::parse(text) {
                Err(why) => Some((why, FORMS)),
                Ok(_) if !is_taken => Some((
                    format!(
                        "`{}{below}` takes no reference: it is shown, so it can hold no secret",
                        key.path
                    ),
                    "write the value itself",
                )),
                Ok(_) => None,
            };
            if let Some((message, hint)) = wrong {
                problems.push(Problem::new(node.pos, message).below(below).hint(hint));
            }
        }
        NodeValue::List(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(key, item, format!("{below}[{index}]"), false, problems);
            }
        }
        NodeValue::Map(entries) => {
            let takes: &[&str] = match key.kind {
                Kind::Accounts => &["password"],
                Kind::Channels => &["password", "token"],
                Kind::Providers => &["api_key"],
                Kind::McpServers => &["token"],
                _ => &[],
            };
            // The variables of an MCP server, `.NAME.env`, have names of their own.
            let is_env = key.kind == Kind::McpServers
                && below.strip_suffix(".env").is_some_and(|server| server.matches('.').count() == 1);
            for (name, _, item) in entries {
                let is_taken = is_env || takes.contains(&name.as_str());
                walk(key, item, format!("{below}.{name}"), is_taken, problems);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_forms_are_read_and_nothing_else_is() {
        for text in ["${file:/run/secrets/key}", " ${credential:api.key-1} "] {
            assert_eq!(Reference::parse(text).unwrap().to_string(), text.trim());
        }
        for text in [
            "${HOME}",
            "${file:relative}",
            "${file:}",
            "${env:KEY}",
            "${credential:../x}",
            "${credential:}",
            "${file:/a} b",
            "${",
            "${credential:.hidden}",
            "x${file:/a}",
        ] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_is_read_without_its_last_line_break_and_only_from_a_private_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let write = |text: &[u8], mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let file = Reference::File(path.clone());
        write(b"correct horse\r\n", 0o640);
        assert_eq!(file.read(None).unwrap().reveal(), "correct horse");
        write(b"correct horse\n", 0o644);
        let error = file.read(None).unwrap_err();
        assert_eq!(error.code().id, "CB-0510");
        assert!(error.message().contains("everybody") && !error.to_string().contains("correct"), "{error}");
        let credential = Reference::Credential("key".to_owned());
        assert_eq!(credential.read(Some(folder.path())).unwrap().reveal(), "correct horse");
        assert!(credential.read(None).unwrap_err().message().contains("CREDENTIALS_DIRECTORY"));
        for (text, mode) in [(b"\xff\xfe\xfd\xfc\xfb\xfa".as_slice(), 0o600), (b"short", 0o600), (b"", 0o600)]
        {
            write(text, mode);
            assert_eq!(file.read(None).unwrap_err().code().id, "CB-0510");
        }
        write(&vec![b'x'; SECRET_VALUE_BYTES_MAX + 1], 0o600);
        assert!(file.read(None).is_err());
        assert!(Reference::File(folder.path().to_owned()).read(None).is_err());
        assert!(Reference::File("/nonexistent/key".into()).read(None).is_err());
    }

    #[test]
    fn a_key_that_others_know_is_refused() {
        for text in
            ["short", "change-me-change-me-change-me-change-me", &"a".repeat(64), &"abcdefg".repeat(9)]
        {
            assert!(weakness(text).is_some(), "{text}");
        }
        assert_eq!(weakness("q8TzVb1nRk5xWd2mLp7sYh4cJf9gAe3u"), None);
    }
}
