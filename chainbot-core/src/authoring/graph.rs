//! A definition as a picture: as Mermaid text, as SVG, and as nodes and edges.
//!
//! A definition is structured, so its picture is too: a [`Piece`] is a step with the pieces inside of it, and every form of the
//! picture is made from that tree. Nothing is stored: one text has one picture. Colours come from a run where one is given.

mod flow;
mod layout;
mod mermaid;
mod svg;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::engine::Program;
use crate::engine::program::{BlockId, Node, Op, Owner};
use crate::id::NodeId;
use crate::model::{Join, OnError, StepStatus, StepView};

pub use flow::{Edge, Flow};

/// How steps stand in a run, by id: the status that matters most, and how many instances there were.
pub type Standing = BTreeMap<String, (StepStatus, usize)>;

/// A step in the picture.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// Its id; empty for what the definition itself is.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What else is to be known: that it may be skipped or may fail, how it joins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// How it stands in the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<StepStatus>,
    /// How often it is in the run; more than once in loops.
    #[serde(skip_serializing_if = "is_zero")]
    pub count: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the form that serde asks for
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// A part of the picture.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// A step without steps inside.
    Leaf {
        /// The step.
        step: Step,
        /// What undoes it.
        undo: Option<Step>,
    },
    /// One of several ways.
    Choice {
        /// What decides.
        step: Step,
        /// Names with what is on each way.
        ways: Vec<(String, Vec<Piece>)>,
    },
    /// Ways side by side.
    Fork {
        /// The step; without id when it is the whole definition.
        step: Step,
        /// Names, what is on each, and the ways before it by index.
        ways: Vec<(String, Vec<Piece>, Vec<usize>)>,
    },
    /// Again and again.
    Repeat {
        /// The step.
        step: Step,
        /// What is repeated.
        body: Vec<Piece>,
    },
}

/// A definition as a tree of pieces.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// The workflow.
    pub name: String,
    /// Its steps.
    pub main: Vec<Piece>,
    /// What runs when one failed.
    pub catch: Vec<Piece>,
    /// What runs in the end.
    pub finally: Vec<Piece>,
}

/// The steps of a run, one entry for each id.
pub fn standing(steps: &[StepView]) -> Standing {
    let mut standing = Standing::new();
    for step in steps {
        let entry = standing.entry(step.id.clone()).or_insert((step.status, 0));
        entry.1 += 1;
        if weight(step.status) > weight(entry.0) {
            entry.0 = step.status;
        }
    }
    standing
}

/// Which status of several instances a person wants to see.
fn weight(status: StepStatus) -> u8 {
    match status {
        StepStatus::Failed => 6,
        StepStatus::Running => 5,
        StepStatus::Waiting => 4,
        StepStatus::Cancelled => 3,
        StepStatus::Completed => 2,
        StepStatus::Skipped => 1,
        StepStatus::Pending => 0,
    }
}

impl Picture {
    /// Of a program, coloured by a run when one is given.
    pub fn of(program: &Program, standing: Option<&Standing>) -> Self {
        let maker = Maker { program, standing };
        let block = |block: Option<BlockId>| block.map(|block| maker.block(block)).unwrap_or_default();
        Self {
            name: program.name.clone(),
            main: maker.block(Program::ROOT),
            catch: block(program.catch),
            finally: block(program.finally),
        }
    }

    /// Nodes and edges.
    pub fn flow(&self) -> Flow {
        flow::of(self)
    }

    /// Text in Mermaid's language.
    pub fn mermaid(&self) -> String {
        mermaid::write(self)
    }

    /// An SVG document.
    pub fn svg(&self) -> String {
        svg::write(self)
    }
}

struct Maker<'a> {
    program: &'a Program,
    standing: Option<&'a Standing>,
}

impl Maker<'_> {
    fn block(&self, block: BlockId) -> Vec<Piece> {
        self.program.block(block).nodes.iter().map(|id| self.piece(*id)).collect()
    }

    fn piece(&self, id: NodeId) -> Piece {
        let node = self.program.node(id);
        let step = self.step(node);
        match &node.op {
            Op::Condition(condition) => {
                let ways = condition.branches.iter().map(|(name, block)| (name.clone(), self.block(*block)));
                Piece::Choice { step, ways: ways.collect() }
            }
            Op::Fork(fork) => {
                let ways = fork.branches.iter().map(|branch| {
                    let after = branch.after.iter().map(|index| *index as usize).collect();
                    (branch.name.clone(), self.block(branch.block), after)
                });
                Piece::Fork { step, ways: ways.collect() }
            }
            Op::Loop(a_loop) => Piece::Repeat { step, body: self.block(a_loop.body) },
            _ => {
                let undo = node.compensate.and_then(|block| self.program.block(block).nodes.first());
                Piece::Leaf { step, undo: undo.map(|id| self.step(self.program.node(*id))) }
            }
        }
    }

    fn step(&self, node: &Node) -> Step {
        let mut notes = Vec::new();
        if node.when.is_some() {
            notes.push("when".to_owned());
        }
        if node.on_error == OnError::Continue {
            notes.push("may fail".to_owned());
        }
        if let Op::Fork(fork) = &node.op {
            match fork.join {
                Join::All => {}
                Join::Any => notes.push("any".to_owned()),
                Join::Quorum(n) => notes.push(format!("{n} of {}", fork.branches.len())),
            }
        }
        if matches!(self.program.block(node.block).owner, Owner::Compensation { .. }) {
            notes.push("undoes".to_owned());
        }
        let stands = self.standing.map(|standing| match standing.get(&node.id) {
            Some(found) => *found,
            None => (StepStatus::Pending, 0),
        });
        Step {
            id: node.id.clone(),
            kind: node.kind.to_owned(),
            notes,
            status: stands.map(|(status, _)| status),
            count: stands.map_or(0, |(_, count)| count),
        }
    }
}

impl Step {
    /// The line below its id.
    fn subtitle(&self) -> String {
        let mut words = vec![self.kind.clone()];
        words.extend(self.notes.iter().cloned());
        if self.count > 1 {
            words.push(format!("{}×", self.count));
        }
        words.join(" · ")
    }
}
