//! The host's error: a code `CB-08xx`, a message that names thing, place and remedy, and the exit code it ends with.
//!
//! A code is never reused; each has a page in `docs/errors`.

use std::fmt;

/// A stable error code with its one-line meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// Such as `CB-0801`.
    pub id: &'static str,
    /// The same for every case of this code.
    pub title: &'static str,
}

/// Declares the codes and the list of all of them, which the tests walk.
macro_rules! codes {
    ($($name:ident = $id:literal, $title:literal;)*) => {
        $(#[doc = $title] pub const $name: Code = Code { id: $id, title: $title };)*
        #[doc = "All of them."]
        pub const ALL: &[Code] = &[$($name),*];
    };
}

pub mod code {
    //! Every code of the host.
    use super::Code;

    codes! {
        MODULE_MISSING = "CB-0801", "the module file cannot be read";
        NOT_A_LIBRARY = "CB-0802", "the file cannot be loaded as a library";
        SYMBOL_MISSING = "CB-0803", "the library is not an ALEX OS module";
        MAJOR_DIFFERS = "CB-0804", "the module has another ABI version";
        MODULE_INCOMPLETE = "CB-0805", "the module's function table is incomplete";
        MANIFEST_UNREADABLE = "CB-0806", "the module's manifest cannot be read";
        CONFIG_ARGUMENT = "CB-0807", "a configuration argument is wrong";
        INITIALIZE_REFUSED = "CB-0808", "the module refused its configuration";
        START_FAILED = "CB-0809", "the module did not start";
        ADDRESS_UNUSABLE = "CB-0810", "the HTTP address cannot be used";
        STOP_TIMED_OUT = "CB-0811", "the module did not stop in time";
        STOP_FAILED = "CB-0812", "the module did not end cleanly";
        MODULE_FAILED = "CB-0813", "the module failed while it ran";
        CONTRACT_BROKEN = "CB-0814", "the module broke the ABI's contract";
        NO_ROOM = "CB-0815", "the host has no room";
        BODY_TOO_LARGE = "CB-0816", "the request body is too large";
        EVENT_INVALID = "CB-0817", "the event is invalid";
        EVENT_UNDELIVERED = "CB-0818", "an event could not be delivered";
        SCRIPT_INVALID = "CB-0819", "the transcript's script is wrong";
        HOST_SETUP = "CB-0820", "the host could not set itself up";
        NOT_ANSWERED = "CB-0821", "the module did not answer the request";
        CLIENT_REFUSED = "CB-0822", "the client may not use the host's routes";
        OUTSIDE_MOUNT = "CB-0823", "nothing is mounted at this path";
        REQUEST_UNREADABLE = "CB-0824", "the request cannot be forwarded";
        CONTROL_SOCKET = "CB-0830", "the host cannot be reached";
        ALREADY_LOADED = "CB-0831", "the file is loaded already";
        UPGRADE_FAILED = "CB-0832", "the upgrade failed";
        UPGRADE_REFUSED = "CB-0833", "the upgrade is refused";
        OLD_LOST = "CB-0834", "no version is left that serves";
        CONTROL_REQUEST = "CB-0835", "the request to the host is wrong";
        RECONFIGURE_REFUSED = "CB-0836", "the module did not take the configuration";
        DOOR_CLOSED = "CB-0839", "the module cannot be reached through abi_stable";
    }
}

/// How the process ends; the numbers are part of the command's face.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Something could not be loaded, configured, started or ended cleanly.
    Failure = 1,
    /// The module failed while it ran: a supervisor restarts the process.
    ModuleFailed = 3,
    /// The module had not stopped by its deadline.
    StopTimedOut = 4,
}

/// An error of the host.
#[derive(Debug, thiserror::Error)]
#[error("{}: {message} [{}]", code.title, code.id)]
pub struct Error {
    /// What kind it is.
    pub code: Code,
    /// The thing, the place, the remedy.
    pub message: String,
    /// The exit code that it ends the process with.
    pub exit: Exit,
}

/// A result of the host.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error that ends the process with exit code 1.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), exit: Exit::Failure }
    }

    /// The same error with another exit code.
    pub fn exiting(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::code::ALL;

    #[test]
    fn every_code_is_unique_and_has_a_page_with_its_title() {
        let pages = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors");
        for (at, code) in ALL.iter().enumerate() {
            assert!(ALL[..at].iter().all(|other| other.id != code.id), "{code} stands twice");
            let page = std::fs::read_to_string(pages.join(format!("{code}.md")))
                .unwrap_or_else(|error| panic!("{code} has no page: {error}"));
            let heading = page.lines().next().unwrap_or_default();
            let title = heading.strip_prefix(&format!("# {code}: ")).unwrap_or_default();
            assert_eq!(title.to_lowercase(), code.title.to_lowercase(), "{code}: heading and title differ");
        }
    }
}
