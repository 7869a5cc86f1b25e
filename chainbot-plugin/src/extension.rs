//! The extensions of the module: figures, hand-over to another version, change of the configuration.
//!
//! Each table is a static, reached by its id. Like every entry, a function is a guard around a few lines; what needs the core
//! runs on a short-lived thread of the module. Invariant: `TABLES` is all that `get_extension` knows and the manifest names.

use std::ffi::c_void;
use std::sync::Arc;

use chainbot_abi::name::{EXT_DRAIN, EXT_METRICS, EXT_RECONFIGURE};
use chainbot_abi::{DrainExt, ErrorBuf, MetricsExt, ReconfigureExt, Sink, Status, Str};

use crate::control::{self, Control};
use crate::entry::with_instance;
use crate::failure::{BAD_HANDOVER, Failure};
use crate::limits::{CONFIG_BYTES_MAX, HANDOVER_BYTES_MAX};
use crate::state::{Instance, State};
use crate::{copy, thread};

static METRICS: MetricsExt = MetricsExt { snapshot: Some(metrics_snapshot) };
static DRAIN: DrainExt = DrainExt {
    begin: Some(drain_begin),
    cancel: Some(drain_cancel),
    export_state: Some(drain_export),
    import_state: Some(drain_import),
};
static RECONFIGURE: ReconfigureExt = ReconfigureExt {
    check: Some(reconfigure_check),
    apply: Some(reconfigure_apply),
    snapshot: Some(reconfigure_snapshot),
};

/// Ids that [`table`] knows.
pub const IDS: [&str; 3] = [EXT_METRICS, EXT_DRAIN, EXT_RECONFIGURE];

/// The table of an id; null for an unknown one.
pub fn table(id: &str) -> *const c_void {
    match id {
        EXT_METRICS => (&raw const METRICS).cast(),
        EXT_DRAIN => (&raw const DRAIN).cast(),
        EXT_RECONFIGURE => (&raw const RECONFIGURE).cast(),
        _ => std::ptr::null(),
    }
}

/// Writes a text that is in memory already, so it never waits.
///
/// # Safety
/// `out` is the sink of the running call.
unsafe fn write(instance: *mut c_void, out: Sink, text: impl FnOnce(&Instance) -> String) -> Status {
    let body = |instance: Arc<Instance>| {
        // SAFETY: the caller's promise.
        let status = unsafe { out.put(text(&instance).as_bytes()) };
        if status.is_ok() { Ok(()) } else { Err(Failure::argument("the sink's function is null")) }
    };
    // SAFETY: nobody is interested in a message.
    unsafe { with_instance(instance, std::ptr::null_mut(), body) }
}

unsafe extern "C" fn metrics_snapshot(instance: *mut c_void, out: Sink) -> Status {
    // SAFETY: the sink of the running call.
    unsafe { write(instance, out, Instance::metrics) }
}

unsafe extern "C" fn drain_begin(instance: *mut c_void, deadline_ms: u32, err: *mut ErrorBuf) -> Status {
    // SAFETY: the host's error buffer.
    unsafe { with_instance(instance, err, |instance| control::drain(&instance, deadline_ms)) }
}

unsafe extern "C" fn drain_cancel(instance: *mut c_void, err: *mut ErrorBuf) -> Status {
    // SAFETY: the host's error buffer.
    unsafe { with_instance(instance, err, |instance| control::cancel(&instance)) }
}

unsafe extern "C" fn drain_export(instance: *mut c_void, out: Sink, err: *mut ErrorBuf) -> Status {
    let body = |instance: Arc<Instance>| {
        control::check_export(&instance)?;
        let text = thread::run(move || instance.program.export())?;
        // SAFETY: the sink of the running call.
        let status = unsafe { out.put(text.as_bytes()) };
        if status.is_ok() { Ok(()) } else { Err(Failure::argument("the sink's function is null")) }
    };
    // SAFETY: the host's error buffer.
    unsafe { with_instance(instance, err, body) }
}

