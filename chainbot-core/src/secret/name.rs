//! What a secret may be called and what it may hold.
//!
//! A value is taken out of every text that is written down, so it must be long enough not to be found by chance.

use crate::error::code::secret as code;
use crate::error::{Error, Result};
use crate::limits::{
    SECRET_DESCRIPTION_CHARS_MAX, SECRET_HOSTS_MAX, SECRET_VALUE_BYTES_MAX, SECRET_VALUE_BYTES_MIN,
};
use crate::net::allowed_host;

/// Refuses a name that expressions cannot say.
pub(super) fn check_name(name: &str) -> Result<()> {
    let mut chars = name.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_lowercase());
    let rest = chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if first && rest && name.len() <= 63 {
        return Ok(());
    }
    let shown: String = name.chars().filter(|c| !c.is_control()).take(63).collect();
    Err(Error::new(&code::VALUE, format!("`{shown}` cannot be the name of a secret"))
        .help("use 1 to 63 lower-case letters, digits or `_`, and start with a letter: `github_token`"))
}

/// Refuses a value that cannot be kept or hidden. The message does not repeat it.
pub(super) fn check_value(value: &str) -> Result<()> {
    if value.len() < SECRET_VALUE_BYTES_MIN {
        return Err(Error::new(
            &code::VALUE,
            format!(
                "the secret's value has {} bytes and needs at least {SECRET_VALUE_BYTES_MIN}",
                value.len()
            ),
        )
        .help("a shorter one could not be told from ordinary text and so not be kept out of logs"));
    }
    if value.len() > SECRET_VALUE_BYTES_MAX {
        return Err(Error::new(
            &code::VALUE,
            format!("the secret's value has {} bytes and may have {SECRET_VALUE_BYTES_MAX}", value.len()),
        )
        .help("keep the file elsewhere and store the key to it"));
    }
    match value.contains('\0') {
        true => Err(Error::new(&code::VALUE, "the secret's value holds a NUL")
            .help("store binary values as base64 text")),
        false => Ok(()),
    }
}

/// The normal form of each host.
pub(super) fn read_hosts(hosts: &[String]) -> Result<Vec<String>> {
    if hosts.len() > SECRET_HOSTS_MAX {
        let message = format!("{} hosts are over the bound of {SECRET_HOSTS_MAX}", hosts.len());
        return Err(Error::new(&code::VALUE, message).help("make one secret for each service"));
    }
    let mut out: Vec<String> = Vec::with_capacity(hosts.len());
    for host in hosts {
        let Some(normal) = allowed_host(host) else {
            let shown: String = host.chars().filter(|c| !c.is_control()).take(80).collect();
            return Err(Error::new(&code::VALUE, format!("`{shown}` does not name one host")).help(
                "write `api.example.com`, `api.example.com:8443`, or `http://192.168.1.5:8123` for a host \
                 that is called without TLS",
            ));
        };
        if !out.contains(&normal) {
            out.push(normal);
        }
    }
    Ok(out)
}

/// Refuses a description that is no line of text.
pub(super) fn check_description(text: Option<&str>) -> Result<()> {
    match text {
        Some(text)
            if text.chars().count() > SECRET_DESCRIPTION_CHARS_MAX || text.chars().any(char::is_control) =>
        {
            Err(Error::new(
                &code::VALUE,
                format!(
                    "the description is over {SECRET_DESCRIPTION_CHARS_MAX} characters or more than one line"
                ),
            )
            .help("say in one line what the secret is for"))
        }
        _ => Ok(()),
    }
}
