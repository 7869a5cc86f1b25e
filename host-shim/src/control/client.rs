//! The commands that ask a running host.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::{address, socket_path};
use crate::args::{AskArgs, UpgradeArgs};
use crate::error::{Error, Result, code};
use crate::limits::CONTROL_PATIENCE;
use crate::load;

/// Steps of an upgrade that may each take its timeout, and the way back: how long silence may last.
const STEPS_MAX: u32 = 4;

/// `host-shim upgrade`: whether the new version serves.
pub fn upgrade(args: &UpgradeArgs) -> Result<bool> {
    let module = load::real_file(&args.module)?;
    let module = module.to_str().ok_or_else(|| {
        let text = format!("`{}`: the path is not UTF-8, which JSON needs; rename it", module.display());
        Error::new(code::CONTROL_REQUEST, text)
    })?;
    let timeout_ms = u64::try_from(args.timeout.as_millis()).unwrap_or(u64::MAX);
    let request = json!({
        "command": "upgrade", "module": module, "timeout_ms": timeout_ms, "allow_migration": args.allow_migration,
    });
    let last = ask(&args.host, &request, args.timeout * STEPS_MAX + CONTROL_PATIENCE, |line| {
        let mut fields = line.clone();
        let step = fields["step"].as_str().unwrap_or_default().to_owned();
        if let Value::Object(fields) = &mut fields {
            fields.remove("step");
        }
        if fields == json!({}) { step } else { format!("{step:<10} {}", shown(&fields)) }
    })?;
    if args.host.json {
        return Ok(last["result"] == "upgraded");
    }
    match last["result"].as_str() {
        Some("upgraded") => {
            crate::say(&format!(
                "upgraded: {} serves in place of {}; work waited {} ms",
                label(&last["to"]),
                label(&last["from"]),
                last["held_ms"]
            ))?;
            if let Some(left) = last["left"].as_str() {
                crate::say(&format!("warning: the version before is not cleaned up: {left}"))?;
            }
            Ok(true)
        }
        _ => Err(failure(&last)),
    }
}

/// `host-shim reconfigure`: whether the module took it.
pub fn reconfigure(args: &AskArgs) -> Result<bool> {
    let last = ask(args, &json!({ "command": "reconfigure" }), 6 * CONTROL_PATIENCE, shown)?;
    if args.json {
        return Ok(last["result"] == "reconfigured");
    }
    match last["result"].as_str() {
        Some("reconfigured") => {
            crate::say("the module has read its configuration anew")?;
            let keys = last["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
            for one in keys {
                crate::say(&format!("  {} = {}, from now on", text(&one["key"]), one["value"]))?;
            }
            if keys.is_empty() {
                crate::say("  nothing differs")?;
            }
            Ok(true)
        }
        _ => Err(failure(&last)),
    }
}

/// `host-shim status`.
pub fn status(args: &AskArgs) -> Result<bool> {
    let last = ask(args, &json!({ "command": "status" }), CONTROL_PATIENCE, shown)?;
    if args.json {
        return Ok(true);
    }
    if last["result"] != "status" {
        return Err(failure(&last));
    }
    let health = &last["health"];
    crate::say(&format!("module   {}", label(&last["module"])))?;
    crate::say(&format!("path     {}", last["module"]["path"].as_str().unwrap_or_default()))?;
    crate::say(&format!(
        "health   {}, {} {} - {}",
        text(&health["state"]),
        text(&health["label"]),
        health["score"],
        text(&health["detail"])
    ))?;
    crate::say(&format!("upgrades {} done, {} failed", last["upgraded"], last["failed"]))?;
    crate::say(&format!("process  {}", last["pid"])).map(|()| true)
}

/// Sends a request and prints the lines of progress; gives the last one.
fn ask(args: &AskArgs, request: &Value, silence: Duration, show: impl Fn(&Value) -> String) -> Result<Value> {
    let path = socket_path(args.socket.as_deref(), args.data.as_deref()).ok_or_else(|| {
        Error::new(code::CONTROL_REQUEST, "name the host with --data DIR or --socket PATH, as it was started")
    })?;
    let fail = |error: std::io::Error| unreachable(&path, &error);
    let (short, _folder) = address(&path).map_err(fail)?;
    let mut stream = UnixStream::connect(&short).map_err(fail)?;
    stream.set_read_timeout(Some(silence)).map_err(fail)?;
    stream.set_write_timeout(Some(CONTROL_PATIENCE)).map_err(fail)?;
    stream.write_all(format!("{request}\n").as_bytes()).map_err(fail)?;
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(fail)?;
        let reply: Value = serde_json::from_str(&line).map_err(|error| fail(std::io::Error::other(error)))?;
        if args.json {
            crate::say(&line)?;
        }
        if reply.get("result").is_some() {
            return Ok(reply);
        }
        if !args.json {
            crate::say(&show(&reply))?;
        }
    }
    let message = format!("`{}`: the host ended before it answered; see its log", path.display());
    Err(Error::new(code::CONTROL_SOCKET, message))
}

fn unreachable(path: &Path, error: &std::io::Error) -> Error {
    let remedy = match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            "no host runs there; check --data, and that `host-shim run` was given the same"
        }
        ErrorKind::PermissionDenied => "use the account that runs the host",
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "the host does not answer; see its log",
        _ => "see the log of the host",
    };
    Error::new(code::CONTROL_SOCKET, format!("`{}`: {error}; {remedy}", path.display()))
}

/// The last line of something that did not come about.
fn failure(last: &Value) -> Error {
    let found = crate::error::code::ALL.iter().find(|known| last["code"] == known.id);
    let code = found.copied().unwrap_or(code::UPGRADE_FAILED);
    let step = last["step"].as_str().map_or_else(String::new, |step| format!("at `{step}`: "));
    let reason = text(&last["reason"]);
    let serving = match (last["lost"].as_str(), last.get("serving")) {
        (Some(_), _) => "; the old version did not come back and the host ends, so start it again".to_owned(),
        (None, Some(serving)) => format!("; {} serves on", label(serving)),
        (None, None) => String::new(),
    };
    Error::new(code, format!("{step}{reason}{serving}"))
}

fn label(module: &Value) -> String {
    let commit = module["commit"].as_str().and_then(|commit| commit.get(..12));
    let commit = commit.map_or_else(String::new, |commit| format!(" ({commit})"));
    format!("{} {}{commit}", text(&module["name"]), text(&module["version"]))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// An object on one line, readable.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let parts: Vec<String> =
                fields.iter().map(|(name, value)| format!("{name}: {}", shown(value))).collect();
            parts.join(", ")
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
