//! The machine as the kernel shows it: temperature, throttling, memory, processor, disk.
//!
//! Everything is read below one root folder, `/` but in tests, and every value that is not there is left out, not made up: a PC
//! has no `get_throttled`, a container may hide much. Reading opens some small files and never waits for anything.

use std::io::Read;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::limits::{SYSTEM_ENTRIES_MAX, SYSTEM_FILE_BYTES_MAX};

/// What `get_throttled` says, bit by bit.
pub const THROTTLE_FLAGS: [(u32, &str); 8] = [
    (0, "undervoltage"),
    (1, "frequency_capped"),
    (2, "throttled"),
    (3, "soft_temperature_limit"),
    (16, "undervoltage_since_boot"),
    (17, "frequency_capped_since_boot"),
    (18, "throttled_since_boot"),
    (19, "soft_temperature_limit_since_boot"),
];

/// The machine at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Of the processor, in degrees Celsius.
    pub temperature_c: Option<f64>,
    /// The bits of [`THROTTLE_FLAGS`].
    pub throttled: Option<u32>,
    /// Memory that could be had, and all, in bytes.
    pub memory: Option<Room>,
    /// Room for this account on the disk of the data folder, and all, in bytes.
    pub disk: Option<Room>,
}

/// How much is left of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Left.
    pub free: u64,
    /// In all; more than 0.
    pub total: u64,
}

impl Room {
    /// How much is used, from 0 to 100.
    pub fn used_percent(&self) -> f64 {
        100.0 * self.total.saturating_sub(self.free) as f64 / self.total as f64
    }
}

/// Reads the machine.
pub struct System {
    root: PathBuf,
    disk: Disk,
    /// Busy and all ticks when they were looked at before.
    ticks: Mutex<Option<(u64, u64)>>,
}

/// Whose room is looked at.
pub enum Disk {
    /// The one below this folder.
    Of(PathBuf),
    /// A fixed one, as tests have it.
    Fixed(Room),
}

impl System {
    /// Below a root folder.
    pub fn new(root: impl Into<PathBuf>, disk: Disk) -> Self {
        Self { root: root.into(), disk, ticks: Mutex::new(None) }
    }

    /// As it is now. `has_sensors`: whether temperature and throttling are looked at.
    pub fn read(&self, has_sensors: bool) -> Reading {
        let sensors = has_sensors.then_some(());
        Reading {
            temperature_c: sensors.and_then(|()| self.temperature()),
            throttled: sensors.and_then(|()| self.throttled()),
            memory: self.memory(),
            disk: self.disk(),
        }
    }

    /// Whose room is looked at.
    pub(super) fn disk_of(&self) -> &Disk {
        &self.disk
    }

    pub(super) fn file(&self, path: &str) -> Option<String> {
        text(&self.root.join(path))
    }

    fn temperature(&self) -> Option<f64> {
        let zones = entries(&self.root.join("sys/class/thermal"), "thermal_zone");
        let zone = zones
            .iter()
            .find(|zone| text(&zone.join("type")).is_some_and(|name| name.trim() == "cpu-thermal"));
        let monitors = entries(&self.root.join("sys/class/hwmon"), "hwmon");
        let monitor = monitors
            .iter()
            .find(|one| text(&one.join("name")).is_some_and(|name| name.trim() == "cpu_thermal"));
        let of_zone = zone.and_then(|zone| text(&zone.join("temp")));
        let read = of_zone.or_else(|| text(&monitor?.join("temp1_input")))?;
        let millis: i64 = read.trim().parse().ok()?;
        // Below absolute zero and above molten silicon a sensor is broken.
        (-50_000..=200_000).contains(&millis).then_some(millis as f64 / 1_000.0)
    }

    /// From the firmware of a Pi; where that is not to be had, the alarm of its voltage alone.
    fn throttled(&self) -> Option<u32> {
        let soc = self.root.join("sys/devices/platform");
        let places = [
            soc.join("soc/soc:firmware"),
            soc.join("soc@107c000000/soc@107c000000:firmware"),
            soc.join("firmware"),
        ];
        let firmware = places.iter().find_map(|place| text(&place.join("get_throttled")));
        if let Some(hex) = firmware {
            return u32::from_str_radix(hex.trim().trim_start_matches("0x"), 16).ok();
        }
        let monitors = entries(&self.root.join("sys/class/hwmon"), "hwmon");
        let volt = monitors
            .iter()
            .find(|one| text(&one.join("name")).is_some_and(|name| name.trim() == "rpi_volt"))?;
        text(&volt.join("in0_lcrit_alarm"))?.trim().parse::<u32>().ok().map(|alarm| u32::from(alarm > 0))
    }

