//! Who may do what: roles to permissions, and routes to the permission that each needs, both read from one golden file.
//!
//! The file is reviewed like code and drives the guard: a route without a row in it is not served.

use std::collections::BTreeMap;

use crate::error::code::general;
use crate::error::{Error, Result};
use crate::port::Role;

/// What a user may do with the own account. Never a scope: a token makes no tokens.
pub const ACCOUNT: &str = "chainbot:account";
/// What only the token of the data folder may do.
pub const LOCAL: &str = "chainbot:local";
/// Calling webhooks.
pub const HOOK: &str = "chainbot:hook";

const TEXT: &str = include_str!("access.txt");

/// What a route needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// Nothing: anybody is answered.
    Public,
    /// Nothing until the first account was made, then nobody.
    Setup,
    /// This permission.
    Permission(&'static str),
}

/// The table.
#[derive(Debug)]
pub struct Access {
    roles: BTreeMap<&'static str, Vec<Role>>,
    routes: BTreeMap<(&'static str, &'static str), Need>,
}

impl Access {
    /// The table of this version.
    pub fn load() -> Result<Self> {
        Self::parse(TEXT).map_err(|line| {
            Error::new(&general::INTERNAL, format!("the table of access does not read: {line}"))
        })
    }

    fn parse(text: &'static str) -> std::result::Result<Self, &'static str> {
        let mut table = Self { roles: BTreeMap::new(), routes: BTreeMap::new() };
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let words: Vec<&'static str> = line.split_whitespace().collect();
            let is_new = match words.as_slice() {
                ["permission", name, roles @ ..] => {
                    let roles: Option<Vec<Role>> = roles.iter().map(|role| Role::parse(role)).collect();
                    table.roles.insert(name, roles.ok_or(line)?).is_none()
                }
                [method, path, need] if path.starts_with('/') => {
                    let need = match *need {
                        "public" => Need::Public,
                        "setup" => Need::Setup,
                        name if table.roles.contains_key(name) => Need::Permission(name),
                        _ => return Err(line),
                    };
                    table.routes.insert((method, path), need).is_none()
                }
                _ => false,
            };
            if !is_new {
                return Err(line);
            }
        }
        Ok(table)
    }

    /// What a route needs; `None` when there is no row. `path` is the route's pattern.
    pub fn need(&self, method: &str, path: &str) -> Option<Need> {
        let method = if method == "HEAD" { "GET" } else { method };
        self.routes.get(&(method, path)).copied()
    }

    /// Every route with what it needs.
    pub fn routes(&self) -> impl Iterator<Item = (&'static str, &'static str, Need)> {
        self.routes.iter().map(|((method, path), need)| (*method, *path, *need))
    }

    /// Whether a role has a permission.
    pub fn allows(&self, role: Role, permission: &str) -> bool {
        self.roles.get(permission).is_some_and(|roles| roles.contains(&role))
    }

    /// Whether an API token can have it as a scope, where its user has `role`.
    pub fn is_scope(&self, role: Role, scope: &str) -> bool {
        let permission = match scope.strip_prefix("hook:") {
            Some(name) if !name.is_empty() && !name.contains(char::is_whitespace) => HOOK,
            Some(_) => return false,
            None => scope,
        };
        ![ACCOUNT, LOCAL].contains(&permission) && self.allows(role, permission)
    }

    /// Every permission.
    pub fn permissions(&self) -> impl Iterator<Item = &'static str> {
        self.roles.keys().copied()
    }

    /// The scopes that a role can give, without those of single webhooks.
    pub fn scopes(&self, role: Role) -> Vec<&'static str> {
        self.roles.keys().copied().filter(|name| self.is_scope(role, name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_reads_and_its_roles_only_grow() {
        let table = Access::load().unwrap();
        for (name, roles) in &table.roles {
            let grown: Vec<Role> = Role::ALL.into_iter().filter(|role| roles.first() <= Some(role)).collect();
            let expected = if roles.is_empty() { Vec::new() } else { grown };
            assert_eq!(*roles, expected, "{name}: whoever is above a role may all that it may");
        }
        assert!(table.roles[LOCAL].is_empty());
    }

    #[test]
    fn a_wrong_table_names_its_line() {
        for text in ["GET /a nobody", "permission a boss", "permission a\npermission a", "GET a public", "x"]
        {
            assert_eq!(Access::parse(text).unwrap_err(), text.lines().last().unwrap());
        }
    }

    #[test]
    fn no_token_can_have_the_scope_of_accounts() {
        let table = Access::load().unwrap();
        for scope in [ACCOUNT, LOCAL, "hook:", "hook:a b", "chainbot:nothing", ""] {
            assert!(!table.is_scope(Role::Admin, scope), "{scope}");
        }
        assert!(table.is_scope(Role::Operator, "hook:bell") && !table.is_scope(Role::Viewer, "hook:bell"));
        assert!(table.scopes(Role::Viewer).contains(&"metrics:read"));
    }
}
