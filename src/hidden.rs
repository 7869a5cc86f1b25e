//! Text that nobody shall see: read from a file, a pipe or the terminal without echo, never from the command line, which every
//! process of the machine can read.

use std::io::{IsTerminal, Read};
use std::path::Path;

use chainbot_core::port::SecretText;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::error::{Error, Result, code};
use crate::output;

/// What is read at most; whoever takes it takes less and says so.
const BYTES_MAX: u64 = 64 * 1024;

/// Reads it, without the line break that editors and shells put after it. `what`: what a person is asked for.
pub fn read(file: Option<&Path>, what: &str) -> Result<SecretText> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Error::new(&code::INPUT, format!("{what} cannot be read: {error}"))
            .help("give the value as UTF-8 text")
    };
    let mut text = String::new();
    match file {
        Some(path) => {
            let what = path.display().to_string();
            let file = std::fs::File::open(path).map_err(|error| failed(&what, &error))?;
            file.take(BYTES_MAX).read_to_string(&mut text).map_err(|error| failed(&what, &error))?;
        }
        None if std::io::stdin().is_terminal() => {
            output::note(&format!("{what} (not shown):"));
            let _quiet = Quiet::new().map_err(|error| failed("the terminal", &error))?;
            std::io::stdin().read_line(&mut text).map_err(|error| failed("the terminal", &error))?;
        }
        None => {
            let stdin = std::io::stdin().lock();
            stdin.take(BYTES_MAX).read_to_string(&mut text).map_err(|error| failed("stdin", &error))?;
        }
    }
    let end =
        text.strip_suffix('\n').map_or(text.len(), |rest| rest.strip_suffix('\r').unwrap_or(rest).len());
    text.truncate(end);
    Ok(SecretText::new(text))
}

/// A passphrase that is to be made: asked for twice on a terminal, where a slip would not be seen.
pub fn read_passphrase(file: Option<&Path>, what: &str) -> Result<SecretText> {
    let first = read(file, what)?;
    if file.is_none() && std::io::stdin().is_terminal() && read(None, "once more")?.reveal() != first.reveal()
    {
        return Err(Error::new(&code::INPUT, "the two passphrases differ").help("type the same one twice"));
    }
    Ok(first)
}

/// The terminal without echo, until this is dropped.
struct Quiet(Termios);

impl Quiet {
    fn new() -> std::io::Result<Self> {
        let before = tcgetattr(std::io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // Nothing better can be done with a terminal that is gone.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}
