//! Our own functions and filters: JSON, regular expressions, time, and what differs on every call.
//!
//! Invariants: each pays fuel for what it does before or while it does it; none reads a clock or draws randomness:
//! `now`, `today`, `uuid` and `random` take what [`super::Volatile`] gave to this evaluation.

use std::collections::HashMap;

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, State};
use regex_lite::Regex;

use super::engine::{bytes_affordable, invalid, json_text, pay};
use super::{data, pattern, time};
use crate::limits;
use crate::time::Timestamp;

/// Keys of the context that no name in a source can reach.
pub(super) const NOW_KEY: &str = "!now";
/// See [`NOW_KEY`].
pub(super) const SEED_KEY: &str = "!seed";

/// Registers everything here.
pub(super) fn add_to(env: &mut Environment<'static>) {
    env.add_function("now", now);
    env.add_function("today", today);
    env.add_function("uuid", uuid);
    env.add_function("random", random);
    env.add_function("to_json", to_json);
    env.add_filter("to_json", to_json);
    env.add_filter("tojson", to_json);
    env.add_function("from_json", from_json);
    env.add_filter("from_json", from_json);
    env.add_function("regex_match", regex_match);
    env.add_filter("regex_match", regex_match);
    env.add_function("regex_replace", regex_replace);
    env.add_filter("regex_replace", regex_replace);
    env.add_function("parse_time", parse_time);
    env.add_filter("parse_time", parse_time);
    env.add_function("format_time", format_time);
    env.add_filter("format_time", format_time);
    env.add_function("duration", duration);
    env.add_filter("duration", duration);
    env.add_filter("urlencode", urlencode);
    env.add_function("jsonpath", jsonpath);
    env.add_filter("jsonpath", jsonpath);
}

/// One of our errors as one of the engine's, with its remedy in the text.
fn ours(error: super::Error) -> Error {
    invalid(error.to_string())
}

/// The moment of this evaluation.
fn moment(state: &State) -> Result<Timestamp, Error> {
    let now = state.lookup(NOW_KEY).and_then(|value| value.as_i64());
    now.map(Timestamp).ok_or_else(|| invalid("this function has no value here"))
}

/// Numbers the draws of one evaluation.
#[derive(Default)]
struct Draws(u64);

/// 16 bytes that differ on every draw and are the same when the evaluation is repeated.
fn draw(state: &mut State) -> Result<[u8; 16], Error> {
    let draws = state.get_or_insert_extension(Draws::default());
    draws.0 += 1;
    let number = draws.0;
    let seed = state.lookup(SEED_KEY).ok_or_else(|| invalid("this function has no value here"))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(seed.as_bytes().unwrap_or_default()).update(&number.to_le_bytes());
    let mut out = [0; 16];
    hasher.finalize_xof().fill(&mut out);
    Ok(out)
}

fn now(state: &State) -> Result<String, Error> {
    Ok(moment(state)?.to_string())
}

fn today(state: &State, zone: Option<&str>) -> Result<String, Error> {
    time::format(moment(state)?, Some("%Y-%m-%d"), zone).map_err(invalid)
}

fn uuid(state: &mut State) -> Result<String, Error> {
    Ok(uuid::Builder::from_random_bytes(draw(state)?).into_uuid().to_string())
}

fn random(state: &mut State, from: Option<i64>, to: Option<i64>) -> Result<Value, Error> {
    let bytes = draw(state)?;
    let drawn = u128::from_le_bytes(bytes);
    match (from, to) {
        // 53 bits: what a fraction can hold.
        (None, None) => Ok(Value::from((drawn as u64 >> 11) as f64 / (1u64 << 53) as f64)),
        (Some(from), Some(to)) if from <= to => {
            let width = (i128::from(to) - i128::from(from) + 1) as u128;
            let number = i128::from(from) + (drawn % width) as i128;
            Ok(Value::from(i64::try_from(number).unwrap_or(from)))
        }
        _ => Err(invalid(
            "write `random()` for a fraction, or `random(from, to)` with whole numbers, `from` first",
        )),
    }
}

fn to_json(state: &State, value: &Value) -> Result<String, Error> {
    json_text(state, value)
}

fn from_json(state: &State, text: &str) -> Result<Value, Error> {
    // A value takes some 30 times its text in memory when it is a list of digits.
    pay(state, text.len(), 16)?;
    let json: serde_json::Value =
        serde_json::from_str(text).map_err(|error| invalid(format!("the text is not JSON: {error}")))?;
    data::check_json(&json, limits::EXPRESSION_RESULT_BYTES_MAX).map_err(ours)?;
    Ok(data::Data::new(json).value().clone())
}

/// Patterns of one evaluation, so that a filter over a list compiles once. Fuel bounds how many there are.
#[derive(Default)]
struct Patterns(HashMap<String, Regex>);

