//! The strict host: services that check everything a module passes, write down what is wrong, and fail or take their
//! time when told.
//!
//! One for the process, because a process runs one exercise. `Host` lies in a page that can only be read and is taken
//! away after cleanup; the functions stay, so that a late call of a module that copied them is told.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chainbot_abi::{ABI_VERSION, Event, Host, Sink, Status, Str};
use serde_json::Value;

use super::pages::ReadOnly;
use super::record::{fail, warn};
use crate::guard;
use crate::host::unix_ns;
use crate::limits::SUBSCRIPTIONS_MAX;
use crate::pattern::{Pattern, check_topic};

/// What the module must pass back; it leads nowhere.
const CTX: usize = 0x5e55_1045;
/// How slow a slow service is: well over the budget of a call that must not block.
pub const SLOW: Duration = Duration::from_millis(400);

/// How the services answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Mood {
    /// As they should.
    Willing = 0,
    /// `publish` and `subscribe` have no room.
    Busy = 1,
    /// Every service that can fail does.
    Failing = 2,
    /// They take `SLOW` and work.
    Slow = 3,
}

static MOOD: AtomicU32 = AtomicU32::new(0);
/// Between initialize and the return of cleanup.
static SERVING: AtomicBool = AtomicBool::new(false);
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// What services remember. A std mutex, held for a map operation.
static KEPT: Mutex<Kept> =
    Mutex::new(Kept { subscriptions: BTreeMap::new(), declared: None, config: Value::Null });

struct Kept {
    subscriptions: BTreeMap<u64, String>,
    /// Patterns of the topics that the manifest says are published.
    declared: Option<Vec<String>>,
    config: Value,
}

fn kept() -> MutexGuard<'static, Kept> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The services' answers from here on.
pub fn set_mood(mood: Mood) {
    MOOD.store(mood as u32, Ordering::Release);
}

/// The configuration that `config` answers from, and the topics that may be published.
pub fn set_up(config: Value, declared: Option<Vec<String>>) {
    let mut kept = kept();
    kept.config = config;
    kept.declared = declared;
}

/// The patterns subscribed to at this moment.
pub fn subscriptions() -> Vec<String> {
    kept().subscriptions.values().cloned().collect()
}

/// A host for one instance.
pub struct Provided(ReadOnly<Host>);

/// Places a `Host` and begins to serve.
pub fn provide() -> Provided {
    SERVING.store(true, Ordering::Release);
    kept().subscriptions.clear();
    Provided(ReadOnly::new(host()))
}

/// The struct itself, for calls that pass a wrong one.
pub fn host() -> Host {
    Host {
        struct_size: size_of::<Host>() as u32,
        abi_version: ABI_VERSION,
        ctx: std::ptr::without_provenance_mut(CTX),
        log: Some(log),
        publish: Some(publish),
        subscribe: Some(subscribe),
        unsubscribe: Some(unsubscribe),
        config: Some(config),
        now: Some(now),
        get_extension: Some(get_extension),
    }
}

impl Provided {
    /// Its address.
    pub fn address(&self) -> *const Host {
        self.0.address()
    }

    /// Cleanup has returned, or a failed initialize.
    pub fn end(&self) {
        SERVING.store(false, Ordering::Release);
        let left = kept().subscriptions.len();
        if left > 0 {
            warn("host-arguments", format!("{left} subscriptions were not ended before cleanup returned"));
        }
        self.0.take_away();
    }
}

/// What every service does first.
fn enter(service: &'static str, ctx: *mut c_void) -> Mood {
    if !SERVING.load(Ordering::Acquire) {
        fail("host-after-cleanup", format!("`{service}` was called outside of initialize to cleanup"));
    }
    if ctx.addr() != CTX {
        fail("host-arguments", format!("`{service}` got another ctx than the host's"));
    }
    match MOOD.load(Ordering::Acquire) {
        1 => Mood::Busy,
        2 => Mood::Failing,
        3 => {
            std::thread::sleep(SLOW);
            Mood::Slow
        }
        _ => Mood::Willing,
    }
}

/// A text of the module; what is wrong with it is written down.
fn text(service: &str, field: &str, str: Str) -> Option<&'static str> {
    // SAFETY: the module lends the text for this call; every caller copies what it keeps.
    match unsafe { str.text() } {
        Ok(text) => Some(text),
        Err(why) => {
            fail("host-arguments", format!("the {field} passed to `{service}` {why}"));
            None
        }
    }
}

unsafe extern "C" fn log(ctx: *mut c_void, level: u32, target: Str, message: Str, fields: Str) {
    guard::contained("log", || {
        enter("log", ctx);
        text("log", "target", target);
        text("log", "message", message);
        let fields = text("log", "fields", fields).unwrap_or_default();
        if !fields.is_empty() && !matches!(serde_json::from_str(fields), Ok(Value::Object(_))) {
            fail("host-arguments", format!("the fields passed to `log` are no JSON object: {fields:.80}"));
        }
        if !(Host::LOG_ERROR..=Host::LOG_TRACE).contains(&level) {
            warn("host-arguments", format!("`log` was called with the unknown level {level}"));
        }
    });
}

