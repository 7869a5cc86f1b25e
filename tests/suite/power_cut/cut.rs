//! The disks that power cuts leave: what was flushed, and of what came after it nothing or a random half, torn.
//!
//! A cut falls at the last instant before a flush: everything up to the flush before it is on the disk, and everything
//! that was acknowledged until then counts. That is the hardest instant between the two, so others are not tried.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Result;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::log::{Log, SECTOR};
use crate::crash::Random;

/// What is written of an image at once.
const PIECE: usize = 64 << 10;

/// What happened to that which was not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// It never reached the disk.
    Gone,
    /// A random half of the pieces of so many bytes reached it.
    Torn(usize),
}

/// One power cut.
#[derive(Clone, Debug)]
pub struct Cut {
    /// The log's length at that instant: what was noted at this length or less was acknowledged before.
    pub at: u64,
    /// Entries before this one are on the disk.
    flushed: usize,
    /// Entries from `flushed` to this one are not.
    until: usize,
    pub tail: Tail,
}

/// Cuts at the flushes after the log had `from` bytes; at most `wanted`, chosen at random, in order.
pub fn choose(log: &Log, from: u64, wanted: usize, random: &mut Random) -> Vec<Cut> {
    let mut cuts = Vec::new();
    let mut flushed = None;
    for (index, entry) in log.entries.iter().enumerate().filter(|(_, entry)| entry.is_flush()) {
        if let Some(flushed) = flushed.replace(index + 1).filter(|_| entry.at > from) {
            let cut = |tail| Cut { at: entry.at, flushed, until: index, tail };
            cuts.push(cut(Tail::Gone));
            // With nothing to tear the disk would be the same once more.
            if log.entries[flushed..index].iter().any(|entry| !entry.data.is_empty()) {
                cuts.push(cut(Tail::Torn(SECTOR)));
                cuts.push(cut(Tail::Torn(4_096)));
            }
        }
    }
    while cuts.len() > wanted {
        // Taken out in place, for the disks are made in the order of time.
        cuts.remove(random.below(cuts.len() as u64) as usize);
    }
    cuts
}

/// A disk that is brought forward from cut to cut.
pub struct Replay<'a> {
    log: &'a Log,
    disk: Vec<u8>,
    /// Pieces of the disk that were ever written; the others are holes in an image.
    written: BTreeSet<usize>,
    done: usize,
}

impl<'a> Replay<'a> {
    /// An empty disk.
    pub fn new(log: &'a Log, bytes: usize) -> Self {
        Self { log, disk: vec![0; bytes], written: BTreeSet::new(), done: 0 }
    }

    /// Writes the disk after a cut to `file`; cuts are asked for in their order.
    pub fn write(&mut self, cut: &Cut, random: &mut Random, file: &Path) -> Result<()> {
        assert!(self.done <= cut.flushed, "cuts go forward");
        for entry in &self.log.entries[self.done..cut.flushed] {
            let (at, data) = (entry.sector as usize * SECTOR, &self.log.bytes[entry.data.clone()]);
            self.disk[at..at + data.len()].copy_from_slice(data);
            self.written.extend(at / PIECE..(at + data.len()).div_ceil(PIECE));
        }
        self.done = cut.flushed;
        let out = File::create(file)?;
        out.set_len(self.disk.len() as u64)?;
        for at in self.written.iter().map(|piece| piece * PIECE) {
            out.write_all_at(&self.disk[at..self.disk.len().min(at + PIECE)], at as u64)?;
        }
        for entry in &self.log.entries[cut.flushed..cut.until] {
            let (at, data) = (entry.sector * SECTOR as u64, &self.log.bytes[entry.data.clone()]);
            match cut.tail {
                _ if entry.is_forced() => out.write_all_at(data, at)?,
                Tail::Gone => {}
                Tail::Torn(size) => {
                    for (index, piece) in data.chunks(size).enumerate().filter(|_| random.below(2) == 0) {
                        out.write_all_at(piece, at + (index * size) as u64)?;
                    }
                }
            }
        }
        Ok(())
    }
}
