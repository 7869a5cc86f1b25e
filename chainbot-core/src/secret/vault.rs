//! The vault: all rows in memory, sealed; changed through the store, one change after another.
//!
//! Rows are read once, because one process owns the data folder. Opening a secret is a few microseconds of
//! decryption and touches no disk.

mod transfer;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;

use super::key::{self, Key, Keys};
use super::name::{check_description, check_name, check_value, read_hosts};
use super::redact::{self, Redactor};
use super::seal;
use crate::env::Env;
use crate::error::code::{general, secret as code};
use crate::error::{Error, Result, similar};
use crate::id::UserId;
use crate::limits::SECRETS_MAX;
use crate::port::{Action, Op, OpenSecret, Scope, SecretRows, SecretText, Secrets, Store, StoredSecret};
use crate::runtime::{Deed, written_down};
use crate::store::{DataDir, commit};
use crate::time::Timestamp;

pub use transfer::{Brought, Import};

/// A secret to be set.
pub struct NewSecret {
    /// Its value.
    pub value: SecretText,
    /// Where it may be sent; none: nowhere, it can only sign.
    pub hosts: Vec<String>,
    /// For people.
    pub description: Option<String>,
}

/// A secret as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretInfo {
    /// What expressions call it.
    pub name: String,
    /// Where it may be sent.
    pub hosts: Vec<String>,
    /// For people.
    pub description: Option<String>,
    /// From 1.
    pub version: u32,
    /// Of version 1.
    pub created_at: Timestamp,
    /// Of this version.
    pub updated_at: Timestamp,
    /// Whether the key at hand opens it.
    pub is_readable: bool,
    /// Whose it is; `None` is the operator.
    pub owner: Option<UserId>,
}

/// What a rotation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// Secrets that were sealed anew.
    pub secrets: usize,
    /// The keys are a credential of the service: its second line is of no use any more.
    pub is_credential: bool,
}

/// All secrets of a data folder.
pub struct Vault {
    store: Arc<dyn Store>,
    folder: Arc<DataDir>,
    credentials: Option<PathBuf>,
    env: Env,
    /// Read on every use of a secret and every output; written on a change. Never held over an await.
    state: RwLock<State>,
    /// Changes follow each other, so that versions do.
    changes: tokio::sync::Mutex<()>,
}

struct State {
    /// What the configuration refers to, by the text of the reference. Definitions cannot reach it.
    given: Vec<(String, OpenSecret)>,
    rows: BTreeMap<String, StoredSecret>,
    keys: std::result::Result<Keys, Refusal>,
    /// Also the log's, which must not wait for the lock around this: what holds it may log.
    redactor: Arc<redact::Shared>,
}

/// Why the key file cannot be used. Kept, because a start must not fail for it.
struct Refusal(Error);

impl Refusal {
    fn again(&self) -> Error {
        Error::new(self.0.code(), self.0.message()).help(self.0.remedy().unwrap_or_default())
    }
}

impl Vault {
    /// With what the configuration refers to, and with more that is taken out of everything written down.
    pub fn with_given(self, given: Vec<(String, OpenSecret)>) -> Result<Self> {
        self.set_given(given)?;
        Ok(self)
    }

    /// The same in place of what was given before.
    pub fn set_given(&self, given: Vec<(String, OpenSecret)>) -> Result<()> {
        let mut state = self.state.write();
        state.given = given;
        state.renew()
    }

