//! [`ItemSource`]: what a loop or a transform goes over.
//!
//! A list gives its items, an object `{key, value}` in the order of its keys, a whole number n gives 0 to n-1.

use serde_json::{Value as JsonValue, json};

use super::data::{Data, json_kind};
use super::error::Error;
use super::expression::Expression;
use super::scope::{Scope, Volatile};
use super::shape::Name;
use super::template::Template;
use crate::error::code::expression as code;
use crate::limits;
use crate::model::{Items, Pos};

/// A compiled list, object or range. Cloning is cheap.
#[derive(Clone)]
pub struct ItemSource(Source);

#[derive(Clone)]
enum Source {
    Expression(Expression),
    Literal(Template),
}

impl ItemSource {
    /// Compiles and reports everything that is wrong. A literal that is one string is read as a bare expression would
    /// be when it holds `{{ }}`.
    pub fn compile(items: &Items) -> Result<Self, Vec<(Pos, Error)>> {
        match items {
            Items::Expr(expr) => Expression::compile(&expr.source)
                .map(|expression| Self(Source::Expression(expression)))
                .map_err(|error| vec![(expr.pos, error)]),
            Items::Literal(node) => Template::compile(node).map(|template| Self(Source::Literal(template))),
        }
    }

    /// The names it uses.
    pub fn names(&self) -> &[Name] {
        match &self.0 {
            Source::Expression(expression) => expression.names(),
            Source::Literal(template) => template.names(),
        }
    }

    /// The items, at most [`limits::LOOP_ITERATIONS_MAX`].
    pub fn evaluate(&self, scope: &dyn Scope, volatile: &Volatile) -> Result<Vec<Data>, Error> {
        items_of(&self.value(scope, volatile)?)
    }

    /// The value before it is taken apart.
    pub(super) fn value(&self, scope: &dyn Scope, volatile: &Volatile) -> Result<Data, Error> {
        match &self.0 {
            Source::Expression(expression) => expression.evaluate(scope, volatile),
            Source::Literal(template) => template.render(scope, volatile),
        }
    }
}

/// Takes a value apart.
pub(super) fn items_of(data: &Data) -> Result<Vec<Data>, Error> {
    match &**data.json() {
        JsonValue::Array(items) => {
            check_count(items.len() as u64)?;
            Ok(items.iter().cloned().map(Data::new).collect())
        }
        JsonValue::Object(entries) => {
            check_count(entries.len() as u64)?;
            Ok(entries.iter().map(|(key, value)| Data::new(json!({ "key": key, "value": value }))).collect())
        }
        JsonValue::Number(number) => {
            let whole = match number.as_f64() {
                Some(float) if number.is_f64() && float.fract() == 0.0 && (0.0..1e15).contains(&float) => {
                    Some(float as u64)
                }
                _ => number.as_u64(),
            };
            let count = whole.ok_or_else(|| {
                Error::new(&code::ITEMS, format!("{number} is no number of items"))
                    .hint("a whole number from 0 counts from 0 up to it")
            })?;
            check_count(count)?;
            Ok((0..count).map(|index| Data::new(JsonValue::from(index))).collect())
        }
        other => Err(Error::new(
            &code::ITEMS,
            format!("a list is needed here and the value is {}", json_kind(other)),
        )
        .hint("give a list, an object or a whole number; `text|split(',')` makes a list of text")),
    }
}

fn check_count(count: u64) -> Result<(), Error> {
    if count <= u64::from(limits::LOOP_ITERATIONS_MAX) {
        return Ok(());
    }
    let message = format!("there are {count} items, and {} are allowed", limits::LOOP_ITERATIONS_MAX);
    Err(Error::new(&code::ITEMS, message).hint("work on them in parts"))
}
