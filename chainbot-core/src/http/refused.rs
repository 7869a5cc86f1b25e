//! Refused requests in the audit log: counted, and written down seldom, so that strangers cannot fill the disk with them.

use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;

use crate::env::Env;
use crate::limits::AUDIT_REFUSALS_EVERY_S;
use crate::port::{Action, Actor};
use crate::runtime::{Deed, Handle, Who};

/// Counts refusals.
#[derive(Default)]
pub struct Refused(Mutex<Count>);

#[derive(Default)]
struct Count {
    since: u64,
    written: Option<Duration>,
}

impl Refused {
    /// One more. `why` and `peer` are of this one; what is written says how many there were.
    pub fn note(&self, handle: Option<&Handle>, env: &Env, request: &str, why: &str, peer: &str) {
        let now = env.monotonic();
        let count = {
            let mut count = self.0.lock();
            count.since += 1;
            if count
                .written
                .is_some_and(|at| now.saturating_sub(at) < Duration::from_secs(AUDIT_REFUSALS_EVERY_S))
            {
                return;
            }
            count.written = Some(now);
            std::mem::take(&mut count.since)
        };
        let Some(handle) = handle else { return };
        let who = Who { actor: Actor::Stranger, request: Some(request.to_owned()) };
        let deed = Deed::new(Action::RequestRefused, "api", "credential")
            .with(json!({ "count": count, "newest_from": super::request::printable(peer), "newest": why }));
        handle.write_down(deed.by(who, env.now()));
    }
}
