//! What the kernel says of this process, from `/proc/self`. A value that cannot be read is left out, not made up.
//!
//! In a host these are the host's figures, the module's share included: threads and memory are one process's.

use super::{Family, Figure, Kind, family};

/// The `process_*` names that every Prometheus client has.
pub fn families() -> Vec<Family> {
    let gauge = |name, help, value: Option<f64>| {
        value.map(|value| family(name, Kind::Gauge, help, vec![Figure::Number(None, value)]))
    };
    [
        gauge("process_resident_memory_bytes", "Memory of the process that is in RAM.", resident_bytes()),
        gauge("process_threads", "Threads of the process.", entries("/proc/self/task")),
        gauge("process_open_fds", "Open descriptors of the process.", entries("/proc/self/fd")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn resident_bytes() -> Option<f64> {
    // In kB, whatever the size of a page is: that of a Pi 5 is 16 KiB.
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024.0)
}

fn entries(folder: &str) -> Option<f64> {
    Some(std::fs::read_dir(folder).ok()?.count() as f64)
}
