//! What the boundary costs: a call through each way into a module beside a direct one, and a request to its answer.
//!
//! The calls go to `chainbot-plugin/examples/overhead.rs`, a module that does nothing but what is measured. They take turns in
//! batches, so that what disturbs the machine disturbs all of them. Requests go to the real library, to a route that asks no
//! database.

use std::ffi::c_void;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{Ordering, compiler_fence};
use std::sync::{Condvar, Mutex};
use std::time::Instant;

use abi_stable::library::lib_header_from_path;
use chainbot_abi::{
    ABI_VERSION, BaseModule, BaseModule_Ref, Completion, EntryFn, ErrorBuf, Event, Host, Root_Ref, Sink,
    Status, Str, WebhookReply, WebhookRequest, name::ENTRY_SYMBOL,
};

use crate::Outcome;
use crate::stats::{median, percentile};

const BATCHES: usize = 400;
const CALLS: usize = 20_000;
const REQUESTS: usize = 5_000;

/// Prints the table.
pub fn measure(home: &Path, rounds: usize) -> Outcome<()> {
    println!(
        "\nThe boundary: {rounds} rounds of {BATCHES} batches of {CALLS} calls, {REQUESTS} requests a round\n"
    );
    println!("| what | min | median | 99 % |");
    println!("|---|---:|---:|---:|");
    let overhead = artifact("examples/liboverhead.so")?;
    let plugin = artifact("libchainbot_plugin.so")?;
    calls(&overhead, rounds)?;
    requests(home, &plugin, rounds)?;
    python(home, &overhead, &plugin)
}

/// What `make bench` has built beside this program.
fn artifact(name: &str) -> Outcome<PathBuf> {
    let me = std::env::current_exe()?;
    let path = me.ancestors().nth(2).ok_or("no target folder")?.join(name);
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("{} is missing: `make bench` builds it", path.display()).into())
    }
}

fn row(what: &str, unit: &str, digits: usize, samples: &[f64]) {
    let min = samples.iter().copied().fold(f64::INFINITY, f64::min);
    println!(
        "| {what} | {min:.digits$} {unit} | {:.digits$} {unit} | {:.digits$} {unit} |",
        median(samples),
        percentile(samples, 0.99)
    );
}

fn load(path: &Path) -> Outcome<&'static BaseModule> {
    // SAFETY: our own library, whose initialisers are those of std.
    let library = unsafe { libloading::os::unix::Library::new(path)? };
    // SAFETY: the contract gives the symbol this type.
    let entry = *unsafe { library.get::<EntryFn>(ENTRY_SYMBOL.as_bytes())? };
    // A module is never unloaded.
    let _ = library.into_raw();
    // SAFETY: what the entry gives is static.
    unsafe { entry(ABI_VERSION).as_ref() }.ok_or_else(|| "another major".into())
}

// ---- calls ----

/// As empty as the module's. The fence is no instruction; it keeps the compiler from leaving the call out.
#[inline(never)]
unsafe extern "C" fn direct(_: *mut c_void, _: *mut ErrorBuf) -> Status {
    compiler_fence(Ordering::SeqCst);
    Status::OK
}

/// One way to a function, with what its batches took.
struct Way<'a> {
    what: &'static str,
    batch: Box<dyn FnMut() -> f64 + 'a>,
    samples: Vec<f64>,
}

impl<'a> Way<'a> {
    /// The loop is compiled for this way alone, so that nothing but the call is in it.
    fn new(what: &'static str, mut call: impl FnMut() + 'a) -> Self {
        let batch = move || {
            let begun = Instant::now();
            for _ in 0..CALLS {
                call();
            }
            begun.elapsed().as_nanos() as f64 / CALLS as f64
        };
        Self { what, batch: Box::new(batch), samples: Vec::new() }
    }
}

