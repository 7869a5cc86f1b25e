//! SQL against a running module, in every filter, sort and cursor of a list. The routes and their parameters come from its own
//! document. Names that climb out of folders are in `trace.rs`.

use serde_json::{Value, json};

use crate::server::{Door, Server, data};
use crate::support::root;

const JSON: &str = "content-type: application/json";
const YAML: &str = "content-type: application/yaml";
/// Neither the rate nor the load of the machine is what this is about.
const UNLIMITED: &[&str] = &["api.rate_limit_per_token=0"];

fn lines(name: &str) -> Vec<String> {
    let path = root().join("tests/data/hostile").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(str::to_owned).collect()
}

/// Method, path and operation of every route.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let all = paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation.clone()))
    });
    all.collect()
}

/// Percent-encodes everything that a query may not hold as it is.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Lists with something in them.
fn filled(door: &Door) {
    for name in ["alpha", "beta"] {
        let source = format!(
            "name: {name}\nsteps:\n  - {{ id: ask, type: wait, config: {{ approval: {{ message: Shall I go on, actions: [approve, reject] }} }} }}\n"
        );
        let made = door.ask("POST workflows", &[YAML], &source);
        assert_eq!(made.status, 201, "{made:?}");
        assert_eq!(door.ask(&format!("POST workflows/{name}/runs"), &[JSON], "{}").status, 201);
    }
    let user = json!({ "name": "mia", "role": "admin", "password": "three words apart" }).to_string();
    assert_eq!(door.ask("POST users", &[JSON], &user).status, 201);
}

#[test]
fn sql_in_a_filter_a_sort_or_a_cursor_finds_nothing_more_and_breaks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(&data(&folder), UNLIMITED);
    let door = &server.port;
    filled(door);
    let document = door.ask("GET openapi.json", &[], "").json();
    let injections = lines("sql.txt");
    assert!(injections.len() >= 200, "{}", injections.len());
    let ids = |path: &str| door.ask(&format!("GET {path}"), &[], "").json().as_array().unwrap().len();
    let before = (ids("workflows"), ids("runs"), ids("users"));
    let (mut asked, mut answered) = (0, 0);
    for (method, path, operation) in operations(&document) {
        // A stream of events is no list, and does not end.
        if method != "GET" || path.ends_with("/events") {
            continue;
        }
        let concrete = path
            .replace("{id}", "alpha")
            .replace("{v}", "1")
            .replace("{name}", "none")
            .replace("{key}", "none");
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        for parameter in parameters.filter(|one| one["in"] == "query") {
            let name = parameter["name"].as_str().unwrap();
            for text in &injections {
                let line = format!("GET {concrete}?{name}={}", escaped(text));
                let reply = door.ask(&line, &[], "");
                asked += 1;
                assert!(reply.status == 200 || (400..500).contains(&reply.status), "{line}: {reply:?}");
                assert!(
                    text.contains("sqlite") || !reply.body.to_lowercase().contains("sqlite"),
                    "{line}: {reply:?}"
                );
                if reply.status == 200 && reply.header("content-type") == "application/json" {
                    answered += 1;
                    let rows = reply.json().as_array().map_or(0, Vec::len);
                    // A filter that names nothing finds nothing; a cursor is a place in a list and never all of another; some of the texts are columns that a list can be sorted by.
                    assert!(
                        rows == 0 || ["cursor", "limit", "since", "sort"].contains(&name),
                        "{line}: {reply:?}"
                    );
                }
            }
        }
    }
    assert!(asked > 2_500 && answered > 400, "{asked} {answered}");
    assert_eq!((ids("workflows"), ids("runs"), ids("users")), before);
    assert_eq!(door.ask("GET audit/verify", &[], "").json()["ok"], true);
}

#[test]
fn no_spelling_of_a_path_leaves_the_files_of_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(&data(&folder), UNLIMITED);
    // Beside what is served there is something to find.
    std::fs::write(folder.path().join("secret.txt"), "root:x:0:0").unwrap();
    let spellings = lines("paths.txt");
    assert!(spellings.len() >= 200, "{}", spellings.len());
    let script = server.port.ask("GET /docs/docs.js", &[], "");
    assert_eq!((script.status, script.header("content-type")), (200, "text/javascript; charset=utf-8"));
    for spelling in &spellings {
        // As it is where a request can hold it, and with every byte escaped.
        let plain = spelling.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#' && byte != b'?');
        for name in [Some(escaped(spelling)), plain.then(|| spelling.clone())].into_iter().flatten() {
            for prefix in ["/docs/", "/docs/docs.js/", "/", "/api/chainbot/docs/"] {
                for door in [&server.port, &server.host] {
                    let reply = door.ask(&format!("GET {prefix}{name}"), &[], "");
                    assert!((400..500).contains(&reply.status), "{prefix}{name}: {reply:?}");
                    assert!(
                        !reply.body.contains("root:") && !reply.body.contains("function"),
                        "{prefix}{name}: {reply:?}"
                    );
                }
            }
        }
    }
}
