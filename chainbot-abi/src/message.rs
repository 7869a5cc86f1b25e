//! What passes between host and module: events, HTTP requests and their answers.
//!
//! Invariants: everything is borrowed for the call; the layouts are frozen for a major.

use core::ffi::c_void;

#[cfg(feature = "abi-stable")]
use abi_stable::StableAbi;

use crate::{Status, Str};

/// An event of the bus. Borrowed for the call. Frozen for a major.
#[repr(C)]
#[cfg_attr(feature = "abi-stable", derive(StableAbi))]
pub struct Event {
    /// Set by whoever fills the struct. The reader refuses a smaller one.
    pub struct_size: u32,
    /// Unknown bits are ignored.
    pub flags: u32,
    /// Segments separated by dots.
    pub topic: Str,
    /// A JSON document.
    pub payload: Str,
    /// Idempotency key: while the module remembers an id, an event that repeats it has no effect.
    /// Empty when there is none.
    pub id: Str,
    /// W3C traceparent, or empty.
    pub trace: Str,
    /// When it happened, in nanoseconds since the Unix epoch.
    pub unix_ns: u64,
}

impl Event {
    /// In `flags`: the sender may have sent this event before.
    pub const FLAG_REDELIVERED: u32 = 1;
}

/// An HTTP request that the host forwards: a webhook, or any other path of the module's HTTP surface.
/// Borrowed for the call. Frozen for a major.
#[repr(C)]
#[cfg_attr(feature = "abi-stable", derive(StableAbi))]
pub struct WebhookRequest {
    /// Set by whoever fills the struct. The reader refuses a smaller one.
    pub struct_size: u32,
    /// The module completes within this time. 0 takes the module's own limit.
    pub timeout_ms: u32,
    /// In capitals, as in HTTP.
    pub method: Str,
    /// Path and query as the module's own port would see them, still percent-encoded.
    pub path: Str,
    /// What the host cut off in front of `path`, for links and redirects. Empty when nothing.
    pub mount: Str,
    /// Address of the client as text. Empty when unknown.
    pub peer: Str,
    /// A JSON object; names in lower case, a value is a string or an array of strings.
    pub headers: Str,
    /// The exact bytes received, so that signatures can be verified.
    pub body: Str,
    /// W3C traceparent, or empty.
    pub trace: Str,
}

/// The answer to a request. Borrowed for the completion call. Frozen for a major.
#[repr(C)]
#[cfg_attr(feature = "abi-stable", derive(StableAbi))]
pub struct WebhookReply {
    /// Set by whoever fills the struct. The reader refuses a smaller one.
    pub struct_size: u32,
    /// The HTTP status code.
    pub http_status: u32,
    /// A JSON object, as in the request.
    pub headers: Str,
    /// Any bytes.
    pub body: Str,
}

/// How a request is answered. `done` is called exactly once when `handle_webhook` returned 0, and
/// never when it returned an error. It never comes on the stack of `handle_webhook`, but may come on
/// another thread before that returns. When `stop` has returned, with whatever status, none is left.
#[repr(C)]
#[derive(Clone, Copy)]
#[cfg_attr(feature = "abi-stable", derive(StableAbi))]
pub struct Completion {
    /// Stays valid until `done` was called, also when the host gave up waiting.
    pub ctx: *mut c_void,
    /// [module-thread, or the thread inside stop; non-blocking] `reply` is null unless `status` is 0.
    /// Must not call the module.
    pub done: Option<unsafe extern "C" fn(ctx: *mut c_void, status: Status, reply: *const WebhookReply)>,
}
