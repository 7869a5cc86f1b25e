//! The built library, called as a host calls it: doors, symbols, states, and what is left behind.

use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};

use chainbot_abi::{
    ABI_MAJOR, ABI_VERSION, BaseModule, Completion, EntryFn, ErrorBuf, Event, Health, Host, Root_Ref, Sink,
    Status, Str, WebhookReply, WebhookRequest, name,
};

use crate::support::{has_tool, plugin, root, run, skip};

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
    1_800_000_000_000_000_000
}
unsafe extern "C" fn get_extension(_: *mut c_void, _: Str) -> *const c_void {
    std::ptr::null()
}
unsafe extern "C" fn done(_: *mut c_void, _: Status, _: *const WebhookReply) {}

static HOST: Shared = Shared(Host {
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
});
struct Shared(Host);
// SAFETY: the table is never written and its context is null.
unsafe impl Sync for Shared {}

/// A host that does nothing.
pub fn host() -> *const Host {
    &raw const HOST.0
}

/// The entry of the built library, which stays loaded until the tests end.
fn entry() -> EntryFn {
    static LIBRARY: OnceLock<libloading::Library> = OnceLock::new();
    // SAFETY: loading runs only the initialisers of std and of the module's own C code.
    let library = LIBRARY.get_or_init(|| unsafe { libloading::Library::new(plugin()) }.unwrap());
    // SAFETY: the contract gives the symbol this type.
    let symbol = unsafe { library.get::<EntryFn>(name::ENTRY_SYMBOL.as_bytes()) };
    *symbol.unwrap()
}

fn module() -> &'static BaseModule {
    // SAFETY: the entry of a module; the struct lives as long as the library, which stays.
    unsafe { entry()(ABI_VERSION).as_ref() }.expect("a module of this major")
}

struct Instance {
    module: &'static BaseModule,
    handle: *mut c_void,
    _folder: tempfile::TempDir,
}

const CALLS: [&str; 5] = ["start", "stop", "cleanup", "handle_event", "handle_webhook"];

/// An instance for several threads, which the contract allows for all but the control calls.
struct Shareable<'a>(&'a Instance);
// SAFETY: the handle is a number to the host, and the functions may be called from any thread.
unsafe impl Sync for Shareable<'_> {}

impl Instance {
    fn initialized() -> Self {
        Self::configured(serde_json::json!({ "api": { "port": null } }))
    }

    fn configured(values: serde_json::Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = serde_json::json!({ "data_dir": folder.path(), "values": values });
        let mut instance = Self { module: module(), handle: std::ptr::null_mut(), _folder: folder };
        let (config, out) = (config.to_string(), &raw mut instance.handle);
        let initialize = instance.module.initialize.unwrap();
        // SAFETY: the host is static; config, out and err live for the call.
        let status = call(|err| unsafe { initialize(&HOST.0, Str::of_text(&config), out, err) });
        assert_eq!(status, (Status::OK, String::new()));
        instance
    }

    /// Makes the call that a word names, with good arguments.
    fn call(&self, word: &str) -> (Status, String) {
        let (m, handle) = (self.module, self.handle);
        let event = Event {
            struct_size: size_of::<Event>() as u32,
            flags: 0,
            topic: Str::of_text("a.b"),
            payload: Str::of_text("{}"),
            id: Str::EMPTY,
            trace: Str::EMPTY,
            unix_ns: 1,
        };
        let completion = Completion { ctx: std::ptr::null_mut(), done: Some(done) };
        // SAFETY: any handle may be passed; everything else lives for the call.
        call(|err| unsafe {
            match word {
                "start" => m.start.unwrap()(handle, err),
                "stop" => m.stop.unwrap()(handle, 30_000, err),
                "cleanup" => m.cleanup.unwrap()(handle, err),
                "handle_event" => m.handle_event.unwrap()(handle, &event, err),
                _ => self.request_status(completion, err),
            }
        })
    }

    /// Asks for the health, to be answered through `completion`.
    fn request(&self, completion: Completion) -> (Status, String) {
        call(|err| self.request_status(completion, err))
    }

