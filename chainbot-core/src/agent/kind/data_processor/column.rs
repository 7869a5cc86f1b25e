//! Columns of a row: members by name, or values of expressions.

use serde_json::{Map, Value};

use crate::error::code::data as code;
use crate::expr::{Data, Expression, PerRow, json_kind};
use crate::model::{StepError, class};

/// Named parts of a row.
#[derive(Clone, Debug)]
pub(super) struct Columns(pub(super) Vec<(String, Column)>);

#[derive(Clone, Debug)]
pub(super) enum Column {
    /// The row's own member of that name.
    Member,
    Computed(Expression),
}

/// Where a row stands in one operation; numbers its evaluations.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Which operation.
    pub(super) operation: usize,
    /// Which row it sees.
    pub(super) index: usize,
}

impl Place {
    /// The number of an evaluation: of 32 operations with 256 columns, and rows within the bound of rows.
    pub(super) fn part(self, column: usize) -> u64 {
        ((self.operation as u64 + 1) << 48) | ((column as u64) << 36) | self.index as u64
    }
}

impl Columns {
    pub(super) fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.clone()).collect()
    }

    /// The values in their order.
    pub(super) fn values(
        &self,
        rows: &mut PerRow<'_>,
        place: Place,
        row: &Data,
    ) -> Result<Vec<Value>, StepError> {
        let one = |(at, (name, column)): (usize, &(String, Column))| match column {
            Column::Member => member(row.json(), name, place.index),
            Column::Computed(expr) => {
                rows.value(expr, place.index, row, place.part(at)).map_err(|error| failed(&error))
            }
        };
        self.0.iter().enumerate().map(one).collect()
    }

    /// As a row of its own.
    pub(super) fn row(
        &self,
        rows: &mut PerRow<'_>,
        place: Place,
        row: &Data,
    ) -> Result<Map<String, Value>, StepError> {
        let values = self.values(rows, place, row)?;
        Ok(self.0.iter().map(|(name, _)| name.clone()).zip(values).collect())
    }
}

/// An expression's error as that of a task.
pub(super) fn failed(error: &crate::expr::Error) -> StepError {
    StepError::new(class::EXPRESSION, error.code, error.to_string())
}

/// A value that does not fit what is done with it.
pub(super) fn unfit(message: String) -> StepError {
    StepError::new(class::INVALID, &code::VALUE, message)
}

fn member(row: &Value, name: &str, index: usize) -> Result<Value, StepError> {
    let Value::Object(entries) = row else {
        return Err(unfit(format!("item {index} is {} and has no column `{name}`", json_kind(row))));
    };
    if let Some(value) = entries.get(name) {
        return Ok(value.clone());
    }
    let hint = match crate::error::similar(name, entries.keys().map(String::as_str)) {
        Some(known) => format!("did you mean `{known}`?"),
        None => format!("`{{{name}: \"item.{name}|default(none)\"}}` gives null where it is missing"),
    };
    Err(unfit(format!("item {index} has no column `{name}`; {hint}")))
}
