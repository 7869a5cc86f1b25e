//! `gpio`: pins of the machine that an agent's grant names.
//!
//! ```yaml
//! gpio: { pins: [pump, door], write: true, pulse_s_max: 30 }      # `write: false`: the pins are read alone
//! ```
//!
//! Invariants: a pin is one of the grant's, by its configured name, never a number; with `write: false` nothing is driven; outputs alone are
//! driven; a pulse is no longer than the grant says. Writing is outward and unsafe, so policy parks it once a task is tainted.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::request::of_kind;
use super::{ToolFamily, ToolFuture, ToolOutcome, ToolOwner, ToolRequest};
use crate::error::code::tool as code;
use crate::gpio::Pins;
use crate::limits::{PINS_MAX, TOOL_PULSE_S_DEFAULT, TOOL_PULSE_S_MAX};
use crate::model::{EffectClass, Pin, StepError, ToolSpec, class};
use crate::step::{EffectKind, Executors};

/// The family `gpio`.
pub struct GpioTools {
    executors: Arc<Executors>,
    pins: Option<Arc<Pins>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    pins: Vec<String>,
    /// `false`: pins are read alone.
    #[serde(default = "yes")]
    write: bool,
    pulse_s_max: Option<u64>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    pin: String,
    value: Option<u8>,
    duration_ms: Option<u64>,
}

fn wrong(message: String) -> StepError {
    StepError::new(class::INVALID, &code::GRANT, format!("tools.gpio: {message}"))
}

impl Grant {
    fn read(grant: &Value) -> Result<Self, StepError> {
        let grant = Self::deserialize(grant).map_err(|error| wrong(error.to_string()))?;
        if grant.pins.is_empty() || grant.pins.len() > PINS_MAX {
            return Err(wrong(format!("`pins` names 1 to {PINS_MAX} configured pins")));
        }
        if grant.pulse_s_max.is_some_and(|seconds| !(1..=TOOL_PULSE_S_MAX).contains(&seconds)) {
            return Err(wrong(format!("`pulse_s_max` is from 1 to {TOOL_PULSE_S_MAX}")));
        }
        Ok(grant)
    }

    fn pulse_ms_max(&self) -> u64 {
        self.pulse_s_max.unwrap_or(TOOL_PULSE_S_DEFAULT) * 1_000
    }
}

impl GpioTools {
    /// Pins are driven by the executors; `pins` says which there are.
    pub fn new(executors: Arc<Executors>, pins: Option<Arc<Pins>>) -> Self {
        Self { executors, pins }
    }

    fn specs(&self, grant: &Value) -> Result<Vec<ToolSpec>, StepError> {
        let grant = Grant::read(grant)?;
        let Some(pins) = &self.pins else {
            return Err(wrong("no pins are configured; add them under gpio.pins".to_owned()));
        };
        let mut outputs = Vec::new();
        for name in &grant.pins {
            let view = pins.view(&Pin::Name(name.clone())).map_err(|error| {
                let remedy = error.remedy().unwrap_or("name a pin of gpio.pins");
                wrong(format!("{}; {remedy}", error.message()))
            })?;
            // A number would find it too, and names say what a pin is for.
            if view.name != *name {
                return Err(wrong(format!(
                    "`{}` is no name; the pin is called `{}`",
                    shown(name),
                    view.name
                )));
            }
            if view.is_output {
                outputs.push(name.as_str());
            }
        }
        let all: Vec<&str> = grant.pins.iter().map(String::as_str).collect();
        let mut specs = vec![spec(
            "read",
            "Reads the level of a pin: 0 or 1.",
            json!({ "pin": { "enum": all } }),
            &["pin"],
        )];
        if grant.write && !outputs.is_empty() {
            let pin = json!({ "enum": outputs });
            let level = json!({ "enum": [0, 1], "description": "1 is on." });
            specs.push(spec(
                "write",
                "Sets the level of an output until it is set again.",
                json!({ "pin": pin, "value": level }),
                &["pin", "value"],
            ));
            let duration = json!({ "type": "integer", "minimum": 1, "maximum": grant.pulse_ms_max() });
            specs.push(spec(
                "pulse",
                "Sets an output for a time, after which it is at its safe level again.",
                json!({ "pin": pin, "value": level, "duration_ms": duration }),
                &["pin", "duration_ms"],
            ));
        }
        specs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(specs)
    }

    async fn carry_out(&self, request: &ToolRequest) -> Result<ToolOutcome, StepError> {
        let grant = Grant::read(&request.grant)?;
        let arguments = match Arguments::deserialize(&request.arguments) {
            Ok(arguments) => arguments,
            Err(error) => return Ok(ToolOutcome::error(format!("the arguments are wrong: {error}"))),
        };
        let operation = request.spec.operation.as_str();
        match refusal(&grant, operation, &arguments) {
            Some(message) => Ok(ToolOutcome::error(message)),
            None => {
                let Arguments { pin, value, duration_ms } = arguments;
                let input =
                    json!({ "pin": pin, "action": operation, "value": value, "duration_ms": duration_ms });
                let output = self.executors.execute(of_kind(EffectKind::Gpio, input, request)).await;
                let output = output.map_err(|failure| failure.error)?;
                Ok(ToolOutcome::good(json!({ "pin": pin, "value": output["value"] })))
            }
        }
    }
}

/// Why a call is not carried out: whatever was validated before, this is the last door before a relay.
fn refusal(grant: &Grant, operation: &str, arguments: &Arguments) -> Option<String> {
    let Arguments { pin, value, duration_ms } = arguments;
    if !grant.pins.contains(pin) {
        return Some(format!("`{}` is not among the pins: {}", shown(pin), grant.pins.join(", ")));
    }
    if operation != "read" && !grant.write {
        return Some("pins may be read and not driven".to_owned());
    }
    if value.is_some_and(|value| value > 1) || (operation == "write" && value.is_none()) {
        return Some("`value` is 0 or 1".to_owned());
    }
    match (operation, duration_ms) {
        ("read" | "write", None) => None,
        ("pulse", Some(ms)) if (1..=grant.pulse_ms_max()).contains(ms) => None,
        ("pulse", _) => Some(format!("`duration_ms` is from 1 to {}", grant.pulse_ms_max())),
        ("read" | "write", Some(_)) => Some("`duration_ms` belongs to a pulse".to_owned()),
        _ => Some("there is no such operation".to_owned()),
    }
}

fn spec(operation: &str, description: &str, properties: Value, required: &[&str]) -> ToolSpec {
    let is_read = operation == "read";
    ToolSpec {
        name: format!("gpio_{operation}"),
        family: "gpio".to_owned(),
        operation: operation.to_owned(),
        description: description.to_owned(),
        schema: json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false }),
        class: if is_read { EffectClass::ReadOnly } else { EffectClass::Unsafe },
        reads_private: is_read,
        is_untrusted: false,
        is_outward: !is_read,
    }
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

impl ToolFamily for GpioTools {
    fn family(&self) -> &'static str {
        "gpio"
    }

    fn offers<'a>(&'a self, grant: &'a Value, _: &'a ToolOwner) -> ToolFuture<'a, Vec<ToolSpec>> {
        Box::pin(async move { self.specs(grant) })
    }

    fn call<'a>(&'a self, request: &'a ToolRequest) -> ToolFuture<'a, ToolOutcome> {
        Box::pin(self.carry_out(request))
    }
}
