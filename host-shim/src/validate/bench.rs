//! The module on the bench: every call lends its arguments, is watched and timed, and what it wrote is checked.

use std::cell::RefCell;
use std::ffi::c_void;
use std::time::{Duration, Instant};

use chainbot_abi::{ErrorBuf, Health, Host, Sink, Status, Str};
use serde_json::Value;

use super::arguments::{EventArgs, Field, RequestArgs};
use super::crash::Watched;
use super::ledger;
use super::pages::{Label, Loan};
use super::record::{self, expect, fail};
use super::strict;
use super::surroundings::{Surroundings, waited_for_processor};
use crate::module::Table;
use crate::wire::status_name;

/// A blocking call that takes longer than this does not return for anybody's patience.
pub const BLOCKING_MAX: Duration = Duration::from_secs(30);
/// The same for a call that must not block: far over its budget, so that the budget's check can tell first.
pub const NON_BLOCKING_MAX: Duration = Duration::from_secs(5);
/// Over the deadline that `stop` or a drain was given.
pub const STOP_OVER_MAX: Duration = Duration::from_millis(1_500);
/// The deadline that `stop` is given. A module under check has little to store.
pub const STOP_MS: u32 = 10_000;
/// Room for the message of an ordinary call.
const ERROR_BYTES: usize = 1_024;
/// What stands in `len` of an error buffer before a call.
const UNTOUCHED: usize = 0x5a5a;

/// A module, loaded and described.
pub struct Bench {
    /// Its functions.
    pub table: Table,
    /// Its manifest, or null.
    pub manifest: Value,
    /// What `initialize` is given.
    pub config: Value,
    /// For numbers by chance.
    pub seed: u64,
    /// How long a fuzzer may run.
    pub fuzz: Duration,
    /// The process before the module was loaded.
    pub before_load: Surroundings,
}

/// What a call gave.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Which call.
    pub call: &'static str,
    /// Its status.
    pub status: Status,
    /// What it wrote into the error buffer.
    pub message: String,
    /// How long it took, without waiting for a processor.
    pub took: Duration,
}

impl Answer {
    /// Whether it is OK.
    pub fn is_ok(&self) -> bool {
        self.status == Status::OK
    }

    /// Status and message, for a finding.
    pub fn show(&self) -> String {
        match self.message.as_str() {
            "" => status_name(self.status),
            message => format!("{} ({message})", status_name(self.status)),
        }
    }
}

/// The error buffer that a call is given.
#[derive(Clone, Copy, Debug)]
pub enum Room {
    /// Of so many bytes.
    Bytes(usize),
    /// None: a null pointer.
    Nobody,
}

/// Times a call, tells the watch and the record, and checks the error buffer.
fn call(
    name: &'static str,
    detail: &str,
    limit: Duration,
    room: Room,
    loan: &mut Loan,
    run: impl FnOnce(*mut ErrorBuf) -> Status,
) -> Answer {
    let err = match room {
        Room::Nobody => std::ptr::null_mut(),
        Room::Bytes(cap) => {
            let ptr = loan.room(0xa5_u8, cap, Label::BehindError);
            // `ErrorBuf` is not `Copy`; its place is filled by hand.
            let place = loan.room([0_usize; 3], 1, Label::BehindArgument).cast::<ErrorBuf>();
            // SAFETY: three words that may be written, which is what the struct is.
            unsafe { place.write(ErrorBuf { ptr, cap, len: UNTOUCHED }) };
            place
        }
    };
    record::call(name, detail);
    let watched = Watched::begin(name, limit);
    let (waited, begun) = (waited_for_processor(), Instant::now());
    let status = run(err);
    let took = begun.elapsed().saturating_sub(waited_for_processor().saturating_sub(waited));
    drop(watched);
    let message = if err.is_null() {
        String::new()
    } else {
        // SAFETY: still lent.
        unsafe { read_message(name, status, err) }
    };
    expect("call-time", (-8..=0).contains(&status.code), || {
        format!("`{name}` returned {}, which no header names", status.code)
    });
    Answer { call: name, status, message, took }
}

