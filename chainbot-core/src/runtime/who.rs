//! Who asks: known for as long as a request is worked on, so that what it changes is written down with it.
//!
//! The face of a request ([`acting`]) says it once; the places that change something ask for the row that goes into the same
//! transaction ([`written_down`]). What the machine does by itself has nobody, and no row: the journal tells of that.

use std::future::Future;

use serde_json::Value;

use crate::limits;
use crate::port::{Action, Actor, AuditEntry, Op};
use crate::time::Timestamp;

tokio::task_local! {
    static WHO: Who;
}

/// Who asks, and by which request.
#[derive(Clone, Debug)]
pub struct Who {
    /// Who.
    pub actor: Actor,
    /// The request's id.
    pub request: Option<String>,
}

impl Who {
    /// Who asks here; nobody outside of a request.
    pub fn now() -> Option<Self> {
        WHO.try_with(Clone::clone).ok()
    }
}

/// Does something for somebody.
pub async fn acting<T>(who: Who, work: impl Future<Output = T>) -> T {
    WHO.scope(who, work).await
}

/// What was done, on what.
pub struct Deed {
    /// What.
    pub action: Action,
    /// On what sort of thing.
    pub target: &'static str,
    /// On which.
    pub id: String,
    /// blake3 of it before and after.
    pub hashes: (Option<[u8; 32]>, Option<[u8; 32]>),
    /// More. Never a secret.
    pub meta: Value,
}

impl Deed {
    /// Without hashes and more.
    pub fn new(action: Action, target: &'static str, id: impl ToString) -> Self {
        Self { action, target, id: id.to_string(), hashes: (None, None), meta: Value::Null }
    }

    /// With what it was and what it is.
    #[must_use]
    pub fn from_to(mut self, before: Option<[u8; 32]>, after: Option<[u8; 32]>) -> Self {
        self.hashes = (before, after);
        self
    }

    /// With more.
    #[must_use]
    pub fn with(mut self, meta: Value) -> Self {
        self.meta = meta;
        self
    }

    /// As it is written down.
    pub fn by(self, who: Who, at: Timestamp) -> AuditEntry {
        let meta = match &self.meta {
            Value::Null => None,
            meta => Some(meta.to_string()),
        };
        // A reason or a name that is longer says no more of who did what.
        let meta = meta.map(|text| match text.len() <= limits::AUDIT_META_BYTES_MAX {
            true => text,
            false => serde_json::json!({ "omitted_bytes": text.len() }).to_string(),
        });
        let (before, after) = self.hashes;
        AuditEntry {
            at,
            action: self.action,
            actor: who.actor,
            target: self.target,
            target_id: self.id,
            request: who.request,
            before,
            after,
            meta,
        }
    }
}

/// The row about something that is done here; none when nobody asked for it.
pub fn written_down(at: Timestamp, deed: Deed) -> Option<Op> {
    Who::now().map(|who| Op::Audit(Box::new(deed.by(who, at))))
}
