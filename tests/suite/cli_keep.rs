//! Backups as an operator uses them: beside a server, without one, taken to another machine, and put back.

use std::path::Path;

use serde_json::{Value, json};

use super::cli::{Outcome, chainbot, fed};

const GREETS: &str = "name: greets\nsteps:\n  - { id: a, type: set, config: { variables: { x: 1 } } }\n";
const CONFIG: &str = "api: { port: 0 }\n";
const PHRASE: &str = "correct horse battery\n";
const CANARY: &str = "canary-41d0-of-a-backup";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in
            [("greets.yaml", GREETS), ("config.yaml", CONFIG), ("phrase", PHRASE), ("value", CANARY)]
        {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// A command line split at spaces, on a data folder.
    fn on(&self, data: &str, line: &str) -> Outcome {
        let mut words: Vec<&str> = line.split(' ').collect();
        words.extend(["--data", data, "--config", "config.yaml"]);
        chainbot(self.path(), &words)
    }

    fn json(&self, data: &str, line: &str) -> Value {
        let shown = self.on(data, &format!("{line} --json"));
        assert_eq!(shown.code, 0, "{line}: {}{}", shown.stdout, shown.stderr);
        serde_json::from_str(&shown.stdout)
            .unwrap_or_else(|error| panic!("{line}: {error}: {}", shown.stdout))
    }

    fn code(&self, data: &str, line: &str) -> String {
        let shown = self.on(data, &format!("{line} --json"));
        assert_ne!(shown.code, 0, "{line}: {}", shown.stdout);
        let error: Value = serde_json::from_str(&shown.stdout).unwrap();
        error["error"]["code"].as_str().unwrap().to_owned()
    }

    fn runs(&self, data: &str) -> usize {
        self.json(data, "runs")["runs"]
            .as_array()
            .map_or_else(|| self.json(data, "runs").as_array().unwrap().len(), Vec::len)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A test that failed in between leaves no server.
        self.on("data", "stop");
    }
}

/// Whether a file of the folder, or below it, holds the text.
fn holds(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| match entry.path() {
        path if path.is_dir() => holds(&path, text),
        path => std::fs::read(path).unwrap().windows(text.len()).any(|part| part == text.as_bytes()),
    })
}

#[test]
fn a_folder_goes_back_to_a_backup_and_forward_again() {
    let folder = Folder::new();
    folder.json("data", "run greets.yaml");
    let made = folder.json("data", "backup --name one");
    assert_eq!(made["manifest"]["kind"], "manual");
    folder.json("data", "run greets.yaml");
    assert_eq!(folder.json("data", "backup list")[0]["name"], "one");
    assert_eq!(folder.json("data", "backup verify one")["ok"], true);
    assert_eq!(folder.code("data", "backup --name one"), "CB-0851");
    assert_eq!(folder.code("data", "backup --name ../x"), "CB-0900");
    assert_eq!(folder.code("data", "backup verify two"), "CB-0850");
    let back = folder.json("data", "restore one");
    assert_eq!((&back["restored"], &back["secrets"]), (&json!("one"), &Value::Null));
    assert_eq!(folder.runs("data"), 1);
    let kept = back["kept_as"].as_str().unwrap();
    folder.json("data", &format!("restore {kept}"));
    assert_eq!(folder.runs("data"), 2, "the way back");
    std::fs::write(folder.path().join("data/backups/one/chainbot.db"), "cut").unwrap();
    assert_eq!(folder.code("data", "backup verify one"), "CB-0852");
    assert_eq!(folder.code("data", "restore one"), "CB-0852");
    assert_eq!(folder.runs("data"), 2, "nothing was changed");
}

