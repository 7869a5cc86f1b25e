//! A loaded module: safe methods over its function table.
//!
//! Every method copies what the module wrote before it returns, so nothing borrowed leaves this file. A [`Handle`]
//! is a number to the host and is never followed. Which call is allowed when is the caller's business: see
//! [`crate::instance`] for a running module and [`crate::transcript`] for a script that breaks the rules on purpose.

use std::ffi::c_void;
use std::path::{Path, PathBuf};

use chainbot_abi::{
    BaseModule, BaseModule_Ref, Completion, ErrorBuf, Event, Health, Host, Status, Str, WebhookRequest,
};

use crate::limits::ERROR_BYTES_MAX;
use crate::wire::{Collector, Message, status_name};

/// Takes the functions of 1.0 out of the struct, none of which may be null.
macro_rules! table {
    ($($name:ident: $kind:ty,)*) => {
        /// The functions of a module, all present.
        #[derive(Clone, Copy)]
        pub struct Table { $(#[doc = "As in the ABI."] pub $name: $kind,)* }

        impl Table {
            /// Copies the functions; `Err` names one that is null.
            pub fn new(base: &BaseModule) -> Result<Self, &'static str> {
                Ok(Self { $($name: base.$name.ok_or(stringify!($name))?,)* })
            }

            /// As [`Table::new`], from the struct as abi_stable shows it.
            pub fn from_prefix(base: BaseModule_Ref) -> Result<Self, &'static str> {
                Ok(Self { $($name: base.$name().ok_or(stringify!($name))?,)* })
            }
        }
    };
}

type OnInstance = unsafe extern "C" fn(*mut c_void, *mut ErrorBuf) -> Status;

table! {
    describe: unsafe extern "C" fn(chainbot_abi::Sink) -> Status,
    initialize: unsafe extern "C" fn(*const Host, Str, *mut *mut c_void, *mut ErrorBuf) -> Status,
    start: OnInstance,
    stop: unsafe extern "C" fn(*mut c_void, u32, *mut ErrorBuf) -> Status,
    cleanup: OnInstance,
    health: unsafe extern "C" fn(*mut c_void, *mut Health) -> Status,
    handle_event: unsafe extern "C" fn(*mut c_void, *const Event, *mut ErrorBuf) -> Status,
    handle_webhook: unsafe extern "C" fn(*mut c_void, *const WebhookRequest, Completion, *mut ErrorBuf) -> Status,
    get_extension: unsafe extern "C" fn(*mut c_void, Str) -> *const c_void,
}

/// What `initialize` gave: a number that the module understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(*mut c_void);

// SAFETY: the host never follows the pointer; the ABI lets any thread pass it back.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    /// No instance.
    pub const NULL: Handle = Handle(std::ptr::null_mut());

    /// What the module gave, to pass back.
    pub fn raw(self) -> *mut c_void {
        self.0
    }

    /// Whether there is no instance behind it.
    pub fn is_null(self) -> bool {
        self.0.is_null()
    }
}

/// A call that returned another status than OK.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{call}` returned {}{}{message}", status_name(*status), if message.is_empty() { "" } else { ": " })]
pub struct CallError {
    /// Which function.
    pub call: &'static str,
    /// What it returned.
    pub status: Status,
    /// What it wrote, or what the host found wrong with the answer.
    pub message: String,
}

/// A result of a call.
pub type Called<T = ()> = Result<T, CallError>;

/// Health of an instance at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthNow {
    /// One of the STATE values.
    pub state: u32,
    /// 0.0 to 1.0 if the module keeps its promise.
    pub score: f64,
    /// Since start.
    pub uptime_ms: u64,
    /// Accepted requests that are not completed.
    pub in_flight: u32,
    /// Accepted events and requests that no worker has taken.
    pub queue_depth: u32,
    /// Panics contained since initialize.
    pub panics: u32,
    /// Threads of the instance.
    pub live_threads: u32,
    /// The component that lowers the score most.
    pub detail: String,
}

/// An event for a call, owned by the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventOut {
    /// Segments separated by dots.
    pub topic: String,
    /// A JSON document.
    pub payload: String,
    /// Idempotency key, or empty.
    pub id: String,
    /// W3C traceparent, or empty.
    pub trace: String,
    /// Nanoseconds since the Unix epoch.
    pub unix_ns: u64,
}

/// A request for a call, owned by the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestOut {
    /// In capitals.
    pub method: String,
    /// Path and query below the mount.
    pub path: String,
    /// What was cut off in front of `path`.
    pub mount: String,
    /// Address of the client.
    pub peer: String,
    /// A JSON object.
    pub headers: String,
    /// The exact bytes received.
    pub body: Vec<u8>,
    /// W3C traceparent, or empty.
    pub trace: String,
    /// The module completes within this time.
    pub timeout_ms: u32,
}

/// A loaded module.
pub struct Module {
    table: Table,
    path: PathBuf,
    error_bytes: usize,
}

impl Module {
    /// A module whose functions were checked.
    pub fn new(table: Table, path: PathBuf) -> Self {
        Self { table, path, error_bytes: ERROR_BYTES_MAX }
    }

    /// The same with room for error messages of `bytes` bytes.
    pub fn with_error_bytes(self, bytes: usize) -> Self {
        Self { error_bytes: bytes, ..self }
    }

    /// Its functions, for calls that this type does not make.
    pub fn functions(&self) -> &Table {
        &self.table
    }

