//! The data folder: which one is meant, whether a server works on it, and what it left there.
//!
//! `server.json` says where the API is; it may be left over from a process that was killed, so it counts only while
//! that process holds the folder's lock file open. Linux only, as the whole of ChainBot.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use chainbot_core::config::{Config, Origin};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::args::Place;
use crate::error::{Error, Result, code};

/// Where a module that is installed keeps its data.
const INSTALLED: &str = "/var/lib/alex_os/chainbot";
/// `server.json` and the token are far smaller.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// A data folder with the configuration that belongs to it.
pub struct Folder {
    path: PathBuf,
    config: Config,
    file: Option<PathBuf>,
}

/// A server as `server.json` names it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Server {
    /// Of the API, without path.
    #[serde(default)]
    pub url: Option<String>,
    /// Its process.
    pub pid: u32,
    /// What that process is called.
    #[serde(default)]
    pub process: String,
    /// When it started.
    #[serde(default)]
    pub started_at: String,
    /// Version of the module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its file, when a host has loaded it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
}

impl Folder {
    /// Which folder is meant: `--data`; else what the configuration says (its file, or the environment); else
    /// `$XDG_STATE_HOME/chainbot`; else for root the installed module's folder; else `~/.local/state/chainbot`.
    pub fn choose(place: &Place) -> Result<Self> {
        if place.url.is_some() {
            return Err(Error::new(
                &code::USAGE,
                "this is about a data folder of this machine, not about a server",
            )
            .help("leave --url out, or run the command on that machine"));
        }
        let file = place.config.as_deref().map(absolute).transpose()?;
        let load = |data_dir: Option<&Path>| {
            let document = json!({ "file": file, "data_dir": data_dir });
            Config::load(&document.to_string()).map_err(Error::Core)
        };
        let config = match &place.data {
            Some(path) => load(Some(&absolute(path)?))?,
            None => {
                let config = load(None)?;
                match config.origin("module.data_dir") {
                    Some(Origin::Default) => load(Some(&usual()?))?,
                    _ => config,
                }
            }
        };
        Ok(Self { path: config.module.data_dir.clone(), config, file })
    }

    /// Absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// As it is in force for this folder.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The configuration file that was named on the command line, absolute.
    pub fn config_file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What the core is handed for this folder, with `values` on top.
    pub fn document(&self, values: &Value) -> String {
        json!({ "file": self.file, "data_dir": self.path, "values": values }).to_string()
    }

    /// Where a server in the background writes.
    pub fn log(&self) -> PathBuf {
        self.path.join("chainbot.log")
    }

    /// The API token.
    pub fn token(&self) -> Result<String> {
        let path = self.path.join("token");
        match read_small(&path)? {
            Some(text) => Ok(text.trim().to_owned()),
            None => Err(Error::new(&code::FOLDER, format!("{} is missing", path.display()))
                .help("the server writes it when it starts; see `chainbot status`")),
        }
    }

    /// The server at work on this folder, when there is one.
    pub fn server(&self) -> Result<Option<Server>> {
        let path = self.path.join("server.json");
        let Some(text) = read_small(&path)? else { return Ok(None) };
        let server: Server = serde_json::from_str(&text).map_err(|error| {
            Error::new(&code::FOLDER, format!("{} does not read: {error}", path.display()))
                .help("if no server runs, delete the file")
        })?;
        Ok(self.is_held_by(server.pid).then_some(server))
    }

    /// The server, or CB-0903.
    pub fn required_server(&self) -> Result<Server> {
        self.server()?.ok_or_else(|| {
            Error::new(&code::NO_SERVER, format!("no server runs on {}", self.path.display()))
                .help(format!("start one with `chainbot start --data {}`", self.path.display()))
        })
    }

