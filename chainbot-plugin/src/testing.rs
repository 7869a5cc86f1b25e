//! A small program and a host for tests.
//!
//! The program echoes requests; words in its configuration plant what should go wrong, and a shared [`Plan`] lets a test
//! say when. The host counts what it is asked and keeps what it is told.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, LazyLock, Mutex, mpsc};
use std::time::Duration;

use chainbot_abi::name::{EXT_DRAIN, EXT_METRICS, EXT_RECONFIGURE, EXT_THREAD_CHECK};
use chainbot_abi::{
    ABI_VERSION, BaseModule, Completion, DrainExt, ErrorBuf, Event, Health, Host, MetricsExt, ReconfigureExt,
    Sink, Status, Str, ThreadCheckExt, WebhookReply, WebhookRequest,
};
use tokio::sync::Notify;

use crate::entry;
use crate::failure::Failure;
use crate::gate::Gate;
use crate::limits::QueueBounds;
use crate::program::{InEvent, InRequest, OutReply, Program, Running, Taken, Work};

/// What a test wants to go wrong, and what it can look at afterwards.
#[derive(Default)]
pub struct Plan {
    pub start_fails: AtomicBool,
    pub start_panics: AtomicBool,
    /// A start waits until the gate is opened.
    pub start_waits: AtomicBool,
    pub events_busy: AtomicBool,
    pub events: Mutex<Vec<String>>,
    pub stop_left: AtomicBool,
    pub unsettled: AtomicBool,
    pub quiesced: AtomicU32,
    pub resumed: AtomicU32,
    pub config: Mutex<String>,
    pub imported: Mutex<String>,
    pub fail: Notify,
    /// The call of the program that panics, or none.
    pub panics_in: Mutex<&'static str>,
    /// A thread of the runtime waits for the gate.
    pub is_blocked: AtomicBool,
    /// Blocks a thread of the runtime until it is opened.
    pub gate: Arc<(Mutex<bool>, Condvar)>,
}

impl Plan {
    pub fn open_gate(&self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }

    fn enter(&self, call: &str) {
        let planted = *self.panics_in.lock().unwrap();
        if planted == call {
            panic!("planted in {call}");
        }
    }
}

/// Room for a test that has ten thousand requests in flight.
pub const QUEUE_ITEMS: usize = 12_000;

static PLANS: LazyLock<Mutex<BTreeMap<String, Arc<Plan>>>> = LazyLock::new(Mutex::default);
static LAST_PLAN: AtomicU64 = AtomicU64::new(0);

struct Echo(Arc<Plan>);

fn make(config: &str) -> Result<Arc<dyn Program>, Failure> {
    if config == "panic" {
        panic!("planted in check");
    }
    let plan = PLANS.lock().unwrap().get(config).cloned();
    Ok(Arc::new(Echo(plan.ok_or_else(|| Failure::argument("no such plan"))?)))
}

impl Program for Echo {
    fn queue_bounds(&self) -> QueueBounds {
        QueueBounds { items: QUEUE_ITEMS, bytes: 64 * 1024 * 1024 }
    }

    fn start(&self, host: Arc<Gate>) -> Work<'_, Result<Arc<dyn Running>, Failure>> {
        Box::pin(async move {
            host.subscribe("a.*")?;
            if self.0.start_waits.load(SeqCst) {
                wait_for_gate(&self.0).await;
            }
            if self.0.start_panics.load(SeqCst) {
                panic!("planted in start");
            }
            if self.0.start_fails.load(SeqCst) {
                return Err(Failure::new(Status::FAILED, "CB-0000", "planted failure"));
            }
            Ok(Arc::new(Running1(Arc::clone(&self.0))) as Arc<dyn Running>)
        })
    }

    fn check(&self, document: &str) -> Result<(), Failure> {
        self.0.enter("reconfigure.check");
        match document {
            "restart" => Err(Failure::new(Status::UNSUPPORTED, "CB-0000", "needs a restart")),
            _ => Ok(()),
        }
    }

    fn apply(&self, document: &str, _: &dyn Running) -> Result<(), Failure> {
        self.0.enter("reconfigure.apply");
        self.check(document)?;
        *self.0.config.lock().unwrap() = document.to_owned();
        Ok(())
    }

    fn config(&self) -> String {
        self.0.config.lock().unwrap().clone()
    }

    fn export(&self) -> String {
        self.0.enter("drain.export_state");
        "exported".to_owned()
    }

    fn import(&self, state: &str) -> Result<(), Failure> {
        self.0.enter("drain.import_state");
        *self.0.imported.lock().unwrap() = state.to_owned();
        Ok(())
    }
}