unsafe extern "C" fn drain_import(instance: *mut c_void, state: Str, err: *mut ErrorBuf) -> Status {
    let body = |instance: Arc<Instance>| {
        let _control = Control::claim(&instance, "drain.import_state", &[State::Initialized])?;
        // SAFETY: lent by the running call.
        let state = unsafe { copy::text(state, "state", HANDOVER_BYTES_MAX) }?.to_owned();
        let program = Arc::clone(&instance.program);
        thread::run(move || program.import(&state))?
    };
    // SAFETY: the host's error buffer.
    unsafe { with_instance(instance, err, body) }
}

const EVERY_STATE: [State; 6] =
    [State::Initialized, State::Started, State::Draining, State::Stopping, State::Stopped, State::Failed];

unsafe extern "C" fn reconfigure_check(instance: *mut c_void, config: Str, err: *mut ErrorBuf) -> Status {
    let body = |instance: Arc<Instance>| {
        let _control = Control::claim(&instance, "reconfigure.check", &EVERY_STATE)?;
        // SAFETY: lent by the running call.
        let config = unsafe { copy::text(config, "config", CONFIG_BYTES_MAX) }?.to_owned();
        let program = Arc::clone(&instance.program);
        thread::run(move || program.check(&config))?
    };
    // SAFETY: the host's error buffer.
    unsafe { with_instance(instance, err, body) }
}

unsafe extern "C" fn reconfigure_apply(instance: *mut c_void, config: Str, err: *mut ErrorBuf) -> Status {
    let body = |instance: Arc<Instance>| {
        let _control = Control::claim(&instance, "reconfigure.apply", &[State::Started])?;
        // SAFETY: lent by the running call.
        let config = unsafe { copy::text(config, "config", CONFIG_BYTES_MAX) }?.to_owned();
        let inside = Arc::clone(&instance);
        thread::run(move || {
            // Taken and dropped on this thread: the last holder of what runs may not be a thread of the host.
            let running = inside.lock().running.clone();
            let running = running.ok_or_else(|| Failure::argument("nothing runs"))?;
            inside.program.apply(&config, running.as_ref())?;
            drop(running);
            inside.keep_config();
            Ok(())
        })?
    };
    // SAFETY: the host's error buffer.
    unsafe { with_instance(instance, err, body) }
}

unsafe extern "C" fn reconfigure_snapshot(instance: *mut c_void, out: Sink) -> Status {
    // SAFETY: the sink of the running call.
    unsafe { write(instance, out, |instance| instance.lock().config.clone()) }
}

/// The document of a hand-over: one object with its version in front, so that a later one can be told.
pub const HANDOVER_FORMAT: u64 = 1;

/// Reads a hand-over; UNSUPPORTED when it is of another version.
pub fn read_handover(text: &str) -> Result<serde_json::Value, Failure> {
    let document: serde_json::Value = serde_json::from_str(text)
        .map_err(|error| Failure::new(Status::INVALID, BAD_HANDOVER, format!("it is not JSON: {error}")))?;
    match document["format"].as_u64() {
        Some(HANDOVER_FORMAT) => Ok(document),
        other => {
            let format = other.map_or_else(|| document["format"].to_string(), |number| number.to_string());
            let text = format!(
                "what was handed over has format {format}, this version reads {HANDOVER_FORMAT}; stop the one and start \
                 the other instead"
            );
            Err(Failure::new(Status::UNSUPPORTED, BAD_HANDOVER, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_has_a_table_and_no_other_text_has_one() {
        for id in IDS {
            assert!(!table(id).is_null(), "{id}");
        }
        for id in ["", "alex.metrics", "alex.metrics/2", "alex.thread-check/1"] {
            assert!(table(id).is_null(), "{id}");
        }
    }

    #[test]
    fn a_hand_over_of_another_version_is_unsupported() {
        assert!(read_handover(r#"{"format":1}"#).is_ok());
        assert_eq!(read_handover(r#"{"format":2}"#).unwrap_err().status, Status::UNSUPPORTED);
        assert_eq!(read_handover("{}").unwrap_err().status, Status::UNSUPPORTED);
        let broken = read_handover("{").unwrap_err();
        assert_eq!(broken.status, Status::INVALID);
        assert!(broken.text.starts_with("CB-0713"), "{}", broken.text);
    }
}
