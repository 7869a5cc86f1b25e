//! `host-shim run`: one module from load to cleanup.
//!
//! The main thread is the control thread: it alone calls initialize, start, stop and cleanup. Bus, ingress, health
//! and signals have threads of their own and tell it by one channel why the run ends.
//!
//! ```text
//! load, describe, bind -> initialize -> start -> deliver events, forward requests, read health
//!   -> (signal | state failed) -> refuse connections, close the bus -> stop -> last answers -> close the gate -> cleanup
//! ```

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use chainbot_abi::{ABI_VERSION, Status};
use serde_json::json;

use crate::args::RunArgs;
use crate::bus::{Bus, Origin, Refusal, Tally};
use crate::completion;
use crate::config;
use crate::error::{Error, Exit, Result, code};
use crate::forward::{Forwarder, check_mount};
use crate::health::{Poller, Reporter};
use crate::host::{self, EventPort};
use crate::ingress::{self, Bound, Ingress, Shared};
use crate::instance::Instance;
use crate::limits::CALLS_SETTLE_MAX;
use crate::load::{self, version_text};
use crate::logging::notice;
use crate::manifest::Manifest;
use crate::module::EventOut;
use crate::signals;

/// What is prepared before the module starts.
struct Plan<'a> {
    args: &'a RunArgs,
    manifest: Manifest,
    mount: String,
    bound: Option<Bound>,
}

/// Why a run ends.
enum End {
    /// A person or a supervisor asked for it.
    Signal(&'static str),
    /// The module cannot work on; the text is its detail.
    Failed(String),
    /// The host could not do its part.
    Host(Error),
}

/// The bus as the module sees it.
struct ModuleEvents(Arc<Bus>);

impl EventPort for ModuleEvents {
    fn publish(&self, event: EventOut) -> Status {
        match self.0.publish(Origin::Module, event) {
            Ok(_) => Status::OK,
            Err(refusal) => refused("publish", refusal),
        }
    }

    fn subscribe(&self, pattern: &str) -> Result<u64, Status> {
        self.0.subscribe(pattern).map_err(|refusal| refused("subscribe", refusal))
    }

