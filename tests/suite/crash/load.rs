//! The load: workflows, the first four of eight steps each, and starts that are repeated until they are acknowledged.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::client::Client;

/// Effects of each kind, pure steps and waits. The path of a call names run and step, so that the ledger alone tells
/// what was sent how often. PUT and keyed POST may be repeated; the others at most once.
pub const EFFECTS: Table = &[
    (
        "mixed",
        r#"steps:
  - { id: begin, type: set, config: { variables: { n: inputs.n } } }
  - { id: first, type: api_call, config: { url: "{{ inputs.ledger }}/mixed/{{ inputs.n }}/first", method: POST, json: { n: 1 }, idempotency: key } }
  - { id: twice, type: transform, config: { type: expression, expr: "inputs.n|int * 2" } }
  - { id: pause, type: wait, config: { duration: 60ms } }
  - { id: put, type: api_call, config: { url: "{{ inputs.ledger }}/mixed/{{ inputs.n }}/put", method: PUT, json: { n: 2 } } }
  - id: each
    type: loop
    config:
      for_each: "[0, 1, 2]"
      max_concurrency: 2
      steps:
        - { id: item_put, type: api_call, config: { url: "{{ inputs.ledger }}/mixed/{{ inputs.n }}/item_put.{{ item }}", method: PUT } }
  - { id: nap, type: wait, config: { duration: 120ms } }
  - { id: last, type: api_call, config: { url: "{{ inputs.ledger }}/mixed/{{ inputs.n }}/last", method: POST, idempotency: key } }
"#,
    ),
    (
        "careful",
        r#"steps:
  - { id: begin, type: set, config: { variables: { n: inputs.n } } }
  - { id: twice, type: transform, config: { type: expression, expr: "inputs.n|int * 2" } }
  - { id: pause, type: wait, config: { duration: 30ms } }
  - { id: once, type: api_call, on_uncertain: fail, config: { url: "{{ inputs.ledger }}/careful/{{ inputs.n }}/once", method: POST } }
  - { id: note, type: set, config: { variables: { sent: "true" } } }
  - { id: nap, type: wait, config: { duration: 80ms } }
  - { id: put, type: api_call, config: { url: "{{ inputs.ledger }}/careful/{{ inputs.n }}/put", method: PUT } }
  - { id: done, type: transform, config: { type: expression, expr: "vars.n" } }
"#,
    ),
    (
        "asking",
        r#"steps:
  - { id: begin, type: set, config: { variables: { n: inputs.n } } }
  - { id: put, type: api_call, config: { url: "{{ inputs.ledger }}/asking/{{ inputs.n }}/put", method: PUT } }
  - { id: pause, type: wait, config: { duration: 40ms } }
  - { id: once, type: api_call, config: { url: "{{ inputs.ledger }}/asking/{{ inputs.n }}/once", method: POST } }
  - { id: twice, type: transform, config: { type: expression, expr: "inputs.n|int * 2" } }
  - { id: nap, type: wait, config: { duration: 60ms } }
  - { id: last, type: api_call, config: { url: "{{ inputs.ledger }}/asking/{{ inputs.n }}/last", method: POST, idempotency: key } }
  - { id: done, type: set, config: { variables: { done: "true" } } }
"#,
    ),
    (
        "signalled",
        r#"steps:
  - { id: begin, type: set, config: { variables: { n: inputs.n } } }
  - { id: put, type: api_call, config: { url: "{{ inputs.ledger }}/signalled/{{ inputs.n }}/put", method: PUT } }
  - { id: twice, type: transform, config: { type: expression, expr: "inputs.n|int * 2" } }
  - { id: pause, type: wait, config: { duration: 50ms } }
  - { id: gate, type: wait, config: { signal: go } }
  - { id: last, type: api_call, config: { url: "{{ inputs.ledger }}/signalled/{{ inputs.n }}/last", method: PUT } }
  - { id: note, type: set, config: { variables: { done: "true" } } }
  - { id: done, type: transform, config: { type: expression, expr: "vars.n" } }
"#,
    ),
];

/// Workflows by name, with what follows name and retry.
pub type Table = &'static [(&'static str, &'static str)];

