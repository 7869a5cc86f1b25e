//! The audit log: every tamper is found, segments are dropped whole, and a log that was made anew differs from a noted head.

use super::*;
use crate::env::{Random, SeededRandom};
use crate::limits::AUDIT_SEGMENT_ROWS;
use crate::port::{Action, Actor, AuditEntry, AuditFilter, AuditHead, AuditRow, AuditSegment, AuditVerdict};
use crate::store::audit::{self, Check};

/// Two seals and a part of a third segment.
const ROWS: i64 = 2 * AUDIT_SEGMENT_ROWS + 37;

struct Dice(SeededRandom);

impl Dice {
    /// Shown when the test fails; CHAINBOT_SEED repeats it.
    fn new() -> Self {
        let seed = std::env::var("CHAINBOT_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from_le_bytes(crate::env::Env::system().bytes()));
        println!("CHAINBOT_SEED={seed}");
        Self(SeededRandom::new(seed))
    }

    fn below(&self, below: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        (u64::from_le_bytes(bytes) % below as u64) as usize
    }
}

fn entry(number: i64) -> AuditEntry {
    let even = number % 2 == 0;
    AuditEntry {
        at: Timestamp(1_700_000_000_000 + number * 1_000),
        action: Action::ALL[number as usize % (Action::ALL.len() - 1)],
        actor: if even { Actor::Local } else { Actor::User("mia".to_owned()) },
        target: "workflow",
        target_id: number.to_string(),
        request: even.then(|| "request".to_owned()),
        before: even.then_some([number as u8; 32]),
        after: Some([number as u8; 32]),
        meta: even.then(|| "{}".to_owned()),
    }
}

fn write(bench: &Bench, rows: i64) {
    for number in 1..=rows {
        bench.write(RunId::from([0; 16]), Vec::new(), vec![Op::Audit(Box::new(entry(number)))]);
    }
}

fn verdict(bench: &Bench) -> AuditVerdict {
    bench.store.audit_verdict().unwrap()
}

/// A log as somebody finds it who can write to the tables.
#[derive(Clone)]
struct Found {
    rows: Vec<AuditRow>,
    segments: Vec<AuditSegment>,
    head: AuditHead,
}

impl Found {
    fn new() -> Self {
        let mut found = Self {
            rows: Vec::new(),
            segments: Vec::new(),
            head: AuditHead { seq: 0, link: audit::NOTHING.to_vec() },
        };
        for number in 1..=ROWS {
            found.append(&entry(number));
        }
        found
    }

    fn append(&mut self, entry: &AuditEntry) {
        let row = audit::row(&self.head, entry);
        self.head = AuditHead { seq: row.seq, link: row.link.clone() };
        self.rows.push(row.clone());
        if audit::fills(row.seq) {
            let mut segment = AuditSegment {
                number: audit::segment_of(row.seq),
                first_at: self.rows[self.rows.len() - AUDIT_SEGMENT_ROWS as usize].at,
                last_at: row.at,
                last_link: row.link,
                link: Vec::new(),
                is_dropped: false,
            };
            let before =
                self.segments.last().map_or_else(|| audit::NOTHING.to_vec(), |last| last.link.clone());
            segment.link = audit::seal_link(&before, &segment);
            self.segments.push(segment);
        }
    }

    fn verdict(&self) -> AuditVerdict {
        let mut check = Check::new(self.segments.clone());
        let mut rows: Vec<&AuditRow> = self.rows.iter().collect();
        // As a table gives them.
        rows.sort_by_key(|row| row.seq);
        rows.into_iter().for_each(|row| check.row(row));
        check.end(self.head.clone())
    }

