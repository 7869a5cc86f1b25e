//! What a person or a program reads in the end: a row for each check.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde_json::{Value, json};

use super::catalogue::Check;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Nothing found.
    Pass,
    /// Could not be made.
    Skip,
    /// To be looked at.
    Warn,
    /// Wrong.
    Fail,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Status::Pass => "pass",
            Status::Skip => "skip",
            Status::Warn => "warn",
            Status::Fail => "fail",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Status::Pass => "\x1b[32m",
            Status::Skip => "\x1b[2m",
            Status::Warn => "\x1b[33m",
            Status::Fail => "\x1b[1;31m",
        }
    }
}

/// A check's row.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which.
    pub check: &'static Check,
    /// How it came out.
    pub status: Status,
    /// Why, most important first.
    pub reasons: Vec<String>,
}

/// All rows and what belongs to them.
pub struct Table {
    /// In the order of the catalogue.
    pub rows: Vec<Row>,
    /// Whether the library could be called at all; else there is nothing to say of most checks.
    pub is_module: bool,
    /// The module's path.
    pub module: String,
    /// For `--seed`.
    pub seed: u64,
    /// How long it all took.
    pub took: Duration,
}

impl Table {
    /// How many have this status.
    pub fn count(&self, status: Status) -> usize {
        self.rows.iter().filter(|row| row.status == status).count()
    }

    /// One JSON document.
    fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let (name, about) = (row.check.name, row.check.about);
                json!({"check": name, "about": about, "status": row.status.word(), "reasons": row.reasons})
            })
            .collect();
        json!({
            "module": self.module,
            "seed": self.seed,
            "took_ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "passed": self.count(Status::Pass),
            "warned": self.count(Status::Warn),
            "failed": self.count(Status::Fail),
            "skipped": self.count(Status::Skip),
            "checks": rows,
        })
    }

    /// Prints it to standard output.
    pub fn print(&self, as_json: bool) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        if as_json {
            return writeln!(out, "{:#}", self.json());
        }
        let coloured = out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let width = self.rows.iter().map(|row| row.check.name.len()).max().unwrap_or(0);
        let shown = |row: &&Row| self.is_module || row.status != Status::Skip;
        for row in self.rows.iter().filter(shown) {
            let (on, off) = if coloured { (row.status.colour(), "\x1b[0m") } else { ("", "") };
            writeln!(out, "{on}{}{off}  {:width$}  {}", row.status.word(), row.check.name, row.check.about)?;
            for reason in &row.reasons {
                writeln!(out, "      {:width$}  {reason}", "")?;
            }
        }
        if !self.is_module {
            writeln!(out, "the other checks are skipped: this library is no module that can be called")?;
        }
        writeln!(
            out,
            "\n{}: {} passed, {} warned, {} failed, {} skipped in {:.1} s; seed {}",
            self.module,
            self.count(Status::Pass),
            self.count(Status::Warn),
            self.count(Status::Fail),
            self.count(Status::Skip),
            self.took.as_secs_f64(),
            self.seed
        )?;
        if self.count(Status::Fail) > 0 {
            writeln!(out, "docs/abi/validator.md says of each check what it does and what to do")?;
        }
        Ok(())
    }
}