/// Blocks a thread of the runtime until the gate is opened.
async fn wait_for_gate(plan: &Arc<Plan>) {
    let plan = Arc::clone(plan);
    let blocked = tokio::task::spawn_blocking(move || {
        plan.is_blocked.store(true, SeqCst);
        let gate = &plan.gate;
        let mut open = gate.0.lock().unwrap();
        while !*open {
            open = gate.1.wait(open).unwrap();
        }
    });
    blocked.await.unwrap();
}

struct Running1(Arc<Plan>);

impl Running for Running1 {
    fn call(&self, request: InRequest) -> Work<'_, OutReply> {
        Box::pin(async move {
            match request.uri.path() {
                "/panic" => panic!("planted in call"),
                "/never" => std::future::pending().await,
                "/block" => wait_for_gate(&self.0).await,
                _ => {}
            }
            OutReply { status: 200, headers: "{}".to_owned(), body: request.body.unwrap_or_default() }
        })
    }

    fn handle_event(&self, event: &InEvent) -> Taken {
        if self.0.events_busy.load(SeqCst) {
            return Taken::Busy;
        }
        if event.topic == "a.panic" {
            panic!("planted in handle_event");
        }
        self.0.events.lock().unwrap().push(event.id.clone());
        Taken::Yes
    }

    fn health(&self) -> (f64, String) {
        (0.9, "echo".to_owned())
    }

    fn reconfigure(&self, _: &chainbot_core::config::Config) -> Result<(), Failure> {
        unreachable!("the program of the tests applies by itself")
    }

    fn metrics(&self) -> String {
        "echo_up 1\n".to_owned()
    }

    fn quiesce(&self, _: Duration) -> Work<'_, Result<(), String>> {
        self.0.quiesced.fetch_add(1, SeqCst);
        Box::pin(async { Ok(()) })
    }

    fn resume(&self) {
        self.0.resumed.fetch_add(1, SeqCst);
    }

    fn settle(&self, _: Duration) -> Work<'_, Result<(), String>> {
        Box::pin(async {
            match self.0.unsettled.load(SeqCst) {
                true => Err("2 effects are under way".to_owned()),
                false => Ok(()),
            }
        })
    }

    fn failed(&self) -> Work<'_, String> {
        Box::pin(async {
            self.0.fail.notified().await;
            "the disk is gone".to_owned()
        })
    }

    fn stop(&self, _: Duration) -> Work<'_, Result<(), String>> {
        Box::pin(async {
            if self.0.stop_left.load(SeqCst) { Err("one run is not suspended".to_owned()) } else { Ok(()) }
        })
    }
}

/// What the host saw.
#[derive(Default)]
pub struct Seen {
    pub subscribed: AtomicU32,
    pub unsubscribed: AtomicU32,
    pub warnings: AtomicU32,
    /// What the host's thread check answers.
    pub is_control_thread: AtomicU32,
}

