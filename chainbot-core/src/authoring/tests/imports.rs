//! Old definitions and what becomes of them, one file each.

use std::fmt::Write;

use serde_json::json;

use super::{files, golden};
use crate::authoring::import::{Fate, import, value, yaml};
use crate::error::Severity;
use crate::error::code::definition;

#[test]
fn every_old_definition_becomes_what_was_reviewed() {
    let all = files("import");
    assert!(all.len() >= 20, "{}", all.len());
    for path in all {
        let source = std::fs::read_to_string(&path).unwrap();
        let mut out = String::new();
        match import(&source) {
            Err(error) => writeln!(out, "refused: {error}").unwrap(),
            Ok(imported) => {
                for entry in &imported.report {
                    let fate = entry.fate.as_str();
                    writeln!(out, "line {} {fate}: {}: {}", entry.line, entry.path, entry.message).unwrap();
                }
                writeln!(out, "valid: {}\n---\n{}", imported.valid, imported.definition).unwrap();
            }
        }
        golden(&path, &out);
    }
}

#[test]
fn a_result_is_valid_but_for_types_of_step_that_this_version_does_not_have() {
    for path in files("import") {
        let Ok(imported) = import(&std::fs::read_to_string(&path).unwrap()) else { continue };
        for problem in &imported.diagnostics {
            let told = imported
                .report
                .iter()
                .any(|entry| entry.fate == Fate::Person && entry.message.contains(&problem.message));
            assert!(told, "{}: {problem:?} is not in the report", path.display());
            let is_fine = problem.severity == Severity::Warning || problem.code == definition::NOT_YET.id;
            assert!(is_fine, "{}: {problem:?}\n{}", path.display(), imported.definition);
        }
    }
}

#[test]
fn what_is_written_reads_back_as_it_was() {
    for text in [
        "",
        " a",
        "a: b",
        "- x",
        "yes",
        "1.5",
        "null",
        "a #b",
        "two\nlines",
        "end\n",
        "\ttab",
        "\"q\"",
        "ü, {x}",
        "a\n\nb\n",
        "#",
        "\u{2028}",
    ] {
        for tree in [
            json!({ "k": text }),
            json!([[text], { "steps": [{ "id": text, "long": [text, "x".repeat(70)] }] }]),
        ] {
            let written = yaml::write(&value::from_json(&tree));
            let read = crate::validate::document(&written).unwrap_or_else(|e| panic!("{e:?}\n{written}"));
            assert_eq!(read.to_json(), tree, "{written}");
        }
    }
}
