//! The configuration as hosts and people meet it: one `check(document, environment, file)`.

mod mcp;
mod models;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::key::Kind;
use super::{Config, Origin, read, table};
use crate::error::Error;

/// Loads with this file text, these variables and these values of the host.
fn load(file: &str, variables: &[(&str, &str)], values: serde_json::Value) -> Result<Config, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    std::fs::write(&path, file).unwrap();
    let variables =
        variables.iter().map(|(name, text)| (format!("ALEX_OS_CHAINBOT_{name}"), (*text).to_owned()));
    read::load(&json!({ "values": values }).to_string(), variables, &path)
}

/// Every problem as `code line:column path | message | hint`, without the folder of the test.
fn problems(result: Result<Config, Error>) -> Vec<String> {
    let error = result.expect_err("problems were expected");
    assert_eq!(error.code().id, "CB-0500", "{error}");
    error.diagnostics().iter().map(line).collect()
}

fn line(d: &crate::model::Diagnostic) -> String {
    let hint = d.hint.as_deref().map_or_else(String::new, |hint| format!(" | {hint}"));
    format!("{} {}:{} {} | {}{hint}", d.code, d.pos.line, d.pos.column, d.path, d.message)
}

#[test]
fn nothing_gives_the_defaults() {
    let config = read::load("", std::iter::empty(), Path::new("/nonexistent/config.yaml")).unwrap();
    assert_eq!(config.module.name, "chainbot");
    assert_eq!(config.module.data_dir, PathBuf::from("/var/lib/alex_os/chainbot"));
    assert_eq!(config.database.file, PathBuf::from("chainbot.db"));
    assert_eq!((config.api.host.to_string().as_str(), config.api.port), ("127.0.0.1", Some(8000)));
    assert_eq!(config.workflow_engine.retry_delay, Duration::from_secs(5));
    assert_eq!(config.workflow_engine.max_concurrent_workflows, 10);
    assert!(config.egress.public && config.egress.grants.is_empty());
    assert_eq!(config.alex_os.emit_prefixes, ["chainbot.user.", "user."]);
    assert_eq!(config.log_level(), log::LevelFilter::Info);
    assert!(config.warnings().is_empty() && config.file().is_none());
    assert!(config.settings().iter().all(|setting| setting.origin == Origin::Default));
}

/// A looser setting is a line in the operator's file.
#[test]
fn the_defaults_are_the_safe_setting() {
    let config = read::load("", std::iter::empty(), Path::new("/nonexistent/config.yaml")).unwrap();
    assert!(config.api.host.is_loopback() && !config.api.insecure_lan);
    assert!(config.api.rate_limit_per_token > 0 && config.api.rate_limit_burst > 0);
    assert!(config.egress.grants.is_empty(), "nothing on loopback or the local network may be reached");
    assert!(config.security.password_chars_min >= 8);
    assert!(config.security.access_token <= Duration::from_secs(30 * 60));
    assert!(
        config.retention.failed > Duration::ZERO
            && config.retention.failed < Duration::from_secs(10 * 366 * 86_400)
    );
}

#[test]
fn every_default_is_of_its_kind_and_every_path_stands_once() {
    let mut seen = std::collections::BTreeSet::new();
    for key in table::KEYS {
        assert!(seen.insert(key.path), "{} stands twice", key.path);
        assert!(!super::known::is_known(key.path), "{} has effect and is listed as having none", key.path);
        let value: serde_json::Value = serde_json::from_str(key.default).unwrap();
        let node = super::source::from_json(&value);
        let normal =
            super::check::value(key, &node).unwrap_or_else(|p| panic!("{}: {}", key.path, p[0].message));
        assert_eq!(normal, value, "the default of {} is not in normal form", key.path);
        assert!(key.doc.ends_with('.') || key.doc.ends_with(']'), "{}", key.path);
    }
}

