//! The vault on a real folder: what is on disk, what a missing, wrong or readable key does, what is refused.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::Result;
use crate::env::Env;
use crate::error::Error;
use crate::id::UserId;
use crate::port::{Role, Scope, SecretText, Secrets, Store};
use crate::store::{DataDir, OpenOptions, SqliteStore};

const CANARY: &str = "canary-7f3b-secret-value";

struct Bench {
    store: Arc<SqliteStore>,
    vault: Vault,
}

fn open(path: &Path) -> Bench {
    let folder = Arc::new(DataDir::open(path, "test").unwrap());
    let store = SqliteStore::open(OpenOptions::new(folder.clone())).unwrap();
    let vault = Vault::open(store.clone(), folder, Env::system()).unwrap();
    Bench { store, vault }
}

fn secret(value: &str, hosts: &[&str]) -> NewSecret {
    let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    NewSecret { value: SecretText::new(value.to_owned()), hosts, description: None }
}

fn value(vault: &Vault, name: &str) -> Result<String> {
    vault.open(None, name).map(|open| open.value.reveal().to_owned())
}

fn code<T>(result: Result<T>) -> &'static str {
    result.err().expect("it must be refused").code().id
}

#[tokio::test]
async fn a_secret_survives_a_restart_and_is_nowhere_on_disk_in_clear() {
    let dir = tempfile::tempdir().unwrap();
    let bench = open(dir.path());
    let (info, is_new) =
        bench.vault.set(&Scope::All, "token", secret(CANARY, &["API.example.com."])).await.unwrap();
    assert!(is_new && info.version == 1 && info.hosts == ["api.example.com"]);
    let (info, is_new) =
        bench.vault.set(&Scope::All, "token", secret(&format!("{CANARY}2"), &[])).await.unwrap();
    assert!(!is_new && info.version == 2);
    // While the write-ahead log is still there, and after it was emptied.
    let nowhere = |when: &str| {
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
            assert!(!found, "{} holds the value {when}", path.display());
        }
    };
    nowhere("while open");
    bench.store.close();
    drop(bench);
    nowhere("when closed");
    let mode = std::fs::metadata(dir.path().join(KEY_FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let bench = open(dir.path());
    assert_eq!(value(&bench.vault, "token").unwrap(), format!("{CANARY}2"));
    assert_eq!(bench.vault.redact(&format!("<{CANARY}2>")).as_deref(), Some("<***>"));
    bench.vault.remove(&Scope::All, "token").await.unwrap();
    assert_eq!(code(value(&bench.vault, "token")), "CB-1000");
    assert_eq!(code(bench.vault.remove(&Scope::All, "token").await), "CB-1000");
    assert_eq!(bench.vault.redact(&format!("<{CANARY}2>")), None);
}

#[tokio::test]
async fn without_the_right_key_nothing_opens_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let key_file = dir.path().join(KEY_FILE);
    let bench = open(dir.path());
    bench.vault.set(&Scope::All, "token", secret(CANARY, &[])).await.unwrap();
    drop(bench);
    let key = std::fs::read(&key_file).unwrap();

    std::fs::remove_file(&key_file).unwrap();
    let bench = open(dir.path());
    assert_eq!(code(value(&bench.vault, "token")), "CB-1001");
    assert!(!bench.vault.list(&Scope::All)[0].is_readable);
    assert_eq!(code(bench.vault.set(&Scope::All, "other", secret(CANARY, &[])).await), "CB-1001");
    assert!(!key_file.exists(), "a fresh key would hide that the old one is lost");
    drop(bench);

    std::fs::write(&key_file, "something else\n").unwrap();
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let bench = open(dir.path());
    assert_eq!(code(value(&bench.vault, "token")), "CB-1001");
    drop(bench);

    let other = tempfile::tempdir().unwrap();
    let bench = open(other.path());
    bench.vault.set(&Scope::All, "token", secret(CANARY, &[])).await.unwrap();
    drop(bench);
    std::fs::write(&key_file, std::fs::read(other.path().join(KEY_FILE)).unwrap()).unwrap();
    let bench = open(dir.path());
    let error = value(&bench.vault, "token").unwrap_err();
    assert_eq!(error.code().id, "CB-1001");
    assert!(error.message().contains("another key"), "{error}");
    drop(bench);

    std::fs::write(&key_file, &key).unwrap();
    assert_eq!(value(&open(dir.path()).vault, "token").unwrap(), CANARY);
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = value(&open(dir.path()).vault, "token").unwrap_err();
    assert!(error.code().id == "CB-1001" && error.remedy().unwrap().contains("chmod 600"), "{error}");
}

