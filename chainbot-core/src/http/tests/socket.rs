//! The WebSocket over real connections, with a client of another author: who gets in, what is told, what is told again.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::Bench;
use super::accounts::bearer;
use super::port::Port;
use crate::env::{Env, SeededRandom, VirtualClock};
use crate::http::ApiLimits;
use crate::http::live::{SocketLimits, of_health, of_line};
use crate::id::{NodeId, RunId};
use crate::model::{Place, RecordBody};
use crate::observe::Line;

/// Only turns a hanging test into a failing one.
pub const HANG: Duration = Duration::from_secs(120);
pub const PAGE: [&str; 2] = ["Origin: http://pi.local", "Sec-Fetch-Site: same-origin"];

/// A client of the other author's.
pub struct Client(pub WebSocketStream<TcpStream>);

impl Port {
    pub async fn with(sockets: SocketLimits) -> Self {
        let limits = ApiLimits { rate_per_s: 0, ..Default::default() };
        Self::of(Bench::made(limits, 1.0, sockets)).await
    }

    /// Opens a WebSocket, or gives the status and code of the refusal.
    pub async fn try_socket(&self, path: &str, headers: &[&str]) -> Result<Client, (u16, String)> {
        let mut request = format!("ws://pi.local{path}").into_client_request().unwrap();
        for line in headers {
            let (name, value) = line.split_once(": ").unwrap();
            let name = HeaderName::try_from(name.to_lowercase()).unwrap();
            request.headers_mut().insert(name, HeaderValue::try_from(value).unwrap());
        }
        let stream = TcpStream::connect(self.address).await.unwrap();
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(Client(socket)),
            Err(WsError::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
                Err((response.status().as_u16(), problem["code"].as_str().unwrap_or_default().to_owned()))
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// One with the token of the data folder, past its welcome.
    pub async fn socket(&self) -> Client {
        self.socket_of(&self.bench.token).await
    }

    pub async fn socket_of(&self, token: &str) -> Client {
        let mut client = self.try_socket("/api/chainbot/ws", &[&bearer(token)]).await.unwrap();
        assert_eq!(client.frame().await["type"], "welcome");
        client
    }

    pub fn open_sockets(&self) -> usize {
        self.bench.live.seats.open()
    }

    pub fn done(&self, run: RunId, node: u32, output: Value) {
        let place = Place { node: NodeId(node), path: vec![] };
        let body = RecordBody::StepCompleted { place, attempt: 1, output: output.into() };
        self.bench.engine.record(run, body);
    }
}

impl Client {
    pub async fn send(&mut self, frame: Value) {
        self.0.send(Message::Text(frame.to_string().into())).await.unwrap();
    }

    /// The next message that is no ping or pong; `None` at the end.
    pub async fn message(&mut self) -> Option<Message> {
        loop {
            let next = tokio::time::timeout(HANG, self.0.next()).await.expect("nothing comes");
            match next? {
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(message) => return Some(message),
                Err(_) => return None,
            }
        }
    }

    pub async fn frame(&mut self) -> Value {
        match self.message().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).unwrap(),
            other => panic!("no frame: {other:?}"),
        }
    }

    pub async fn subscribe(&mut self, topics: &[&str], since: Option<i64>) -> Value {
        let mut frame = json!({ "type": "subscribe", "topics": topics });
        if let Some(since) = since {
            frame["since"] = json!(since);
        }
        self.send(frame).await;
        let reply = self.frame().await;
        assert_eq!(reply["type"], "subscribed", "{reply}");
        reply
    }

    /// The code and reason of the end, past whatever comes before it.
    pub async fn end(&mut self) -> (u16, String) {
        loop {
            match self.message().await {
                Some(Message::Close(Some(frame))) => return (frame.code.into(), frame.reason.to_string()),
                Some(Message::Text(_)) => {}
                other => panic!("no end: {other:?}"),
            }
        }
    }

    /// Comes with everything before it.
    async fn pong(&mut self) -> (Vec<Value>, Value) {
        self.send(json!({ "type": "ping", "id": "p" })).await;
        let mut before = Vec::new();
        loop {
            let frame = self.frame().await;
            if frame["type"] == "pong" {
                return (before, frame);
            }
            before.push(frame);
        }
    }
}