fn regex(state: &mut State, source: &str) -> Result<Regex, Error> {
    if let Some(known) = state.get_extension::<Patterns>().and_then(|patterns| patterns.0.get(source)) {
        return Ok(known.clone());
    }
    state.consume_fuel(200)?;
    let regex = pattern::compile(source).map_err(ours)?;
    state.get_or_insert_extension(Patterns::default()).0.insert(source.to_owned(), regex.clone());
    Ok(regex)
}

fn regex_match(state: &mut State, text: &str, source: &str) -> Result<bool, Error> {
    let regex = regex(state, source)?;
    pay(state, text.len(), 16)?;
    pattern::check_text(text).map_err(ours)?;
    Ok(regex.is_match(text))
}

fn regex_replace(state: &mut State, text: &str, source: &str, with: &str) -> Result<String, Error> {
    let regex = regex(state, source)?;
    pay(state, text.len(), 16)?;
    pattern::replace(&regex, text, with, bytes_affordable(state)).map_err(ours)
}

/// A time: RFC 3339 text, or seconds since 1970.
fn instant(value: &Value) -> Result<Timestamp, Error> {
    match value.kind() {
        ValueKind::Number => {
            let seconds = f64::try_from(value.clone())?;
            // Years 0 to 9999, beyond which RFC 3339 has no text.
            if !(-62_167_219_200.0..=253_402_300_799.0).contains(&seconds) {
                return Err(invalid(format!("{seconds} is no time in seconds since 1970")));
            }
            Ok(Timestamp((seconds * 1_000.0).round() as i64))
        }
        ValueKind::String => time::parse(value.as_str().unwrap_or_default(), None).map_err(invalid),
        kind => Err(invalid(format!(
            "a time is RFC 3339 text or a number of seconds since 1970, not {}",
            data::kind_name(kind)
        ))),
    }
}

fn parse_time(state: &State, text: &Value, format: Option<&str>) -> Result<Value, Error> {
    state.consume_fuel(10)?;
    let time = match (text.as_str(), format) {
        (Some(text), Some(format)) => time::parse(text, Some(format)).map_err(invalid)?,
        _ => instant(text)?,
    };
    Ok(seconds(time.0))
}

/// Whole seconds as a whole number.
fn seconds(ms: i64) -> Value {
    if ms % 1_000 == 0 { Value::from(ms / 1_000) } else { Value::from(ms as f64 / 1_000.0) }
}

fn format_time(
    state: &State,
    time: &Value,
    format: Option<&str>,
    zone: Option<&str>,
) -> Result<String, Error> {
    state.consume_fuel(10)?;
    time::format(instant(time)?, format, zone).map_err(invalid)
}

fn duration(state: &State, value: &Value) -> Result<Value, Error> {
    state.consume_fuel(2)?;
    match value.kind() {
        ValueKind::Number => Ok(value.clone()),
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            let duration = crate::time::parse_duration(text).ok_or_else(|| {
                invalid(format!("`{}` is no duration; write `90s`, `5m` or `1h30m`", time::shortened(text)))
            })?;
            // At most 366 days, as `parse_duration` promises.
            Ok(seconds(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
        }
        kind => Err(invalid(format!("a duration is text such as `1h30m`, not {}", data::kind_name(kind)))),
    }
}

/// Percent-encodes everything but letters, digits and `-._~`, for one part of a URL.
fn urlencode(state: &State, value: &Value) -> Result<String, Error> {
    let text = match value.as_str() {
        Some(text) => text.to_owned(),
        None if matches!(value.kind(), ValueKind::Number | ValueKind::Bool) => value.to_string(),
        None => {
            return Err(invalid(format!("`urlencode` needs text, not {}", data::kind_name(value.kind()))));
        }
    };
    if text.len().saturating_mul(3) > bytes_affordable(state) {
        return Err(Error::from(minijinja::ErrorKind::OutOfFuel));
    }
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    Ok(out)
}

/// Steps along a path that one fuel pays for.
const JSONPATH_STEPS_PER_FUEL: u64 = 16;

/// Everything that a JSONPath leads to, as a list.
fn jsonpath(state: &State, value: &Value, path: &str) -> Result<Value, Error> {
    pay(state, path.len(), 8)?;
    let path = super::jsonpath::parse(path).map_err(ours)?;
    let json = data::Budget::new().json_of(value).map_err(ours)?;
    pay(state, data::size_bytes(&json), 64)?;
    let left = state.fuel_levels().map_or(0, |(_, left)| left).saturating_mul(JSONPATH_STEPS_PER_FUEL);
    let (found, steps) =
        super::jsonpath::select(&path, &json, left.min(super::jsonpath::STEPS_MAX)).map_err(ours)?;
    let found = serde_json::Value::Array(found);
    state.consume_fuel(steps / JSONPATH_STEPS_PER_FUEL + data::size_bytes(&found) as u64 / 64 + 1)?;
    Ok(data::Data::new(found).value().clone())
}
