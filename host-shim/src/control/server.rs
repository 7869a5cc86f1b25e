//! The host's side: a thread that accepts, and one for each connection.

use std::fs::{DirBuilder, Permissions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

use serde_json::{Value, json};

use super::{Asked, View, address, parse};
use crate::error::{Error, Result, code};
use crate::health::document;
use crate::limits::{CONTROL_CONNECTIONS_MAX, CONTROL_LINE_BYTES_MAX, CONTROL_PATIENCE};
use crate::run::{Told, mapped};

/// An open control socket.
pub struct Server {
    path: PathBuf,
    is_closed: Arc<AtomicBool>,
}

/// What connections work on.
struct Desk {
    view: View,
    tell: Sender<Told>,
    connections: AtomicUsize,
    /// Something is under way that only one may ask for at a time.
    is_taken: AtomicBool,
}

impl Server {
    /// Opens it. What a host that was killed has left there is removed; that of a live one is not.
    pub fn open(path: &Path, view: View, tell: Sender<Told>) -> Result<Self> {
        let fail = |error: std::io::Error| {
            Error::new(code::CONTROL_SOCKET, format!("the control socket `{}`: {error}", path.display()))
        };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            // A module that writes nothing has not made it.
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fail)?;
        }
        let (short, _folder) = address(path).map_err(fail)?;
        let listener = match UnixListener::bind(&short) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                if UnixStream::connect(&short).is_ok() {
                    return Err(fail(std::io::Error::other("another host answers there")));
                }
                std::fs::remove_file(path).map_err(fail)?;
                UnixListener::bind(&short)
            }
            other => other,
        }
        .map_err(fail)?;
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(fail)?;
        let desk =
            Arc::new(Desk { view, tell, connections: AtomicUsize::new(0), is_taken: AtomicBool::new(false) });
        let is_closed = Arc::new(AtomicBool::new(false));
        let closed = Arc::clone(&is_closed);
        // Joined by nobody: it waits in `accept` until the process ends.
        std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || accept(&listener, &desk, &closed))
            .map_err(fail)?;
        Ok(Self { path: path.to_owned(), is_closed })
    }

    /// Takes the socket's name away; requests that come all the same are refused.
    pub fn close(self) {
        self.is_closed.store(true, Ordering::SeqCst);
        if let Err(error) = std::fs::remove_file(&self.path) {
            log::warn!("the control socket `{}` stays: {error}", self.path.display());
        }
    }
}

fn accept(listener: &UnixListener, desk: &Arc<Desk>, is_closed: &AtomicBool) {
    for stream in listener.incoming() {
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                // A lack of descriptors passes; without a pause this would spin.
                log::warn!("the control socket: {error}");
                std::thread::sleep(CONTROL_PATIENCE / 100);
                continue;
            }
        };
        if is_closed.load(Ordering::SeqCst) {
            return;
        }
        if desk.connections.fetch_add(1, Ordering::SeqCst) >= CONTROL_CONNECTIONS_MAX {
            desk.connections.fetch_sub(1, Ordering::SeqCst);
            refuse(&stream, "too many ask at once; try again in a moment");
            continue;
        }
        let inside = Arc::clone(desk);
        let spawned = std::thread::Builder::new().name("control".to_owned()).spawn(move || {
            if let Err(error) = inside.serve(&stream) {
                log::debug!("a client of the control socket is gone: {error}");
            }
            inside.connections.fetch_sub(1, Ordering::SeqCst);
        });
        if let Err(error) = spawned {
            desk.connections.fetch_sub(1, Ordering::SeqCst);
            log::error!("the control socket: no thread can be started: {error}");
        }
    }
}

impl Desk {
    fn serve(&self, stream: &UnixStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(CONTROL_PATIENCE))?;
        stream.set_write_timeout(Some(CONTROL_PATIENCE))?;
        if let Err(why) = is_own_user(stream) {
            log::warn!("a request over the control socket was refused: {why}");
            refuse(stream, &why);
            return Ok(());
        }
        let mut line = String::new();
        let bounded = stream.take(CONTROL_LINE_BYTES_MAX as u64);
        BufReader::new(bounded).read_line(&mut line)?;
        if !line.ends_with('\n') {
            refuse(stream, "the request is no whole line, or too long");
            return Ok(());
        }
        match parse(line.trim_end()) {
            Err(why) => refuse(stream, &why),
            Ok(None) => send(stream, &self.status())?,
            Ok(Some(ask)) => {
                if self.is_taken.swap(true, Ordering::SeqCst) {
                    refuse(stream, "another upgrade or change is under way; wait for its end");
                    return Ok(());
                }
                let (replies, lines) = channel();
                // Nobody receives when the host ends already; then the channel is closed too.
                let _ = self.tell.send(Told::Asked(Asked { ask, replies }));
                let (mut gone, mut end) = (None, None);
                for line in lines {
                    if line.get("result").is_some() {
                        end = Some(line);
                    } else if gone.is_none() {
                        gone = send(stream, &line).err();
                    }
                }
                // Who reads the end may ask for the next thing at once.
                self.is_taken.store(false, Ordering::SeqCst);
                gone.map_or(Ok(()), Err)?;
                return end.map_or(Ok(()), |end| send(stream, &end));
            }
        }
        Ok(())
    }

    fn status(&self) -> Value {
        let version = self.view.current.get();
        let health = match version.instance.health() {
            Ok(health) => document(&health),
            Err(error) => json!({ "error": error.to_string() }),
        };
        json!({
            "result": "status", "module": version.document(), "health": health,
            "is_changing": self.is_taken.load(Ordering::SeqCst), "mapped": mapped(&self.view.images),
            "upgraded": self.view.current.upgraded.load(Ordering::Relaxed),
            "failed": self.view.current.failed.load(Ordering::Relaxed), "pid": std::process::id(),
        })
    }
}

fn send(mut stream: &UnixStream, line: &Value) -> std::io::Result<()> {
    stream.write_all(format!("{line}\n").as_bytes())
}

/// The client may be gone already, and has nothing to lose then.
fn refuse(stream: &UnixStream, why: &str) {
    let _ = send(stream, &json!({ "result": "refused", "code": code::CONTROL_REQUEST.id, "reason": why }));
}

/// The mode of the socket keeps others out; this holds also where somebody changed it.
fn is_own_user(stream: &UnixStream) -> Result<(), String> {
    let mut peer = MaybeUninit::<libc::ucred>::uninit();
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the descriptor is open, and the kernel writes at most `len` bytes to `peer`.
    let got = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            peer.as_mut_ptr().cast(),
            &mut len,
        )
    };
    if got != 0 || len as usize != size_of::<libc::ucred>() {
        return Err(format!("who asks cannot be told: {}", std::io::Error::last_os_error()));
    }
    // SAFETY: filled, as the call succeeded with the full length.
    let peer = unsafe { peer.assume_init() };
    // SAFETY: it has no precondition and cannot fail.
    let own = unsafe { libc::geteuid() };
    if peer.uid == own {
        Ok(())
    } else {
        Err(format!("user {} asks, and user {own} runs this host", peer.uid))
    }
}