fn calls(overhead: &Path, rounds: usize) -> Outcome<()> {
    let module = load(overhead)?;
    let door: BaseModule_Ref = lib_header_from_path(overhead)?.init_root_module::<Root_Ref>()?.base();
    let payload = [b'x'; 1024];
    let event = Event {
        struct_size: size_of::<Event>() as u32,
        flags: 0,
        topic: Str::of_text("a"),
        payload: Str::of(&payload),
        id: Str::EMPTY,
        trace: Str::EMPTY,
        unix_ns: 0,
    };
    let mut room = [0u8; 64];
    let mut err = ErrorBuf::over(&mut room);
    let err = &raw mut err;
    let directly = || {
        // SAFETY: it does nothing with its arguments.
        black_box(unsafe { direct(black_box(std::ptr::null_mut()), err) });
    };
    // The field is read for each call, as a host does that keeps the module's struct and not its functions.
    let plainly = || {
        let call = black_box(module).start.unwrap_or(direct);
        // SAFETY: any handle may be passed; the buffer outlives the call. So below.
        black_box(unsafe { call(black_box(std::ptr::null_mut()), err) });
    };
    let guarded = || {
        let call = black_box(module).cleanup.unwrap_or(direct);
        // SAFETY: as above.
        black_box(unsafe { call(black_box(std::ptr::null_mut()), err) });
    };
    let through_door = || {
        let call = black_box(door).start().unwrap_or(direct);
        // SAFETY: as above.
        black_box(unsafe { call(black_box(std::ptr::null_mut()), err) });
    };
    let copying = || {
        if let Some(call) = black_box(module).handle_event {
            // SAFETY: the event and its payload outlive the call.
            black_box(unsafe { call(black_box(std::ptr::null_mut()), &event, err) });
        }
    };
    let mut ways = [
        Way::new("direct call, not inlined", directly),
        Way::new("through the C struct", plainly),
        Way::new("through the C struct, with the guard", guarded),
        Way::new("through abi_stable's door", through_door),
        Way::new("1 KiB copied and freed by the module", copying),
    ];
    for _ in 0..rounds * BATCHES {
        for way in &mut ways {
            let took = (way.batch)();
            way.samples.push(took);
        }
    }
    for way in &ways {
        row(way.what, "ns", 2, &way.samples);
    }
    let over = median(&ways[2].samples) - median(&ways[0].samples);
    println!("| boundary and guard over a direct call | - | {over:.2} ns | - |");
    Ok(())
}

// ---- requests ----

unsafe extern "C" fn log(_: *mut c_void, _: u32, _: Str, _: Str, _: Str) {}
unsafe extern "C" fn publish(_: *mut c_void, _: *const Event) -> Status {
    Status::OK
}
unsafe extern "C" fn subscribe(_: *mut c_void, _: Str, out: *mut u64) -> Status {
    // SAFETY: the module lends it for the call.
    unsafe { *out = 1 };
    Status::OK
}
unsafe extern "C" fn unsubscribe(_: *mut c_void, _: u64) -> Status {
    Status::OK
}
unsafe extern "C" fn config(_: *mut c_void, _: Str, _: Sink) -> Status {
    Status::OK
}
unsafe extern "C" fn now(_: *mut c_void) -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64)
}
unsafe extern "C" fn get_extension(_: *mut c_void, _: Str) -> *const c_void {
    std::ptr::null()
}

/// Where an answer is waited for.
#[derive(Default)]
struct Answer {
    got: Mutex<Option<(Instant, Status)>>,
    told: Condvar,
}

unsafe extern "C" fn done(ctx: *mut c_void, status: Status, _: *const WebhookReply) {
    let at = Instant::now();
    // SAFETY: the answer below, which outlives the instance.
    let answer = unsafe { &*ctx.cast::<Answer>() };
    *answer.got.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some((at, status));
    answer.told.notify_one();
}

