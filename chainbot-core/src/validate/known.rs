//! What this machine has, for definitions that name it: channels, pins, mail accounts.
//!
//! The command line checks a file without a machine and takes any well-formed name; a deploy knows, and says so.

use super::decode::Decoder;
use crate::error::code::{gpio as gpio_code, mail as mail_code, outbox as outbox_code};
use crate::error::{Code, Pos, similar};
use crate::model::{BUILT_IN_CHANNELS, Pin};

/// What is configured. `None`: nobody knows here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Names of `notification.channels`.
    pub channels: Option<Vec<String>>,
    /// `gpio.pins`.
    pub pins: Option<Vec<KnownPin>>,
    /// Names of `email.accounts`.
    pub accounts: Option<Vec<String>>,
    /// Names of `workflow_engine.constants`.
    pub constants: Option<Vec<String>>,
}

/// A configured pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPin {
    /// Its name.
    pub name: String,
    /// Its Broadcom number.
    pub number: u32,
    /// Whether it is driven; else it is watched.
    pub is_output: bool,
}

impl Decoder<'_> {
    /// A channel of `notification`.
    pub(super) fn known_channel(&mut self, pos: Pos, path: &str, name: &str) {
        let Some(channels) = &self.known.channels else { return };
        if BUILT_IN_CHANNELS.contains(&name) || channels.iter().any(|known| known == name) {
            return;
        }
        let all: Vec<&str> =
            BUILT_IN_CHANNELS.into_iter().chain(channels.iter().map(String::as_str)).collect();
        let what = format!("there is no channel `{name}`");
        self.unknown(&outbox_code::CHANNEL, pos, path, what, name, &all, "notification.channels");
    }

    /// An account of `email`.
    pub(super) fn known_account(&mut self, pos: Pos, path: &str, name: &str) {
        let Some(accounts) = &self.known.accounts else { return };
        let all: Vec<&str> = accounts.iter().map(String::as_str).collect();
        if !all.contains(&name) {
            let what = format!("there is no mail account `{name}`");
            self.unknown(&mail_code::ACCOUNT, pos, path, what, name, &all, "email.accounts");
        }
    }

    /// A pin, and what it is used for; `None`: either will do.
    pub(super) fn known_pin(&mut self, pos: Pos, path: &str, pin: &Pin, is_output: Option<bool>) {
        let Some(pins) = &self.known.pins else { return };
        let found = pins.iter().find(|known| match pin {
            Pin::Number(number) => known.number == *number,
            Pin::Name(name) => known.name == *name,
        });
        let Some(found) = found else {
            let all: Vec<&str> = pins.iter().map(|known| known.name.as_str()).collect();
            let what = format!("the pin `{pin}` is not configured");
            return self.unknown(&gpio_code::NO_PIN, pos, path, what, &pin.to_string(), &all, "gpio.pins");
        };
        if is_output.is_some_and(|wanted| wanted != found.is_output) {
            let (is, wanted) = if found.is_output { ("an output", "input") } else { ("an input", "output") };
            let hint = format!("set its `mode: {wanted}` under gpio.pins, or use another pin");
            self.findings.error(&gpio_code::MODE, pos, path, format!("the pin `{pin}` is {is}"), Some(hint));
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one message made of its parts")]
    fn unknown(
        &mut self,
        code: &'static Code,
        pos: Pos,
        path: &str,
        what: String,
        name: &str,
        all: &[&str],
        section: &str,
    ) {
        let hint = match (similar(name, all.iter().copied()), all) {
            (Some(meant), _) => format!("did you mean `{meant}`?"),
            (None, []) => format!("add it under {section} of the configuration"),
            (None, all) => format!("add it under {section}; there are {}", all.join(", ")),
        };
        self.findings.error(code, pos, path, what, Some(hint));
    }
}
