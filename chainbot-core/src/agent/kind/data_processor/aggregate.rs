//! Figures of many rows: of groups (`aggregate`) and of columns (`stats`), each row seen once.
//!
//! Whole numbers are added exactly; others with the error of each addition carried along. Null is no value: it counts nowhere
//! but under `missing`. A quantile holds its numbers, counted; everything else holds a figure.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Number, Value, json};

use super::column::{Columns, Place, failed, unfit};
use super::held::{Held, held_bytes};
use crate::error::code::data as code;
use crate::expr::{Data, Expression, PerRow, compare, json_kind};
use crate::limits::DATA_COLUMNS_MAX;
use crate::model::{StepError, class};

/// What a figure takes besides what it holds.
const FIGURE_BYTES: usize = 96;

/// One figure.
#[derive(Clone, Debug)]
pub(super) enum Figure {
    /// Of rows, or of those for which an expression holds.
    Count(Option<Expression>),
    Sum(Expression),
    Mean(Expression),
    Min(Expression),
    Max(Expression),
    Quantile(Expression, f64),
}

/// `aggregate`.
#[derive(Clone, Debug)]
pub(super) struct Aggregate {
    pub(super) by: Option<Columns>,
    pub(super) figures: Vec<(String, Figure)>,
}

/// Groups in the order in which they first appeared.
#[derive(Default)]
pub(super) struct Totals {
    known: HashMap<String, usize>,
    groups: Vec<(Vec<Value>, Vec<State>)>,
}

enum State {
    Count(u64),
    Sum(Sum),
    Mean(Sum, u64),
    Extreme(Option<Value>),
    Quantile(Vec<f64>),
}

impl Aggregate {
    /// The columns of what it gives.
    pub(super) fn names(&self) -> Vec<String> {
        let by = self.by.iter().flat_map(Columns::names);
        by.chain(self.figures.iter().map(|(name, _)| name.clone())).collect()
    }

    pub(super) fn add(
        &self,
        totals: &mut Totals,
        rows: &mut PerRow<'_>,
        place: Place,
        row: &Data,
        held: &mut Held,
    ) -> Result<(), StepError> {
        let key = match &self.by {
            Some(by) => by.values(rows, place, row)?,
            None => Vec::new(),
        };
        let text = Value::from(key.clone()).to_string();
        let group = match totals.known.get(&text) {
            Some(group) => *group,
            None => {
                let figures = FIGURE_BYTES * self.figures.len();
                held.take(
                    2 * text.len() + key.iter().map(held_bytes).sum::<usize>() + figures,
                    "`aggregate`",
                )?;
                totals.groups.push((key, self.figures.iter().map(|(_, figure)| State::of(figure)).collect()));
                totals.known.insert(text, totals.groups.len() - 1);
                totals.groups.len() - 1
            }
        };
        for (at, ((name, figure), state)) in self.figures.iter().zip(&mut totals.groups[group].1).enumerate()
        {
            let part = place.part(DATA_COLUMNS_MAX + at);
            state.add(figure, rows, (place.index, part), row, held).map_err(|mut error| {
                error.message = format!("`{name}`: {}", error.message);
                error
            })?;
        }
        Ok(())
    }

    /// One row a group; without `by` one row of all, also of none.
    pub(super) fn finish(&self, mut totals: Totals) -> Result<Vec<Value>, StepError> {
        if self.by.is_none() && totals.groups.is_empty() {
            totals
                .groups
                .push((Vec::new(), self.figures.iter().map(|(_, figure)| State::of(figure)).collect()));
        }
        let names = self.names();
        let row = |(key, states): (Vec<Value>, Vec<State>)| {
            let mut values = key;
            for ((name, figure), state) in self.figures.iter().zip(states) {
                values.push(
                    state
                        .finish(figure)
                        .ok_or_else(|| unfit(format!("`{name}`: the result is no finite number")))?,
                );
            }
            Ok(Value::Object(names.iter().cloned().zip(values).collect()))
        };
        totals.groups.into_iter().map(row).collect()
    }
}

