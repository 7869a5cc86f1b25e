//! Definitions by chance, as trees that become YAML for the engine and are walked by the reference interpreter.
//!
//! They are deterministic by construction: what runs side by side writes no variable, and joins wait for all.

use std::fmt::Write;

/// Randomness that a seed repeats (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A number that a step computes.
#[derive(Clone, Debug)]
pub enum Num {
    Lit(i64),
    Var(usize),
    Input,
    Index,
    Sum(Box<Num>, Box<Num>),
    /// 1 when the step has completed, else 0.
    Completed(String),
    /// Fails.
    Undefined,
}

#[derive(Clone, Debug)]
pub struct Test(pub Num, pub i64);

#[derive(Clone, Debug)]
pub struct Step {
    pub id: String,
    pub when: Option<Test>,
    pub continues: bool,
    /// Puts its output into `vars.oN`.
    pub checkpoint: bool,
    pub attempts: u32,
    pub on_uncertain: Option<&'static str>,
    pub act: Act,
    /// What undoes it.
    pub undo: Option<Box<Step>>,
}

/// A whole definition.
pub struct Workflow {
    pub steps: Vec<Step>,
    pub catch: Vec<Step>,
    pub finally: Vec<Step>,
}

#[derive(Clone, Debug)]
pub enum Act {
    Set(usize, Num),
    Transform(Num),
    Effect,
    Webhook,
    Emit,
    Notify,
    Duration(u32),
    Signal,
    Child,
    If(Test, Vec<Step>, Vec<Step>),
    Switch(Num, Vec<Step>, Vec<Step>),
    Times {
        count: Num,
        width: u32,
        goes_on: bool,
        collect: Option<Num>,
        steps: Vec<Step>,
    },
    Each {
        items: Vec<i64>,
        width: u32,
        goes_on: bool,
        steps: Vec<Step>,
    },
    /// Until the index is at least this.
    Until(i64, Vec<Step>),
    While(i64, Vec<Step>),
    Fork {
        branches: Vec<(String, Vec<Step>)>,
        width: u32,
        waits: bool,
    },
}

/// Variables `v0` to `v2`, numbers from the start.
pub const VARS: usize = 3;

pub struct Maker<'a> {
    pub dice: &'a mut Dice,
    pub next: u32,
    /// Some steps ask or fail when in doubt.
    pub doubts: bool,
}

/// Where a step stands.
#[derive(Clone, Copy)]
pub struct Spot {
    depth: u32,
    in_loop: bool,
    alone: bool,
    /// Steps here may have something that undoes them.
    undoes: bool,
}

