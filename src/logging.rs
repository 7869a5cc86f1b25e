//! The log of the engine in this process: warnings and errors on stderr, more when the configuration asks for it.

use chainbot_core::config::{Config, Origin};
use chainbot_core::secret::redact_log;
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::output;

struct ToStderr;

impl Log for ToStderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries below say much that only their authors need.
        metadata.target().starts_with("chainbot") || metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            chainbot_core::observe::note(record);
            let level = record.level().as_str().to_ascii_lowercase();
            let line = redact_log(&record.args().to_string()).into_owned();
            output::note(&output::printable(&format!("{level}: {line}")));
        }
    }

    fn flush(&self) {}
}

/// Shows the log of this process. Only warnings and errors unless a level was configured: a command's own words come first.
pub fn show(config: &Config) {
    let is_asked = ["module.log_level", "logging.level"]
        .iter()
        .any(|key| !matches!(config.origin(key), None | Some(Origin::Default)));
    log::set_max_level(if is_asked { config.log_level() } else { LevelFilter::Warn });
    // A second session of one process keeps the first logger, which is the same.
    let _ = log::set_logger(&ToStderr);
}
