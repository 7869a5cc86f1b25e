//! What a machine has is known where it is said, and nowhere else.

use super::check;
use crate::validate::{Known, KnownPin, check_on};

fn machine() -> Known {
    let pin = |name: &str, number, is_output| KnownPin { name: name.to_owned(), number, is_output };
    Known {
        channels: Some(vec!["phone".to_owned()]),
        pins: Some(vec![pin("pump", 17, true), pin("door", 24, false)]),
        accounts: Some(vec!["main".to_owned()]),
        constants: Some(vec!["zone".to_owned()]),
    }
}

/// Code, place and remedy of each problem on a machine. Without one there is none.
fn problems(steps: &str) -> Vec<(String, String, String)> {
    let source = format!("name: a\n{steps}\n");
    assert_eq!(check(&source).diagnostics, [], "{source}");
    let all = check_on(&source, &machine()).diagnostics.into_iter();
    all.map(|one| (one.code.to_owned(), one.path, one.hint.unwrap_or_default())).collect()
}

#[test]
fn names_that_the_machine_has_are_taken() {
    let source = "triggers: [{ gpio: { pin: 24 } }]\nsteps:\n\
        \x20 - { id: a, type: notification, config: { message: hi, channels: [gui, event_bus, phone] } }\n\
        \x20 - { id: b, type: gpio, config: { pin: 17, action: write, value: 1 } }\n\
        \x20 - { id: c, type: gpio, config: { pin: door, action: wait_edge } }\n\
        \x20 - { id: d, type: gpio, config: { pin: pump, action: read } }\n\
        \x20 - { id: e, type: email, config: { to: a@b.c, subject: s, body: b, smtp: main } }";
    assert_eq!(problems(source), []);
}

#[test]
fn names_that_it_has_not_are_errors_with_a_remedy() {
    for (step, code, path, hint) in [
        (
            "{ id: a, type: notification, config: { message: hi, channels: [gui, phoen] } }",
            "CB-1114",
            "steps[0].config.channels[1]",
            "did you mean `phone`?",
        ),
        (
            "{ id: a, type: notification, config: { message: hi, channels: [slack] } }",
            "CB-1114",
            "steps[0].config.channels[0]",
            "add it under notification.channels; there are gui, event_bus, phone",
        ),
        (
            "{ id: a, type: gpio, config: { pin: pmup, action: read } }",
            "CB-1300",
            "steps[0].config.pin",
            "did you mean `pump`?",
        ),
        (
            "{ id: a, type: gpio, config: { pin: 5, action: read } }",
            "CB-1300",
            "steps[0].config.pin",
            "add it under gpio.pins; there are pump, door",
        ),
        (
            "{ id: a, type: gpio, config: { pin: door, action: write, value: 1 } }",
            "CB-1301",
            "steps[0].config.pin",
            "set its `mode: output` under gpio.pins, or use another pin",
        ),
        (
            "{ id: a, type: gpio, config: { pin: pump, action: wait_edge } }",
            "CB-1301",
            "steps[0].config.pin",
            "set its `mode: input` under gpio.pins, or use another pin",
        ),
        (
            "{ id: a, type: set, config: { variables: { x: config.zoen } } }",
            "CB-0137",
            "steps[0].config.variables.x",
            "did you mean `config.zone`?",
        ),
        (
            "{ id: a, type: email, config: { to: a@b.c, subject: s, body: b, smtp: mian } }",
            "CB-1100",
            "steps[0].config.smtp",
            "did you mean `main`?",
        ),
    ] {
        let wanted = (code.to_owned(), path.to_owned(), hint.to_owned());
        assert_eq!(problems(&format!("steps:\n  - {step}")), [wanted], "{step}");
    }
    let trigger =
        "triggers: [{ gpio: { pin: pump } }]\nsteps: [{ id: a, type: set, config: { variables: { x: 1 } } }]";
    let wanted = (
        "CB-1301".to_owned(),
        "triggers[0].gpio.pin".to_owned(),
        "set its `mode: input` under gpio.pins, or use another pin".to_owned(),
    );
    assert_eq!(problems(trigger), [wanted]);
}