    /// Whether the process holds the lock of the folder. Seen from outside, so that looking disturbs nobody: in the
    /// kernel's list of locks, or among the process's open files where that list is not to be had.
    pub fn is_held_by(&self, pid: u32) -> bool {
        let Ok(lock) = self.path.join("lock").canonicalize() else { return false };
        let Ok(inode) = std::fs::metadata(&lock).map(|file| file.ino()) else { return false };
        let locked = std::fs::read_to_string("/proc/locks")
            .is_ok_and(|locks| locks.lines().any(|line| names_lock(line, pid, inode)));
        let opened = || match std::fs::read_dir(format!("/proc/{pid}/fd")) {
            Ok(open) => {
                open.flatten().any(|file| std::fs::read_link(file.path()).is_ok_and(|path| path == lock))
            }
            Err(_) => false,
        };
        locked || opened()
    }
}

/// Whether a line of `/proc/locks` says that the process holds a lock on the inode:
/// `1: FLOCK  ADVISORY  WRITE 4711 08:02:131 0 EOF`.
fn names_lock(line: &str, pid: u32, inode: u64) -> bool {
    let mut words = line.split_whitespace().skip(4);
    let holder = words.next().and_then(|word| word.parse::<u32>().ok());
    let file = words.next().and_then(|word| word.rsplit(':').next()?.parse::<u64>().ok());
    holder == Some(pid) && file == Some(inode)
}

/// The folder of a person without configuration.
fn usual() -> Result<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(state) = folder("XDG_STATE_HOME") {
        return Ok(state.join("chainbot"));
    }
    if std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
        return Ok(INSTALLED.into());
    }
    match folder("HOME") {
        Some(home) => Ok(home.join(".local/state/chainbot")),
        None => Err(Error::new(&code::FOLDER, "neither HOME nor XDG_STATE_HOME is set")
            .help("name the data folder with --data DIR")),
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path)
        .map_err(|error| Error::new(&code::USAGE, format!("{} is no path: {error}", path.display())))
}

/// The text of a small file; `None` when it does not exist.
fn read_small(path: &Path) -> Result<Option<String>> {
    let failed = |error: std::io::Error| {
        Error::new(&code::FOLDER, format!("{} cannot be read: {error}", path.display()))
            .help("use the account that the server runs as")
    };
    let file = match std::fs::File::open(path) {
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            return Ok(None);
        }
        other => other.map_err(failed)?,
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(path: &Path) -> Folder {
        Folder::choose(&Place { data: Some(path.to_owned()), ..Place::default() }).unwrap()
    }

    #[test]
    fn a_server_counts_only_while_its_process_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(dir.path());
        assert!(folder.server().unwrap().is_none());
        let server = json!({ "url": "http://127.0.0.1:1", "pid": std::process::id() });
        std::fs::write(dir.path().join("server.json"), server.to_string()).unwrap();
        std::fs::write(dir.path().join("lock"), "").unwrap();
        assert!(folder.server().unwrap().is_none(), "a process that does not hold the lock is another one");
        let held = std::fs::File::open(dir.path().join("lock")).unwrap();
        assert_eq!(folder.server().unwrap().unwrap().url.as_deref(), Some("http://127.0.0.1:1"));
        drop(held);
        assert_eq!(folder.required_server().unwrap_err().code(), "CB-0903");
    }

    #[test]
    fn a_line_of_the_kernels_locks_names_process_and_file() {
        assert!(names_lock("1: FLOCK  ADVISORY  WRITE 4711 08:02:131 0 EOF", 4711, 131));
        assert!(!names_lock("1: FLOCK  ADVISORY  WRITE 4712 08:02:131 0 EOF", 4711, 131));
        assert!(
            !names_lock("1: -> FLOCK  ADVISORY  WRITE 4711 08:02:131 0 EOF", 4711, 131),
            "it only waits for it"
        );
        assert!(!names_lock("", 0, 0));
    }

    #[test]
    fn a_broken_server_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("server.json"), "{").unwrap();
        let error = folder(dir.path()).server().unwrap_err();
        assert_eq!(error.code(), "CB-0910");
        assert!(error.message().contains("server.json"));
    }

    #[test]
    fn a_folder_that_is_not_there_has_no_server() {
        assert!(folder(Path::new("/nonexistent/folder")).server().unwrap().is_none());
    }
}
