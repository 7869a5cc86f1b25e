//! The control socket: how another process asks a running host for something.
//!
//! A Unix socket of mode 0600, `host-shim.sock` in the data folder or where `--socket` says. One JSON object a line: the client
//! sends one request, the host answers with lines of progress and a last one that has `result`. Only a process of the same
//! user is heard, as the kernel names it. What is asked for is done by the control thread; `status` alone is answered here,
//! so that it works while something else is under way. A client that goes away stops nothing.

mod client;
mod server;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::current::Current;
use crate::images::Images;
use crate::limits::{SOCKET_PATH_BYTES_MAX, UPGRADE_TIMEOUT};
use crate::upgrade::Order;

pub use client::{reconfigure, status, upgrade};
pub use server::Server;

const SOCKET: &str = "host-shim.sock";

/// What the control thread is asked for.
#[derive(Debug)]
pub enum Ask {
    /// Another version.
    Upgrade(Order),
    /// The configuration, read anew.
    Reconfigure,
}

/// A request with the way back.
pub struct Asked {
    /// What.
    pub ask: Ask,
    /// Lines of progress, and the last one.
    pub replies: Sender<Value>,
}

/// What `status` looks at.
pub struct View {
    /// Who serves.
    pub current: Arc<Current>,
    /// What is mapped.
    pub images: Arc<Mutex<Images>>,
}

/// Where the socket lies; `None` when neither was named.
pub fn socket_path(socket: Option<&Path>, data: Option<&Path>) -> Option<PathBuf> {
    socket.map(Path::to_owned).or_else(|| data.map(|folder| folder.join(SOCKET)))
}

/// Reads a request.
fn parse(line: &str) -> Result<Option<Ask>, String> {
    let request: Value = serde_json::from_str(line).map_err(|error| format!("it is not JSON: {error}"))?;
    let Value::Object(fields) = &request else { return Err("it is no JSON object".to_owned()) };
    let known = ["command", "module", "timeout_ms", "allow_migration"];
    if let Some(unknown) = fields.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(format!("there is no field `{unknown}`"));
    }
    match request["command"].as_str() {
        Some("status") => Ok(None),
        Some("reconfigure") => Ok(Some(Ask::Reconfigure)),
        Some("upgrade") => {
            let module = request["module"].as_str().map(PathBuf::from).filter(|path| path.is_absolute());
            let module = module.ok_or("`module` takes an absolute path")?;
            let timeout = match &request["timeout_ms"] {
                Value::Null => UPGRADE_TIMEOUT,
                value => match value.as_u64() {
                    Some(ms) if (1..=86_400_000).contains(&ms) => Duration::from_millis(ms),
                    _ => return Err("`timeout_ms` takes 1 to 86400000".to_owned()),
                },
            };
            let may_migrate = match &request["allow_migration"] {
                Value::Null => false,
                value => value.as_bool().ok_or("`allow_migration` takes true or false")?,
            };
            Ok(Some(Ask::Upgrade(Order { module, timeout, may_migrate })))
        }
        _ => Err("`command` takes upgrade, reconfigure or status".to_owned()),
    }
}

/// A path that the kernel takes as a socket's address, and what must stay open for it: a long one is reached by way of its
/// opened folder.
fn address(path: &Path) -> std::io::Result<(PathBuf, Option<File>)> {
    if path.as_os_str().as_bytes().len() < SOCKET_PATH_BYTES_MAX {
        return Ok((path.to_owned(), None));
    }
    let name = path.file_name().ok_or_else(|| std::io::Error::other("it has no file name"))?;
    let folder = File::open(path.parent().unwrap_or(Path::new("/")))?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    Ok((short, Some(folder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_and_a_wrong_one_says_why() {
        assert!(matches!(parse(r#"{"command":"status"}"#), Ok(None)));
        assert!(matches!(parse(r#"{"command":"reconfigure"}"#), Ok(Some(Ask::Reconfigure))));
        let line = r#"{"command":"upgrade","module":"/a.so","timeout_ms":5,"allow_migration":true}"#;
        let Ok(Some(Ask::Upgrade(order))) = parse(line) else { panic!("not read") };
        assert_eq!((order.module, order.timeout.as_millis(), order.may_migrate), ("/a.so".into(), 5, true));
        for (line, names) in [
            ("", "JSON"),
            ("[]", "object"),
            ("{}", "`command`"),
            (r#"{"command":"stop"}"#, "`command`"),
            (r#"{"command":"upgrade"}"#, "`module`"),
            (r#"{"command":"upgrade","module":"a.so"}"#, "absolute"),
            (r#"{"command":"upgrade","module":"/a","timeout_ms":0}"#, "timeout_ms"),
            (r#"{"command":"upgrade","module":"/a","allow_migration":1}"#, "allow_migration"),
            (r#"{"command":"status","x":1}"#, "`x`"),
        ] {
            let why = parse(line).map(drop).unwrap_err();
            assert!(why.contains(names), "{line}: {why}");
        }
    }
}
