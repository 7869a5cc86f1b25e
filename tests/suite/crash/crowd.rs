//! The load of people and triggers: approvals, signals, waits, children, events, schedules, signed webhooks, gates, undoing.
//!
//! Whatever is asked for and gets no answer is asked again in a later life of the process, with the same key, and what was
//! answered is asked once more now and then: the answer must be the same.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::client::{Client, Reply};
use super::load::{Load, Table};
use super::{Random, now_ms};

/// As in [`super::load`], the path of a call names run and step; `n` of a triggered run is what its trigger says.
pub const CROWD: Table = &[
    (
        "approve",
        r#"steps:
  - { id: before, type: api_call, config: { url: "{{ inputs.ledger }}/approve/{{ inputs.n }}/before", method: PUT } }
  - { id: ask, type: wait, config: { approval: { message: "Run {{ inputs.n }}?" } } }
  - { id: after, type: api_call, config: { url: "{{ inputs.ledger }}/approve/{{ inputs.n }}/after", method: PUT } }
output: "{{ steps.ask.output.approval.action }}"
"#,
    ),
    (
        "timed",
        r#"steps:
  - { id: begin, type: api_call, config: { url: "{{ inputs.ledger }}/timed/{{ inputs.n }}/begin", method: PUT } }
  - { id: short, type: wait, config: { duration: 50ms } }
  - { id: middle, type: api_call, config: { url: "{{ inputs.ledger }}/timed/{{ inputs.n }}/middle", method: PUT } }
  - { id: long, type: wait, config: { duration: 2200ms } }
  - { id: end, type: api_call, config: { url: "{{ inputs.ledger }}/timed/{{ inputs.n }}/end", method: PUT } }
"#,
    ),
    (
        "parent",
        r#"steps:
  - { id: call, type: workflow, config: { workflow: child, inputs: { n: "{{ inputs.n }}", ledger: "{{ inputs.ledger }}" } } }
  - { id: after, type: api_call, config: { url: "{{ inputs.ledger }}/parent/{{ inputs.n }}/after", method: PUT } }
output: "{{ steps.call.output }}"
"#,
    ),
    (
        "child",
        r#"steps:
  - { id: work, type: api_call, config: { url: "{{ inputs.ledger }}/child/{{ inputs.n }}/work", method: PUT } }
  - { id: nap, type: wait, config: { duration: 40ms } }
output: "{{ inputs.n }}"
"#,
    ),
    (
        "dropped",
        r#"steps:
  - { id: call, type: workflow, config: { workflow: lasting, inputs: { n: "{{ inputs.n }}", ledger: "{{ inputs.ledger }}" } } }
"#,
    ),
    (
        "lasting",
        r#"steps:
  - { id: work, type: api_call, config: { url: "{{ inputs.ledger }}/lasting/{{ inputs.n }}/work", method: PUT } }
  - { id: never, type: wait, config: { signal: never } }
"#,
    ),
    (
        "signals",
        r#"steps:
  - { id: first, type: wait, config: { signal: go } }
  - { id: between, type: api_call, config: { url: "{{ inputs.ledger }}/signals/{{ inputs.n }}/between", method: PUT } }
  - { id: second, type: wait, config: { signal: go } }
output: "{{ [steps.first.output.signal, steps.second.output.signal] }}"
"#,
    ),
    (
        "says",
        r#"steps:
  - { id: say, type: emit, config: { topic: user.said, data: { n: "{{ inputs.n }}", ledger: "{{ inputs.ledger }}" } } }
  - { id: done, type: api_call, config: { url: "{{ inputs.ledger }}/says/{{ inputs.n }}/done", method: PUT } }
output: { n: "{{ inputs.n }}", ledger: "{{ inputs.ledger }}" }
"#,
    ),
    (
        "hears",
        r#"triggers:
  - { event: user.said, when: "event.data.n >= 0", inputs: { n: "{{ event.data.n }}", ledger: "{{ event.data.ledger }}" } }
steps:
  - { id: got, type: api_call, config: { url: "{{ inputs.ledger }}/hears/{{ inputs.n }}/got", method: PUT } }
"#,
    ),
    (
        "after",
        r#"triggers:
  - { workflow: says, on: completed, inputs: { n: "{{ event.data.output.n }}", ledger: "{{ event.data.output.ledger }}" } }
steps:
  - { id: got, type: api_call, config: { url: "{{ inputs.ledger }}/after/{{ inputs.n }}/got", method: PUT } }
"#,
    ),
    (
        "pair",
        r#"steps:
  - id: both
    type: parallel
    config:
      branches:
        hear:
          - { id: heard, type: wait, config: { event: { topic: user.pair, when: "event.data.n == inputs.n" } } }
        say:
          - { id: nap, type: wait, config: { duration: 30ms } }
          - { id: say, type: emit, config: { topic: user.pair, data: { n: "{{ inputs.n }}" } } }
  - { id: done, type: api_call, config: { url: "{{ inputs.ledger }}/pair/{{ inputs.n }}/done", method: PUT } }
"#,
    ),
    (
        "tick",
        r#"triggers: [ { cron: "* * * * * *", missed: all, inputs: { n: "{{ event.data.due }}" } } ]
steps:
  - { id: note, type: set, config: { variables: { due: inputs.n } } }
"#,
    ),
    (
        "hooked",
        r#"triggers:
  - { webhook: crowd, secret: crowd_key, inputs: { n: "{{ event.data.n }}", ledger: "{{ event.data.ledger }}" } }
steps:
  - { id: got, type: api_call, config: { url: "{{ inputs.ledger }}/hooked/{{ inputs.n }}/got", method: PUT } }
"#,
    ),
    (
        "line",
        r#"concurrency: { mode: queued, key: "{{ inputs.lane }}" }
steps:
  - { id: enter, type: api_call, config: { url: "{{ inputs.ledger }}/line/{{ inputs.n }}/enter", method: PUT } }
  - { id: nap, type: wait, config: { duration: 30ms } }
  - { id: leave, type: api_call, config: { url: "{{ inputs.ledger }}/line/{{ inputs.n }}/leave", method: PUT } }
"#,
    ),
    (
        "single",
        r#"concurrency: { mode: single }
steps:
  - { id: enter, type: api_call, config: { url: "{{ inputs.ledger }}/single/{{ inputs.n }}/enter", method: PUT } }
  - { id: nap, type: wait, config: { duration: 200ms } }
  - { id: leave, type: api_call, config: { url: "{{ inputs.ledger }}/single/{{ inputs.n }}/leave", method: PUT } }
"#,
    ),
    (
        "newest",
        r#"concurrency: { mode: restart }
steps:
  - { id: enter, type: api_call, config: { url: "{{ inputs.ledger }}/newest/{{ inputs.n }}/enter", method: PUT } }
  - { id: nap, type: wait, config: { duration: 2500ms } }
  - { id: leave, type: api_call, config: { url: "{{ inputs.ledger }}/newest/{{ inputs.n }}/leave", method: PUT } }
"#,
    ),
    (
        "undo",
        r#"steps:
  - id: one
    type: api_call
    config: { url: "{{ inputs.ledger }}/undo/{{ inputs.n }}/one", method: PUT }
    compensate: { id: undo_one, type: api_call, config: { url: "{{ inputs.ledger }}/undo/{{ inputs.n }}/undo_one", method: PUT } }
  - id: two
    type: api_call
    config: { url: "{{ inputs.ledger }}/undo/{{ inputs.n }}/two", method: PUT }
    compensate: { id: undo_two, type: api_call, config: { url: "{{ inputs.ledger }}/undo/{{ inputs.n }}/undo_two", method: PUT } }
  - { id: bad, type: transform, config: { type: expression, expr: "inputs.n|int / 0" } }
finally:
  - { id: last, type: api_call, config: { url: "{{ inputs.ledger }}/undo/{{ inputs.n }}/last", method: PUT } }
"#,
    ),
];

