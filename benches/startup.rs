//! A process from nothing to its first answer: host-shim with the plugin on an empty data folder, and what it takes
//! in memory when idle.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::stats::median;
use super::{Outcome, machine};

/// Longer than any start takes.
const START_MAX: Duration = Duration::from_secs(10);
/// What a process may do after its start before it counts as idle.
const SETTLED: Duration = Duration::from_secs(2);

/// Prints start-up time and resident memory.
pub fn measure(home: &Path, rounds: usize) -> Outcome<()> {
    let (host, module) = artifacts()?;
    let (mut starts, mut loads, mut memory, mut threads) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let folder = tempfile::tempdir_in(home)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let begun = Instant::now();
        let mut running = Running(
            Command::new(&host)
                .arg("run")
                .arg("--module")
                .arg(&module)
                .arg("--data")
                .arg(folder.path().join("data"))
                .args(["--http", &format!("127.0.0.1:{port}"), "--set", "api.port=null"])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()?,
        );
        first_answer(port, begun)?;
        starts.push(begun.elapsed().as_secs_f64() * 1e3);
        loads.push(machine::fsyncs(home, 50).map(|fsyncs| median(&fsyncs) * 1e3)?);
        std::thread::sleep(SETTLED);
        let status = format!("/proc/{}/status", running.0.id());
        memory.push(machine::field(&status, "VmRSS:")? as f64 / 1_024.0);
        threads.push(machine::field(&status, "Threads:")? as f64);
        running.stop()?;
    }
    println!("\nhost-shim with the plugin, empty data folder, {rounds} starts:");
    println!(
        "exec to the first 200 of /health/live: median {:.0} ms, worst {:.0} ms",
        median(&starts),
        worst(&starts)
    );
    println!("(one fsync meanwhile: {:.2} ms)", median(&loads));
    println!("idle after 2 s: RSS {:.1} MiB, {:.0} threads", median(&memory), median(&threads));
    let size = std::fs::metadata(&module)?.len() as f64 / 1_048_576.0;
    println!("the module's file: {size:.1} MiB");
    Ok(())
}

fn worst(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// host-shim and the module, which `make bench` builds beside the benches.
pub fn artifacts() -> Outcome<(PathBuf, PathBuf)> {
    let bench = std::env::current_exe()?;
    let folder = bench.parent().and_then(Path::parent).ok_or("the bench lies in no folder")?;
    let found = (folder.join("host-shim"), folder.join("libchainbot_plugin.so"));
    for path in [&found.0, &found.1] {
        if !path.exists() {
            return Err(format!("{} is missing: `make bench` builds it", path.display()).into());
        }
    }
    Ok(found)
}

/// Waits until a server on this machine answers.
pub fn first_answer(port: u16, begun: Instant) -> Outcome<()> {
    while begun.elapsed() < START_MAX {
        if answers(port).unwrap_or(false) {
            return Ok(());
        }
        // A refused connection costs microseconds; the process under measurement needs the processor.
        std::thread::sleep(Duration::from_micros(500));
    }
    Err("host-shim does not answer".into())
}

fn answers(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(START_MAX))?;
    stream.write_all(
        b"GET /api/chainbot/health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    )?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line.starts_with("HTTP/1.1 200"))
}

/// A process that ends with the bench.
pub struct Running(pub Child);

impl Running {
    /// Asks it to end, as a terminal does, and waits.
    pub fn stop(&mut self) -> Outcome<()> {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let mut said = String::new();
        if let Some(stdout) = &mut self.0.stdout {
            stdout.read_to_string(&mut said)?;
        }
        let status = self.0.wait()?;
        if status.success() { Ok(()) } else { Err(format!("host-shim ended with {status}: {said}").into()) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After `stop` it has ended already, and both say so.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
