//! The one instance that `run` drives: every call goes through a gate, and the gate is closed before `cleanup`.
//!
//! The ABI says that no call may begin after `cleanup` was called and that `cleanup` overlaps no other call. Calls
//! come from the bus, the ingress and the health thread; the gate counts them, so that a closed gate with a
//! count of zero proves both.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use chainbot_abi::{Completion, Host, Status};
use serde_json::Value;

use crate::module::{CallError, Called, EventOut, Handle, HealthNow, Module, RequestOut};

/// An initialized instance of a module.
pub struct Instance {
    module: Arc<Module>,
    handle: Handle,
    gate: Gate,
}

impl Instance {
    /// Calls `initialize`.
    pub fn initialize(module: Arc<Module>, host: &'static Host, config: &str) -> Called<Self> {
        let handle = module.initialize(host, config)?;
        Ok(Self { module, handle, gate: Gate::default() })
    }

    /// Calls `start`. Only the control thread may.
    pub fn start(&self) -> Called {
        self.module.start(self.handle)
    }

    /// Calls `stop`. Only the control thread may.
    pub fn stop(&self, deadline: Duration) -> Called {
        self.module.stop(self.handle, u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX))
    }

    /// Whether it can hand over to another version.
    pub fn can_drain(&self) -> bool {
        self.module.can_drain(self.handle)
    }

    /// Brings it to rest. Only the control thread may, as for the next four.
    pub fn drain(&self, deadline: Duration) -> Called {
        self.module.drain_begin(self.handle, u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX))
    }

    /// Back to work.
    pub fn cancel_drain(&self) -> Called {
        self.module.drain_cancel(self.handle)
    }

    /// What the store does not hold.
    pub fn export(&self) -> Called<String> {
        self.module.export_state(self.handle)
    }

    /// What another version exported.
    pub fn import(&self, state: &str) -> Called {
        self.module.import_state(self.handle, state)
    }

    /// Another configuration.
    pub fn reconfigure(&self, config: &str) -> Called {
        self.module.reconfigure(self.handle, config)
    }

    /// The configuration in force: the value of each key. Empty when the module does not say.
    pub fn settings(&self) -> BTreeMap<String, Value> {
        let Ok(_pass) = self.gate.enter("reconfigure.snapshot") else { return BTreeMap::new() };
        let text = self.module.configuration(self.handle).and_then(Result::ok).unwrap_or_default();
        let document: Value = serde_json::from_str(&text).unwrap_or_default();
        let keys = document["keys"].as_object().into_iter().flatten();
        keys.map(|(key, setting)| (key.clone(), setting["value"].clone())).collect()
    }

    /// The figures; `None` when the module has none.
    pub fn metrics(&self) -> Option<Called<String>> {
        match self.gate.enter("metrics.snapshot") {
            Ok(_pass) => self.module.metrics(self.handle),
            Err(error) => Some(Err(error)),
        }
    }

    /// Lets no further call begin and waits until those under way have returned. `Err` is how many had not by then.
    pub fn close(&self, wait: Duration) -> Result<(), usize> {
        self.gate.close(wait)
    }

    /// Calls `cleanup`. Only the control thread may, after [`Instance::close`] succeeded.
    pub fn cleanup(&self) -> Called {
        self.module.cleanup(self.handle)
    }

    /// Calls `health`.
    pub fn health(&self) -> Called<HealthNow> {
        let _pass = self.gate.enter("health")?;
        self.module.health(self.handle)
    }

    /// Calls `handle_event`.
    pub fn handle_event(&self, event: &EventOut) -> Called {
        let _pass = self.gate.enter("handle_event")?;
        self.module.handle_event(self.handle, event)
    }

    /// Calls `handle_webhook`.
    pub fn handle_webhook(&self, request: &RequestOut, completion: Completion) -> Called {
        let _pass = self.gate.enter("handle_webhook")?;
        self.module.handle_webhook(self.handle, request, completion)
    }
}

/// Counts the calls under way. A std mutex with a condition variable: it is held for a few instructions, and the
/// closing thread must be able to wait with a deadline. It is never held during a call and takes no other lock.
#[derive(Default)]
struct Gate {
    calls: Mutex<Calls>,
    left: Condvar,
}

#[derive(Default)]
struct Calls {
    under_way: usize,
    closed: bool,
}

/// One call under way.
struct Pass<'a>(&'a Gate);

impl Gate {
    fn enter(&self, call: &'static str) -> Called<Pass<'_>> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.closed {
            let message = "the instance is being released".to_owned();
            return Err(CallError { call, status: Status::STATE, message });
        }
        calls.under_way += 1;
        Ok(Pass(self))
    }

    fn close(&self, wait: Duration) -> Result<(), usize> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.closed = true;
        let (calls, _) = self
            .left
            .wait_timeout_while(calls, wait, |calls| calls.under_way > 0)
            .unwrap_or_else(PoisonError::into_inner);
        if calls.under_way == 0 { Ok(()) } else { Err(calls.under_way) }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner).under_way -= 1;
        self.0.left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_gate_lets_no_call_in_and_counts_those_inside() {
        let gate = Gate::default();
        let pass = gate.enter("health").expect("open");
        assert_eq!(gate.close(Duration::ZERO), Err(1));
        assert_eq!(gate.enter("health").map(drop).unwrap_err().status, Status::STATE);
        drop(pass);
        assert_eq!(gate.close(Duration::ZERO), Ok(()));
    }
}