#[test]
fn who_changed_what_is_written_down_once_and_holds() {
    let folder = Folder::new();
    folder.json("data", "run greets.yaml");
    let set = folder.on("data", "secret set token --host api.example.com --from-file value");
    assert_eq!(set.code, 0, "{}", set.stderr);
    folder.on("data", "disable greets");
    // The same content, and the same state, is no change.
    folder.on("data", "deploy greets.yaml");
    folder.on("data", "disable greets");
    folder.json("data", "secret list");
    let rows = folder.json("data", "audit list");
    let actions: Vec<&str> =
        rows.as_array().unwrap().iter().map(|row| row["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["workflow.disable", "secret.set", "run.start", "workflow.create"]);
    assert!(rows.as_array().unwrap().iter().all(|row| row["actor"] == "local" && row["request"].is_string()));
    assert!(!rows.to_string().contains(CANARY), "{rows}");
    let one = folder.json("data", "audit list --action secret.set");
    assert_eq!((one.as_array().unwrap().len(), &one[0]["target_id"]), (1, &json!("token")));
    let verified = folder.json("data", "audit verify");
    assert_eq!((&verified["ok"], &verified["rows"]), (&json!(true), &json!(4)));
    let head = verified["head"].as_str().unwrap();
    folder.json("data", &format!("audit verify --head {head}"));
    let other = folder.on("data", &format!("audit verify --head {}", head.replace("4:", "3:")));
    assert_eq!(other.code, 1, "{}", other.stdout);
    let lines = folder.on("data", "audit export").stdout;
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 4);
    let made = folder.json("data", "backup --name one");
    folder.json("data", &format!("restore {}", made["path"].as_str().unwrap()));
    assert_eq!(folder.json("data", "audit list")[0]["action"], "backup.restore");
    let conn = rusqlite::Connection::open(folder.path().join("data/chainbot.db")).unwrap();
    conn.execute("UPDATE audit SET actor = 'user:eve' WHERE seq = 2", []).unwrap();
    drop(conn);
    let broken = folder.on("data", "audit verify");
    assert!(broken.code == 1 && broken.stdout.contains("row 2"), "{}", broken.stdout);
    let fsck = folder.on("data", "fsck");
    assert!(fsck.code == 1 && fsck.stdout.contains("I8"), "{}", fsck.stdout);
}

#[test]
fn a_server_makes_a_backup_and_is_in_the_way_of_a_restore() {
    let folder = Folder::new();
    let started = folder.on("data", "start");
    assert_eq!(started.code, 0, "{}{}", started.stdout, started.stderr);
    folder.json("data", "run greets.yaml");
    let set = folder.on("data", "secret set token --host api.example.com --from-file value");
    assert_eq!(set.code, 0, "{}", set.stderr);
    let made = folder.json("data", "backup --name live --to disk --with-secrets --passphrase-file phrase");
    let path = made["path"].as_str().unwrap();
    assert!(path.ends_with("disk/live") && made["manifest"]["secrets"].is_object(), "{made}");
    let listed = folder.json("data", "backup list");
    assert_eq!(
        (&listed[0]["name"], &listed[0]["status"]),
        (&json!("live"), &json!("complete")),
        "it keeps one"
    );
    assert_eq!(folder.code("data", "backup --name live"), "CB-0851");
    assert_eq!(folder.code("data", "restore live"), "CB-0403");
    let stopped = folder.on("data", "stop");
    assert_eq!(stopped.code, 0, "{}", stopped.stderr);
    assert!(!holds(&folder.path().join("disk"), CANARY) && !holds(&folder.path().join("data"), CANARY));

    let verified = folder.json("other", &format!("backup verify {path}"));
    assert_eq!(verified["manifest"]["content"], made["manifest"]["content"]);
    std::fs::write(folder.path().join("wrong"), "correct horse batteri\n").unwrap();
    assert_eq!(
        folder.code("other", &format!("restore {path} --with-secrets --passphrase-file wrong")),
        "CB-0856"
    );
    let restored = folder.json("other", &format!("restore {path} --with-secrets --passphrase-file phrase"));
    assert_eq!((&restored["secrets"], &restored["kept_as"]), (&json!(1), &Value::Null));
    assert_eq!(folder.json("other", "secret list")[0]["readable"], true, "with a key of its own");
    assert_eq!(folder.runs("other"), 1);
    let without = folder.json("third", &format!("restore {path}"));
    assert_eq!(without["secrets"], Value::Null);
    assert_eq!(folder.json("third", "secret list")[0]["readable"], false, "sealed with the key of the first");
}

#[test]
fn secrets_go_to_another_machine_by_a_file_and_a_passphrase() {
    let folder = Folder::new();
    let fails = |data: &str, line: &str| folder.code(data, line);
    assert_eq!(fails("data", "secret export out --passphrase-file phrase"), "CB-0910", "there is no folder");
    folder.json("data", "secret set token --host api.example.com --from-file value");
    std::fs::write(folder.path().join("short"), "password\n").unwrap();
    assert_eq!(fails("data", "secret export out --passphrase-file short"), "CB-0856");
    assert!(!folder.path().join("out").exists());
    // A pipe serves as well as a file.
    let words = "secret export out --json --data data --config config.yaml".split(' ').collect::<Vec<_>>();
    let piped = fed(folder.path(), &words, PHRASE);
    assert_eq!(piped.code, 0, "{}{}", piped.stdout, piped.stderr);
    let exported: Value = serde_json::from_str(&piped.stdout).unwrap();
    assert_eq!(exported, json!({ "file": "out", "secrets": 1 }));
    let out = folder.path().join("out");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&out).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let bytes = std::fs::read(&out).unwrap();
    assert!(!bytes.windows(CANARY.len()).any(|part| part == CANARY.as_bytes()));
    assert_eq!(fails("data", "secret export out --passphrase-file phrase"), "CB-0911", "it is there");
    assert_eq!(std::fs::read(&out).unwrap(), bytes);

    assert!(folder.json("data", "audit list --action secret.export").to_string().contains("token"));
    std::fs::write(folder.path().join("wrong"), "correct horse batteri\n").unwrap();
    assert_eq!(fails("other", "secret import out --passphrase-file wrong"), "CB-0856");
    std::fs::write(folder.path().join("cut"), &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(fails("other", "secret import cut --passphrase-file phrase"), "CB-1008");
    assert_eq!(fails("other", "secret import nowhere --passphrase-file phrase"), "CB-0901");
    assert_eq!(folder.json("other", "secret list"), json!([]));
    let brought = folder.json("other", "secret import out --passphrase-file phrase");
    assert_eq!(brought, json!({ "added": ["token"], "replaced": [] }));
    assert_eq!(folder.json("other", "secret list")[0]["readable"], true, "with a key of its own");
    assert_eq!(fails("other", "secret import out --passphrase-file phrase"), "CB-1009");
    let again = folder.json("other", "secret import out --passphrase-file phrase --replace");
    assert_eq!(again["replaced"], json!(["token"]));
    let rows = folder.json("other", "audit list --action secret.import");
    assert_eq!((rows.as_array().unwrap().len(), &rows[0]["target_id"]), (2, &json!("token")));
    assert_eq!(folder.json("data", "audit list --action secret.export").as_array().unwrap().len(), 1);
    assert_eq!(folder.json("other", "audit verify")["ok"], true);

    assert_eq!(folder.on("data", "start").code, 0);
    assert_eq!(fails("data", "secret export more --passphrase-file phrase"), "CB-0403", "a server has it");
    assert_eq!(fails("data", "secret import out --passphrase-file phrase --replace"), "CB-0403");
    assert!(!folder.path().join("more").exists());
    assert_eq!(folder.on("data", "stop").code, 0);
    assert!(!holds(&folder.path().join("data"), CANARY) && !holds(&folder.path().join("other"), CANARY));
}
