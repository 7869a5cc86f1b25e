//! Reads what the host lends: checks every field and copies it.
//!
//! Runs on the host's thread, so it only checks, parses and copies. Invariants: nothing borrowed is kept; a message names
//! the field; a body over the bound is not copied.

use std::time::{Duration, Instant};

use axum::http::{HeaderName, HeaderValue, Method, Uri};
use chainbot_abi::{Event, Str, WebhookRequest};

use crate::failure::Failure;
use crate::limits::{BODY_BYTES_MAX, EVENT_BYTES_MAX, HEADERS_BYTES_MAX, REQUEST_TIMEOUT, TEXT_BYTES_MAX};
use crate::program::{InEvent, InRequest};

/// Reads a text field of at most `max` bytes.
///
/// # Safety
/// `field` is lent by the running call.
pub unsafe fn text<'a>(field: Str, name: &str, max: usize) -> Result<&'a str, Failure> {
    if field.len > max {
        let text = format!("`{name}` has {} bytes, at most {max} are allowed", field.len);
        return Err(Failure::argument(text));
    }
    // SAFETY: the caller's promise.
    unsafe { field.text() }.map_err(|problem| Failure::argument(format!("`{name}` {problem}")))
}

/// Copies an event; the second value is its size for the queue.
///
/// # Safety
/// `event` is null or lent by the running call.
pub unsafe fn event(event: *const Event) -> Result<(InEvent, usize), Failure> {
    // SAFETY: the caller's promise; the size stands first in every version.
    unsafe { check_struct(event, "event", |e| (*e).struct_size) }?;
    // SAFETY: checked above; the caller lends it for the call.
    let event = unsafe { &*event };
    // SAFETY: fields of a lent struct are lent too.
    let (topic, payload, id) = unsafe {
        (
            text(event.topic, "topic", TEXT_BYTES_MAX)?,
            text(event.payload, "payload", EVENT_BYTES_MAX)?,
            text(event.id, "id", TEXT_BYTES_MAX)?,
        )
    };
    // Nothing keeps it; a host that sends one that is no text is told all the same.
    // SAFETY: as above.
    unsafe { text(event.trace, "trace", 512) }?;
    if topic.split('.').any(|part| part.is_empty() || part.chars().any(|c| c.is_control() || c == ' ')) {
        return Err(Failure::argument("`topic` must be segments separated by single dots"));
    }
    let payload_value = serde_json::from_str(payload)
        .map_err(|error| Failure::argument(format!("`payload` is not JSON: {error}")))?;
    let bytes = topic.len() + payload.len() + id.len();
    let (topic, id) = (topic.to_owned(), id.to_owned());
    Ok((InEvent { topic, payload: payload_value, id, unix_ns: event.unix_ns }, bytes))
}

/// Copies a request; the second value is its size for the queue.
///
/// # Safety
/// `request` is null or lent by the running call.
pub unsafe fn request(request: *const WebhookRequest) -> Result<(InRequest, usize), Failure> {
    // SAFETY: the caller's promise; the size stands first in every version.
    unsafe { check_struct(request, "request", |r| (*r).struct_size) }?;
    // SAFETY: checked above; the caller lends it for the call.
    let from = unsafe { &*request };
    // SAFETY: fields of a lent struct are lent too.
    let (method, path, mount, peer, trace, headers) = unsafe {
        (
            text(from.method, "method", 64)?,
            text(from.path, "path", TEXT_BYTES_MAX)?,
            text(from.mount, "mount", TEXT_BYTES_MAX)?,
            text(from.peer, "peer", 256)?,
            text(from.trace, "trace", 512)?,
            text(from.headers, "headers", HEADERS_BYTES_MAX)?,
        )
    };
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| Failure::argument(format!("`method` is not an HTTP method: {method:?}")))?;
    if !path.starts_with('/') {
        return Err(Failure::argument("`path` must start with `/`"));
    }
    let uri = path.parse::<Uri>().map_err(|error| Failure::argument(format!("`path` {path:?}: {error}")))?;
    if !mount.is_empty() && HeaderValue::from_str(mount).is_err() {
        return Err(Failure::argument("`mount` has characters that no path has"));
    }
    let header_list = read_headers(headers)?;
    let body = if from.body.len > BODY_BYTES_MAX {
        None
    } else {
        // SAFETY: as above.
        let bytes = unsafe { from.body.bytes() };
        Some(bytes.map_err(|problem| Failure::argument(format!("`body` {problem}")))?.to_vec())
    };
    let timeout = match from.timeout_ms {
        0 => REQUEST_TIMEOUT,
        ms => Duration::from_millis(u64::from(ms)),
    };
    let bytes = path.len() + headers.len() + body.as_ref().map_or(0, Vec::len);
    let copied = InRequest {
        method,
        uri,
        mount: mount.to_owned(),
        peer: peer.to_owned(),
        trace: trace.to_owned(),
        headers: header_list,
        body,
        due: Instant::now() + timeout,
    };
    Ok((copied, bytes))
}

