//! The engine: one MiniJinja environment for the whole process, with everything removed that is not on a list.
//!
//! Invariants: strict undefined, fuel, no loader, no globals but the listed functions, no callback for unknown
//! methods. What can be reached is the golden file `tests/data/reachable.txt`. The engine's version is pinned,
//! because the shape check relies on its syntax tree.

use std::fmt::Write as _;
use std::sync::LazyLock;

use minijinja::value::{Rest, Value, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, Output, State, UndefinedBehavior};

use super::{data, function, token};
use crate::limits;

/// Filters by name. Left out: `safe escape e` (there is no escaping), `attr` (write `a["b"]`), `pprint`.
pub(super) const FILTERS: &[&str] = &[
    "abs",
    "batch",
    "bool",
    "capitalize",
    "chain",
    "count",
    "d",
    "default",
    "dictsort",
    "duration",
    "first",
    "float",
    "format",
    "format_time",
    "from_json",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "jsonpath",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "parse_time",
    "regex_match",
    "regex_replace",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "to_json",
    "tojson",
    "trim",
    "unique",
    "upper",
    "urlencode",
    "zip",
];

/// Filters of the engine that are removed.
const FILTERS_REMOVED: &[&str] = &["safe", "escape", "e", "attr", "pprint"];

/// Tests by name; the operators are for `select`.
pub(super) const TESTS: &[&str] = &[
    "!=",
    "<",
    "<=",
    "==",
    ">",
    ">=",
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "equalto",
    "even",
    "false",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "int",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sequence",
    "startingwith",
    "string",
    "true",
    "undefined",
    "upper",
];

/// Tests of the engine that are removed.
const TESTS_REMOVED: &[&str] = &["safe", "escaped", "filter", "test", "sameas"];

/// Functions by name.
pub(super) const FUNCTIONS: &[&str] = &[
    "duration",
    "format_time",
    "from_json",
    "jsonpath",
    "now",
    "parse_time",
    "random",
    "range",
    "regex_match",
    "regex_replace",
    "to_json",
    "today",
    "uuid",
];

/// Functions whose value differs on every call.
pub(super) const VOLATILE: &[&str] = &["now", "random", "today", "uuid"];

/// What the compiler adds to an expression to learn its fuel; the shape check refuses it in a source.
pub(super) const METER: &str = "__fuel_used";

/// The environment. Never changed, never cloned but for templates with text, which the engine keeps inside one.
pub(super) static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(build);

fn build() -> Environment<'static> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_fuel(Some(limits::EXPRESSION_FUEL));
    // Blocks, and the few frames below them.
    env.set_recursion_limit(2 * limits::EXPRESSION_DEPTH_MAX);
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    env.set_syntax(token::syntax());
    env.set_formatter(format_text);
    FILTERS_REMOVED.iter().for_each(|name| env.remove_filter(name));
    TESTS_REMOVED.iter().for_each(|name| env.remove_test(name));
    ["debug", "dict", "namespace", "range"].iter().for_each(|name| env.remove_global(name));
    env.add_filter("string", string);
    env.add_filter("join", join);
    env.add_filter("map", map);
    env.add_filter("batch", batch);
    env.add_filter("slice", slice);
    env.add_function("range", range);
    env.add_function(METER, |state: &State| state.fuel_levels().map_or(0, |(used, _)| used));
    function::add_to(&mut env);
    env
}

/// Bytes of text that the rest of the fuel can pay for.
pub(super) fn bytes_affordable(state: &State) -> usize {
    let left = state.fuel_levels().map_or(0, |(_, left)| left);
    usize::try_from(left.saturating_mul(64)).unwrap_or(usize::MAX).min(limits::EXPRESSION_RESULT_BYTES_MAX)
}

/// Pays for work on `bytes` of text, at `bytes_per_fuel`.
pub(super) fn pay(state: &State, bytes: usize, bytes_per_fuel: usize) -> Result<(), Error> {
    state.consume_fuel((bytes / bytes_per_fuel) as u64 + 1)
}

/// Values in text: text as it is, everything else as JSON.
fn format_text(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) => out.write_str(text)?,
        // `{{ "x" if false }}` has no value and prints nothing; undefined names do not come here.
        None if value.is_undefined() => {}
        None => out.write_str(&json_text(state, value)?)?,
    }
    Ok(())
}

/// JSON text of a value, bounded by the fuel that is left and paid for.
pub(super) fn json_text(state: &State, value: &Value) -> Result<String, Error> {
    let mut text = String::new();
    write_json(value, &mut text, bytes_affordable(state), 0)?;
    pay(state, text.len(), 32)?;
    Ok(text)
}

/// Recursion is bounded by the depth of data plus that of literals and filters, which the shape check bounds.
fn write_json(value: &Value, out: &mut String, bytes_max: usize, depth: usize) -> Result<(), Error> {
    if out.len() > bytes_max {
        return Err(Error::from(ErrorKind::OutOfFuel));
    }
    if depth > limits::JSON_DEPTH_MAX + limits::EXPRESSION_DEPTH_MAX {
        return Err(invalid("the value is nested too deep"));
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => match f64::try_from(value.clone()) {
            Ok(number) if !value.is_integer() && !number.is_finite() => {
                return Err(invalid("JSON has no infinite numbers"));
            }
            _ => write!(out, "{value}")?,
        },
        ValueKind::String => write_json_string(value.as_str().unwrap_or_default(), out, bytes_max)?,
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            for (index, item) in value.try_iter()?.checked().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                write_json(&item?, out, bytes_max, depth + 1)?;
            }
            out.push(']');
        }
        ValueKind::Map => {
            out.push('{');
            for (index, key) in value.try_iter()?.checked().enumerate() {
                let key = key?;
                out.push_str(if index > 0 { "," } else { "" });
                match key.as_str() {
                    Some(text) => write_json_string(text, out, bytes_max)?,
                    None => write!(out, "\"{key}\"")?,
                }
                out.push(':');
                write_json(&value.get_item(&key)?, out, bytes_max, depth + 1)?;
            }
            out.push('}');
        }
        ValueKind::Undefined => return Err(Error::from(ErrorKind::UndefinedError)),
        kind => return Err(invalid(format!("{} has no text", data::kind_name(kind)))),
    }
    Ok(())
}

