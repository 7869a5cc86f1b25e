//! `host-shim run`: one module from load to cleanup, and its successors.
//!
//! The main thread is the control thread: it makes every control call but those into a version that has not served yet.
//! Bus, ingress, health, signals and the control socket have threads of their own and tell it by one channel what to do.
//!
//! ```text
//! load, describe, bind -> initialize -> start -> deliver events, forward requests, read health
//!   -> (another version | another configuration)*
//!   -> (signal | state failed) -> refuse connections, close the bus -> stop -> last answers -> close the gate -> cleanup
//! ```

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chainbot_abi::{ABI_VERSION, Status};
use serde_json::{Value, json};

use crate::args::RunArgs;
use crate::bus::{Bus, Origin, Refusal, Tally};
use crate::completion;
use crate::config;
use crate::control::{self, Ask, Asked, Server, View};
use crate::current::{Current, Version};
use crate::error::{Error, Exit, Result, code};
use crate::forward::{Forwarder, check_mount};
use crate::health::{Poller, Reporter};
use crate::host::{self, EventPort};
use crate::images::Images;
use crate::ingress::{self, Bound, Ingress, Shared};
use crate::instance::Instance;
use crate::limits::{CALLS_SETTLE_MAX, UPGRADE_TIMEOUT};
use crate::load::{self, version_text};
use crate::logging::notice;
use crate::manifest::Manifest;
use crate::module::{CallError, Called, EventOut};
use crate::signals;
use crate::upgrade::{self, Order, Outcome, Place};

/// What is prepared before the module starts.
struct Plan<'a> {
    args: &'a RunArgs,
    mount: String,
    bound: Option<Bound>,
}

/// What the main thread is told.
pub enum Told {
    /// A person or a supervisor wants the end.
    Signal(&'static str),
    /// A version of the module cannot work on; the text is its detail.
    Failed(u64, String),
    /// SIGHUP: the module's path or its configuration may have changed.
    Hangup,
    /// Somebody asks over the control socket.
    Asked(Asked),
}

/// Why a run ends.
enum End {
    Signal(&'static str),
    Failed(String),
    /// The host could not do its part.
    Host(Error),
}

/// The bus as a version of the module sees it.
pub struct ModuleEvents {
    bus: Arc<Bus>,
    owner: u64,
}

impl ModuleEvents {
    /// For the version of this number.
    pub fn new(bus: &Arc<Bus>, owner: u64) -> Self {
        Self { bus: Arc::clone(bus), owner }
    }
}

impl EventPort for ModuleEvents {
    fn publish(&self, event: EventOut) -> Status {
        match self.bus.publish(Origin::Module, event) {
            Ok(_) => Status::OK,
            Err(refusal) => refused("publish", refusal),
        }
    }

    fn subscribe(&self, pattern: &str) -> Result<u64, Status> {
        self.bus.subscribe(self.owner, pattern).map_err(|refusal| refused("subscribe", refusal))
    }

