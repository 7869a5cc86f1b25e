//! Reads and checks workflow definitions: all problems at once, each with code, line, column, path and remedy.
//!
//! ```text
//! source ──document──► tree with places ──decode──► Definition ──check──► Checked
//!          syntax,       Node, Pos         tables      AST         names, order,
//!          bounds                          of keys                 circles, dead branches
//! ```
//!
//! Every stage reports into one bounded list and goes on as far as it can. A definition comes out only when
//! there is no error. Nothing here does IO or runs an expression, and what is configured on a machine is known only
//! as far as the caller says ([`Known`]); a source of any kind is answered in bounded time and never by a panic.

mod check;
mod decode;
mod document;
mod findings;
pub mod keys;
mod known;
mod place;
mod scalar;
mod schema;
#[cfg(test)]
mod tests;

pub use decode::{compile_schema, misfits};
pub use known::{Known, KnownPin};
pub use schema::{schema, schema_text};

use crate::error::Diagnostic;
use crate::model::{Definition, Document};
use findings::Findings;

/// What a check found.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// There exactly when no diagnostic is an error.
    pub definition: Option<Definition>,
    /// By place.
    pub diagnostics: Vec<Diagnostic>,
}

/// Checks the source of a definition, YAML or JSON.
///
/// ```
/// let checked = chainbot_core::validate::check("name: tiny\nsteps:\n  - { id: a, type: sett }\n");
/// assert!(checked.definition.is_none());
/// assert_eq!(checked.diagnostics[0].hint.as_deref(), Some("did you mean `set`?"));
/// ```
pub fn check(source: &str) -> Checked {
    check_on(source, &Known::default())
}

/// Checks it for a machine that has this.
pub fn check_on(source: &str, known: &Known) -> Checked {
    let mut findings = Findings::default();
    let decoded = document::read(source, &mut findings).and_then(|document| {
        let decoded = decode::decode(&document, known, &mut findings)?;
        check::check(source, &document, &decoded, &mut findings);
        Some(decoded)
    });
    let sound = !findings.has_errors();
    let definition = decoded.filter(|_| sound).map(|decoded| decoded.definition);
    Checked { definition, diagnostics: findings.finish() }
}

/// Reads YAML or JSON to a tree with places, for whatever else is configured in it. An empty source is null.
pub fn document(source: &str) -> Result<Document, Vec<Diagnostic>> {
    let mut findings = Findings::default();
    match document::read(source, &mut findings) {
        Some(document) if !findings.has_errors() => Ok(document),
        _ => Err(findings.finish()),
    }
}
