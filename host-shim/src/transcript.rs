//! `host-shim transcript`: runs a script of calls and prints what came back, line by line.
//!
//! The language is shared with the hosts in other languages (docs/abi/transcript.md): the same script gives the same
//! bytes. A script may break the ABI's order of calls on purpose, so nothing here keeps it from doing so. The transcript
//! alone goes to stdout; logs and errors go to stderr.

mod kept;
mod normalise;
mod script;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::channel;

use chainbot_abi::Health;
use serde_json::Value;

use crate::args::{Door, LogFormat, TranscriptArgs};
use crate::completion::{self, Outcome, Reply};
use crate::error::{Error, Result, code};
use crate::host::{self, Provided, unix_ns};
use crate::limits::{
    SCRIPT_BYTES_MAX, SCRIPT_LINE_BYTES_MAX, TRANSCRIPT_COMPLETION_WAIT, TRANSCRIPT_ERROR_BYTES_MAX,
};
use crate::load;
use crate::logging;
use crate::module::{CallError, Called, EventOut, Handle, Module, RequestOut};
use crate::wire::{state_name, status_name};
use kept::Kept;
use script::Command;

/// How a transcript ends when not with 0, as the language says.
enum Stop {
    /// Exit code 2.
    Host(Error),
    /// Exit code 3.
    Contract(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Host(error)
    }
}

/// Runs a script and gives the exit code.
pub fn command(args: &TranscriptArgs) -> ExitCode {
    let result =
        logging::start(LogFormat::Text, log::LevelFilter::Info).map_err(Stop::from).and_then(|()| run(args));
    logging::flush();
    let code = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Stop::Host(error)) => {
            eprintln!("host-shim transcript: {error}");
            2
        }
        Err(Stop::Contract(what)) => {
            eprintln!(
                "host-shim transcript: {}: {what} [{}]",
                code::CONTRACT_BROKEN.title,
                code::CONTRACT_BROKEN
            );
            3
        }
    };
    crate::end_at_once(code)
}

fn run(args: &TranscriptArgs) -> Result<(), Stop> {
    let text = read_script(&args.script)?;
    let module = match args.door {
        Door::C => load::load(&args.module)?,
        Door::AbiStable => load::load_compared(&args.module)?,
    };
    let module = module.with_error_bytes(TRANSCRIPT_ERROR_BYTES_MAX);
    if let Some(data) = &args.data {
        let fail = |error| Error::new(code::CONFIG_ARGUMENT, format!("--data `{}`: {error}", data.display()));
        std::fs::create_dir_all(data).map_err(fail)?;
        std::env::set_current_dir(data).map_err(fail)?;
    }
    let mut session = Session {
        module,
        handle: Handle::NULL,
        provided: None,
        kept: Arc::default(),
        saved: BTreeMap::new(),
        document: Vec::new(),
    };
    for (at, line) in text.split('\n').enumerate() {
        let line = line.trim_end_matches([' ', '\t', '\r']);
        if !line.is_empty() && !line.starts_with('#') {
            session.line(line).map_err(|stop| located(stop, &args.script, at + 1))?;
        }
    }
    session.finish()
}

/// Names file and line in an error of the script.
fn located(stop: Stop, script: &Path, line: usize) -> Stop {
    match stop {
        Stop::Host(error) => {
            let message = format!("`{}`, line {line}: {}", script.display(), error.message);
            Stop::Host(Error { message, ..error })
        }
        Stop::Contract(what) => Stop::Contract(format!("`{}`, line {line}: {what}", script.display())),
    }
}

fn read_script(path: &Path) -> Result<String> {
    let fail = |why: String| Error::new(code::SCRIPT_INVALID, format!("`{}`: {why}", path.display()));
    let mut text = String::new();
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(|error| fail(error.to_string()))?)
    };
    source.take(SCRIPT_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| fail(error.to_string()))?;
    if text.len() as u64 > SCRIPT_BYTES_MAX {
        return Err(fail(format!("more than {SCRIPT_BYTES_MAX} bytes; split it")));
    }
    Ok(text)
}

