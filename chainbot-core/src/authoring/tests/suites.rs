//! Broken test files: every mistake with its place and a remedy.

use super::{files, golden};
use crate::engine::compile;

const WORKFLOW: &str = "\
name: shop
steps:
  - { id: fetch, type: api_call, config: { url: 'http://example.org/' } }
  - { id: total, type: set, config: { variables: { n: 1 } } }
  - { id: pause, type: wait, config: { duration: 1h } }
  - { id: tell, type: notification, config: { message: done } }
";

#[test]
fn every_mistake_in_a_test_file_is_shown_with_its_place() {
    let definition = crate::validate::check(WORKFLOW).definition.unwrap();
    let program = compile(&definition, WORKFLOW).unwrap();
    let all = files("suite");
    assert!(!all.is_empty());
    for path in all {
        let source = std::fs::read_to_string(&path).unwrap();
        let problems = match crate::authoring::read(&source) {
            Ok(suite) => suite.check(&program),
            Err(problems) => problems,
        };
        assert!(!problems.is_empty(), "{} is broken on purpose", path.display());
        let told = problems.iter().map(|problem| {
            let hint = problem.hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"));
            let at = &problem.pos;
            format!(
                "{}:{} {} {}: {}{hint}\n",
                at.line, at.column, problem.code, problem.path, problem.message
            )
        });
        golden(&path, &told.collect::<String>());
    }
}
