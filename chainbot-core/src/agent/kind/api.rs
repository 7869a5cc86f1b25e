//! `api`: a client of one HTTP API, made of its OpenAPI document.
//!
//! ```text
//! document (3.0, 3.1; inline) ─► operations of the allow-list ─► tools with schemas ─► one request, through the executor of `api_call`
//! ```
//!
//! Invariants: requests go to `base_url` and below its path, whatever the document's `servers` say and whatever an argument holds; no
//! reference leaves the document; what an operation asks for is checked again when a request is made of arguments, so a caller that did not
//! validate can send nothing else. The credential is a secret's name until the executor sends it. A reply is capped and tainted.
//!
//! Must not know agents' stores, runs, models.

mod compile;
mod family;
mod operation;
mod rate;
mod reference;
mod schema;
#[cfg(test)]
mod tests;

pub use compile::Client;
pub use family::ApiTools;
pub use operation::Operation;