#[tokio::test]
async fn a_row_that_was_changed_does_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chainbot.db");
    for change in [
        "UPDATE secret SET hosts = '[\"evil.test\"]'",
        "UPDATE secret SET version = 7",
        "UPDATE secret SET owner = '01010101-0101-0101-0101-010101010101'",
        "UPDATE secret SET name = 'token'",
        "UPDATE secret SET nonce = randomblob(24)",
        "UPDATE secret SET sealed = randomblob(60)",
    ] {
        let bench = open(dir.path());
        for left in bench.vault.list(&Scope::All) {
            bench.vault.remove(&Scope::All, &left.name).await.unwrap();
        }
        bench.vault.set(&Scope::All, "mine", secret(CANARY, &["a.test"])).await.unwrap();
        bench.store.close();
        drop(bench);
        rusqlite::Connection::open(&path).unwrap().execute(change, []).unwrap();
        let bench = open(dir.path());
        let name = bench.vault.list(&Scope::All)[0].name.clone();
        // Also for the one whom the row says it belongs to.
        let opened = bench.vault.open(Some(UserId::from([1; 16])), &name);
        assert_eq!(code(opened), "CB-1004", "{change}");
    }
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_without_being_shown() {
    let dir = tempfile::tempdir().unwrap();
    let bench = open(dir.path());
    for name in ["", "A", "1a", "a-b", "a.b", "_a", "a b", &"a".repeat(64)] {
        assert_eq!(code(bench.vault.set(&Scope::All, name, secret(CANARY, &[])).await), "CB-1003", "{name}");
    }
    for value in ["", "tiny!", "with\0nul", &"x".repeat(16 * 1024 + 1)] {
        let error = bench.vault.set(&Scope::All, "a", secret(value, &[])).await.unwrap_err();
        assert_eq!(error.code().id, "CB-1003");
        assert!(value.is_empty() || !error.to_string().contains(value));
    }
    for host in ["*", "*.example.com", "a/b", "ftp://a.test", "a b"] {
        let error = bench.vault.set(&Scope::All, "a", secret(CANARY, &[host])).await.unwrap_err();
        assert!(error.code().id == "CB-1003" && error.message().contains(host), "{error}");
    }
    assert!(bench.vault.list(&Scope::All).is_empty());
    assert!(!format!("{:?}", SecretText::new(CANARY.to_owned())).contains(CANARY));
}