impl Maker<'_> {
    pub fn workflow(&mut self) -> Workflow {
        let spot = Spot { depth: 0, in_loop: false, alone: true, undoes: true };
        let steps = self.steps(5, spot, &mut Vec::new());
        let mut seen: Vec<String> = steps.iter().map(|step| step.id.clone()).collect();
        let mut phase = |own: &mut Self, spot: Spot| match own.dice.one_in(2) {
            true => own.steps(3, Spot { depth: 1, ..spot }, &mut seen),
            false => Vec::new(),
        };
        let catch = phase(self, spot);
        let finally = phase(self, Spot { undoes: false, ..spot });
        Workflow { steps, catch, finally }
    }

    /// A step that undoes one at this place; it sees that one's iteration, also when that is over.
    fn undo(&mut self, spot: Spot) -> Option<Box<Step>> {
        let id = format!("u{}", self.next);
        self.next += 1;
        let act = match self.dice.below(6) {
            0 | 1 => Act::Effect,
            2 => Act::Webhook,
            3 => Act::Emit,
            4 => Act::Child,
            _ => Act::Transform(if spot.in_loop { Num::Index } else { Num::Lit(7) }),
        };
        Some(Box::new(Step {
            id,
            when: self.dice.one_in(6).then(|| Test(Num::Input, self.dice.below(4) as i64)),
            continues: false,
            checkpoint: self.dice.one_in(6),
            attempts: 1 + self.dice.below(2) as u32,
            on_uncertain: None,
            act,
            undo: None,
        }))
    }

    fn steps(&mut self, max: u64, spot: Spot, seen: &mut Vec<String>) -> Vec<Step> {
        let count = 1 + self.dice.below(max);
        let before = seen.len();
        let steps = (0..count).map(|_| self.step(spot, seen)).collect();
        seen.truncate(before);
        steps
    }

    fn num(&mut self, spot: Spot, seen: &[String]) -> Num {
        match self.dice.below(16) {
            0..=4 => Num::Lit(self.dice.below(4) as i64),
            5..=7 => Num::Var(self.dice.below(VARS as u64) as usize),
            8 => Num::Input,
            9..=10 if spot.in_loop => Num::Index,
            11..=12 if !seen.is_empty() => {
                Num::Completed(seen[self.dice.below(seen.len() as u64) as usize].clone())
            }
            13 if self.dice.one_in(6) => Num::Undefined,
            14 | 15 => Num::Sum(Box::new(self.num(spot, seen)), Box::new(self.num(spot, seen))),
            _ => Num::Lit(1),
        }
    }

    fn test(&mut self, spot: Spot, seen: &[String]) -> Test {
        Test(self.num(spot, seen), self.dice.below(3) as i64)
    }

    fn step(&mut self, spot: Spot, seen: &mut Vec<String>) -> Step {
        let id = format!("s{}", self.next);
        self.next += 1;
        let when = self.dice.one_in(5).then(|| self.test(spot, seen));
        let act = self.act(spot, seen);
        let doubts = self.doubts && matches!(act, Act::Effect | Act::Webhook) && self.dice.one_in(2);
        let on_uncertain = doubts.then(|| if self.dice.one_in(2) { "ask" } else { "fail" });
        let step = Step {
            id: id.clone(),
            when,
            continues: self.dice.one_in(3),
            checkpoint: self.dice.one_in(6),
            attempts: 1 + self.dice.below(3) as u32,
            on_uncertain,
            undo: (spot.undoes && leaves_traces(&act) && self.dice.one_in(2))
                .then(|| self.undo(spot))
                .flatten(),
            act,
        };
        seen.push(id);
        step
    }

    fn act(&mut self, spot: Spot, seen: &mut Vec<String>) -> Act {
        let inner = Spot { depth: spot.depth + 1, ..spot };
        match self.dice.below(if spot.depth >= 3 { 11 } else { 19 }) {
            0 | 1 if spot.alone => Act::Set(self.dice.below(VARS as u64) as usize, self.num(spot, seen)),
            0..=2 => Act::Transform(self.num(spot, seen)),
            3..=5 => Act::Effect,
            6 => Act::Webhook,
            7 => Act::Emit,
            8 if self.dice.one_in(2) => Act::Notify,
            8 => Act::Duration(self.dice.below(3) as u32 * 5),
            9 => Act::Signal,
            10 => Act::Child,
            11 | 12 => {
                let test = self.test(spot, seen);
                Act::If(test, self.steps(3, inner, seen), self.steps(2, inner, seen))
            }
            13 => Act::Switch(self.num(spot, seen), self.steps(2, inner, seen), self.steps(2, inner, seen)),
            14 | 15 => {
                let width = 1 + self.dice.below(3) as u32;
                let inner = Spot { in_loop: true, alone: spot.alone && width == 1, ..inner };
                let goes_on = self.dice.one_in(2);
                let steps = self.steps(3, inner, seen);
                if self.dice.one_in(2) {
                    let items = (0..self.dice.below(4)).map(|n| n as i64 * 2).collect();
                    return Act::Each { items, width, goes_on, steps };
                }
                let collect = self.dice.one_in(2).then(|| self.num(inner, &[]));
                Act::Times { count: self.num(spot, seen), width, goes_on, collect, steps }
            }
            16 => {
                let bound = self.dice.below(3) as i64;
                let steps = self.steps(2, Spot { in_loop: true, ..inner }, seen);
                if self.dice.one_in(2) { Act::Until(bound, steps) } else { Act::While(bound, steps) }
            }
            _ => {
                let inner = Spot { alone: false, ..inner };
                let count = 1 + self.dice.below(3);
                let branches = (0..count).map(|n| (format!("b{n}"), self.steps(3, inner, seen))).collect();
                Act::Fork { branches, width: 1 + self.dice.below(3) as u32, waits: self.dice.one_in(2) }
            }
        }
    }
}

