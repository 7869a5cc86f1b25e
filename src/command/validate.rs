//! `chainbot validate`: every problem of definitions, each under its line. Runs and stores nothing.

use serde_json::json;

use crate::args::Validate;
use crate::error::{Finding, Result};
use crate::output::{self, Stream, Tone, counted, tally};
use crate::{inputs, snippet};

/// Checks the files.
pub fn run(args: &Validate) -> Result<u8> {
    let (mut errors, mut warnings, mut reports) = (0, 0, Vec::new());
    for path in &args.files {
        let source = inputs::source(path)?;
        let file = inputs::shown(path);
        let checked = chainbot_core::validate::check(&source);
        let findings: Vec<Finding> = checked.diagnostics.iter().map(Finding::from).collect();
        let (bad, doubtful) = tally(&findings);
        errors += bad;
        warnings += doubtful;
        if args.json.json {
            reports.push(json!({ "file": file, "valid": bad == 0, "diagnostics": findings }));
        } else {
            for finding in &findings {
                let coloured = Stream::Stdout.is_coloured();
                output::line(&(snippet::render(finding, &file, &source, coloured) + "\n"))?;
            }
        }
    }
    if args.json.json {
        output::json(&json!(reports))?;
    } else {
        let tone = if errors > 0 { Tone::Bad } else { Tone::Good };
        let verdict = Stream::Stdout.paint(tone, if errors > 0 { "invalid" } else { "valid" });
        output::line(&format!(
            "{verdict}: {}, {}, {}",
            counted(args.files.len(), "file"),
            counted(errors, "error"),
            counted(warnings, "warning")
        ))?;
    }
    Ok(u8::from(errors > 0))
}
