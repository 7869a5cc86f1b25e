//! `chainbot import`: a definition of the predecessor becomes one of this version, and every line that differs is told.

use std::io::Write;

use chainbot_core::authoring::import::{Fate, Imported, import};
use serde_json::json;

use crate::args::ImportDefinition;
use crate::error::{Error, Result, code};
use crate::inputs;
use crate::output::{self, Stream, Tone, counted, printable};

/// Exit code when a person must look before the result is valid.
const UNFINISHED: u8 = 1;

/// Imports a file.
pub fn run(args: &ImportDefinition) -> Result<u8> {
    let given = args.file.as_deref().ok_or_else(|| {
        Error::new(&code::USAGE, "no file is given").help("give a definition of the predecessor")
    })?;
    let source = inputs::source(given)?;
    let imported = import(&source)?;
    let file = inputs::shown(given);
    let head = format!(
        "# Imported from {}; the report of `chainbot import` says what to look at.\n",
        file_name(&file)
    );
    let definition = head + &imported.definition;
    if let Some(out) = &args.out {
        let failed = |error: std::io::Error| {
            Error::new(&code::OUTPUT, format!("{} cannot be written: {error}", out.display()))
                .help("name a file that does not exist yet, in a folder that does")
        };
        let mut new = std::fs::File::options().write(true).create_new(true).open(out).map_err(failed)?;
        new.write_all(definition.as_bytes()).map_err(failed)?;
    }
    if args.json.json {
        let report = json!({
            "file": file, "valid": imported.valid, "definition": definition, "report": imported.report,
        });
        output::json(&report)?;
    } else {
        tell(&file, &imported);
        match &args.out {
            Some(out) => output::note(&format!("written to {}", out.display())),
            None => output::raw(&definition)?,
        }
    }
    Ok(if imported.valid { 0 } else { UNFINISHED })
}

/// The last part of a path, without what could end a comment's line.
fn file_name(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.chars().filter(|c| !c.is_control()).collect()
}

fn tell(file: &str, imported: &Imported) {
    for entry in &imported.report {
        let tone = match entry.fate {
            Fate::Changed => Tone::Faint,
            Fate::Dropped => Tone::Warn,
            Fate::Person => Tone::Bad,
        };
        let fate = Stream::Stderr.paint(tone, &format!("{:<9}", entry.fate.as_str()));
        let place = if entry.line == 0 { file.to_owned() } else { format!("{file}:{}", entry.line) };
        output::note(&format!("{place}: {fate} {}: {}", printable(&entry.path), printable(&entry.message)));
    }
    let count = |fate| imported.report.iter().filter(|entry| entry.fate == fate).count();
    let verdict = match imported.valid {
        true => Stream::Stderr.paint(Tone::Good, "valid"),
        false => Stream::Stderr.paint(Tone::Bad, "not valid yet"),
    };
    output::note(&format!(
        "{verdict}: {} changed, {} dropped, {} for you to look at",
        counted(count(Fate::Changed), "line"),
        count(Fate::Dropped),
        count(Fate::Person)
    ));
}
