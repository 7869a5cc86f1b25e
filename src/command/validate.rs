//! `chainbot validate`: every problem of definitions, each under its line. Runs and stores nothing.
//!
//! The server of the data folder is asked where one runs, because it knows what the machine has. Without it the definition
//! alone is checked, and that is said.

use serde::Deserialize;
use serde_json::json;

use crate::args::{Place, Validate};
use crate::client::Client;
use crate::error::{Finding, Result};
use crate::folder::Folder;
use crate::output::{self, Stream, Tone, counted, tally};
use crate::session::elsewhere;
use crate::{inputs, snippet};

/// What the server answers.
#[derive(Deserialize)]
struct Checked {
    diagnostics: Vec<Finding>,
}

/// Checks the files.
pub async fn run(args: &Validate) -> Result<u8> {
    let server = server(&args.place)?;
    let (mut errors, mut warnings, mut reports) = (0, 0, Vec::new());
    for path in &args.files {
        let source = inputs::source(path)?;
        let file = inputs::shown(path);
        let findings = match &server {
            Some(server) => asked(server, &source).await?,
            None => chainbot_core::validate::check(&source).diagnostics.iter().map(Finding::from).collect(),
        };
        let (bad, doubtful) = tally(&findings);
        errors += bad;
        warnings += doubtful;
        if args.json.json {
            let by = if server.is_some() { "server" } else { "file" };
            reports
                .push(json!({ "file": file, "valid": bad == 0, "checked_by": by, "diagnostics": findings }));
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
        if errors == 0 && server.is_none() {
            output::note(
                "no server runs on the data folder, so names of channels, pins, mail accounts and constants were not checked",
            );
        }
    }
    Ok(u8::from(errors > 0))
}

/// The server of the folder, when one runs. A folder that nobody named may be missing or closed to this user: a file can be
/// checked without it.
fn server(place: &Place) -> Result<Option<Client>> {
    if place.url.is_some() {
        return elsewhere(place);
    }
    let found = || -> Result<Option<Client>> {
        let folder = Folder::choose(place)?;
        match folder.server()?.and_then(|server| server.url) {
            Some(url) => Client::remote(&url, &folder.token()?).map(Some),
            None => Ok(None),
        }
    };
    let is_named = place.data.is_some() || place.config.is_some();
    found().or_else(|error| if is_named { Err(error) } else { Ok(None) })
}

async fn asked(server: &Client, source: &str) -> Result<Vec<Finding>> {
    let content = ("application/yaml", source.as_bytes().to_vec());
    let checked: Checked = server.send("POST", "/workflows/validate", &[], Some(content)).await?.read()?;
    Ok(checked.diagnostics)
}