/// # Safety
/// `err` is the lent buffer of the call that has just returned.
unsafe fn read_message(name: &str, status: Status, err: *const ErrorBuf) -> String {
    // SAFETY: the caller's promise.
    let (ptr, cap, len) = unsafe { ((*err).ptr, (*err).cap, (*err).len) };
    let wrong =
        |text: String| fail("error-buffer", format!("`{name}` returned {} and {text}", status_name(status)));
    if len == UNTOUCHED {
        wrong("did not set the ErrorBuf's `len`".to_owned());
        return String::new();
    }
    if len > cap {
        wrong(format!("set `len` to {len}, over `cap` {cap}"));
        return String::new();
    }
    if status == Status::OK && len != 0 {
        wrong(format!("left a message of {len} bytes"));
    }
    // SAFETY: `len` is within the lent room.
    match unsafe { (Str { ptr, len }).text() } {
        Ok(text) => text.to_owned(),
        Err(why) => {
            wrong(format!("its message {why}"));
            String::new()
        }
    }
}

/// Collects what a call writes, and checks when.
struct Collected {
    /// The check that a wrong write belongs to.
    check: &'static str,
    bytes: RefCell<Vec<u8>>,
    thread: std::thread::ThreadId,
}

unsafe extern "C" fn collect(ctx: *mut c_void, chunk: Str) {
    crate::guard::contained("write", || {
        // SAFETY: the context is the collector below, which is never freed.
        let collected = unsafe { &*ctx.cast::<Collected>() };
        if collected.thread != std::thread::current().id() {
            fail(collected.check, "a sink was written to on another thread than the caller's");
            return;
        }
        // SAFETY: a chunk is valid for this call.
        match unsafe { chunk.bytes() } {
            Ok(bytes) => collected.bytes.borrow_mut().extend_from_slice(bytes),
            Err(why) => fail(collected.check, format!("a chunk written to a sink {why}")),
        }
    });
}

/// A sink whose context stays readable for ever, and its collector.
fn sink(check: &'static str) -> (&'static Collected, Sink) {
    let collected = Box::leak(Box::new(Collected {
        check,
        bytes: RefCell::new(Vec::new()),
        thread: std::thread::current().id(),
    }));
    (collected, Sink { ctx: std::ptr::from_ref(collected).cast_mut().cast(), write: Some(collect) })
}

impl Collected {
    fn take(&self) -> Vec<u8> {
        self.bytes.take()
    }
}

/// An instance, and its host.
pub struct Subject<'a> {
    bench: &'a Bench,
    /// What the module gave.
    pub handle: usize,
    host: strict::Provided,
}

impl Bench {
    /// Asks for the manifest.
    pub fn describe(&self) -> (Answer, Vec<u8>) {
        let (collected, sink) = sink("manifest");
        let mut loan = Loan::default();
        // SAFETY: the sink is good for the call.
        let answer = call("describe", "", NON_BLOCKING_MAX, Room::Nobody, &mut loan, |_| unsafe {
            (self.table.describe)(sink)
        });
        (answer, collected.take())
    }

    /// Calls `initialize` with what a check wants. The second value is what stands in `out`.
    pub fn initialize(
        &self,
        host: *const Host,
        config: &Field,
        with_out: bool,
        room: Room,
    ) -> (Answer, usize) {
        let mut loan = Loan::default();
        let lent = config.lend(&mut loan);
        let garbage = std::ptr::without_provenance_mut::<c_void>(0xdead_beef);
        let out = loan.room(garbage, 1, Label::BehindArgument);
        let place = if with_out { out } else { std::ptr::null_mut() };
        // SAFETY: everything that is not wrong on purpose is lent for the call.
        let answer = call("initialize", &config.show(), BLOCKING_MAX, room, &mut loan, |err| unsafe {
            (self.table.initialize)(host, lent, place, err)
        });
        // SAFETY: still lent.
        let left = unsafe { *out };
        if with_out && !answer.is_ok() {
            expect("initialize-failure", left.is_null(), || {
                format!("`initialize` returned {} and left `out` at {left:p}, not null", answer.show())
            });
        }
        (answer, left.addr())
    }

