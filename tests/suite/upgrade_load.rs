//! Upgrades under load: versions of the module go back and forth while runs, webhooks, events and signals come in.
//!
//! Three doors are used at once: the module's own port, which is closed for a moment in each upgrade, so a request is repeated
//! with its key until it is answered; the host's ingress, where every request must get exactly one good answer; and the
//! host's bus. The ledger alone knows what was sent. `CHAINBOT_PROOF=long` makes more of everything.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::crash::client::Client;
use crate::crash::host::{Host, Module};
use crate::crash::ledger::Ledger;
use crate::crash::load::Load;
use crate::crash::{Random, now_ms, size, verdict};
use crate::host_shim::host_shim;
use crate::support;
use crate::upgrade::{copy_of_the_module, report, upgrade};

/// Runs of webhooks and of events have numbers of their own.
pub const HOOKS_FROM: u64 = 1_000_000;
const EVENTS_FROM: u64 = 2_000_000;
pub const INGRESS: [&str; 2] = ["--http", "127.0.0.1:0"];
const JSON: &str = "content-type: application/json\r\n";

/// How much may have been asked for: each upgrade brings some more, so that every one has work about it.
pub struct Budget {
    allowed: Mutex<(u64, bool)>,
    changed: Condvar,
}

impl Budget {
    pub fn new() -> Self {
        Self { allowed: Mutex::new((0, false)), changed: Condvar::new() }
    }

    pub fn add(&self, more: u64) {
        self.allowed.lock().unwrap().0 += more;
        self.changed.notify_all();
    }

    pub fn close(&self) {
        self.allowed.lock().unwrap().1 = true;
        self.changed.notify_all();
    }

    /// Waits for leave to be the one after `done`; false at the end.
    fn wait(&self, done: u64) -> bool {
        let allowed = self.allowed.lock().unwrap();
        let allowed = self.changed.wait_while(allowed, |(allowed, over)| done >= *allowed && !*over).unwrap();
        done < allowed.0
    }
}

pub fn define(client: &Client, ledger: &str) {
    for (name, trigger) in [("hooked", "{ webhook: hooked"), ("heard", "{ event: test.tick")] {
        let source = format!(
            "name: {name}\ninputs: {{ type: object, properties: {{ n: {{ type: integer }} }} }}\n\
             triggers: [ {trigger}, inputs: {{ n: \"{{{{ event.data.n }}}}\" }} }} ]\nsteps:\n\
             \x20 - {{ id: put, type: api_call, config: {{ url: \"{ledger}/{name}/{{{{ inputs.n }}}}/put\", method: PUT }} }}\n"
        );
        let reply =
            client.send("POST", "/api/chainbot/workflows", "content-type: application/yaml\r\n", &source);
        let reply = reply.unwrap();
        assert_eq!(reply.status, 201, "{name}: {}", reply.body);
    }
}

/// Starts by the port, each repeated until it is acknowledged; the runs that wait for a signal get it, twice with one key.
pub fn start_runs(client: &Client, load: &mut Load, budget: &Budget) {
    while budget.wait(load.starts.len() as u64) {
        let index = load.add();
        while !load.send(client, index) {}
        if load.starts[index].workflow != "signalled" {
            continue;
        }
        let path = format!("/api/chainbot/runs/{}/signal/go", load.starts[index].run.as_ref().unwrap());
        let headers = format!("idempotency-key: go-{index}\r\n");
        for _ in 0..2 {
            // No answer, or one that says that it stops: again. A repeat may find the run over.
            while !client
                .send("POST", &path, &headers, "")
                .is_ok_and(|reply| matches!(reply.status, 200 | 409))
            {}
        }
    }
}

/// Webhooks and looks through the host: each is sent once, and each must be answered well.
pub fn call_hooks(client: &Client, budget: &Budget) -> u64 {
    let mut sent = 0;
    while budget.wait(sent) {
        let body = json!({ "n": HOOKS_FROM + sent }).to_string();
        let reply =
            client.send("POST", "/api/chainbot/hooks/hooked", JSON, &body).expect("exactly one answer");
        assert_eq!(reply.status, 202, "hook {sent}: {}", reply.body);
        let reply = client.send("GET", "/api/chainbot/health/live", "", "").expect("exactly one answer");
        assert_eq!(reply.status, 200, "{}", reply.body);
        sent += 1;
    }
    sent
}