    fn request_status(&self, completion: Completion, err: *mut ErrorBuf) -> Status {
        let request = WebhookRequest {
            struct_size: size_of::<WebhookRequest>() as u32,
            timeout_ms: 0,
            method: Str::of_text("GET"),
            path: Str::of_text("/api/chainbot/health"),
            mount: Str::EMPTY,
            peer: Str::EMPTY,
            headers: Str::EMPTY,
            body: Str::EMPTY,
            trace: Str::EMPTY,
        };
        // SAFETY: any handle may be passed; the request lives for the call, the context until it is completed.
        unsafe { self.module.handle_webhook.unwrap()(self.handle, &request, completion, err) }
    }

    fn ok(&self, word: &str) {
        assert_eq!(self.call(word), (Status::OK, String::new()), "{word}");
    }

    fn state(&self) -> (Status, u32) {
        // SAFETY: plain numbers.
        let mut health: Health = unsafe { std::mem::zeroed() };
        health.struct_size = size_of::<Health>() as u32;
        // SAFETY: lives for the call.
        let status = unsafe { self.module.health.unwrap()(self.handle, &mut health) };
        assert!((0.0..=1.0).contains(&health.score));
        (status, health.state)
    }

    /// Every call but `allowed` gives STATE and changes nothing.
    fn refuses_all_but(&self, allowed: &[&str]) {
        let before = self.state();
        for word in CALLS.iter().filter(|word| !allowed.contains(word)) {
            let (status, text) = self.call(word);
            assert_eq!(status, Status::STATE, "{word}: {text}");
            assert!(text.starts_with("CB-0702: "), "{word}: {text}");
            assert_eq!(self.state(), before, "{word}");
        }
    }
}

fn call(body: impl FnOnce(*mut ErrorBuf) -> Status) -> (Status, String) {
    let mut room = [0u8; 1024];
    let mut err = ErrorBuf::over(&mut room);
    let status = body(&mut err);
    let len = err.len;
    (status, String::from_utf8(room[..len].to_vec()).unwrap())
}

#[test]
fn another_major_gets_null_and_zero_gets_the_numbers() {
    let entry = entry();
    // SAFETY: the entry of a module takes any number; what it gives is static.
    unsafe {
        assert!(entry((ABI_MAJOR + 1) << 16).is_null());
        let any = entry(0);
        assert_eq!((*any).abi_version, ABI_VERSION);
        assert!((*any).struct_size as usize >= size_of::<BaseModule>());
        assert_eq!(entry(ABI_VERSION | 7), any, "a minor does not matter");
    }
}

#[test]
fn both_doors_lead_to_the_same_functions() {
    let first = module();
    let header = abi_stable::library::lib_header_from_path(&plugin()).unwrap();
    let second = header.init_root_module::<Root_Ref>().unwrap().base();
    let address = |function: Option<unsafe extern "C" fn(*mut c_void, *mut ErrorBuf) -> Status>| {
        function.map(|function| function as usize)
    };
    assert_eq!(address(first.start), address(second.start()));
    assert_eq!(address(first.cleanup), address(second.cleanup()));
    assert_eq!(first.describe.map(|f| f as usize), second.describe().map(|f| f as usize));
    assert_eq!(first.get_extension.map(|f| f as usize), second.get_extension().map(|f| f as usize));
}

#[test]
fn the_manifest_names_only_what_exists() {
    let (module, mut out) = (module(), Vec::new());
    // SAFETY: the vector lives for the call.
    let status = unsafe { module.describe.unwrap()(Sink::into_vec(&mut out)) };
    assert_eq!(status, Status::OK);
    let manifest: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(manifest["name"], "chainbot");
    assert_eq!(manifest["version"], env!("CARGO_PKG_VERSION"));
    let instance = Instance::initialized();
    for id in manifest["extensions"].as_array().unwrap() {
        // SAFETY: the id lives for the call.
        let table =
            unsafe { module.get_extension.unwrap()(instance.handle, Str::of_text(id.as_str().unwrap())) };
        assert!(!table.is_null(), "{id}");
    }
    // SAFETY: as above.
    let unknown = unsafe { module.get_extension.unwrap()(instance.handle, Str::of_text("alex.nothing/1")) };
    assert!(unknown.is_null());
    instance.ok("cleanup");
}

#[test]
fn calls_in_the_wrong_order_before_start_change_nothing() {
    let instance = Instance::initialized();
    assert_eq!(instance.state(), (Status::OK, Health::STATE_INITIALIZED));
    instance.refuses_all_but(&["start", "cleanup"]);
    instance.ok("cleanup");
    for word in CALLS {
        assert_eq!(instance.call(word).0, Status::INVALID, "{word} after cleanup");
    }
    assert_eq!(instance.state().0, Status::INVALID);
}