    /// Makes an instance with the right configuration.
    pub fn subject(&self) -> Option<Subject<'_>> {
        self.subject_of(&Field::text(self.config.to_string()), Room::Bytes(ERROR_BYTES)).ok()
    }

    /// Makes an instance with a configuration; the answer when there is none.
    pub fn subject_of(&self, config: &Field, room: Room) -> Result<Subject<'_>, Answer> {
        let host = strict::provide();
        let (answer, handle) = self.initialize(host.address(), config, true, room);
        if answer.is_ok() && handle != 0 && handle != 0xdead_beef {
            return Ok(Subject { bench: self, handle, host });
        }
        if answer.is_ok() {
            fail("initialize-arguments", "`initialize` returned OK without an instance");
        }
        host.end();
        Err(answer)
    }

    /// A started instance. `lead` is told when it cannot be had.
    pub fn started(&self, lead: &'static str) -> Option<Subject<'_>> {
        let subject = match self.subject_of(&Field::text(self.config.to_string()), Room::Bytes(ERROR_BYTES)) {
            Ok(subject) => subject,
            Err(answer) => {
                fail(
                    lead,
                    format!(
                        "`initialize` with the given configuration: {}; give one with --config or --set",
                        answer.show()
                    ),
                );
                return None;
            }
        };
        let answer = subject.start();
        if !answer.is_ok() {
            fail(lead, format!("`start`: {}", answer.show()));
            subject.cleanup();
            return None;
        }
        Some(subject)
    }

    /// Calls on a handle of any kind.
    pub fn on(&self, handle: usize) -> Calls<'_> {
        Calls {
            bench: self,
            handle: std::ptr::with_exposed_provenance_mut(handle),
            room: Room::Bytes(ERROR_BYTES),
        }
    }
}

/// The calls on an instance.
#[derive(Clone, Copy)]
pub struct Calls<'a> {
    bench: &'a Bench,
    handle: *mut c_void,
    room: Room,
}

