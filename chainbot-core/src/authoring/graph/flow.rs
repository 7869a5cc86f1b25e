//! Nodes and edges, for programs that draw by themselves.

use serde::Serialize;

use super::{Picture, Piece, Step};

/// A picture without places.
#[derive(Debug, Default, Serialize)]
pub struct Flow {
    /// The workflow.
    pub workflow: String,
    /// Steps, each with the step it is inside of.
    pub nodes: Vec<Inside>,
    /// From step to step; `start` and `end` are the run's.
    pub edges: Vec<Edge>,
}

/// A step and what it is inside of.
#[derive(Debug, Serialize)]
pub struct Inside {
    /// The step.
    #[serde(flatten)]
    pub step: Step,
    /// The step around it, or `catch` or `finally`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

/// What follows what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Edge {
    /// The step before.
    pub from: String,
    /// The step after.
    pub to: String,
    /// The branch, `again`, `failed` or `undo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// Ends that wait for what follows: a step, and what its way is called.
type Ends = Vec<(String, Option<String>)>;

pub(super) fn of(picture: &Picture) -> Flow {
    let mut flow = Flow { workflow: picture.name.clone(), ..Flow::default() };
    let mut ends = flow.sequence(&picture.main, vec![("start".to_owned(), None)], None);
    if !picture.catch.is_empty() {
        let failed = vec![("start".to_owned(), Some("failed".to_owned()))];
        ends.extend(flow.sequence(&picture.catch, failed, Some("catch")));
    }
    if !picture.finally.is_empty() {
        ends = flow.sequence(&picture.finally, ends, Some("finally"));
    }
    flow.join(&ends, "end");
    flow
}

impl Flow {
    fn join(&mut self, ends: &Ends, to: &str) {
        for (from, label) in ends {
            let edge = Edge { from: from.clone(), to: to.to_owned(), label: label.clone() };
            if !self.edges.contains(&edge) {
                self.edges.push(edge);
            }
        }
    }

    fn sequence(&mut self, pieces: &[Piece], mut ends: Ends, parent: Option<&str>) -> Ends {
        for piece in pieces {
            ends = self.piece(piece, ends, parent);
        }
        ends
    }

    fn add(&mut self, step: &Step, parent: Option<&str>) {
        self.nodes.push(Inside { step: step.clone(), parent: parent.map(str::to_owned) });
    }

    fn piece(&mut self, piece: &Piece, ends: Ends, parent: Option<&str>) -> Ends {
        match piece {
            Piece::Leaf { step, undo } => {
                self.add(step, parent);
                self.join(&ends, &step.id);
                if let Some(undo) = undo {
                    self.add(undo, parent);
                    let label = Some("undo".to_owned());
                    self.edges.push(Edge { from: step.id.clone(), to: undo.id.clone(), label });
                }
                vec![(step.id.clone(), None)]
            }
            Piece::Choice { step, ways } => {
                self.add(step, parent);
                self.join(&ends, &step.id);
                let mut out = Ends::new();
                for (name, pieces) in ways {
                    let begin = vec![(step.id.clone(), Some(name.clone()))];
                    out.extend(self.sequence(pieces, begin, Some(&step.id)));
                }
                out
            }
            Piece::Repeat { step, body } => {
                self.add(step, parent);
                self.join(&ends, &step.id);
                let begin = vec![(step.id.clone(), Some("each".to_owned()))];
                let back = self.sequence(body, begin, Some(&step.id));
                let back = back.into_iter().map(|(from, label)| (from, label.or(Some("again".to_owned()))));
                let back: Ends = back.collect();
                self.join(&back, &step.id);
                vec![(step.id.clone(), None)]
            }
            Piece::Fork { step, ways } => self.fork(step, ways, ends, parent),
        }
    }

    fn fork(
        &mut self,
        step: &Step,
        ways: &[(String, Vec<Piece>, Vec<usize>)],
        mut ends: Ends,
        parent: Option<&str>,
    ) -> Ends {
        let inside = if step.id.is_empty() {
            parent
        } else {
            self.add(step, parent);
            self.join(&ends, &step.id);
            ends = vec![(step.id.clone(), None)];
            Some(step.id.as_str())
        };
        let mut outs: Vec<Option<Ends>> = vec![None; ways.len()];
        // A way comes after those it depends on, whatever the order of the text; circles do not pass validation.
        for _ in 0..ways.len() {
            for (index, (_, pieces, after)) in ways.iter().enumerate() {
                let ready = after.iter().all(|before| outs.get(*before).is_none_or(Option::is_some));
                if outs[index].is_some() || !ready {
                    continue;
                }
                let begin: Ends = match after.is_empty() {
                    true => ends.clone(),
                    false => after.iter().filter_map(|before| outs.get(*before)?.clone()).flatten().collect(),
                };
                outs[index] = Some(self.sequence(pieces, begin, inside));
            }
        }
        let is_last = |index: usize| !ways.iter().any(|(_, _, after)| after.contains(&index));
        let last = outs.into_iter().enumerate().filter(|(index, _)| is_last(*index));
        last.filter_map(|(_, ends)| ends).flatten().collect()
    }
}
