//! JSONPath: the examples of RFC 9535, its corners, what is no path, and what is too much.

use serde_json::{Value, json};

use super::super::jsonpath::{STEPS_MAX, parse, select};
use crate::error::code::expression as code;

fn found(path: &str, value: &Value) -> Value {
    let path = parse(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    Value::Array(select(&path, value, STEPS_MAX).unwrap().0)
}

fn bookstore() -> Value {
    json!({ "store": {
        "book": [
            { "category": "reference", "author": "Nigel Rees", "title": "Sayings", "price": 8.95 },
            { "category": "fiction", "author": "Evelyn Waugh", "title": "Honour", "price": 12.99 },
            { "category": "fiction", "author": "Herman Melville", "title": "Moby", "isbn": "0-553", "price": 8.99 },
            { "category": "fiction", "author": "Tolkien", "title": "Rings", "isbn": "0-395", "price": 22.99 },
        ],
        "bicycle": { "color": "red", "price": 399 },
    } })
}

#[test]
fn the_bookstore_of_the_standard() {
    let store = bookstore();
    let titles = |path: &str| found(path, &store);
    let cases = [
        ("$.store.book[*].author", json!(["Nigel Rees", "Evelyn Waugh", "Herman Melville", "Tolkien"])),
        ("$..author", json!(["Nigel Rees", "Evelyn Waugh", "Herman Melville", "Tolkien"])),
        ("$..book[2].title", json!(["Moby"])),
        ("$..book[-1].title", json!(["Rings"])),
        ("$..book[0,1].title", json!(["Sayings", "Honour"])),
        ("$..book[:2].title", json!(["Sayings", "Honour"])),
        ("$..book[?@.isbn].title", json!(["Moby", "Rings"])),
        ("$..book[?@.price<10].title", json!(["Sayings", "Moby"])),
        ("$.store.bicycle['color', \"price\"]", json!(["red", 399])),
        ("$ .store\n['bicycle'] .color", json!(["red"])),
        (
            "$.store.book[?@.category == 'fiction' && !(@.price > 20) || @.author == 'Nigel Rees'].title",
            json!(["Sayings", "Honour", "Moby"]),
        ),
        ("$.store.book[?@.price > $.store.book[0].price].title", json!(["Honour", "Moby", "Rings"])),
        ("$.store.book[?length(@.title) == 5].title", json!(["Rings"])),
        ("$.store[?count(@.*) == 2].color", json!(["red"])),
        ("$.store.book[?match(@.author, '.*l')].author", json!([])),
        ("$.store.book[?match(@.author, 'H.*e')].author", json!(["Herman Melville"])),
        (
            "$.store.book[?search(@.author, 'el')].author",
            json!(["Nigel Rees", "Evelyn Waugh", "Herman Melville"]),
        ),
        ("$.store.book[?value(@..isbn) == '0-395'].title", json!(["Rings"])),
        ("$.missing[*].x", json!([])),
    ];
    for (path, expected) in cases {
        assert_eq!(titles(path), expected, "{path}");
    }
    assert_eq!(found("$..price", &store).as_array().unwrap().len(), 5);
    assert_eq!(found("$", &store), json!([store]));
}

#[test]
fn slices_count_from_both_ends() {
    let list = json!(["a", "b", "c", "d", "e", "f", "g"]);
    let cases = [
        ("$[1:3]", json!(["b", "c"])),
        ("$[5:]", json!(["f", "g"])),
        ("$[1:5:2]", json!(["b", "d"])),
        ("$[5:1:-2]", json!(["f", "d"])),
        ("$[::-1]", json!(["g", "f", "e", "d", "c", "b", "a"])),
        ("$[-2:]", json!(["f", "g"])),
        ("$[:-5]", json!(["a", "b"])),
        ("$[0:9:0]", json!([])),
        ("$[-99:99]", list.clone()),
        ("$[-7, 7]", json!(["a"])),
        ("$[9007199254740991]", json!([])),
    ];
    for (path, expected) in cases {
        assert_eq!(found(path, &list), expected, "{path}");
    }
    assert_eq!(found("$[::-1]", &json!([])), json!([]));
}

#[test]
fn comparisons_are_by_value_and_nothing_equals_nothing() {
    let holds = |test: &str| {
        let value = json!([{ "one": 1, "float": 1.0, "text": "a", "null": null, "list": [1, { "x": 2 }] }]);
        found(&format!("$[?{test}]"), &value) != json!([])
    };
    for test in [
        "@.one == @.float",
        "@.missing == @.gone",
        "@.null == null",
        "@.list == @.list",
        "@.text < 'b'",
        "@.one <= 1",
        "@.one != 'a'",
        "!@.missing",
        "@.null",
        "'\\u0061' == @.text",
        "@.missing != null",
        "1e0 == @.one",
        "true == true",
        "@.list[1].x >= 2",
    ] {
        assert!(holds(test), "{test}");
    }
    for test in
        ["@.one < 'b'", "@.null < 1", "@.missing <= 1", "@.missing", "length(@.one) == 1", "@.text > 'b'"]
    {
        assert!(!holds(test), "{test}");
    }
}

#[test]
fn what_is_no_path_is_told_with_its_place() {
    let deep = format!("$[?{}@.a{}]", "(".repeat(40), ")".repeat(40));
    let long = format!("$.{}", "a".repeat(2_000));
    for path in [
        "",
        "a",
        "$.",
        "$..",
        "$[",
        "$[]",
        "$[01]",
        "$[-0]",
        "$[1",
        "$['a]",
        "$.1a",
        "$[?@.a==]",
        "$[?@.* == 1]",
        "$[?!@.a == 1]",
        "$[?1]",
        "$[?length(@.a)]",
        "$ ",
        "$.a b",
        "$['\\q']",
        "$['\\uD800']",
        "$[9007199254740992]",
        "$[?@..a == 1]",
        "$[a]",
        "$[1:2:3:4]",
        &deep,
        &long,
    ] {
        let error = parse(path).expect_err(path);
        assert_eq!(error.code, &code::EVALUATION, "{path}");
    }
    let error = parse("$.rows[?@.price << 3]").unwrap_err();
    assert!(error.message.contains("character 18"), "{error}");
}

#[test]
fn a_path_that_looks_at_too_much_ends() {
    let mut deep = json!(1);
    for _ in 0..60 {
        deep = json!([deep, 1]);
    }
    let wide = json!([vec![1; 3_000]]);
    for (path, value) in [
        ("$..*..*..*..*", &deep),
        ("$..[*,*,*]..[*,*,*]..[*,*,*]", &deep),
        ("$[0][?count($[0][?@ == 1]) > 0]", &wide),
    ] {
        let error = select(&parse(path).unwrap(), value, STEPS_MAX).expect_err(path);
        assert!([&code::FUEL, &code::RESULT_SIZE].contains(&error.code), "{path}: {error}");
    }
}