#[tokio::test]
async fn a_client_hears_what_it_subscribed_to_in_this_form() {
    let port = Port::with(SocketLimits::default()).await;
    let run: RunId = port.bench.run("greet").await.parse().unwrap();
    let mut client = port.socket().await;
    let reply = client.subscribe(&["run.*.step.#"], None).await;
    let expect = json!({ "type": "subscribed", "topic": null, "seq": 1, "time": "2026-01-01T00:00:00.000Z",
        "data": { "topics": ["run.*.step.#"] } });
    assert_eq!(reply, expect);
    port.done(run, 3, json!("hello"));
    let expect = json!({ "type": "step.completed", "topic": format!("run.{run}.step.completed"), "seq": 2,
        "time": "2026-01-01T00:00:00.000Z",
        "data": { "type": "step.completed", "run": run, "seq": 1, "lsn": 2, "time": "2026-01-01T00:00:00.000Z",
            "step": "step_3", "path": [], "attempt": 1, "output": "hello" } });
    assert_eq!(client.frame().await, expect);
    client.subscribe(&[&format!("run.{run}"), "workflow.greet.run"], None).await;
    port.bench.engine.record(run, RecordBody::RunCompleted { output: json!(null).into() });
    let (first, second) = (client.frame().await, client.frame().await);
    let state = json!({ "run": run, "workflow_id": first["data"]["workflow_id"], "workflow": "greet",
        "status": "completed", "event": "run.completed" });
    assert_eq!(
        (&first["topic"], &first["seq"], &first["data"]),
        (&json!("workflow.greet.run"), &Value::Null, &state)
    );
    assert_eq!(
        (&second["topic"], &second["seq"]),
        (&json!(format!("run.{run}")), &json!(3)),
        "the last one says where"
    );
    client.send(json!({ "type": "unsubscribe", "topics": ["run.*.step.#"], "id": "u1" })).await;
    let reply = client.frame().await;
    assert_eq!(reply["data"]["id"], "u1");
    port.done(run, 4, json!(1));
    let (before, pong) = client.pong().await;
    assert!(before.iter().all(|frame| frame["topic"] == format!("run.{run}")), "{before:?}");
    assert_eq!((&pong["data"]["id"], &pong["topic"]), (&json!("p"), &Value::Null));
}

#[tokio::test]
async fn every_way_to_say_who_it_is_lets_in_and_no_other() {
    let port = Port::with(SocketLimits { auth_time: Duration::from_millis(100), ..Default::default() }).await;
    port.bench.user("boss", "admin").await;
    port.bench.user("mia", "viewer").await;
    let access = port.bench.access_of("mia").await;
    let (api, _) = port.bench.api_token("mia", &json!(["chainbot:read"]), 9).await;
    let (narrow, _) = port.bench.api_token("mia", &json!(["metrics:read"]), 9).await;
    let ws = "/api/chainbot/ws";
    let cookie = format!("Cookie: __Host-cb={access}");
    for token in [&access, &api, &port.bench.token] {
        port.socket_of(token).await;
        let mut client = port.try_socket(ws, &[]).await.unwrap();
        client.send(json!({ "type": "auth", "token": token })).await;
        let user = if *token == port.bench.token { "local" } else { "mia" };
        assert_eq!(client.frame().await["data"]["user"], user);
    }
    let mut client = port.try_socket(ws, &[&cookie, PAGE[0], PAGE[1]]).await.unwrap();
    assert_eq!(client.frame().await["data"]["user"], "mia");
    // A page of our own may say it in the first frame as well.
    port.try_socket(ws, &PAGE).await.unwrap();

    let refused = async |headers: &[&str], path: &str| port.try_socket(path, headers).await.err().unwrap();
    let code = |status: u16, code: &str| (status, code.to_owned());
    let foreign = "Origin: https://evil.example";
    assert_eq!(refused(&[&cookie], ws).await, code(403, "CB-0847"));
    assert_eq!(refused(&[&cookie, foreign, PAGE[1]], ws).await, code(403, "CB-0847"));
    assert_eq!(refused(&[&cookie, PAGE[0], "Sec-Fetch-Site: cross-site"], ws).await, code(403, "CB-0847"));
    assert_eq!(refused(&[foreign], ws).await, code(403, "CB-0847"));
    assert_eq!(refused(&[&bearer("cb_x")], ws).await, code(401, "CB-0004"));
    assert_eq!(refused(&["Cookie: __Host-cb=x"], ws).await, code(401, "CB-0004"));
    assert_eq!(refused(&[&bearer(&narrow)], ws).await, code(403, "CB-0840"));
    assert_eq!(refused(&[&cookie, PAGE[0], PAGE[1], &bearer(&api)], ws).await, code(400, "CB-0848"));
    // In a URL a token is in every log: it is not read, and the mistake is named.
    assert_eq!(refused(&[], &format!("{ws}?token={api}")).await, code(422, "CB-0016"));
    assert_eq!(refused(&[&bearer(&access)], &format!("{ws}?access_token={api}")).await, code(422, "CB-0016"));
    assert_eq!(refused(&[], "/api/chainbot/nothing").await, code(401, "CB-0004"));

    for (first, end) in [
        (json!({ "type": "auth", "token": "cb_x" }), 4401),
        (json!({ "type": "auth" }), 4401),
        (json!({ "type": "subscribe", "topics": ["#"] }), 4401),
        (json!({ "type": "auth", "token": access, "more": 1 }), 4401),
        (json!({ "type": "auth", "token": narrow }), 4403),
        (json!({ "type": "auth", "token": "x".repeat(20_000) }), 1009),
    ] {
        let mut client = port.try_socket(ws, &[]).await.unwrap();
        client.send(first.clone()).await;
        assert_eq!(client.end().await.0, end, "{first}");
    }
    let mut silent = port.try_socket(ws, &[]).await.unwrap();
    assert_eq!(silent.end().await.0, 4401);
}

