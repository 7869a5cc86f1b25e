//! One mail over SMTP (RFC 5321): greeting, TLS, sign-in, recipients, message.
//!
//! Written here and not taken from a library for three bounds: an address is connected to only after it was checked, a
//! reply has an end, and what a server says before TLS is thrown away before TLS begins, so that nobody on the way
//! can put words in its mouth. Until the last dot is sent nothing has happened, and an error says so by its class
//! (`connect`, `invalid`); from there on a lost connection is `cut`: it may have been delivered.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::egress::Egress;
use super::error::EgressError;
use crate::error::code::mail as code;
use crate::limits::{SMTP_REPLY_BYTES_MAX, SMTP_TOTAL_S_DEFAULT};
use crate::model::class;

/// How the way to a mail server is kept private.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// Encrypted after `STARTTLS`, or not at all.
    StartTls,
    /// Encrypted from the first byte.
    Tls,
    /// In clear: to this machine, or to a granted host.
    None,
}

/// A mail server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailServer {
    /// Name or address.
    pub host: String,
    /// 587 for `STARTTLS`, 465 for TLS, as a rule.
    pub port: u16,
    /// How the way is kept private.
    pub tls: MailTls,
}

/// A mail ready to be sent. Addresses are plain: `a@example.com`.
pub struct Mail {
    /// Who is told when it cannot be delivered.
    pub from: String,
    /// Who gets it, those of no header included.
    pub to: Vec<String>,
    /// Headers and body, lines ending in CR LF.
    pub message: Vec<u8>,
    /// User and password.
    pub login: Option<(String, Zeroizing<String>)>,
    /// For everything together; `None` = a minute.
    pub timeout: Option<Duration>,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Recipients that the server took.
    pub accepted: Vec<String>,
    /// Recipients that it refused, and its words.
    pub rejected: Vec<(String, String)>,
}

impl Egress {
    /// Hands a mail to a server.
    pub async fn send_mail(&self, server: &MailServer, mail: &Mail) -> Result<Delivered, EgressError> {
        let limit = mail.timeout.unwrap_or(Duration::from_secs(SMTP_TOTAL_S_DEFAULT));
        timeout(limit, self.deliver(server, mail)).await.unwrap_or_else(|_| {
            let message = format!(
                "{} was not done within {} ms; raise the step's `timeout`, or see why the server is slow",
                server.host,
                limit.as_millis()
            );
            Err(EgressError::new(class::TIMEOUT, &crate::error::code::net::TIMEOUT, message))
        })
    }

    async fn deliver(&self, server: &MailServer, mail: &Mail) -> Result<Delivered, EgressError> {
        let dialed = self.dial(&server.host, server.port).await?;
        match server.tls {
            MailTls::None if !dialed.may_be_clear => {
                let message = format!(
                    "{} is neither on this machine nor granted, so mail does not travel there in clear; use \
                     `tls: starttls` or `tls: tls`",
                    server.host
                );
                Err(EgressError::new(class::EGRESS, &code::CLEAR, message))
            }
            MailTls::None => {
                let mut session = Session::new(dialed.stream, server);
                session.greet().await?;
                session.mail(mail).await
            }
            MailTls::Tls => {
                let stream = self.encrypt(dialed.stream, &server.host).await?;
                let mut session = Session::new(stream, server);
                session.greet().await?;
                session.mail(mail).await
            }
            MailTls::StartTls => {
                let mut session = Session::new(dialed.stream, server);
                session.greet().await?;
                if !session.offers("STARTTLS") {
                    return Err(
                        session.broken("it offers no STARTTLS; see whether its port is the right one")
                    );
                }
                session.expect("STARTTLS", &[220]).await?;
                let stream = session.into_clean_stream()?;
                let stream = self.encrypt(stream, &server.host).await?;
                let mut session = Session::new(stream, server);
                session.hello().await?;
                session.mail(mail).await
            }
        }
    }
}

/// A conversation.
struct Session<'a, S> {
    stream: S,
    server: &'a MailServer,
    /// Read and not yet used.
    buffer: Vec<u8>,
    /// What the server offers, in capitals.
    offers: Vec<String>,
}

struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Session<'a, S> {
    fn new(stream: S, server: &'a MailServer) -> Self {
        Self { stream, server, buffer: Vec::new(), offers: Vec::new() }
    }

    /// The greeting of a fresh connection.
    async fn greet(&mut self) -> Result<(), EgressError> {
        let reply = self.reply().await?;
        self.check("the greeting", &reply, &[220])?;
        self.hello().await
    }

    async fn hello(&mut self) -> Result<(), EgressError> {
        // No server needs our name, and telling it would tell where we are.
        let reply = self.expect("EHLO [127.0.0.1]", &[250]).await?;
        self.offers = reply.lines.iter().skip(1).map(|line| line.to_ascii_uppercase()).collect();
        Ok(())
    }

    fn offers(&self, word: &str) -> bool {
        self.offers.iter().any(|line| line.split_whitespace().next() == Some(word))
    }

    /// The stream as it is, when nothing was said that nobody has asked for.
    fn into_clean_stream(self) -> Result<S, EgressError> {
        match self.buffer.is_empty() {
            true => Ok(self.stream),
            false => {
                Err(self.broken("it went on talking in clear after STARTTLS, or somebody on the way did"))
            }
        }
    }

    async fn mail(&mut self, mail: &Mail) -> Result<Delivered, EgressError> {
        if let Some((user, password)) = &mail.login {
            self.sign_in(user, password).await?;
        }
        let eight_bit = !mail.message.is_ascii();
        if eight_bit && !self.offers("8BITMIME") {
            return Err(self.broken("it takes no 8-bit mail"));
        }
        let body = if eight_bit { " BODY=8BITMIME" } else { "" };
        self.expect(&format!("MAIL FROM:<{}>{body}", mail.from), &[250]).await?;
        let mut delivered = Delivered { accepted: Vec::new(), rejected: Vec::new() };
        let mut last = None;
        for to in &mail.to {
            let reply = self.ask(&format!("RCPT TO:<{to}>")).await?;
            match reply.code {
                250 | 251 => delivered.accepted.push(to.clone()),
                _ => {
                    delivered.rejected.push((to.clone(), said(&reply)));
                    last = Some(reply);
                }
            }
        }
        if let (true, Some(reply)) = (delivered.accepted.is_empty(), last) {
            return Err(self.refused("every recipient", &reply));
        }
        self.expect("DATA", &[354]).await?;
        self.write(&dotted(&mail.message)).await?;
        self.message_end().await?;
        // The mail is taken; whether the farewell is heard changes nothing.
        let _ = self.ask("QUIT").await;
        Ok(delivered)
    }

    /// The last dot: from here on nobody knows, until the server says.
    async fn message_end(&mut self) -> Result<(), EgressError> {
        let lost = |error: EgressError| match error.class {
            class::CONNECT => {
                let message = format!("{}; the mail may have been taken all the same", error.message);
                EgressError::new(class::CUT, error.code, message)
            }
            _ => error,
        };
        self.write(b".\r\n").await.map_err(lost)?;
        let reply = self.reply().await.map_err(lost)?;
        self.check("the message", &reply, &[250])
    }

    async fn sign_in(&mut self, user: &str, password: &str) -> Result<(), EgressError> {
        let offered = self.offers.iter().find_map(|line| line.strip_prefix("AUTH "));
        let ways: Vec<String> = offered.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        let has = |way: &str| ways.iter().any(|offered| offered == way);
        let reply = if has("PLAIN") {
            let pair = Zeroizing::new(format!("\0{user}\0{password}"));
            let line = Zeroizing::new(format!("AUTH PLAIN {}", STANDARD.encode(pair.as_bytes())));
            self.ask(&line).await?
        } else if has("LOGIN") {
            self.expect("AUTH LOGIN", &[334]).await?;
            self.expect(&STANDARD.encode(user), &[334]).await?;
            let line = Zeroizing::new(STANDARD.encode(password));
            self.ask(&line).await?
        } else {
            return Err(self.broken("it offers neither `AUTH PLAIN` nor `AUTH LOGIN`"));
        };
        if reply.code == 235 {
            return Ok(());
        }
        let message = format!(
            "{} refused to sign `{user}` in: {}; check the account's user and the secret of its password",
            self.server.host,
            said(&reply)
        );
        let word = if reply.code / 100 == 4 { class::CONNECT } else { class::INVALID };
        Err(EgressError::new(word, &code::SIGN_IN, message))
    }

    async fn expect(&mut self, line: &str, codes: &[u16]) -> Result<Reply, EgressError> {
        let reply = self.ask(line).await?;
        let what = line.split([' ', ':']).next().unwrap_or_default().to_owned();
        self.check(&what, &reply, codes)?;
        Ok(reply)
    }

    async fn ask(&mut self, line: &str) -> Result<Reply, EgressError> {
        // Addresses and names were checked; a line break here would be a command of somebody else.
        if line.contains(['\r', '\n']) {
            return Err(self.broken("a line for it holds a line break"));
        }
        let whole = Zeroizing::new(format!("{line}\r\n"));
        self.write(whole.as_bytes()).await?;
        self.reply().await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), EgressError> {
        let written = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        written.await.map_err(|error| lost(self.server, &error.to_string()))
    }

    /// Reads a whole reply: lines `250-…`, the last one `250 …`.
    async fn reply(&mut self) -> Result<Reply, EgressError> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        loop {
            let line = self.line().await?;
            bytes += line.len();
            if bytes > SMTP_REPLY_BYTES_MAX {
                return Err(self.broken("its reply does not end"));
            }
            let code = line.get(..3).and_then(|code| code.parse::<u16>().ok());
            let Some(code) = code.filter(|code| (200..600).contains(code)) else {
                return Err(self.broken("what it says is not SMTP"));
            };
            let is_last = !line[3..].starts_with('-');
            lines.push(line.get(4..).unwrap_or_default().trim().to_owned());
            if is_last {
                return Ok(Reply { code, lines });
            }
        }
    }

    async fn line(&mut self) -> Result<String, EgressError> {
        let mut chunk = [0; 1024];
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned());
            }
            if self.buffer.len() > SMTP_REPLY_BYTES_MAX {
                return Err(self.broken("a line of its reply does not end"));
            }
            match self.stream.read(&mut chunk).await {
                Ok(0) => return Err(lost(self.server, "the server closed it")),
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error) => return Err(lost(self.server, &error.to_string())),
            }
        }
    }

    fn check(&self, what: &str, reply: &Reply, codes: &[u16]) -> Result<(), EgressError> {
        if codes.contains(&reply.code) { Ok(()) } else { Err(self.refused(what, reply)) }
    }

    fn refused(&self, what: &str, reply: &Reply) -> EgressError {
        let message = format!("{} refused {what}: {}", self.server.host, said(reply));
        match reply.code / 100 {
            // For now: a later try may pass.
            4 => EgressError::new(class::CONNECT, &code::LATER, message),
            _ => EgressError::new(class::INVALID, &code::REFUSED, message),
        }
    }

    fn broken(&self, why: &str) -> EgressError {
        let message =
            format!("{} on port {} cannot be used for mail: {why}", self.server.host, self.server.port);
        EgressError::new(class::INVALID, &code::PROTOCOL, message)
    }
}

fn lost(server: &MailServer, why: &str) -> EgressError {
    let message = format!("the connection to {} broke: {why}", server.host);
    EgressError::new(class::CONNECT, &crate::error::code::net::CUT, message)
}

/// A server's words for a message: one line, short.
fn said(reply: &Reply) -> String {
    let words = reply.lines.join(" ");
    let words: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    format!("{} {words}", reply.code)
}

/// The message with its end of line in place and a dot more before lines that begin with one.
fn dotted(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        out.extend_from_slice(bare.strip_suffix(b"\r").unwrap_or(bare));
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_dot_cannot_end_the_message() {
        assert_eq!(dotted(b"a\r\n.\r\n..b\nc"), b"a\r\n..\r\n...b\r\nc\r\n");
    }
}
