//! The tables of accounts: users, logins with their spent refresh tokens, API tokens.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{remembered, workflow};
use crate::error::Result;
use crate::id::{LoginId, TokenId, UserId};
use crate::limits::REFRESH_SPENT_MAX;
use crate::port::{
    AccountOp, AccountRefusal, Digest, HashText, LoginKind, Role, SpentRefresh, StoredAccounts,
    StoredApiToken, StoredLogin, StoredUser,
};
use crate::store::problem;
use crate::time::Timestamp;

const USER_PUT: &str = "INSERT INTO account \
     (id, name, role, active, password, must_change, created_at, updated_at, seen_at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO UPDATE SET \
     name = excluded.name, role = excluded.role, active = excluded.active, password = excluded.password, \
     must_change = excluded.must_change, updated_at = excluded.updated_at, seen_at = excluded.seen_at";
const USER_NAMED: &str = "SELECT id FROM account WHERE name = ?1";
const USER_IS_THERE: &str = "SELECT EXISTS (SELECT 1 FROM account WHERE id = ?1)";
const USER_REMOVE: &str = "DELETE FROM account WHERE id = ?1";
const USERS: &str = "SELECT id, name, role, active, password, must_change, created_at, updated_at, seen_at \
     FROM account ORDER BY name";
const LOGIN_PUT: &str = "INSERT INTO login \
     (id, account, kind, refresh, created_at, seen_at, idle_until, expires_at, address, agent) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
const LOGIN_REFRESH: &str = "SELECT refresh FROM login WHERE id = ?1";
const LOGIN_ROTATE: &str = "UPDATE login SET refresh = ?2, seen_at = ?3, idle_until = ?4 WHERE id = ?1";
const LOGIN_END: &str = "DELETE FROM login WHERE id = ?1";
const LOGINS_END: &str = "DELETE FROM login";
const LOGINS: &str = "SELECT id, account, kind, refresh, created_at, seen_at, idle_until, expires_at, address, \
     agent FROM login ORDER BY id";
const SPEND: &str = "INSERT INTO login_spent (digest, login, at) VALUES (?1, ?2, ?3)";
const SPENT_PRUNE: &str = "DELETE FROM login_spent WHERE login = ?1 AND digest NOT IN \
     (SELECT digest FROM login_spent WHERE login = ?1 ORDER BY at DESC, digest LIMIT ?2)";
const SPENT: &str = "SELECT digest, login, at FROM login_spent ORDER BY digest";
const TOKEN_PUT: &str = "INSERT INTO api_token \
     (id, account, name, prefix, digest, scopes, created_at, expires_at, used_at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
const TOKEN_USED: &str = "UPDATE api_token SET used_at = ?2 WHERE id = ?1";
const TOKEN_REMOVE: &str = "DELETE FROM api_token WHERE id = ?1";
const TOKENS: &str = "SELECT id, account, name, prefix, digest, scopes, created_at, expires_at, used_at \
     FROM api_token ORDER BY id";

/// Why a change does not fit what is stored.
pub fn check(conn: &Connection, op: &AccountOp) -> rusqlite::Result<Option<AccountRefusal>> {
    let is_there = |id: &UserId| -> rusqlite::Result<bool> {
        conn.prepare_cached(USER_IS_THERE)?.query_row([id.as_bytes()], |row| row.get(0))
    };
    match op {
        AccountOp::UserPut(user) => {
            let owner: Option<[u8; 16]> =
                conn.prepare_cached(USER_NAMED)?.query_row([&user.name], |row| row.get(0)).optional()?;
            let is_taken = owner.is_some_and(|owner| owner != *user.id.as_bytes());
            Ok(is_taken.then(|| AccountRefusal::NameTaken(user.name.clone())))
        }
        AccountOp::LoginPut(StoredLogin { user, .. }) | AccountOp::TokenPut(StoredApiToken { user, .. }) => {
            Ok((!is_there(user)?).then_some(AccountRefusal::NoUser))
        }
        AccountOp::LoginRotate { id, from, .. } => {
            let good: Option<[u8; 32]> = conn
                .prepare_cached(LOGIN_REFRESH)?
                .query_row([id.as_bytes()], |row| row.get(0))
                .optional()?;
            Ok((good != Some(from.0)).then_some(AccountRefusal::Spent))
        }
        AccountOp::UserRemove { .. }
        | AccountOp::LoginEnd { .. }
        | AccountOp::TokenUsed { .. }
        | AccountOp::TokenRemove { .. } => Ok(None),
    }
}

