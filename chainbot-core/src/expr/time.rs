//! Times as text in expressions. Pure: zones are UTC or fixed offsets, because names of zones need a database from
//! outside.

use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::{Offset, TimeZone};

use crate::time::Timestamp;

/// A format: longer ones are text with a few fields, which belongs into a template.
const FORMAT_BYTES_MAX: usize = 256;

/// Reads a time: RFC 3339, or as `format` says. Without an offset it is UTC.
pub(super) fn parse(text: &str, format: Option<&str>) -> Result<Timestamp, String> {
    let text = text.trim();
    let wrong = || match format {
        Some(format) => format!("`{}` is no time of the form `{format}`", shortened(text)),
        None => format!("`{}` is no RFC 3339 time such as `2026-01-31T08:00:00Z`", shortened(text)),
    };
    if text.len() > FORMAT_BYTES_MAX {
        return Err(wrong());
    }
    let Some(format) = format else {
        if let Some(time) = Timestamp::parse(text) {
            return Ok(time);
        }
        return text.parse::<DateTime>().ok().and_then(in_utc).ok_or_else(wrong);
    };
    check_format(format)?;
    let parts = strtime::parse(format, text).map_err(|error| format!("{}: {error}", wrong()))?;
    if let Ok(time) = parts.to_timestamp() {
        return Ok(Timestamp(time.as_millisecond()));
    }
    let date_time = parts.to_datetime().or_else(|_| parts.to_date().map(|date| date.at(0, 0, 0, 0)));
    date_time.ok().and_then(in_utc).ok_or_else(wrong)
}

fn in_utc(date_time: DateTime) -> Option<Timestamp> {
    let zoned = date_time.to_zoned(TimeZone::UTC).ok()?;
    Some(Timestamp(zoned.timestamp().as_millisecond()))
}

/// Writes a time: RFC 3339 in UTC, or as `format` says, at an offset such as `+02:00`.
pub(super) fn format(time: Timestamp, format: Option<&str>, zone: Option<&str>) -> Result<String, String> {
    let offset = match zone {
        None | Some("UTC" | "Z") => Offset::UTC,
        Some(zone) => parse_offset(zone).ok_or_else(|| {
            format!("`{}` is no offset; write `UTC` or an offset such as `+02:00`", shortened(zone))
        })?,
    };
    let (None, Offset::UTC) = (format, offset) else {
        let format = format.unwrap_or("%Y-%m-%dT%H:%M:%S.%3f%:z");
        check_format(format)?;
        let instant = jiff::Timestamp::from_millisecond(time.0).map_err(|error| error.to_string())?;
        return strtime::format(format, &instant.to_zoned(TimeZone::fixed(offset)))
            .map_err(|error| format!("the format `{format}` is wrong: {error}"));
    };
    Ok(time.to_string())
}

fn check_format(format: &str) -> Result<(), String> {
    match format.len() <= FORMAT_BYTES_MAX {
        true => Ok(()),
        false => Err(format!("a time's format has at most {FORMAT_BYTES_MAX} bytes")),
    }
}

/// `+02:00`, `-0530`, `+1`.
fn parse_offset(text: &str) -> Option<Offset> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let digits: String = rest.chars().filter(|c| *c != ':').collect();
    if digits.is_empty() || digits.len() > 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes) = digits.split_at(if digits.len() > 2 { digits.len() - 2 } else { digits.len() });
    let hours: i32 = hours.parse().ok()?;
    let minutes: i32 = if minutes.is_empty() { 0 } else { minutes.parse().ok()? };
    (hours <= 14 && minutes <= 59).then_some(())?;
    Offset::from_seconds(sign * (hours * 3_600 + minutes * 60)).ok()
}

/// The beginning of a text, for messages.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
