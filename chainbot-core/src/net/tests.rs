//! The way out against real sockets on loopback: bounds, redirects, broken replies. The hostile spellings of
//! addresses are in [`trap`], TLS is in [`tls`].

mod tls;
mod trap;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::testing::{Act, Script, Server, egress_to, reply};
use super::*;
use crate::env::Env;
use crate::limits::*;

fn get(url: impl Into<String>) -> Request {
    Request::new("GET", url)
}

async fn failure_of(
    server: Server,
    request: impl FnOnce(Request) -> Request,
) -> (&'static str, &'static str) {
    let egress = egress_to(&[("127.0.0.1", server.address)]);
    let error = egress.send(request(get(server.url("/")))).await.expect_err("the request must fail");
    (error.class, error.code.id)
}

#[tokio::test]
async fn a_granted_host_is_reached_and_its_reply_comes_whole() {
    let server = Server::start(|_, _| Act::Reply(reply(201, "X-A: 1\r\nX-A: 2\r\n", "hello"))).await;
    let egress = egress_to(&[("thing.test", server.address)]);
    let mut request = Request::new("PUT", format!("http://THING.test.:{}/a", server.address.port()));
    request.query = vec![("q".into(), "a b&c".into())];
    request.headers = vec![("X-Mine".into(), "yes".into())];
    request.body = b"body".to_vec();
    let reply = egress.send(request).await.unwrap();
    assert_eq!((reply.status, reply.body.as_slice()), (201, &b"hello"[..]));
    assert_eq!(reply.headers.iter().filter(|(name, _)| name == "x-a").count(), 2);
    let seen = &server.requests()[0];
    assert!(seen.starts_with("PUT /a?q=a+b%26c HTTP/1.1\r\n") && seen.ends_with("\r\n\r\nbody"), "{seen}");
    assert!(seen.contains("x-mine: yes"), "{seen}");
    assert!(seen.contains(&format!("host: thing.test:{}", server.address.port())), "{seen}");
}

#[tokio::test]
async fn a_policy_that_is_replaced_counts_from_the_next_request_on() {
    let server = Server::start(|_, _| Act::Reply(reply(200, "", ""))).await;
    let port = server.address.port();
    let policy = |ports: Vec<u16>| {
        let grants = vec![Grant { host: "127.0.0.1".into(), ports, why: String::new() }];
        Policy { grants, public: false, own_addresses: Vec::new() }
    };
    let egress = Egress::new(policy(vec![1]), Env::system()).unwrap();
    assert_eq!(egress.send(get(server.url("/"))).await.expect_err("not granted").code.id, "CB-0601");
    egress.set_policy(&policy(vec![port])).unwrap();
    assert_eq!(egress.send(get(server.url("/"))).await.unwrap().status, 200);
    let wrong = egress.set_policy(&policy(vec![0])).expect_err("port 0 is none");
    assert_eq!(wrong.code().id, "CB-0613");
    assert_eq!(egress.send(get(server.url("/"))).await.unwrap().status, 200, "a wrong one changes nothing");
    // The connection of before is still open, and opens nothing.
    egress.set_policy(&policy(vec![1])).unwrap();
    assert!(egress.send(get(server.url("/"))).await.is_err());
}

#[tokio::test]
async fn the_own_address_is_refused_even_with_a_grant() {
    let server = Server::start(|_, _| Act::Reply(reply(200, "", ""))).await;
    let grant =
        |host: &str| Grant { host: host.into(), ports: vec![server.address.port()], why: String::new() };
    for own in [server.address, SocketAddr::from(([0, 0, 0, 0], server.address.port()))] {
        let grants = vec![grant("127.0.0.1"), grant("me.test")];
        let policy = Policy { grants, public: true, own_addresses: vec![own] };
        let egress = Egress::with_resolver(policy, Env::system(), Script::new(&[&["127.0.0.1"]])).unwrap();
        for host in ["127.0.0.1", "me.test"] {
            let error =
                egress.send(get(format!("http://{host}:{}/", server.address.port()))).await.expect_err(host);
            assert_eq!((error.class, error.code.id), ("egress", "CB-0603"));
        }
    }
    assert_eq!(server.counts().connections, 0);
}