    fn memory(&self) -> Option<Room> {
        let text = self.file("proc/meminfo")?;
        let of = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
        };
        room(of("MemAvailable:")?, of("MemTotal:")?)
    }

    fn disk(&self) -> Option<Room> {
        match &self.disk {
            Disk::Fixed(room) => Some(*room),
            Disk::Of(folder) => {
                let disk = rustix::fs::statvfs(folder).ok()?;
                room(disk.f_bavail.checked_mul(disk.f_frsize)?, disk.f_blocks.checked_mul(disk.f_frsize)?)
            }
        }
    }

    /// The processors' work since this was asked before, from 0 to 100.
    pub fn cpu_percent(&self) -> Option<f64> {
        let text = self.file("proc/stat")?;
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).take(8).collect();
        let idle = ticks.get(3)? + ticks.get(4).unwrap_or(&0);
        let all: u64 = ticks.iter().sum();
        let before = self.ticks.lock().replace((all.saturating_sub(idle), all));
        let (busy_before, all_before) = before?;
        let passed = all.checked_sub(all_before).filter(|passed| *passed > 0)?;
        let busy = all.saturating_sub(idle).saturating_sub(busy_before);
        Some((100.0 * busy as f64 / passed as f64).clamp(0.0, 100.0))
    }
}

fn room(free: u64, total: u64) -> Option<Room> {
    (total > 0).then_some(Room { free: free.min(total), total })
}

fn text(path: &Path) -> Option<String> {
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(SYSTEM_FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Folders within one whose names begin so, in order.
fn entries(folder: &Path, begin: &str) -> Vec<PathBuf> {
    let Ok(found) = std::fs::read_dir(folder) else { return Vec::new() };
    let named =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begin));
    let mut all: Vec<PathBuf> =
        found.flatten().map(|entry| entry.path()).filter(named).take(SYSTEM_ENTRIES_MAX).collect();
    all.sort();
    all
}

/// A machine made of files.
#[cfg(test)]
pub(super) struct Fake(tempfile::TempDir);

#[cfg(test)]
impl Fake {
    /// A Pi at rest.
    pub fn pi() -> Self {
        let fake = Self(tempfile::tempdir().unwrap());
        fake.put("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n");
        fake.put("sys/class/thermal/thermal_zone0/temp", "48312\n");
        fake.put("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n");
        fake.put("proc/meminfo", "MemTotal: 4000000 kB\nMemFree: 100 kB\nMemAvailable: 3000000 kB\n");
        fake.put("proc/stat", "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 1 1 1\n");
        fake
    }

    /// Writes a file.
    pub fn put(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Takes a file away.
    pub fn take(&self, path: &str) {
        std::fs::remove_file(self.0.path().join(path)).unwrap();
    }

    /// With a disk of which so much is used.
    pub fn system(&self, disk_used: u64) -> System {
        System::new(self.0.path(), Disk::Fixed(Room { free: 100 - disk_used, total: 100 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pi_is_read_and_its_processor_from_the_second_look_on() {
        let fake = Fake::pi();
        let system = fake.system(10);
        let first = system.read(true);
        assert_eq!(first.temperature_c, Some(48.312));
        assert_eq!(first.throttled, Some(0x50005));
        assert_eq!(first.memory, Some(Room { free: 3_072_000_000, total: 4_096_000_000 }));
        assert_eq!(first.disk.unwrap().used_percent(), 10.0);
        assert_eq!(system.cpu_percent(), None);
        // 300 of the next 400 ticks are work.
        fake.put("proc/stat", "cpu  300 0 200 900 0 0 0 0 0 0\n");
        assert_eq!(system.cpu_percent(), Some(75.0));
        assert_eq!(system.read(false).temperature_c, None);
    }

    #[test]
    fn what_is_not_there_or_broken_is_left_out() {
        let fake = Fake::pi();
        let system = fake.system(10);
        fake.put("sys/class/thermal/thermal_zone0/temp", "hot\n");
        fake.take("sys/devices/platform/soc/soc:firmware/get_throttled");
        fake.put("proc/meminfo", "MemTotal: 0 kB\nMemAvailable: 5 kB\n");
        fake.put("proc/stat", "nonsense\n");
        let reading = system.read(true);
        let nothing = Reading { disk: reading.disk, ..Reading::default() };
        assert_eq!((reading, system.cpu_percent()), (nothing, None));
        // Other boards have the same elsewhere.
        fake.put("sys/class/hwmon/hwmon1/name", "rpi_volt\n");
        fake.put("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n");
        fake.take("sys/class/thermal/thermal_zone0/type");
        fake.put("sys/class/hwmon/hwmon0/name", "cpu_thermal\n");
        fake.put("sys/class/hwmon/hwmon0/temp1_input", "71000\n");
        let reading = system.read(true);
        assert_eq!((reading.throttled, reading.temperature_c), (Some(1), Some(71.0)));
    }

    #[test]
    fn this_machine_has_memory_and_a_disk() {
        let folder = tempfile::tempdir().unwrap();
        let reading = System::new("/", Disk::Of(folder.path().to_owned())).read(true);
        assert!(reading.memory.unwrap().free > 0 && reading.disk.unwrap().total > 0, "{reading:?}");
    }
}
