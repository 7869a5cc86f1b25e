//! The command line for people: inbox, answers, pause and resume, retry, fork, versions.

use serde_json::Value;

use super::cli::{Outcome, chainbot};

const ASKS: &str = "\
name: asks
inputs: { type: object, properties: { n: { type: integer, default: 1 } } }
steps:
  - { id: ok, type: wait, config: { approval: { message: \"Open {{ inputs.n }}?\", approvers: [mia] } } }
  - { id: said, type: set, config: { variables: { said: \"steps.ok.output.approval.action ~ inputs.n\" } } }
output: \"{{ vars.said }}\"
";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("asks.yaml"), ASKS).unwrap();
        Self(folder)
    }

    /// A command line split at spaces, on the folder's data.
    fn chainbot(&self, line: &str) -> Outcome {
        let mut words: Vec<&str> = line.split(' ').collect();
        words.extend(["--data", "data"]);
        chainbot(self.0.path(), &words)
    }

    fn json(&self, line: &str) -> (i32, Value) {
        let shown = self.chainbot(&format!("{line} --json"));
        let value = serde_json::from_str(&shown.stdout)
            .unwrap_or_else(|error| panic!("{line}: {error}: {} {}", shown.stdout, shown.stderr));
        (shown.code, value)
    }

    fn asking(&self) -> String {
        let (_, shown) = self.json("run asks.yaml --no-wait");
        shown["run"]["id"].as_str().unwrap().to_owned()
    }

    fn question(&self) -> String {
        let (_, open) = self.json("inbox");
        open[0]["id"].as_str().unwrap_or_else(|| panic!("no question: {open}")).to_owned()
    }
}

#[test]
fn a_person_answers_what_a_run_asks() {
    let folder = Folder::new();
    let run = folder.asking();
    let listed = folder.chainbot("inbox").stdout;
    assert!(listed.contains("Open 1?") && listed.contains("approve, reject"), "{listed}");
    let question = folder.question();
    let refused = folder.chainbot(&format!("answer {question} --action approve"));
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("error[CB-0341]"), "{}", refused.stderr);
    let (code, answered) = folder.json(&format!("answer {question} --action approve --data-json 7 --by mia"));
    assert_eq!((code, &answered["answer"]["data"]), (0, &Value::from(7)));
    let other = folder.chainbot(&format!("answer {question} --action reject --by mia"));
    assert!(other.stderr.contains("error[CB-0340]"), "{}", other.stderr);
    let shown = folder.chainbot(&format!("inbox {question}")).stdout;
    assert!(shown.contains("answered  approve by mia"), "{shown}");
    folder.chainbot("run asks.yaml --no-wait");
    let (_, shown) = folder.json(&format!("runs {run}"));
    assert_eq!(shown["run"]["output"], "approve1", "{shown}");
}

#[test]
fn a_paused_run_stays_so_until_it_is_resumed() {
    let folder = Folder::new();
    let run = folder.asking();
    let (code, paused) = folder.json(&format!("pause {run} --reason look"));
    assert_eq!((code, &paused["status"]), (0, &Value::from("paused")));
    let (_, listed) = folder.json("runs --status paused");
    assert_eq!(listed[0]["id"], run.as_str());
    let (code, resumed) = folder.json(&format!("resume {run}"));
    assert_eq!((code, &resumed["status"]), (0, &Value::from("waiting")));
    let not_failed = folder.chainbot(&format!("retry {run}"));
    assert_eq!(not_failed.code, 1);
    assert!(not_failed.stderr.contains("error[CB-0343]"), "{}", not_failed.stderr);
}

#[test]
fn a_fork_asks_again_with_other_inputs_and_differs_from_its_run() {
    let folder = Folder::new();
    let run = folder.asking();
    let (code, forked) = folder.json(&format!("fork {run} --from ok --input n=2"));
    assert_eq!((code, &forked["trigger"]["kind"], &forked["inputs"]["n"]), (0, &"fork".into(), &2.into()));
    let fork = forked["id"].as_str().unwrap();
    let (code, diff) = folder.json(&format!("diff {run} {fork}"));
    assert_eq!(code, 1, "{diff}");
    let paths: Vec<&str> =
        diff["changes"].as_array().unwrap().iter().filter_map(|c| c["path"].as_str()).collect();
    assert!(paths.contains(&"inputs.n"), "{diff}");
}

#[test]
fn an_old_version_is_shown_compared_and_made_current_again() {
    let folder = Folder::new();
    assert_eq!(folder.chainbot("deploy asks.yaml").code, 0);
    std::fs::write(folder.0.path().join("asks.yaml"), ASKS.replace("Open", "Close")).unwrap();
    assert_eq!(folder.chainbot("deploy asks.yaml").code, 0);
    let diff = folder.chainbot("diff asks 1 2");
    assert_eq!(diff.code, 1);
    assert!(
        diff.stdout.contains("-  - { id: ok") && diff.stdout.contains("+  - { id: ok"),
        "{}",
        diff.stdout
    );
    assert_eq!(folder.chainbot("versions asks 1").stdout, ASKS);
    assert_eq!(folder.chainbot("rollback asks 1").code, 0);
    let (_, versions) = folder.json("versions asks");
    assert_eq!((&versions[0]["version"], &versions[0]["is_current"]), (&3.into(), &true.into()));
    assert_eq!(folder.chainbot("diff asks 1 3").code, 0);
}
