//! What only a real browser shows: the API page works with nothing from elsewhere, a logout leaves no cookie, and text that was stored to
//! be run as a script stays text.

use serde_json::{Value, json};

use crate::chromium::Chromium;
use crate::server::{Door, Server, data};
use crate::support::{root, skip};

const JSON: &str = "content-type: application/json";
const YAML: &str = "content-type: application/yaml";
const PASSWORD: &str = "three words apart";
const GREETS: &str = "name: greets\nsteps: [{ id: a, type: set, config: { variables: { x: 1 } } }]\noutput: { hello: world }\n";

/// A server with a user, and a browser where that user has signed in by the page itself: the cookies are the browser's own.
fn signed_in(folder: &tempfile::TempDir) -> Option<(Server, Chromium, String)> {
    let mut browser = Chromium::open()?;
    let server = Server::start_with(&data(folder), &["api.rate_limit_per_token=0"]);
    let user = json!({ "name": "mia", "role": "admin", "password": PASSWORD }).to_string();
    assert_eq!(server.port.ask("POST users", &[JSON], &user).status, 201);
    let origin = format!("http://{}", server.port.address);
    // The page is behind the guard, so the first time it is opened as a program would.
    let authorization = format!("Bearer {}", server.port.token);
    browser.ask("Network.setExtraHTTPHeaders", json!({ "headers": { "Authorization": authorization } }));
    browser.go(&format!("{origin}/docs"));
    browser.ask("Network.setExtraHTTPHeaders", json!({ "headers": {} }));
    let login = json!({ "name": "mia", "password": PASSWORD, "cookies": true }).to_string();
    let status = post(&mut browser, "/api/chainbot/auth/login", &login);
    assert_eq!(status, 200);
    assert_eq!(browser.eval("document.cookie"), "", "scripts see no cookie");
    Some((server, browser, origin))
}

/// The status of a request that the page sends.
fn post(browser: &mut Chromium, path: &str, body: &str) -> Value {
    browser.eval(&format!(
        "fetch({path:?}, {{ method: 'POST', headers: {{ 'Content-Type': 'application/json' }}, body: {} }}).then((reply) => reply.status)",
        json!(body)
    ))
}

/// Nobody else was asked for anything, no script ran that was not ours, and ours did not fail.
fn is_clean(browser: &Chromium, origin: &str) {
    let seen = &browser.seen;
    let ours = |url: &&String| !url.starts_with(&format!("{origin}/")) && !url.starts_with("about:");
    let foreign: Vec<&String> = seen.requests.iter().filter(ours).collect();
    assert!(foreign.is_empty(), "asked elsewhere: {foreign:?}");
    assert!(seen.requests.len() > 3, "requests are seen at all: {:?}", seen.requests);
    assert!(seen.dialogs.is_empty(), "{:?}", seen.dialogs);
    assert!(seen.violations.is_empty(), "{:?}", seen.violations);
    assert!(seen.exceptions.is_empty(), "{:?}", seen.exceptions);
}

#[test]
fn the_api_page_shows_and_tries_every_operation_and_asks_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let Some((server, mut browser, origin)) = signed_in(&folder) else {
        skip!("the_api_page_shows_and_tries_every_operation_and_asks_nobody_else", "no chromium");
    };
    assert_eq!(server.port.ask("POST workflows", &[YAML], GREETS).status, 201);
    browser.go(&format!("{origin}/docs"));
    browser.wait("document.querySelectorAll('details.route').length > 0");
    browser.shot("docs");
    let document = server.port.ask("GET openapi.json", &[], "").json();
    let operations: Vec<&str> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|item| item.as_object().unwrap().values())
        .filter_map(|operation| operation["operationId"].as_str())
        .collect();
    let shown = browser.eval("[...document.querySelectorAll('details.route')].map((one) => one.id)");
    let shown: Vec<&str> = shown.as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    let (mut sorted, mut expected) = (shown.clone(), operations.clone());
    sorted.sort_unstable();
    expected.sort_unstable();
    assert!(expected.len() > 100, "{}", expected.len());
    assert_eq!(sorted, expected);
    // Each of them unfolds: its answers at least, and a line for curl.
    let unfolded = "[...document.querySelectorAll('details.route')].every((one) => one.querySelector('table') && one.querySelector('form.try'))";
    browser.eval("document.querySelectorAll('details.route').forEach((one) => { one.open = true; })");
    browser.wait(unfolded);
    browser.eval("document.querySelectorAll('details.route').forEach((one) => { one.open = false; })");
    // A person looks for a route, opens it and sends a request with the cookie.
    let id = document["paths"]["/api/chainbot/workflows"]["get"]["operationId"].as_str().unwrap();
    browser.eval("{ const find = document.getElementById('find'); find.value = 'get /api/chainbot/workflows'; find.dispatchEvent(new Event('input')); }");
    let left =
        browser.eval("[...document.querySelectorAll('details.route')].filter((one) => !one.hidden).length");
    assert!(left.as_u64().is_some_and(|left| left > 0 && left < 30), "{left}");
    browser.eval(&format!("{{ const one = document.getElementById({id:?}); one.open = true; one.querySelector('form button').click(); }}"));
    browser.wait(&format!("document.querySelector('#{id} .ok')"));
    let answer =
        browser.eval(&format!("document.getElementById({id:?}).querySelector('[aria-live]').textContent"));
    let answer = answer.as_str().unwrap();
    assert!(answer.starts_with("200") && answer.contains("\"name\": \"greets\""), "{answer}");
    browser.eval(&format!("document.getElementById({id:?}).scrollIntoView()"));
    browser.shot("docs-tried");
    is_clean(&browser, &origin);
}

