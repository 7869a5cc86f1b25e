//! All accounts of a data folder: held in memory as they are on disk, and changed through the store one after another.
//!
//! One process owns the folder, so what is in memory is what counts; a change is in memory before whoever asked for it is
//! answered, also when that one does not wait for the answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, watch};

use super::SETUP_FILE;
use super::access::Access;
use super::act::Act;
use super::jwt::Tokens;
use super::seldom::Seldom;
use super::token::{AccessToken, PREFIX, SETUP, digest_of, matches};
use super::tries::Tries;
use super::who::{Via, Who};
use crate::env::Env;
use crate::error::code::{account as code, general};
use crate::error::{Error, Result};
use crate::id::UserId;
use crate::limits::{AUDIT_REFUSALS_EVERY_S, PASSWORD_HASHES_MAX, TOKEN_USED_EVERY_S};
use crate::port::{
    AccountOp, Action, Batch, Digest, Op, Role, SecretText, Store, StoredAccounts, StoredApiToken, StoredUser,
};
use crate::runtime::{Deed, written_down};
use crate::store::{DataDir, Landed, commit_then};
use crate::time::Timestamp;

/// Waits. A test's lets a virtual clock move.
pub type Pause = Arc<dyn Fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// What the operator decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// An access token's life.
    pub access: Duration,
    /// How long a login of a program lasts.
    pub login: Duration,
    /// The least a password has, in characters.
    pub password_chars_min: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            access: Duration::from_secs(900),
            login: Duration::from_secs(7 * 86_400),
            password_chars_min: 8,
        }
    }
}

/// What accounts need.
pub struct AccountsOptions {
    /// Where they are kept.
    pub store: Arc<dyn Store>,
    /// Where key and setup token are; `None` keeps them in memory.
    pub folder: Option<Arc<DataDir>>,
    /// Clock and randomness.
    pub env: Env,
    /// Whoever holds it is the operator.
    pub local: AccessToken,
    /// What access tokens are signed with; `None`: a key of the folder.
    pub secret_key: Option<SecretText>,
    /// What the operator decides.
    pub rules: Rules,
    /// How the answer to a sign-in is held back.
    pub pause: Pause,
    /// Whether a stranger can come by at all, so that a token for the first account is needed.
    pub is_served: bool,
}

/// All accounts.
pub struct Accounts {
    pub(super) store: Arc<dyn Store>,
    pub(super) folder: Option<Arc<DataDir>>,
    pub(super) env: Env,
    pub(super) rules: Rules,
    pub(super) pause: Pause,
    pub(super) jwt: Arc<Tokens>,
    pub(super) tries: Tries,
    pub(super) access: Access,
    /// Read on every request; written on a change. Never held over an await.
    pub(super) state: Arc<RwLock<StoredAccounts>>,
    pub(super) setup: Mutex<Option<Digest>>,
    local: Digest,
    refusals: Seldom,
    hashes: Arc<Semaphore>,
    changes: Arc<tokio::sync::Mutex<()>>,
    /// Counts changes, for those who hold a connection open and must know whether they still may.
    changed: Arc<watch::Sender<u64>>,
}

/// The right to make the next change.
pub(super) struct Turn(OwnedMutexGuard<()>);

impl Accounts {
    /// Reads them, and makes the token of the first account where it is needed.
    pub fn open(options: AccountsOptions) -> Result<Arc<Self>> {
        let AccountsOptions { store, folder, env, local, secret_key, rules, pause, is_served } = options;
        let state = store.accounts()?;
        let setup = match (&folder, state.users.is_empty() && is_served) {
            (Some(folder), true) => Some(setup_token(folder, &env)?),
            _ => None,
        };
        Ok(Arc::new(Self {
            jwt: Arc::new(Tokens::open(folder.clone(), secret_key.as_ref(), env.clone())?),
            access: Access::load()?,
            state: Arc::new(RwLock::new(state)),
            setup: Mutex::new(setup),
            local: local.digest(),
            refusals: Seldom::new(Duration::from_secs(AUDIT_REFUSALS_EVERY_S)),
            hashes: Arc::new(Semaphore::new(PASSWORD_HASHES_MAX)),
            changes: Arc::default(),
            changed: Arc::new(watch::Sender::new(0)),
            tries: Tries::default(),
            store,
            folder,
            env,
            rules,
            pause,
        }))
    }

    /// Signs access tokens with a new key from here on. Nobody is signed out by it.
    pub async fn rotate_signing_key(&self) -> Result<()> {
        let jwt = self.jwt.clone();
        // Writes a file.
        let rotated = tokio::task::spawn_blocking(move || jwt.rotate()).await;
        rotated
            .map_err(|error| Error::new(&general::INTERNAL, "a new key was cut short").because(error))??;
        let deed = Deed::new(Action::SigningRotate, "key", "access_tokens");
        let ops = written_down(self.env.now(), deed).into_iter().collect();
        crate::store::commit(self.store.as_ref(), ops).await
    }

