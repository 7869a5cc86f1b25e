//! Every bound of the host, with its unit in the name and its reason beside it.
//!
//! Over a bound is an error with a code or a BUSY, never a truncation and never growth.

use std::time::Duration;

/// Events that wait for the module. The same count a module allows for its own queue.
pub const BUS_EVENTS_MAX: usize = 1_024;
/// Bytes of those events together: without it, 1,024 large payloads would fill a Pi's memory.
pub const BUS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Recent events kept for `GET /host/events`.
pub const RECENT_EVENTS_MAX: usize = 1_024;
/// Bytes of the recent events together; older ones go first.
pub const RECENT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// One event's payload. Larger data belongs in a file or behind a URL.
pub const EVENT_PAYLOAD_BYTES_MAX: usize = 1024 * 1024;
/// A topic or a pattern. Generous: the longest known topic has 60 bytes.
pub const TOPIC_BYTES_MAX: usize = 512;
/// An event's id or trace.
pub const EVENT_ID_BYTES_MAX: usize = 256;
/// Patterns subscribed at once. Each published event is compared with all of them.
pub const SUBSCRIPTIONS_MAX: usize = 1_024;
/// Tries to hand over one event while the module answers BUSY. With the waits below about 30 seconds.
pub const DELIVERY_TRIES_MAX: u32 = 40;
/// Wait after the first BUSY; doubles up to the next bound.
pub const DELIVERY_WAIT_MIN: Duration = Duration::from_millis(10);
/// Longest wait between two tries, so that a module that has room again is not kept waiting.
pub const DELIVERY_WAIT_MAX: Duration = Duration::from_secs(1);

/// Forwarded requests under way at once: each holds a socket and at most one body.
pub const REQUESTS_MAX: usize = 256;
/// A forwarded body when the manifest names no bound for its path.
pub const BODY_BYTES_DEFAULT: usize = 1024 * 1024;
/// Largest bound taken from a manifest: with all requests under way it must not exceed memory by itself.
pub const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Read and dropped of a body that is too large, so that its client sees the answer.
pub const BODY_DISCARD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A client that sends its body slower than this is given up.
pub const BODY_READ_MAX: Duration = Duration::from_secs(30);
/// What the module gets as `timeout_ms`; long polling answers within it.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long after `REQUEST_TIMEOUT` the host still waits for a module that is late.
pub const REQUEST_GRACE: Duration = Duration::from_secs(5);
/// Longest `wait_ms` of `GET /host/events`: shorter than what clients and proxies give up after.
pub const EVENTS_WAIT_MAX: Duration = Duration::from_secs(30);

/// A manifest or another document that a module writes into a sink.
pub const SINK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The message of a failed call: room for all findings about a configuration.
pub const ERROR_BYTES_MAX: usize = 16 * 1024;
/// The same in a transcript, where every host must cut at the same place.
pub const TRANSCRIPT_ERROR_BYTES_MAX: usize = 1_024;
/// Log lines that wait for a slow terminal or pipe; more are counted and dropped, since logging never blocks.
pub const LOG_LINES_MAX: usize = 8_192;
/// One log message or its fields; longer ones are cut and marked.
pub const LOG_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// How long the end of the process waits for the last log lines to be written.
pub const LOG_FLUSH_MAX: Duration = Duration::from_secs(2);

/// How long calls under way may take to return before `cleanup`; they are all non-blocking.
pub const CALLS_SETTLE_MAX: Duration = Duration::from_secs(2);
/// How long open HTTP responses may take to reach their clients after the module has stopped.
pub const INGRESS_SETTLE_MAX: Duration = Duration::from_secs(2);
/// A script, and each file that it names: they are held in memory.
pub const SCRIPT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// One line of a script, as the language says.
pub const SCRIPT_LINE_BYTES_MAX: usize = 1_048_576;
/// One line of a transcript, as the language says.
pub const TRANSCRIPT_LINE_BYTES_MAX: usize = 8_192;
/// Published events that a transcript keeps, as the language says.
pub const TRANSCRIPT_EVENTS_MAX: usize = 1_024;
/// Ids of published events that a transcript remembers; beyond it `publish` is BUSY.
pub const TRANSCRIPT_IDS_MAX: usize = 65_536;
/// How long `wait-event` waits, as the language says.
pub const TRANSCRIPT_EVENT_WAIT: Duration = Duration::from_secs(10);
/// How long `webhook` waits for the completion, as the language says.
pub const TRANSCRIPT_COMPLETION_WAIT: Duration = Duration::from_secs(40);

/// Versions mapped in one process: each costs its mapping, and some runtimes keep a thread-local key for each.
pub const IMAGES_MAX: usize = 64;
/// How long an upgrade may take for each of its steps unless it is said: what a large journal needs to recover on a Pi.
pub const UPGRADE_TIMEOUT: Duration = Duration::from_secs(30);
/// Readings of a new version's health, one after the other, before it serves.
pub const HEALTH_READINGS: u32 = 3;
/// Between two of them. Work waits meanwhile, and a version that cannot work says so at its start.
pub const HEALTH_READING_EVERY: Duration = Duration::from_millis(20);
/// One line of a request over the control socket: a path and some options.
pub const CONTROL_LINE_BYTES_MAX: usize = 64 * 1024;
/// Connections to the control socket at once; a person has one.
pub const CONTROL_CONNECTIONS_MAX: usize = 8;
/// How long a client of the control socket may take to say what it wants, and to read a line.
pub const CONTROL_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a socket's address, the ending zero included: the kernel's own bound.
pub const SOCKET_PATH_BYTES_MAX: usize = 108;
