//! The vault on a real folder: what is on disk, what a missing, wrong or readable key does, what is refused.

mod transfer;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::Result;
use crate::env::Env;
use crate::error::Error;
use crate::id::UserId;
use crate::port::{OpenSecret, Role, Scope, SecretText, Secrets, Store};
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

/// What a rotation that is cut short leaves: the key file and the rows, each as they were or as they become.
#[tokio::test]
async fn a_rotation_that_is_cut_short_anywhere_loses_nothing_and_goes_on() {
    for cut in ["not at all", "before the rows", "before the end"] {
        let dir = tempfile::tempdir().unwrap();
        let key_file = dir.path().join(KEY_FILE);
        let bench = open(dir.path());
        for name in ["a", "b"] {
            bench
                .vault
                .set(&Scope::All, name, secret(&format!("{CANARY}-{name}"), &["h.test"]))
                .await
                .unwrap();
        }
        let first = std::fs::read_to_string(&key_file).unwrap();
        let rows = crate::port::SecretRows::secrets(&*bench.store).unwrap();
        assert_eq!(bench.vault.rotate_key().await.unwrap(), Rotated { secrets: 2, is_credential: false });
        let second = std::fs::read_to_string(&key_file).unwrap();
        assert!(second.lines().count() == 1 && second != first);
        let again = crate::port::SecretRows::secrets(&*bench.store).unwrap();
        assert!(
            rows.iter()
                .zip(&again)
                .all(|(a, b)| a.key_id != b.key_id && a.nonce != b.nonce && a.version == b.version)
        );
        // The folder as a cut would have left it.
        if cut != "not at all" {
            std::fs::write(&key_file, format!("{second}{first}")).unwrap();
        }
        if cut == "before the rows" {
            let ops = rows.into_iter().map(|row| crate::port::Op::SecretPut(Box::new(row))).collect();
            crate::store::commit(&*bench.store, ops).await.unwrap();
        }
        bench.store.close();
        drop(bench);
        let bench = open(dir.path());
        for name in ["a", "b"] {
            assert_eq!(value(&bench.vault, name).unwrap(), format!("{CANARY}-{name}"), "{cut}");
        }
        assert_eq!(bench.vault.redact(&format!("{CANARY}-b")).as_deref(), Some("***"));
        // A secret that is set meanwhile is sealed with the new key.
        bench.vault.set(&Scope::All, "c", secret(CANARY, &[])).await.unwrap();
        let before = std::fs::read_to_string(&key_file).unwrap();
        bench.vault.rotate_key().await.unwrap();
        let end = std::fs::read_to_string(&key_file).unwrap();
        assert_eq!(end.lines().count(), 1, "{cut}");
        assert_eq!(
            cut != "not at all",
            before.starts_with(&end),
            "one that was begun goes on with its key: {cut}"
        );
        assert!(!end.contains(first.trim()), "{cut}");
        bench.store.close();
        drop(bench);
        let bench = open(dir.path());
        assert_eq!(value(&bench.vault, "a").unwrap(), format!("{CANARY}-a"), "{cut}");
        assert_eq!(value(&bench.vault, "c").unwrap(), CANARY, "{cut}");
        assert!(bench.vault.list(&Scope::All).iter().all(|info| info.is_readable));
        // The old key opens nothing any more.
        bench.store.close();
        drop(bench);
        std::fs::write(&key_file, &first).unwrap();
        assert_eq!(code(value(&open(dir.path()).vault, "a")), "CB-1001", "{cut}");
    }
}

