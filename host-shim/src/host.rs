//! The services that a module calls: the `Host` struct and its functions.
//!
//! Invariants: no function panics across the boundary, blocks, or calls the module; what a module passes is checked
//! (null, size, UTF-8) before it is read and copied before the function returns. `Host` and what its context points
//! to live until the process ends, so that even a call after `cleanup` reads valid memory; it is refused.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use chainbot_abi::{ABI_VERSION, Event, Host, Sink, Status, Str, ThreadCheckExt, name::EXT_THREAD_CHECK};
use serde_json::Value;

use crate::guard;
use crate::logging;
use crate::module::EventOut;

/// Where a module's events and subscriptions go. Implementations neither block nor call the module.
pub trait EventPort: Send + Sync {
    /// The module publishes an event.
    fn publish(&self, event: EventOut) -> Status;
    /// The module subscribes to a pattern.
    fn subscribe(&self, pattern: &str) -> Result<u64, Status>;
    /// The module ends a subscription.
    fn unsubscribe(&self, id: u64) -> Status;
}

/// What the services work on.
pub struct Services {
    events: Box<dyn EventPort>,
    config: Value,
    /// Set once `cleanup` has returned: no service may be called after it.
    ended: AtomicBool,
    /// The thread that makes control calls, or 0.
    control_thread: AtomicI32,
}

/// A host as a module sees it.
#[derive(Clone, Copy)]
pub struct Provided {
    /// What `initialize` is given.
    pub host: &'static Host,
    services: &'static Services,
}

// SAFETY: the table is never written after it was made, and its context is `Services`, which is `Sync`; the ABI lets every
// service be called from any thread.
unsafe impl Send for Provided {}
// SAFETY: as above.
unsafe impl Sync for Provided {}

/// Makes the services of one module. They are leaked: a process makes one for each version in its life, and a late call of
/// a module must not meet freed memory. The calling thread becomes the control thread.
pub fn provide(events: impl EventPort + 'static, config: Value) -> Provided {
    let services: &'static Services = Box::leak(Box::new(Services {
        events: Box::new(events),
        config,
        ended: AtomicBool::new(false),
        control_thread: AtomicI32::new(this_thread()),
    }));
    let host = Box::leak(Box::new(Host {
        struct_size: size_of::<Host>() as u32,
        abi_version: ABI_VERSION,
        ctx: std::ptr::from_ref(services).cast_mut().cast(),
        log: Some(log_line),
        publish: Some(publish),
        subscribe: Some(subscribe),
        unsubscribe: Some(unsubscribe),
        config: Some(config_value),
        now: Some(now),
        get_extension: Some(get_extension),
    }));
    Provided { host, services }
}

impl Provided {
    /// The calling thread makes the control calls from here on.
    pub fn take_control(self) {
        self.services.control_thread.store(this_thread(), Ordering::Relaxed);
    }

    /// Refuses every later call of a service.
    pub fn end(self) {
        self.services.ended.store(true, Ordering::Release);
    }
}

/// Nanoseconds since the Unix epoch.
pub fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn this_thread() -> i32 {
    // SAFETY: gettid has no precondition and cannot fail.
    unsafe { libc::gettid() }
}

/// The services behind a context, unless the instance is gone.
fn services(service: &str, ctx: *mut c_void) -> Result<&'static Services, Status> {
    // SAFETY: the context is the leaked `Services` that `provide` put into `Host`; a module passes it back
    // unchanged, and null is checked here.
    let services = unsafe { ctx.cast::<Services>().as_ref() }.ok_or(Status::INVALID)?;
    if services.ended.load(Ordering::Acquire) {
        log::error!("the module called `{service}` after cleanup [CB-0814]");
        return Err(Status::STATE);
    }
    Ok(services)
}

/// Runs a service that gives a status.
fn serve(
    service: &'static str,
    ctx: *mut c_void,
    body: impl FnOnce(&Services) -> Result<Status, Status>,
) -> Status {
    guard::status(service, || match services(service, ctx).and_then(body) {
        Ok(status) | Err(status) => status,
    })
}

