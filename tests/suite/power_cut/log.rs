//! A log of writes in the format of dm-log-writes, as `blklogwrites` writes it: a super block, then for each write a
//! header of one sector and its data, for each flush a header alone.
//!
//! The storage daemon serves one request after the other and logs it before it answers, so the order in the log is the
//! order in which the file system was answered.

use std::ops::Range;
use std::path::Path;

/// The unit of places and lengths.
pub const SECTOR: usize = 512;

/// "jsfgshr", as the kernel's `WRITE_LOG_MAGIC`.
const MAGIC: u64 = 0x6a_7366_7773_6872;
const VERSION: u64 = 1;
/// The machine's memory holds the whole log; a load of the long proof writes about a third of it.
const LOG_BYTES_MAX: u64 = 4 << 30;

const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// One request.
pub struct Entry {
    /// Where its header is in the log: everything noted at a shorter length came before.
    pub at: u64,
    pub sector: u64,
    /// Its data in the log's bytes; empty for a pure flush.
    pub data: Range<usize>,
    flags: u64,
}

impl Entry {
    /// What was written before it is on the disk.
    pub fn is_flush(&self) -> bool {
        self.flags & FLUSH != 0
    }

    /// It is on the disk itself.
    pub fn is_forced(&self) -> bool {
        self.flags & FUA != 0
    }
}

/// A whole log.
pub struct Log {
    pub entries: Vec<Entry>,
    pub bytes: Vec<u8>,
}

impl Log {
    /// Reads it; every byte must be accounted for.
    pub fn read(path: &Path) -> Self {
        let length = std::fs::metadata(path).expect("the log is there").len();
        assert!(length <= LOG_BYTES_MAX, "the log has {length} bytes: a smaller load");
        Self::parse(std::fs::read(path).expect("the log is read"))
    }

    fn parse(bytes: Vec<u8>) -> Self {
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        assert!(bytes.len() >= SECTOR, "the log ends before its super block does");
        assert_eq!((number(0), number(8)), (MAGIC, VERSION), "not a log of writes");
        assert_eq!(number(24) & 0xffff_ffff, SECTOR as u64, "the log's unit");
        let (mut entries, mut at) = (Vec::new(), SECTOR);
        for index in 0..number(16) {
            assert!(at + SECTOR <= bytes.len(), "entry {index} is cut off");
            let (sector, sectors, flags) = (number(at), number(at + 8), number(at + 16));
            // Its content would be undefined; nothing here is asked to discard.
            assert_eq!(
                flags & !(FLUSH | FUA),
                0,
                "entry {index} has the flags {flags:#x} (a discard is {DISCARD:#x})"
            );
            let data = at + SECTOR..at + SECTOR + sectors as usize * SECTOR;
            assert!(data.end <= bytes.len(), "entry {index} is cut off");
            entries.push(Entry { at: at as u64, sector, data: data.clone(), flags });
            at = data.end;
        }
        assert_eq!(at, bytes.len(), "the log goes on after its last entry");
        Self { entries, bytes }
    }
}

#[test]
fn a_log_gives_its_writes_and_flushes_in_order_and_refuses_what_it_cannot_read() {
    let sector = |numbers: &[u64]| {
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        bytes.resize(SECTOR, 0);
        bytes
    };
    let head = sector(&[MAGIC, VERSION, 3, SECTOR as u64]);
    let good =
        [head.clone(), sector(&[7, 1, 0]), vec![9; SECTOR], sector(&[0, 0, 1]), sector(&[8, 0, 2])].concat();
    let log = Log::parse(good.clone());
    let seen: Vec<_> =
        log.entries.iter().map(|e| (e.at, e.sector, e.data.len(), e.is_flush(), e.is_forced())).collect();
    assert_eq!(seen, [(512, 7, 512, false, false), (1536, 0, 0, true, false), (2048, 8, 0, false, true)]);
    assert!(log.bytes[log.entries[0].data.clone()].iter().all(|byte| *byte == 9));

    let discards = [head, sector(&[7, 1, DISCARD]), sector(&[0, 0, 1]), sector(&[0, 0, 1])].concat();
    let longer = [good.clone(), vec![0; SECTOR]].concat();
    for bad in [good[..2048].to_vec(), vec![0; 4096], discards, longer, Vec::new()] {
        assert!(std::panic::catch_unwind(|| Log::parse(bad)).is_err(), "a broken log was read");
    }
}