    /// Where it was loaded from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of the manifest.
    pub fn describe(&self) -> Called<Vec<u8>> {
        let mut collector = Collector::default();
        // SAFETY: the sink is lent for this call and the collector outlives it.
        let status = unsafe { (self.table.describe)(collector.lend()) };
        let fail = |message: &str| CallError { call: "describe", status, message: message.to_owned() };
        if status != Status::OK {
            return Err(fail(""));
        }
        collector.finish().map_err(fail)
    }

    /// Makes an instance. An OK without an instance is reported as an error, since nothing can be done with it.
    pub fn initialize(&self, host: &'static Host, config: &str) -> Called<Handle> {
        let mut out = std::ptr::null_mut();
        self.call("initialize", |err| {
            // SAFETY: `host` lives as long as the process; `config`, `out` and `err` outlive the call.
            unsafe { (self.table.initialize)(host, Str::of(config.as_bytes()), &mut out, err) }
        })?;
        if out.is_null() {
            let message = "it returned OK without an instance".to_owned();
            return Err(CallError { call: "initialize", status: Status::FAILED, message });
        }
        Ok(Handle(out))
    }

    /// Starts an instance.
    pub fn start(&self, handle: Handle) -> Called {
        // SAFETY: the module checks the handle; `err` outlives the call.
        self.call("start", |err| unsafe { (self.table.start)(handle.0, err) })
    }

    /// Stops an instance within `deadline_ms`.
    pub fn stop(&self, handle: Handle, deadline_ms: u32) -> Called {
        // SAFETY: as for `start`.
        self.call("stop", |err| unsafe { (self.table.stop)(handle.0, deadline_ms, err) })
    }

    /// Releases an instance.
    pub fn cleanup(&self, handle: Handle) -> Called {
        // SAFETY: as for `start`.
        self.call("cleanup", |err| unsafe { (self.table.cleanup)(handle.0, err) })
    }

    /// Health of an instance.
    pub fn health(&self, handle: Handle) -> Called<HealthNow> {
        let mut health = Health {
            struct_size: size_of::<Health>() as u32,
            state: 0,
            score: 0.0,
            uptime_ms: 0,
            in_flight: 0,
            queue_depth: 0,
            panics: 0,
            live_threads: 0,
            detail_len: 0,
            detail: [0; 148],
        };
        // SAFETY: the module checks the handle; `health` is whole, says its size and outlives the call.
        let status = unsafe { (self.table.health)(handle.0, &mut health) };
        if status != Status::OK {
            return Err(CallError { call: "health", status, message: String::new() });
        }
        let len = (health.detail_len as usize).min(health.detail.len());
        Ok(HealthNow {
            state: health.state,
            score: health.score,
            uptime_ms: health.uptime_ms,
            in_flight: health.in_flight,
            queue_depth: health.queue_depth,
            panics: health.panics,
            live_threads: health.live_threads,
            detail: String::from_utf8_lossy(&health.detail[..len]).into_owned(),
        })
    }

    /// Hands over an event.
    pub fn handle_event(&self, handle: Handle, event: &EventOut) -> Called {
        let lent = Event {
            struct_size: size_of::<Event>() as u32,
            flags: 0,
            topic: Str::of(event.topic.as_bytes()),
            payload: Str::of(event.payload.as_bytes()),
            id: Str::of(event.id.as_bytes()),
            trace: Str::of(event.trace.as_bytes()),
            unix_ns: event.unix_ns,
        };
        // SAFETY: the module checks the handle; the event and all it points to outlive the call.
        self.call("handle_event", |err| unsafe { (self.table.handle_event)(handle.0, &lent, err) })
    }

    /// Hands over a request; `completion` is used exactly once if this returns OK, and never otherwise.
    pub fn handle_webhook(&self, handle: Handle, request: &RequestOut, completion: Completion) -> Called {
        let lent = WebhookRequest {
            struct_size: size_of::<WebhookRequest>() as u32,
            timeout_ms: request.timeout_ms,
            method: Str::of(request.method.as_bytes()),
            path: Str::of(request.path.as_bytes()),
            mount: Str::of(request.mount.as_bytes()),
            peer: Str::of(request.peer.as_bytes()),
            headers: Str::of(request.headers.as_bytes()),
            body: Str::of(&request.body),
            trace: Str::of(request.trace.as_bytes()),
        };
        self.call("handle_webhook", |err| {
            // SAFETY: the module checks the handle; the request and all it points to outlive the call. The
            // completion's context is a number of `crate::completion`, valid for ever.
            unsafe { (self.table.handle_webhook)(handle.0, &lent, completion, err) }
        })
    }

    /// The table of an extension, or null.
    pub fn extension(&self, handle: Handle, id: &str) -> *const c_void {
        // SAFETY: the module checks the handle; `id` outlives the call; the result is not followed here.
        unsafe { (self.table.get_extension)(handle.0, Str::of(id.as_bytes())) }
    }

    /// Whether the instance offers an extension.
    pub fn has_extension(&self, handle: Handle, id: &str) -> bool {
        !self.extension(handle, id).is_null()
    }

    /// Calls with an error buffer and makes a result of the status.
    pub fn call(&self, call: &'static str, run: impl FnOnce(*mut ErrorBuf) -> Status) -> Called {
        let mut message = Message::new(self.error_bytes);
        let mut lent = message.lend();
        match run(&mut lent) {
            Status::OK => Ok(()),
            status => Err(CallError { call, status, message: message.text(&lent) }),
        }
    }
}
