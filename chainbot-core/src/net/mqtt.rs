//! One message to a broker over MQTT 3.1.1: CONNECT, PUBLISH with QoS 1, DISCONNECT.
//!
//! Written here and not taken from a library for the bounds of the other ways out: only a checked address is connected to,
//! and what a broker says has an end. A connection is made for each message and kept for none, so there is no session to
//! resume. Until PUBLISH is sent nothing has happened; from there on a lost connection is `cut`.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::egress::Egress;
use super::error::EgressError;
use crate::error::code::{net as net_code, outbox as code};
use crate::limits::{EGRESS_TOTAL_S_DEFAULT, MQTT_PACKET_BYTES_MAX};
use crate::model::class;

/// Seconds that the broker waits for us: the exchange is over long before.
const KEEP_ALIVE_S: u16 = 60;
/// The number of our one packet.
const PACKET: u16 = 1;

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Name or address.
    pub host: String,
    /// 8883 for TLS, 1883 without, as a rule.
    pub port: u16,
    /// Whether the way there is private.
    pub is_encrypted: bool,
}

/// A message ready to be published.
pub struct Publish {
    /// How this side calls itself.
    pub client: String,
    /// Without wildcards.
    pub topic: String,
    /// The message.
    pub payload: Vec<u8>,
    /// Whether the broker keeps it for those who come later.
    pub retain: bool,
    /// Whether it may have been published before.
    pub is_repeat: bool,
    /// User and password.
    pub login: Option<(String, Option<Zeroizing<String>>)>,
    /// For everything together; `None` = 30 s.
    pub timeout: Option<Duration>,
}

impl Egress {
    /// Publishes a message; it is the broker's when this returns.
    pub async fn publish(&self, broker: &Broker, publish: &Publish) -> Result<(), EgressError> {
        let limit = publish.timeout.unwrap_or(Duration::from_secs(EGRESS_TOTAL_S_DEFAULT));
        timeout(limit, self.hand_over(broker, publish)).await.unwrap_or_else(|_| {
            let message = format!("{} was not done within {} ms", broker.host, limit.as_millis());
            Err(EgressError::new(class::TIMEOUT, &net_code::TIMEOUT, message))
        })
    }

    async fn hand_over(&self, broker: &Broker, publish: &Publish) -> Result<(), EgressError> {
        let dialed = self.dial(&broker.host, broker.port).await?;
        if broker.is_encrypted {
            let stream = self.encrypt(dialed.stream, &broker.host).await?;
            return Session { stream, broker }.publish(publish).await;
        }
        if !dialed.may_be_clear {
            let message = format!(
                "{} is neither on this machine nor granted, so messages do not travel there in clear; use `tls: true`",
                broker.host
            );
            return Err(EgressError::new(class::EGRESS, &code::CLEAR, message));
        }
        Session { stream: dialed.stream, broker }.publish(publish).await
    }
}

