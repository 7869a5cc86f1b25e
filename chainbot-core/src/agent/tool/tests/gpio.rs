//! `gpio`: nothing but the granted pins moves, whatever the arguments are.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{call, offered};
use crate::agent::tool::gpio::GpioTools;
use crate::env::Env;
use crate::gpio::{Bcm, Bias, GpioBackend, InputCfg, Mode, PinSetup, Pins, SimBackend};
use crate::model::EffectClass;
use crate::net::testing::egress_to;
use crate::step::Executors;

struct Rig {
    tools: GpioTools,
    chip: Arc<SimBackend>,
    pins: Arc<Pins>,
}

impl Rig {
    /// What moved since both outputs took their safe level at the start.
    fn moved(&self) -> Vec<(Bcm, bool)> {
        self.chip.history().split_off(2)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.pins.close();
    }
}

fn rig() -> Rig {
    let env = Env::system();
    let chip = Arc::new(SimBackend::new(env.clone()));
    let input = InputCfg { bias: Bias::None, active_low: false, debounce: Duration::ZERO };
    let output = || Mode::Output { safe: false, active_low: false, max_on: None };
    let setups = vec![
        PinSetup { name: "pump".to_owned(), pin: Bcm(17), mode: output() },
        PinSetup { name: "heater".to_owned(), pin: Bcm(18), mode: output() },
        PinSetup { name: "door".to_owned(), pin: Bcm(24), mode: Mode::Input(input) },
    ];
    let pins = Pins::open(chip.clone(), setups, env.clone()).unwrap();
    let executors = Executors::new(Arc::new(egress_to(&[])), env).with_pins(pins.clone());
    let tools = GpioTools::new(Arc::new(executors), Some(pins.clone()));
    Rig { tools, chip, pins }
}

fn grant() -> Value {
    json!({ "pins": ["pump", "door"], "pulse_s_max": 2 })
}

#[tokio::test]
async fn pins_are_offered_by_what_they_can_do() {
    let rig = rig();
    let faces = async |grant: Value| -> Vec<(String, EffectClass, bool, Value)> {
        let specs = offered(&rig.tools, &grant).await.unwrap();
        specs
            .into_iter()
            .map(|spec| {
                (spec.name, spec.class, spec.is_outward, spec.schema["properties"]["pin"]["enum"].clone())
            })
            .collect()
    };
    let read = |pins: Value| ("gpio_read".to_owned(), EffectClass::ReadOnly, false, pins);
    let drives = |name: &str| (name.to_owned(), EffectClass::Unsafe, true, json!(["pump"]));
    assert_eq!(
        faces(grant()).await,
        [drives("gpio_pulse"), read(json!(["pump", "door"])), drives("gpio_write")]
    );
    assert_eq!(faces(json!({ "pins": ["pump"], "write": false })).await, [read(json!(["pump"]))]);
    assert_eq!(faces(json!({ "pins": ["door"] })).await, [read(json!(["door"]))]);
}

#[tokio::test]
async fn a_wrong_grant_is_refused_with_the_remedy() {
    let rig = rig();
    for (grant, said) in [
        (json!({}), "pins"),
        (json!({ "pins": [] }), "names 1 to"),
        (json!({ "pins": ["pmup"] }), "pump"),
        (json!({ "pins": [17] }), "tools.gpio"),
        (json!({ "pins": ["17"] }), "17"),
        (json!({ "pins": ["pump"], "pulse_s_max": 0 }), "pulse_s_max"),
        (json!({ "pins": ["pump"], "pulse_s_max": 999_999 }), "pulse_s_max"),
        (json!({ "pins": ["pump"], "all": true }), "unknown field"),
    ] {
        let error = offered(&rig.tools, &grant).await.expect_err(&grant.to_string());
        assert_eq!(error.code, "CB-1280");
        assert!(error.message.contains(said), "{grant}: {}", error.message);
    }
    let none = GpioTools::new(Arc::new(Executors::new(Arc::new(egress_to(&[])), Env::system())), None);
    let error = offered(&none, &grant()).await.unwrap_err();
    assert!(error.message.contains("gpio.pins"), "{}", error.message);
}

