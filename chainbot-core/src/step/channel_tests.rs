//! Channels against servers on loopback: ntfy and Telegram over HTTP, a small broker for MQTT.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::net::testing::{Act, Server, egress_to, reply};
use crate::net::{Broker, Grant, Policy};
use crate::port::{OpenSecret, SecretText, Secrets};

/// A vault with one secret for loopback and one for nowhere.
struct Vault;

impl Secrets for Vault {
    fn open(&self, _: Option<crate::id::UserId>, name: &str) -> crate::Result<OpenSecret> {
        let hosts = match name {
            "token" => vec!["http://127.0.0.1".to_owned()],
            _ => vec!["example.com".to_owned()],
        };
        let value = SecretText::new(if name == "spaced" { "a b/../c" } else { "123:AbC-dEf" }.to_owned());
        let hosts = if name == "spaced" { vec!["http://127.0.0.1".to_owned()] } else { hosts };
        Ok(OpenSecret { value, hosts })
    }

    fn redact(&self, text: &str) -> Option<String> {
        text.contains("123:AbC-dEf").then(|| text.replace("123:AbC-dEf", "***"))
    }
}

fn executors(address: std::net::SocketAddr, way: Way) -> Executors {
    let egress = Arc::new(egress_to(&[("127.0.0.1", address)]));
    let channels = vec![Channel { name: "phone".to_owned(), way }];
    Executors::new(egress, Env::system()).with_secrets(Arc::new(Vault)).with_channels(channels)
}

fn effect(more: Value) -> Effect {
    let mut input = json!({
        "channel": "phone", "message": "a <b> & \"c\"", "title": "Beds\r\nX-Evil: 1", "type": "warning",
        "run": "r", "workflow": "garden",
    });
    for (key, value) in more.as_object().unwrap() {
        input[key] = value.clone();
    }
    let (key, run) = (EffectKey([7; 16]), RunId::from([1; 16]));
    Effect {
        kind: EffectKind::Channel,
        input: Arc::new(input),
        key,
        attempt: 1,
        run,
        owner: None,
        shared: None,
        timeout: None,
    }
}