    /// Reads the rows and the key. A key that is missing or wrong is told in the log and at each use.
    pub fn open<S: Store + SecretRows + 'static>(
        store: Arc<S>,
        folder: Arc<DataDir>,
        env: Env,
    ) -> Result<Self> {
        let rows: BTreeMap<_, _> = store.secrets()?.into_iter().map(|row| (row.name.clone(), row)).collect();
        let credentials = key::credentials();
        let keys = Keys::read(&folder, credentials.as_deref()).map_err(Refusal);
        if let Err(refusal) = &keys {
            log::error!("secrets cannot be used: {}", refusal.0);
        }
        let redactor = Arc::new(RwLock::new(Arc::new(redactor(&rows, &[], keys.as_ref().ok())?)));
        redact::watch_log(&redactor);
        let state = RwLock::new(State { given: Vec::new(), rows, keys, redactor });
        Ok(Self { credentials, store, folder, env, state, changes: tokio::sync::Mutex::default() })
    }

    /// All secrets that they see, without their values, by name.
    pub fn list(&self, scope: &Scope) -> Vec<SecretInfo> {
        let state = self.state.read();
        let seen = state.rows.values().filter(|row| scope.sees(&row.possession()));
        seen.map(|row| info(row, state.opens(row))).collect()
    }

    /// Stores a secret or a new version of one, which stays its owner's; on disk when this returns. The flag: there was none of
    /// this name. A name is one person's: that of another's is refused as if it were another's workflow.
    pub async fn set(&self, scope: &Scope, name: &str, new: NewSecret) -> Result<(SecretInfo, bool)> {
        check_name(name)?;
        check_value(new.value.reveal())?;
        check_description(new.description.as_deref())?;
        let hosts = read_hosts(&new.hosts)?;
        let _turn = self.changes.lock().await;
        crate::fault!("secret.set", Error::on_purpose);
        let (row, is_new) = {
            let mut state = self.state.write();
            let before = state.rows.get(name).cloned();
            if before.as_ref().is_some_and(|before| !scope.may_change(&before.possession())) {
                drop(state);
                // In the words for one that is not there; no hint to store it, which is what was tried.
                return Err(Error::new(&code::NOT_FOUND, format!("there is no secret `{name}`"))
                    .help("the name cannot be used here; choose another one"));
            }
            if before.is_none() && state.rows.len() >= SECRETS_MAX {
                return Err(Error::new(
                    &general::BUSY,
                    format!("there are {SECRETS_MAX} secrets, which is the bound"),
                )
                .help("remove those that nothing uses"));
            }
            state.need_key(&self.folder, &self.env)?;
            let now = self.env.now();
            let mut row = StoredSecret {
                name: name.to_owned(),
                owner: before.as_ref().map_or_else(
                    || StoredSecret::owner_of(scope.makes().owner),
                    |before| before.owner.clone(),
                ),
                version: before.as_ref().map_or(1, |before| before.version.saturating_add(1)),
                key_id: [0; 8],
                nonce: self.env.bytes(),
                sealed: Vec::new(),
                hosts,
                description: new.description,
                created_at: before.as_ref().map_or(now, |before| before.created_at),
                updated_at: now,
            };
            seal::seal(state.key()?, &mut row, &new.value)?;
            (row, before.is_none())
        };
        let deed = Deed::new(Action::SecretSet, "secret", name)
            .with(serde_json::json!({ "version": row.version, "hosts": row.hosts }));
        let ops = [Some(Op::SecretPut(Box::new(row.clone()))), written_down(row.updated_at, deed)];
        commit(self.store.as_ref(), ops.into_iter().flatten().collect()).await?;
        let mut state = self.state.write();
        let shown = info(&row, true);
        state.rows.insert(row.name.clone(), row);
        state.renew()?;
        Ok((shown, is_new))
    }

    /// Forgets a secret; off the database when this returns.
    pub async fn remove(&self, scope: &Scope, name: &str) -> Result<()> {
        let _turn = self.changes.lock().await;
        let may = |row: &StoredSecret| scope.may_change(&row.possession());
        if !self.state.read().rows.get(name).is_some_and(may) {
            return Err(self.not_found(may, name));
        }
        let deed = Deed::new(Action::SecretRemove, "secret", name);
        let ops = [Some(Op::SecretRemove { name: name.to_owned() }), written_down(self.env.now(), deed)];
        commit(self.store.as_ref(), ops.into_iter().flatten().collect()).await?;
        let mut state = self.state.write();
        state.rows.remove(name);
        state.renew()
    }

    /// Seals every secret with a new key, and forgets the one before. Whatever it is cut short at, every secret opens, and the next
    /// call goes on from there. On disk when this returns; how many there are.
    pub async fn rotate_key(&self) -> Result<Rotated> {
        let _turn = self.changes.lock().await;
        // All of them open, or nothing is begun: one that does not would be lost with the old key.
        let values = {
            let state = self.state.read();
            // The first secret makes the first key; before it there is none to change.
            if state.rows.is_empty() && state.keys.as_ref().is_ok_and(|keys| keys.first().is_none()) {
                return Ok(Rotated { secrets: 0, is_credential: false });
            }
            let keys = state.keys()?;
            state.rows.values().map(|row| Ok((row.clone(), keys.open(row)?))).collect::<Result<Vec<_>>>()?
        };
        let credentials = self.credentials.as_deref();
        let keys = Keys::begin_rotation(&self.folder, credentials, &self.env)?;
        let is_credential = keys.is_credential();
        let rows = {
            let first = keys.first().ok_or_else(no_key)?;
            let again = values.into_iter().map(|(mut row, value)| {
                row.nonce = self.env.bytes();
                seal::seal(first, &mut row, &value)?;
                Ok(row)
            });
            again.collect::<Result<Vec<_>>>()?
        };
        // Both keys, until the rows are on disk.
        self.state.write().keys = Ok(keys);
        let deed =
            Deed::new(Action::SecretRotate, "secret", "*").with(serde_json::json!({ "secrets": rows.len() }));
        let puts = rows.iter().map(|row| Op::SecretPut(Box::new(row.clone())));
        commit(self.store.as_ref(), puts.chain(written_down(self.env.now(), deed)).collect()).await?;
        let secrets = rows.len();
        let mut state = self.state.write();
        state.rows = rows.into_iter().map(|row| (row.name.clone(), row)).collect();
        state.keys = Ok(Keys::end_rotation(&self.folder, credentials)?);
        Ok(Rotated { secrets, is_credential })
    }

    /// `is_known`: of which others a hint may speak.
    fn not_found(&self, is_known: impl Fn(&StoredSecret) -> bool, name: &str) -> Error {
        let shown: String = name.chars().filter(|c| !c.is_control()).take(63).collect();
        let state = self.state.read();
        let known = state.rows.values().filter(|row| is_known(row) && row.name != name);
        let help = match similar(name, known.map(|row| row.name.as_str())) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("store it with `chainbot secret set {shown} --host HOST`"),
        };
        Error::new(&code::NOT_FOUND, format!("there is no secret `{shown}`")).help(help)
    }
}

