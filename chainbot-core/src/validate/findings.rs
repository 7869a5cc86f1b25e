//! Collects the problems of one check, bounded, and hands them over in order of place.
//!
//! The list stops growing at a bound: a mistake repeated a hundred thousand times must neither fill the
//! memory nor hide the rest. Callers with costly messages ask [`Findings::is_full`] first.

use crate::error::code::definition as code;
use crate::error::{Code, Diagnostic, Pos, PosJson, Severity};
use crate::limits::DIAGNOSTICS_MAX;

/// The problems found so far.
#[derive(Default)]
pub(super) struct Findings {
    list: Vec<Diagnostic>,
    /// The worst among those that did not fit.
    dropped: Option<Severity>,
}

impl Findings {
    /// Adds what must be mended.
    pub(super) fn error(
        &mut self,
        code: &Code,
        pos: Pos,
        path: &str,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        self.push(Severity::Error, code, pos, path, message.into(), hint.into());
    }

    /// Adds what works and is probably not meant.
    pub(super) fn warning(
        &mut self,
        code: &Code,
        pos: Pos,
        path: &str,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        self.push(Severity::Warning, code, pos, path, message.into(), hint.into());
    }

    fn push(
        &mut self,
        severity: Severity,
        code: &Code,
        pos: Pos,
        path: &str,
        message: String,
        hint: Option<String>,
    ) {
        if self.is_full() {
            self.dropped = Some(self.dropped.map_or(severity, |worst| worst.min(severity)));
            return;
        }
        let pos = PosJson::from(pos);
        self.list.push(Diagnostic { code: code.id, severity, pos, path: path.to_owned(), message, hint });
    }

    /// Whether nothing more is taken.
    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= DIAGNOSTICS_MAX
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether one of them must be mended.
    pub(super) fn has_errors(&self) -> bool {
        self.dropped == Some(Severity::Error) || self.list.iter().any(|d| d.severity == Severity::Error)
    }

    /// All of them in order of place, the same problem only once (an alias repeats what it stands for).
    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        self.list.sort_by(|a, b| (a.pos, a.code, &a.message).cmp(&(b.pos, b.code, &b.message)));
        self.list.dedup_by(|a, b| a.pos == b.pos && a.code == b.code && a.message == b.message);
        if let Some(severity) = self.dropped {
            self.list.push(Diagnostic {
                code: code::TOO_MANY.id,
                severity,
                pos: Pos::default().into(),
                path: String::new(),
                message: format!("there are more than {DIAGNOSTICS_MAX} problems"),
                hint: Some("mend these first, then check again".to_owned()),
            });
        }
        self.list
    }
}

/// `path` and a key below it: `steps[0].config`, or `cases["a b"]` when the key is not a plain word.
pub(super) fn key_path(path: &str, key: &str) -> String {
    /// Longer keys are cut in a path; the place tells the rest.
    const SHOWN_CHARS: usize = 40;
    let plain = !key.is_empty()
        && key.len() <= SHOWN_CHARS
        && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        && !key.starts_with(|c: char| c.is_ascii_digit());
    match (plain, path.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!("{path}.{key}"),
        (false, _) => format!("{path}[{:?}]", shown(key, SHOWN_CHARS)),
    }
}

/// `path` and an index below it.
pub(super) fn index_path(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// Text from the source as a message shows it: on one line and not too long.
pub(super) fn shown(text: &str, chars_max: usize) -> String {
    let mut out: String =
        text.chars().take(chars_max).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(chars_max).is_some() {
        out.push('…');
    }
    out
}
