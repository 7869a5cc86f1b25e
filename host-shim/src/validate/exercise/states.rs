//! The table of states: calls that it does not allow, and instances that are none.

use chainbot_abi::{Health, Status, name};

use crate::validate::arguments::{EventArgs, Field, RequestArgs};
use crate::validate::bench::{Answer, Bench, Calls, STOP_MS};
use crate::validate::ledger;
use crate::validate::record::{self, expect, fail, skip};
use crate::wire::{state_name, status_name};

/// A call that a state does not allow.
#[derive(Clone, Copy)]
enum Forbidden {
    Start,
    Stop,
    Cleanup,
    Event,
    Webhook,
}

impl Forbidden {
    fn make(self, calls: Calls<'_>) -> Answer {
        match self {
            Forbidden::Start => calls.start(),
            Forbidden::Stop => calls.stop(STOP_MS),
            Forbidden::Cleanup => calls.cleanup(),
            Forbidden::Event => calls.event(&EventArgs::new("validate.event", "{}")),
            Forbidden::Webhook => calls.webhook(&RequestArgs::new("GET", "/")),
        }
    }
}

/// Calls in states that do not allow them: STATE with a message, and nothing has changed.
pub fn states(bench: &Bench) {
    use Forbidden::{Cleanup, Event, Start, Stop, Webhook};
    let Some(subject) = bench.subject() else {
        fail("states-initialized", "`initialize` refuses the given configuration");
        return ["states-started", "states-stopped"]
            .into_iter()
            .for_each(|check| skip(check, "there is no instance"));
    };
    let calls = subject.calls();
    refuses("states-initialized", calls, Health::STATE_INITIALIZED, &[Stop, Event, Webhook]);
    let answer = subject.start();
    if !answer.is_ok() {
        subject.cleanup();
        fail("states-started", format!("`start`: {}", answer.show()));
        return skip("states-stopped", "the module does not start");
    }
    if !refuses("states-started", calls, Health::STATE_STARTED, &[Start, Cleanup]) {
        // The instance may be in two lives at once or gone; what follows would say nothing.
        return skip("states-stopped", "the instance is in no known state");
    }
    let answer = subject.stop();
    expect("states-stopped", answer.is_ok(), || format!("`stop`: {}", answer.show()));
    refuses("states-stopped", calls, Health::STATE_STOPPED, &[Stop, Event, Webhook]);
    let answer = subject.cleanup();
    expect("states-stopped", answer.is_ok(), || format!("`cleanup`: {}", answer.show()));
}

/// `false` when a call succeeded that must not.
fn refuses(check: &'static str, calls: Calls<'_>, state: u32, forbidden: &[Forbidden]) -> bool {
    record::at(check);
    let mut held = true;
    for call in forbidden {
        let answer = call.make(calls);
        let word = state_name(state);
        held &= expect(check, answer.status == Status::STATE, || {
            format!("`{}` while {word} returned {}, not STATE", answer.call, answer.show())
        });
        if answer.status == Status::STATE {
            expect(check, !answer.message.is_empty(), || {
                format!("`{}` while {word} gave no message", answer.call)
            });
            let now = calls.state();
            expect(check, now == state, || {
                format!(
                    "`{}` while {word} was refused, and the state is {} now",
                    answer.call,
                    state_name(now)
                )
            });
        } else if answer.is_ok() {
            return false;
        }
    }
    held
}

/// Null, made-up and released instances.
pub fn instances(bench: &Bench) {
    // Made up while nothing lives, and once more beside a live instance.
    invalid("null-instance", bench.on(0));
    let made_up = [1, 8, 0x10, 0xdead_beef, usize::MAX, usize::MAX / 2];
    for handle in made_up {
        invalid("unknown-instance", bench.on(handle));
    }
    let Some(subject) = bench.started("released-instance") else { return };
    invalid("null-instance", bench.on(0));
    for handle in made_up.into_iter().filter(|handle| *handle != subject.handle) {
        invalid("unknown-instance", bench.on(handle));
    }
    let answer = subject.stop();
    expect("released-instance", answer.is_ok(), || format!("`stop`: {}", answer.show()));
    let answer = subject.cleanup();
    if !expect("released-instance", answer.is_ok(), || format!("`cleanup`: {}", answer.show())) {
        return;
    }
    let released = subject.calls();
    invalid("released-instance", released);
    // A handle that is given out again must not bring the old one back to life.
    let Some(second) = bench.started("released-instance") else { return };
    if second.handle != subject.handle {
        invalid("released-instance", released);
    }
    second.finish("released-instance");
    ledger::stopped();
}

/// Every call gives INVALID.
fn invalid(check: &'static str, calls: Calls<'_>) {
    record::at(check);
    let answers = [
        calls.health().0,
        calls.event(&EventArgs::new("validate.event", "{}")),
        calls.webhook(&RequestArgs::new("GET", "/")),
        calls.start(),
        calls.stop(1_000),
        calls.cleanup(),
    ];
    for answer in answers {
        expect(check, answer.status == Status::INVALID, || {
            format!("`{}` returned {}, not {}", answer.call, answer.show(), status_name(Status::INVALID))
        });
    }
    // What it gives is open; that it returns is not.
    calls.extension(&Field::text(name::EXT_METRICS));
    let (_, found) = calls.extension(&Field::text("alex.nothing/1"));
    expect(check, found.is_null(), || "get_extension gave something for an unknown id".to_owned());
}