#[test]
fn calls_in_the_wrong_order_after_start_change_nothing() {
    let instance = Instance::initialized();
    instance.ok("start");
    instance.refuses_all_but(&["stop", "handle_event", "handle_webhook"]);
    instance.ok("stop");
    assert_eq!(instance.state(), (Status::OK, Health::STATE_STOPPED));
    instance.refuses_all_but(&["start", "cleanup"]);
    instance.ok("start");
    instance.ok("stop");
    instance.ok("cleanup");
}

#[test]
fn null_and_made_up_instances_are_refused() {
    let real = Instance::initialized();
    for handle in [0usize, 1 << 20, usize::MAX] {
        let folder = tempfile::tempdir().unwrap();
        let handle = std::ptr::without_provenance_mut(handle);
        let fake = Instance { module: real.module, handle, _folder: folder };
        for word in CALLS {
            assert_eq!(fake.call(word).0, Status::INVALID, "{word}");
        }
        assert_eq!(fake.state().0, Status::INVALID);
    }
    real.ok("cleanup");
}

#[test]
fn a_configuration_that_is_wrong_leaves_no_instance() {
    let (module, mut handle) = (module(), std::ptr::dangling_mut());
    let initialize = module.initialize.unwrap();
    // SAFETY: the host is static; the rest lives for the call.
    let (status, text) = call(|err| unsafe { initialize(&HOST.0, Str::of(b"\xff"), &mut handle, err) });
    assert_eq!((status, handle.is_null()), (Status::INVALID, true), "{text}");
    // SAFETY: a null host is an error, not a crash.
    let (status, text) = call(|err| unsafe { initialize(std::ptr::null(), Str::EMPTY, &mut handle, err) });
    assert_eq!(status, Status::INVALID);
    assert!(text.starts_with("CB-0708: "), "{text}");
}

/// Counts completions of one request.
unsafe extern "C" fn count_done(ctx: *mut c_void, _: Status, _: *const WebhookReply) {
    // SAFETY: a counter of the test, which outlives the instance.
    unsafe { &*ctx.cast::<AtomicU32>() }.fetch_add(1, SeqCst);
}

