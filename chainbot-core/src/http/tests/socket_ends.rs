//! How WebSockets end, and what they are refused for.

use std::time::Duration;

use futures_util::SinkExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::accounts::bearer;
use super::port::Port;
use super::socket::PAGE;
use crate::http::live::SocketLimits;
use crate::id::RunId;

fn quick() -> SocketLimits {
    SocketLimits { recheck: Duration::from_millis(20), ..Default::default() }
}

#[tokio::test]
async fn a_socket_ends_at_once_with_what_let_it_in() {
    // Looking again by itself is an hour away: only the change itself can end it.
    let port = Port::with(SocketLimits { recheck: Duration::from_secs(3_600), ..Default::default() }).await;
    port.bench.user("boss", "admin").await;
    for name in ["mia", "tom", "ida", "eve"] {
        port.bench.user(name, "viewer").await;
    }
    let local = bearer(&port.bench.token);
    let access = port.bench.access_of("mia").await;
    let cookie = format!("Cookie: __Host-cb={access}");
    let mut page = port.try_socket("/api/chainbot/ws", &[&cookie, PAGE[0], PAGE[1]]).await.unwrap();
    let mut program = port.socket_of(&access).await;
    let (token, id) = port.bench.api_token("tom", &json!(["chainbot:read"]), 9).await;
    let mut by_token = port.socket_of(&token).await;
    let mut disabled = port.socket_of(&port.bench.access_of("ida").await).await;
    let mut raised = port.socket_of(&port.bench.access_of("eve").await).await;
    let mut other = port.socket().await;
    for client in [&mut page, &mut program, &mut by_token, &mut disabled, &mut raised, &mut other] {
        client.send(json!({ "type": "subscribe", "topics": ["#"] })).await;
    }
    assert_eq!(port.bench.ask("POST auth/logout", &[&bearer(&access)], "", "").await.status, 204);
    assert_eq!((page.end().await.0, program.end().await.0), (4401, 4401));
    assert_eq!(port.bench.ask(&format!("DELETE tokens/{id}"), &[&local], "", "").await.status, 204);
    assert_eq!(by_token.end().await.0, 4401);
    port.bench.ask("PATCH users/ida", &[&local], "", r#"{"active":false}"#).await;
    assert_eq!(disabled.end().await.0, 4401);
    port.bench.ask("PATCH users/eve", &[&local], "", r#"{"role":"editor"}"#).await;
    assert_eq!(raised.end().await.0, 4401);
    other.send(json!({ "type": "ping" })).await;
    while other.frame().await["type"] != "pong" {}
}

#[tokio::test]
async fn what_runs_out_ends_the_socket_at_the_next_look() {
    let port = Port::with(quick()).await;
    port.bench.user("boss", "admin").await;
    port.bench.user("mia", "viewer").await;
    let (token, _) = port.bench.api_token("mia", &json!(["chainbot:read"]), 1).await;
    let mut client = port.socket_of(&token).await;
    port.bench.clock.advance(Duration::from_secs(86_401));
    assert_eq!(client.end().await.0, 4401);
}

#[tokio::test]
async fn nothing_is_told_after_the_end_of_a_login() {
    let port = Port::with(SocketLimits::default()).await;
    port.bench.user("boss", "admin").await;
    port.bench.user("mia", "viewer").await;
    let access = port.bench.access_of("mia").await;
    let run: RunId = port.bench.run("a").await.parse().unwrap();
    let mut client = port.socket_of(&access).await;
    client.subscribe(&["run.#"], None).await;
    port.bench.ask("POST auth/logout", &[&bearer(&access)], "", "").await;
    port.done(run, 1, json!("secret"));
    let first = client.message().await;
    assert!(matches!(first, Some(Message::Close(_))), "{first:?}");
}

#[tokio::test]
async fn mistakes_are_named_and_too_many_end_it() {
    let port = Port::with(SocketLimits::default()).await;
    let mut client = port.socket().await;
    let cases = [
        ("{", "CB-0007"),
        ("[]", "CB-0017"),
        ("\"x\"", "CB-0017"),
        ("{}", "CB-0017"),
        (r#"{"type": 1}"#, "CB-0017"),
        (r#"{"type": "subscribe"}"#, "CB-0827"),
        (r#"{"type": "subscribe", "topics": "run.*"}"#, "CB-0017"),
        (r#"{"type": "subscribe", "topics": ["a..b"]}"#, "CB-0827"),
        (r#"{"type": "subscribe", "topics": ["run.*"], "since": -1}"#, "CB-0017"),
        (r#"{"type": "subscribe", "topic": ["run.*"]}"#, "CB-0008"),
        (r#"{"type": "auth", "topics": []}"#, "CB-0826"),
        (r#"{"type": "subscrib"}"#, "CB-0826"),
    ];
    for (text, code) in cases {
        client.0.send(Message::Text(text.into())).await.unwrap();
        let frame = client.frame().await;
        assert_eq!(
            (&frame["type"], &frame["data"]["code"]),
            (&json!("error"), &json!(code)),
            "{text}: {frame}"
        );
    }
    client.0.send(Message::Text(r#"{"type": "subscrib"}"#.into())).await.unwrap();
    assert_eq!(client.frame().await["data"]["help"], "did you mean `subscribe`?");
    client.subscribe(&["run.*"], None).await;
    for _ in 0..3 {
        client.0.send(Message::Text("{".into())).await.unwrap();
    }
    assert_eq!(client.end().await.0, 4400);
}

#[tokio::test]
async fn bytes_large_messages_and_nonsense_end_it_with_their_code() {
    let port = Port::with(SocketLimits { message_bytes: 2_000, ..Default::default() }).await;
    let mut client = port.socket().await;
    client.0.send(Message::Binary(vec![1, 2].into())).await.unwrap();
    assert_eq!(client.end().await.0, 1003);
    let mut client = port.socket().await;
    let fits = format!(r#"{{"type":"ping","id":"{}"}}"#, "x".repeat(60));
    client.0.send(Message::Text(fits.into())).await.unwrap();
    assert_eq!(client.frame().await["type"], "pong");
    client.0.send(Message::Text("x".repeat(2_001).into())).await.unwrap();
    assert_eq!(client.end().await.0, 1009);
    // A frame that is not masked; one whose text is not UTF-8, masked with zeros.
    for (bytes, code) in [(&[0x81, 1, b'x'][..], 1002u16), (&[0x81, 0x81, 0, 0, 0, 0, 0xff], 1007)] {
        let mut raw = raw(&port).await;
        raw.write_all(bytes).await.unwrap();
        let mut reply = Vec::new();
        raw.read_to_end(&mut reply).await.unwrap();
        let close = reply.windows(2).any(|pair| pair == code.to_be_bytes());
        assert!(close && reply.contains(&0x88), "{code}: {reply:?}");
    }
}

/// A WebSocket without a client library, past the head of the answer.
async fn raw(port: &Port) -> TcpStream {
    let mut stream = TcpStream::connect(port.address).await.unwrap();
    let head = format!(
        "GET /api/chainbot/ws HTTP/1.1\r\nHost: pi.local\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{}\r\n\r\n",
        bearer(&port.bench.token)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.unwrap());
    }
    let text = String::from_utf8(text).unwrap().to_lowercase();
    assert!(text.starts_with("http/1.1 101 ") && text.contains("s3pplmbitxaq9kygzzhzrbk+xoo="), "{text}");
    stream
}

#[tokio::test]
async fn places_are_bounded_in_all_for_each_user_and_for_strangers() {
    let port = Port::with(SocketLimits { connections: 3, per_user: 2, ..Default::default() }).await;
    port.bench.user("boss", "admin").await;
    port.bench.user("mia", "viewer").await;
    let access = port.bench.access_of("mia").await;
    let refused = (429, "CB-0828".to_owned());
    let first = port.socket_of(&access).await;
    let _second = port.socket_of(&access).await;
    let of_mia = bearer(&access);
    assert_eq!(port.try_socket("/api/chainbot/ws", &[&of_mia]).await.err().unwrap(), refused);
    let mut stranger = port.try_socket("/api/chainbot/ws", &[]).await.unwrap();
    stranger.send(json!({ "type": "auth", "token": access })).await;
    assert_eq!(stranger.end().await.0, 4429);
    drop(stranger);
    let health = async || port.bench.get("health").await.json()["checks"]["websocket"]["status"].clone();
    let free = async |open: usize| {
        while port.open_sockets() != open {
            tokio::task::yield_now().await;
        }
    };
    free(2).await;
    assert_eq!(health().await, "healthy");
    let _third = port.socket().await;
    assert_eq!(health().await, "degraded");
    assert_eq!(
        port.try_socket("/api/chainbot/ws", &[&bearer(&port.bench.token)]).await.err().unwrap(),
        refused
    );
    drop(first);
    free(2).await;
    port.socket_of(&access).await;
}

#[tokio::test]
async fn a_client_that_gives_no_sign_of_life_is_closed() {
    let limits = SocketLimits {
        ping_interval: Duration::from_millis(20),
        ping_timeout: Duration::from_millis(50),
        close_timeout: Duration::from_millis(20),
        ..Default::default()
    };
    let port = Port::with(limits).await;
    // One that answers pings stays, whatever it says.
    let mut alive = port.socket().await;
    // This one reads nothing, so it answers nothing.
    let mut dead = raw(&port).await;
    let mut bytes = Vec::new();
    let gone = async { dead.read_to_end(&mut bytes).await };
    tokio::select! {
        gone = gone => drop(gone.unwrap()),
        message = alive.message() => panic!("{message:?}"),
    }
    assert!(bytes.windows(2).any(|pair| pair == 4408u16.to_be_bytes()));
    alive.send(json!({ "type": "ping" })).await;
    assert_eq!(alive.frame().await["type"], "pong");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_closed_and_one_that_is_only_slow_gets_everything() {
    let limits = SocketLimits {
        // Long enough for the other one on a busy machine.
        ping_timeout: Duration::from_secs(3),
        close_timeout: Duration::from_millis(20),
        queue_frames: 8,
        ..Default::default()
    };
    let port = Port::with(limits).await;
    let run: RunId = port.bench.run("a").await.parse().unwrap();
    let mut slow = port.socket().await;
    slow.subscribe(&["run.*.step.#"], None).await;
    let mut dead = raw(&port).await;
    // Masked with zeros, which changes nothing.
    let text = br#"{"type":"subscribe","topics":["run.#"],"since":1}"#;
    dead.write_all(&[&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], &text[..]].concat()).await.unwrap();
    // More than the kernel takes on both sides of a connection.
    let large = "x".repeat(15_000);
    for node in 0..1_500 {
        port.done(run, node, json!(large));
    }
    for node in 0..1_500 {
        assert_eq!(slow.frame().await["data"]["lsn"], node + 2);
    }
    while port.open_sockets() != 1 {
        tokio::task::yield_now().await;
    }
    slow.send(json!({ "type": "ping" })).await;
    assert_eq!(slow.frame().await["type"], "pong");
}

#[tokio::test]
async fn the_end_of_the_service_is_told() {
    let port = Port::with(SocketLimits::default()).await;
    let (mut client, mut stranger) =
        (port.socket().await, port.try_socket("/api/chainbot/ws", &[]).await.unwrap());
    client.subscribe(&["#"], None).await;
    port.stop.send(()).unwrap();
    assert_eq!((client.end().await.0, stranger.end().await.0), (1001, 1001));
    drop((client, stranger));
    port.task.await.unwrap();
}
