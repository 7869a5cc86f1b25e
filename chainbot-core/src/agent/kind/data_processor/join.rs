//! `join`: rows of another source beside those with the same key. The other side is held, counted; this side passes by.

use std::collections::HashMap;
use std::rc::Rc;

use serde_json::Value;

use super::column::{Columns, Place};
use super::held::{Held, held_bytes};
use super::read::Read;
use crate::expr::{Data, PerRow};
use crate::model::StepError;

/// `join`.
#[derive(Debug)]
pub(super) struct Join {
    pub(super) read: Read,
    pub(super) left: Columns,
    pub(super) right: Columns,
    /// Rows without another stay, as they are.
    pub(super) keep_left: bool,
    /// The other row goes under this name; else its columns beside the row's own, which win.
    pub(super) under: Option<String>,
}

/// The other side, by the text of its key.
#[derive(Default)]
pub(super) struct Table(HashMap<String, Rc<Vec<Value>>>);

impl Table {
    pub(super) fn add(
        &mut self,
        join: &Join,
        rows: &mut PerRow<'_>,
        place: Place,
        row: Value,
        held: &mut Held,
    ) -> Result<(), StepError> {
        let row = Data::new(row);
        let key = key(&join.right, rows, place, &row)?;
        let row = row.into_json();
        held.take(held_bytes(&row) + key.len(), "`join`")?;
        let list = self.0.entry(key).or_default();
        // Nobody else holds it before the first row of this side comes.
        Rc::make_mut(list).push(row);
        Ok(())
    }

    /// The rows that fit.
    pub(super) fn find(
        &self,
        join: &Join,
        rows: &mut PerRow<'_>,
        place: Place,
        row: &Data,
    ) -> Result<Option<Rc<Vec<Value>>>, StepError> {
        Ok(self.0.get(&key(&join.left, rows, place, row)?).cloned())
    }
}

/// Two rows as one.
pub(super) fn merged(join: &Join, left: &Value, right: &Value) -> Value {
    let mut out = left.clone();
    match (&mut out, &join.under, right) {
        (Value::Object(out), Some(name), right) => {
            out.insert(name.clone(), right.clone());
        }
        (Value::Object(out), None, Value::Object(right)) => {
            for (name, value) in right {
                out.entry(name).or_insert_with(|| value.clone());
            }
        }
        (out, ..) => *out = Value::Array(vec![left.clone(), right.clone()]),
    }
    out
}

fn key(columns: &Columns, rows: &mut PerRow<'_>, place: Place, row: &Data) -> Result<String, StepError> {
    Ok(Value::from(columns.values(rows, place, row)?).to_string())
}
