//! What people may ask of runs, questions and versions, in each state, through both doors: status and code of each answer.

use serde_json::{Value, json};

use crate::server::{Door, Server, data};

const JSON: &str = "content-type: application/json";
const WORKFLOWS: [&str; 5] = [
    "name: asks\nsteps:\n  - { id: ok, type: wait, config: { approval: { message: Go?, approvers: [mia], actions: [approve, reject] } } }\n",
    "name: waits\nsteps:\n  - { id: a, type: wait, config: { signal: { name: go, schema: { type: integer } } } }\n",
    "name: fails\nsteps:\n  - { id: a, type: set, config: { variables: { x: \"1\" } } }\n  - { id: b, type: transform, config: { type: expression, expr: \"1 / 0\" } }\n",
    "name: quick\nsteps:\n  - { id: a, type: set, config: { variables: { x: \"1\" } } }\n",
    "name: ticks\ntriggers: [ { event: user.tick } ]\nsteps:\n  - { id: a, type: set, config: { variables: { x: \"1\" } } }\n",
];
const STATES: [&str; 7] = ["waiting", "paused", "asking", "completed", "failed", "cancelled", "unknown"];

/// A request and what comes of it in each of [`STATES`]: 200, or status and code.
type Row = (&'static str, &'static str, [&'static str; 7]);

const OVER: &str = "409 CB-0303";
const NONE: &str = "404 CB-0300";

/// `{run}` is the run; what follows a line is its body.
const RUNS: [Row; 12] = [
    ("POST runs/{run}/pause", "", ["200", "200", "200", OVER, OVER, OVER, NONE]),
    ("POST runs/{run}/pause", r#"{"reason":"lunch"}"#, ["200", "200", "200", OVER, OVER, OVER, NONE]),
    ("POST runs/{run}/pause", r#"{"reason":5}"#, ["422 CB-0017"; 7]),
    ("POST runs/{run}/resume", "", ["200", "200", "200", OVER, OVER, OVER, NONE]),
    ("POST runs/{run}/resume", r#"{"why":"x"}"#, ["422 CB-0008"; 7]),
    ("POST runs/{run}/signal/other", r#"{"data":1}"#, ["200", "200", "200", OVER, OVER, OVER, NONE]),
    (
        "POST runs/{run}/retry",
        "",
        ["409 CB-0343", "409 CB-0343", "409 CB-0343", "409 CB-0343", "200", "409 CB-0343", NONE],
    ),
    ("POST runs/{run}/fork", "{}", ["422 CB-0345"; 7]),
    (
        "POST runs/{run}/fork",
        r#"{"from":"nobody"}"#,
        ["422 CB-0345", "422 CB-0345", "422 CB-0345", "422 CB-0345", "422 CB-0345", "422 CB-0345", NONE],
    ),
    ("GET runs/{run}/state?at=0", "", ["200", "200", "200", "200", "200", "200", NONE]),
    ("GET runs/{run}/state?at=99999", "", ["422", "422", "422", "422", "422", "422", NONE]),
    ("DELETE runs/{run}", "", ["409 CB-0344", "409 CB-0344", "409 CB-0344", "204", "204", "204", NONE]),
];

struct People<'a> {
    door: &'a Door,
}

impl People<'_> {
    /// Status and, of a problem, its code; and the body.
    fn send(&self, line: &str, body: &str) -> (String, Value) {
        let headers = if body.is_empty() { vec![] } else { vec![JSON] };
        let reply = self.door.ask(line, &headers, body);
        let value: Value = serde_json::from_str(&reply.body).unwrap_or(Value::Null);
        let code = value["code"].as_str().filter(|_| reply.status >= 400);
        (code.map_or_else(|| reply.status.to_string(), |code| format!("{} {code}", reply.status)), value)
    }

    fn check(&self, line: &str, body: &str, wanted: &str) -> Value {
        let (got, value) = self.send(line, body);
        let is_same = got == wanted || (!wanted.contains(' ') && got.starts_with(&format!("{wanted} ")));
        assert!(is_same, "{line} {body}: {got} and not {wanted}: {value}");
        value
    }

    /// A table, every row of it before anything is said.
    fn check_all(&self, rows: &[(&str, &str, &str)]) {
        let mut wrong = Vec::new();
        for (line, body, wanted) in rows {
            let (got, value) = self.send(line, body);
            if got != *wanted && (wanted.contains(' ') || !got.starts_with(&format!("{wanted} "))) {
                wrong.push(format!("{line} {body}: {got} and not {wanted}: {value}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// A new run in this state. Whoever asks again until it is there is answered from memory, so nothing is timed.
    fn run_in(&self, state: &str) -> String {
        let workflow = match state {
            "asking" => "asks",
            "completed" => "quick",
            "failed" => "fails",
            _ => "waits",
        };
        let started = self.check(&format!("POST workflows/{workflow}/runs"), "{}", "201");
        let run = started["id"].as_str().unwrap().to_owned();
        let first = match state {
            "unknown" => return "01900000-0000-7000-8000-000000000000".to_owned(),
            "completed" | "failed" => state,
            _ => "waiting",
        };
        self.until(&run, first);
        match state {
            "paused" => drop(self.check(&format!("POST runs/{run}/pause"), "", "200")),
            "cancelled" => drop(self.check(&format!("POST runs/{run}/cancel"), "", "200")),
            _ => {}
        }
        self.until(&run, if state == "asking" { "waiting" } else { state });
        run
    }

    fn until(&self, run: &str, status: &str) {
        for _ in 0..100_000 {
            if self.check(&format!("GET runs/{run}"), "", "200")["status"] == status {
                return;
            }
        }
        panic!("run {run} never is {status}");
    }

    /// What a run asks: it is seen to wait a moment before its question is on disk.
    fn question(&self, run: &str) -> String {
        for _ in 0..100_000 {
            let open = self.check("GET inbox?limit=200", "", "200");
            if let Some(found) = open.as_array().unwrap().iter().find(|one| one["run"] == run) {
                return found["id"].as_str().unwrap().to_owned();
            }
        }
        panic!("{run} asks nothing");
    }

    fn runs(&self) {
        for (line, body, wanted) in RUNS {
            for (state, wanted) in STATES.iter().zip(wanted) {
                let run = self.run_in(state);
                println!("{state}: {line} {body}");
                self.check(&line.replace("{run}", &run), body, wanted);
            }
            self.check(
                &line.replace("{run}", "no-id"),
                body,
                if wanted[0] == wanted[6] { wanted[6] } else { "404" },
            );
        }
        // What each of them does.
        let run = self.run_in("waiting");
        self.check(&format!("POST runs/{run}/signal/go"), r#"{"data":"text"}"#, "422 CB-0304");
        self.check(&format!("POST runs/{run}/pause"), "", "200");
        self.check(&format!("POST runs/{run}/signal/go"), r#"{"data":7}"#, "200");
        self.check(&format!("POST runs/{run}/resume"), "", "200");
        self.until(&run, "completed");
        assert_eq!(self.check(&format!("GET runs/{run}"), "", "200")["output"]["signal"], 7);
        let failed = self.run_in("failed");
        let fork = self.check(&format!("POST runs/{failed}/fork"), r#"{"from":"b"}"#, "201");
        self.until(fork["id"].as_str().unwrap(), "failed");
        for (query, wanted) in [("", "422"), ("?at=x", "422"), ("?step=a", "422")] {
            let path = format!("GET runs/{failed}/state{query}");
            let (got, _) = self.send(&path, "");
            assert!(got.starts_with(wanted) || (query.is_empty() && got == "200"), "{path}: {got}");
        }
    }

    fn inbox(&self) {
        let run = self.run_in("asking");
        let id = self.question(&run);
        let answer = format!("POST inbox/{id}/answer");
        self.check("GET inbox/01900000-0000-7000-8000-000000000000", "", "404 CB-0342");
        self.check(
            "POST inbox/01900000-0000-7000-8000-000000000000/answer",
            r#"{"action":"approve"}"#,
            "404 CB-0342",
        );
        self.check(&format!("GET inbox/{id}"), "", "200");
        let rows: [(&str, &str); 9] = [
            ("{}", "422 CB-0341"),
            (r#"{"action":7}"#, "422 CB-0017"),
            (r#"{"action":"approve"}"#, "422 CB-0341"),
            (r#"{"action":"approve","by":"ben"}"#, "422 CB-0341"),
            (r#"{"action":"maybe","by":"mia"}"#, "422 CB-0341"),
            (r#"{"action":"approve","by":"mia","why":"x"}"#, "422 CB-0008"),
            (r#"{"action":"approve","by":"mia"}"#, "200"),
            (r#"{"action":"approve","by":"mia"}"#, "200"),
            (r#"{"action":"reject","by":"mia"}"#, "409 CB-0340"),
        ];
        let rows = rows.map(|(body, wanted)| (answer.as_str(), body, wanted));
        self.check_all(&rows);
        self.until(&run, "completed");
        assert_eq!(self.check(&format!("GET inbox/{id}"), "", "200")["answer"]["action"], "approve");
        // A question of a run that was ended is asked no more.
        let run = self.run_in("asking");
        let id = self.question(&run);
        self.check(&format!("POST runs/{run}/cancel"), "", "200");
        self.until(&run, "cancelled");
        let (got, _) = self.send(&format!("POST inbox/{id}/answer"), r#"{"action":"approve","by":"mia"}"#);
        assert!(got == "404 CB-0342" || got == "409 CB-0340", "{got}");
    }

    fn versions(&self) {
        let second = WORKFLOWS[3].replace("\"1\"", "\"2\"");
        let changed = self.door.ask("PUT workflows/quick", &["content-type: application/yaml"], &second);
        assert_eq!(changed.status, 200, "{}", changed.body);
        let rows: [(&str, &str, &str); 17] = [
            ("GET workflows/quick/versions", "", "200"),
            ("GET workflows/nobody/versions", "", "404"),
            ("GET workflows/quick/versions/1", "", "200"),
            ("GET workflows/quick/versions/9", "", "404"),
            ("GET workflows/quick/versions/x", "", "404"),
            ("GET workflows/quick/diff?from=1&to=2", "", "200"),
            ("GET workflows/quick/diff?from=1&to=9", "", "404"),
            ("GET workflows/nobody/diff?from=1&to=2", "", "404"),
            ("POST workflows/quick/rollback", r#"{"version":9}"#, "404"),
            ("POST workflows/quick/rollback", "{}", "422"),
            ("POST workflows/quick/rollback", r#"{"version":1}"#, "200"),
            ("POST workflows/nobody/rollback", r#"{"version":1}"#, "404"),
            ("POST workflows/ticks/disable", "", "200"),
            ("POST workflows/ticks/disable", "", "200"),
            ("POST workflows/ticks/enable", "", "200"),
            ("POST workflows/nobody/enable", "", "404"),
            ("POST workflows/ticks/triggers/nobody/disable", "", "404 CB-0197"),
        ];
        self.check_all(&rows);
        let versions = self.check("GET workflows/quick", "", "200");
        assert_eq!(versions["version"], 3, "going back is a new version");
        assert!(
            versions["source"].as_str().unwrap().contains("\\\"1\\\"")
                || versions["source"].as_str().unwrap().contains("\"1\"")
        );
        let trigger =
            self.check("GET workflows/ticks/triggers", "", "200")[0]["key"].as_str().unwrap().to_owned();
        for (verb, active) in [("disable", false), ("enable", true)] {
            let one = self.check(&format!("POST workflows/ticks/triggers/{trigger}/{verb}"), "", "200");
            assert_eq!(one["active"], json!(active));
        }
    }
}

#[test]
fn people_get_the_answer_that_is_written_through_both_doors() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(&data(&folder), &["--set", "api.rate_limit_per_token=0"]);
    for workflow in WORKFLOWS {
        let made = server.port.ask("POST workflows", &["content-type: application/yaml"], workflow);
        assert_eq!(made.status, 201, "{}", made.body);
    }
    for (door, name) in [(&server.port, "port"), (&server.host, "host")] {
        println!("through the {name}");
        let people = People { door };
        people.runs();
        people.inbox();
    }
    // Numbers of versions count on, so once through each door is another table; the answers' shapes are those of `api`.
    People { door: &server.host }.versions();
    server.stop();
}
