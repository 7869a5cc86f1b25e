//! The module: its functions, its health and the symbol that leads to them.
//!
//! Invariants: the order of the functions is the ABI; only [`BaseModule`] may grow, and only at its end.

use core::ffi::c_void;

#[cfg(feature = "abi-stable")]
use abi_stable::StableAbi;

use crate::{Completion, ErrorBuf, Event, Host, Sink, Status, Str, WebhookRequest};

/// State of an instance at one moment, without pointers: free to copy and keep. The caller sets
/// `struct_size`, the module fills the rest. Frozen for a major.
#[repr(C)]
#[cfg_attr(feature = "abi-stable", derive(StableAbi))]
pub struct Health {
    /// Set by the caller. The module refuses a smaller one.
    pub struct_size: u32,
    /// One of the STATE values.
    pub state: u32,
    /// 0.0 to 1.0, never NaN. From 0.8 healthy, from 0.5 degraded, below that unhealthy.
    pub score: f64,
    /// Since start. 0 when not started.
    pub uptime_ms: u64,
    /// Accepted webhooks that are not completed yet.
    pub in_flight: u32,
    /// Accepted events and webhooks that no worker has taken yet.
    pub queue_depth: u32,
    /// Panics contained since initialize.
    pub panics: u32,
    /// Threads of this instance.
    pub live_threads: u32,
    /// Bytes used in `detail`.
    pub detail_len: u32,
    /// UTF-8: the component that lowers the score most, and why.
    pub detail: [u8; 148],
}

impl Health {
    /// Made and checked, not started.
    pub const STATE_INITIALIZED: u32 = 1;
    /// Inside start.
    pub const STATE_STARTING: u32 = 2;
    /// At work.
    pub const STATE_STARTED: u32 = 3;
    /// Handing over; takes no new work.
    pub const STATE_DRAINING: u32 = 4;
    /// A stop timed out; call it again.
    pub const STATE_STOPPING: u32 = 5;
    /// Stopped; may start again.
    pub const STATE_STOPPED: u32 = 6;
    /// The instance cannot work on. Only stop is allowed.
    pub const STATE_FAILED: u32 = 7;

    /// The only place that turns a score into a word. NaN is unhealthy.
    pub fn label(score: f64) -> &'static str {
        if score >= 0.8 {
            "healthy"
        } else if score >= 0.5 {
            "degraded"
        } else {
            "unhealthy"
        }
    }
}

/// The module.
///
/// Who may call what:
/// [control-thread, blocking]: one such call at a time for an instance, from any thread that may wait.
/// [any-thread, non-blocking]: also while other calls run; never waits for IO or for another thread's work.
/// [module-thread]: a thread that the module started.
///
/// No function of 1.0 may be null. Every function contains its panics and returns PANIC.
/// An instance is a handle, not an address: a null, unknown or released one gives INVALID. All the
/// same no call may begin after cleanup was called, and cleanup must not overlap any other call.
/// The struct may grow at its end: read a field added after 1.0 only when `struct_size` covers it.
#[repr(C)]
#[cfg_attr(feature = "abi-stable", derive(StableAbi))]
#[cfg_attr(feature = "abi-stable", sabi(kind(Prefix(prefix_ref = BaseModule_Ref))))]
pub struct BaseModule {
    /// Size of the struct that the module was built with. Keeps its place in every major.
    pub struct_size: u32,
    /// The ABI_VERSION that the module was built with. Keeps its place in every major.
    pub abi_version: u32,
    /// [any-thread] Writes the manifest, a JSON document. Needs no instance and has no effects.
    pub describe: Option<unsafe extern "C" fn(out: Sink) -> Status>,
    /// [control-thread, blocking] Makes an instance from a JSON configuration and checks all of it.
    /// Takes no lock and no port and leaves no thread behind, so that a newer version can be prepared
    /// beside a running one. On an error `*out` is null and there is nothing to clean up.
    pub initialize: Option<
        unsafe extern "C" fn(
            host: *const Host,
            config: Str,
            out: *mut *mut c_void,
            err: *mut ErrorBuf,
        ) -> Status,
    >,
    /// [control-thread, blocking] From initialized or stopped. Takes the store, recovers, opens its
    /// port if the configuration has one, subscribes. On an error the state is as before.
    pub start: Option<unsafe extern "C" fn(instance: *mut c_void, err: *mut ErrorBuf) -> Status>,
    /// [control-thread, blocking] From started, draining, stopping or failed. Refuses new work, stores
    /// what was accepted, completes every request, joins every thread, all within `deadline_ms` from
    /// now. TIMEOUT: `err` names what is left, the state is stopping; call again.
    pub stop:
        Option<unsafe extern "C" fn(instance: *mut c_void, deadline_ms: u32, err: *mut ErrorBuf) -> Status>,
    /// [control-thread, blocking] From initialized or stopped: releases the instance. In any other
    /// state it returns STATE and releases nothing.
    pub cleanup: Option<unsafe extern "C" fn(instance: *mut c_void, err: *mut ErrorBuf) -> Status>,
    /// [any-thread, non-blocking] In every state.
    pub health: Option<unsafe extern "C" fn(instance: *mut c_void, out: *mut Health) -> Status>,
    /// [any-thread, non-blocking] Hands over an event. OK: accepted, in memory; a host that must know
    /// it durable sends it through `handle_webhook`. BUSY: the queue is full, or draining.
    pub handle_event: Option<
        unsafe extern "C" fn(instance: *mut c_void, event: *const Event, err: *mut ErrorBuf) -> Status,
    >,
    /// [any-thread, non-blocking] Hands over a request. The answer comes through `completion`, and
    /// only after what it acknowledges is durable. BUSY: the queue is full, or draining.
    pub handle_webhook: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            request: *const WebhookRequest,
            completion: Completion,
            err: *mut ErrorBuf,
        ) -> Status,
    >,
    /// [any-thread, non-blocking] Null when absent. Valid until cleanup returns.
    #[cfg_attr(feature = "abi-stable", sabi(last_prefix_field))]
    pub get_extension: Option<unsafe extern "C" fn(instance: *mut c_void, id: Str) -> *const c_void>,
}

unsafe extern "C" {
    /// The symbol that a module exports. [any-thread] Null when the majors differ. 0 asks for the
    /// struct whatever its version; then only `struct_size` and `abi_version` may be read, which every
    /// major keeps: so a host that got null can name both versions. Valid while the library is mapped.
    pub fn alex_base_module(host_abi_version: u32) -> *const BaseModule;
}

/// Type of `alex_base_module`, for hosts that look it up by name.
pub type EntryFn = unsafe extern "C" fn(host_abi_version: u32) -> *const BaseModule;
