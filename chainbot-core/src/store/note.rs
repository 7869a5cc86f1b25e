//! A small file of notes, one slot for each worker: which step of which run is being evaluated. Written with one call and
//! without fsync, so it survives the end of the process and not a reboot, which is all it is for.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::error::code::store;
use crate::error::{Error, Result};
use crate::id::{NodeId, RunId};

/// Slots in the file. Workers beyond are not noted.
const SLOTS: usize = 64;
/// Boot (16), run (16), node (4), deaths (4), and a mark (8) that an empty slot lacks.
const SLOT_BYTES: usize = 48;
const MARK: &[u8; 8] = b"cb-note1";

/// What is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// The run.
    pub run: RunId,
    /// The step.
    pub node: NodeId,
    /// How often a process ended in this step before.
    pub deaths: u32,
}

/// The open file.
pub struct NoteFile {
    file: File,
    boot: [u8; 16],
    found: Vec<Note>,
}

impl NoteFile {
    /// Opens or makes the file, reads what the last process of this boot left, and empties it.
    pub fn open(path: &Path) -> Result<Self> {
        let fail = |error: std::io::Error| {
            Error::new(
                &store::DATA_DIR,
                format_args!("{} cannot be used: {error}", path.display()).to_string(),
            )
            .help("check the rights of the data folder")
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(fail)?;
        let boot = boot_id();
        let mut bytes = vec![0; SLOTS * SLOT_BYTES];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], filled as u64).map_err(fail)? {
                0 => break,
                read => filled += read,
            }
        }
        let found = bytes.chunks_exact(SLOT_BYTES).filter_map(|slot| decode(slot, &boot)).collect();
        file.set_len(0).map_err(fail)?;
        Ok(Self { file, boot, found })
    }

    /// What the last process of this boot left.
    pub fn found(&self) -> Vec<Note> {
        self.found.clone()
    }

    /// Notes before an evaluation. A failure is logged and the evaluation goes on: the note is a second line of defence.
    pub fn write(&self, slot: usize, note: &Note) {
        let mut bytes = [0; SLOT_BYTES];
        bytes[..8].copy_from_slice(MARK);
        bytes[8..24].copy_from_slice(&self.boot);
        bytes[24..40].copy_from_slice(note.run.as_bytes());
        bytes[40..44].copy_from_slice(&note.node.0.to_le_bytes());
        bytes[44..48].copy_from_slice(&note.deaths.to_le_bytes());
        self.put(slot, &bytes);
    }

    /// The evaluation came to its end.
    pub fn clear(&self, slot: usize) {
        self.put(slot, &[0; SLOT_BYTES]);
    }

    fn put(&self, slot: usize, bytes: &[u8; SLOT_BYTES]) {
        crate::fault!("note.write" => return);
        if slot < SLOTS
            && let Err(error) = self.file.write_all_at(bytes, (slot * SLOT_BYTES) as u64)
        {
            log::warn!("the note of a step under evaluation cannot be written: {error}");
        }
    }
}

fn decode(slot: &[u8], boot: &[u8; 16]) -> Option<Note> {
    if &slot[..8] != MARK || &slot[8..24] != boot {
        return None;
    }
    let run: [u8; 16] = slot[24..40].try_into().ok()?;
    Some(Note {
        run: RunId::from(run),
        node: NodeId(u32::from_le_bytes(slot[40..44].try_into().ok()?)),
        deaths: u32::from_le_bytes(slot[44..48].try_into().ok()?),
    })
}

/// Tells one boot from another; zeros where the system does not say.
fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    uuid::Uuid::parse_str(text.trim()).map(uuid::Uuid::into_bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(n: u8) -> Note {
        Note { run: RunId::from([n; 16]), node: NodeId(3), deaths: 1 }
    }

    #[test]
    fn a_note_that_was_not_cleared_is_found_by_the_next_process() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("poison");
        let file = NoteFile::open(&path).expect("opens");
        file.write(0, &note(1));
        file.write(5, &note(2));
        file.clear(0);
        drop(file);
        assert_eq!(NoteFile::open(&path).expect("opens").found(), [note(2)]);
        assert_eq!(NoteFile::open(&path).expect("opens").found(), [], "a note counts once");
    }

    #[test]
    fn damaged_notes_are_no_notes() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("poison");
        std::fs::write(&path, b"cb-note1 and then something else entirely, longer than one slot")
            .expect("written");
        assert_eq!(NoteFile::open(&path).expect("opens").found(), []);
    }
}