fn write_json_string(text: &str, out: &mut String, bytes_max: usize) -> Result<(), Error> {
    if text.len() > bytes_max {
        return Err(Error::from(ErrorKind::OutOfFuel));
    }
    let quoted = serde_json::to_string(text).map_err(|error| invalid(error.to_string()))?;
    out.push_str(&quoted);
    Ok(())
}

/// An error of one of our functions.
pub(super) fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

/// `value|string`: as text shows it.
fn string(state: &State, value: &Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::String => Ok(value.clone()),
        _ => Ok(Value::from(json_text(state, value)?)),
    }
}

/// `list|join(", ")`: items as text shows them. `attribute` takes a member of each.
fn join(
    state: &State,
    list: &Value,
    separator: Option<&str>,
    attribute: Option<&str>,
    kwargs: minijinja::value::Kwargs,
) -> Result<String, Error> {
    let attribute = match attribute {
        Some(attribute) => Some(attribute),
        None => kwargs.get::<Option<&str>>("attribute")?,
    };
    let separator = match separator {
        Some(separator) => separator,
        None => kwargs.get::<Option<&str>>("d")?.unwrap_or_default(),
    };
    kwargs.assert_all_used()?;
    if !matches!(list.kind(), ValueKind::Seq | ValueKind::Iterable) {
        return Err(match list.kind() {
            ValueKind::Undefined => Error::from(ErrorKind::UndefinedError),
            kind => invalid(format!("`join` needs a list, not {}", data::kind_name(kind))),
        });
    }
    let mut out = String::new();
    for (index, item) in list.try_iter()?.checked().enumerate() {
        state.consume_fuel(1)?;
        let item = match attribute {
            Some(name) => name.split('.').try_fold(item?, |value, part| value.get_attr(part))?,
            None => item?,
        };
        out.push_str(if index > 0 { separator } else { "" });
        match item.as_str() {
            Some(text) => out.push_str(text),
            None => out.push_str(&json_text(state, &item)?),
        }
        if out.len() > bytes_affordable(state) {
            return Err(Error::from(ErrorKind::OutOfFuel));
        }
    }
    Ok(out)
}

/// An argument that many items may come to hold: plain and short, so that sharing it cannot multiply.
fn plain(what: &str, value: &Value) -> Result<(), Error> {
    let is_plain = match value.kind() {
        ValueKind::Undefined | ValueKind::None | ValueKind::Bool | ValueKind::Number => true,
        ValueKind::String => {
            value.as_str().unwrap_or_default().len() <= limits::EXPRESSION_ARGUMENT_BYTES_MAX
        }
        _ => false,
    };
    match is_plain {
        true => Ok(()),
        false => Err(invalid(format!(
            "further arguments of `{what}` are numbers, booleans or text of at most {} bytes",
            limits::EXPRESSION_ARGUMENT_BYTES_MAX
        ))),
    }
}

fn map(state: &mut State, list: Value, args: Rest<ValueOrKwargs>) -> Result<Vec<Value>, Error> {
    for arg in args.0.iter() {
        if arg.is_kwargs() {
            for key in arg.try_iter()? {
                plain("map", &arg.get_item(&key)?)?;
            }
        } else {
            plain("map", arg)?;
        }
    }
    minijinja::filters::map(state, list, args)
}

fn batch(state: &State, list: Value, count: usize, fill: Option<Value>) -> Result<Value, Error> {
    plain("batch", fill.as_ref().unwrap_or(&Value::UNDEFINED))?;
    pay(state, count, 64)?;
    minijinja::filters::batch(state, list, count, fill)
}

fn slice(state: &State, list: Value, count: usize, fill: Option<Value>) -> Result<Value, Error> {
    plain("slice", fill.as_ref().unwrap_or(&Value::UNDEFINED))?;
    pay(state, count, 1)?;
    minijinja::filters::slice(state, list, count, fill)
}

/// `range(end)`, `range(start, end)`, `range(start, end, step)`.
fn range(state: &State, start: i64, end: Option<i64>, step: Option<i64>) -> Result<Value, Error> {
    let (start, end) = end.map_or((0, start), |end| (start, end));
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(invalid("the step of `range` cannot be 0"));
    }
    let distance =
        if step > 0 { i128::from(end) - i128::from(start) } else { i128::from(start) - i128::from(end) };
    let width = i128::from(step.unsigned_abs());
    let count = usize::try_from((distance.max(0) + width - 1) / width).unwrap_or(usize::MAX);
    if count > limits::EXPRESSION_RANGE_MAX {
        return Err(invalid(format!(
            "`range` makes at most {} items here; a `loop` step with `times` or `for_each` goes further",
            limits::EXPRESSION_RANGE_MAX
        )));
    }
    pay(state, count, 8)?;
    // Within `start..end`, so nothing overflows but a step beyond the last item, which is not taken.
    let items = (0..count as i64).map(|index| Value::from(start.wrapping_add(step.wrapping_mul(index))));
    Ok(Value::from(items.collect::<Vec<_>>()))
}
