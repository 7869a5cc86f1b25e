//! Secrets as a file of their own, from one machine to another: sealed under a passphrase, and sealed anew where they arrive.
//!
//! ```text
//! chainbot-secrets 1 <blake3 of the rest, in hex>
//! { "format": 1, "argon2id": …, "salt": …, "nonce": …, "sealed": … }
//! ```
//!
//! The first line tells a damaged file from a wrong passphrase, and a later form from a damaged one. Everything is checked before
//! anything is changed, and all that is changed is one transaction, with a row of the audit log for each secret. There is no route
//! for either way, because the API never gives a value back: whoever exports holds the data folder.

use std::collections::{BTreeMap, BTreeSet};

use super::{Vault, check_description, check_name, check_value, read_hosts};
use crate::error::code::{account, general, secret as code, store};
use crate::error::{Error, Result, similar};
use crate::id::UserId;
use crate::limits::{SECRETS_EXPORT_BYTES_MAX, SECRETS_MAX};
use crate::port::{Action, Actor, Op, SecretText, StoredSecret};
use crate::runtime::{Deed, Who};
use crate::secret::export::{Item, check_passphrase, open_items, seal_items};
use crate::store::commit;

/// What the first line begins with.
const MAGIC: &str = "chainbot-secrets";
/// Of the file; a later one is refused.
const FORMAT: u32 = 1;
/// What the sealed bytes belong to.
const BOUND: &str = "a file of their own";
/// Names that a message shows.
const SHOWN_MAX: usize = 5;

/// How secrets are brought in.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// Whether those of the same name become a new version; otherwise nothing is brought in.
    pub is_replacing: bool,
    /// Whose those become whose owner is no user here: a user's name, or `local`. Without it nothing is brought in.
    pub owner: Option<String>,
}

/// What was brought in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brought {
    /// Names that were not there.
    pub added: Vec<String>,
    /// Names that have a new version.
    pub replaced: Vec<String>,
}

impl Vault {
    /// All secrets, sealed under a passphrase, as the bytes of a file; and how many there are. Written down before this returns.
    pub async fn export(&self, passphrase: &SecretText) -> Result<(Vec<u8>, usize)> {
        check_passphrase(passphrase)?;
        let _turn = self.changes.lock().await;
        let items = {
            let state = self.state.read();
            if state.rows.is_empty() {
                return Err(Error::new(&code::NOT_FOUND, "there are no secrets to export")
                    .help("look with `chainbot secret list` whether this is the right data folder"));
            }
            let keys = state.keys()?;
            let opened = state.rows.values().map(|row| Ok(Item::of(row, &keys.open(row)?)));
            opened.collect::<Result<Vec<_>>>()?
        };
        let sealed = seal_items(&items, passphrase, BOUND, &self.env)?;
        let rows = items.iter().map(|item| {
            let meta = serde_json::json!({ "version": item.version });
            self.row(Deed::new(Action::SecretExport, "secret", &item.name).with(meta))
        });
        commit(self.store.as_ref(), rows.collect()).await?;
        let head = format!("{MAGIC} {FORMAT} {}\n", blake3::hash(&sealed).to_hex());
        Ok(([head.as_bytes(), &sealed, b"\n"].concat(), items.len()))
    }

    /// Brings in what [`export`](Self::export) made, sealed with the key of this folder. All of it or nothing; on disk when this
    /// returns.
    pub async fn import(&self, bytes: &[u8], passphrase: &SecretText, how: &Import) -> Result<Brought> {
        let items = open_items(body(bytes)?, passphrase, BOUND, &|what| unreadable(what))?;
        let items = items.into_iter().map(checked).collect::<Result<Vec<_>>>()?;
        let names: BTreeSet<&str> = items.iter().map(|item| item.name.as_str()).collect();
        if names.len() != items.len() {
            return Err(unreadable("a name is in it twice"));
        }
        let orphans = Orphans::of(self, how)?;
        let _turn = self.changes.lock().await;
        let (rows, brought) = {
            let mut state = self.state.write();
            let (known, new): (Vec<&Item>, Vec<&Item>) =
                items.iter().partition(|item| state.rows.contains_key(&item.name));
            if !known.is_empty() && !how.is_replacing {
                let message = format!("there are secrets of the same name here: {}", some(&known));
                return Err(Error::new(&code::TAKEN, message)
                    .help("with --replace they become new versions of those; nothing was changed"));
            }
            if state.rows.len() + new.len() > SECRETS_MAX {
                return Err(Error::new(&general::BUSY, format!("{SECRETS_MAX} secrets are the bound"))
                    .help("remove those that nothing uses; nothing was changed"));
            }
            orphans.check(&new)?;
            state.need_key(&self.folder, &self.env)?;
            let now = self.env.now();
            let row = |item: &Item| {
                let mut row = item.clone();
                match state.rows.get(&item.name) {
                    // It stays its owner's, as with any other new version.
                    Some(before) => {
                        row.owner.clone_from(&before.owner);
                        row.version = before.version.saturating_add(1);
                        row.created_at = before.created_at;
                    }
                    None => row.owner = orphans.owner(item),
                }
                row.updated_at = now;
                row.sealed(state.key()?, &self.env)
            };
            let rows = items.iter().map(row).collect::<Result<Vec<StoredSecret>>>()?;
            let names = |items: &[&Item]| items.iter().map(|item| item.name.clone()).collect();
            (rows, Brought { added: names(&new), replaced: names(&known) })
        };
        let ops = rows.iter().flat_map(|row| {
            let meta = serde_json::json!({ "version": row.version, "hosts": row.hosts });
            let deed = Deed::new(Action::SecretImport, "secret", &row.name).with(meta);
            [Op::SecretPut(Box::new(row.clone())), self.row(deed)]
        });
        commit(self.store.as_ref(), ops.collect()).await?;
        let mut state = self.state.write();
        state.rows.extend(rows.into_iter().map(|row| (row.name.clone(), row)));
        state.renew()?;
        Ok(brought)
    }

