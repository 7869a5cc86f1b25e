//! Secrets, signatures and mail against servers on loopback: what is sent, what is refused, what is written down.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::*;
use crate::error::Result as CoreResult;
use crate::error::code::secret as code;
use crate::net::testing::{Act, Server, egress_to, reply};
use crate::net::{MailServer, MailTls};
use crate::port::{OpenSecret, SecretText};

const CANARY: &str = "canary-5e1f-value";
const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Every secret has the canary or the key, and these hosts.
struct Given(Vec<String>);

impl Secrets for Given {
    fn open(&self, _: Option<crate::id::UserId>, name: &str) -> CoreResult<OpenSecret> {
        let value = match name {
            "token" => CANARY,
            "login" => "user:canary-5e1f-value",
            "sign" => KEY,
            _ => return Err(crate::Error::new(&code::NOT_FOUND, format!("there is no secret `{name}`"))),
        };
        Ok(OpenSecret { value: SecretText::new(value.to_owned()), hosts: self.0.clone() })
    }

    fn redact(&self, text: &str) -> Option<String> {
        text.contains(CANARY).then(|| text.replace(CANARY, "***"))
    }
}

fn executors(grants: &[(&str, SocketAddr)], hosts: &[String]) -> Executors {
    Executors::new(Arc::new(egress_to(grants)), Env::system()).with_secrets(Arc::new(Given(hosts.to_vec())))
}

fn effect(kind: EffectKind, input: Value) -> Effect {
    let (key, run) = (EffectKey([7; 16]), RunId::from([1; 16]));
    Effect { kind, input: Arc::new(input), key, attempt: 1, run, owner: None, shared: None, timeout: None }
}

/// An `api_call` whose text at `at` is the secret after `before`.
fn call(url: String, at: &str, before: &str, more: Value) -> Effect {
    let mut input = json!({
        "url": url, "method": "GET", "response": "auto", "follow_redirects": true, "idempotent": false,
        "secrets": [{ "at": at, "parts": [before, { "secret": "token" }] }],
    });
    for (key, value) in more.as_object().unwrap() {
        input[key] = value.clone();
    }
    effect(EffectKind::ApiCall, input)
}

fn bearer(url: String) -> Effect {
    call(url, "/headers/X-Key", "v ", json!({ "headers": { "X-Key": "v ***" } }))
}

async fn echo() -> Server {
    Server::start(|_, request| Act::Reply(reply(200, "Content-Type: text/plain\r\n", request))).await
}

#[tokio::test]
async fn a_secret_goes_to_its_host_only_and_an_echo_of_it_is_taken_out() {
    let server = echo().await;
    let allowed = [format!("http://{}", server.address)];
    let grants = [("127.0.0.1", server.address)];
    let output = executors(&grants, &allowed).execute(bearer(server.url("/"))).await.unwrap();
    assert!(server.requests()[0].contains(&format!("x-key: v {CANARY}\r\n")), "{:?}", server.requests());
    let text = output.to_string();
    assert!(text.contains("x-key: v ***") && !text.contains(CANARY), "{text}");
    for hosts in [vec![], vec!["api.example.com".to_owned()], vec![server.address.to_string()]] {
        let failure = executors(&grants, &hosts).execute(bearer(server.url("/"))).await.unwrap_err();
        assert_eq!((failure.error.class.as_str(), failure.error.code.as_str()), ("egress", "CB-1002"));
        assert!(failure.error.message.contains("--host http://127.0.0.1:"), "{}", failure.error.message);
    }
    let mut unknown = (*bearer(server.url("/")).input).clone();
    unknown["secrets"][0]["parts"][1] = json!({ "secret": "tokn" });
    let failure =
        executors(&grants, &allowed).execute(effect(EffectKind::ApiCall, unknown)).await.unwrap_err();
    assert_eq!(failure.error.code, "CB-1000");
    assert_eq!(server.counts().requests, 1, "nothing else was sent");
}

#[tokio::test]
async fn a_secret_in_the_url_is_encoded_and_cannot_choose_the_host() {
    let server = echo().await;
    let run = executors(&[("127.0.0.1", server.address)], &[format!("http://{}", server.address)]);
    let url = server.url("/bot");
    run.execute(call(format!("{url}***/send"), "/url", &url, json!({}))).await.unwrap();
    assert!(
        server.requests()[0].starts_with(&format!("GET /bot{CANARY} HTTP/1.1")),
        "{}",
        server.requests()[0]
    );
    let failure = run.execute(call("http://***".into(), "/url", "http://", json!({}))).await.unwrap_err();
    assert!(!failure.error.message.contains(CANARY), "{}", failure.error.message);
    assert_eq!(server.counts().requests, 1);
}

