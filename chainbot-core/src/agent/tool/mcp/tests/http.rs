//! MCP servers over HTTP: what they are sent, what they may answer, and how a conversation that breaks goes on.

use super::*;
use crate::net::testing::{Act, Server, reply};
use crate::port::SecretText;

const TOKEN: &str = "canary-token-7f";
const JSON: &str = "Content-Type: application/json\r\n";
const EVENTS: &str = "Content-Type: text/event-stream\r\n";

/// A request as it came.
struct Came {
    verb: String,
    path: String,
    head: String,
    body: Value,
}

impl Came {
    fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut words = head.split(' ');
        let (verb, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        Self { verb, path, head: head.to_owned(), body: serde_json::from_str(body).unwrap_or_default() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.clone().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn method(&self) -> &str {
        self.body["method"].as_str().unwrap_or(&self.verb)
    }

    /// A reply to it, as a message.
    fn result(&self, result: Value) -> String {
        json!({ "jsonrpc": "2.0", "id": self.body["id"], "result": result }).to_string()
    }

    fn text(&self, text: &str) -> String {
        self.result(json!({ "content": [{ "type": "text", "text": text }] }))
    }
}

fn event(message: &str) -> String {
    format!("data: {message}\n\n")
}

fn json_reply(message: String) -> Act {
    Act::Reply(reply(200, JSON, message))
}

fn events(text: String) -> Act {
    Act::Reply(reply(200, EVENTS, text))
}

/// A server that greets with a session, lists a tool `echo`, and does with calls, and what else comes, as told.
async fn serve(act: impl Fn(usize, &Came) -> Act + Send + Sync + 'static) -> Server {
    Server::start(move |number, text| {
        let came = Came::read(text);
        match came.method() {
            "initialize" => {
                let result = json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} }, "serverInfo": { "name": "t", "version": "1" } });
                let headers = format!("{JSON}Mcp-Session-Id: s{number}\r\n");
                Act::Reply(reply(200, &headers, came.result(result)))
            }
            "tools/list" => {
                let tool = json!({ "name": "echo", "description": "Echoes.", "inputSchema": { "type": "object" } });
                json_reply(came.result(json!({ "tools": [tool] })))
            }
            "notifications/initialized" | "notifications/cancelled" | "DELETE" => Act::Reply(reply(202, "", "")),
            _ => act(number, &came),
        }
    })
    .await
}

/// The one entry, its tool approved.
fn at(url: &str, token: Option<&str>) -> McpServer {
    let pin = super::super::pin::pin("echo", "Echoes.", &json!({ "type": "object" }));
    McpServer {
        way: McpWay::Address(McpAddress { url: url.to_owned(), token: token.map(str::to_owned) }),
        tools: BTreeMap::from([("echo".to_owned(), pin)]),
        ..super::server("")
    }
}

fn to(server: &Server) -> Setup {
    over(servers_of(at(&server.url("/mcp"), None)))
}

fn over(servers: McpServers) -> Setup {
    let servers = Arc::new(servers);
    let executors = Arc::new(Executors::new(Arc::new(egress_to(&[])), Env::system()));
    Setup { tools: McpTools::new(servers.clone(), executors), servers }
}

fn came(server: &Server) -> Vec<Came> {
    server.requests().iter().map(|text| Came::read(text)).collect()
}

fn methods(server: &Server) -> Vec<String> {
    came(server).iter().map(|came| came.method().to_owned()).collect()
}

async fn failed(setup: &Setup) -> StepError {
    call(&setup.tools, "echo", json!({})).await.unwrap_err()
}

#[tokio::test]
async fn a_tool_of_a_server_at_an_address_is_called_in_a_session_that_ends_with_ours() {
    let server = serve(|_, came| json_reply(came.text("hello"))).await;
    let opened = |reference: &str| {
        assert_eq!(reference, "${credential:house}");
        Ok(SecretText::new(TOKEN.to_owned()))
    };
    let servers = servers_of(at(&server.url("/mcp"), Some("${credential:house}")));
    let Setup { tools, servers } = over(servers.with_references(Arc::new(opened)));
    let found = call(&tools, "echo", json!({ "a": 1 })).await.unwrap();
    assert_eq!(found, ToolOutcome { value: json!("hello"), is_error: false, is_tainted: true });
    servers.stop().await;
    assert_eq!(
        methods(&server),
        ["initialize", "notifications/initialized", "tools/list", "tools/list", "tools/call", "DELETE"]
    );
    for (number, came) in came(&server).iter().enumerate() {
        let (is_first, name) = (number == 0, came.method());
        assert_eq!(came.header("authorization"), Some("Bearer canary-token-7f"), "{name}");
        assert_eq!(came.header("accept"), Some("application/json, text/event-stream"), "{name}");
        assert_eq!(came.header("mcp-session-id"), (!is_first).then_some("s0"), "{name}");
        assert_eq!(came.header("mcp-protocol-version"), (!is_first).then_some("2025-11-25"), "{name}");
    }
    let calls = came(&server);
    assert_eq!(calls[4].body["params"], json!({ "name": "echo", "arguments": { "a": 1 } }));
}

