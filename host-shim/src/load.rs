//! Opens a module by path and checks that it is one.
//!
//! A library is never closed: threads that once ran code of it may still hold destructors that lie in it. The
//! checks read no more of a foreign struct than its version promises.

use std::path::{Path, PathBuf};

use abi_stable::library::LibraryError;
use chainbot_abi::{
    ABI_MAJOR, ABI_VERSION, BASE_MODULE_SIZE_1_0, BaseModule, EntryFn, Root_Ref, name::ENTRY_SYMBOL,
};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use crate::error::{Error, Result, code};
use crate::module::{Module, Table};

/// Loads the module at `path`.
pub fn load(path: &Path) -> Result<Module> {
    let entry = open(path)?;
    let path = real_file(path)?;
    let table = table(entry, &path)?;
    Ok(Module::new(table, path))
}

/// Opens the library at `path` and gives its entry function.
pub fn open(path: &Path) -> Result<EntryFn> {
    let path = real_file(path)?;
    // SAFETY: loading runs the library's initialisers. The person who names a module trusts it as much as
    // the host: that is the contract's rule, and nothing weaker is possible within one process.
    let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_LOCAL) }.map_err(|error| {
        Error::new(code::NOT_A_LIBRARY, format!("`{}`: {}", path.display(), loader_text(&error)))
    })?;
    // SAFETY: the symbol's type is fixed by the ABI; a library that exports this name with another type is
    // no module, and cannot be told apart from one.
    let entry = unsafe { library.get::<EntryFn>(ENTRY_SYMBOL) }.map(|symbol| *symbol);
    // Never closed, whatever comes next: its initialisers have run and may have left threads or destructors.
    let _ = library.into_raw();
    entry.map_err(|_| {
        let remedy = format!(
            "`{}` does not export `{ENTRY_SYMBOL}`; name a library built as a module",
            path.display()
        );
        Error::new(code::SYMBOL_MISSING, remedy)
    })
}

/// Loads the module at `path` through abi_stable, which compares the layout of every type with this host's.
pub fn load_compared(path: &Path) -> Result<Module> {
    let path = real_file(path)?;
    let refused =
        |error: LibraryError| Error::new(code::DOOR_CLOSED, format!("`{}`: {error}", path.display()));
    // Both are never closed: abi_stable leaks what it loads.
    let header = abi_stable::library::lib_header_from_path(&path).map_err(refused)?;
    let root = header.init_root_module::<Root_Ref>().map_err(refused)?;
    let table = Table::from_prefix(root.base())
        .map_err(|function| incomplete(&path, &format!("`{function}` is null")))?;
    Ok(Module::new(table, path))
}

/// The real path of a file: the loader must not search the system's folders for a bare name, and it takes a link for the
/// file that the link named when it was first loaded.
pub fn real_file(path: &Path) -> Result<PathBuf> {
    let fail = |why: String| Error::new(code::MODULE_MISSING, format!("`{}`: {why}", path.display()));
    let meta = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => fail("no such file; check the path".to_owned()),
        _ => fail(error.to_string()),
    })?;
    if !meta.is_file() {
        return Err(fail("not a file; --module names the shared library itself".to_owned()));
    }
    path.canonicalize().map_err(|error| fail(error.to_string()))
}

/// The loader's own words, without the wrapper's.
fn loader_text(error: &libloading::Error) -> String {
    match error {
        libloading::Error::DlOpen { source } => source.to_string(),
        other => other.to_string(),
    }
}

/// Asks for the struct, checks it and copies the functions of 1.0.
fn table(entry: EntryFn, path: &Path) -> Result<Table> {
    // SAFETY: the entry function takes any number and has no precondition.
    let base = unsafe { entry(ABI_VERSION) };
    if base.is_null() {
        // SAFETY: as above; 0 asks for the struct of whatever version.
        return Err(major_differs(unsafe { entry(0) }, path));
    }
    if !base.is_aligned() {
        return Err(incomplete(path, "the struct is not aligned"));
    }
    // SAFETY: not null and aligned; every major keeps these two fields at the start of the struct.
    let (size, version) = unsafe { ((*base).struct_size as usize, (*base).abi_version) };
    if version >> 16 != ABI_MAJOR {
        return Err(major_differs(base, path));
    }
    let needed = BASE_MODULE_SIZE_1_0;
    if size < needed {
        return Err(incomplete(path, &format!("struct_size is {size}, version 1.0 has {needed} bytes")));
    }
    // SAFETY: struct_size covers every field of 1.0, and the struct is valid while the library is mapped,
    // which is until the process ends.
    let base = unsafe { &*base };
    Table::new(base).map_err(|function| incomplete(path, &format!("`{function}` is null")))
}

fn incomplete(path: &Path, why: &str) -> Error {
    Error::new(
        code::MODULE_INCOMPLETE,
        format!("`{}`: {why}; build the module against the current header", path.display()),
    )
}

/// The refusal that names both versions, when the module tells its own.
fn major_differs(base: *const BaseModule, path: &Path) -> Error {
    let theirs = if base.is_null() || !base.is_aligned() {
        "an unknown version".to_owned()
    } else {
        // SAFETY: not null and aligned; every major keeps this field in its place.
        format!("version {}", version_text(unsafe { (*base).abi_version }))
    };
    let ours = version_text(ABI_VERSION);
    Error::new(
        code::MAJOR_DIFFERS,
        format!(
            "`{}` has ABI {theirs}, this host has version {ours}; use a module with major {ABI_MAJOR}",
            path.display()
        ),
    )
}

/// `major.minor` of a packed version.
pub fn version_text(version: u32) -> String {
    format!("{}.{}", version >> 16, version & 0xffff)
}
