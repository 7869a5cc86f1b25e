//! The functions of the module and the two doors that lead to them.
//!
//! Every function is a guard around a few lines: read the arguments, find the instance, hand over. Invariants: both doors lead
//! to one static; no panic leaves; on an error of `initialize`, `*out` is null and nothing is left.

use std::ffi::c_void;
use std::sync::Arc;

use chainbot_abi::{
    ABI_MAJOR, ABI_VERSION, BaseModule, Completion, ErrorBuf, Event, Health, Host, Sink, Status, Str,
    WebhookRequest,
};

use crate::failure::Failure;
use crate::gate::Gate;
use crate::guard::guarded;
use crate::limits::{CONFIG_BYTES_MAX, TEXT_BYTES_MAX};
use crate::program::Factory;
use crate::slots::Slots;
use crate::state::Instance;
use crate::{bridge, control, copy, extension, hostlog, manifest, thread};

static INSTANCES: Slots<Instance> = Slots::new();

const FUNCTIONS: BaseModule = BaseModule {
    struct_size: size_of::<BaseModule>() as u32,
    abi_version: ABI_VERSION,
    describe: Some(describe),
    initialize: Some(initialize),
    start: Some(start),
    stop: Some(stop),
    cleanup: Some(cleanup),
    health: Some(health),
    handle_event: Some(handle_event),
    handle_webhook: Some(handle_webhook),
    get_extension: Some(get_extension),
};

/// The first door: the C symbol.
#[unsafe(no_mangle)]
extern "C" fn alex_base_module(host_abi_version: u32) -> *const BaseModule {
    if host_abi_version == 0 || host_abi_version >> 16 == ABI_MAJOR { base() } else { std::ptr::null() }
}

#[cfg(feature = "abi-stable")]
mod root {
    //! The second door: the root module that `abi_stable` checks.

    use abi_stable::export_root_module;
    use abi_stable::prefix_type::WithMetadata;
    use chainbot_abi::{BaseModule, BaseModule_Ref, Root, Root_Ref};

    pub static BASE: WithMetadata<BaseModule> = WithMetadata::new(super::FUNCTIONS);
    static ROOT: WithMetadata<Root> =
        WithMetadata::new(Root { base: BaseModule_Ref(BASE.static_as_prefix()) });

    #[export_root_module]
    fn root_module() -> Root_Ref {
        Root_Ref(ROOT.static_as_prefix())
    }
}

#[cfg(feature = "abi-stable")]
pub fn base() -> *const BaseModule {
    &raw const root::BASE.value.0
}

#[cfg(not(feature = "abi-stable"))]
pub fn base() -> *const BaseModule {
    static BASE: BaseModule = FUNCTIONS;
    &raw const BASE
}

/// Runs `body` on the instance, in the guard.
///
/// # Safety
/// `err` as for [`ErrorBuf::write`].
pub unsafe fn with_instance(
    handle: *mut c_void,
    err: *mut ErrorBuf,
    body: impl FnOnce(Arc<Instance>) -> Result<(), Failure>,
) -> Status {
    let count = || {
        if let Ok(instance) = INSTANCES.get(handle) {
            instance.panicked();
        }
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, count, || body(INSTANCES.get(handle)?)) }
}

unsafe extern "C" fn describe(out: Sink) -> Status {
    let body = || {
        // SAFETY: the sink of the running call.
        let status = unsafe { out.put(manifest::document().as_bytes()) };
        if status.is_ok() { Ok(()) } else { Err(Failure::argument("the sink's function is null")) }
    };
    // SAFETY: nobody is interested in a message.
    unsafe { guarded(std::ptr::null_mut(), || {}, body) }
}

unsafe extern "C" fn initialize(
    host: *const Host,
    config: Str,
    out: *mut *mut c_void,
    err: *mut ErrorBuf,
) -> Status {
    // SAFETY: passed on as they came.
    unsafe { initialize_with(bridge::make, host, config, out, err) }
}

