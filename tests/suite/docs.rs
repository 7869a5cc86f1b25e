//! The pages for readers, held against the code: what they list is what there is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::cli::chainbot;
use super::support::{golden, root};

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(PathBuf::from).into();
    for folder in ["docs", "docs/abi", "docs/agents", "docs/decisions", "docs/workflows"] {
        let entries = std::fs::read_dir(root().join(folder)).unwrap();
        let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
        pages.extend(files.map(|path| path.strip_prefix(root()).unwrap().to_owned()));
    }
    pages
}

/// Blocks between fences of one language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).filter_map(|rest| rest.split("\n```").next()).collect()
}

#[test]
fn the_configuration_page_lists_every_key_and_no_other() {
    let page = read("docs/configuration.md");
    let folder = tempfile::tempdir().unwrap();
    let shown = chainbot(folder.path(), &["config", "schema"]);
    let schema: Value = serde_json::from_str(&shown.stdout).unwrap();
    // The tables are the product's own; that they are the schema's keys is looked at apart from what made them.
    let filled =
        chainbot_core::config::fill_page(&page).unwrap_or_else(|why| panic!("docs/configuration.md: {why}"));
    golden(&root().join("docs/configuration.md"), &filled);
    let (mut with_effect, mut without) = (Vec::new(), Vec::new());
    keys(&schema, "", &mut with_effect, &mut without);
    assert!(with_effect.len() > 40 && without.len() > 40);
    for key in &with_effect {
        assert!(page.contains(&format!("| `{key}` | ")), "docs/configuration.md has no row for {key}");
    }
    for key in &without {
        assert!(
            page.contains(&format!("`{key}`")),
            "docs/configuration.md does not name {key} as without effect"
        );
    }
    let table = page
        .split("<!-- keys: generated -->")
        .nth(1)
        .and_then(|rest| rest.split("<!-- keys: end -->").next());
    let rows = table.unwrap().lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, with_effect.len(), "docs/configuration.md lists another number of keys than the schema");
}

/// Keys of a schema of maps, those with effect and those without.
fn keys(schema: &Value, path: &str, with_effect: &mut Vec<String>, without: &mut Vec<String>) {
    let idle = schema["description"].as_str().is_some_and(|text| text.starts_with("Known, without effect"));
    match schema["properties"].as_object() {
        Some(properties) if !schema["description"].is_string() => {
            for (name, schema) in properties {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                keys(schema, &path, with_effect, without);
            }
        }
        _ if idle && schema["type"].is_array() => without.push(format!("{path}.*")),
        _ if idle => without.push(path.to_owned()),
        _ => with_effect.push(path.to_owned()),
    }
}

#[test]
fn the_schema_of_the_configuration_is_the_one_that_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let shown = chainbot(folder.path(), &["config", "schema"]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    golden(&root().join("docs/schemas/config.schema.json"), &shown.stdout);
}

#[test]
fn the_api_page_lists_every_route_and_no_other() {
    let page = read("docs/api.md");
    // A route without a row of this table is not served, and a row without a route neither.
    let table = std::fs::read_to_string(root().join("chainbot-core/src/auth/access.txt")).unwrap();
    let path_of =
        |line: &str| line.split_whitespace().nth(1).filter(|path| path.starts_with('/')).map(str::to_owned);
    let served: BTreeSet<String> =
        table.lines().filter(|line| !line.starts_with('#')).filter_map(path_of).collect();
    assert!(served.len() > 60, "{served:?}");
    let cells = page.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next());
    let listed: Vec<String> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|path| path.starts_with('/'))
        .map(str::to_owned)
        .collect();
    let once: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(once, served, "docs/api.md lists other routes than there are");
    assert_eq!(once.len(), listed.len(), "docs/api.md lists a route twice: {listed:#?}");
}

#[test]
fn every_definition_in_the_pages_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    let mut checked = 0;
    for page in pages() {
        let text = read(&page);
        let all = blocks(&text, "yaml").into_iter().chain(blocks(&text, "yaml run"));
        for block in all.filter(|block| block.starts_with("name:") && !is_agent(block)) {
            std::fs::write(folder.path().join("block.yaml"), block).unwrap();
            let shown = chainbot(folder.path(), &["validate", "block.yaml", "--json"]);
            let report: Value = serde_json::from_str(&shown.stdout).unwrap();
            assert_eq!(report[0]["diagnostics"], Value::Array(Vec::new()), "{}:\n{block}", page.display());
            checked += 1;
        }
    }
    assert!(checked >= 20, "{checked} definitions were found");
}

/// Whether a definition is an agent's.
fn is_agent(block: &str) -> bool {
    block.lines().any(|line| {
        ["type: assistant", "type: data_processor", "type: api", "type: workflow"].contains(&line.trim_end())
    })
}

#[test]
fn every_agent_in_the_pages_is_valid() {
    let mut checked = 0;
    for page in pages() {
        let text = read(&page);
        for block in
            blocks(&text, "yaml").into_iter().filter(|block| block.starts_with("name:") && is_agent(block))
        {
            let tree = chainbot_core::validate::document(block).expect("it parses");
            if let Err(error) = chainbot_core::task::AgentSpec::read(tree.to_json()) {
                panic!("{}: {error}\n{block}", page.display());
            }
            checked += 1;
        }
    }
    assert!(checked >= 1, "{checked} agents were found");
}

