//! The services that a host gives to a module.
//!
//! Invariants: the struct is plain and never grows; a new service comes through `get_extension`.

use core::ffi::c_void;

#[cfg(feature = "abi-stable")]
use abi_stable::StableAbi;

use crate::{Event, Sink, Status, Str};

/// Services of the host. Valid, and never changed, from initialize until cleanup returns (until
/// initialize returns when that fails). Frozen for a major; new services come through `get_extension`.
/// No function may be null. A host function must not call the module on the same stack.
#[repr(C)]
#[cfg_attr(feature = "abi-stable", derive(StableAbi))]
pub struct Host {
    /// Set by whoever fills the struct. The reader refuses a smaller one.
    pub struct_size: u32,
    /// The ABI_VERSION that the host was built with.
    pub abi_version: u32,
    /// Passed back in every call. The module never reads what it points to.
    pub ctx: *mut c_void,
    /// [any-thread, non-blocking] `level` is one of the LOG values. `fields` is a JSON object or empty.
    pub log:
        Option<unsafe extern "C" fn(ctx: *mut c_void, level: u32, target: Str, message: Str, fields: Str)>,
    /// [any-thread, non-blocking] BUSY when the bus has no room.
    pub publish: Option<unsafe extern "C" fn(ctx: *mut c_void, event: *const Event) -> Status>,
    /// [any-thread] In `pattern` a segment `*` stands for one segment, a last segment `#` for all
    /// that follow. Events come through `handle_event`, from when start has returned until stop is called.
    pub subscribe: Option<unsafe extern "C" fn(ctx: *mut c_void, pattern: Str, out_id: *mut u64) -> Status>,
    /// [any-thread] An event on its way may still arrive.
    pub unsubscribe: Option<unsafe extern "C" fn(ctx: *mut c_void, id: u64) -> Status>,
    /// [any-thread] Writes the JSON value at a JSON pointer (RFC 6901) of the host's configuration,
    /// and nothing when the pointer leads nowhere.
    pub config: Option<unsafe extern "C" fn(ctx: *mut c_void, pointer: Str, out: Sink) -> Status>,
    /// [any-thread, wait-free] Nanoseconds since the Unix epoch.
    pub now: Option<unsafe extern "C" fn(ctx: *mut c_void) -> u64>,
    /// [any-thread] Null when absent. Valid until cleanup returns.
    pub get_extension: Option<unsafe extern "C" fn(ctx: *mut c_void, id: Str) -> *const c_void>,
}

impl Host {
    /// Something failed.
    pub const LOG_ERROR: u32 = 1;
    /// Something needs attention.
    pub const LOG_WARN: u32 = 2;
    /// What an operator wants to see.
    pub const LOG_INFO: u32 = 3;
    /// What a developer wants to see.
    pub const LOG_DEBUG: u32 = 4;
    /// Everything.
    pub const LOG_TRACE: u32 = 5;
}
