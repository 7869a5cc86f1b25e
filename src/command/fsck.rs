//! `chainbot fsck`: the invariants of the journal, run by run; `--repair` makes the derived tables follow it.

use std::sync::Arc;

use chainbot_core::store::{DataDir, OpenOptions, SqliteStore, Violation, check_file};
use serde_json::{Value, json};

use crate::args::Fsck;
use crate::error::Result;
use crate::folder::Folder;
use crate::output;

/// Shows what does not hold; 1 when something is left.
pub fn run(args: &Fsck) -> Result<u8> {
    let folder = Folder::choose(&args.place)?;
    let file = &folder.config().database.file;
    let (repaired, found) = match args.repair {
        false => (0, check_file(&folder.path().join(file))?),
        true => {
            let data_dir = Arc::new(DataDir::open(folder.path(), "chainbot fsck")?);
            let store = SqliteStore::open(OpenOptions { path: file.clone(), ..OpenOptions::new(data_dir) })?;
            store.repair()?
        }
    };
    if args.json.json {
        let found: Vec<Value> = found.iter().map(shown).collect();
        output::json(&json!({ "ok": found.is_empty(), "repaired": repaired, "violations": found }))?;
    } else {
        for violation in &found {
            output::line(&violation.to_string())?;
        }
        if repaired > 0 {
            output::note(&format!("{} repaired", output::counted(repaired as usize, "run")));
        }
        output::note(&match found.len() {
            0 => "everything holds".to_owned(),
            left => format!("{} do not hold", output::counted(left, "finding")),
        });
        if !found.is_empty() && !args.repair {
            output::note(
                "`chainbot fsck --repair` mends what follows from the journal; keep a copy of the folder first",
            );
        }
    }
    Ok(u8::from(!found.is_empty()))
}

fn shown(one: &Violation) -> Value {
    json!({
        "invariant": one.invariant, "run": one.run.map(|run| run.to_string()), "lsn": one.lsn.map(|lsn| lsn.0),
        "message": one.message,
    })
}