/// Definitions that a page says run as they stand, each with the output under it.
#[test]
fn what_the_guide_says_runs_gives_what_it_shows() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = 0;
    for page in pages() {
        let text = read(&page);
        for rest in text.split("```yaml run\n").skip(1) {
            let (block, rest) = rest.split_once("\n```").unwrap();
            let shown = rest.split("```json\n").nth(1).and_then(|rest| rest.split("\n```").next());
            let expected: Value = serde_json::from_str(shown.expect("the output follows")).unwrap();
            std::fs::write(folder.path().join("block.yaml"), block).unwrap();
            let ended = chainbot(folder.path(), &["run", "block.yaml", "--data", "data", "--json"]);
            let view: Value = serde_json::from_str(&ended.stdout).unwrap_or_default();
            assert_eq!(
                view["run"]["output"],
                expected,
                "{}:\n{block}\n{}{}",
                page.display(),
                ended.stdout,
                ended.stderr
            );
            run += 1;
        }
    }
    assert!(run >= 8, "{run} examples were run");
}

#[test]
fn every_expression_of_the_reference_gives_the_result_beside_it() {
    let page = read("docs/workflows/expressions.md");
    let mut variables = serde_json::Map::new();
    let mut rows: Vec<(String, Value)> = Vec::new();
    for table in page.split("| expression | result |\n|---|---|\n").skip(1) {
        for row in table.lines().take_while(|line| line.starts_with("| `")) {
            let (expression, result) = row[3..].split_once("` | `").unwrap_or_else(|| panic!("{row}"));
            let plain = |text: &str| text.replace("\\|", "|");
            let result = plain(result.strip_suffix("` |").unwrap());
            let result = serde_json::from_str(&result).unwrap_or(Value::Null);
            variables.insert(format!("e{}", rows.len()), Value::from(plain(expression)));
            rows.push((plain(expression), result));
        }
    }
    assert!(rows.len() > 80, "{} rows", rows.len());
    let inputs = serde_json::json!({ "type": "object", "properties": { "missing": {} } });
    let step = serde_json::json!({ "id": "all", "type": "set", "config": { "variables": variables } });
    let workflow = serde_json::json!({ "name": "reference", "inputs": inputs, "steps": [step] });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("all.json"), workflow.to_string()).unwrap();
    let ended = chainbot(folder.path(), &["run", "all.json", "--data", "data", "--json"]);
    let view: Value = serde_json::from_str(&ended.stdout).unwrap_or_default();
    assert_eq!(view["run"]["status"], "completed", "{}{}", ended.stdout, ended.stderr);
    let wrong: Vec<String> = rows
        .iter()
        .enumerate()
        .map(|(number, (expression, wanted))| {
            (expression, wanted, &view["run"]["output"][format!("e{number}")])
        })
        .filter(|(_, wanted, got)| wanted != got)
        .map(|(expression, wanted, got)| format!("{expression} gives {got}, not {wanted}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What there is, by the list that the reviewer of an engine's new version sees.
    for name in read("chainbot-core/src/expr/tests/data/reachable.txt").lines() {
        let (kind, name) = name.split_once(' ').unwrap();
        let is_operator = !name.starts_with(|c: char| c.is_ascii_alphabetic());
        let shown = match kind {
            "filter" => {
                // Those that are functions too are shown as such.
                let is_shown =
                    |row: &str| row.contains(&format!("| {name}")) || row.contains(&format!("{name}("));
                rows.iter().any(|(row, _)| is_shown(row))
            }
            "test" => is_operator || rows.iter().any(|(row, _)| row.contains(&format!("is {name}"))),
            _ => page.contains(&format!("{name}(")) || name.starts_with("__"),
        };
        assert!(shown, "the reference does not show the {kind} `{name}`");
    }
}

#[test]
fn every_link_of_the_pages_leads_somewhere() {
    for page in pages() {
        let text = read(&page);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("http") || target.starts_with('#') {
                continue;
            }
            let path = root().join(&page).parent().unwrap().join(target.split('#').next().unwrap());
            assert!(path.exists(), "{} links to {target}, which is not there", page.display());
        }
    }
}

#[test]
fn the_readme_is_short_and_begins_with_what_to_install() {
    let readme = read("README.md");
    assert!(readme.lines().count() <= 200);
    assert!(readme.lines().next().unwrap().contains("apt-get install"));
    for command in ["make run", "make test"] {
        assert!(readme.contains(command), "{command}");
    }
}

#[test]
fn the_language_page_names_every_type_of_step() {
    let page = read("docs/workflows/steps.md");
    let folder = tempfile::tempdir().unwrap();
    let check = |kind: &str| {
        let source = format!("name: x\nsteps: [{{ id: x, type: {kind} }}]\n");
        std::fs::write(folder.path().join("x.yaml"), source).unwrap();
        let shown = chainbot(folder.path(), &["validate", "x.yaml", "--json"]);
        let report: Value = serde_json::from_str(&shown.stdout).unwrap();
        let codes = report[0]["diagnostics"].as_array().unwrap().iter();
        let mut codes = codes.filter_map(|found| found["code"].as_str()).map(str::to_owned);
        codes.next().unwrap_or_default()
    };
    let listed: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let schema: Value = serde_json::from_str(&read("docs/schemas/workflow.schema.json")).unwrap();
    let types = schema["$defs"]["step"]["properties"]["type"]["enum"].as_array().unwrap();
    assert_eq!(listed.len(), types.len(), "{listed:?} and {types:?}");
    let unknown = check("nonsense");
    for kind in listed {
        assert_ne!(check(kind), unknown, "`{kind}` is listed and not known");
    }
}
