//! The one error of the core: opaque, one word wide, with a kind, a code and a remedy.
//!
//! Invariants: every error has a code from [`code`]; every code has a page in `docs/errors`. A message
//! names the thing, the place and the remedy. Inner detail (`source`) goes to logs, never to clients.
//! Errors that are stored in a journal are another type: [`crate::model::StepError`].

pub mod code;
mod diagnostic;
mod similar;

use std::fmt;

pub use code::Code;
pub use diagnostic::{Diagnostic, Pos, PosJson, Severity};
pub use similar::similar;

/// A result of the core.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of failure it is; decides the HTTP status and the CLI's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The caller's input is wrong. 422 (or 400 when it does not even parse).
    Invalid,
    /// The request does not parse. 400.
    Malformed,
    /// Missing or wrong credential. 401.
    Unauthorized,
    /// Known, and not allowed to. 403.
    Forbidden,
    /// No such object. 404.
    NotFound,
    /// The path exists, the verb does not. 405.
    Method,
    /// The object is in a state that forbids this. 409.
    Conflict,
    /// `If-Match` did not match. 412.
    Precondition,
    /// Over a size bound. 413.
    TooLarge,
    /// Content type not taken. 415.
    MediaType,
    /// Over a rate or queue bound; try again later. 429.
    Busy,
    /// Stopping, draining, or the store failed. 503.
    Unavailable,
    /// Not done in time. 504.
    Timeout,
    /// Not offered here. 501.
    Unsupported,
    /// The disk is full: new work is refused. 507.
    Full,
    /// The disk, the database, a file.
    Storage,
    /// The network, or a policy that forbids reaching it.
    Network,
    /// A bug in ChainBot.
    Internal,
}

/// An error of the core.
pub struct Error(Box<Inner>);

struct Inner {
    code: &'static Code,
    message: String,
    help: Option<String>,
    diagnostics: Vec<Diagnostic>,
    retry_after_s: Option<u64>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A fault on purpose.
    #[cfg(feature = "fault")]
    pub(crate) fn on_purpose(what: crate::env::fault::Injected) -> Self {
        Self::new(&code::store::READ, what.to_string())
    }

    /// An error with the code's title as context and `message` as the particular case.
    pub fn new(code: &'static Code, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            message: message.into(),
            help: None,
            diagnostics: Vec::new(),
            retry_after_s: None,
            source: None,
        }))
    }

    /// Adds what the reader should do next.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Adds the cause, for logs.
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds every single problem, with its place.
    pub fn diagnostics_of(mut self, diagnostics: Vec<Diagnostic>) -> Self {
        self.0.diagnostics = diagnostics;
        self
    }

    /// Adds when to try again.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after_s = Some(seconds);
        self
    }

    /// In how many seconds to try again, where that is known.
    pub fn retry_after_s(&self) -> Option<u64> {
        self.0.retry_after_s
    }

    /// Every single problem, when the error stands for several.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.0.diagnostics
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.code.kind
    }

    /// The code, such as `CB-0101`.
    pub fn code(&self) -> &'static Code {
        self.0.code
    }

    /// The particular case, without code and remedy.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do next, where it is known.
    pub fn remedy(&self) -> Option<&str> {
        self.0.help.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code.id, self.0.message)?;
        if let Some(help) = &self.0.help {
            write!(f, "; {help}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            write!(f, "; caused by: {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|e| e as _)
    }
}
