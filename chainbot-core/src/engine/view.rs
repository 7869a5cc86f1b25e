//! A run's steps as people see them, folded from the journal. Unlike the state it keeps what iterations did.

use std::collections::HashMap;

use crate::model::{Place, Record, RecordBody, StepStatus, StepView, Waiting};
use crate::time::Timestamp;

use super::program::Program;
use super::state::approval_words;

/// Every step instance that has a record, in order of its first one.
pub fn steps<'a>(program: &Program, records: impl IntoIterator<Item = &'a Record>) -> Vec<StepView> {
    let mut views: Vec<StepView> = Vec::new();
    let mut index: HashMap<Place, usize> = HashMap::new();
    for record in records {
        if matches!(record.body, RecordBody::RunRetried { .. }) {
            views.iter_mut().for_each(|view| take_up(program, view));
        }
        let Some(place) = record.body.place() else { continue };
        let skip = matches!(
            record.body,
            RecordBody::RunFailed { .. }
                | RecordBody::IterationStarted { .. }
                | RecordBody::IterationEnded { .. }
                | RecordBody::EventEmitted { .. }
                | RecordBody::EventReceived { .. }
        );
        if skip || !program.has(place.node) || program.node(place.node).id.is_empty() {
            continue;
        }
        let at = *index.entry(place.clone()).or_insert_with(|| {
            views.push(new_view(program, place, record.at));
            views.len() - 1
        });
        if let Some(view) = views.get_mut(at) {
            apply(view, record);
        }
    }
    views
}

fn new_view(program: &Program, place: &Place, at: Timestamp) -> StepView {
    let node = program.node(place.node);
    StepView {
        id: node.id.clone(),
        kind: node.kind.to_owned(),
        path: place.path.clone(),
        status: StepStatus::Pending,
        attempts: 0,
        input: None,
        output: None,
        error: None,
        key: None,
        waiting_for: None,
        started_at: Some(at),
        finished_at: None,
    }
}

fn apply(view: &mut StepView, record: &Record) {
    view.waiting_for = None;
    match &record.body {
        RecordBody::StepStarted { attempt, key, input, .. } => {
            view.status = StepStatus::Running;
            view.finished_at = None;
            view.attempts = *attempt;
            view.key = Some(key.to_string());
            if !input.is_null() {
                view.input = Some((**input).clone());
            }
        }
        RecordBody::StepCompleted { attempt, output, .. } => {
            view.attempts = (*attempt).max(view.attempts);
            view.output = Some((**output).clone());
            view.error = None;
            end(view, StepStatus::Completed, record.at);
        }
        RecordBody::AttemptFailed { attempt, error, due, .. } => {
            view.status = StepStatus::Running;
            view.attempts = *attempt;
            view.error = Some(error.clone());
            view.waiting_for = Some(format!("next try at {due}"));
        }
        RecordBody::StepFailed { attempt, error, .. } => {
            view.attempts = *attempt;
            view.error = Some(error.clone());
            end(view, StepStatus::Failed, record.at);
        }
        RecordBody::StepSkipped { .. } => end(view, StepStatus::Skipped, record.at),
        RecordBody::StepCancelled { .. } => end(view, StepStatus::Cancelled, record.at),
        RecordBody::StepWaiting { wait, .. } => {
            view.status = StepStatus::Waiting;
            view.attempts = view.attempts.max(1);
            view.waiting_for = Some(match wait {
                Waiting::Until { due } => format!("until {due}"),
                Waiting::Signal { name, .. } => format!("signal `{name}`"),
                Waiting::Child { run, .. } => format!("run {run}"),
                Waiting::Event { topic, .. } => format!("event `{topic}`"),
                Waiting::Approval(approval) => approval_words(approval),
            });
        }
        RecordBody::StepUncertain { attempt, key, .. } => {
            view.status = StepStatus::Waiting;
            view.attempts = *attempt;
            view.key = Some(key.to_string());
            view.waiting_for = Some("a person must say whether the effect happened".to_owned());
        }
        RecordBody::StepAnswered { action, .. } if action == crate::model::inbox::RETRY => {
            view.status = StepStatus::Running;
        }
        RecordBody::ControlStarted { .. } => {
            view.finished_at = None;
            view.status = StepStatus::Running;
            view.attempts = 1;
        }
        _ => {}
    }
}

/// A retry: what did not end well has not begun, or is at work again.
fn take_up(program: &Program, view: &mut StepView) {
    let node = program.by_id.get(&view.id).map(|node| program.node(*node));
    let is_handled = node.is_some_and(|node| node.on_error == crate::model::OnError::Continue);
    let is_cut = view.status == StepStatus::Cancelled || (view.status == StepStatus::Failed && !is_handled);
    if is_cut {
        view.status = StepStatus::Pending;
        view.error = None;
        view.finished_at = None;
    }
}

fn end(view: &mut StepView, status: StepStatus, at: Timestamp) {
    view.status = status;
    view.finished_at = Some(at);
}
