//! Topics and requests that the module says it takes: from its subscriptions and its manifest.

use serde_json::Value;

use super::arguments::RequestArgs;
use super::bench::Bench;
use super::strict;

/// A topic for each pattern that the module listens to; one that any module must take when there is none.
pub fn topics(bench: &Bench) -> Vec<String> {
    let declared = bench.manifest["event_topics"]["subscribe"].as_array();
    let declared = declared.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    let mut topics: Vec<String> =
        strict::subscriptions().into_iter().chain(declared).map(|pattern| topic(&pattern)).collect();
    topics.push("validate.event".to_owned());
    topics.dedup();
    topics.truncate(16);
    topics
}

/// A topic that matches a pattern.
fn topic(pattern: &str) -> String {
    let segment = |segment| if matches!(segment, "*" | "#") { "validate" } else { segment };
    pattern.split('.').map(segment).collect::<Vec<_>>().join(".")
}

/// Paths of the manifest, with something in place of what is in braces.
pub fn paths(bench: &Bench) -> Vec<(String, String)> {
    let webhooks = bench.manifest["webhooks"].as_array().into_iter().flatten().filter_map(|entry| {
        let method = entry["method"].as_str().filter(|method| *method != "*").unwrap_or("GET");
        Some((method.to_ascii_uppercase(), entry["path"].as_str()?))
    });
    let endpoints = bench.manifest["api_endpoints"].as_object().into_iter().flatten();
    let endpoints = endpoints.filter_map(|(_, path)| Some(("GET".to_owned(), path.as_str()?)));
    let mut paths: Vec<(String, String)> = webhooks
        .chain(endpoints)
        .filter(|(_, path)| path.starts_with('/'))
        .map(|(method, path)| (method, fill(path)))
        .collect();
    if paths.is_empty() {
        paths.push(("GET".to_owned(), "/".to_owned()));
    }
    paths.truncate(32);
    paths
}

fn fill(path: &str) -> String {
    let segment = |segment: &str| match segment.starts_with('{') {
        true => "validate".to_owned(),
        false => segment.to_owned(),
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// A request for each path.
pub fn requests(bench: &Bench) -> Vec<RequestArgs> {
    paths(bench).iter().map(|(method, path)| RequestArgs::new(method, path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_and_placeholders_are_filled() {
        assert_eq!(topic("a.*.#"), "a.validate.validate");
        assert_eq!(fill("/hooks/{name}/x"), "/hooks/validate/x");
    }
}
