//! The face: names, places, sharing, what is asked of the scope, bounds, determinism.

use std::sync::Mutex;

use serde_json::{Value as JsonValue, json};

use super::super::{Data, Expression, ItemSource, Scope, Template, Volatile, check_json};
use super::{Run, Values, volatile};
use crate::error::code::expression as code;
use crate::limits;
use crate::model::document::NodeValue;
use crate::model::{Expr, Items, Node, Pos, Text};
use crate::time::Timestamp;

fn text(source: &str) -> Text {
    Text { pos: Pos { line: 2, column: 5 }, source: source.to_owned() }
}

fn string(line: u32, source: &str) -> Node {
    Node { pos: Pos { line, column: 1 }, value: NodeValue::String(source.to_owned()) }
}

fn map(entries: &[(&str, Node)]) -> Node {
    let entries = entries.iter().map(|(key, node)| ((*key).to_owned(), node.pos, node.clone())).collect();
    Node { pos: Pos { line: 1, column: 1 }, value: NodeValue::Map(entries) }
}

/// Writes down what it is asked for.
struct Asked(Run, Mutex<Vec<String>>);

impl Scope for Asked {
    fn value(&self, name: &str) -> Option<Data> {
        self.1.lock().unwrap().push(name.to_owned());
        self.0.value(name)
    }

    fn is_container(&self, name: &str) -> bool {
        self.0.is_container(name)
    }

    fn member(&self, container: &str, member: &str) -> Option<Data> {
        self.1.lock().unwrap().push(format!("{container}.{member}"));
        self.0.member(container, member)
    }

    fn members(&self, container: &str) -> Vec<String> {
        self.1.lock().unwrap().push(format!("{container}.*"));
        self.0.members(container)
    }

    fn names(&self) -> Vec<String> {
        self.0.names()
    }
}

fn asked(source: &str) -> Vec<String> {
    let scope = Asked(Run::new(), Mutex::default());
    Expression::compile(source).unwrap().evaluate(&scope, &volatile()).unwrap();
    scope.1.into_inner().unwrap()
}

#[test]
fn only_names_in_use_are_asked_of_the_scope() {
    assert_eq!(asked("vars.n + 1"), ["vars.n"]);
    assert_eq!(asked("steps.read.output.value > 3 and vars.flag"), ["steps.read", "vars.flag"]);
    assert_eq!(asked("steps.read.output.value + steps.read.output.value"), ["steps.read"]);
    assert_eq!(asked("1 + 1"), Vec::<String>::new());
    assert!(asked("vars|length").contains(&"vars.*".to_owned()));
    assert!(asked("steps[('read')]").starts_with(&["steps.read".to_owned()]));
}

#[test]
fn names_say_root_path_and_place() {
    let source = "steps.read['output'].tags[0] ~ vars[inputs.zone] ~ now()";
    let expression = Expression::compile(source).unwrap();
    let names: Vec<_> = expression
        .names()
        .iter()
        .map(|name| (name.root.as_str(), name.path.join("."), name.offset))
        .collect();
    assert_eq!(
        names,
        [
            ("steps", "read.output.tags".to_owned(), 0),
            ("vars", String::new(), source.find("vars").unwrap()),
            ("inputs", "zone".to_owned(), source.find("inputs").unwrap()),
        ]
    );
}

#[test]
fn loop_variables_are_no_names() {
    let source = "{% for x in inputs.rows %}{{ x.name }}{{ y.z }}{{ loop.index }}{% endfor %}{{ x.after }}";
    let template = Template::compile_text(&text(source)).unwrap();
    let names: Vec<_> =
        template.names().iter().map(|name| format!("{}.{}", name.root, name.path.join("."))).collect();
    assert_eq!(names, ["inputs.rows", "y.z", "x.after"]);
}

#[test]
fn names_under_default_are_not_required() {
    let expression = Expression::compile("vars.a|default(vars.b) ~ (vars.c is defined) ~ vars.d").unwrap();
    assert_eq!(expression.names().len(), 4);
    let required: Vec<_> = expression.required_names().map(|name| name.path[0].as_str()).collect();
    assert_eq!(required, ["b", "d"]);
    let template =
        Template::compile(&map(&[("k", string(7, "{{ vars.a|default(1) }} {{ vars.b }}"))])).unwrap();
    let seen: Vec<_> = template
        .names_with_places()
        .map(|(name, pos, required)| (name.path[0].clone(), pos.line, required))
        .collect();
    assert_eq!(seen, [("a".to_owned(), 7, false), ("b".to_owned(), 7, true)]);
}

#[test]
fn an_offset_in_a_single_tag_counts_from_the_string() {
    let template = Template::compile_text(&text("{{  vars.n }}")).unwrap();
    assert_eq!(template.names()[0].offset, 4);
    let error = Template::compile_text(&text("{{ vars.n * 2 }}")).err().unwrap();
    assert_eq!((error.code, error.offset), (&code::FORBIDDEN, Some(3)));
}