#[tokio::test]
async fn a_redirect_takes_no_secret_to_another_origin() {
    let other = echo().await;
    let away = other.url("/away");
    for (status, sends_body) in [(302, false), (307, true)] {
        let location = format!("Location: {away}\r\n");
        let server = Server::start(move |_, _| Act::Reply(reply(status, &location, ""))).await;
        let grants = [("127.0.0.1", server.address), ("127.0.0.1", other.address)];
        let run = executors(&grants, &[format!("http://{}", server.address)]);
        let before = other.counts().requests;
        let sent = match sends_body {
            false => run.execute(bearer(server.url("/"))).await,
            true => {
                let more = json!({ "method": "POST", "json": { "k": "***" } });
                run.execute(call(server.url("/"), "/json/k", "", more)).await
            }
        };
        assert_eq!(server.counts().requests, 1);
        match sends_body {
            false => {
                assert_eq!(sent.unwrap()["status_code"], 200);
                assert!(!other.requests().concat().contains(CANARY));
            }
            true => {
                assert_eq!(sent.unwrap_err().error.code, "CB-0612");
                assert_eq!(other.counts().requests, before, "the body did not go on");
            }
        }
    }
}

#[tokio::test]
async fn auth_makes_the_header() {
    let server = echo().await;
    let run = executors(&[("127.0.0.1", server.address)], &[format!("http://{}", server.address)]);
    for (at, name, auth, header) in [
        ("/auth/bearer", "token", json!({ "bearer": "***" }), format!("authorization: Bearer {CANARY}\r\n")),
        (
            "/auth/basic/password",
            "login",
            json!({ "basic": { "password": "***" } }),
            "authorization: Basic dXNlcjpjYW5hcnktNWUxZi12YWx1ZQ==\r\n".to_owned(),
        ),
        (
            "/auth/basic/password",
            "token",
            json!({ "basic": { "user": "user", "password": "***" } }),
            "authorization: Basic dXNlcjpjYW5hcnktNWUxZi12YWx1ZQ==\r\n".to_owned(),
        ),
        (
            "/auth/header/value",
            "token",
            json!({ "header": { "name": "X-K", "value": "***" } }),
            format!("x-k: {CANARY}\r\n"),
        ),
    ] {
        let secrets = json!([{ "at": at, "parts": [{ "secret": name }] }]);
        run.execute(call(server.url("/"), "", "", json!({ "auth": auth, "secrets": secrets })))
            .await
            .unwrap();
        let seen = server.requests().pop().unwrap();
        assert!(seen.contains(&header), "{header}: {seen}");
    }
}

