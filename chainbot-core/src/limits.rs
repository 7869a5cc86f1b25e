//! Every bound of the core, with its unit in the name and its reason beside it.
//!
//! Over a bound is an error with a code, never a truncation and never growth.

/// A definition's source. Larger ones are generated, and a generator can split.
pub const DEFINITION_BYTES_MAX: usize = 1024 * 1024;
/// Steps in one definition, nested ones included. Beyond this nobody can read the run view.
pub const STEPS_MAX: usize = 1_000;
/// Steps within steps. Keeps every recursion over a definition shallow.
pub const NESTING_MAX: usize = 16;
/// Depth of any JSON value that enters a run. Expression engines recurse over values.
pub const JSON_DEPTH_MAX: usize = 64;
/// Iterations of one loop unless `max_iterations` says less: a bound on the journal of one run.
pub const LOOP_ITERATIONS_MAX: u32 = 100_000;
/// One step's output. Larger data belongs in a file or behind a URL.
pub const STEP_OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// All variables of a run together: they are held in memory while it runs.
pub const RUN_VARS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Inputs of a run.
pub const RUN_INPUTS_BYTES_MAX: usize = 1024 * 1024;
/// Runs waiting for a permit. Each is a row and an id in memory.
pub const RUNS_QUEUED_MAX: usize = 10_000;
/// Runs that wait for a time, a signal or a person. Each is a row and a heap entry.
pub const RUNS_WAITING_MAX: usize = 100_000;
/// Signals buffered in one run before any step waited for them.
pub const SIGNALS_BUFFERED_MAX: usize = 256;
/// One signal's data.
pub const SIGNAL_BYTES_MAX: usize = 64 * 1024;
/// Children below children (`workflow` steps): a cycle of workflows ends here.
pub const RUN_DEPTH_MAX: u32 = 16;
/// Batches queued at the writer. At 256 runs in parallel each has at most one under way.
pub const WRITER_QUEUE_MAX: usize = 16_384;
/// Records in one transaction, so that an acknowledgement never waits for an endless one.
pub const COMMIT_RECORDS_MAX: usize = 8_192;
/// Records one decision may make before other runs get their turn.
pub const DECISION_RECORDS_MAX: usize = 256;
/// Effects under way at once in the whole process: sockets and memory of a Pi.
pub const EFFECTS_MAX: usize = 128;
/// Parallel steps of a `parallel` workflow or step unless it says otherwise.
pub const PARALLEL_STEPS_DEFAULT: u32 = 5;
/// Largest `max_concurrency` of a step.
pub const CONCURRENCY_MAX: u32 = 1_000;
/// Events kept in memory for stream clients that reconnect.
pub const EVENTS_KEPT_MAX: usize = 4_096;
/// Stream clients at once.
pub const STREAMS_MAX: usize = 64;
/// Body of an API request that is not a definition.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// A page of a list.
pub const PAGE_MAX: u32 = 200;
/// An `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;
/// One evaluation of an expression on a worker thread; honest use takes microseconds.
pub const EVALUATION_MS_MAX: u64 = 1_000;
/// Tries of a step, as `retry.attempts` counts them.
pub const ATTEMPTS_MAX: u32 = 100;
/// Bytes of batches queued at the writer: a Pi's memory, whatever the number of batches.
pub const WRITER_QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of one transaction: keeps the write-ahead log near its cap and an acknowledgement near.
pub const COMMIT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// One journal record: a run's variables, plus room for names around them.
pub const RECORD_BYTES_MAX: usize = RUN_VARS_BYTES_MAX + 64 * 1024;
/// Longest `commit_delay`: beyond it clients would take a slow answer for none.
pub const COMMIT_DELAY_MS_MAX: u64 = 1_000;
/// Runs whose last checksum is held in memory: queued and working ones, with room. 48 bytes each; for
/// others it is read again.
pub const CHAINS_KNOWN_MAX: usize = 32_768;
/// Pages in the write-ahead log before a checkpoint: 8 MiB, so that pages written often are copied seldom.
pub const WAL_PAGES_TARGET: i64 = 2_048;
/// Pages in the write-ahead log before the writer waits for readers to leave it: 16 MiB of a Pi's card.
pub const WAL_PAGES_MAX: i64 = 4_096;
/// Connections for reading. Each may hold 2 MiB of pages.
pub const STORE_READERS_MAX: usize = 16;
/// Wait for a reading connection. The longest read is a start's recovery, a few seconds.
pub const STORE_READ_WAIT_MS_MAX: u64 = 10_000;
/// Wait for a lock that another program holds on the database, such as a backup tool.
pub const STORE_LOCK_WAIT_MS_MAX: u64 = 5_000;
/// A small file of the data folder: tokens, keys, who holds the lock.
pub const PRIVATE_FILE_BYTES_MAX: usize = 64 * 1024;
