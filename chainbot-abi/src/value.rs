//! The small values that every call is made of: borrowed bytes, a status, an error buffer, a sink.
//!
//! Invariants: nothing here owns memory; every layout is frozen for a major. Safe ways to read and fill them are
//! in [`crate::borrow`]. Knows nothing of modules and hosts.

use core::ffi::c_void;

#[cfg(feature = "abi-stable")]
use abi_stable::StableAbi;

/// Borrowed bytes. Valid until the call that received them returns, so copy what must live longer.
/// UTF-8 everywhere but in the body of a request or reply. `ptr` may be null when `len` is 0. There is
/// no NUL at the end.
#[repr(C)]
#[derive(Clone, Copy)]
#[cfg_attr(feature = "abi-stable", derive(StableAbi))]
pub struct Str {
    /// First byte. May be null when `len` is 0.
    pub ptr: *const u8,
    /// Number of bytes.
    pub len: usize,
}

/// Result of a call. 0 is success, negative is an error; treat an unknown negative code as an error.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "abi-stable", derive(StableAbi))]
pub struct Status {
    /// One of the STATUS values, or a number that this header does not know.
    pub code: i32,
}

impl Status {
    /// Done, or accepted.
    pub const OK: Status = Status { code: 0 };
    /// An argument is wrong: null, not UTF-8, not JSON, against the schema, not a live instance.
    pub const INVALID: Status = Status { code: -1 };
    /// Not allowed in this state. Nothing has happened.
    pub const STATE: Status = Status { code: -2 };
    /// No room now, or draining. Nothing has happened; try again later.
    pub const BUSY: Status = Status { code: -3 };
    /// Not offered here, or it needs a restart.
    pub const UNSUPPORTED: Status = Status { code: -4 };
    /// Given up because of stop.
    pub const CANCELLED: Status = Status { code: -5 };
    /// Not done by the deadline.
    pub const TIMEOUT: Status = Status { code: -6 };
    /// The callee panicked. The panic was contained; health counts it.
    pub const PANIC: Status = Status { code: -7 };
    /// Failed for a reason outside the call: disk, network, database.
    pub const FAILED: Status = Status { code: -8 };
}

/// Caller-owned buffer for an error message. The callee writes at most `cap` bytes of UTF-8, cut at
/// a character, and sets `len`; on success it sets `len` to 0. A null pointer to it means no interest.
#[repr(C)]
#[cfg_attr(feature = "abi-stable", derive(StableAbi))]
pub struct ErrorBuf {
    /// First byte of the buffer.
    pub ptr: *mut u8,
    /// Room in bytes.
    pub cap: usize,
    /// Bytes that the callee wrote.
    pub len: usize,
}

/// Caller-owned output. The callee calls `write` any number of times, on the calling thread, before
/// it returns. On an error what was written is void.
#[repr(C)]
#[derive(Clone, Copy)]
#[cfg_attr(feature = "abi-stable", derive(StableAbi))]
pub struct Sink {
    /// Passed back in every call.
    pub ctx: *mut c_void,
    /// Must copy the chunk.
    pub write: Option<unsafe extern "C" fn(ctx: *mut c_void, chunk: Str)>,
}