#[test]
fn after_a_logout_the_browser_has_no_cookie_and_neither_token_serves() {
    let folder = tempfile::tempdir().unwrap();
    let Some((server, mut browser, origin)) = signed_in(&folder) else {
        skip!("after_a_logout_the_browser_has_no_cookie_and_neither_token_serves", "no chromium");
    };
    let refresh = format!("{origin}/api/chainbot/auth/refresh");
    let had = browser.cookies(&refresh);
    let value =
        |name: &str| had.iter().find(|(key, _)| key == name).unwrap_or_else(|| panic!("{had:?}")).1.clone();
    let (access, again) = (value("__Host-cb"), value("__Secure-cb-refresh"));
    let me = |door: &Door| door.bare("GET auth/me", &[&format!("cookie: __Host-cb={access}")], "").status;
    assert_eq!(me(&server.port), 200, "it served before");
    assert_eq!(
        browser.cookies(&format!("{origin}/docs")).len(),
        1,
        "the refresh token goes to its own route alone"
    );
    assert_eq!(post(&mut browser, "/api/chainbot/auth/logout", "{}"), 204);
    assert_eq!(browser.cookies(&refresh), []);
    assert_eq!(me(&server.port), 401);
    let own = format!("origin: http://{}", server.port.address);
    let host = [own.as_str(), "sec-fetch-site: same-origin", JSON];
    let cookie = format!("cookie: __Secure-cb-refresh={again}");
    let headers = [&host[..], &[cookie.as_str()]].concat();
    // The client of these tests calls itself localhost, so the Origin must be that as well.
    let headers: Vec<&str> =
        headers.into_iter().map(|one| if one == own { "origin: http://localhost" } else { one }).collect();
    assert_eq!(server.port.bare("POST auth/refresh", &headers, "{}").status, 401);
    browser.go(&format!("{origin}/docs"));
    let shown = browser.eval("document.body.innerText");
    assert!(shown.as_str().unwrap().contains("CB-"), "the page is a refusal: {shown}");
}

/// A workflow whose every text is a payload, and that brings it into its output, an approval, a notification and an error.
fn hostile(number: usize, payload: &str) -> String {
    json!({
        "name": format!("x{number}"), "description": payload, "inputs": { "type": "object", "description": payload },
        "steps": [
            { "id": "say", "type": "notification", "config": { "title": "t", "message": "{{ inputs.it }}" } },
            { "id": "keep", "type": "set", "config": { "variables": { "x": "inputs.it" } } },
            { "id": "ask", "type": "wait", "config": { "approval": { "message": "{{ inputs.it }}" } } },
        ],
        "output": { "it": "{{ inputs.it }}" },
    })
    .to_string()
}