#[test]
fn ten_thousand_requests_around_a_stop_are_completed_once_each() {
    const REQUESTS: usize = 10_000;
    const CALLERS: usize = 4;
    let instance = Instance::configured(serde_json::json!({
        "api": { "port": null }, "alex_os": { "queue_items": 20_000 }
    }));
    instance.ok("start");
    let counters: Vec<_> = (0..REQUESTS).map(|_| AtomicU32::new(0)).collect();
    let (accepted, sending) = (AtomicUsize::new(0), AtomicUsize::new(CALLERS));
    let clock = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let seed = std::env::var("CHAINBOT_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(clock);
    // In the second half, so that thousands are in flight and thousands more come while it stops.
    let stop_at = REQUESTS / 2 + (seed % (REQUESTS as u64 / 2)) as usize;
    println!("CHAINBOT_SEED={seed}: stop after {stop_at} requests");
    let shared = Shareable(&instance);
    std::thread::scope(|scope| {
        let (instance, counters, accepted, sending) = (&shared, &counters, &accepted, &sending);
        for caller in 0..CALLERS {
            scope.spawn(move || {
                for counter in counters.iter().skip(caller).step_by(CALLERS) {
                    let ctx = std::ptr::from_ref(counter).cast_mut().cast();
                    let (status, text) = instance.0.request(Completion { ctx, done: Some(count_done) });
                    match status {
                        Status::OK => accepted.fetch_add(1, SeqCst),
                        Status::STATE => 0,
                        other => panic!("{:?}: {text}", other.name()),
                    };
                }
                sending.fetch_sub(1, SeqCst);
            });
        }
        while accepted.load(SeqCst) < stop_at && sending.load(SeqCst) > 0 {
            std::thread::yield_now();
        }
        instance.0.ok("stop");
    });
    let completed: Vec<_> = counters.iter().map(|counter| counter.load(SeqCst)).collect();
    assert!(completed.iter().all(|count| *count <= 1), "a request was completed twice");
    let completed = completed.iter().sum::<u32>() as usize;
    assert_eq!(completed, accepted.load(SeqCst));
    println!("{completed} accepted and completed, {} refused", REQUESTS - completed);
    instance.ok("cleanup");
}

/// How many entries a folder of `/proc/self` has.
fn count(folder: &str) -> usize {
    std::fs::read_dir(Path::new("/proc/self").join(folder)).unwrap().count()
}

const ALONE: &str = "CHAINBOT_TEST_ALONE";

#[test]
fn a_hundred_starts_leave_no_thread_and_no_descriptor() {
    // Other tests of this process come and go with threads of their own, so the counting happens in a child.
    if std::env::var_os(ALONE).is_none() {
        let name = "abi_lifecycle::a_hundred_starts_leave_no_thread_and_no_descriptor";
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", name, "--test-threads=1"]).env(ALONE, "1").env("CHAINBOT_PREBUILT", "1");
        plugin();
        run(&mut child);
        return;
    }
    let instance = Instance::initialized();
    // The first round opens what stays by design, such as the descriptor of the clock.
    instance.ok("start");
    instance.ok("stop");
    let before = (count("task"), count("fd"));
    for _ in 0..100 {
        instance.ok("start");
        instance.ok("stop");
    }
    assert_eq!((count("task"), count("fd")), before);
    instance.ok("cleanup");
}

#[test]
fn the_library_exports_its_two_doors_and_nothing_else() {
    if !has_tool("nm") {
        skip!("the_library_exports_its_two_doors_and_nothing_else", "nm is not installed");
    }
    let symbols = run(Command::new("nm").args(["-D", "--defined-only", "--format=posix"]).arg(plugin()));
    let mut names: Vec<_> = symbols.lines().filter_map(|line| line.split(' ').next()).collect();
    names.sort_unstable();
    assert_eq!(names, ["_1as_0lib_1header_0root_bmodule_bloader", name::ENTRY_SYMBOL]);
}

#[test]
fn the_library_is_never_unloaded_and_resolves_everything_at_load() {
    if !has_tool("readelf") {
        skip!("the_library_is_never_unloaded_and_resolves_everything_at_load", "readelf is not installed");
    }
    let dynamic = run(Command::new("readelf").args(["--dynamic", "--wide"]).arg(plugin()));
    for flag in ["NODELETE", "BIND_NOW"] {
        assert!(dynamic.contains(flag), "{flag} is missing:\n{dynamic}");
    }
    let needed: Vec<_> = dynamic.lines().filter(|line| line.contains("(NEEDED)")).collect();
    let allowed = ["libc.so", "libm.so", "libgcc_s.so", "ld-linux"];
    assert!(needed.iter().all(|line| allowed.iter().any(|name| line.contains(name))), "{needed:#?}");
}

/// Builds the host in C and plays a script of tests/data/abi; gives the transcript.
fn c_host(name: &str) -> Option<String> {
    if !has_tool("cc") {
        println!("SKIPPED {name}: no C compiler is installed as `cc`");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("c-host");
    let parts = ["host.c", "services.c", "text.c"].map(|part| root().join("examples/c-host").join(part));
    let mut compile = Command::new("cc");
    compile.args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1", "-pthread"]);
    compile.arg("-I").arg(root().join("include")).arg("-o").arg(&program).args(parts).arg("-ldl");
    run(&mut compile);
    let script = data(name, "script");
    let mut host = Command::new(program);
    host.arg(plugin()).arg(script).current_dir(folder.path());
    Some(run(&mut host))
}

fn data(name: &str, ending: &str) -> PathBuf {
    root().join(format!("tests/data/abi/{name}.{ending}"))
}

fn check_transcript(name: &str) {
    let Some(got) = c_host(name) else {
        return;
    };
    let expected = data(name, "expected");
    if std::env::var("UPDATE_GOLDEN").is_ok_and(|value| value == "1") {
        std::fs::write(&expected, &got).unwrap();
    }
    assert_eq!(got, std::fs::read_to_string(&expected).unwrap(), "{}", expected.display());
}

#[test]
fn a_host_in_c_gets_the_expected_answers_before_start() {
    check_transcript("before_start");
}

#[test]
fn a_host_in_c_starts_and_stops_the_module() {
    check_transcript("start_and_stop");
}
