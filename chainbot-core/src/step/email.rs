//! `email`: sends one mail over an account of the configuration.
//!
//! Input: `{to, cc?, bcc?, reply_to?, subject, body?, html?, attachments?, smtp?}`. Output: `{message_id, accepted, rejected}`. The
//! message id is made of the effect's key, so a repeat that a person asks for is the same mail to its receivers.
//! Header injection is impossible: addresses are parsed, text goes through the encoder of headers, and a line break in
//! either is an error.

use std::time::Duration;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Effect, Executors, Failure, config, sealed};
use crate::error::code::mail as code;
use crate::model::{StepError, class};
use crate::net::{Endpoint, Mail, MailServer};

mod message;

/// A mail account of the operator's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailAccount {
    /// What steps call it.
    pub name: String,
    /// Where mail is handed over.
    pub server: MailServer,
    /// Who signs in; `None`: nobody.
    pub user: Option<String>,
    /// The secret that is the password.
    pub password: Option<String>,
    /// `Name <a@example.com>`
    pub from: String,
}

/// Carries one attempt out.
pub(crate) async fn execute(executors: &Executors, effect: &Effect) -> Result<Value, Failure> {
    let input: message::Input = config::read(&effect.input)?;
    let account = account(executors, input.smtp.as_deref())?;
    let made = message::make(&input, account, &effect.key.to_string(), executors.env.now())?;
    let mail = Mail {
        from: made.from,
        to: made.to,
        message: made.bytes,
        login: login(executors, account)?,
        timeout: effect.timeout.map(|timeout| timeout.max(Duration::from_millis(1))),
    };
    let delivered = executors.egress.send_mail(&account.server, &mail).await?;
    let rejected: Vec<Value> = delivered
        .rejected
        .into_iter()
        .map(|(address, reason)| json!({ "address": address, "reason": reason }))
        .collect();
    Ok(json!({ "message_id": made.id, "accepted": delivered.accepted, "rejected": rejected }))
}

fn account<'e>(executors: &'e Executors, name: Option<&str>) -> Result<&'e MailAccount, Failure> {
    let all = executors.accounts.as_slice();
    let found = match (name, all) {
        (Some(name), _) => all.iter().find(|account| account.name == name),
        (None, [only]) => Some(only),
        (None, _) => all.iter().find(|account| account.name == "default"),
    };
    found.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|account| account.name.as_str()).collect();
        let known = match names.as_slice() {
            [] => "the configuration has none; add one under `email.smtp`".to_owned(),
            names => format!("the configuration has {}", names.join(", ")),
        };
        let message = match name {
            Some(name) => format!("there is no mail account `{name}`: {known}"),
            None => format!("the step names no mail account: {known}"),
        };
        StepError::new(class::INVALID, &code::ACCOUNT, message).into()
    })
}

fn login(
    executors: &Executors,
    account: &MailAccount,
) -> Result<Option<(String, Zeroizing<String>)>, Failure> {
    let (Some(user), Some(name)) = (&account.user, &account.password) else { return Ok(None) };
    let secret = sealed::open_of_operator(executors, name)?;
    let MailServer { host, port, .. } = &account.server;
    // The way to the server is encrypted, or the operator's word and the address table allow it to be clear.
    let to =
        Endpoint { host: host.trim_end_matches('.').to_ascii_lowercase(), port: *port, is_encrypted: true };
    sealed::check_host(name, &secret, &to)?;
    Ok(Some((user.clone(), Zeroizing::new(secret.value.reveal().to_owned()))))
}