#[tokio::test]
async fn what_does_not_open_a_websocket_is_named() {
    let port = Port::with(SocketLimits::default()).await;
    let upgrade = ["Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"];
    for (headers, word) in [
        (vec![], "Connection: Upgrade"),
        (vec![upgrade[0], upgrade[1]], "Version"),
        (vec![upgrade[0], upgrade[1], upgrade[2]], "Key"),
        (vec![upgrade[0], upgrade[1], upgrade[2], "Sec-WebSocket-Key: c2hvcnQ="], "Key"),
        (vec![upgrade[1], upgrade[2], "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="], "Connection"),
    ] {
        let problem = port.bench.send("GET ws", &headers, "").await.problem(400, "CB-0825");
        assert!(problem["detail"].as_str().unwrap().contains(word), "{problem}");
    }
}

/// Seeds are in the message of a failure; the number of rounds is bounded by time on a slow machine.
#[tokio::test]
async fn a_client_that_is_cut_off_anywhere_misses_nothing() {
    for seed in 0..12u64 {
        let random = Env::new(
            std::sync::Arc::new(VirtualClock::default()),
            std::sync::Arc::new(SeededRandom::new(seed)),
        );
        let below = |n: u32| random.below(u64::from(n)) as u32;
        let port = Port::with(SocketLimits { queue_frames: 4, ..Default::default() }).await;
        let runs: Vec<RunId> =
            vec![port.bench.run("a").await.parse().unwrap(), port.bench.run("b").await.parse().unwrap()];
        let (mut cursor, mut heard, mut written) = (0i64, std::collections::BTreeSet::new(), 0u32);
        while written < 120 || heard.len() < 122 {
            let mut client = port.socket().await;
            let reply = client.subscribe(&["run.#", "workflow.*.run"], Some(cursor)).await;
            assert_eq!(reply["seq"], cursor, "seed {seed}");
            // Some is written before the client reads, some while it does.
            let some = below(30).min(120 - written);
            (0..some).for_each(|n| port.done(runs[n as usize % 2], written + n, json!(n)));
            written += some;
            for _ in 0..below(40) {
                if heard.len() == 122 || (heard.len() as u32 == written + 2) {
                    break;
                }
                let frame = client.frame().await;
                if let Some(seq) = frame["seq"].as_i64() {
                    assert!(seq > cursor, "seed {seed}: {seq} after {cursor}");
                    cursor = seq;
                }
                if let Some(lsn) = frame["data"]["lsn"].as_i64() {
                    heard.insert(lsn);
                }
            }
            // Cut: no closing handshake.
            drop(client);
        }
        assert_eq!(heard, (1..=122).collect(), "seed {seed}");
    }
}

