//! Every kind of transform.

use serde_json::{Value as JsonValue, json};

use super::super::{Data, Error, Transformer};
use super::{Run, Values, volatile};
use crate::error::code::expression as code;
use crate::model::document::NodeValue;
use crate::model::{Expr, HashAlgorithm, Items, MergeStrategy, Node, Pos, RegexMode, Text, Transform};

fn expr(source: &str) -> Expr {
    Expr { pos: Pos { line: 4, column: 2 }, source: source.to_owned() }
}

fn text(source: &str) -> Text {
    Text { pos: Pos { line: 5, column: 2 }, source: source.to_owned() }
}

fn node(source: &str) -> Node {
    Node { pos: Pos { line: 6, column: 2 }, value: NodeValue::String(source.to_owned()) }
}

fn items(source: &str) -> Items {
    Items::Expr(expr(source))
}

fn run(transform: Transform) -> Result<JsonValue, Error> {
    let transformer = Transformer::compile(&transform).map_err(|mut errors| errors.remove(0).1)?;
    let data = transformer.run(&Run::new(), &volatile())?;
    Ok((**data.json()).clone())
}

#[test]
fn template_and_expression_see_their_input() {
    let input = || Some(node("{{ inputs.rows }}"));
    let template = text("{% for r in input %}{{ r.name }} {% endfor %}");
    assert_eq!(run(Transform::Template { template, input: input() }), Ok(json!("basil Thyme rose ")));
    assert_eq!(run(Transform::Template { template: text("{{ vars.n }}"), input: None }), Ok(json!("41")));
    let expression = Transform::Expression { expr: expr("input|length + vars.n"), input: input() };
    assert_eq!(run(expression), Ok(json!(44)));
    let without = Transform::Expression { expr: expr("input"), input: None };
    assert_eq!(run(without).unwrap_err().code, &code::UNDEFINED);
}

#[test]
fn json_goes_to_text_and_back() {
    assert_eq!(run(Transform::JsonParse { input: node("{{ vars.json }}") }), Ok(json!({ "a": [1, 2] })));
    let wrong = run(Transform::JsonParse { input: node("{oops") }).unwrap_err();
    assert!(wrong.code == &code::TRANSFORM && wrong.message.contains("line 1 column 2"), "{wrong}");
    assert_eq!(
        run(Transform::JsonParse { input: node("{{ vars.list }}") }).unwrap_err().code,
        &code::NOT_TEXT
    );
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    assert_eq!(run(Transform::JsonParse { input: node(&deep) }).unwrap_err().code, &code::VALUE);
    let input = || node("{{ vars.list }}");
    assert_eq!(run(Transform::JsonStringify { input: input(), pretty: false }), Ok(json!("[3,1,2]")));
    let pretty = run(Transform::JsonStringify { input: input(), pretty: true });
    assert_eq!(pretty, Ok(json!("[\n  3,\n  1,\n  2\n]")));
}

#[test]
fn filter_and_map_see_item_index_and_input() {
    let filter = Transform::Filter {
        input: items("inputs.rows"),
        condition: expr("item.kind == 'herb' and index < 5"),
    };
    let names = |value: Result<JsonValue, Error>| -> Vec<String> {
        value
            .unwrap()
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(run(filter)), ["basil", "Thyme"]);
    let map = Transform::Map {
        input: items("inputs.rows"),
        expr: expr("index ~ item.name ~ input|length ~ vars.zone"),
    };
    assert_eq!(run(map), Ok(json!(["0basil3north", "1Thyme3north", "2rose3north"])));
    let objects = Transform::Map { input: items("{'a': 1}"), expr: expr("item.key ~ item.value") };
    assert_eq!(run(objects), Ok(json!(["a1"])));
    let range = Transform::Map { input: items("3"), expr: expr("item") };
    assert_eq!(run(range), Ok(json!([0, 1, 2])));
}

#[test]
fn every_item_draws_anew_and_the_same_when_repeated() {
    let map = || run(Transform::Map { input: items("3"), expr: expr("uuid()") }).unwrap();
    let ids = map();
    assert_eq!(ids, map());
    assert!(ids[0] != ids[1] && ids[1] != ids[2], "{ids}");
}

#[test]
fn sort_is_stable_both_ways() {
    let rows = "[{'k': 1, 'n': 'a'}, {'k': 2, 'n': 'b'}, {'k': 1, 'n': 'c'}, {'k': 2, 'n': 'd'}]";
    let sort = |descending| {
        let sorted = Transform::Sort { input: items(rows), by: Some(expr("item.k")), descending };
        let list = run(sorted).unwrap();
        list.as_array().unwrap().iter().map(|row| row["n"].as_str().unwrap().to_owned()).collect::<String>()
    };
    assert_eq!(sort(false), "acbd");
    assert_eq!(sort(true), "bdac");
    let mixed = Transform::Sort {
        input: items("['b', 10, none, 9.5, 'a', true, [2], [1, 5], {}]"),
        by: None,
        descending: false,
    };
    assert_eq!(run(mixed), Ok(json!([null, true, 9.5, 10, "a", "b", [1, 5], [2], {}])));
}