fn leaves_traces(act: &Act) -> bool {
    matches!(act, Act::Effect | Act::Webhook | Act::Emit | Act::Notify | Act::Child)
}

/// The definition as a person would write it.
pub fn yaml(workflow: &Workflow) -> String {
    let Workflow { steps, catch, finally } = workflow;
    let mut out = String::from(
        "name: generated\ninputs: { type: object, properties: { n: { type: integer, default: 2 } } }\nsteps:\n\
         \x20 - { id: init, type: set, config: { variables: { v0: 0, v1: 1, v2: 2 } } }\n",
    );
    write_steps(&mut out, steps, 1);
    out.push_str("output:\n");
    for var in 0..VARS {
        writeln!(out, "  v{var}: \"{{{{ vars.v{var} }}}}\"").unwrap();
    }
    for step in steps {
        writeln!(out, "  {0}: \"{{{{ steps.{0}.status }}}}\"", step.id).unwrap();
        writeln!(out, "  {0}_out: \"{{{{ steps.{0}.output | default(none) }}}}\"", step.id).unwrap();
    }
    for (name, steps) in [("catch", catch), ("finally", finally)] {
        if !steps.is_empty() {
            writeln!(out, "{name}:").unwrap();
            write_steps(&mut out, steps, 1);
        }
    }
    out
}

fn write_steps(out: &mut String, steps: &[Step], indent: usize) {
    for step in steps {
        let pad = "  ".repeat(indent);
        writeln!(out, "{pad}- id: {}", step.id).unwrap();
        write_step(out, step, indent);
        if let Some(undo) = &step.undo {
            writeln!(out, "{pad}  compensate:\n{pad}    id: {}", undo.id).unwrap();
            write_step(out, undo, indent + 1);
        }
    }
}

fn write_step(out: &mut String, step: &Step, indent: usize) {
    {
        let pad = format!("{}  ", "  ".repeat(indent));
        if let Some(when) = &step.when {
            writeln!(out, "{pad}when: \"{}\"", test(when)).unwrap();
        }
        if step.continues {
            writeln!(out, "{pad}on_error: continue").unwrap();
        }
        if step.checkpoint {
            writeln!(out, "{pad}checkpoint: true").unwrap();
        }
        if let Some(uncertain) = step.on_uncertain {
            writeln!(out, "{pad}on_uncertain: {uncertain}").unwrap();
        }
        if matches!(step.act, Act::Effect | Act::Webhook) {
            let retry = format!("{{ attempts: {}, delay: 4s, jitter: none }}", step.attempts);
            writeln!(out, "{pad}retry: {retry}").unwrap();
        }
        write_act(out, step, indent, &pad);
    }
}

