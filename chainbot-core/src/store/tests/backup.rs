//! Backups through their face: made under load, held against their manifest, put back, and interrupted at every stage.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::dying::{self, Child};
use super::*;
use crate::error::code::{backup as code, store as store_code};
use crate::store::backup::{DATABASE, Kind, Manifest, Order, Restore, Shelf, Stage, take_file, verify};

fn shelf(bench: &Bench) -> Shelf {
    Shelf::new(bench.folder.path().join("backups"))
}

fn make(bench: &Bench, name: &str) -> Manifest {
    let order = Order { name: &name.parse().unwrap(), kind: Kind::Manual, at: at(1_000) };
    bench.store.backup(&shelf(bench), &order, &mut |_| Ok(())).unwrap()
}

fn restore(
    data: &Path,
    from: &Path,
    is_damaged: bool,
    die: &mut dyn FnMut(Stage),
) -> crate::Result<Manifest> {
    let data_dir = DataDir::open(data, "test")?;
    let keep_as = "before-restore".parse().unwrap();
    let restore = Restore {
        from,
        data_dir: &data_dir,
        database: Path::new("chainbot.db"),
        shelf: &Shelf::new(data.join("backups")),
        at: at(5_000),
        keep_as: &keep_as,
        is_damaged,
    };
    let mut on = |stage| {
        die(stage);
        Ok(())
    };
    restore.prepare(&mut on)?.put_in_place(&mut on)
}

/// Runs of the store, with all their records.
fn read(store: &SqliteStore) -> Vec<(RunId, usize)> {
    let filter = crate::port::RunFilter { limit: 10_000, ..Default::default() };
    let runs = store.runs(&Scope::All, &filter).unwrap().items;
    let mut counted: Vec<_> = runs
        .iter()
        .map(|row| {
            (row.id, store.run(&Scope::All, row.id).unwrap().unwrap().lsns.map_or(1, |lsns| lsns.len()))
        })
        .collect();
    counted.sort();
    counted
}

#[test]
fn a_backup_under_load_restored_elsewhere_has_the_same_content() {
    let bench = Arc::new(Bench::new());
    for number in 0..200 {
        let first = bench.write(run_id(number), vec![created(run_id(number))], vec![insert(run_id(number))]);
        bench.write(run_id(number), steps(1, 20), vec![park(run_id(number), places(first, 1))]);
    }
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(200)));
    let load = {
        let (bench, stop, acknowledged) = (bench.clone(), stop.clone(), acknowledged.clone());
        std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                let number = acknowledged.load(Ordering::SeqCst);
                bench.start(run_id(number.into()));
                acknowledged.store(number + 1, Ordering::SeqCst);
            }
        })
    };
    let before = acknowledged.load(Ordering::SeqCst);
    let mut told = Vec::new();
    let order = Order { name: &"loaded".parse().unwrap(), kind: Kind::Manual, at: at(1_000) };
    let manifest = bench
        .store
        .backup(&shelf(&bench), &order, &mut |progress| {
            told.push(progress);
            // So that commits come between any two steps of the copy.
            let seen = acknowledged.load(Ordering::SeqCst);
            while acknowledged.load(Ordering::SeqCst) < seen + 3 {
                std::thread::yield_now();
            }
            Ok(())
        })
        .unwrap();
    stop.store(true, Ordering::SeqCst);
    load.join().unwrap();
    assert!(told.last().is_some_and(|last| last.done == last.pages && last.pages > 0), "{told:?}");
    let runs = manifest.tables.iter().find(|table| table.name == "run").unwrap().rows;
    let after = acknowledged.load(Ordering::SeqCst);
    assert!(
        runs >= before && runs < after,
        "{before} <= {runs} < {after}: of one moment while others were made"
    );
    bench.assert_sound();

    let elsewhere = TempDir::new().unwrap();
    let from = shelf(&bench).path(&"loaded".parse().unwrap());
    let restored = restore(elsewhere.path(), &from, false, &mut |_| {}).unwrap();
    assert_eq!(restored, manifest);
    let conn = rusqlite::Connection::open(elsewhere.path().join("chainbot.db")).unwrap();
    let mut content = crate::store::backup::content::of(&conn).unwrap();
    let mut expected = manifest.tables.clone();
    for sums in [&mut content, &mut expected] {
        // They say that it was restored, which the backup cannot.
        sums.retain(|sum| !["restored", "audit", "audit_head"].contains(&sum.name.as_str()));
    }
    assert_eq!(content, expected);
    drop(conn);
    let store = open(elsewhere.path(), None).unwrap();
    assert_eq!(read(&store).len() as u64, runs);
    assert_eq!(store.automation().unwrap().restored_at, Some(at(5_000)));
    assert_eq!(violations(&store), []);
}

