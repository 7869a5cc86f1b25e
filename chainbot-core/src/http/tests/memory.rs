//! An engine in memory: it keeps what it is given and tells listeners, and runs nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::env::Env;
use crate::error::code::{definition, general, run as run_code};
use crate::error::{Diagnostic, Error, Pos, Result, Severity};
use crate::http::backend::{Backend, Events, Later};
use crate::id::{DefinitionHash, InboxId, Lsn, NodeId, RunId};
use crate::model::event::Committed;
use crate::model::{Record, RecordBody, RunCreated, RunStatus, RunView, StepStatus, StepView, Trigger};
use crate::port::{Page, Scope, StoredQuestion, WorkflowFilter, WorkflowPlace};
use crate::runtime::{
    Counts, Event, Gap, HookCall, HookReply, NewRun, RunQuery, RunSummary, StartedRun, StateView,
    TriggerView, WorkflowListed, WorkflowSwitched, WorkflowView,
};

/// The engine.
pub struct Memory {
    env: Env,
    state: Arc<Mutex<State>>,
    grown: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    workflows: BTreeMap<String, WorkflowView>,
    runs: BTreeMap<RunId, RunView>,
    journal: Vec<Arc<Committed>>,
    keys: HashMap<String, (String, String)>,
    questions: Vec<StoredQuestion>,
    gaps: u32,
    triggers: Vec<TriggerView>,
    offered: Vec<Event>,
}

impl Memory {
    pub fn new(env: Env) -> Self {
        Self { env, state: Arc::default(), grown: watch::Sender::new(0) }
    }

    /// Adds a record to a run.
    pub fn record(&self, run: RunId, body: RecordBody) {
        let mut state = self.state.lock();
        let seq = state.journal.iter().filter(|one| one.run == run).count() as u32;
        let lsn = Lsn(state.journal.len() as i64 + 1);
        let record = Record { seq, at: self.env.now(), body };
        state.journal.push(Arc::new(Committed { lsn, run, record }));
        self.grown.send_replace(state.journal.len());
    }

    pub fn trigger(&self, view: TriggerView) {
        self.state.lock().triggers.push(view);
    }

    /// The next so many reads of a subscription find that they were too slow, and lose what there is.
    pub fn gaps(&self, count: u32) {
        self.state.lock().gaps = count;
        self.grown.send_modify(|_| {});
    }

    /// What was offered from outside: topic and data.
    pub fn offered(&self) -> Vec<(String, Value)> {
        self.state.lock().offered.iter().map(|event| (event.topic.clone(), event.data.clone())).collect()
    }

    pub fn question(&self, run: RunId) -> InboxId {
        let id = self.env.inbox_id();
        let question = json!({ "step": "pay" });
        let at = self.env.now();
        let kind = "uncertain".to_owned();
        self.state.lock().questions.push(StoredQuestion { id, run, kind, question, at, answer: None });
        id
    }

    /// The first use of a key stores what it made; the second must be the same request.
    fn made_before(&self, key: Option<&str>, request: &str) -> Result<Option<String>> {
        let Some(key) = key else { return Ok(None) };
        match self.state.lock().keys.get(key) {
            None => Ok(None),
            Some((first, made)) if first == request => Ok(Some(made.clone())),
            Some(_) => Err(Error::new(&general::IDEMPOTENCY, "the key was used for another request")),
        }
    }

    fn keep_key(&self, key: Option<&str>, request: &str, made: &str) {
        if let Some(key) = key {
            self.state.lock().keys.insert(key.to_owned(), (request.to_owned(), made.to_owned()));
        }
    }

    fn parse(&self, source: &str) -> Result<String> {
        if source.contains("panic") {
            panic!("the secret of the parser");
        }
        let yaml = source.lines().find_map(|line| line.strip_prefix("name: ")).map(str::to_owned);
        let json = || serde_json::from_str::<Value>(source).ok()?["name"].as_str().map(str::to_owned);
        yaml.or_else(json).ok_or_else(|| {
            Error::new(&definition::INVALID, "the definition has 1 problem")
                .diagnostics_of(self.validate(source))
        })
    }

    fn find(&self, reference: &str) -> Result<WorkflowView> {
        let state = self.state.lock();
        let found = state.workflows.values().find(|w| w.name == reference || w.id.to_string() == reference);
        found
            .cloned()
            .ok_or_else(|| Error::new(&definition::NOT_FOUND, format!("there is no workflow `{reference}`")))
    }

    fn find_run(&self, id: RunId) -> Result<RunView> {
        let found = self.state.lock().runs.get(&id).cloned();
        found.ok_or_else(|| Error::new(&run_code::NOT_FOUND, format!("there is no run `{id}`")))
    }

