//! `chainbot backup`: made by the server when one runs, else by this process; listed; held against its manifest.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chainbot_core::env::Env;
use chainbot_core::id::SafeName;
use chainbot_core::secret::{check_passphrase, seal_for_export};
use chainbot_core::store::backup::{
    self, DATABASE, Entry, Kind, Manifest, Order, Progress, Shelf, secrets_in, take_file,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::args::{Backup, BackupMake, BackupVerify, BackupView, Query};
use crate::client::{Client, segment};
use crate::error::{Error, Result, code};
use crate::folder::Folder;
use crate::hidden;
use crate::output::{self, printable};
use crate::session::elsewhere;

/// Between two looks at how far the server is.
const LOOK: Duration = Duration::from_millis(200);
/// Findings of a journal that are shown one by one.
const SHOWN_MAX: usize = 20;

/// Carries the command out.
pub async fn run(args: &Backup) -> Result<u8> {
    match &args.view {
        None => make(&args.make).await,
        Some(BackupView::List(args)) => list(args).await,
        Some(BackupView::Verify(args)) => verify(args),
    }
}

async fn make(args: &BackupMake) -> Result<u8> {
    let name = args.name.as_deref().map(name_of).transpose()?;
    if let Some(client) = elsewhere(&args.place)? {
        return make_elsewhere(args, name, &client).await;
    }
    let folder = Folder::choose(&args.place)?;
    let passphrase = match args.with_secrets {
        true => {
            Some(hidden::read_passphrase(args.passphrase_file.as_deref(), "a passphrase for the secrets")?)
        }
        false => None,
    };
    if let Some(passphrase) = &passphrase {
        check_passphrase(passphrase)?;
    }
    let (path, mut manifest) = match server(&folder)? {
        Some(client) => by_server(&folder, &client, name, args.to.as_deref()).await?,
        None => by_ourselves(&folder, name, args.to.as_deref())?,
    };
    if let Some(passphrase) = &passphrase {
        let rows = secrets_in(&path)?;
        let sealed = seal_for_export(folder.path(), &rows, passphrase, &manifest.content, &Env::system())?;
        manifest.add_secrets(&path, &sealed)?;
    }
    if args.json.json {
        output::json(&json!({ "path": path, "manifest": manifest }))?;
        return Ok(0);
    }
    output::line(&format!("backup `{}` is made: {}", manifest.name, path.display()))?;
    let tables = manifest.tables.iter().filter(|table| !table.name.starts_with('('));
    let rows: u64 = tables.map(|table| table.rows).sum();
    let kib = manifest.database.bytes.div_ceil(1024);
    output::note(&format!("{} rows, {kib} KiB, read again and as they were", rows));
    let secrets = manifest.tables.iter().any(|table| table.name == "secret" && table.rows > 0);
    match (&manifest.secrets, secrets) {
        (Some(_), _) => {
            output::note("with the secrets: without the passphrase nobody can open them, you neither")
        }
        (None, true) => output::note(
            "its secrets open with `secret.key` of this data folder only; --with-secrets makes them portable",
        ),
        (None, false) => {}
    }
    Ok(0)
}

/// On a server elsewhere, which keeps it: a backup never leaves by the API.
async fn make_elsewhere(args: &BackupMake, name: Option<SafeName>, client: &Client) -> Result<u8> {
    if args.with_secrets || args.to.is_some() {
        return Err(Error::new(
            &code::USAGE,
            "--to and --with-secrets are about a data folder of this machine",
        )
        .help("leave them out, or run the command on that machine"));
    }
    let made = ordered(client, name).await?;
    if args.json.json {
        output::json(&json!({ "path": null, "manifest": made }))?;
        return Ok(0);
    }
    let text = |key: &str| made[key].as_str().map(printable).unwrap_or_default();
    output::line(&format!("backup `{}` is made, on the server", text("name")))?;
    let kib = made["bytes"].as_u64().unwrap_or(0).div_ceil(1024);
    output::note(&format!("{kib} KiB, read again and as they were"));
    Ok(0)
}

/// Has a server make one and follows it to its end; how the API shows it then.
async fn ordered(client: &Client, name: Option<SafeName>) -> Result<Value> {
    let ordered: Value = client.post("/backup", &json!({ "name": name })).await?;
    let name = ordered["name"].as_str().unwrap_or_default().to_owned();
    let bar = bar();
    let made = loop {
        let one: Value = client.get(&format!("/backups/{}", segment(&name))).await?;
        match one["status"].as_str() {
            Some("running") => {
                let number = |key: &str| one[key].as_u64().unwrap_or(0);
                show(&bar, Progress { done: number("pages_done"), pages: number("pages") });
                tokio::time::sleep(LOOK).await;
            }
            Some("complete") => break one,
            _ => {
                bar.finish_and_clear();
                let text = |key: &str| one[key].as_str().unwrap_or("unknown").to_owned();
                let message = format!("the backup `{name}` failed ({}): {}", text("code"), text("error"));
                return Err(
                    Error::new(&code::BACKUP, message).help("`chainbot backup list` shows it as well")
                );
            }
        }
    };
    bar.finish_and_clear();
    Ok(made)
}

/// The server makes it, and it is copied when it is wanted elsewhere.
async fn by_server(
    folder: &Folder,
    client: &Client,
    name: Option<SafeName>,
    to: Option<&Path>,
) -> Result<(PathBuf, Manifest)> {
    let made = ordered(client, name).await?;
    let name = name_of(made["name"].as_str().unwrap_or_default())?;
    let shelf = Shelf::new(folder.config().backup.dir.clone());
    let path = shelf.path(&name);
    if !path.exists() {
        let message = format!("the server has made `{name}`, and {} is not there", path.display());
        return Err(Error::new(&code::BACKUP, message)
            .help("it has another backup.dir: name its configuration with --config"));
    }
    match to {
        None => Ok((path.clone(), Manifest::read(&path)?)),
        Some(to) => {
            let to = Shelf::new(absolute(to)?);
            let copied = to.copy_from(&path, &name)?;
            output::note(&format!("the server keeps it as well, as {}", path.display()));
            Ok((copied.clone(), backup::verify(&copied)?.manifest))
        }
    }
}

fn by_ourselves(folder: &Folder, name: Option<SafeName>, to: Option<&Path>) -> Result<(PathBuf, Manifest)> {
    let shelf = match to {
        Some(to) => Shelf::new(absolute(to)?),
        None => Shelf::new(folder.config().backup.dir.clone()),
    };
    let at = Env::system().now();
    let name = name.unwrap_or_else(|| shelf.free_name("", at));
    let order = Order { name: &name, kind: Kind::Manual, at };
    let database = folder.path().join(&folder.config().database.file);
    if !database.exists() {
        return Err(Error::new(&code::FOLDER, format!("there is no database {}", database.display()))
            .help("name the data folder with --data"));
    }
    let bar = bar();
    let made = take_file(&database, &shelf, &order, &mut |progress| {
        show(&bar, progress);
        Ok(())
    });
    bar.finish_and_clear();
    Ok((shelf.path(&name), made?))
}

async fn list(args: &Query) -> Result<u8> {
    let all: Vec<Value> = match elsewhere(&args.place)? {
        Some(client) => client.get("/backups").await?,
        None => {
            let folder = Folder::choose(&args.place)?;
            let shelf = Shelf::new(folder.config().backup.dir.clone());
            match server(&folder)? {
                Some(client) => client.get("/backups").await?,
                None => shelf.entries()?.into_iter().map(shown).collect(),
            }
        }
    };
    if args.json.json {
        output::json(&json!(all))?;
        return Ok(0);
    }
    if all.is_empty() {
        output::note("no backups; `chainbot backup` makes one");
        return Ok(0);
    }
    let text = |value: &Value| value.as_str().map(printable).unwrap_or_default();
    let mut rows = vec![["NAME", "STATUS", "KIND", "MADE", "KIB", "SECRETS"].map(str::to_owned).to_vec()];
    rows.extend(all.iter().map(|one| {
        vec![
            text(&one["name"]),
            text(&one["status"]),
            text(&one["kind"]),
            text(&one["created_at"]),
            one["bytes"].as_u64().map_or_else(String::new, |bytes| bytes.div_ceil(1024).to_string()),
            if one["with_secrets"] == true { "under a passphrase".to_owned() } else { String::new() },
        ]
    }));
    output::table(&rows)?;
    for one in all.iter().filter(|one| one["error"].is_string()) {
        output::note(&format!("{}: {}", text(&one["name"]), text(&one["error"])));
    }
    Ok(0)
}

/// As the API shows it.
fn shown(entry: Entry) -> Value {
    match entry.manifest {
        Ok(manifest) => json!({
            "name": entry.name, "status": "complete", "kind": manifest.kind, "created_at": manifest.created_at,
            "version": manifest.version, "schema": manifest.schema, "bytes": manifest.database.bytes,
            "content": manifest.content, "with_secrets": manifest.secrets.is_some(),
        }),
        Err(error) => json!({
            "name": entry.name, "status": "damaged", "error": error.message(), "code": error.code().id,
        }),
    }
}

fn verify(args: &BackupVerify) -> Result<u8> {
    let folder = Folder::choose(&args.place)?;
    let path = path_of(&folder, &args.backup)?;
    let checked = backup::verify(&path)?;
    let violations: Vec<String> = checked.violations.iter().map(ToString::to_string).collect();
    if args.json.json {
        output::json(&json!({
            "path": path, "ok": true, "manifest": checked.manifest, "violations": violations,
            "invariants_checked": checked.is_current,
        }))?;
        return Ok(u8::from(!violations.is_empty()));
    }
    let manifest = &checked.manifest;
    output::line(&format!("backup `{}` of {} is as it was made", manifest.name, manifest.created_at))?;
    for table in manifest.tables.iter().filter(|table| table.rows > 0) {
        output::note(&format!("  {:<20} {:>8} rows  {}", table.name, table.rows, &table.hash[..16]));
    }
    if !checked.is_current {
        output::note("its schema is older: the journal's invariants are looked at when it is restored");
    }
    for violation in violations.iter().take(SHOWN_MAX) {
        output::note(&format!("the database had this when it was made: {violation}"));
    }
    Ok(u8::from(!violations.is_empty()))
}

/// A name on the shelf, or a folder.
pub fn path_of(folder: &Folder, text: &str) -> Result<PathBuf> {
    if let Ok(name) = text.parse::<SafeName>() {
        let path = Shelf::new(folder.config().backup.dir.clone()).path(&name);
        if path.exists() {
            return Ok(path);
        }
    }
    let path = absolute(Path::new(text))?;
    // As people point to it: the copy in the folder.
    match path.file_name().is_some_and(|name| name == DATABASE) {
        true => Ok(path.parent().map(Path::to_owned).unwrap_or(path)),
        false => Ok(path),
    }
}

fn server(folder: &Folder) -> Result<Option<Client>> {
    match folder.server()?.and_then(|server| server.url) {
        Some(url) => Client::remote(&url, &folder.token()?).map(Some),
        None => Ok(None),
    }
}

fn name_of(text: &str) -> Result<SafeName> {
    text.parse().map_err(|why: &str| {
        Error::new(&code::USAGE, format!("`{}` cannot be a backup's name", printable(text))).help(why)
    })
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path)
        .map_err(|error| Error::new(&code::USAGE, format!("{} is no path: {error}", path.display())))
}

/// Moves on a terminal only.
fn bar() -> ProgressBar {
    if !output::Stream::Stderr.is_terminal() {
        return ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("{bar:40} {percent:>3} %  {elapsed:.dim}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_length(progress.pages);
    bar.set_position(progress.done);
}
