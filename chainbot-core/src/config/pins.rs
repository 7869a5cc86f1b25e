//! `gpio.pins`: its normal form, what can be wrong with it, its schema and its type.

use std::time::Duration;

use serde_json::{Value, json};

use super::check::Problem;
use crate::error::similar;
use crate::gpio::{Bcm, Bias, InputCfg, Mode, PinSetup};
use crate::limits::PINS_MAX;
use crate::model::document::NodeValue;
use crate::model::{Node, Pos};
use crate::time::parse_duration;

const FIELDS: [&str; 7] = ["pin", "mode", "safe", "active_low", "max_on", "bias", "debounce"];
const OF_OUTPUTS: [&str; 2] = ["safe", "max_on"];
const OF_INPUTS: [&str; 2] = ["bias", "debounce"];
/// The largest number of a line on a Pi's header.
const BCM_MAX: u64 = 27;

/// The normal form of the map.
pub(super) fn pins(entries: &[(String, Pos, Node)]) -> Result<Value, Vec<Problem>> {
    let (mut out, mut problems) = (serde_json::Map::new(), Vec::new());
    if let Some((_, pos, _)) = entries.get(PINS_MAX) {
        problems.push(Problem::new(*pos, format!("there are more than {PINS_MAX} pins")));
    }
    for (name, pos, node) in entries.iter().take(PINS_MAX) {
        let mut reading = Reading { node, problems: Vec::new() };
        if !is_name(name) {
            let wanted =
                "a pin's name is 1 to 63 lower-case letters, digits, `_` or `-`, and begins with a letter";
            reading.problems.push(Problem::new(*pos, wanted));
        }
        let pin = reading.pin();
        if out.values().any(|other: &Value| other["pin"] == pin["pin"]) && !pin["pin"].is_null() {
            let message = format!("GPIO{} has another name already", pin["pin"]);
            reading.problems.push(Problem::new(node.pos, message).below(".pin"));
        }
        problems.extend(reading.problems.into_iter().map(|mut problem| {
            problem.below.insert_str(0, &format!(".{name}"));
            problem
        }));
        out.insert(name.clone(), pin);
    }
    if problems.is_empty() { Ok(Value::Object(out)) } else { Err(problems) }
}

fn is_name(name: &str) -> bool {
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.len() <= 63 && name.chars().all(rest)
}

