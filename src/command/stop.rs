//! `chainbot stop`: asks the server to stop, and waits until its process has ended.

use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::json;

use crate::args::Stop;
use crate::error::{Error, Result, code};
use crate::folder::Folder;
use crate::output;

/// Between two looks at the process.
const LOOK: Duration = Duration::from_millis(50);

/// Stops the server. None running is what was asked for.
pub fn run(args: &Stop) -> Result<u8> {
    let folder = Folder::choose(&args.place)?;
    let Some(server) = folder.server()? else {
        if args.json.json {
            output::json(&json!({ "stopped": false, "running": false, "data_dir": folder.path() }))?;
        } else {
            output::line(&format!("no server runs on {}", folder.path().display()))?;
        }
        return Ok(0);
    };
    let failed = |what: &str| {
        Error::new(&code::STOP, format!("{what} (`{}`, pid {})", server.process, server.pid))
            .help("use the account that the server runs as; its log says what it does")
    };
    let pid = i32::try_from(server.pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| failed("no process has that number"))?;
    // The descriptor names this very process: should it end now, its number may go to another, the descriptor not.
    let process = pidfd_open(pid, PidfdFlags::empty())
        .map_err(|error| failed(&format!("no way to the process: {error}")))?;
    if folder.is_held_by(server.pid) {
        pidfd_send_signal(&process, Signal::TERM)
            .map_err(|error| failed(&format!("the process takes no signal: {error}")))?;
    }
    let begin = Instant::now();
    while folder.is_held_by(server.pid) {
        if begin.elapsed() > args.timeout {
            let seconds = args.timeout.as_secs();
            return Err(failed(&format!("the server was asked to stop and still runs after {seconds} s")));
        }
        std::thread::sleep(LOOK);
    }
    if args.json.json {
        output::json(
            &json!({ "stopped": true, "running": false, "pid": server.pid, "data_dir": folder.path() }),
        )?;
    } else {
        output::line(&format!("stopped (pid {}); unfinished runs go on at the next start", server.pid))?;
    }
    Ok(0)
}
