//! Definitions as files and what is said about them; properties that hold for any source.
//!
//! `data/*.cases` hold sources, each below a line `### name`; `data/*.expected` hold what is reported.
//! `UPDATE_GOLDEN=1 cargo test` rewrites the expected files: read the difference before keeping it.

mod any;
mod document;
mod golden;
mod known;
mod schema;
mod valid;

use super::check;
use crate::error::Diagnostic;

/// The diagnostics of a source, one per line, hints below.
fn report(diagnostics: &[Diagnostic]) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for Diagnostic { code, severity, pos, path, message, hint } in diagnostics {
        let severity = format!("{severity:?}").to_lowercase();
        let path = if path.is_empty() { "-" } else { path };
        writeln!(out, "{code} {severity} {}:{} {path}: {message}", pos.line, pos.column).unwrap();
        if let Some(hint) = hint {
            writeln!(out, "    {hint}").unwrap();
        }
    }
    out
}