#[test]
fn every_kind_of_damage_to_a_backup_is_found() {
    let bench = Bench::new();
    for number in 0..20 {
        bench.start(run_id(number));
    }
    make(&bench, "whole");
    let from = shelf(&bench).path(&"whole".parse().unwrap());
    verify(&from).unwrap();
    let file = from.join(DATABASE);
    let (bytes, manifest) =
        (std::fs::read(&file).unwrap(), std::fs::read(from.join("manifest.json")).unwrap());
    for place in (0..bytes.len()).step_by(bytes.len() / 40) {
        let mut other = bytes.clone();
        other[place] ^= 1;
        std::fs::write(&file, &other).unwrap();
        assert_eq!(verify(&from).unwrap_err().code(), &code::DAMAGED, "byte {place}");
    }
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(verify(&from).unwrap_err().code(), &code::DAMAGED, "half of it");
    std::fs::write(&file, &bytes).unwrap();
    let text = String::from_utf8(manifest.clone()).unwrap();
    let hash = Manifest::read(&from).unwrap().tables[1].hash.clone();
    std::fs::write(from.join("manifest.json"), text.replace(&hash, &"0".repeat(64))).unwrap();
    assert_eq!(verify(&from).unwrap_err().code(), &code::DAMAGED, "a hash of the manifest");
    std::fs::write(from.join("manifest.json"), "{").unwrap();
    assert_eq!(verify(&from).unwrap_err().code(), &code::DAMAGED, "half a manifest");
    std::fs::write(from.join("manifest.json"), text.replace("\"schema\": ", "\"schema\": 9")).unwrap();
    assert_eq!(verify(&from).unwrap_err().code(), &store_code::NEWER);
    let data = TempDir::new().unwrap();
    let error = restore(data.path(), &from, false, &mut |_| {}).unwrap_err();
    assert!(*error.code() == store_code::NEWER && error.remedy().unwrap().contains("later"), "{error}");
    assert!(!data.path().join("chainbot.db").exists(), "nothing was written");
    std::fs::remove_file(from.join("manifest.json")).unwrap();
    assert_eq!(verify(&from).unwrap_err().code(), &code::NOT_FOUND);
}

