//! Small pieces of the ABI's types that a host needs beside those of `chainbot_abi`: collected text, names for numbers.
//!
//! Everything that crosses the boundary is borrowed for one call; what is kept is copied here.

use std::ffi::c_void;

use chainbot_abi::{ErrorBuf, Health, Sink, Status, Str};

use crate::limits::SINK_BYTES_MAX;

/// The name of a status as it stands in the header, or the number when it is none of them.
pub fn status_name(status: Status) -> String {
    status.name().map_or_else(|| status.code.to_string(), str::to_owned)
}

/// The name of a state of an instance.
pub fn state_name(state: u32) -> &'static str {
    match state {
        Health::STATE_INITIALIZED => "initialized",
        Health::STATE_STARTING => "starting",
        Health::STATE_STARTED => "started",
        Health::STATE_DRAINING => "draining",
        Health::STATE_STOPPING => "stopping",
        Health::STATE_STOPPED => "stopped",
        Health::STATE_FAILED => "failed",
        _ => "unknown",
    }
}

/// A buffer for the message of a failed call.
pub struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// An empty buffer of `cap` bytes.
    pub fn new(cap: usize) -> Self {
        Self { bytes: vec![0; cap] }
    }

    /// Lends the buffer; `Message` must stay in place until the call has returned.
    pub fn lend(&mut self) -> ErrorBuf {
        ErrorBuf { ptr: self.bytes.as_mut_ptr(), cap: self.bytes.len(), len: 0 }
    }

    /// What the callee wrote. A length beyond the buffer is taken as the whole buffer.
    pub fn text(&self, lent: &ErrorBuf) -> String {
        let len = lent.len.min(self.bytes.len());
        String::from_utf8_lossy(&self.bytes[..len]).into_owned()
    }
}

/// Collects what a callee writes, up to `SINK_BYTES_MAX`.
#[derive(Default)]
pub struct Collector {
    bytes: Vec<u8>,
    fault: Option<&'static str>,
}

impl Collector {
    /// Lends the collector; it must stay in place until the call has returned.
    pub fn lend(&mut self) -> Sink {
        Sink { ctx: std::ptr::from_mut(self).cast(), write: Some(collect) }
    }

    /// What was written, or what was wrong with it.
    pub fn finish(self) -> Result<Vec<u8>, &'static str> {
        self.fault.map_or(Ok(self.bytes), Err)
    }
}

/// The `write` of a [`Collector`].
unsafe extern "C" fn collect(ctx: *mut c_void, chunk: Str) {
    // SAFETY: `ctx` is the collector lent by `Collector::lend`, used on the calling thread only, and no
    // other reference to it exists while the callee runs.
    let Some(collector) = (unsafe { ctx.cast::<Collector>().as_mut() }) else { return };
    // SAFETY: a chunk is valid for this call.
    match unsafe { chunk.bytes() } {
        Err(_) => collector.fault = Some("a chunk has a length but no address"),
        Ok(chunk) if collector.bytes.len() + chunk.len() > SINK_BYTES_MAX => {
            collector.fault = Some("more than 4 MiB were written")
        }
        Ok(chunk) => collector.bytes.extend_from_slice(chunk),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_keeps_chunks_in_order_and_refuses_too_much() {
        let mut collector = Collector::default();
        let sink = collector.lend();
        // SAFETY: the sink is the collector's own.
        unsafe {
            assert_eq!(sink.put(b"ab"), Status::OK);
            assert_eq!(sink.put(b"c"), Status::OK);
        }
        assert_eq!(collector.finish(), Ok(b"abc".to_vec()));

        let mut collector = Collector::default();
        let sink = collector.lend();
        // SAFETY: as above.
        unsafe { sink.put(&vec![b'x'; SINK_BYTES_MAX + 1]) };
        assert!(collector.finish().is_err());
    }

    #[test]
    fn a_message_longer_than_its_buffer_is_taken_as_the_buffer() {
        let mut message = Message::new(64);
        let mut lent = message.lend();
        lent.len = usize::MAX;
        assert_eq!(message.text(&lent).len(), 64);
    }
}
