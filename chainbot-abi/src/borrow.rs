//! Reading and filling the borrowed values of the ABI: the rules of [`Str`], [`ErrorBuf`] and [`Sink`] in one place.
//!
//! Invariants: a null pointer of length 0 is an empty text and never reaches `slice::from_raw_parts`; an error message
//! is cut at a character; no function here allocates on behalf of the other side.

use core::ffi::c_void;
use core::fmt;

use crate::{ErrorBuf, Sink, Status, Str};

/// Why a [`Str`] cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadStr {
    /// The pointer is null and the length is not 0.
    Null,
    /// The length is more than any object can have.
    TooLong,
    /// Not UTF-8; the first wrong byte is here.
    NotUtf8(usize),
}

impl fmt::Display for BadStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadStr::Null => f.write_str("is a null pointer with a length"),
            BadStr::TooLong => f.write_str("has an impossible length"),
            BadStr::NotUtf8(at) => write!(f, "is not UTF-8 at byte {at}"),
        }
    }
}

impl std::error::Error for BadStr {}

impl Str {
    /// No bytes.
    pub const EMPTY: Str = Str { ptr: core::ptr::null(), len: 0 };

    /// Points to `bytes`. The receiver may read them until its call returns, so they must live that long.
    pub const fn of(bytes: &[u8]) -> Str {
        Str { ptr: bytes.as_ptr(), len: bytes.len() }
    }

    /// Points to `text`, as [`Str::of`].
    pub const fn of_text(text: &str) -> Str {
        Str::of(text.as_bytes())
    }

    /// The bytes.
    ///
    /// # Errors
    /// [`BadStr::Null`] and [`BadStr::TooLong`].
    ///
    /// # Safety
    /// If `ptr` is not null, `len` bytes behind it must be readable and unchanged for `'a`.
    pub unsafe fn bytes<'a>(self) -> Result<&'a [u8], BadStr> {
        if self.len == 0 {
            return Ok(&[]);
        }
        if self.ptr.is_null() {
            return Err(BadStr::Null);
        }
        if isize::try_from(self.len).is_err() {
            return Err(BadStr::TooLong);
        }
        // SAFETY: not null, not longer than isize::MAX; the caller vouches for the memory. Bytes have no alignment.
        Ok(unsafe { core::slice::from_raw_parts(self.ptr, self.len) })
    }

    /// The text.
    ///
    /// # Errors
    /// Any [`BadStr`].
    ///
    /// # Safety
    /// As for [`Str::bytes`].
    pub unsafe fn text<'a>(self) -> Result<&'a str, BadStr> {
        // SAFETY: the caller's promise is the same.
        let bytes = unsafe { self.bytes() }?;
        core::str::from_utf8(bytes).map_err(|error| BadStr::NotUtf8(error.valid_up_to()))
    }
}

/// The longest start of `text` that has at most `max` bytes and ends at a character.
pub fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

impl ErrorBuf {
    /// A buffer over `bytes`, for a host that makes a call. The callee may write until the call returns.
    pub fn over(bytes: &mut [u8]) -> ErrorBuf {
        ErrorBuf { ptr: bytes.as_mut_ptr(), cap: bytes.len(), len: 0 }
    }

    /// Empties the buffer. Nothing happens when `err` is null.
    ///
    /// # Safety
    /// As for [`ErrorBuf::write`].
    #[inline]
    pub unsafe fn clear(err: *mut ErrorBuf) {
        if !err.is_null() {
            // SAFETY: not null; the caller vouches for the rest.
            unsafe { (*err).len = 0 };
        }
    }

    /// Writes `message`, cut at a character to the room there is. An empty message clears the buffer. Nothing
    /// happens when `err` is null.
    ///
    /// # Safety
    /// `err` is null or points to an `ErrorBuf` that nobody else uses; its `ptr` is null or leads to `cap` bytes
    /// that may be written.
    pub unsafe fn write(err: *mut ErrorBuf, message: &str) {
        if err.is_null() {
            return;
        }
        // SAFETY: not null; the caller vouches for the rest. Raw access, because the memory is the host's.
        let (ptr, cap) = unsafe { ((*err).ptr, (*err).cap) };
        let text = if ptr.is_null() { "" } else { cut(message, cap) };
        if !text.is_empty() {
            // SAFETY: `text` has at most `cap` bytes, which the caller says may be written; a fresh Rust string
            // and the host's buffer do not overlap.
            unsafe { core::ptr::copy_nonoverlapping(text.as_ptr(), ptr, text.len()) };
        }
        // SAFETY: as above.
        unsafe { (*err).len = text.len() };
    }
}