unsafe extern "C" fn publish(ctx: *mut c_void, event: *const Event) -> Status {
    guard::status("publish", || {
        let mood = enter("publish", ctx);
        if event.is_null() || !event.is_aligned() {
            fail("host-arguments", "the event passed to `publish` is null or not aligned");
            return Status::INVALID;
        }
        // SAFETY: not null and aligned; the size stands first.
        let size = unsafe { (*event).struct_size } as usize;
        if size < size_of::<Event>() {
            fail("host-arguments", format!("the event passed to `publish` has a struct_size of {size}"));
            return Status::INVALID;
        }
        // SAFETY: the size covers it, and it is lent for this call.
        let event = unsafe { &*event };
        let read = |field, str| text("publish", field, str);
        read("id", event.id);
        read("trace", event.trace);
        let (Some(topic), Some(payload)) = (read("topic", event.topic), read("payload", event.payload))
        else {
            return Status::INVALID;
        };
        if let Err(why) = check_topic(topic) {
            fail("host-arguments", format!("`publish`: {why}"));
        } else {
            check_declared(topic);
        }
        if let Err(why) = serde_json::from_str::<Value>(payload) {
            fail(
                "host-arguments",
                format!("the payload passed to `publish` for `{topic}` is not JSON: {why}"),
            );
        }
        answer(mood)
    })
}

fn check_declared(topic: &str) {
    let kept = kept();
    let Some(declared) = &kept.declared else { return };
    let matches = |pattern: &String| Pattern::parse(pattern).is_ok_and(|pattern| pattern.matches(topic));
    if !declared.iter().any(matches) {
        fail(
            "topics-declared",
            format!("`{topic}` was published; the manifest's event_topics.publish does not name it"),
        );
    }
}

fn answer(mood: Mood) -> Status {
    match mood {
        Mood::Willing | Mood::Slow => Status::OK,
        Mood::Busy => Status::BUSY,
        Mood::Failing => Status::FAILED,
    }
}

unsafe extern "C" fn subscribe(ctx: *mut c_void, pattern: Str, out_id: *mut u64) -> Status {
    guard::status("subscribe", || {
        let status = answer(enter("subscribe", ctx));
        if out_id.is_null() || !out_id.is_aligned() {
            fail("host-arguments", "the `out_id` passed to `subscribe` is null or not aligned");
            return Status::INVALID;
        }
        let Some(pattern) = text("subscribe", "pattern", pattern) else { return Status::INVALID };
        if let Err(why) = Pattern::parse(pattern) {
            fail("host-arguments", format!("`subscribe`: {why}"));
            return Status::INVALID;
        }
        let mut kept = kept();
        if status != Status::OK || kept.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return if status == Status::OK { Status::BUSY } else { status };
        }
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed) + 1;
        kept.subscriptions.insert(id, pattern.to_owned());
        // SAFETY: not null and aligned; the module lends the place for this call.
        unsafe { out_id.write(id) };
        Status::OK
    })
}

unsafe extern "C" fn unsubscribe(ctx: *mut c_void, id: u64) -> Status {
    guard::status("unsubscribe", || {
        let mood = enter("unsubscribe", ctx);
        if kept().subscriptions.remove(&id).is_none() {
            fail(
                "host-arguments",
                format!("`unsubscribe` was called with {id}, which is no live subscription"),
            );
            return Status::INVALID;
        }
        if mood == Mood::Failing { Status::FAILED } else { Status::OK }
    })
}

unsafe extern "C" fn config(ctx: *mut c_void, pointer: Str, out: Sink) -> Status {
    guard::status("config", || {
        let mood = enter("config", ctx);
        let Some(pointer) = text("config", "pointer", pointer) else { return Status::INVALID };
        if !pointer.is_empty() && !pointer.starts_with('/') {
            fail("host-arguments", format!("`config` got `{pointer:.80}`, which is no JSON pointer"));
            return Status::INVALID;
        }
        if mood == Mood::Failing {
            return Status::FAILED;
        }
        let value = kept().config.pointer(pointer).map(Value::to_string);
        // SAFETY: the module lends the sink for this call. No lock is held.
        value.map_or(Status::OK, |value| unsafe { out.put(value.as_bytes()) })
    })
}

unsafe extern "C" fn now(_ctx: *mut c_void) -> u64 {
    // Wait-free by contract, so it takes no part in moods; the clock goes on after cleanup for nobody's harm.
    if !SERVING.load(Ordering::Acquire) {
        fail("host-after-cleanup", "`now` was called outside of initialize to cleanup");
    }
    unix_ns()
}

unsafe extern "C" fn get_extension(ctx: *mut c_void, id: Str) -> *const c_void {
    guard::contained("get_extension", || {
        enter("get_extension", ctx);
        text("get_extension", "id", id);
    });
    // This host offers none, which every module must take.
    std::ptr::null()
}