/// # Safety
/// `lent` is null or at least its `struct_size` may be read.
unsafe fn check_struct<T>(
    lent: *const T,
    name: &str,
    size: unsafe fn(*const T) -> u32,
) -> Result<(), Failure> {
    if lent.is_null() {
        return Err(Failure::argument(format!("the {name} is null")));
    }
    // SAFETY: not null, and the caller vouches for the field.
    let size = unsafe { size(lent) } as usize;
    if size < size_of::<T>() {
        let text = format!("the {name} has a struct_size of {size}, it needs {}", size_of::<T>());
        return Err(Failure::argument(text));
    }
    Ok(())
}

/// A JSON object whose values are strings or arrays of strings.
fn read_headers(json: &str) -> Result<Vec<(HeaderName, HeaderValue)>, Failure> {
    if json.is_empty() {
        return Ok(Vec::new());
    }
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json)
        .map_err(|error| Failure::argument(format!("`headers` is not a JSON object: {error}")))?;
    let mut headers = Vec::with_capacity(object.len());
    for (name, value) in &object {
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| Failure::argument(format!("`headers` has a wrong name: {name:?}")))?;
        let values = match value {
            serde_json::Value::Array(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in values {
            let value = value.as_str().and_then(|text| HeaderValue::from_bytes(text.as_bytes()).ok());
            let value = value.ok_or_else(|| {
                Failure::argument(format!(
                    "header `{name}` needs a string, or an array of them, without line breaks"
                ))
            })?;
            headers.push((header.clone(), value));
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_event(topic: &str, payload: &[u8]) -> Result<InEvent, String> {
        let lent = Event {
            struct_size: size_of::<Event>() as u32,
            flags: 0,
            topic: Str::of_text(topic),
            payload: Str::of(payload),
            id: Str::EMPTY,
            trace: Str::EMPTY,
            unix_ns: 7,
        };
        // SAFETY: everything lives for the call.
        unsafe { event(&lent) }.map(|(event, _)| event).map_err(|failure| failure.text)
    }

    #[test]
    fn an_event_is_copied_and_every_wrong_field_is_named() {
        let event = check_event("a.b", b"{\"x\":1}").unwrap();
        assert_eq!((event.topic.as_str(), event.unix_ns), ("a.b", 7));
        assert_eq!(event.payload["x"], 1);
        for (topic, payload, word) in [
            ("", &b"{}"[..], "topic"),
            ("a..b", b"{}", "topic"),
            ("a", b"{", "payload"),
            ("a", b"\xff", "payload"),
        ] {
            let text = check_event(topic, payload).err().unwrap();
            assert!(text.starts_with("CB-0701") && text.contains(word), "{topic:?}: {text}");
        }
    }

    #[test]
    fn a_struct_that_is_too_small_is_refused() {
        // SAFETY: only the size is read.
        let mut lent: Event = unsafe { std::mem::zeroed() };
        lent.struct_size = 8;
        // SAFETY: as above.
        assert!(unsafe { event(&lent) }.err().unwrap().text.contains("struct_size"));
        // SAFETY: null is refused.
        assert!(unsafe { request(std::ptr::null()) }.err().unwrap().text.contains("null"));
    }

    #[test]
    fn a_trace_that_is_no_text_is_refused() {
        let lent = Event {
            struct_size: size_of::<Event>() as u32,
            flags: 0,
            topic: Str::of_text("a"),
            payload: Str::of_text("1"),
            id: Str::EMPTY,
            trace: Str::of(b"00-\xff"),
            unix_ns: 7,
        };
        // SAFETY: everything lives for the call.
        let failure = unsafe { event(&lent) }.err().unwrap();
        assert!(failure.text.contains("trace"), "{}", failure.text);
    }

    #[test]
    fn headers_are_strings_or_arrays_of_strings() {
        let read = read_headers(r#"{"accept":["a","b"],"x-one":"1"}"#).unwrap();
        assert_eq!(read.len(), 3);
        assert!(read_headers("").unwrap().is_empty());
        for wrong in ["[]", "{\"a\":1}", "{\"a b\":\"1\"}", "{\"a\":\"1\\r\\nx: y\"}"] {
            assert!(read_headers(wrong).is_err(), "{wrong}");
        }
    }
}
