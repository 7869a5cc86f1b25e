//! What names mean at one place of one run.
//!
//! `steps.x` means the instance of `x` that encloses or precedes this place: the one whose loop indexes are a prefix of
//! the place's own. A step that has not run or was skipped has a status and no output.

use serde_json::json;

use crate::expr::{Data, Marker, Scope, Volatile};
use crate::model::{Phase, Place, StepStatus};
use crate::time::Timestamp;

use super::decide::Constants;
use super::program::{Op, Owner};
use super::state::{Control, RunState};

/// A view of a run from a place.
pub(super) struct PlaceScope<'a> {
    state: &'a RunState,
    place: &'a Place,
    /// Loop variables, innermost first.
    loops: Vec<LoopNames<'a>>,
    /// What secrets are here; nowhere else have they a value.
    marker: Option<&'a Marker>,
    /// `config`.
    constants: &'a Constants,
}

struct LoopNames<'a> {
    item_name: &'a str,
    item: Option<Data>,
    index: u32,
}

impl<'a> PlaceScope<'a> {
    pub(super) fn new(state: &'a RunState, place: &'a Place, constants: &'a Constants) -> Self {
        let mut loops = Vec::new();
        if !place.path.is_empty() {
            enclosing_loops(state, place, &mut loops);
        }
        Self { state, place, loops, marker: None, constants }
    }

    /// For the input of an effect, where secrets may be written out.
    pub(super) fn with_secrets(mut self, marker: &'a Marker) -> Self {
        self.marker = Some(marker);
        self
    }

    fn step(&self, id: &str) -> Option<Data> {
        let program = &self.state.program;
        let node = *program.by_id.get(id)?;
        let depth = program.node(node).depth;
        let path = self.place.path.get(..depth)?;
        let Some(instance) = self.state.instance(node, path) else {
            return Some(Data::object(vec![("status", text(StepStatus::Pending.as_str()))]));
        };
        let mut entries = vec![
            ("status", text(instance.status.as_str())),
            ("attempts", Data::new(instance.attempts.into())),
        ];
        if let Some(output) = &instance.output {
            entries.push(("output", output.clone()));
        }
        entries.push((
            "error",
            match &instance.error {
                Some(error) => Data::new(json!({
                    "class": error.class, "code": error.code, "message": error.message,
                })),
                None => Data::null(),
            },
        ));
        Some(Data::object(entries))
    }
}

/// Walks from the place outwards.
fn enclosing_loops<'a>(state: &'a RunState, place: &Place, loops: &mut Vec<LoopNames<'a>>) {
    let mut block = state.program.node(place.node).block;
    let mut depth = place.path.len();
    // A loop's own expressions (`until`, `collect`) are evaluated at the loop with its iteration's index added.
    let own = state.program.node(place.node);
    if own.depth + 1 == depth
        && let Op::Loop(a_loop) = &own.op
    {
        block = a_loop.body;
    }
    loop {
        let owner = match state.program.block(block).owner {
            Owner::Run | Owner::Catch | Owner::Finally => return,
            Owner::Fork { node, .. } | Owner::Condition { node } | Owner::Compensation { node } => node,
            Owner::Task { node } => {
                depth = depth.saturating_sub(1);
                node
            }
            Owner::Loop { node } => {
                depth = depth.saturating_sub(1);
                let Op::Loop(a_loop) = &state.program.node(node).op else { return };
                let index = place.path[depth];
                let item = match state.instance(node, &place.path[..depth]).and_then(|i| i.control.as_ref()) {
                    Some(Control::Loop(at)) => match &at.items {
                        Some(items) => items.get(index as usize).cloned(),
                        None => Some(Data::new(index.into())),
                    },
                    _ => None,
                };
                loops.push(LoopNames { item_name: &a_loop.item_name, item, index });
                node
            }
        };
        block = state.program.node(owner).block;
    }
}

impl Scope for PlaceScope<'_> {
    fn value(&self, name: &str) -> Option<Data> {
        match name {
            "inputs" => Some(self.state.inputs.clone()),
            "event" => Some(self.state.event.clone()),
            "run" => Some(run_data(self.state)),
            "error" => super::ending::error_in_scope(self.state).map(Data::new),
            "index" => self.loops.first().map(|names| Data::new(names.index.into())),
            name => {
                self.loops.iter().find(|names| names.item_name == name).and_then(|names| names.item.clone())
            }
        }
    }

    fn is_container(&self, name: &str) -> bool {
        matches!(name, "steps" | "vars" | "secrets" | "config")
    }

    fn member(&self, container: &str, member: &str) -> Option<Data> {
        match container {
            "steps" => self.step(member),
            "vars" => self.state.vars.get(member).cloned(),
            "config" => self.constants.get(member).map(|value| Data::from_json(value.clone())),
            // Whether there is such a secret is known where it is opened.
            "secrets" => self.marker.map(|marker| Data::new(marker.text(member).into())),
            _ => None,
        }
    }

    fn members(&self, container: &str) -> Vec<String> {
        match container {
            "steps" => {
                let program = &self.state.program;
                let visible = |node| self.place.path.len() >= program.node(node).depth;
                program.by_id.iter().filter(|(_, node)| visible(**node)).map(|(id, _)| id.clone()).collect()
            }
            "vars" => self.state.vars.keys().cloned().collect(),
            "config" => self.constants.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = ["event", "inputs", "run", "steps", "vars"].map(str::to_owned).to_vec();
        if !self.loops.is_empty() {
            names.push("index".to_owned());
            names.extend(self.loops.iter().map(|names| names.item_name.to_owned()));
        }
        if self.state.phase == Some(Phase::Catch) {
            names.push("error".to_owned());
        }
        names
    }
}

fn run_data(state: &RunState) -> Data {
    Data::new(json!({
        "id": state.id.to_string(),
        "workflow": state.created.name,
        "started_at": state.started_at.unwrap_or(state.created_at).to_string(),
        "attempt": state.generation + 1,
    }))
}

fn text(value: &str) -> Data {
    Data::new(value.into())
}

/// The moment and the seed of one evaluation: the same when a crash makes it happen again in the same moment, different
/// for every step, iteration and try.
pub(super) fn volatile(state: &RunState, place: &Place, now: Timestamp, purpose: u8) -> Volatile {
    let mut hasher = blake3::Hasher::new();
    hasher.update(state.id.as_bytes()).update(&place.node.0.to_le_bytes()).update(&[purpose]);
    for index in &place.path {
        hasher.update(&index.to_le_bytes());
    }
    let attempts = state.at(place).map_or(0, |instance| instance.attempts);
    hasher.update(&attempts.to_le_bytes());
    Volatile { now, seed: *hasher.finalize().as_bytes() }
}
