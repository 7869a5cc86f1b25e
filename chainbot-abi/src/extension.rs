//! Extensions: optional functions that either side asks for by id.
//!
//! Invariants: an id carries its version; a changed struct gets a new id.

use core::ffi::c_void;

#[cfg(feature = "abi-stable")]
use abi_stable::StableAbi;

use crate::{ErrorBuf, Sink, Status, Str};

/// Module extension "alex.metrics/1".
#[repr(C)]
#[cfg_attr(feature = "abi-stable", derive(StableAbi))]
pub struct MetricsExt {
    /// [any-thread, non-blocking] Writes OpenMetrics text.
    pub snapshot: Option<unsafe extern "C" fn(instance: *mut c_void, out: Sink) -> Status>,
}

/// Module extension "alex.drain/1": one version hands over to the next.
#[repr(C)]
#[cfg_attr(feature = "abi-stable", derive(StableAbi))]
pub struct DrainExt {
    /// [control-thread, blocking] From started. New work gets BUSY, runs are suspended at their next
    /// durable point, requests are completed, store and port are let go. OK: drained. TIMEOUT: still
    /// draining; call again.
    pub begin:
        Option<unsafe extern "C" fn(instance: *mut c_void, deadline_ms: u32, err: *mut ErrorBuf) -> Status>,
    /// [control-thread, blocking] From draining back to started: takes the store again and goes on.
    pub cancel: Option<unsafe extern "C" fn(instance: *mut c_void, err: *mut ErrorBuf) -> Status>,
    /// [control-thread, blocking] When drained. Writes what the store does not hold, as JSON.
    pub export_state:
        Option<unsafe extern "C" fn(instance: *mut c_void, out: Sink, err: *mut ErrorBuf) -> Status>,
    /// [control-thread, blocking] Into an initialized instance, before start. UNSUPPORTED when the
    /// document is of an unknown version.
    pub import_state:
        Option<unsafe extern "C" fn(instance: *mut c_void, state: Str, err: *mut ErrorBuf) -> Status>,
}

/// Module extension "alex.reconfigure/1".
#[repr(C)]
#[cfg_attr(feature = "abi-stable", derive(StableAbi))]
pub struct ReconfigureExt {
    /// [control-thread, blocking] Would `apply` take it? Changes nothing.
    pub check: Option<unsafe extern "C" fn(instance: *mut c_void, config: Str, err: *mut ErrorBuf) -> Status>,
    /// [control-thread, blocking] From started. All or nothing. UNSUPPORTED: `err` names the fields that need
    /// a restart.
    pub apply: Option<unsafe extern "C" fn(instance: *mut c_void, config: Str, err: *mut ErrorBuf) -> Status>,
    /// [any-thread, non-blocking] Writes the configuration in force as JSON: of each field its value, who
    /// decided it, and whether `apply` changes it live or it needs a restart. No secrets.
    pub snapshot: Option<unsafe extern "C" fn(instance: *mut c_void, out: Sink) -> Status>,
}

/// Host extension "alex.thread-check/1".
#[repr(C)]
#[cfg_attr(feature = "abi-stable", derive(StableAbi))]
pub struct ThreadCheckExt {
    /// [any-thread, wait-free] 1 when the calling thread may make control-thread calls now, else 0.
    pub is_control_thread: Option<unsafe extern "C" fn(ctx: *mut c_void) -> u32>,
}