#[tokio::test]
async fn a_reply_among_events_is_found_and_what_the_server_wants_is_refused() {
    let server = serve(|_, came| match came.method() {
        "tools/call" => {
            let asks = json!({ "jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": {} });
            let tells = json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": {} });
            events([event(&tells.to_string()), event(&asks.to_string()), event(&came.text("done"))].concat())
        }
        // The answer to what was asked.
        _ => Act::Reply(reply(202, "", "")),
    })
    .await;
    let setup = to(&server);
    assert_eq!(call(&setup.tools, "echo", json!({})).await.unwrap().value, json!("done"));
    let answers: Vec<Value> =
        came(&server).into_iter().map(|came| came.body).filter(|body| body["id"] == "q").collect();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0]["error"]["code"], -32601);
}

#[tokio::test]
async fn a_forgotten_session_is_begun_anew_and_the_call_made_once() {
    // The first session, `s0`, is not known any more when a tool is called.
    let server = serve(|_, came| match came.header("mcp-session-id") {
        Some("s0") => Act::Reply(reply(404, "", "no such session")),
        _ => json_reply(came.text("hello")),
    })
    .await;
    let setup = to(&server);
    assert_eq!(call(&setup.tools, "echo", json!({})).await.unwrap().value, json!("hello"));
    let all = methods(&server);
    let count = |method: &str| all.iter().filter(|own| *own == method).count();
    assert_eq!((count("initialize"), count("tools/call")), (2, 2), "{all:?}");
    let last = came(&server).pop().unwrap();
    assert_eq!(last.header("mcp-session-id"), Some("s5"));
    // One that forgets at once is not asked for ever.
    let server = serve(|_, _| Act::Reply(reply(404, "", ""))).await;
    assert_eq!(failed(&to(&server)).await.class, "cut");
    assert_eq!(methods(&server).iter().filter(|own| *own == "tools/call").count(), 2);
}

#[tokio::test]
async fn a_stream_that_ends_early_goes_on_after_the_last_event() {
    let server = serve(|number, came| match (came.method(), came.header("last-event-id")) {
        // Ended as a stream may be.
        ("tools/call", None) => events("id: e1\nretry: 1\ndata:\n\n".to_owned()),
        // Broken in the middle of an event.
        ("GET", Some("e1")) => {
            let head = format!("HTTP/1.1 200 OK\r\n{EVENTS}Content-Length: 999\r\n\r\n");
            Act::Close(format!("{head}id: e2\ndata:\n\nid: e3\ndata: {{\"jsonrpc\"").into_bytes())
        }
        // Not there for a moment.
        ("GET", Some("e2")) if number == 6 => Act::Reply(reply(503, "", "")),
        ("GET", Some("e2")) => {
            let message = json!({ "jsonrpc": "2.0", "id": 4, "result": { "content": [{ "type": "text", "text": "late" }] } });
            events(event(&message.to_string()))
        }
        _ => Act::Close(Vec::new()),
    })
    .await;
    let setup = to(&server);
    assert_eq!(call(&setup.tools, "echo", json!({})).await.unwrap().value, json!("late"));
    let all = methods(&server);
    assert_eq!(all[4..], ["tools/call", "GET", "GET", "GET"]);
    let gets: Vec<Came> = came(&server).into_iter().filter(|came| came.verb == "GET").collect();
    assert!(gets.iter().all(|get| get.header("accept") == Some("text/event-stream")
        && get.header("mcp-session-id") == Some("s0")
        && get.header("mcp-protocol-version") == Some("2025-11-25")));
}

