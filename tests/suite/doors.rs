//! Every route through both doors: the module's own port, and the host's ingress, which calls `handle_webhook`. The requests are
//! made from the document: each operation as its example says, and wrong in each way that a request can be wrong.
//!
//! What is read, or refused, is asked of one server through both doors. What changes something is asked of two servers that were made
//! the same, one through each door. Event streams differ by design; `api.rs` has them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::normalised;
use crate::furnished::{Names, furnish};
use crate::server::{Door, Reply, Server, data};

const UNLIMITED: &[&str] = &["api.rate_limit_per_token=0"];
/// Headers that belong to a connection, and what names a single reply.
const HOP: [&str; 8] =
    ["connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "date", "content-length"];
/// Answers that tell how often was asked, or how the machine is at the moment.
const COUNTING: [&str; 3] = ["/metrics", "/api/chainbot/metrics", "/api/chainbot/system"];

/// One request.
struct Ask {
    line: String,
    headers: Vec<String>,
    body: String,
    with_token: bool,
}

impl Ask {
    fn of(&self, door: &Door) -> Reply {
        let headers: Vec<&str> = self.headers.iter().map(String::as_str).collect();
        match self.with_token {
            true => door.ask(&self.line, &headers, &self.body),
            false => door.bare(&self.line, &headers, &self.body),
        }
    }

    fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap().split('?').next().unwrap()
    }
}

/// Status, headers and body; ids, times and hashes are one server's own.
fn essence(ask: &Ask, reply: &Reply, own: &Server) -> String {
    let headers: BTreeMap<_, _> =
        reply.headers.iter().filter(|(name, _)| !HOP.contains(&name.as_str())).collect();
    let body = if COUNTING.contains(&ask.path()) { "(figures)" } else { reply.body.as_str() };
    let mut body = body.to_owned();
    for name in ["access_token", "refresh_token"] {
        // A token of a login is nobody else's.
        if let Some(token) =
            serde_json::from_str::<Value>(&body).ok().and_then(|value| Some(value[name].as_str()?.to_owned()))
        {
            body = body.replace(&token, "<token>");
        }
    }
    let text = normalised(&format!("{} {headers:#?}\n{body}", reply.status));
    let text = text.replace(&own.port.address, "<own port>");
    // Hashes, and tokens behind their prefix.
    let mut out = String::new();
    let mut hex = String::new();
    for c in text.chars().chain(['\n']) {
        if c.is_ascii_hexdigit() {
            hex.push(c);
            continue;
        }
        out.push_str(if hex.len() >= 32 { "<hash>" } else { &hex });
        hex.clear();
        out.push(c);
    }
    out
}

fn operations(server: &Server) -> Vec<(String, String, Value)> {
    let document = server.port.ask("GET openapi.json", &[], "").json();
    let paths = document["paths"].as_object().unwrap().iter();
    let all = paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        let methods =
            methods.map(|(method, operation)| (method.to_uppercase(), path.clone(), operation.clone()));
        methods.collect::<Vec<_>>()
    });
    all.filter(|(_, path, _)| path != "/api/chainbot/events").collect()
}

