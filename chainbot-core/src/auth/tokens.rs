//! API tokens: for programs and devices that cannot sign in. Each acts for a user, within its scopes, until it expires.

use super::accounts::Accounts;
use super::act::Act;
use super::people::value;
use super::token::AccessToken;
use super::who::Who;
use crate::error::code::account as code;
use crate::error::{Error, Result, similar};
use crate::id::{TokenId, UserId};
use crate::limits::{ACCOUNT_NAME_BYTES_MAX, API_TOKEN_DAYS_MAX, SCOPES_MAX, TOKENS_PER_USER_MAX};
use crate::port::{AccountOp, Action, Op, StoredApiToken, StoredUser};
use crate::time::Timestamp;

/// Of a token, what is shown so that people find it again: the prefix and 24 of its 256 bits.
const SHOWN: usize = 9;

/// A token to be made.
pub struct NewToken {
    /// For people.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// How long it lives.
    pub days: u64,
}

impl Accounts {
    /// The tokens of a user, or of all; the newest first.
    pub fn api_tokens(&self, user: Option<UserId>) -> Vec<(StoredApiToken, String)> {
        let state = self.state.read();
        let name = |id: UserId| state.users.iter().find(|user| user.id == id).map_or("", |user| &user.name);
        let mut out: Vec<_> = state
            .tokens
            .iter()
            .filter(|token| user.is_none_or(|user| token.user == user))
            .map(|token| (token.clone(), name(token.user).to_owned()))
            .collect();
        out.sort_by_key(|(token, _)| std::cmp::Reverse((token.created_at, token.id)));
        out
    }

    /// Makes a token for a user. The text is given once and known to nobody after. `key`: keeps the request's, with the id of
    /// what is made.
    pub async fn add_token(
        &self,
        who: &Who,
        owner: &StoredUser,
        new: NewToken,
        key: Option<impl FnOnce([u8; 16]) -> Op>,
    ) -> Result<(StoredApiToken, AccessToken)> {
        let name = new.name.trim().to_owned();
        if name.is_empty() || name.len() > ACCOUNT_NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return Err(value(
                "the token's name is empty, too long or more than one line",
                "name what uses it",
            ));
        }
        if !(1..=API_TOKEN_DAYS_MAX).contains(&new.days) {
            return Err(value(
                &format!("{} days are not from 1 to {API_TOKEN_DAYS_MAX}", new.days),
                "make a new one each year",
            ));
        }
        if new.scopes.is_empty() || new.scopes.len() > SCOPES_MAX {
            return Err(value(
                &format!("a token has 1 to {SCOPES_MAX} scopes"),
                &format!("`{}` has: {}", owner.role.as_str(), self.access.scopes(owner.role).join(", ")),
            ));
        }
        for scope in &new.scopes {
            if !self.access.is_scope(owner.role, scope) {
                let known = self.access.scopes(owner.role);
                let help = match similar(scope, known.iter().copied()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!(
                        "`{}` has: {}, and hook:NAME from operator on",
                        owner.role.as_str(),
                        known.join(", ")
                    ),
                };
                let shown: String = scope.chars().filter(|c| !c.is_control()).take(63).collect();
                return Err(value(
                    &format!("`{shown}` is no scope that a token of `{}` can have", owner.name),
                    &help,
                ));
            }
        }
        let turn = self.turn().await;
        let own = self.state.read().tokens.iter().filter(|token| token.user == owner.id).count();
        if own >= TOKENS_PER_USER_MAX {
            return Err(value(
                &format!("`{}` has {own} tokens, which is the bound", owner.name),
                "revoke some",
            ));
        }
        let text = AccessToken::generate(&self.env);
        let now = self.env.now();
        let life_ms = i64::try_from(new.days * 86_400_000).unwrap_or(i64::MAX);
        let mut scopes = new.scopes;
        scopes.sort();
        scopes.dedup();
        let token = StoredApiToken {
            id: self.env.token_id(),
            user: owner.id,
            name,
            prefix: text.reveal().chars().take(SHOWN).collect(),
            digest: text.digest(),
            scopes,
            created_at: now,
            expires_at: Timestamp(now.0.saturating_add(life_ms)),
            used_at: None,
        };
        let what = format!("{} of {} ({})", token.name, owner.name, token.scopes.join(" "));
        let act = Act::new(Action::TokenCreate, &who.name, what);
        let key = key.map(|key| key(*token.id.as_bytes()));
        self.commit_with(turn, Some(act), vec![AccountOp::TokenPut(token.clone())], key).await?;
        Ok((token, text))
    }

    /// Revokes a token: of a user, or anybody's.
    pub async fn revoke_token(&self, who: &Who, of: Option<UserId>, reference: &str) -> Result<()> {
        let turn = self.turn().await;
        let id: Option<TokenId> = reference.parse().ok();
        let found = {
            let state = self.state.read();
            let own = |token: &&StoredApiToken| of.is_none_or(|user| token.user == user);
            state.tokens.iter().filter(own).find(|token| Some(token.id) == id).cloned()
        };
        let Some(token) = found else {
            let shown: String = reference.chars().filter(|c| !c.is_control()).take(63).collect();
            return Err(Error::new(&code::NO_TOKEN, format!("there is no token `{shown}`"))
                .help("`chainbot token list` shows their ids"));
        };
        let act = Act::new(Action::TokenRevoke, &who.name, token.name);
        self.commit(turn, Some(act), vec![AccountOp::TokenRemove { id: token.id }]).await
    }
}