/// Events for the bus, each with an id; what the host took is what must have a run.
fn send_events(client: &Client, budget: &Budget) -> u64 {
    let mut sent = 0;
    while budget.wait(sent) {
        let (id, body) =
            (format!("event-id: tick-{sent}\r\n"), json!({ "n": EVENTS_FROM + sent }).to_string());
        let reply = client.send("POST", "/host/events/test.tick", &id, &body).expect("exactly one answer");
        assert_eq!(
            (reply.status, &reply.body["routed"]),
            (202, &true.into()),
            "event {sent}: {}",
            reply.body
        );
        sent += 1;
    }
    sent
}

/// Listens, and comes back with the last id it has seen whenever the stream ends.
fn listen(client: &Client, heard: &Sender<(u64, String, String)>) {
    let mut last = String::new();
    loop {
        let Ok(stream) = client.open("GET", "/api/chainbot/events", &last, "") else { continue };
        let (mut id, mut kind) = (0, String::new());
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { break };
            if line.starts_with("retry: ") {
                // It listens from here on; what comes next is heard.
                let _ = heard.send((0, "cursor".to_owned(), String::new()));
            } else if let Some(text) = line.strip_prefix("id: ") {
                id = text.parse().expect("a number");
                last = format!("last-event-id: {id}\r\n");
            } else if let Some(text) = line.strip_prefix("event: ") {
                kind = text.to_owned();
            } else if let Some(text) = line.strip_prefix("data: ")
                && heard.send((id, kind.clone(), text.to_owned())).is_err()
            {
                // Whoever counted has seen enough.
                return;
            }
        }
    }
}

#[test]
fn versions_go_back_and_forth_under_load_and_nothing_is_lost_or_doubled() {
    if !support::has_tool("python3") {
        support::skip!("upgrade_load", "no python3 for the ledger");
    }
    let (upgrades, each) = (size(10, 100), 8);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let files = ["1", "2"].map(|name| copy_of_the_module(folder.path(), name));
    let ledger = Ledger::start(folder.path(), 40);
    let mut host = Host::of(&Module::at(&files[0]), &data, ledger.port, &INGRESS);
    let client = host.ready(&data).expect("it starts");
    let inside = client.at(host.ingress.as_deref().expect("an ingress"));
    Load::define(&client);
    define(&client, &ledger.url());
    let (mut load, budget) = (Load::new(ledger.url()), Budget::new());
    let (listener, heard) = (client.clone(), channel());
    // Ends when nobody receives any more.
    let (sender, heard) = heard;
    std::thread::spawn(move || listen(&listener, &sender));
    heard.recv_timeout(Duration::from_secs(60)).expect("the stream begins");
    let mut held = Vec::new();
    let (hooks, events) = std::thread::scope(|scope| {
        scope.spawn(|| start_runs(&client, &mut load, &budget));
        let hooks = scope.spawn(|| call_hooks(&inside, &budget));
        let events = scope.spawn(|| send_events(&inside, &budget));
        for turn in 1..=upgrades {
            budget.add(each);
            let output = upgrade(&data, &files[turn as usize % 2], &["--json"]);
            let report = report(&output);
            if report["result"] != "upgraded" {
                budget.close();
            }
            assert_eq!(report["result"], "upgraded", "upgrade {turn}: {report}");
            assert_eq!(report["left"], Value::Null, "{report}");
            held.push(report["held_ms"].as_u64().unwrap());
        }
        budget.close();
        (hooks.join().unwrap(), events.join().unwrap())
    });
    client.wait_until(|| verdict::is_settled(&client) && has_runs(&client, events));
    let runs = verdict::read(&client);
    // Nothing was killed: no effect is sent twice, fails as unknown or asks a person.
    let mut wrong = verdict::check(&runs, &load, &ledger.counted(), &[]);
    for run in runs.iter().filter(|run| run.status != "completed") {
        wrong.push(format!("run {} of {} is {} {}", run.id, run.workflow, run.status, run.waiting_for));
    }
    for (from, count) in [(HOOKS_FROM, hooks), (EVENTS_FROM, events)] {
        for n in from..from + count {
            let made = runs.iter().filter(|run| run.n == n.to_string()).count();
            if made != 1 {
                wrong.push(format!("{n} was acknowledged once and has {made} runs"));
            }
        }
    }
    wrong.extend(check_heard(&heard, &runs));
    assert!(wrong.is_empty(), "{} after {upgrades} upgrades:\n{}", wrong.len(), wrong.join("\n"));
    held.sort_unstable();
    println!(
        "upgrade_load: {upgrades} upgrades, {} runs, {hooks} hooks, {events} events; work waited {} ms, at most {} ms",
        runs.len(),
        held[held.len() / 2],
        held[held.len() - 1]
    );
    host.terminate();
    let (code, stderr) = host.end();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(!stderr.contains("CB-0814"), "{stderr}");
    verdict::check_database(&data);
}

