//! Every name of the table is provoked on a running module and read by a strict parser that shares nothing with what writes.

use std::collections::{BTreeMap, BTreeSet};

use chainbot_core::observe::{Kind, NAMES, page};

use super::server::{Server, data};
use super::support::{golden, root};
use crate::crash::client::Client;

/// Names of what only some machines have; the core's tests have them from a machine of files.
const OF_SENSORS: [&str; 2] = ["chainbot_temperature_celsius", "chainbot_throttled"];
/// A gauge with the ending of a counter: dashboards of the predecessor ask for it by this name.
const OLD_GAUGE: &str = "chainbot_agents_total";
/// Series that a scrape may have at most: what a Pi and a small Prometheus carry without a thought.
const SERIES_MAX: usize = 600;

/// A sample: its name, its labels, its value.
type Sample = (String, BTreeMap<String, String>, f64);

/// A histogram: its bounds with their counts, its sum, its count.
type Sizes = (Vec<(f64, f64)>, Option<f64>, Option<f64>);

/// A family as a scraper sees it.
#[derive(Debug)]
struct Family {
    kind: String,
    samples: Vec<Sample>,
}

/// The text format 0.0.4, with everything that a strict reader may ask for.
fn parse(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'), "the last line has no end");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let (mut helped, mut current) = (None, String::new());
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
            assert!(!help.trim().is_empty() && is_name(name), "{line}");
            helped = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(helped.take().as_deref(), Some(name), "TYPE without its HELP before it: {line}");
            assert!(["gauge", "counter", "histogram"].contains(&kind), "{line}");
            let before =
                families.insert(name.to_owned(), Family { kind: kind.to_owned(), samples: Vec::new() });
            assert!(before.is_none(), "{name} stands twice");
            current = name.to_owned();
        } else {
            let sample = sample(line);
            let family =
                families.get_mut(&current).unwrap_or_else(|| panic!("a sample before its TYPE: {line}"));
            let ends: &[&str] =
                if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(
                ends.iter().any(|end| sample.0 == format!("{current}{end}")),
                "{line} is below {current}"
            );
            assert!(seen.insert((sample.0.clone(), sample.1.clone())), "{line} stands twice");
            family.samples.push(sample);
        }
    }
    assert!(helped.is_none());
    families
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no value: {line}"));
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            let (value, after) = quoted(after, line);
            assert!(is_name(label) && labels.insert(label.to_owned(), value).is_none(), "{line}");
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
    let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    assert!(value.is_finite(), "{line}");
    (name.to_owned(), labels, value)
}

/// Up to the quote that is not escaped.
fn quoted<'a>(text: &'a str, line: &str) -> (String, &'a str) {
    let (mut out, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (out, &text[at + 1..]),
            '\\' => match chars.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, c @ ('\\' | '"'))) => out.push(c),
                other => panic!("\\{other:?}: {line}"),
            },
            c => out.push(c),
        }
    }
    panic!("an open quote: {line}")
}

/// What a family must be besides well written.
fn check(name: &str, family: &Family) {
    let known =
        NAMES.iter().find(|known| known.name == name).unwrap_or_else(|| panic!("{name} is not in the table"));
    assert_eq!(family.kind, known.kind.word(), "{name}");
    assert!(!family.samples.is_empty(), "{name} has no sample");
    if name != OLD_GAUGE {
        assert_eq!(known.kind == Kind::Counter, name.ends_with("_total"), "{name}");
    }
    for (_, labels, value) in &family.samples {
        let own: BTreeSet<&str> = labels.keys().map(String::as_str).filter(|label| *label != "le").collect();
        assert_eq!(own, known.labels.iter().copied().collect(), "{name}: {labels:?}");
        assert!(labels.values().all(|value| value.len() <= 96), "{name}: {labels:?}");
        assert!(known.kind == Kind::Gauge || *value >= 0.0, "{name}: {value}");
    }
    if known.kind == Kind::Histogram {
        histograms(name, family);
    }
}

fn histograms(name: &str, family: &Family) {
    let mut by: BTreeMap<BTreeMap<String, String>, Sizes> = BTreeMap::new();
    for (sample, labels, value) in &family.samples {
        let mut labels = labels.clone();
        let bound = labels.remove("le");
        let entry = by.entry(labels).or_default();
        match (sample.strip_prefix(name), bound) {
            (Some("_bucket"), Some(bound)) if bound == "+Inf" => entry.0.push((f64::INFINITY, *value)),
            (Some("_bucket"), Some(bound)) => entry.0.push((bound.parse().unwrap(), *value)),
            (Some("_sum"), None) => entry.1 = Some(*value),
            (Some("_count"), None) => entry.2 = Some(*value),
            other => panic!("{name}: {other:?}"),
        }
    }
    for (labels, (buckets, sum, count)) in by {
        assert!(
            buckets.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1),
            "{name} {labels:?} {buckets:?}"
        );
        let last = buckets.last().unwrap();
        assert_eq!((last.0, Some(last.1)), (f64::INFINITY, count), "{name} {labels:?}");
        assert!(sum.is_some(), "{name} {labels:?}");
    }
}

/// Uses a bit of everything that is counted.
const DEFINITION: &str = r#"{"name": "all", "steps": [
    {"id": "call", "type": "api_call", "on_error": "continue", "retry": {"attempts": 1}, "config": {"url": "http://127.0.0.1:9/"}},
    {"id": "nap", "type": "wait", "config": {"duration": "10ms"}},
    {"id": "ask", "type": "wait", "config": {"approval": {"message": "Go on?"}}}]}"#;

