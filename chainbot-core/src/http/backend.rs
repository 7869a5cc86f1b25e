//! What the HTTP face asks of the runtime, as a trait, so that routes can be tested against an engine in memory.
//!
//! [`crate::runtime::Handle`] is the implementation that ships; every method here is one of its methods. The
//! meaning of each is documented there.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::error::Result;
use crate::id::{Lsn, NodeId, RunId};
use crate::model::event::Committed;
use crate::model::{Diagnostic, Record, RunStatus, RunView, StepView};
use crate::port::{Page, Scope, StoredQuestion, WorkflowFilter};
use crate::runtime::{
    Counts, Event, Gap, Handle, HookCall, HookReply, NewRun, RunQuery, RunSummary, StartedRun, StateView,
    Subscription, TriggerView, WorkflowListed, WorkflowSwitched, WorkflowView,
};

/// A reply that is still to come.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The runtime, as routes see it.
#[allow(missing_docs)]
pub trait Backend: Send + Sync {
    /// The same for somebody: what is outside of the scope is not there.
    fn of(&self, scope: Scope) -> Arc<dyn Backend>;
    fn create_workflow<'a>(
        &'a self,
        source: &'a str,
        key: Option<&'a str>,
    ) -> Later<'a, Result<(WorkflowView, bool)>>;
    fn workflow<'a>(&'a self, reference: &'a str) -> Later<'a, Result<WorkflowView>>;
    fn workflows(&self, filter: WorkflowFilter) -> Later<'_, Result<Page<WorkflowListed>>>;
    fn update_workflow<'a>(
        &'a self,
        reference: &'a str,
        source: &'a str,
        if_match: Option<&'a str>,
    ) -> Later<'a, Result<WorkflowView>>;
    fn delete_workflow<'a>(&'a self, reference: &'a str, if_match: Option<&'a str>) -> Later<'a, Result<()>>;
    fn validate(&self, source: &str) -> Vec<Diagnostic>;
    fn start_run(&self, new: NewRun) -> Later<'_, Result<StartedRun>>;
    fn run(&self, id: RunId) -> Later<'_, Result<RunView>>;
    fn runs(&self, query: RunQuery) -> Later<'_, Result<Page<RunSummary>>>;
    fn steps(&self, id: RunId) -> Later<'_, Result<Vec<StepView>>>;
    fn journal(
        &self,
        id: RunId,
        after_seq: Option<u32>,
        limit: u32,
    ) -> Later<'_, Result<Page<(Lsn, Record)>>>;
    fn state_at(&self, id: RunId, at: Option<u32>) -> Later<'_, Result<StateView>>;
    fn cancel<'a>(&'a self, id: RunId, reason: &'a str) -> Later<'a, Result<RunView>>;
    fn signal<'a>(
        &'a self,
        id: RunId,
        name: &'a str,
        data: serde_json::Value,
        key: Option<&'a str>,
    ) -> Later<'a, Result<RunView>>;
    fn inbox(&self) -> Later<'_, Result<Vec<StoredQuestion>>>;
    fn subscribe(&self, since: Option<Lsn>) -> Later<'_, Result<Box<dyn Events>>>;
    fn triggers<'a>(&'a self, reference: &'a str) -> Later<'a, Result<Vec<TriggerView>>>;
    fn schedules(&self) -> Later<'_, Result<Vec<TriggerView>>>;
    fn switch_workflow<'a>(&'a self, reference: &'a str, on: bool) -> Later<'a, Result<WorkflowSwitched>>;
    fn switch_trigger<'a>(
        &'a self,
        reference: &'a str,
        key: &'a str,
        on: bool,
    ) -> Later<'a, Result<TriggerView>>;
    fn hook(&self, call: HookCall) -> Later<'_, Result<HookReply>>;
    fn counts(&self) -> Counts;

    /// The step's id in the definition of the run, where it is at hand without reading from disk.
    fn step_id(&self, run: RunId, node: NodeId) -> Option<String> {
        let _ = (run, node);
        None
    }

    /// Takes an event from outside; see [`Handle::offer`].
    fn offer(&self, event: Event) -> Result<()>;

    /// What a run does at this moment, where it is in memory.
    fn status(&self, run: RunId) -> Option<RunStatus> {
        let _ = run;
        None
    }

    /// The runtime itself, for what only it offers: people's control of runs, and versions.
    fn handle(&self) -> Option<&Handle> {
        None
    }

    /// The newest committed place, where it is known. A stream that starts without a cursor begins here, so
    /// that a client which reconnects before the first event misses nothing.
    fn newest_lsn(&self) -> Option<Lsn> {
        None
    }
}

/// Committed records as they come.
pub trait Events: Send {
    /// See [`Subscription::next`]. Must lose nothing when the future is dropped before it is ready.
    fn next(&mut self) -> Later<'_, Option<std::result::Result<Arc<Committed>, Gap>>>;