struct Reading<'a> {
    node: &'a Node,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn pin(&mut self) -> Value {
        let NodeValue::Map(entries) = &self.node.value else {
            self.say(
                "",
                format!("a pin is a map of {}", FIELDS.join(", ")),
                "write `{ pin: 17, mode: output, safe: 0 }`",
            );
            return Value::Null;
        };
        for (name, pos, _) in entries.iter().filter(|(name, _, _)| !FIELDS.contains(&name.as_str())) {
            let hint = similar(name, FIELDS).map_or_else(
                || format!("a pin has {}", FIELDS.join(", ")),
                |field| format!("did you mean `{field}`?"),
            );
            self.problems.push(
                Problem::new(*pos, format!("a pin has no `{name}`")).below(format!(".{name}")).hint(hint),
            );
        }
        let number = self.number();
        let mode = match self.node.get("mode").map(|node| node.as_str()) {
            Some(Some(mode @ ("output" | "input"))) => mode,
            _ => {
                self.say("mode", "`mode` is `output` or `input`".to_owned(), "say what the pin is for");
                return Value::Null;
            }
        };
        let foreign = if mode == "output" { OF_INPUTS } else { OF_OUTPUTS };
        for field in foreign.into_iter().filter(|field| self.node.get(field).is_some()) {
            self.say(field, format!("an {mode} has no `{field}`"), "leave it out");
        }
        let active_low = self.flag("active_low").unwrap_or(false);
        if mode == "output" {
            let safe = self.flag("safe");
            if self.node.get("safe").is_none() {
                self.say(
                    "safe",
                    "an output needs `safe`".to_owned(),
                    "say at which level, 0 or 1, nothing can happen",
                );
            }
            return json!({ "pin": number, "mode": mode, "safe": u8::from(safe.unwrap_or(false)),
                "active_low": active_low, "max_on": self.millis("max_on") });
        }
        let bias = self.node.get("bias").map(|node| node.as_str());
        let bias = match bias {
            None => "none",
            Some(Some(bias @ ("none" | "pull_up" | "pull_down"))) => bias,
            Some(_) => {
                self.say(
                    "bias",
                    "`bias` is `none`, `pull_up` or `pull_down`".to_owned(),
                    "leave it out for none",
                );
                "none"
            }
        };
        json!({ "pin": number, "mode": mode, "active_low": active_low, "bias": bias,
            "debounce": self.millis("debounce") })
    }

    fn number(&mut self) -> Value {
        let number = match self.node.get("pin").map(|node| &node.value) {
            Some(NodeValue::Number(number)) => number.as_u64().filter(|number| *number <= BCM_MAX),
            _ => None,
        };
        if number.is_none() {
            let hint = "it is the number after GPIO, not the place on the header";
            self.say("pin", format!("`pin` takes a Broadcom number from 0 to {BCM_MAX}"), hint);
        }
        json!(number)
    }

    /// 0, 1, false or true.
    fn flag(&mut self, field: &str) -> Option<bool> {
        let node = self.node.get(field)?;
        let flag = match &node.value {
            NodeValue::Bool(flag) => Some(*flag),
            NodeValue::Number(number) => number.as_u64().filter(|n| *n <= 1).map(|n| n == 1),
            _ => None,
        };
        if flag.is_none() {
            self.say(field, format!("`{field}` takes 0 or 1"), "write it without quotes");
        }
        flag
    }

    /// A duration. Its normal form is a number of milliseconds with the unit, so that it reads back as it is.
    fn millis(&mut self, field: &str) -> Option<String> {
        let node = self.node.get(field)?;
        let time = match &node.value {
            NodeValue::String(text) => parse_duration(text),
            NodeValue::Number(number) => parse_duration(&number.to_string()),
            _ => None,
        };
        let time = time.filter(|time| !time.is_zero());
        if time.is_none() {
            self.say(field, format!("`{field}` takes a duration"), "write it as `50ms`, `30s` or `10m`");
        }
        time.map(|time| format!("{}ms", time.as_millis()))
    }

    fn say(&mut self, field: &str, message: String, hint: &str) {
        let pos = self.node.get(field).map_or(self.node.pos, |node| node.pos);
        let below = if field.is_empty() { String::new() } else { format!(".{field}") };
        self.problems.push(Problem::new(pos, message).below(below).hint(hint));
    }
}

/// From the normal form.
pub(super) fn read(value: &Value) -> Vec<PinSetup> {
    let time = |value: &Value| value.as_str().and_then(parse_duration);
    let read = |(name, pin): (&String, &Value)| {
        let active_low = pin["active_low"].as_bool()?;
        let mode = match pin["mode"].as_str()? {
            "output" => Mode::Output { safe: pin["safe"] == 1, active_low, max_on: time(&pin["max_on"]) },
            _ => Mode::Input(InputCfg {
                bias: match pin["bias"].as_str()? {
                    "pull_up" => Bias::PullUp,
                    "pull_down" => Bias::PullDown,
                    _ => Bias::None,
                },
                active_low,
                debounce: time(&pin["debounce"]).unwrap_or(Duration::ZERO),
            }),
        };
        Some(PinSetup { name: name.clone(), pin: Bcm(u32::try_from(pin["pin"].as_u64()?).ok()?), mode })
    };
    value.as_object().into_iter().flatten().filter_map(read).collect()
}

/// JSON Schema of the map.
pub(super) fn schema() -> Value {
    let level = || json!({ "enum": [0, 1, false, true] });
    let time = || json!({ "type": ["string", "number"] });
    json!({ "type": "object", "maxProperties": PINS_MAX, "additionalProperties": {
        "type": "object",
        "properties": {
            "pin": { "type": "integer", "minimum": 0, "maximum": BCM_MAX, "description": "Broadcom number." },
            "mode": { "enum": ["output", "input"] },
            "safe": level(), "active_low": level(), "max_on": time(),
            "bias": { "enum": ["none", "pull_up", "pull_down"] },
            "debounce": time(),
        },
        "required": ["pin", "mode"],
        "additionalProperties": false,
    } })
}