    fn unsubscribe(&self, id: u64) -> Status {
        if self.0.unsubscribe(id) { Status::OK } else { Status::INVALID }
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
    let (ends, end) = channel();
    signals::watch(signals, signalled(ends.clone()))?;

    let mount = check_mount(&args.mount).map_err(|why| Error::new(code::CONFIG_ARGUMENT, why))?;
    let document = config::document(args.config.as_deref(), args.data.as_deref(), &args.set)?;
    let module = load::load(&args.module)?;
    let manifest = Manifest::of(&module)?;
    announce(&manifest, &args.module);
    let bound = args.http.as_deref().map(ingress::bind).transpose()?;

    let bus = Arc::new(Bus::new());
    let provided = host::provide(ModuleEvents(Arc::clone(&bus)), document.clone());
    let instance = Instance::initialize(Arc::new(module), provided.host, &document.to_string())
        .map_err(|error| Error::new(code::INITIALIZE_REFUSED, error.to_string()))?;
    let running = Running { instance: Arc::new(instance), bus, reporter: Arc::default() };
    running.reporter.observe(&running.instance);
    if let Err(error) = running.instance.start() {
        let error = Error::new(code::START_FAILED, error.to_string());
        // The state is as before, so the instance is only released; what that says comes after the cause.
        if let Err(second) = running.release() {
            log::error!("{second}");
        }
        provided.end();
        return Err(error);
    }
    let result = running.until_end(Plan { args, manifest, mount, bound }, ends, &end);
    provided.end();
    result
}

/// An instance that was initialized, and what belongs to it.
struct Running {
    instance: Arc<Instance>,
    bus: Arc<Bus>,
    reporter: Arc<Reporter>,
}

/// What runs while the module does. Filled step by step, so that a failure half-way ends what had begun.
#[derive(Default)]
struct Serving {
    delivered: Option<Receiver<Tally>>,
    ingress: Option<Ingress>,
    poller: Option<Poller>,
}

impl Running {
    /// Serves the started module until the end is told, then stops and releases it.
    fn until_end(&self, plan: Plan<'_>, ends: Sender<End>, end: &Receiver<End>) -> Result<()> {
        let stop_timeout = plan.args.stop_timeout;
        let mut serving = Serving::default();
        let why = match self.serve(&mut serving, plan, ends) {
            // Sending ends stay with the signal thread and the poller; both gone means that nobody watches.
            Ok(()) => {
                end.recv().unwrap_or_else(|_| End::Failed("nothing watches the module any more".to_owned()))
            }
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

    fn serve(&self, serving: &mut Serving, plan: Plan<'_>, ends: Sender<End>) -> Result<()> {
        // Nobody receives when the run ends already.
        let failed = move |detail: String| {
            let _ = ends.send(End::Failed(detail));
        };
        let (instance, reporter) = (Arc::clone(&self.instance), Arc::clone(&self.reporter));
        serving.poller = Some(Poller::start(instance, reporter, plan.args.health_interval, failed)?);
        serving.delivered = Some(self.deliver()?);
        if let Some(bound) = plan.bound {
            let address = bound.address;
            let instance = Arc::clone(&self.instance);
            let shared = Shared {
                instance: Arc::clone(&self.instance),
                module: (plan.manifest.name.clone(), plan.manifest.version.clone()),
                bus: Arc::clone(&self.bus),
                forwarder: Forwarder::new(instance, plan.manifest, plan.mount.clone()),
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

    /// Starts the delivering thread; what it gives back tells that it has ended.
    fn deliver(&self) -> Result<Receiver<Tally>> {
        let (done, ended) = channel();
        let (bus, instance) = (Arc::clone(&self.bus), Arc::clone(&self.instance));
        std::thread::Builder::new()
            .name("bus".to_owned())
            .spawn(move || {
                // Nobody receives when the end did not wait long enough for this thread.
                let _ = done.send(bus.deliver(|event| instance.handle_event(event)));
            })
            .map_err(|error| Error::new(code::HOST_SETUP, format!("the bus thread cannot start: {error}")))?;
        self.bus.open();
        Ok(ended)
    }

    /// Stops and releases the module. Requests under way are completed by the module's stop, and get a last moment
    /// to reach their clients.
    fn end(&self, serving: Serving, stop_timeout: Duration) -> Result<()> {
        let closing = serving.ingress.map(Ingress::refuse);
        self.bus.close();
        let tally = serving.delivered.map(|ended| ended.recv_timeout(CALLS_SETTLE_MAX));
        let stopped = self.stop(stop_timeout);
        if let Some(poller) = serving.poller {
            poller.stop();
        }
        self.reporter.observe(&self.instance);
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
        let first = match self.instance.stop(timeout) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if first.status != Status::TIMEOUT {
            return Err(Error::new(code::STOP_FAILED, first.to_string()));
        }
        log::warn!("the module has not stopped by its deadline, waiting once more: {first}");
        self.instance.stop(timeout).map_err(|second| match second.status {
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
        self.instance.close(CALLS_SETTLE_MAX).map_err(|calls| {
            failed(format!("{calls} calls into the module have not returned, so it cannot be released"))
        })?;
        self.instance.cleanup().map_err(|error| failed(error.to_string()))?;
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

fn report(tally: Tally) {
    let Tally { delivered, given_up, left } = tally;
    let text = format!("events: {delivered} delivered, {given_up} given up, {left} left");
    notice(&text, json!({"delivered": delivered, "given_up": given_up, "left": left}));
}

fn announce(manifest: &Manifest, path: &std::path::Path) {
    let abi = manifest.document.get("abi").and_then(|abi| abi.as_str()).unwrap_or("not named");
    let host = version_text(ABI_VERSION);
    let (name, version) = (&manifest.name, &manifest.version);
    notice(
        &format!("module: {name} {version} (ABI {abi}, host {host}) from {}", path.display()),
        json!({"module": name, "version": version, "abi": abi, "host_abi": host, "path": path.display().to_string()}),
    );
}

fn signalled(ends: Sender<End>) -> impl FnOnce(&'static str) + Send {
    move |name| {
        // Before the start the channel keeps the signal; after the end nobody receives it.
        let _ = ends.send(End::Signal(name));
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