    /// By whoever asks; outside of a request that is whoever holds the data folder.
    fn row(&self, deed: Deed) -> Op {
        let who = Who::now().unwrap_or(Who { actor: Actor::Local, request: None });
        Op::Audit(Box::new(deed.by(who, self.env.now())))
    }
}

/// Secrets of users who are not here, and whose they become.
struct Orphans {
    users: BTreeMap<String, UserId>,
    heir: Option<Option<UserId>>,
}

impl Orphans {
    fn of(vault: &Vault, how: &Import) -> Result<Self> {
        let users: BTreeMap<String, UserId> =
            vault.store.accounts()?.users.into_iter().map(|user| (user.name, user.id)).collect();
        let heir = match how.owner.as_deref() {
            None => None,
            Some("local") => Some(None),
            Some(name) => Some(Some(*users.get(name).ok_or_else(|| {
                let shown: String = name.chars().filter(|c| !c.is_control()).take(63).collect();
                let error = Error::new(&account::NOT_FOUND, format!("there is no user `{shown}`"));
                match similar(name, users.keys().map(String::as_str)) {
                    Some(meant) => error.help(format!("did you mean `{meant}`?")),
                    None => error.help("`chainbot user list` shows those there are; `local` is the operator"),
                }
            })?)),
        };
        Ok(Self { users, heir })
    }

    fn is_here(&self, item: &Item) -> bool {
        self.users.values().any(|user| StoredSecret::owner_of(Some(*user)) == item.owner)
            || item.owner == StoredSecret::owner_of(None)
    }

    /// Refuses those that would be nobody's. They do not become the operator's by themselves, because everybody's workflows use those.
    fn check(&self, new: &[&Item]) -> Result<()> {
        let orphans: Vec<&Item> = new.iter().copied().filter(|item| !self.is_here(item)).collect();
        if orphans.is_empty() || self.heir.is_some() {
            return Ok(());
        }
        let message = format!("their owners are no users here: {}", some(&orphans));
        Err(Error::new(&code::TAKEN, message)
            .help("say with --owner whose they become; `local` is the operator, whose secrets everybody's workflows use. Nothing was changed"))
    }

    fn owner(&self, item: &Item) -> String {
        match self.heir {
            Some(heir) if !self.is_here(item) => StoredSecret::owner_of(heir),
            _ => item.owner.clone(),
        }
    }
}

/// What the first line promises.
fn body(bytes: &[u8]) -> Result<&[u8]> {
    // The first line and the last line break come on top.
    if bytes.len() as u64 > SECRETS_EXPORT_BYTES_MAX + 128 {
        return Err(unreadable("it is longer than one may be"));
    }
    let end = bytes.iter().position(|byte| *byte == b'\n').filter(|end| *end <= 127);
    let (line, rest) = bytes.split_at(end.ok_or_else(|| unreadable("it has no first line"))?);
    let line = std::str::from_utf8(line).map_err(|_| unreadable("its first line is no text"))?;
    let mut words = line.split(' ');
    let (magic, format, hash, more) = (words.next(), words.next(), words.next(), words.next());
    let format: Option<u32> = format.and_then(|text| text.parse().ok());
    match (magic, format, hash, more) {
        (Some(MAGIC), Some(format), _, _) if format > FORMAT => {
            let message =
                format!("it has form {format}, and this ChainBot ({}) reads up to {FORMAT}", crate::VERSION);
            Err(Error::new(&store::NEWER, message)
                .help("import it with the ChainBot that made it, or a later one"))
        }
        (Some(MAGIC), Some(FORMAT), Some(hash), None) => {
            let rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            let rest = rest.strip_suffix(b"\n").ok_or_else(|| unreadable("its end is missing"))?;
            match blake3::hash(rest).to_hex().as_str() == hash {
                true => Ok(rest),
                false => Err(unreadable("it was cut short or changed")),
            }
        }
        _ => Err(unreadable("it does not begin as one")),
    }
}

fn unreadable(what: &str) -> Error {
    Error::new(&code::EXPORTED, format!("that is no file of exported secrets, or a damaged one: {what}"))
        .help("copy it again, or export again with `chainbot secret export`; nothing was changed")
}

/// As `set` would take it.
fn checked(mut item: Item) -> Result<Item> {
    check_name(&item.name)?;
    check_value(&item.value)?;
    check_description(item.description.as_deref())?;
    item.hosts = read_hosts(&item.hosts)?;
    Ok(item)
}

fn some(items: &[&Item]) -> String {
    let shown: Vec<&str> = items.iter().take(SHOWN_MAX).map(|item| item.name.as_str()).collect();
    let more = items.len().saturating_sub(SHOWN_MAX);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", shown.join(", "))
}
