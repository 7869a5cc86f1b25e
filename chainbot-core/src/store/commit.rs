//! Changes of derived tables that belong to no run, committed and waited for.

use tokio::sync::oneshot;

use crate::error::code::general;
use crate::error::{Error, Result};
use crate::id::RunId;
use crate::port::{Batch, Op, Store};

/// Makes the changes in one transaction and waits until that is on disk. Dropping the future undoes nothing.
pub async fn commit(store: &dyn Store, ops: Vec<Op>) -> Result<()> {
    commit_then(store, ops, |_| {}).await
}

/// What became of changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Landed {
    /// They are on disk.
    OnDisk,
    /// Nothing of them is stored.
    Never,
}

/// As [`commit`]; `then` is called when the changes are on disk or never will be, also when the future was dropped. Must not
/// block. When they could not even be queued it is dropped without being called.
pub async fn commit_then(
    store: &dyn Store,
    ops: Vec<Op>,
    then: impl FnOnce(Landed) + Send + 'static,
) -> Result<()> {
    let (done, waits) = oneshot::channel();
    store.submit(Batch {
        run: RunId::from([0; 16]),
        records: Vec::new(),
        ops,
        ack: Box::new(move |result| {
            then(if result.is_ok() { Landed::OnDisk } else { Landed::Never });
            // Nobody may be waiting any more; the change is made all the same.
            let _ = done.send(result.map(|_| ()));
        }),
    })?;
    match waits.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            let again = Error::new(error.code(), error.message());
            Err(match error.remedy() {
                Some(remedy) => again.help(remedy),
                None => again,
            })
        }
        Err(_) => Err(Error::new(&general::STOPPING, "ChainBot stopped before the change was on disk")),
    }
}
