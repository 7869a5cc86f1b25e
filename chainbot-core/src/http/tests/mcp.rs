//! `/mcp` over a real runtime: who sees and uses which tool, what a call gives, what gets nobody in.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use super::Reply;
use super::owners::House;

/// Says hello to whom it is told.
const HELLO: &str = "name: hello\ndescription: Says hello.\npublish: { mcp: true }\ninputs:\n  properties: { who: { type: string } }\n  required: [who]\n\
    steps:\n  - { id: a, type: set, config: { variables: { a: \"1\" } } }\noutput: { said: \"hello {{ inputs.who }}\" }\n";
/// Asks a person.
const ASKS: &str = "name: asks\npublish: { mcp: true }\nsteps:\n  - { id: ok, type: wait, config: { approval: { message: Go? } } }\n";

impl House {
    async fn mcp(&self, token: &str, method: &str, params: Value) -> Reply {
        self.ask(token, "POST /mcp", json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }))
            .await
    }

    async fn result(&self, token: &str, method: &str, params: Value) -> Value {
        let reply = self.mcp(token, method, params).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let answer = reply.json();
        assert!(answer["error"].is_null(), "{answer}");
        answer["result"].clone()
    }

    /// What a refused message is told.
    async fn refused(&self, token: &str, method: &str, params: Value) -> Value {
        let reply = self.mcp(token, method, params).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json()["error"].clone()
    }

    async fn call(&self, token: &str, name: &str, arguments: Value) -> Value {
        self.result(token, "tools/call", json!({ "name": name, "arguments": arguments })).await
    }

    async fn tools(&self, token: &str) -> Vec<String> {
        let listed = self.result(token, "tools/list", json!({})).await;
        listed["tools"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tool| tool["name"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn stores(&self, token: &str, source: &str) {
        let made = self.ask(token, "POST workflows", Value::String(source.to_owned())).await;
        assert_eq!(made.status, 201, "{}", made.text);
    }

    async fn token_with(&self, user: &str, scopes: &[&str]) -> String {
        let body = json!({ "name": scopes.join(" "), "scopes": scopes, "days": 9, "user": user });
        let reply = self.ask(&self.local, "POST tokens", body).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        reply.json()["token"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_published_workflow_is_a_tool_that_runs_it() {
    let house = House::new().await;
    let mia = house.login("mia").await;
    house.stores(&mia, HELLO).await;
    house
        .stores(&mia, &HELLO.replace("name: hello", "name: quiet").replace("publish: { mcp: true }\n", ""))
        .await;
    let greeting = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    let greeted = house.result(&mia, "initialize", greeting).await;
    assert_eq!(
        (greeted["protocolVersion"].as_str(), greeted["capabilities"]["tools"]["listChanged"].as_bool()),
        (Some("2025-06-18"), Some(false))
    );
    let told = house
        .ask(&mia, "POST /mcp", json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))
        .await;
    assert_eq!((told.status.as_u16(), told.text.as_str()), (202, ""));
    let listed = house.result(&mia, "tools/list", json!({})).await;
    let tools = listed["tools"].as_array().unwrap();
    assert_eq!(
        (tools.len(), tools[0]["name"].as_str(), tools[1]["name"].as_str()),
        (2, Some("run_status"), Some("workflow_hello"))
    );
    assert_eq!(tools[1]["description"], "Says hello.");
    assert_eq!(tools[1]["inputSchema"]["required"], json!(["who"]));
    assert_eq!(tools[1]["inputSchema"]["type"], "object");
    let done = house.call(&mia, "workflow_hello", json!({ "who": "Tom" })).await;
    assert_eq!(
        (done["isError"].as_bool(), &done["structuredContent"]["output"]),
        (Some(false), &json!({ "said": "hello Tom" })),
        "{done}"
    );
    let text: Value = serde_json::from_str(done["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(text, done["structuredContent"]);
    // It is a run like any other.
    let run = done["structuredContent"]["run_id"].as_str().unwrap();
    assert_eq!(house.get(&mia, &format!("runs/{run}")).await.json()["status"], "completed");
    let status = house.call(&mia, "run_status", json!({ "run_id": run })).await;
    assert_eq!(status["structuredContent"], done["structuredContent"]);
    // What does not fit is told to the model.
    let wrong = house.call(&mia, "workflow_hello", json!({ "who": 1 })).await;
    assert!(
        wrong["isError"] == true && wrong["content"][0]["text"].as_str().unwrap().starts_with("CB-"),
        "{wrong}"
    );
    house.end().await;
}

#[tokio::test]
async fn what_is_not_published_or_not_theirs_is_no_tool() {
    let house = House::new().await;
    let (mia, tom, vic) = (house.login("mia").await, house.login("tom").await, house.login("vic").await);
    house.stores(&mia, HELLO).await;
    house.stores(&mia, &HELLO.replace("name: hello", "name: quiet").replace("mcp: true", "mcp: false")).await;
    for (name, publish) in [("butler", true), ("mute", false)] {
        let body = json!({ "name": name, "instructions": "d", "publish": { "mcp": publish } });
        assert_eq!(house.ask(&mia, "POST agents", body).await.status, 201);
    }
    assert_eq!(house.tools(&mia).await, ["agent_butler", "run_status", "workflow_hello"]);
    assert_eq!(house.tools(&tom).await, ["run_status"]);
    let done = house.call(&mia, "workflow_hello", json!({ "who": "a" })).await;
    let run = done["structuredContent"]["run_id"].clone();
    for (who, name) in [
        (&mia, "workflow_quiet"),
        (&mia, "agent_mute"),
        (&mia, "workflow_agent:butler"),
        (&mia, "workflow_none"),
        (&mia, "hello"),
        (&mia, ""),
        (&tom, "workflow_hello"),
        (&tom, "agent_butler"),
    ] {
        let error = house
            .refused(who, "tools/call", json!({ "name": name, "arguments": { "who": "x", "task": "x" } }))
            .await;
        assert_eq!(error["code"], -32602, "{name}: {error}");
    }
    let hidden = house.call(&tom, "run_status", json!({ "run_id": run })).await;
    assert!(
        hidden["isError"] == true && hidden["content"][0]["text"].as_str().unwrap().starts_with("CB-0300"),
        "{hidden}"
    );
    // A run of something unpublished is not there either.
    let quiet =
        house.ask(&mia, "POST workflows/quiet/runs", json!({ "inputs": { "who": "x" } })).await.json();
    let hidden = house.call(&mia, "run_status", json!({ "run_id": quiet["id"] })).await;
    assert_eq!(hidden["isError"], true, "{hidden}");
    // Whoever may start nothing has no business here.
    house.mcp(&vic, "tools/list", json!({})).await.problem(403, "CB-0840");
    // A token has the tools of its scopes.
    let door = house.token_with("mia", &["chainbot:mcp"]).await;
    assert_eq!(house.tools(&door).await, Vec::<String>::new());
    assert_eq!(
        house
            .refused(&door, "tools/call", json!({ "name": "workflow_hello", "arguments": { "who": "x" } }))
            .await["code"],
        -32602
    );
    let starts = house.token_with("mia", &["chainbot:mcp", "chainbot:workflow:execute"]).await;
    assert_eq!(house.tools(&starts).await, ["run_status", "workflow_hello"]);
    let tasks = house.token_with("mia", &["chainbot:mcp", "chainbot:agent:execute"]).await;
    assert_eq!(house.tools(&tasks).await, ["agent_butler", "run_status"]);
    let hidden = house.call(&tasks, "run_status", json!({ "run_id": run })).await;
    assert_eq!(hidden["isError"], true, "{hidden}");
    let shut = house.token_with("mia", &["chainbot:read", "chainbot:workflow:execute"]).await;
    house.mcp(&shut, "tools/list", json!({})).await.problem(403, "CB-0840");
    house.end().await;
}

#[tokio::test]
async fn a_call_with_the_same_key_is_the_same_run() {
    let house = House::new().await;
    let mia = house.login("mia").await;
    house.stores(&mia, HELLO).await;
    let call = |key: &'static str, who: &'static str| {
        house.result(&mia, "tools/call", json!({ "name": "workflow_hello", "arguments": { "who": who }, "_meta": { "chainbot/idempotency-key": key } }))
    };
    let (one, two) = (call("k1", "a").await, call("k1", "a").await);
    assert_eq!(one["structuredContent"], two["structuredContent"]);
    assert_ne!(call("k2", "a").await["structuredContent"]["run_id"], one["structuredContent"]["run_id"]);
    let other = call("k1", "b").await;
    assert!(other["content"][0]["text"].as_str().unwrap().starts_with("CB-0010"), "{other}");
    assert_eq!(house.get(&mia, "runs").await.json().as_array().unwrap().len(), 2);
    for key in ["", "a b"] {
        let params = json!({ "name": "workflow_hello", "arguments": {}, "_meta": { "chainbot/idempotency-key": key } });
        house.mcp(&mia, "tools/call", params).await.problem(400, "CB-0007");
    }
    house.end().await;
}

#[tokio::test]
async fn a_run_that_asks_a_person_is_told_of_and_cannot_be_answered_here() {
    let house = House::new().await;
    let mia = house.login("mia").await;
    house.stores(&mia, ASKS).await;
    let asked = house.call(&mia, "workflow_asks", json!({})).await["structuredContent"].clone();
    assert_eq!(asked["status"], "waiting", "{asked}");
    assert!(
        asked["waiting_for"].is_string() && asked["next"].as_str().unwrap().contains("run_status"),
        "{asked}"
    );
    let answer = json!({ "name": "answer", "arguments": { "action": "approve" } });
    assert_eq!(house.refused(&mia, "tools/call", answer).await["code"], -32602);
    let question = house.get(&mia, "inbox").await.json()[0]["id"].as_str().unwrap().to_owned();
    house.ask(&mia, &format!("POST inbox/{question}/answer"), json!({ "action": "approve" })).await;
    let run = asked["run_id"].as_str().unwrap();
    let done = house.call(&mia, "run_status", json!({ "run_id": run, "wait": 20 })).await;
    assert_eq!(done["structuredContent"]["status"], "completed", "{done}");
    for arguments in [
        json!({}),
        json!({ "run_id": run, "wait": 31 }),
        json!({ "run_id": run, "x": 1 }),
        json!({ "run_id": "x" }),
    ] {
        assert_eq!(house.call(&mia, "run_status", arguments.clone()).await["isError"], true, "{arguments}");
    }
    house.end().await;
}

#[tokio::test]
async fn a_task_of_an_agent_is_tainted_by_whom_it_comes_from() {
    let house = House::new().await;
    let mia = house.login("mia").await;
    let body = json!({ "name": "butler", "description": "Keeps a house.", "instructions": "d", "publish": { "mcp": true } });
    assert_eq!(house.ask(&mia, "POST agents", body).await.status, 201);
    let listed = house.result(&mia, "tools/list", json!({})).await;
    assert_eq!(listed["tools"][0]["description"], "Keeps a house.");
    // This house has no models, so the task fails; it is the agent's all the same.
    let done = house.call(&mia, "agent_butler", json!({ "task": "Is it warm?" })).await;
    assert_eq!(
        (done["isError"].as_bool(), done["structuredContent"]["status"].as_str()),
        (Some(true), Some("failed")),
        "{done}"
    );
    let run = house
        .get(&mia, &format!("runs/{}", done["structuredContent"]["run_id"].as_str().unwrap()))
        .await
        .json();
    assert_eq!(
        (run["inputs"]["task"].as_str(), run["inputs"]["context"]["asked_by"].is_string()),
        (Some("Is it warm?"), true),
        "{run}"
    );
    for arguments in [
        json!({}),
        json!({ "task": " " }),
        json!({ "task": "x", "budget": { "tokens": 1 } }),
        json!({ "task": "x", "output_schema": {} }),
    ] {
        assert_eq!(house.call(&mia, "agent_butler", arguments.clone()).await["isError"], true, "{arguments}");
    }
    house.end().await;
}

#[tokio::test]
async fn tools_come_in_pages_that_leave_none_out() {
    let house = House::new().await;
    let mia = house.login("mia").await;
    for number in 0..60 {
        let source = HELLO.replace("name: hello", &format!("name: hello{number:02}"));
        house.stores(&mia, &source).await;
    }
    assert_eq!(
        house
            .ask(
                &mia,
                "POST agents",
                json!({ "name": "butler", "instructions": "d", "publish": { "mcp": true } })
            )
            .await
            .status,
        201
    );
    let (mut names, mut params, mut pages) = (Vec::new(), json!({}), 0);
    loop {
        let page = house.result(&mia, "tools/list", params).await;
        names.extend(
            page["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()),
        );
        pages += 1;
        match page["nextCursor"].as_str() {
            Some(cursor) => params = json!({ "cursor": cursor }),
            None => break,
        }
    }
    let mut sorted = names.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!((pages, names.len(), &names), (2, 62, &sorted));
    assert_eq!(house.refused(&mia, "tools/list", json!({ "cursor": "x" })).await["code"], -32602);
    house.end().await;
}

#[tokio::test]
async fn what_is_no_message_and_no_version_is_refused() {
    let house = House::new().await;
    let mia = house.login("mia").await;
    for (body, code) in [
        (json!([]), "CB-0017"),
        (json!({}), "CB-0017"),
        (json!({ "jsonrpc": "1.0", "id": 1, "method": "ping" }), "CB-0017"),
        (json!({ "jsonrpc": "2.0", "id": {}, "method": "ping" }), "CB-0017"),
        (json!({ "jsonrpc": "2.0", "id": 1, "method": 1 }), "CB-0017"),
        (json!({ "jsonrpc": "2.0", "id": 1, "method": "ping", "params": [] }), "CB-0017"),
        (json!({ "jsonrpc": "2.0", "id": 1, "method": "ping", "command": "/bin/sh" }), "CB-0008"),
        (json!({ "jsonrpc": "2.0", "id": 1, "result": {} }), "CB-0008"),
    ] {
        house.ask(&mia, "POST /mcp", body).await.problem(422, code);
    }
    for method in ["GET", "PUT", "DELETE"] {
        let reply = house.ask(&mia, &format!("{method} /mcp"), Value::Null).await;
        reply.problem(405, "CB-0003");
        assert_eq!(reply.header("allow"), "POST");
    }
    let request = |version: &str| {
        let request = Request::post("/mcp")
            .header("MCP-Protocol-Version", version)
            .header("Content-Type", "application/json");
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }).to_string();
        request.header("Authorization", format!("Bearer {mia}")).body(Body::from(body)).unwrap()
    };
    assert_eq!(house.send(request("2025-11-25")).await.status, 200);
    house.send(request("2099-01-01")).await.problem(400, "CB-1285");
    assert_eq!(house.refused(&mia, "resources/list", json!({})).await["code"], -32601);
    house.end().await;
}

#[tokio::test]
async fn a_page_of_another_origin_uses_no_tool_and_nobody_without_a_credential() {
    let house = House::new().await;
    let mia = house.login("mia").await;
    let request = |headers: &[(&str, &str)]| {
        let mut request = Request::post("/mcp").header("Content-Type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request
            .body(Body::from(json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string()))
            .unwrap()
    };
    let bearer = format!("Bearer {mia}");
    let credential = ("Authorization", bearer.as_str());
    house.send(request(&[])).await.problem(401, "CB-0004");
    house.send(request(&[("Authorization", "Bearer x")])).await.problem(401, "CB-0004");
    assert_eq!(house.send(request(&[credential])).await.status, 200);
    for (host, origin) in [
        ("evil.example", "http://evil.example"),
        ("127.0.0.1:8000", "http://evil.example"),
        ("127.0.0.1:8000", "http://127.0.0.1:9000"),
        ("127.0.0.1:8000", "null"),
        ("localhost.evil.example", "http://localhost.evil.example"),
        ("pi.local:8000", "https://pi.local:8000"),
    ] {
        let reply = house.send(request(&[credential, ("Host", host), ("Origin", origin)])).await;
        reply.problem(403, "CB-0847");
        // Before anybody is known, so a page learns nothing of a token.
        house.send(request(&[("Host", host), ("Origin", origin)])).await.problem(403, "CB-0847");
    }
    for host in ["localhost", "127.0.0.1:8000", "[::1]:8000"] {
        let own = format!("http://{host}");
        assert_eq!(
            house.send(request(&[credential, ("Host", host), ("Origin", &own)])).await.status,
            200,
            "{host}"
        );
    }
    house.end().await;
}

#[tokio::test]
async fn a_tool_may_have_a_name_of_its_own_that_no_other_has() {
    let house = House::new().await;
    let (mia, tom) = (house.login("mia").await, house.login("tom").await);
    let named = |name: &str, tool: &str| {
        HELLO
            .replace("name: hello", &format!("name: {name}"))
            .replace("mcp: true", &format!("mcp: {{ name: {tool} }}"))
    };
    house.stores(&mia, &named("hello", "greetPeople")).await;
    assert_eq!(house.tools(&mia).await, ["run_status", "greetPeople"]);
    for tool in ["greetPeople", "workflow_hello"] {
        let done = house.call(&mia, tool, json!({ "who": "Tom" })).await;
        assert_eq!(done["structuredContent"]["output"]["said"], "hello Tom", "{tool}: {done}");
    }
    // Who does not see the workflow has no such tool, and cannot have one of that name.
    assert_eq!(house.refused(&tom, "tools/call", json!({ "name": "greetPeople" })).await["code"], -32602);
    let taken = Value::String(named("other", "greetPeople"));
    house.ask(&tom, "POST workflows", taken).await.problem(409, "CB-1287");
    let agent =
        |tool: &str| json!({ "name": "butler", "instructions": "d", "publish": { "mcp": { "name": tool } } });
    house.ask(&tom, "POST agents", agent("greetPeople")).await.problem(409, "CB-1287");
    assert_eq!(house.ask(&tom, "POST agents", agent("askButler")).await.status, 201);
    assert_eq!(house.tools(&tom).await, ["askButler", "run_status"]);
    house.stores(&tom, &named("other", "greetAll")).await;
    let put = |source: String| house.ask(&tom, "PUT workflows/other", Value::String(source));
    put(named("other", "askButler")).await.problem(409, "CB-1287");
    // Its own stays its own.
    assert_eq!(put(named("other", "greetAll").replace("Says", "Really says")).await.status, 200);
    assert_eq!(house.ask(&mia, "DELETE workflows/hello", Value::Null).await.status, 204);
    assert_eq!(put(named("other", "greetPeople")).await.status, 200);
    for wrong in ["run_status", "workflow_x", "agent_x", "1a", "\"a b\"", "\"\"", "7"] {
        let reply = house.ask(&mia, "POST workflows", Value::String(named("wrong", wrong))).await;
        assert_eq!(reply.status, 422, "{wrong}: {}", reply.text);
        assert!(reply.text.contains("publish.mcp.name"), "{wrong}: {}", reply.text);
    }
    house.ask(&mia, "POST agents", agent("run_status")).await.problem(422, "CB-1220");
    house.end().await;
}

#[tokio::test]
async fn a_list_of_tools_with_names_of_their_own_is_in_pages_as_any() {
    let house = House::new().await;
    let mia = house.login("mia").await;
    for number in 0..60 {
        let source = HELLO.replace("name: hello", &format!("name: hello{number:02}"));
        house.stores(&mia, &source.replace("mcp: true", &format!("mcp: {{ name: t{} }}", 99 - number))).await;
    }
    let first = house.result(&mia, "tools/list", json!({})).await;
    let second = house.result(&mia, "tools/list", json!({ "cursor": first["nextCursor"] })).await;
    let count = |page: &Value| page["tools"].as_array().unwrap().len();
    assert_eq!((count(&first), count(&second), second["tools"][10]["name"].as_str()), (50, 11, Some("t40")));
    house.end().await;
}

#[tokio::test]
async fn an_output_that_is_to_be_content_blocks_is_given_as_such() {
    let house = House::new().await;
    let mia = house.login("mia").await;
    let shows = "name: shows\npublish: { mcp: { content: true } }\nsteps:\n  - { id: a, type: set, config: { variables: { a: \"1\" } } }\n\
        output:\n  - { type: text, text: \"the bed\" }\n  - { type: image, data: \"AAAA\", mimeType: image/png }\n";
    house.stores(&mia, shows).await;
    let done = house.call(&mia, "workflow_shows", json!({})).await;
    let blocks = json!([{ "type": "text", "text": "the bed" }, { "type": "image", "data": "AAAA", "mimeType": "image/png" }]);
    assert_eq!(
        (&done["content"], &done["isError"], &done["structuredContent"]),
        (&blocks, &json!(false), &Value::Null)
    );
    let run = &done["_meta"]["chainbot/run"];
    assert_eq!(run["status"], "completed", "{done}");
    let again = house.call(&mia, "run_status", json!({ "run_id": run["run_id"] })).await;
    assert_eq!(again["content"], blocks);
    // What is none is given as every output, and says so.
    let put = Value::String(shows.replace("data: \"AAAA\"", "data: \"https://evil.example\""));
    assert_eq!(house.ask(&mia, "PUT workflows/shows", put).await.status, 200);
    let done = house.call(&mia, "workflow_shows", json!({})).await["structuredContent"].clone();
    assert!(done["next"].as_str().unwrap().contains("block 2"), "{done}");
    assert_eq!(done["output"][1]["data"], "https://evil.example");
    house.end().await;
}

impl House {
    /// A call whose progress is wanted: what came, one message after the other.
    async fn watched(&self, token: &str, accept: &str, params: Value) -> (String, Vec<Value>) {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string();
        let request =
            Request::post("/mcp").header("Content-Type", "application/json").header("Accept", accept);
        let request =
            request.header("Authorization", format!("Bearer {token}")).body(Body::from(body)).unwrap();
        let reply = self.send_to_port(request).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let kind = reply.header("content-type").to_owned();
        let data: Vec<&str> = match kind.as_str() {
            "text/event-stream" => {
                reply.text.lines().filter_map(|line| line.strip_prefix("data: ")).collect()
            }
            _ => vec![&reply.text],
        };
        (kind, data.into_iter().map(|text| serde_json::from_str(text).unwrap()).collect())
    }
}

#[tokio::test]
async fn progress_is_told_to_whoever_asks_for_it_and_takes_events() {
    const BOTH: &str = "application/json, text/event-stream";
    let house = House::new().await;
    let mia = house.login("mia").await;
    let three: String = ["a", "b", "c"]
        .map(|id| format!("  - {{ id: {id}, type: set, config: {{ variables: {{ {id}: \"1\" }} }} }}\n"))
        .concat();
    house
        .stores(
            &mia,
            &format!("name: three\npublish: {{ mcp: true }}\nsteps:\n{three}output: {{ done: true }}\n"),
        )
        .await;
    let params = |token: Value| json!({ "name": "workflow_three", "arguments": {}, "_meta": { "progressToken": token } });
    for token in [json!("t"), json!(7)] {
        let (kind, said) = house.watched(&mia, BOTH, params(token.clone())).await;
        assert_eq!(kind, "text/event-stream");
        let notices: Vec<Value> = said[..4].iter().map(|one| one["params"].clone()).collect();
        let expected: Vec<Value> =
            (0..4).map(|done| json!({ "progressToken": token, "progress": done, "total": 3 })).collect();
        assert_eq!(notices, expected);
        assert!(said[..4].iter().all(|one| one["method"] == "notifications/progress" && one["id"].is_null()));
        assert_eq!((said.len(), &said[4]["id"]), (5, &json!(1)));
        assert_eq!(said[4]["result"]["structuredContent"]["output"]["done"], true, "{}", said[4]);
    }
    // JSON to whoever does not take events, or does not ask.
    for (accept, params) in [
        ("application/json", params(json!("t"))),
        (BOTH, json!({ "name": "workflow_three", "arguments": {} })),
        (
            BOTH,
            json!({ "name": "run_status", "arguments": { "run_id": "x" }, "_meta": { "progressToken": 1 } }),
        ),
        (BOTH, json!({ "name": "nothing", "_meta": { "progressToken": 1 } })),
    ] {
        let (kind, said) = house.watched(&mia, accept, params).await;
        assert_eq!((kind.as_str(), said.len()), ("application/json", 1));
    }
    // A repeat is told its end alone.
    let mut keyed = params(json!("t"));
    keyed["_meta"]["chainbot/idempotency-key"] = json!("k");
    assert_eq!(house.watched(&mia, BOTH, keyed.clone()).await.1.len(), 5);
    let (kind, said) = house.watched(&mia, BOTH, keyed).await;
    assert_eq!(
        (kind.as_str(), &said[0]["result"]["structuredContent"]["status"]),
        ("application/json", &json!("completed"))
    );
    // Over the host's door there is one reply.
    let via = house.result(&mia, "tools/call", params(json!("t"))).await;
    assert_eq!(via["structuredContent"]["status"], "completed");
    // A loop has no total, and no more notices than the bound.
    let loops = "name: loops\npublish: { mcp: true }\nsteps:\n  - id: l\n    type: loop\n    config:\n      for_each: \"range(300)\"\n      \
        steps:\n        - { id: a, type: set, config: { variables: { a: \"1\" } } }\n";
    house.stores(&mia, loops).await;
    let (_, said) =
        house.watched(&mia, BOTH, json!({ "name": "workflow_loops", "_meta": { "progressToken": 1 } })).await;
    assert_eq!((said.len(), &said[100]["params"]), (201, &json!({ "progressToken": 1, "progress": 100 })));
    // A person is asked: the stream ends with that.
    house.stores(&mia, ASKS).await;
    let (_, said) =
        house.watched(&mia, BOTH, json!({ "name": "workflow_asks", "_meta": { "progressToken": 1 } })).await;
    assert_eq!(said.last().unwrap()["result"]["structuredContent"]["status"], "waiting");
    house.end().await;
}

#[tokio::test]
async fn a_message_that_speaks_for_itself_is_answered_without_a_greeting() {
    let house = House::new().await;
    let mia = house.login("mia").await;
    house.stores(&mia, HELLO).await;
    let bearer = format!("Bearer {mia}");
    let ask = async |method: &str, version: &str, mut params: Value| {
        let own = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} });
        let meta = params["_meta"].as_object().cloned().unwrap_or_default();
        params["_meta"] = own.as_object().cloned().into_iter().flatten().chain(meta).collect();
        let name = params["name"].as_str().unwrap_or("none").to_owned();
        let body = json!({ "jsonrpc": "2.0", "id": "a", "method": method, "params": params }).to_string();
        let request =
            Request::post("/mcp").header("Content-Type", "application/json").header("Authorization", &bearer);
        let request = request.header("MCP-Protocol-Version", version).header("Mcp-Method", method);
        let request =
            request.header("Mcp-Name", name).header("Accept", "application/json, text/event-stream");
        house.send_to_port(request.body(Body::from(body)).unwrap()).await
    };
    let alone = "2026-07-28";
    let found = ask("server/discover", alone, json!({})).await.json()["result"].clone();
    assert_eq!(
        (found["supportedVersions"][0].as_str(), found["resultType"].as_str()),
        (Some(alone), Some("complete"))
    );
    let listed = ask("tools/list", alone, json!({})).await.json()["result"].clone();
    assert_eq!(
        (listed["tools"][1]["name"].as_str(), listed["cacheScope"].as_str()),
        (Some("workflow_hello"), Some("private"))
    );
    let call = json!({ "name": "workflow_hello", "arguments": { "who": "Tom" } });
    let done = ask("tools/call", alone, call.clone()).await.json()["result"].clone();
    assert_eq!(
        (done["structuredContent"]["output"]["said"].as_str(), done["resultType"].as_str()),
        (Some("hello Tom"), Some("complete"))
    );
    // Its progress as well.
    let mut watched = call;
    watched["_meta"] = json!({ "progressToken": 1 });
    let events = ask("tools/call", alone, watched).await.text;
    assert!(
        events.contains("notifications/progress") && events.contains("\"resultType\":\"complete\""),
        "{events}"
    );
    for (method, version, status, code) in [
        ("initialize", alone, 404, -32601),
        ("ping", alone, 404, -32601),
        ("tools/list", "2025-11-25", 400, -32020),
    ] {
        let reply = ask(method, version, json!({})).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["error"]["code"]),
            (status, &json!(code)),
            "{method}"
        );
        assert_eq!(reply.json()["id"], "a");
    }
    house.end().await;
}
