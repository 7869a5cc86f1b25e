//! What happened to accounts, as a value: what an audit is written from.
//!
//! Every change goes through [`Accounts::commit`](super::Accounts) with its act, and every refusal through
//! `refuse`; so an audit entry has one place where it joins the transaction of its change. Today's reader is the log.

use std::fmt;

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// The first account was made.
    SetUp,
    /// Somebody signed in.
    SignedIn,
    /// A sign-in was refused.
    SignInRefused,
    /// A login was renewed.
    Renewed,
    /// A spent refresh token came again: its login has ended.
    RefreshReused,
    /// Logins ended.
    SignedOut,
    /// A user was made.
    UserMade,
    /// A user was changed.
    UserChanged,
    /// A user was removed.
    UserRemoved,
    /// A password was changed.
    PasswordChanged,
    /// An API token was made.
    TokenMade,
    /// An API token was revoked.
    TokenRevoked,
}

impl Action {
    /// The word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::SetUp => "setup",
            Action::SignedIn => "auth.sign_in",
            Action::SignInRefused => "auth.refused",
            Action::Renewed => "auth.renew",
            Action::RefreshReused => "auth.refresh_reused",
            Action::SignedOut => "auth.sign_out",
            Action::UserMade => "user.make",
            Action::UserChanged => "user.change",
            Action::UserRemoved => "user.remove",
            Action::PasswordChanged => "user.password",
            Action::TokenMade => "token.make",
            Action::TokenRevoked => "token.revoke",
        }
    }
}

/// What happened, by whom and to what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Act {
    /// What.
    pub action: Action,
    /// By whom: a user's name, `local`, or an address where nobody was known.
    pub actor: String,
    /// To whom or what: a name and what changed. Holds no secret.
    pub target: String,
}

impl Act {
    /// One.
    pub fn new(action: Action, actor: impl Into<String>, target: impl Into<String>) -> Self {
        Self { action, actor: actor.into(), target: target.into() }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names of strangers are in here, so nothing may steer a terminal or forge a line.
        let clean = |text: &str| {
            text.chars().take(120).map(|c| if c.is_control() { '?' } else { c }).collect::<String>()
        };
        write!(f, "{}: {} by {}", self.action.as_str(), clean(&self.target), clean(&self.actor))
    }
}
