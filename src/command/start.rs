//! `chainbot start`: the host program with the module, in the background or in the foreground.
//!
//! The host is a program of its own beside this one, so that the server is the very thing that a host of ALEX OS
//! loads. It is ready when `server.json` names its process and the API answers.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::args::Start;
use crate::client::Client;
use crate::error::{Error, Result, code};
use crate::folder::{Folder, Server};
use crate::output::{self, printable};

/// How long a server may take until it answers. A Pi with a large journal needs seconds.
const READY_MAX: Duration = Duration::from_secs(30);
/// Between two looks whether it is ready.
const LOOK: Duration = Duration::from_millis(50);
/// A log over this is put aside at a start, so that an unattended one ends at about twice this.
const LOG_BYTES_MAX: u64 = 10 * 1024 * 1024;
/// Lines of the log that are shown when a start failed.
const LOG_TAIL_LINES: usize = 15;

/// Starts a server.
pub fn run(args: &Start) -> Result<u8> {
    let folder = Folder::choose(&args.place)?;
    if args.http.is_none() && folder.config().api.port.is_none() {
        return Err(Error::new(
            &code::USAGE,
            "the configuration has api.port: null, so the server could not be reached",
        )
        .help("name an address, for example --http 127.0.0.1:8000"));
    }
    if let Some(server) = folder.server()? {
        if args.foreground {
            return Err(Error::new(
                &code::START,
                format!("`{}` (pid {}) runs already", server.process, server.pid),
            )
            .help("stop it first with `chainbot stop`"));
        }
        return report(args, &folder, &server, "runs already");
    }
    create(folder.path())?;
    let mut command = host(args, &folder)?;
    if args.foreground {
        let error = command.exec();
        return Err(Error::new(&code::START, format!("{:?} cannot be run: {error}", command.get_program())));
    }
    let log = open_log(&folder.log())?;
    let twin = log.try_clone().map_err(|error| unusable(&folder.log(), &error))?;
    // A group of its own: a Ctrl-C in this terminal is not meant for the server.
    command.arg("--log-format").arg("json").process_group(0).stdin(Stdio::null()).stdout(log).stderr(twin);
    let mut child = command.spawn().map_err(|error| {
        Error::new(&code::START, format!("{:?} cannot be run: {error}", command.get_program()))
    })?;
    let server = ready(&folder, &mut child)?;
    report(args, &folder, &server, "started")
}

/// The host program with its arguments.
fn host(args: &Start, folder: &Folder) -> Result<Command> {
    let host = host_program(args.host.as_deref())?;
    let names = ["libchainbot_plugin.so", "../lib/chainbot/libchainbot_plugin.so"];
    let module = find(args.module.as_deref(), "the module", "--module", &names)?;
    let mut command = Command::new(host);
    command.arg("run").arg("--module").arg(module).arg("--data").arg(folder.path());
    if let Some(file) = folder.config_file() {
        command.arg("--config").arg(file);
    }
    if let Some(address) = args.http {
        command.arg("--set").arg(format!("api.host={}", json!(address.ip().to_string())));
        command.arg("--set").arg(format!("api.port={}", address.port()));
    }
    command.arg("--log-level").arg(folder.config().log_level().to_string().to_ascii_lowercase());
    Ok(command)
}

/// The program host-shim: as named, else beside this one.
pub fn host_program(named: Option<&Path>) -> Result<PathBuf> {
    find(named, "the host program", "--host", &["host-shim"])
}

/// A part of ChainBot: as named, else one of `names` beside this program.
fn find(named: Option<&Path>, what: &str, flag: &str, names: &[&str]) -> Result<PathBuf> {
    let mut looked = Vec::new();
    if let Some(path) = named {
        looked.push(path.to_owned());
    } else {
        let own = std::env::current_exe().and_then(|path| path.canonicalize()).map_err(|error| {
            Error::new(&code::PROGRAM, format!("this program does not know where it lies: {error}"))
                .help(format!("name {what} with {flag} PATH"))
        })?;
        let beside = own.parent().unwrap_or(Path::new("/"));
        looked.extend(names.iter().map(|name| beside.join(name)));
    }
    // Absolute, for the loader of libraries would look up a bare name elsewhere. Links stay: the host looks again at what the
    // module's link names when it gets SIGHUP.
    if let Some(found) = looked.iter().find(|path| path.is_file()) {
        return std::path::absolute(found).map_err(|error| unusable(found, &error));
    }
    let places: Vec<String> = looked.iter().map(|path| path.display().to_string()).collect();
    Err(Error::new(&code::PROGRAM, format!("{what} is not at {}", places.join(" nor at ")))
        .help(format!("build all parts with `cargo build --workspace`, or name it with {flag} PATH")))
}

