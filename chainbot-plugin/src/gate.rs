//! The host's services behind a gate that cleanup closes.
//!
//! Invariants: the functions are copied once, and none is null; a call holds the gate open until it returns; after
//! [`Gate::close`] has returned no function of the host is called any more, whoever still holds the gate.

use std::ffi::c_void;
use std::sync::{Mutex, PoisonError, RwLock};

use chainbot_abi::name::EXT_THREAD_CHECK;
use chainbot_abi::{ABI_MAJOR, Event, Host, Sink, Status, Str, ThreadCheckExt};

use crate::failure::{BAD_HOST, Failure, HOST_REFUSED, WRONG_THREAD};

type Log = unsafe extern "C" fn(*mut c_void, u32, Str, Str, Str);
type Publish = unsafe extern "C" fn(*mut c_void, *const Event) -> Status;
type Subscribe = unsafe extern "C" fn(*mut c_void, Str, *mut u64) -> Status;
type Unsubscribe = unsafe extern "C" fn(*mut c_void, u64) -> Status;
type Config = unsafe extern "C" fn(*mut c_void, Str, Sink) -> Status;
type Now = unsafe extern "C" fn(*mut c_void) -> u64;
type IsControlThread = unsafe extern "C" fn(*mut c_void) -> u32;

struct Api {
    ctx: *mut c_void,
    log: Log,
    publish: Publish,
    subscribe: Subscribe,
    unsubscribe: Unsubscribe,
    now: Now,
    /// Of the host's extension `alex.thread-check/1`, when it has that.
    is_control_thread: Option<IsControlThread>,
}

// SAFETY: the contract lets every service be called from any thread, with the context it came with.
unsafe impl Send for Api {}
// SAFETY: as above.
unsafe impl Sync for Api {}

/// The services of one instance's host.
pub struct Gate {
    api: Api,
    // A reader-writer lock, because services are called from many threads and closed once. `std`, because
    // host threads pass here too.
    open: RwLock<bool>,
    subscriptions: Mutex<Vec<u64>>,
}

impl Gate {
    /// Checks and copies the host's table.
    ///
    /// # Safety
    /// `host` is null or valid as the contract says, until the gate is closed.
    pub unsafe fn new(host: *const Host) -> Result<Gate, Failure> {
        if host.is_null() {
            return Err(bad_host("the host's table is null"));
        }
        // SAFETY: not null; the first two fields keep their place in every major.
        let (size, version) = unsafe { ((*host).struct_size, (*host).abi_version) };
        if version >> 16 != ABI_MAJOR {
            let text = format!("the host speaks ABI {}, this module {ABI_MAJOR}", version >> 16);
            return Err(bad_host(&text));
        }
        if (size as usize) < size_of::<Host>() {
            let text = format!("the host's table has {size} bytes, it needs {}", size_of::<Host>());
            return Err(bad_host(&text));
        }
        // SAFETY: big enough, of this major, and valid by the caller's promise.
        let host = unsafe { &*host };
        let null = |name: &str| bad_host(&format!("the host's function `{name}` is null"));
        // Unused here, and yet checked: the contract says that none is null.
        let _: Config = host.config.ok_or_else(|| null("config"))?;
        let get_extension = host.get_extension.ok_or_else(|| null("get_extension"))?;
        // SAFETY: the host's function with its own context; the id outlives the call.
        let check = unsafe { get_extension(host.ctx, Str::of_text(EXT_THREAD_CHECK)) };
        // SAFETY: null, or what the id names, valid until cleanup returns as the gate is.
        let check = unsafe { check.cast::<ThreadCheckExt>().as_ref() };
        let api = Api {
            ctx: host.ctx,
            log: host.log.ok_or_else(|| null("log"))?,
            publish: host.publish.ok_or_else(|| null("publish"))?,
            subscribe: host.subscribe.ok_or_else(|| null("subscribe"))?,
            unsubscribe: host.unsubscribe.ok_or_else(|| null("unsubscribe"))?,
            now: host.now.ok_or_else(|| null("now"))?,
            is_control_thread: check.and_then(|check| check.is_control_thread),
        };
        Ok(Gate { api, open: RwLock::new(true), subscriptions: Mutex::new(Vec::new()) })
    }