#[test]
fn group_makes_lists_by_key() {
    let group = |collect: Option<&str>| {
        run(Transform::Group {
            input: items("inputs.rows"),
            by: expr("item.kind"),
            collect: collect.map(expr),
        })
    };
    assert_eq!(group(Some("item.name")), Ok(json!({ "herb": ["basil", "Thyme"], "flower": ["rose"] })));
    assert_eq!(group(None).unwrap()["flower"][0]["n"], json!(2));
    let by_list =
        run(Transform::Group { input: items("[1]"), by: expr("[item]"), collect: None }).unwrap_err();
    assert!(by_list.code == &code::NOT_TEXT && by_list.message.starts_with("item 0"), "{by_list}");
}

#[test]
fn merge_has_three_strategies() {
    let inputs = "[{'a': 1, 'o': {'x': 1, 'y': 2}}, {'b': 2, 'o': {'y': none, 'z': 3}}]";
    let merge = |strategy| run(Transform::Merge { inputs: items(inputs), strategy });
    assert_eq!(merge(MergeStrategy::Shallow), Ok(json!({ "a": 1, "b": 2, "o": { "y": null, "z": 3 } })));
    assert_eq!(merge(MergeStrategy::Deep), Ok(json!({ "a": 1, "b": 2, "o": { "x": 1, "y": null, "z": 3 } })));
    assert_eq!(merge(MergeStrategy::Patch), Ok(json!({ "a": 1, "b": 2, "o": { "x": 1, "z": 3 } })));
    let wrong =
        run(Transform::Merge { inputs: items("[{}, 5]"), strategy: MergeStrategy::Deep }).unwrap_err();
    assert!(wrong.code == &code::TRANSFORM && wrong.message.contains("item 1"), "{wrong}");
}

#[test]
fn regex_matches_finds_replaces_and_splits() {
    let regex = |pattern: &str, mode, replacement: Option<&str>| {
        run(Transform::Regex {
            input: node("a1 b22"),
            pattern: text(pattern),
            mode,
            replacement: replacement.map(text),
        })
    };
    let matched = json!({ "match": "a1", "groups": ["a", "1"], "named": { "digits": "1" } });
    assert_eq!(regex("([a-z])(?<digits>[0-9]+)", RegexMode::Match, None), Ok(matched));
    assert_eq!(regex("z", RegexMode::Match, None), Ok(json!(null)));
    assert_eq!(regex("[0-9]+", RegexMode::FindAll, None), Ok(json!(["1", "22"])));
    assert_eq!(regex("[0-9]+", RegexMode::Replace, Some("<$0>")), Ok(json!("a<1> b<22>")));
    assert_eq!(regex("[0-9]+", RegexMode::Replace, None), Ok(json!("a b")));
    assert_eq!(regex(" ", RegexMode::Split, None), Ok(json!(["a1", "b22"])));
    assert_eq!(regex("{{ '[0-9]' }}+", RegexMode::FindAll, None), Ok(json!(["1", "22"])));
    let bomb = text(&"$0".repeat(5_000));
    let input = node(&"x".repeat(60_000));
    let bomb =
        Transform::Regex { input, pattern: text(".*"), mode: RegexMode::Replace, replacement: Some(bomb) };
    assert_eq!(run(bomb).unwrap_err().code, &code::RESULT_SIZE);
}

#[test]
fn a_wrong_pattern_is_found_when_compiling() {
    let transform =
        Transform::Regex { input: node("x"), pattern: text("("), mode: RegexMode::Match, replacement: None };
    let errors = Transformer::compile(&transform).err().unwrap();
    assert_eq!((errors[0].0.line, errors[0].1.code), (5, &code::EVALUATION));
}

#[test]
fn hash_gives_known_digests() {
    let hash = |algorithm| run(Transform::Hash { input: node("abc"), algorithm });
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let blake3 = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
    assert_eq!(hash(HashAlgorithm::Sha256), Ok(json!(sha256)));
    assert_eq!(hash(HashAlgorithm::Blake3), Ok(json!(blake3)));
}

#[test]
fn an_error_names_the_item() {
    let map = Transform::Map { input: items("[{'n': 1}, {}]"), expr: expr("item.n + 1") };
    let error = run(map).unwrap_err();
    assert_eq!(error.code, &code::UNDEFINED);
    assert_eq!(error.message, "item 1: `item` has no member `n`");
}

#[test]
fn all_errors_of_a_transform_are_reported_at_once() {
    let transform =
        Transform::Group { input: items("1 +"), by: expr("x.y()"), collect: Some(expr("{{ 1 }}")) };
    assert_eq!(Transformer::compile(&transform).err().unwrap().len(), 3);
}

#[test]
fn names_leave_out_what_the_transform_defines() {
    let map =
        Transform::Map { input: items("inputs.rows"), expr: expr("item.n + index + vars.n + input|length") };
    let transformer = Transformer::compile(&map).unwrap();
    let names: Vec<_> = transformer.names().iter().map(|name| name.root.as_str()).collect();
    assert_eq!(names, ["inputs", "vars"]);
    let without_input = Transform::Expression { expr: expr("input.x"), input: None };
    assert_eq!(Transformer::compile(&without_input).unwrap().names().len(), 1);
}

#[test]
fn many_items_share_one_budget() {
    let list: Vec<u32> = (0..30_000).collect();
    let scope = Values(vec![("list", Data::new(json!(list)))]);
    let map = |source: &str| {
        let transform = Transform::Map { input: items("list"), expr: expr(source) };
        Transformer::compile(&transform).unwrap().run(&scope, &volatile())
    };
    assert!(map("item + 1").is_ok());
    let error = map("range(200)|sum + item").unwrap_err();
    assert_eq!(error.code, &code::FUEL);
    assert!(error.message.starts_with("item "), "{error}");
}