unsafe extern "C" fn log(ctx: *mut c_void, level: u32, _: Str, text: Str, _: Str) {
    // SAFETY: the module lends the text for the call.
    let is_ours = unsafe { text.text() }.is_ok_and(|text| text.starts_with("CB-0711"));
    if level == Host::LOG_WARN && is_ours {
        // SAFETY: the context is the `Seen` of the test, which outlives the instance.
        unsafe { &*ctx.cast::<Seen>() }.warnings.fetch_add(1, SeqCst);
    }
}
unsafe extern "C" fn is_control_thread(ctx: *mut c_void) -> u32 {
    // SAFETY: as above.
    unsafe { &*ctx.cast::<Seen>() }.is_control_thread.load(SeqCst)
}
static THREAD_CHECK: ThreadCheckExt = ThreadCheckExt { is_control_thread: Some(is_control_thread) };
unsafe extern "C" fn publish(_: *mut c_void, _: *const Event) -> Status {
    Status::OK
}
unsafe extern "C" fn subscribe(ctx: *mut c_void, _: Str, out: *mut u64) -> Status {
    // SAFETY: the context is the `Seen` of the test, which outlives the instance; `out` is the caller's.
    unsafe {
        *out = u64::from((*ctx.cast::<Seen>()).subscribed.fetch_add(1, SeqCst));
    }
    Status::OK
}
unsafe extern "C" fn unsubscribe(ctx: *mut c_void, _: u64) -> Status {
    // SAFETY: as above.
    unsafe { &*ctx.cast::<Seen>() }.unsubscribed.fetch_add(1, SeqCst);
    Status::OK
}
unsafe extern "C" fn host_config(_: *mut c_void, _: Str, _: Sink) -> Status {
    Status::OK
}
unsafe extern "C" fn now(_: *mut c_void) -> u64 {
    1_800_000_000_000_000_000
}
unsafe extern "C" fn get_extension(_: *mut c_void, id: Str) -> *const c_void {
    // SAFETY: the module lends the text for the call.
    match unsafe { id.text() } {
        Ok(EXT_THREAD_CHECK) => (&raw const THREAD_CHECK).cast(),
        _ => std::ptr::null(),
    }
}

/// A module under test: one instance, called as a host calls it.
pub struct Bench {
    pub plan: Arc<Plan>,
    pub seen: Arc<Seen>,
    pub instance: *mut c_void,
    config: String,
    host: Box<Host>,
}

// SAFETY: the tests share it between threads as the contract lets a host do.
unsafe impl Sync for Bench {}

/// The function of a completion.
pub type Done = unsafe extern "C" fn(*mut c_void, Status, *const WebhookReply);

pub type Answers = mpsc::Receiver<(Status, Option<(u32, Vec<u8>)>)>;

impl Bench {
    pub fn new() -> Self {
        let plan = Arc::new(Plan::default());
        let config = format!("plan {}", LAST_PLAN.fetch_add(1, SeqCst));
        PLANS.lock().unwrap().insert(config.clone(), Arc::clone(&plan));
        let seen = Arc::new(Seen::default());
        seen.is_control_thread.store(1, SeqCst);
        let host = Box::new(Host {
            struct_size: size_of::<Host>() as u32,
            abi_version: ABI_VERSION,
            ctx: Arc::as_ptr(&seen).cast_mut().cast(),
            log: Some(log),
            publish: Some(publish),
            subscribe: Some(subscribe),
            unsubscribe: Some(unsubscribe),
            config: Some(host_config),
            now: Some(now),
            get_extension: Some(get_extension),
        });
        Self { plan, seen, instance: std::ptr::null_mut(), config, host }
    }

    pub fn started() -> Self {
        let mut bench = Self::new();
        bench.initialize().unwrap();
        bench.start().unwrap();
        bench
    }

    pub fn host(&mut self) -> &mut Host {
        &mut self.host
    }