impl State {
    fn of(figure: &Figure) -> Self {
        match figure {
            Figure::Count(_) => Self::Count(0),
            Figure::Sum(_) => Self::Sum(Sum::default()),
            Figure::Mean(_) => Self::Mean(Sum::default(), 0),
            Figure::Min(_) | Figure::Max(_) => Self::Extreme(None),
            Figure::Quantile(..) => Self::Quantile(Vec::new()),
        }
    }

    fn add(
        &mut self,
        figure: &Figure,
        rows: &mut PerRow<'_>,
        (index, part): (usize, u64),
        row: &Data,
        held: &mut Held,
    ) -> Result<(), StepError> {
        let expr = match figure {
            Figure::Count(None) => {
                if let Self::Count(count) = self {
                    *count += 1;
                }
                return Ok(());
            }
            Figure::Count(Some(expr)) => {
                let holds = rows.test(expr, index, row, part).map_err(|error| failed(&error))?;
                if let Self::Count(count) = self {
                    *count += u64::from(holds);
                }
                return Ok(());
            }
            Figure::Sum(expr) | Figure::Mean(expr) | Figure::Min(expr) | Figure::Max(expr) => expr,
            Figure::Quantile(expr, _) => expr,
        };
        let value = rows.value(expr, index, row, part).map_err(|error| failed(&error))?;
        if value.is_null() {
            return Ok(());
        }
        match self {
            Self::Sum(sum) => sum.add(number(&value, index)?),
            Self::Mean(sum, count) => {
                sum.add(number(&value, index)?);
                *count += 1;
            }
            Self::Quantile(numbers) => {
                held.take(size_of::<f64>(), "`quantile`")?;
                numbers.push(number(&value, index)?.as_f64().unwrap_or_default());
            }
            Self::Extreme(best) => {
                if value.is_array() || value.is_object() {
                    let kind = json_kind(&value);
                    return Err(unfit(format!("item {index}: {kind} has no place in an order")));
                }
                let wanted =
                    if matches!(figure, Figure::Min(_)) { Ordering::Less } else { Ordering::Greater };
                if best.as_ref().is_none_or(|best| compare(&value, best) == wanted) {
                    held.take(held_bytes(&value), "`aggregate`")?;
                    held.give(best.as_ref().map_or(0, held_bytes));
                    *best = Some(value);
                }
            }
            Self::Count(_) => {}
        }
        Ok(())
    }

    /// `None` when a number is not finite.
    fn finish(self, figure: &Figure) -> Option<Value> {
        match self {
            Self::Count(count) => Some(Value::from(count)),
            Self::Sum(sum) => sum.value(),
            Self::Mean(_, 0) => Some(Value::Null),
            Self::Mean(sum, count) => float(sum.as_f64() / count as f64),
            Self::Extreme(best) => Some(best.unwrap_or(Value::Null)),
            Self::Quantile(numbers) => {
                let share = if let Figure::Quantile(_, share) = figure { *share } else { 0.5 };
                quantile(numbers, share)
            }
        }
    }
}

/// Between the two nearest ranks, as spreadsheets have it.
fn quantile(mut numbers: Vec<f64>, share: f64) -> Option<Value> {
    if numbers.is_empty() {
        return Some(Value::Null);
    }
    numbers.sort_by(f64::total_cmp);
    let rank = share * (numbers.len() - 1) as f64;
    let (low, high) = (numbers[rank.floor() as usize], numbers[rank.ceil() as usize]);
    float(low + (high - low) * (rank - rank.floor()))
}

fn number(value: &Value, index: usize) -> Result<&Number, StepError> {
    let Value::Number(number) = value else {
        let kind = json_kind(value);
        return Err(unfit(format!(
            "item {index}: {kind} is no number; write `|float` where it is one as text"
        )));
    };
    Ok(number)
}

