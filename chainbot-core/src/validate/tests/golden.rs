//! Every mistake of the case files gives exactly the diagnostics expected of it.

use std::fs;
use std::path::PathBuf;

use super::{check, report};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/validate/tests/data")
}

/// Name and source of each case of a file.
fn cases(text: &str) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("### ") {
            Some(name) => out.push((name.trim().to_owned(), String::new())),
            None => {
                let source = &mut out.last_mut().expect("the file begins with a case").1;
                source.push_str(line);
                source.push('\n');
            }
        }
    }
    out
}

#[test]
fn every_mistake_is_reported_with_its_place_and_a_remedy() {
    let mut files: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "cases"))
        .collect();
    files.sort();
    let mut count = 0;
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let mut got = String::new();
        for (name, source) in cases(&text) {
            let checked = check(&source);
            assert!(!checked.diagnostics.is_empty(), "{}: `{name}` has no diagnostic", path.display());
            let errors = checked.diagnostics.iter().any(|d| d.severity == crate::error::Severity::Error);
            assert_eq!(checked.definition.is_none(), errors, "{}: `{name}`", path.display());
            got.push_str(&format!("### {name}\n{}", report(&checked.diagnostics)));
            count += 1;
        }
        let golden = path.with_extension("expected");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &got).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(got, expected, "{} differs; UPDATE_GOLDEN=1 rewrites it", golden.display());
    }
    assert!(count >= 80, "only {count} cases");
}

#[test]
fn every_code_of_definitions_appears_in_a_case() {
    let mut seen = String::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "expected") {
            seen.push_str(&fs::read_to_string(path).unwrap());
        }
    }
    // Not of diagnostics, or needing a source too large for a file (`any.rs` and `document.rs` make those).
    let elsewhere =
        ["CB-0100", "CB-0101", "CB-0140", "CB-0149", "CB-0190", "CB-0191", "CB-0195", "CB-0196", "CB-0197"];
    for code in crate::error::code::definition::ALL {
        assert!(elsewhere.contains(&code.id) || seen.contains(code.id), "{} has no case", code.id);
    }
}