#[test]
fn a_tree_reports_every_error_with_its_place() {
    let node = map(&[
        ("a", string(3, "{{ 1 + }}")),
        ("b", string(4, "{{ x }}")),
        ("c", string(5, "{% set x = 1 %}")),
    ]);
    let errors = Template::compile(&node).err().unwrap();
    let seen: Vec<_> = errors.iter().map(|(pos, error)| (pos.line, error.code.id)).collect();
    assert_eq!(seen, [(3, "CB-0200"), (5, "CB-0201")]);
}

#[test]
fn a_tree_keeps_its_shape_and_types() {
    let list =
        Node { pos: Pos::default(), value: NodeValue::List(vec![string(1, "{{ vars.n }}"), string(1, "x")]) };
    let node = map(&[
        ("z", list),
        ("a{{ 1 }}", string(1, "n={{ vars.n }}")),
        ("b", string(1, "{{ inputs.nested }}")),
    ]);
    let template = Template::compile(&node).unwrap();
    assert!(!template.is_constant());
    let data = template.render(&Run::new(), &volatile()).unwrap();
    assert_eq!(**data.json(), json!({ "z": [41, "x"], "a{{ 1 }}": "n=41", "b": { "deep": { "x": 1 } } }));
}

#[test]
fn a_tree_without_tags_is_constant() {
    let template = Template::compile(&map(&[("a", string(1, "plain }} text"))])).unwrap();
    assert!(template.is_constant());
    assert_eq!(**template.render(&Run::new(), &volatile()).unwrap().json(), json!({ "a": "plain }} text" }));
}

#[test]
fn text_of_a_list_is_an_error_that_names_it() {
    let run = Run::new();
    let render = |source: &str| Template::compile_text(&text(source)).unwrap().render_text(&run, &volatile());
    assert_eq!(render("{{ vars.n }}"), Ok("41".to_owned()));
    assert_eq!(render("{{ vars.flag }}"), Ok("true".to_owned()));
    assert_eq!(render("{{ vars.zone }}"), Ok("north".to_owned()));
    for (source, kind) in [("{{ vars.list }}", "a list"), ("{{ inputs }}", "an object")] {
        let error = render(source).unwrap_err();
        assert_eq!(error.code, &code::NOT_TEXT);
        assert!(error.message.contains(kind) && error.message.contains("line 2"), "{error}");
    }
}

#[test]
fn truth_is_that_of_jinja() {
    let run = Run::new();
    let test = |source: &str| Expression::compile(source).unwrap().test(&run, &volatile());
    for source in ["1", "'a'", "[0]", "{'a': 0}", "true", "-1", "vars.n", "0.1"] {
        assert_eq!(test(source), Ok(true), "{source}");
    }
    for source in ["0", "''", "[]", "{}", "false", "none", "vars.empty", "vars.nothing", "0.0"] {
        assert_eq!(test(source), Ok(false), "{source}");
    }
    assert_eq!(test("vars.nope").unwrap_err().code, &code::UNDEFINED);
}

#[test]
fn a_repeated_evaluation_gives_the_same_and_another_seed_gives_another() {
    let node =
        map(&[("a", string(1, "{{ uuid() }}")), ("b", string(1, "{{ uuid() }} {{ random() }} {{ now() }}"))]);
    let template = Template::compile(&node).unwrap();
    let render = |volatile: &Volatile| template.render(&Run::new(), volatile).unwrap();
    let first = render(&volatile());
    assert_eq!(first, render(&volatile()));
    let ids = first.json();
    assert!(
        !ids["b"].as_str().unwrap().contains(ids["a"].as_str().unwrap()),
        "both strings drew the same: {ids}"
    );
    assert_ne!(first, render(&Volatile { seed: [8; 32], ..volatile() }));
    assert_ne!(first, render(&Volatile { now: Timestamp(0), ..volatile() }));
}

#[test]
fn fuel_ends_work_and_many_small_strings_share_a_budget() {
    let run = Run::new();
    let long = Expression::compile("range(9000)|map('string')|join").unwrap();
    assert_eq!(long.evaluate(&run, &volatile()).unwrap_err().code, &code::FUEL);
    let busy = "{{ range(2000)|map('string')|list|length }}";
    let entries: Vec<Node> = (0..400).map(|_| string(9, busy)).collect();
    let one = Template::compile(&entries[0]).unwrap();
    assert!(one.render(&run, &volatile()).is_ok());
    let all = Node { pos: Pos::default(), value: NodeValue::List(entries) };
    let error = Template::compile(&all).unwrap().render(&run, &volatile()).unwrap_err();
    assert_eq!(error.code, &code::FUEL);
    assert!(error.message.contains("together") && error.message.contains("line 9"), "{error}");
}

