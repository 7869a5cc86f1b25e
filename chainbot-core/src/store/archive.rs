//! A finished run as one compressed blob: what the `body` column of the archive holds.
//!
//! `format byte | DEFLATE of a frame for each record`; a frame is the distance of its place from the one before, the
//! distance of its time, the length of its body, and the body with its link of the run's chain. So a run is in the archive
//! byte for byte as it was in the journal, and is checked by the same chain. Invariants: packing what was unpacked gives
//! the same records; unpacking never panics and never makes more than [`limits::ARCHIVE_RUN_BYTES_MAX`], whatever the
//! bytes. Knows nothing of SQL.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use super::chain::Row;
use crate::id::{Lsn, RunId};
use crate::limits;
use crate::time::Timestamp;

/// The first byte of every blob. Another shape gets another number.
const FORMAT: u8 = 1;
/// What a frame takes besides its body, at most: three numbers.
const FRAME_BYTES_MAX: usize = 30;

/// A record in the archive, with its link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its place in the journal, for good.
    pub lsn: Lsn,
    /// When it was decided.
    pub at: Timestamp,
    /// Body with link.
    pub body: Vec<u8>,
}

impl Kept {
    /// As a journal row of a run; `seq` is its index.
    pub fn row(&self, run: RunId, seq: u32) -> Row<'_> {
        Row { lsn: self.lsn, run, seq, at: self.at, body: &self.body }
    }
}

/// Collects a run's records.
#[derive(Default)]
pub struct Packer {
    frames: Vec<u8>,
    lsn: i64,
    at: i64,
}

impl Packer {
    /// Adds a record; false when the run gets too large for one blob.
    pub fn push(&mut self, lsn: Lsn, at: Timestamp, body: &[u8]) -> bool {
        if self.frames.len() + body.len() + FRAME_BYTES_MAX > limits::ARCHIVE_RUN_BYTES_MAX {
            return false;
        }
        put(&mut self.frames, zigzag(lsn.0.wrapping_sub(self.lsn)));
        put(&mut self.frames, zigzag(at.0.wrapping_sub(self.at)));
        put(&mut self.frames, body.len() as u64);
        self.frames.extend_from_slice(body);
        (self.lsn, self.at) = (lsn.0, at.0);
        true
    }

    /// The blob.
    pub fn finish(self) -> std::io::Result<Vec<u8>> {
        let mut encoder = DeflateEncoder::new(vec![FORMAT], Compression::default());
        encoder.write_all(&self.frames)?;
        encoder.finish()
    }
}

/// The records of a blob, in order. The text says what is wrong with it.
pub fn unpack(blob: &[u8]) -> Result<Vec<Kept>, &'static str> {
    let Some((&FORMAT, packed)) = blob.split_first() else { return Err("its format is not known") };
    let mut frames = Vec::new();
    let bound = limits::ARCHIVE_RUN_BYTES_MAX as u64;
    DeflateDecoder::new(packed)
        .take(bound + 1)
        .read_to_end(&mut frames)
        .map_err(|_| "it does not decompress")?;
    if frames.len() as u64 > bound {
        return Err("it is larger than a run may be");
    }
    let (mut rest, mut lsn, mut at) = (frames.as_slice(), 0i64, 0i64);
    let mut kept = Vec::new();
    while !rest.is_empty() {
        lsn = lsn.wrapping_add(unzigzag(take(&mut rest)?));
        at = at.wrapping_add(unzigzag(take(&mut rest)?));
        let length = usize::try_from(take(&mut rest)?).map_err(|_| CUT)?;
        let (body, after) = rest.split_at_checked(length).ok_or(CUT)?;
        kept.push(Kept { lsn: Lsn(lsn), at: Timestamp(at), body: body.to_vec() });
        rest = after;
    }
    Ok(kept)
}

const CUT: &str = "it ends within a record";

/// LEB128.
fn put(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

fn take(from: &mut &[u8]) -> Result<u64, &'static str> {
    let (mut number, mut shift) = (0u64, 0);
    loop {
        let (byte, rest) = from.split_first().ok_or(CUT)?;
        *from = rest;
        if shift > 63 {
            return Err("a number in it is too large");
        }
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
        shift += 7;
    }
}

/// Small numbers of either sign become small numbers: times may go back.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pack(kept: &[Kept]) -> Vec<u8> {
        let mut packer = Packer::default();
        assert!(kept.iter().all(|one| packer.push(one.lsn, one.at, &one.body)));
        packer.finish().expect("memory takes all")
    }

    proptest! {
        #[test]
        fn what_is_packed_unpacks_to_itself(
            rows in prop::collection::vec((any::<i64>(), any::<i64>(), prop::collection::vec(any::<u8>(), 0..200)), 0..50)
        ) {
            let kept: Vec<Kept> = rows
                .into_iter()
                .map(|(lsn, at, body)| Kept { lsn: Lsn(lsn), at: Timestamp(at), body })
                .collect();
            prop_assert_eq!(unpack(&pack(&kept)), Ok(kept));
        }

        #[test]
        fn any_bytes_unpack_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            // Whatever it gives, it gives it without a panic.
            let _ = unpack(&bytes);
            let framed: Vec<u8> = std::iter::once(FORMAT).chain(bytes).collect();
            let _ = unpack(&framed);
        }
    }

    #[test]
    fn a_blob_that_would_fill_the_memory_is_refused() {
        let mut encoder = DeflateEncoder::new(vec![FORMAT], Compression::default());
        for _ in 0..=limits::ARCHIVE_RUN_BYTES_MAX >> 16 {
            encoder.write_all(&[0; 1 << 16]).expect("memory takes all");
        }
        let blob = encoder.finish().expect("memory takes all");
        assert_eq!(unpack(&blob), Err("it is larger than a run may be"));
    }

    #[test]
    fn a_run_that_is_too_large_is_not_packed() {
        let mut packer = Packer::default();
        assert!(packer.push(Lsn(1), Timestamp(1), &[7; 100]));
        assert!(!packer.push(Lsn(2), Timestamp(1), &vec![7; limits::ARCHIVE_RUN_BYTES_MAX]));
        assert_eq!(unpack(&packer.finish().expect("memory takes all")).map(|kept| kept.len()), Ok(1));
    }
}
