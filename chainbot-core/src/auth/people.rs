//! Users: made, changed and removed by admins; passwords changed by themselves, or on the machine itself.

use super::accounts::Accounts;
use super::act::Act;
use super::password::{self, Checked};
use super::who::{Via, Who};
use crate::error::code::account as code;
use crate::error::{Error, Result};
use crate::id::UserId;
use crate::limits::{ACCOUNT_NAME_BYTES_MAX, USERS_MAX};
use crate::port::{AccountOp, Action, HashText, Op, Role, SecretText, StoredUser};

/// How a new user comes in.
pub enum Credential {
    /// By this password.
    Password(SecretText),
    /// By the password that this bcrypt hash is of.
    Bcrypt(String),
}

/// A user to be made.
pub struct NewUser {
    /// In any case; kept in lower case.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// How the user comes in.
    pub credential: Credential,
}

/// What changes of a user.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UserChange {
    /// Another role.
    pub role: Option<Role>,
    /// Whether the user may come in.
    pub is_active: Option<bool>,
}

impl Accounts {
    /// All users, by name.
    pub fn users(&self) -> Vec<StoredUser> {
        let mut all = self.state.read().users.clone();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Makes a user. `key`: keeps the request's, with the id of what is made.
    pub async fn add_user(
        &self,
        who: &Who,
        new: NewUser,
        key: Option<impl FnOnce([u8; 16]) -> Op>,
    ) -> Result<StoredUser> {
        let name = check_name(&new.name)?;
        let hashed = match new.credential {
            Credential::Password(password) => {
                password::check_new(password.reveal(), &name, self.rules.password_chars_min)?;
                self.hash(password).await?
            }
            Credential::Bcrypt(text) => {
                password::check_bcrypt(&text)?;
                HashText(text)
            }
        };
        let turn = self.turn().await;
        let count = self.state.read().users.len();
        if count >= USERS_MAX {
            return Err(value(&format!("there are {USERS_MAX} users, which is the bound"), "remove some"));
        }
        if count == 0 && new.role != Role::Admin {
            return Err(value("the first user must be an admin", "give it the role `admin`"));
        }
        let user = self.new_user(name, new.role, hashed);
        let act = Act::new(Action::UserCreate, &who.name, format!("{} ({})", user.name, user.role.as_str()));
        let key = key.map(|key| key(*user.id.as_bytes()));
        self.commit_with(turn, Some(act), vec![AccountOp::UserPut(user.clone())], key).await?;
        self.forget_setup();
        Ok(user)
    }

    /// Gives a user another role, or lets the user in or out. Who is let out has no login from then on.
    pub async fn change_user(&self, who: &Who, reference: &str, change: UserChange) -> Result<StoredUser> {
        let turn = self.turn().await;
        let mut user = self.user(reference)?;
        let before = (user.role, user.is_active);
        user.role = change.role.unwrap_or(user.role);
        user.is_active = change.is_active.unwrap_or(user.is_active);
        if before == (user.role, user.is_active) {
            return Ok(user);
        }
        if user.role != Role::Admin || !user.is_active {
            self.keep_an_admin(&user)?;
        }
        user.updated_at = self.env.now();
        let mut ops = vec![AccountOp::UserPut(user.clone())];
        if !user.is_active {
            ops.extend(self.logins_but(user.id, None));
        }
        let state = if user.is_active { "active" } else { "disabled" };
        let what = format!("{} ({}, {state})", user.name, user.role.as_str());
        self.commit(turn, Some(Act::new(Action::UserUpdate, &who.name, what)), ops).await?;
        Ok(user)
    }

    /// Removes a user with all logins and tokens.
    pub async fn remove_user(&self, who: &Who, reference: &str) -> Result<()> {
        let turn = self.turn().await;
        let user = self.user(reference)?;
        self.keep_an_admin(&user)?;
        let act = Act::new(Action::UserRemove, &who.name, &user.name);
        self.commit(turn, Some(act), vec![AccountOp::UserRemove { id: user.id }]).await
    }

    /// Gives a user a new password, whatever the old one was, and ends all logins.
    pub async fn reset_password(&self, who: &Who, reference: &str, new: SecretText) -> Result<StoredUser> {
        let user = self.user(reference)?;
        password::check_new(new.reveal(), &user.name, self.rules.password_chars_min)?;
        let hashed = self.hash(new).await?;
        self.put_password(who, user.id, hashed, None).await
    }

    /// Changes one's own password, and ends all other logins.
    pub async fn change_password(
        &self,
        who: &Who,
        current: SecretText,
        new: SecretText,
        address: &str,
    ) -> Result<StoredUser> {
        let user = self.own(who)?;
        let Via::Login(login) = who.via else { return Err(super::accounts::no_login()) };
        self.count_try(&user.name, address)?;
        password::check_new(new.reveal(), &user.name, self.rules.password_chars_min)?;
        let (known, slot, salt) = (user.password.clone(), self.hash_slot()?, self.env.bytes());
        let hashed = self
            .hashing(slot, move || match password::check(current.reveal(), &known)? {
                Checked::Wrong => Ok(None),
                _ => password::hash(new.reveal(), salt).map(Some),
            })
            .await?;
        let Some(hashed) = hashed else {
            self.refuse(&Act::new(Action::SignInRefused, address, format!("{} (own password)", user.name)));
            return Err(Error::new(&code::SIGN_IN, "the current password is wrong").help(
                "a password that is lost is set anew on the machine itself: `chainbot user password NAME`",
            ));
        };
        self.put_password(who, user.id, hashed, Some(login)).await
    }

    async fn put_password(
        &self,
        who: &Who,
        id: UserId,
        hashed: HashText,
        but: Option<crate::id::LoginId>,
    ) -> Result<StoredUser> {
        let turn = self.turn().await;
        let mut user = self.user(&id.to_string())?;
        (user.password, user.must_change, user.updated_at) = (hashed, false, self.env.now());
        let mut ops = vec![AccountOp::UserPut(user.clone())];
        ops.extend(self.logins_but(id, but));
        self.commit(turn, Some(Act::new(Action::UserPassword, &who.name, &user.name)), ops).await?;
        Ok(user)
    }

    pub(super) fn new_user(&self, name: String, role: Role, password: HashText) -> StoredUser {
        let now = self.env.now();
        StoredUser {
            id: self.env.user_id(),
            name,
            role,
            is_active: true,
            password,
            must_change: false,
            created_at: now,
            updated_at: now,
            seen_at: None,
        }
    }
}

/// A name in its kept form. What reads as an id is none, because users are known by both.
pub(super) fn check_name(name: &str) -> Result<String> {
    let name = name.to_lowercase();
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let first = name.bytes().next().is_some_and(is_plain);
    let rest = name.bytes().all(|b| is_plain(b) || b"._@-".contains(&b));
    if first
        && rest
        && name.len() <= ACCOUNT_NAME_BYTES_MAX
        && name.parse::<UserId>().is_err()
        && name != "local"
    {
        return Ok(name);
    }
    let shown: String = name.chars().filter(|c| !c.is_control()).take(63).collect();
    Err(value(
        &format!("`{shown}` cannot be the name of a user"),
        "use 1 to 63 of `a-z 0-9 . _ @ -`, and begin with a letter or a digit",
    ))
}

/// Something about an account that cannot be taken.
pub(super) fn value(message: &str, help: &str) -> Error {
    Error::new(&code::VALUE, message).help(help)
}