    /// Changes something; what.
    fn tamper(&mut self, dice: &Dice) -> String {
        let at = dice.below(self.rows.len());
        let other = (at + 1 + dice.below(self.rows.len() - 1)) % self.rows.len();
        match dice.below(11) {
            0 | 1 => {
                let field = dice.below(10);
                flip(&mut self.rows[at], field, dice);
                format!("flipped field {field} of row {}", at + 1)
            }
            2 => {
                self.rows.remove(at);
                format!("deleted row {}", at + 1)
            }
            3 => {
                self.rows.drain(at..(at + 1 + dice.below(5)).min(ROWS as usize));
                format!("deleted rows from {}", at + 1)
            }
            4 => {
                let mut forged = self.rows[other].clone();
                forged.seq = ROWS + 1;
                forged.link = audit::link(&self.rows[ROWS as usize - 1].link, &forged);
                self.rows.push(forged);
                "put a row in at the end, with a link that fits".to_owned()
            }
            5 => {
                let mut forged = self.rows[other].clone();
                forged.link = audit::link(&self.rows[at].link, &forged);
                self.rows[at + 1..].iter_mut().for_each(|row| row.seq += 1);
                forged.seq = self.rows[at].seq + 1;
                self.rows.insert(at + 1, forged);
                format!("put a row in after {} and moved the others", at + 1)
            }
            6 => {
                let (a, b) = (self.rows[at].seq, self.rows[other].seq);
                (self.rows[at].seq, self.rows[other].seq) = (b, a);
                format!("swapped rows {a} and {b}")
            }
            7 => {
                let keep = dice.below(ROWS as usize);
                self.rows.truncate(keep);
                format!("cut after row {keep}")
            }
            8 => {
                let segment = dice.below(self.segments.len());
                self.segments[segment].is_dropped = true;
                let last = (segment as i64 + 1) * AUDIT_SEGMENT_ROWS;
                self.rows.retain(|row| row.seq > last || audit::segment_of(row.seq) != segment as i64);
                format!("dropped segment {segment}")
            }
            9 => {
                let segment = dice.below(self.segments.len());
                match dice.below(4) {
                    0 => drop(self.segments.remove(segment)),
                    1 => self.segments[segment].last_at.0 ^= 1 << dice.below(40),
                    2 => self.segments[segment].last_link[dice.below(32)] ^= 1 << dice.below(8),
                    _ => self.segments[segment].link[dice.below(32)] ^= 1 << dice.below(8),
                }
                format!("changed seal {segment}")
            }
            _ => {
                match dice.below(2) {
                    0 => self.head.seq -= 1 + dice.below(3) as i64,
                    _ => self.head.link[dice.below(32)] ^= 1 << dice.below(8),
                }
                "changed the head".to_owned()
            }
        }
    }
}

fn flip(row: &mut AuditRow, field: usize, dice: &Dice) {
    let text = |text: &mut String| text.push('x');
    let bytes = |bytes: &mut Vec<u8>| bytes[dice.below(32)] ^= 1 << dice.below(8);
    let maybe = |bytes: &mut Option<Vec<u8>>| match bytes {
        None => *bytes = Some(Vec::new()),
        Some(bytes) => bytes[dice.below(32)] ^= 1 << dice.below(8),
    };
    let words = |text: &mut Option<String>| match text {
        None => *text = Some(String::new()),
        Some(_) => *text = None,
    };
    match field {
        0 => row.at.0 ^= 1 << dice.below(41),
        1 => text(&mut row.action),
        2 => text(&mut row.actor),
        3 => text(&mut row.target),
        4 => text(&mut row.target_id),
        5 => words(&mut row.request),
        6 => maybe(&mut row.before),
        7 => maybe(&mut row.after),
        8 => words(&mut row.meta),
        _ => bytes(&mut row.link),
    }
}

#[test]
fn ten_thousand_tampers_are_all_found() {
    let whole = Found::new();
    assert_eq!(whole.verdict().broken, []);
    let dice = Dice::new();
    for number in 0..10_000 {
        let mut found = whole.clone();
        let what = found.tamper(&dice);
        assert_ne!(found.verdict().broken, [], "tamper {number}: {what}");
    }
}

#[test]
fn a_log_on_disk_is_held_against_its_chain() {
    let bench = Bench::new();
    write(&bench, ROWS);
    let found = verdict(&bench);
    assert_eq!((found.rows as i64, found.head.seq, found.broken.len()), (ROWS, ROWS, 0));
    bench.assert_sound();
    let conn = rusqlite::Connection::open(bench.database()).unwrap();
    for sql in [
        "UPDATE audit SET actor = 'user:eve' WHERE seq = 17",
        "UPDATE audit SET before_hash = NULL WHERE seq = 18",
        "UPDATE audit SET meta = '{\"x\":1}' WHERE seq = 237",
        "DELETE FROM audit WHERE seq = 1",
        "DELETE FROM audit WHERE seq > 230",
        "DELETE FROM audit",
        "DELETE FROM audit_head",
        "DELETE FROM audit_segment WHERE number = 1",
        "UPDATE audit_segment SET is_dropped = 1 WHERE number = 0",
        "UPDATE audit SET seq = 1000 WHERE seq = 5",
        "INSERT INTO audit SELECT 238, at, action, actor, target, target_id, request, before_hash, after_hash, meta, link \
         FROM audit WHERE seq = 237",
    ] {
        let transaction = conn.unchecked_transaction().unwrap();
        assert!(transaction.execute(sql, []).unwrap() > 0, "{sql}");
        let found = crate::store::sqlite::audit::verify(&transaction).unwrap();
        assert_ne!(found.broken, [], "{sql}");
        let found = crate::store::invariants::check_in(&transaction).unwrap();
        assert!(found.iter().any(|one| one.invariant == "I8"), "{sql}");
        transaction.rollback().unwrap();
    }
    assert_eq!(verdict(&bench).broken, []);
}

/// Whoever makes everything anew leaves a log that holds; only a head that was noted tells.
#[test]
fn a_log_that_was_made_anew_differs_from_a_head_that_was_noted() {
    let bench = Bench::new();
    write(&bench, 120);
    let noted = verdict(&bench).head;
    let link = |seq| crate::store::audit_of_file(&bench.database(), Some(seq)).unwrap().link;
    assert_eq!(link(120).as_ref(), Some(&noted.link));
    let conn = rusqlite::Connection::open(bench.database()).unwrap();
    conn.execute_batch("DELETE FROM audit; DELETE FROM audit_segment; DELETE FROM audit_head").unwrap();
    for number in 2..=121 {
        crate::store::sqlite::audit::append(&conn, &entry(number)).unwrap();
    }
    assert_eq!(verdict(&bench).broken, [], "the log itself holds");
    assert_ne!(link(120), Some(noted.link));
}

#[test]
fn old_segments_are_dropped_whole_and_the_log_says_so() {
    let bench = Bench::new();
    write(&bench, ROWS);
    // A run, so that the store's time goes on.
    bench.start(run_id(1));
    let rules = crate::port::upkeep::Retention { audit: Duration::from_secs(100), ..Default::default() };
    let upkeep =
        |now| crate::port::upkeep::Upkeep { now, rules, told: Lsn(i64::MAX), keep: &|_| Default::default() };
    let now = entry(150).at.after(Duration::from_secs(100));
    let mut dropped = 0;
    for _ in 0..20 {
        dropped += bench.store.tidy(&upkeep(now)).unwrap().audit;
    }
    assert_eq!(dropped as i64, AUDIT_SEGMENT_ROWS, "the second has a row that is too young");
    let found = verdict(&bench);
    assert_eq!((found.dropped as i64, found.broken.len()), (AUDIT_SEGMENT_ROWS, 0));
    let filter = AuditFilter { action: Some("audit.drop".to_owned()), limit: 10, ..AuditFilter::default() };
    let said = bench.store.audit(&filter).unwrap().items;
    assert_eq!((said.len(), said[0].target_id.as_str(), said[0].actor.as_str()), (1, "0", "system"));
    bench.assert_sound();
}

#[test]
fn a_change_that_is_refused_is_not_written_down() {
    let bench = Bench::new();
    let ops = vec![Op::RunDelete { run: run_id(9) }, Op::Audit(Box::new(entry(1)))];
    assert!(bench.try_write(RunId::from([0; 16]), Vec::new(), ops).is_err());
    assert_eq!(verdict(&bench).rows, 0);
}
