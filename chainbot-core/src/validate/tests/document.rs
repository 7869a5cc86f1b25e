//! What YAML and JSON become, with places; and the bounds of a document.

use serde_json::json;

use crate::error::Pos;
use crate::limits::{DEFINITION_BYTES_MAX, DOCUMENT_DEPTH_MAX};
use crate::model::Node;
use crate::validate::{check, document};

fn read(source: &str) -> Node {
    document(source).unwrap_or_else(|problems| panic!("{source:?}: {problems:?}"))
}

fn code(source: &str) -> &'static str {
    document(source).expect_err("a source that is refused")[0].code
}

#[test]
fn json_reads_as_json_does() {
    let sources = [
        r#"{"a": "tab\tline\nquote\"slash\/back\\", "b": "\u00e9\ud83d\ude00", "c": [1, -2.5, 1e3, 1E-2]}"#,
        "{\n\t\"a\": [\n\t\ttrue,\n\t\tfalse,\n\t\tnull\n\t],\n\t\"b\": {}\n}",
        r#"{"a":1,"b":[{"c":"d"},[],""],"e":"yes","f":"1","g":"null","h":"~"}"#,
        r#"[18446744073709551615, -9223372036854775808, 0.1]"#,
        "\"text\"",
        "{\r\n  \"a\": 1\r\n}",
        r#"{"a":{"b":{"c":[[[1]]]}}}"#,
    ];
    for source in sources {
        let expected: serde_json::Value = serde_json::from_str(source).unwrap();
        assert_eq!(read(source).to_json(), expected, "{source}");
    }
    let long = json!({"key": "x".repeat(5_000), "list": vec![json!({"a": "y".repeat(3_000)}); 3]});
    assert_eq!(read(&long.to_string()).to_json(), long);
}

#[test]
fn yaml_booleans_are_those_of_version_1_2() {
    let source = "a: yes\nb: no\nc: on\nd: off\ne: y\nf: true\ng: False\nh: \"true\"\ni: 12:30\nj: 1_0\n";
    let expected = json!({
        "a": "yes", "b": "no", "c": "on", "d": "off", "e": "y", "f": true, "g": false, "h": "true",
        "i": "12:30", "j": "1_0"
    });
    assert_eq!(read(source).to_json(), expected);
}

#[test]
fn every_key_and_value_has_its_place() {
    let node = read("a: 1\nbé:\n  - x\n  - c: |\n      text\n    d:\n");
    let (_, key, list) = match &node.value {
        crate::model::document::NodeValue::Map(entries) => &entries[1],
        other => panic!("{other:?}"),
    };
    assert_eq!((*key, list.pos), (Pos { line: 2, column: 1 }, Pos { line: 3, column: 3 }));
    let crate::model::document::NodeValue::List(items) = &list.value else { panic!("a list") };
    assert_eq!(items[0].pos, Pos { line: 3, column: 5 });
    // A block scalar begins with its text, below the `|`.
    assert_eq!(items[1].get("c").unwrap().pos, Pos { line: 5, column: 7 });
    assert_eq!(items[1].get("c").unwrap().as_str(), Some("text\n"));
    assert_eq!(items[1].get("d").unwrap().pos.line, 6);
}

#[test]
fn an_alias_repeats_its_value() {
    let node = read("base: &b { x: [1] }\ncopy: *b\nagain: [*b, *b]\n");
    assert_eq!(node.to_json()["again"][1], json!({"x": [1]}));
}

#[test]
fn keys_are_text_whatever_they_look_like() {
    assert_eq!(read("1: a\ntrue: b\n1.0: c\n").to_json(), json!({"1": "a", "true": "b", "1.0": "c"}));
}

#[test]
fn an_empty_document_is_null_and_no_definition() {
    for source in ["", "\n\n", "# nothing\n", "---\n"] {
        assert_eq!(read(source).to_json(), json!(null), "{source:?}");
        assert!(check(source).definition.is_none());
    }
}

#[test]
fn a_source_of_two_mebibytes_is_refused_for_its_size_alone() {
    let source = "[".repeat(2 * DEFINITION_BYTES_MAX);
    let checked = check(&source);
    assert_eq!(checked.diagnostics.len(), 1);
    assert_eq!(checked.diagnostics[0].code, "CB-0101");
}

#[test]
fn nesting_beyond_the_bound_is_a_diagnostic_and_no_overflow() {
    let open = |text: &str, times: usize| text.repeat(times);
    let block: String = (0..2_000).map(|i| format!("{}a:\n", " ".repeat(i % 400))).collect();
    for source in [
        open("[", 200_000),
        open("{a: ", 100_000),
        open("- ", 200_000),
        open("? ", 100_000),
        open("&a [", 50_000),
        format!("a: {}1{}", open("[", DOCUMENT_DEPTH_MAX), open("]", DOCUMENT_DEPTH_MAX)),
    ] {
        let problems = document(&source).expect_err("too deep");
        let code = problems[0].code;
        assert!(matches!(code, "CB-0105" | "CB-0102" | "CB-0103"), "{:?}", problems[0]);
    }
    // Whatever it means, it ends.
    let _ = document(&block);
    let fits = DOCUMENT_DEPTH_MAX - 1;
    assert!(document(&format!("a: {}1{}", open("[", fits), open("]", fits))).is_ok());
}

#[test]
fn aliases_cannot_multiply_a_document_beyond_its_bound() {
    let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), "*a, ".repeat(1_000));
    assert_eq!(code(&text), "CB-0105");
    let deep =
        format!("a: &a {}1{}\nb: {}*a{}\n", "[".repeat(90), "]".repeat(90), "[".repeat(90), "]".repeat(90));
    assert_eq!(code(&deep), "CB-0105");
}
