//! A server with something of each kind in it, and what its things are called in the paths of the API.

use serde_json::{Value, json};

use crate::server::{Door, Server};

const JSON: &str = "content-type: application/json";
const YAML: &str = "content-type: application/yaml";

/// Names of things, by the paths that begin with them.
pub struct Names(Vec<Kind>);

/// Things of one kind.
pub struct Kind {
    /// A path up to the parameter.
    begin: &'static str,
    /// What stays.
    pub stay: Vec<String>,
    /// What may be deleted.
    pub go: Vec<String>,
}

impl Names {
    /// What a parameter of a path may be.
    pub fn of(&self, path: &str, parameter: &str) -> Option<&Kind> {
        let place = format!("{{{parameter}}}");
        self.0.iter().find(|kind| path.starts_with(kind.begin) && kind.begin.ends_with(&place))
    }
}

fn made(door: &Door, line: &str, header: &str, body: &str) -> Value {
    let reply = door.ask(line, &[header], body);
    assert!(matches!(reply.status, 200..=202), "{line}: {reply:?}");
    reply.json()
}

/// Makes something of each kind.
pub fn furnish(server: &Server) -> Names {
    let door = &server.port;
    for name in ["alpha", "beta", "doomed"] {
        let source = format!(
            "name: {name}\ntriggers: [{{ webhook: {name} }}]\nsteps:\n  - {{ id: note, type: set, config: {{ variables: {{ x: 1 }} }} }}\n  \
             - {{ id: ask, type: wait, config: {{ approval: {{ message: Shall I go on, actions: [approve, reject] }} }} }}\n"
        );
        made(door, "POST workflows", YAML, &source);
    }
    let runs: Vec<String> = (0..10)
        .map(|_| made(door, "POST workflows/alpha/runs", JSON, "{}")["id"].as_str().unwrap().to_owned())
        .collect();
    for run in &runs {
        server.wait_for("chainbot.workflow.waiting", run);
    }
    made(door, &format!("POST runs/{}/cancel", runs[9]), JSON, "{}");
    server.wait_for("chainbot.workflow.cancelled", &runs[9]);
    let list = |path: &str, field: &str| -> Vec<String> {
        let all = door.ask(&format!("GET {path}"), &[], "").json();
        all.as_array().unwrap().iter().map(|one| one[field].as_str().unwrap().to_owned()).collect()
    };
    for name in ["mia", "tom", "ida"] {
        let user = json!({ "name": name, "role": "admin", "password": "three words apart" }).to_string();
        made(door, "POST users", JSON, &user);
        let token = json!({ "name": "t", "scopes": ["chainbot:read"], "user": name }).to_string();
        made(door, "POST tokens", JSON, &token);
        made(
            door,
            &format!("PUT secrets/{name}"),
            JSON,
            r#"{"value":"long enough","hosts":["api.example.com"]}"#,
        );
    }
    made(door, "POST backup", JSON, r#"{"name":"first"}"#);
    while door.ask("GET backups/first", &[], "").json()["status"] == "running" {
        std::thread::yield_now();
    }
    // Not of the runs that are steered: whoever answers one lets its run end. Questions are not in the order of their runs.
    let inbox = door.ask("GET inbox", &[], "").json();
    let of_run = |one: &&Value| one["run"] == runs[7].as_str();
    let questions =
        inbox.as_array().unwrap().iter().filter(of_run).map(|one| one["id"].as_str().unwrap().to_owned());
    let questions: Vec<String> = questions.collect();
    assert_eq!(questions.len(), 1, "{inbox}");
    let keys = list("workflows/alpha/triggers", "key");
    let kind = |begin, stay: Vec<String>, go: Vec<String>| Kind { begin, stay, go };
    Names(vec![
        kind("/api/chainbot/workflows/{id}/triggers/{key}", keys, vec![]),
        kind("/api/chainbot/workflows/{id}", vec!["alpha".into(), "beta".into()], vec!["doomed".into()]),
        kind("/api/chainbot/runs/{id}", runs[..7].to_vec(), runs[9..].to_vec()),
        kind("/api/chainbot/inbox/{id}", questions, vec![]),
        kind("/api/chainbot/users/{id}", vec!["mia".into(), "tom".into()], vec!["ida".into()]),
        kind("/api/chainbot/tokens/{id}", vec![], list("tokens", "id")),
        kind("/api/chainbot/secrets/{name}", vec!["mia".into()], vec!["tom".into()]),
        kind("/api/chainbot/backups/{name}", vec!["first".into()], vec![]),
        kind("/api/chainbot/hooks/{name}", vec!["alpha".into(), "beta".into()], vec![]),
    ])
}