fn body(request: &str) -> Value {
    serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

#[tokio::test]
async fn ntfy_gets_title_priority_and_tags_as_json_with_the_token_in_a_header() {
    let server = Server::start(|_, _| Act::Reply(reply(200, "", "{}"))).await;
    let way = Way::Ntfy {
        url: server.url(""),
        topic: "beds".into(),
        token: Some("token".into()),
        tags: vec!["seedling".into()],
    };
    executors(server.address, way).execute(effect(json!({}))).await.unwrap();
    let request = &server.requests()[0];
    assert!(request.starts_with("POST / HTTP/1.1"), "{request}");
    assert!(request.to_lowercase().contains("authorization: bearer 123:abc-def"), "{request}");
    let wanted = json!({
        "topic": "beds", "message": "a <b> & \"c\"", "title": "Beds\r\nX-Evil: 1", "priority": 4,
        "tags": ["warning", "seedling"],
    });
    assert_eq!(body(request), wanted);
}

#[tokio::test]
async fn telegram_gets_escaped_text_under_the_bots_path_and_its_no_is_an_error_without_the_token() {
    let server = Server::start(|number, _| match number {
        0 => Act::Reply(reply(200, "", r#"{"ok":true}"#)),
        1 => Act::Reply(reply(403, "", r#"{"ok":false,"description":"bot 123:AbC-dEf was blocked"}"#)),
        _ => Act::Reply(reply(200, "", r#"{"ok":false}"#)),
    })
    .await;
    let way = Way::Telegram { url: server.url(""), token: "token".into(), chat: "-42".into() };
    let run = executors(server.address, way);
    run.execute(effect(json!({ "title": "<i>" }))).await.unwrap();
    let request = &server.requests()[0];
    assert!(request.starts_with("POST /bot123:AbC-dEf/sendMessage HTTP/1.1"), "{request}");
    let wanted = json!({
        "chat_id": "-42", "text": "<b>&lt;i&gt;</b>\na &lt;b&gt; &amp; \"c\"", "parse_mode": "HTML",
    });
    assert_eq!(body(request), wanted);
    let blocked = run.execute(effect(json!({}))).await.unwrap_err();
    assert_eq!((blocked.error.code.as_str(), blocked.status), ("CB-0310", Some(403)));
    assert!(blocked.error.message.contains("bot *** was blocked"), "{}", blocked.error.message);
    assert_eq!(run.execute(effect(json!({}))).await.unwrap_err().error.code, "CB-1115");
}

#[tokio::test]
async fn what_a_channel_cannot_do_is_an_error_before_anything_is_sent() {
    let server = Server::start(|_, _| Act::Reply(reply(200, "", "{}"))).await;
    let telegram = |token: &str| Way::Telegram { url: server.url(""), token: token.into(), chat: "1".into() };
    let ntfy = || Way::Ntfy { url: server.url(""), topic: "t".into(), token: None, tags: Vec::new() };
    let long = json!({ "message": "x".repeat(5_000) });
    for (way, more, code) in [
        (ntfy(), json!({ "channel": "phnoe" }), "CB-1114"),
        (ntfy(), long.clone(), "CB-1111"),
        (telegram("token"), long, "CB-1111"),
        (telegram("elsewhere"), json!({}), "CB-1002"),
        (telegram("spaced"), json!({}), "CB-1007"),
    ] {
        let failure = executors(server.address, way).execute(effect(more)).await.unwrap_err();
        assert_eq!(failure.error.code, code, "{}", failure.error.message);
    }
    assert_eq!(server.counts().requests, 0);
}

/// What a broker has heard: kinds of packets with their bodies.
type Heard = Arc<Mutex<Vec<(u8, Vec<u8>)>>>;

/// A broker that answers CONNECT and PUBLISH with these bytes.
async fn broker(connack: &'static [u8], puback: &'static [u8]) -> (std::net::SocketAddr, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, heard) = (listener.local_addr().unwrap(), Heard::default());
    let of_task = heard.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            while let Ok(kind) = stream.read_u8().await {
                let (mut length, mut shift) = (0usize, 0);
                loop {
                    let byte = stream.read_u8().await.unwrap();
                    length |= usize::from(byte & 0x7f) << shift;
                    shift += 7;
                    if byte & 0x80 == 0 {
                        break;
                    }
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).await.unwrap();
                of_task.lock().push((kind, body));
                let answer = match kind >> 4 {
                    1 => connack,
                    3 => puback,
                    _ => &[],
                };
                if stream.write_all(answer).await.is_err() || (answer.is_empty() && kind >> 4 != 14) {
                    break;
                }
            }
        }
    });
    (address, heard)
}

fn mqtt(address: std::net::SocketAddr) -> Way {
    let broker = Broker { host: "127.0.0.1".into(), port: address.port(), is_encrypted: false };
    let (topic, user, password) = ("home/beds".into(), Some("me".into()), Some("token".into()));
    Way::Mqtt { broker, topic, user, password, retain: true }
}

const CONNACK: &[u8] = &[0x20, 2, 0, 0];
const PUBACK: &[u8] = &[0x40, 2, 0, 1];

#[tokio::test]
async fn a_broker_gets_one_message_with_quality_one_and_a_proper_farewell() {
    let (address, heard) = broker(CONNACK, PUBACK).await;
    let run = executors(address, mqtt(address));
    run.execute(effect(json!({ "message": "x".repeat(300) }))).await.unwrap();
    run.execute(Effect { attempt: 2, ..effect(json!({})) }).await.unwrap();
    let wait = async {
        while heard.lock().len() < 6 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), wait).await.expect("all six packets");
    let heard = heard.lock();
    assert_eq!(heard.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [0x10, 0x33, 0xe0, 0x10, 0x3b, 0xe0]);
    let connect = &heard[0].1;
    assert_eq!(connect[..12], *b"\0\x04MQTT\x04\xc2\0\x3c\0\x15");
    assert_eq!(connect[12..], *b"chainbot-070707070707\0\x02me\0\x0b123:AbC-dEf");
    let publish = &heard[1].1;
    assert_eq!(publish[..13], *b"\0\x09home/beds\0\x01");
    let message: Value = serde_json::from_slice(&publish[13..]).unwrap();
    assert_eq!((&message["title"], &message["id"]), (&json!("Beds\r\nX-Evil: 1"), &json!("07".repeat(16))));
}

#[tokio::test]
async fn a_broker_that_refuses_or_is_none_is_named_with_its_reason() {
    for (connack, puback, code, class) in [
        (&[0x20, 2, 0, 4][..], PUBACK, "CB-1115", "invalid"),
        (&[0x20, 2, 0, 3], PUBACK, "CB-1115", "connect"),
        (b"SSH-2.0-x\r\n", PUBACK, "CB-1116", "invalid"),
        (&[0x20, 0xff, 0xff, 0xff, 0xff], PUBACK, "CB-1116", "invalid"),
        // Nobody knows whether it has the message.
        (CONNACK, &[], "CB-0622", "cut"),
    ] {
        let (address, _) = broker(connack, puback).await;
        let failure = executors(address, mqtt(address)).execute(effect(json!({}))).await.unwrap_err();
        assert_eq!(failure.error.class, class, "{}", failure.error.message);
        if class != "cut" {
            assert_eq!(failure.error.code, code, "{}", failure.error.message);
        }
    }
}

#[tokio::test]
async fn a_message_travels_in_clear_only_to_where_it_may() {
    let policy = Policy { grants: Vec::<Grant>::new(), public: true, own_addresses: Vec::new() };
    let egress = Arc::new(crate::net::Egress::new(policy, Env::system()).unwrap());
    let broker = Broker { host: "192.168.7.7".into(), port: 1_883, is_encrypted: false };
    let way = Way::Mqtt { broker, topic: "t".into(), user: None, password: None, retain: false };
    let channels = vec![Channel { name: "phone".to_owned(), way }];
    let run = Executors::new(egress, Env::system()).with_channels(channels);
    let failure = run.execute(effect(json!({}))).await.unwrap_err();
    assert_eq!((failure.error.code.as_str(), failure.error.class.as_str()), ("CB-0601", "egress"));
}
