//! Calls by chance. The seed decides all of them; the time decides how many there are.

use std::time::{Duration, Instant};

use chainbot_abi::{Health, Status};
use serde_json::{Value, json};

use super::life::GRACE;
use crate::validate::arguments::{EventArgs, Field, RequestArgs};
use crate::validate::bench::{Answer, Bench, Room, STOP_MS, Subject};
use crate::validate::ledger;
use crate::validate::random::Random;
use crate::validate::record::{expect, fail};
use crate::validate::routes;
use crate::validate::surroundings::settles;
use crate::wire::state_name;

/// Requests under way at once: enough to meet each other, few enough that the queue has room.
const UNDER_WAY: usize = 64;
/// Over the budget of a call that must not block, twice, is a finding.
const BLOCKS: Duration = Duration::from_millis(250);

const PIECES: [&str; 24] = [
    "",
    "a",
    "0",
    "-1",
    "null",
    "true",
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    "%00",
    "%",
    "..",
    "//",
    "?",
    "#",
    "\u{0}",
    "\r\n",
    "\u{202e}",
    "\u{1f600}",
    "../../etc/passwd",
    "9223372036854775808",
];

/// A text, mostly readable, sometimes bytes that are none.
fn text(random: &mut Random) -> Vec<u8> {
    match random.below(8) {
        0 => random.bytes(64),
        1 => vec![b'a'; random.below(20_000)],
        _ => (0..random.below(6)).flat_map(|_| random.pick(&PIECES).bytes()).collect(),
    }
}

fn document(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth == 0 { 5 } else { 7 }) {
        0 => Value::Null,
        1 => json!(random.once_in(2)),
        2 => json!(random.next() as i64),
        3 => json!(f64::from_bits(random.next())),
        4 => json!(String::from_utf8_lossy(&text(random))),
        5 => (0..random.below(4)).map(|_| document(random, depth - 1)).collect(),
        _ => {
            let member = |random: &mut Random| {
                (String::from_utf8_lossy(&text(random)).into_owned(), document(random, depth - 1))
            };
            Value::Object((0..random.below(4)).map(|_| member(random)).collect())
        }
    }
}

/// JSON, mostly; sometimes cut off, deep, or none.
fn json_text(random: &mut Random) -> Vec<u8> {
    let mut bytes = document(random, 3).to_string().into_bytes();
    match random.below(12) {
        0 => bytes.truncate(random.below(bytes.len() + 1)),
        1 => bytes = text(random),
        2 => bytes = vec![b'['; random.below(5_000)],
        3 if !bytes.is_empty() => {
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
        }
        _ => {}
    }
    bytes
}

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

/// Until the time is over.
fn rounds(bench: &Bench) -> impl Iterator<Item = usize> {
    let until = Instant::now() + bench.fuzz;
    (0..).take_while(move |_| Instant::now() < until)
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

/// Places of the schema that can be given a value, as JSON pointers.
fn places(schema: &Value, at: &str, out: &mut Vec<String>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let place = format!("{at}/{name}");
        places(inner, &place, out);
        out.push(place);
    }
}

/// Configurations: the given one with something else in it, and others.
pub fn configuration(bench: &Bench) {
    let check = "fuzz-configuration";
    let mut random = Random::new(bench.seed, check);
    let mut schema = Vec::new();
    places(&bench.manifest["config_schema"], "", &mut schema);
    for _ in rounds(bench) {
        let mut config = bench.config.clone();
        for _ in 0..1 + random.below(3) {
            let value = document(&mut random, 2);
            match schema.is_empty() || random.once_in(4) {
                true => config[String::from_utf8_lossy(&text(&mut random)).into_owned()] = value,
                false => put(&mut config, random.pick::<String>(&schema), value),
            }
        }
        // Where the data lies stays: a module under check has no business elsewhere.
        if let Some(folder) = bench.config.get("data_dir") {
            config["data_dir"] = folder.clone();
        }
        let field = match random.below(10) {
            0 => Field::Bytes(json_text(&mut random)),
            1 => {
                let mut bytes = config.to_string().into_bytes();
                bytes.truncate(random.below(bytes.len()));
                Field::Bytes(bytes)
            }
            _ => Field::text(config.to_string()),
        };
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

/// Puts a value at a pointer, making objects on the way.
fn put(config: &mut Value, pointer: &str, value: Value) {
    let mut place = config;
    for name in pointer.split('/').skip(1) {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[name];
    }
    *place = value;
}

/// Where an instance stands as the table of states has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Model {
    Initialized,
    Started,
    Stopped,
}

impl Model {
    fn number(self) -> u32 {
        match self {
            Model::Initialized => Health::STATE_INITIALIZED,
            Model::Started => Health::STATE_STARTED,
            Model::Stopped => Health::STATE_STOPPED,
        }
    }
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
        let calls = subject.calls();
        let (answer, legal, next): (Answer, bool, Option<Model>) = match random.below(10) {
            0 => (calls.start(), *model != Model::Started, Some(Model::Started)),
            1 => {
                let answer = calls.stop(STOP_MS);
                if *model == Model::Started {
                    ledger::stopped();
                }
                (answer, *model == Model::Started, Some(Model::Stopped))
            }
            2 => (subject.cleanup(), *model != Model::Started, None),
            3..6 => {
                if ledger::wait(UNDER_WAY, GRACE) > UNDER_WAY {
                    break;
                }
                (calls.webhook(&request), *model == Model::Started, Some(*model))
            }
            6..9 => {
                (calls.event(&EventArgs::new("validate.event", "{}")), *model == Model::Started, Some(*model))
            }
            _ => (calls.health().0, true, Some(*model)),
        };
        let expected = if legal { Status::OK } else { Status::STATE };
        let fits = answer.status == expected || (legal && answer.status == Status::BUSY);
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
        let state = calls.state();
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
        if model == Model::Started {
            subject.stop();
        }
        subject.cleanup();
    }
}
