//! Tests of a filter: what holds of a node.

use serde_json::Value;

use super::super::error::Error;
use super::{Path, Walk};

/// What is tested.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Logical {
    Any(Vec<Logical>),
    All(Vec<Logical>),
    Not(Box<Logical>),
    Compare(Operand, Comparison, Operand),
    /// The path leads somewhere.
    Exists(Path),
    /// `match` of the whole text, `search` in it.
    Matches {
        text: Operand,
        pattern: Operand,
        is_whole: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What is compared.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    Literal(Value),
    /// A path to one node at most.
    Single(Path),
    Length(Box<Operand>),
    Count(Path),
    /// The node when there is exactly one.
    Value(Path),
}

/// A value of the document, one that was made, or nothing.
enum Given<'v> {
    Node(&'v Value),
    Made(Value),
    Nothing,
}

impl Given<'_> {
    fn value(&self) -> Option<&Value> {
        match self {
            Given::Node(value) => Some(value),
            Given::Made(value) => Some(value),
            Given::Nothing => None,
        }
    }
}

impl<'v> Walk<'v> {
    pub(super) fn holds(&mut self, test: &Logical, here: &'v Value) -> Result<bool, Error> {
        Ok(match test {
            Logical::Any(tests) => {
                for test in tests {
                    if self.holds(test, here)? {
                        return Ok(true);
                    }
                }
                false
            }
            Logical::All(tests) => {
                for test in tests {
                    if !self.holds(test, here)? {
                        return Ok(false);
                    }
                }
                true
            }
            Logical::Not(test) => !self.holds(test, here)?,
            Logical::Exists(path) => !self.along(path, here)?.is_empty(),
            Logical::Compare(left, comparison, right) => {
                let (left, right) = (self.operand(left, here)?, self.operand(right, here)?);
                self.compare(left.value(), *comparison, right.value())?
            }
            Logical::Matches { text, pattern, is_whole } => {
                let (text, pattern) = (self.operand(text, here)?, self.operand(pattern, here)?);
                match (text.value(), pattern.value()) {
                    (Some(Value::String(text)), Some(Value::String(pattern))) => {
                        self.matches(text, pattern, *is_whole)?
                    }
                    _ => false,
                }
            }
        })
    }

    fn operand(&mut self, operand: &Operand, here: &'v Value) -> Result<Given<'v>, Error> {
        Ok(match operand {
            Operand::Literal(value) => Given::Made(value.clone()),
            Operand::Single(path) => {
                self.along(path, here)?.first().map_or(Given::Nothing, |node| Given::Node(node))
            }
            Operand::Value(path) => match self.along(path, here)?.as_slice() {
                [node] => Given::Node(node),
                _ => Given::Nothing,
            },
            Operand::Count(path) => Given::Made(self.along(path, here)?.len().into()),
            Operand::Length(inner) => match self.operand(inner, here)?.value() {
                Some(Value::String(text)) => {
                    self.pay(text.len() as u64 / 16 + 1)?;
                    Given::Made(text.chars().count().into())
                }
                Some(Value::Array(items)) => Given::Made(items.len().into()),
                Some(Value::Object(entries)) => Given::Made(entries.len().into()),
                _ => Given::Nothing,
            },
        })
    }

    fn compare(
        &mut self,
        left: Option<&Value>,
        comparison: Comparison,
        right: Option<&Value>,
    ) -> Result<bool, Error> {
        use Comparison as C;
        let mut equal = || match (left, right) {
            (Some(left), Some(right)) => self.equal(left, right),
            (left, right) => Ok(left.is_none() && right.is_none()),
        };
        Ok(match comparison {
            C::Equal => equal()?,
            C::NotEqual => !equal()?,
            C::Less => is_less(left, right),
            C::Greater => is_less(right, left),
            C::LessOrEqual => is_less(left, right) || equal()?,
            C::GreaterOrEqual => is_less(right, left) || equal()?,
        })
    }

    /// Deep, with numbers by value: 1 is 1.0.
    fn equal(&mut self, left: &Value, right: &Value) -> Result<bool, Error> {
        self.pay(1)?;
        Ok(match (left, right) {
            (Value::Number(left), Value::Number(right)) => left == right || left.as_f64() == right.as_f64(),
            (Value::Array(left), Value::Array(right)) => {
                if left.len() != right.len() {
                    return Ok(false);
                }
                for (left, right) in left.iter().zip(right) {
                    if !self.equal(left, right)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Value::Object(left), Value::Object(right)) => {
                if left.len() != right.len() {
                    return Ok(false);
                }
                for (key, left) in left {
                    let Some(right) = right.get(key) else { return Ok(false) };
                    if !self.equal(left, right)? {
                        return Ok(false);
                    }
                }
                true
            }
            (left, right) => left == right,
        })
    }
}

/// Only numbers and texts have an order.
fn is_less(left: Option<&Value>, right: Option<&Value>) -> bool {
    match (left, right) {
        (Some(Value::Number(left)), Some(Value::Number(right))) => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => left < right,
            _ => left.as_f64() < right.as_f64(),
        },
        (Some(Value::String(left)), Some(Value::String(right))) => left < right,
        _ => false,
    }
}
