//! Who may see an event: the one place that is asked, for streams and sockets alike.

use std::sync::Arc;

use super::event::{Event, READ};
use crate::auth::{Accounts, Who};
use crate::http::engine::scope_of;

/// What somebody may see.
#[derive(Clone)]
pub struct Sight {
    accounts: Arc<Accounts>,
    who: Arc<Who>,
}

impl Sight {
    /// Of somebody who may listen.
    pub fn new(accounts: Arc<Accounts>, who: Arc<Who>) -> Self {
        Self { accounts, who }
    }

    /// Who it is.
    pub fn who(&self) -> &Arc<Who> {
        &self.who
    }

    /// Whether the client may still listen: logins end and roles change while a stream is open.
    pub fn is_current(&self) -> bool {
        self.accounts.is_current(&self.who)
    }

    /// Whether this event is for them. Whose a record is has been asked before, by the subscription.
    pub fn sees(&self, event: &Event) -> bool {
        if event.needs_all && !scope_of(&self.who).is_whole() {
            return false;
        }
        if event.of.is_some_and(|of| !scope_of(&self.who).sees(&of)) {
            return false;
        }
        event.need == READ || self.who.may(self.accounts.access(), event.need, None).is_ok()
    }
}
