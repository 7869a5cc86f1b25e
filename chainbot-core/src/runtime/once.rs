//! What a request makes besides runs and workflows, once for a key: users, tokens, backups.
//!
//! Whoever holds a [`Held`] is alone with its key until it is dropped. What is made goes to disk together with the key where one
//! store has both, and before it elsewhere: a cut in between leaves a thing without its key, never a key without its thing.

use tokio::sync::MutexGuard;

use super::handle::Handle;
use crate::error::Result;
use crate::port::{Idempotency, Op};

/// What a key finds.
pub enum Once<'a> {
    /// The same request came before, and made this: 16 bytes that name it.
    Before([u8; 16]),
    /// It is new.
    New(Held<'a>),
}

/// A key that nobody else uses meanwhile.
pub struct Held<'a> {
    key: Idempotency,
    _alone: MutexGuard<'a, ()>,
}

impl Held<'_> {
    /// Keeps what was made, in the transaction that this goes with.
    pub fn op(&self, made: [u8; 16]) -> Op {
        Op::KeyKeep { key: Box::new(self.key.clone()), made }
    }
}

impl Handle {
    /// Looks a key up. `kind`: of what is made, so that one key of somebody serves each; `request`: what must be the same in a
    /// repeat, without anything secret, for a digest of it is kept. CB-0010 when the key came with another request.
    pub async fn once(&self, kind: &str, key: &str, request: &str) -> Result<Once<'_>> {
        self.0.check_open()?;
        let at = self.0.aged(self.0.env.now());
        let digest = *blake3::hash(request.as_bytes()).as_bytes();
        let key = Idempotency { by: self.scope().user(), key: format!("{kind} {key}"), digest, at };
        let alone = self.0.lock_key(&key.key).await;
        Ok(match self.0.replayed(&key).await? {
            Some(made) => Once::Before(made),
            None => Once::New(Held { key, _alone: alone }),
        })
    }

    /// Keeps what a key made, where that is not in this store.
    pub async fn keep_key(&self, held: &Held<'_>, made: [u8; 16]) -> Result<()> {
        self.0.write(vec![held.op(made)]).await
    }
}