#[test]
fn a_backup_has_its_name_once_and_the_newest_of_a_kind_are_kept() {
    let bench = Bench::new();
    bench.start(run_id(1));
    make(&bench, "first");
    let order = Order { name: &"first".parse().unwrap(), kind: Kind::Scheduled, at: at(2_000) };
    let again = bench.store.backup(&shelf(&bench), &order, &mut |_| Ok(()));
    assert_eq!(again.unwrap_err().code(), &code::EXISTS);
    let names = ["auto-1", "auto-2", "auto-3"];
    for (name, number) in names.iter().zip(2_000..) {
        let order = Order { name: &name.parse().unwrap(), kind: Kind::Scheduled, at: at(number) };
        bench.store.backup(&shelf(&bench), &order, &mut |_| Ok(())).unwrap();
    }
    let pruned = shelf(&bench).prune(Kind::Scheduled, 2).unwrap();
    assert_eq!(pruned, ["auto-1".parse().unwrap()]);
    let left: Vec<String> =
        shelf(&bench).entries().unwrap().iter().map(|entry| entry.name.to_string()).collect();
    assert_eq!(left, ["auto-3", "auto-2", "first"], "the newest first, and one of another kind stays");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(shelf(&bench).path(&"first".parse().unwrap()).join(DATABASE))
            .unwrap()
            .permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn an_interrupted_backup_leaves_nothing_that_counts() {
    let bench = Bench::new();
    bench.start(run_id(1));
    let order = Order { name: &"cut".parse().unwrap(), kind: Kind::Manual, at: at(1_000) };
    let stop = || crate::Error::new(&code::FAILED, "stopped");
    assert!(bench.store.backup(&shelf(&bench), &order, &mut |_| Err(stop())).is_err());
    assert!(shelf(&bench).entries().unwrap().is_empty());
    // As a process leaves it that was killed.
    std::fs::create_dir(shelf(&bench).dir().join(".cut.partial")).unwrap();
    std::fs::write(shelf(&bench).dir().join(".cut.partial/chainbot.db"), "half").unwrap();
    make(&bench, "cut");
    std::fs::create_dir(shelf(&bench).dir().join(".other.partial")).unwrap();
    std::fs::create_dir(shelf(&bench).dir().join(".not ours")).unwrap();
    shelf(&bench).sweep().unwrap();
    assert!(!shelf(&bench).dir().join(".other.partial").exists());
    assert!(shelf(&bench).dir().join(".not ours").exists());
    verify(&shelf(&bench).path(&"cut".parse().unwrap())).unwrap();
}

/// A folder with a database of 30 runs, and a backup of 10.
fn two_states(folder: &Path) -> std::path::PathBuf {
    let data = Arc::new(DataDir::open(folder, "test").unwrap());
    let store = SqliteStore::open(OpenOptions::new(data)).unwrap();
    let bench = Bench { folder: TempDir::new().unwrap(), store };
    for number in 0..10 {
        bench.start(run_id(number));
    }
    let order = Order { name: &"ten".parse().unwrap(), kind: Kind::Manual, at: at(1_000) };
    let shelf = Shelf::new(folder.join("backups"));
    bench.store.backup(&shelf, &order, &mut |_| Ok(())).unwrap();
    for number in 10..30 {
        bench.start(run_id(number));
    }
    shelf.path(order.name)
}

#[test]
fn a_restore_keeps_the_old_state_and_gives_no_place_twice() {
    let folder = TempDir::new().unwrap();
    let from = two_states(folder.path());
    let newest = {
        let store = open(folder.path(), None).unwrap();
        store.newest_lsn().unwrap()
    };
    restore(folder.path(), &from, false, &mut |_| {}).unwrap();
    let kept = verify(&folder.path().join("backups/before-restore")).unwrap().manifest;
    assert_eq!(kept.kind, Kind::BeforeRestore);
    assert_eq!(kept.tables.iter().find(|table| table.name == "run").unwrap().rows, 30);
    let bench = Bench { store: open(folder.path(), None).unwrap(), folder };
    assert_eq!(read(&bench.store).len(), 10);
    assert!(bench.start(run_id(99)) > newest, "places of the old state are not given again");
    bench.assert_sound();
}

#[test]
fn a_restore_ends_every_login_and_keeps_the_users() {
    use crate::port::{AccountOp, Digest, HashText, LoginKind, Role, StoredLogin, StoredUser};

    let bench = Bench::new();
    let user = StoredUser {
        id: [1; 16].into(),
        name: "mia".to_owned(),
        role: Role::Admin,
        is_active: true,
        password: HashText("$argon2id$".to_owned()),
        must_change: false,
        created_at: at(1),
        updated_at: at(1),
        seen_at: None,
    };
    let login = StoredLogin {
        id: [2; 16].into(),
        user: user.id,
        kind: LoginKind::Browser,
        refresh: Digest([3; 32]),
        created_at: at(1),
        seen_at: at(1),
        idle_until: at(9_000),
        expires_at: at(9_000),
        address: String::new(),
        agent: String::new(),
    };
    for op in [AccountOp::UserPut(user.clone()), AccountOp::LoginPut(login)] {
        bench.write(run_id(0), vec![], vec![Op::Account(Box::new(op))]);
    }
    make(&bench, "one");
    let elsewhere = TempDir::new().unwrap();
    restore(elsewhere.path(), &shelf(&bench).path(&"one".parse().unwrap()), false, &mut |_| {}).unwrap();
    let found = open(elsewhere.path(), None).unwrap().accounts().unwrap();
    assert_eq!((found.users, found.logins), (vec![user], vec![]));
}

#[test]
fn a_restore_that_dies_at_any_stage_leaves_the_old_state_or_the_new_one() {
    const TEST: &str =
        "store::tests::backup::a_restore_that_dies_at_any_stage_leaves_the_old_state_or_the_new_one";
    if let Some(folder) = dying::folder() {
        restore(&folder, &folder.join("backups/ten"), false, &mut |_| dying::pass()).unwrap();
        return;
    }
    let mut states = Vec::new();
    for at in 1.. {
        let folder = TempDir::new().unwrap();
        let from = two_states(folder.path());
        let ended = dying::run(TEST, at, folder.path());
        let runs = {
            let store = open(folder.path(), None).unwrap();
            assert_eq!(violations(&store), [], "after stage {at}");
            read(&store).len()
        };
        states.push(runs);
        // Whatever it left, the next one comes to its end.
        let _ = std::fs::remove_dir_all(folder.path().join("backups/before-restore"));
        restore(folder.path(), &from, false, &mut |_| {}).unwrap();
        assert_eq!(read(&open(folder.path(), None).unwrap()).len(), 10);
        if ended == Child::Done {
            break;
        }
    }
    assert_eq!(states, [30, 30, 30, 30, 30, 30, 10, 10], "one for each of {:?}, and the whole", Stage::ALL);
}

#[test]
fn a_database_that_does_not_read_is_put_aside_when_that_is_said() {
    let folder = TempDir::new().unwrap();
    let from = two_states(folder.path());
    let path = folder.path().join("chainbot.db");
    std::fs::write(&path, b"these are not the bytes you are looking for".repeat(200)).unwrap();
    let error = restore(folder.path(), &from, false, &mut |_| {}).unwrap_err();
    assert_eq!(error.code(), &code::RESTORE);
    assert!(error.remedy().unwrap().contains("--damaged"), "{error}");
    restore(folder.path(), &from, true, &mut |_| {}).unwrap();
    assert_eq!(read(&open(folder.path(), None).unwrap()).len(), 10);
    let aside = std::fs::read_dir(folder.path()).unwrap().flatten();
    assert_eq!(aside.filter(|file| file.file_name().to_str().unwrap().contains(".damaged-")).count(), 1);
}

#[test]
fn a_folder_that_is_held_is_not_restored_into() {
    let folder = TempDir::new().unwrap();
    let from = two_states(folder.path());
    let held = DataDir::open(folder.path(), "host-shim").unwrap();
    let error = restore(folder.path(), &from, false, &mut |_| {}).unwrap_err();
    assert_eq!(error.code(), &store_code::LOCKED);
    drop(held);
}

#[test]
fn a_backup_of_the_first_schema_is_brought_up_to_date() {
    let (old, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/databases/schema-1.db");
    let order = Order { name: &"old".parse().unwrap(), kind: Kind::Manual, at: at(1_000) };
    let shelf = Shelf::new(old.path());
    let copy = old.path().join("source.db");
    std::fs::copy(source, &copy).unwrap();
    take_file(&copy, &shelf, &order, &mut |_| Ok(())).unwrap();
    let checked = verify(&shelf.path(order.name)).unwrap();
    assert_eq!((checked.manifest.schema, checked.is_current), (1, false));
    restore(data.path(), &shelf.path(order.name), false, &mut |_| {}).unwrap();
    let store = open(data.path(), None).unwrap();
    assert_eq!((read(&store).len(), check(&store).unwrap()), (5, vec![]));
}

#[test]
fn a_migration_killed_at_any_statement_opens_afterwards() {
    const TEST: &str = "store::tests::backup::a_migration_killed_at_any_statement_opens_afterwards";
    if let Some(folder) = dying::folder() {
        open(&folder, None).unwrap();
        return;
    }
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/databases/schema-1.db");
    let mut deaths = 0;
    for at in 1.. {
        let folder = TempDir::new().unwrap();
        std::fs::copy(source, folder.path().join("chainbot.db")).unwrap();
        let ended = dying::run(TEST, at, folder.path());
        let kept = verify(&folder.path().join("backups/schema-1")).unwrap().manifest;
        assert_eq!((kept.schema, kept.kind), (1, Kind::BeforeMigration));
        let store = open(folder.path(), None).unwrap();
        assert_eq!((read(&store).len(), check(&store).unwrap()), (5, vec![]), "killed at statement {at}");
        if ended == Child::Done {
            break;
        }
        deaths += 1;
    }
    assert!(deaths >= 18, "only {deaths} statements were interrupted");
}
