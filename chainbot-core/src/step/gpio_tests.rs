//! `gpio` steps on the simulated chip: a table of what each action gives, and cancel, timeout, a later attempt.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::gpio::{Bcm, Bias, GpioBackend, InputCfg, Mode, PinSetup, SimBackend};
use crate::model::class;
use crate::net::testing::egress_to;

struct Rig {
    chip: Arc<SimBackend>,
    executors: Executors,
    pins: Arc<Pins>,
}

fn rig() -> Rig {
    let env = Env::system();
    let chip = Arc::new(SimBackend::new(env.clone()));
    let input = InputCfg { bias: Bias::None, active_low: false, debounce: Duration::ZERO };
    let output = Mode::Output { safe: false, active_low: false, max_on: None };
    let setups = vec![
        PinSetup { name: "pump".to_owned(), pin: Bcm(17), mode: output },
        PinSetup { name: "door".to_owned(), pin: Bcm(24), mode: Mode::Input(input) },
    ];
    let pins = Pins::open(chip.clone(), setups, env.clone()).unwrap();
    let executors = Executors::new(Arc::new(egress_to(&[])), env).with_pins(pins.clone());
    Rig { chip, executors, pins }
}

fn effect(input: Value, attempt: u32, timeout: Duration) -> Effect {
    Effect {
        kind: EffectKind::Gpio,
        input: Arc::new(input),
        key: EffectKey([7; 16]),
        attempt,
        run: RunId::from([1; 16]),
        owner: None,
        shared: None,
        timeout: Some(timeout),
    }
}

const LONG: Duration = Duration::from_secs(3_600);

impl Rig {
    async fn execute(&self, input: Value) -> Result<Value, Failure> {
        self.executors.execute(effect(input, 1, LONG)).await
    }

    fn levels(&self) -> Vec<bool> {
        self.chip.history().into_iter().map(|(_, level)| level).collect()
    }
}

