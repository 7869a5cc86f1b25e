//! A module whose functions do nothing: what is left is what the boundary costs. `make bench` loads it.
//!
//! `start` returns at once; `cleanup` does so inside the plugin's own guard; `handle_event` copies the payload. The rest says
//! UNSUPPORTED.

#[allow(dead_code)] // the guard needs one of its codes
#[path = "../src/failure.rs"]
mod failure;
#[allow(dead_code)] // measured is the guard alone
#[path = "../src/guard.rs"]
mod guard;

use std::ffi::c_void;

use abi_stable::export_root_module;
use abi_stable::prefix_type::WithMetadata;
use chainbot_abi::{
    ABI_VERSION, BaseModule, BaseModule_Ref, Completion, ErrorBuf, Event, Health, Host, Root, Root_Ref, Sink,
    Status, Str, WebhookRequest,
};

unsafe extern "C" fn describe(out: Sink) -> Status {
    // SAFETY: the sink of the running call.
    unsafe { out.put(b"{\"name\":\"overhead\"}") }
}

unsafe extern "C" fn initialize(_: *const Host, _: Str, _: *mut *mut c_void, _: *mut ErrorBuf) -> Status {
    Status::UNSUPPORTED
}

unsafe extern "C" fn start(_: *mut c_void, _: *mut ErrorBuf) -> Status {
    Status::OK
}

unsafe extern "C" fn stop(_: *mut c_void, _: u32, _: *mut ErrorBuf) -> Status {
    Status::UNSUPPORTED
}

unsafe extern "C" fn cleanup(_: *mut c_void, err: *mut ErrorBuf) -> Status {
    // SAFETY: the caller's error buffer.
    unsafe { guard::guarded(err, || {}, || Ok(())) }
}

unsafe extern "C" fn health(_: *mut c_void, _: *mut Health) -> Status {
    Status::UNSUPPORTED
}

unsafe extern "C" fn handle_event(_: *mut c_void, event: *const Event, _: *mut ErrorBuf) -> Status {
    // SAFETY: lent by the running call, whole by the bench's promise.
    match unsafe { (*event).payload.bytes() } {
        Ok(bytes) => {
            std::hint::black_box(bytes.to_vec());
            Status::OK
        }
        Err(_) => Status::INVALID,
    }
}

unsafe extern "C" fn handle_webhook(
    _: *mut c_void,
    _: *const WebhookRequest,
    _: Completion,
    _: *mut ErrorBuf,
) -> Status {
    Status::UNSUPPORTED
}

unsafe extern "C" fn get_extension(_: *mut c_void, _: Str) -> *const c_void {
    std::ptr::null()
}

static BASE: WithMetadata<BaseModule> = WithMetadata::new(BaseModule {
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
});
static ROOT: WithMetadata<Root> = WithMetadata::new(Root { base: BaseModule_Ref(BASE.static_as_prefix()) });

#[unsafe(no_mangle)]
extern "C" fn alex_base_module(_: u32) -> *const BaseModule {
    &raw const BASE.value.0
}

#[export_root_module]
fn root_module() -> Root_Ref {
    Root_Ref(ROOT.static_as_prefix())
}