fn create(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| unusable(path, &error))
}

fn open_log(path: &Path) -> Result<File> {
    if std::fs::metadata(path).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
        std::fs::rename(path, path.with_extension("log.1")).map_err(|error| unusable(path, &error))?;
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &std::io::Error) -> Error {
    Error::new(&code::FOLDER, format!("{} cannot be used: {error}", path.display()))
        .help("name a folder of your own with --data DIR, or use the account that owns this one")
}

/// Waits until the server answers, or tells why it does not.
fn ready(folder: &Folder, child: &mut Child) -> Result<Server> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(&code::START, format!("no way to wait for it: {error}")))?;
    let begin = Instant::now();
    loop {
        let ended = child.try_wait().map_err(|error| failed(folder, &format!("it is lost: {error}")))?;
        if let Some(status) = ended {
            return Err(failed(folder, &format!("it ended at once ({status})")));
        }
        if let Some(server) = folder.server()?
            && server.pid == child.id()
            && let Some(url) = &server.url
            && runtime.block_on(answers(url, folder))
        {
            return Ok(server);
        }
        if begin.elapsed() > READY_MAX {
            // Killing it is safe at any instant, and leaving it would make the next start fail.
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed(
                folder,
                &format!("it did not answer within {} s and was ended", READY_MAX.as_secs()),
            ));
        }
        std::thread::sleep(LOOK);
    }
}

async fn answers(url: &str, folder: &Folder) -> bool {
    let Ok(client) = folder.token().and_then(|token| Client::remote(url, &token)) else { return false };
    client.send("GET", "/health/live", &[], None).await.is_ok_and(|reply| reply.status == 200)
}

/// CB-0906 with the end of the log, which says why.
fn failed(folder: &Folder, why: &str) -> Error {
    let lines = super::logs::tail(&folder.log(), LOG_TAIL_LINES).unwrap_or_default();
    for line in &lines {
        output::note(&super::logs::readable(line));
    }
    Error::new(&code::START, format!("the server did not start: {why}"))
        .help(format!("the lines above are the end of {}", folder.log().display()))
}

fn report(args: &Start, folder: &Folder, server: &Server, what: &str) -> Result<u8> {
    let log = folder.log();
    if args.json.json {
        let state = what == "started";
        let body = json!({ "started": state, "server": server, "data_dir": folder.path(), "log": log });
        return output::json(&body).map(|()| 0);
    }
    output::line(&format!("{what}: {} (pid {})", printable(&server.process), server.pid))?;
    output::line(&format!("url    {}", server.url.as_deref().unwrap_or("none")))?;
    output::line(&format!("data   {}", folder.path().display()))?;
    output::line(&format!("log    {}", log.display()))?;
    output::note("`chainbot status` shows it, `chainbot stop` stops it");
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_missing_is_told_with_the_places_and_the_way_out() {
        let error = find(Some(Path::new("/nonexistent/x")), "the module", "--module", &[]).unwrap_err();
        assert_eq!(error.code(), "CB-0905");
        assert!(error.message().contains("/nonexistent/x"));
        assert!(error.remedy().unwrap().contains("--module"));
        let error = find(None, "the host program", "--host", &["no-such-program"]).unwrap_err();
        assert!(error.message().contains("no-such-program"), "{error}");
    }

    #[test]
    fn a_large_log_is_put_aside_once() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("chainbot.log");
        File::create(&log).unwrap().set_len(LOG_BYTES_MAX + 1).unwrap();
        open_log(&log).unwrap();
        assert_eq!(std::fs::metadata(&log).unwrap().len(), 0);
        assert!(dir.path().join("chainbot.log.1").exists());
    }
}
