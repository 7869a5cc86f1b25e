//! Refused requests in the audit log: counted, and written down seldom, so that strangers cannot fill the disk with them.

use std::time::Duration;

use serde_json::json;

use crate::auth::Seldom;
use crate::env::Env;
use crate::limits::AUDIT_REFUSALS_EVERY_S;
use crate::port::{Action, Actor};
use crate::runtime::{Deed, Handle, Who};

/// Counts refusals.
pub struct Refused(Seldom);

impl Default for Refused {
    fn default() -> Self {
        Self(Seldom::new(Duration::from_secs(AUDIT_REFUSALS_EVERY_S)))
    }
}

impl Refused {
    /// One more. `why` and `peer` are of this one; what is written says how many there were.
    pub fn note(&self, handle: Option<&Handle>, env: &Env, request: &str, why: &str, peer: &str) {
        let Some(count) = self.0.one_more(env.monotonic()) else { return };
        let Some(handle) = handle else { return };
        let who = Who { actor: Actor::Stranger, request: Some(request.to_owned()) };
        let deed = Deed::new(Action::RequestRefused, "api", "credential")
            .with(json!({ "count": count, "newest_from": super::request::printable(peer), "newest": why }));
        handle.write_down(deed.by(who, env.now()));
    }
}
