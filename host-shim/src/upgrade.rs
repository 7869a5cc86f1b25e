//! Puts another version of the module in the place of the one that serves, without an end of the process.
//!
//! ```text
//!  load, describe, compare, initialize      beside the old one; an error changes nothing
//!  hold                                     requests and events wait in the host, within its bounds
//!  drain (or stop) the old                  it answers what it took and lets store and port go
//!  export, import, start the new, health    an error: the new one ends, the old one goes on
//!  switch, release                          what waited goes to the new one
//!  stop and clean up the old                its image stays mapped
//! ```
//!
//! Every call into the new version that comes before the switch has a time limit and a thread of its own: a version that hangs
//! costs that thread and nothing else. A version that crashes takes the process with it, as any code in it would; then a
//! supervisor starts the host again, and what was acknowledged is on disk. Runs on the control thread.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chainbot_abi::{Health, Status};
use serde_json::{Value, json};

use crate::bus::Bus;
use crate::current::{Current, Version};
use crate::error::{Code, Error, Result, code};
use crate::health::document;
use crate::host;
use crate::images::{Found, Image, Images};
use crate::instance::Instance;
use crate::limits::{CALLS_SETTLE_MAX, HEALTH_READING_EVERY, HEALTH_READINGS};
use crate::load;
use crate::logging::notice;
use crate::manifest::Manifest;
use crate::module::Called;
use crate::run::ModuleEvents;
use crate::within::within;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Order {
    /// The new version's file.
    pub module: PathBuf,
    /// For each step.
    pub timeout: Duration,
    /// Whether the new version may bring the store to a form that the old one cannot read.
    pub may_migrate: bool,
}

/// Where an upgrade takes place.
pub struct Place<'a> {
    /// Who serves.
    pub current: &'a Current,
    /// Where events wait.
    pub bus: &'a Arc<Bus>,
    /// What is mapped.
    pub images: &'a Mutex<Images>,
    /// What `initialize` gets.
    pub config: &'a Value,
    /// The host is to end: what is not done by now is taken back.
    pub is_ending: &'a AtomicBool,
    /// Hears of each step.
    pub tell: &'a dyn Fn(Value),
}

/// Why a new version does not serve.
#[derive(Debug)]
struct Fault {
    step: &'static str,
    code: Code,
    why: String,
    /// The call goes on somewhere: whoever it belongs to is not to be touched.
    is_hanging: bool,
}

/// How it ended.
pub enum Outcome {
    /// The new version serves.
    Done(Value),
    /// The old one serves as before.
    Failed(Value),
    /// Neither does; the host must end.
    Lost(Value, Error),
}

impl Fault {
    fn new(step: &'static str, why: impl Into<String>) -> Self {
        Self { step, code: code::UPGRADE_FAILED, why: why.into(), is_hanging: false }
    }

    fn of(step: &'static str, error: Error) -> Self {
        Self { step, code: error.code, why: error.message, is_hanging: false }
    }

    fn refused(step: &'static str, why: impl Into<String>) -> Self {
        Self { step, code: code::UPGRADE_REFUSED, why: why.into(), is_hanging: false }
    }
}

/// Carries an order out.
pub fn run(place: &Place<'_>, order: &Order) -> Outcome {
    let old = place.current.get();
    let prepared = prepare(place, order, &old);
    let outcome = match prepared {
        Err(fault) => Outcome::Failed(place.report(&fault, &old, None)),
        Ok(new) => replace(place, order, &old, &Arc::new(new)),
    };
    let counter = match outcome {
        Outcome::Done(_) => &place.current.upgraded,
        _ => &place.current.failed,
    };
    counter.fetch_add(1, Ordering::Relaxed);
    outcome
}

