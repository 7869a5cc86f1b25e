//! The machine and the data folder for people who look after them: what it is, how warm, how full, for how long.
//!
//! Read when somebody asks, from `/proc`, `/sys` and the folder's own entries; a value that is not there is left out.

use std::path::Path;

use super::process;
use super::system::{Disk, Reading, System};
use crate::limits::DATA_ENTRIES_MAX;

/// At one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    /// Temperature, throttling, memory and disk.
    pub reading: Reading,
    /// Work of the processors over the last interval of the monitor, from 0 to 100.
    pub cpu_percent: Option<f64>,
    /// Clock of the first processor, in Hz.
    pub frequency_hz: Option<u64>,
    /// Processes that want to run, over one, five and fifteen minutes.
    pub load: Option<[f64; 3]>,
    /// What the board says it is.
    pub board: Option<String>,
    /// Release of the kernel.
    pub kernel: Option<String>,
    /// Since the machine started, in seconds.
    pub uptime_s: Option<u64>,
    /// Memory of this process, a host's included.
    pub process_bytes: Option<u64>,
    /// What this process had written to disks since it started.
    pub written_bytes: Option<u64>,
    /// The data folder.
    pub folder: Option<Folder>,
}

/// What a data folder holds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folder {
    /// All of it, folders in it included.
    pub bytes: u64,
    /// The database.
    pub database: u64,
    /// What the database has not taken in yet.
    pub log: u64,
    /// There is more than is counted.
    pub is_more: bool,
}

impl System {
    /// All of it. `reading` and `cpu_percent` are the monitor's, who alone counts ticks.
    pub(super) fn machine(&self, reading: Reading, cpu_percent: Option<f64>) -> Machine {
        let number = |path: &str| self.file(path)?.trim().parse::<u64>().ok();
        // With a zero at its end, as all of the device tree.
        let board = self.file("sys/firmware/devicetree/base/model");
        Machine {
            reading,
            cpu_percent,
            frequency_hz: number("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
                .and_then(|khz| khz.checked_mul(1_000)),
            load: self.file("proc/loadavg").and_then(|text| loads(&text)),
            board: board.map(|text| text.trim_end_matches(['\0', '\n']).to_owned()),
            kernel: self.file("proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()),
            uptime_s: self.file("proc/uptime").and_then(|text| text.split(['.', ' ']).next()?.parse().ok()),
            process_bytes: process::resident(),
            written_bytes: process::written(),
            folder: match self.disk_of() {
                Disk::Of(folder) => Some(sizes(folder)),
                Disk::Fixed(_) => None,
            },
        }
    }
}

fn loads(text: &str) -> Option<[f64; 3]> {
    let mut words = text.split(' ').map_while(|word| word.parse().ok());
    Some([words.next()?, words.next()?, words.next()?])
}

fn sizes(folder: &Path) -> Folder {
    let mut found = Folder::default();
    let (mut left, mut open) = (DATA_ENTRIES_MAX, vec![folder.to_owned()]);
    while let Some(at) = open.pop() {
        // Below the top are copies.
        let is_top = at == folder;
        let Ok(entries) = std::fs::read_dir(at) else { continue };
        for entry in entries.flatten() {
            if left == 0 {
                found.is_more = true;
                return found;
            }
            left -= 1;
            // Of the entry itself: a link counts as one, and is not followed out of the folder.
            let Ok(about) = entry.metadata() else { continue };
            if about.is_dir() {
                open.push(entry.path());
                continue;
            }
            found.bytes += about.len();
            let name = entry.file_name();
            match Path::new(&name).extension().and_then(|end| end.to_str()) {
                Some("db") if is_top => found.database += about.len(),
                Some("db-wal") if is_top => found.log += about.len(),
                _ => {}
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::system::Fake;
    use super::*;

    #[test]
    fn a_pi_says_what_it_is_and_a_bare_machine_says_nothing() {
        let fake = Fake::pi();
        fake.put("sys/firmware/devicetree/base/model", "Raspberry Pi 4 Model B Rev 1.5\0");
        fake.put("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "1500000\n");
        fake.put("proc/loadavg", "0.25 0.50 1.00 2/345 678\n");
        fake.put("proc/sys/kernel/osrelease", "6.12.47+rpt-rpi-v8\n");
        fake.put("proc/uptime", "86400.51 300000.00\n");
        let system = fake.system(10);
        let machine = system.machine(system.read(true), Some(12.5));
        assert_eq!(machine.board.as_deref(), Some("Raspberry Pi 4 Model B Rev 1.5"));
        assert_eq!(machine.kernel.as_deref(), Some("6.12.47+rpt-rpi-v8"));
        assert_eq!(machine.load, Some([0.25, 0.5, 1.0]));
        assert_eq!((machine.frequency_hz, machine.uptime_s), (Some(1_500_000_000), Some(86_400)));
        assert_eq!(machine.reading.throttled, Some(0x50005));
        for path in ["sys/firmware/devicetree/base/model", "proc/loadavg", "proc/uptime"] {
            fake.take(path);
        }
        let machine = system.machine(Reading::default(), None);
        assert_eq!((machine.board, machine.load, machine.uptime_s), (None, None, None));
        assert!(machine.process_bytes.is_some_and(|bytes| bytes > 0), "that is this process's own");
    }

    #[test]
    fn a_folder_is_counted_with_what_is_in_it_and_no_link_is_followed() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let put = |path: &str, bytes: usize| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, vec![0; bytes]).unwrap();
        };
        put("chainbot.db", 400);
        put("chainbot.db-wal", 30);
        put("token", 2);
        put("backups/one/chainbot.db", 1_000);
        std::fs::write(other.path().join("big"), vec![0; 100_000]).unwrap();
        std::os::unix::fs::symlink(other.path(), folder.path().join("link")).unwrap();
        let system = System::new("/", Disk::Of(folder.path().to_owned()));
        let found = system.machine(Reading::default(), None).folder.unwrap();
        assert_eq!((found.database, found.log, found.is_more), (400, 30, false));
        assert!((1_432..2_000).contains(&found.bytes), "{found:?}");
    }
}
