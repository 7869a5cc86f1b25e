//! The data folder: made, checked, taken once, with small files written whole.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::*;
use crate::error::code::store;

const CHILD: &str = "CHAINBOT_TEST_LOCK_FOLDER";

/// Not a test by itself: the other process of the test below, which runs this binary again.
#[test]
fn another_process_holds_the_folder_until_its_input_ends() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let _held = DataDir::open(Path::new(&folder), "the-other").unwrap();
    std::io::stdout().write_all(b"\nheld\n").unwrap();
    std::io::stdout().flush().unwrap();
    std::io::stdin().lines().for_each(drop);
}

#[test]
fn a_folder_that_another_process_holds_is_refused_by_name_and_free_when_that_process_dies() {
    let folder = TempDir::new().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("store::tests::folder::another_process_holds_the_folder_until_its_input_ends")
        .env(CHILD, folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "held"), "the other process did not get the lock");
    let error = DataDir::open(folder.path(), "test").unwrap_err();
    assert_eq!(error.code(), &store::LOCKED);
    let pid = child.id().to_string();
    assert!(error.message().contains("`the-other`") && error.message().contains(&pid), "{error}");
    assert_eq!(DataDir::holder(folder.path()).unwrap().process, "the-other");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(DataDir::holder(folder.path()).is_none());
    DataDir::open(folder.path(), "test").unwrap();
}

#[test]
fn a_new_folder_is_for_its_owner_alone() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("a/b");
    let folder = DataDir::open(&path, "test").unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(folder.path(), path.canonicalize().unwrap());
}

#[test]
fn a_folder_that_cannot_be_used_is_refused_with_its_path() {
    let parent = TempDir::new().unwrap();
    let file = parent.path().join("file");
    std::fs::write(&file, "").unwrap();
    let open_to_all = parent.path().join("open");
    std::fs::create_dir(&open_to_all).unwrap();
    std::fs::set_permissions(&open_to_all, PermissionsExt::from_mode(0o777)).unwrap();
    // Nothing can be made in this one, not even by root.
    let unwritable = PathBuf::from("/proc/self");
    for path in [file.clone(), file.join("below"), open_to_all, unwritable.clone(), unwritable.join("below")]
    {
        let error = DataDir::open(&path, "test").unwrap_err();
        assert_eq!(error.code(), &store::DATA_DIR, "{error}");
        assert!(error.message().contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn a_private_file_is_whole_and_for_its_owner_alone() {
    let parent = TempDir::new().unwrap();
    let folder = DataDir::open(parent.path(), "test").unwrap();
    assert_eq!(folder.read("token").unwrap(), None);
    // A crash between writing and renaming leaves this, perhaps with a wide mode.
    std::fs::write(parent.path().join("token.new"), "half").unwrap();
    for text in ["one", "two"] {
        folder.write_private("token", text.as_bytes()).unwrap();
        assert_eq!(folder.read("token").unwrap().unwrap(), text.as_bytes());
    }
    let mode = std::fs::metadata(parent.path().join("token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!parent.path().join("token.new").exists());
}

#[test]
fn a_private_file_has_a_plain_name_and_a_bound() {
    let parent = TempDir::new().unwrap();
    let folder = DataDir::open(parent.path(), "test").unwrap();
    for name in ["", "..", "a/b", "/etc/passwd", "../x", "lock"] {
        assert!(folder.write_private(name, b"x").is_err(), "{name}");
        assert!(folder.read(name).is_err(), "{name}");
    }
    let large = vec![0; crate::limits::PRIVATE_FILE_BYTES_MAX + 1];
    assert!(folder.write_private("large", &large).is_err());
    std::fs::write(parent.path().join("large"), &large).unwrap();
    assert!(folder.read("large").is_err());
}
