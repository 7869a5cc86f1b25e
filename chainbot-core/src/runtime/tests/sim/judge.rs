//! What must hold whatever happened, seen from outside: from records, rows and ledgers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::engine::RunState;
use crate::engine::tests::driver::fingerprint;
use crate::engine::tests::property::without_chance;
use crate::id::RunId;
use crate::model::inbox::RETRY;
use crate::model::{EffectKey, OnUncertain, Place, Record, RecordBody, RunStatus, Trigger, Waiting};
use crate::port::Scope;

use super::flows::MAIN;
use super::pins::MAX_ON;
use super::world::{World, generation};

impl World {
    /// I4: an effect is sent after its start is on disk, never after its end, and not again in doubt unless it may be.
    pub fn check_sent(&mut self, run: RunId, key: EffectKey, attempt: u32) {
        let history = self.disk.history.lock();
        let records = &history.runs[&run];
        let is_start = |record: &&Record| matches!(&record.body, RecordBody::StepStarted { key: of, attempt: nth, .. } if *of == key && *nth == attempt);
        let start = records.iter().find(is_start);
        let start = start.unwrap_or_else(|| {
            panic!("I4: run {run}: {key} try {attempt} was sent before its start was on disk")
        });
        let place = start.body.place().expect("a step");
        let own = generation(records);
        let ended = own
            .iter()
            .any(|record| matches!(&record.body, RecordBody::StepCompleted { place: of, .. } if of == place));
        assert!(!ended, "I4: run {run}: {place:?} was sent again after it completed");
        let RecordBody::RunCreated(created) = &records[0].body else { panic!("no creation") };
        let program = self.process().runtime.programs.get(created.definition).expect("its definition");
        let may_repeat = program.node(place.node).on_uncertain == OnUncertain::Retry;
        let allowed = own.iter().filter(|record| match &record.body {
            RecordBody::AttemptFailed { place: of, .. } => of == place,
            RecordBody::StepAnswered { place: of, action, .. } => of == place && action == RETRY,
            _ => false,
        });
        let allowed = allowed.count() + 1;
        drop(history);
        self.report.effects += 1;
        let sent = self.ledger.entry((run, key)).or_default();
        if !sent.is_empty() {
            self.report.sent_again += 1;
        }
        sent.push(attempt);
        assert!(
            may_repeat || sent.len() <= allowed,
            "I4: run {run}: {key} was sent {} times in doubt",
            sent.len()
        );
    }

    /// I9: whatever was done to them, outputs are at their safe levels after any exit and before anything else is done.
    pub fn judge_pins(&self, when: &str) {
        assert_eq!(self.board.not_safe(), [] as [String; 0], "I9: not safe {when}");
    }

    /// I9: what nobody drives any more is safe when its time is over.
    fn judge_bounds(&self) {
        self.clock.advance(MAX_ON);
        self.board.round(&self.process().pins);
        assert_eq!(self.board.outlasted(), [] as [String; 0], "I9: on for longer than their `max_on`");
    }

    /// After everything is over, and once more after a restart.
    pub fn judge(&mut self) {
        self.judge_bounds();
        let counts = self.process().handle.counts();
        assert_eq!(
            (counts.running, counts.queued, counts.waiting, counts.effects),
            (0, 0, 0, 0),
            "something is held for nobody: {counts:?}"
        );
        self.judge_told();
        self.die();
        assert_eq!(self.process().jobs(), 0, "a run that is over is taken up again");
        self.judge_rows();
        let history = std::mem::take(&mut self.disk.history.lock().runs);
        for (run, records) in &history {
            self.judge_run(*run, records);
        }
        self.judge_occasions(&history);
        for (run, key) in &self.acked_signals {
            let has = history[run].iter().any(
                |record| matches!(&record.body, RecordBody::SignalReceived { key: Some(of), .. } if of == key),
            );
            assert!(has, "I2: run {run}: an acknowledged signal is lost");
        }
        assert_eq!(self.disk.violations(), [] as [String; 0]);
        self.report.runs += history.len() as u64;
        self.report.records += history.values().map(|records| records.len() as u64).sum::<u64>();
    }

    /// I3, I5: nothing is left in the tables of what waits.
    fn judge_rows(&self) {
        let store = &self.process().store.inner;
        let recovery = store.recover().expect("it can be read");
        assert!(recovery.live.is_empty() && recovery.parked == 0, "runs are left: {recovery:?}");
        assert!(recovery.timers.is_empty(), "I6: timers are left: {:?}", recovery.timers);
        assert!(store.listens().expect("it can be read").is_empty(), "waits for events are left");
        assert!(store.inbox(&Scope::All).expect("it can be read").is_empty(), "questions are left");
        let gates = store.automation().expect("it can be read").gates;
        assert!(gates.is_empty(), "gates are held by runs that are over: {gates:?}");
    }