/// Everything that can be done beside the old version.
fn prepare(place: &Place<'_>, order: &Order, old: &Arc<Version>) -> Result<Version, Fault> {
    place.step("load", json!({ "path": order.module.display().to_string() }));
    let image = load_image(place, order, old)?;
    let module = Arc::clone(&image.module);
    let manifest = timed("describe", order.timeout, move || Manifest::of(&module), drop)?
        .map_err(|error| Fault::of("describe", error))?;
    place.step("describe", json!({ "name": manifest.name, "version": manifest.version }));
    compare(&old.manifest, &manifest, order.may_migrate)?;
    let number = old.number + 1;
    let provided = host::provide(ModuleEvents::new(place.bus, number), place.config.clone());
    let (module, config) = (Arc::clone(&image.module), place.config.to_string());
    let made = timed(
        "initialize",
        order.timeout,
        move || {
            provided.take_control();
            Instance::initialize(module, provided.host, &config)
        },
        // Nobody waits for it any more.
        move |late| {
            if let Ok(instance) = late {
                log_late("cleanup", instance.cleanup());
            }
            provided.end();
        },
    )?;
    provided.take_control();
    let instance = made.map_err(|error| {
        provided.end();
        Fault::new("initialize", error.to_string())
    })?;
    place.step("initialize", json!({}));
    Ok(Version { number, image, manifest, instance, provided })
}

fn load_image(place: &Place<'_>, order: &Order, old: &Version) -> Result<Arc<Image>, Fault> {
    let found = place.images().find(&order.module, &old.image).map_err(|error| Fault::of("load", error))?;
    match found {
        Found::Known(image) => Ok(image),
        Found::New(path) => {
            let module = timed("load", order.timeout, move || load::load(&path), drop)?;
            let kept = module.and_then(|module| place.images().keep(module));
            kept.map_err(|error| Fault::of("load", error))
        }
    }
}

/// What the manifests say of each other.
fn compare(old: &Manifest, new: &Manifest, may_migrate: bool) -> Result<(), Fault> {
    if old.name != new.name {
        let why = format!("it is the module `{}`, and `{}` serves", new.name, old.name);
        return Err(Fault::refused("compare", why));
    }
    let (before, after) = (old.storage(), new.storage());
    match (before, after) {
        (None, _) | (_, None) => Ok(()),
        (Some((own, _)), Some((other, _))) if own != other => Err(Fault::refused(
            "compare",
            format!(
                "its store is `{other}`, and the one that serves has `{own}`; move the data, then restart the host"
            ),
        )),
        (Some((_, own)), Some((_, other))) if other < own => Err(Fault::refused(
            "compare",
            format!(
                "it reads stores up to version {other}, and the store has version {own}; use a newer build, or stop the \
                     host and restore the copy from before the migration"
            ),
        )),
        (Some((_, own)), Some((_, other))) if other > own && !may_migrate => Err(Fault::refused(
            "compare",
            format!(
                "it brings the store from version {own} to {other}, which the version that serves cannot read, so there \
                     would be no way back without loss; add --allow-migration to do it all the same (the new version \
                     keeps a copy of the store as it was)"
            ),
        )),
        _ => Ok(()),
    }
}

/// The part in which nothing is served.
fn replace(place: &Place<'_>, order: &Order, old: &Arc<Version>, new: &Arc<Version>) -> Outcome {
    let begun = Instant::now();
    place.bus.hold();
    place.current.hold();
    place.step("hold", json!({}));
    let drains = old.instance.can_drain();
    let taken = take_over(place, order, old, new, drains);
    let (serving, gone, fault) = match taken {
        Ok(()) => (new, old, None),
        Err(fault) => {
            place.step("take back", json!({ "because": fault.why }));
            if let Err(error) = take_back(old) {
                let error = Error::new(
                    code::OLD_LOST,
                    format!("{}: {}; and the old version did not come back: {error}", fault.step, fault.why),
                );
                let mut report = place.report(&fault, old, Some(new));
                report["lost"] = json!(error.to_string());
                return Outcome::Lost(report, error);
            }
            (old, new, Some(fault))
        }
    };
    place.bus.end_owner(gone.number);
    place.current.switch(Arc::clone(serving));
    place.bus.open();
    place.current.release();
    let held_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    place.step("release", json!({ "held_ms": held_ms }));
    match fault {
        Some(fault) => {
            let mut report = place.report(&fault, old, Some(new));
            report["held_ms"] = json!(held_ms);
            Outcome::Failed(report)
        }
        None => {
            let left = retire(old, order.timeout);
            if let Err(why) = &left {
                log::error!("the version before is not cleaned up, and serves nothing: {why}");
            }
            Outcome::Done(json!({
                "result": "upgraded", "from": old.document(), "to": new.document(), "held_ms": held_ms,
                "left": left.err(),
            }))
        }
    }
}

