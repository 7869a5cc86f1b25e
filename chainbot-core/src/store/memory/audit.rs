//! The audit log of the memory store.

use crate::limits::AUDIT_SEGMENT_ROWS;
use crate::port::{AuditEntry, AuditFilter, AuditHead, AuditRow, AuditSegment, AuditVerdict, Page};
use crate::store::audit;
use crate::time::Timestamp;

/// Rows and seals.
#[derive(Default)]
pub struct Log {
    rows: Vec<AuditRow>,
    segments: Vec<AuditSegment>,
    head: Option<AuditHead>,
}

impl Log {
    fn head(&self) -> AuditHead {
        self.head.clone().unwrap_or_else(|| AuditHead { seq: 0, link: audit::NOTHING.to_vec() })
    }

    pub fn append(&mut self, entry: &AuditEntry) {
        let row = audit::row(&self.head(), entry);
        self.head = Some(AuditHead { seq: row.seq, link: row.link.clone() });
        self.rows.push(row.clone());
        if audit::fills(row.seq) {
            let number = audit::segment_of(row.seq);
            let first = self.rows.iter().find(|one| audit::segment_of(one.seq) == number);
            let mut segment = AuditSegment {
                number,
                first_at: first.map_or(row.at, |row| row.at),
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

    pub fn list(&self, filter: &AuditFilter) -> Page<AuditRow> {
        let fits =
            |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        let mut all: Vec<&AuditRow> = self
            .rows
            .iter()
            .filter(|row| {
                fits(&filter.action, &row.action)
                    && fits(&filter.actor, &row.actor)
                    && fits(&filter.target, &row.target)
                    && fits(&filter.target_id, &row.target_id)
                    && filter.since.is_none_or(|since| row.at >= since)
                    && filter.until.is_none_or(|until| row.at <= until)
            })
            .collect();
        let total = all.len() as u64;
        all.sort_by(|a, b| filter.way.turn(a.seq.cmp(&b.seq)));
        let mut items: Vec<AuditRow> = all
            .into_iter()
            .filter(|row| filter.past.is_none_or(|past| filter.way.turn(row.seq.cmp(&past)).is_gt()))
            .take(filter.limit as usize + 1)
            .cloned()
            .collect();
        let more = items.len() > filter.limit as usize;
        items.truncate(filter.limit as usize);
        Page { items, total, more }
    }

    pub fn verdict(&self) -> AuditVerdict {
        let mut check = audit::Check::new(self.segments.clone());
        self.rows.iter().for_each(|row| check.row(row));
        check.end(self.head())
    }

    /// Drops what is older; how many rows went.
    pub fn drop_before(&mut self, before: Timestamp, now: Timestamp) -> u64 {
        let old = |segment: &&mut AuditSegment| !segment.is_dropped && segment.last_at < before;
        let dropped: Vec<i64> = self
            .segments
            .iter_mut()
            .filter(old)
            .map(|segment| {
                segment.is_dropped = true;
                segment.number
            })
            .collect();
        let Some(last) = dropped.last().copied() else { return 0 };
        let rows = self.rows.len();
        self.rows.retain(|row| row.seq > (last + 1) * AUDIT_SEGMENT_ROWS);
        let gone = rows - self.rows.len();
        self.append(&AuditEntry::of_dropped(last, now));
        gone as u64
    }
}