    /// The host was told of everything, at least once.
    fn judge_told(&mut self) {
        let told = self.host.told.lock().clone();
        let history = self.disk.history.lock();
        for (run, records) in &history.runs {
            for record in records {
                let is_told = matches!(
                    record.body,
                    RecordBody::RunStarted
                        | RecordBody::RunCompleted { .. }
                        | RecordBody::RunFailed { .. }
                        | RecordBody::RunCancelled { .. }
                        | RecordBody::EventEmitted { .. }
                        | RecordBody::StepUncertain { .. }
                );
                let id = format!("{run}-{}", record.seq);
                assert!(
                    !is_told || told.contains_key(&id),
                    "the host was not told of {id}: {:?}",
                    record.body
                );
            }
        }
        self.report.told += told.len() as u64;
    }

    fn judge_run(&mut self, run: RunId, records: &[Record]) {
        let RecordBody::RunCreated(created) = &records[0].body else { panic!("no creation") };
        let program = self.process().runtime.programs.get(created.definition).expect("its definition");
        let fold = |records: &[Record]| RunState::fold(run, program.clone(), records).expect("it folds");
        let state = fold(records);
        let current =
            self.process().store.inner.workflow(&Scope::All, created.workflow).expect("it can be read");
        self.report.outlived += u64::from(current.is_some_and(|current| current.hash != created.definition));
        // I7, for all of it and for a prefix that the run's own length chooses.
        let prefix = &records[..1 + (self.seed as usize % records.len())];
        assert_eq!(fingerprint(&fold(prefix)), fingerprint(&fold(prefix)), "I7: run {run}");
        let row = self.process().store.inner.run(&Scope::All, run).expect("it can be read");
        if let Some(stored) = row {
            assert_eq!(stored.row.status, state.status, "I3: the row of run {run}");
            assert_eq!(stored.row.definition, created.definition, "run {run} is not of its version any more");
            let kept = stored.lsns.expect("it is over");
            let read = self.process().store.inner.records(&Scope::All, run, &kept).expect("it can be read");
            let read: Vec<Record> = read.into_iter().map(|(_, record)| record).collect();
            assert_eq!(read, records, "I2: the journal of run {run} is what was committed");
        }
        check_keys(run, records);
        check_times(run, records);
        if created.name == MAIN && !self.touched.contains(&run) {
            let output = state.output.as_ref().map(|data| without_chance(data.json()));
            let is_failed = self.flows.expected.is_none();
            assert_eq!(
                output, self.flows.expected,
                "run {run} ended otherwise than the reference: {:?}",
                state.error
            );
            let status = if is_failed { RunStatus::Failed } else { RunStatus::Completed };
            assert_eq!(state.status, status);
            self.report.compared += 1;
            self.report.compared_failures += u64::from(is_failed);
        }
    }

    /// An occasion starts one run, and none before its time.
    fn judge_occasions(&mut self, history: &BTreeMap<RunId, Vec<Record>>) {
        let mut seen = BTreeSet::new();
        for records in history.values() {
            let RecordBody::RunCreated(created) = &records[0].body else { panic!("no creation") };
            let Trigger::Trigger { by, trigger, event, .. } = &created.trigger else { continue };
            let id = event["id"].as_str().expect("an id").to_owned();
            assert!(
                seen.insert((created.workflow, trigger.clone(), id.clone())),
                "I6: `{}` was started twice for {id}",
                created.name
            );
            if by == "cron" {
                let time = event["time"].as_str().and_then(crate::time::Timestamp::parse);
                assert!(
                    records[0].at >= time.expect("a time"),
                    "I6: `{}` began before its time",
                    created.name
                );
            }
            self.report.triggered += 1;
        }
    }
}

/// A step completes once in a generation, and each of its tries there has one key.
fn check_keys(run: RunId, records: &[Record]) {
    let mut keys: HashMap<&Place, EffectKey> = HashMap::new();
    let mut completed: BTreeSet<&Place> = BTreeSet::new();
    for record in records {
        match &record.body {
            RecordBody::RunRetried { .. } => {
                keys.clear();
                completed.clear();
            }
            RecordBody::StepStarted { place, key, .. } => {
                assert_eq!(*keys.entry(place).or_insert(*key), *key, "I4: run {run}: {place:?} has two keys");
            }
            RecordBody::StepCompleted { place, .. } => {
                assert!(completed.insert(place), "run {run}: {place:?} completed twice");
            }
            _ => {}
        }
    }
}

/// I6: nothing goes on before its time.
fn check_times(run: RunId, records: &[Record]) {
    let mut due = HashMap::new();
    for record in records {
        match &record.body {
            RecordBody::StepWaiting { place, wait: Waiting::Until { due: until } } => {
                due.insert(place, *until);
            }
            RecordBody::AttemptFailed { place, due: until, .. } => {
                due.insert(place, *until);
            }
            RecordBody::StepCompleted { place, .. } | RecordBody::StepStarted { place, .. } => {
                if let Some(until) = due.remove(place) {
                    assert!(
                        record.at >= until,
                        "I6: run {run}: {place:?} went on at {} before {until}",
                        record.at
                    );
                }
            }
            RecordBody::StepCancelled { place } | RecordBody::StepFailed { place, .. } => {
                due.remove(place);
            }
            RecordBody::RunRetried { .. } => due.clear(),
            _ => {}
        }
    }
}
