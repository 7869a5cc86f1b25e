//! `config` of `gpio`.

use std::time::Duration;

use super::{Decoder, Map};
use crate::error::code::definition as code;
use crate::limits::{PIN_SLACK, WAIT_EDGE_DEFAULT};
use crate::model::document::{Node, NodeValue};
use crate::model::{Edge, Gpio, Pin};

impl Decoder<'_> {
    pub(super) fn gpio(&mut self, map: &Map<'_>) -> Gpio {
        let pin = self.pin(map, "pin");
        let action = self.choice(map, "action");
        let is = |words: &[&str]| action.is_none_or(|action| words.contains(&action));
        self.only_for(map, "value", is(&["write", "pulse", "pwm"]), "`action: write`, `pulse` or `pwm`");
        self.only_for(map, "duration", is(&["pulse", "pwm"]), "`action: pulse` or `pwm`");
        self.only_for(map, "edge", is(&["wait_edge"]), "`action: wait_edge`");
        self.only_for(map, "safe_value", is(&["pulse", "pwm"]), "`action: pulse` or `pwm`");
        if let Some(action) = action {
            self.needs(map, "value", matches!(action, "write" | "pwm"), action);
            self.needs(map, "duration", action == "pulse", action);
        }
        let value = self.template(map, "value");
        if let (Some(action), Some(value)) = (action, &value) {
            self.value_fits(map, action, value);
        }
        if let (Some(pin), Some(action), Some(node)) = (&pin, action, map.get("pin")) {
            let is_output = match action {
                "read" => None,
                "wait_edge" => Some(false),
                _ => Some(true),
            };
            self.known_pin(node.pos, &map.path_of("pin"), pin, is_output);
        }
        let edge = match self.choice(map, "edge") {
            Some("falling") => Some(Edge::Falling),
            Some("both") => Some(Edge::Both),
            _ => (action == Some("wait_edge")).then_some(Edge::Rising),
        };
        Gpio {
            // Stands in for one that could not be read.
            pin: pin.unwrap_or(Pin::Number(0)),
            action: action.unwrap_or("read"),
            value,
            duration: self.duration(map, "duration"),
            edge,
            safe_value: self.number(map, "safe_value").map(|level| level == 1),
        }
    }

    fn needs(&mut self, map: &Map<'_>, key: &str, needed: bool, action: &str) {
        if needed && !map.has(key) {
            let hint = match (key, action) {
                ("duration", _) => "write `duration: 500ms`",
                (_, "pwm") => "write `value: 0.3` for three tenths of the time",
                _ => "write `value: 1` or `value: 0`",
            };
            let message = format!("`action: {action}` needs `{key}`");
            self.error(&code::MISSING_KEY, map.pos, &map.path, message, hint.to_owned());
        }
    }

    /// A value that is written out; one with `{{ }}` is checked when the step begins.
    fn value_fits(&mut self, map: &Map<'_>, action: &str, value: &Node) {
        let (fits, wanted) = match (&value.value, action) {
            (NodeValue::String(text), _) => (text.contains("{{"), "a number"),
            (NodeValue::Number(number), "pwm") => {
                (number.as_f64().is_some_and(|share| (0.0..=1.0).contains(&share)), "from 0 to 1")
            }
            (NodeValue::Number(number), _) => (matches!(number.as_u64(), Some(0 | 1)), "0 or 1"),
            (NodeValue::Bool(_), action) => (action != "pwm", "from 0 to 1"),
            _ => (false, "0 or 1"),
        };
        if !fits {
            let message = format!("`value` of `action: {action}` must be {wanted}");
            self.at(&code::RANGE, map, "value", message, None);
        }
    }
}

/// The bound on one try of a step that does not say: what takes its time by its nature gets it.
pub(super) fn gpio_timeout(gpio: &Gpio) -> Option<Duration> {
    match gpio.action {
        "wait_edge" => Some(WAIT_EDGE_DEFAULT),
        _ => gpio.duration.map(|duration| duration + PIN_SLACK),
    }
}
