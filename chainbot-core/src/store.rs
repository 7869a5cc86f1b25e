//! The durable store: the journal, the tables derived from it, and the folder they are in.
//!
//! A run's state is a fold over its journal records; every other table says what the journal says, only faster to find.
//! [`SqliteStore`] implements [`crate::port::Store`]: a batch is checked and encoded by its submitter ([`batch`],
//! [`codec`]), chained and committed with others by one thread ([`sqlite`]), and acknowledged when it is on disk. Each run's
//! records form a checksum chain ([`chain`]). [`check`] tests the invariants on a live store, [`DataDir`] keeps a
//! second process out.
//!
//! Knows nothing of definitions, steps or HTTP. All SQL of the core is here, as static text.

mod archive;
mod audit;
pub mod backup;
mod batch;
mod chain;
mod codec;
mod commit;
mod data_dir;
pub mod doctor;
mod invariants;
#[cfg(test)]
pub(crate) mod memory;
pub mod note;
mod places;
mod problem;
mod reserve;
mod sqlite;
mod wire;

#[cfg(test)]
pub(crate) mod tests;

pub use commit::{Landed, commit, commit_then};
pub use data_dir::{DataDir, Holder};
pub use invariants::{Violation, check, check_file};
pub use sqlite::{OpenOptions, SqliteStore, schema_version};

/// The audit log of a database file, beside whoever works on it.
pub struct AuditOfFile {
    /// What a look at all of it found.
    pub verdict: crate::port::AuditVerdict,
    /// The link of the row that was asked for.
    pub link: Option<Vec<u8>>,
}

/// Looks at all of the audit log of a database file, and at one row of it.
pub fn audit_of_file(path: &std::path::Path, seq: Option<i64>) -> crate::Result<AuditOfFile> {
    let conn = sqlite::connection::open_reader(path)?;
    let transaction = conn.unchecked_transaction().map_err(problem::read)?;
    let verdict = sqlite::audit::verify(&transaction).map_err(problem::read)?;
    let link = match seq {
        Some(seq) => sqlite::audit::link_of(&transaction, seq).map_err(problem::read)?,
        None => None,
    };
    Ok(AuditOfFile { verdict, link })
}
