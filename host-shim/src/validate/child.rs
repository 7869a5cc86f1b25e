//! One exercise in a process of its own: made, waited for, and its end explained.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::catalogue::Run;
use super::crash::EXIT_HANGING;
use super::record::{self, Line};
use crate::error::{Error, Result, code};

/// The end of an exercise that does not come by itself. Each call is watched on its own, with less.
const EXERCISE_MAX: Duration = Duration::from_secs(90);
/// How often the parent looks whether a child has ended.
const LOOK: Duration = Duration::from_millis(5);
/// What is shown of the module's own words on standard error.
const STDERR_CHARS: usize = 300;

/// What the children need to know.
pub struct Order {
    /// The module.
    pub module: PathBuf,
    /// The configuration's arguments, passed on.
    pub config_args: Vec<String>,
    /// The seed.
    pub seed: u64,
    /// The time of each fuzzer.
    pub fuzz: Duration,
    /// A folder for the exercises' folders.
    pub folder: PathBuf,
}

/// How an exercise went.
pub struct Outcome {
    /// What it wrote down.
    pub lines: Vec<Line>,
    /// How it ended, when not by itself: `ended by signal 11 (SIGSEGV)`.
    pub broken: Option<String>,
}

/// Runs an exercise and waits for its end.
pub fn run(order: &Order, name: &str, run: Run) -> Result<Outcome> {
    let begun = Instant::now();
    let folder = order.folder.join(name);
    let setup = |what: &str, error: std::io::Error| Error::new(code::HOST_SETUP, format!("{what}: {error}"));
    std::fs::create_dir_all(&folder).map_err(|error| setup("the folder of an exercise", error))?;
    let words =
        std::fs::File::create(folder.join("stderr")).map_err(|error| setup("a file for stderr", error))?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg("validate")
        .arg(&order.module)
        .args(&order.config_args)
        .args(["--child", name, "--seed", &order.seed.to_string()])
        .args(["--fuzz", &format!("{}ms", order.fuzz.as_millis().max(1))])
        .current_dir(&folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(words)
        .process_group(0);
    let mut child = command.spawn().map_err(|error| setup("the process of an exercise", error))?;
    let limit = EXERCISE_MAX + if matches!(run, Run::Fuzz(_)) { order.fuzz } else { Duration::ZERO };
    let status = wait(&mut child, begun + limit).map_err(|error| setup("waiting for an exercise", error))?;
    Ok(read(&folder, status))
}

/// What an exercise left in its folder.
pub fn read(folder: &Path, status: Option<ExitStatus>) -> Outcome {
    let text = |name: &str| {
        std::fs::read(folder.join(name))
            .map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let lines = record::read(&text("report"));
    let latest = text("call").trim().to_owned();
    let words: String = text("stderr").trim().chars().take(STDERR_CHARS).collect();
    let after = |end: String| {
        let mut text = format!("{end}; the latest call was `{latest}`");
        if !words.is_empty() {
            text.push_str(&format!("; stderr: {words}"));
        }
        text
    };
    let broken = match status {
        None => Some(after("the exercise did not end in time".to_owned())),
        Some(status) => match (status.signal(), status.code()) {
            (Some(signal), _) => {
                Some(after(format!("the process was ended by signal {signal}{}", signal_name(signal))))
            }
            (_, Some(EXIT_HANGING)) => Some(after("a call did not return".to_owned())),
            (_, Some(0)) if lines.contains(&Line::End) => None,
            (_, code) => Some(after(format!("the process was ended with exit code {}", code.unwrap_or(-1)))),
        },
    };
    Outcome { lines, broken }
}

/// Waits for the child until then; `None` after it had to be killed.
fn wait(child: &mut Child, until: Instant) -> std::io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            // Its group too: a module may have started processes.
            if let Ok(group) = i32::try_from(child.id()) {
                // SAFETY: a signal to the group that this child leads and that was made for it.
                unsafe { libc::kill(-group, libc::SIGKILL) };
            }
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGSEGV => " (SIGSEGV, wrong memory)",
        libc::SIGBUS => " (SIGBUS, wrong memory)",
        libc::SIGABRT => " (SIGABRT, it gave up by itself)",
        libc::SIGFPE => " (SIGFPE, wrong arithmetic)",
        libc::SIGILL => " (SIGILL, wrong instruction)",
        libc::SIGKILL => " (SIGKILL)",
        libc::SIGPIPE => " (SIGPIPE)",
        _ => "",
    }
}

/// What a child does for itself before anything of the module runs: it ends with its parent and leaves no core.
pub fn settle_in() -> std::io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both take numbers and a struct that is whole.
    let codes = unsafe {
        [libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL), libc::setrlimit(libc::RLIMIT_CORE, &none)]
    };
    if codes == [0, 0] { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
