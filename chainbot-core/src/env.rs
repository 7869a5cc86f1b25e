//! The only clock, the only randomness and the only fault switch of the core. Everything that decides takes its time and its
//! ids from here, so a test can hold the clock still and repeat the ids.

#[cfg(feature = "fault")]
pub mod fault;
#[doc(hidden)]
pub mod proof;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use uuid::Uuid;

use crate::id::{ArchiveId, InboxId, LoginId, MemoryId, RunId, ThreadId, TokenId, UserId, WorkflowId};
use crate::time::Timestamp;

/// A named place where a test lets something go wrong; nothing without the feature `fault`. Alone it may panic, hang or end
/// the process; with the way to make an error of it, or with `=> what to do instead`, it may fail as well.
#[doc(hidden)]
#[macro_export]
macro_rules! fault {
    ($name:literal) => {
        #[cfg(feature = "fault")]
        {
            $crate::env::fault::pass($name);
        }
    };
    ($name:literal, $error:path) => {
        #[cfg(feature = "fault")]
        {
            if let Some(what) = $crate::env::fault::fails($name) {
                return Err($error(what));
            }
        }
    };
    ($name:literal => $instead:expr) => {
        #[cfg(feature = "fault")]
        {
            if $crate::env::fault::fails($name).is_some() {
                $instead
            }
        }
    };
}

/// Whether this process breaks a promise on purpose; false without the feature `fault`.
#[doc(hidden)]
#[macro_export]
macro_rules! sabotaged {
    ($promise:literal) => {{
        #[cfg(feature = "fault")]
        let is_broken = $crate::env::fault::is_sabotaged($promise);
        #[cfg(not(feature = "fault"))]
        let is_broken = false;
        is_broken
    }};
}

/// A source of wall-clock and monotonic time.
pub trait Clock: Send + Sync {
    /// Wall-clock time. May jump.
    fn now(&self) -> Timestamp;
    /// Time since some fixed moment. Never goes back.
    fn monotonic(&self) -> Duration;
}

/// A source of random bytes.
pub trait Random: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// Clock and randomness, handed to whoever needs them.
#[derive(Clone)]
pub struct Env {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl Env {
    /// The machine's clock and the operating system's randomness.
    pub fn system() -> Self {
        Self { clock: Arc::new(SystemClock { start: Instant::now() }), random: Arc::new(SystemRandom) }
    }

    /// With another clock or another randomness: a host's clock, a test's.
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { clock, random }
    }

    /// Wall-clock time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Monotonic time.
    pub fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.random.fill(&mut out);
        out
    }

    /// A random number below `below` (0 when `below` is 0). The bias is below 2^-32 for what we draw.
    pub fn below(&self, below: u64) -> u64 {
        if below == 0 { 0 } else { u64::from_le_bytes(self.bytes()) % below }
    }

    fn uuid(&self) -> Uuid {
        let millis = u64::try_from(self.now().0).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &self.bytes()).into_uuid()
    }

    /// An id for a new run.
    pub fn run_id(&self) -> RunId {
        RunId(self.uuid())
    }

    /// An id for a new workflow.
    pub fn workflow_id(&self) -> WorkflowId {
        WorkflowId(self.uuid())
    }

    /// An id for a new user.
    pub fn user_id(&self) -> UserId {
        UserId(self.uuid())
    }

    /// An id for a new login.
    pub fn login_id(&self) -> LoginId {
        LoginId(self.uuid())
    }

    /// An id for a new API token.
    pub fn token_id(&self) -> TokenId {
        TokenId(self.uuid())
    }

    /// An id for a new conversation with an agent.
    pub fn thread_id(&self) -> ThreadId {
        ThreadId(self.uuid())
    }

    /// An id for something that an agent remembers.
    pub fn memory_id(&self) -> MemoryId {
        MemoryId(self.uuid())
    }

    /// An id for a new archive of chats.
    pub fn archive_id(&self) -> ArchiveId {
        ArchiveId(self.uuid())
    }

    /// An id for a new question to a person.
    pub fn inbox_id(&self) -> InboxId {
        InboxId(self.uuid())
    }
}

/// The machine's clock.
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// The operating system's randomness.
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        if let Err(error) = getrandom::fill(bytes) {
            // Ids and tokens without randomness would be a silent security failure, and Linux gives
            // randomness to every process once booted.
            panic!("the operating system gives no randomness: {error}");
        }
    }
}

/// A clock that moves only when told to.
#[derive(Default)]
pub struct VirtualClock(Mutex<(i64, Duration)>);

impl VirtualClock {
    /// Stands at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(Mutex::new((now.0, Duration::ZERO)))
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let mut state = self.0.lock();
        state.0 += i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        state.1 += by;
    }

    /// Sets the wall clock alone, as a time server or a flat battery does.
    pub fn jump_to(&self, now: Timestamp) {
        self.0.lock().0 = now.0;
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.lock().0)
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().1
    }
}

/// Randomness that repeats: a seed and a counter through blake3.
pub struct SeededRandom(Mutex<(u64, u64)>);

impl SeededRandom {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new((seed, 0)))
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.0.lock();
        state.1 += 1;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&state.0.to_le_bytes()).update(&state.1.to_le_bytes());
        hasher.finalize_xof().fill(bytes);
    }
}
