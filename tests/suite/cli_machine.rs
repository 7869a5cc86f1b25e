//! The command line for messages on their way and for pins, as a person uses it.

use serde_json::{Value, json};

use super::cli::{Outcome, chainbot};

const TELLS: &str = "\
name: tells
steps:
  - id: tell
    type: webhook
    config: { url: \"http://127.0.0.1:9/hook?key=1\", payload: { dry: true }, delivery: outbox }
";

/// Nothing listens on the discard port, and the grant names it.
const CONFIG: &str = "\
api: { port: null }
egress: { public: false, grants: [{ host: 127.0.0.1, ports: [9], why: test }] }
gpio:
  pins:
    pump: { pin: 17, mode: output, safe: 0 }
    door: { pin: 24, mode: input }
";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tells.yaml"), TELLS).unwrap();
        std::fs::write(folder.path().join("config.yaml"), CONFIG).unwrap();
        Self(folder)
    }

    /// A command line split at spaces, on the folder's data and configuration.
    fn chainbot(&self, line: &str) -> Outcome {
        let mut words: Vec<&str> = line.split(' ').collect();
        words.extend(["--data", "data", "--config", "config.yaml"]);
        chainbot(self.0.path(), &words)
    }

    fn json(&self, line: &str) -> Value {
        let shown = self.chainbot(&format!("{line} --json"));
        assert_eq!(shown.code, 0, "{line}: {}{}", shown.stdout, shown.stderr);
        serde_json::from_str(&shown.stdout)
            .unwrap_or_else(|error| panic!("{line}: {error}: {}", shown.stdout))
    }
}

#[test]
fn a_message_to_a_server_that_is_down_is_shown_sent_again_and_removed() {
    let folder = Folder::new();
    let ended = folder.json("run tells.yaml");
    assert_eq!(ended["run"]["status"], "completed", "{ended}");
    let id = ended["run"]["output"]["message_id"].as_str().unwrap().to_owned();
    let listed = folder.json("outbox list --status pending");
    let message = &listed[0];
    assert_eq!((&message["id"], &message["step"]), (&json!(id), &json!("tell")));
    assert_eq!(message["target"], "http://127.0.0.1:9/hook", "a query may hold a key");
    assert_eq!(message["content"]["payload"], json!({ "dry": true }));
    let table = folder.chainbot("outbox list");
    assert!(table.stdout.contains(&id) && table.stdout.contains("STATUS"), "{}", table.stdout);
    let again = folder.json(&format!("outbox resend {id}"));
    assert_eq!((&again["status"], &again["id"]), (&json!("pending"), &json!(id)));
    let removed = (0..50).find_map(|_| {
        // A try may be under way, which takes a moment.
        let shown = folder.chainbot(&format!("outbox remove {id} --json"));
        (shown.code == 0 || !shown.stdout.contains("CB-1113")).then_some(shown)
    });
    assert_eq!(removed.map(|shown| shown.code), Some(0));
    assert_eq!(folder.json("outbox list"), json!([]));
    let gone = folder.chainbot(&format!("outbox resend {id} --json"));
    assert!(gone.code != 0 && gone.stdout.contains("CB-1112"), "{}{}", gone.stdout, gone.stderr);
}

#[test]
fn pins_are_listed_and_driven_by_hand_where_that_is_meant() {
    let folder = Folder::new();
    let listed = folder.json("gpio list");
    let shown: Vec<Value> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|pin| json!([pin["name"], pin["pin"], pin["direction"], pin["level"], pin["backend"]]))
        .collect();
    assert_eq!(shown, [json!(["door", 24, "input", 0, "sim"]), json!(["pump", 17, "output", 0, "sim"])]);
    assert_eq!(folder.json("gpio set door 1")["level"], 1);
    assert_eq!(folder.json("gpio set 24 0")["level"], 0);
    assert_eq!(folder.json("gpio set pump 1 --output")["level"], 1);
    for (line, code) in [("gpio set pump 1", "CB-1304"), ("gpio set dor 1", "CB-1300")] {
        let refused = folder.chainbot(&format!("{line} --json"));
        assert!(
            refused.code != 0 && refused.stdout.contains(code),
            "{line}: {}{}",
            refused.stdout,
            refused.stderr
        );
    }
}

#[test]
fn a_deploy_knows_the_pins_and_channels_of_the_configuration() {
    let folder = Folder::new();
    let wrong = "\
name: wrong
triggers: [{ gpio: { pin: dor } }]
steps:
  - { id: a, type: notification, config: { message: hi, channels: [phone] } }
";
    std::fs::write(folder.0.path().join("wrong.yaml"), wrong).unwrap();
    assert_eq!(folder.chainbot_offline("validate wrong.yaml").code, 0, "a file is checked for any machine");
    let refused = folder.chainbot("deploy wrong.yaml");
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert!(refused.code != 0 && said.contains("2 problems") && said.contains("`dor`"), "{said}");
}

impl Folder {
    fn chainbot_offline(&self, line: &str) -> Outcome {
        chainbot(self.0.path(), &line.split(' ').collect::<Vec<_>>())
    }
}

#[test]
fn validate_asks_the_server_of_the_folder_what_the_machine_has() {
    let folder = tempfile::tempdir().unwrap();
    let rings = "name: rings\nsteps:\n  - { id: a, type: notification, config: { message: hi, channels: [phone] } }\n";
    std::fs::write(folder.path().join("rings.yaml"), rings).unwrap();
    let data = super::server::data(&folder);
    let server = super::server::Server::start(&data);
    let data = data.display().to_string();
    let asked = chainbot(folder.path(), &["validate", "rings.yaml", "--data", &data]);
    assert_eq!(asked.code, 1, "{}{}", asked.stdout, asked.stderr);
    assert!(asked.stdout.contains("CB-1114") && asked.stdout.contains("phone"), "{}", asked.stdout);
    let report = chainbot(folder.path(), &["validate", "rings.yaml", "--data", &data, "--json"]);
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!((&report[0]["checked_by"], &report[0]["valid"]), (&json!("server"), &json!(false)));
    server.stop();
    let alone = chainbot(folder.path(), &["validate", "rings.yaml", "--data", &data]);
    assert_eq!((alone.code, alone.stdout.as_str()), (0, "valid: 1 file, 0 errors, 0 warnings\n"));
    assert!(alone.stderr.contains("channels") && alone.stderr.contains("not checked"), "{}", alone.stderr);
}