    fn unsubscribe(&self, id: u64) -> Status {
        if self.bus.unsubscribe(self.owner, id) { Status::OK } else { Status::INVALID }
    }
}

fn refused(service: &str, refusal: Refusal) -> Status {
    match refusal {
        Refusal::Busy => Status::BUSY,
        Refusal::Invalid(why) => {
            log::error!("the module's `{service}` was refused: {why} [CB-0817]");
            Status::INVALID
        }
    }
}

/// Runs a module until a signal or its failure. The signals were blocked before any thread began.
pub fn run(args: &RunArgs, signals: signals::Blocked) -> Result<()> {
    keep_memory_private()?;
    let (tell, told) = channel();
    let is_ending = Arc::new(AtomicBool::new(false));
    signals::watch(signals, signalled(tell.clone(), is_ending.clone()), hung_up(tell.clone()))?;

    let mount = check_mount(&args.mount).map_err(|why| Error::new(code::CONFIG_ARGUMENT, why))?;
    let document = config::document(args.config.as_deref(), args.data.as_deref(), &args.set)?;
    let module = load::load(&args.module)?;
    let manifest = Manifest::of(&module)?;
    announce(&manifest, module.path());
    let bound = args.http.as_deref().map(ingress::bind).transpose()?;

    let bus = Arc::new(Bus::new());
    let mut images = Images::default();
    let image = images.keep(module)?;
    let provided = host::provide(ModuleEvents::new(&bus, 1), document.clone());
    let instance = Instance::initialize(Arc::clone(&image.module), provided.host, &document.to_string())
        .map_err(|error| Error::new(code::INITIALIZE_REFUSED, error.to_string()))?;
    let version = Arc::new(Version { number: 1, image, manifest, instance, provided });
    let running = Running {
        current: Arc::new(Current::new(Arc::clone(&version))),
        bus,
        reporter: Arc::default(),
        images: Arc::new(Mutex::new(images)),
        config: document,
        is_ending,
    };
    running.reporter.observe(&version.instance);
    if let Err(error) = version.instance.start() {
        let error = Error::new(code::START_FAILED, error.to_string());
        // The state is as before, so the instance is only released; what that says comes after the cause.
        if let Err(second) = running.release() {
            log::error!("{second}");
        }
        return Err(error);
    }
    drop(version);
    running.until_end(Plan { args, mount, bound }, tell, &told)
}

/// What is there while versions come and go.
struct Running {
    current: Arc<Current>,
    bus: Arc<Bus>,
    reporter: Arc<Reporter>,
    images: Arc<Mutex<Images>>,
    config: Value,
    is_ending: Arc<AtomicBool>,
}

/// What runs while the module does. Filled step by step, so that a failure half-way ends what had begun.
#[derive(Default)]
struct Serving {
    delivered: Option<Receiver<Tally>>,
    ingress: Option<Ingress>,
    poller: Option<Poller>,
    control: Option<Server>,
}

impl Running {
    /// Serves the started module until the end is told, then stops and releases it.
    fn until_end(&self, plan: Plan<'_>, tell: Sender<Told>, told: &Receiver<Told>) -> Result<()> {
        let (stop_timeout, module) = (plan.args.stop_timeout, plan.args.module.clone());
        let mut serving = Serving::default();
        let why = match self.serve(&mut serving, plan, tell) {
            Ok(()) => self.work(told, &module),
            Err(error) => End::Host(error),
        };
        match &why {
            End::Signal(name) => notice(&format!("{name}: stopping"), json!({"signal": name})),
            End::Failed(detail) => {
                notice(&format!("the module failed: {detail}; stopping"), json!({"failed": detail}))
            }
            End::Host(error) => notice(&format!("{error}; stopping"), json!({"code": error.code.id})),
        }
        let stopped = self.end(serving, stop_timeout);
        let cause = match why {
            End::Signal(_) => return stopped,
            End::Failed(detail) => Error::new(code::MODULE_FAILED, detail).exiting(Exit::ModuleFailed),
            End::Host(error) => error,
        };
        // The cause decides the exit code; what stopping said comes first in the log.
        if let Err(second) = stopped {
            log::error!("{second}");
        }
        Err(cause)
    }

    /// Does what the main thread is told, until that is to end.
    fn work(&self, told: &Receiver<Told>, module: &Path) -> End {
        loop {
            // Sending ends stay with the signal thread and the poller; both gone means that nobody watches.
            let Ok(next) = told.recv() else {
                return End::Failed("nothing watches the module any more".to_owned());
            };
            let lost = match next {
                Told::Signal(name) => return End::Signal(name),
                // A version that was replaced meanwhile is nobody's concern.
                Told::Failed(number, _) if number != self.current.get().number => None,
                Told::Failed(_, detail) => return End::Failed(detail),
                Told::Hangup => self.hung_up(module),
                Told::Asked(asked) => self.asked(asked),
            };
            if let Some(error) = lost {
                return End::Host(error);
            }
        }
    }

    /// Carries a request out; an error ends the host.
    fn asked(&self, asked: Asked) -> Option<Error> {
        let Asked { ask, replies } = asked;
        // Whoever asked may have gone; what was asked for is done all the same.
        let tell = |line: Value| drop(replies.send(line));
        match ask {
            Ask::Upgrade(order) => self.upgrade(&order, &tell),
            Ask::Reconfigure => {
                tell(self.reconfigure());
                None
            }
        }
    }

    fn upgrade(&self, order: &Order, tell: &dyn Fn(Value)) -> Option<Error> {
        let place = Place {
            current: &self.current,
            bus: &self.bus,
            images: &self.images,
            config: &self.config,
            is_ending: &self.is_ending,
            tell,
        };
        let (report, lost) = match upgrade::run(&place, order) {
            Outcome::Done(report) | Outcome::Failed(report) => (report, None),
            Outcome::Lost(report, error) => (report, Some(error)),
        };
        self.reporter.observe(&self.current.get().instance);
        let text = match report["result"].as_str() {
            Some("upgraded") => format!("upgraded: {} serves", self.current.get().label()),
            _ => format!("not upgraded: {} serves on", self.current.get().label()),
        };
        notice(&text, report.clone());
        tell(report);
        lost
    }

