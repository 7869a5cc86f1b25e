//! Transforms between forms: what they give, what they refuse, and their bounds.

use serde_json::{Value as JsonValue, json};

use super::super::{Error, Transformer};
use super::{Run, volatile};
use crate::error::code::expression as code;
use crate::limits;
use crate::model::document::NodeValue;
use crate::model::{DateMode, Items, Node, Pos, Text, Transform};

fn text(source: &str) -> Text {
    Text { pos: Pos { line: 5, column: 2 }, source: source.to_owned() }
}

fn literal(value: &JsonValue) -> Node {
    let pos = Pos { line: 6, column: 2 };
    let value = match value {
        JsonValue::Null => NodeValue::Null,
        JsonValue::Bool(value) => NodeValue::Bool(*value),
        JsonValue::Number(value) => NodeValue::Number(value.clone()),
        JsonValue::String(value) => NodeValue::String(value.clone()),
        JsonValue::Array(items) => NodeValue::List(items.iter().map(literal).collect()),
        JsonValue::Object(entries) => {
            NodeValue::Map(entries.iter().map(|(key, value)| (key.clone(), pos, literal(value))).collect())
        }
    };
    Node { pos, value }
}

fn run(transform: Transform) -> Result<JsonValue, Error> {
    let transformer = Transformer::compile(&transform).map_err(|mut errors| errors.remove(0).1)?;
    let data = transformer.run(&Run::new(), &volatile())?;
    Ok((**data.json()).clone())
}

fn parse(input: &str, header: bool, delimiter: u8, infer: bool) -> Result<JsonValue, Error> {
    run(Transform::CsvParse { input: literal(&json!(input)), header, delimiter, infer })
}

fn stringify(rows: JsonValue, columns: &[&str]) -> Result<JsonValue, Error> {
    let columns = columns.iter().map(|name| (*name).to_owned()).collect();
    run(Transform::CsvStringify { input: Items::Literal(literal(&rows)), columns, delimiter: b',' })
}

fn date(input: JsonValue, mode: DateMode) -> Result<JsonValue, Error> {
    run(Transform::Date { input: literal(&input), mode })
}

#[test]
fn csv_becomes_rows() {
    let cases = [
        ("a,b\n1,x\n", true, b',', true, json!([{ "a": 1, "b": "x" }])),
        ("a,b\r\n1,x\r\n", true, b',', true, json!([{ "a": 1, "b": "x" }])),
        ("a;b\n-1.5;true", true, b';', true, json!([{ "a": -1.5, "b": true }])),
        ("a,b\n1,x", true, b',', false, json!([{ "a": "1", "b": "x" }])),
        ("1,2\n3,4", false, b',', true, json!([[1, 2], [3, 4]])),
        ("a\n\"x\"\"y\nz\"", true, b',', true, json!([{ "a": "x\"y\nz" }])),
        // What is no number to JSON, or would lose a digit, stays as it is.
        (
            "007,+1,1.,99999999999999999999,,-",
            false,
            b',',
            true,
            json!([["007", "+1", "1.", "99999999999999999999", null, "-"]]),
        ),
        ("", true, b',', true, json!([])),
        ("a,b\n", true, b',', true, json!([])),
    ];
    for (input, header, delimiter, infer, expected) in cases {
        assert_eq!(parse(input, header, delimiter, infer), Ok(expected), "{input:?}");
    }
}

#[test]
fn csv_that_is_none_names_the_place() {
    let ragged = parse("a,b\n1,2\n3\n", true, b',', true).unwrap_err();
    assert!(ragged.code == &code::TRANSFORM && ragged.message.contains("line: 3"), "{ragged}");
    let twice = parse("a,a\n1,2\n", true, b',', true).unwrap_err();
    assert!(twice.message.contains("column `a` is there twice"), "{twice}");
}

#[test]
fn csv_is_paid_for_before_it_is_made() {
    // A long name of a column costs its length in every row.
    let name = "n".repeat(100_000);
    let many = format!("{name}\n{}", "1\n".repeat(50_000));
    assert_eq!(parse(&many, true, b',', true).unwrap_err().code, &code::RESULT_SIZE);
    let rows = "1\n".repeat(limits::LOOP_ITERATIONS_MAX as usize + 1);
    let error = parse(&rows, false, b',', true).unwrap_err();
    assert!([&code::RESULT_SIZE, &code::TRANSFORM].contains(&error.code), "{error}");
}

