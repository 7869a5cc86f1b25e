//! What the kernel says of this process, from `/proc/self`. A value that cannot be read is left out, not made up.
//!
//! In a host these are the host's figures, the module's share included: threads, memory and writes are one process's.

use super::Taking;

/// What a tick of `/proc` is, everywhere that Linux runs: part of its interface. Asking the loader for it would read the auxiliary vector,
/// which debuggers and checkers of memory do not always have.
const TICKS_A_SECOND: f64 = 100.0;

/// The `process_*` names that every Prometheus client has, and what was written to disks.
pub(super) fn take(taking: &mut Taking) {
    let status = read("/proc/self/status").unwrap_or_default();
    // In kB, whatever the size of a page is: that of a Pi 5 is 16 KiB.
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? * 1_024.0)
    };
    taking.maybe("process_resident_memory_bytes", kib("VmRSS:"));
    taking.maybe("process_virtual_memory_bytes", kib("VmSize:"));
    taking.maybe("process_threads", entries("/proc/self/task"));
    taking.maybe("process_open_fds", entries("/proc/self/fd"));
    taking.maybe("process_max_fds", max_fds());
    taking.maybe("chainbot_disk_written_bytes_total", written().map(|bytes| bytes as f64));
    let stat = read("/proc/self/stat").unwrap_or_default();
    // The name of the program stands in parentheses and may hold anything; the fields behind it are numbers.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok());
    // Fields 14, 15 and 22 of proc(5), counted from the third one, which is the first after the name.
    taking.maybe(
        "process_cpu_seconds_total",
        ticks(11).zip(ticks(12)).map(|(own, kernel)| (own + kernel) / TICKS_A_SECOND),
    );
    taking.maybe(
        "process_start_time_seconds",
        ticks(19).zip(boot()).map(|(at, boot)| boot + at / TICKS_A_SECOND),
    );
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn entries(folder: &str) -> Option<f64> {
    Some(std::fs::read_dir(folder).ok()?.count() as f64)
}

fn max_fds() -> Option<f64> {
    let limits = read("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What was written to disks since the process started.
pub(super) fn written() -> Option<u64> {
    read("/proc/self/io")?.lines().find_map(|line| line.strip_prefix("write_bytes:"))?.trim().parse().ok()
}

/// Memory that the process has at the moment.
pub(super) fn resident() -> Option<u64> {
    let status = read("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

fn boot() -> Option<f64> {
    read("/proc/stat")?.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}
