//! Tests of what authors use: golden files by glob, and the virtual clock.

mod dry;
mod imports;
mod pictures;
mod play;
mod suites;

use std::path::{Path, PathBuf};

/// Files of a folder beside this one, in order.
fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/authoring/tests").join(folder);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending != "expected"));
    files.sort();
    files
}

/// Compares with the file of this name that ends with `.expected`; `UPDATE_GOLDEN=1` writes it.
fn golden(path: &Path, actual: &str) {
    let path = path.with_extension("expected");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(actual, expected, "{} differs; UPDATE_GOLDEN=1 rewrites it", path.display());
}
