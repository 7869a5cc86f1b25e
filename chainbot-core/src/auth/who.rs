//! Whom a request comes from, and whether that may do something.

use super::access::Access;
use crate::error::code::account as code;
use crate::error::{Error, Result};
use crate::id::{LoginId, TokenId, UserId};
use crate::port::Role;

/// By which credential.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Via {
    /// The token of the data folder: whoever reads that file owns the folder.
    Local,
    /// An access token.
    Login(LoginId),
    /// An API token.
    Token(TokenId),
}

/// Somebody known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Who {
    /// By which credential.
    pub via: Via,
    /// The user; none for the data folder's token.
    pub user: Option<UserId>,
    /// For people.
    pub name: String,
    /// As it is now.
    pub role: Role,
    /// Of an API token: what it may, of what its user may.
    pub scopes: Option<Vec<String>>,
    /// Whether nothing but a new password is taken.
    pub must_change: bool,
}

impl Who {
    /// Whoever holds the token of the data folder.
    pub fn local() -> Self {
        Self {
            via: Via::Local,
            user: None,
            name: "local".to_owned(),
            role: Role::Admin,
            scopes: None,
            must_change: false,
        }
    }

    /// What somebody may do, by name.
    pub fn permissions(&self, access: &Access) -> Vec<String> {
        let hooks = self.scopes.iter().flatten().filter(|scope| scope.starts_with("hook:")).cloned();
        let names = access.permissions().filter(|name| self.may(access, name, None).is_ok());
        names.map(str::to_owned).chain(hooks).collect()
    }

    /// Refuses what is not allowed. `hook`: the webhook that is called, which an API token may have as its only scope.
    pub fn may(&self, access: &Access, permission: &str, hook: Option<&str>) -> Result<()> {
        if self.via == Via::Local {
            return Ok(());
        }
        if self.must_change && permission != super::access::ACCOUNT {
            return Err(Error::new(&code::MUST_CHANGE, "the password must be changed first")
                .help("POST /api/chainbot/auth/password with `current` and `new`"));
        }
        let has_scope = |scopes: &Vec<String>| {
            scopes.iter().any(|scope| {
                scope == permission || scope.strip_prefix("hook:").is_some_and(|name| hook == Some(name))
            })
        };
        if access.allows(self.role, permission) && self.scopes.as_ref().is_none_or(has_scope) {
            return Ok(());
        }
        let why = match &self.scopes {
            Some(scopes) if !has_scope(scopes) => "the API token has no such scope",
            _ => "the role does not have it",
        };
        Err(Error::new(&code::FORBIDDEN, format!("this needs `{permission}`, and {why}"))
            .help("ask an admin for another role or token"))
    }
}
