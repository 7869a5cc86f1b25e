//! Properties of any source: no panic, bounded output, the same answer twice.

use proptest::prelude::*;

use crate::error::Severity;
use crate::limits::{DIAGNOSTICS_MAX, NESTING_MAX, STEPS_MAX};
use crate::validate::{check, document};

/// A definition with something of everything.
const SEED: &str = r#"
name: seed
type: parallel
inputs: { type: object, properties: { n: { type: integer, default: 3 } } }
retry: { attempts: 2, delay: 1s }
steps:
  - id: one
    type: api_call
    when: inputs.n > 1
    config: { url: "https://example.org/{{ inputs.n }}", expect: { status: [2xx, 404] } }
  - id: two
    type: loop
    depends_on: [one]
    config:
      for_each: steps.one.output.data
      steps:
        - { id: in_two, type: transform, config: { type: map, input: [1, 2], expr: "item + 2" } }
        - &w { id: pause, type: wait, config: { duration: 5s } }
  - id: three
    type: condition
    config:
      switch: inputs.n
      cases: { 1: [ { id: c1, type: set, config: { variables: { x: 1 } } } ] }
      default: [ { id: c2, type: emit, config: { topic: user.x, data: "{{ inputs }}" } } ]
output: "{{ steps.two.output.loop_results }}"
"#;

/// Checks what holds for the answer to any source.
fn holds(source: &str) {
    let checked = check(source);
    assert!(checked.diagnostics.len() <= DIAGNOSTICS_MAX + 1);
    let errors = checked.diagnostics.iter().any(|d| d.severity == Severity::Error);
    assert_eq!(checked.definition.is_none(), errors);
    let lines = u32::try_from(source.split(['\n', '\r']).count()).unwrap();
    for diagnostic in &checked.diagnostics {
        assert!(diagnostic.pos.line <= lines + 1, "{diagnostic:?} in {lines} lines");
        assert!(!diagnostic.message.is_empty() && diagnostic.message.len() < 4_000);
    }
    let sorted =
        checked.diagnostics.windows(2).all(|pair| pair[1].code == "CB-0149" || pair[0].pos <= pair[1].pos);
    assert!(sorted, "{:?}", checked.diagnostics);
    assert_eq!(check(source), checked);
    if let Ok(document) = document(source) {
        let _ = document.to_json();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_is_answered(source in any::<String>()) {
        holds(&source);
    }

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        holds(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_soup_of_syntax_is_answered(
        parts in proptest::collection::vec(prop_oneof![
            Just("name: a\n"), Just("steps:\n"), Just("  - id: x\n"), Just("    type: set\n"), Just("config: "),
            Just("{"), Just("}"), Just("["), Just("]"), Just(": "), Just(", "), Just("- "), Just("? "), Just("&a "),
            Just("*a "), Just("!t "), Just("<<: "), Just("|\n"), Just(">-\n"), Just("\""), Just("'"), Just("\n"),
            Just("  "), Just("{{ inputs.x }}"), Just("{% if %}"), Just("#"), Just("---\n"), Just("\t"), Just("\u{feff}"),
        ], 0..60)
    ) {
        holds(&parts.concat());
    }

    #[test]
    fn any_mutation_of_a_definition_is_answered(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..4, any::<char>(), 0usize..40), 1..6)
    ) {
        let mut chars: Vec<char> = SEED.chars().collect();
        for (index, kind, c, length) in edits {
            let at = index.index(chars.len().max(1)).min(chars.len());
            let end = (at + length).min(chars.len());
            match kind {
                0 => drop(chars.drain(at..end)),
                1 => chars.insert(at, c),
                2 => { let part: Vec<char> = chars[at..end].to_vec(); chars.splice(at..at, part); }
                _ => if at < chars.len() { chars[at] = c },
            }
        }
        holds(&chars.into_iter().collect::<String>());
    }
}

#[test]
fn the_seed_has_no_flaw() {
    assert_eq!(super::report(&check(SEED).diagnostics), "");
}

#[test]
fn every_prefix_of_a_definition_is_answered() {
    for (at, _) in SEED.char_indices() {
        holds(&SEED[..at]);
    }
}

#[test]
fn a_mistake_made_a_thousand_times_fills_the_list_to_its_bound() {
    let steps: String = (0..900).map(|i| format!("  - {{ id: s{i}, type: sett, banana: {i} }}\n")).collect();
    let checked = check(&format!("name: a\nsteps:\n{steps}"));
    assert_eq!(checked.diagnostics.len(), DIAGNOSTICS_MAX + 1);
    assert_eq!(checked.diagnostics[DIAGNOSTICS_MAX].code, "CB-0149");
}

#[test]
fn too_many_steps_are_refused_once() {
    let steps = |count: usize| -> String {
        let step = |i: usize| format!("  - {{ id: s{i}, type: set, config: {{ variables: {{ x: 1 }} }} }}\n");
        format!("name: a\nsteps:\n{}", (0..count).map(step).collect::<String>())
    };
    assert!(check(&steps(STEPS_MAX)).definition.is_some());
    let checked = check(&steps(STEPS_MAX + 50));
    assert_eq!(checked.diagnostics.len(), 1, "{:?}", checked.diagnostics);
    assert_eq!(checked.diagnostics[0].code, "CB-0140");
}

#[test]
fn steps_nested_too_deep_are_refused() {
    let nested = |levels: usize| {
        let mut inner = "[ { id: s0, type: set, config: { variables: { x: 1 } } } ]".to_owned();
        for level in 1..levels {
            inner = format!("[ {{ id: s{level}, type: loop, config: {{ times: 2, steps: {inner} }} }} ]");
        }
        format!("name: a\nsteps: {inner}\n")
    };
    assert_eq!(super::report(&check(&nested(NESTING_MAX)).diagnostics), "");
    let checked = check(&nested(NESTING_MAX + 1));
    assert_eq!(checked.diagnostics[0].code, "CB-0140");
}

#[test]
fn a_thousand_steps_side_by_side_that_all_depend_on_each_other_are_answered() {
    let step = |i: usize| {
        let needs: Vec<String> = (i.saturating_sub(60)..i).map(|n| format!("s{n}")).collect();
        format!(
            "  - {{ id: s{i}, type: set, depends_on: [{}], config: {{ variables: {{ x: \"steps.s0.status\" }} }} }}\n",
            needs.join(", ")
        )
    };
    let source = format!("name: a\ntype: parallel\nsteps:\n{}", (1..1_000).map(step).collect::<String>());
    let source = source.replacen(
        "steps:\n",
        "steps:\n  - { id: s0, type: set, config: { variables: { x: 1 } } }\n",
        1,
    );
    assert_eq!(super::report(&check(&source).diagnostics), "");
}

#[test]
fn a_schema_of_many_patterns_is_refused_before_they_are_compiled() {
    let schema = |count: usize| {
        let property = |i: usize| format!("p{i}: {{ pattern: \"^a{i}$\" }}, ");
        let properties: String = (0..count).map(property).collect();
        let steps = "steps:\n  - { id: a, type: set, config: { variables: { x: 1 } } }\n";
        check(&format!("name: a\ninputs: {{ type: object, properties: {{ {properties} }} }}\n{steps}"))
    };
    assert!(schema(crate::limits::SCHEMA_PATTERNS_MAX).definition.is_some());
    assert_eq!(schema(crate::limits::SCHEMA_PATTERNS_MAX + 1).diagnostics[0].code, "CB-0144");
}
