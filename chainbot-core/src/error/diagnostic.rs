//! A problem in a definition or a configuration, with its place and a remedy.

use std::fmt;

use serde::Serialize;

/// Line and column, from 1. `0, 0` is unknown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Pos {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Must be mended.
    Error,
    /// Works, and probably not as meant.
    Warning,
}

/// One problem. A check reports all it finds, in order of place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Diagnostic {
    /// The code, such as `CB-0104`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Where, in the source.
    #[serde(flatten)]
    pub pos: PosJson,
    /// Where, in the structure: `steps[2].config.url`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// [`Pos`] as it is sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct PosJson {
    /// Line, from 1; 0 when unknown.
    pub line: u32,
    /// Column, from 1; 0 when unknown.
    pub column: u32,
}

impl From<Pos> for PosJson {
    fn from(pos: Pos) -> Self {
        Self { line: pos.line, column: pos.column }
    }
}