#[test]
fn a_result_over_its_bound_is_an_error_and_not_cut() {
    let big = JsonValue::String("x".repeat(limits::EXPRESSION_RESULT_BYTES_MAX));
    let scope = Values(vec![("big", Data::new(big)), ("small", Data::new(json!("y")))]);
    let error = Expression::compile("big").unwrap().evaluate(&scope, &volatile()).unwrap_err();
    assert_eq!(error.code, &code::RESULT_SIZE);
    assert!(Expression::compile("big == small").unwrap().evaluate(&scope, &volatile()).is_ok());
    let fits = "x".repeat(limits::EXPRESSION_RESULT_BYTES_MAX / 2);
    let scope = Values(vec![("big", Data::new(JsonValue::String(fits)))]);
    assert!(Expression::compile("big").unwrap().evaluate(&scope, &volatile()).is_ok());
    let twice =
        Template::compile(&map(&[("a", string(1, "{{ big }}")), ("b", string(1, "{{ big }}"))])).unwrap();
    assert_eq!(twice.render(&scope, &volatile()).unwrap_err().code, &code::RESULT_SIZE);
}

#[test]
fn parts_of_large_data_do_not_count_as_the_whole() {
    let rows: Vec<JsonValue> = (0..20_000).map(|n| json!({ "n": n, "pad": "x".repeat(40) })).collect();
    let scope = Values(vec![("inputs", Data::new(json!({ "rows": rows, "zone": "south" })))]);
    let source = ["inputs.zone"; 60].join(" ~ ");
    let value = Expression::compile(&source).unwrap().evaluate(&scope, &volatile()).unwrap();
    assert_eq!(value.json().as_str().unwrap().len(), 300);
    let source = format!("[{}]|length", ["inputs.rows"; 60].join(","));
    assert_eq!(
        Expression::compile(&source).unwrap().evaluate(&scope, &volatile()).unwrap_err().code,
        &code::FUEL
    );
}

#[test]
fn bounds_of_sources_are_exact() {
    let terms = |count: usize| vec!["1"; count].join("+");
    assert!(Expression::compile(&terms(limits::EXPRESSION_TOKENS_MAX / 2)).is_ok());
    let error = Expression::compile(&terms(limits::EXPRESSION_TOKENS_MAX / 2 + 1)).unwrap_err();
    assert_eq!(error.code, &code::TOO_LARGE);
    let tags = |count: usize| Template::compile_text(&text(&"{{ 1 }}".repeat(count)));
    assert!(tags(limits::EXPRESSION_TAGS_MAX).is_ok());
    assert_eq!(tags(limits::EXPRESSION_TAGS_MAX + 1).err().unwrap().code, &code::TOO_LARGE);
    let blocks = |count: usize| {
        Template::compile_text(&text(&format!(
            "{}x{}",
            "{% if 1 %}".repeat(count),
            "{% endif %}".repeat(count)
        )))
    };
    assert!(blocks(limits::EXPRESSION_DEPTH_MAX).is_ok());
    assert_eq!(blocks(limits::EXPRESSION_DEPTH_MAX + 1).err().unwrap().code, &code::TOO_LARGE);
    let padded = |count: usize| Expression::compile(&format!("1{}", " ".repeat(count - 1)));
    assert!(padded(limits::EXPRESSION_BYTES_MAX).is_ok());
    assert_eq!(padded(limits::EXPRESSION_BYTES_MAX + 1).unwrap_err().code, &code::TOO_LARGE);
}

#[test]
fn json_at_the_door_has_a_depth_and_a_size() {
    let nested = |depth: usize| (1..depth).fold(json!([]), |inner, _| json!([inner]));
    assert!(check_json(&nested(limits::JSON_DEPTH_MAX), 1_000).is_ok());
    assert_eq!(check_json(&nested(limits::JSON_DEPTH_MAX + 1), 1_000).unwrap_err().code, &code::VALUE);
    assert!(check_json(&json!("x".repeat(98)), 100).is_ok());
    assert_eq!(check_json(&json!("x".repeat(99)), 100).unwrap_err().code, &code::VALUE);
}

#[test]
fn sizes_are_never_below_half_of_the_text() {
    for json in [
        json!(null),
        json!(true),
        json!(0),
        json!(-12345),
        json!(u64::MAX),
        json!(0.1),
        json!(1e-300),
        json!("äöü"),
        json!([1, 2, [3]]),
        json!({ "a": 1, "b": {} }),
        json!(vec![0; 100]),
    ] {
        let (size, real) = (Data::new(json.clone()).size_bytes(), json.to_string().len());
        assert!(size * 2 >= real && size <= 5 * real + 16, "{json}: {size} for {real}");
    }
}

