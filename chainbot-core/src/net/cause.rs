//! Why the HTTP library gave up, in our words.
//!
//! Its errors are chains whose links are of several crates; the link that knows most decides. The chain's own
//! text is kept where it helps a person and holds nothing but the operating system's or TLS's words.

use std::error::Error as StdError;
use std::io;

use super::url::Target;
use super::{EgressError, header};
use crate::error::code::net as code;
use crate::limits::EGRESS_CONNECT_S_MAX;
use crate::model::class;

/// The error behind a failed exchange with `target`.
pub(crate) fn of(error: &reqwest::Error, target: &Target) -> EgressError {
    if let Some(own) = find::<EgressError>(error) {
        return own.clone();
    }
    if let Some(tls) = find::<rustls::Error>(error) {
        let message = format!("{target} has no proper TLS: {tls}; check the server's certificate and name");
        return EgressError::new(class::CONNECT, &code::TLS, message);
    }
    if error.is_connect() {
        let why = if error.is_timeout() {
            format!("nothing answered within {EGRESS_CONNECT_S_MAX} s")
        } else {
            innermost(error)
        };
        let message =
            format!("no connection to {target}: {why}; check that the server runs and can be reached");
        return EgressError::new(class::CONNECT, &code::CONNECT, message);
    }
    if error.is_builder()
        || error.is_request() && find::<hyper::Error>(error).is_some_and(hyper::Error::is_user)
    {
        let message = format!("the request to {target} cannot be sent: {}", innermost(error));
        return EgressError::new(class::INVALID, &code::REQUEST, message);
    }
    if let Some(http) = find::<hyper::Error>(error) {
        if http.is_parse_too_large() {
            return header::too_many(&target.to_string());
        }
        if http.is_parse() {
            return broken(target, &innermost(error));
        }
    }
    // Decompression speaks of bad data; a body that just ends speaks of its end and is a cut connection.
    let bad_data =
        |io: &io::Error| matches!(io.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput);
    if find::<hyper::Error>(error).is_none() && find::<io::Error>(error).is_some_and(bad_data) {
        return broken(target, &innermost(error));
    }
    let message =
        format!("the connection to {target} broke before the reply was whole: {}", innermost(error));
    EgressError::new(class::CUT, &code::CUT, message)
}

fn broken(target: &Target, why: &str) -> EgressError {
    EgressError::new(
        class::INVALID,
        &code::REPLY_BROKEN,
        format!("{target} did not answer in proper HTTP: {why}"),
    )
}

/// The first link of a type. An `io::Error` hides what it wraps from `source`, so it is opened.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut link = Some(error);
    while let Some(current) = link {
        if let Some(found) = current.downcast_ref::<T>() {
            return Some(found);
        }
        let opened = current.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        link = match opened {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => current.source(),
        };
    }
    None
}

fn innermost(error: &reqwest::Error) -> String {
    let mut link: &dyn StdError = error;
    while let Some(next) = link.source() {
        link = next;
    }
    link.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}