    /// Gives the module the same document again: it reads its file anew.
    fn reconfigure(&self) -> Value {
        let version = self.current.get();
        let before = version.instance.settings();
        match version.instance.reconfigure(&self.config.to_string()) {
            Ok(()) => {
                let after = version.instance.settings();
                let keys: Vec<Value> = after
                    .iter()
                    .filter(|(key, value)| before.get(*key) != Some(*value))
                    .map(|(key, value)| json!({ "key": key, "value": value, "effect": "now" }))
                    .collect();
                let fields = json!({ "reconfigured": true, "keys": keys });
                notice("the module has read its configuration anew", fields);
                json!({ "result": "reconfigured", "keys": keys })
            }
            Err(error) => {
                let error = Error::new(code::RECONFIGURE_REFUSED, error.to_string());
                log::error!("{error}");
                json!({ "result": "failed", "code": error.code.id, "reason": error.message })
            }
        }
    }

    /// SIGHUP: another file behind the module's path is an upgrade, else the configuration is read anew.
    fn hung_up(&self, module: &Path) -> Option<Error> {
        let serving = self.current.get().image.path().to_owned();
        match load::real_file(module) {
            Ok(path) if path != serving => {
                let order = Order { module: path, timeout: UPGRADE_TIMEOUT, may_migrate: false };
                self.upgrade(&order, &|_| {})
            }
            Ok(_) => {
                self.reconfigure();
                None
            }
            Err(error) => {
                log::error!("SIGHUP: {error}");
                None
            }
        }
    }

    fn serve(&self, serving: &mut Serving, plan: Plan<'_>, tell: Sender<Told>) -> Result<()> {
        let failing = tell.clone();
        // Nobody receives when the run ends already.
        let failed = move |number: u64, detail: String| {
            let _ = failing.send(Told::Failed(number, detail));
        };
        let (current, reporter) = (Arc::clone(&self.current), Arc::clone(&self.reporter));
        serving.poller = Some(Poller::start(current, reporter, plan.args.health_interval, failed)?);
        serving.delivered = Some(self.deliver()?);
        serving.control = self.open_control(plan.args, tell);
        if let Some(bound) = plan.bound {
            let address = bound.address;
            let shared = Shared {
                current: Arc::clone(&self.current),
                bus: Arc::clone(&self.bus),
                forwarder: Forwarder::new(Arc::clone(&self.current), plan.mount.clone()),
            };
            serving.ingress = Some(Ingress::serve(bound, shared)?);
            let own = if address.ip().is_loopback() {
                format!(", http://{address}/host/health")
            } else {
                String::new()
            };
            let url = format!("http://{address}{}/", plan.mount);
            notice(&format!("http: {url}{own}"), json!({"http": url}));
        }
        notice("running; SIGINT (Ctrl-C) or SIGTERM stops it", json!({"running": true}));
        Ok(())
    }

    /// The control socket, where there is a place for it. Without one the module works as well, and cannot be replaced.
    fn open_control(&self, args: &RunArgs, tell: Sender<Told>) -> Option<Server> {
        let path = control::socket_path(args.socket.as_deref(), args.data.as_deref())?;
        let view = View { current: Arc::clone(&self.current), images: Arc::clone(&self.images) };
        match Server::open(&path, view, tell) {
            Ok(server) => Some(server),
            Err(error) => {
                log::error!("{error}; the module works, and cannot be upgraded while it does");
                None
            }
        }
    }

    /// Starts the delivering thread; what it gives back tells that it has ended.
    fn deliver(&self) -> Result<Receiver<Tally>> {
        let (done, ended) = channel();
        let (bus, current) = (Arc::clone(&self.bus), Arc::clone(&self.current));
        std::thread::Builder::new()
            .name("bus".to_owned())
            .spawn(move || {
                // Nobody receives when the end did not wait long enough for this thread.
                let _ = done.send(bus.deliver(|event| hand_over(&current, event)));
            })
            .map_err(|error| Error::new(code::HOST_SETUP, format!("the bus thread cannot start: {error}")))?;
        self.bus.open();
        Ok(ended)
    }

