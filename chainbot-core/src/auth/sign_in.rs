//! Coming in and going out: setting up, signing in, renewing, signing out.
//!
//! Every answer to a sign-in whose password was looked at takes the same time, whatever was wrong. A refresh token is good
//! once; a spent one that comes again ends its login, except within the seconds in which two tabs may hold the same one.

use std::time::Duration;

use super::SETUP_FILE;
use super::accounts::Accounts;
use super::act::Act;
use super::password::{self, Checked};
use super::people::check_name;
use super::token::{AccessToken, REFRESH, digest_of, matches};
use super::who::{Via, Who};
use crate::error::code::account as code;
use crate::error::{Error, Result};
use crate::id::{LoginId, UserId};
use crate::limits::{AGENT_CHARS_MAX, BROWSER_IDLE_S, BROWSER_LOGIN_S, LOGINS_PER_USER_MAX, REFRESH_GRACE_S};
use crate::port::{
    AccountOp, Action, Digest, HashText, LoginKind, Role, SecretText, StoredLogin, StoredUser,
};
use crate::time::Timestamp;

/// Where a request comes from, for people.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// An address.
    pub address: String,
    /// What the client calls itself.
    pub agent: String,
}

/// Somebody who wants in.
pub struct SignIn {
    /// A user's name.
    pub name: String,
    /// The password.
    pub password: SecretText,
    /// How the tokens will be kept.
    pub kind: LoginKind,
    /// Where from.
    pub client: Client,
}

/// The tokens of a login.
pub struct Pair {
    /// Whose.
    pub user: StoredUser,
    /// The login.
    pub login: LoginId,
    /// How it keeps them.
    pub kind: LoginKind,
    /// The access token.
    pub access: String,
    /// Its life.
    pub access_s: i64,
    /// The refresh token.
    pub refresh: AccessToken,
    /// Its life, unless it is used before.
    pub refresh_s: i64,
}

impl Accounts {
    /// Makes the first account, an admin, with the token of the first start. Works once.
    pub async fn set_up(
        &self,
        token: &str,
        name: &str,
        password: SecretText,
        client: &Client,
    ) -> Result<StoredUser> {
        if self.is_set_up() {
            return Err(Error::new(&code::SETUP, "the first account was made already")
                .help("sign in, or have an admin make you an account"));
        }
        // Of the address alone: a stranger must not keep the owner out.
        self.count_try(&format!("setup from {}", client.address), &client.address)?;
        let given = digest_of(token);
        if !self.setup.lock().as_ref().is_some_and(|expected| matches(expected, &given)) {
            self.refuse(&Act::new(Action::SignInRefused, &client.address, "setup"));
            return Err(Error::new(&code::SIGN_IN, "the setup token is wrong")
                .help("it is in the log of the start, and in the file `setup-token` of the data folder"));
        }
        let name = check_name(name)?;
        password::check_new(password.reveal(), &name, self.rules.password_chars_min)?;
        let hashed = self.hash(password).await?;
        let turn = self.turn().await;
        if self.is_set_up() {
            return Err(Error::new(&code::SETUP, "the first account was made meanwhile").help("sign in"));
        }
        let user = self.new_user(name, Role::Admin, hashed);
        let act = Act::new(Action::Setup, &client.address, format!("{} (admin)", user.name)).of(user.id);
        self.commit(turn, Some(act), vec![AccountOp::UserPut(user.clone())]).await?;
        self.forget_setup();
        Ok(user)
    }

    /// Checks name and password and begins a login.
    pub async fn sign_in(&self, ask: SignIn) -> Result<Pair> {
        if !self.is_set_up() {
            return Err(Error::new(&code::SETUP, "there is no account yet").help(
                "make the first with POST /api/chainbot/setup, or `chainbot user add NAME --role admin`",
            ));
        }
        let name = ask.name.to_lowercase();
        self.count_try(&name, &ask.client.address)?;
        let slot = self.hash_slot()?;
        let began = self.env.monotonic();
        let floor = {
            let state = self.state.read();
            Duration::from_millis(password::floor_ms(state.users.iter().map(|user| &user.password)))
        };
        let answer = self.check(ask, &name, slot).await;
        let over = self.env.monotonic().saturating_sub(began);
        (self.pause)(floor.saturating_sub(over)).await;
        answer
    }