#[tokio::test]
async fn each_action_gives_its_output() {
    let rig = rig();
    for (input, value, levels) in [
        (json!({"pin": "door", "action": "read"}), 0, vec![]),
        (json!({"pin": 17, "action": "write", "value": 1}), 1, vec![true]),
        (json!({"pin": "pump", "action": "read"}), 1, vec![]),
        (json!({"pin": "pump", "action": "write", "value": false}), 0, vec![false]),
        (json!({"pin": "pump", "action": "pulse", "duration_ms": 2}), 0, vec![true, false]),
        (
            json!({"pin": "pump", "action": "pulse", "duration_ms": 2, "value": 0, "safe_value": true}),
            1,
            vec![false, true],
        ),
        (json!({"pin": "pump", "action": "pwm", "value": 0, "duration_ms": 2}), 0, vec![false, false]),
        (json!({"pin": "pump", "action": "pwm", "value": 1}), 1, vec![true]),
    ] {
        let before = rig.levels().len();
        let output = rig.execute(input.clone()).await.unwrap();
        assert_eq!(output["value"], value, "{input}");
        assert_eq!((&output["edge"], &output["missed"]), (&Value::Null, &json!(false)), "{input}");
        assert!(output["at"].as_str().unwrap().ends_with('Z'), "{output}");
        assert_eq!(rig.levels()[before..], levels, "{input}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let rig = rig();
    for (input, wanted, word) in [
        (json!({"pin": "valve", "action": "read"}), "CB-1300", "valve"),
        (json!({"pin": "door", "action": "write", "value": 1}), "CB-1301", "input"),
        (json!({"pin": "pump", "action": "wait_edge"}), "CB-1301", "output"),
        (json!({"pin": "pump", "action": "write", "value": 2}), "CB-0314", "0 or 1, this is 2"),
        (json!({"pin": "pump", "action": "write", "value": "1"}), "CB-0314", "this is \"1\""),
        (json!({"pin": "pump", "action": "pwm", "value": 1.5}), "CB-0314", "from 0 to 1"),
        (json!({"pin": "pump", "action": "pwm"}), "CB-0314", "missing"),
    ] {
        let error = rig.execute(input.clone()).await.unwrap_err().error;
        assert_eq!(
            (error.code.as_str(), error.class.as_str()),
            (wanted, class::INVALID),
            "{input}: {}",
            error.message
        );
        assert!(error.message.contains(word), "{input}: {}", error.message);
    }
    assert_eq!(rig.levels(), [false], "nothing was switched");
    let none = Executors::new(Arc::new(egress_to(&[])), Env::system());
    let error = none.execute(effect(json!({"pin": 1, "action": "read"}), 1, LONG)).await.unwrap_err().error;
    assert_eq!(error.code, "CB-1300");
}

/// Polls it until it has switched or subscribed: everything before the first wait happens in the first poll.
async fn begun(step: &mut (impl Future + Unpin)) {
    tokio::select! {
        biased;
        _ = step => panic!("it must not end"),
        () = std::future::ready(()) => {}
    }
}

#[tokio::test]
async fn a_cancelled_pulse_or_pwm_brings_the_pin_back() {
    let rig = rig();
    for action in [json!({"action": "pulse"}), json!({"action": "pwm", "value": 1})] {
        let mut input = json!({"pin": "pump", "duration_ms": 3_600_000});
        input.as_object_mut().unwrap().extend(action.as_object().unwrap().clone());
        let before = rig.levels().len();
        let mut step = Box::pin(rig.execute(input));
        begun(&mut step).await;
        assert_eq!(rig.levels()[before..], [true]);
        drop(step);
        assert_eq!(rig.levels()[before..], [true, false]);
    }
}

#[tokio::test]
async fn a_step_over_its_timeout_brings_the_pin_back() {
    let rig = rig();
    let input = json!({"pin": "pump", "action": "pulse", "duration_ms": 3_600_000});
    let error = rig.executors.execute(effect(input, 1, Duration::from_millis(2))).await.unwrap_err().error;
    assert_eq!((error.code.as_str(), error.class.as_str()), ("CB-0307", class::TIMEOUT));
    assert_eq!(rig.levels(), [false, true, false]);
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_pulse_leaves_the_pin_safe() {
    let rig = rig();
    let mut step = Box::pin(rig.execute(json!({"pin": "pump", "action": "pulse", "duration_ms": 3_600_000})));
    begun(&mut step).await;
    rig.pins.close();
    assert_eq!(step.await.unwrap_err().error.code, "CB-1302");
    assert_eq!(rig.levels(), [false, true, false]);
}

#[tokio::test]
async fn an_edge_is_waited_for() {
    let rig = rig();
    for (edge, changes, value) in [
        ("rising", vec![true], 1),
        ("falling", vec![false], 0),
        ("both", vec![true], 1),
        ("rising", vec![false, true], 1),
    ] {
        let mut step = Box::pin(rig.execute(json!({"pin": "door", "action": "wait_edge", "edge": edge})));
        begun(&mut step).await;
        for level in changes {
            rig.chip.drive(Bcm(24), level).unwrap();
        }
        let output = step.await.unwrap();
        let said = if value == 1 { "rising" } else { "falling" };
        assert_eq!(
            (&output["value"], &output["edge"], &output["missed"]),
            (&json!(value), &json!(said), &json!(false))
        );
    }
}

#[tokio::test]
async fn a_later_attempt_looks_at_the_level_first() {
    let rig = rig();
    let wait = |edge: &str, attempt| {
        rig.executors.execute(effect(
            json!({"pin": "door", "action": "wait_edge", "edge": edge}),
            attempt,
            LONG,
        ))
    };
    // The door opened while nothing ran.
    rig.chip.drive(Bcm(24), true).unwrap();
    let output = wait("rising", 2).await.unwrap();
    assert_eq!(
        (&output["value"], &output["edge"], &output["missed"]),
        (&json!(1), &json!("rising"), &json!(true))
    );
    for (edge, attempt) in [("rising", 1), ("falling", 2), ("both", 2)] {
        begun(&mut Box::pin(wait(edge, attempt))).await;
    }
}