#[tokio::test]
async fn a_secret_that_does_not_open_keeps_a_rotation_from_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let key_file = dir.path().join(KEY_FILE);
    let bench = open(dir.path());
    // Without a secret there is no key: nothing to change, and nothing is made.
    assert_eq!(bench.vault.rotate_key().await.unwrap(), Rotated { secrets: 0, is_credential: false });
    assert!(!key_file.exists());
    bench.vault.set(&Scope::All, "a", secret(CANARY, &[])).await.unwrap();
    bench.vault.set(&Scope::All, "b", secret(CANARY, &[])).await.unwrap();
    bench.store.close();
    drop(bench);
    let database = rusqlite::Connection::open(dir.path().join("chainbot.db")).unwrap();
    database.execute("UPDATE secret SET sealed = randomblob(60) WHERE name = 'a'", []).unwrap();
    drop(database);
    let before = std::fs::read(&key_file).unwrap();
    let bench = open(dir.path());
    let error = bench.vault.rotate_key().await.unwrap_err();
    assert!(error.code().id == "CB-1004" && error.message().contains("`a`"), "{error}");
    assert_eq!(std::fs::read(&key_file).unwrap(), before);
    assert_eq!(value(&bench.vault, "b").unwrap(), CANARY);
    // With secrets whose key is lost it stays an error: a fresh key would hide that.
    bench.store.close();
    drop(bench);
    std::fs::remove_file(&key_file).unwrap();
    assert_eq!(code(open(dir.path()).vault.rotate_key().await), "CB-1001");
    assert!(!key_file.exists());
}

#[test]
fn keys_come_from_a_credential_of_the_service_and_only_the_operator_changes_them() {
    use super::key::Keys;
    let (dir, credentials) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = DataDir::open(dir.path(), "test").unwrap();
    let env = Env::system();
    let own = Keys::make(&folder, &env).unwrap().first().unwrap().id;
    let read = || Keys::read(&folder, Some(credentials.path()));
    assert_eq!(read().unwrap().first().unwrap().id, own, "no such credential: the file counts");
    let other = tempfile::tempdir().unwrap();
    let other = DataDir::open(other.path(), "test").unwrap();
    let given = Keys::make(&other, &env).unwrap().first().unwrap().id;
    let line = std::fs::read_to_string(other.path().join(KEY_FILE)).unwrap();
    let old = std::fs::read_to_string(dir.path().join(KEY_FILE)).unwrap();
    // systemd's credentials are 0400, or readable by more under some file systems.
    std::fs::write(credentials.path().join(KEY_FILE), &line).unwrap();
    assert_eq!(read().unwrap().first().unwrap().id, given);
    let refused = Keys::begin_rotation(&folder, Some(credentials.path()), &env).err().unwrap();
    assert!(refused.code().id == "CB-1001" && refused.remedy().unwrap().contains("new line"), "{refused}");
    std::fs::write(credentials.path().join(KEY_FILE), format!("{line}{old}")).unwrap();
    let both = Keys::begin_rotation(&folder, Some(credentials.path()), &env).unwrap();
    assert_eq!(both.first().unwrap().id, given);
    Keys::end_rotation(&folder, Some(credentials.path())).unwrap();
    assert_eq!(std::fs::read_to_string(dir.path().join(KEY_FILE)).unwrap(), old, "nothing was written");
    std::fs::write(credentials.path().join(KEY_FILE), "nonsense").unwrap();
    assert_eq!(read().err().unwrap().code().id, "CB-1001");
}

#[tokio::test]
async fn the_log_shows_no_secret_of_a_vault_that_is_open() {
    const OF_LOG: &str = "canary-of-the-log-41aa";
    let dir = tempfile::tempdir().unwrap();
    let bench = open(dir.path());
    let line = format!("sent {OF_LOG} to somebody");
    assert_eq!(redact_log(&line), line, "nobody knows it yet");
    bench.vault.set(&Scope::All, "a", secret(OF_LOG, &[])).await.unwrap();
    assert_eq!(redact_log(&line), "sent *** to somebody");
    bench.vault.rotate_key().await.unwrap();
    assert_eq!(redact_log(&line), "sent *** to somebody");
    assert_eq!(redact_log("nothing in it"), "nothing in it");
    let other = tempfile::tempdir().unwrap();
    let given = OpenSecret { value: SecretText::new("canary-given-9c".to_owned()), hosts: Vec::new() };
    let other = open(other.path());
    let vault = other.vault.with_given(vec![("${file:/x}".to_owned(), given)]).unwrap();
    assert_eq!(redact_log(&format!("{OF_LOG} canary-given-9c")), "*** ***");
    assert_eq!(vault.open_of_operator("${file:/x}").unwrap().value.reveal(), "canary-given-9c");
    assert_eq!(code(vault.open(None, "${file:/x}")), "CB-1000", "definitions cannot reach it");
    drop(vault);
    assert_eq!(redact_log("canary-given-9c"), "canary-given-9c");
}