    /// Stops and releases the module. Requests under way are completed by the module's stop, and get a last moment
    /// to reach their clients.
    fn end(&self, serving: Serving, stop_timeout: Duration) -> Result<()> {
        if let Some(control) = serving.control {
            control.close();
        }
        let closing = serving.ingress.map(Ingress::refuse);
        self.bus.close();
        self.current.release();
        let tally = serving.delivered.map(|ended| ended.recv_timeout(CALLS_SETTLE_MAX));
        let stopped = self.stop(stop_timeout);
        if let Some(poller) = serving.poller {
            poller.stop();
        }
        self.reporter.observe(&self.current.get().instance);
        if let Some(closing) = closing {
            closing.finish();
        }
        match tally {
            None => {}
            Some(Ok(tally)) => report(tally),
            Some(Err(_)) => log::error!("the module's `handle_event` has not returned [CB-0814]"),
        }
        stopped?;
        self.release()
    }

    /// Calls stop, and once more when it was not done by the deadline.
    fn stop(&self, timeout: Duration) -> Result<()> {
        let version = self.current.get();
        let first = match version.instance.stop(timeout) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if first.status != Status::TIMEOUT {
            return Err(Error::new(code::STOP_FAILED, first.to_string()));
        }
        log::warn!("the module has not stopped by its deadline, waiting once more: {first}");
        version.instance.stop(timeout).map_err(|second| match second.status {
            Status::TIMEOUT => {
                let message = format!("{second}; raise --stop-timeout if this work is honest");
                Error::new(code::STOP_TIMED_OUT, message).exiting(Exit::StopTimedOut)
            }
            _ => Error::new(code::STOP_FAILED, second.to_string()),
        })
    }

    /// Closes the gate and calls cleanup.
    fn release(&self) -> Result<()> {
        let failed = |message: String| Error::new(code::STOP_FAILED, message);
        let version = self.current.get();
        version.instance.close(CALLS_SETTLE_MAX).map_err(|calls| {
            failed(format!("{calls} calls into the module have not returned, so it cannot be released"))
        })?;
        version.instance.cleanup().map_err(|error| failed(error.to_string()))?;
        version.provided.end();
        match (completion::open_count(), completion::stray_count()) {
            (0, 0) => {}
            (open, stray) => log::error!(
                "the module left {open} requests without an answer and answered {stray} that were not open [CB-0814]"
            ),
        }
        notice("ended", json!({"ended": true}));
        Ok(())
    }
}

/// Gives an event to the version that serves. One that is being replaced refuses it with STATE when it cannot drain;
/// nothing has happened then, so the event waits for the next.
fn hand_over(current: &Current, event: &EventOut) -> Called {
    let version = current.get();
    version.instance.handle_event(event).map_err(|error| {
        let waits = error.status == Status::STATE && current.is_handing_over(&version);
        if waits { CallError { status: Status::BUSY, ..error } } else { error }
    })
}

fn report(tally: Tally) {
    let Tally { delivered, given_up, left } = tally;
    let text = format!("events: {delivered} delivered, {given_up} given up, {left} left");
    notice(&text, json!({"delivered": delivered, "given_up": given_up, "left": left}));
}

fn announce(manifest: &Manifest, path: &Path) {
    let abi = manifest.document.get("abi").and_then(|abi| abi.as_str()).unwrap_or("not named");
    let host = version_text(ABI_VERSION);
    let (name, version) = (&manifest.name, &manifest.version);
    notice(
        &format!("module: {name} {version} (ABI {abi}, host {host}) from {}", path.display()),
        json!({"module": name, "version": version, "abi": abi, "host_abi": host, "path": path.display().to_string()}),
    );
}

fn signalled(tell: Sender<Told>, is_ending: Arc<AtomicBool>) -> impl FnOnce(&'static str) + Send {
    move |name| {
        is_ending.store(true, Ordering::SeqCst);
        // Before the start the channel keeps the signal; after the end nobody receives it.
        let _ = tell.send(Told::Signal(name));
    }
}

fn hung_up(tell: Sender<Told>) -> impl Fn() + Send {
    move || {
        // As above.
        let _ = tell.send(Told::Hangup);
    }
}

/// A module holds secrets: no core dump, and no other process of this user may read its memory.
fn keep_memory_private() -> Result<()> {
    // SAFETY: this option takes one number and touches no memory of the caller.
    if unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) } != 0 {
        let error = std::io::Error::last_os_error();
        return Err(Error::new(code::HOST_SETUP, format!("PR_SET_DUMPABLE: {error}")));
    }
    Ok(())
}

/// The paths of all that is mapped, for who asks.
pub fn mapped(images: &Mutex<Images>) -> Vec<String> {
    let images = images.lock().unwrap_or_else(PoisonError::into_inner);
    images.paths().iter().map(|path| path.display().to_string()).collect()
}