#[tokio::test]
async fn secrets_travel_under_a_passphrase_and_only_so() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let bench = open(here.path());
    bench.vault.set(&Scope::All, "token", secret(CANARY, &["api.example.com"])).await.unwrap();
    let rows = crate::port::SecretRows::secrets(&*bench.store).unwrap();
    let passphrase = SecretText::new("correct horse battery".to_owned());
    let env = Env::system();
    let sealed = seal_for_export(here.path(), &rows, &passphrase, "backup 1", &env).unwrap();
    assert!(!String::from_utf8_lossy(&sealed).contains(CANARY));
    let again = |phrase: &str, bound| {
        let folder = DataDir::open(there.path(), "test")?;
        seal_again(&sealed, &SecretText::new(phrase.to_owned()), bound, &folder, &env)
    };
    assert_eq!(again("correct horse batteri", "backup 1").unwrap_err().code().id, "CB-0856");
    assert_eq!(
        again("correct horse battery", "backup 2").unwrap_err().code().id,
        "CB-0856",
        "it belongs to one"
    );
    let moved = again("correct horse battery", "backup 1").unwrap();
    assert_ne!((moved[0].key_id, &moved[0].sealed), (rows[0].key_id, &rows[0].sealed), "another key");
    let other = open(there.path());
    let ops = moved.into_iter().map(|row| crate::port::Op::SecretPut(Box::new(row))).collect();
    crate::store::commit(&*other.store, ops).await.unwrap();
    other.store.close();
    drop(other);
    let other = open(there.path());
    let opened = other.vault.open(None, "token").unwrap();
    assert_eq!((opened.value.reveal(), opened.hosts.len()), (CANARY, 1));
    let short = SecretText::new("short".to_owned());
    assert_eq!(seal_for_export(here.path(), &rows, &short, "x", &env).unwrap_err().code().id, "CB-0856");
    let damaged = [&sealed[..20], b"x"].concat();
    let folder = DataDir::open(&there.path().join("x"), "test").unwrap();
    assert_eq!(
        seal_again(&damaged, &passphrase, "backup 1", &folder, &env).unwrap_err().code().id,
        "CB-0852"
    );
}

#[tokio::test]
async fn a_secret_of_somebody_is_not_there_for_anybody_else() {
    let dir = tempfile::tempdir().unwrap();
    let bench = open(dir.path());
    let (mia, tom) = (UserId::from([1; 16]), UserId::from([2; 16]));
    let editor = |user| Scope::Of { user: Some(user), role: Role::Editor };
    let admin = Scope::Of { user: Some(UserId::from([3; 16])), role: Role::Admin };
    bench.vault.set(&editor(mia), "hers", secret(CANARY, &["a.test"])).await.unwrap();
    bench.vault.set(&admin, "house", secret(&format!("{CANARY}-2"), &["a.test"])).await.unwrap();
    let names = |scope: &Scope| bench.vault.list(scope).into_iter().map(|one| one.name).collect::<Vec<_>>();
    assert_eq!(
        (names(&editor(mia)), names(&editor(tom))),
        (vec!["hers".into(), "house".into()], vec!["house".into()])
    );
    assert_eq!(names(&admin).len(), 2);
    let value = |owner, name: &str| bench.vault.open(owner, name).map(|open| open.value.reveal().to_owned());
    assert_eq!(value(Some(mia), "hers").unwrap(), CANARY);
    for owner in [None, Some(mia), Some(tom)] {
        assert_eq!(value(owner, "house").unwrap(), format!("{CANARY}-2"));
    }
    // For the others it is exactly as if there were none.
    for owner in [None, Some(tom)] {
        let (foreign, none) = (value(owner, "hers").unwrap_err(), value(owner, "herz").unwrap_err());
        let same = |error: &Error| {
            (
                error.code().id,
                error.message().replace("herz", "hers"),
                error.remedy().map(|text| text.replace("herz", "hers")),
            )
        };
        assert_eq!(same(&foreign), same(&none));
    }
    let taken = bench.vault.set(&editor(tom), "hers", secret("another value", &[])).await.unwrap_err();
    assert_eq!((taken.code().id, taken.message()), ("CB-1000", "there is no secret `hers`"));
    assert!(taken.remedy().unwrap().contains("choose another"), "{taken}");
    assert_eq!(code(bench.vault.remove(&editor(tom), "hers").await), "CB-1000");
    assert_eq!(value(Some(mia), "hers").unwrap(), CANARY);
    // An admin's new value stays hers; redaction knows everybody's.
    bench.vault.set(&admin, "hers", secret("her second value", &["a.test"])).await.unwrap();
    assert_eq!(value(Some(mia), "hers").unwrap(), "her second value");
    assert!(bench.vault.redact("so: her second value").is_some_and(|text| !text.contains("second")));
    bench.vault.remove(&editor(mia), "hers").await.unwrap();
    assert_eq!(names(&admin), ["house"]);
}
