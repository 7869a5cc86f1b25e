//! The host with the module, as a process that may be ended at any instant.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

use super::client::Client;
use crate::support;

/// Which library the host loads, with what in its environment.
#[derive(Clone)]
pub struct Module {
    library: PathBuf,
    variables: Vec<(&'static str, String)>,
    /// A program that starts the host and watches it, with its arguments; empty for none.
    watcher: Vec<String>,
}

impl Module {
    /// The one that is shipped.
    pub fn shipped() -> Self {
        Self::at(&support::plugin())
    }

    /// Another file of it.
    pub fn at(library: &Path) -> Self {
        Self { library: library.to_owned(), variables: Vec::new(), watcher: Vec::new() }
    }

    /// The one that can be told to go wrong: `CHAINBOT_FAULT` says where, `CHAINBOT_SABOTAGE` which promise it breaks.
    pub fn with_fault(variable: &'static str, value: &str) -> Self {
        Self::at(&support::plugin_with_faults()).among(variable, value)
    }

    /// In a process with this variable, which another version in it may read.
    pub fn among(mut self, variable: &'static str, value: &str) -> Self {
        self.variables.push((variable, value.to_owned()));
        self
    }

    /// In a host that this program starts and watches. It must leave the host its child's place, so that signals reach it.
    pub fn watched(mut self, watcher: &[&str]) -> Self {
        self.watcher = watcher.iter().map(|&word| word.to_owned()).collect();
        self
    }
}

/// A started process; it may be dead already.
pub struct Host {
    /// Locked by whoever ends the process, so that its number is not used after its end was seen.
    child: Arc<Mutex<Child>>,
    stdout: BufReader<ChildStdout>,
    /// Address of the host's own HTTP ingress, once it serves one.
    pub ingress: Option<String>,
    stderr: Option<JoinHandle<String>>,
}

impl Host {
    /// Starts it on a data folder, with a grant for the ledger's port.
    pub fn start(data: &Path, ledger_port: u16) -> Self {
        Self::start_module(&Module::shipped(), data, ledger_port)
    }

    /// The same with this library.
    pub fn start_module(module: &Module, data: &Path, ledger_port: u16) -> Self {
        Self::of(module, data, ledger_port, &[])
    }

    /// The same with more arguments.
    pub fn of(module: &Module, data: &Path, ledger_port: u16, args: &[&str]) -> Self {
        let grant = serde_json::json!([
            { "host": "127.0.0.1", "ports": [ledger_port], "why": "the test's ledger" }
        ]);
        Self::spawn(
            module,
            data,
            &[
                "api.port=0",
                "api.rate_limit_per_token=0",
                "workflow_engine.max_concurrent_workflows=64",
                &format!("egress.grants={grant}"),
            ],
            args,
        )
    }

    /// Starts it with these values.
    pub fn with(data: &Path, set: &[impl AsRef<str>]) -> Self {
        Self::spawn(&Module::shipped(), data, set, &[])
    }

    /// Starts it with this library, these values and these arguments.
    pub fn spawn(module: &Module, data: &Path, set: &[impl AsRef<str>], args: &[&str]) -> Self {
        let mut command = match module.watcher.split_first() {
            None => Command::new(support::host_shim()),
            Some((program, args)) => {
                let mut command = Command::new(program);
                command.args(args).arg(support::host_shim());
                command
            }
        };
        command.args(["run", "--stop-timeout", "10s", "--module"]).arg(&module.library);
        // That of whoever runs the tests is no part of a host's.
        command.env_remove("LD_LIBRARY_PATH");
        command.envs(module.variables.iter().map(|(name, value)| (name, value)));
        command.arg("--data").arg(data).args(args);
        set.iter().for_each(|value| {
            command.args(["--set", value.as_ref()]);
        });
        let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("host-shim starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut stderr = child.stderr.take().expect("piped");
        // Ends with the process, which holds the other end; joined by `end`.
        let stderr = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = stderr.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Self { child: Arc::new(Mutex::new(child)), stdout, ingress: None, stderr: Some(stderr) }
    }

    /// Waits until it serves. `None` when it ended before; its output says so at once, so nothing is polled.
    pub fn ready(&mut self, data: &Path) -> Option<Client> {
        let mut line = String::new();
        loop {
            line.clear();
            match self.stdout.read_line(&mut line) {
                Ok(0) | Err(_) => return None,
                Ok(_) if line.starts_with("running") => break,
                Ok(_) if line.starts_with("http: http://") => {
                    self.ingress = line["http: http://".len()..].split('/').next().map(str::to_owned);
                }
                Ok(_) => {}
            }
        }
        Client::of(data)
    }

    /// The process that this program started; with a watcher, that one.
    pub fn pid(&self) -> u32 {
        self.child.lock().expect("no panic").id()
    }

    /// Something that ends it from another thread.
    pub fn killer(&self) -> Killer {
        Killer(self.child.clone())
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        signal(&self.child.lock().expect("no panic"), Signal::TERM);
    }

    /// Waits for its end: exit code, unless a signal ended it, and everything on stderr.
    pub fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        let _ = self.stdout.read_to_string(&mut rest);
        let status = self.child.lock().expect("no panic").wait().expect("its own child");
        let stderr = self.stderr.take().map(|thread| thread.join().expect("no panic")).unwrap_or_default();
        (status.code(), stderr)
    }
}

/// A test that fails must not leave a host behind.
impl Drop for Host {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Ends a host by SIGKILL.
pub struct Killer(Arc<Mutex<Child>>);

impl Killer {
    /// At once.
    pub fn kill(&self) {
        signal(&self.0.lock().expect("no panic"), Signal::KILL);
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id() as i32).expect("a process number");
    // It is our child and nobody has waited for it, so the number is still its own.
    let _ = kill_process(pid, signal);
}
