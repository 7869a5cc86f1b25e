//! Regular expressions: linear time, bounded in pattern, program, text and result. Used by functions and transforms.

use regex_lite::{Captures, Regex, RegexBuilder};

use super::error::Error;
use crate::error::code::expression as code;
use crate::limits;

/// Compiles a pattern.
pub(super) fn compile(pattern: &str) -> Result<Regex, Error> {
    if pattern.len() > limits::REGEX_PATTERN_BYTES_MAX {
        let message = format!("the pattern has more than {} bytes", limits::REGEX_PATTERN_BYTES_MAX);
        return Err(Error::new(&code::EVALUATION, message).hint("use a shorter regular expression"));
    }
    RegexBuilder::new(pattern).size_limit(limits::REGEX_PROGRAM_BYTES_MAX).nest_limit(32).build().map_err(
        |error| {
            Error::new(&code::EVALUATION, format!("the regular expression `{pattern}` is wrong: {error}"))
                .hint("there are no look-around and no back references; keep counted repetitions small")
        },
    )
}

/// Refuses text that is too long to go through.
pub(super) fn check_text(text: &str) -> Result<(), Error> {
    if text.len() <= limits::REGEX_TEXT_BYTES_MAX {
        return Ok(());
    }
    let message = format!(
        "the text has {} bytes, and a regular expression goes through {} at most",
        text.len(),
        limits::REGEX_TEXT_BYTES_MAX
    );
    Err(Error::new(&code::EVALUATION, message).hint("split the text first"))
}

/// Replaces every match; `$1` and `${name}` stand for groups. The result is bounded before it is made.
pub(super) fn replace(regex: &Regex, text: &str, with: &str, bytes_max: usize) -> Result<String, Error> {
    check_text(text)?;
    let groups = with.bytes().filter(|byte| *byte == b'$').count();
    let (mut out, mut last) = (String::new(), 0);
    for captures in regex.captures_iter(text) {
        let whole = whole(&captures);
        // No group is longer than the whole match.
        let grows = (whole.start() - last) + with.len() + groups.saturating_mul(whole.len());
        if out.len().saturating_add(grows) > bytes_max {
            let message = format!("the text after replacing may be larger than {bytes_max} bytes");
            return Err(Error::new(&code::RESULT_SIZE, message).hint("replace in a smaller text"));
        }
        out.push_str(&text[last..whole.start()]);
        captures.expand(with, &mut out);
        last = whole.end();
    }
    out.push_str(&text[last..]);
    Ok(out)
}

/// The whole match.
pub(super) fn whole<'t>(captures: &Captures<'t>) -> regex_lite::Match<'t> {
    captures.get(0).expect("group 0 is the match itself")
}