    fn view(&self, name: &str, source: &str) -> WorkflowView {
        let now = self.env.now();
        WorkflowView {
            id: self.env.workflow_id(),
            name: name.to_owned(),
            description: None,
            status: "active".to_owned(),
            version: 1,
            hash: DefinitionHash::of(source).to_string(),
            definition: json!({ "name": name }),
            source: source.to_owned(),
            created_at: now,
            updated_at: now,
            owner: None,
            shared: None,
        }
    }

    fn start(&self, new: NewRun) -> Result<StartedRun> {
        let request = format!("{} {}", new.workflow, new.inputs);
        if let Some(made) = self.made_before(new.idempotency_key.as_deref(), &request)? {
            return Ok(StartedRun { run: self.find_run(made.parse().unwrap())?, replayed: true });
        }
        let workflow = self.find(&new.workflow)?;
        let run = RunView {
            id: self.env.run_id(),
            workflow_id: workflow.id,
            workflow_name: workflow.name.clone(),
            definition: workflow.hash.clone(),
            status: RunStatus::Pending,
            trigger: Trigger::Api,
            inputs: new.inputs.clone(),
            output: None,
            error: None,
            waiting_for: None,
            created_at: self.env.now(),
            started_at: None,
            finished_at: None,
        };
        self.state.lock().runs.insert(run.id, run.clone());
        self.keep_key(new.idempotency_key.as_deref(), &request, &run.id.to_string());
        let created = RunCreated {
            workflow: workflow.id,
            name: workflow.name,
            definition: workflow.hash.parse().unwrap(),
            inputs: Arc::new(new.inputs),
            trigger: Trigger::Api,
            parent: None,
        };
        self.record(run.id, RecordBody::RunCreated(Box::new(created)));
        Ok(StartedRun { run, replayed: false })
    }

    fn update(&self, reference: &str, source: &str, if_match: Option<&str>) -> Result<WorkflowView> {
        let mut view = self.find(reference)?;
        if if_match.is_some_and(|hash| hash != view.hash) {
            return Err(Error::new(&general::PRECONDITION, "the workflow has changed since"));
        }
        self.parse(source)?;
        view.version += 1;
        view.hash = DefinitionHash::of(source).to_string();
        view.source = source.to_owned();
        self.state.lock().workflows.insert(view.name.clone(), view.clone());
        Ok(view)
    }

    fn create(&self, source: &str, key: Option<&str>) -> Result<(WorkflowView, bool)> {
        if let Some(made) = self.made_before(key, source)? {
            return Ok((self.find(&made)?, true));
        }
        let name = self.parse(source)?;
        if self.find(&name).is_ok() {
            return Err(Error::new(&definition::EXISTS, format!("a workflow `{name}` exists")));
        }
        let view = self.view(&name, source);
        self.state.lock().workflows.insert(name.clone(), view.clone());
        self.keep_key(key, source, &name);
        Ok((view, false))
    }
}

/// Something ready at once.
fn now<'a, T: Send + 'a>(value: T) -> Later<'a, T> {
    Box::pin(std::future::ready(value))
}

fn page<T>(mut items: Vec<T>, total: usize, limit: u32) -> Page<T> {
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    Page { items, total: total as u64, more }
}

impl Backend for Memory {
    /// It knows of nobody: what belongs to whom is tested over the runtime.
    fn of(&self, _: Scope) -> Arc<dyn Backend> {
        let (env, state, grown) = (self.env.clone(), self.state.clone(), self.grown.clone());
        Arc::new(Self { env, state, grown })
    }