    async fn check(&self, ask: SignIn, name: &str, slot: tokio::sync::OwnedSemaphorePermit) -> Result<Pair> {
        let found = {
            let state = self.state.read();
            state.users.iter().find(|user| user.name == name && user.is_active).cloned()
        };
        let known = found
            .as_ref()
            .map_or_else(|| HashText(password::NOBODY.to_owned()), |user| user.password.clone());
        let (salt, jwt, password) = (self.env.bytes(), self.jwt.clone(), ask.password.clone());
        let (checked, renewed) = self
            .hashing(slot, move || {
                let checked = password::check(password.reveal(), &known)?;
                let renewed = match checked {
                    Checked::Old => Some(password::hash(password.reveal(), salt)?),
                    _ => None,
                };
                jwt.prepare()?;
                Ok((checked, renewed))
            })
            .await?;
        match found.filter(|_| checked != Checked::Wrong) {
            Some(user) => self.begin(user, renewed, checked, &ask).await,
            None => {
                self.refuse(&Act::new(Action::SignInRefused, &ask.client.address, name));
                Err(wrong())
            }
        }
    }

    async fn begin(
        &self,
        user: StoredUser,
        renewed: Option<HashText>,
        checked: Checked,
        ask: &SignIn,
    ) -> Result<Pair> {
        let turn = self.turn().await;
        let now = self.env.now();
        let (mut ops, is_same) = {
            let state = self.state.read();
            // Disabled, or given another password, while this one was being hashed.
            let is_same = state
                .users
                .iter()
                .any(|one| one.id == user.id && one.is_active && one.password == user.password);
            let mut own: Vec<&StoredLogin> =
                state.logins.iter().filter(|login| login.user == user.id).collect();
            own.sort_by_key(|login| (is_over(login, now), login.seen_at));
            let over = own.iter().filter(|login| is_over(login, now)).count();
            let many = (own.len() - over + 1).saturating_sub(LOGINS_PER_USER_MAX);
            // Those that are over come last.
            let gone = own.iter().skip(own.len() - over).chain(own.iter().take(many));
            (gone.map(|login| AccountOp::LoginEnd { id: login.id }).collect::<Vec<_>>(), is_same)
        };
        if !is_same {
            return Err(wrong());
        }
        let mut user = user;
        user.seen_at = Some(now);
        user.must_change |= checked == Checked::Cut;
        user.password = renewed.unwrap_or(user.password);
        let (idle_until, expires_at) = self.ends(ask.kind, now);
        let refresh = AccessToken::with_prefix(REFRESH, &self.env);
        let login = StoredLogin {
            id: self.env.login_id(),
            user: user.id,
            kind: ask.kind,
            refresh: refresh.digest(),
            created_at: now,
            seen_at: now,
            idle_until,
            expires_at,
            address: shown(&ask.client.address),
            agent: shown(&ask.client.agent),
        };
        ops.push(AccountOp::UserPut(user.clone()));
        ops.push(AccountOp::LoginPut(login.clone()));
        let pair = self.pair(user, &login, refresh, now)?;
        let act = Act::new(Action::SignIn, &ask.client.address, &pair.user.name).of(pair.user.id);
        self.commit(turn, Some(act), ops).await?;
        Ok(pair)
    }

    /// Gives new tokens for a refresh token, which is spent then.
    pub async fn renew(&self, presented: &str, kind: LoginKind) -> Result<Pair> {
        let digest = digest_of(presented);
        let turn = self.turn().await;
        let now = self.env.now();
        let found = {
            let state = self.state.read();
            let good = state.logins.iter().find(|login| login.refresh == digest && login.kind == kind);
            let user = |id: UserId| state.users.iter().find(|user| user.id == id && user.is_active).cloned();
            good.filter(|login| !is_over(login, now))
                .and_then(|login| Some((login.clone(), user(login.user)?)))
        };
        let Some((mut login, user)) = found else {
            return Err(self.not_good(turn, digest, now).await);
        };
        let refresh = AccessToken::with_prefix(REFRESH, &self.env);
        let idle_until = self.ends(login.kind, now).0.min(login.expires_at);
        let op =
            AccountOp::LoginRotate { id: login.id, from: digest, to: refresh.digest(), at: now, idle_until };
        (login.refresh, login.idle_until) = (refresh.digest(), idle_until);
        let pair = self.pair(user, &login, refresh, now)?;
        self.commit(turn, None, vec![op]).await?;
        Ok(pair)
    }

    /// Why a refresh token is not taken. One that was spent before ends its login.
    async fn not_good(&self, turn: super::accounts::Turn, digest: Digest, now: Timestamp) -> Error {
        let refused = || Error::new(&code::REFRESH, "the refresh token is not good").help("sign in again");
        let spent = self.state.read().spent.iter().find(|one| one.digest == digest).cloned();
        let Some(spent) = spent else { return refused() };
        if now.0.saturating_sub(spent.at.0) < millis(REFRESH_GRACE_S) {
            return Error::new(&code::ROTATED, "the refresh token was used a moment ago")
                .help("use the tokens that it was exchanged for");
        }
        let act = Act::new(Action::RefreshReused, "a spent refresh token", spent.login.to_string());
        log::warn!(target: "chainbot::auth", "{act}");
        match self.commit(turn, Some(act), vec![AccountOp::LoginEnd { id: spent.login }]).await {
            Ok(()) => refused(),
            Err(error) => error,
        }
    }