/// `initialize` with a program of the caller's choice, for tests.
///
/// # Safety
/// As the contract says of `initialize`.
pub unsafe fn initialize_with(
    factory: Factory,
    host: *const Host,
    config: Str,
    out: *mut *mut c_void,
    err: *mut ErrorBuf,
) -> Status {
    // Outside the guard: it is null on every error, a panic included.
    if !out.is_null() {
        // SAFETY: not null, and the host's to be written.
        unsafe { *out = std::ptr::null_mut() };
    }
    let body = || {
        if out.is_null() {
            return Err(Failure::argument("`out` is null"));
        }
        // SAFETY: lent by the running call.
        let config = unsafe { copy::text(config, "config", CONFIG_BYTES_MAX) }?.to_owned();
        // SAFETY: the host keeps its table until cleanup, or until this call fails; the gate is closed then.
        let gate = Arc::new(unsafe { Gate::new(host) }?);
        gate.check_control_thread("initialize");
        // On a thread of the module, because the core may use what must not touch a host's thread.
        let logged = Arc::clone(&gate);
        let made = thread::run(move || {
            hostlog::attach(&logged);
            let instance = Arc::new(Instance::new(factory(&config)?, logged));
            instance.keep_config();
            Ok(instance)
        });
        let entered = made.and_then(|made| made).and_then(|instance| INSTANCES.insert(instance));
        match entered {
            Ok(handle) => {
                // SAFETY: as above.
                unsafe { *out = handle };
                Ok(())
            }
            Err(failure) => {
                hostlog::detach(&gate);
                Err(failure)
            }
        }
    };
    // SAFETY: the host's error buffer.
    unsafe { guarded(err, || {}, body) }
}

unsafe extern "C" fn start(instance: *mut c_void, err: *mut ErrorBuf) -> Status {
    // SAFETY: the host's error buffer.
    unsafe { with_instance(instance, err, |instance| control::start(&instance)) }
}

unsafe extern "C" fn stop(instance: *mut c_void, deadline_ms: u32, err: *mut ErrorBuf) -> Status {
    // SAFETY: the host's error buffer.
    unsafe { with_instance(instance, err, |instance| control::stop(&instance, deadline_ms)) }
}

unsafe extern "C" fn cleanup(instance: *mut c_void, err: *mut ErrorBuf) -> Status {
    let body = |found: Arc<Instance>| {
        control::check_cleanup(&found)?;
        INSTANCES.remove(instance)?;
        hostlog::detach(&found.gate);
        // The program was made on a thread of the module and is dropped on one.
        thread::run(move || drop(found))
    };
    // SAFETY: the host's error buffer.
    unsafe { with_instance(instance, err, body) }
}

unsafe extern "C" fn health(instance: *mut c_void, out: *mut Health) -> Status {
    let body = |instance: Arc<Instance>| {
        if out.is_null() {
            return Err(Failure::argument("`out` is null"));
        }
        // SAFETY: not null; the caller has set the size.
        let size = unsafe { (*out).struct_size } as usize;
        if size < size_of::<Health>() {
            return Err(Failure::argument("the struct_size of `out` is too small"));
        }
        // SAFETY: big enough, the caller's, and plain numbers, so any bytes in it are valid.
        instance.health(unsafe { &mut *out });
        Ok(())
    };
    // SAFETY: nobody is interested in a message.
    unsafe { with_instance(instance, std::ptr::null_mut(), body) }
}

unsafe extern "C" fn handle_event(instance: *mut c_void, event: *const Event, err: *mut ErrorBuf) -> Status {
    let body = |instance: Arc<Instance>| {
        // SAFETY: lent by the running call.
        let (event, bytes) = unsafe { copy::event(event) }?;
        instance.push_event(event, bytes)
    };
    // SAFETY: the host's error buffer.
    unsafe { with_instance(instance, err, body) }
}

unsafe extern "C" fn handle_webhook(
    instance: *mut c_void,
    request: *const WebhookRequest,
    completion: Completion,
    err: *mut ErrorBuf,
) -> Status {
    let body = |instance: Arc<Instance>| {
        if completion.done.is_none() {
            return Err(Failure::argument("the completion's function is null"));
        }
        // SAFETY: lent by the running call.
        let (request, bytes) = unsafe { copy::request(request) }?;
        instance.push_request(request, bytes, completion)
    };
    // SAFETY: the host's error buffer.
    unsafe { with_instance(instance, err, body) }
}

unsafe extern "C" fn get_extension(instance: *mut c_void, id: Str) -> *const c_void {
    let mut found = std::ptr::null();
    let body = |_: Arc<Instance>| {
        // SAFETY: lent by the running call.
        let id = unsafe { copy::text(id, "id", TEXT_BYTES_MAX) }?;
        found = extension::table(id);
        Ok(())
    };
    // A null instance has no extensions, and nobody is interested in a message.
    // SAFETY: the error buffer is null.
    let _ = unsafe { with_instance(instance, std::ptr::null_mut(), body) };
    found
}
