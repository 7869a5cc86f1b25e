//! The machine in general terms, and what one fsync of its disk costs.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use super::Outcome;

/// Cores, memory, kernel, file system and durability settings, as lines of Markdown.
pub fn describe(home: &Path) -> Outcome<String> {
    let cores = std::thread::available_parallelism()?;
    let memory_kib = field("/proc/meminfo", "MemTotal:")?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let kernel = kernel.trim().split('-').next().unwrap_or("?").to_owned();
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    let arch = std::env::consts::ARCH;
    Ok(format!(
        "Machine: {arch}, {cores} cores, {:.0} GB memory, Linux {kernel}, {} on a block device, load {load} at the start\n\
         SQLite {}: journal_mode=WAL, synchronous=FULL, no commit delay; file on disk\n",
        memory_kib as f64 / 1_048_576.0,
        file_system(home)?,
        rusqlite::version(),
    ))
}

/// Seconds of one append of a page and its fsync, `times` times.
pub fn fsyncs(home: &Path, times: usize) -> Outcome<Vec<f64>> {
    const PAGE: usize = 4_096;
    let folder = tempfile::tempdir_in(home)?;
    let file =
        OpenOptions::new().write(true).create(true).truncate(true).open(folder.path().join("fsync"))?;
    // As a log that is in use: its blocks exist, so an fsync writes data and no new size.
    file.write_all_at(&vec![1; PAGE * times], 0)?;
    file.sync_all()?;
    let mut seconds = Vec::with_capacity(times);
    for n in 0..times {
        let begun = Instant::now();
        file.write_all_at(&[n as u8; PAGE], (n * PAGE) as u64)?;
        file.sync_all()?;
        seconds.push(begun.elapsed().as_secs_f64());
    }
    Ok(seconds)
}

/// A number of a file in `/proc`: the one after `name`.
pub fn field(path: &str, name: &str) -> Outcome<u64> {
    let text = std::fs::read_to_string(path)?;
    let line =
        text.lines().find_map(|line| line.strip_prefix(name)).ok_or(format!("{path} has no {name}"))?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}

/// The type of the file system with the longest mount point above `path`.
fn file_system(path: &Path) -> Outcome<String> {
    let path = path.canonicalize()?;
    let mounts = std::fs::read_to_string("/proc/mounts")?;
    let found = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        })
        .filter(|(at, _)| path.starts_with(at))
        .max_by_key(|(at, _)| at.len());
    Ok(found.map_or_else(|| "unknown file system".to_owned(), |(_, kind)| kind.to_owned()))
}

/// Bytes that were written to a write-ahead log since it was last begun anew. Its file may be longer: frames of the present log are
/// those with the salts of its header.
pub fn log_bytes(path: &Path) -> Outcome<u64> {
    const HEADER: usize = 32;
    const FRAME_HEADER: usize = 24;
    let log = std::fs::read(path)?;
    let head = log.get(..HEADER).ok_or("the log has no header")?;
    let page = u32::from_be_bytes(head[8..12].try_into()?) as usize;
    let frames =
        log[HEADER..].chunks_exact(FRAME_HEADER + page).take_while(|frame| frame[8..16] == head[16..24]);
    Ok((HEADER + frames.count() * (FRAME_HEADER + page)) as u64)
}

/// Bytes of the files in a folder and below it.
pub fn folder_bytes(path: &Path) -> Outcome<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        sum += if meta.is_dir() { folder_bytes(&entry.path())? } else { meta.len() };
    }
    Ok(sum)
}