/// A script under way.
struct Session {
    module: Module,
    /// What the last `initialize` gave; null before it, after a failed one and after a cleanup.
    handle: Handle,
    provided: Option<Provided>,
    kept: Arc<Kept>,
    saved: BTreeMap<String, String>,
    /// The body or payload that `save` looks in.
    document: Vec<u8>,
}

impl Session {
    fn line(&mut self, line: &str) -> Result<(), Stop> {
        if line.len() > SCRIPT_LINE_BYTES_MAX {
            return Err(wrong(format!("the line has more than {SCRIPT_LINE_BYTES_MAX} bytes")));
        }
        let line = script::substitute(line, &self.saved).map_err(wrong)?;
        match script::parse(&line).map_err(wrong)? {
            Command::Describe => match self.module.describe() {
                Ok(manifest) => print(&[b"describe OK ", &manifest[..]].concat()),
                Err(error) => print_called("describe", Err(error)),
            },
            Command::Initialize(config) => self.initialize(&config),
            Command::Start => print_called("start", self.module.start(self.handle)),
            Command::Event { forced, topic, payload } => self.event(forced, topic, payload),
            Command::Webhook { method, path, headers, body } => {
                let (mount, trace, peer) = (String::new(), String::new(), "127.0.0.1".to_owned());
                self.webhook(RequestOut {
                    method,
                    path,
                    mount,
                    peer,
                    headers,
                    body,
                    trace,
                    timeout_ms: 30_000,
                })
            }
            Command::WaitEvent(pattern) => self.wait_event(&pattern),
            Command::Save(name, key) => {
                let value = script::find_value(&self.document, &key).map_err(wrong)?;
                self.saved.insert(name, value);
                Ok(())
            }
            Command::Health => self.health(),
            Command::Extension(id) => {
                let found = if self.module.has_extension(self.handle, &id) { "present" } else { "absent" };
                print(format!("extension {id} {found}").as_bytes())
            }
            Command::Stop(ms) => print_called("stop", self.module.stop(self.handle, ms)),
            Command::Cleanup => self.cleanup(),
        }
    }

    /// Ends what the script left, as if it stood in the script, then looks for stray completions.
    fn finish(mut self) -> Result<(), Stop> {
        if !self.handle.is_null() {
            let resting = [Health::STATE_INITIALIZED, Health::STATE_STOPPED];
            if !self.module.health(self.handle).is_ok_and(|health| resting.contains(&health.state)) {
                print_called("stop", self.module.stop(self.handle, 10_000))?;
            }
            self.cleanup()?;
        }
        match (completion::stray_count(), completion::open_count()) {
            (0, 0) => Ok(()),
            (0, open) => Err(Stop::Contract(format!("{open} accepted requests were never completed"))),
            (stray, _) => Err(Stop::Contract(format!("{stray} completions of requests that were not open"))),
        }
    }

    fn initialize(&mut self, config: &str) -> Result<(), Stop> {
        if !self.handle.is_null() {
            return Err(wrong("an instance is live already; write `cleanup` first".to_owned()));
        }
        let document = serde_json::from_str(config).unwrap_or(Value::Null);
        let provided = host::provide(Arc::clone(&self.kept), document);
        let called = self.module.initialize(provided.host, config);
        self.handle = *called.as_ref().unwrap_or(&Handle::NULL);
        match &called {
            Ok(_) => self.provided = Some(provided),
            Err(_) => provided.end(),
        }
        print_called("initialize", called.map(drop))
    }

    fn cleanup(&mut self) -> Result<(), Stop> {
        let called = self.module.cleanup(self.handle);
        if called.is_ok() {
            self.handle = Handle::NULL;
            if let Some(provided) = self.provided.take() {
                provided.end();
            }
        }
        print_called("cleanup", called)
    }