#[tokio::test]
async fn a_webhook_is_signed_over_what_is_sent_by_every_key() {
    let server = echo().await;
    // No host is allowed: a key that signs is not sent.
    let run = executors(&[("127.0.0.1", server.address)], &[]);
    let input = json!({
        "url": server.url("/hook"), "payload": { "a": 1 }, "secret": ["***", "***"],
        "secrets": [
            { "at": "/secret/0", "parts": [{ "secret": "sign" }] },
            { "at": "/secret/1", "parts": [{ "secret": "sign" }] },
        ],
    });
    run.execute(effect(EffectKind::Webhook, input)).await.unwrap();
    let seen = server.requests().pop().unwrap();
    let header =
        |name: &str| seen.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    let (id, at) = (header("webhook-id:"), header("webhook-timestamp:"));
    let expected = signature::webhook(&[KEY, KEY], &id, &at, br#"{"a":1}"#).unwrap();
    assert_eq!(header("webhook-signature:"), expected);
    assert!(seen.ends_with("\r\n\r\n{\"a\":1}") && !seen.contains("whsec_"), "{seen}");
}

#[tokio::test]
async fn a_keyed_hash_is_made_and_its_input_can_be_no_secret() {
    let run = executors(&[], &[]);
    let input = json!({ "input": "a", "secret": "***", "secrets": [{ "at": "/secret", "parts": [{ "secret": "token" }] }] });
    let output = run.execute(effect(EffectKind::Hmac, input)).await.unwrap();
    let mac = signature::hmac_sha256(CANARY.as_bytes(), &[b"a"]).unwrap();
    let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(output, json!({ "transformed": hex }));
    let input = json!({ "input": "***", "secret": "x", "secrets": [{ "at": "/input", "parts": [{ "secret": "token" }] }] });
    assert!(run.execute(effect(EffectKind::Hmac, input)).await.is_err());
}

#[tokio::test]
async fn pages_are_put_together_within_one_origin_and_a_bound() {
    let server = Server::start(|number, request| {
        let last = number == 2 || request.contains("/elsewhere");
        let link = if last { String::new() } else { format!("Link: </p{}>; rel=\"next\"\r\n", number + 1) };
        let head = format!("Content-Type: application/json\r\n{link}");
        Act::Reply(reply(200, &head, format!("[{number}]")))
    })
    .await;
    let run = executors(&[("127.0.0.1", server.address)], &[]);
    let page = |pagination: Value| {
        effect(
            EffectKind::ApiCall,
            json!({ "url": server.url("/p0"), "method": "GET", "pagination": pagination }),
        )
    };
    let output = run.execute(page(json!({ "link": true }))).await.unwrap();
    assert_eq!((&output["data"], &output["pages"]), (&json!([0, 1, 2]), &json!(3)));

    let endless = Server::start(|number, _| {
        let body = format!(r#"{{"items":[{number}],"meta":{{"next":"?p={number}"}}}}"#);
        Act::Reply(reply(200, "Content-Type: application/json\r\n", body))
    })
    .await;
    let run = executors(&[("127.0.0.1", endless.address)], &[]);
    let pagination = json!({ "next": "meta.next", "items": "items", "max_pages": 3 });
    let input = json!({ "url": endless.url("/"), "method": "GET", "pagination": pagination });
    let failure = run.execute(effect(EffectKind::ApiCall, input)).await.unwrap_err();
    assert_eq!((failure.error.code.as_str(), endless.counts().requests), ("CB-0320", 3));

    let away = Server::start(|_, _| {
        Act::Reply(reply(
            200,
            "Content-Type: application/json\r\nLink: <http://127.0.0.1:1/>; rel=next\r\n",
            "[]",
        ))
    })
    .await;
    let run = executors(&[("127.0.0.1", away.address)], &[]);
    let input = json!({ "url": away.url("/"), "method": "GET", "pagination": { "link": true } });
    let failure = run.execute(effect(EffectKind::ApiCall, input)).await.unwrap_err();
    assert_eq!(failure.error.code, "CB-0612");
}

#[tokio::test]
async fn multipart_holds_values_and_no_name_ends_its_header() {
    let server = echo().await;
    let run = executors(&[("127.0.0.1", server.address)], &[]);
    let parts = json!({ "a\"\r\nX: y": "text", "f": { "base64": "AAEC", "filename": "x.bin", "content_type": "image/png" } });
    let input = json!({ "url": server.url("/"), "method": "POST", "multipart": parts });
    run.execute(effect(EffectKind::ApiCall, input)).await.unwrap();
    let seen = server.requests().pop().unwrap();
    assert!(seen.contains("content-type: multipart/form-data; boundary=chainbot-"), "{seen}");
    assert!(seen.contains("form-data; name=\"a%22%0D%0AX: y\"\r\n\r\ntext\r\n"), "{seen}");
    assert!(
        seen.contains("name=\"f\"; filename=\"x.bin\"\r\nContent-Type: image/png\r\n\r\n\u{0}\u{1}\u{2}\r\n"),
        "{seen}"
    );
}

/// Beginnings of commands and what they are answered.
type Words = &'static [(&'static str, &'static str)];

/// A mail server for one mail; gives all that it read. `words` answers commands by their beginning.
fn mail_server(tls: MailTls, words: Words) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut seen = String::new();
        if tls == MailTls::None {
            talk(socket, words, true, &mut seen);
        } else if tls == MailTls::Tls {
            talk(encrypted(socket), words, true, &mut seen);
        } else if talk(socket.try_clone().unwrap(), words, true, &mut seen) {
            talk(encrypted(socket), words, false, &mut seen);
        }
        seen
    });
    (address, thread)
}

fn encrypted(socket: std::net::TcpStream) -> StreamOwned<ServerConnection, std::net::TcpStream> {
    let key = PrivateKeyDer::try_from(include_bytes!("../net/tests/data/leaf.key.der").to_vec()).unwrap();
    let certificate = CertificateDer::from(&include_bytes!("../net/tests/data/leaf.der")[..]);
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), socket)
}

