//! [`Expression`]: a bare expression, compiled once and evaluated many times.

use std::fmt;
use std::sync::Arc;

use minijinja::value::Value;

use super::data::{Budget, Data};
use super::engine::{ENGINE, METER};
use super::error::{Error, from_engine};
use super::scope::{self, Scope, Volatile};
use super::shape::{self, Name, Shape};
use crate::error::code::expression as code;
use crate::time::Timestamp;

/// A compiled bare expression, such as `steps.read.output.value > 3`. Cloning is cheap.
///
/// ```
/// use chainbot_core::expr::{Data, Expression, Scope, Volatile};
/// use chainbot_core::time::Timestamp;
///
/// struct Inputs(Data);
/// impl Scope for Inputs {
///     fn value(&self, name: &str) -> Option<Data> { (name == "inputs").then(|| self.0.clone()) }
///     fn is_container(&self, _: &str) -> bool { false }
///     fn member(&self, _: &str, _: &str) -> Option<Data> { None }
///     fn members(&self, _: &str) -> Vec<String> { Vec::new() }
///     fn names(&self) -> Vec<String> { vec!["inputs".to_owned()] }
/// }
/// let scope = Inputs(Data::new(serde_json::json!({ "n": 3 })));
/// let volatile = Volatile { now: Timestamp(0), seed: [0; 32] };
/// let sum = Expression::compile("inputs.n + 1").unwrap();
/// assert_eq!(*sum.evaluate(&scope, &volatile).unwrap().json().as_ref(), serde_json::json!(4));
/// ```
#[derive(Clone)]
pub struct Expression(Arc<Inner>);

struct Inner {
    source: String,
    shape: Shape,
    compiled: minijinja::Expression<'static, 'static>,
    /// The value of a literal, as the engine has it; nothing of it is evaluated again.
    constant: Option<Data>,
}

impl Expression {
    /// Checks and compiles. Evaluates nothing.
    pub fn compile(source: &str) -> Result<Self, Error> {
        let shape = shape::of_expression(source)?;
        // The second item tells what the first has cost; the engine has no other way to say it.
        let metered = format!("[({source}), {METER}()]");
        let compiled = ENGINE.compile_expression_owned(metered).map_err(|error| from_engine(&error))?;
        let inner = Inner { source: source.to_owned(), shape, compiled, constant: None };
        if !is_literal(source) {
            return Ok(Self(Arc::new(inner)));
        }
        let (value, _) = inner.run(&Nothing, &Volatile { now: Timestamp(0), seed: [0; 32] }, 0)?;
        let constant = Some(Data::from_value(&value, &mut Budget::new())?);
        Ok(Self(Arc::new(Inner { constant, ..inner })))
    }

    /// The value, when the expression is a literal.
    pub fn constant(&self) -> Option<&Data> {
        self.0.constant.as_ref()
    }

    /// Whether it does no more than name a value: a literal, or a path such as `steps.read.output.value`. Nothing that is so
    /// can run long, recurse or grow.
    pub fn is_plain(&self) -> bool {
        self.0.constant.is_some() || is_path(&self.0.source)
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// The names it uses, one for each place; loop variables and functions are not among them.
    pub fn names(&self) -> &[Name] {
        &self.0.shape.names
    }

    /// Those names that must be defined, because no `default` or `is defined` is around them.
    pub fn required_names(&self) -> impl Iterator<Item = &Name> {
        self.0
            .shape
            .names
            .iter()
            .zip(&self.0.shape.optional)
            .filter(|(_, optional)| !**optional)
            .map(|(name, _)| name)
    }

    /// Its value.
    pub fn evaluate(&self, scope: &dyn Scope, volatile: &Volatile) -> Result<Data, Error> {
        if let Some(constant) = &self.0.constant {
            return Ok(constant.clone());
        }
        self.metered(scope, volatile, 0, &mut Budget::new()).map(|(data, _)| data)
    }

    /// Whether its value is true, as Jinja has it: not 0, null, false or empty.
    pub fn test(&self, scope: &dyn Scope, volatile: &Volatile) -> Result<bool, Error> {
        self.metered_test(scope, volatile, 0).map(|(is_true, _)| is_true)
    }

    /// The value and the fuel it took. `part` numbers the evaluations that share a `volatile`.
    pub(super) fn metered(
        &self,
        scope: &dyn Scope,
        volatile: &Volatile,
        part: u64,
        budget: &mut Budget,
    ) -> Result<(Data, u64), Error> {
        let (value, fuel) = self.0.run(scope, volatile, part)?;
        let data =
            Data::from_value(&value, budget).map_err(|error| scope::explain(error, &self.0.shape, scope))?;
        Ok((data, fuel))
    }

    /// Like [`Self::metered`], for conditions.
    pub(super) fn metered_test(
        &self,
        scope: &dyn Scope,
        volatile: &Volatile,
        part: u64,
    ) -> Result<(bool, u64), Error> {
        let (value, fuel) = self.0.run(scope, volatile, part)?;
        Ok((value.is_true(), fuel))
    }
}

impl Inner {
    fn run(&self, scope: &dyn Scope, volatile: &Volatile, part: u64) -> Result<(Value, u64), Error> {
        let shape = &self.shape;
        let context = scope::context(shape, scope, volatile, part)?;
        let explained = |error: &minijinja::Error| scope::explain(from_engine(error), shape, scope);
        let pair = self.compiled.eval(context).map_err(|error| explained(&error))?;
        let value = pair.get_item_by_index(0).map_err(|error| explained(&error))?;
        let fuel = pair.get_item_by_index(1).ok().and_then(|fuel| fuel.as_i64()).unwrap_or(0);
        if value.is_undefined() {
            return Err(self.no_value(scope));
        }
        Ok((value, u64::try_from(fuel).unwrap_or(0)))
    }

    fn no_value(&self, scope: &dyn Scope) -> Error {
        let plain = Error::new(&code::UNDEFINED, "the expression has no value")
            .hint("add `else` to an `if`, check indexes, or give a value with `|default(...)`");
        scope::explain(plain, &self.shape, scope)
    }
}

/// Whether the source is a number, `true`, `false`, `none` or a text without escapes.
fn is_literal(source: &str) -> bool {
    let source = source.trim();
    let is_number = source.parse::<i64>().is_ok()
        || (source.parse::<f64>().is_ok()
            && source.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
    let is_text = |quote: char| {
        source.len() >= 2
            && source.starts_with(quote)
            && source.ends_with(quote)
            && !source[1..source.len() - 1].contains([quote, '\\'])
    };
    is_number || matches!(source, "true" | "false" | "none" | "null") || is_text('\'') || is_text('"')
}

/// Whether the source is names with dots between them.
pub(super) fn is_path(source: &str) -> bool {
    source
        .trim()
        .split('.')
        .all(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
}

/// Where nothing is defined.
struct Nothing;

impl Scope for Nothing {
    fn value(&self, _: &str) -> Option<Data> {
        None
    }

    fn is_container(&self, _: &str) -> bool {
        false
    }

    fn member(&self, _: &str, _: &str) -> Option<Data> {
        None
    }

    fn members(&self, _: &str) -> Vec<String> {
        Vec::new()
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.0.source).finish()
    }
}