#[test]
fn every_name_is_exported_and_reads_strictly() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(&folder);
    let settings =
        ["gpt_integration.maclink.macbook_url=http://127.0.0.1:9", "monitoring.health_check_interval=5"];
    let server = Server::start_with(&data, &settings);
    let client = Client::of(&data).unwrap();
    let json = "content-type: application/json\r\n";
    let made = client.send("POST", "/api/chainbot/workflows", json, DEFINITION).unwrap();
    assert_eq!(made.status, 201, "{}", made.body);
    let run = client.send("POST", "/api/chainbot/workflows/all/runs", json, "{}").unwrap().body;
    let path = format!("/api/chainbot/runs/{}", run["id"].as_str().unwrap());
    client.wait_until(|| client.get("/api/chainbot/inbox").as_array().is_some_and(|open| !open.is_empty()));
    assert_eq!(client.send("POST", &format!("{path}/cancel"), json, "{}").unwrap().status, 200);
    client.wait_until(|| client.get(&path)["status"] == "cancelled");
    // Nobody answers there, which is a call of a model all the same.
    let probed = client.send("POST", "/api/chainbot/models/maclink/probe", json, "{}").unwrap();
    assert_eq!(probed.status, 502, "{}", probed.body);
    assert_eq!(client.send("POST", "/api/chainbot/backup", json, "{}").unwrap().status, 202);
    for (agent, status) in
        [(r#"{"name": "rows", "type": "data_processor"}"#, 201), (r#"{"name": "rows"}"#, 409)]
    {
        let made = client.send("POST", "/api/chainbot/agents", json, agent).unwrap();
        assert_eq!(made.status, status, "{}", made.body);
    }
    let figure = || client.get("/api/chainbot/metrics");
    // The monitor looks each few seconds.
    client.wait_until(|| figure()["chainbot_agents_active"] == 1.0);
    client.wait_until(|| figure()["chainbot_backup_last_success_timestamp_seconds"].is_number());
    assert_eq!(server.port.ask("GET /nowhere/at%22all", &[], "").status, 404);

    let text = server.port.ask("GET /metrics", &[], "").body;
    let families = parse(&text);
    families.iter().for_each(|(name, family)| check(name, family));
    for name in NAMES.iter().filter(|name| !OF_SENSORS.contains(&name.name)) {
        assert!(families.contains_key(name.name), "{} is not exported: {text}", name.name);
    }
    let of = |name: &str, label: (&str, &str), end: &str| -> f64 {
        let of = |sample: &&Sample| {
            sample.0 == format!("{name}{end}")
                && (label.0.is_empty() || sample.1.get(label.0).is_some_and(|value| value == label.1))
        };
        families[name].samples.iter().filter(of).map(|sample| sample.2).sum()
    };
    for (name, label, end, least) in [
        ("chainbot_workflow_executions_total", ("status", "cancelled"), "", 1.0),
        ("chainbot_step_duration_seconds", ("type", "api_call"), "_count", 1.0),
        ("chainbot_timer_lateness_seconds", ("", ""), "_count", 1.0),
        ("chainbot_model_calls_total", ("outcome", "connect"), "", 1.0),
        ("chainbot_model_call_duration_seconds", ("", ""), "_count", 1.0),
        ("chainbot_journal_commit_seconds", ("", ""), "_count", 3.0),
        ("chainbot_journal_bytes_total", ("", ""), "", 100.0),
        ("http_requests_total", ("route", "none"), "", 1.0),
        ("http_requests_total", ("route", "/api/chainbot/runs/{id}"), "", 1.0),
        ("http_requests_total", ("status", "404"), "", 1.0),
        ("http_requests_total", ("method", "POST"), "", 4.0),
        ("http_request_duration_seconds", ("", ""), "_count", 6.0),
        ("chainbot_effects_total", ("", ""), "", 1.0),
        ("chainbot_agents_total", ("type", "data_processor"), "", 1.0),
        ("chainbot_agent_spawns_failed_total", ("", ""), "", 1.0),
        ("chainbot_backup_last_success_timestamp_seconds", ("", ""), "", 1.7e9),
        ("process_start_time_seconds", ("", ""), "", 1.7e9),
        ("process_cpu_seconds_total", ("", ""), "", 0.01),
        ("chainbot_disk_written_bytes_total", ("", ""), "", 0.0),
        ("chainbot_disk_free_bytes", ("", ""), "", 1.0),
        ("chainbot_memory_available_bytes", ("", ""), "", 1.0),
        ("chainbot_database_connections_active", ("", ""), "", 1.0),
        ("chainbot_component_health_score", ("component", "system"), "", 0.1),
    ] {
        assert!(of(name, label, end) >= least, "{name}{end} {label:?}: {text}");
    }
    let run = run["id"].as_str().unwrap();
    assert!(!text.contains(run) && !text.contains("nowhere"), "a label holds what a caller wrote");
    let series: usize = families.values().map(|family| family.samples.len()).sum();
    assert!(series <= SERIES_MAX, "{series} series");
    server.stop();
}

#[test]
fn the_page_of_figures_is_the_table() {
    let path = root().join("docs/metrics.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- names: generated -->\n\n", "\n<!-- names: end -->");
    let from = text.find(begin).expect("the page has its mark") + begin.len();
    let to = text[from..].find(end).expect("the page has its end mark") + from;
    golden(&path, &format!("{}{}{}", &text[..from], page(), &text[to..]));
}