#[test]
fn composed_data_is_its_entries() {
    let inner = Data::new(json!({ "value": 21.5 }));
    let data = Data::object(vec![("status", Data::new(json!("completed"))), ("output", inner.clone())]);
    assert_eq!(data, Data::new(json!({ "status": "completed", "output": { "value": 21.5 } })));
    let scope = Values(vec![("step", data)]);
    let value = Expression::compile("step.output.value + 1").unwrap().evaluate(&scope, &volatile()).unwrap();
    assert_eq!(**value.json(), json!(22.5));
    assert_eq!(**Data::null().json(), json!(null));
}

#[test]
fn items_come_from_lists_objects_and_numbers() {
    let run = Run::new();
    let items = |source: &str| {
        let items = Items::Expr(Expr { pos: Pos::default(), source: source.to_owned() });
        let source = ItemSource::compile(&items).map_err(|mut errors| errors.remove(0).1)?;
        let list = source.evaluate(&run, &volatile())?;
        Ok::<_, super::super::Error>(JsonValue::Array(
            list.iter().map(|data| (**data.json()).clone()).collect(),
        ))
    };
    assert_eq!(items("vars.list"), Ok(json!([3, 1, 2])));
    assert_eq!(
        items("{'b': 1, 'a': 2}"),
        Ok(json!([{ "key": "a", "value": 2 }, { "key": "b", "value": 1 }]))
    );
    assert_eq!(items("3"), Ok(json!([0, 1, 2])));
    assert_eq!(items("3.0"), Ok(json!([0, 1, 2])));
    assert_eq!(items("0"), Ok(json!([])));
    assert_eq!(items("100000").unwrap().as_array().unwrap().len(), 100_000);
    for wrong in ["'text'", "none", "true", "-1", "1.5", "100001"] {
        assert_eq!(items(wrong).unwrap_err().code, &code::ITEMS, "{wrong}");
    }
    let literal =
        Node { pos: Pos::default(), value: NodeValue::List(vec![string(1, "{{ vars.n }}"), string(1, "b")]) };
    let source = ItemSource::compile(&Items::Literal(literal)).unwrap();
    assert_eq!(source.names()[0].path, ["n"]);
    let list = source.evaluate(&run, &volatile()).unwrap();
    assert_eq!(list, [Data::new(json!(41)), Data::new(json!("b"))]);
}

#[test]
fn messages_of_hostile_names_stay_short() {
    let error =
        Expression::compile(&"a".repeat(60_000)).unwrap().evaluate(&Run::new(), &volatile()).unwrap_err();
    assert!(error.to_string().len() < 2_000);
}

#[test]
fn compiled_forms_are_shared_between_threads() {
    fn check<T: Send + Sync + Clone + 'static>() {}
    check::<Expression>();
    check::<Template>();
    check::<ItemSource>();
    check::<Data>();
    check::<super::super::Transformer>();
}

/// Expressions, whether each is plain, and its value when that is known without evaluating.
#[test]
fn literals_are_known_and_paths_are_plain() {
    let table = [
        ("3", true, Some(json!(3))),
        (" -7 ", true, Some(json!(-7))),
        ("1.50", true, Some(json!(1.5))),
        ("true", true, Some(json!(true))),
        ("none", true, Some(JsonValue::Null)),
        ("'it is'", true, Some(json!("it is"))),
        ("\"a { b\"", true, Some(json!("a { b"))),
        ("inputs", true, None),
        ("steps.read.output.value", true, None),
        ("'a' ~ 'b'", false, None),
        ("'a\\n'", false, None),
        ("1 + 1", false, None),
        ("inputs.n + 1", false, None),
        ("items[0]", false, None),
        ("[1]", false, None),
        ("uuid()", false, None),
    ];
    for (source, is_plain, constant) in table {
        let compiled = Expression::compile(source).unwrap();
        assert_eq!(compiled.is_plain(), is_plain, "{source}");
        assert_eq!(compiled.constant().map(|data| (**data.json()).clone()), constant, "{source}");
    }
}

#[test]
fn a_template_is_plain_when_all_its_tags_are() {
    let table = [
        ("no tags { at all }", true),
        ("{{ inputs.a }}", true),
        ("http://{{ inputs.host }}/{{ vars.path }}", true),
        ("{ {{ inputs.a }} }", true),
        ("{{ inputs.a }}{{ inputs.b | upper }}", false),
        ("{{ inputs.a + 1 }}", false),
        ("{% if inputs.a %}x{% endif %}", false),
        ("a {# note #}{{ inputs.a }}", false),
        ("{{ \"}}\" }}{{ inputs.a }}", false),
    ];
    for (source, is_plain) in table {
        assert_eq!(Template::compile_text(&text(source)).unwrap().is_plain(), is_plain, "{source}");
    }
}
