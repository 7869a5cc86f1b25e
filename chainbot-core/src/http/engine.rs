//! The runtime behind a door: a request gets it for whoever sent it, and there is no other way to it.
//!
//! Invariant: the engine without a scope is private to this file. What is not anybody's (counts, health) is asked through
//! [`Engine::machine`], which hands out nothing that belongs to somebody.

use std::sync::Arc;

use super::backend::Backend;
use super::guard::Caller;
use crate::auth::Who;
use crate::error::code::general;
use crate::error::{Error, Result};
use crate::port::Scope;
use crate::runtime::{Counts, Handle};

/// The runtime, not yet for anybody.
pub struct Engine(Arc<dyn Backend>);

/// The runtime for whoever sent a request.
pub struct Asked(Arc<dyn Backend>);

impl std::ops::Deref for Asked {
    type Target = dyn Backend;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl Asked {
    /// To be kept beyond the request's handler.
    pub fn shared(&self) -> Arc<dyn Backend> {
        self.0.clone()
    }

    /// What people do with runs, and versions.
    pub fn people(&self) -> Result<&Handle> {
        self.0.handle().ok_or_else(|| {
            Error::new(&general::NOT_HERE, "this engine does not offer it").help("use a runtime with a store")
        })
    }
}

impl Engine {
    /// Puts it behind the door.
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        Self(backend)
    }

    /// For whoever sent a request. A stranger gets nothing of anybody's.
    pub fn of(&self, caller: Option<&Caller>) -> Result<Asked> {
        let scope = match caller {
            Some(Caller::Known(who)) => scope_of(who),
            // The signature over the body is the credential, and the hook's alone: nothing else is asked for by one.
            Some(Caller::Hook) => Scope::All,
            Some(Caller::Anyone | Caller::Socket) | None => {
                return Err(Error::new(&general::INTERNAL, "a stranger's request came to the engine"));
            }
        };
        Ok(Asked(self.0.of(scope)))
    }

    /// For somebody who has said who it is after the request.
    pub fn of_known(&self, who: &Who) -> Asked {
        Asked(self.0.of(scope_of(who)))
    }

    /// What belongs to nobody.
    pub fn machine(&self) -> Machine<'_> {
        Machine(&*self.0)
    }
}

/// What somebody sees.
pub fn scope_of(who: &Who) -> Scope {
    match who.user {
        None => Scope::All,
        Some(user) => Scope::Of { user: Some(user), role: who.role },
    }
}

/// The machine's own figures.
pub struct Machine<'a>(&'a dyn Backend);

impl<'a> Machine<'a> {
    /// How much there is.
    pub fn counts(&self) -> Counts {
        self.0.counts()
    }

    /// Where refusals of strangers are written down.
    pub fn audit(&self) -> Option<&'a Handle> {
        self.0.handle()
    }
}