/// Events of the bus start their runs a little after they were taken.
fn has_runs(client: &Client, events: u64) -> bool {
    let id_of = |run: &Value| run["id"].as_str().unwrap_or_default().to_owned();
    let runs = client.list("/api/chainbot/runs", id_of).expect("the list of runs");
    runs.iter().filter(|run| run["workflow_name"] == "heard").count() as u64 >= events
}

/// A listener that came back each time with its last id has heard of each run's beginning and end once, in order.
fn check_heard(heard: &Receiver<(u64, String, String)>, runs: &[verdict::Run]) -> Vec<String> {
    let (mut wrong, mut last) = (Vec::new(), 0);
    let mut ends: BTreeMap<String, u64> = runs.iter().map(|run| (run.id.clone(), 0)).collect();
    while ends.values().any(|count| *count == 0) {
        let Ok((id, kind, data)) = heard.recv_timeout(Duration::from_secs(60)) else {
            wrong.push(format!("{} ends of runs were not heard", ends.values().filter(|n| **n == 0).count()));
            break;
        };
        if kind == "cursor" {
            continue;
        }
        if kind == "gap" || id <= last {
            wrong.push(format!("heard {kind} {id} after {last}"));
        }
        last = last.max(id);
        if kind == "run.completed" {
            let run = ends.iter_mut().find(|(run, _)| data.contains(run.as_str()));
            run.map(|(_, count)| *count += 1).unwrap_or_else(|| wrong.push(format!("the end of {data}")));
        }
    }
    wrong.extend(
        ends.iter().filter(|(_, count)| **count > 1).map(|(run, n)| format!("{run} ended {n} times")),
    );
    wrong
}

fn begin_upgrade(data: &Path, module: &Path) -> Child {
    let mut command = host_shim();
    command.arg("upgrade").arg("--data").arg(data).arg("--module").arg(module);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_host_killed_in_the_middle_of_an_upgrade_finds_everything_at_the_next_start() {
    if !support::has_tool("python3") {
        support::skip!("upgrade_kill", "no python3 for the ledger");
    }
    let mut random = Random::seeded("upgrade_kill");
    let kills_wanted = size(8, 200);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let files = ["1", "2"].map(|name| copy_of_the_module(folder.path(), name));
    let ledger = Ledger::start(folder.path(), 40);
    let (mut load, mut kills) = (Load::new(ledger.url()), Vec::new());
    for life in 0..kills_wanted {
        let now = (life % 2) as usize;
        let mut host = Host::of(&Module::at(&files[now]), &data, ledger.port, &[]);
        let client = host.ready(&data).expect("it starts");
        if life == 0 {
            Load::define(&client);
        }
        for index in [0; 6].map(|_| load.add()) {
            assert!(load.send(&client, index), "start {index} of a host that lives");
        }
        let mut asking = begin_upgrade(&data, &files[1 - now]);
        let killer = host.killer();
        // The random instant itself: from before the request arrives until after the new version serves.
        let (_open, wait) = channel::<()>();
        let _ = wait.recv_timeout(Duration::from_micros(random.below(400_000)));
        killer.kill();
        kills.push(now_ms());
        // It may have come to its end before the kill.
        asking.wait().unwrap();
        let (code, stderr) = host.end();
        assert_eq!(code, None, "the host ended by itself, not by the kill: {stderr}");
    }
    let mut host = Host::of(&Module::at(&files[0]), &data, ledger.port, &[]);
    let client = host.ready(&data).expect("it starts once more");
    client.wait_until(|| verdict::is_settled(&client));
    let wrong = verdict::check(&verdict::read(&client), &load, &ledger.counted(), &kills);
    assert!(wrong.is_empty(), "{} after {} kills:\n{}", wrong.len(), kills.len(), wrong.join("\n"));
    host.terminate();
    let (code, stderr) = host.end();
    assert_eq!(code, Some(0), "{stderr}");
    verdict::check_database(&data);
}
