//! `chainbot deploy`: stores definitions under their names.
//!
//! Invariant: nothing is stored unless every file is a valid definition with a name of its own, so a folder with one
//! mistake leaves the server as it was.

use std::path::{Path, PathBuf};

use chainbot_core::runtime::WorkflowView;
use serde_json::{Value, json};

use crate::args::Deploy;
use crate::client::{Client, segment};
use crate::error::{Error, Finding, Result, code};
use crate::output::{self, Stream, Tone, counted, tally};
use crate::session::Session;
use crate::{inputs, snippet};

/// A definition has errors, or two have one name.
const INVALID: u8 = 2;
/// Definitions of one call: more in one folder are hardly meant, such as all of `/`.
const FILES_MAX: usize = 1_000;
/// Folders below a folder; ends a search that a link has sent in circles.
const DEPTH_MAX: usize = 8;

/// What storing a definition did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// There was no workflow of its name.
    Created,
    /// It is a new version.
    Updated,
    /// It is the current version already.
    Unchanged,
}

impl Change {
    fn as_str(self) -> &'static str {
        match self {
            Change::Created => "created",
            Change::Updated => "updated",
            Change::Unchanged => "unchanged",
        }
    }
}

/// A file that may be stored.
struct Checked {
    file: String,
    name: String,
    source: String,
}

/// Stores the definitions.
pub async fn run(args: &Deploy) -> Result<u8> {
    let files = found(&args.paths)?;
    let Some(checked) = check(&files, args.json.json)? else { return Ok(INVALID) };
    let session = Session::open(&args.place, "chainbot deploy").await?;
    let stored = store_all(&session.client, &checked, args.json.json).await;
    let closed = session.close().await;
    stored?;
    closed?;
    Ok(0)
}

/// Stores one definition, unless its current version is this very text.
pub async fn store(client: &Client, name: &str, source: &str) -> Result<(WorkflowView, Change)> {
    let path = format!("/workflows/{}", segment(name));
    let yaml = || Some(("application/yaml", source.as_bytes().to_vec()));
    let reply = client.send("GET", &path, &[], None).await?;
    if reply.status == 404 {
        let reply = client.send("POST", "/workflows", &[], yaml()).await?;
        // Someone made it since the look: then this is an update.
        if reply.status != 409 {
            return Ok((reply.read()?, Change::Created));
        }
    } else {
        let current: WorkflowView = reply.read()?;
        if current.source == source {
            return Ok((current, Change::Unchanged));
        }
    }
    Ok((client.send("PUT", &path, &[], yaml()).await?.read()?, Change::Updated))
}

async fn store_all(client: &Client, checked: &[Checked], as_json: bool) -> Result<()> {
    let mut done: Vec<Value> = Vec::new();
    for one in checked {
        let (view, change) = store(client, &one.name, &one.source).await?;
        if as_json {
            done.push(json!({
                "file": one.file, "name": view.name, "id": view.id, "version": view.version,
                "result": change.as_str(),
            }));
        } else {
            let tone = if change == Change::Unchanged { Tone::Faint } else { Tone::Good };
            let word = Stream::Stdout.paint(tone, &format!("{:<9}", change.as_str()));
            output::line(&format!("{word}  {} (version {})", view.name, view.version))?;
        }
    }
    if as_json { output::json(&Value::from(done)) } else { Ok(()) }
}

/// Every definition, or nothing when one is wrong; what is wrong is shown.
fn check(files: &[PathBuf], as_json: bool) -> Result<Option<Vec<Checked>>> {
    let (mut checked, mut reports, mut errors) = (Vec::<Checked>::new(), Vec::new(), 0);
    for path in files {
        let source = inputs::source(path)?;
        let file = inputs::shown(path);
        let result = chainbot_core::validate::check(&source);
        let findings: Vec<Finding> = result.diagnostics.iter().map(Finding::from).collect();
        errors += tally(&findings).0;
        if !as_json {
            for finding in &findings {
                let text = snippet::render(finding, &file, &source, Stream::Stderr.is_coloured());
                output::note(&(text + "\n"));
            }
        }
        reports.push(json!({ "file": file, "diagnostics": findings }));
        let Some(definition) = result.definition else { continue };
        if let Some(other) = checked.iter().find(|other| other.name == definition.name) {
            return Err(Error::new(
                &code::USAGE,
                format!("{} and {file} both define `{}`", other.file, definition.name),
            )
            .help("give one of them another name; nothing was stored"));
        }
        checked.push(Checked { file, name: definition.name.clone(), source });
    }
    if errors == 0 && checked.len() == files.len() {
        return Ok(Some(checked));
    }
    let message =
        format!("{} in {}; nothing was stored", counted(errors, "error"), counted(files.len(), "file"));
    if as_json {
        let error = json!({ "code": "CB-0100", "message": message, "help": null, "files": reports });
        output::json(&json!({ "error": error }))?;
    } else {
        output::note(&message);
    }
    Ok(None)
}

/// The files that are meant, sorted and each once. A file that is named counts whatever its ending.
fn found(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = files.len();
            below(path, DEPTH_MAX, &mut files)?;
            if files.len() == before {
                return Err(Error::new(
                    &code::SOURCE,
                    format!("{} holds no *.yaml or *.yml", path.display()),
                )
                .help("name the folder that holds the definitions, or the files"));
            }
        } else {
            files.push(path.clone());
        }
    }
    files.sort();
    files.dedup();
    Ok(files)
}

fn below(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    let unreadable = |error: std::io::Error| {
        Error::new(&code::SOURCE, format!("{} cannot be read: {error}", folder.display()))
    };
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_hidden {
            continue;
        }
        if path.is_dir() {
            if depth > 0 {
                below(&path, depth - 1, files)?;
            }
        } else if path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml")
            && !is_test(&path)
        {
            if files.len() >= FILES_MAX {
                return Err(Error::new(&code::USAGE, format!("there are more than {FILES_MAX} definitions"))
                    .help("deploy fewer at once"));
            }
            files.push(path);
        }
    }
    Ok(())
}

/// A test beside its workflow is no definition.
fn is_test(path: &Path) -> bool {
    path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| stem.ends_with(".test"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_its_definitions_sorted_and_each_once() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        ["b/workflow.yaml", "b/workflow.test.yaml", "a.yml", "b/inputs.json", ".git/x.yaml", "c.json"]
            .iter()
            .for_each(|n| make(n));
        let named = dir.path().join("a.yml");
        let files = found(&[dir.path().to_owned(), named.clone(), dir.path().join("c.json")]).unwrap();
        let expected = [named, dir.path().join("b/workflow.yaml"), dir.path().join("c.json")];
        assert_eq!(files, expected);
        std::fs::create_dir(dir.path().join("empty")).unwrap();
        assert_eq!(found(&[dir.path().join("empty")]).unwrap_err().code(), "CB-0901");
    }
}
