//! Ids as types. Text for people is a `String`; what identifies is one of these.
//!
//! Ids of objects are UUIDv7: they sort by time of making. A definition is known by the blake3 hash of
//! its source. All are made in [`crate::env::Env`], the only source of randomness.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The 16 bytes, as the store keeps them.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl From<[u8; 16]> for $name {
            fn from(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::from_str(text).map(Self)
            }
        }
    };
}

uuid_id! {
    /// A run of a workflow.
    RunId
}
uuid_id! {
    /// A workflow: the name's identity over all its versions.
    WorkflowId
}
uuid_id! {
    /// A question to a person.
    InboxId
}
uuid_id! {
    /// A user, whatever the name.
    UserId
}
uuid_id! {
    /// A login of a user, over all its tokens.
    LoginId
}
uuid_id! {
    /// An API token.
    TokenId
}
uuid_id! {
    /// A conversation with an agent.
    ThreadId
}
uuid_id! {
    /// An item that an agent remembers.
    MemoryId
}
uuid_id! {
    /// An archive of chats.
    ArchiveId
}

/// A definition by the blake3 hash of its source bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DefinitionHash(pub [u8; 32]);

impl DefinitionHash {
    /// The hash of a source.
    pub fn of(source: &str) -> Self {
        Self(*blake3::hash(source.as_bytes()).as_bytes())
    }
}

impl fmt::Display for DefinitionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for DefinitionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for DefinitionHash {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut out = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(());
        }
        for (i, byte) in out.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| ())?;
        }
        Ok(Self(out))
    }
}

/// Position of a record in the journal; grows with every record of every run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Debug, Default)]
#[serde(transparent)]
pub struct Lsn(pub i64);

/// A name from outside that may become the name of a file: `[a-z0-9][a-z0-9_-]{0,62}`. No path can be said with it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Debug)]
#[serde(transparent)]
pub struct SafeName(String);

impl SafeName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name that is nothing but a moment.
    pub fn from_time(at: crate::time::Timestamp) -> Self {
        Self(at.0.unsigned_abs().to_string())
    }
}

impl fmt::Display for SafeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SafeName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let begins = text.chars().next().is_some_and(is_plain);
        let rest = text.chars().all(|c| is_plain(c) || matches!(c, '_' | '-'));
        match begins && rest && text.len() <= 63 {
            true => Ok(Self(text.to_owned())),
            false => {
                Err("use 1 to 63 lower-case letters, digits, `_` or `-`, and begin with a letter or digit")
            }
        }
    }
}

impl<'de> Deserialize<'de> for SafeName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A node of a compiled definition.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Debug)]
#[serde(transparent)]
pub struct NodeId(pub u32);
