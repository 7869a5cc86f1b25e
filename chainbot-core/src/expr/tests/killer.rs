//! Templates that ended, froze or filled an engine's process, each in a child process with a small stack.
//!
//! The child is this test binary again, told by an environment variable. It must come back by itself, within the memory
//! bound; the clock is only there to find a hang. Whether a template is refused or evaluates is of no interest here.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value as JsonValue, json};

use super::super::{Data, Expression, Template};
use super::{Values, volatile};
use crate::model::{Pos, Text};

const CHILD: &str = "CHAINBOT_EXPR_KILLER";
/// Growth of the child's peak memory over what its data takes.
const MEMORY_KIB_MAX: u64 = 64 * 1024;
/// Only to find a hang: on a busy machine and in a debug build a comparison of large lists takes long.
const HANG_S: u64 = 120;

/// Name, template.
fn killers() -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, source: String| out.push((name.to_owned(), source));
    add("debug", "{{ debug() }}".to_owned());
    add("namespace cycle", "{% set ns=namespace() %}{% set ns.me=ns %}{{ ns }}".to_owned());
    // One tag of many, in sizes from just allowed to absurd.
    for count in [100, 250, 2_000, 5_000, 30_000] {
        let n = |text: &str| text.repeat(count);
        add("or", format!("{{{{ 1{} }}}}", n(" or 1")));
        add("not", format!("{{{{ {}1 }}}}", n("not ")));
        add("minus", format!("{{{{ {}1 }}}}", n("-")));
        add("minus spaced", format!("{{{{ {}1 }}}}", n("- ")));
        add("attributes", format!("{{{{ a{} }}}}", n(".a")));
        add("indexes", format!("{{{{ a{} }}}}", n("[0]")));
        add("parens", format!("{{{{ {}1{} }}}}", n("("), n(")")));
        add("open parens", format!("{{{{ {} }}}}", n("(")));
        add("lists", format!("{{{{ {}1{} }}}}", n("["), n("]")));
        add("open lists", format!("{{{{ {} }}}}", n("[")));
        add("objects", format!("{{{{ {}1{} }}}}", n("{'a':"), n("}")));
        add("calls", format!("{{{{ a{} }}}}", n("()")));
        add("if else", format!("{{{{ {}1 }}}}", n("1 if 1 else ")));
        add("filters", format!("{{{{ 1{} }}}}", n("|string")));
        add("tests", format!("{{{{ 1{} }}}}", n(" is defined")));
        add("power", format!("{{{{ 9{} }}}}", n("**9")));
        add("concat", format!("{{{{ big{} }}}}", n("~big")));
        add("compare", format!("{{{{ 1{} }}}}", n("<1")));
        add("plus", format!("{{{{ [1]{} }}}}", n("+[1]")));
        add("range calls", format!("{{{{ {}3{} }}}}", n("range("), n(")")));
        add("nested if", format!("{}x{}", n("{% if 1 %}"), n("{% endif %}")));
        add("open if", n("{% if 1 %}"));
        add("elif", format!("{{% if 0 %}}{}{{% endif %}}", n("{% elif 0 %}")));
        add("nested for", format!("{}x{}", n("{% for a in [1] %}"), n("{% endfor %}")));
        add("comments", n("{# x #}"));
        add("tags", n("{{ 1 }}"));
        add("raws", n("{% raw %}x{% endraw %}"));
        add("braces", n("{{"));
        // As bare expressions too: told by a first byte 0.
        add("bare not", format!("\0{}1", n("not ")));
        add("bare minus", format!("\0{}1", n("-")));
        add("bare parens", format!("\0{}1{}", n("("), n(")")));
        add("bare lists", format!("\0{}1{}", n("["), n("]")));
    }
    let mut doubling = String::new();
    for _ in 0..24 {
        doubling.push_str("{% set a=[a,a] %}");
    }
    add("set doubling", format!("{doubling}{{{{ a }}}}"));
    add("set doubling compared", format!("{doubling}{{{{ a == a }}}}"));
    for (first, levels) in [("[1,1]", 60), ("[1,1]", 24), ("big", 24), ("big", 4), ("[big,big]", 60)] {
        let mut open = format!("{{% for a in [{first}] %}}");
        (1..levels).for_each(|_| open.push_str("{% for a in [[a,a]] %}"));
        let close = "{% endfor %}".repeat(levels);
        for use_ in [
            "a",
            "a == a",
            "[a] == [a]",
            "a|string|length",
            "a ~ ''",
            "a|to_json",
            "a in 'x'",
            "a|list|unique",
            "a < a",
        ] {
            add(&format!("for doubling {levels} {first}"), format!("{open}{{{{ {use_} }}}}{close}"));
        }
        let mut with_names = String::from("{% for k, v in {'a': [1, 1]}|items %}");
        (1..levels).for_each(|_| with_names.push_str("{% for k, v in [[v, [v, v]]] %}"));
        add("for doubling unpacked", format!("{with_names}{{{{ v == v }}}}{close}"));
    }
    // Depth through loop variables: 60 times 100 levels.
    let mut deep = String::from("{% for a in [1] %}");
    for _ in 0..60 {
        let _ = write!(deep, "{{% for a in [{}a{}] %}}", "[".repeat(100), "]".repeat(100));
    }
    add("for deepening", format!("{deep}{{{{ a }}}}{}", "{% endfor %}".repeat(61)));
    for use_ in ["x", "x == x", "[x] == [x]", "(x|string|length)"] {
        add("list product", format!("{{{{ {} }}}}", use_.replace('x', "[[[1]*1000]*1000]*1000")));
        add("product of names", format!("{{{{ {} }}}}", use_.replace('x', "(list * 1000)")));
    }
    for source in [
        "x|tojson(indent=100000000)",
        "list|tojson(100000000)",
        "'x' * 2000000000",
        "2000000000 * 'x'",
        "range(100000000)",
        "range(9223372036854775807)|list",
        "range(10000)|list|join(big)",
        "'%1000000000d'|format(1)",
        "'%.1000000000f'|format(1.5)",
        "'%*d'|format(1000000000, 1)",
        "'x'|indent(1000000000)",
        "big|indent(100000)",
        "big|replace('', big)",
        "big|replace('x', big)",
        "big|replace('', 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx')",
        "big|split('')|length",
        "big|list|length",
        "big|batch(1)",
        "list|batch(1000000000, 'x')|string",
        "list|slice(1000000000, 'x')|string",
        "[1]|batch(9000, 'x')|string|length",
        "big|upper|lower|title|capitalize|reverse|trim",
        "big|to_json|to_json|to_json|to_json|to_json",
        "quotes|to_json|to_json|to_json|to_json|to_json",
        "big|urlencode",
        "big|regex_match('(x+x+)+y')",
        "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'|regex_match('(x*)*(x*)*(x*)*$y')",
        "big|regex_match('((x{1,50}){1,50}){1,50}')",
        "big|regex_replace('x', '$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0')",
        "big|regex_replace('.*', '$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0')",
        "deep_text|from_json",
        "from_json(zeros_text)|length",
        "9**9**9**9**9",
        "2**100000",
        "1e308 * 1e308",
        "(9223372036854775807|int) * (9223372036854775807|int)",
        "range(9000)|map(attribute='x', default=big)|string|length",
        "range(9000)|map('default', big)|list|string|length",
        "lists|map('default', big, true)|string|length",
        "lists|map('zip', list)|string|length",
        "lists|map('chain', list)|string|length",
        "lists|map('list')|list|string|length",
        "list|zip(list, list, list, list, list, list)|string|length",
        "list|chain(list, list, list, list)|unique|length",
        "list|sort|unique|length",
        "lists|sort|length",
        "lists|groupby('x')|string|length",
        "list == list",
        "[[list]] == [[other]]",
        "[[list]] in [[other]]",
        "list in [other, other, other, other, other, other, other]",
        "[[list]]|unique",
        "lists|unique|length",
        "lists|select('eq', lists)|list|length",
        "list ~ list ~ list ~ list ~ list ~ list ~ list",
        "'%s%s%s%s'|format(list, list, list, list)|length",
        "list|upper|length",
        "(list|string) in (list|string)",
        "list in 'x'",
        "[list,list,list,list,list,list,list,list,list,list,list,list,list,list,list,list] ~ ''",
        "random(-9223372036854775807, 9223372036854775807)",
        "format_time(0, '%200Y%200Y%200Y%200Y%200Y')",
        "parse_time(big)",
        "duration(big)",
        "nope_very_long_name_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ] {
        add(source, format!("{{{{ {source} }}}}"));
        add(source, format!("a {{{{ {source} }}}}"));
        add(source, format!("\0{source}"));
    }
    let hundred = vec!["list"; 120].join(",");
    add("120 lists", format!("{{{{ [{hundred}]|string|length }}}}"));
    add("120 lists concat", format!("{{{{ [{hundred}] ~ '' }}}}"));
    add("120 lists compared", format!("{{{{ [{}] == 1 }}}}", hundred));
    add("comparison loop", "{% for x in range(10000) %}{{ [[list]] == [[other]] }}{% endfor %}".to_owned());
    add("loop in loop", "{% for x in range(10000) %}{% for y in range(10000) %}{% for z in range(10000) %}{% endfor %}{% endfor %}{% endfor %}".to_owned());
    add("loop over text", "{% for x in big %}{{ big }}{% endfor %}".to_owned());
    add("whole scope", "{{ vars }}{{ steps }}{{ self }}{{ loop }}{{ __context }}".to_owned());
    add("long text", "x".repeat(10_000_000));
    add("long number", format!("{{{{ {} }}}}", "9".repeat(60_000)));
    add("long name", format!("{{{{ {} }}}}", "a".repeat(60_000)));
    add("long string", format!("{{{{ '{}' }}}}", "\\u0041".repeat(10_000)));
    out
}

