//! The JSON Schema of definitions against what the validator says of the same sources.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::check;
use crate::error::Severity;
use crate::validate::{document, schema, schema_text};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn validator() -> jsonschema::Validator {
    jsonschema::options().offline().build(&schema()).expect("the schema is one")
}

/// The first thing that the schema finds.
fn problem(validator: &jsonschema::Validator, value: &Value) -> Option<String> {
    validator.iter_errors(value).next().map(|error| format!("{error} at `{}`", error.instance_path()))
}

/// Sources of a file of cases: each begins with a line, and may end with another.
fn sources(file: &Path, begin: &str, end: Option<&str>) -> Vec<(String, String)> {
    let text = fs::read_to_string(file).unwrap();
    let cases = text.split(begin).skip(1).map(|case| {
        let (name, source) = case.split_once('\n').unwrap_or((case, ""));
        let source = end.and_then(|end| source.split(end).next()).unwrap_or(source);
        (format!("{}: {name}", file.display()), source.to_owned())
    });
    cases.collect()
}

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}

#[test]
fn the_committed_schema_is_that_of_the_tables() {
    let file = root().join("docs/schemas/workflow.schema.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, schema_text()).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == schema_text(),
        "{} is old; `UPDATE_GOLDEN=1 cargo test -p chainbot-core the_committed_schema` writes it",
        file.display()
    );
}

#[test]
fn what_the_validator_accepts_the_schema_accepts() {
    let validator = validator();
    let mut all: Vec<(String, String)> = Vec::new();
    for entry in fs::read_dir(root().join("examples/workflows")).unwrap() {
        for file in fs::read_dir(entry.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                all.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(all.len() >= 8, "only {} examples", all.len());
    for file in files("src/engine/tests/cases", "txt") {
        let cases = sources(&file, "=== ", Some("--- script"));
        all.extend(cases.into_iter().map(|(name, source)| (name, format!("name: t\n{source}"))));
    }
    for file in files("src/validate/tests/data", "cases") {
        all.extend(sources(&file, "### ", None));
    }
    let mut accepted = 0;
    for (name, source) in &all {
        if check(source).definition.is_none() {
            continue;
        }
        let value = document(source).unwrap().to_json();
        assert_eq!(problem(&validator, &value), None, "{name}");
        accepted += 1;
    }
    assert!(accepted >= 150, "only {accepted} valid definitions");
}

#[test]
fn what_the_schema_can_tell_it_refuses() {
    let validator = validator();
    // Unknown and misplaced keys, unknown types and words, keys of later versions and of old ones.
    let told = ["CB-0110", "CB-0111", "CB-0114", "CB-0118", "CB-0119"];
    // Said of what stands inside of a value, or of a class of error that only this version lacks.
    let mut refused = 0;
    for file in files("src/validate/tests/data", "cases") {
        for (name, source) in sources(&file, "### ", None) {
            let Ok(document) = document(&source) else { continue };
            let checked = check(&source);
            let is_told = |problem: &&crate::error::Diagnostic| {
                problem.severity == Severity::Error
                    && told.contains(&problem.code)
                    && !problem.message.contains("${")
                    && !problem.message.contains("`secrets`")
            };
            let Some(first) = checked.diagnostics.iter().find(is_told) else { continue };
            let value = document.to_json();
            assert!(problem(&validator, &value).is_some(), "{name}: {} is let pass", first.message);
            refused += 1;
        }
    }
    assert!(refused >= 20, "only {refused} mistakes");
}