/// Makes a change that was checked.
pub fn apply(conn: &Connection, op: &AccountOp) -> rusqlite::Result<()> {
    match op {
        AccountOp::UserPut(user) => conn.prepare_cached(USER_PUT)?.execute(params![
            user.id.as_bytes(),
            user.name,
            user.role.as_str(),
            user.is_active,
            user.password.0,
            user.must_change,
            user.created_at.0,
            user.updated_at.0,
            user.seen_at.map(|at| at.0)
        ])?,
        AccountOp::UserRemove { id } => {
            workflow::give_back(conn, *id)?;
            remembered::give_back(conn, *id)?;
            conn.prepare_cached(USER_REMOVE)?.execute([id.as_bytes()])?
        }
        AccountOp::LoginPut(login) => conn.prepare_cached(LOGIN_PUT)?.execute(params![
            login.id.as_bytes(),
            login.user.as_bytes(),
            login.kind.as_str(),
            login.refresh.0,
            login.created_at.0,
            login.seen_at.0,
            login.idle_until.0,
            login.expires_at.0,
            login.address,
            login.agent
        ])?,
        AccountOp::LoginRotate { id, from, to, at, idle_until } => {
            conn.prepare_cached(SPEND)?.execute(params![from.0, id.as_bytes(), at.0])?;
            conn.prepare_cached(SPENT_PRUNE)?.execute(params![id.as_bytes(), REFRESH_SPENT_MAX])?;
            conn.prepare_cached(LOGIN_ROTATE)?.execute(params![id.as_bytes(), to.0, at.0, idle_until.0])?
        }
        AccountOp::LoginEnd { id } => conn.prepare_cached(LOGIN_END)?.execute([id.as_bytes()])?,
        AccountOp::TokenPut(token) => {
            // A list of text always encodes.
            let scopes = serde_json::Value::from(token.scopes.clone()).to_string();
            conn.prepare_cached(TOKEN_PUT)?.execute(params![
                token.id.as_bytes(),
                token.user.as_bytes(),
                token.name,
                token.prefix,
                token.digest.0,
                scopes,
                token.created_at.0,
                token.expires_at.0,
                token.used_at.map(|at| at.0)
            ])?
        }
        AccountOp::TokenUsed { id, at } => {
            conn.prepare_cached(TOKEN_USED)?.execute(params![id.as_bytes(), at.0])?
        }
        AccountOp::TokenRemove { id } => conn.prepare_cached(TOKEN_REMOVE)?.execute([id.as_bytes()])?,
    };
    Ok(())
}

/// Ends every login.
pub fn end_logins(conn: &Connection) -> rusqlite::Result<()> {
    conn.prepare_cached(LOGINS_END)?.execute([]).map(drop)
}

/// Everything.
pub fn all(conn: &Connection) -> Result<StoredAccounts> {
    Ok(StoredAccounts {
        users: rows(conn, USERS, user)?,
        logins: rows(conn, LOGINS, login)?,
        spent: rows(conn, SPENT, spent)?,
        tokens: rows(conn, TOKENS, token)?,
    })
}

/// What a row says; `None` when it says nothing that this version knows.
type Read<T> = rusqlite::Result<Option<T>>;

fn rows<T>(conn: &Connection, sql: &'static str, read: fn(&Row<'_>) -> Read<T>) -> Result<Vec<T>> {
    let mut statement = conn.prepare_cached(sql).map_err(problem::read)?;
    let mut rows = statement.query([]).map_err(problem::read)?;
    let mut out = Vec::new();
    while let Some(row) = rows.next().map_err(problem::read)? {
        let read = read(row).map_err(problem::read)?;
        out.push(read.ok_or_else(|| problem::corrupt_row("row", &"of the accounts"))?);
    }
    Ok(out)
}

fn at(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp)
}

fn user(row: &Row<'_>) -> Read<StoredUser> {
    let role: String = row.get(2)?;
    let Some(role) = Role::parse(&role) else { return Ok(None) };
    Ok(Some(StoredUser {
        id: UserId::from(row.get::<_, [u8; 16]>(0)?),
        name: row.get(1)?,
        role,
        is_active: row.get(3)?,
        password: HashText(row.get(4)?),
        must_change: row.get(5)?,
        created_at: at(row, 6)?,
        updated_at: at(row, 7)?,
        seen_at: row.get::<_, Option<i64>>(8)?.map(Timestamp),
    }))
}

fn login(row: &Row<'_>) -> Read<StoredLogin> {
    let kind: String = row.get(2)?;
    let Some(kind) = LoginKind::parse(&kind) else { return Ok(None) };
    Ok(Some(StoredLogin {
        id: LoginId::from(row.get::<_, [u8; 16]>(0)?),
        user: UserId::from(row.get::<_, [u8; 16]>(1)?),
        kind,
        refresh: Digest(row.get(3)?),
        created_at: at(row, 4)?,
        seen_at: at(row, 5)?,
        idle_until: at(row, 6)?,
        expires_at: at(row, 7)?,
        address: row.get(8)?,
        agent: row.get(9)?,
    }))
}

fn spent(row: &Row<'_>) -> Read<SpentRefresh> {
    Ok(Some(SpentRefresh {
        digest: Digest(row.get(0)?),
        login: LoginId::from(row.get::<_, [u8; 16]>(1)?),
        at: at(row, 2)?,
    }))
}

fn token(row: &Row<'_>) -> Read<StoredApiToken> {
    let scopes: String = row.get(5)?;
    let Ok(scopes) = serde_json::from_str(&scopes) else { return Ok(None) };
    Ok(Some(StoredApiToken {
        id: TokenId::from(row.get::<_, [u8; 16]>(0)?),
        user: UserId::from(row.get::<_, [u8; 16]>(1)?),
        name: row.get(2)?,
        prefix: row.get(3)?,
        digest: Digest(row.get(4)?),
        scopes,
        created_at: at(row, 6)?,
        expires_at: at(row, 7)?,
        used_at: row.get::<_, Option<i64>>(8)?.map(Timestamp),
    }))
}
