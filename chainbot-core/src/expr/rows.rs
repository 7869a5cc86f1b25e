//! Expressions evaluated row by row, and the operations that need all rows: what the `transform` step and the pipelines of
//! data processors have in common.
//!
//! Invariants: all rows share one bound on fuel; an error names the item's index; a sort is stable and total. Nothing here
//! knows where rows come from, or how many bytes of them may be held: whoever pushes them counts.

use serde_json::{Map, Value as JsonValue};

use super::data::{Budget, Data, scalar_text};
use super::error::Error;
use super::expression::Expression;
use super::reshape;
use super::scope::{Inner, Scope, Volatile};
use crate::error::code::expression as code;

/// What evaluating an item costs beyond its fuel: making its context.
const ITEM_FUEL: u64 = 5;

/// Evaluates expressions for one item after another, with `item` and `index` in scope.
pub(crate) struct PerRow<'a> {
    outer: &'a dyn Scope,
    volatile: Volatile,
    /// The value that the items are of, where it is at hand.
    input: Option<Data>,
    results: Results,
    fuel: u64,
    fuel_max: u64,
}

/// What pays for the size of results.
enum Results {
    /// They end in one value.
    Together(Budget),
    /// Each goes its own way.
    Apart,
}

impl<'a> PerRow<'a> {
    /// For items of `input`, which is in scope too; the results together are one value.
    pub(super) fn of(input: Data, outer: &'a dyn Scope, volatile: &Volatile, fuel_max: u64) -> Self {
        let results = Results::Together(Budget::new());
        Self { outer, volatile: *volatile, input: Some(input), results, fuel: 0, fuel_max }
    }

    /// For items that pass by; each result is bounded by itself.
    pub(crate) fn passing(outer: &'a dyn Scope, volatile: Volatile, fuel_max: u64) -> Self {
        Self { outer, volatile, input: None, results: Results::Apart, fuel: 0, fuel_max }
    }

    /// The budget of results that end in one value.
    pub(super) fn pay(&mut self, bytes: usize) -> Result<(), Error> {
        match &mut self.results {
            Results::Together(budget) => budget.pay(bytes),
            Results::Apart => Ok(()),
        }
    }

    /// The value of an expression for one item. `part` tells apart all evaluations of one run, for `random()` and `uuid()`.
    pub(crate) fn value(
        &mut self,
        expr: &Expression,
        index: usize,
        item: &Data,
        part: u64,
    ) -> Result<JsonValue, Error> {
        let data = self.each(index, item, |scope, volatile, results| match results {
            Results::Together(budget) => expr.metered(scope, volatile, part, budget),
            Results::Apart => expr.metered(scope, volatile, part, &mut Budget::new()),
        })?;
        Ok(data.into_json())
    }

    /// Whether an expression holds for one item.
    pub(crate) fn test(
        &mut self,
        expr: &Expression,
        index: usize,
        item: &Data,
        part: u64,
    ) -> Result<bool, Error> {
        self.each(index, item, |scope, volatile, _| expr.metered_test(scope, volatile, part))
    }

    fn each<T>(
        &mut self,
        index: usize,
        item: &Data,
        run: impl FnOnce(&dyn Scope, &Volatile, &mut Results) -> Result<(T, u64), Error>,
    ) -> Result<T, Error> {
        let mut values = vec![("item", item.clone()), ("index", Data::new(JsonValue::from(index)))];
        values.extend(self.input.clone().map(|input| ("input", input)));
        let scope = Inner { outer: self.outer, values };
        let at = |error: Error| error.within(format_args!("item {index}"));
        let (out, fuel) = run(&scope, &self.volatile, &mut self.results).map_err(at)?;
        self.fuel += fuel + ITEM_FUEL;
        if self.fuel > self.fuel_max {
            return Err(at(Error::new(&code::FUEL, "the items need more work than they may do together")
                .hint("use a `loop` step, or do less per item")));
        }
        Ok(out)
    }
}

/// Rows that are brought into order.
pub(crate) struct Sorted {
    rows: Vec<(Option<JsonValue>, JsonValue)>,
    descending: bool,
}

impl Sorted {
    pub(crate) fn new(descending: bool) -> Self {
        Self { rows: Vec::new(), descending }
    }

    /// Without a key the row is its own.
    pub(crate) fn push(&mut self, key: Option<JsonValue>, row: JsonValue) {
        self.rows.push((key, row));
    }

    pub(crate) fn finish(self) -> impl Iterator<Item = JsonValue> {
        let Self { mut rows, descending } = self;
        // Descending turns the comparison, not the list, so that equal items keep their order.
        rows.sort_by(|(ka, a), (kb, b)| {
            let order = reshape::compare(ka.as_ref().unwrap_or(a), kb.as_ref().unwrap_or(b));
            if descending { order.reverse() } else { order }
        });
        rows.into_iter().map(|(_, row)| row)
    }
}

/// Rows by the text of a key.
#[derive(Default)]
pub(crate) struct Grouped(Map<String, JsonValue>);

impl Grouped {
    pub(crate) fn push(&mut self, index: usize, key: &JsonValue, row: JsonValue) -> Result<(), Error> {
        let key = scalar_text(key).map_err(|error| error.within(format_args!("item {index}, `by`")))?;
        if let JsonValue::Array(list) = self.0.entry(key).or_insert_with(|| JsonValue::Array(Vec::new())) {
            list.push(row);
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Map<String, JsonValue> {
        self.0
    }
}
