//! Notifications over a channel of the configuration: ntfy, Telegram, MQTT.
//!
//! Input: `{channel, message, title?, type, run, workflow}`. Output: `{channel}`. The courier carries these out, so a try
//! that failed is followed by others. Text is put into each channel's form as what it is: it is never taken for markup,
//! a header or a topic. A message that is too long for a channel is an error, not cut.

use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Effect, Executors, Failure, config, sealed};
use crate::error::code::outbox as code;
use crate::error::code::secret as secret_code;
use crate::model::{StepError, class};
use crate::net::{Broker, Endpoint, Publish, Reply, Request};

/// What Telegram takes, in UTF-16 units after its markup is read.
const TELEGRAM_CHARS_MAX: usize = 4_096;
/// What ntfy takes before it makes an attachment of it.
const NTFY_BYTES_MAX: usize = 4_096;

/// A channel of the operator's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// What steps call it.
    pub name: String,
    /// How messages go there.
    pub way: Way,
}

/// How messages go there. Tokens and passwords are names of secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// A topic of an ntfy server.
    Ntfy {
        /// The server.
        url: String,
        /// The topic.
        topic: String,
        /// An access token.
        token: Option<String>,
        /// Tags of every message.
        tags: Vec<String>,
    },
    /// A chat, over a bot.
    Telegram {
        /// The Bot API.
        url: String,
        /// The bot's token.
        token: String,
        /// Number of the chat, or `@name`.
        chat: String,
    },
    /// A topic of a broker.
    Mqtt {
        /// The broker.
        broker: Broker,
        /// The topic.
        topic: String,
        /// Who signs in.
        user: Option<String>,
        /// With which password.
        password: Option<String>,
        /// Whether the broker keeps the last message for those who come later.
        retain: bool,
    },
}

