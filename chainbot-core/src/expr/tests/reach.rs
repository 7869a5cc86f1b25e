//! What an expression can reach is a golden file: a new engine, or a new line in a list, must be seen by a reviewer.

use std::collections::BTreeSet;
use std::fs;

use super::super::engine::{ENGINE, FILTERS, FUNCTIONS, METER, TESTS, VOLATILE};
use super::data_path;

/// The keys that the environment's debug form shows for one of its tables.
fn keys(table: &str) -> BTreeSet<String> {
    let shown = format!("{:?}", *ENGINE);
    let start = shown.find(&format!("{table}: [")).unwrap_or_else(|| panic!("no {table} in {shown}"));
    let rest = &shown[start + table.len() + 3..];
    let inner = &rest[..rest.find(']').unwrap()];
    inner.split(", ").map(|key| key.trim_matches('"').to_owned()).filter(|key| !key.is_empty()).collect()
}

#[test]
fn reachable_names_are_the_golden_file() {
    let globals: BTreeSet<String> = ENGINE.globals().map(|(name, _)| name.to_owned()).collect();
    let mut out = String::new();
    for (what, names) in [("filter", keys("filters")), ("test", keys("tests")), ("function", globals)] {
        names.iter().for_each(|name| out.push_str(&format!("{what} {name}\n")));
    }
    let path = data_path("reachable.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &out).unwrap();
    }
    assert_eq!(out, fs::read_to_string(&path).unwrap_or_default(), "review, then UPDATE_GOLDEN=1");
}

#[test]
fn the_environment_holds_exactly_what_the_lists_allow() {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(keys("filters"), set(FILTERS));
    assert_eq!(keys("tests"), set(TESTS));
    let mut globals: BTreeSet<String> = ENGINE.globals().map(|(name, _)| name.to_owned()).collect();
    assert!(globals.remove(METER));
    assert_eq!(globals, set(FUNCTIONS));
    assert!(VOLATILE.iter().all(|name| FUNCTIONS.contains(name)));
}

#[test]
fn the_environment_is_strict_and_fuelled() {
    assert_eq!(ENGINE.fuel(), Some(crate::limits::EXPRESSION_FUEL));
    assert_eq!(ENGINE.undefined_behavior(), minijinja::UndefinedBehavior::Strict);
    assert_eq!(ENGINE.templates().count(), 0);
}
