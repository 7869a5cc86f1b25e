//! The operations of a pipeline, one behind the other, and the rows that go through them.

use std::collections::HashSet;
use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::aggregate::{Aggregate, Fields, Totals};
use super::column::{Columns, Place, failed};
use super::held::{Held, held_bytes};
use super::join::{Join, Table, merged};
use super::read::Sources;
use super::write::{Output, Write};
use crate::expr::{Data, Expression, Grouped, PerRow, Sorted};
use crate::model::StepError;

/// One operation.
#[derive(Debug)]
pub(super) enum Op {
    Filter(Expression),
    Map(Expression),
    Select(Columns),
    Sort {
        by: Option<Expression>,
        descending: bool,
    },
    Group {
        by: Expression,
        collect: Option<Expression>,
    },
    Aggregate(Aggregate),
    /// Rows go on as they are.
    Stats(Option<Vec<String>>),
    Join(Box<Join>),
    Dedupe(Option<Columns>),
    Limit(usize),
}

impl Op {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Op::Filter(_) => "filter",
            Op::Map(_) => "map",
            Op::Select(_) => "select",
            Op::Sort { .. } => "sort",
            Op::Group { .. } => "group",
            Op::Aggregate(_) => "aggregate",
            Op::Stats(_) => "stats",
            Op::Join(_) => "join",
            Op::Dedupe(_) => "dedupe",
            Op::Limit(_) => "limit",
        }
    }
}

/// What an operation keeps between rows.
enum State {
    None,
    Sort(Sorted),
    Group(Grouped),
    Aggregate(Totals),
    Stats(Fields),
    Join(Table),
    Seen(HashSet<[u8; 16]>),
}

struct Stage<'p> {
    op: &'p Op,
    state: State,
    /// Rows that came.
    index: usize,
}

/// What becomes of a row.
enum Passed<'p> {
    One(Data),
    None,
    /// Beside each of these.
    Beside(&'p Join, Data, Rc<Vec<Value>>),
}

/// A seen row: its digest, and its place in a set.
const SEEN_BYTES: usize = 32;

/// A pipeline at work.
pub(super) struct Chain<'p> {
    stages: Vec<Stage<'p>>,
    rows: PerRow<'p>,
    held: Held,
    output: Output<'p>,
}

/// What came of it.
pub(super) struct Done {
    pub(super) data: Value,
    pub(super) written: u64,
    pub(super) fields: Option<Map<String, Value>>,
    pub(super) held_bytes: usize,
}

impl<'p> Chain<'p> {
    pub(super) fn new(ops: &'p [Op], write: &'p Write, rows: PerRow<'p>, held_bytes_max: usize) -> Self {
        let state = |op: &Op| match op {
            Op::Sort { descending, .. } => State::Sort(Sorted::new(*descending)),
            Op::Group { .. } => State::Group(Grouped::default()),
            Op::Aggregate(_) => State::Aggregate(Totals::default()),
            Op::Stats(_) => State::Stats(Fields::default()),
            Op::Join(_) => State::Join(Table::default()),
            Op::Dedupe(_) => State::Seen(HashSet::new()),
            Op::Filter(_) | Op::Map(_) | Op::Select(_) | Op::Limit(_) => State::None,
        };
        let stages = ops.iter().map(|op| Stage { op, state: state(op), index: 0 }).collect();
        Self { stages, rows, held: Held::new(held_bytes_max), output: Output::new(write) }
    }

    /// Reads the other side of every join.
    pub(super) fn prepare(
        &mut self,
        sources: &Sources<'_>,
        check: &dyn Fn() -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        let Self { stages, rows, held, .. } = self;
        for (operation, stage) in stages.iter_mut().enumerate() {
            let (Op::Join(join), State::Join(table)) = (stage.op, &mut stage.state) else { continue };
            let mut index = 0;
            join.read
                .each(sources, &mut |row| {
                    check()?;
                    let place = Place { operation: operation + OTHER_SIDE, index };
                    index += 1;
                    table.add(join, rows, place, row, held)
                })
                .map_err(|error| within(error, operation, stage.op))?;
        }
        Ok(())
    }

    /// One row of the source.
    pub(super) fn push(&mut self, row: Value) -> Result<(), StepError> {
        self.push_at(0, Data::new(row))
    }

    fn push_at(&mut self, mut at: usize, mut row: Data) -> Result<(), StepError> {
        while at < self.stages.len() {
            let op = self.stages[at].op;
            match self.pass(at, row).map_err(|error| within(error, at, op))? {
                Passed::One(next) => row = next,
                Passed::None => return Ok(()),
                Passed::Beside(join, left, others) => {
                    for other in others.iter() {
                        self.push_at(at + 1, Data::new(merged(join, left.json(), other)))?;
                    }
                    return Ok(());
                }
            }
            at += 1;
        }
        let bytes = self.output.push(row);
        bytes.map_err(|mut error| {
            error.message = format!("write: {}", error.message);
            error
        })
    }

