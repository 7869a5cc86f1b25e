//! The one place that starts a process: an argument vector of the operator's file, no shell, an empty environment but for what the file
//! lists, a process group of its own, pipes for what it reads and writes.
//!
//! The standard library empties the signal mask in the child, which this process's threads have full (see docs/abi/README.md). Its words on
//! stderr go nowhere: nobody has asked for them, and they would have no bound.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::net::unix::pipe;

use super::servers::McpProgram;
use crate::port::SecretText;

/// A running server. Dropping it kills its whole group.
pub(super) struct Process(Child);

impl Process {
    /// Starts it with an environment, and gives the ends of its pipes.
    pub(super) fn start(
        program: &McpProgram,
        env: &[(String, SecretText)],
    ) -> std::io::Result<(Self, pipe::Receiver, pipe::Sender)> {
        let mut command = Command::new(&program.command);
        command.args(&program.args).env_clear();
        command.envs(env.iter().map(|(name, value)| (name, value.reveal())));
        // Where nothing of ours is.
        command.current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = Self(command.spawn()?);
        let (Some(stdout), Some(stdin)) = (process.0.stdout.take(), process.0.stdin.take()) else {
            return Err(std::io::Error::other("the process has no pipes"));
        };
        let reads = pipe::Receiver::from_owned_fd(OwnedFd::from(stdout))?;
        let writes = pipe::Sender::from_owned_fd(OwnedFd::from(stdin))?;
        Ok((process, reads, writes))
    }

    /// Its id, which is that of its group.
    #[cfg(test)]
    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            // An error means that nobody of the group is left.
            let _ = kill_process_group(group, Signal::KILL);
        }
        // Killed, so this does not wait for it to want to end.
        if let Err(error) = self.0.wait() {
            log::warn!("an MCP server's end was not seen: {error}");
        }
    }
}