#[tokio::test]
async fn a_refused_port_and_an_unknown_name_are_connect() {
    let server = Server::start(|_, _| Act::Reply(reply(200, "", ""))).await;
    let address = server.address;
    let egress = egress_to(&[("127.0.0.1", address)]);
    drop(server);
    // The listener closes when its task is dropped, which the runtime does at its own time.
    while std::net::TcpStream::connect(address).is_ok() {
        tokio::task::yield_now().await;
    }
    let error = egress.send(get(format!("http://{address}/"))).await.expect_err("closed");
    assert_eq!((error.class, error.code.id), ("connect", "CB-0605"));
    for answers in [&[][..], &[&[][..]][..]] {
        let policy = Policy { public: true, ..Policy::default() };
        let egress = Egress::with_resolver(policy, Env::system(), Script::new(answers)).unwrap();
        let error = egress.send(get("http://nobody.test/")).await.expect_err("no address");
        assert_eq!((error.class, error.code.id), ("connect", "CB-0604"));
    }
}

#[tokio::test]
async fn a_short_reply_is_cut() {
    let short = |bytes: &'static [u8]| Server::start(move |_, _| Act::Close(bytes.to_vec()));
    let server = short(b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\nabc").await;
    assert_eq!(failure_of(server, |r| r).await, ("cut", "CB-0607"));
    let server = short(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab").await;
    assert_eq!(failure_of(server, |r| r).await, ("cut", "CB-0607"));
    let server = short(b"").await;
    assert_eq!(failure_of(server, |r| r).await, ("cut", "CB-0607"));
    let server = short(b"HTTP/1.1 200").await;
    assert_eq!(failure_of(server, |r| r).await, ("cut", "CB-0607"));
}

#[tokio::test]
async fn a_reply_that_is_not_http_is_invalid() {
    let server = Server::start(|_, _| Act::Close(b"SSH-2.0-OpenSSH_9\r\n".to_vec())).await;
    assert_eq!(failure_of(server, |r| r).await, ("invalid", "CB-0611"));
    let server =
        Server::start(|_, _| Act::Reply(reply(200, "Content-Encoding: gzip\r\n", "no gzip at all"))).await;
    assert_eq!(failure_of(server, |r| r).await, ("invalid", "CB-0611"));
}

#[tokio::test]
async fn a_slow_body_is_a_timeout() {
    let server =
        Server::start(|_, _| Act::Hang(b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nabc".to_vec())).await;
    let egress = egress_to(&[("127.0.0.1", server.address)]);
    let mut request = get(server.url("/"));
    request.timeout = Some(Duration::from_millis(100));
    let error = egress.send(request).await.expect_err("slow");
    assert_eq!((error.class, error.code.id), ("timeout", "CB-0608"));
    server.until(|counts| counts.abandoned == 1).await;
}

#[tokio::test]
async fn dropping_the_request_closes_its_connection() {
    let server = Server::start(|_, _| Act::Hang(Vec::new())).await;
    let egress = egress_to(&[("127.0.0.1", server.address)]);
    tokio::select! {
        _ = egress.send(get(server.url("/"))) => panic!("the server never answers"),
        () = server.until(|counts| counts.requests == 1) => {}
    }
    server.until(|counts| counts.abandoned == 1).await;
}

#[tokio::test]
async fn a_reply_over_its_bound_is_an_error_and_one_at_it_is_not() {
    let server = Server::start(|_, request| match request.contains("/chunked") {
        false => Act::Reply(reply(200, "", "x".repeat(100))),
        true => {
            let chunk = format!("64\r\n{}\r\n", "x".repeat(100));
            Act::Reply(
                format!("HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n").into_bytes(),
            )
        }
    })
    .await;
    let egress = egress_to(&[("127.0.0.1", server.address)]);
    for path in ["/", "/chunked"] {
        let mut request = get(server.url(path));
        request.max_bytes = Some(100);
        assert_eq!(egress.send(request.clone()).await.unwrap().body.len(), 100, "{path}");
        request.max_bytes = Some(99);
        let error = egress.send(request).await.expect_err(path);
        assert_eq!((error.class, error.code.id), ("limit", "CB-0609"));
        assert_eq!(error.head.unwrap().status, 200);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_compressed_reply_is_counted_unpacked() {
    let small = gzip(b"hello");
    let bomb = gzip(&vec![0; 32 * EGRESS_REPLY_BYTES_DEFAULT]);
    assert!(bomb.len() < EGRESS_REPLY_BYTES_DEFAULT / 8, "small enough to pass the bound when it is packed");
    let server = Server::start(move |number, _| {
        let body = if number == 0 { &small } else { &bomb };
        Act::Reply(reply(200, "Content-Encoding: gzip\r\n", body))
    })
    .await;
    let egress = egress_to(&[("127.0.0.1", server.address)]);
    assert_eq!(egress.send(get(server.url("/"))).await.unwrap().body, b"hello");
    let error = egress.send(get(server.url("/"))).await.expect_err("bomb");
    assert_eq!((error.class, error.code.id), ("limit", "CB-0609"));
}

#[tokio::test]
async fn too_many_headers_of_a_reply_are_an_error() {
    for (count, ok) in [(EGRESS_HEADERS_MAX - 1, true), (EGRESS_HEADERS_MAX, false), (200, false)] {
        // One more stands for the length.
        let headers: String = (0..count).map(|i| format!("X-{i}: a\r\n")).collect();
        let server = Server::start(move |_, _| Act::Reply(reply(200, &headers, ""))).await;
        let egress = egress_to(&[("127.0.0.1", server.address)]);
        let sent = egress.send(get(server.url("/"))).await;
        match sent {
            Ok(_) => assert!(ok, "{count}"),
            Err(error) => {
                assert_eq!((ok, error.class, error.code.id), (false, "limit", "CB-0609"), "{count}")
            }
        }
    }
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_before_any_connection() {
    let server = Server::start(|_, _| Act::Reply(reply(200, "", ""))).await;
    let breaks = |change: fn(&mut Request)| {
        let (url, address) = (server.url("/"), server.address);
        async move {
            let mut request = get(url);
            change(&mut request);
            let error = egress_to(&[("127.0.0.1", address)]).send(request).await.expect_err("refused");
            (error.class, error.code.id)
        }
    };
    assert_eq!(breaks(|r| r.method = "get".into()).await, ("invalid", "CB-0610"));
    assert_eq!(breaks(|r| r.method = "CONNECT".into()).await, ("invalid", "CB-0610"));
    assert_eq!(breaks(|r| r.headers.push(("a".into(), "b\r\nc: d".into()))).await, ("invalid", "CB-0610"));
    assert_eq!(breaks(|r| r.headers.push(("Host".into(), "b".into()))).await, ("invalid", "CB-0610"));
    assert_eq!(breaks(|r| r.headers = vec![("a".into(), "b".into()); 65]).await, ("limit", "CB-0610"));
    assert_eq!(breaks(|r| r.body = vec![0; EGRESS_BODY_BYTES_MAX + 1]).await, ("limit", "CB-0610"));
    let long = |r: &mut Request| r.query = vec![("q".into(), "x".repeat(EGRESS_URL_BYTES_MAX))];
    assert_eq!(breaks(long).await, ("invalid", "CB-0600"));
    assert_eq!(server.counts().connections, 0);
}

#[tokio::test]
async fn at_most_four_requests_go_to_one_host_at_once() {
    let permits = Arc::new(Semaphore::new(0));
    let server = {
        let permits = permits.clone();
        Server::start(move |_, request| match request.starts_with("GET /free") {
            true => Act::Reply(reply(200, "", "")),
            false => Act::Await(permits.clone(), reply(200, "", "")),
        })
        .await
    };
    let egress = Arc::new(egress_to(&[("busy.test", server.address), ("free.test", server.address)]));
    let url = |host: &str, path: &str| format!("http://{host}:{}{path}", server.address.port());
    let sent: Vec<_> = (0..12)
        .map(|_| {
            let (egress, url) = (egress.clone(), url("busy.test", "/"));
            tokio::spawn(async move { egress.send(get(url)).await.map(|reply| reply.status) })
        })
        .collect();
    server.until(|counts| counts.in_flight >= EGRESS_PER_HOST_MAX).await;
    for _ in 0..20 {
        // Another host is not held up, and its round trips give a fifth request every chance to arrive.
        assert_eq!(egress.send(get(url("free.test", "/free"))).await.unwrap().status, 200);
    }
    permits.add_permits(100);
    for task in sent {
        assert_eq!(task.await.unwrap().unwrap(), 200);
    }
    // The host that is free has its own places: one request of it may be counted beside the four.
    assert!(server.counts().in_flight_max <= EGRESS_PER_HOST_MAX + 1, "{:?}", server.counts());
    assert_eq!(server.counts().requests, 32);
}

/// A server whose first reply is a redirect to `location`, and what it saw.
async fn redirected(
    status: u16,
    location: String,
    mut request: Request,
) -> (Result<Reply, EgressError>, Vec<String>) {
    let server = Server::start(move |_, request| match request.contains("/start") {
        true => Act::Reply(reply(status, &format!("Location: {location}\r\n"), "")),
        false => Act::Reply(reply(200, "", "end")),
    })
    .await;
    let egress = egress_to(&[("a.test", server.address), ("b.test", server.address)]);
    request.url = format!("http://a.test:{}/start", server.address.port());
    let out = egress.send(request).await;
    (out, server.requests())
}

fn with_credentials(method: &str) -> Request {
    let mut request = Request::new(method, "");
    request.follow_redirects = true;
    for (name, value) in [
        ("Authorization", "Bearer secret-a"),
        ("Cookie", "secret-b"),
        ("Proxy-Authorization", "secret-c"),
        ("X-Api-Key", "secret-d"),
        ("Idempotency-Key", "key-1"),
        ("Content-Type", "text/plain"),
    ] {
        request.headers.push((name.into(), value.into()));
    }
    if method != "GET" {
        request.body = b"payload".to_vec();
    }
    request
}

#[tokio::test]
async fn a_redirect_within_an_origin_keeps_credentials() {
    let (reply, seen) = redirected(302, "/end".into(), with_credentials("GET")).await;
    assert_eq!(reply.unwrap().body, b"end");
    assert_eq!(seen[1].matches("secret-").count(), 4, "{}", seen[1]);
}

#[tokio::test]
async fn a_redirect_to_another_origin_drops_credentials() {
    let server = Server::start(|_, request| match request.contains("/start") {
        true => {
            let port = request.split("a.test:").nth(1).unwrap().split("\r\n").next().unwrap();
            Act::Reply(reply(307, &format!("Location: http://b.test:{port}/end\r\n"), ""))
        }
        false => Act::Reply(reply(200, "", "end")),
    })
    .await;
    let egress = egress_to(&[("a.test", server.address), ("b.test", server.address)]);
    let mut request = with_credentials("PUT");
    request.url = format!("http://a.test:{}/start", server.address.port());
    assert_eq!(egress.send(request).await.unwrap().body, b"end");
    let seen = server.requests();
    assert_eq!(seen[0].matches("secret-").count(), 4);
    assert_eq!(seen[1].matches("secret-").count(), 0, "{}", seen[1]);
    assert!(
        seen[1].starts_with("PUT /end") && seen[1].contains("key-1") && seen[1].ends_with("payload"),
        "{}",
        seen[1]
    );
}

#[tokio::test]
async fn a_post_becomes_a_get_as_in_browsers() {
    for (status, method) in [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")] {
        let (reply, seen) = redirected(status, "/end".into(), with_credentials("POST")).await;
        assert_eq!(reply.unwrap().status, 200);
        assert!(seen[1].starts_with(method), "{status}: {}", seen[1]);
        assert_eq!(seen[1].contains("payload"), method == "POST", "{status}: {}", seen[1]);
        assert_eq!(seen[1].contains("text/plain"), method == "POST", "{status}: {}", seen[1]);
    }
}

#[tokio::test]
async fn redirects_are_followed_only_when_asked_for_and_at_most_three_times() {
    let mut request = with_credentials("GET");
    request.follow_redirects = false;
    let (reply, seen) = redirected(302, "/end".into(), request).await;
    assert_eq!((reply.unwrap().status, seen.len()), (302, 1));
    let (reply, seen) = redirected(302, "/start".into(), with_credentials("GET")).await;
    let error = reply.expect_err("endless");
    assert_eq!((error.class, error.code.id, seen.len()), ("limit", "CB-0612", 1 + EGRESS_REDIRECTS_MAX));
}

#[tokio::test]
async fn the_command_line_reaches_loopback_only() {
    for url in
        ["http://192.168.1.1/", "http://example.com/", "http://localhost.example.com/", "http://0.0.0.0/"]
    {
        let error = LocalClient::new(url, "t").err().expect(url);
        assert_eq!(error.code.id, "CB-0614", "{url}");
    }
    assert!(LocalClient::new("http://[::1]:8000", "t").is_ok());
    assert!(LocalClient::new("http://127.0.0.1:8000", "a\nb").is_err());
    let server = Server::start(|_, _| Act::Reply(reply(422, "X-A: b\r\n", "{}"))).await;
    let client = LocalClient::new(&format!("http://localhost:{}", server.address.port()), "tok").unwrap();
    let body = serde_json::json!({"a": 1});
    let (status, headers, bytes) = client.request("POST", "/api?x=1", Some(&body)).await.unwrap();
    assert_eq!((status, bytes.as_slice()), (422, &b"{}"[..]));
    assert!(headers.contains(&("x-a".to_owned(), "b".to_owned())));
    let seen = &server.requests()[0];
    assert!(seen.starts_with("POST /api?x=1 ") && seen.contains("authorization: Bearer tok"), "{seen}");
    assert!(seen.ends_with("{\"a\":1}"), "{seen}");
    for path in ["//example.com/", "http://example.com/", "api"] {
        let error = client.request("GET", path, None).await.expect_err(path);
        assert_eq!(error.class, "invalid", "{path}: {error}");
    }
    assert_eq!(server.counts().requests, 1);
}

#[tokio::test]
async fn event_lines_come_as_the_server_writes_them() {
    let stream = "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nid: 1\r\n\r\n9\r\ndata: a\u{e9}\r\n4\r\n\n\nen\r\n0\r\n\r\n";
    let server = Server::start(move |number, _| match number {
        0 => Act::Reply(stream.as_bytes().to_vec()),
        _ => Act::Reply(reply(401, "", "no")),
    })
    .await;
    let client = LocalClient::new(&server.url(""), "t").unwrap();
    let Ok(mut lines) = client.events("/events", &[]).await.unwrap() else { panic!("200 is a stream") };
    let mut seen = Vec::new();
    while let Some(line) = lines.next().await.unwrap() {
        seen.push(line);
    }
    // A line without an end is no line: the server broke off.
    assert_eq!(seen, ["id: 1", "data: a\u{e9}", ""]);
    let Err((status, _, body)) = client.events("/events", &[]).await.unwrap() else {
        panic!("401 is no stream")
    };
    assert_eq!((status, body.as_slice()), (401, &b"no"[..]));
}