/// Workflows that the test starts itself.
pub const STARTED: [&str; 11] =
    ["approve", "timed", "parent", "dropped", "signals", "says", "pair", "line", "single", "newest", "undo"];

const KEY_BYTES: &[u8; 32] = b"a key of the test, of 32 bytes..";
const JSON: &str = "content-type: application/json\r\n";

/// A signed call of the webhook.
pub struct Delivery {
    pub n: u64,
    /// The run, once it was acknowledged.
    pub run: Option<String>,
}

/// What was asked of runs, and what was answered.
#[derive(Default)]
pub struct Crowd {
    pub deliveries: Vec<Delivery>,
    /// Question and action, as acknowledged.
    pub answers: Vec<(String, String)>,
    /// Run and key of signals, as acknowledged.
    pub signals: Vec<(String, &'static str)>,
    /// Runs whose cancel was acknowledged.
    pub cancels: Vec<String>,
    pub repeats: u64,
    pub violations: Vec<String>,
}

/// What came of a request.
enum Said {
    /// 2xx.
    Yes(Value),
    /// 4xx.
    No(u16),
    /// No whole answer, or the process is about to end.
    Nothing,
}

fn said(reply: std::io::Result<Reply>) -> Said {
    match reply {
        Ok(reply) if reply.status < 300 => Said::Yes(reply.body),
        Ok(reply) if reply.status < 500 => Said::No(reply.status),
        Ok(reply) => {
            assert_eq!(reply.status, 503, "{}", reply.body);
            Said::Nothing
        }
        Err(_) => Said::Nothing,
    }
}

impl Crowd {
    /// The secret that signs deliveries.
    pub fn define(client: &Client) {
        let value = format!("whsec_{}", STANDARD.encode(KEY_BYTES));
        let body = json!({ "value": value }).to_string();
        let reply = client.send("PUT", "/api/chainbot/secrets/crowd_key", JSON, &body).expect("an answer");
        assert!(reply.status < 300, "{}: {}", reply.status, reply.body);
    }

