//! What belongs to the process and not to a module: a module leaves it as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use super::record::fail;

/// Real-time signals end here on Linux.
const SIGNALS: i32 = 64;

/// The process at one moment.
#[derive(Clone, PartialEq, Eq)]
pub struct Surroundings {
    handlers: Vec<(usize, i32)>,
    mask: Vec<i32>,
    locale: String,
    folder: String,
    environment: BTreeMap<String, String>,
    umask: String,
}

impl Surroundings {
    /// Reads them; the mask is the calling thread's.
    pub fn now() -> Self {
        let umask = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let umask = umask.lines().find(|line| line.starts_with("Umask:")).unwrap_or_default().to_owned();
        let folder =
            std::env::current_dir().map_or_else(|error| error.to_string(), |dir| dir.display().to_string());
        let environment = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect();
        Self { handlers: handlers(), mask: mask(), locale: locale(), folder, environment, umask }
    }

    /// Writes down what differs from `before`; `phase` is what ran in between.
    pub fn compare(&self, before: &Self, phase: &str) {
        let changed: Vec<i32> = (1..=SIGNALS)
            .filter(|signal| {
                let at = *signal as usize - 1;
                self.handlers.get(at) != before.handlers.get(at)
            })
            .collect();
        if !changed.is_empty() {
            fail("signal-handlers", format!("the handlers of signals {changed:?} were changed by {phase}"));
        }
        if self.mask != before.mask {
            fail(
                "signal-mask",
                format!("{phase} changed the caller's mask: {:?} before, {:?} after", before.mask, self.mask),
            );
        }
        for (check, what, old, new) in [
            ("locale", "the locale", &before.locale, &self.locale),
            ("working-directory", "the working directory", &before.folder, &self.folder),
            ("umask", "the umask", &before.umask, &self.umask),
        ] {
            if old != new {
                fail(check, format!("{phase} changed {what}: `{old}` before, `{new}` after"));
            }
        }
        let names: BTreeSet<_> = self.environment.keys().chain(before.environment.keys()).collect();
        let changed: Vec<_> = names
            .into_iter()
            .filter(|name| self.environment.get(*name) != before.environment.get(*name))
            .collect();
        if !changed.is_empty() {
            fail("environment", format!("{phase} changed the environment: {changed:?}"));
        }
    }
}

fn handlers() -> Vec<(usize, i32)> {
    let read = |signal| {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: asks only; the two signals of glibc's own give an error and stay zero, which is a valid value.
        let action = unsafe {
            libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
            action.assume_init()
        };
        (action.sa_sigaction, action.sa_flags)
    };
    (1..=SIGNALS).map(read).collect()
}

fn mask() -> Vec<i32> {
    let mut mask = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: asks for the mask of this thread and fills the set.
    let mask = unsafe {
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), mask.as_mut_ptr());
        mask.assume_init()
    };
    // SAFETY: a filled set; a number that is no signal gives -1.
    (1..=SIGNALS).filter(|signal| unsafe { libc::sigismember(&mask, *signal) } == 1).collect()
}

fn locale() -> String {
    // SAFETY: asks only; the text is copied before anybody could change the locale.
    let name = unsafe { libc::setlocale(libc::LC_ALL, std::ptr::null()) };
    if name.is_null() {
        return String::new();
    }
    // SAFETY: the C library gives a string that ends with NUL.
    unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
}

/// Threads of the process, by id.
pub fn threads() -> BTreeSet<String> {
    names("/proc/self/task")
}

/// Names of some threads, for a message.
pub fn thread_names(ids: &BTreeSet<String>) -> String {
    let name = |id: &String| {
        let name = std::fs::read_to_string(format!("/proc/self/task/{id}/comm")).unwrap_or_default();
        format!("`{}`", name.trim_end())
    };
    ids.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Open descriptors and what they lead to.
pub fn descriptors() -> BTreeSet<String> {
    let shown = |fd: String| {
        let target = std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
        Some(format!("{fd} -> {}", target.display()))
    };
    // The descriptor that lists the folder is gone by now.
    names("/proc/self/fd").into_iter().filter_map(shown).collect()
}

fn names(folder: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Waits until something holds that takes a moment, such as the last steps of a thread that was joined.
pub fn settles(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + limit;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// How long a thread has waited for a processor so far. A call's time without it is the call's own, also on a busy
/// machine.
pub fn waited_for_processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = text.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    Duration::from_nanos(ns)
}