struct Session<'a, S> {
    stream: S,
    broker: &'a Broker,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    async fn publish(&mut self, publish: &Publish) -> Result<(), EgressError> {
        let connect = self.connect(publish)?;
        self.write(&connect).await?;
        self.connected().await?;
        let packet = self.message(publish)?;
        let lost = |error: EgressError| match error.class {
            class::CONNECT => {
                let message = format!("{}; the message may have been taken all the same", error.message);
                EgressError::new(class::CUT, error.code, message)
            }
            _ => error,
        };
        self.write(&packet).await.map_err(lost)?;
        self.acknowledged().await.map_err(lost)?;
        // The message is taken; whether the farewell is heard changes nothing.
        let _ = self.write(&[0xe0, 0]).await;
        let _ = self.stream.shutdown().await;
        Ok(())
    }

    fn connect(&self, publish: &Publish) -> Result<Zeroizing<Vec<u8>>, EgressError> {
        // Clean session; user and password as given.
        let mut flags = 0b10;
        let mut body = Zeroizing::new(Vec::new());
        self.text(&mut body, "MQTT")?;
        body.push(4);
        if let Some((_, password)) = &publish.login {
            flags |= 0x80 | if password.is_some() { 0x40 } else { 0 };
        }
        body.push(flags);
        body.extend(KEEP_ALIVE_S.to_be_bytes());
        self.text(&mut body, &publish.client)?;
        if let Some((user, password)) = &publish.login {
            self.text(&mut body, user)?;
            if let Some(password) = password {
                self.text(&mut body, password)?;
            }
        }
        self.packet(0x10, &body)
    }

    fn message(&self, publish: &Publish) -> Result<Zeroizing<Vec<u8>>, EgressError> {
        let mut body = Vec::with_capacity(publish.topic.len() + publish.payload.len() + 4);
        self.text(&mut body, &publish.topic)?;
        body.extend(PACKET.to_be_bytes());
        body.extend(&publish.payload);
        // QoS 1: the broker says when it has it.
        let kind = 0x32 | if publish.is_repeat { 0x08 } else { 0 } | u8::from(publish.retain);
        self.packet(kind, &body)
    }

    /// A header with the length in seven bits a byte, and the rest.
    fn packet(&self, kind: u8, body: &[u8]) -> Result<Zeroizing<Vec<u8>>, EgressError> {
        if body.len() > MQTT_PACKET_BYTES_MAX {
            return Err(self.broken("the message is too large for it"));
        }
        let mut packet = Zeroizing::new(Vec::with_capacity(body.len() + 5));
        packet.push(kind);
        let mut rest = body.len();
        loop {
            let part = (rest & 0x7f) as u8;
            rest >>= 7;
            packet.push(if rest > 0 { part | 0x80 } else { part });
            if rest == 0 {
                break;
            }
        }
        packet.extend(body);
        Ok(packet)
    }

    /// Text with its length before it.
    fn text(&self, out: &mut Vec<u8>, text: &str) -> Result<(), EgressError> {
        let length = u16::try_from(text.len()).map_err(|_| self.broken("a text for it is too long"))?;
        out.extend(length.to_be_bytes());
        out.extend(text.as_bytes());
        Ok(())
    }

    async fn connected(&mut self) -> Result<(), EgressError> {
        let body = self.read(0x20).await?;
        if body.len() != 2 {
            return Err(self.no_broker());
        }
        let why = match body[1] {
            0 => return Ok(()),
            1 => "it does not speak MQTT 3.1.1",
            2 => "it does not take this client's name",
            3 => "it is not available",
            4 => "user or password is wrong; check the channel's `user` and the secret of its `password`",
            _ => "it does not let this client in; check the channel's `user` and its rights",
        };
        let word = if body[1] == 3 { class::CONNECT } else { class::INVALID };
        let message = format!("the broker {} refused: {why}", self.broker.host);
        Err(EgressError::new(word, &code::REFUSED, message))
    }

    /// Nothing was asked for but this, so nothing else can come.
    async fn acknowledged(&mut self) -> Result<(), EgressError> {
        if self.read(0x40).await? == PACKET.to_be_bytes() {
            return Ok(());
        }
        Err(self.broken("it acknowledges another message than ours"))
    }

    /// The rest of the packet that must come; what is none is told by its first byte.
    async fn read(&mut self, wanted: u8) -> Result<Vec<u8>, EgressError> {
        if self.byte().await? != wanted {
            return Err(self.no_broker());
        }
        let (mut length, mut shift) = (0usize, 0);
        loop {
            let byte = self.byte().await?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
            if shift > 21 {
                return Err(self.broken("a length that it says does not end"));
            }
        }
        // Nobody sends us messages: what comes is a few bytes.
        if length > 1_024 {
            return Err(self.broken("it sends more than an answer"));
        }
        let mut body = vec![0; length];
        match self.stream.read_exact(&mut body).await {
            Ok(_) => Ok(body),
            Err(error) => Err(self.lost(&error)),
        }
    }

    async fn byte(&mut self) -> Result<u8, EgressError> {
        self.stream.read_u8().await.map_err(|error| self.lost(&error))
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), EgressError> {
        let written = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let done = written.await;
        done.map_err(|error| self.lost(&error))
    }

    fn lost(&self, why: &std::io::Error) -> EgressError {
        let message = format!("the connection to the broker {} broke: {why}", self.broker.host);
        EgressError::new(class::CONNECT, &net_code::CUT, message)
    }

    fn no_broker(&self) -> EgressError {
        self.broken("it does not answer as an MQTT 3.1.1 broker; see whether its port is the right one")
    }

    fn broken(&self, why: &str) -> EgressError {
        let Broker { host, port, .. } = self.broker;
        EgressError::new(
            class::INVALID,
            &code::PROTOCOL,
            format!("the broker {host} on port {port} cannot be used: {why}"),
        )
    }
}