    /// One life's worth of requests, in a random order; false as soon as no answer comes.
    pub fn act(&mut self, client: &Client, load: &Load, random: &mut Random) -> bool {
        let first = random.below(4);
        (0..4).all(|turn| match (first + turn) % 4 {
            0 => self.answer_open(client, load, 2),
            1 => self.signal_some(client, load, random),
            2 => self.cancel_some(client, load, random),
            _ => self.deliver_some(client, load, random),
        })
    }

    /// Everything that is still open, until there is nothing to wait for.
    pub fn finish(&mut self, client: &Client, load: &Load) {
        let whole = "a host that lives answers";
        for index in 0..self.deliveries.len() {
            assert!(self.deliveries[index].run.is_some() || self.deliver(client, load, index), "{whole}");
        }
        for run in runs_of(load, "dropped") {
            assert!(self.cancels.contains(&run) || self.cancel(client, &run), "{whole}");
        }
        for run in runs_of(load, "signals") {
            for key in ["a", "b"] {
                let is_sent = self.signals.contains(&(run.clone(), key));
                assert!(is_sent || self.signal(client, &run, key), "{whole}");
            }
        }
        assert!(self.answer_open(client, load, usize::MAX), "{whole}");
    }

    fn answer_open(&mut self, client: &Client, load: &Load, at_most: usize) -> bool {
        let Ok(open) = client.list("/api/chainbot/inbox", |one| text(&one["id"]).to_owned()) else {
            return false;
        };
        let ours = |one: &&Value| super::crowd_verdict::is_ours(&one["question"]["workflow"]);
        for question in open.iter().filter(ours).take(at_most) {
            if question["kind"] != "approval" {
                self.violations.push(format!("somebody is asked {question}"));
                continue;
            }
            let n = load.starts.iter().find(|start| start.run.as_deref() == question["run"].as_str());
            // Of a start that got no answer nothing is known but that its run asks.
            let action = if n.is_some_and(|start| start.n % 2 == 0) { "approve" } else { "reject" };
            if !self.answer(client, text(&question["id"]), action) {
                return false;
            }
        }
        match self.answers.last().cloned() {
            Some((question, action)) => self.answer_again(client, &question, &action),
            None => true,
        }
    }

    fn answer(&mut self, client: &Client, question: &str, action: &str) -> bool {
        let path = format!("/api/chainbot/inbox/{question}/answer");
        match said(client.send("POST", &path, JSON, &json!({ "action": action }).to_string())) {
            Said::Yes(_) => self.answers.push((question.to_owned(), action.to_owned())),
            // An answer that was taken and not acknowledged may have been another one, when its start was not known.
            Said::No(409) => {}
            Said::No(status) => self.violations.push(format!("the answer to {question} got {status}")),
            Said::Nothing => return false,
        }
        true
    }