/// A start that was sent at least once.
pub struct Start {
    pub workflow: &'static str,
    pub n: u64,
    /// The run, once a start was acknowledged.
    pub run: Option<String>,
    /// It was refused, as its workflow's `concurrency` has it.
    pub is_refused: bool,
}

/// What was asked for so far.
pub struct Load {
    ledger: String,
    /// Workflows that are started, in turn.
    kinds: Vec<&'static str>,
    pub starts: Vec<Start>,
    /// What a run's journal was last seen to hold: it may only grow.
    pub seen: BTreeMap<String, Vec<Value>>,
    pub repeats: u64,
    pub violations: Vec<String>,
}

impl Load {
    /// Nothing yet.
    pub fn of(ledger: String, kinds: Vec<&'static str>) -> Self {
        Self { ledger, kinds, starts: Vec::new(), seen: BTreeMap::new(), repeats: 0, violations: Vec::new() }
    }

    /// The load of effects alone.
    pub fn new(ledger: String) -> Self {
        Self::of(ledger, EFFECTS.iter().map(|(name, _)| *name).collect())
    }

    /// Makes the workflows of effects.
    pub fn define(client: &Client) {
        Self::define_all(client, EFFECTS);
    }

    /// Makes the workflows.
    pub fn define_all(client: &Client, table: Table) {
        for (name, rest) in table {
            let source = format!("name: {name}\nretry: {{ attempts: 5, delay: 100ms }}\n{rest}");
            let media = "content-type: application/yaml\r\n";
            let reply = client.send("POST", "/api/chainbot/workflows", media, &source).expect("an answer");
            assert_eq!(reply.status, 201, "{name}: {}", reply.body);
        }
    }

    /// Where effects go.
    pub fn ledger(&self) -> &str {
        &self.ledger
    }

    /// One more start to make.
    pub fn add(&mut self) -> usize {
        let n = self.starts.len() as u64;
        let workflow = self.kinds[n as usize % self.kinds.len()];
        self.starts.push(Start { workflow, n, run: None, is_refused: false });
        self.starts.len() - 1
    }

    /// Starts without an acknowledgement.
    pub fn open(&self) -> Vec<usize> {
        let is_open = |index: &usize| self.starts[*index].run.is_none() && !self.starts[*index].is_refused;
        (0..self.starts.len()).filter(is_open).collect()
    }

    /// Sends a start, for the first time or again. `false` when no answer came.
    pub fn send(&mut self, client: &Client, index: usize) -> bool {
        let start = &self.starts[index];
        let path = format!("/api/chainbot/workflows/{}/runs", start.workflow);
        let headers = format!("content-type: application/json\r\nidempotency-key: start-{}\r\n", start.n);
        let lane = start.n / self.kinds.len() as u64 % 2;
        let body = json!({ "inputs": { "n": start.n, "ledger": self.ledger, "lane": lane } }).to_string();
        let Ok(reply) = client.send("POST", &path, &headers, &body) else { return false };
        if reply.status == 503 {
            return false;
        }
        if reply.status == 409 && start.workflow == "single" {
            self.starts[index].is_refused = true;
            return true;
        }
        if reply.status != 201 {
            // Of a broken build, which may find a key that it has acknowledged too early.
            self.violations.push(format!("start {} was answered {}: {}", start.n, reply.status, reply.body));
            return true;
        }
        let run = reply.body["id"].as_str().expect("an id").to_owned();
        match &start.run {
            Some(known) => {
                self.repeats += 1;
                if *known != run {
                    self.violations.push(format!("start {} made {known} and then {run}", start.n));
                }
            }
            None => self.starts[index].run = Some(run),
        }
        true
    }

    /// Reads a run's journal and holds it against what was seen before: what is committed stays.
    pub fn look(&mut self, client: &Client, index: usize) {
        let Some(run) = self.starts[index].run.clone() else { return };
        let path = format!("/api/chainbot/runs/{run}/journal");
        let Ok(records) = client.list(&path, |record| record["seq"].to_string()) else { return };
        let before = self.seen.insert(run.clone(), records);
        if let Some(before) = before
            && !self.seen[&run].starts_with(&before)
        {
            self.violations.push(format!("run {run}: records that were shown have changed or gone"));
        }
    }
}