    fn event(&self, forced: bool, topic: String, payload: String) -> Result<(), Stop> {
        let name = if forced { "force-event" } else { "event" };
        let head = format!("{name} {topic}");
        if !forced && !self.kept.routes(&topic) {
            return print(format!("{head} UNROUTED").as_bytes());
        }
        let (id, trace) = (String::new(), String::new());
        let event = EventOut { topic, payload, id, trace, unix_ns: unix_ns() };
        print_called(&head, self.module.handle_event(self.handle, &event))
    }

    fn webhook(&mut self, request: RequestOut) -> Result<(), Stop> {
        let head = format!("webhook {} {}", request.method, request.path);
        let (answer, answered) = channel();
        // Nobody receives when the script has ended without this answer.
        let (ticket, completion) = completion::open(move |outcome| {
            let _ = answer.send(outcome);
        });
        if let Err(error) = self.module.handle_webhook(self.handle, &request, completion) {
            if !completion::withdraw(ticket) {
                return Err(Stop::Contract("a request was refused and completed all the same".to_owned()));
            }
            return print_called(&head, Err(error));
        }
        match answered.recv_timeout(TRANSCRIPT_COMPLETION_WAIT) {
            Ok(Outcome::Error(status)) => print(format!("{head} DONE {}", status_name(status)).as_bytes()),
            Ok(Outcome::Reply(reply)) => {
                let line = format!("{head} DONE OK {} {} ", reply.http_status, content_type(&reply));
                self.document = reply.body;
                print(&[line.as_bytes(), &self.document[..]].concat())
            }
            Ok(Outcome::Malformed(why)) => Err(Stop::Contract(format!("the reply is malformed: {why}"))),
            Err(_) => Err(Stop::Contract(format!("no completion within {TRANSCRIPT_COMPLETION_WAIT:?}"))),
        }
    }

    fn wait_event(&mut self, pattern: &str) -> Result<(), Stop> {
        let Some((topic, payload)) = self.kept.wait(pattern).map_err(wrong)? else {
            return print(format!("wait-event {pattern} TIMEOUT").as_bytes());
        };
        let line = format!("wait-event {pattern} OK {topic} {payload}");
        self.document = payload.into_bytes();
        print(line.as_bytes())
    }

    fn health(&self) -> Result<(), Stop> {
        let health = match self.module.health(self.handle) {
            Ok(health) => health,
            Err(error) => return print_called("health", Err(error)),
        };
        let state = match state_name(health.state) {
            "unknown" => health.state.to_string(),
            name => name.to_owned(),
        };
        let threads = if health.live_threads > 0 { "some" } else { "none" };
        let line = format!(
            "health OK state={state} score={:.2} label={} in_flight={} queue_depth={} panics={} threads={threads} detail={}",
            health.score,
            Health::label(health.score),
            health.in_flight,
            health.queue_depth,
            health.panics,
            health.detail
        );
        print(line.as_bytes())
    }
}

/// The `content-type` of a reply up to `;`, or `-`.
fn content_type(reply: &Reply) -> String {
    let headers: Value = serde_json::from_slice(&reply.headers).unwrap_or(Value::Null);
    let value = match &headers["content-type"] {
        Value::Array(values) => values.first().and_then(Value::as_str),
        value => value.as_str(),
    };
    value.and_then(|value| value.split(';').next()).map_or_else(|| "-".to_owned(), str::to_owned)
}

fn wrong(message: String) -> Stop {
    Stop::Host(Error::new(code::SCRIPT_INVALID, message))
}

/// Prints a call's status, and its message when there is one.
fn print_called(head: &str, called: Called) -> Result<(), Stop> {
    match called {
        Ok(()) => print(format!("{head} OK").as_bytes()),
        Err(CallError { status, message, .. }) => {
            let space = if message.is_empty() { "" } else { " " };
            print(format!("{head} {}{space}{message}", status_name(status)).as_bytes())
        }
    }
}

fn print(raw: &[u8]) -> Result<(), Stop> {
    let line = format!("{}\n", normalise::line(raw));
    let mut out = std::io::stdout().lock();
    let written = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Stop::Host(Error::new(code::HOST_SETUP, format!("standard output: {error}"))))
}