    /// Who holds this credential: an access token, an API token or the data folder's. `None` for every wrong one.
    pub fn admit(&self, credential: &str) -> Option<Who> {
        let digest = digest_of(credential);
        if matches(&digest, &self.local) {
            return Some(Who::local());
        }
        match credential.starts_with(PREFIX) {
            true => self.by_token(&digest),
            false => self.by_login(credential),
        }
    }

    /// Whether a credential that was admitted would be now, and as the same.
    pub fn is_current(&self, who: &Who) -> bool {
        let now = self.env.now();
        let state = self.state.read();
        let is_there = match who.via {
            Via::Local => return true,
            Via::Login(id) => state.logins.iter().any(|login| login.id == id && login.expires_at > now),
            Via::Token(id) => state.tokens.iter().any(|token| token.id == id && token.expires_at > now),
        };
        let is_same =
            |user: &StoredUser| user.is_active && user.role == who.role && Some(user.id) == who.user;
        is_there && state.users.iter().any(is_same)
    }

    /// Wakes after every change of users, logins and tokens.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Whether the first account was made.
    pub fn is_set_up(&self) -> bool {
        !self.state.read().users.is_empty()
    }

    /// What roles and routes need.
    pub fn access(&self) -> &Access {
        &self.access
    }

    fn by_token(&self, digest: &Digest) -> Option<Who> {
        let now = self.env.now();
        let (token, who) = {
            let state = self.state.read();
            let token =
                state.tokens.iter().find(|token| token.digest == *digest && token.expires_at > now)?;
            let user = state.users.iter().find(|user| user.id == token.user && user.is_active)?;
            (token.clone(), who(user, Via::Token(token.id), Some(token.scopes.clone())))
        };
        self.note_use(&token, now);
        Some(who)
    }

    fn by_login(&self, credential: &str) -> Option<Who> {
        let now = self.env.now();
        let claims = self.jwt.read(credential, now)?;
        let state = self.state.read();
        let login = state.logins.iter().find(|login| login.id == claims.sid)?;
        let user = state.users.iter().find(|user| user.id == claims.sub && user.is_active)?;
        (login.user == user.id && login.expires_at > now).then(|| who(user, Via::Login(login.id), None))
    }

    /// Keeps when a token was last used, to within an hour. Nobody waits for it, and nothing depends on it.
    fn note_use(&self, token: &StoredApiToken, now: Timestamp) {
        let every_ms = i64::try_from(TOKEN_USED_EVERY_S * 1_000).unwrap_or(i64::MAX);
        if token.used_at.is_some_and(|at| now.0.saturating_sub(at.0) < every_ms) {
            return;
        }
        let op = AccountOp::TokenUsed { id: token.id, at: now };
        self.state.write().apply(&op);
        self.write_by_the_way(Op::Account(Box::new(op)));
    }

    /// Writes what nobody waits for.
    fn write_by_the_way(&self, op: Op) {
        let batch = Batch {
            run: crate::id::RunId::from([0; 16]),
            records: Vec::new(),
            ops: vec![op],
            ack: Box::new(|_| {}),
        };
        if let Err(error) = self.store.submit(batch) {
            log::debug!(target: "chainbot::auth", "a note about accounts was not kept: {error}");
        }
    }

    /// The user of an id or a name.
    pub fn user(&self, reference: &str) -> Result<StoredUser> {
        let name = reference.to_lowercase();
        let id: Option<UserId> = reference.parse().ok();
        let state = self.state.read();
        let found = state.users.iter().find(|user| user.name == name || Some(user.id) == id);
        found.cloned().ok_or_else(|| {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(63).collect();
            Error::new(&code::NOT_FOUND, format!("there is no user `{shown}`"))
                .help("`chainbot user list` shows them")
        })
    }

    /// The user that somebody is.
    pub fn own(&self, who: &Who) -> Result<StoredUser> {
        let id = who.user.ok_or_else(no_login)?;
        let state = self.state.read();
        state.users.iter().find(|user| user.id == id).cloned().ok_or_else(no_login)
    }

    /// Waits for the right to make the next change.
    pub(super) async fn turn(&self) -> Turn {
        Turn(self.changes.clone().lock_owned().await)
    }

    /// Makes changes: on disk and in memory when this returns, or neither. `act` goes into the audit log in the same
    /// transaction; the renewal of tokens has none, for it is no decision of anybody.
    pub(super) async fn commit(&self, turn: Turn, act: Option<Act>, ops: Vec<AccountOp>) -> Result<()> {
        self.commit_with(turn, act, ops, None).await
    }