fn write_act(out: &mut String, step: &Step, indent: usize, pad: &str) {
    let block = |out: &mut String, head: String, name: &str, steps: &[Step]| {
        if !head.is_empty() {
            out.push_str(&head);
        }
        writeln!(out, "{pad}  {name}:").unwrap();
        write_steps(out, steps, indent + 2);
    };
    let head = |kind: &str, more: String| format!("{pad}type: {kind}\n{pad}config:\n{pad}  {more}\n");
    match &step.act {
        Act::Set(var, value) => {
            writeln!(out, "{pad}type: set\n{pad}config: {{ variables: {{ v{var}: \"{}\" }} }}", num(value))
                .unwrap()
        }
        Act::Transform(value) => writeln!(
            out,
            "{pad}type: transform\n{pad}config: {{ type: expression, expr: \"{}\" }}",
            num(value)
        )
        .unwrap(),
        Act::Effect => writeln!(
            out,
            "{pad}type: api_call\n{pad}config: {{ url: \"http://h/{}\", method: GET }}",
            step.id
        )
        .unwrap(),
        Act::Webhook => {
            writeln!(out, "{pad}type: webhook\n{pad}config: {{ url: \"http://h/\", payload: {{ a: 1 }} }}")
                .unwrap()
        }
        Act::Emit => writeln!(out, "{pad}type: emit\n{pad}config: {{ topic: user.{} }}", step.id).unwrap(),
        Act::Notify => writeln!(out, "{pad}type: notification\n{pad}config: {{ message: hello }}").unwrap(),
        Act::Duration(seconds) => {
            writeln!(out, "{pad}type: wait\n{pad}config: {{ duration: {seconds}s }}").unwrap()
        }
        Act::Signal => writeln!(out, "{pad}type: wait\n{pad}config: {{ signal: go_{} }}", step.id).unwrap(),
        Act::Child => writeln!(out, "{pad}type: workflow\n{pad}config: {{ workflow: other }}").unwrap(),
        Act::If(condition, then, otherwise) => {
            block(out, head("condition", format!("if: \"{}\"", test(condition))), "then", then);
            block(out, String::new(), "else", otherwise);
        }
        Act::Switch(value, one, default) => {
            let head = head("condition", format!("switch: \"{}\"\n{pad}  cases:", num(value)));
            out.push_str(&head);
            writeln!(out, "{pad}    \"1\":").unwrap();
            write_steps(out, one, indent + 3);
            block(out, String::new(), "default", default);
        }
        Act::Times { count, width, goes_on, collect, steps } => {
            let mut more = format!("times: \"{}\"\n{pad}  {}", num(count), width_of(*width, *goes_on, pad));
            if let Some(collect) = collect {
                write!(more, "\n{pad}  collect: \"{}\"", num(collect)).unwrap();
            }
            block(out, head("loop", more), "steps", steps);
        }
        Act::Each { items, width, goes_on, steps } => {
            let more = format!("for_each: {items:?}\n{pad}  {}", width_of(*width, *goes_on, pad));
            block(out, head("loop", more), "steps", steps);
        }
        Act::Until(bound, steps) => {
            block(out, head("loop", format!("until: \"index >= {bound}\"")), "steps", steps)
        }
        Act::While(bound, steps) => {
            block(out, head("loop", format!("while: \"index < {bound}\"")), "steps", steps)
        }
        Act::Fork { branches, width, waits } => {
            let on_error = if *waits { "wait" } else { "cancel_others" };
            let more = format!("max_concurrency: {width}\n{pad}  on_error: {on_error}\n{pad}  branches:");
            out.push_str(&head("parallel", more));
            for (name, steps) in branches {
                writeln!(out, "{pad}    {name}:").unwrap();
                write_steps(out, steps, indent + 3);
            }
        }
    }
}

fn width_of(width: u32, goes_on: bool, pad: &str) -> String {
    format!("max_concurrency: {width}\n{pad}  on_error: {}", if goes_on { "continue" } else { "stop" })
}

pub fn num(value: &Num) -> String {
    match value {
        Num::Lit(value) => value.to_string(),
        Num::Var(var) => format!("vars.v{var}"),
        Num::Input => "inputs.n".to_owned(),
        Num::Index => "index".to_owned(),
        Num::Sum(a, b) => format!("({} + {})", num(a), num(b)),
        Num::Completed(id) => format!("(1 if steps.{id}.status == 'completed' else 0)"),
        Num::Undefined => "from_json('{')".to_owned(),
    }
}

fn test(Test(left, right): &Test) -> String {
    format!("{} >= {right}", num(left))
}