    /// The same again is taken, another one is not.
    fn answer_again(&mut self, client: &Client, question: &str, action: &str) -> bool {
        let path = format!("/api/chainbot/inbox/{question}/answer");
        let other = if action == "approve" { "reject" } else { "approve" };
        for (action, is_taken) in [(action, true), (other, false)] {
            let body = json!({ "action": action }).to_string();
            match said(client.send("POST", &path, JSON, &body)) {
                Said::Yes(_) if is_taken => self.repeats += 1,
                Said::No(409) if !is_taken => {}
                Said::Nothing => return false,
                _ => self.violations.push(format!("`{action}` to {question} was answered otherwise")),
            }
        }
        true
    }

    fn signal_some(&mut self, client: &Client, load: &Load, random: &mut Random) -> bool {
        let runs = runs_of(load, "signals");
        if runs.is_empty() {
            return true;
        }
        let run = &runs[random.below(runs.len() as u64) as usize];
        let key = if self.signals.contains(&(run.clone(), "a")) && random.below(3) > 0 { "b" } else { "a" };
        self.signal(client, run, key)
    }

    fn signal(&mut self, client: &Client, run: &str, key: &'static str) -> bool {
        let path = format!("/api/chainbot/runs/{run}/signal/go");
        let headers = format!("{JSON}idempotency-key: {key}\r\n");
        let sent = (run.to_owned(), key);
        let is_repeat = self.signals.contains(&sent);
        match said(client.send("POST", &path, &headers, &json!({ "data": key }).to_string())) {
            Said::Yes(_) if is_repeat => self.repeats += 1,
            Said::Yes(_) => self.signals.push(sent),
            // Over: it has taken both.
            Said::No(409) if is_repeat => self.repeats += 1,
            Said::No(409) => self.signals.push(sent),
            Said::No(status) => self.violations.push(format!("signal {key} to {run} got {status}")),
            Said::Nothing => return false,
        }
        true
    }

    fn cancel_some(&mut self, client: &Client, load: &Load, random: &mut Random) -> bool {
        let open = runs_of(load, "dropped").into_iter().filter(|run| !self.cancels.contains(run));
        match open.collect::<Vec<_>>().as_slice() {
            [] => true,
            open => self.cancel(client, &open[random.below(open.len() as u64) as usize]),
        }
    }

    fn cancel(&mut self, client: &Client, run: &str) -> bool {
        match said(client.send("POST", &format!("/api/chainbot/runs/{run}/cancel"), "", "")) {
            Said::Yes(_) | Said::No(409) => self.cancels.push(run.to_owned()),
            Said::No(status) => self.violations.push(format!("the cancel of {run} got {status}")),
            Said::Nothing => return false,
        }
        true
    }

    fn deliver_some(&mut self, client: &Client, load: &Load, random: &mut Random) -> bool {
        let open = self.deliveries.iter().position(|delivery| delivery.run.is_none());
        let index = match open {
            Some(index) => index,
            None if !self.deliveries.is_empty() && random.below(3) == 0 => {
                random.below(self.deliveries.len() as u64) as usize
            }
            None => {
                let n = self.deliveries.len() as u64;
                self.deliveries.push(Delivery { n, run: None });
                self.deliveries.len() - 1
            }
        };
        self.deliver(client, load, index)
    }

    fn deliver(&mut self, client: &Client, load: &Load, index: usize) -> bool {
        let (id, at) = (format!("msg_{}", self.deliveries[index].n), now_ms() / 1_000);
        let body = json!({ "n": self.deliveries[index].n, "ledger": load.ledger() }).to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(KEY_BYTES).expect("a key");
        mac.update(format!("{id}.{at}.{body}").as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let headers = format!(
            "{JSON}webhook-id: {id}\r\nwebhook-timestamp: {at}\r\nwebhook-signature: v1,{signature}\r\n"
        );
        let run = match said(client.send("POST", "/api/chainbot/hooks/crowd", &headers, &body)) {
            Said::Yes(reply) => text(&reply["run_id"]).to_owned(),
            Said::No(status) => {
                self.violations.push(format!("delivery {id} got {status}"));
                return true;
            }
            Said::Nothing => return false,
        };
        match &self.deliveries[index].run {
            Some(known) => {
                self.repeats += 1;
                if *known != run {
                    self.violations.push(format!("delivery {id} made {known} and then {run}"));
                }
            }
            None => self.deliveries[index].run = Some(run),
        }
        true
    }
}

fn runs_of(load: &Load, workflow: &str) -> Vec<String> {
    load.starts
        .iter()
        .filter(|start| start.workflow == workflow)
        .filter_map(|start| start.run.clone())
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