/// Text that a module passed, or INVALID with a log line that names the field.
fn read(service: &str, field: &str, str: Str) -> Result<&'static str, Status> {
    // SAFETY: the module lends the text for this call; every caller copies it before it returns.
    unsafe { str.text() }.map_err(|_| {
        log::error!("the module passed a {field} to `{service}` that is not valid UTF-8 text [CB-0814]");
        Status::INVALID
    })
}

unsafe extern "C" fn log_line(ctx: *mut c_void, level: u32, target: Str, message: Str, fields: Str) {
    guard::contained("log", || {
        let Ok(_) = services("log", ctx) else { return };
        let level = match level {
            Host::LOG_ERROR => log::Level::Error,
            Host::LOG_WARN => log::Level::Warn,
            Host::LOG_INFO => log::Level::Info,
            Host::LOG_DEBUG => log::Level::Debug,
            // An unknown level is one of a later minor, less severe than those known here.
            _ => log::Level::Trace,
        };
        let texts = (
            read("log", "target", target),
            read("log", "message", message),
            read("log", "field object", fields),
        );
        if let (Ok(target), Ok(message), Ok(fields)) = texts {
            logging::module_line(level, target, message, fields);
        }
    });
}

unsafe extern "C" fn publish(ctx: *mut c_void, event: *const Event) -> Status {
    serve("publish", ctx, |services| {
        if event.is_null() || !event.is_aligned() {
            return Err(Status::INVALID);
        }
        // SAFETY: not null and aligned; the size stands first and is read before anything else.
        if (unsafe { (*event).struct_size } as usize) < size_of::<Event>() {
            log::error!("the module published an event whose struct_size is too small [CB-0814]");
            return Err(Status::INVALID);
        }
        // SAFETY: the size covers the struct, and the module lends it for this call.
        let event = unsafe { &*event };
        Ok(services.events.publish(EventOut {
            topic: read("publish", "topic", event.topic)?.to_owned(),
            payload: read("publish", "payload", event.payload)?.to_owned(),
            id: read("publish", "id", event.id)?.to_owned(),
            trace: read("publish", "trace", event.trace)?.to_owned(),
            unix_ns: event.unix_ns,
        }))
    })
}

unsafe extern "C" fn subscribe(ctx: *mut c_void, pattern: Str, out_id: *mut u64) -> Status {
    serve("subscribe", ctx, |services| {
        if out_id.is_null() || !out_id.is_aligned() {
            return Err(Status::INVALID);
        }
        let id = services.events.subscribe(read("subscribe", "pattern", pattern)?)?;
        // SAFETY: not null and aligned; the module lends the place for this call.
        unsafe { out_id.write(id) };
        Ok(Status::OK)
    })
}

unsafe extern "C" fn unsubscribe(ctx: *mut c_void, id: u64) -> Status {
    serve("unsubscribe", ctx, |services| Ok(services.events.unsubscribe(id)))
}

unsafe extern "C" fn config_value(ctx: *mut c_void, pointer: Str, out: Sink) -> Status {
    serve("config", ctx, |services| {
        let pointer = read("config", "pointer", pointer)?;
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return Err(Status::INVALID);
        }
        match services.config.pointer(pointer) {
            // SAFETY: the module lends the sink for this call.
            Some(value) => Ok(unsafe { out.put(value.to_string().as_bytes()) }),
            None => Ok(Status::OK),
        }
    })
}

unsafe extern "C" fn now(_ctx: *mut c_void) -> u64 {
    unix_ns()
}

static THREAD_CHECK: ThreadCheckExt = ThreadCheckExt { is_control_thread: Some(is_control_thread) };