fn data() -> Values {
    let list: Vec<u32> = (0..50_000).collect();
    Values(vec![
        ("big", Data::new(JsonValue::String("x".repeat(512 * 1024)))),
        ("quotes", Data::new(JsonValue::String("\"\\".repeat(4 * 1024)))),
        ("list", Data::new(json!(list))),
        ("other", Data::new(json!(list))),
        ("lists", Data::new(json!(vec![Vec::<u8>::new(); 5_000]))),
        ("deep_text", Data::new(JsonValue::String("[".repeat(100_000)))),
        ("zeros_text", Data::new(JsonValue::String(format!("[{}0]", "0,".repeat(50_000))))),
        ("a", Data::new(json!([[1]]))),
        ("x", Data::new(json!(1))),
    ])
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// In the child: every killer, each on its own thread of 2 MiB, telling which one is under way.
fn run_child(from: usize, to: usize) {
    // A hang would outlive the test, so the child ends itself.
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_secs(HANG_S));
        eprintln!("the child hangs");
        std::process::abort();
    });
    let scope = std::sync::Arc::new(data());
    // What the data takes in both forms is the caller's, not the killers'.
    for (name, _) in &scope.0 {
        let _ = Expression::compile(&format!("{name}|length")).unwrap().evaluate(&*scope, &volatile());
    }
    let before = peak_kib();
    for (name, source) in killers().into_iter().take(to).skip(from) {
        println!("at {name}: {}", source.chars().take(80).collect::<String>());
        let scope = scope.clone();
        let run = move || {
            let result = match source.strip_prefix('\0') {
                Some(bare) => {
                    Expression::compile(bare).and_then(|it| it.evaluate(&*scope, &volatile())).map(drop)
                }
                None => Template::compile_text(&Text { pos: Pos::default(), source })
                    .and_then(|it| it.render(&*scope, &volatile()))
                    .map(drop),
            };
            if let Err(error) = result {
                assert!(error.message.len() < 10_000, "an error of {} bytes", error.message.len());
            }
        };
        std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(run).unwrap().join().unwrap();
        let grown = peak_kib() - before;
        assert!(grown <= MEMORY_KIB_MAX, "{name}: memory grew by {grown} KiB");
    }
    println!("all done");
}

#[test]
fn no_template_ends_freezes_or_fills_the_process() {
    if let Ok(range) = std::env::var(CHILD) {
        let (from, to) = range.split_once('-').unwrap();
        return run_child(from.parse().unwrap(), to.parse().unwrap());
    }
    let count = killers().len();
    let spawn = |range: String| {
        Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "expr::tests::killer::no_template_ends_freezes_or_fills_the_process",
                "--nocapture",
            ])
            .env(CHILD, range)
            .env_remove("RUST_BACKTRACE")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children = [spawn(format!("0-{}", count / 2)), spawn(format!("{}-{count}", count / 2))];
    for child in children {
        let output = child.wait_with_output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let last = out.lines().rfind(|line| line.starts_with("at ")).unwrap_or("nothing");
        assert!(output.status.success() && out.contains("all done"), "{} {last}\n{err}", output.status);
    }
}