#[test]
fn stored_text_that_would_be_a_script_stays_text_in_a_browser() {
    let folder = tempfile::tempdir().unwrap();
    let Some((server, mut browser, origin)) = signed_in(&folder) else {
        skip!("stored_text_that_would_be_a_script_stays_text_in_a_browser", "no chromium");
    };
    let payloads = std::fs::read_to_string(root().join("tests/data/hostile/xss.txt")).unwrap();
    let payloads: Vec<&str> = payloads.lines().collect();
    assert!(payloads.len() >= 60, "{}", payloads.len());
    let door = &server.port;
    let mut urls = vec!["workflows?limit=200".to_owned(), "runs?limit=200".to_owned(), "inbox".to_owned()];
    urls.extend(
        ["secrets", "audit?limit=200", "agents", "notifications?count=200", "events.html"].map(str::to_owned),
    );
    for (number, payload) in payloads.iter().enumerate() {
        let made = door.ask("POST workflows", &[JSON], &hostile(number, payload));
        assert_eq!(made.status, 201, "{payload}: {}", made.body);
        let body = json!({ "inputs": { "it": payload } }).to_string();
        let run = door.ask(&format!("POST workflows/x{number}/runs"), &[JSON], &body);
        assert_eq!(run.status, 201, "{payload}: {}", run.body);
        let run = run.json()["id"].as_str().unwrap().to_owned();
        let secret = json!({ "value": "a value of it", "description": payload }).to_string();
        assert_eq!(door.ask(&format!("PUT secrets/x{number}"), &[JSON], &secret).status, 201, "{payload}");
        urls.extend([
            format!("runs/{run}"),
            format!("runs/{run}/journal"),
            format!("workflows/x{number}/graph"),
        ]);
        // What a path says comes back in the problem that it is.
        let escaped: String = payload.bytes().map(|byte| format!("%{byte:02X}")).collect();
        urls.extend([format!("runs/{escaped}"), format!("workflows?sort={escaped}")]);
    }
    // There are fewer agents than payloads, so each has several.
    for (number, some) in payloads.chunks(8).enumerate() {
        let text = some.join("\n");
        let agent =
            json!({ "name": format!("x{number}"), "description": text, "instructions": text }).to_string();
        let made = door.ask("POST agents", &[JSON], &agent);
        assert_eq!(made.status, 201, "{text}: {}", made.body);
    }
    let asked = browser.seen.requests.len();
    for url in &urls {
        browser.go(&format!("{origin}/api/chainbot/{url}"));
        let kind = browser.eval("document.contentType");
        let kind = kind.as_str().unwrap();
        assert!(["application/json", "application/problem+json"].contains(&kind), "{url}: {kind}");
    }
    assert!(browser.seen.requests.len() >= asked + urls.len());
    // The same answers within the page that shows them to people.
    browser.go(&format!("{origin}/docs"));
    browser.wait("document.querySelectorAll('details.route').length > 0");
    let document = door.ask("GET openapi.json", &[], "").json();
    for path in ["workflows", "runs", "inbox", "secrets", "agents", "audit", "notifications"] {
        let id = document["paths"][format!("/api/chainbot/{path}")]["get"]["operationId"].as_str().unwrap();
        browser.eval(&format!("document.getElementById({id:?}).open = true"));
        // It is filled in when it is looked at.
        browser.wait(&format!("document.querySelector('#{id} form button')"));
        browser.eval(&format!("document.querySelector('#{id} form button').click()"));
        browser.wait(&format!("document.querySelector('#{id} .ok')"));
    }
    let shown =
        browser.eval("document.getElementById('main').textContent.includes('<img src=x onerror=alert(1)>')");
    assert_eq!(shown, true, "they were shown, as text");
    let made = browser.eval("document.querySelectorAll('img, svg, iframe, object, embed, video, math, main script, main style').length");
    assert_eq!(made, 0);
    browser.shot("docs-hostile");
    is_clean(&browser, &origin);
}

#[test]
fn the_browser_of_these_tests_notices_scripts_and_requests() {
    let Some(mut browser) = Chromium::open() else {
        skip!("the_browser_of_these_tests_notices_scripts_and_requests", "no chromium");
    };
    browser
        .go("data:text/html,<img src=http://elsewhere.example/x onerror=alert(7)><script>throw 8</script>");
    browser.wait("true");
    let seen = &browser.seen;
    assert!(seen.requests.iter().any(|url| url.starts_with("http://elsewhere.example/")), "{seen:?}");
    assert!(seen.exceptions.len() == 1, "{seen:?}");
    // The dialog comes when the request has failed.
    while browser.seen.dialogs.is_empty() {
        browser.eval("1");
        std::thread::yield_now();
    }
    assert_eq!(browser.seen.dialogs, ["\"7\""]);
}
