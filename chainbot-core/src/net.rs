//! The only way out: every outbound byte of ChainBot leaves through [`Egress`].
//!
//! ```text
//! text ─► url (parsed once) ─► policy (host and port) ─► gate (4 a host) ─► resolver ─► address table ─► connect
//!   ▲                                                                                                      │
//!   └───────────────────────────── redirect: the whole way again, credentials dropped ◄────────────────────┘
//! ```
//!
//! Invariants: a connection goes only to an address that was checked for that very request's host and port, so a
//! second DNS answer cannot differ; a bound that is passed is an error, never a truncation; an error's text
//! holds no header value and no query of a URL. Proxy variables of the environment are ignored.
//!
//! [`LocalClient`] is the command line's way to its own server and reaches loopback only. Nothing here knows
//! workflows, steps or journals.

mod address;
mod allowed;
mod cause;
mod client;
mod dial;
mod egress;
mod error;
mod form;
mod gate;
mod header;
pub mod hook;
mod lines;
mod local;
mod mqtt;
mod policy;
mod resolve;
mod said;
mod smtp;
mod sse;
mod stream;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod url;

pub use allowed::{Endpoint, allowed_host};
pub use egress::{Egress, Reply, Request};
pub use error::EgressError;
pub use form::{form, percent_encoded};
pub(crate) use lines::Lines;
pub use local::{EventLines, LocalClient, LocalReply};
pub use mqtt::{Broker, Publish};
pub use policy::{Grant, Policy};
pub use resolve::{Lookup, Resolver, SystemResolver};
pub(crate) use said::{excerpt, read_retry_after};
pub use smtp::{Delivered, Mail, MailServer, MailTls};
pub(crate) use sse::{Events, is_field};
pub use stream::{BodyLines, Stream};
pub use url::next_url;
pub(crate) use url::same_place;
