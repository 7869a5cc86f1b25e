//! What happened to accounts, as a value: a line of the log, and a row of the audit log.
//!
//! Every change goes through [`Accounts::commit`](super::Accounts) with its act, which joins the transaction of the change, and
//! every refusal through `refuse`.

use std::fmt;

use serde_json::json;

use crate::id::UserId;
use crate::port::{Action, Actor, AuditEntry};
use crate::runtime::{Deed, Who};
use crate::time::Timestamp;

/// Characters of a name or an address that are kept.
const SHOWN_MAX: usize = 120;

/// What happened, by whom and to what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Act {
    /// What.
    pub action: Action,
    /// By whom: a user's name, `local`, or an address where nobody was known.
    pub actor: String,
    /// To whom or what: a name and what changed. Holds no secret.
    pub target: String,
    /// Who it was, where the request could not say so.
    user: Option<UserId>,
}

impl Act {
    /// One.
    pub fn new(action: Action, actor: impl Into<String>, target: impl Into<String>) -> Self {
        Self { action, actor: actor.into(), target: target.into(), user: None }
    }

    /// By a user whom the request itself has made known.
    #[must_use]
    pub fn of(mut self, user: UserId) -> Self {
        self.user = Some(user);
        self
    }

    /// As it is written down. `count`: of how many it is the newest.
    pub fn entry(&self, at: Timestamp, count: Option<u64>) -> AuditEntry {
        let who = Who::now().unwrap_or_else(|| Who {
            actor: self.user.map_or(Actor::Stranger, |id| Actor::User(id.to_string())),
            request: None,
        });
        let meta = match count {
            None => json!({ "by": clean(&self.actor) }),
            Some(count) => json!({ "by": clean(&self.actor), "count": count }),
        };
        Deed::new(self.action, "account", clean(&self.target)).with(meta).by(who, at)
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} by {}", self.action.as_str(), clean(&self.target), clean(&self.actor))
    }
}

/// Names of strangers are in here, so nothing may steer a terminal or forge a line.
fn clean(text: &str) -> String {
    text.chars().take(SHOWN_MAX).map(|c| if c.is_control() { '?' } else { c }).collect()
}