fn float(value: f64) -> Option<Value> {
    Number::from_f64(value).map(Value::Number)
}

/// A sum: exact while all are whole and within bounds, else with a carried error.
#[derive(Default)]
struct Sum {
    whole: i128,
    is_float: bool,
    float: f64,
    carry: f64,
}

impl Sum {
    fn add(&mut self, number: &Number) {
        let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        match whole {
            // Within i128 for more rows than can be.
            Some(whole) => self.whole += whole,
            None => {
                self.is_float = true;
                let value = number.as_f64().unwrap_or_default();
                let sum = self.float + value;
                self.carry += match self.float.abs() >= value.abs() {
                    true => (self.float - sum) + value,
                    false => (value - sum) + self.float,
                };
                self.float = sum;
            }
        }
    }

    fn as_f64(&self) -> f64 {
        self.float + self.carry + self.whole as f64
    }

    fn value(&self) -> Option<Value> {
        let whole = (!self.is_float).then_some(self.whole);
        let exact = whole.and_then(|whole| {
            i64::try_from(whole).map(Value::from).or_else(|_| u64::try_from(whole).map(Value::from)).ok()
        });
        exact.or_else(|| float(self.as_f64()))
    }
}

/// Figures of every column, or of the named ones.
#[derive(Default)]
pub(super) struct Fields {
    rows: u64,
    fields: BTreeMap<String, Field>,
}

#[derive(Default)]
struct Field {
    numbers: u64,
    others: u64,
    mean: f64,
    /// Sum of squared distances from the mean, as Welford has it.
    squares: f64,
    min: f64,
    max: f64,
}

impl Fields {
    pub(super) fn add(&mut self, row: &Value, only: Option<&[String]>) -> Result<(), StepError> {
        self.rows += 1;
        let Value::Object(entries) = row else { return Ok(()) };
        for (name, value) in entries {
            if value.is_null() || only.is_some_and(|only| !only.contains(name)) {
                continue;
            }
            if !self.fields.contains_key(name) {
                if self.fields.len() == DATA_COLUMNS_MAX {
                    let message = format!(
                        "`stats` sees more than {DATA_COLUMNS_MAX} columns; name those that are meant"
                    );
                    return Err(StepError::new(class::LIMIT, &code::BOUND, message));
                }
                self.fields.insert(name.clone(), Field::default());
            }
            if let Some(field) = self.fields.get_mut(name) {
                field.add(value);
            }
        }
        Ok(())
    }

    pub(super) fn finish(self, only: Option<&[String]>) -> Map<String, Value> {
        let Self { rows, mut fields } = self;
        for name in only.into_iter().flatten() {
            fields.entry(name.clone()).or_default();
        }
        fields.into_iter().map(|(name, field)| (name, field.finish(rows))).collect()
    }
}

impl Field {
    fn add(&mut self, value: &Value) {
        let Some(number) = value.as_number().and_then(Number::as_f64) else {
            self.others += 1;
            return;
        };
        self.min = if self.numbers == 0 { number } else { self.min.min(number) };
        self.max = if self.numbers == 0 { number } else { self.max.max(number) };
        self.numbers += 1;
        let distance = number - self.mean;
        self.mean += distance / self.numbers as f64;
        self.squares += distance * (number - self.mean);
    }

    fn finish(self, rows: u64) -> Value {
        let missing = rows - self.numbers - self.others;
        let mut out = json!({ "count": self.numbers, "missing": missing, "other": self.others });
        if self.numbers > 0 {
            let deviation = match self.numbers {
                1 => 0.0,
                numbers => (self.squares / (numbers - 1) as f64).sqrt(),
            };
            // What is not finite has no figure.
            let figures = [("min", self.min), ("max", self.max), ("mean", self.mean), ("stddev", deviation)];
            for (name, figure) in figures {
                out[name] = float(figure).unwrap_or(Value::Null);
            }
        }
        out
    }
}