impl Way {
    /// The secret that it takes, and the entry of the host that it goes to.
    pub fn secret(&self) -> Option<(&str, String)> {
        match self {
            Self::Ntfy { url, token: Some(token), .. } | Self::Telegram { url, token, .. } => {
                Some((token, Endpoint::of_url(url).ok()?.entry()))
            }
            Self::Mqtt { broker, password: Some(password), .. } => {
                Some((password, format!("{}:{}", broker.host.trim_end_matches('.'), broker.port)))
            }
            _ => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    channel: String,
    message: String,
    title: Option<String>,
    #[serde(rename = "type")]
    level: String,
    run: String,
    workflow: String,
}

/// Carries one attempt out.
pub(crate) async fn execute(executors: &Executors, effect: &Effect) -> Result<Value, Failure> {
    let input: Input = config::read(&effect.input)?;
    let channel = executors.channels.iter().find(|channel| channel.name == input.channel);
    let Some(channel) = channel else {
        let names: Vec<&str> = executors.channels.iter().map(|channel| channel.name.as_str()).collect();
        let known = match names.as_slice() {
            [] => "the configuration has none".to_owned(),
            names => format!("the configuration has {}", names.join(", ")),
        };
        let message =
            format!("there is no channel `{}`: {known}; add it under notification.channels", input.channel);
        return Err(StepError::new(class::INVALID, &code::CHANNEL, message).into());
    };
    match &channel.way {
        Way::Ntfy { url, topic, token, tags } => {
            ntfy(executors, effect, &input, url, topic, token.as_deref(), tags).await?;
        }
        Way::Telegram { url, token, chat } => {
            telegram(executors, effect, &input, url, token, chat).await?;
        }
        Way::Mqtt { broker, topic, user, password, retain } => {
            let login = match (user, password) {
                (Some(user), Some(name)) => {
                    let secret = sealed::open_of_operator(executors, name)?;
                    // The way there is encrypted, or the operator's word and the address table allow it to be clear.
                    let host = broker.host.trim_end_matches('.').to_ascii_lowercase();
                    sealed::check_host(
                        name,
                        &secret,
                        &Endpoint { host, port: broker.port, is_encrypted: true },
                    )?;
                    Some((user.clone(), Some(Zeroizing::new(secret.value.reveal().to_owned()))))
                }
                (user, _) => user.clone().map(|user| (user, None)),
            };
            let body = json!({
                "id": effect.key.to_string(), "message": input.message, "title": input.title, "type": input.level,
                "run": input.run, "workflow": input.workflow,
            });
            let publish = Publish {
                client: format!("chainbot-{}", &effect.key.to_string()[..12]),
                topic: topic.clone(),
                payload: body.to_string().into_bytes(),
                retain: *retain,
                is_repeat: effect.attempt > 1,
                login,
                timeout: effect.timeout,
            };
            executors.egress.publish(broker, &publish).await?;
        }
    }
    Ok(json!({ "channel": input.channel }))
}

async fn ntfy(
    executors: &Executors,
    effect: &Effect,
    input: &Input,
    url: &str,
    topic: &str,
    token: Option<&str>,
    tags: &[String],
) -> Result<(), Failure> {
    if input.message.len() > NTFY_BYTES_MAX {
        return Err(too_long(input, "ntfy", &format!("{NTFY_BYTES_MAX} bytes")));
    }
    let (priority, mark) = match input.level.as_str() {
        "error" => (5, "rotating_light"),
        "warning" => (4, "warning"),
        "success" => (3, "white_check_mark"),
        _ => (3, ""),
    };
    let tags: Vec<&str> = Some(mark)
        .filter(|mark| !mark.is_empty())
        .into_iter()
        .chain(tags.iter().map(String::as_str))
        .collect();
    // As a body: its title may hold what a header cannot.
    let mut body = json!({ "topic": topic, "message": input.message, "priority": priority, "tags": tags });
    body["title"] = input.title.as_deref().unwrap_or(&input.workflow).into();
    let url = format!("{url}/");
    let mut request = post(&url, &body, effect);
    if let Some(name) = token {
        let secret = sealed::open_of_operator(executors, name)?;
        sealed::check_host(name, &secret, &Endpoint::of_url(&url)?)?;
        request.headers.push(("authorization".to_owned(), format!("Bearer {}", secret.value.reveal())));
        request.has_secrets = true;
    }
    send(executors, request, "ntfy").await.map(drop)
}

async fn telegram(
    executors: &Executors,
    effect: &Effect,
    input: &Input,
    url: &str,
    token: &str,
    chat: &str,
) -> Result<(), Failure> {
    let mut text = escaped(&input.message);
    let mut units = input.message.encode_utf16().count();
    if let Some(title) = &input.title {
        text = format!("<b>{}</b>\n{text}", escaped(title));
        units += title.encode_utf16().count() + 1;
    }
    if units > TELEGRAM_CHARS_MAX {
        return Err(too_long(input, "Telegram", &format!("{TELEGRAM_CHARS_MAX} characters")));
    }
    let secret = sealed::open_of_operator(executors, token)?;
    sealed::check_host(token, &secret, &Endpoint::of_url(url)?)?;
    let value = secret.value.reveal();
    // It becomes a part of the path, and must not become more than that.
    if !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-' | b'_')) {
        let message = format!(
            "the secret `{token}` is no token of a bot: it holds other signs than letters, digits, `:`, `-`, `_`"
        );
        return Err(StepError::new(class::INVALID, &secret_code::UNUSABLE, message).into());
    }
    let url = Zeroizing::new(format!("{url}/bot{value}/sendMessage"));
    let body = json!({ "chat_id": chat, "text": text, "parse_mode": "HTML" });
    let mut request = post(&url, &body, effect);
    request.has_secrets = true;
    let reply = send(executors, request, "Telegram").await?;
    match serde_json::from_slice::<Value>(&reply.body) {
        Ok(said) if said["ok"] == true => Ok(()),
        _ => {
            let message = format!("Telegram did not take the message: {}", crate::net::excerpt(&reply.body));
            Err(StepError::new(class::HTTP_STATUS, &code::REFUSED, message).into())
        }
    }
}

fn post(url: &str, body: &Value, effect: &Effect) -> Request {
    let mut request = Request::new("POST", url);
    request.headers = vec![
        ("content-type".to_owned(), "application/json".to_owned()),
        ("user-agent".to_owned(), super::USER_AGENT.to_owned()),
    ];
    request.body = body.to_string().into_bytes();
    request.timeout = effect.timeout;
    request
}

/// `what` stands for the address, which may hold a token.
async fn send(executors: &Executors, request: Request, what: &str) -> Result<Reply, Failure> {
    let reply = executors.egress.send(request).await?;
    if (200..300).contains(&reply.status) {
        Ok(reply)
    } else {
        Err(Failure::status(what, &reply, &executors.env))
    }
}

/// As text in Telegram's HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn too_long(input: &Input, what: &str, most: &str) -> Failure {
    let message = format!("the message for channel `{}` is over the {most} that {what} takes", input.channel);
    StepError::new(class::LIMIT, &code::TOO_LARGE, message).into()
}
