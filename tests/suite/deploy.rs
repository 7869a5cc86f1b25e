//! `chainbot deploy` as a person uses it.

use super::cli::{HELLO, Outcome, chainbot};

struct Place(tempfile::TempDir);

impl Place {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("flows")).unwrap();
        let place = Self(folder);
        files.iter().for_each(|(name, text)| place.write(name, text));
        place
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join("flows").join(name), text).unwrap();
    }

    fn deploy(&self, args: &[&str]) -> Outcome {
        chainbot(self.0.path(), &[&["deploy", "flows", "--data", "data"], args].concat())
    }
}

fn named(name: &str) -> String {
    HELLO.replacen("name: hello", &format!("name: {name}"), 1)
}

#[test]
fn definitions_are_created_then_unchanged_then_updated() {
    let place = Place::new(&[("hello.yaml", HELLO), ("other.yml", &named("other")), ("notes.txt", "no")]);
    let first = place.deploy(&[]);
    let expected = "created    hello (version 1)\ncreated    other (version 1)\n";
    assert_eq!((first.code, first.stdout.as_str()), (0, expected), "{}", first.stderr);
    place.write("hello.yaml", &HELLO.replace("Hello", "Good day"));
    let second = place.deploy(&["--json"]);
    let report: serde_json::Value = serde_json::from_str(&second.stdout).unwrap();
    let results: Vec<_> =
        report.as_array().unwrap().iter().map(|one| (&one["name"], &one["result"])).collect();
    let expected = [("hello", "updated"), ("other", "unchanged")].map(|(n, r)| (n.into(), r.into()));
    assert_eq!(results, expected.iter().map(|(n, r)| (n, r)).collect::<Vec<_>>());
    assert_eq!(report[0]["version"], 2);
}

#[test]
fn one_mistake_stores_nothing() {
    let place = Place::new(&[("a.yaml", HELLO), ("b.yaml", "name: b\nsteps: [{ id: x, type: fetsh }]\n")]);
    let refused = place.deploy(&[]);
    assert_eq!((refused.code, refused.stdout.as_str()), (2, ""));
    assert!(refused.stderr.contains("b.yaml:2"), "{}", refused.stderr);
    assert!(refused.stderr.contains("1 error in 2 files; nothing was stored"), "{}", refused.stderr);
    place.write("b.yaml", &named("b"));
    assert!(place.deploy(&[]).stdout.contains("created    hello"));
}

#[test]
fn two_files_of_one_name_are_refused() {
    let place = Place::new(&[("a.yaml", HELLO), ("b.yaml", HELLO)]);
    let refused = place.deploy(&[]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("both define `hello`"), "{}", refused.stderr);
}

#[test]
fn a_folder_without_definitions_is_refused() {
    let refused = Place::new(&[]).deploy(&[]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("error[CB-0901]"), "{}", refused.stderr);
}