/// Brings the old version to rest and the new one to work. On a fault the new one is ended, as far as it lets itself be.
fn take_over(
    place: &Place<'_>,
    order: &Order,
    old: &Arc<Version>,
    new: &Arc<Version>,
    drains: bool,
) -> Result<(), Fault> {
    let rest = if drains { "drain" } else { "stop" };
    place.step(rest, json!({ "health": place.health(old) }));
    let rested = match drains {
        true => old.instance.drain(order.timeout),
        false => old.instance.stop(order.timeout),
    };
    let ready = rested
        .map_err(|error| Fault::new(rest, error.to_string()))
        .and_then(|()| match drains && new.instance.can_drain() {
            true => hand_on(place, order, old, new),
            false => Ok(()),
        })
        .and_then(|()| place.check_ending(rest));
    if let Err(fault) = ready {
        if !fault.is_hanging {
            end_unstarted(new);
        }
        return Err(fault);
    }
    start(place, order, new)
}

/// Gives the new version what the store does not hold.
fn hand_on(place: &Place<'_>, order: &Order, old: &Arc<Version>, new: &Arc<Version>) -> Result<(), Fault> {
    let state = old.instance.export().map_err(|error| Fault::new("export", error.to_string()))?;
    place.step("import", json!({ "bytes": state.len() }));
    let (inside, late) = (Arc::clone(new), Arc::clone(new));
    let imported = timed(
        "import",
        order.timeout,
        move || {
            inside.provided.take_control();
            inside.instance.import(&state)
        },
        move |_| end_unstarted(&late),
    )?;
    new.provided.take_control();
    imported.map_err(|error| Fault::new("import", error.to_string()))
}

/// Starts the new version and looks whether it is well.
fn start(place: &Place<'_>, order: &Order, new: &Arc<Version>) -> Result<(), Fault> {
    place.step("start", json!({}));
    let (inside, late) = (Arc::clone(new), Arc::clone(new));
    let timeout = order.timeout;
    let started = timed(
        "start",
        timeout,
        move || {
            inside.provided.take_control();
            inside.instance.start()
        },
        // The old version has the store again, or the host has ended; this one must not go on beside it.
        move |started: Called| {
            if started.is_ok() {
                log_late("stop", late.instance.stop(timeout));
            }
            end_unstarted(&late);
        },
    )?;
    new.provided.take_control();
    if let Err(error) = started {
        end_unstarted(new);
        return Err(Fault::new("start", error.to_string()));
    }
    watch(place, order, new).inspect_err(|_| {
        log_late("stop", new.instance.stop(timeout));
        end_unstarted(new);
    })
}

/// Some readings in a row must be good.
fn watch(place: &Place<'_>, order: &Order, new: &Version) -> Result<(), Fault> {
    let until = Instant::now() + order.timeout;
    let mut good = 0;
    loop {
        place.check_ending("health")?;
        let health = new.instance.health().map_err(|error| Fault::new("health", error.to_string()))?;
        if health.state == Health::STATE_FAILED {
            return Err(Fault::new("health", format!("it failed: {}", health.detail)));
        }
        let is_good = health.state == Health::STATE_STARTED && Health::label(health.score) != "unhealthy";
        good = if is_good { good + 1 } else { 0 };
        if good >= HEALTH_READINGS {
            place.step("health", json!({ "health": document(&health) }));
            return Ok(());
        }
        if Instant::now() >= until {
            let (score, detail) = (health.score, health.detail);
            return Err(Fault::new("health", format!("it stays unhealthy: {score:.2}, {detail}")));
        }
        std::thread::sleep(HEALTH_READING_EVERY);
    }
}

/// The old version at work again, from whatever it was brought to.
fn take_back(old: &Version) -> Called {
    let state = old.instance.health()?.state;
    match state {
        // The step that failed was the first, and it changed nothing.
        Health::STATE_STARTED => Ok(()),
        Health::STATE_DRAINING => old.instance.cancel_drain(),
        Health::STATE_STOPPING => {
            // Once more, then it can start.
            old.instance.stop(CALLS_SETTLE_MAX * 5)?;
            old.instance.start()
        }
        _ => old.instance.start(),
    }
}

