//! Every type of step, through the API of the real module: what it gives, each way it fails, its timeout and its tries, a cancel and a
//! SIGKILL in the middle of it, and what is over a bound.
//!
//! `tests/data/steps/TYPE.txt` has the cases, `tests/golden/steps/TYPE.txt` what came of them; `UPDATE_GOLDEN=1` rewrites the latter.
//! A case is `== HOW: NAME`, lines `> DIRECTIVE`, and the step `it` as YAML. HOW is `ends` (nothing is done to the run), `cancel` (the run is
//! cancelled when the step is under way) or `kill` (so is the host, by SIGKILL, and started again). Directives: `signal NAME JSON`,
//! `answer ACTION` (to the question that is open when the run waits), `then YAML` (a step that follows). `{http}`, `{refused}` and `{mail}` stand for
//! `tests/data/world.py`, a port where nobody listens, and the case's own mail name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::crash::client::Client;
use crate::crash::host::{Host, Module};
use crate::support::{root, skip};

/// Turns a hang into a failure.
const HANG: Duration = Duration::from_secs(60);
/// Cases that one SIGKILL meets: fewer than the requests that go to one host at once, for all of them must be under way.
const TOGETHER: usize = 3;
/// Workflows that `workflow` steps start.
pub const CHILDREN: [&str; 3] = [
    "name: child-ok\nsteps: [{ id: a, type: set, config: { variables: { x: inputs.x } } }]\noutput: \"{{ vars.x }}\"\n\
     inputs: { type: object, properties: { x: { type: integer, default: 1 } } }\n",
    "name: child-fails\nsteps: [{ id: a, type: transform, config: { type: json_parse, input: \"{\" } }]\n",
    "name: child-waits\nsteps: [{ id: a, type: wait, config: { signal: go } }]\n",
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    Ends,
    Cancel,
    Kill,
}

pub struct Case {
    pub name: String,
    /// Name of its workflow, and of its requests.
    slug: String,
    pub how: How,
    directives: Vec<(String, String)>,
    step: String,
}

/// The cases of a file.
pub fn cases(kind: &str) -> Vec<Case> {
    let text = std::fs::read_to_string(root().join(format!("tests/data/steps/{kind}.txt"))).unwrap();
    let blocks: Vec<&str> = text.split("\n== ").skip(1).collect();
    assert_eq!(blocks.len(), text.lines().filter(|line| line.starts_with("== ")).count());
    let case = |(number, block): (usize, &&str)| {
        let (title, body) = block.split_once('\n').unwrap();
        let (how, name) = title.split_once(": ").unwrap_or_else(|| panic!("{title}: HOW is missing"));
        let how = match how {
            "ends" => How::Ends,
            "cancel" => How::Cancel,
            "kill" => How::Kill,
            other => panic!("{other} is no way for a case to go"),
        };
        let (directives, step): (Vec<&str>, Vec<&str>) =
            body.lines().partition(|line| line.starts_with("> "));
        let directives = directives.iter().map(|line| line[2..].split_once(' ').unwrap());
        Case {
            name: name.to_owned(),
            slug: format!("{}-{number}", kind.replace('_', "-")),
            how,
            directives: directives.map(|(word, rest)| (word.to_owned(), rest.to_owned())).collect(),
            step: step.join("\n"),
        }
    };
    blocks.iter().enumerate().map(case).collect()
}

/// What the world has seen: cases and keys, in order.
#[derive(Default)]
struct Seen(Mutex<Vec<(String, String)>>, Condvar);

/// The process outside that steps talk to.
pub struct World {
    child: Child,
    pub http: String,
    pub mail: String,
    pub refused: String,
    seen: Arc<Seen>,
}

impl World {
    /// `None` without python3.
    pub fn start() -> Option<Self> {
        let script = root().join("tests/data/world.py");
        let piped = Command::new("python3").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = piped.ok()?;
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let ports = lines.next().expect("it prints its ports");
        let (http, mail) = ports.split_once(' ').expect("two ports");
        let seen = Arc::new(Seen::default());
        let told = seen.clone();
        // Ends with the process.
        std::thread::spawn(move || {
            for line in lines {
                let (case, key) = line.split_once(' ').expect("CASE KEY");
                told.0.lock().unwrap().push((case.to_owned(), key.to_owned()));
                told.1.notify_all();
            }
        });
        // A port that was free a moment ago and that nobody has a reason to take.
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Some(Self { http: http.into(), mail: mail.into(), refused: free.to_string(), child, seen })
    }