impl Secrets for Vault {
    fn open(&self, owner: Option<UserId>, name: &str) -> Result<OpenSecret> {
        let state = self.state.read();
        let Some(row) = state.rows.get(name).filter(|row| row.serves(owner)) else {
            drop(state);
            return Err(self.not_found(|row| row.serves(owner), name));
        };
        Ok(OpenSecret { value: state.keys()?.open(row)?, hosts: row.hosts.clone() })
    }

    fn open_of_operator(&self, name: &str) -> Result<OpenSecret> {
        let given =
            self.state.read().given.iter().find(|(known, _)| known == name).map(|(_, secret)| secret.clone());
        given.map_or_else(|| self.open(None, name), Ok)
    }

    fn redact(&self, text: &str) -> Option<String> {
        let redactor = self.state.read().redactor.read().clone();
        redactor.redact(text)
    }
}

impl State {
    fn opens(&self, row: &StoredSecret) -> bool {
        self.keys.as_ref().is_ok_and(|keys| keys.opens(row))
    }

    /// The one that seals.
    fn key(&self) -> Result<&Key> {
        self.keys()?.first().ok_or_else(no_key)
    }

    fn keys(&self) -> Result<&Keys> {
        match &self.keys {
            Ok(keys) if keys.first().is_some() => Ok(keys),
            Ok(_) => Err(no_key()),
            Err(refusal) => Err(refusal.again()),
        }
    }

    /// Makes the key at the first use. With rows that another key sealed a fresh key would hide that theirs is
    /// lost, so then the key must come back first, or they must go.
    fn need_key(&mut self, folder: &DataDir, env: &Env) -> Result<()> {
        if self.keys.as_ref().is_ok_and(|keys| keys.first().is_none()) && self.rows.is_empty() {
            self.keys = Ok(Keys::make(folder, env)?);
        }
        self.key().map(drop)
    }

    fn renew(&mut self) -> Result<()> {
        let fresh = redactor(&self.rows, &self.given, self.keys.as_ref().ok())?;
        *self.redactor.write() = Arc::new(fresh);
        Ok(())
    }
}

fn no_key() -> Error {
    Error::new(&code::KEY, "the file `secret.key` is missing from the data folder")
        .help("put it back from the backup; without it the stored secrets stay sealed")
}

/// Knows every value that can be opened, also of secrets that nothing has used yet: an echo may come from anywhere.
fn redactor(
    rows: &BTreeMap<String, StoredSecret>,
    given: &[(String, OpenSecret)],
    keys: Option<&Keys>,
) -> Result<Redactor> {
    let mut values: Vec<SecretText> = given.iter().map(|(_, secret)| secret.value.clone()).collect();
    // Without any key nothing can be opened and nothing can be sent, so nothing can come back.
    let keys = keys.filter(|keys| keys.first().is_some());
    for (keys, row) in keys.iter().flat_map(|keys| rows.values().map(move |row| (keys, row))) {
        match keys.open(row) {
            Ok(value) => values.push(value),
            Err(error) => log::error!("{error}"),
        }
    }
    Redactor::new(values.iter().map(SecretText::reveal))
}

fn info(row: &StoredSecret, is_readable: bool) -> SecretInfo {
    SecretInfo {
        name: row.name.clone(),
        hosts: row.hosts.clone(),
        description: row.description.clone(),
        version: row.version,
        created_at: row.created_at,
        updated_at: row.updated_at,
        is_readable,
        owner: row.possession().owner,
    }
}
