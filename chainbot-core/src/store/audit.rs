//! The chain over the audit log: what a row's link is, and what is wrong with a log as it is found.
//!
//! ```text
//! row 1 ──► row 2 ──► … ──► row 100 ──┐      row n: link = blake3(link of n-1, all of n)
//!                                     └► seal 0 ──► seal 1 ──► …      head: number and link of the newest row
//! ```
//!
//! A row that is changed, taken out, put in or moved breaks a link. Rows cut off at the end are missed by the head, and by the seals where
//! a hundred went. Somebody who may write to the database and makes everything anew from some row on, head and seals included, is found
//! only by who has noted an older head elsewhere. Pure: the stores bring rows.

use blake3::Hasher;

use crate::limits::AUDIT_SEGMENT_ROWS;
use crate::port::{Action, AuditBreak, AuditEntry, AuditHead, AuditRow, AuditSegment, AuditVerdict};

/// Before the first row, and before the first seal.
pub const NOTHING: [u8; 32] = [0; 32];
/// Findings that are told one by one: after so many the log is broken, not one row.
const BREAKS_MAX: usize = 1_000;

/// The row of an entry after a head.
pub fn row(head: &AuditHead, entry: &AuditEntry) -> AuditRow {
    let AuditEntry { at, action, actor, target, target_id, request, before, after, meta } = entry.clone();
    let mut row = AuditRow {
        seq: head.seq + 1,
        at,
        action: action.as_str().to_owned(),
        actor: actor.as_text(),
        target: target.to_owned(),
        target_id,
        request,
        before: before.map(Vec::from),
        after: after.map(Vec::from),
        meta,
        link: Vec::new(),
    };
    row.link = link(&head.link, &row);
    row
}

/// What the link of a row is after another one.
pub fn link(before: &[u8], row: &AuditRow) -> Vec<u8> {
    let mut hasher = Hasher::new_derive_key("ChainBot 2026-11 a row of the audit log");
    let mut add = |bytes: Option<&[u8]>| match bytes {
        None => {
            hasher.update(&[0]);
        }
        Some(bytes) => {
            hasher.update(&[1]).update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        }
    };
    add(Some(before));
    add(Some(&row.seq.to_le_bytes()));
    add(Some(&row.at.0.to_le_bytes()));
    for text in [&row.action, &row.actor, &row.target, &row.target_id] {
        add(Some(text.as_bytes()));
    }
    add(row.request.as_deref().map(str::as_bytes));
    add(row.before.as_deref());
    add(row.after.as_deref());
    add(row.meta.as_deref().map(str::as_bytes));
    hasher.finalize().as_bytes().to_vec()
}

/// The seal of a segment after another one.
pub fn seal_link(before: &[u8], segment: &AuditSegment) -> Vec<u8> {
    let mut hasher = Hasher::new_derive_key("ChainBot 2026-11 a seal of the audit log");
    hasher.update(&(before.len() as u64).to_le_bytes()).update(before);
    for number in [segment.number, segment.first_at.0, segment.last_at.0] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(&segment.last_link);
    hasher.finalize().as_bytes().to_vec()
}

/// Whether a row fills its segment.
pub fn fills(seq: i64) -> bool {
    seq % AUDIT_SEGMENT_ROWS == 0
}

/// The number of a row's segment.
pub fn segment_of(seq: i64) -> i64 {
    (seq - 1).div_euclid(AUDIT_SEGMENT_ROWS)
}

/// Looks at a log as it is found: seals first, then the rows in their order, then the head.
pub struct Check {
    segments: Vec<AuditSegment>,
    next: i64,
    link: Vec<u8>,
    rows: u64,
    dropped: u64,
    /// The last segment that a row says was dropped.
    said_dropped: i64,
    broken: Vec<AuditBreak>,
}

impl Check {
    /// With all seals in their order.
    pub fn new(segments: Vec<AuditSegment>) -> Self {
        let mut check = Self {
            segments,
            next: 1,
            link: NOTHING.to_vec(),
            rows: 0,
            dropped: 0,
            said_dropped: -1,
            broken: Vec::new(),
        };
        let mut before = NOTHING.to_vec();
        let mut is_kept = false;
        for (expected, segment) in (0..).zip(check.segments.clone()) {
            let seq = segment.number.saturating_mul(AUDIT_SEGMENT_ROWS);
            if segment.number != expected {
                check.find(seq, "a seal is missing, or one was put in");
            }
            if segment.link != seal_link(&before, &segment) {
                check.find(seq, "a seal was changed");
            }
            before = segment.link.clone();
            if segment.is_dropped {
                if is_kept {
                    check.find(seq, "a segment was dropped before older ones");
                } else {
                    check.next = (expected + 1) * AUDIT_SEGMENT_ROWS + 1;
                    check.link = segment.last_link.clone();
                    check.dropped += AUDIT_SEGMENT_ROWS.unsigned_abs();
                }
            } else {
                is_kept = true;
            }
        }
        check
    }

    fn find(&mut self, seq: i64, what: &'static str) {
        if self.broken.len() < BREAKS_MAX {
            self.broken.push(AuditBreak { seq, what });
        }
    }

    /// The next row, in the order of their numbers.
    pub fn row(&mut self, row: &AuditRow) {
        self.rows += 1;
        if row.seq > self.next {
            self.find(self.next, "rows are missing");
        } else if row.seq < self.next {
            self.find(row.seq, "a row was put in, or its segment was dropped");
        }
        if row.link != link(&self.link, row) {
            self.find(row.seq, "the row was changed, or one before it");
        }
        if row.action == Action::AuditDrop.as_str() {
            self.said_dropped = self.said_dropped.max(row.target_id.parse().unwrap_or(-1));
        }
        (self.next, self.link) = (row.seq.saturating_add(1), row.link.clone());
        if fills(row.seq) {
            let number = segment_of(row.seq);
            let segment = usize::try_from(number).ok().and_then(|number| self.segments.get(number));
            match segment.map(|segment| segment.last_link == row.link && segment.last_at == row.at) {
                None => self.find(row.seq, "the seal after it is missing"),
                Some(false) => self.find(row.seq, "the seal after it is another row's"),
                Some(true) => {}
            }
        }
    }

    /// After the last row.
    pub fn end(mut self, head: AuditHead) -> AuditVerdict {
        let last = self.next - 1;
        if head.seq != last {
            self.find(head.seq.min(last), "rows at the end are missing, or were put in");
        }
        if head.link != self.link {
            self.find(last, "the newest row is not the one that was written last");
        }
        let sealed = i64::try_from(self.segments.len()).unwrap_or(i64::MAX);
        if sealed != head.seq.div_euclid(AUDIT_SEGMENT_ROWS) {
            self.find(head.seq, "there are more seals, or fewer, than segments");
        }
        let dropped = i64::try_from(self.dropped).unwrap_or(i64::MAX).div_euclid(AUDIT_SEGMENT_ROWS) - 1;
        if dropped >= 0 && self.said_dropped != dropped {
            self.find(self.next, "a segment was dropped, and no row says so");
        }
        AuditVerdict { rows: self.rows, dropped: self.dropped, head, broken: self.broken }
    }
}