    /// The same, with what is not of accounts and belongs to the change: the key of its request.
    pub(super) async fn commit_with(
        &self,
        turn: Turn,
        act: Option<Act>,
        ops: Vec<AccountOp>,
        key: Option<Op>,
    ) -> Result<()> {
        let mut stored: Vec<Op> = ops.iter().cloned().map(|op| Op::Account(Box::new(op))).collect();
        stored.extend(key);
        stored.extend(act.as_ref().map(|act| Op::Audit(Box::new(act.entry(self.env.now(), None)))));
        let (state, changed) = (self.state.clone(), self.changed.clone());
        commit_then(&*self.store, stored, move |landed| {
            if landed == Landed::OnDisk {
                let mut state = state.write();
                ops.iter().for_each(|op| state.apply(op));
                drop(state);
                changed.send_modify(|count| *count += 1);
                if let Some(act) = act {
                    log::info!(target: "chainbot::auth", "{act}");
                }
            }
            // The next change may look from here on.
            drop(turn.0);
        })
        .await
    }

    /// Says that somebody was refused; in the audit log with the number of those since the last such row.
    pub(super) fn refuse(&self, act: &Act) {
        log::warn!(target: "chainbot::auth", "{act}");
        if let Some(count) = self.refusals.one_more(self.env.monotonic()) {
            self.write_by_the_way(Op::Audit(Box::new(act.entry(self.env.now(), Some(count)))));
        }
    }

    /// A place among those whose password is hashed.
    pub(super) fn hash_slot(&self) -> Result<OwnedSemaphorePermit> {
        self.hashes.clone().try_acquire_owned().map_err(|_| {
            Error::new(&code::ATTEMPTS, "as many passwords are being checked as may be at once")
                .help("try again in a second")
                .retry_after(1)
        })
    }

    /// Hashes on a thread that may block. The slot is held until it is done, whoever waits.
    pub(super) async fn hashing<T: Send + 'static>(
        &self,
        slot: OwnedSemaphorePermit,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let job = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(slot);
            done
        });
        job.await.unwrap_or_else(|error| {
            Err(Error::new(&general::INTERNAL, "hashing a password was cut short").because(error))
        })
    }

    /// Counts a try to sign in.
    pub(super) fn count_try(&self, account: &str, address: &str) -> Result<()> {
        self.tries.take(account, address, self.env.monotonic()).map_err(|seconds| {
            self.refuse(&Act::new(Action::SignInRefused, address, format!("{account} (too many tries)")));
            Error::new(&code::ATTEMPTS, "too many tries to sign in")
                .help(format!("try again in {seconds} s"))
                .retry_after(seconds)
        })
    }

    /// Refuses a change that leaves nobody to manage accounts.
    pub(super) fn keep_an_admin(&self, without: &StoredUser) -> Result<()> {
        let is_admin = |user: &&StoredUser| user.role == Role::Admin && user.is_active;
        let state = self.state.read();
        let others = state.users.iter().filter(is_admin).any(|user| user.id != without.id);
        let was_admin = state.users.iter().filter(is_admin).any(|user| user.id == without.id);
        if others || !was_admin {
            return Ok(());
        }
        Err(Error::new(&code::LAST_ADMIN, format!("`{}` is the last active admin", without.name))
            .help("make another user an admin first"))
    }
}

/// The credential has no user or no login.
pub(super) fn no_login() -> Error {
    Error::new(&code::NO_LOGIN, "this credential is no login of a user")
        .help("sign in with POST /api/chainbot/auth/login")
}

fn who(user: &StoredUser, via: Via, scopes: Option<Vec<String>>) -> Who {
    Who {
        via,
        user: Some(user.id),
        name: user.name.clone(),
        role: user.role,
        scopes,
        must_change: user.must_change,
    }
}

/// The token of the first account: read, or made. In the log at every start until it was used.
fn setup_token(folder: &DataDir, env: &Env) -> Result<Digest> {
    let known = folder.read(SETUP_FILE)?.and_then(|bytes| String::from_utf8(bytes).ok());
    let known = known.map(|text| text.trim().to_owned()).filter(|text| text.starts_with(SETUP));
    let token = match known {
        Some(token) => token,
        None => {
            let token = AccessToken::with_prefix(SETUP, env);
            folder.write_private(SETUP_FILE, format!("{}\n", token.reveal()).as_bytes())?;
            token.reveal().to_owned()
        }
    };
    log::info!(
        target: "chainbot::auth",
        "no account exists yet; make the first with POST /api/chainbot/setup and the token {token} (also in {})",
        folder.path().join(SETUP_FILE).display()
    );
    Ok(digest_of(&token))
}
