//! Every bound of the core, with its unit in the name and its reason beside it.
//!
//! Over a bound is an error with a code, never a truncation and never growth.

use std::time::Duration;

/// A definition's source. Larger ones are generated, and a generator can split.
pub const DEFINITION_BYTES_MAX: usize = 1024 * 1024;
/// Lists and maps within each other in a document: 16 nested steps take 5 levels each, and the deepest
/// value in them 64.
pub const DOCUMENT_DEPTH_MAX: usize = 160;
/// Values in a document after aliases are written out: 1,000 steps of 100 values. Stops alias bombs.
pub const DOCUMENT_NODES_MAX: usize = 100_000;
/// Text in a document after aliases are written out: twice what a source without aliases can hold.
pub const DOCUMENT_TEXT_BYTES_MAX: usize = 2 * DEFINITION_BYTES_MAX;
/// Problems reported at once. More than this is one mistake repeated, and nobody reads on.
pub const DIAGNOSTICS_MAX: usize = 200;
/// Words and names that did-you-mean compares; longer ones are not slips of the hand.
pub const SIMILAR_CHARS_MAX: usize = 64;
/// Compiled form of one pattern in a JSON Schema: a pattern may not take the memory of a Pi.
pub const SCHEMA_PATTERN_BYTES_MAX: usize = 1024 * 1024;
/// Patterns in one JSON Schema: together with the bound on each, 64 MiB at the very worst.
pub const SCHEMA_PATTERNS_MAX: usize = 64;
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
/// Events and requests of the host that may be configured to wait in memory: minutes of a busy bus.
pub const HOST_QUEUE_ITEMS_MAX: u64 = 100_000;
/// Their bytes, at most: half the memory of the smallest machine.
pub const HOST_QUEUE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Runs that wait for a time, a signal or a person. Each is a row and a heap entry.
pub const RUNS_WAITING_MAX: usize = 100_000;
/// Completed steps that a failing run would undo: each is held in memory until the run ends.
pub const COMPENSATIONS_MAX: usize = 10_000;
/// Outputs kept of loop iterations that are over, for the steps that would undo them; what four sets of variables may hold.
pub const COMPENSATION_BYTES_MAX: usize = 4 * RUN_VARS_BYTES_MAX;
/// Finished runs of one workflow that a definition may ask to keep: the lists stay quick.
pub const KEEP_RUNS_MAX: u32 = 1_000_000;
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
/// Outbound connect, name look-up and TLS included; a host that needs longer is down.
pub const EGRESS_CONNECT_S_MAX: u64 = 5;
/// One outbound exchange with its redirects, unless the step says otherwise.
pub const EGRESS_TOTAL_S_DEFAULT: u64 = 30;
/// Waiting for one of a host's places, when the step sets no timeout: ten slow exchanges ahead of it.
pub const EGRESS_WAIT_S_MAX: u64 = 300;
/// Requests at once to one host, so that a fan-out is no flood.
pub const EGRESS_PER_HOST_MAX: usize = 4;
/// A reply's body after decompression, unless the request says otherwise: what a step's output may hold.
pub const EGRESS_REPLY_BYTES_DEFAULT: usize = STEP_OUTPUT_BYTES_MAX;
/// An outbound body: what a run's variables may hold.
pub const EGRESS_BODY_BYTES_MAX: usize = RUN_VARS_BYTES_MAX;
/// Headers of a request or a reply, each way; real ones have below 40.
pub const EGRESS_HEADERS_MAX: usize = 64;
/// Names and values of all headers of a request or a reply; servers take 8 to 32 KiB.
pub const EGRESS_HEADER_BYTES_MAX: usize = 64 * 1024;
/// Redirects followed: http to https, then to the canonical host, and one to spare.
pub const EGRESS_REDIRECTS_MAX: usize = 3;
/// An outbound URL; servers refuse longer ones.
pub const EGRESS_URL_BYTES_MAX: usize = 8 * 1024;
/// Grants in a configuration: each is a decision of a person.
pub const EGRESS_GRANTS_MAX: usize = 256;
/// Addresses used of one DNS answer; more never help a connect of 5 s.
pub const EGRESS_ADDRESSES_MAX: usize = 32;
/// HTTP clients kept, one for each scheme, port and way of pooling; the oldest gives way.
pub const EGRESS_CLIENTS_MAX: usize = 16;
/// Gates of hosts kept; beyond it those without a request are dropped.
pub const EGRESS_GATES_MAX: usize = 256;
/// Characters of a reply's body in an error: enough for a server's message.
pub const EXCERPT_CHARS_MAX: usize = 512;
/// Longest `Retry-After` that is believed. A day is the longest delay that makes sense within a step.
pub const RETRY_AFTER_S_MAX: u64 = 86_400;
/// One line of our own server's event stream: one record with its output.
pub const STREAM_LINE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A reply of our own server to the command line: a page of full runs.
pub const LOCAL_REPLY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Parallel steps of a `parallel` workflow or step unless it says otherwise.
pub const PARALLEL_STEPS_DEFAULT: u32 = 5;
/// Largest `max_concurrency` of a step.
pub const CONCURRENCY_MAX: u32 = 1_000;
/// Tries when `retry` is there and does not say: enough for a blip, few enough to notice a failure soon.
pub const RETRY_ATTEMPTS_DEFAULT: u32 = 3;
/// Delay before the second try when `retry` does not say: longer than a restart of a small service.
pub const RETRY_DELAY_DEFAULT: Duration = Duration::from_secs(5);
/// Where a growing delay ends when `retry` does not say: people expect a mended service to be used within minutes.
pub const RETRY_MAX_DELAY_DEFAULT: Duration = Duration::from_secs(300);
/// Events kept in memory for stream clients that reconnect.
pub const EVENTS_KEPT_MAX: usize = 4_096;
/// Stream clients at once.
pub const STREAMS_MAX: usize = 64;
/// WebSockets of one user at once: tabs and programs of one person, not a crowd.
pub const SOCKETS_PER_USER_MAX: usize = 64;
/// WebSockets that have still to say who they are: strangers take no place of others.
pub const SOCKET_STRANGERS_MAX: usize = 16;
/// How long a WebSocket may be open before it says who it is.
pub const SOCKET_AUTH_S: u64 = 5;
/// First frame of such a one: a token and the JSON around it.
pub const SOCKET_AUTH_BYTES_MAX: usize = 8 * 1024;
/// Between two looks whether who opened a WebSocket may still listen. A logout is seen at once; this finds what runs out.
pub const SOCKET_RECHECK_S: u64 = 60;
/// Patterns of topics of one WebSocket or event stream: each is compared with every event.
pub const TOPICS_MAX: usize = 64;
/// Frames that wait for one WebSocket client. Beyond, nothing more is taken from the journal for it.
pub const SOCKET_QUEUE_FRAMES_MAX: usize = 512;
/// What they may weigh together.
pub const SOCKET_QUEUE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes between a WebSocket's queue and the kernel.
pub const SOCKET_WRITE_BYTES: usize = 16 * 1024;
/// Frames that cannot be read before a WebSocket is closed: its program is not one that will get better.
pub const SOCKET_MISTAKES_MAX: u32 = 16;
/// Records whose events are held ready, so that many clients cost one rendering.
pub const EVENTS_READY_MAX: usize = 256;
/// Runs whose workflow is known without reading, for topics.
pub const EVENT_RUNS_MAX: usize = 4_096;
/// Records from the newest one back among which notifications are looked for: some 6 MB of journal, read in a tenth of a second.
pub const EVENT_SEARCH_RECORDS_MAX: i64 = 20_000;
/// Lines of the log that are held for readers: some hundred kilobytes as a rule.
pub const LOG_LINES_MAX: usize = 1_024;
/// One of them; the host's log has the rest.
pub const LOG_LINE_BYTES_MAX: usize = 4 * 1024;
/// Between two looks whether health has changed, while somebody listens.
pub const HEALTH_LOOK_S: u64 = 2;
/// Events outside of the journal that wait for slow listeners.
pub const SIGNALS_KEPT_MAX: usize = 512;
/// Body of an API request that is not a definition.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Body that carries a definition: the definition and the JSON around it.
pub const DEFINITION_BODY_BYTES_MAX: usize = DEFINITION_BYTES_MAX + 64 * 1024;
/// Requests of the API under way at once. Each holds at most one body in memory.
pub const REQUESTS_MAX: usize = 64;
/// Connections of the port at once: file descriptors, and some kilobytes each.
pub const CONNECTIONS_MAX: usize = 256;
/// Head of a request on the port. Browsers stay far below.
pub const REQUEST_HEAD_BYTES_MAX: usize = 32 * 1024;
/// Time for the head of a request, also how long an idle connection is kept.
pub const REQUEST_HEAD_S_MAX: u64 = 15;
/// One request from its head to its reply. Everything slower is a run, not a request.
pub const REQUEST_S_MAX: u64 = 30;
/// How long open connections may finish when the port closes.
pub const PORT_CLOSE_S_MAX: u64 = 5;
/// Requests of one token in a second, over a longer time.
pub const REQUESTS_PER_S_DEFAULT: u32 = 60;
/// Requests of one token at once, before the rate counts.
pub const REQUESTS_BURST_DEFAULT: u32 = 200;
/// Silence on an event stream before a comment shows that it lives. Proxies cut at 30 s or later.
pub const HEARTBEAT_S: u64 = 15;
/// Events in one reply of the long poll, so that a long backlog comes in pieces.
pub const POLL_EVENTS_MAX: usize = 256;
/// Bytes in one reply of the long poll; the host holds it as a whole.
pub const POLL_BYTES_MAX: usize = 512 * 1024;
/// A value inside an event. Larger ones are named in `omitted` and read from the journal.
pub const EVENT_VALUE_BYTES_MAX: usize = 16 * 1024;
/// A page of a list in bytes; the page ends early and the next one goes on. A single larger item is sent alone.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A page of a list unless `limit` says otherwise.
pub const PAGE_DEFAULT: u32 = 50;
/// A reason, as people write it.
pub const REASON_BYTES_MAX: usize = 1_024;
/// A prefix at which a host mounts the module.
pub const PREFIX_BYTES_MAX: usize = 256;
/// A page of a list.
pub const PAGE_MAX: u32 = 200;
/// An `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;
/// One evaluation of an expression on a worker thread; honest use takes microseconds.
pub const EVALUATION_MS_MAX: u64 = 1_000;
/// Tries of a step, as `retry.attempts` counts them.
pub const ATTEMPTS_MAX: u32 = 100;
/// Threads that decide. More than the processors gain nothing: they only compute.
pub const WORKERS_MAX: usize = 16;
/// A configuration file, or what a host hands over instead: a hundred times what a full one has.
pub const CONFIG_BYTES_MAX: usize = 1024 * 1024;
/// One expression or one string with `{{ }}`. Beyond this it is a program, and the parser's work grows with it.
pub const EXPRESSION_BYTES_MAX: usize = 64 * 1024;
/// `{{ }}` and `{% %}` in one string: every one is compiled and costs memory as long as the definition lives.
pub const EXPRESSION_TAGS_MAX: usize = 512;
/// Tokens in one tag. The engine's parser recurses: about 2,000 tokens end a 2 MiB stack in a debug build.
pub const EXPRESSION_TOKENS_MAX: usize = 256;
/// Blocks within blocks (`if`, `elif`, `for`), and literals or filters within each other: what recurses later.
pub const EXPRESSION_DEPTH_MAX: usize = 64;
/// Fuel of one evaluation: about one per operation and per 64 bytes made. 100 objects filtered take 353.
pub const EXPRESSION_FUEL: u64 = 10_000;
/// Fuel of all evaluations of one value tree or one transform together: some 50 ms on a small machine.
pub const EXPRESSION_FUEL_TOTAL: u64 = 1_000_000;
/// A result, as JSON text: what a step may keep.
pub const EXPRESSION_RESULT_BYTES_MAX: usize = STEP_OUTPUT_BYTES_MAX;
/// Data that one tag can bring together, as JSON text and with every repetition counted: bounds the memory that
/// the engine takes before it charges for it. Twice a run's variables.
pub const EXPRESSION_DATA_BYTES_MAX: usize = 2 * RUN_VARS_BYTES_MAX;
/// Items of a `range()`. The largest in honest use is a loop over a day's minutes.
pub const EXPRESSION_RANGE_MAX: usize = 10_000;
/// Further arguments of `map`, `batch` and `slice`: each of many items may come to hold one.
pub const EXPRESSION_ARGUMENT_BYTES_MAX: usize = 1_024;
/// A regular expression's source.
pub const REGEX_PATTERN_BYTES_MAX: usize = 1_024;
/// A compiled regular expression: some hundred states, which each byte of text may visit.
pub const REGEX_PROGRAM_BYTES_MAX: usize = 32 * 1024;
/// Text that one regular expression goes through: at some hundred states per byte half a second at worst.
pub const REGEX_TEXT_BYTES_MAX: usize = 256 * 1024;
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
/// Bytes of the write-ahead log that exist from the start on: half of what is written between two checkpoints.
pub const WAL_BYTES_TAKEN: usize = 4 * 1024 * 1024;
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
/// Answers that an approval may offer: as many as a person chooses from at a glance.
pub const ACTIONS_MAX: usize = 16;
/// People who may be named as approvers of one step.
pub const APPROVERS_MAX: usize = 64;
/// What goes with a person's answer to an approval.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Who answers, in words.
pub const ANSWERED_BY_BYTES_MAX: usize = 128;
/// An event's topic, or a pattern of topics: what hosts take.
pub const TOPIC_BYTES_MAX: usize = 256;
/// Triggers of one workflow. Each may be a row and a line of an index.
pub const TRIGGERS_MAX: usize = 32;
/// A cron expression: longer ones are lists that belong into two triggers.
pub const CRON_BYTES_MAX: usize = 256;
/// Runs that `missed: all` starts for the time that nothing ran: four days of hours.
pub const MISSED_RUNS_MAX: usize = 100;
/// From here on a time of a schedule counts as missed: a busy machine is seldom a minute behind.
pub const MISSED_LATE_MS: i64 = 60_000;
/// Events of the host that wait to be matched. Beyond, the host is told BUSY and keeps its own.
pub const EVENTS_QUEUED_MAX: usize = 1_024;
/// An event that starts a run becomes part of its journal: what a webhook may send.
pub const EVENT_BYTES_MAX: usize = 256 * 1024;
/// A webhook's signature holds this long, either way: what Standard Webhooks says.
pub const HOOK_TOLERANCE_S: i64 = 300;
/// `concurrency.max`.
pub const CONCURRENCY_RUNS_MAX: u32 = 1_000;
/// A rendered `concurrency.key`: it is part of a row of every run that it counts for.
pub const CONCURRENCY_KEY_BYTES_MAX: usize = 256;
/// Kinds of requests that are counted apart: some hundred routes with the statuses that they give.
pub const HTTP_SERIES_MAX: usize = 2_000;
/// Bytes of one file of `/proc` or `/sys` that are read: the longest, `/proc/stat` of many processors, has far less.
pub const SYSTEM_FILE_BYTES_MAX: u64 = 256 * 1024;
/// Entries of one folder of `/sys` that are looked at: a Pi has two zones and some ten hardware monitors.
pub const SYSTEM_ENTRIES_MAX: usize = 64;
/// Entries of the data folder that are counted for `/system`: it has some ten, and a few for each backup.
pub const DATA_ENTRIES_MAX: usize = 4_096;
/// Looks in a row that must agree before an alert is raised or cleared: a peak of a minute is no news.
pub const ALERT_LOOKS: u32 = 3;
/// The least that `security.secret_key` has: 256 bits of base64 have 43 characters, and the predecessor asked for 32.
pub const SECRET_KEY_CHARS_MIN: usize = 32;
/// The least a secret's value has: shorter ones would be found in ordinary text, which hiding them would spoil.
pub const SECRET_VALUE_BYTES_MIN: usize = 6;
/// A secret's value: a private key in PEM with room.
pub const SECRET_VALUE_BYTES_MAX: usize = 16 * 1024;
/// Secrets in all: each is looked for in every output, and takes some ten patterns of memory.
pub const SECRETS_MAX: usize = 256;
/// Hosts of one secret. Each is written by a person.
pub const SECRET_HOSTS_MAX: usize = 32;
/// A secret's description: one line.
pub const SECRET_DESCRIPTION_CHARS_MAX: usize = 200;
/// Pages of one `api_call` unless `pagination.max_pages` says otherwise.
pub const PAGES_DEFAULT: u32 = 10;
/// Pages of one `api_call` at most: with the bound on its bytes what one step may keep.
pub const PAGES_MAX: u32 = 1_000;
/// A mail server's reply: a hundred lines, as its offers have at most.
pub const SMTP_REPLY_BYTES_MAX: usize = 16 * 1024;
/// One mail, unless the step has a timeout: servers look at a message for up to half a minute.
pub const SMTP_TOTAL_S_DEFAULT: u64 = 60;
/// Recipients of one mail, as every server must take them.
pub const MAIL_RECIPIENTS_MAX: usize = 100;
/// Attachments of one mail.
pub const MAIL_ATTACHMENTS_MAX: usize = 20;
/// A mail as it is sent. An input holds 1 MiB; base64 and both bodies fit.
pub const MAIL_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A mail's subject in characters: what a line of a header can hold of it folded a few times.
pub const MAIL_SUBJECT_CHARS_MAX: usize = 500;
/// A run in the archive before compression: what a Pi unpacks at once to show a page of it. Larger runs stay in the journal.
pub const ARCHIVE_RUN_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Runs moved to the archive in one transaction: enough to keep up with the writer at its fastest.
pub const ARCHIVE_RUNS_MAX: usize = 512;
/// Records moved to the archive in one transaction, so that a commit of work never waits long behind it.
pub const ARCHIVE_RECORDS_MAX: usize = 8_192;
/// Records of the journal searched for ends of runs in one piece of upkeep.
pub const ARCHIVE_SCAN_MAX: u32 = 16_384;
/// Records behind the newest one at which finished runs go to the archive whatever their age: some 10 MB of journal.
pub const JOURNAL_RECORDS_TARGET: i64 = 32_768;
/// Rows deleted in one transaction by retention.
pub const RETENTION_ROWS_MAX: u32 = 512;
/// Pages given back to the disk in one transaction: 2 MiB, so that a commit of work waits some milliseconds at most.
pub const VACUUM_PAGES_MAX: u32 = 512;
/// Free pages that the database keeps for what comes next: 1 MiB.
pub const VACUUM_PAGES_KEPT: i64 = 256;
/// Pieces of upkeep queued at the writer. One thread makes them, and a person's `fsck` perhaps another.
pub const CHORES_QUEUED_MAX: usize = 8;
/// Commits of work before a waiting piece of upkeep gets its turn, so that it is not starved by a busy writer.
pub const CHORE_COMMITS_MAX: u32 = 4;
/// The reserve file: room for the write-ahead log at its cap, with which deleting works on a full disk.
pub const RESERVE_BYTES: u64 = 16 * 1024 * 1024;
/// Between two tries to write on a disk that is full.
pub const ROOM_LOOK_MS: u64 = 500;
/// Between two looks for upkeep when there was nothing to do.
pub const UPKEEP_LOOK_S: u64 = 5;
/// How much faster than the machine runs things may become old when the wall clock is ahead: an hour of a wrong clock is a
/// day of age, and a month without power is caught up in a day or so.
pub const UPKEEP_CLOCK_SPEED_MAX: u32 = 24;
/// Runs back from the newest one to that which says what time it is at least: more than a wrong clock's hours make on a machine
/// that is not busy, and one page.
pub const UPKEEP_CLOCK_RUNS: u32 = PAGE_MAX;
/// How long timers and schedules wait for a clock that stands before what the last process has left: a network and its time
/// server are there by then, or will not come.
pub const CLOCK_WAIT_S: u64 = 3_600;
/// How far the time of upkeep may stay behind the wall clock before the journal is asked again.
pub const UPKEEP_CLOCK_BEHIND_S: u64 = 86_400;
/// How long `wait_edge` waits when its step has no `timeout`: longer waits should be a person's decision, because the run
/// stays at work meanwhile.
pub const WAIT_EDGE_DEFAULT: Duration = Duration::from_secs(3_600);
/// What a pulse or pwm may take beyond its `duration`: its turn among the effects.
pub const PIN_SLACK: Duration = Duration::from_secs(30);
/// Configured pins: a header has 28.
pub const PINS_MAX: usize = 64;
/// A message to a broker: what brokers take unless told otherwise.
pub const MQTT_PACKET_BYTES_MAX: usize = 256 * 1024;
/// The operator's constants together: they are copied into scopes, and a table belongs into a file that a step reads.
pub const CONSTANTS_BYTES_MAX: usize = 64 * 1024;
/// Channels of one notification, and of the configuration.
pub const CHANNELS_MAX: usize = 32;
/// Messages in the outbox that are still to be sent: a day without network at one message in nine seconds.
pub const OUTBOX_ROWS_MAX: usize = 10_000;
/// What they may weigh together: a small part of a card, and read back one at a time.
pub const OUTBOX_BYTES_MAX: usize = 64 * 1024 * 1024;
/// One message: what receivers of webhooks take as a rule.
pub const OUTBOX_MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Delivered messages that are kept, and as many that were given up: what a person looks through.
pub const OUTBOX_KEPT_MAX: u32 = 1_000;
/// Rows of the outbox deleted in one transaction.
pub const OUTBOX_PRUNE_ROWS_MAX: u32 = 256;
/// Messages under way at once: a receiver that hangs holds one for its timeout.
pub const OUTBOX_SENDS_MAX: usize = 8;
/// One try of a message: what Standard Webhooks gives a receiver.
pub const OUTBOX_TRY_S_MAX: u64 = 30;
/// How long a receiver that says 429, 502 or 504 is left alone when it does not say how long.
pub const OUTBOX_SLOW_S: u64 = 60;
/// Decisions of one case of a test or of a dry run: a loop of the most iterations takes a few for each.
pub const TEST_TURNS_MAX: u32 = 1_000_000;
/// Previews and dry runs at once: a Pi has four cores, and runs come first.
pub const ASIDES_MAX: usize = 2;
/// How long one of them may take: a person waits for it.
pub const ASIDE_MS_MAX: u64 = 2_000;
/// Cases in one test file: more are several files.
pub const TEST_CASES_MAX: usize = 1_000;
/// Users: a house, a shop or a class. All are held in memory.
pub const USERS_MAX: usize = 256;
/// Logins of one user at once; the one that was idle longest gives way.
pub const LOGINS_PER_USER_MAX: usize = 32;
/// API tokens of one user: one a device or program.
pub const TOKENS_PER_USER_MAX: usize = 64;
/// Spent refresh tokens that are known again, of one login: a day of a program that renews every quarter of an hour. An older
/// one is refused like any that is unknown.
pub const REFRESH_SPENT_MAX: u32 = 96;
/// A user's or a token's name.
pub const ACCOUNT_NAME_BYTES_MAX: usize = 63;
/// A password: a long sentence. Hashing reads all of it, and strangers send it.
pub const PASSWORD_BYTES_MAX: usize = 1_024;
/// Passwords hashed at once: each takes 19 MiB and a processor for a tenth of a second or more.
pub const PASSWORD_HASHES_MAX: usize = 2;
/// Cost of a bcrypt hash that was taken over: above it one try would hold a processor of a Pi for many seconds.
pub const BCRYPT_COST_MAX: u32 = 14;
/// Tries to sign in within a minute, for one account and for one address.
pub const SIGN_IN_TRIES_MAX: usize = 5;
/// Accounts and addresses, each, whose tries are counted at once; beyond it nobody new may try for a minute.
pub const SIGN_IN_KEYS_MAX: usize = 4_096;
/// What every answer to a sign-in takes at least: above argon2id on the slowest Pi.
pub const SIGN_IN_FLOOR_MS: u64 = 1_000;
/// Requests of strangers under way at once: signing in, renewing, setting up.
pub const STRANGERS_MAX: usize = 8;
/// Body of such a request: a name, a password and a token.
pub const STRANGER_BODY_BYTES_MAX: usize = 8 * 1024;
/// How long the refresh token before the good one gets "a moment ago" and not the end of its login: two tabs of a browser.
pub const REFRESH_GRACE_S: u64 = 10;
/// A login in a browser ends when it was idle this long.
pub const BROWSER_IDLE_S: u64 = 1_800;
/// A login in a browser ends after this long: a working day with its breaks.
pub const BROWSER_LOGIN_S: u64 = 43_200;
/// How far clocks may differ when an access token's times are checked.
pub const ACCESS_LEEWAY_S: i64 = 30;
/// An access token: our own have about 400.
pub const ACCESS_TOKEN_BYTES_MAX: usize = 4_096;
/// An API token's life: whoever made it may have left.
pub const API_TOKEN_DAYS_MAX: u64 = 366;
/// An API token's life unless it is said.
pub const API_TOKEN_DAYS_DEFAULT: u64 = 90;
/// Scopes of one API token.
pub const SCOPES_MAX: usize = 32;
/// Between two writes of when an API token was last used: a card is not to be worn by reading.
pub const TOKEN_USED_EVERY_S: u64 = 3_600;
/// What a client calls itself, as it is kept of a login.
pub const AGENT_CHARS_MAX: usize = 120;
/// Credentials whose rate is counted; beyond it those that made no request for a while are forgotten.
pub const RATES_MAX: usize = 4_096;
/// Pages that a backup copies in one step: 1 MiB, after which it says how far it is.
pub const BACKUP_PAGES_STEP: i32 = 256;
/// Pages of a backup that may wait for the disk: 4 MiB, which a slow card writes in half a second, and a commit behind them too.
pub const BACKUP_PAGES_SYNC: i32 = 1_024;
/// Backups that are listed: three years of daily ones.
pub const BACKUPS_LISTED_MAX: usize = 1_000;
/// A backup's manifest: some tens of tables.
pub const MANIFEST_BYTES_MAX: u64 = 1024 * 1024;
/// Secrets under a passphrase: all there may be, at their largest, in base64 twice.
pub const SECRETS_EXPORT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Databases as they were before a migration: the last three upgrades.
pub const BACKUPS_BEFORE_MIGRATION: usize = 3;
/// A passphrase: shorter ones are guessed, however slow each guess is.
pub const PASSPHRASE_CHARS_MIN: usize = 12;
/// Between two looks at the schedule of backups: it is a matter of days.
pub const BACKUP_LOOK_S: u64 = 15;
/// After a backup that failed, until the next try: an operator who frees room should not wait a day.
pub const BACKUP_RETRY_S: u64 = 3_600;
/// Spans of one trace beside its run's: what collectors take in one request.
pub const TRACE_SPANS_MAX: usize = 2_000;
/// Records that the sender of traces reads at once.
pub const TRACE_PAGE: u32 = 500;
/// Between two looks for runs that have ended: a trace is for looking back.
pub const TRACE_LOOK_S: u64 = 2;
/// The longest pause between two tries of a trace: a collector that is back should hear of what it missed.
pub const TRACE_PAUSE_S_MAX: u64 = 300;
/// For one trace to be taken.
pub const TRACE_SEND_S: u64 = 30;
/// Rows of the audit log that are sealed, and later dropped, together.
pub const AUDIT_SEGMENT_ROWS: i64 = 100;
/// Between two rows about requests that were refused: strangers must not fill the disk. A year of them is some megabytes.
pub const AUDIT_REFUSALS_EVERY_S: u64 = 600;
/// What a row of the audit log says besides: names.
pub const AUDIT_META_BYTES_MAX: usize = 2_048;
/// To the head of a model's reply: a small machine reads a long prompt for minutes.
pub const MODEL_FIRST_S_MAX: u64 = 180;
/// Between two pieces of a model's reply.
pub const MODEL_SILENCE_S_MAX: u64 = 60;
/// One call of a model with all its tries, waits and fallbacks, where nobody says less.
pub const MODEL_CALL_S_MAX: u64 = 1_800;
/// Tries of one call at one model, where the configuration does not say.
pub const MODEL_TRIES_DEFAULT: u32 = 3;
/// Before the second try; it doubles, and a random part of it is waited.
pub const MODEL_RETRY_MS: u64 = 500;
/// A wait before another try, the server's own wish included: who is to wait for longer is asked another time.
pub const MODEL_WAIT_S_MAX: u64 = 60;
/// Failures in a row after which a server is left alone.
pub const MODEL_FAILURES_MAX: u32 = 5;
/// How long it is, at first.
pub const MODEL_BREAK_S_MIN: u64 = 15;
/// How long it is, at most.
pub const MODEL_BREAK_S_MAX: u64 = 300;
/// Tokens of a reply where nobody said it.
pub const MODEL_OUTPUT_DEFAULT: u32 = 2_048;
/// Models, and servers of models, of a configuration; each is written by a person.
pub const MODELS_MAX: usize = 64;
/// A context in tokens beyond which a number is a mistake.
pub const MODEL_CONTEXT_MAX: u32 = 10_000_000;
/// A price for a million tokens beyond which it is a mistake.
pub const MODEL_PRICE_MAX: f64 = 1_000_000.0;
/// Presets of a configuration; each is written by a person.
pub const PRESETS_MAX: usize = 64;
/// Instructions of a preset: some pages.
pub const PRESET_BYTES_MAX: usize = 16 * 1024;
/// How long a request waits for a model that is asked how it calls tools, within the least time of a request that is usual.
pub const PROBE_ANSWER_S: u64 = 20;
/// Models that figures tell apart: some configurations after one another.
pub const MODEL_SERIES_MAX: usize = 4 * MODELS_MAX;
/// A model's reply as it travels: a long answer in pieces of 200 bytes a token is within it.
pub const MODEL_REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A server's list of its models.
pub const MODEL_LIST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What is read of a server's refusal: more than any message.
pub const MODEL_REFUSAL_BYTES_MAX: usize = 64 * 1024;
/// Calls of tools in one reply; an honest model makes a handful.
pub const MODEL_CALLS_MAX: usize = 64;
/// Context in tokens where nobody said it: what every model of today has.
pub const MODEL_CONTEXT_DEFAULT: u32 = 4_096;