#[tokio::test]
async fn an_answer_that_is_not_gone_on_with_is_cut_and_not_asked_for_again() {
    let started = "id: e1\nretry: 1\ndata:\n\n";
    for (first, rest) in [
        // No place to go on from.
        ("data:\n\n", 200),
        (started, 405),
        // The session is forgotten, and the call may have been carried out.
        (started, 404),
    ] {
        let server = serve(move |_, came| match came.method() {
            "tools/call" => events(first.to_owned()),
            _ => Act::Reply(reply(rest, "", "")),
        })
        .await;
        let error = failed(&to(&server)).await;
        assert_eq!((error.class.as_str(), error.code.as_str()), ("cut", "CB-1283"), "{}", error.message);
        assert_eq!(methods(&server).iter().filter(|own| *own == "tools/call").count(), 1);
    }
}

#[tokio::test]
async fn a_refused_credential_says_so_without_repeating_it() {
    for (status, token) in [(401, None), (401, Some("${file:/t}")), (403, Some("${file:/t}"))] {
        let server = Server::start(move |_, text| {
            let said =
                text.lines().find(|line| line.to_lowercase().starts_with("authorization")).unwrap_or("who?");
            Act::Reply(reply(status, "WWW-Authenticate: Bearer\r\n", said))
        })
        .await;
        let servers = servers_of(at(&server.url("/mcp"), token));
        let setup = over(servers.with_references(Arc::new(|_: &str| Ok(SecretText::new(TOKEN.to_owned())))));
        let error = failed(&setup).await;
        assert_eq!(error.code, "CB-1286", "{}", error.message);
        let said = if token.is_some() { "does not take the token" } else { "wants a token" };
        assert!(error.message.contains(said) && !error.message.contains(TOKEN), "{}", error.message);
    }
    // Nor half of it, where the words are cut.
    for before in 480..520 {
        let said = format!("{}{TOKEN}", "x".repeat(before));
        let server = Server::start(move |_, _| Act::Reply(reply(401, "", &said))).await;
        let servers = servers_of(at(&server.url("/mcp"), Some("${file:/t}")));
        let setup = over(servers.with_references(Arc::new(|_: &str| Ok(SecretText::new(TOKEN.to_owned())))));
        let message = failed(&setup).await.message;
        assert!(!message.contains("canary"), "{before}: {message}");
    }
    // A reference that cannot be opened is the operator's to see, before anybody is called.
    let server = serve(|_, _| Act::Close(Vec::new())).await;
    let error = failed(&over(servers_of(at(&server.url("/mcp"), Some("${file:/t}"))))).await;
    assert_eq!((error.code.as_str(), server.counts().connections), ("CB-1282", 0), "{}", error.message);
}

#[tokio::test]
async fn what_a_server_answers_is_bounded_and_has_a_form() {
    let line = || [b"data: ".to_vec(), vec![b'x'; 5 * 1024 * 1024]].concat();
    let comments = || [": ".to_owned() + &"x".repeat(1_000) + "\n"].concat().repeat(17_000).into_bytes();
    for (what, headers, body, class, code) in [
        ("a large document", JSON, vec![b' '; 17 * 1024 * 1024], "limit", "CB-0609"),
        ("a long line", EVENTS, line(), "limit", "CB-0609"),
        ("many comments", EVENTS, comments(), "limit", "CB-0609"),
        ("noise", EVENTS, b"data: hello\n\n".repeat(200), "limit", "CB-1283"),
        ("a page", "Content-Type: text/html\r\n", b"<html>".to_vec(), "invalid", "CB-1283"),
        ("nothing", "", Vec::new(), "invalid", "CB-1283"),
        ("no reply", JSON, b"{}".to_vec(), "invalid", "CB-1283"),
        ("a large result", JSON, Vec::new(), "limit", "CB-1283"),
    ] {
        let server = serve(move |_, came| match what {
            "a large result" => json_reply(came.text(&"x".repeat(100_000))),
            _ => Act::Reply(reply(200, headers, &body)),
        })
        .await;
        let error = failed(&to(&server)).await;
        assert_eq!((error.class.as_str(), error.code.as_str()), (class, code), "{what}: {}", error.message);
        assert!(error.message.contains("`clock`"), "{what}: {}", error.message);
    }
    for (status, class) in [(400, "http_4xx"), (429, "http_429"), (500, "http_5xx"), (600, "http_status")] {
        let server = serve(move |_, _| Act::Reply(reply(status, "", "out of paper"))).await;
        let error = failed(&to(&server)).await;
        assert_eq!((error.class.as_str(), error.code.as_str()), (class, "CB-1283"), "{}", error.message);
        assert!(error.message.contains("out of paper"), "{}", error.message);
    }
    let server = Server::start(|_, _| Act::Reply(reply(404, "", "no page"))).await;
    assert_eq!(failed(&to(&server)).await.code, "CB-1282");
}

