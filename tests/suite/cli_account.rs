//! The command line for users and API tokens, as a person uses it.

use serde_json::Value;

use super::cli::{Outcome, chainbot};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("password"), "three words apart\n").unwrap();
        std::fs::write(folder.path().join("common"), "password\n").unwrap();
        Self(folder)
    }

    /// A command line split at spaces, on the folder's data.
    fn chainbot(&self, line: &str) -> Outcome {
        let mut words: Vec<&str> = line.split(' ').collect();
        words.extend(["--data", "data"]);
        chainbot(self.0.path(), &words)
    }

    fn json(&self, line: &str) -> Value {
        let shown = self.chainbot(&format!("{line} --json"));
        assert_eq!(shown.code, 0, "{line}: {}{}", shown.stdout, shown.stderr);
        serde_json::from_str(&shown.stdout)
            .unwrap_or_else(|error| panic!("{line}: {error}: {}", shown.stdout))
    }

    fn refused(&self, line: &str, code: &str) {
        let shown = self.chainbot(line);
        assert_ne!(shown.code, 0, "{line}");
        assert!(shown.stderr.contains(&format!("error[{code}]")), "{line}: {}", shown.stderr);
        assert!(shown.stderr.contains("help: "), "{line}: {}", shown.stderr);
    }
}

#[test]
fn users_are_made_changed_and_removed_on_the_machine_without_a_sign_in() {
    let folder = Folder::new();
    assert!(folder.chainbot("user list").stdout.contains("chainbot user add NAME --role admin"));
    folder.refused("user add mia --role viewer --from-file password", "CB-0350");
    folder.refused("user add mia --role admin --from-file common", "CB-0843");
    let made = folder.chainbot("user add Mia --role admin --from-file password");
    assert_eq!((made.code, made.stdout.as_str()), (0, "user `mia` is made (admin)\n"), "{}", made.stderr);
    assert!(!folder.0.path().join("data/setup-token").exists(), "nobody can reach an engine of a command");
    folder.refused("user add mia --role admin --from-file password", "CB-0347");
    folder.json("user add tom --role viewer --from-file password");
    assert_eq!(folder.json("user role tom operator")["role"], "operator");
    assert_eq!(folder.json("user disable tom")["active"], false);
    let listed = folder.chainbot("user list").stdout;
    let row = listed.lines().find(|line| line.starts_with("tom")).unwrap();
    assert!(row.contains("operator") && row.contains("disabled") && row.contains("never"), "{listed}");
    assert_eq!(folder.json("user enable tom")["active"], true);
    folder.refused("user disable mia", "CB-0348");
    folder.refused("user role nobody admin", "CB-0346");
    assert_eq!(folder.json("user password tom --from-file password")["changed"], "tom");
    assert_eq!(folder.json("user remove tom")["removed"], "tom");
    assert_eq!(folder.json("user list").as_array().unwrap().len(), 1);
}

#[test]
fn a_token_is_shown_once_and_is_gone_when_it_is_revoked() {
    let folder = Folder::new();
    folder.refused("token create ci --user mia --scope chainbot:read", "CB-0346");
    folder.json("user add mia --role admin --from-file password");
    folder.refused("token create ci --user mia --scope chainbot:red", "CB-0350");
    folder.refused("token create ci --user mia --scope chainbot:read --days 400", "CB-0350");
    let made = folder.chainbot("token create ci --user mia --scope chainbot:read --scope hook:bell");
    let text = made.stdout.trim_end();
    assert!(made.code == 0 && text.starts_with("cb_") && text.len() == 67, "{}{}", made.stdout, made.stderr);
    assert!(made.stderr.contains("not shown again"), "{}", made.stderr);
    let listed = folder.chainbot("token list");
    assert!(!listed.stdout.contains(text) && listed.stdout.contains(&text[..9]), "{}", listed.stdout);
    assert!(listed.stdout.contains("chainbot:read hook:bell"), "{}", listed.stdout);
    let id = folder.json("token list")[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(folder.json(&format!("token revoke {id}"))["revoked"], id.as_str());
    folder.refused(&format!("token revoke {id}"), "CB-0349");
    assert_eq!(folder.chainbot("token list").stdout, "no API tokens\n");
}

#[test]
fn a_server_is_named_by_its_url_with_a_token_that_is_not_on_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let server = crate::server::Server::start(&crate::server::data(&folder));
    let (url, token) = (format!("http://{}", server.port.address), server.port.token.clone());
    std::fs::write(folder.path().join("password"), "three words apart\n").unwrap();
    std::fs::write(folder.path().join("operator"), &token).unwrap();
    let on = |line: &str, file: &str| {
        let mut words: Vec<&str> = line.split(' ').collect();
        words.extend(["--url", &url, "--token-file", file]);
        chainbot(folder.path(), &words)
    };
    let made = on("user add mia --role admin --from-file password", "operator");
    assert_eq!(made.code, 0, "{}", made.stderr);
    let text = on("token create ci --user mia --scope chainbot:read", "operator").stdout;
    std::fs::write(folder.path().join("reader"), text).unwrap();
    assert_eq!(on("runs", "reader").code, 0);
    let denied = on("user list", "reader");
    assert!(denied.code == 1 && denied.stderr.contains("error[CB-0840]"), "{}", denied.stderr);
    let local = on("doctor", "reader");
    assert!(local.code == 2 && local.stderr.contains("error[CB-0900]"), "{}", local.stderr);
    let plain = chainbot(folder.path(), &["runs", "--url", "http://pi.example", "--token-file", "reader"]);
    assert!(plain.code == 2 && plain.stderr.contains("error[CB-0614]"), "{}", plain.stderr);
    let none = chainbot(folder.path(), &["runs", "--url", &url]);
    assert!(none.code == 2 && none.stderr.contains("CHAINBOT_TOKEN"), "{}", none.stderr);
}

#[test]
fn a_workflow_is_shared_and_given_away() {
    let folder = Folder::new();
    std::fs::write(
        folder.0.path().join("water.yaml"),
        "name: water\nsteps:\n  - { id: a, type: set, config: { variables: { a: \"1\" } } }\n",
    )
    .unwrap();
    folder.json("user add mia --role admin --from-file password");
    let tom =
        folder.json("user add tom --role editor --from-file password")["id"].as_str().unwrap().to_owned();
    folder.json("deploy water.yaml");
    let listed = folder.json("workflows");
    assert_eq!((&listed[0]["owner"], &listed[0]["shared"]), (&Value::Null, &Value::from("viewer")));
    assert_ne!(folder.chainbot("share water").code, 0, "it says what is to change");
    assert_ne!(folder.chainbot("share water --with admin").code, 0);
    let shared = folder.chainbot("share water --with editor");
    assert_eq!(
        shared.stdout, "water is the operator's, shared with editors and above\n",
        "{}",
        shared.stderr
    );
    let given = folder.json("share water --owner tom --with nobody");
    assert_eq!((given["owner"].as_str(), &given["shared"]), (Some(tom.as_str()), &Value::Null));
    folder.refused("share water --owner nobody", "CB-0346");
    folder.refused("share fire --with viewer", "CB-0190");
    assert_eq!(folder.json("share water --owner local")["owner"], Value::Null);
}
