//! Input of the executor of pins.

use serde_json::json;

use super::{Tree, literal, map};
use crate::model::{Edge, Gpio, Pin, Pos};

/// What is written goes as it is; only `value` may hold `{{ }}`.
pub(super) fn gpio_input(at: Pos, gpio: &Gpio) -> Tree {
    let pin = match &gpio.pin {
        Pin::Number(number) => json!(number),
        Pin::Name(name) => json!(name),
    };
    let mut entries = vec![("pin", literal(at, &pin)), ("action", literal(at, &json!(gpio.action)))];
    entries.extend(gpio.value.clone().map(|value| ("value", value)));
    let millis = gpio.duration.map(|duration| json!(duration.as_millis() as u64));
    entries.extend(millis.map(|millis| ("duration_ms", literal(at, &millis))));
    entries.extend(gpio.edge.map(Edge::as_str).map(|edge| ("edge", literal(at, &json!(edge)))));
    entries.extend(gpio.safe_value.map(|level| ("safe_value", literal(at, &json!(level)))));
    map(at, entries)
}
