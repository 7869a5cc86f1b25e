//! Calls by chance. The seed decides all of them; the time decides how many there are.

use std::time::Duration;

use chainbot_abi::{Health, Status};

use super::chance::{self, json_text, rounds, text};
use super::life::GRACE;
use crate::validate::arguments::{EventArgs, Field, RequestArgs};
use crate::validate::bench::{Answer, Bench, Room, STOP_MS, Subject};
use crate::validate::ledger;
use crate::validate::offered::Drain;
use crate::validate::random::Random;
use crate::validate::record::{expect, fail};
use crate::validate::routes;
use crate::validate::surroundings::settles;
use crate::wire::state_name;

/// Requests under way at once: enough to meet each other, few enough that the queue has room.
const UNDER_WAY: usize = 64;
/// Over the budget of a call that must not block, twice, is a finding.
const BLOCKS: Duration = Duration::from_millis(250);

fn field(random: &mut Random, usual: &str, make: fn(&mut Random) -> Vec<u8>) -> Field {
    match random.below(40) {
        0 => Field::Null(random.below(3) * 7),
        1..12 => Field::Bytes(make(random)),
        _ => Field::text(usual),
    }
}

fn event(random: &mut Random, topics: &[String]) -> EventArgs {
    let topic = random.pick(topics).clone();
    EventArgs {
        size_off: if random.once_in(30) { random.below(161) as i32 - 80 } else { 0 },
        flags: random.next() as u32,
        topic: field(random, &topic, text),
        payload: Field::Bytes(json_text(random)),
        id: field(random, "", text),
        trace: field(random, "", text),
    }
}

const METHODS: [&str; 8] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW"];

fn request(random: &mut Random, paths: &[(String, String)]) -> RequestArgs {
    let (method, mut path) = random.pick(paths).clone();
    let method = if random.once_in(2) { method } else { (*random.pick(&METHODS)).to_owned() };
    for _ in 0..random.below(3) {
        path.push_str(if random.once_in(3) { "?q=" } else { "/" });
        path.push_str(&String::from_utf8_lossy(&text(random)));
    }
    RequestArgs {
        size_off: if random.once_in(30) { random.below(161) as i32 - 80 } else { 0 },
        // Never long: each one must be answered before the end.
        timeout_ms: 1 + random.below(500) as u32,
        method: field(random, &method, text),
        path: field(random, &path, text),
        mount: field(random, "", text),
        peer: field(random, "192.0.2.1", text),
        headers: field(random, r#"{"content-type":"application/json"}"#, json_text),
        body: Field::Bytes(if random.once_in(3) { text(random) } else { json_text(random) }),
        trace: field(random, "", text),
    }
}

/// Events and requests.
pub fn calls(bench: &Bench) {
    let check = "fuzz-calls";
    let mut random = Random::new(bench.seed, check);
    let Some(subject) = bench.started(check) else { return };
    let calls = subject.calls();
    let (topics, paths) = (routes::topics(bench), routes::paths(bench));
    let mut blocked = 0;
    for round in rounds(bench) {
        let room = if random.once_in(8) { Room::Bytes(random.below(64)) } else { Room::Bytes(1_024) };
        let calls = calls.room(room);
        let answer = match random.below(10) {
            0..5 => calls.webhook(&request(&mut random, &paths)),
            5..9 => calls.event(&event(&mut random, &topics)),
            _ => calls.health().0,
        };
        let expected = [Status::OK, Status::INVALID, Status::BUSY, Status::UNSUPPORTED];
        expect(check, expected.contains(&answer.status), || {
            format!("call {round}, `{}`: {}; seed {}", answer.call, answer.show(), bench.seed)
        });
        blocked += usize::from(answer.took > BLOCKS);
        if ledger::wait(UNDER_WAY, GRACE) > UNDER_WAY {
            break;
        }
    }
    expect(check, blocked < 2, || format!("{blocked} calls took over 250 ms"));
    let state = calls.state();
    expect(check, state == Health::STATE_STARTED, || {
        let (_, health) = calls.health();
        let detail = &health.detail[..(health.detail_len as usize).min(health.detail.len())];
        format!(
            "the state is {} in the end: {}; seed {}",
            state_name(state),
            String::from_utf8_lossy(detail),
            bench.seed
        )
    });
    let open = ledger::wait(0, GRACE * 3);
    expect(check, open == 0, || {
        format!("{open} requests were not completed in their time; seed {}", bench.seed)
    });
    settles(GRACE, || calls.health().1.queue_depth == 0);
    subject.finish(check);
}

/// Configurations: the given one with something else in it, and others.
pub fn configuration(bench: &Bench) {
    let check = "fuzz-configuration";
    let mut random = Random::new(bench.seed, check);
    let places = chance::places(bench);
    for _ in rounds(bench) {
        let field = chance::configuration(&mut random, bench, &places);
        match bench.subject_of(&field, Room::Bytes(1 + random.below(256))) {
            Ok(subject) => {
                subject.cleanup();
            }
            Err(answer) => {
                let expected = [Status::INVALID, Status::UNSUPPORTED, Status::FAILED];
                expect(check, expected.contains(&answer.status), || {
                    format!("`initialize` of {:.200}: {}; seed {}", field.show(), answer.show(), bench.seed)
                });
            }
        }
    }
}

/// Where an instance stands as the table of states has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Model {
    Initialized,
    Started,
    Draining,
    Stopped,
}

