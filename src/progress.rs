//! The steps of a run as they go, on stderr: spinners on a terminal, one plain line each elsewhere, nothing for
//! machines.

use std::collections::HashMap;
use std::time::Duration;

use chainbot_core::model::{StepStatus, StepView};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::output::{self, Stream, Tone, printable};

/// Spinners at once; more would not fit on a screen.
const SPINNERS_MAX: usize = 16;
/// A step's name is padded to this width, so that durations line up.
const NAME_WIDTH: usize = 28;

/// What has been shown.
pub struct Progress {
    face: Face,
    shown: HashMap<Key, StepStatus>,
    spinners: HashMap<Key, ProgressBar>,
}

type Key = (String, Vec<u32>);

enum Face {
    Silent,
    Plain,
    Live(MultiProgress),
}

impl Progress {
    /// For machines.
    pub fn silent() -> Self {
        Self::with(Face::Silent)
    }

    /// For whoever reads stderr.
    pub fn for_people() -> Self {
        let stream = Stream::Stderr;
        Self::with(if stream.is_terminal() { Face::Live(MultiProgress::new()) } else { Face::Plain })
    }

    fn with(face: Face) -> Self {
        Self { face, shown: HashMap::new(), spinners: HashMap::new() }
    }

    /// Shows what has changed.
    pub fn update(&mut self, steps: &[StepView]) {
        if matches!(self.face, Face::Silent) {
            return;
        }
        for step in steps {
            let key = (step.id.clone(), step.path.clone());
            let before = self.shown.insert(key.clone(), step.status);
            if step.status.is_terminal() {
                if before.is_none_or(|before| !before.is_terminal()) {
                    if let Some(spinner) = self.spinners.remove(&key) {
                        spinner.finish_and_clear();
                    }
                    self.print(&ended(step));
                }
                continue;
            }
            match &self.face {
                Face::Live(bars) => {
                    let room = self.spinners.len() < SPINNERS_MAX;
                    if let Some(spinner) = self.spinners.get(&key) {
                        spinner.set_message(under_way(step));
                    } else if room && step.status != StepStatus::Pending {
                        let spinner = bars.add(spinner());
                        spinner.set_message(under_way(step));
                        self.spinners.insert(key, spinner);
                    }
                }
                // Steps that run need no line of their own, but whoever reads a log must see why nothing moves.
                Face::Plain if step.status == StepStatus::Waiting && before != Some(StepStatus::Waiting) => {
                    self.print(&format!("… {}", under_way(step)));
                }
                Face::Plain | Face::Silent => {}
            }
        }
    }

    /// Removes what moves; lines stay.
    pub fn finish(&mut self) {
        for (_, spinner) in self.spinners.drain() {
            spinner.finish_and_clear();
        }
    }

    fn print(&self, line: &str) {
        match &self.face {
            Face::Live(bars) => {
                let _ = bars.println(line);
            }
            Face::Plain => output::note(line),
            Face::Silent => {}
        }
    }
}

fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed:.dim}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ");
    let spinner = ProgressBar::new_spinner().with_style(style);
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

fn name(step: &StepView) -> String {
    let path: String = step.path.iter().map(|index| format!("[{index}]")).collect();
    printable(&format!("{}{path}", step.id))
}

fn under_way(step: &StepView) -> String {
    let what = match (&step.waiting_for, step.status) {
        (Some(what), _) => output::waits_for(what),
        (None, StepStatus::Waiting) => "waits".to_owned(),
        _ if step.attempts > 1 => format!("try {}", step.attempts),
        _ => step.kind.clone(),
    };
    format!("{:<NAME_WIDTH$}  {what}", name(step))
}

fn ended(step: &StepView) -> String {
    let time = match (step.started_at, step.finished_at) {
        (Some(from), Some(to)) => output::duration(to.since(from)),
        _ => String::new(),
    };
    let tries = if step.attempts > 1 { format!(", {} tries", step.attempts) } else { String::new() };
    let (mark, tone, rest) = match step.status {
        StepStatus::Completed => ("✓", Tone::Good, format!("{time}{tries}")),
        StepStatus::Failed => {
            let why = step.error.as_ref().map_or_else(String::new, |error| {
                format!("  {} {}: {}", error.code, error.class, printable(&error.message))
            });
            ("✗", Tone::Bad, format!("{time}{tries}{why}"))
        }
        StepStatus::Skipped => ("–", Tone::Faint, "skipped".to_owned()),
        _ => ("–", Tone::Warn, "cancelled".to_owned()),
    };
    format!("{} {:<NAME_WIDTH$}  {rest}", Stream::Stderr.paint(tone, mark), name(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(json: serde_json::Value) -> StepView {
        let mut base = serde_json::json!({
            "id": "fetch", "type": "api_call", "path": [], "status": "completed", "attempts": 1,
            "started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:01.2Z"
        });
        for (key, value) in json.as_object().unwrap() {
            base[key] = value.clone();
        }
        serde_json::from_value(base).unwrap()
    }

    #[test]
    fn an_ended_step_says_how_and_how_long() {
        let error = serde_json::json!({ "class": "timeout", "code": "CB-0310", "message": "too slow\u{7}" });
        let cases = [
            (serde_json::json!({}), "✓ fetch                         1.2 s"),
            (
                serde_json::json!({ "path": [0, 12], "attempts": 3 }),
                "✓ fetch[0][12]                  1.2 s, 3 tries",
            ),
            (serde_json::json!({ "status": "skipped" }), "– fetch                         skipped"),
            (serde_json::json!({ "status": "cancelled" }), "– fetch                         cancelled"),
            (
                serde_json::json!({ "status": "failed", "error": error }),
                "✗ fetch                         1.2 s  CB-0310 timeout: too slow\\u{7}",
            ),
        ];
        for (change, expected) in cases {
            assert_eq!(ended(&step(change)), expected);
        }
    }

    #[test]
    fn a_waiting_step_says_for_what() {
        let waiting = serde_json::json!({ "status": "waiting", "waiting_for": "signal `go`" });
        assert_eq!(under_way(&step(waiting)), "fetch                         waits for signal `go`");
        let waiting =
            serde_json::json!({ "status": "waiting", "waiting_for": "until 2026-01-01T00:00:00.000Z" });
        let shown = under_way(&step(waiting));
        assert_eq!(shown, "fetch                         waits until 2026-01-01T00:00:00.000Z");
    }
}
