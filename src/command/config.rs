//! `chainbot config`: the configuration as it is read here.

use chainbot_core::config::Config;
use serde_json::{Value, json};

use crate::args::{ConfigView, Place, Query};
use crate::client::Client;
use crate::error::{Error, Finding, Result, code};
use crate::folder::Folder;
use crate::output::{self, Stream, Tone, counted, tally};
use crate::{inputs, snippet};

/// Shows one view.
pub fn run(view: &ConfigView) -> Result<u8> {
    match view {
        ConfigView::Check(query) => check(query),
        ConfigView::Show(query) => show(query),
        ConfigView::Reload(query) => reload(query),
        ConfigView::Schema => output::json(&Config::schema()).map(|()| 0),
        ConfigView::Default => output::raw(&Config::default_yaml()).map(|()| 0),
    }
}

fn check(query: &Query) -> Result<u8> {
    let (findings, file) = match Folder::choose(&query.place) {
        Ok(folder) => {
            let config = folder.config();
            let warnings = config.warnings().iter().map(Finding::from);
            // Whoever checks may be another account than the one that the module runs as, so these are no errors here.
            let unread = config.check_references();
            let unread = unread.iter().map(|error| Finding {
                severity: "warning".to_owned(),
                code: error.code().id.to_owned(),
                message: error.message().to_owned(),
                hint: error.remedy().map(ToOwned::to_owned),
                line: None,
                column: None,
                path: String::new(),
            });
            (warnings.chain(unread).collect::<Vec<Finding>>(), config.file().map(ToOwned::to_owned))
        }
        // Problems of the content are the result here; that the file is missing is an error as anywhere.
        Err(Error::Core(error)) if !error.diagnostics().is_empty() => {
            (error.diagnostics().iter().map(Finding::from).collect(), read_file(&query.place))
        }
        Err(error) => return Err(error),
    };
    let (errors, warnings) = tally(&findings);
    if query.json.json {
        output::json(&json!({ "valid": errors == 0, "file": file, "diagnostics": findings }))?;
        return Ok(u8::from(errors > 0));
    }
    let source = file.as_deref().map(inputs::source).transpose()?.unwrap_or_default();
    let name = file.as_ref().map_or_else(|| "environment".to_owned(), |path| path.display().to_string());
    for finding in &findings {
        let text = match finding.line {
            Some(_) => snippet::render(finding, &name, &source, Stream::Stdout.is_coloured()),
            None => snippet::plain(finding),
        };
        output::line(&(text + "\n"))?;
    }
    let tone = if errors > 0 { Tone::Bad } else { Tone::Good };
    let verdict = Stream::Stdout.paint(tone, if errors > 0 { "invalid" } else { "valid" });
    let of = file.map_or_else(|| "no file".to_owned(), |path| path.display().to_string());
    output::line(&format!(
        "{verdict}: {of}, {}, {}",
        counted(errors, "error"),
        counted(warnings, "warning")
    ))?;
    Ok(u8::from(errors > 0))
}

/// Asks the host of the running server, which is the one that can hand the module another configuration.
fn reload(query: &Query) -> Result<u8> {
    let folder = Folder::choose(&query.place)?;
    folder.required_server()?;
    let host = super::start::host_program(None)?;
    let asked = std::process::Command::new(host)
        .args(["reconfigure", "--json", "--data"])
        .arg(folder.path())
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|error| Error::new(&code::PROGRAM, format!("host-shim cannot be run: {error}")))?;
    let stdout = String::from_utf8_lossy(&asked.stdout);
    let Some(last) = stdout.lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok()) else {
        let why = String::from_utf8_lossy(&asked.stderr);
        return Err(Error::new(&code::NO_SERVER, format!("the host does not answer: {}", why.trim()))
            .help("a host other than host-shim is asked in its own way: it calls `alex.reconfigure/1` of the module"));
    };
    if query.json.json {
        output::json(&last)?;
    } else if last["result"] == "reconfigured" {
        let keys = last["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut rows = vec![["SETTING", "VALUE", "EFFECT"].map(str::to_owned).to_vec()];
        rows.extend(keys.iter().map(|one| {
            let text = |field: &str| match &one[field] {
                Value::String(text) => output::printable(text),
                other => other.to_string(),
            };
            vec![text("key"), text("value"), text("effect")]
        }));
        match keys.is_empty() {
            true => output::line("nothing differs")?,
            false => output::table(&rows)?,
        }
    } else {
        let reason = last["reason"].as_str().unwrap_or_default();
        output::note(&format!(
            "{}: {}",
            Stream::Stderr.paint(Tone::Bad, "refused"),
            output::printable(reason)
        ));
    }
    Ok(u8::from(last["result"] != "reconfigured"))
}

/// The file that was read although its content was refused.
fn read_file(place: &Place) -> Option<std::path::PathBuf> {
    let usual = || std::path::PathBuf::from(chainbot_core::config::DEFAULT_FILE);
    place.config.clone().or_else(|| Some(usual()).filter(|path| path.exists()))
}

fn show(query: &Query) -> Result<u8> {
    let folder = Folder::choose(&query.place)?;
    let config = folder.config();
    if query.json.json {
        output::json(&config.show())?;
        return Ok(0);
    }
    let mut rows = vec![["SETTING", "VALUE", "FROM"].map(str::to_owned).to_vec()];
    rows.extend(config.settings().iter().map(|setting| {
        let value = match &setting.value {
            Value::String(text) => output::printable(text),
            other => other.to_string(),
        };
        vec![setting.key.path.to_owned(), value, origin(&folder, query, setting)]
    }));
    output::table(&rows)?;
    if let Some(file) = config.file() {
        output::note(&format!("file: {}", file.display()));
    }
    Ok(0)
}

/// As it counts on a server elsewhere.
pub async fn show_of(query: &Query, client: &Client) -> Result<u8> {
    let shown: Value = client.get("/config").await?;
    if query.json.json {
        output::json(&shown["values"])?;
        return Ok(0);
    }
    let mut rows = vec![["SETTING", "VALUE", "FROM"].map(str::to_owned).to_vec()];
    for (key, origin) in shown["origins"].as_object().into_iter().flatten() {
        let value = key.split('.').fold(&shown["values"], |at, name| &at[name]);
        let value = match value {
            Value::String(text) => output::printable(text),
            other => other.to_string(),
        };
        rows.push(vec![key.clone(), value, output::printable(origin.as_str().unwrap_or_default())]);
    }
    output::table(&rows)?;
    Ok(0)
}

/// Who decided, in the words of the command line: the host is this program, and what it decides is the data folder.
fn origin(folder: &Folder, query: &Query, setting: &chainbot_core::config::Setting) -> String {
    let is_folder = setting.key.path == "module.data_dir" && setting.value == json!(folder.path());
    match (&setting.origin, is_folder, &query.place.data) {
        (chainbot_core::config::Origin::Host, true, Some(_)) => "--data".to_owned(),
        (chainbot_core::config::Origin::Host, true, None) => "default of the command line".to_owned(),
        (other, _, _) => other.to_string(),
    }
}
