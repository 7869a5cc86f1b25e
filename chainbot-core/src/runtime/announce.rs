//! What the module tells the host of itself, outside of any run.

use serde_json::{Value, json};

use crate::env::Env;
use crate::port::EventBus;

/// Tells the host's bus, when there is one.
pub fn announce(bus: Option<&dyn EventBus>, env: &Env, topic: &str, data: &Value) {
    let Some(bus) = bus else { return };
    let at = env.now();
    let id = uuid::Builder::from_random_bytes(env.bytes()).into_uuid().to_string();
    let event = json!({
        "specversion": "1.0", "id": id, "source": "/chainbot", "type": topic, "time": at,
        "datacontenttype": "application/json", "data": data,
    });
    // Of use only now: a host without room for it has other sorrows, and asks for the state by `health`.
    let told = bus.publish(topic, &event.to_string(), &id, at);
    log::debug!("event {topic}: {told:?}");
}