#[test]
fn a_file_beats_defaults_the_environment_beats_a_file_and_the_host_beats_all() {
    let file = "api:\n  port: 1001\n  timeout: 45s\nworkflow_engine:\n  max_queued: 5\n";
    let config =
        load(file, &[("PORT", "1002"), ("API__TIMEOUT", "50")], json!({ "api": { "timeout": "1m" } }))
            .unwrap();
    assert_eq!(config.api.port, Some(1002));
    assert_eq!(config.api.timeout, Duration::from_secs(60));
    assert_eq!(config.workflow_engine.max_queued, 5);
    let origin = |path| config.origin(path).unwrap().to_string();
    assert_eq!(origin("api.port"), "environment ALEX_OS_CHAINBOT_PORT");
    assert_eq!(origin("api.timeout"), "host");
    assert_eq!(origin("workflow_engine.max_queued"), "file");
    assert_eq!(origin("api.host"), "default");
}

#[test]
fn the_long_name_of_a_variable_beats_the_short_one() {
    let config = load("", &[("PORT", "1"), ("API__PORT", "2")], json!({})).unwrap();
    assert_eq!(config.api.port, Some(2));
}

#[test]
fn variables_reach_every_kind_of_key() {
    let config = load(
        "",
        &[
            ("HOST", "::1"),
            ("API__PORT", "none"),
            ("API__INSECURE_LAN", "TRUE"),
            ("LOG_LEVEL", "warning"),
            ("DATABASE_URL", "sqlite:sub/db.sqlite"),
            ("WORKFLOW_ENGINE__RETRY_DELAY", "2m"),
            ("ALEX_OS__EMIT_PREFIXES", "house., garden."),
            ("EGRESS__GRANTS", r#"[{"host": "Heater.lan", "ports": [80], "why": "the heating"}]"#),
        ],
        json!({}),
    )
    .unwrap();
    assert_eq!(config.api.host.to_string(), "::1");
    assert_eq!(config.api.port, None);
    assert!(config.api.insecure_lan);
    assert_eq!(config.log_level(), log::LevelFilter::Warn);
    assert_eq!(config.database.file, PathBuf::from("sub/db.sqlite"));
    assert_eq!(config.workflow_engine.retry_delay, Duration::from_secs(120));
    assert_eq!(config.alex_os.emit_prefixes, ["house.", "garden."]);
    assert_eq!(config.egress.grants[0].host, "heater.lan");
    assert_eq!(config.egress.grants[0].ports, [80]);
}

#[test]
fn a_time_bound_for_every_run_is_known_and_refused_its_effect() {
    let config = load("workflow_engine: { workflow_timeout: 2h }\n", &[], json!({})).unwrap();
    let [warning] = config.warnings() else { panic!("{:?}", config.warnings()) };
    assert_eq!((warning.code, warning.path.as_str()), ("CB-0504", "workflow_engine.workflow_timeout"));
    assert!(warning.hint.as_deref().is_some_and(|hint| hint.contains("into the definition")), "{warning:?}");
}

#[test]
fn every_problem_of_every_source_is_listed_at_once() {
    let file = "\
module:
  name: my bot
apu:
  port: 1
api:
  prot: 8000
  port: 70000
  timeout: soon
logging:
  level: verbose
workflow_engine:
  max_concurrent_workflows: \"20\"
  retry_attempts: -1
";
    let found =
        problems(load(file, &[("PROT", "1"), ("API__TIMEOUT", "9h")], json!({ "egress": { "public": 1 } })));
    let expected = [
        "CB-0503 2:9 module.name | `module.name` takes a name of letters, digits, `_` and `-`, at most 64 characters, not \"my bot\"",
        "CB-0502 3:1 apu | there is no section `apu` | did you mean `api`?",
        "CB-0502 6:3 api.prot | there is no key `api.prot` | did you mean `api.port`?",
        "CB-0503 7:9 api.port | `api.port` takes a port from 0 to 65535, or null for none, not 70000",
        "CB-0503 8:12 api.timeout | `api.timeout` takes seconds from 1 to 300, or a duration such as 30s, 5m, 1h30m, not \"soon\"",
        "CB-0503 10:10 logging.level | `logging.level` takes one of DEBUG, INFO, WARNING, WARN, ERROR, CRITICAL, not \"verbose\"",
        "CB-0503 12:29 workflow_engine.max_concurrent_workflows | `workflow_engine.max_concurrent_workflows` takes a whole number from 1 to 10000, not \"20\" | write 20 without quotes",
        "CB-0503 13:19 workflow_engine.retry_attempts | `workflow_engine.retry_attempts` takes a whole number from 0 to 10, not -1",
        "CB-0502 0:0 PROT | environment variable ALEX_OS_CHAINBOT_PROT: no setting has this name | did you mean ALEX_OS_CHAINBOT_PORT?",
        "CB-0503 0:0 api.timeout | environment variable ALEX_OS_CHAINBOT_API__TIMEOUT: `api.timeout` takes seconds from 1 to 300, or a duration such as 30s, 5m, 1h30m, not \"9h\"",
        "CB-0503 0:0 egress.public | value given by the host: `egress.public` takes true or false, not 1",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_refused_value_of_one_source_is_not_hidden_by_a_later_one() {
    let found = problems(load("api:\n  port: many\n", &[("PORT", "8000")], json!({})));
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn keys_without_effect_are_warnings_and_never_show_their_value() {
    let file = "api:\n  workers: 4\ngpt_integration:\n  openai: { organization_id: hunter2 }\nentanglement: { max_entanglements: hunter2 }\n";
    let variable = [("GPT_INTEGRATION__MACLINK__HEALTH_CHECK_INTERVAL", "hunter2")];
    let config = load(file, &variable, json!({ "audit": { "enabled": true } })).unwrap();
    let lines: Vec<String> = config.warnings().iter().map(line).collect();
    assert_eq!(lines.len(), 5, "{lines:#?}");
    assert!(
        lines[0].starts_with("CB-0504 2:3 api.workers | `api.workers` is known and has no effect"),
        "{lines:#?}"
    );
    assert!(lines[1].contains("4:13 gpt_integration.openai.organization_id"), "{lines:#?}");
    assert!(lines[2].contains("entanglement.max_entanglements"), "{lines:#?}");
    assert!(
        lines[3].contains(
            "environment variable ALEX_OS_CHAINBOT_GPT_INTEGRATION__MACLINK__HEALTH_CHECK_INTERVAL"
        )
    );
    assert!(lines[4].contains("audit.enabled") && lines[4].contains("leave it out"), "{lines:#?}");
    assert!(!format!("{config:?}").contains("hunter2"), "a value that looks secret was kept");
}

#[test]
fn an_address_beyond_loopback_needs_to_be_asked_for() {
    let found = problems(load("api:\n  host: 0.0.0.0\n", &[], json!({})));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("CB-0505 2:9 api.host | api.host 0.0.0.0 is not loopback"), "{}", found[0]);
    let config = load("api:\n  host: 0.0.0.0\n  insecure_lan: true\n", &[], json!({})).unwrap();
    assert_eq!(config.api.host.to_string(), "0.0.0.0");
    for host in ["127.0.0.1", "127.8.8.8", "::1", "localhost"] {
        load("", &[("HOST", host)], json!({})).unwrap();
    }
    for host in ["example.org", "127.1", "", "0x7f000001"] {
        assert!(problems(load("", &[("HOST", host)], json!({})))[0].starts_with("CB-0503"), "{host}");
    }
}

#[test]
fn a_database_lies_within_the_data_folder_or_is_refused() {
    for url in [
        "sqlite:/etc/passwd",
        "sqlite:../x.db",
        "sqlite:",
        "sqlite:a/",
        "chainbot.db",
        "mysql:x",
        "sqlite:a/../b",
    ] {
        let found = problems(load("", &[("DATABASE_URL", url)], json!({})));
        assert!(found[0].starts_with("CB-0503"), "{url}: {found:?}");
    }
    let found = problems(load("", &[("DATABASE_URL", "postgresql://u:hunter2@h/db")], json!({})));
    assert!(found[0].contains("PostgreSQL") && !found[0].contains("hunter2"), "{found:?}");
}

#[test]
fn a_grant_names_one_host_its_ports_and_the_reason() {
    let grants = json!([
        { "host": "*.lan", "ports": [80], "why": "all" },
        { "host": "http://x", "ports": [], "why": "x" },
        { "host": "x", "ports": [0, 70000, "80"], "why": " " },
        { "host": "x", "port": [80], "why": "x" },
        "x",
        { "host": "[fd00::1]", "ports": [443], "why": "fine" },
    ]);
    let found = problems(load("", &[], json!({ "egress": { "grants": grants } })));
    let places: Vec<&str> = found.iter().map(|line| line.split(' ').nth(2).unwrap()).collect();
    assert_eq!(
        places,
        [
            "egress.grants[0].host",
            "egress.grants[1].host",
            "egress.grants[1].ports",
            "egress.grants[2].ports[0]",
            "egress.grants[2].ports[1]",
            "egress.grants[2].ports[2]",
            "egress.grants[2].why",
            "egress.grants[3].port",
            "egress.grants[3].ports",
            "egress.grants[4]",
        ],
        "{found:#?}"
    );
    assert!(found[0].starts_with("CB-0505"), "a wildcard is refused for safety");
    assert!(found[7].ends_with("did you mean `ports`?"), "{}", found[7]);
}

#[test]
fn old_names_are_told_their_new_ones() {
    let found = problems(load("workflow:\n  x: 1\nalex_os_integration: {}\n", &[], json!({})));
    assert!(found[0].ends_with("it is called `workflow_engine` here"), "{found:?}");
    assert!(found[1].ends_with("it is called `alex_os` here"), "{found:?}");
}

#[test]
fn a_file_of_comments_and_a_section_without_keys_set_nothing() {
    load("# nothing\n\n# here\n", &[], json!({})).unwrap();
    load("api:\n#  port: 1\nlogging:\n", &[], json!({})).unwrap();
    load("", &[], json!({})).unwrap();
}

#[test]
fn a_file_that_is_not_yaml_is_told_where() {
    let found = problems(load("api:\n  port: [1\nmodule: {}\n", &[], json!({})));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("CB-0506 "), "{found:?}");
    assert!(!found[0].starts_with("CB-0506 0:0"), "{found:?}");
    assert!(problems(load("just text\n", &[], json!({})))[0].contains("a map of sections"));
    assert!(problems(load("api: 5\n", &[], json!({})))[0].contains("`api` is a section"));
}

#[test]
fn a_missing_file_matters_only_when_it_was_asked_for() {
    let missing = Path::new("/nonexistent/config.yaml");
    read::load("{}", std::iter::empty(), missing).unwrap();
    let error =
        read::load(r#"{"file": "/nonexistent/config.yaml"}"#, std::iter::empty(), missing).unwrap_err();
    assert_eq!(error.code().id, "CB-0501");
    assert!(error.message().contains("/nonexistent/config.yaml"));
    let folder = tempfile::tempdir().unwrap();
    let error = read::load("", std::iter::empty(), folder.path()).unwrap_err();
    assert_eq!(error.code().id, "CB-0501", "a folder is not a file: {error}");
}

#[test]
fn a_file_over_its_bound_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("big.yaml");
    std::fs::write(&path, "#".repeat(crate::limits::CONFIG_BYTES_MAX + 1)).unwrap();
    let error = read::load("", std::iter::empty(), &path).unwrap_err();
    assert_eq!(error.code().id, "CB-0501");
    assert!(error.message().contains("over"), "{error}");
}

#[test]
fn the_hosts_document_has_three_fields_and_no_others() {
    let none = Path::new("/nonexistent/config.yaml");
    for (document, part) in [
        ("[]", "not an object"),
        ("{", "not JSON"),
        (r#"{"api": {}}"#, "put the section `api` into `values`"),
        (r#"{"valeus": {}}"#, "did you mean `values`?"),
        (r#"{"file": 5}"#, "`file` takes a path"),
        (r#"{"values": []}"#, "`values` takes an object"),
    ] {
        let error = read::load(document, std::iter::empty(), none).unwrap_err();
        assert_eq!(error.code().id, "CB-0507", "{document}");
        assert!(error.message().contains(part), "{document}: {error}");
    }
    for document in ["", "  ", "{}", r#"{"file": null, "data_dir": null, "values": null}"#] {
        read::load(document, std::iter::empty(), none).unwrap();
    }
}

#[test]
fn the_data_folder_is_absolute_and_counts_from_whoever_named_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    std::fs::write(&path, "module: { data_dir: state/bot }\n").unwrap();
    let config = read::load("", std::iter::empty(), &path).unwrap();
    assert_eq!(config.module.data_dir, folder.path().join("state/bot"));
    let config = read::load(r#"{"data_dir": "here"}"#, std::iter::empty(), &path).unwrap();
    assert_eq!(config.module.data_dir, std::env::current_dir().unwrap().join("here"));
    assert_eq!(config.origin("module.data_dir"), Some(&Origin::Host));
    let both = r#"{"data_dir": "/a", "values": {"module": {"data_dir": "/b"}}}"#;
    let error = read::load(both, std::iter::empty(), &path).unwrap_err();
    assert_eq!(error.diagnostics()[0].code, "CB-0507");
}

#[test]
fn the_default_file_is_the_defaults() {
    let text = Config::default_yaml();
    let config = load(&text, &[], json!({})).unwrap();
    for setting in config.settings() {
        let default: serde_json::Value = serde_json::from_str(setting.key.default).unwrap();
        assert_eq!((&setting.value, &setting.origin), (&default, &Origin::File), "{}", setting.key.path);
    }
    assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
}

#[test]
fn the_schema_takes_what_the_reader_takes_and_refuses_what_it_refuses() {
    let schema = jsonschema::validator_for(&Config::schema()).unwrap();
    let good = [
        json!({}),
        json!(null),
        json!({ "api": null, "module": { "name": "x", "log_level": "debug" } }),
        json!({ "api": { "port": null, "timeout": "1m30s" }, "gpt_integration": { "openai": {} } }),
        json!({ "egress": { "grants": [{ "host": "h", "ports": [1], "why": "w" }] } }),
        json!({ "security": { "secret_key": "${file:/run/secrets/key}" } }),
        json!({ "monitoring": { "alerting": null } }),
    ];
    for values in good {
        assert!(schema.is_valid(&values), "schema refuses {values}");
        load("", &[], if values.is_null() { json!({}) } else { values.clone() })
            .unwrap_or_else(|e| panic!("{e:?}"));
    }
    let bad = [
        json!({ "apu": {} }),
        json!({ "api": { "prot": 1 } }),
        json!({ "api": { "port": 65536 } }),
        json!({ "monitoring": { "alerting": { "cpu_treshold": 70 } } }),
        json!({ "raspberry_pi": { "gpio_pins": 5 } }),
        json!({ "api": { "timeout": 0 } }),
        json!({ "logging": { "level": "loud" } }),
        json!({ "database": { "url": "sqlite:/etc/x" } }),
        json!({ "egress": { "grants": [{ "host": "h", "ports": [] , "why": "w" }] } }),
        json!({ "alex_os": { "emit_prefixes": ["no-dot"] } }),
    ];
    for values in bad {
        assert!(!schema.is_valid(&values), "schema takes {values}");
        assert!(load("", &[], values.clone()).is_err(), "the reader takes {values}");
    }
}

#[test]
fn what_is_shown_loads_to_the_same_again() {
    let values = json!({ "api": { "port": null, "timeout": "1m" }, "logging": { "level": "warn" } });
    let first = load("", &[], values).unwrap();
    let second = load("", &[], first.show()).unwrap();
    assert_eq!(first.show(), second.show());
    assert_eq!(second.api.timeout, Duration::from_secs(60));
}

#[test]
fn every_kind_says_what_it_takes() {
    for key in table::KEYS {
        assert!(!key.kind.takes().is_empty());
        assert_eq!(matches!(key.kind, Kind::Grants), key.path == "egress.grants");
    }
}

#[test]
fn every_code_of_this_area_has_a_page_with_its_title() {
    for code in crate::error::code::config::ALL {
        let path = format!("{}/../docs/errors/{}.md", env!("CARGO_MANIFEST_DIR"), code.id);
        let page = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(page.starts_with(&format!("# {}: {}\n", code.id, code.title)), "{path} has another heading");
    }
}

#[test]
fn channels_are_read_with_their_defaults_and_shown_as_they_load() {
    let channels = json!({
        "phone": { "kind": "ntfy", "topic": "beds", "token": "ntfy_token" },
        "family": { "kind": "telegram", "token": "bot_token", "chat": -42 },
        "home": { "kind": "mqtt", "host": "broker.lan", "topic": "home/beds", "tls": false },
    });
    let config = load("", &[], json!({ "notification": { "channels": channels } })).unwrap();
    let shown = load("", &[], config.show()).unwrap();
    assert_eq!(config.notification, shown.notification);
    let names: Vec<&str> = config.notification.channels.iter().map(|channel| channel.name.as_str()).collect();
    assert_eq!(names, ["family", "home", "phone"]);
    let crate::step::Way::Mqtt { broker, .. } = &config.notification.channels[1].way else {
        panic!("{names:?}")
    };
    assert_eq!((broker.port, broker.is_encrypted), (1_883, false));
}

#[test]
fn mistakes_in_channels_are_named_with_their_place() {
    for (channel, path, part) in [
        (json!({ "kind": "nfty", "topic": "a" }), "x.kind", "no kind of channel"),
        (json!({ "topic": "a" }), "x.kind", "needs `kind`"),
        (json!("phone"), "x", "is a map"),
        (json!({ "kind": "ntfy" }), "x.topic", "needs `topic`"),
        (json!({ "kind": "ntfy", "topic": "a b" }), "x.topic", "letters, digits"),
        (json!({ "kind": "ntfy", "topic": "a", "tokn": "t" }), "x.tokn", "has no `tokn`"),
        (json!({ "kind": "ntfy", "topic": "a", "token": "tk_SECRET" }), "x.token", "name of a secret"),
        (json!({ "kind": "ntfy", "topic": "a", "url": "https://u:p@h/" }), "x.url", "takes an address"),
        (json!({ "kind": "ntfy", "topic": "a", "tags": "b" }), "x.tags", "a list"),
        (json!({ "kind": "telegram", "token": "t", "chat": "us" }), "x.chat", "number of a chat"),
        (json!({ "kind": "mqtt", "host": "h", "topic": "a/#" }), "x.topic", "without `+` and `#`"),
        (json!({ "kind": "mqtt", "host": "h", "topic": "a", "port": 0 }), "x.port", "1 to 65535"),
        (json!({ "kind": "mqtt", "host": "h", "topic": "a", "password": "p" }), "x.user", "needs a `user`"),
    ] {
        let values = json!({ "notification": { "channels": { "x": channel } } });
        let error = load("", &[], values).unwrap_err();
        let found = &error.diagnostics()[0];
        assert_eq!(found.path, format!("notification.channels.{path}"), "{channel}");
        assert!(found.message.contains(part), "{channel}: {}", found.message);
    }
    let values = json!({ "notification": { "channels": { "gui": { "kind": "ntfy", "topic": "a" } } } });
    assert!(load("", &[], values).is_err(), "a name that is taken");
}

#[test]
fn constants_are_any_values_by_name() {
    let values =
        json!({ "workflow_engine": { "constants": { "zone": "north", "limits": { "mm": [1, 2] } } } });
    let config = load("", &[], values).unwrap();
    assert_eq!(*config.workflow_engine.constants["limits"], json!({ "mm": [1, 2] }));
    assert!(load("", &[], json!({ "workflow_engine": { "constants": { "a-b": 1 } } })).is_err());
}

#[test]
fn a_misspelt_key_below_a_map_is_found_and_suggested() {
    let file = "monitoring:\n  alerting:\n    cpu_treshold: 70\n  alerting_: 5\n";
    let found = problems(load(file, &[], json!({})));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("CB-0502 3:5 monitoring.alerting.cpu_treshold"), "{found:#?}");
    assert!(found[0].ends_with("did you mean `monitoring.alerting.cpu_threshold`?"), "{found:#?}");
    let found = problems(load("monitoring: { alerting: 5 }\n", &[], json!({})));
    assert!(found[0].contains("`monitoring.alerting` is a map of keys"), "{found:#?}");
}

#[test]
fn a_reference_is_taken_where_a_secret_is_and_nowhere_else() {
    let file = "\
module: { name: \"${HOME}\" }
api:
  host: ${file:/etc/host}
security:
  secret_key: ${env:KEY}
workflow_engine:
  constants: { deep: [{ key: \"${credential:x}\" }] }
email:
  accounts:
    - { name: main, host: h.example, from: \"a@b.c\", user: \"${file:/u}\", password: \"${file:p}\" }
";
    let found = problems(load(file, &[], json!({})));
    let places: Vec<String> =
        found.iter().map(|line| line.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        places,
        [
            "CB-0510 1:17 module.name",
            "CB-0510 3:9 api.host",
            "CB-0510 5:15 security.secret_key",
            "CB-0510 7:30 workflow_engine.constants.deep[0].key",
            "CB-0510 10:59 email.accounts[0].user",
            "CB-0510 10:83 email.accounts[0].password",
        ],
        "{found:#?}"
    );
    assert!(
        found[0]
            .ends_with("write ${file:/path} for a file, or ${credential:name} for a credential of systemd")
    );
    assert!(found[1].contains("`api.host` takes no reference"), "{found:#?}");
}

#[test]
fn references_are_kept_with_the_hosts_of_their_use_and_read_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("mail");
    std::fs::write(&secret, "correct horse battery\n").unwrap();
    let private =
        |mode| std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    private(0o600);
    let reference = format!("${{file:{}}}", secret.display());
    let values = json!({
        "email": { "accounts": [
            { "name": "main", "host": "smtp.example", "from": "a@b.c", "user": "bot", "password": reference },
        ] },
        "notification": { "channels": {
            "phone": { "kind": "ntfy", "url": "http://10.0.0.5:81", "topic": "beds", "token": reference },
            "family": { "kind": "telegram", "token": "${credential:bot}", "chat": 5 },
            "plain": { "kind": "ntfy", "topic": "beds", "token": "ntfy_token" },
        } },
    });
    let config = load("", &[], values).unwrap();
    let references: Vec<(String, Vec<String>)> =
        config.references().into_iter().map(|(one, hosts)| (one.to_string(), hosts)).collect();
    assert_eq!(
        references,
        [
            (reference.clone(), vec!["smtp.example:587".to_owned(), "http://10.0.0.5:81".to_owned()]),
            ("${credential:bot}".to_owned(), vec!["api.telegram.org".to_owned()]),
        ]
    );
    assert!(config.show().to_string().contains(&reference));
    let wrong: Vec<String> = config.check_references().iter().map(ToString::to_string).collect();
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(wrong[0].contains("${credential:bot}"), "{wrong:?}");
    private(0o604);
    assert_eq!(config.check_references().len(), 2);
}

#[test]
fn a_signing_key_is_strong_and_never_shown() {
    let key = "q8TzVb1nRk5xWd2mLp7sYh4cJf9gAe3u";
    let config = load("", &[("SECRET_KEY", key)], json!({})).unwrap();
    assert_eq!(config.show()["security"]["secret_key"], "***");
    assert!(!format!("{config:?}").contains(key));
    let own = config.security.secret_key.as_ref().unwrap();
    assert_eq!(own.signing_key(None).unwrap().reveal(), key);
    let other = load("", &[("SECRET_KEY", &key.replace('q', "r"))], json!({})).unwrap();
    assert_eq!(config.changes(&other).restart, ["security.secret_key"]);
    assert!(config.changes(&config).restart.is_empty());
    for weak in ["hunter2-hunter2", "change-me-change-me-change-me-change-me-change-me"] {
        let found = problems(load(&format!("security:\n  secret_key: {weak}\n"), &[], json!({})));
        assert!(
            found[0].starts_with("CB-0503 2:15 security.secret_key") && !found[0].contains(weak),
            "{found:?}"
        );
    }
    let found = problems(load("security: { algorithm: HS512 }\n", &[], json!({})));
    assert!(found[0].contains("`security.algorithm` takes one of HS256"), "{found:?}");
}

#[test]
fn bare_variables_of_the_predecessor_are_told_their_new_names() {
    let set = ["PATH", "HOST", "AUDIT_RETENTION_DAYS", "OLLAMA_PORT", "ALEX_OS_CHAINBOT_PORT"];
    let found = super::known::bare_variables(set.into_iter());
    let name = |text: &str| Some(format!("ALEX_OS_CHAINBOT_{text}"));
    assert_eq!(
        found,
        [
            ("HOST", name("API__HOST")),
            ("AUDIT_RETENTION_DAYS", name("RETENTION__AUDIT")),
            ("OLLAMA_PORT", None)
        ]
    );
    let is_there = |path: &str| table::key(path).is_some() || super::known::is_known(path);
    let keys = super::known::BARE_ENV.iter().filter_map(|(_, key)| *key);
    let changed = super::known::CHANGED.iter().map(|(key, _)| *key);
    let instead = super::known::INSTEAD.iter().map(|(key, _)| *key);
    for key in keys.chain(changed).chain(instead) {
        assert!(is_there(key), "{key}");
    }
}
