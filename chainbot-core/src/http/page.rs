//! Lists: a bare array, how many there are in all, and a link to the next page.
//!
//! A page ends at its limit or at its bytes, whichever comes first, and the link goes on after its last item; so
//! a list of large outputs never makes a large body.

use std::cmp::Ordering;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::problem::Failure;
use super::request::{Call, Query, printable, wrong};
use super::suggest;
use crate::error::code::general;
use crate::error::{Error, Result};
use crate::limits::{PAGE_BYTES_MAX, PAGE_DEFAULT, PAGE_MAX};
use crate::port::Way;

/// Reads `?limit`.
pub fn limit(query: &Query) -> Result<u32> {
    limit_or(query, PAGE_DEFAULT)
}

/// Reads `?limit` where a list has a size of its own without it.
pub fn limit_or(query: &Query, default: u32) -> Result<u32> {
    number_of(query, "limit", default)
}

/// Reads how many of something are wanted.
pub fn number_of(query: &Query, name: &str, default: u32) -> Result<u32> {
    let Some(number) = query.parsed::<u32>(name, &format!("a number from 1 to {PAGE_MAX}"))? else {
        return Ok(default);
    };
    if (1..=PAGE_MAX).contains(&number) {
        Ok(number)
    } else {
        Err(wrong(name, &format!("is {number}"), &format!("give a number from 1 to {PAGE_MAX}")))
    }
}

/// Reads `?sort`: one of the columns that a list can be sorted by, turned round by a `-` before it. Without it, the list's own order.
pub fn sort<T: Copy>(query: &Query, columns: &[(&str, T)], own: (T, Way)) -> Result<(T, Way)> {
    let Some(text) = query.text("sort") else { return Ok(own) };
    let (name, way) = match text.strip_prefix('-') {
        Some(name) => (name, Way::Down),
        None => (text, Way::Up),
    };
    match columns.iter().find(|(known, _)| *known == name) {
        Some((_, column)) => Ok((*column, way)),
        None => {
            let known: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
            let help = format!("{}; a `-` before it turns the order round", suggest::hint(name, &known));
            Err(wrong("sort", &format!("is `{}`", printable(text)), &help))
        }
    }
}

/// Two items of a list by one of its columns.
pub type Compare<T> = fn(&T, &T) -> Ordering;

/// Puts a list that is not paged in the order that `?sort` wants; equals stay as they were, and without it everything does.
pub fn sort_whole<T>(query: &Query, items: &mut [T], columns: &[(&str, Compare<T>)]) -> Result<()> {
    let own: Compare<T> = |_, _| Ordering::Equal;
    let (compare, way) = sort(query, columns, (own, Way::Up))?;
    items.sort_by(|a, b| way.turn(compare(a, b)));
    Ok(())
}

/// One page under way.
pub struct Pager {
    items: Vec<Box<RawValue>>,
    bytes: usize,
    last: Option<String>,
    cut: bool,
}

impl Pager {
    /// Takes the items of a page as far as there is room; `cursor` is where the next page goes on after an item.
    pub fn of<T, W: Serialize>(
        items: impl IntoIterator<Item = T>,
        mut wire: impl FnMut(T) -> (String, W),
    ) -> Result<Self> {
        let mut pager = Self { items: Vec::new(), bytes: 0, last: None, cut: false };
        for item in items {
            let (cursor, shape) = wire(item);
            let text = to_raw_value(&shape)
                .map_err(|e| Error::new(&general::INTERNAL, "a list's item is not JSON").because(e))?;
            pager.bytes = pager.bytes.saturating_add(text.get().len());
            if pager.bytes > PAGE_BYTES_MAX && !pager.items.is_empty() {
                pager.cut = true;
                break;
            }
            pager.items.push(text);
            pager.last = Some(cursor);
        }
        Ok(pager)
    }

    /// The reply. `filters` are the query parameters that the next page needs as well.
    pub fn reply(
        self,
        call: &Call,
        path: &str,
        total: u64,
        more: bool,
        limit: u32,
        filters: &[(&str, Option<&str>)],
    ) -> Result<Response, Failure> {
        let mut response = axum::Json(&self.items).into_response();
        response.headers_mut().insert("x-total-count", HeaderValue::from(total));
        if let Some(cursor) = self.last.filter(|_| more || self.cut) {
            let mut target = format!("{}?limit={limit}&cursor={}", call.location(path), escape(&cursor));
            for (name, value) in filters.iter().filter_map(|(n, v)| v.map(|v| (n, v))) {
                target.push_str(&format!("&{name}={}", escape(value)));
            }
            let link = HeaderValue::try_from(format!("<{target}>; rel=\"next\""))
                .map_err(|e| Error::new(&general::INTERNAL, "the link is no header").because(e))?;
            response.headers_mut().insert(header::LINK, link);
        }
        Ok(response)
    }
}

/// A cursor that must be a number; it comes from an earlier page's link.
pub fn number_cursor(query: &Query) -> Result<Option<u32>> {
    query.parsed("cursor", "the cursor of an earlier page's Link header")
}

/// A cursor that does not read as what the list goes by.
pub fn bad_cursor(text: &str) -> Error {
    wrong("cursor", &format!("is `{}`", printable(text)), "take it from an earlier page's Link header")
}

/// Percent-encodes everything but what a query may hold as it is.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_large_items_ends_early_and_never_empty() {
        let large = "x".repeat(PAGE_BYTES_MAX / 2);
        let pager = Pager::of(0..5, |i: u32| (i.to_string(), large.as_str())).unwrap();
        assert_eq!((pager.items.len(), pager.last.as_deref(), pager.cut), (1, Some("0"), true));
        let huge = "x".repeat(PAGE_BYTES_MAX + 1);
        let pager = Pager::of(0..2, |i: u32| (i.to_string(), huge.as_str())).unwrap();
        assert_eq!((pager.items.len(), pager.cut), (1, true));
    }

    #[test]
    fn a_cursor_survives_its_link() {
        assert_eq!(escape("a b&c=é/\"<>"), "a%20b%26c%3D%C3%A9%2F%22%3C%3E");
    }
}
