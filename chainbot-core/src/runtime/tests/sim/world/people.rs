//! What people, programs and the host do to the process, by the dice.

use serde_json::{Value, json};

use super::World;
use crate::env::Clock;
use crate::id::RunId;
use crate::model::{Record, RecordBody};
use crate::port::Scope;
use crate::runtime::tests::sim::asks::Done;
use crate::runtime::tests::sim::flows::MAIN;
use crate::runtime::{Event, NewAnswer, NewRun};
use crate::time::Timestamp;

impl World {
    pub(super) fn start(&mut self) {
        let startable = &self.flows.startable;
        let name = startable[match self.dice.one_in(3) {
            true => 0,
            false => self.dice.below(startable.len() as u64) as usize,
        }];
        let key = self.dice.one_in(3).then(|| format!("key-{}", self.dice.below(3)));
        let handle = self.process().handle.clone();
        let label = format!("start {name} {key:?}");
        self.process_mut().asks.push(label, false, async move {
            let new = NewRun { workflow: name.to_owned(), inputs: Value::Null, idempotency_key: key };
            let started = handle.start_run(new).await?;
            Ok(Done::Started(started.run.id, name.to_owned()))
        });
    }

    pub(super) fn signal(&mut self, run: RunId, name: String) {
        // What a signal carries is told by its name, so that it does not matter which of two a step takes.
        let data = match (&self.signal_data, name.strip_prefix("go_")) {
            (Some(data), _) => data.clone(),
            (None, Some(by)) => json!({ "by": by }),
            (None, None) => json!(1),
        };
        self.number += 1;
        let key = format!("signal-{}", self.number);
        let handle = self.process().handle.clone();
        let label = format!("signal {run} {name}");
        self.process_mut().asks.push(label, false, async move {
            handle.signal(run, &name, data, Some(&key)).await?;
            Ok(Done::Signalled(run, key))
        });
    }

    pub(super) fn early_signal(&mut self) {
        let Some(run) = self.any_run() else { return };
        let name = match self.created(run).name.as_str() {
            MAIN => format!("go_s{}", self.dice.below(12)),
            _ => "go".to_owned(),
        };
        self.signal(run, name);
    }

    pub(super) fn host_event(&mut self) {
        let (number, at) = (self.dice.below(6), Timestamp(self.clock.now().0));
        let topic = ["alex.bell", "alex.door.open", "user.bell"][self.dice.below(3) as usize].to_owned();
        let (id, data) = (format!("host-{number}"), json!({ "n": number }));
        self.say(|| format!("the host tells {topic} {id}"));
        let handle = self.process().handle.clone();
        // The host tells again what is refused; it has the same id then.
        let heard = handle.hear(&topic, &id, data.clone(), at);
        let taken = handle.take_event(Event { id, topic, at, data });
        self.say(|| format!("{heard:?} {taken:?}"));
    }

    /// A person answers a question; false when there is none.
    pub(super) fn answer_question(&mut self) -> bool {
        let open = self.process().store.inner.inbox(&Scope::All).expect("it can be read");
        if open.is_empty() {
            return false;
        }
        let question = &open[self.dice.below(open.len() as u64) as usize];
        let choices = question.question["choices"].as_array().expect("choices").clone();
        let action =
            choices[self.dice.below(choices.len() as u64) as usize].as_str().expect("a word").to_owned();
        let (id, handle) = (question.id, self.process().handle.clone());
        self.report.answers += 1;
        self.process_mut().asks.push(format!("answer {id} {action}"), false, async move {
            let answer = NewAnswer { action, data: Value::Null, by: Some("mia".to_owned()) };
            handle.answer(id, answer).await.map(|_| Done::Other)
        });
        true
    }

    pub(super) fn meddle(&mut self) {
        // Only a run that failed can be retried, and there are few.
        if let Some(run) = self.failed_run()
            && self.dice.one_in(2)
        {
            self.touch(run);
            return self.retry(run);
        }
        let Some(run) = self.any_run() else { return };
        let handle = self.process().handle.clone();
        let choice = self.dice.below(5);
        if choice < 2 {
            self.touch(run);
        }
        match choice {
            0 => self.process_mut().asks.push(format!("cancel {run}"), false, async move {
                handle.cancel(run, "enough").await.map(|_| Done::Cancelled)
            }),
            1 => self.retry(run),
            2 | 3 => {
                self.report.pauses += 1;
                self.process_mut().asks.push(format!("pause {run}"), false, async move {
                    handle.pause(run, "a look").await.map(|_| Done::Other)
                });
            }
            _ => self.resume(run),
        }
    }

    fn retry(&mut self, run: RunId) {
        let handle = self.process().handle.clone();
        self.process_mut().asks.push(format!("retry {run}"), false, async move {
            handle.retry(run).await.map(|_| Done::Retried)
        });
    }

    fn failed_runs(&self) -> Vec<RunId> {
        let history = self.disk.history.lock();
        let has_failed = |records: &[Record]| {
            records.last().is_some_and(|record| matches!(record.body, RecordBody::RunFailed { .. }))
        };
        let failed = history.runs.iter().filter(|(_, records)| has_failed(records));
        failed.map(|(run, _)| *run).collect()
    }

    fn failed_run(&mut self) -> Option<RunId> {
        let failed = self.failed_runs();
        let count = failed.len() as u64;
        (count > 0).then(|| failed[self.dice.below(count) as usize])
    }

    /// Somebody takes up what failed, when all is over: each run once, and not in each case, or no failure would be compared.
    pub(super) fn retry_failed(&mut self) -> bool {
        if !self.faults.meddles {
            return false;
        }
        let Some(run) = self.failed_runs().into_iter().find(|run| !self.retried.contains(run)) else {
            return false;
        };
        self.retried.insert(run);
        if self.fold(run).was_undone() {
            return true;
        }
        self.touch(run);
        self.retry(run);
        true
    }

    /// A new version of a workflow, with one step more before the others, so that a run of another version would be found out.
    pub(super) fn update(&mut self) {
        let sources = &self.flows.sources;
        let index = self.dice.below(sources.len() as u64) as usize;
        let Some(name) = sources[index].lines().find_map(|line| line.strip_prefix("name: ")) else { return };
        // The reference knows one version of this one.
        if name == MAIN {
            return;
        }
        self.number += 1;
        let first = format!(
            "steps:\n  - {{ id: v{}, type: set, config: {{ variables: {{ v: 1 }} }} }}\n",
            self.number
        );
        let (name, source) = (name.to_owned(), sources[index].replacen("steps:\n", &first, 1));
        let handle = self.process().handle.clone();
        self.process_mut().asks.push(format!("update {name}"), false, async move {
            handle.update_workflow(&name, &source, None).await.map(|_| Done::Updated)
        });
    }

    pub(super) fn resume(&mut self, run: RunId) {
        let handle = self.process().handle.clone();
        self.process_mut().asks.push(format!("resume {run}"), false, async move {
            handle.resume(run).await.map(|_| Done::Other)
        });
    }

    /// What becomes of a run and of those above it is a person's doing.
    pub(super) fn touch(&mut self, run: RunId) {
        let mut next = Some(run);
        while let Some(run) = next {
            self.touched.insert(run);
            next = self.created(run).parent.map(|parent| parent.run);
        }
    }
}