impl Model {
    fn number(self) -> u32 {
        match self {
            Model::Initialized => Health::STATE_INITIALIZED,
            Model::Started => Health::STATE_STARTED,
            Model::Draining => Health::STATE_DRAINING,
            Model::Stopped => Health::STATE_STOPPED,
        }
    }

    fn can_start(self) -> bool {
        matches!(self, Model::Initialized | Model::Stopped)
    }

    fn can_stop(self) -> bool {
        matches!(self, Model::Started | Model::Draining)
    }
}

/// What a call gave, what the table says of it, and where the instance then stands; `None` is nowhere.
struct Step {
    answer: Answer,
    expected: Status,
    next: Option<Model>,
}

/// One call by chance. `None` when requests pile up.
fn step(random: &mut Random, subject: &Subject<'_>, model: Model, request: &RequestArgs) -> Option<Step> {
    let calls = subject.calls();
    let of = |answer: Answer, is_legal: bool, next: Option<Model>| Step {
        expected: if is_legal { Status::OK } else { Status::STATE },
        answer,
        next,
    };
    let work = |answer: Answer| Step {
        answer,
        expected: match model {
            Model::Started => Status::OK,
            Model::Draining => Status::BUSY,
            _ => Status::STATE,
        },
        next: Some(model),
    };
    let drain = Drain::of(calls);
    Some(match (random.below(14), drain) {
        (0 | 1, _) => of(calls.start(), model.can_start(), Some(Model::Started)),
        (2, _) => {
            let answer = calls.stop(STOP_MS);
            if model.can_stop() {
                ledger::stopped();
            }
            of(answer, model.can_stop(), Some(Model::Stopped))
        }
        (3, _) => of(subject.cleanup(), model.can_start(), None),
        (4..7, _) => {
            if ledger::wait(UNDER_WAY, GRACE) > UNDER_WAY {
                return None;
            }
            work(calls.webhook(request))
        }
        (7..10, _) => work(calls.event(&EventArgs::new("validate.event", "{}"))),
        (10, Some(drain)) => of(drain.begin(calls, STOP_MS), model.can_stop(), Some(Model::Draining)),
        (11, Some(drain)) => of(drain.cancel(calls), model == Model::Draining, Some(Model::Started)),
        (12, Some(drain)) => of(drain.export(calls).0, model == Model::Draining, Some(model)),
        _ => of(calls.health().0, true, Some(model)),
    })
}

/// Calls in any order, beside the table of states.
pub fn order(bench: &Bench) {
    let check = "fuzz-order";
    let mut random = Random::new(bench.seed, check);
    let request = routes::requests(bench).swap_remove(0);
    let mut alive: Option<(Subject<'_>, Model)> = None;
    for round in rounds(bench) {
        let Some((subject, model)) = &mut alive else {
            let Some(subject) = bench.subject() else {
                return fail(check, "`initialize` refuses the given configuration");
            };
            alive = Some((subject, Model::Initialized));
            continue;
        };
        let Some(Step { answer, expected, next }) = step(&mut random, subject, *model, &request) else {
            break;
        };
        let fits = answer.status == expected || (expected == Status::OK && answer.status == Status::BUSY);
        if !expect(check, fits, || {
            format!("call {round}, `{}` while {model:?}: {}; seed {}", answer.call, answer.show(), bench.seed)
        }) {
            break;
        }
        match next {
            _ if !answer.is_ok() => {}
            None => {
                alive = None;
                continue;
            }
            Some(next) => *model = next,
        }
        let state = subject.calls().state();
        if !expect(check, state == model.number(), || {
            format!(
                "call {round}: the state is {} after `{}`, not {model:?}; seed {}",
                state_name(state),
                answer.call,
                bench.seed
            )
        }) {
            break;
        }
    }
    if let Some((subject, model)) = alive {
        if model.can_stop() {
            subject.stop();
        }
        subject.cleanup();
    }
}