/// Whether STARTTLS was asked for. Ends with the connection.
fn talk(stream: impl std::io::Read + Write, words: &[(&str, &str)], greets: bool, seen: &mut String) -> bool {
    let mut stream = BufReader::with_capacity(1, stream);
    let say = |stream: &mut BufReader<_>, text: &str| {
        let inner: &mut dyn Write = BufReader::<_>::get_mut(stream);
        // A client that has what it wants may be gone.
        let _ = inner.write_all(text.as_bytes()).and_then(|()| inner.flush());
    };
    if greets {
        say(&mut stream, "220 mail.test ready\r\n");
    }
    let mut in_data = false;
    loop {
        let mut line = String::new();
        if !stream.read_line(&mut line).is_ok_and(|count| count > 0) {
            return false;
        }
        seen.push_str(&line);
        if in_data {
            if line == ".\r\n" {
                in_data = false;
                let own =
                    words.iter().find(|(start, _)| *start == ".").map_or("250 taken\r\n", |(_, text)| text);
                say(&mut stream, own);
            }
            continue;
        }
        let own = words.iter().find(|(start, _)| line.starts_with(start)).map(|(_, text)| *text);
        let usual = match line.split([' ', '\r']).next().unwrap() {
            "EHLO" => "250-mail.test\r\n250-STARTTLS\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN\r\n",
            "STARTTLS" => "220 go\r\n",
            "AUTH" => "235 in\r\n",
            "DATA" => "354 go\r\n",
            "QUIT" => "221 bye\r\n",
            _ => "250 ok\r\n",
        };
        in_data = line.starts_with("DATA") && own.is_none();
        say(&mut stream, own.unwrap_or(usual));
        if line.starts_with("STARTTLS") && own.is_none() {
            return true;
        }
        if line.starts_with("QUIT") {
            return false;
        }
    }
}

async fn mail(tls: MailTls, words: Words, allowed: &str) -> (Result<Value, Failure>, Option<String>) {
    let (address, server) = mail_server(tls, words);
    let egress = egress_to(&[("tls.test", address)]);
    egress.clients().trust(CertificateDer::from(&include_bytes!("../net/tests/data/ca.der")[..]));
    let account = MailAccount {
        name: "main".into(),
        server: MailServer { host: "tls.test".into(), port: address.port(), tls },
        user: Some("user".into()),
        password: Some("token".into()),
        from: "bot@example.com".into(),
    };
    let run = Executors::new(Arc::new(egress), Env::system())
        .with_secrets(Arc::new(Given(vec![allowed.to_owned()])))
        .with_mail(vec![account]);
    let input = json!({ "to": ["a@example.com", "b@example.com"], "bcc": "c@example.com", "subject": "Hi", "body": "one\n.\ntwo" });
    let sent = run.execute(effect(EffectKind::Email, input)).await;
    let connected = !matches!(&sent, Err(failure) if failure.error.code == "CB-1002");
    (sent, connected.then(|| server.join().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_is_delivered_over_each_way_and_the_password_is_sent_once() {
    for tls in [MailTls::None, MailTls::StartTls, MailTls::Tls] {
        let (sent, seen) = mail(tls, &[("RCPT TO:<b@", "550 no such user\r\n")], "tls.test").await;
        let (output, seen) = (sent.unwrap(), seen.unwrap());
        assert_eq!(output["accepted"], json!(["a@example.com", "c@example.com"]));
        assert_eq!(output["rejected"], json!([{ "address": "b@example.com", "reason": "550 no such user" }]));
        assert_eq!(output["message_id"], "<07070707070707070707070707070707@example.com>");
        // "\0user\0canary-5e1f-value"
        assert!(seen.contains("AUTH PLAIN AHVzZXIAY2FuYXJ5LTVlMWYtdmFsdWU=\r\n"), "{seen}");
        assert!(seen.contains("\r\none\r\n..\r\ntwo\r\n"), "{seen}");
        assert!(!seen.split("DATA").nth(1).unwrap().contains("c@example.com"), "bcc is not shown: {seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_mail_server_refuses_has_a_class_and_no_secret_in_it() {
    let cases: [(Words, &str, &str); 7] = [
        (&[("RCPT", "550 nobody\r\n")], "invalid", "CB-1103"),
        (&[("RCPT", "451 later\r\n")], "connect", "CB-1104"),
        (&[("MAIL", "552 no\r\n")], "invalid", "CB-1103"),
        (&[("AUTH", "535 wrong canary-5e1f-value\r\n")], "invalid", "CB-1105"),
        (&[("EHLO", "250 mail.test\r\n")], "invalid", "CB-1106"),
        (&[("STARTTLS", "220 go\r\n250 injected\r\n")], "invalid", "CB-1106"),
        (&[(".", "554 spam\r\n")], "invalid", "CB-1103"),
    ];
    for (words, class, code) in cases {
        let (sent, _) = mail(MailTls::StartTls, words, "tls.test").await;
        let error = sent.unwrap_err().error;
        assert_eq!(
            (error.class.as_str(), error.code.as_str()),
            (class, code),
            "{words:?}: {}",
            error.message
        );
        assert!(!error.message.contains(CANARY), "{}", error.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_not_sent_to_a_server_it_does_not_allow() {
    let (sent, _) = mail(MailTls::StartTls, &[], "other.test").await;
    assert_eq!(sent.unwrap_err().error.code, "CB-1002");
}