#[test]
fn rows_become_csv() {
    let cases = [
        (json!([{ "a": 1, "b": "x" }, { "b": null, "c": true }]), vec![], "a,b,c\n1,x,\n,,true\n"),
        (json!([{ "a": 1, "b": "x" }]), vec!["b", "missing"], "b,missing\nx,\n"),
        (json!([[1, "a,b"], ["c\"d"]]), vec![], "1,\"a,b\"\n\"c\"\"d\"\n"),
        (json!([{ "a": { "deep": [1] } }]), vec![], "a\n\"{\"\"deep\"\":[1]}\"\n"),
        (json!([[1, 2]]), vec!["x", "y"], "x,y\n1,2\n"),
        (json!([]), vec![], ""),
    ];
    for (rows, columns, expected) in cases {
        assert_eq!(stringify(rows.clone(), &columns), Ok(json!(expected)), "{rows}");
    }
    let mixed = stringify(json!([{ "a": 1 }, [2]]), &[]).unwrap_err();
    assert!(mixed.message.contains("item 1 is a list"), "{mixed}");
    assert!(stringify(json!([1]), &[]).unwrap_err().message.contains("item 0 is a number"));
}

#[test]
fn base64_there_and_back() {
    let base64 = |input: &str, decode, url_safe| {
        run(Transform::Base64 { input: literal(&json!(input)), decode, url_safe })
    };
    let cases = [
        ("", "", ""),
        ("f", "Zg==", "Zg"),
        ("foobar", "Zm9vYmFy", "Zm9vYmFy"),
        ("ÿ?>", "w78/Pg==", "w78_Pg"),
    ];
    for (plain, standard, url) in cases {
        assert_eq!(base64(plain, false, false), Ok(json!(standard)));
        assert_eq!(base64(plain, false, true), Ok(json!(url)));
        assert_eq!(base64(standard, true, false), Ok(json!(plain)));
        assert_eq!(base64(standard.trim_end_matches('='), true, false), Ok(json!(plain)));
        assert_eq!(base64(url, true, true), Ok(json!(plain)));
    }
    assert!(base64("w78_Pg", true, false).unwrap_err().to_string().contains("url_safe: true"));
    assert!(base64("/w==", true, false).unwrap_err().message.contains("no UTF-8"));
    let large = "x".repeat(limits::EXPRESSION_RESULT_BYTES_MAX);
    assert_eq!(base64(&large, false, false).unwrap_err().code, &code::RESULT_SIZE);
}

#[test]
fn dates_are_read_written_moved_and_compared() {
    let format = |pattern: &str, zone: Option<&str>| DateMode::Format {
        format: Some(text(pattern)),
        timezone: zone.map(text),
    };
    let add = |amount: &str| DateMode::Add { amount: text(amount) };
    let cases = [
        (
            json!("31.01.2026 08:30"),
            DateMode::Parse { format: Some(text("%d.%m.%Y %H:%M")) },
            json!("2026-01-31T08:30:00.000Z"),
        ),
        (
            json!("2026-01-31T09:30:00+01:00"),
            DateMode::Parse { format: None },
            json!("2026-01-31T08:30:00.000Z"),
        ),
        (json!(0), DateMode::Parse { format: None }, json!("1970-01-01T00:00:00.000Z")),
        (json!("2026-01-31T23:30:00Z"), format("%d.%m.%Y", None), json!("31.01.2026")),
        (json!("2026-01-31T23:30:00Z"), format("%d.%m.%Y", Some("+01:00")), json!("01.02.2026")),
        (json!("2026-01-31T00:00:00Z"), add("2d"), json!("2026-02-02T00:00:00.000Z")),
        (json!("2026-01-31T00:00:00Z"), add("-1h30m"), json!("2026-01-30T22:30:00.000Z")),
        (json!(["2026-01-31T00:00:00Z", "2026-01-31T00:01:30.500Z"]), DateMode::Diff, json!(90.5)),
        (json!(["2026-01-02", "2026-01-01"]), DateMode::Diff, json!(-86_400)),
    ];
    for (input, mode, expected) in cases {
        assert_eq!(date(input.clone(), mode.clone()), Ok(expected), "{input} {mode:?}");
    }
    let wrong = [
        (json!("soon"), DateMode::Parse { format: None }, "no RFC 3339 time"),
        (json!([1]), DateMode::Parse { format: None }, "not a list"),
        (json!(0), format("%d", Some("Mars/Base")), "no offset"),
        (json!(0), add("soon"), "no duration"),
        (json!(253_402_300_799u64), add("1d"), "outside of the years"),
        (json!(1e300), DateMode::Parse { format: None }, "outside of the years"),
        (json!([0]), DateMode::Diff, "two times"),
        (json!(0), DateMode::Diff, "two times"),
    ];
    for (input, mode, message) in wrong {
        let error = date(input.clone(), mode).unwrap_err();
        assert!(error.code == &code::TRANSFORM && error.message.contains(message), "{input}: {error}");
    }
}
