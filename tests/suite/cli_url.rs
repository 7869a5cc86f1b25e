//! Every command with `--url`: it works on the server that is named, or says that it is about this machine.

use std::collections::BTreeSet;

use serde_json::Value;

use super::cli::{Outcome, chainbot};
use crate::server::{Server, data};

const GREETS: &str = "name: greets\nsteps: [{ id: a, type: set, config: { variables: { x: 1 } } }]\noutput: { hello: world }\n";
const ASKS: &str = "name: asks\ntriggers: [{ cron: \"0 3 * * *\" }]\nsteps:\n  - { id: ask, type: wait, config: { approval: { message: \"Go on?\" } } }\n";
const FAILS: &str = "name: fails\nsteps:\n  - { id: call, type: api_call, retry: { attempts: 1 }, config: { url: \"http://127.0.0.1:9/\" } }\n";
const TELLS: &str = "name: tells\nsteps:\n  - { id: tell, type: webhook, config: { url: \"http://127.0.0.1:9/\", payload: {}, delivery: outbox } }\n";
const CHATS: &str = r#"[{"title": "Soil", "conversation_id": "a", "current_node": "a", "mapping": {"a": {"parent": null, "message":
    {"author": {"role": "user"}, "create_time": 1.7e9, "content": {"content_type": "text", "parts": ["Which soil?"]}}}}}]"#;
/// What is done to the data folder and the processes of a machine, which no server lends out.
const OF_THIS_MACHINE: &[&str] = &[
    "start",
    "stop",
    "doctor",
    "fsck",
    "restore x",
    "config check",
    "config reload",
    "backup verify x",
    "secret export x",
    "mcp list",
    "mcp approve x",
    "secret import value",
];

struct Bench {
    folder: tempfile::TempDir,
    url: String,
    covered: BTreeSet<String>,
    commands: Vec<String>,
}

impl Bench {
    /// Runs it on the server, with `--json` where there is that.
    fn shown(&mut self, line: &str) -> Outcome {
        let own = self
            .commands
            .iter()
            .filter(|command| line == *command || line.starts_with(&format!("{command} ")));
        let command =
            own.max_by_key(|command| command.len()).unwrap_or_else(|| panic!("{line} has no --url")).clone();
        let url = self.url.clone();
        let mut words: Vec<&str> = line.split(' ').collect();
        words.extend(["--url", &url, "--token-file", "token"]);
        if !["graph", "audit export"].contains(&command.as_str()) {
            words.push("--json");
        }
        self.covered.insert(command);
        chainbot(self.folder.path(), &words)
    }

