//! The last words of a check's process: what a fault touched, or which call does not return.
//!
//! The handler only runs in a child made for one exercise, writes constant texts with `write` and lets the fault
//! happen again, so that the parent sees the signal.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::pages::{Label, label_at};
use super::record;

/// Calls that threads of the validator make at once, with room to spare.
const CALLS_MAX: usize = 16;
/// How the process ends when a call does not return; the parent has read why in the report.
pub const EXIT_HANGING: i32 = 70;
/// How often the watch looks.
const LOOK: Duration = Duration::from_millis(50);

/// Installs the handler for faults of memory.
pub fn install() -> io::Result<()> {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: an all-zero sigaction is valid: no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        action.sa_sigaction =
            (on_fault as extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void)) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND;
        // SAFETY: the action is whole, and its function keeps to what a handler may do.
        if unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

extern "C" fn on_fault(_signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the system passes a valid structure to a handler with SA_SIGINFO.
    let address = unsafe { (*info).si_addr() }.addr();
    let line: &[u8] = match label_at(address) {
        Some(Label::Taken) => b"{\"fail\":\"borrowed-pointers\",\"text\":\"an argument was used after its call had returned\"}\n",
        Some(Label::Lent) => b"{\"fail\":\"borrowed-pointers\",\"text\":\"an argument that is lent to be read was written to\"}\n",
        Some(Label::BehindArgument) => b"{\"fail\":\"argument-bounds\",\"text\":\"bytes behind the end of an argument were touched\"}\n",
        Some(Label::BehindError) => b"{\"fail\":\"error-buffer\",\"text\":\"more than `cap` bytes were written into an ErrorBuf\"}\n",
        Some(Label::BehindHealth) => b"{\"fail\":\"health-fields\",\"text\":\"bytes behind the end of the Health were written\"}\n",
        Some(Label::Host) => b"{\"fail\":\"host-read-only\",\"text\":\"the Host, which is the host's, was written to\"}\n",
        Some(Label::HostGone) => b"{\"fail\":\"host-after-cleanup\",\"text\":\"the Host was read after cleanup (or after a failed initialize)\"}\n",
        // Not ours to explain: the parent names the signal and the latest call.
        Some(Label::Free) | None => b"",
    };
    // SAFETY: `write` may be called in a handler; the bytes are constant.
    unsafe { libc::write(record::report_fd(), line.as_ptr().cast(), line.len()) };
    // SA_RESETHAND has put the default back: the same instruction faults again and ends the process.
}

/// The deadline of the call that a thread makes, in milliseconds since `ORIGIN`; 0 when it makes none.
static DEADLINES: [AtomicU64; CALLS_MAX] = [const { AtomicU64::new(0) }; CALLS_MAX];
static NAMES: [AtomicU64; CALLS_MAX] = [const { AtomicU64::new(0) }; CALLS_MAX];
static NEXT_SLOT: AtomicU64 = AtomicU64::new(0);
static ORIGIN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

thread_local! {
    static SLOT: Cell<usize> = Cell::new(NEXT_SLOT.fetch_add(1, Ordering::Relaxed) as usize % CALLS_MAX);
}

/// The calls that are watched, and the check that a call fails which does not return.
const WATCHED: [(&str, &str); 17] = [
    ("describe", "describe-time"),
    ("initialize", "initialize-arguments"),
    ("start", "restart"),
    ("stop", "stop-deadline"),
    ("cleanup", "restart"),
    ("health", "call-time"),
    ("handle_event", "call-time"),
    ("handle_webhook", "call-time"),
    ("get_extension", "call-time"),
    ("metrics.snapshot", "metrics"),
    ("drain.begin", "drain"),
    ("drain.cancel", "drain"),
    ("drain.export_state", "drain"),
    ("drain.import_state", "drain"),
    ("reconfigure.check", "reconfigure"),
    ("reconfigure.apply", "reconfigure"),
    ("reconfigure.snapshot", "reconfigure"),
];

/// A call under way on this thread, for at most `limit`.
pub struct Watched(usize);

impl Watched {
    /// The call begins.
    pub fn begin(call: &str, limit: Duration) -> Self {
        let slot = SLOT.get();
        let name = WATCHED.iter().position(|(name, _)| *name == call).unwrap_or(0);
        NAMES[slot].store(name as u64, Ordering::Relaxed);
        DEADLINES[slot].store((ORIGIN.elapsed() + limit).as_millis() as u64, Ordering::Release);
        Self(slot)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        DEADLINES[self.0].store(0, Ordering::Release);
    }
}

/// Ends the process when a call does not return. The thread lives as long as the process and is never joined.
pub fn watch() -> io::Result<()> {
    std::sync::LazyLock::force(&ORIGIN);
    let look = || {
        loop {
            std::thread::sleep(LOOK);
            let now = ORIGIN.elapsed().as_millis() as u64;
            let late = |(_, deadline): &(usize, &AtomicU64)| {
                let deadline = deadline.load(Ordering::Acquire);
                deadline != 0 && deadline < now
            };
            if let Some((slot, _)) = DEADLINES.iter().enumerate().find(late) {
                let (call, check) = WATCHED[NAMES[slot].load(Ordering::Relaxed) as usize];
                record::fail(check, format!("`{call}` did not return in time"));
                // SAFETY: ends the process at once; destructors could wait for the very thread that hangs.
                unsafe { libc::_exit(EXIT_HANGING) };
            }
        }
    };
    std::thread::Builder::new().name("watch".to_owned()).spawn(look).map(drop)
}