#[tokio::test]
async fn a_pin_is_read_set_and_pulsed() {
    let rig = rig();
    let grant = grant();
    let done = async |tool: &str, arguments: Value| call(&rig.tools, &grant, tool, arguments).await.unwrap();
    assert_eq!(
        done("gpio_write", json!({ "pin": "pump", "value": 1 })).await.value,
        json!({ "pin": "pump", "value": 1 })
    );
    assert_eq!(done("gpio_read", json!({ "pin": "pump" })).await.value["value"], 1);
    assert_eq!(done("gpio_write", json!({ "pin": "pump", "value": 0 })).await.value["value"], 0);
    assert_eq!(done("gpio_pulse", json!({ "pin": "pump", "duration_ms": 2 })).await.value["value"], 0);
    let moved: Vec<_> = rig.moved().into_iter().map(|(_, level)| level).collect();
    assert_eq!(moved, [true, false, true, false]);
    rig.chip.drive(Bcm(24), true).unwrap();
    assert_eq!(done("gpio_read", json!({ "pin": "door" })).await.value["value"], 1);
}

#[tokio::test]
async fn hostile_arguments_move_nothing() {
    let rig = rig();
    let grant = grant();
    for (tool, arguments) in [
        ("gpio_write", json!({ "pin": "heater", "value": 1 })),
        ("gpio_write", json!({ "pin": 17, "value": 1 })),
        ("gpio_write", json!({ "pin": "17", "value": 1 })),
        ("gpio_write", json!({ "pin": "PUMP", "value": 1 })),
        ("gpio_write", json!({ "pin": " pump", "value": 1 })),
        ("gpio_write", json!({ "pin": "pump\u{0}", "value": 1 })),
        ("gpio_write", json!({ "pin": ["pump"], "value": 1 })),
        ("gpio_write", json!({ "pin": "pump" })),
        ("gpio_write", json!({ "pin": "pump", "value": 2 })),
        ("gpio_write", json!({ "pin": "pump", "value": -1 })),
        ("gpio_write", json!({ "pin": "pump", "value": 0.5 })),
        ("gpio_write", json!({ "pin": "pump", "value": "1" })),
        ("gpio_write", json!({ "pin": "pump", "value": true })),
        ("gpio_write", json!({ "pin": "pump", "value": 1, "duration_ms": 5 })),
        ("gpio_write", json!({ "pin": "pump", "value": 1, "action": "pwm" })),
        ("gpio_write", json!({ "pin": "pump", "value": 1, "safe_value": true })),
        ("gpio_write", json!({ "value": 1 })),
        ("gpio_write", json!(null)),
        ("gpio_pulse", json!({ "pin": "heater", "duration_ms": 5 })),
        ("gpio_pulse", json!({ "pin": "pump" })),
        ("gpio_pulse", json!({ "pin": "pump", "duration_ms": 0 })),
        ("gpio_pulse", json!({ "pin": "pump", "duration_ms": 2_001 })),
        ("gpio_pulse", json!({ "pin": "pump", "duration_ms": u64::MAX })),
        ("gpio_pulse", json!({ "pin": "pump", "duration_ms": -5 })),
        ("gpio_pulse", json!({ "pin": "pump", "duration_ms": "5" })),
        ("gpio_read", json!({ "pin": "heater" })),
        ("gpio_read", json!({ "pin": "pump", "value": 3 })),
        ("gpio_read", json!({ "pin": "pump", "duration_ms": 3 })),
        ("gpio_read", json!({ "pin": "pump; rm -rf /" })),
    ] {
        let found = call(&rig.tools, &grant, tool, arguments.clone()).await.unwrap();
        assert!(found.is_error, "{tool} {arguments}: {:?}", found.value);
    }
    // An input is watched; the chip itself says so where a grant was made for another setup.
    let error = call(
        &rig.tools,
        &json!({ "pins": ["pump", "door"] }),
        "gpio_write",
        json!({ "pin": "door", "value": 1 }),
    )
    .await;
    assert_eq!(error.unwrap_err().class, "invalid");
    assert_eq!(rig.moved(), []);
}