/// Ends a version that serves no more. Its image stays.
fn retire(old: &Version, timeout: Duration) -> Result<(), String> {
    let state = old.instance.health().map_err(|error| error.to_string())?.state;
    if state != Health::STATE_STOPPED {
        let stopped = match old.instance.stop(timeout) {
            Err(error) if error.status == Status::TIMEOUT => old.instance.stop(timeout),
            other => other,
        };
        stopped.map_err(|error| error.to_string())?;
    }
    release(old)
}

/// Closes the gate and calls cleanup.
fn release(version: &Version) -> Result<(), String> {
    version
        .instance
        .close(CALLS_SETTLE_MAX)
        .map_err(|calls| format!("{calls} calls into it have not returned"))?;
    version.instance.cleanup().map_err(|error| error.to_string())?;
    version.provided.end();
    Ok(())
}

/// Releases a version that does not work.
fn end_unstarted(new: &Version) {
    if let Err(why) = release(new) {
        log::error!("the new version is not cleaned up, and serves nothing: {why}");
    }
}

fn log_late(call: &str, result: Called) {
    if let Err(error) = result {
        log::error!("`{call}` of a version that was given up: {error}");
    }
}

/// A call into the new version.
fn timed<T: Send + 'static>(
    step: &'static str,
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
    late: impl FnOnce(T) + Send + 'static,
) -> Result<T, Fault> {
    match within(limit, work, late) {
        Ok(Some(made)) => Ok(made),
        Ok(None) => {
            let why = format!("it was not done within {} ms and was left behind", limit.as_millis());
            Err(Fault { is_hanging: true, ..Fault::new(step, why) })
        }
        Err(error) => Err(Fault::of(step, error)),
    }
}

impl Place<'_> {
    fn images(&self) -> std::sync::MutexGuard<'_, Images> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, step: &str, mut detail: Value) {
        let text = match &detail {
            Value::Object(fields) if !fields.is_empty() => format!("upgrade: {step} {detail}"),
            _ => format!("upgrade: {step}"),
        };
        detail["step"] = json!(step);
        notice(&text, detail.clone());
        (self.tell)(detail);
    }

    fn health(&self, version: &Version) -> Value {
        match version.instance.health() {
            Ok(health) => document(&health),
            Err(error) => json!({ "error": error.to_string() }),
        }
    }

    fn check_ending(&self, step: &'static str) -> Result<(), Fault> {
        match self.is_ending.load(Ordering::SeqCst) {
            true => Err(Fault::new(step, "the host was asked to end")),
            false => Ok(()),
        }
    }

    fn report(&self, fault: &Fault, old: &Version, new: Option<&Arc<Version>>) -> Value {
        log::error!("the upgrade failed at `{}`: {} [{}]", fault.step, fault.why, fault.code);
        json!({
            "result": "failed", "step": fault.step, "code": fault.code.id, "reason": fault.why,
            "serving": old.document(), "tried": new.map(|new| new.document()), "health": self.health(old),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, storage: &str) -> Manifest {
        let text = format!(r#"{{"name":"{name}","version":"1"{storage}}}"#);
        Manifest::parse(text.as_bytes()).unwrap()
    }

    fn storage(version: u32) -> String {
        format!(r#","storage":{{"format":"s","version":{version}}}"#)
    }

    #[test]
    fn versions_of_the_store_decide_what_may_follow_what() {
        for (old, new, may_migrate, expect) in [
            (manifest("a", ""), manifest("a", ""), false, None),
            (manifest("a", &storage(5)), manifest("a", &storage(5)), false, None),
            (manifest("a", &storage(5)), manifest("a", ""), false, None),
            (manifest("a", &storage(5)), manifest("a", &storage(6)), true, None),
            (manifest("a", &storage(5)), manifest("a", &storage(6)), false, Some("--allow-migration")),
            (manifest("a", &storage(6)), manifest("a", &storage(5)), true, Some("up to version 5")),
            (manifest("a", ""), manifest("b", ""), true, Some("`b`")),
            (
                manifest("a", &storage(5)),
                manifest("a", r#","storage":{"format":"t","version":9}"#),
                true,
                Some("`t`"),
            ),
        ] {
            let got = compare(&old, &new, may_migrate).err();
            let text = got.as_ref().map(|fault| fault.why.as_str()).unwrap_or_default();
            assert_eq!(got.is_some(), expect.is_some(), "{text}");
            assert!(text.contains(expect.unwrap_or_default()), "{text}");
        }
    }
}
