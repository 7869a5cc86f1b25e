//! Every command with `--json` prints JSON and nothing else; shells and readers get what is made of the command line.

use std::collections::BTreeSet;

use serde_json::Value;

use super::cli::{Outcome, chainbot};
use super::support::{golden, has_tool, root};

const GREETS: &str = "name: greets\nsteps: [{ id: a, type: set, config: { variables: { x: 1 } } }]\noutput: { hello: world }\n";
const WAITS: &str = "\
name: waits
triggers: [{ cron: \"0 3 * * *\" }]
steps:
  - { id: before, type: set, config: { variables: { x: 1 } } }
  - { id: ask, type: wait, config: { approval: { message: \"Go on?\" } } }
";
const FAILS: &str = "\
name: fails
steps:
  - { id: call, type: api_call, retry: { attempts: 1 }, config: { url: \"http://127.0.0.1:9/\" } }
";
const TELLS: &str = "\
name: tells
steps:
  - { id: tell, type: webhook, config: { url: \"http://127.0.0.1:9/\", payload: {}, delivery: outbox } }
";
const CONFIG: &str = "\
api: { port: 0 }
egress: { public: false, grants: [{ host: 127.0.0.1, ports: [9], why: test }] }
gpio: { pins: { door: { pin: 24, mode: input } } }
models:
  providers: { local: { kind: openai, base_url: 'http://127.0.0.1:9/v1' } }
  models: { home: { provider: local, model: small } }
";
const OLD: &str = r#"{"name": "old", "type": "sequential", "steps": [{"id": "a", "type": "wait", "config": {"duration": 1}}]}"#;

struct Bench {
    folder: tempfile::TempDir,
    /// Commands that were run, without what they were given.
    covered: BTreeSet<String>,
    commands: Vec<String>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("greets.yaml", GREETS),
            ("waits.yaml", WAITS),
            ("fails.yaml", FAILS),
            ("tells.yaml", TELLS),
            ("config.yaml", CONFIG),
            ("old.json", OLD),
            ("butler.yaml", "name: butler\ninstructions: You keep a house.\n"),
            ("value", "correct horse battery"),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let page = chainbot(folder.path(), &["man", "--markdown"]).stdout;
        let sections = page.split("\n### chainbot ").flat_map(|part| part.split("\n#### chainbot ")).skip(1);
        let with_json = sections.filter(|text| text.contains("--json"));
        let commands = with_json.map(|text| text.lines().next().unwrap().to_owned()).collect();
        Self { folder, covered: BTreeSet::new(), commands }
    }

    /// Runs it with `--json`, and on the bench's folder where it takes one. The words before the first that is no command name it.
    fn shown(&mut self, line: &str) -> Outcome {
        let own = self
            .commands
            .iter()
            .filter(|command| line == *command || line.starts_with(&format!("{command} ")));
        let command =
            own.max_by_key(|command| command.len()).unwrap_or_else(|| panic!("{line} has no --json")).clone();
        let mut words: Vec<&str> = line.split(' ').collect();
        words.push("--json");
        if !["version", "test", "import"].contains(&command.as_str()) {
            words.extend(["--data", "data", "--config", "config.yaml"]);
        }
        self.covered.insert(command);
        chainbot(self.folder.path(), &words)
    }

    /// What it prints, which is JSON, and that its exit code is this one.
    fn ask(&mut self, code: i32, line: &str) -> Value {
        let shown = self.shown(line);
        assert_eq!(shown.code, code, "{line}: {}{}", shown.stdout, shown.stderr);
        serde_json::from_str(&shown.stdout)
            .unwrap_or_else(|error| panic!("{line}: {error}: {}", shown.stdout))
    }
}

#[test]
fn every_command_prints_json_when_asked() {
    let mut bench = Bench::new();
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned();
    bench.ask(0, "version");
    bench.ask(0, "validate waits.yaml");
    bench.ask(0, "config check");
    assert_eq!(bench.ask(0, "config show")["api"]["port"], 0);
    bench.ask(0, "deploy greets.yaml waits.yaml");
    assert_eq!(bench.ask(0, "run greets.yaml")["run"]["output"]["hello"], "world");
    let run = text(&bench.ask(4, "run waits.yaml --no-wait")["run"]["id"]);
    bench.ask(0, "runs");
    bench.ask(0, "workflows");
    let question = text(&bench.ask(0, "inbox")[0]["id"]);
    bench.ask(0, &format!("signal {run} nothing"));
    bench.ask(0, &format!("pause {run}"));
    bench.ask(0, &format!("resume {run}"));
    bench.ask(0, &format!("fork {run} --from ask"));
    bench.ask(0, &format!("answer {question} --action approve"));
    let failed = text(&bench.ask(1, "run fails.yaml")["run"]["id"]);
    bench.ask(0, &format!("retry {failed}"));
    let refused = bench.ask(2, "runs 01932b6e-0f2a-7c40-8000-3c1f4b1d2a00");
    assert!(refused["error"]["code"].as_str().is_some_and(|code| code.starts_with("CB-")), "{refused}");
    let waiting = text(&bench.ask(4, "run waits.yaml --no-wait")["run"]["id"]);
    bench.ask(0, &format!("cancel {waiting}"));
    let journal = bench.shown(&format!("logs {run}"));
    assert_eq!(journal.code, 0, "{}", journal.stderr);
    for line in journal.stdout.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("logs: {error}: {line}"));
    }
    std::fs::write(bench.folder.path().join("greets.yaml"), GREETS.replace("world", "there")).unwrap();
    bench.ask(0, "deploy greets.yaml");
    bench.ask(0, "versions greets");
    bench.ask(1, "diff greets 1 2");
    bench.ask(0, "rollback greets 1");
    bench.ask(0, "share greets --with operator");
    bench.ask(0, "triggers");
    bench.ask(0, "disable waits");
    bench.ask(0, "enable waits");
    bench.ask(0, "secret set token --host a.example --from-file value");
    bench.ask(0, "secret list");
    assert_eq!(bench.ask(0, "secret rotate-key")["secrets"], 1);
    bench.ask(0, "secret export sealed --passphrase-file value");
    assert_eq!(bench.ask(1, "secret import sealed --passphrase-file value")["error"]["code"], "CB-1009");
    bench.ask(0, "secret remove token");
    assert_eq!(bench.ask(0, "secret import sealed --passphrase-file value")["added"][0], "token");
    accounts(&mut bench);
    let sent = bench.ask(0, "run tells.yaml");
    let message = text(&sent["run"]["output"]["message_id"]);
    bench.ask(0, "outbox list");
    bench.ask(0, &format!("outbox resend {message}"));
    // While it is being sent it cannot be removed, which is JSON too.
    let remove = format!("outbox remove {message}");
    let removed = (0..100).any(|_| {
        let shown = bench.shown(&remove);
        serde_json::from_str::<Value>(&shown.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", shown.stdout));
        shown.code == 0
    });
    assert!(removed);
    assert_eq!(bench.ask(0, "model list")[0]["name"], "home");
    bench.ask(1, "model probe home");
    bench.ask(0, "agent deploy butler.yaml");
    // A second time it is the same agent with the same definition.
    assert_eq!(bench.ask(0, "agent deploy butler.yaml")[0]["version"], 1);
    assert_eq!(bench.ask(0, "agent list")[0]["name"], "butler");
    // Nobody configured which model is the default one.
    assert_eq!(bench.ask(1, "agent task butler hello")["run"]["status"], "failed");
    assert_eq!(bench.ask(0, "agent show butler")["tasks_failed"], 1);
    bench.ask(0, "agent tasks butler");
    assert_eq!(bench.ask(1, "chat butler hello")["run"]["status"], "failed");
    bench.ask(0, "agent wake butler");
    assert_eq!(bench.ask(0, "agent terminate butler")["status"], "terminated");
    bench.ask(0, "agent delete butler");
    bench.ask(0, "gpio list");
    bench.ask(0, "gpio set door 1");
    bench.ask(0, "mcp list");
    bench.ask(2, "mcp approve clock");
    bench.ask(0, "backup --name mine");
    bench.ask(0, "backup list");
    bench.ask(0, "backup verify mine");
    bench.ask(0, "restore mine");
    bench.ask(0, "audit list");
    bench.ask(0, "audit verify");
    bench.ask(0, "delete greets");
    bench.ask(0, "doctor");
    bench.ask(0, "fsck");
    bench.ask(0, "import old.json");
    chats(&mut bench);
    let suite = root().join("examples/workflows/order-saga/workflow.test.yaml");
    bench.ask(0, &format!("test {}", suite.display()));
    served(&mut bench);
    let left: Vec<&String> =
        bench.commands.iter().filter(|command| !bench.covered.contains(*command)).collect();
    assert!(left.is_empty(), "not run here: {left:?}");
}

fn chats(bench: &mut Bench) {
    let chat = |id: &str| {
        serde_json::json!({ "title": "Soil", "conversation_id": id, "current_node": "a", "mapping": { "a": { "parent": null,
            "message": { "author": { "role": "user" }, "create_time": 1.7e9, "content": { "content_type": "text", "parts": ["Which soil?"] } } } } })
    };
    let file = bench.folder.path().join("chats.json");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write(&serde_json::json!([chat("a"), chat("b")]).to_string());
    let checked = bench.ask(0, "import chatgpt chats.json --check");
    assert_eq!((&checked["report"]["messages"], checked.get("archive")), (&Value::from(2), None));
    let first = bench.ask(0, "import chatgpt chats.json --name chats");
    assert_eq!((&first["added"], &first["archive"]["messages"]), (&Value::from(2), &Value::from(2)));
    assert_eq!(bench.ask(0, "import chatgpt chats.json --name chats")["added"], 0);
    // What was whole before it breaks off is kept, and repeating the whole file adds the rest.
    let whole = serde_json::json!([chat("c"), chat("d")]).to_string();
    write(&whole[..whole.len() - 9]);
    let broken = bench.ask(2, "import chatgpt chats.json --name chats");
    assert_eq!(broken["error"]["code"], "CB-1256", "{broken}");
    write(&whole);
    let again = bench.ask(0, "import chatgpt chats.json --name chats");
    assert_eq!((&again["added"], &again["archive"]["messages"]), (&Value::from(1), &Value::from(4)));
}

fn accounts(bench: &mut Bench) {
    bench.ask(0, "user add mia --role admin --from-file value");
    bench.ask(0, "user add ben --role viewer --from-file value");
    bench.ask(0, "user list");
    bench.ask(0, "user role ben operator");
    bench.ask(0, "user disable ben");
    bench.ask(0, "user enable ben");
    bench.ask(0, "user password ben --from-file value");
    bench.ask(0, "user remove ben");
    let made = bench.ask(0, "token create sensor --user mia --scope metrics:read");
    bench.ask(0, "token list");
    bench.ask(0, &format!("token revoke {}", made["id"].as_str().unwrap()));
    bench.ask(0, "token rotate-key");
}

/// What needs a server, and what there is without one.
fn served(bench: &mut Bench) {
    bench.ask(1, "status");
    assert_eq!(bench.ask(1, "config reload")["error"]["code"], "CB-0903");
    bench.ask(0, "start");
    bench.ask(0, "status");
    bench.ask(0, "events --since 0 --count 1");
    assert_eq!(
        bench.ask(0, "health")["checks"]["system"]["score"].as_f64().map(|score| score > 0.0),
        Some(true)
    );
    let text = CONFIG.replace("public: false", "public: true");
    std::fs::write(bench.folder.path().join("config.yaml"), text).unwrap();
    let taken = bench.ask(0, "config reload");
    assert_eq!(
        (&taken["keys"][0]["key"], &taken["keys"][0]["effect"]),
        (&"egress.public".into(), &"now".into()),
        "{taken}"
    );
    std::fs::write(bench.folder.path().join("config.yaml"), CONFIG.replace("port: 0", "port: 1")).unwrap();
    let refused = bench.ask(1, "config reload");
    assert!(
        refused["reason"].as_str().unwrap().contains("api.port cannot change while the module runs"),
        "{refused}"
    );
    std::fs::write(bench.folder.path().join("config.yaml"), CONFIG).unwrap();
    bench.ask(0, "stop");
}

#[test]
fn the_page_of_the_command_line_is_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let page = chainbot(folder.path(), &["man", "--markdown"]);
    assert_eq!((page.code, page.stderr.as_str()), (0, ""));
    golden(&root().join("docs/cli.md"), &page.stdout);
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let folder = tempfile::tempdir().unwrap();
    let written = chainbot(folder.path(), &["man", "."]);
    assert_eq!(written.code, 0, "{}", written.stderr);
    let mut names: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".1"))
        .collect();
    names.sort();
    let page = chainbot(folder.path(), &["man", "--markdown"]).stdout;
    let commands =
        page.lines().filter(|line| line.starts_with("### chainbot ") || line.starts_with("#### chainbot "));
    assert_eq!(names.len(), commands.count() + 1, "{names:?}");
    let run = std::fs::read_to_string(folder.path().join("chainbot-run.1")).unwrap();
    assert!(run.contains(".TH chainbot-run 1") && run.contains("hello.yaml"), "{run}");
    let stop = std::fs::read_to_string(folder.path().join("chainbot-stop.1")).unwrap();
    assert!(stop.contains("chainbot stop"), "examples are in the pages: {stop}");
    let refused = chainbot(folder.path(), &["man", "nowhere"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert_eq!(chainbot(folder.path(), &["man"]).code, 2);
}

#[test]
fn shells_complete_commands() {
    let folder = tempfile::tempdir().unwrap();
    for (shell, part) in
        [("bash", "complete -F _chainbot"), ("zsh", "#compdef chainbot"), ("fish", "complete -c chainbot")]
    {
        let script = chainbot(folder.path(), &["completions", shell]);
        assert_eq!(script.code, 0, "{}", script.stderr);
        assert!(
            script.stdout.contains(part) && script.stdout.contains("rotate-key"),
            "{shell}: {}",
            script.stdout
        );
        std::fs::write(folder.path().join(shell), script.stdout).unwrap();
    }
    assert_eq!(chainbot(folder.path(), &["completions", "tcsh"]).code, 2);
    if !has_tool("bash") {
        crate::support::skip!("shells_complete_commands", "no bash to complete with");
    }
    // What bash itself would offer after `chainbot co` and a tab.
    let line = ". ./bash; COMP_WORDS=(chainbot co); COMP_CWORD=1; _chainbot chainbot co chainbot; echo \"${COMPREPLY[@]}\"";
    let offered =
        std::process::Command::new("bash").args(["-c", line]).current_dir(folder.path()).output().unwrap();
    let offered = String::from_utf8(offered.stdout).unwrap();
    assert_eq!(offered.split_whitespace().collect::<Vec<_>>(), ["config", "completions"], "{offered}");
}
