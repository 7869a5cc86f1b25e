//! The extensions of a module, as safe methods: figures, hand-over, change of the configuration.
//!
//! `None` is a module without the extension; a table with a hole in it breaks the contract and is an error of the call.

use std::ffi::c_void;

use chainbot_abi::name::{EXT_DRAIN, EXT_METRICS, EXT_RECONFIGURE};
use chainbot_abi::{DrainExt, MetricsExt, ReconfigureExt, Status, Str};

use crate::module::{CallError, Called, Handle, Module};
use crate::wire::Collector;

fn hole(call: &'static str) -> CallError {
    let message = "the extension's table has a null in place of the function".to_owned();
    CallError { call, status: Status::INVALID, message }
}

impl Module {
    fn table<T>(&self, handle: Handle, id: &str) -> Option<&'static T> {
        let table: *const c_void = self.extension(handle, id);
        // SAFETY: null, or the table that the id stands for, valid until cleanup returns: callers hold the gate open. A
        // library is never unloaded, so a static stays.
        unsafe { table.cast::<T>().as_ref() }
    }

    /// Whether the instance can hand over to another version.
    pub fn can_drain(&self, handle: Handle) -> bool {
        self.has_extension(handle, EXT_DRAIN)
    }

    /// Brings the instance to rest within `deadline_ms`.
    pub fn drain_begin(&self, handle: Handle, deadline_ms: u32) -> Called {
        let table = self.table::<DrainExt>(handle, EXT_DRAIN);
        let begin = table.and_then(|table| table.begin).ok_or_else(|| hole("drain.begin"))?;
        // SAFETY: the module checks the handle; `err` outlives the call.
        self.call("drain.begin", |err| unsafe { begin(handle.raw(), deadline_ms, err) })
    }

    /// Back to work.
    pub fn drain_cancel(&self, handle: Handle) -> Called {
        let table = self.table::<DrainExt>(handle, EXT_DRAIN);
        let cancel = table.and_then(|table| table.cancel).ok_or_else(|| hole("drain.cancel"))?;
        // SAFETY: as above.
        self.call("drain.cancel", |err| unsafe { cancel(handle.raw(), err) })
    }

    /// What the store does not hold.
    pub fn export_state(&self, handle: Handle) -> Called<String> {
        const CALL: &str = "drain.export_state";
        let table = self.table::<DrainExt>(handle, EXT_DRAIN);
        let export = table.and_then(|table| table.export_state).ok_or_else(|| hole(CALL))?;
        let mut collector = Collector::default();
        let sink = collector.lend();
        // SAFETY: as above; the collector outlives the call.
        self.call(CALL, |err| unsafe { export(handle.raw(), sink, err) })?;
        text(CALL, collector)
    }

    /// Gives the new version what the old one exported.
    pub fn import_state(&self, handle: Handle, state: &str) -> Called {
        let table = self.table::<DrainExt>(handle, EXT_DRAIN);
        let import = table.and_then(|table| table.import_state).ok_or_else(|| hole("drain.import_state"))?;
        // SAFETY: as above; `state` outlives the call.
        self.call("drain.import_state", |err| unsafe { import(handle.raw(), Str::of(state.as_bytes()), err) })
    }

    /// Gives the instance another configuration; UNSUPPORTED when it cannot take one.
    pub fn reconfigure(&self, handle: Handle, config: &str) -> Called {
        const CALL: &str = "reconfigure.apply";
        let Some(table) = self.table::<ReconfigureExt>(handle, EXT_RECONFIGURE) else {
            let message =
                "the module does not take another configuration while it runs; restart it".to_owned();
            return Err(CallError { call: CALL, status: Status::UNSUPPORTED, message });
        };
        let apply = table.apply.ok_or_else(|| hole(CALL))?;
        // SAFETY: as above; `config` outlives the call.
        self.call(CALL, |err| unsafe { apply(handle.raw(), Str::of(config.as_bytes()), err) })
    }

    /// The configuration in force, as JSON; `None` when the module does not say.
    pub fn configuration(&self, handle: Handle) -> Option<Called<String>> {
        const CALL: &str = "reconfigure.snapshot";
        let snapshot = self.table::<ReconfigureExt>(handle, EXT_RECONFIGURE)?.snapshot?;
        let mut collector = Collector::default();
        // SAFETY: as above; the collector outlives the call.
        let status = unsafe { snapshot(handle.raw(), collector.lend()) };
        if status != Status::OK {
            return Some(Err(CallError { call: CALL, status, message: String::new() }));
        }
        Some(text(CALL, collector))
    }

    /// The figures as OpenMetrics text; `None` when the module has none.
    pub fn metrics(&self, handle: Handle) -> Option<Called<String>> {
        const CALL: &str = "metrics.snapshot";
        let table = self.table::<MetricsExt>(handle, EXT_METRICS)?;
        let Some(snapshot) = table.snapshot else { return Some(Err(hole(CALL))) };
        let mut collector = Collector::default();
        // SAFETY: as above; the collector outlives the call.
        let status = unsafe { snapshot(handle.raw(), collector.lend()) };
        if status != Status::OK {
            return Some(Err(CallError { call: CALL, status, message: String::new() }));
        }
        Some(text(CALL, collector))
    }
}

fn text(call: &'static str, collector: Collector) -> Called<String> {
    let fail = |message: String| CallError { call, status: Status::INVALID, message };
    let bytes = collector.finish().map_err(|fault| fail(fault.to_owned()))?;
    String::from_utf8(bytes).map_err(|error| fail(format!("what it wrote is not UTF-8: {error}")))
}