#[tokio::test]
async fn a_call_that_is_late_is_cancelled_at_the_server() {
    let server = serve(|_, _| Act::Hang(Vec::new())).await;
    let setup = to(&server);
    let late = call_within(&setup.tools, "echo", json!({}), Duration::from_millis(1)).await.unwrap_err();
    assert_eq!((late.class.as_str(), late.code.as_str()), ("timeout", "CB-1283"));
    // It may have been given up before it was sent; what is told is the same.
    server.until(|_| methods(&server).contains(&"notifications/cancelled".to_owned())).await;
    let told = came(&server).into_iter().find(|came| came.method() == "notifications/cancelled").unwrap();
    assert_eq!(told.body["params"]["requestId"], 4);
    // A stream that says nothing is given up as well, and closed.
    let server = serve(|_, _| {
        Act::Hang(format!("HTTP/1.1 200 OK\r\n{EVENTS}Transfer-Encoding: chunked\r\n\r\n").into_bytes())
    })
    .await;
    let setup = to(&server);
    let late = call_within(&setup.tools, "echo", json!({}), Duration::from_millis(300)).await.unwrap_err();
    assert_eq!(late.class, "timeout");
    server.until(|counts| counts.abandoned == 1).await;
}

#[tokio::test]
async fn a_redirect_is_followed_within_the_place_and_nowhere_else() {
    let server = serve(|_, came| json_reply(came.text("hello"))).await;
    let inside = Server::start({
        let address = server.address;
        move |_, text| {
            let came = Came::read(text);
            match came.path.as_str() {
                "/mcp" => Act::Reply(reply(307, "Location: /mcp/\r\n", "")),
                "/out" => Act::Reply(reply(307, &format!("Location: http://{address}/mcp\r\n"), "")),
                "/loop" => Act::Reply(reply(308, "Location: /loop\r\n", "")),
                "/get" => Act::Reply(reply(302, "Location: /mcp/\r\n", "")),
                _ => {
                    let version = json!({ "protocolVersion": "2025-11-25" });
                    json_reply(came.result(if came.method() == "initialize" {
                        version
                    } else {
                        json!({ "tools": [] })
                    }))
                }
            }
        }
    })
    .await;
    let listed = servers_of(at(&inside.url("/mcp"), None)).tools("clock").await.unwrap();
    assert!(listed.is_empty());
    let paths: Vec<String> = came(&inside).into_iter().map(|came| came.path).collect();
    assert_eq!(paths, ["/mcp", "/mcp/", "/mcp/", "/mcp/"], "it is found once");
    for path in ["/out", "/loop", "/get"] {
        let error = servers_of(at(&inside.url(path), None)).tools("clock").await.unwrap_err();
        assert_eq!((error.class.as_str(), error.code.as_str()), ("egress", "CB-1283"), "{path}");
        assert!(error.message.contains("redirect"), "{path}: {}", error.message);
    }
    assert_eq!(server.counts().connections, 0);
}

#[tokio::test]
async fn only_the_addresses_of_the_file_are_called_and_never_our_own() {
    let server = serve(|_, came| json_reply(came.text("hello"))).await;
    let own = vec![server.address];
    let servers = McpServers::new(vec![at(&server.url("/mcp"), None)], Env::system(), own).unwrap();
    let error = servers.tools("clock").await.unwrap_err();
    assert_eq!((error.code.as_str(), server.counts().connections), ("CB-0603", 0), "{}", error.message);
    let nobody = servers_of(at("http://127.0.0.1:1/mcp", None)).tools("clock").await.unwrap_err();
    assert_eq!(nobody.class, "connect", "{}", nobody.message);
}

