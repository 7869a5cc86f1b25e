//! A scope as SQL sees it: three bound values that every question about somebody's objects ends with.
//!
//! The texts say `?N OR owner IS ?N+1 OR shared <= ?N+2` over the workflow's row. With the first one true the rest is not looked at,
//! so whoever sees everything pays nothing for it. `crate::port::Scope::sees` is the same rule.

use rusqlite::{Connection, params};

use crate::error::Result;
use crate::id::RunId;
use crate::port::{Possession, Role, Scope};
use crate::store::problem;

const SEES_RUN: &str = "SELECT EXISTS (SELECT 1 FROM run r JOIN workflow w ON w.id = r.workflow \
     WHERE r.id = ?1 AND (w.owner IS ?2 OR w.shared <= ?3))";

/// The values, in the order of the texts.
pub struct Filter {
    /// Whether there is nothing to leave out.
    pub whole: bool,
    /// Who asks.
    pub user: Option<[u8; 16]>,
    /// What they may.
    pub role: u8,
}

/// Of a scope.
pub fn filter(scope: &Scope) -> Filter {
    let role = match scope {
        Scope::All => Role::Admin,
        Scope::Of { role, .. } => *role,
    };
    Filter { whole: scope.is_whole(), user: scope.user().map(|user| *user.as_bytes()), role: number(role) }
}

/// A role as its column holds it.
pub fn number(role: Role) -> u8 {
    match role {
        Role::Viewer => 0,
        Role::Operator => 1,
        Role::Editor => 2,
        Role::Admin => 3,
    }
}

/// The columns `owner` and `shared`, from the first one on.
pub fn read(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Possession> {
    let owner = row.get::<_, Option<[u8; 16]>>(first)?.map(Into::into);
    // The table takes no other numbers.
    let shared = row.get::<_, Option<u8>>(first + 1)?;
    let shared = shared.and_then(|number| Role::ALL.get(usize::from(number)).copied());
    Ok(Possession { owner, shared })
}

/// Whether a run is there for them. One that is not there at all is not.
pub fn sees_run(conn: &Connection, scope: &Scope, run: RunId) -> Result<bool> {
    let filter = filter(scope);
    if filter.whole {
        return Ok(true);
    }
    conn.prepare_cached(SEES_RUN)
        .and_then(|mut statement| {
            statement.query_row(params![run.as_bytes(), filter.user, filter.role], |row| row.get(0))
        })
        .map_err(problem::read)
}
