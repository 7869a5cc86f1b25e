//! The definitions of a case: one by chance, with its reference, and small ones for what starts, waits and asks.

use serde_json::Value;

use crate::engine::tests::generate::{Dice, Maker, yaml};
use crate::engine::tests::interpret::Interpreter;

/// The generated one, which the reference knows.
pub const MAIN: &str = "generated";
/// The workflow of every generated `workflow` step.
pub const CHILD: &str = "other";
/// Waits for the door.
pub const WATCHES: &str = "watches";

/// The definitions of a case.
pub struct Flows {
    pub sources: Vec<String>,
    /// Those that people start.
    pub startable: Vec<&'static str>,
    /// What the generated one gives when nobody interferes; `None` = it fails.
    pub expected: Option<Value>,
}

const CHILDREN: [&str; 3] = [
    "  - { id: call, type: api_call, retry: { attempts: 1 }, config: { url: \"http://child/\", method: GET } }\n",
    "  - { id: nap, type: wait, config: { duration: 7s } }\n\
     \x20 - { id: call, type: api_call, retry: { attempts: 1 }, config: { url: \"http://child/\", method: GET } }\n",
    "  - { id: mark, type: set, checkpoint: true, config: { variables: { a: 1 } } }\n\
     \x20 - { id: call, type: api_call, retry: { attempts: 1 }, config: { url: \"http://child/\", method: GET } }\n",
];

const SMALL: [(&str, &str); 16] = [
    (
        "asks",
        "steps:\n  - { id: ok, type: wait, timeout: 5m, config: { on_timeout: continue, approval: { message: \"Go?\" } } }\n\
         \x20 - { id: call, type: api_call, config: { url: \"http://h/ok\", method: GET } }\n",
    ),
    (
        "listens",
        "steps:\n  - { id: bell, type: wait, timeout: 2m, config: { on_timeout: continue, event: { topic: \"alex.*\" } } }\n\
         \x20 - { id: ring, type: emit, config: { topic: user.bell } }\n\
         \x20 - { id: own, type: wait, timeout: 1m, config: { on_timeout: continue, event: { topic: user.bell } } }\n",
    ),
    (
        "doubt",
        "steps:\n  - { id: post, type: api_call, on_uncertain: ask, config: { url: \"http://h/ask\", method: POST } }\n\
         \x20 - { id: pay, type: api_call, on_uncertain: fail, on_error: continue, config: { url: \"http://h/fail\", method: POST } }\n",
    ),
    (
        "timed",
        "timeout: 1m\nsteps:\n  - { id: a, type: wait, config: { signal: go } }\n\
         finally:\n  - { id: tidy, type: api_call, config: { url: \"http://h/tidy\", method: GET } }\n",
    ),
    (
        "line",
        "concurrency: { mode: queued, max: 2 }\nsteps:\n  - { id: a, type: wait, config: { duration: 20s } }\n\
         \x20 - { id: call, type: api_call, config: { url: \"http://h/line\", method: GET } }\n",
    ),
    (
        "newest",
        "concurrency: { mode: restart }\nsteps:\n  - { id: a, type: wait, timeout: 10m, config: { on_timeout: continue, signal: go } }\n",
    ),
    (
        "alone",
        "concurrency: { mode: single }\nsteps:\n  - { id: call, type: api_call, config: { url: \"http://h/alone\", method: GET } }\n",
    ),
    (
        "nested",
        "steps:\n  - { id: one, type: workflow, on_error: continue, config: { workflow: alone } }\n\
         \x20 - { id: two, type: workflow, on_error: continue, timeout: 15s, config: { workflow: line } }\n\
         \x20 - { id: three, type: workflow, config: { workflow: asks, wait: false } }\n",
    ),
    (
        "hears",
        "triggers: [ { event: \"user.*\" }, { event: \"alex.#\" } ]\nsteps:\n  - { id: a, type: set, config: { variables: { n: 1 } } }\n",
    ),
    (
        "after",
        "triggers: [ { workflow: generated, on: any } ]\nsteps:\n  - { id: a, type: emit, config: { topic: user.after } }\n",
    ),
    (
        "tick",
        "triggers: [ { cron: \"*/7 * * * *\", missed: MISSED } ]\nsteps:\n  - { id: a, type: wait, config: { duration: 3s } }\n",
    ),
    (
        "until",
        "steps:\n  - { id: a, type: wait, config: { until: \"{{ run.started_at }}\" } }\n\
         \x20 - { id: flaky, type: api_call, retry: { attempts: 4, delay: 30s }, config: { url: \"http://h/flaky\", method: GET } }\n",
    ),
    (
        "waters",
        "steps:\n  - { id: on, type: gpio, config: { pin: valve, action: write, value: 1 } }\n\
         \x20 - { id: nap, type: wait, config: { duration: 20s } }\n\
         \x20 - { id: off, type: gpio, config: { pin: valve, action: write, value: 0 } }\n",
    ),
    (
        "pulses",
        "steps:\n  - { id: blow, type: gpio, on_error: continue, config: { pin: fan, action: pulse, duration: 9s } }\n\
         \x20 - { id: dim, type: gpio, on_error: continue, config: { pin: lamp, action: pwm, value: 0.5, duration: 60ms } }\n\
         \x20 - { id: glow, type: gpio, config: { pin: lamp, action: pwm, value: 1 } }\n",
    ),
    (
        "rings",
        "triggers: [ { gpio: { pin: door, edge: both } } ]\nsteps:\n  - { id: a, type: gpio, config: { pin: lamp, action: write, value: 1 } }\n",
    ),
    (WATCHES, "steps:\n  - { id: a, type: gpio, config: { pin: door, action: wait_edge, edge: both } }\n"),
];

impl Flows {
    /// Definitions that somebody wrote.
    pub fn of(sources: Vec<String>) -> Self {
        Self { sources, startable: Vec::new(), expected: None }
    }

    pub fn new(seed: u64, dice: &mut Dice) -> Self {
        let workflow = Maker { dice: &mut Dice(seed), next: 0, doubts: false }.workflow();
        let expected = Interpreter::run(seed, &workflow);
        let child = CHILDREN[dice.below(CHILDREN.len() as u64) as usize];
        let output = "output: \"{{ steps.call.output }}\"\n";
        let mut sources = vec![format!("name: {CHILD}\nsteps:\n{child}{output}"), yaml(&workflow)];
        let mut startable = vec![MAIN];
        let nests = dice.one_in(4);
        for (name, body) in SMALL {
            let is_in = match name {
                "alone" | "line" | "asks" => nests || dice.one_in(3),
                "nested" => nests,
                _ => dice.one_in(3),
            };
            if !is_in {
                continue;
            }
            let missed = ["skip", "one", "all"][dice.below(3) as usize];
            sources.push(format!("name: {name}\n{}", body.replace("MISSED", missed)));
            startable.push(name);
        }
        Self { sources, startable, expected }
    }
}