    fn pass(&mut self, at: usize, row: Data) -> Result<Passed<'p>, StepError> {
        let Self { stages, rows, held, .. } = self;
        let stage = &mut stages[at];
        let place = Place { operation: at, index: stage.index };
        let Place { index, .. } = place;
        stage.index += 1;
        let broken = |error: crate::expr::Error| failed(&error);
        Ok(match (stage.op, &mut stage.state) {
            (Op::Filter(expr), _) => match rows.test(expr, index, &row, place.part(0)).map_err(broken)? {
                true => Passed::One(row),
                false => Passed::None,
            },
            (Op::Map(expr), _) => {
                Passed::One(Data::new(rows.value(expr, index, &row, place.part(0)).map_err(broken)?))
            }
            (Op::Select(columns), _) => {
                Passed::One(Data::new(Value::Object(columns.row(rows, place, &row)?)))
            }
            (Op::Limit(count), _) if index < *count => Passed::One(row),
            (Op::Sort { by, .. }, State::Sort(sorted)) => {
                let key = by.as_ref().map(|by| rows.value(by, index, &row, place.part(0)));
                let (key, row) = (key.transpose().map_err(broken)?, row.into_json());
                held.take(held_bytes(&row) + key.as_ref().map_or(0, held_bytes), "`sort`")?;
                sorted.push(key, row);
                Passed::None
            }
            (Op::Group { by, collect }, State::Group(grouped)) => {
                let key = rows.value(by, index, &row, place.part(0)).map_err(broken)?;
                let value = match collect {
                    Some(collect) => rows.value(collect, index, &row, place.part(1)).map_err(broken)?,
                    None => row.into_json(),
                };
                held.take(held_bytes(&value) + held_bytes(&key), "`group`")?;
                grouped.push(index, &key, value).map_err(broken)?;
                Passed::None
            }
            (Op::Aggregate(aggregate), State::Aggregate(totals)) => {
                aggregate.add(totals, rows, place, &row, held)?;
                Passed::None
            }
            (Op::Stats(only), State::Stats(fields)) => {
                fields.add(row.json(), only.as_deref())?;
                Passed::One(row)
            }
            (Op::Join(join), State::Join(table)) => match table.find(join, rows, place, &row)? {
                Some(others) => Passed::Beside(join, row, others),
                // Null stands where another row would.
                None if join.keep_left && join.under.is_some() => {
                    Passed::One(Data::new(merged(join, row.json(), &Value::Null)))
                }
                None if join.keep_left => Passed::One(row),
                None => Passed::None,
            },
            (Op::Dedupe(by), State::Seen(seen)) => {
                let text = match by {
                    Some(by) => Value::from(by.values(rows, place, &row)?).to_string(),
                    None => row.json().to_string(),
                };
                let mut digest = [0; 16];
                digest.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
                match seen.insert(digest) {
                    true => {
                        held.take(SEEN_BYTES, "`dedupe`")?;
                        Passed::One(row)
                    }
                    false => Passed::None,
                }
            }
            // Rows beyond a limit. No other operation is without its own state.
            _ => Passed::None,
        })
    }

    /// Lets go, in order, what operations held.
    pub(super) fn finish(mut self, check: &dyn Fn() -> Result<(), StepError>) -> Result<Done, StepError> {
        let mut all_fields: Option<Map<String, Value>> = None;
        for at in 0..self.stages.len() {
            let op = self.stages[at].op;
            match (op, std::mem::replace(&mut self.stages[at].state, State::None)) {
                (_, State::Sort(sorted)) => {
                    for row in sorted.finish() {
                        check()?;
                        self.held.give(held_bytes(&row));
                        self.push_at(at + 1, Data::new(row))?;
                    }
                }
                (_, State::Group(grouped)) => {
                    for (key, value) in grouped.finish() {
                        check()?;
                        self.held.give(held_bytes(&value));
                        self.push_at(at + 1, Data::new(json!({ "key": key, "value": value })))?;
                    }
                }
                (Op::Aggregate(aggregate), State::Aggregate(totals)) => {
                    let rows = aggregate.finish(totals).map_err(|error| within(error, at, op))?;
                    for row in rows {
                        check()?;
                        self.push_at(at + 1, Data::new(row))?;
                    }
                }
                (Op::Stats(only), State::Stats(fields)) => {
                    all_fields.get_or_insert_default().extend(fields.finish(only.as_deref()));
                }
                _ => {}
            }
        }
        let held_bytes = self.held.highest();
        let written = self.output.written;
        let data = self.output.finish()?;
        Ok(Done { data, written, fields: all_fields, held_bytes })
    }
}

/// Numbers the rows of a join's other side apart from those that pass by.
const OTHER_SIDE: usize = crate::limits::DATA_OPERATIONS_MAX;

fn within(mut error: StepError, at: usize, op: &Op) -> StepError {
    error.message = format!("operation {} ({}): {}", at + 1, op.word(), error.message);
    error
}