/// Instructions, description and blocks of one agent: a quarter of a small model's context and more.
pub const AGENT_TEXT_BYTES_MAX: usize = 64 * 1024;
/// Calls of the model in one task unless the budget says another number.
pub const TASK_TURNS_DEFAULT: u32 = 10;
/// As above, at most: a longer task belongs in a workflow.
pub const TASK_TURNS_MAX: u32 = 100;
/// Calls of tools in one task unless the budget says another number.
pub const TASK_TOOL_CALLS_DEFAULT: u32 = 25;
/// As above, at most.
pub const TASK_TOOL_CALLS_MAX: u32 = 500;
/// A result of a tool in a prompt: a quarter of a small model's context.
pub const TOOL_RESULT_BYTES_MAX: usize = 64 * 1024;
/// How long a person has to allow a call of a tool.
pub const APPROVAL_TIME: Duration = Duration::from_secs(15 * 60);
/// Failed tasks in a row after which an agent takes no more until somebody looks at it.
pub const AGENT_FAILURES_MAX: u32 = 3;
/// Live agents unless the configuration says another number.
pub const AGENTS_MAX_DEFAULT: usize = 50;
/// Operations in one pipeline of a data processor: nobody reads a longer one.
pub const DATA_OPERATIONS_MAX: usize = 32;
/// Columns that one operation names: wider tables are not made by hand.
pub const DATA_COLUMNS_MAX: usize = 256;
/// Rows of one source: an hour of a Pi's work.
pub const DATA_ROWS_MAX: u64 = 10_000_000;
/// Bytes of one source, which pass by and are not held.
pub const DATA_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// One row: as large as a step's output, and the most that a parser holds.
pub const DATA_ROW_BYTES_MAX: usize = STEP_OUTPUT_BYTES_MAX;
/// Work of all expressions of one task: a hundred for each of the rows there may be.
pub const DATA_FUEL_MAX: u64 = 1_000_000_000;
/// What is written, so that figures fit beside it into a step's output.
pub const DATA_OUTPUT_BYTES_MAX: usize = STEP_OUTPUT_BYTES_MAX - 128 * 1024;
/// Between two pieces of a source on the network.
pub const DATA_SILENCE_S_MAX: u64 = 60;
/// What a tool's reply may have unless its grant says more: a few thousand words for a model.
pub const TOOL_REPLY_BYTES_DEFAULT: usize = 64 * 1024;
/// A pulse that a model asks for, unless the grant says more: what waters a bed.
pub const TOOL_PULSE_S_DEFAULT: u64 = 60;
/// The longest pulse that a grant can allow: longer ones belong into a workflow that a person wrote.
pub const TOOL_PULSE_S_MAX: u64 = 3_600;
/// Operations of one API that an agent may use: a model chooses badly among more.
pub const API_OPERATIONS_MAX: usize = 64;
/// Parts of the schema of one argument, references written out: a large one has some hundred.
pub const API_SCHEMA_NODES_MAX: usize = 4_000;
/// Agents whose rate of requests is remembered: more than there may be.
pub const API_RATES_MAX: usize = 1_024;
/// Items that one agent remembers, and those of its owner's agents together: years of a busy assistant, and a search stays quick.
pub const MEMORY_ITEMS_MAX: u32 = 20_000;
/// Text of one item: a page.
pub const MEMORY_ITEM_BYTES_MAX: usize = 16 * 1024;
/// Blocks of one agent: all of them are in every prompt.
pub const MEMORY_BLOCKS_MAX: u32 = 32;
/// Characters of a block, whatever it allows itself: the smallest contexts hold about as much.
pub const MEMORY_BLOCK_CHARS_MAX: u32 = 16_000;
/// A block's description: a few sentences.
pub const MEMORY_DESCRIPTION_BYTES_MAX: usize = 2_048;
/// Words of one search: beyond, hardly anything changes in what is found.
pub const MEMORY_TERMS_MAX: usize = 32;
/// Characters of one of them; longer ones are no words.
pub const MEMORY_TERM_CHARS_MAX: usize = 64;
/// Messages of an archive that one transaction forgets; the rest follows in the next, so that runs are not kept waiting.
pub const ARCHIVE_FORGET_ROWS_MAX: u32 = 2_048;
/// Archives of chats that are listed: each is an import by hand.
pub const ARCHIVES_LISTED_MAX: u32 = 200;
/// An export of chats: years of daily use are some hundred megabytes.
pub const ARCHIVE_FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// One conversation of it as it is written, the only one in memory: a book.
pub const ARCHIVE_CONVERSATION_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Messages of an archive in one transaction, so that runs are not kept waiting.
pub const ARCHIVE_ADD_ROWS_MAX: usize = 512;
/// Their text.
pub const ARCHIVE_ADD_BYTES_MAX: usize = 1024 * 1024;
/// Between two pieces of an export that is sent: a client that stalls must not hold a place.
pub const ARCHIVE_SILENCE_S_MAX: u64 = 30;
/// A whole export over a slow network and onto a slow card.
pub const ARCHIVE_IMPORT_S_MAX: u64 = 3_600;
/// Tokens of a prompt that memory and task may take together: three quarters of the smallest context that is assumed.
pub const MEMORY_TOKENS_DEFAULT: u64 = MODEL_CONTEXT_DEFAULT as u64 * 3 / 4;
/// MCP servers of the operator's file. Each may be a process.
pub const MCP_SERVERS_MAX: usize = 16;
/// Without a call, until an MCP server is left: starting one takes a second, holding one tens of megabytes.
pub const MCP_IDLE_S_DEFAULT: u64 = 300;
/// For an MCP server's greeting and each answer, unless its entry says another.
pub const MCP_TIMEOUT_S_DEFAULT: u64 = 60;
/// Calls at one MCP server at once, and lines that wait for it to read.
pub const MCP_CALLS_MAX: usize = 32;
/// What an MCP server may send from one request to the next: a large list of tools with room.
pub const MCP_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Lines of an MCP server that are no messages: a greeting, not a log.
pub const MCP_NOISE_LINES_MAX: usize = 100;
/// What an MCP server may ask of us while it works on one request, and is refused.
pub const MCP_ASKED_MAX: usize = 32;
/// Times that an MCP server may break a stream off and go on with it, for one request: ten minutes of a server that does so every ten seconds.
pub const MCP_RESUMES_MAX: usize = 60;
/// Until a stream that broke off is asked for again, unless its server says how long: what other clients wait.
pub const MCP_RESUME_MS_DEFAULT: u64 = 1_000;
/// The least that is waited whatever a server says, so that no server makes us ask in a loop.
pub const MCP_RESUME_MS_MIN: u64 = 100;
/// The text of an MCP server's refusal: as that of a model server.
pub const MCP_REFUSAL_BYTES_MAX: usize = MODEL_REFUSAL_BYTES_MAX;
/// How long an MCP server over HTTP has to hear that it is left, or that nobody waits for a reply. Part of a stop.
pub const MCP_LEAVE_S_MAX: u64 = 1;
/// Pages of a list of tools.
pub const MCP_PAGES_MAX: usize = 16;
/// Tools that one MCP server lists.
pub const MCP_TOOLS_MAX: usize = 256;
/// A tool's words and schema: a model reads them all.
pub const MCP_SCHEMA_BYTES_MAX: usize = 32 * 1024;
/// How long a call of a published tool waits for its run before it gives the run's id: clients of MCP give up after a minute.
pub const MCP_WAIT_S_MAX: u64 = 30;
/// Notices of progress of one call of a published tool: a bar on a screen has no more places.
pub const MCP_PROGRESS_MAX: u32 = 200;
/// Content blocks of one result of a published tool: a page of text and pictures.
pub const MCP_BLOCKS_MAX: usize = 32;
/// Published tools on one page of a list.
pub const MCP_LISTED_MAX: usize = 50;
/// The result of a published tool: a model reads it whole.
pub const MCP_SERVED_BYTES_MAX: usize = 256 * 1024;
/// A result of an MCP tool: as large as any tool's.
pub const MCP_RESULT_BYTES_MAX: usize = TOOL_REPLY_BYTES_DEFAULT;
/// Calls at once to one server of models; more wait for a place. As many as there may be agents.
pub const MODEL_PLACES_MAX: usize = 200;
/// Runs that a report of supervision tells one by one.
pub const SUPERVISED_TOLD_MAX: usize = 100;
/// Trees of tasks whose accounts are held in memory.
pub const LEDGER_TREES_MAX: usize = 4_096;
/// Of a reply that comes, put together before it is told to those who watch.
pub const DELTA_BYTES: usize = 512;
/// For how long.
pub const DELTA_MS: u64 = 50;
/// What is said in one message of a conversation.
pub const TASK_TEXT_BYTES_MAX: usize = 64 * 1024;
