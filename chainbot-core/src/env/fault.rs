//! Faults on purpose: the switch behind `fault!`, and broken builds to hold the tests against.
//!
//! ```text
//! fault!("journal.commit.before", …)  ──►  hit: counted, and the plan looked at
//!                                          k-th hit, once or ever after ──► error | full | panic | abort | stall
//! ```
//!
//! Compiled with the feature `fault` only: a build that is shipped has neither this file nor a name of a place in it. A test
//! arms a [`Plan`] in its process, or names one in the variable [`PLAN`] of a process that it starts. [`is_sabotaged`] switches
//! a promise off that the code keeps, to show that the tests would notice.
//!
//! Lock: a plain one around the counts, let go of before anything goes wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use parking_lot::Mutex;

/// The plan of a process that a test starts: name, hit, kind, mode.
pub const PLAN: &str = "CHAINBOT_FAULT";
/// The broken promise of a process that a test starts.
pub const SABOTAGE: &str = "CHAINBOT_SABOTAGE";
/// The schema of a process that a test starts, when it is to be one version ahead: `good` or `broken`.
pub const NEXT_SCHEMA: &str = "CHAINBOT_NEXT_SCHEMA";
/// How long a place hangs: far longer than it works, far shorter than what waits for it.
pub const STALL: Duration = Duration::from_millis(12);

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The call fails, as on a disk that broke.
    Error,
    /// The call fails for want of room.
    Full,
    /// The thread panics.
    Panic,
    /// The process ends, as by a kill.
    Abort,
    /// The call takes long.
    Stall,
}

/// One migration more than this version has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextSchema {
    /// It succeeds.
    Good,
    /// It fails half-way.
    Broken,
}

/// How often it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// At one hit.
    Once,
    /// At that hit and every later one.
    EverAfter,
}

/// Where, when and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The place.
    pub name: String,
    /// From 1.
    pub hit: u64,
    /// What.
    pub kind: Kind,
    /// How often.
    pub mode: Mode,
}

/// How often a place was passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Times.
    pub hits: u64,
    /// Whether it can answer with an error.
    pub can_fail: bool,
}

/// The error that a place is to answer with.
#[derive(Clone, Copy, Debug)]
pub struct Injected {
    /// The place.
    pub name: &'static str,
    /// Whether it is one for want of room.
    pub is_full: bool,
}

#[derive(Default)]
struct State {
    plan: Option<Plan>,
    passed: BTreeMap<&'static str, Passed>,
    fired: u64,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

impl fmt::Display for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a fault on purpose at {}", self.name)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Error => "error",
            Kind::Full => "full",
            Kind::Panic => "panic",
            Kind::Abort => "abort",
            Kind::Stall => "stall",
        };
        let mode = match self.mode {
            Mode::Once => "once",
            Mode::EverAfter => "ever-after",
        };
        write!(f, "{} {} {kind} {mode}", self.name, self.hit)
    }
}

impl Plan {
    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (name, hit) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        let kind = match words.next()? {
            "error" => Kind::Error,
            "full" => Kind::Full,
            "panic" => Kind::Panic,
            "abort" => Kind::Abort,
            "stall" => Kind::Stall,
            _ => return None,
        };
        let mode = match words.next()? {
            "once" => Mode::Once,
            "ever-after" => Mode::EverAfter,
            _ => return None,
        };
        Some(Self { name, hit, kind, mode })
    }
}

/// Begins to count anew, with a plan or without.
pub fn arm(plan: Option<Plan>) {
    *STATE.lock() = Some(State { plan, ..State::default() });
}

/// How often each place was passed since, and how often something went wrong.
pub fn passed() -> (BTreeMap<&'static str, Passed>, u64) {
    STATE.lock().as_ref().map_or_else(Default::default, |state| (state.passed.clone(), state.fired))
}

/// Whether the process keeps this promise not.
pub fn is_sabotaged(promise: &str) -> bool {
    static BROKEN: OnceLock<Option<String>> = OnceLock::new();
    BROKEN.get_or_init(|| std::env::var(SABOTAGE).ok()).as_deref() == Some(promise)
}

/// Whether the process is one schema ahead.
pub fn next_schema() -> Option<NextSchema> {
    match std::env::var(NEXT_SCHEMA).ok()?.as_str() {
        "good" => Some(NextSchema::Good),
        "broken" => Some(NextSchema::Broken),
        _ => None,
    }
}

/// A place that cannot answer with an error.
pub fn pass(name: &'static str) {
    if let Some(kind) = hit(name, false) {
        carry_out(name, kind);
    }
}

/// A place that can: the error, if this hit is to have one.
pub fn fails(name: &'static str) -> Option<Injected> {
    match hit(name, true)? {
        Kind::Error => Some(Injected { name, is_full: false }),
        Kind::Full => Some(Injected { name, is_full: true }),
        kind => {
            carry_out(name, kind);
            None
        }
    }
}

fn hit(name: &'static str, can_fail: bool) -> Option<Kind> {
    let mut state = STATE.lock();
    let state = state.get_or_insert_with(|| {
        let plan = std::env::var(PLAN).ok().and_then(|text| Plan::parse(&text));
        State { plan, ..State::default() }
    });
    let passed = state.passed.entry(name).or_default();
    passed.hits += 1;
    passed.can_fail |= can_fail;
    let plan = state.plan.as_ref().filter(|plan| plan.name == name)?;
    let is_due = match plan.mode {
        Mode::Once => passed.hits == plan.hit,
        Mode::EverAfter => passed.hits >= plan.hit,
    };
    if !is_due || (!can_fail && matches!(plan.kind, Kind::Error | Kind::Full)) {
        return None;
    }
    state.fired += 1;
    Some(plan.kind)
}

fn carry_out(name: &'static str, kind: Kind) {
    match kind {
        Kind::Error | Kind::Full => {}
        Kind::Panic => panic!("a fault on purpose at {name}"),
        Kind::Abort => std::process::abort(),
        Kind::Stall => std::thread::sleep(STALL),
    }
}