#[tokio::test]
async fn new_topics_with_an_older_place_bring_what_they_missed_and_nothing_twice() {
    let port = Port::with(SocketLimits::default()).await;
    let (a, b): (RunId, RunId) =
        (port.bench.run("a").await.parse().unwrap(), port.bench.run("b").await.parse().unwrap());
    let mut client = port.socket().await;
    client.subscribe(&[&format!("run.{a}.step.*")], Some(0)).await;
    (0..4).for_each(|n| port.done(if n % 2 == 0 { a } else { b }, n, json!(n)));
    let (before, pong) = client.pong().await;
    let lsns =
        |frames: &[Value]| frames.iter().map(|f| f["data"]["lsn"].as_i64().unwrap()).collect::<Vec<_>>();
    // The two starts were before; whether the pong overtakes records is up to their arrival.
    let mut rest = Vec::new();
    while before.len() + rest.len() < 2 {
        rest.push(client.frame().await);
    }
    assert_eq!([lsns(&before), lsns(&rest)].concat(), [3, 5], "{pong}");
    while client.pong().await.1["seq"] != 6 {}
    client.subscribe(&[&format!("run.{b}.step.*")], Some(4)).await;
    port.done(a, 9, json!(9));
    let frames = [client.frame().await, client.frame().await];
    assert_eq!(lsns(&frames), [6, 7]);
}

#[tokio::test]
async fn a_place_of_another_journal_is_a_gap_and_then_it_goes_on() {
    let port = Port::with(SocketLimits::default()).await;
    let run: RunId = port.bench.run("a").await.parse().unwrap();
    let mut client = port.socket().await;
    assert_eq!(client.subscribe(&["run.#"], Some(900)).await["seq"], 1);
    let gap = client.frame().await;
    assert_eq!((&gap["type"], &gap["seq"], &gap["data"]["since"]), (&json!("gap"), &json!(1), &json!(1)));
    port.done(run, 1, json!(1));
    assert_eq!(client.frame().await["data"]["lsn"], 2);
}

#[tokio::test]
async fn a_journal_that_cannot_be_read_is_told_and_ends_it() {
    let port = Port::with(SocketLimits::default()).await;
    let mut client = port.socket().await;
    client.subscribe(&["run.#"], None).await;
    port.bench.engine.gaps(10);
    assert_eq!(client.frame().await["type"], "gap");
    assert_eq!(client.end().await.0, 1011);
}

#[tokio::test]
async fn a_stream_of_server_sent_events_has_the_same_topics() {
    let port = Port::with(SocketLimits::default()).await;
    let run: RunId = port.bench.run("a").await.parse().unwrap();
    port.done(run, 1, json!(1));
    let path = format!("events?since=1&topics=run.*,run.{run}.step.completed");
    let mut request = port.bench.request(&format!("GET {path}"), &[], "");
    request.extensions_mut().insert(crate::http::ViaHost { timeout_ms: 300 });
    let text = super::read(port.bench.api.call(request).await).await.text;
    let frames: Vec<&str> = text.split("\n\n").filter(|frame| frame.contains("data: ")).collect();
    assert!(frames[0].starts_with("event: step.completed\n"), "not the last of its record: {text}");
    assert!(frames[1].starts_with("id: 2\nevent: run.state\n") && frames.len() == 2, "{text}");
    port.bench.get("events?topics=a..b").await.problem(422, "CB-0827");
}

#[tokio::test]
async fn signals_about_what_is_somebodys_and_the_log_are_for_those_who_see_all() {
    let port = Port::with(SocketLimits::default()).await;
    port.bench.user("boss", "admin").await;
    port.bench.user("mia", "editor").await;
    let mut editor = port.socket_of(&port.bench.access_of("mia").await).await;
    let mut admin = port.socket_of(&port.bench.access_of("boss").await).await;
    for client in [&mut editor, &mut admin] {
        client.subscribe(&["workflow.#", "log.#", "health"], None).await;
    }
    port.bench.workflow("hers").await;
    let line = Line {
        seq: 1,
        at: crate::time::Timestamp(0),
        level: log::Level::Warn,
        target: "chainbot".to_owned(),
        text: "a line".to_owned(),
    };
    port.bench.live.signal(|| of_line(&line));
    port.bench.live.signal(|| of_health("degraded", 0.6, "disk", crate::time::Timestamp(0)));
    let made = admin.frame().await;
    assert_eq!(
        (&made["type"], &made["topic"]),
        (&json!("workflow.created"), &json!("workflow.hers.created"))
    );
    assert_eq!((&made["seq"], &made["data"]["version"]), (&Value::Null, &json!(1)));
    let logged = admin.frame().await;
    assert_eq!((&logged["topic"], &logged["data"]["message"]), (&json!("log.warn"), &json!("a line")));
    assert_eq!(admin.frame().await["data"]["status"], "degraded");
    let (before, _) = editor.pong().await;
    assert_eq!(before.iter().map(|frame| frame["type"].clone()).collect::<Vec<_>>(), ["health.changed"]);
}
