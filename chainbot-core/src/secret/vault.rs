//! The vault: all rows in memory, sealed; changed through the store, one change after another.
//!
//! Rows are read once, because one process owns the data folder. Opening a secret is a few microseconds of
//! decryption and touches no disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::key::Key;
use super::name::{check_description, check_name, check_value, read_hosts};
use super::redact::Redactor;
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

/// All secrets of a data folder.
pub struct Vault {
    store: Arc<dyn Store>,
    folder: Arc<DataDir>,
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
    key: std::result::Result<Option<Key>, Refusal>,
    redactor: Redactor,
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
        {
            let mut state = self.state.write();
            state.given = given;
            state.renew()?;
        }
        Ok(self)
    }

    /// Reads the rows and the key. A key that is missing or wrong is told in the log and at each use.
    pub fn open<S: Store + SecretRows + 'static>(
        store: Arc<S>,
        folder: Arc<DataDir>,
        env: Env,
    ) -> Result<Self> {
        let rows: BTreeMap<_, _> = store.secrets()?.into_iter().map(|row| (row.name.clone(), row)).collect();
        let key = Key::read(&folder).map_err(Refusal);
        if let Err(refusal) = &key {
            log::error!("secrets cannot be used: {}", refusal.0);
        }
        let redactor = redactor(&rows, &[], key.as_ref().ok().and_then(Option::as_ref))?;
        let state = RwLock::new(State { given: Vec::new(), rows, key, redactor });
        Ok(Self { store, folder, env, state, changes: tokio::sync::Mutex::default() })
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
        Ok(OpenSecret { value: seal::open(state.key()?, row)?, hosts: row.hosts.clone() })
    }

    fn open_of_operator(&self, name: &str) -> Result<OpenSecret> {
        let given =
            self.state.read().given.iter().find(|(known, _)| known == name).map(|(_, secret)| secret.clone());
        given.map_or_else(|| self.open(name), Ok)
    }

    fn redact(&self, text: &str) -> Option<String> {
        self.state.read().redactor.redact(text)
    }
}

impl State {
    fn opens(&self, row: &StoredSecret) -> bool {
        matches!(&self.key, Ok(Some(key)) if key.id == row.key_id)
    }

    fn key(&self) -> Result<&Key> {
        match &self.key {
            Ok(Some(key)) => Ok(key),
            Ok(None) => Err(Error::new(&code::KEY, "the file `secret.key` is missing from the data folder")
                .help("put it back from the backup; without it the stored secrets stay sealed")),
            Err(refusal) => Err(refusal.again()),
        }
    }

    /// Makes the key at the first use. With rows that another key sealed a fresh key would hide that theirs is
    /// lost, so then the key must come back first, or they must go.
    fn need_key(&mut self, folder: &DataDir, env: &Env) -> Result<()> {
        if matches!(self.key, Ok(None)) && self.rows.is_empty() {
            self.key = Ok(Some(Key::make(folder, env)?));
        }
        self.key().map(drop)
    }

    fn renew(&mut self) -> Result<()> {
        self.redactor = redactor(&self.rows, &self.given, self.key.as_ref().ok().and_then(Option::as_ref))?;
        Ok(())
    }
}

/// Knows every value that can be opened, also of secrets that nothing has used yet: an echo may come from anywhere.
fn redactor(
    rows: &BTreeMap<String, StoredSecret>,
    given: &[(String, OpenSecret)],
    key: Option<&Key>,
) -> Result<Redactor> {
    let mut values: Vec<SecretText> = given.iter().map(|(_, secret)| secret.value.clone()).collect();
    for (key, row) in key.iter().flat_map(|key| rows.values().map(move |row| (key, row))) {
        match seal::open(key, row) {
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
