//! Random histories: what the store says after restarts equals a plain model in memory.

use std::collections::BTreeMap;

use super::*;
use crate::env::{Env, SeededRandom, SystemClock};
use crate::port::Timer;

/// All of `make test`; the long run takes more.
const BATCHES: u32 = 10_000;
const RUNS_MAX: usize = 40;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Phase {
    Live,
    Parked,
    Over,
}

struct Known {
    phase: Phase,
    records: Vec<(Lsn, Record)>,
    timers: BTreeMap<u32, Timestamp>,
}

pub(super) struct Model {
    env: Env,
    runs: BTreeMap<RunId, Known>,
    made: u128,
    next: i64,
}

impl Model {
    /// Repeats itself with the same seed.
    pub(super) fn new(seed: u64) -> Self {
        let env = Env::new(Arc::new(SystemClock::default()), Arc::new(SeededRandom::new(seed)));
        Self { env, runs: BTreeMap::new(), made: 0, next: 1 }
    }

    fn pick(&self, below: u64) -> u64 {
        self.env.below(below)
    }

    /// A batch that is right, and what it does to the model.
    pub(super) fn batch(&mut self) -> (RunId, Vec<Record>, Vec<Op>) {
        let open: Vec<RunId> =
            self.runs.iter().filter(|(_, known)| known.phase != Phase::Over).map(|(run, _)| *run).collect();
        if open.is_empty() || (open.len() < RUNS_MAX && self.pick(8) == 0) {
            return self.begin();
        }
        let run = open[self.pick(open.len() as u64) as usize];
        let mut known = self.runs.remove(&run).unwrap();
        let lsns: Vec<Lsn> = known.records.iter().map(|(lsn, _)| *lsn).collect();
        let (from, mut ops) = (known.records.len() as u32, Vec::new());
        if known.phase == Phase::Parked {
            ops.push(Op::RunUnpark { run });
            known.phase = Phase::Live;
        }
        let mut records = steps(from, from + 1 + self.pick(5) as u32);
        match self.pick(6) {
            0 => {
                records.push(completed(from + records.len() as u32));
                ops.push(finish(run, lsns));
                (known.phase, known.timers) = (Phase::Over, BTreeMap::new());
            }
            1 => {
                ops.push(park(run, lsns));
                known.phase = Phase::Parked;
            }
            2 => {
                ops.push(Op::TimerSet { run, seq: from, due: at(from) });
                known.timers.insert(from, at(from));
            }
            3 => {
                if let Some((seq, _)) = known.timers.pop_first() {
                    ops.push(Op::TimerClear { run, seq });
                }
            }
            _ => {}
        }
        for record in &records {
            known.records.push((Lsn(self.next), record.clone()));
            self.next += 1;
        }
        self.runs.insert(run, known);
        (run, records, ops)
    }

    fn begin(&mut self) -> (RunId, Vec<Record>, Vec<Op>) {
        self.made += 1;
        let run = run_id(self.made);
        let records = vec![(Lsn(self.next), created(run))];
        self.next += 1;
        self.runs.insert(run, Known { phase: Phase::Live, records, timers: BTreeMap::new() });
        (run, vec![created(run)], vec![insert(run)])
    }

    fn compare(&self, store: &SqliteStore) {
        let recovery = store.recover().unwrap();
        let of = |phase| self.runs.iter().filter(move |(_, known)| known.phase == phase);
        let mut live: Vec<_> = of(Phase::Live).map(|(run, known)| (*run, known.records.clone())).collect();
        live.sort_by_key(|(_, records)| records[0].0);
        assert_eq!(recovery.live, live);
        assert_eq!(recovery.parked, of(Phase::Parked).count());
        let mut timers: Vec<Timer> = self
            .runs
            .iter()
            .flat_map(|(run, known)| {
                known.timers.iter().map(|(seq, due)| Timer { due: *due, run: *run, seq: *seq })
            })
            .collect();
        timers.sort_by_key(|timer| (timer.due, timer.run, timer.seq));
        assert_eq!(recovery.timers, timers);
        assert_eq!(store.newest_lsn().unwrap(), Lsn(self.next - 1));
        assert_eq!(violations(store), []);
    }

    /// Each run by its row, which is how history is read.
    fn compare_runs(&self, store: &SqliteStore) {
        for (run, known) in &self.runs {
            let stored = store.run(&Scope::All, *run).unwrap().unwrap();
            assert_eq!(stored.lsns.is_some(), known.phase != Phase::Live);
            assert_eq!(stored.row.status.is_terminal(), known.phase == Phase::Over);
            if let Some(lsns) = stored.lsns {
                assert_eq!(store.records(&Scope::All, *run, &lsns).unwrap(), known.records);
            }
        }
    }
}

#[test]
fn ten_thousand_random_batches_survive_restarts_as_a_model_says() {
    let seed = std::env::var("CHAINBOT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from_le_bytes(Env::system().bytes()));
    // Shown when the test fails; CHAINBOT_SEED repeats it.
    println!("CHAINBOT_SEED={seed}");
    let mut model = Model::new(seed);
    let mut bench = Bench::new();
    for number in 0..BATCHES {
        let (run, records, ops) = model.batch();
        // Many are under way at once, as with many runs; a run's own come in order.
        let ack = bench.send(run, records, ops);
        if model.pick(200) == 0 || number + 1 == BATCHES {
            ack.recv_timeout(HANG).unwrap().unwrap();
            if model.pick(3) == 0 {
                bench.reopen();
            }
            model.compare(&bench.store);
        }
    }
    bench.reopen();
    model.compare(&bench.store);
    model.compare_runs(&bench.store);
}