impl Calls<'_> {
    /// With another error buffer.
    pub fn room(self, room: Room) -> Self {
        Self { room, ..self }
    }

    /// `start`.
    pub fn start(self) -> Answer {
        // SAFETY: any handle may be passed; the buffer is lent for the call. So below.
        call("start", "", BLOCKING_MAX, self.room, &mut Loan::default(), |err| unsafe {
            (self.bench.table.start)(self.handle, err)
        })
    }

    /// `stop`, which must keep its deadline.
    pub fn stop(self, deadline_ms: u32) -> Answer {
        let limit = Duration::from_millis(u64::from(deadline_ms)) + STOP_OVER_MAX;
        // SAFETY: as above.
        let answer = call(
            "stop",
            &format!("{deadline_ms} ms"),
            limit,
            self.room,
            &mut Loan::default(),
            // SAFETY: the deadline is a number; the rest as above.
            |err| unsafe { (self.bench.table.stop)(self.handle, deadline_ms, err) },
        );
        if answer.status == Status::TIMEOUT && matches!(self.room, Room::Bytes(64..)) {
            expect("stop-deadline", !answer.message.is_empty(), || {
                "`stop` returned TIMEOUT without naming what is left".to_owned()
            });
        }
        answer
    }

    /// `cleanup`.
    pub fn cleanup(self) -> Answer {
        // SAFETY: as above.
        call("cleanup", "", BLOCKING_MAX, self.room, &mut Loan::default(), |err| unsafe {
            (self.bench.table.cleanup)(self.handle, err)
        })
    }

    /// `handle_event`.
    pub fn event(self, event: &EventArgs) -> Answer {
        let mut loan = Loan::default();
        let lent = event.lend(&mut loan);
        self.event_at(lent, &event.show(), loan)
    }

    /// `handle_event` with a null pointer.
    pub fn null_event(self) -> Answer {
        self.event_at(std::ptr::null(), "null", Loan::default())
    }

    fn event_at(self, lent: *const chainbot_abi::Event, detail: &str, mut loan: Loan) -> Answer {
        // SAFETY: as above; what is wrong is wrong on purpose.
        call("handle_event", detail, NON_BLOCKING_MAX, self.room, &mut loan, |err| unsafe {
            (self.bench.table.handle_event)(self.handle, lent, err)
        })
    }

    /// `handle_webhook`.
    pub fn webhook(self, request: &RequestArgs) -> Answer {
        let mut loan = Loan::default();
        let lent = request.lend(&mut loan);
        self.webhook_at(lent, true, &request.show(), loan)
    }

    /// `handle_webhook` with a null pointer, for the request or for the completion's function.
    pub fn null_webhook(self, request: Option<&RequestArgs>) -> Answer {
        let mut loan = Loan::default();
        let lent = request.map_or(std::ptr::null(), |request| request.lend(&mut loan));
        self.webhook_at(lent, request.is_none(), "with a null pointer", loan)
    }

    fn webhook_at(
        self,
        lent: *const chainbot_abi::WebhookRequest,
        with_done: bool,
        detail: &str,
        mut loan: Loan,
    ) -> Answer {
        let (open, mut completion) = ledger::open();
        if !with_done {
            completion.done = None;
        }
        // SAFETY: as above; the completion's context is a number that is good for ever.
        let answer = call("handle_webhook", detail, NON_BLOCKING_MAX, self.room, &mut loan, |err| unsafe {
            (self.bench.table.handle_webhook)(self.handle, lent, completion, err)
        });
        open.returned(answer.status);
        answer
    }

    /// `health`; the struct as the module left it.
    pub fn health(self) -> (Answer, Health) {
        self.health_of(0)
    }

    /// `health` with a struct whose size is off by so much.
    pub fn health_of(self, size_off: i32) -> (Answer, Health) {
        let mut loan = Loan::default();
        let place = loan.room([0_u64; size_of::<Health>() / 8], 1, Label::BehindHealth).cast::<Health>();
        let size = size_of::<Health>().wrapping_add_signed(size_off as isize) as u32;
        // SAFETY: room of exactly this size, plain numbers.
        unsafe { (*place).struct_size = size };
        // SAFETY: as above.
        let answer = call("health", "", NON_BLOCKING_MAX, Room::Nobody, &mut loan, |_| unsafe {
            (self.bench.table.health)(self.handle, place)
        });
        // SAFETY: still lent, and any bytes are a valid Health.
        (answer, unsafe { place.read() })
    }

    /// `health` with a null pointer.
    pub fn null_health(self) -> Answer {
        // SAFETY: as above.
        call("health", "null", NON_BLOCKING_MAX, Room::Nobody, &mut Loan::default(), |_| unsafe {
            (self.bench.table.health)(self.handle, std::ptr::null_mut())
        })
    }

    /// The state that `health` tells, or 0.
    pub fn state(self) -> u32 {
        let (answer, health) = self.health();
        if answer.is_ok() { health.state } else { 0 }
    }

    /// `get_extension`.
    pub fn extension(self, id: &Field) -> (Answer, *const c_void) {
        let mut loan = Loan::default();
        let lent = id.lend(&mut loan);
        let mut found = std::ptr::null();
        let answer = call("get_extension", &id.show(), NON_BLOCKING_MAX, Room::Nobody, &mut loan, |_| {
            // SAFETY: as above.
            found = unsafe { (self.bench.table.get_extension)(self.handle, lent) };
            Status::OK
        });
        (answer, found)
    }

    /// A call of an extension that takes this instance and an error buffer.
    pub fn extended(
        self,
        name: &'static str,
        limit: Duration,
        run: impl FnOnce(*mut c_void, *mut ErrorBuf) -> Status,
    ) -> Answer {
        call(name, "", limit, self.room, &mut Loan::default(), |err| run(self.handle, err))
    }

    /// A call of an extension that is told something.
    pub fn told(
        self,
        name: &'static str,
        text: &Field,
        run: impl FnOnce(*mut c_void, Str, *mut ErrorBuf) -> Status,
    ) -> Answer {
        let mut loan = Loan::default();
        let lent = text.lend(&mut loan);
        call(name, &text.show(), BLOCKING_MAX, self.room, &mut loan, |err| run(self.handle, lent, err))
    }

    /// A call of an extension that writes into a sink; what is wrong with that belongs to `check`.
    pub fn written(
        self,
        name: &'static str,
        check: &'static str,
        limit: Duration,
        run: impl FnOnce(*mut c_void, Sink, *mut ErrorBuf) -> Status,
    ) -> (Answer, Vec<u8>) {
        let (collected, sink) = sink(check);
        // One that takes no buffer has none to write to.
        let room = if name.ends_with("snapshot") { Room::Nobody } else { self.room };
        let answer = call(name, "", limit, room, &mut Loan::default(), |err| run(self.handle, sink, err));
        (answer, collected.take())
    }
}

impl<'a> Subject<'a> {
    /// The calls on it.
    pub fn calls(&self) -> Calls<'a> {
        self.bench.on(self.handle)
    }

    /// `start`.
    pub fn start(&self) -> Answer {
        self.calls().start()
    }

    /// `stop`, after which nothing may be open.
    pub fn stop(&self) -> Answer {
        let answer = self.calls().stop(STOP_MS);
        ledger::stopped();
        answer
    }

    /// `cleanup`, after which the host is gone.
    pub fn cleanup(&self) -> Answer {
        let answer = self.calls().cleanup();
        if answer.is_ok() {
            self.host.end();
        }
        answer
    }

    /// Stops and releases it at the end of an exercise; a failure belongs to `lead`.
    pub fn finish(&self, lead: &'static str) {
        for answer in [self.stop(), self.cleanup()] {
            expect(lead, answer.is_ok(), || format!("`{}` at the end: {}", answer.call, answer.show()));
        }
    }
}
