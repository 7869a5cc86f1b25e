//! The extensions that a module offers, as calls on the bench.
//!
//! Only a whole table is used; one with a null in it is the finding of another check. Functions are copied, so that a call
//! after cleanup is the validator's mistake and not a read of freed memory.

use std::ffi::c_void;
use std::time::Duration;

use chainbot_abi::{DrainExt, ErrorBuf, MetricsExt, ReconfigureExt, Sink, Status, Str, name};

use super::arguments::Field;
use super::bench::{Answer, BLOCKING_MAX, Calls, NON_BLOCKING_MAX, STOP_OVER_MAX};

type Write = unsafe extern "C" fn(*mut c_void, Sink) -> Status;
type Tell = unsafe extern "C" fn(*mut c_void, Str, *mut ErrorBuf) -> Status;

/// alex.metrics/1.
#[derive(Clone, Copy)]
pub struct Metrics(Write);

/// alex.drain/1.
#[derive(Clone, Copy)]
pub struct Drain {
    begin: unsafe extern "C" fn(*mut c_void, u32, *mut ErrorBuf) -> Status,
    cancel: unsafe extern "C" fn(*mut c_void, *mut ErrorBuf) -> Status,
    export_state: unsafe extern "C" fn(*mut c_void, Sink, *mut ErrorBuf) -> Status,
    import_state: Tell,
}

/// alex.reconfigure/1.
#[derive(Clone, Copy)]
pub struct Reconfigure {
    check: Tell,
    apply: Tell,
    snapshot: Write,
}

/// The table that an instance gives for an id.
fn table<T>(calls: Calls<'_>, id: &str) -> Option<&'static T> {
    let (_, found) = calls.extension(&Field::text(id));
    // SAFETY: null, or the table that the id stands for, valid until cleanup; callers read it at once.
    unsafe { found.cast::<T>().as_ref() }
}

impl Metrics {
    /// Of an instance that offers it.
    pub fn of(calls: Calls<'_>) -> Option<Self> {
        table::<MetricsExt>(calls, name::EXT_METRICS)?.snapshot.map(Self)
    }

    /// The figures.
    pub fn snapshot(self, calls: Calls<'_>) -> (Answer, Vec<u8>) {
        // SAFETY: any handle may be passed; what is lent is good for the call. So below.
        calls.written("metrics.snapshot", "metrics", NON_BLOCKING_MAX, |handle, sink, _| unsafe {
            (self.0)(handle, sink)
        })
    }
}

impl Drain {
    /// Of an instance that offers it.
    pub fn of(calls: Calls<'_>) -> Option<Self> {
        let table = table::<DrainExt>(calls, name::EXT_DRAIN)?;
        Some(Self {
            begin: table.begin?,
            cancel: table.cancel?,
            export_state: table.export_state?,
            import_state: table.import_state?,
        })
    }

    /// `begin`, which must keep its deadline.
    pub fn begin(self, calls: Calls<'_>, deadline_ms: u32) -> Answer {
        let limit = Duration::from_millis(u64::from(deadline_ms)) + STOP_OVER_MAX;
        // SAFETY: as above.
        calls.extended("drain.begin", limit, |handle, err| unsafe { (self.begin)(handle, deadline_ms, err) })
    }

    /// `cancel`.
    pub fn cancel(self, calls: Calls<'_>) -> Answer {
        // SAFETY: as above.
        calls.extended("drain.cancel", BLOCKING_MAX, |handle, err| unsafe { (self.cancel)(handle, err) })
    }

    /// `export_state`, and what it wrote.
    pub fn export(self, calls: Calls<'_>) -> (Answer, Vec<u8>) {
        // SAFETY: as above.
        calls.written("drain.export_state", "drain", BLOCKING_MAX, |handle, sink, err| unsafe {
            (self.export_state)(handle, sink, err)
        })
    }

    /// `import_state`.
    pub fn import(self, calls: Calls<'_>, state: &Field) -> Answer {
        // SAFETY: as above.
        calls.told("drain.import_state", state, |handle, state, err| unsafe {
            (self.import_state)(handle, state, err)
        })
    }
}

impl Reconfigure {
    /// Of an instance that offers it.
    pub fn of(calls: Calls<'_>) -> Option<Self> {
        let table = table::<ReconfigureExt>(calls, name::EXT_RECONFIGURE)?;
        Some(Self { check: table.check?, apply: table.apply?, snapshot: table.snapshot? })
    }

    /// `check`.
    pub fn check(self, calls: Calls<'_>, config: &Field) -> Answer {
        // SAFETY: as above.
        calls.told("reconfigure.check", config, |handle, config, err| unsafe {
            (self.check)(handle, config, err)
        })
    }

    /// `apply`.
    pub fn apply(self, calls: Calls<'_>, config: &Field) -> Answer {
        // SAFETY: as above.
        calls.told("reconfigure.apply", config, |handle, config, err| unsafe {
            (self.apply)(handle, config, err)
        })
    }

    /// The configuration in force.
    pub fn snapshot(self, calls: Calls<'_>) -> (Answer, Vec<u8>) {
        // SAFETY: as above.
        calls.written("reconfigure.snapshot", "reconfigure", NON_BLOCKING_MAX, |handle, sink, _| unsafe {
            (self.snapshot)(handle, sink)
        })
    }
}
