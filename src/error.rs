//! The errors of the command line: its own (CB-09xx), the core's, and those that the API answers with.
//!
//! Each has a code, a message and, where one is known, a remedy. The exit code follows from the kind: 2 when what
//! was given is wrong, 1 for everything else.

use chainbot_core::error::{Code, ErrorKind};
use serde::{Deserialize, Serialize};

/// A result of the command line.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// CB-09xx: the command line.
pub mod code {
    use chainbot_core::error::{Code, ErrorKind};

    macro_rules! codes {
        ($($name:ident = $id:literal, $kind:ident, $title:literal;)*) => {
            $(#[doc = $title] pub const $name: Code = Code { id: $id, title: $title, kind: ErrorKind::$kind };)*
            /// Every code of the command line, for the test that matches codes and pages.
            #[cfg(test)]
            pub const ALL: &[&Code] = &[$(&$name),*];
        };
    }

    codes! {
        USAGE = "CB-0900", Invalid, "The arguments do not go together";
        SOURCE = "CB-0901", Invalid, "A file that was named cannot be read";
        INPUT = "CB-0902", Invalid, "An input is wrong";
        NO_SERVER = "CB-0903", Unavailable, "No server runs on the data folder";
        SERVER_GONE = "CB-0904", Unavailable, "The server does not answer";
        PROGRAM = "CB-0905", NotFound, "A part of ChainBot was not found";
        START = "CB-0906", Unavailable, "The server did not start";
        STOP = "CB-0907", Timeout, "The server did not stop";
        REPLY = "CB-0908", Internal, "The answer of the server was not understood";
        ENGINE = "CB-0909", Unavailable, "The engine stopped while it was needed";
        FOLDER = "CB-0910", Storage, "The data folder cannot be used";
        OUTPUT = "CB-0911", Storage, "The output cannot be written";
        BACKUP = "CB-0859", Storage, "The server did not make the backup";
    }
}

/// An error of the command line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line's own.
    #[error("{}: {message}", code.id)]
    Own {
        /// From [`code`].
        code: &'static Code,
        /// The particular case.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// The core's, from the embedded engine or the configuration.
    #[error(transparent)]
    Core(#[from] chainbot_core::Error),
    /// What the API answered.
    #[error("{}: {}", .0.code, .0.detail)]
    Api(Box<Problem>),
    /// Whoever read the output has gone. Not a failure: `chainbot runs | head -1` ends this way.
    #[error("the reader of the output has gone")]
    Closed,
}

/// An answer of the API that is an error (RFC 9457).
#[derive(Debug, Serialize, Deserialize)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// One line, the same for every case of the code.
    #[serde(default)]
    pub title: String,
    /// The particular case.
    #[serde(default)]
    pub detail: String,
    /// The error code.
    #[serde(default)]
    pub code: String,
    /// What to do.
    #[serde(default)]
    pub help: Option<String>,
    /// Single problems.
    #[serde(default)]
    pub errors: Vec<Finding>,
}

/// One problem of a definition or configuration, in the shape of the API.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// The error code.
    pub code: String,
    /// `error` or `warning`.
    pub severity: String,
    /// From 1; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// From 1; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// Where, in the structure.
    #[serde(default)]
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl From<&chainbot_core::error::Diagnostic> for Finding {
    fn from(diagnostic: &chainbot_core::error::Diagnostic) -> Self {
        let known = |number: u32| (number > 0).then_some(number);
        Self {
            code: diagnostic.code.to_owned(),
            severity: if diagnostic.severity == chainbot_core::error::Severity::Error {
                "error"
            } else {
                "warning"
            }
            .to_owned(),
            line: known(diagnostic.pos.line),
            column: known(diagnostic.pos.column),
            path: diagnostic.path.clone(),
            message: diagnostic.message.clone(),
            hint: diagnostic.hint.clone(),
        }
    }
}

impl Finding {
    /// Whether it must be mended.
    pub fn is_error(&self) -> bool {
        self.severity == "error"
    }
}

impl Error {
    /// One of the command line's own.
    pub fn new(code: &'static Code, message: impl Into<String>) -> Self {
        Error::Own { code, message: message.into(), help: None }
    }

    /// Adds what to do next. Only the command line's own errors lack it at first.
    pub fn help(self, text: impl Into<String>) -> Self {
        match self {
            Error::Own { code, message, .. } => Error::Own { code, message, help: Some(text.into()) },
            other => other,
        }
    }

    /// Whether the server was not there, or just stops: it may be back in a moment.
    pub fn is_away(&self) -> bool {
        match self {
            Error::Own { code, .. } => code.id == code::SERVER_GONE.id,
            Error::Api(problem) => problem.status == 503,
            Error::Core(_) | Error::Closed => false,
        }
    }

    /// The code, such as `CB-0901`; empty when an answer had none.
    pub fn code(&self) -> &str {
        match self {
            Error::Own { code, .. } => code.id,
            Error::Core(error) => error.code().id,
            Error::Api(problem) => &problem.code,
            Error::Closed => "",
        }
    }

    /// The particular case.
    pub fn message(&self) -> String {
        match self {
            Error::Own { message, .. } => message.clone(),
            Error::Core(error) => error.message().to_owned(),
            Error::Api(problem) if problem.detail.is_empty() => problem.title.clone(),
            Error::Api(problem) => problem.detail.clone(),
            Error::Closed => self.to_string(),
        }
    }

    /// What to do next, where it is known.
    pub fn remedy(&self) -> Option<&str> {
        match self {
            Error::Own { help, .. } => help.as_deref(),
            Error::Core(error) => error.remedy(),
            Error::Api(problem) => problem.help.as_deref(),
            Error::Closed => None,
        }
    }

    /// Every single problem, when the error stands for several.
    pub fn findings(&self) -> Vec<Finding> {
        match self {
            Error::Core(error) => error.diagnostics().iter().map(Finding::from).collect(),
            Error::Api(problem) => problem.errors.clone(),
            _ => Vec::new(),
        }
    }

    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        let invalid = match self {
            Error::Own { code, .. } => is_input(code.kind),
            Error::Core(error) => is_input(error.kind()),
            Error::Api(problem) => matches!(problem.status, 400 | 404 | 413 | 415 | 422),
            Error::Closed => return 0,
        };
        if invalid { 2 } else { 1 }
    }
}

fn is_input(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Invalid | ErrorKind::Malformed | ErrorKind::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_page_with_its_title() {
        for code in code::ALL {
            let path = format!("{}/docs/errors/{}.md", env!("CARGO_MANIFEST_DIR"), code.id);
            let page = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert!(
                page.starts_with(&format!("# {}: {}\n", code.id, code.title)),
                "{path} has another heading"
            );
        }
    }

    #[test]
    fn wrong_input_exits_with_2_and_anything_else_with_1() {
        assert_eq!(Error::new(&code::INPUT, "x").exit_code(), 2);
        assert_eq!(Error::new(&code::NO_SERVER, "x").exit_code(), 1);
        let api = |status| {
            let problem: Problem = serde_json::from_value(serde_json::json!({ "status": status })).unwrap();
            Error::Api(Box::new(problem)).exit_code()
        };
        assert_eq!((api(422), api(404), api(500), api(429)), (2, 2, 1, 1));
        assert_eq!(Error::Closed.exit_code(), 0);
    }
}