    fn ask(&mut self, code: i32, line: &str) -> Value {
        let shown = self.shown(line);
        assert_eq!(shown.code, code, "{line}: {}{}", shown.stdout, shown.stderr);
        serde_json::from_str(&shown.stdout)
            .unwrap_or_else(|error| panic!("{line}: {error}: {}", shown.stdout))
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

#[test]
fn every_command_works_on_a_server_that_is_named_or_says_why_not() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&data(&folder));
    for (name, text) in [
        ("greets.yaml", GREETS),
        ("asks.yaml", ASKS),
        ("fails.yaml", FAILS),
        ("tells.yaml", TELLS),
        ("chats.json", CHATS),
        ("butler.yaml", "name: butler\ninstructions: You keep a house.\n"),
        ("value", "correct horse battery"),
        ("token", server.port.token.as_str()),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let page = chainbot(folder.path(), &["man", "--markdown"]).stdout;
    let sections = page.split("\n### chainbot ").flat_map(|part| part.split("\n#### chainbot ")).skip(1);
    let with_url = sections.filter(|text| text.contains("`--url`"));
    let commands = with_url.map(|text| text.lines().next().unwrap().to_owned()).collect();
    let url = format!("http://{}", server.port.address);
    let mut bench = Bench { folder, url, covered: BTreeSet::new(), commands };
    workflows(&mut bench);
    people(&mut bench);
    rest(&mut bench);
    for line in OF_THIS_MACHINE {
        assert_eq!(bench.ask(2, line)["error"]["code"], "CB-0900", "{line}");
    }
    let left: Vec<&String> =
        bench.commands.iter().filter(|command| !bench.covered.contains(*command)).collect();
    assert!(left.is_empty(), "not run here: {left:?}");
    assert!(!bench.folder.path().join("state").exists(), "no data folder of this machine was touched");
}

fn workflows(bench: &mut Bench) {
    bench.ask(0, "validate greets.yaml");
    bench.ask(0, "deploy greets.yaml asks.yaml");
    assert_eq!(bench.ask(0, "run greets.yaml")["run"]["output"]["hello"], "world");
    let run = text(&bench.ask(4, "run asks.yaml --no-wait")["run"]["id"]);
    let shown = bench.shown(&format!("graph greets.yaml --run {run}"));
    assert!(shown.code == 0 && shown.stdout.contains("flowchart"), "{}{}", shown.stdout, shown.stderr);
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
    let waiting = text(&bench.ask(4, "run asks.yaml --no-wait")["run"]["id"]);
    bench.ask(0, &format!("cancel {waiting}"));
    assert_eq!(bench.shown(&format!("logs {run}")).code, 0);
    std::fs::write(bench.folder.path().join("greets.yaml"), GREETS.replace("world", "there")).unwrap();
    bench.ask(0, "deploy greets.yaml");
    bench.ask(0, "versions greets");
    bench.ask(1, "diff greets 1 2");
    bench.ask(0, "rollback greets 1");
    bench.ask(0, "share greets --with operator");
    bench.ask(0, "triggers");
    bench.ask(0, "disable asks");
    bench.ask(0, "enable asks");
    let sent = bench.ask(0, "run tells.yaml");
    let message = text(&sent["run"]["output"]["message_id"]);
    bench.ask(0, "outbox list");
    bench.ask(0, &format!("outbox resend {message}"));
    // While it is being sent it cannot be removed.
    assert!((0..100).any(|_| bench.shown(&format!("outbox remove {message}")).code == 0));
    bench.ask(0, "delete greets");
}

fn people(bench: &mut Bench) {
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
    bench.ask(0, &format!("token revoke {}", text(&made["id"])));
    bench.ask(0, "token rotate-key");
    bench.ask(0, "secret set token --host a.example --from-file value");
    bench.ask(0, "secret list");
    bench.ask(0, "secret rotate-key");
    bench.ask(0, "secret remove token");
    bench.ask(0, "audit list");
    assert_eq!(bench.ask(0, "audit verify")["ok"], true);
    let exported = bench.shown("audit export");
    assert!(exported.code == 0 && exported.stdout.contains("secret.rotate"), "{}", exported.stderr);
}

fn rest(bench: &mut Bench) {
    assert_eq!(bench.ask(0, "status")["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(bench.ask(0, "health")["checks"]["database"].is_object());
    bench.ask(0, "events --since 0 --count 1");
    // The key of the first secret was made, which is worth a line.
    let log = bench.shown("logs --lines 50");
    assert_eq!(log.code, 0, "{}", log.stderr);
    let lines: Vec<Value> = log.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["message"].to_string().contains("secret.key")), "{}", log.stdout);
    assert!(bench.ask(0, "config show")["api"].is_object());
    let made = bench.ask(0, "backup --name mine");
    assert_eq!(
        (&made["manifest"]["name"], &made["manifest"]["status"]),
        (&"mine".into(), &"complete".into())
    );
    assert_eq!(bench.ask(0, "backup list")[0]["name"], "mine");
    assert_eq!(bench.ask(2, "backup --to here")["error"]["code"], "CB-0900");
    bench.ask(0, "model list");
    assert_eq!(bench.ask(2, "model probe home")["error"]["code"], "CB-1211");
    bench.ask(0, "agent deploy butler.yaml");
    bench.ask(0, "agent list");
    assert_eq!(bench.ask(1, "agent task butler hello")["run"]["status"], "failed");
    assert_eq!(bench.ask(1, "chat butler hello")["run"]["status"], "failed");
    bench.ask(0, "agent show butler");
    bench.ask(0, "agent tasks butler");
    bench.ask(0, "agent wake butler");
    bench.ask(0, "agent terminate butler");
    bench.ask(0, "agent delete butler");
    bench.ask(0, "gpio list");
    assert!(bench.ask(2, "gpio set nowhere 1")["error"]["code"].is_string());
    bench.ask(0, "import chatgpt chats.json --name chats");
}