unsafe extern "C" fn get_extension(ctx: *mut c_void, id: Str) -> *const c_void {
    guard::contain("get_extension", || {
        match (services("get_extension", ctx), read("get_extension", "id", id)) {
            (Ok(_), Ok(EXT_THREAD_CHECK)) => std::ptr::from_ref(&THREAD_CHECK).cast(),
            _ => std::ptr::null(),
        }
    })
    .unwrap_or(std::ptr::null())
}

unsafe extern "C" fn is_control_thread(ctx: *mut c_void) -> u32 {
    guard::contain("is_control_thread", || {
        services("is_control_thread", ctx)
            .is_ok_and(|services| services.control_thread.load(Ordering::Relaxed) == this_thread())
    })
    .unwrap_or(false)
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Collector;

    struct Port;

    impl EventPort for Port {
        fn publish(&self, event: EventOut) -> Status {
            if event.topic == "panic" { panic!("planted") } else { Status::OK }
        }
        fn subscribe(&self, _pattern: &str) -> Result<u64, Status> {
            Ok(7)
        }
        fn unsubscribe(&self, id: u64) -> Status {
            if id == 7 { Status::OK } else { Status::INVALID }
        }
    }

    fn event(topic: &[u8]) -> Event {
        let empty = Str::of(b"");
        Event {
            struct_size: size_of::<Event>() as u32,
            flags: 0,
            topic: Str::of(topic),
            payload: Str::of(b"{}"),
            id: empty,
            trace: empty,
            unix_ns: 1,
        }
    }

    #[test]
    fn wrong_arguments_give_invalid_and_a_panic_gives_panic() {
        let host = provide(Port, Value::Null).host;
        let (publish, subscribe) = (host.publish.unwrap(), host.subscribe.unwrap());
        let short = Event { struct_size: 8, ..event(b"a") };
        // SAFETY: the context is the host's own; the arguments are valid or the wrong ones under test.
        unsafe {
            assert_eq!(publish(host.ctx, &event(b"a")), Status::OK);
            assert_eq!(publish(host.ctx, std::ptr::null()), Status::INVALID);
            assert_eq!(publish(host.ctx, &short), Status::INVALID);
            assert_eq!(publish(host.ctx, &event(b"\xff")), Status::INVALID);
            assert_eq!(publish(std::ptr::null_mut(), &event(b"a")), Status::INVALID);
            assert_eq!(publish(host.ctx, &event(b"panic")), Status::PANIC);
            assert_eq!(subscribe(host.ctx, Str::of(b"a"), std::ptr::null_mut()), Status::INVALID);
        }
    }

    #[test]
    fn the_configuration_is_read_by_pointer() {
        let host = provide(Port, serde_json::json!({"values": {"a/b": [1]}})).host;
        let config = host.config.unwrap();
        for (pointer, expect, status) in [
            ("/values/a~1b/0", "1", Status::OK),
            ("/values/none", "", Status::OK),
            ("values", "", Status::INVALID),
        ] {
            let mut collector = Collector::default();
            // SAFETY: the context is the host's own, the sink the collector's.
            let got = unsafe { config(host.ctx, Str::of(pointer.as_bytes()), collector.lend()) };
            assert_eq!((got, collector.finish().unwrap()), (status, expect.as_bytes().to_vec()), "{pointer}");
        }
    }

    #[test]
    fn no_service_answers_after_cleanup() {
        let provided = provide(Port, Value::Null);
        provided.end();
        // SAFETY: the context is the host's own.
        let status = unsafe { provided.host.unsubscribe.unwrap()(provided.host.ctx, 7) };
        assert_eq!(status, Status::STATE);
    }

    #[test]
    fn only_the_thread_that_made_the_host_is_the_control_thread() {
        let host = provide(Port, Value::Null).host;
        // SAFETY: the context is the host's own; the extension is the static above.
        let check = |ctx: usize| unsafe { is_control_thread(std::ptr::with_exposed_provenance_mut(ctx)) };
        let ctx = host.ctx.expose_provenance();
        assert_eq!(check(ctx), 1);
        assert_eq!(std::thread::spawn(move || check(ctx)).join().unwrap(), 0);
    }
}