#[tokio::test]
async fn a_server_that_knows_no_greeting_is_spoken_to_without_one() {
    let schema = json!({ "type": "object", "properties": { "region": { "type": "string", "x-mcp-header": "Region" } } });
    let listed = schema.clone();
    let server = Server::start(move |_, text| {
        let came = Came::read(text);
        match came.method() {
            "server/discover" => json_reply(came.result(json!({ "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {} }))),
            "tools/list" => {
                let bad = json!({ "type": "object", "properties": { "a": { "type": "string", "x-mcp-header": "" } } });
                json_reply(came.result(json!({ "resultType": "complete", "tools": [
                    { "name": "echo", "description": "Echoes.", "inputSchema": listed },
                    { "name": "bad", "inputSchema": bad },
                ] })))
            }
            "tools/call" if came.body["params"]["arguments"]["region"] == "ask" => {
                json_reply(came.result(json!({ "resultType": "input_required", "inputRequests": {} })))
            }
            "tools/call" if came.body["params"]["arguments"]["region"] == "cut" => events("id: e1\nretry: 1\ndata:\n\n".to_owned()),
            "tools/call" => events(event(&came.text("hello"))),
            _ => {
                let error = json!({ "jsonrpc": "2.0", "id": came.body["id"], "error": { "code": -32601, "message": "no" } });
                Act::Reply(reply(404, JSON, error.to_string()))
            }
        }
    })
    .await;
    let mut own = at(&server.url("/mcp"), None);
    own.tools.insert("echo".to_owned(), super::super::pin::pin("echo", "Echoes.", &schema));
    let setup = over(servers_of(own));
    let listed = setup.servers.tools("clock").await.unwrap();
    assert_eq!(listed.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(), ["echo"]);
    assert_eq!(call(&setup.tools, "echo", json!({ "region": "größe" })).await.unwrap().value, json!("hello"));
    let asks = call(&setup.tools, "echo", json!({ "region": "ask" })).await.unwrap_err();
    assert!(asks.message.contains("wants to be told more"), "{}", asks.message);
    let cut = call(&setup.tools, "echo", json!({ "region": "cut" })).await.unwrap_err();
    assert_eq!(cut.class, "cut");
    setup.servers.stop().await;
    let all = methods(&server);
    assert!(
        all.iter().all(|method| !["GET", "DELETE", "notifications/initialized"].contains(&method.as_str())),
        "{all:?}"
    );
    for came in came(&server).iter().skip(1) {
        let method = came.method();
        let header = |name: &str| came.header(name).map(str::to_owned);
        assert_eq!(header("mcp-protocol-version").as_deref(), Some("2026-07-28"), "{method}");
        assert_eq!(
            came.body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], "2026-07-28",
            "{method}"
        );
        assert_eq!(header("mcp-method").as_deref(), Some(method));
        assert_eq!(header("mcp-name").as_deref(), (method == "tools/call").then_some("echo"));
    }
    let first = came(&server).into_iter().find(|came| came.method() == "tools/call").unwrap();
    assert_eq!(first.header("mcp-param-region"), Some("=?base64?Z3LDtsOfZQ==?="));
    // One that knows neither is told of as before.
    let server = Server::start(|_, text| {
        let error = json!({ "jsonrpc": "2.0", "id": Came::read(text).body["id"], "error": { "code": -32601, "message": "who are you?" } });
        Act::Reply(reply(200, JSON, error.to_string()))
    })
    .await;
    let error = failed(&to(&server)).await;
    assert!(error.message.contains("refuses `initialize`: who are you?"), "{}", error.message);
}

#[tokio::test]
async fn a_server_that_does_not_greet_keeps_nobody_from_another() {
    let silent = Server::start(|_, _| Act::Hang(Vec::new())).await;
    let well = serve(|_, came| json_reply(came.text("hello"))).await;
    let named =
        |name: &str, server: &Server| McpServer { name: name.to_owned(), ..at(&server.url("/mcp"), None) };
    let all = vec![named("silent", &silent), named("well", &well)];
    let servers = Arc::new(McpServers::new(all, Env::system(), Vec::new()).unwrap());
    let (waiting, asked) = (servers.clone(), servers.clone());
    let greeted = tokio::spawn(async move { waiting.tools("silent").await.map(drop) });
    silent.until(|counts| counts.requests == 1).await;
    assert_eq!(tokio::time::timeout(LONG / 2, asked.tools("well")).await.unwrap().unwrap().len(), 1);
    assert!(!greeted.is_finished(), "it is still waited for");
    greeted.abort();
}

#[tokio::test]
async fn an_idle_server_is_taken_leave_of() {
    let server = serve(|_, came| json_reply(came.text("hello"))).await;
    let setup = over(servers_of(at(&server.url("/mcp"), None)).with_idle(Duration::from_millis(1)));
    assert_eq!(call(&setup.tools, "echo", json!({})).await.unwrap().value, json!("hello"));
    server.until(|_| methods(&server).contains(&"DELETE".to_owned())).await;
}

#[tokio::test]
async fn a_changed_tool_over_http_is_not_called() {
    let server = serve(|_, came| json_reply(came.text("hello"))).await;
    let mut own = at(&server.url("/mcp"), None);
    own.tools.insert("echo".to_owned(), format!("sha256:{}", "0".repeat(64)));
    assert_eq!(failed(&over(servers_of(own))).await.code, "CB-1284");
    assert!(!methods(&server).contains(&"tools/call".to_owned()));
}