    pub fn module() -> &'static BaseModule {
        // SAFETY: the static of this library.
        unsafe { &*entry::base() }
    }

    pub fn initialize(&mut self) -> Result<(), (Status, String)> {
        let config = self.config.clone();
        self.initialize_from(&config)
    }

    pub fn initialize_from(&mut self, config: &str) -> Result<(), (Status, String)> {
        let (host, out) = (&raw const *self.host, &raw mut self.instance);
        // SAFETY: the host outlives the instance; out and err live for the call.
        call(|err| unsafe { entry::initialize_with(make, host, Str::of_text(config), out, err) })
    }

    pub fn start(&self) -> Result<(), (Status, String)> {
        // SAFETY: any handle may be passed; err lives for the call.
        call(|err| unsafe { Self::module().start.unwrap()(self.instance, err) })
    }

    pub fn stop(&self, deadline_ms: u32) -> Result<(), (Status, String)> {
        // SAFETY: as above.
        call(|err| unsafe { Self::module().stop.unwrap()(self.instance, deadline_ms, err) })
    }

    pub fn cleanup(&self) -> Result<(), (Status, String)> {
        // SAFETY: as above.
        call(|err| unsafe { Self::module().cleanup.unwrap()(self.instance, err) })
    }

    fn extension<T>(&self, id: &str) -> &'static T {
        // SAFETY: the id lives for the call.
        let table = unsafe { Self::module().get_extension.unwrap()(self.instance, Str::of_text(id)) };
        // SAFETY: the id says which table it is; it is a static of this library.
        unsafe { table.cast::<T>().as_ref() }.expect("a live instance has it")
    }

    pub fn drain(&self, deadline_ms: u32) -> Result<(), (Status, String)> {
        let begin = self.extension::<DrainExt>(EXT_DRAIN).begin.unwrap();
        // SAFETY: as for `start`, here and below.
        call(|err| unsafe { begin(self.instance, deadline_ms, err) })
    }

    pub fn cancel(&self) -> Result<(), (Status, String)> {
        let cancel = self.extension::<DrainExt>(EXT_DRAIN).cancel.unwrap();
        // SAFETY: as above.
        call(|err| unsafe { cancel(self.instance, err) })
    }

    pub fn export(&self) -> Result<String, (Status, String)> {
        let (export, mut out) = (self.extension::<DrainExt>(EXT_DRAIN).export_state.unwrap(), Vec::new());
        let sink = Sink::into_vec(&mut out);
        // SAFETY: as above.
        call(|err| unsafe { export(self.instance, sink, err) })?;
        Ok(String::from_utf8(out).unwrap())
    }

    pub fn import(&self, state: &str) -> Result<(), (Status, String)> {
        let import = self.extension::<DrainExt>(EXT_DRAIN).import_state.unwrap();
        // SAFETY: as above.
        call(|err| unsafe { import(self.instance, Str::of_text(state), err) })
    }

    pub fn reconfigure(&self, check_only: bool, config: &str) -> Result<(), (Status, String)> {
        let table = self.extension::<ReconfigureExt>(EXT_RECONFIGURE);
        let function = if check_only { table.check } else { table.apply }.unwrap();
        // SAFETY: as above.
        call(|err| unsafe { function(self.instance, Str::of_text(config), err) })
    }

    /// A call that writes a text and gives no message.
    pub fn snapshot(&self, of_metrics: bool) -> Result<String, Status> {
        let snapshot = match of_metrics {
            true => self.extension::<MetricsExt>(EXT_METRICS).snapshot.unwrap(),
            false => self.extension::<ReconfigureExt>(EXT_RECONFIGURE).snapshot.unwrap(),
        };
        let mut text = Vec::new();
        // SAFETY: as above.
        let status = unsafe { snapshot(self.instance, Sink::into_vec(&mut text)) };
        if status.is_ok() { Ok(String::from_utf8(text).unwrap()) } else { Err(status) }
    }

    /// The configuration in force, and the figures.
    pub fn snapshots(&self) -> (String, String) {
        (self.snapshot(false).unwrap(), self.snapshot(true).unwrap())
    }

    pub fn event(&self, topic: &str, id: &str) -> Result<(), (Status, String)> {
        let event = Event {
            struct_size: size_of::<Event>() as u32,
            flags: 0,
            topic: Str::of_text(topic),
            payload: Str::of_text("{}"),
            id: Str::of_text(id),
            trace: Str::EMPTY,
            unix_ns: 1,
        };
        // SAFETY: everything lives for the call.
        call(|err| unsafe { Self::module().handle_event.unwrap()(self.instance, &event, err) })
    }

    pub fn webhook(&self, path: &str, timeout_ms: u32) -> Result<Answers, (Status, String)> {
        unsafe extern "C" fn done(ctx: *mut c_void, status: Status, reply: *const WebhookReply) {
            // SAFETY: the box below, which only this call takes; a second completion would be a double free, which
            // the test's allocator or valgrind shows.
            let sender = unsafe { Box::from_raw(ctx.cast::<mpsc::Sender<_>>()) };
            // SAFETY: null or lent for this call.
            let reply = unsafe { reply.as_ref() }
                // SAFETY: fields of a lent struct.
                .map(|reply| (reply.http_status, unsafe { reply.body.bytes() }.unwrap().to_vec()));
            let _ = sender.send((status, reply));
        }
        let (sender, answers) = mpsc::channel();
        let ctx = Box::into_raw(Box::new(sender));
        if let Err(error) = self.send(path, timeout_ms, Completion { ctx: ctx.cast(), done: Some(done) }) {
            // SAFETY: refused, so `done` never comes and the box is ours.
            drop(unsafe { Box::from_raw(ctx) });
            return Err(error);
        }
        Ok(answers)
    }

    /// Sends a request that is completed through `done` with `ctx`, which must live until then.
    pub fn webhook_to(&self, path: &str, ctx: *mut c_void, done: Done) -> Result<(), (Status, String)> {
        self.send(path, 0, Completion { ctx, done: Some(done) })
    }

    fn send(&self, path: &str, timeout_ms: u32, completion: Completion) -> Result<(), (Status, String)> {
        let request = WebhookRequest {
            struct_size: size_of::<WebhookRequest>() as u32,
            timeout_ms,
            method: Str::of_text("POST"),
            path: Str::of_text(path),
            mount: Str::EMPTY,
            peer: Str::EMPTY,
            headers: Str::of_text("{}"),
            body: Str::of_text("hello"),
            trace: Str::EMPTY,
        };
        // SAFETY: everything lives for the call, the context until it is completed.
        call(|err| unsafe {
            Self::module().handle_webhook.unwrap()(self.instance, &request, completion, err)
        })
    }

    pub fn health(&self) -> (Status, Health) {
        // SAFETY: plain numbers.
        let mut health: Health = unsafe { std::mem::zeroed() };
        health.struct_size = size_of::<Health>() as u32;
        // SAFETY: lives for the call.
        let status = unsafe { Self::module().health.unwrap()(self.instance, &mut health) };
        (status, health)
    }

    pub fn state(&self) -> u32 {
        self.health().1.state
    }

    /// Waits until `condition` holds of the health; a hang ends the test.
    pub fn wait_for(&self, what: &str, condition: impl Fn(&Health) -> bool) {
        for _ in 0..10_000 {
            if condition(&self.health().1) {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        panic!("never came: {what}");
    }
}

thread_local! {
    /// Calls through the guard until one panics, or `None`.
    static PLANTED: Cell<Option<u32>> = const { Cell::new(None) };
}

/// The call that this thread makes through the guard after `others` more panics.
pub fn plant_panic_after(others: u32) {
    PLANTED.set(Some(others));
}

/// What the guard asks in tests.
pub fn panic_if_planted() {
    let left = PLANTED.get();
    PLANTED.set(left.and_then(|left| left.checked_sub(1)));
    if left == Some(0) {
        panic!("planted in an entry");
    }
}

pub fn describe() -> (Status, Vec<u8>) {
    let mut out = Vec::new();
    // SAFETY: the vector lives for the call.
    let status = unsafe { Bench::module().describe.unwrap()(Sink::into_vec(&mut out)) };
    (status, out)
}

pub fn call_extension(bench: &Bench, id: &str) -> *const c_void {
    // SAFETY: any handle may be passed; the id lives for the call.
    unsafe { Bench::module().get_extension.unwrap()(bench.instance, Str::of_text(id)) }
}

pub fn detail(health: &Health) -> String {
    String::from_utf8(health.detail[..health.detail_len as usize].to_vec()).unwrap()
}

fn call(body: impl FnOnce(*mut ErrorBuf) -> Status) -> Result<(), (Status, String)> {
    let mut room = [0u8; 1024];
    let mut err = ErrorBuf::over(&mut room);
    let status = body(&mut err);
    let len = err.len;
    let text = String::from_utf8(room[..len].to_vec()).unwrap();
    if status.is_ok() {
        assert_eq!(text, "", "a message without an error");
        Ok(())
    } else {
        assert!(text.starts_with("CB-"), "an error without a code: {text}");
        Err((status, text))
    }
}
