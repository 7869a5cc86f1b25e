//! `gpio`: reads, drives and watches a configured pin.
//!
//! Input: `{pin, action, value?, duration_ms?, edge?, safe_value?}`. Output: `{value, edge, at, missed}`. A pulse and a
//! pwm with a duration end with the future: whoever drops it brings the pin back. An edge that fell into a time when
//! nothing ran was not seen: a later attempt looks at the level first, and says `missed`.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::{Effect, Executors, Failure, config};
use crate::error::Error;
use crate::error::code::{gpio as code, run};
use crate::gpio::{Held, Pins};
use crate::model::{Pin, StepError, class};
use crate::time::Timestamp;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    pin: Value,
    action: String,
    value: Option<Value>,
    duration_ms: Option<u64>,
    edge: Option<String>,
    safe_value: Option<bool>,
}

/// Carries one attempt out.
pub(crate) async fn execute(executors: &Executors, effect: &Effect) -> Result<Value, Failure> {
    let input: Input = config::read(&effect.input)?;
    let Some(pins) = &executors.pins else {
        return Err(refused(
            Error::new(&code::NO_PIN, "no pins are configured").help("add them under gpio.pins"),
        ));
    };
    let pin = match &input.pin {
        Value::String(name) => Pin::Name(name.clone()),
        other => Pin::Number(other.as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(u32::MAX)),
    };
    let bound = effect.timeout.unwrap_or(Duration::MAX);
    match tokio::time::timeout(bound, act(pins, &pin, &input, effect)).await {
        Ok(done) => {
            let Done { level, edge, at, missed } = done?;
            let at = at.unwrap_or_else(|| executors.env.now());
            Ok(json!({ "value": u8::from(level), "edge": edge, "at": at, "missed": missed }))
        }
        Err(_) => {
            let message = format!("`{}` of pin `{pin}` was not done within its timeout", input.action);
            Err(StepError::new(class::TIMEOUT, &run::STEP_TIMEOUT, message).into())
        }
    }
}

/// What became of it.
struct Done {
    level: bool,
    edge: Option<&'static str>,
    at: Option<Timestamp>,
    missed: bool,
}

impl Done {
    fn at(level: bool) -> Self {
        Self { level, edge: None, at: None, missed: false }
    }
}

async fn act(pins: &Pins, pin: &Pin, input: &Input, effect: &Effect) -> Result<Done, Failure> {
    let time = input.duration_ms.map(Duration::from_millis);
    match input.action.as_str() {
        "read" => pins.read(pin).map(Done::at).map_err(refused),
        "write" => {
            let level = level(input)?.ok_or_else(|| Failure::input("`write` needs `value`"))?;
            pins.write(pin, level).map_err(refused)?;
            Ok(Done::at(level))
        }
        "pulse" => {
            let time = time.ok_or_else(|| Failure::input("`pulse` needs `duration`"))?;
            let level =
                level(input)?.map_or_else(|| pins.safe(pin).map(|safe| !safe), Ok).map_err(refused)?;
            let held = pins.pulse(pin, level, time, input.safe_value).map_err(refused)?;
            ended(held, pins, pin).await
        }
        "pwm" => match pins.pwm(pin, share(input)?, time, input.safe_value).map_err(refused)? {
            Some(held) => ended(held, pins, pin).await,
            None => pins.read(pin).map(Done::at).map_err(refused),
        },
        "wait_edge" => wait_edge(pins, pin, input, effect.attempt).await,
        other => Err(Failure::input(format!("there is no action `{other}`"))),
    }
}

async fn ended(held: Held, pins: &Pins, pin: &Pin) -> Result<Done, Failure> {
    held.ended().await.map_err(refused)?;
    pins.read(pin).map(Done::at).map_err(refused)
}

async fn wait_edge(pins: &Pins, pin: &Pin, input: &Input, attempt: u32) -> Result<Done, Failure> {
    let wanted = match input.edge.as_deref() {
        Some("falling") => Some(false),
        Some("both") => None,
        _ => Some(true),
    };
    // Subscribed before the level is looked at, so that no change falls between the two.
    let mut changes = pins.changes(pin).map_err(refused)?;
    if attempt > 1
        && let Some(level) = wanted
        && pins.read(pin).map_err(refused)? == level
    {
        return Ok(Done { level, edge: Some(edge(level)), at: None, missed: true });
    }
    loop {
        match changes.recv().await {
            Ok(change) if wanted.is_none_or(|level| change.level == level) => {
                let (level, at) = (change.level, Some(change.at));
                return Ok(Done { level, edge: Some(edge(level)), at, missed: false });
            }
            Ok(_) => {}
            Err(RecvError::Lagged(lost)) => log::warn!("pin {pin}: {lost} changes were lost"),
            Err(RecvError::Closed) => {
                let error = Error::new(&code::LINE, format!("the pin `{pin}` was given back"));
                return Err(refused(error.help("try again after the restart")));
            }
        }
    }
}

fn edge(level: bool) -> &'static str {
    if level { "rising" } else { "falling" }
}

fn level(input: &Input) -> Result<Option<bool>, Failure> {
    match &input.value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(level)) => Ok(Some(*level)),
        Some(Value::Number(number)) if number.as_f64() == Some(0.0) => Ok(Some(false)),
        Some(Value::Number(number)) if number.as_f64() == Some(1.0) => Ok(Some(true)),
        Some(other) => Err(Failure::input(format!("`value` must be 0 or 1, this is {}", short(other)))),
    }
}

fn share(input: &Input) -> Result<f64, Failure> {
    let share = input.value.as_ref().and_then(Value::as_f64).filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| {
        let given = input.value.as_ref().map_or_else(|| "missing".to_owned(), short);
        Failure::input(format!("`value` of pwm must be from 0 to 1, this is {given}"))
    })
}

fn short(value: &Value) -> String {
    crate::net::excerpt(value.to_string().as_bytes())
}

fn refused(error: Error) -> Failure {
    StepError::from_error(class::INVALID, &error).into()
}