impl Sink {
    /// Appends what the callee writes to `out`, which must outlive the call.
    pub fn into_vec(out: &mut Vec<u8>) -> Sink {
        unsafe extern "C" fn append(ctx: *mut c_void, chunk: Str) {
            // SAFETY: `ctx` is the vector below, borrowed by nobody else while the call runs.
            let out = unsafe { &mut *ctx.cast::<Vec<u8>>() };
            // SAFETY: the callee lends the chunk for this call. A malformed chunk has no bytes to take.
            if let Ok(bytes) = unsafe { chunk.bytes() } {
                out.extend_from_slice(bytes);
            }
        }
        Sink { ctx: core::ptr::from_mut(out).cast(), write: Some(append) }
    }

    /// Hands `bytes` to the caller. `INVALID` when the sink has no function.
    ///
    /// # Safety
    /// The sink is the one that the running call was given.
    pub unsafe fn put(self, bytes: &[u8]) -> Status {
        let Some(write) = self.write else {
            return Status::INVALID;
        };
        // SAFETY: the caller's function with the caller's context, within the call.
        unsafe { write(self.ctx, Str::of(bytes)) };
        Status::OK
    }
}

impl Status {
    /// Whether the call did what it was asked.
    pub fn is_ok(self) -> bool {
        self == Status::OK
    }

    /// The name as in this crate; `None` for a number that this version does not know.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Status::OK => "OK",
            Status::INVALID => "INVALID",
            Status::STATE => "STATE",
            Status::BUSY => "BUSY",
            Status::UNSUPPORTED => "UNSUPPORTED",
            Status::CANCELLED => "CANCELLED",
            Status::TIMEOUT => "TIMEOUT",
            Status::PANIC => "PANIC",
            Status::FAILED => "FAILED",
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_pointer_of_length_zero_is_empty() {
        // SAFETY: nothing is read behind a length of 0.
        assert_eq!(unsafe { Str::EMPTY.text() }, Ok(""));
        let dangling = Str { ptr: core::ptr::without_provenance(1), len: 0 };
        // SAFETY: as above.
        assert_eq!(unsafe { dangling.bytes() }, Ok(&[][..]));
    }

    #[test]
    fn a_null_pointer_with_a_length_is_refused() {
        // SAFETY: refused before anything is read.
        assert_eq!(unsafe { Str { ptr: core::ptr::null(), len: 3 }.bytes() }, Err(BadStr::Null));
        let endless = Str { ptr: b"x".as_ptr(), len: usize::MAX };
        // SAFETY: as above.
        assert_eq!(unsafe { endless.bytes() }, Err(BadStr::TooLong));
    }

    #[test]
    fn text_that_is_not_utf8_names_the_byte() {
        // SAFETY: the literal lives for ever.
        assert_eq!(unsafe { Str::of(b"ab\xff").text() }, Err(BadStr::NotUtf8(2)));
    }

    #[test]
    fn an_error_message_is_cut_at_a_character() {
        let mut room = [0xAAu8; 8];
        let mut buf = ErrorBuf::over(&mut room[..4]);
        // SAFETY: the buffer is ours and alive.
        unsafe { ErrorBuf::write(&mut buf, "abc\u{e4}") };
        assert_eq!(buf.len, 3, "the two bytes of the last character do not fit");
        // SAFETY: as above.
        unsafe { ErrorBuf::write(&mut buf, "") };
        assert_eq!(buf.len, 0);
        assert_eq!(&room, b"abc\xAA\xAA\xAA\xAA\xAA", "nothing beyond what was said");
    }

    #[test]
    fn nobody_interested_in_an_error_is_fine() {
        // SAFETY: null means no interest.
        unsafe { ErrorBuf::write(core::ptr::null_mut(), "lost") };
        let mut no_room = ErrorBuf { ptr: core::ptr::null_mut(), cap: 9, len: 7 };
        // SAFETY: a null pointer is not written to.
        unsafe { ErrorBuf::write(&mut no_room, "lost") };
        assert_eq!(no_room.len, 0);
    }

    #[test]
    fn a_sink_collects_every_chunk() {
        let mut out = Vec::new();
        let sink = Sink::into_vec(&mut out);
        // SAFETY: the vector is alive and not used meanwhile.
        unsafe {
            assert!(sink.put(b"one ").is_ok());
            assert!(sink.put(b"").is_ok());
            assert!(sink.put(b"two").is_ok());
        }
        assert_eq!(out, b"one two");
        let broken = Sink { ctx: core::ptr::null_mut(), write: None };
        // SAFETY: there is no function to call.
        assert_eq!(unsafe { broken.put(b"x") }, Status::INVALID);
    }

    #[test]
    fn every_status_has_a_name_and_unknown_ones_have_none() {
        assert!((-8..=0).all(|code| Status { code }.name().is_some()));
        assert_eq!(Status { code: -99 }.name(), None);
    }
}