    fn create_workflow<'a>(
        &'a self,
        source: &'a str,
        key: Option<&'a str>,
    ) -> Later<'a, Result<(WorkflowView, bool)>> {
        now(self.create(source, key))
    }

    fn workflow<'a>(&'a self, reference: &'a str) -> Later<'a, Result<WorkflowView>> {
        if reference == "stuck" {
            return Box::pin(std::future::pending());
        }
        if reference == "broken-disk" {
            let secret = std::io::Error::other("/var/lib/secret/chainbot.db");
            let error = Error::new(&crate::error::code::store::READ, "SELECT secret failed").because(secret);
            return now(Err(error));
        }
        now(self.find(reference))
    }

    /// By name, upwards: other orders are tested over the runtime.
    fn workflows(&self, filter: WorkflowFilter) -> Later<'_, Result<Page<WorkflowListed>>> {
        let state = self.state.lock();
        let listed = |view: &WorkflowView| {
            let runs = || state.runs.values().filter(|run| run.workflow_id == view.id);
            WorkflowListed {
                view: view.clone(),
                place: WorkflowPlace::Name(view.name.clone()),
                runs: runs().count() as u64,
                last_run_at: runs().next_back().map(|run| run.created_at),
            }
        };
        let all = state.workflows.values().map(listed);
        let rest = all.filter(|one| filter.past.as_ref().is_none_or(|past| one.place > *past));
        now(Ok(page(rest.collect(), state.workflows.len(), filter.limit)))
    }

    fn update_workflow<'a>(
        &'a self,
        reference: &'a str,
        source: &'a str,
        if_match: Option<&'a str>,
    ) -> Later<'a, Result<WorkflowView>> {
        now(self.update(reference, source, if_match))
    }

    fn delete_workflow<'a>(&'a self, reference: &'a str, if_match: Option<&'a str>) -> Later<'a, Result<()>> {
        now(self.find(reference).and_then(|view| {
            if if_match.is_some_and(|hash| hash != view.hash) {
                return Err(Error::new(&general::PRECONDITION, "the workflow has changed since"));
            }
            self.state.lock().workflows.remove(&view.name);
            Ok(())
        }))
    }

    fn validate(&self, source: &str) -> Vec<Diagnostic> {
        let fine = source.contains("name");
        let problem = || Diagnostic {
            code: "CB-0100",
            severity: Severity::Error,
            pos: Pos { line: 1, column: 1 }.into(),
            path: "name".to_owned(),
            message: "a workflow needs a name".to_owned(),
            hint: Some("add `name: my-workflow`".to_owned()),
        };
        if fine { Vec::new() } else { vec![problem()] }
    }

    fn start_run(&self, new: NewRun) -> Later<'_, Result<StartedRun>> {
        now(self.start(new))
    }

    fn run(&self, id: RunId) -> Later<'_, Result<RunView>> {
        now(self.find_run(id))
    }

    fn runs(&self, query: RunQuery) -> Later<'_, Result<Page<RunSummary>>> {
        let RunQuery { workflow, status, way, past, limit } = query;
        let state = self.state.lock();
        let matching = |run: &&RunView| {
            workflow
                .as_ref()
                .is_none_or(|name| run.workflow_name == *name || run.workflow_id.to_string() == *name)
                && status.is_none_or(|s| s == run.status)
        };
        let total = state.runs.values().filter(matching).count();
        let mut all: Vec<_> = state.runs.values().filter(matching).collect();
        all.sort_by(|a, b| way.turn(a.id.cmp(&b.id)));
        let rest = all.into_iter().filter(|run| past.is_none_or(|past| way.turn(run.id.cmp(&past)).is_gt()));
        let rows = rest.map(|run| RunSummary {
            id: run.id,
            workflow_id: run.workflow_id,
            workflow_name: run.workflow_name.clone(),
            status: run.status,
            detail: None,
            created_at: run.created_at,
            finished_at: run.finished_at,
        });
        now(Ok(page(rows.collect(), total, limit)))
    }

    fn state_at(&self, id: RunId, at: Option<u32>) -> Later<'_, Result<StateView>> {
        let run = match self.find_run(id) {
            Ok(run) => run,
            Err(error) => return now(Err(error)),
        };
        let state = self.state.lock();
        let records: Vec<_> = state.journal.iter().filter(|one| one.run == id).collect();
        let last_seq = records.len() as u32 - 1;
        let seq = at.unwrap_or(last_seq);
        if seq > last_seq {
            return now(Err(Error::new(&general::QUERY, "the query parameter `at` is beyond the run's end")));
        }
        now(Ok(StateView {
            run: id,
            seq,
            last_seq,
            at: records[seq as usize].record.at,
            status: run.status,
            inputs: run.inputs.clone(),
            variables: std::collections::BTreeMap::new(),
            output: None,
            error: None,
            waiting_for: None,
            steps: Vec::new(),
        }))
    }

    fn steps(&self, id: RunId) -> Later<'_, Result<Vec<StepView>>> {
        let state = self.state.lock();
        let done = state.journal.iter().filter(|one| one.run == id).filter_map(|one| {
            let RecordBody::StepCompleted { place, attempt, output } = &one.record.body else { return None };
            Some(StepView {
                id: format!("step_{}", place.node.0),
                kind: "transform".to_owned(),
                path: place.path.clone(),
                status: StepStatus::Completed,
                attempts: *attempt,
                input: None,
                output: Some((**output).clone()),
                error: None,
                key: None,
                waiting_for: None,
                started_at: Some(one.record.at),
                finished_at: Some(one.record.at),
            })
        });
        now(Ok(done.collect()))
    }

    fn journal(
        &self,
        id: RunId,
        after_seq: Option<u32>,
        limit: u32,
    ) -> Later<'_, Result<Page<(Lsn, Record)>>> {
        let state = self.state.lock();
        let own: Vec<_> = state.journal.iter().filter(|one| one.run == id).collect();
        let rest = own.iter().filter(|one| after_seq.is_none_or(|after| one.record.seq > after));
        now(Ok(page(rest.map(|one| (one.lsn, one.record.clone())).collect(), own.len(), limit)))
    }

    fn cancel<'a>(&'a self, id: RunId, reason: &'a str) -> Later<'a, Result<RunView>> {
        now(self.find_run(id).and_then(|mut run| {
            if run.status.is_terminal() {
                return Err(Error::new(&run_code::FINISHED, "the run is over"));
            }
            run.status = RunStatus::Cancelled;
            self.state.lock().runs.insert(id, run.clone());
            self.record(id, RecordBody::RunCancelled { reason: reason.to_owned() });
            Ok(run)
        }))
    }

    fn signal<'a>(
        &'a self,
        id: RunId,
        name: &'a str,
        data: Value,
        key: Option<&'a str>,
    ) -> Later<'a, Result<RunView>> {
        now(self.find_run(id).inspect(|_| {
            let (name, key) = (name.to_owned(), key.map(str::to_owned));
            self.record(id, RecordBody::SignalReceived { name, data: Arc::new(data), key });
        }))
    }

    fn inbox(&self) -> Later<'_, Result<Vec<StoredQuestion>>> {
        now(Ok(self.state.lock().questions.clone()))
    }

    fn subscribe(&self, since: Option<Lsn>) -> Later<'_, Result<Box<dyn Events>>> {
        let state = self.state.clone();
        let next = since.map_or(state.lock().journal.len(), |lsn| lsn.0 as usize);
        let grown = self.grown.subscribe();
        now(Ok(Box::new(Listening { state, grown, next }) as Box<dyn Events>))
    }

    fn triggers<'a>(&'a self, reference: &'a str) -> Later<'a, Result<Vec<TriggerView>>> {
        now(self.find(reference).map(|_| self.state.lock().triggers.clone()))
    }

    fn schedules(&self) -> Later<'_, Result<Vec<TriggerView>>> {
        now(Ok(self.state.lock().triggers.clone()))
    }

    fn switch_workflow<'a>(&'a self, reference: &'a str, on: bool) -> Later<'a, Result<WorkflowSwitched>> {
        let status = if on { "active" } else { "disabled" }.to_owned();
        let triggers = self.state.lock().triggers.clone();
        now(self.find(reference).map(|view| WorkflowSwitched {
            id: view.id,
            name: view.name,
            status,
            triggers,
        }))
    }

    fn switch_trigger<'a>(
        &'a self,
        reference: &'a str,
        key: &'a str,
        on: bool,
    ) -> Later<'a, Result<TriggerView>> {
        let mut state = self.state.lock();
        let found = state.triggers.iter_mut().find(|one| one.workflow_name == reference && one.key == key);
        now(match found {
            Some(one) => {
                (one.enabled, one.active) = (on, on);
                Ok(one.clone())
            }
            None => Err(Error::new(&definition::NO_TRIGGER, format!("there is no trigger `{key}`"))),
        })
    }

    fn hook(&self, call: HookCall) -> Later<'_, Result<HookReply>> {
        let is_signed = call.signature.as_deref() == Some("v1,right");
        now(match (call.name.as_str(), is_signed || call.has_token) {
            (_, false) => {
                Err(Error::new(&general::UNAUTHORIZED, "the webhook's credential is missing or wrong"))
            }
            ("none", true) => Err(Error::new(&definition::NO_TRIGGER, "no workflow has a webhook `none`")),
            (name, true) => Ok(HookReply {
                run: RunId::from([7; 16]),
                workflow: format!("{name} got {} bytes", call.body.len()),
                replayed: call.id.as_deref() == Some("again"),
            }),
        })
    }

    fn counts(&self) -> Counts {
        Counts { running: 0, queued: self.state.lock().runs.len(), waiting: 0, effects: 0, written_off: 0 }
    }

    fn step_id(&self, _: RunId, node: NodeId) -> Option<String> {
        (node.0 < 100).then(|| format!("step_{}", node.0))
    }

    fn offer(&self, event: Event) -> Result<()> {
        self.state.lock().offered.push(event);
        Ok(())
    }

    fn newest_lsn(&self) -> Option<Lsn> {
        Some(Lsn(self.state.lock().journal.len() as i64))
    }
}

struct Listening {
    state: Arc<Mutex<State>>,
    grown: watch::Receiver<usize>,
    next: usize,
}

impl Events for Listening {
    fn next(&mut self) -> Later<'_, Option<std::result::Result<Arc<Committed>, Gap>>> {
        Box::pin(async move {
            loop {
                self.grown.mark_unchanged();
                {
                    let mut state = self.state.lock();
                    if state.gaps > 0 {
                        state.gaps -= 1;
                        self.next = state.journal.len();
                        return Some(Err(Gap));
                    }
                    if let Some(one) = state.journal.get(self.next) {
                        self.next += 1;
                        return Some(Ok(one.clone()));
                    }
                }
                if self.grown.changed().await.is_err() {
                    return None;
                }
            }
        })
    }
}
