//! Log lines and panics of this library go to the host.
//!
//! The `log` crate has one logger for each library, and an instance has its own host: lines go to the host of the
//! instance that was initialized last. Invariants: after an instance is cleaned up nothing is forwarded to its host; the
//! panic hook is this library's own and leaves the host's alone.

use std::sync::{Arc, Once, PoisonError, RwLock};

use chainbot_abi::Host;
use chainbot_core::secret::redact_log;
use log::kv::{Error, Key, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::gate::Gate;

static HOSTS: RwLock<Vec<Arc<Gate>>> = RwLock::new(Vec::new());
static INSTALL: Once = Once::new();

/// Sends lines to this host from now on. Called on a thread of the module.
pub fn attach(gate: &Arc<Gate>) {
    INSTALL.call_once(|| {
        // The only logger of this library; an error would say that it is set already.
        if log::set_logger(&Forwarder).is_ok() {
            // Until a start knows the configured level.
            log::set_max_level(LevelFilter::Info);
        }
        install_hook();
    });
    HOSTS.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(gate));
}

/// Sends nothing to this host from now on, and lets no other service of it through.
pub fn detach(gate: &Arc<Gate>) {
    HOSTS.write().unwrap_or_else(PoisonError::into_inner).retain(|other| !Arc::ptr_eq(other, gate));
    gate.close();
}

struct Forwarder;

impl Log for Forwarder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Foreign crates say a lot below Info that nobody who runs automations asked for.
        metadata.level() <= Level::Info || metadata.target().starts_with("chainbot")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        chainbot_core::observe::note(record);
        let Some(gate) = HOSTS.read().unwrap_or_else(PoisonError::into_inner).last().cloned() else {
            return;
        };
        chainbot_core::fault!("module.host.log" => return);
        let (line, fields) = (record.args().to_string(), fields(record));
        // The one door of the log: whatever is written passes here.
        gate.log(level(record.level()), record.target(), &redact_log(&line), &redact_log(&fields));
    }

    fn flush(&self) {}
}

fn level(level: Level) -> u32 {
    match level {
        Level::Error => Host::LOG_ERROR,
        Level::Warn => Host::LOG_WARN,
        Level::Info => Host::LOG_INFO,
        Level::Debug => Host::LOG_DEBUG,
        Level::Trace => Host::LOG_TRACE,
    }
}

fn fields(record: &Record<'_>) -> String {
    struct Collect(serde_json::Map<String, serde_json::Value>);
    impl<'kvs> VisitSource<'kvs> for Collect {
        fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
            let value = if let Some(number) = value.to_i64() {
                number.into()
            } else if let Some(number) = value.to_u64() {
                number.into()
            } else if let Some(number) = value.to_f64() {
                number.into()
            } else if let Some(truth) = value.to_bool() {
                truth.into()
            } else {
                value.to_string().into()
            };
            self.0.insert(key.as_str().to_owned(), value);
            Ok(())
        }
    }
    let mut found = Collect(serde_json::Map::new());
    // Only the visitor above could fail, and it does not.
    let _ = record.key_values().visit(&mut found);
    if found.0.is_empty() { String::new() } else { serde_json::Value::Object(found.0).to_string() }
}

/// Tests keep the harness's own hook, which shows why an assertion failed.
#[cfg(test)]
fn install_hook() {}

#[cfg(not(test))]
fn install_hook() {
    std::panic::set_hook(Box::new(|info| {
        // The panicking thread may hold the lock; a lost line is better than a thread that waits for itself.
        let gate = match HOSTS.try_read() {
            Ok(hosts) => hosts.last().cloned(),
            Err(std::sync::TryLockError::Poisoned(hosts)) => hosts.into_inner().last().cloned(),
            Err(std::sync::TryLockError::WouldBlock) => None,
        };
        if let Some(gate) = gate {
            gate.log(Host::LOG_ERROR, "chainbot_plugin::panic", &redact_log(&info.to_string()), "");
        }
    }));
}