    /// Hands a log line over.
    pub fn log(&self, level: u32, target: &str, message: &str, fields: &str) {
        self.through(|api| {
            let (target, message, fields) =
                (Str::of_text(target), Str::of_text(message), Str::of_text(fields));
            // SAFETY: the gate is open, so the host is there; the texts outlive the call.
            unsafe { (api.log)(api.ctx, level, target, message, fields) }
        });
    }

    /// Hands an event to the bus. `None` after cleanup.
    pub fn publish(&self, topic: &str, payload: &str, id: &str, unix_ns: u64) -> Option<Status> {
        let event = Event {
            struct_size: size_of::<Event>() as u32,
            flags: 0,
            topic: Str::of_text(topic),
            payload: Str::of_text(payload),
            id: Str::of_text(id),
            trace: Str::EMPTY,
            unix_ns,
        };
        // SAFETY: the gate is open; the event and its texts outlive the call.
        self.through(|api| unsafe { (api.publish)(api.ctx, &event) })
    }

    /// Asks for the events of a pattern, until [`Gate::unsubscribe_all`].
    pub fn subscribe(&self, pattern: &str) -> Result<(), Failure> {
        let mut id = 0;
        let status = self
            // SAFETY: the gate is open; pattern and id outlive the call.
            .through(|api| unsafe { (api.subscribe)(api.ctx, Str::of_text(pattern), &mut id) })
            .unwrap_or(Status::STATE);
        if !status.is_ok() {
            let name = status.name().unwrap_or("an unknown status");
            let text = format!("the host refused the subscription `{pattern}` with {name}");
            return Err(Failure::new(status, HOST_REFUSED, text));
        }
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        Ok(())
    }

    /// Ends all subscriptions.
    pub fn unsubscribe_all(&self) {
        self.unsubscribe(self.take_subscriptions());
    }

    /// Hands the subscriptions over to the caller, who ends them later.
    pub fn take_subscriptions(&self) -> Vec<u64> {
        std::mem::take(&mut *self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends these subscriptions.
    pub fn unsubscribe(&self, ids: Vec<u64>) {
        for id in ids {
            // SAFETY: the gate is open; the id came from this host.
            let status = self.through(|api| unsafe { (api.unsubscribe)(api.ctx, id) });
            if status.is_some_and(|status| !status.is_ok()) {
                log::warn!("the host would not end subscription {id}");
            }
        }
    }

    /// The host's wall clock, in nanoseconds since the Unix epoch. `None` after cleanup.
    pub fn now(&self) -> Option<u64> {
        // SAFETY: the gate is open.
        self.through(|api| unsafe { (api.now)(api.ctx) })
    }

    /// Says so in the log when the calling thread may not make control calls and the host is able to tell. The call goes
    /// on: what it could break is in order all the same, but the host's author should know.
    pub fn check_control_thread(&self, call: &str) {
        let wrong = self.through(|api| match api.is_control_thread {
            // SAFETY: the gate is open.
            Some(check) => unsafe { check(api.ctx) == 0 },
            None => false,
        });
        if wrong == Some(true) {
            let text = format!(
                "{WRONG_THREAD}: `{call}` came on a thread that is no control thread, as the host itself says"
            );
            self.log(Host::LOG_WARN, "chainbot_plugin::control", &text, "");
        }
    }

    /// Lets no call through any more, and waits for those under way.
    pub fn close(&self) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = false;
    }

    fn through<T>(&self, call: impl FnOnce(&Api) -> T) -> Option<T> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.then(|| call(&self.api))
    }
}

fn bad_host(text: &str) -> Failure {
    Failure::new(Status::INVALID, BAD_HOST, text)
}