    /// Ends the login that somebody came by. Its access tokens end with it.
    pub async fn sign_out(&self, who: &Who) -> Result<()> {
        let Via::Login(login) = who.via else { return Err(super::accounts::no_login()) };
        let turn = self.turn().await;
        let act = Act::new(Action::SignOut, &who.name, login.to_string());
        self.commit(turn, Some(act), vec![AccountOp::LoginEnd { id: login }]).await
    }

    /// The logins of a user that are not over, the newest first.
    pub fn logins(&self, user: UserId) -> Vec<StoredLogin> {
        let now = self.env.now();
        let state = self.state.read();
        let mut own: Vec<_> =
            state.logins.iter().filter(|login| login.user == user && !is_over(login, now)).cloned().collect();
        own.sort_by_key(|login| std::cmp::Reverse((login.created_at, login.id)));
        own
    }

    /// Ends one login of a user.
    pub async fn end_login(&self, who: &Who, user: UserId, login: LoginId) -> Result<()> {
        let turn = self.turn().await;
        if !self.logins(user).iter().any(|one| one.id == login) {
            return Err(Error::new(&code::NO_TOKEN, format!("there is no login `{login}`"))
                .help("GET /api/chainbot/auth/sessions lists them"));
        }
        let act = Act::new(Action::SignOut, &who.name, login.to_string());
        self.commit(turn, Some(act), vec![AccountOp::LoginEnd { id: login }]).await
    }

    /// Ends every login of a user; how many there were.
    pub async fn end_logins(&self, who: &Who, user: UserId) -> Result<usize> {
        let turn = self.turn().await;
        let ops = self.logins_but(user, None);
        let count = ops.len();
        if count > 0 {
            let act = Act::new(Action::SignOut, &who.name, format!("{count} logins of {user}"));
            self.commit(turn, Some(act), ops).await?;
        }
        Ok(count)
    }

    pub(super) fn logins_but(&self, user: UserId, but: Option<LoginId>) -> Vec<AccountOp> {
        let state = self.state.read();
        let gone = state.logins.iter().filter(|login| login.user == user && Some(login.id) != but);
        gone.map(|login| AccountOp::LoginEnd { id: login.id }).collect()
    }

    /// A hash of a new password, on a thread that may block.
    pub(super) async fn hash(&self, password: SecretText) -> Result<HashText> {
        let (slot, salt) = (self.hash_slot()?, self.env.bytes());
        self.hashing(slot, move || password::hash(password.reveal(), salt)).await
    }

    /// The setup token is of no use any more.
    pub(super) fn forget_setup(&self) {
        self.setup.lock().take();
        if let Some(folder) = &self.folder
            && let Err(error) = folder.remove(SETUP_FILE)
        {
            log::warn!(target: "chainbot::auth", "the file of the setup token is left, and opens nothing: {error}");
        }
    }

    fn ends(&self, kind: LoginKind, now: Timestamp) -> (Timestamp, Timestamp) {
        let after = |seconds: u64| Timestamp(now.0.saturating_add(millis(seconds)));
        match kind {
            LoginKind::Browser => (after(BROWSER_IDLE_S), after(BROWSER_LOGIN_S)),
            LoginKind::Client => (after(self.rules.login.as_secs()), after(self.rules.login.as_secs())),
        }
    }

    fn pair(
        &self,
        user: StoredUser,
        login: &StoredLogin,
        refresh: AccessToken,
        now: Timestamp,
    ) -> Result<Pair> {
        let access_s = i64::try_from(self.rules.access.as_secs()).unwrap_or(i64::MAX);
        let refresh_s = login.idle_until.0.saturating_sub(now.0).div_euclid(1_000);
        let access = self.jwt.make(user.id, login.id, now, access_s)?;
        Ok(Pair { user, login: login.id, kind: login.kind, access, access_s, refresh, refresh_s })
    }
}

fn is_over(login: &StoredLogin, now: Timestamp) -> bool {
    login.expires_at <= now || login.idle_until <= now
}

fn millis(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX)
}

fn wrong() -> Error {
    Error::new(&code::SIGN_IN, "name or password is wrong")
        .help("a password that is lost is set anew on the machine itself: `chainbot user password NAME`")
}

/// Text of a client, as it is kept.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(AGENT_CHARS_MAX).collect()
}
