//! Every bound of the plugin, with its unit in the name and its reason beside it.

use std::time::Duration;

use chainbot_core::limits;

/// How much of the host's work waits in one instance. Beyond this the host gets BUSY and keeps its work. The
/// configuration says how much (`alex_os.queue_items` and `alex_os.queue_bytes`).
#[derive(Clone, Copy)]
pub struct QueueBounds {
    /// Events queued, and requests open.
    pub items: usize,
    /// Bytes of queued events, and of open requests: what a burst may take from a small machine's memory.
    pub bytes: usize,
}
/// A request's body: the largest that any route takes. A larger one is answered 413 without a copy.
/// That is a definition within its envelope; a tighter bound here would refuse what the port takes.
pub const BODY_BYTES_MAX: usize = limits::DEFINITION_BODY_BYTES_MAX;
/// A reply's body: it is collected in memory before it is handed over.
pub const REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// An event's payload: the bus carries news, not data.
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// Topics, paths, mounts, peers, ids and the like: what web servers take in a request line.
pub const TEXT_BYTES_MAX: usize = 8 * 1024;
/// A request's header object: what web servers take in all headers together.
pub const HEADERS_BYTES_MAX: usize = 64 * 1024;
/// What another version hands over: addresses and the like, never data.
pub const HANDOVER_BYTES_MAX: usize = 1024 * 1024;
/// A configuration: the schema's whole document with every default written out is a fraction of it.
pub const CONFIG_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Instances at once: the old and the new of an upgrade, and room for a host that runs several.
pub const INSTANCES_MAX: usize = 16;
/// A request's time when the host names none.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the supervisor asks the core how well it goes. Hosts poll every few seconds.
pub const HEALTH_EVERY: Duration = Duration::from_secs(1);
/// A health report older than this means that the supervisor hangs.
pub const HEALTH_STALE: Duration = Duration::from_secs(10);
/// Pause before an event is offered again that the core had no room for.
pub const EVENT_RETRY: Duration = Duration::from_millis(20);
/// How long a stop lets requests end by themselves, at most; a quarter of its deadline if that is less.
pub const STOP_GRACE_MAX: Duration = Duration::from_secs(2);
/// Kept back from a stop's deadline, at most, so that the report of what is left arrives within it.
pub const STOP_MARGIN_MAX: Duration = Duration::from_millis(200);
/// How long a drain that is taken back waits for effects under way, at most: their own usual bound.
pub const CANCEL_MAX: Duration = Duration::from_secs(30);
/// How long the threads of a failed start may take to end.
pub const START_UNDO: Duration = Duration::from_secs(5);
/// Worker threads of the runtime, at most: the core waits for disk and network, it does not compute.
pub const WORKERS_MAX: usize = 4;
/// Quiet time after which a streamed reply with events in it is handed over.
pub const STREAM_GATHER: Duration = Duration::from_millis(100);
/// Kept back from a request's time, at most, so that a streamed reply is handed over within it.
pub const STREAM_MARGIN_MAX: Duration = Duration::from_millis(500);