    /// Up to where everything was given out or is not for whoever listens, where it is known.
    fn passed(&self) -> Option<Lsn> {
        None
    }
}

impl Events for Subscription {
    fn next(&mut self) -> Later<'_, Option<std::result::Result<Arc<Committed>, Gap>>> {
        Box::pin(Subscription::next(self))
    }

    fn passed(&self) -> Option<Lsn> {
        Some(Subscription::passed(self))
    }
}

impl Backend for Handle {
    fn of(&self, scope: Scope) -> Arc<dyn Backend> {
        Arc::new(self.of(scope))
    }

    fn create_workflow<'a>(
        &'a self,
        source: &'a str,
        key: Option<&'a str>,
    ) -> Later<'a, Result<(WorkflowView, bool)>> {
        Box::pin(self.create_workflow(source, key))
    }

    fn workflow<'a>(&'a self, reference: &'a str) -> Later<'a, Result<WorkflowView>> {
        Box::pin(self.workflow(reference))
    }

    fn workflows(&self, filter: WorkflowFilter) -> Later<'_, Result<Page<WorkflowListed>>> {
        Box::pin(self.workflows(filter))
    }

    fn update_workflow<'a>(
        &'a self,
        reference: &'a str,
        source: &'a str,
        if_match: Option<&'a str>,
    ) -> Later<'a, Result<WorkflowView>> {
        Box::pin(self.update_workflow(reference, source, if_match))
    }

    fn delete_workflow<'a>(&'a self, reference: &'a str, if_match: Option<&'a str>) -> Later<'a, Result<()>> {
        Box::pin(self.delete_workflow(reference, if_match))
    }

    fn validate(&self, source: &str) -> Vec<Diagnostic> {
        self.validate(source)
    }

    fn start_run(&self, new: NewRun) -> Later<'_, Result<StartedRun>> {
        Box::pin(self.start_run(new))
    }

    fn run(&self, id: RunId) -> Later<'_, Result<RunView>> {
        Box::pin(self.run(id))
    }

    fn runs(&self, query: RunQuery) -> Later<'_, Result<Page<RunSummary>>> {
        Box::pin(self.runs(query))
    }

    fn steps(&self, id: RunId) -> Later<'_, Result<Vec<StepView>>> {
        Box::pin(self.steps(id))
    }

    fn journal(
        &self,
        id: RunId,
        after_seq: Option<u32>,
        limit: u32,
    ) -> Later<'_, Result<Page<(Lsn, Record)>>> {
        Box::pin(self.journal(id, after_seq, limit))
    }

    fn state_at(&self, id: RunId, at: Option<u32>) -> Later<'_, Result<StateView>> {
        Box::pin(self.state_at(id, at))
    }

    fn cancel<'a>(&'a self, id: RunId, reason: &'a str) -> Later<'a, Result<RunView>> {
        Box::pin(self.cancel(id, reason))
    }

    fn signal<'a>(
        &'a self,
        id: RunId,
        name: &'a str,
        data: serde_json::Value,
        key: Option<&'a str>,
    ) -> Later<'a, Result<RunView>> {
        Box::pin(self.signal(id, name, data, key))
    }

    fn inbox(&self) -> Later<'_, Result<Vec<StoredQuestion>>> {
        Box::pin(self.inbox())
    }

    fn subscribe(&self, since: Option<Lsn>) -> Later<'_, Result<Box<dyn Events>>> {
        Box::pin(async move {
            let subscription = self.subscribe(since).await?;
            Ok(Box::new(subscription) as Box<dyn Events>)
        })
    }

    fn triggers<'a>(&'a self, reference: &'a str) -> Later<'a, Result<Vec<TriggerView>>> {
        Box::pin(self.triggers(reference))
    }

    fn schedules(&self) -> Later<'_, Result<Vec<TriggerView>>> {
        Box::pin(self.schedules())
    }

    fn switch_workflow<'a>(&'a self, reference: &'a str, on: bool) -> Later<'a, Result<WorkflowSwitched>> {
        Box::pin(self.switch_workflow(reference, on))
    }

    fn switch_trigger<'a>(
        &'a self,
        reference: &'a str,
        key: &'a str,
        on: bool,
    ) -> Later<'a, Result<TriggerView>> {
        Box::pin(self.switch_trigger(reference, key, on))
    }

    fn hook(&self, call: HookCall) -> Later<'_, Result<HookReply>> {
        Box::pin(self.hook(call))
    }

    fn counts(&self) -> Counts {
        self.counts()
    }

    fn step_id(&self, run: RunId, node: NodeId) -> Option<String> {
        self.step_id(run, node)
    }

    fn newest_lsn(&self) -> Option<Lsn> {
        self.newest_lsn()
    }

    fn status(&self, run: RunId) -> Option<RunStatus> {
        self.status(run)
    }

    fn offer(&self, event: Event) -> Result<()> {
        self.offer(event)
    }

    fn handle(&self) -> Option<&Handle> {
        Some(self)
    }
}