fn requests(home: &Path, plugin: &Path, rounds: usize) -> Outcome<()> {
    let module = load(plugin)?;
    let folder = tempfile::tempdir_in(home)?;
    // As long as the process: the module may call it whenever it likes.
    let host: &'static Host = Box::leak(Box::new(Host {
        struct_size: size_of::<Host>() as u32,
        abi_version: ABI_VERSION,
        ctx: std::ptr::null_mut(),
        log: Some(log),
        publish: Some(publish),
        subscribe: Some(subscribe),
        unsubscribe: Some(unsubscribe),
        config: Some(config),
        now: Some(now),
        get_extension: Some(get_extension),
    }));
    let config =
        serde_json::json!({ "data_dir": folder.path(), "values": { "api": { "port": null } } }).to_string();
    let (Some(initialize), Some(start), Some(handle_webhook), Some(stop), Some(cleanup)) =
        (module.initialize, module.start, module.handle_webhook, module.stop, module.cleanup)
    else {
        return Err("a function is null".into());
    };
    let mut instance = std::ptr::null_mut();
    // SAFETY: the host stays; the rest lives for the call.
    check("initialize", |err| unsafe { initialize(host, Str::of_text(&config), &mut instance, err) })?;
    // SAFETY: the instance is live until the end of this function.
    check("start", |err| unsafe { start(instance, err) })?;
    let answer: &'static Answer = Box::leak(Box::default());
    let request = WebhookRequest {
        struct_size: size_of::<WebhookRequest>() as u32,
        timeout_ms: 0,
        method: Str::of_text("GET"),
        path: Str::of_text("/api/chainbot/health/live"),
        mount: Str::EMPTY,
        peer: Str::of_text("127.0.0.1"),
        headers: Str::of_text("{}"),
        body: Str::EMPTY,
        trace: Str::EMPTY,
    };
    let (mut called, mut completed, mut woken) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds * REQUESTS + REQUESTS / 10 {
        let completion = Completion { ctx: std::ptr::from_ref(answer).cast_mut().cast(), done: Some(done) };
        let begun = Instant::now();
        // SAFETY: the request lives for the call, the answer for ever.
        check("handle_webhook", |err| unsafe { handle_webhook(instance, &request, completion, err) })?;
        let returned = Instant::now();
        let mut got = answer.got.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (at, status) = loop {
            match got.take() {
                Some(answer) => break answer,
                None => got = answer.told.wait(got).unwrap_or_else(std::sync::PoisonError::into_inner),
            }
        };
        drop(got);
        let awake = Instant::now();
        if !status.is_ok() {
            return Err(format!("a request ended with {:?}", status.name()).into());
        }
        // The first ones warm up.
        if round >= REQUESTS / 10 {
            let us = |since: Instant, until: Instant| until.duration_since(since).as_nanos() as f64 / 1_000.0;
            called.push(us(begun, returned));
            completed.push(us(begun, at));
            woken.push(us(begun, awake));
        }
    }
    row("handle_webhook: copied and accepted", "µs", 1, &called);
    row("request to completion (`done` is called)", "µs", 1, &completed);
    row("request until the waiting host thread runs", "µs", 1, &woken);
    // SAFETY: the instance is live; nothing is called after cleanup.
    check("stop", |err| unsafe { stop(instance, 10_000, err) })?;
    // SAFETY: as above.
    check("cleanup", |err| unsafe { cleanup(instance, err) })
}

fn check(what: &str, call: impl FnOnce(*mut ErrorBuf) -> Status) -> Outcome<()> {
    let mut room = [0u8; 1024];
    let mut err = ErrorBuf::over(&mut room);
    let status = call(&mut err);
    let len = err.len;
    if status.is_ok() {
        Ok(())
    } else {
        Err(format!("{what}: {}", String::from_utf8_lossy(&room[..len])).into())
    }
}

// ---- Python ----

/// The same call and the same request from Python ctypes, measured by Python itself.
fn python(home: &Path, overhead: &Path, plugin: &Path) -> Outcome<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir_in(home)?;
    let mut python = Command::new("python3");
    python
        .arg("-B")
        .arg(root.join("benches/abi_ctypes.py"))
        .arg(overhead)
        .arg(plugin)
        .current_dir(folder.path());
    python.env("PYTHONPATH", root.join("examples/python-host"));
    match python.output() {
        Ok(output) if output.status.success() => {
            print!("{}", String::from_utf8_lossy(&output.stdout));
            Ok(())
        }
        Ok(output) => Err(format!("abi_ctypes.py: {}", String::from_utf8_lossy(&output.stderr)).into()),
        Err(error) => {
            println!("| from Python: {error} | - | - | - |");
            Ok(())
        }
    }
}
