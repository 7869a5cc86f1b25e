//! The error of expressions: a code, a message that names the thing, a remedy and a place in the source.
//!
//! It is its own type because who evaluates knows the definition's place, which the expression does not: the
//! validator makes a diagnostic of it, the engine a step's error.

use std::fmt;

use crate::error::code::expression as code;
use crate::error::{Code, similar};

/// Why an expression does not compile or has no value.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    /// The code, `CB-02xx`.
    pub code: &'static Code,
    /// What is wrong.
    pub message: String,
    /// What to do, where it is known.
    pub hint: Option<String>,
    /// Byte offset in the expression's source, where it is known.
    pub offset: Option<usize>,
}

impl Error {
    /// An error without remedy and place.
    pub fn new(code: &'static Code, message: impl Into<String>) -> Self {
        Self { code, message: clipped(message.into()), hint: None, offset: None }
    }

    /// Adds what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(clipped(hint.into()));
        self
    }

    /// Adds a place.
    pub fn at(mut self, offset: usize) -> Self {
        self.offset = Some(offset);
        self
    }

    /// Moves the place, when the source was a part of a longer one.
    pub(super) fn shifted(mut self, by: usize) -> Self {
        self.offset = self.offset.map(|offset| offset + by);
        self
    }

    /// Puts words around the message, such as the index of an item.
    pub(super) fn within(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        let core = crate::Error::new(error.code, error.message);
        match error.hint {
            Some(hint) => core.help(hint),
            None => core,
        }
    }
}

/// What the engine says, in our words. Undefined names are explained by the caller, who knows the scope.
pub(super) fn from_engine(error: &minijinja::Error) -> Error {
    use minijinja::ErrorKind;
    let detail = || match error.detail() {
        Some(detail) => detail.to_owned(),
        None => error.kind().to_string(),
    };
    match error.kind() {
        ErrorKind::OutOfFuel => {
            Error::new(&code::FUEL, "the expression needs more work than one evaluation may do")
                .hint("split it over several steps, or work on less data at once")
        }
        ErrorKind::SyntaxError => Error::new(&code::INVALID, detail()),
        ErrorKind::UndefinedError => undefined(),
        // Operators say so in words instead.
        ErrorKind::InvalidOperation if error.detail().is_some_and(|detail| detail.contains("undefined")) => {
            undefined()
        }
        ErrorKind::MissingArgument => Error::new(&code::EVALUATION, "an argument is missing in a call"),
        ErrorKind::TooManyArguments => {
            Error::new(&code::EVALUATION, "a call has too many or unknown arguments")
        }
        ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction => {
            Error::new(&code::UNKNOWN, detail())
        }
        ErrorKind::WriteFailure => Error::new(&code::RESULT_SIZE, detail()),
        _ => Error::new(&code::EVALUATION, detail()),
    }
}

/// Bytes of a message or a hint: names and numbers from hostile sources may be as long as the source.
const MESSAGE_BYTES_MAX: usize = 600;

fn clipped(mut text: String) -> String {
    if text.len() > MESSAGE_BYTES_MAX {
        let end = (0..=MESSAGE_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

fn undefined() -> Error {
    Error::new(&code::UNDEFINED, "a value in the expression is undefined")
        .hint("check the names and indexes, or give a value with `|default(...)`")
}

/// `did you mean` with the nearest name, or the names there are when they are few.
pub(super) fn suggestion(word: &str, known: &[String]) -> Option<String> {
    if let Some(name) = similar(word, known.iter().map(String::as_str)) {
        return Some(format!("did you mean `{name}`?"));
    }
    match known.len() {
        0 => None,
        1..=12 => {
            let names: Vec<String> = known.iter().take(12).map(|name| format!("`{name}`")).collect();
            Some(format!("known here: {}", names.join(", ")))
        }
        _ => None,
    }
}