    /// How many requests of a case there were, and under how many keys.
    fn counts(&self, slug: &str) -> (usize, usize) {
        let seen = self.seen.0.lock().unwrap();
        let of = || seen.iter().filter(|(case, _)| case == slug);
        (of().count(), of().map(|(_, key)| key).collect::<BTreeSet<_>>().len())
    }

    /// Waits for the first request of a case.
    fn until_asked(&self, slug: &str) {
        let seen = self.seen.0.lock().unwrap();
        let waits = |seen: &mut Vec<(String, String)>| !seen.iter().any(|(case, _)| case == slug);
        let (_seen, result) = self.seen.1.wait_timeout_while(seen, HANG, waits).unwrap();
        assert!(!result.timed_out(), "{slug}: its request never came");
    }

    fn host(&self, data: &Path) -> (Host, Client) {
        self.host_of(&Module::shipped(), data, &[])
    }

    /// A host that reaches this world and nothing else, started with these arguments.
    pub fn host_of(&self, module: &Module, data: &Path, args: &[&str]) -> (Host, Client) {
        let ports: Vec<u16> =
            [&self.http, &self.mail, &self.refused].iter().map(|port| port.parse().unwrap()).collect();
        let grants = json!([{ "host": "127.0.0.1", "ports": ports, "why": "the test's world" }]);
        let account = |name: &str, port: u16| json!({ "name": name, "host": "127.0.0.1", "port": port, "tls": "none", "from": "bot@example.com" });
        let accounts = json!([account("default", ports[1]), account("nobody", ports[2])]);
        let pins = json!({
            "pump": { "pin": 17, "mode": "output", "safe": 0 },
            "lamp": { "pin": 27, "mode": "output", "safe": 0 },
            "fan": { "pin": 22, "mode": "output", "safe": 0 },
            "bell": { "pin": 23, "mode": "output", "safe": 1 },
            "door": { "pin": 24, "mode": "input" },
        });
        let set = [
            "api.port=0".to_owned(),
            "api.rate_limit_per_token=0".into(),
            "workflow_engine.max_concurrent_workflows=200".into(),
            "workflow_engine.retry_delay=20ms".into(),
            "workflow_engine.cancel_grace=0".into(),
            format!("egress.grants={grants}"),
            format!("email.accounts={accounts}"),
            format!("gpio.pins={pins}"),
        ];
        let mut host = Host::spawn(module, data, &set, args);
        match host.ready(data) {
            Some(client) => (host, client),
            None => panic!("the host does not start: {}", host.end().1),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Case {
    fn definition(&self, world: &World) -> String {
        let step = self.step.lines().fold(String::new(), |text, line| text + "    " + line + "\n");
        let mut text = format!("name: {}\nsteps:\n  - id: it\n{step}", self.slug);
        for (_, then) in self.directives.iter().filter(|(word, _)| word == "then") {
            let _ = writeln!(text, "  - {then}");
        }
        text.replace("{http}", &format!("http://127.0.0.1:{}/{}", world.http, self.slug))
            .replace("{refused}", &format!("http://127.0.0.1:{}", world.refused))
            .replace("{mail}", &self.slug)
    }

    /// Deploys it and starts a run; or the problems of its definition.
    pub fn start(&self, client: &Client, world: &World) -> Result<String, String> {
        let yaml = "content-type: application/yaml\r\n";
        let made = client.send("POST", "/api/chainbot/workflows", yaml, &self.definition(world)).unwrap();
        if made.status != 201 {
            return Err(made.body["errors"].to_string());
        }
        let path = format!("/api/chainbot/workflows/{}/runs", self.slug);
        let started = client.send("POST", &path, "content-type: application/json\r\n", "{}").unwrap();
        assert_eq!(started.status, 201, "{}: {}", self.name, started.body);
        Ok(started.body["id"].as_str().unwrap().to_owned())
    }

    /// Waits until the step is under way, so that a cancel or a kill meets it in the middle.
    fn until_under_way(&self, client: &Client, world: &World, run: &str) {
        if self.step.contains("{http}") || self.step.contains("{mail}") {
            return world.until_asked(&self.slug);
        }
        client.wait_until(|| {
            let steps = client.get(&format!("/api/chainbot/runs/{run}/steps"));
            let it = steps.as_array().unwrap().iter().find(|step| step["id"] == "it");
            it.is_some_and(|step| step["status"] == "waiting" || step["status"] == "running")
        });
    }

    /// Does what the directives say, once the run waits.
    pub fn direct(&self, client: &Client, run: &str) {
        for (word, rest) in &self.directives {
            match word.as_str() {
                "then" => {}
                "signal" => {
                    let (name, data) = rest.split_once(' ').unwrap();
                    let path = format!("/api/chainbot/runs/{run}/signal/{name}");
                    let data = match data.strip_prefix("large ") {
                        Some(bytes) => json!("x".repeat(bytes.parse().unwrap())),
                        None => serde_json::from_str(data).unwrap(),
                    };
                    let is_large = data.as_str().is_some_and(|text| text.len() > 1_000_000);
                    match client.send("POST", &path, JSON, &json!({ "data": data }).to_string()) {
                        Ok(sent) => assert!(sent.status < 500, "{}: {}", self.name, sent.body),
                        // Refused before it was read, so the connection may break under the sender.
                        Err(error) => assert!(is_large, "{}: {error}", self.name),
                    }
                }
                "answer" => {
                    client.wait_until(|| self.question(client, run).is_some());
                    let id = self.question(client, run).unwrap();
                    let path = format!("/api/chainbot/inbox/{id}/answer");
                    let said = json!({ "action": rest, "by": "mia" }).to_string();
                    let sent = client.send("POST", &path, JSON, &said).unwrap();
                    assert_eq!(sent.status, 200, "{}: {}", self.name, sent.body);
                }
                other => panic!("{}: {other} is no directive", self.name),
            }
        }
    }

    fn question(&self, client: &Client, run: &str) -> Option<String> {
        let inbox = client.get("/api/chainbot/inbox");
        let mut open = inbox.as_array().unwrap().iter().filter(|one| one["run"] == run);
        open.next().map(|one| one["id"].as_str().unwrap().to_owned())
    }

    /// The runs that this one started.
    fn children(&self, client: &Client, run: &str) -> Vec<Value> {
        if !self.step.starts_with("type: workflow") {
            return Vec::new();
        }
        let runs = client.list("/api/chainbot/runs", |run| run["id"].as_str().unwrap().to_owned()).unwrap();
        let ids = runs.iter().map(|run| run["id"].as_str().unwrap());
        let views = ids.map(|id| client.get(&format!("/api/chainbot/runs/{id}")));
        views.filter(|view| view["trigger"]["run"] == run).collect()
    }

    /// A child's end may come after its parent's: nobody waits for it but this.
    fn until_children_end(&self, client: &Client, run: &str) {
        if !self.step.contains("wait: false") {
            client.wait_until(|| self.children(client, run).iter().all(|child| has_ended(&child["status"])));
        }
    }

    /// What came of it, in words that are the same each time.
    fn outcome(&self, client: &Client, world: &World, run: &str) -> String {
        let view = client.get(&format!("/api/chainbot/runs/{run}"));
        let mut text = format!("run {}{}\n", view["status"].as_str().unwrap(), failure(&view["error"]));
        let steps = client.get(&format!("/api/chainbot/runs/{run}/steps"));
        for step in steps.as_array().unwrap().iter().filter(|step| step["id"] == "it") {
            let tries = step["attempts"].as_u64().unwrap();
            let _ = writeln!(
                text,
                "it  {}, tries: {tries}{}",
                step["status"].as_str().unwrap(),
                failure(&step["error"])
            );
            if let Some(output) = step.get("output") {
                let _ = writeln!(text, "    output {}", short(&output.to_string()));
            }
            if let Some(waits) = step.get("waiting_for").and_then(Value::as_str) {
                let _ = writeln!(text, "    waits for {}", short(waits));
            }
        }
        for child in self.children(client, run) {
            let _ = writeln!(text, "    child {}", child["status"].as_str().unwrap());
        }
        let (sent, keys) = world.counts(&self.slug);
        if sent > 0 {
            let _ = writeln!(text, "    sent {sent}, under {keys} key{}", if keys == 1 { "" } else { "s" });
        }
        for port in [&world.http, &world.mail, &world.refused] {
            text = text.replace(&format!(":{port}"), ":<port>");
        }
        text
    }
}

pub const JSON: &str = "content-type: application/json\r\n";

fn failure(error: &Value) -> String {
    match error["code"].as_str() {
        None => String::new(),
        Some(code) => {
            format!(
                ", {code} {}: {}",
                error["class"].as_str().unwrap_or("-"),
                short(error["message"].as_str().unwrap())
            )
        }
    }
}

/// Cut, with ids, moments and measured durations replaced.
fn short(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let taken = [
            ("xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "<id>"),
            ("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx@", "<id>@"),
            // A moment of the clock has milliseconds; a time that a case computes has none.
            ("dddd-dd-ddTdd:dd:dd.dddZ", "<moment>"),
        ]
        .into_iter()
        .find(|(shape, _)| is_shaped(rest, shape));
        let len = match taken {
            Some((shape, word)) => {
                out.push_str(word);
                shape.len()
            }
            None => {
                out.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[len..];
        if out.ends_with("\"waited\":") {
            out.push_str("<s>");
            rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        }
    }
    if out.chars().count() > 240 { out.chars().take(240).chain("...".chars()).collect() } else { out }
}

fn is_shaped(text: &str, shape: &str) -> bool {
    text.len() >= shape.len()
        && shape.bytes().zip(text.bytes()).all(|(shape, byte)| match shape {
            b'x' => byte.is_ascii_hexdigit(),
            b'd' => byte.is_ascii_digit(),
            other => byte == other,
        })
}

/// Whether a run has ended, or waits where that is enough.
pub fn is_over(client: &Client, run: &str, or_waits: bool) -> bool {
    let view = client.get(&format!("/api/chainbot/runs/{run}"));
    has_ended(&view["status"]) || (or_waits && view["status"] == "waiting")
}

fn has_ended(status: &Value) -> bool {
    matches!(status.as_str(), Some("completed" | "failed" | "cancelled"))
}

fn check(kind: &str) {
    let Some(world) = World::start() else { skip!(format!("steps::{kind}"), "python3 is not installed") };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (host, client) = world.host(&data);
    for child in CHILDREN {
        let made =
            client.send("POST", "/api/chainbot/workflows", "content-type: application/yaml\r\n", child);
        assert_eq!(made.unwrap().status, 201);
    }
    let cases = cases(kind);
    let mut outcomes: BTreeMap<usize, String> = BTreeMap::new();
    let start = |client: &Client, outcomes: &mut BTreeMap<usize, String>, wanted: &[usize]| {
        let mut runs = Vec::new();
        for number in wanted {
            match cases[*number].start(client, &world) {
                Ok(run) => runs.push((*number, run)),
                Err(problems) => drop(outcomes.insert(*number, format!("refused {}\n", short(&problems)))),
            }
        }
        runs
    };
    let (killed, others): (Vec<usize>, Vec<usize>) =
        (0..cases.len()).partition(|number| cases[*number].how == How::Kill);
    for (number, run) in start(&client, &mut outcomes, &others) {
        let case = &cases[number];
        // Shown when it hangs.
        println!("{}", case.name);
        match case.how {
            How::Cancel => {
                case.until_under_way(&client, &world, &run);
                let path = format!("/api/chainbot/runs/{run}/cancel");
                assert!(client.send("POST", &path, JSON, "{}").unwrap().status < 300);
            }
            _ => case.direct(&client, &run),
        }
        client.wait_until(|| is_over(&client, &run, false));
        case.until_children_end(&client, &run);
        outcomes.insert(number, case.outcome(&client, &world, &run));
    }
    let (mut host, mut client) = (host, client);
    for wanted in killed.chunks(TOGETHER) {
        let runs = start(&client, &mut outcomes, wanted);
        for (number, run) in &runs {
            println!("{}", cases[*number].name);
            cases[*number].until_under_way(&client, &world, run);
        }
        host.killer().kill();
        host.end();
        (host, client) = world.host(&data);
        for (number, run) in &runs {
            let case = &cases[*number];
            println!("{}, after the kill", case.name);
            case.direct(&client, run);
            let waits = case.directives.iter().all(|(word, _)| word == "then");
            client.wait_until(|| is_over(&client, run, waits));
            outcomes.insert(*number, case.outcome(&client, &world, run));
        }
    }
    host.terminate();
    let (code, said) = host.end();
    assert_eq!(code, Some(0), "{said}");

    let mut text = String::new();
    for (case, outcome) in cases.iter().zip(outcomes.values()) {
        let how = format!("{:?}", case.how).to_lowercase();
        let _ = write!(text, "== {how}: {}\n{outcome}", case.name);
    }
    crate::support::golden(&root().join(format!("tests/golden/steps/{kind}.txt")), &text);
}

#[test]
fn api_call() {
    check("api_call");
}

#[test]
fn webhook() {
    check("webhook");
}

#[test]
fn email() {
    check("email");
}

#[test]
fn wait() {
    check("wait");
}

#[test]
fn workflow() {
    check("workflow");
}

#[test]
fn control() {
    check("control");
}

#[test]
fn transform() {
    check("transform");
}

#[test]
fn gpio() {
    check("gpio");
}