/// A path with names in it: those that are there, or one that nothing has. Each way to steer a run has a run of its own, as what one
/// does may still be under way when the next begins.
fn filled(path: &str, names: Option<&Names>, is_delete: bool) -> String {
    let steered = ["/cancel", "/fork", "/pause", "/resume", "/retry", "/signal/{name}"];
    let which = steered.iter().position(|end| path.ends_with(end)).map_or(0, |at| at + 1);
    let part = |part: &str| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
        None => part.to_owned(),
        Some("v") => "1".to_owned(),
        Some(name) => {
            let kind = names.and_then(|names| names.of(path, name));
            let all = kind.map(|kind| if is_delete { &kind.go } else { &kind.stay });
            all.and_then(|all| all.get(which).or(all.first())).cloned().unwrap_or_else(|| "none".to_owned())
        }
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// The bodies of an operation's examples, each with its type; one without a body when there are none.
fn examples(operation: &Value) -> Vec<(Option<String>, String)> {
    let content = operation["requestBody"]["content"].as_object().into_iter().flatten();
    let text = |example: &Value| example.as_str().map_or_else(|| example.to_string(), str::to_owned);
    let all: Vec<_> = content
        .map(|(media, about)| (Some(format!("content-type: {media}")), text(&about["example"])))
        .collect();
    if all.is_empty() { vec![(None, String::new())] } else { all }
}

fn asks(operations: &[(String, String, Value)], names: &Names) -> (Vec<Ask>, Vec<Ask>) {
    let (mut same, mut changing) = (Vec::new(), Vec::new());
    for (method, path, operation) in operations {
        let there = format!("{method} {}", filled(path, Some(names), method == "DELETE"));
        let nowhere = format!("{method} {}", filled(path, None, false));
        let ask = |line: &str, headers: &[&str], body: &str, with_token: bool| Ask {
            line: line.to_owned(),
            headers: headers.iter().map(|header| (*header).to_owned()).collect(),
            body: body.to_owned(),
            with_token,
        };
        for (media, body) in examples(operation) {
            let headers: Vec<&str> = media.iter().map(String::as_str).collect();
            let place = if method == "GET" { &mut same } else { &mut changing };
            place.push(ask(&there, &headers, &body, true));
            if path.contains('{') {
                // Where nothing is, a PUT makes it.
                let place = if method == "PUT" { &mut changing } else { &mut same };
                place.push(ask(&nowhere, &headers, &body, true));
            }
        }
        if method == "GET" {
            same.push(ask(&there.replacen("GET", "HEAD", 1), &[], "", true));
            same.push(ask(&format!("{there}?limit=1"), &[], "", true));
        } else {
            same.push(ask(&nowhere, &["content-type: text/html"], "x", true));
            same.push(ask(&nowhere, &["content-type: application/json"], "{\"zzz\":1}", true));
            same.push(ask(&nowhere, &["content-type: application/json"], "{", true));
        }
        same.push(ask(&format!("{nowhere}?zzz=1"), &[], "", true));
        same.push(ask(&there.replacen(method.as_str(), "OPTIONS", 1), &[], "", true));
        same.push(ask(&there.replacen(method.as_str(), "TRACE", 1), &[], "", true));
        if !path.contains("/auth/") && !path.ends_with("/setup") {
            same.push(ask(&there, &[], "", false));
        }
    }
    // Refusals are written to the audit log a moment later, which nothing that is read after them may see.
    same.sort_by_key(|ask| !ask.with_token);
    (same, changing)
}

fn hold(ask: &Ask, port: &str, host: &str) {
    let at = port.bytes().zip(host.bytes()).take_while(|(port, host)| port == host).count();
    let rest =
        |text: &str| text.get(at.saturating_sub(60)..).unwrap_or(text).chars().take(300).collect::<String>();
    assert!(port == host, "{} {}\nport: {}\nhost: {}", ask.line, ask.body, rest(port), rest(host));
}

#[test]
fn every_route_answers_the_same_through_both_doors() {
    let folder = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = Server::start_with(&data(&folder.0), UNLIMITED);
    let names = furnish(&one);
    let operations = operations(&one);
    let (same, changing) = asks(&operations, &names);
    assert!(same.len() > 450 && changing.len() > 45, "{} {}", same.len(), changing.len());
    for ask in &same {
        let (port, host) = (ask.of(&one.port), ask.of(&one.host));
        hold(ask, &essence(ask, &port, &one), &essence(ask, &host, &one));
    }
    let two = Server::start_with(&data(&folder.1), UNLIMITED);
    let others = self::asks(&operations, &furnish(&two)).1;
    let mut changed = 0;
    for (ask, other) in changing.iter().zip(&others) {
        let (port, host) = (ask.of(&one.port), other.of(&two.host));
        changed += usize::from((200..300).contains(&port.status));
        // How far a run or a backup has come by then is the scheduler's affair.
        let is_moving = matches!(port.status, 201 | 202) || ask.path().starts_with("/api/chainbot/runs/");
        if is_moving && host.status == port.status {
            continue;
        }
        hold(ask, &essence(ask, &port, &one), &essence(other, &host, &two));
    }
    assert!(changed > 20, "only {changed} changes were made");
}
