//! Extensions by chance: configurations for a running instance, and states of another version for one that has not started.

use chainbot_abi::{Health, Status};
use serde_json::Value;

use super::chance::{self, rounds};
use super::life::{GRACE, taken};
use crate::validate::arguments::Field;
use crate::validate::bench::{Answer, Bench, Calls, Room, STOP_MS};
use crate::validate::ledger;
use crate::validate::offered::{Drain, Reconfigure};
use crate::validate::random::Random;
use crate::validate::record::{expect, fail, skip};
use crate::validate::routes;
use crate::wire::state_name;

/// Configurations for a running instance: all of it or nothing, and it works on.
pub fn reconfigure(bench: &Bench) {
    let check = "fuzz-reconfigure";
    let mut random = Random::new(bench.seed, check);
    let places = chance::places(bench);
    let Some(subject) = bench.started(check) else { return };
    let Some(ext) = Reconfigure::of(subject.calls()) else {
        skip(check, "the module does not offer the whole of alex.reconfigure/1");
        return subject.finish(check);
    };
    for round in rounds(bench) {
        let calls = subject.calls().room(Room::Bytes(1 + random.below(256)));
        let config = chance::configuration(&mut random, bench, &places);
        let told = |what: &str, answer: &Answer| {
            format!(
                "call {round}, `{}` of {:.200}: {}{what}; seed {}",
                answer.call,
                config.show(),
                answer.show(),
                bench.seed
            )
        };
        let judged = ext.check(calls, &config);
        let (_, before) = ext.snapshot(calls);
        let applied = ext.apply(calls, &config);
        for answer in [&judged, &applied] {
            let expected = [Status::OK, Status::INVALID, Status::UNSUPPORTED, Status::FAILED];
            expect(check, expected.contains(&answer.status), || told("", answer));
        }
        expect(check, judged.status == applied.status || applied.status == Status::FAILED, || {
            told(&format!(", and `check` said {}", judged.show()), &applied)
        });
        if !applied.is_ok() {
            let is_same = ext.snapshot(calls).1 == before;
            expect(check, is_same, || told(", and yet `snapshot` writes something else", &applied));
        }
        if !in_state(check, calls, Health::STATE_STARTED, &applied, bench.seed) {
            break;
        }
    }
    taken(check, &subject.calls().webhook(&routes::requests(bench)[0]));
    let open = ledger::wait(0, GRACE);
    expect(check, open == 0, || format!("a request was not completed in the end; seed {}", bench.seed));
    subject.finish(check);
}

fn in_state(check: &'static str, calls: Calls<'_>, state: u32, after: &Answer, seed: u64) -> bool {
    let now = calls.state();
    expect(check, now == state, || {
        format!(
            "the state is {} after `{}`, not {}; seed {seed}",
            state_name(now),
            after.call,
            state_name(state)
        )
    })
}

/// What the module itself exports, as the model of what is spoiled.
fn exported(bench: &Bench, check: &'static str) -> Option<Value> {
    let subject = bench.started(check)?;
    let calls = subject.calls();
    let Some(ext) = Drain::of(calls) else {
        skip(check, "the module does not offer the whole of alex.drain/1");
        subject.finish(check);
        return None;
    };
    let begun = ext.begin(calls, STOP_MS);
    let state = begun.is_ok().then(|| ext.export(calls).1);
    subject.finish(check);
    match state.map(|state| serde_json::from_slice(&state)) {
        Some(Ok(state)) => Some(state),
        Some(Err(why)) => {
            fail(check, format!("what `export_state` writes is not JSON: {why}"));
            None
        }
        None => {
            fail(check, format!("`begin`: {}", begun.show()));
            None
        }
    }
}

/// States for an instance that has not started. One that was refused leaves it as it was; with one that was taken it starts, or
/// says why not.
pub fn hand_over(bench: &Bench) {
    let check = "fuzz-hand-over";
    let mut random = Random::new(bench.seed, check);
    let Some(model) = exported(bench, check) else { return };
    for round in rounds(bench) {
        let Some(subject) = bench.subject() else {
            return fail(check, "`initialize` refuses the given configuration");
        };
        let calls = subject.calls().room(Room::Bytes(1 + random.below(256)));
        let Some(ext) = Drain::of(calls) else {
            return fail(check, "an instance does not offer alex.drain/1");
        };
        let mut was_taken = false;
        for _ in 0..1 + random.below(20) {
            let state = chance::spoiled(&mut random, &model);
            let answer = ext.import(calls, &state);
            was_taken |= answer.is_ok();
            let expected = [Status::OK, Status::INVALID, Status::UNSUPPORTED, Status::FAILED];
            expect(check, expected.contains(&answer.status), || {
                format!(
                    "call {round}, `import_state` of {:.200}: {}; seed {}",
                    state.show(),
                    answer.show(),
                    bench.seed
                )
            });
            if !in_state(check, calls, Health::STATE_INITIALIZED, &answer, bench.seed) {
                return;
            }
        }
        if random.once_in(8) {
            let answer = subject.calls().start();
            let may_fail = was_taken && answer.status == Status::FAILED && !answer.message.is_empty();
            expect(check, answer.is_ok() || may_fail, || {
                format!("call {round}, `start` after `import_state`: {}; seed {}", answer.show(), bench.seed)
            });
            if answer.is_ok() {
                subject.stop();
            }
        }
        subject.cleanup();
    }
    // The module's own is taken as before.
    let Some(subject) = bench.subject() else { return };
    if let Some(ext) = Drain::of(subject.calls()) {
        let answer = ext.import(subject.calls(), &Field::text(model.to_string()));
        expect(check, answer.is_ok(), || {
            format!("`import_state` of what was exported: {}; seed {}", answer.show(), bench.seed)
        });
    }
    subject.cleanup();
}
