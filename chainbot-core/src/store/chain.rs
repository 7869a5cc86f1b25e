//! The checksum chain of each run: a changed, lost, doubled or swapped record is found when it is read.
//!
//! The link of a record is the first 8 bytes of blake3 over the link before it (zero before the first),
//! the run, the
//! record's seq and time, and the digest of its body. It needs no key: it finds damage and careless edits,
//! not somebody
//! who rewrites the whole chain. [`Chains`] holds the newest link of every run at work, so that the writer
//! need not read the journal. Knows nothing of SQL.

use std::collections::HashMap;

use super::{codec, problem};
use crate::error::Result;
use crate::id::{Lsn, RunId};
use crate::limits;
use crate::model::Record;
use crate::time::Timestamp;

/// Bytes of a link at the end of a body.
pub const LINK_BYTES: usize = 8;

/// One value of a chain.
pub type Link = [u8; LINK_BYTES];

/// Where a run's chain stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tip {
    /// The seq of the record that comes next.
    pub next_seq: u32,
    /// The link of the record before it; zero before the first.
    pub link: Link,
}

impl Tip {
    /// Goes on by one record whose body has `digest`.
    pub fn extend(&mut self, run: RunId, at: Timestamp, digest: &[u8; 16]) -> Link {
        // 52 bytes: one block of blake3.
        let mut input = [0; 52];
        input[..8].copy_from_slice(&self.link);
        input[8..24].copy_from_slice(run.as_bytes());
        input[24..28].copy_from_slice(&self.next_seq.to_le_bytes());
        input[28..36].copy_from_slice(&at.0.to_le_bytes());
        input[36..].copy_from_slice(digest);
        self.link.copy_from_slice(&blake3::hash(&input).as_bytes()[..LINK_BYTES]);
        self.next_seq = self.next_seq.saturating_add(1);
        self.link
    }
}

/// A journal row as it was read.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    /// Its place.
    pub lsn: Lsn,
    /// Whose it is.
    pub run: RunId,
    /// Its number within the run.
    pub seq: u32,
    /// When it was decided.
    pub at: Timestamp,
    /// Body with link.
    pub body: &'a [u8],
}

impl<'a> Row<'a> {
    /// Body without link, and the link.
    fn split(&self) -> Result<(&'a [u8], Link)> {
        self.body
            .split_last_chunk::<LINK_BYTES>()
            .map(|(body, link)| (body, *link))
            .ok_or_else(|| problem::corrupt(self.run, self.lsn, "it is too short"))
    }

    /// The record, without looking at its link.
    pub fn decode(&self) -> Result<Record> {
        let (body, _) = self.split()?;
        let body = codec::decode(body).map_err(|why| problem::corrupt(self.run, self.lsn, &why))?;
        Ok(Record { seq: self.seq, at: self.at, body })
    }

    /// Where the chain stands after this row, taken from the row itself.
    pub fn tip(&self) -> Result<Tip> {
        let (_, link) = self.split()?;
        Ok(Tip { next_seq: self.seq.saturating_add(1), link })
    }

    /// Checks that the row continues `tip`, and moves `tip` on.
    pub fn verify(&self, tip: &mut Tip) -> Result<()> {
        let (body, link) = self.split()?;
        if self.seq != tip.next_seq {
            let why = format_args!("its number in the run is {}, expected was {}", self.seq, tip.next_seq)
                .to_string();
            return Err(problem::corrupt(self.run, self.lsn, &why));
        }
        if tip.extend(self.run, self.at, &codec::digest(body)) != link {
            return Err(problem::corrupt(self.run, self.lsn, "its checksum is wrong"));
        }
        Ok(())
    }
}

/// The tips of the runs at work.
#[derive(Default)]
pub struct Chains {
    tips: HashMap<RunId, Tip>,
    written: bool,
}

impl Chains {
    /// The tip of a run, when it is held.
    pub fn get(&self, run: RunId) -> Option<Tip> {
        self.tips.get(&run).copied()
    }

    /// Holds the tip of a run. Over the bound another run's is forgotten, and read again when it is needed.
    pub fn put(&mut self, run: RunId, tip: Tip) {
        self.written = true;
        self.insert(run, tip);
    }

    /// The run is parked or over: its row leads to its last record.
    pub fn forget(&mut self, run: RunId) {
        self.written = true;
        self.tips.remove(&run);
    }

    /// Forgets everything: a transaction was taken back. What is needed is read again.
    pub fn clear(&mut self) {
        self.written = true;
        self.tips.clear();
    }

    /// Takes over tips that recovery has read. Only before the first write: later ones would be newer
    /// than what a reader saw.
    pub fn seed(&mut self, tips: impl IntoIterator<Item = (RunId, Tip)>) {
        if !self.written {
            for (run, tip) in tips {
                self.insert(run, tip);
            }
        }
    }

    fn insert(&mut self, run: RunId, tip: Tip) {
        if self.tips.len() >= limits::CHAINS_KNOWN_MAX && !self.tips.contains_key(&run) {
            let other = self.tips.keys().next().copied();
            if let Some(other) = other {
                self.tips.remove(&other);
            }
        }
        self.tips.insert(run, tip);
    }
}
