//! `chainbot restore`: a backup in the place of the database.

use chainbot_core::env::Env;
use chainbot_core::secret::seal_again;
use chainbot_core::store::DataDir;
use chainbot_core::store::backup::{Restore, Shelf, Stage};
use serde_json::json;

use super::backup::path_of;
use crate::args;
use crate::error::{Error, Result, code};
use crate::folder::Folder;
use crate::hidden;
use crate::output;

/// Carries the command out.
pub fn run(args: &args::Restore) -> Result<u8> {
    let folder = Folder::choose(&args.place)?;
    let from = path_of(&folder, &args.backup)?;
    let passphrase = match args.with_secrets {
        true => Some(hidden::read(args.passphrase_file.as_deref(), "the passphrase of the secrets")?),
        false => None,
    };
    let data_dir = DataDir::open(folder.path(), "chainbot restore")?;
    let (env, shelf) = (Env::system(), Shelf::new(folder.config().backup.dir.clone()));
    let at = env.now();
    let keep_as = shelf.free_name("before-restore-", at);
    let restore = Restore {
        from: &from,
        data_dir: &data_dir,
        database: &folder.config().database.file,
        shelf: &shelf,
        at,
        keep_as: &keep_as,
        is_damaged: args.damaged,
    };
    let mut on = |stage| {
        if !args.json.json {
            output::note(says(stage));
        }
        Ok(())
    };
    let prepared = restore.prepare(&mut on)?;
    let brought = match &passphrase {
        None => None,
        Some(passphrase) => {
            let Some(sealed) = prepared.manifest.sealed_secrets(&from)? else {
                return Err(Error::new(&code::USAGE, format!("{} has no exported secrets", from.display()))
                    .help("leave --with-secrets out, or take a backup with it on the old machine"));
            };
            let rows = seal_again(&sealed, passphrase, &prepared.manifest.content, &data_dir, &env)?;
            prepared.set_secrets(&rows)?;
            Some(rows.len())
        }
    };
    let kept = prepared.kept.clone();
    let manifest = prepared.put_in_place(&mut on)?;
    if args.json.json {
        output::json(&json!({
            "restored": manifest.name, "created_at": manifest.created_at, "from": from, "data_dir": folder.path(),
            "kept_as": kept, "secrets": brought,
        }))?;
        return Ok(0);
    }
    output::line(&format!("{} is as it was at {}", folder.path().display(), manifest.created_at))?;
    if let Some(kept) = kept {
        output::note(&format!("what was there before is kept: `chainbot restore {kept}` goes back"));
    }
    match (brought, &manifest.secrets) {
        (Some(count), _) => output::note(&format!("{} brought along", output::counted(count, "secret"))),
        (None, Some(_)) => output::note(
            "secrets open only where `secret.key` is the one of then; repeat with --with-secrets to bring them",
        ),
        (None, None) => {}
    }
    output::note(
        "runs under way go on with the next start; what they did after the backup may be done again",
    );
    Ok(0)
}

fn says(stage: Stage) -> &'static str {
    match stage {
        Stage::Verify => "reading the backup",
        Stage::Keep => "keeping what is there",
        Stage::Copy => "copying",
        Stage::Prepare => "bringing it up to date",
        Stage::Fold => "closing what is there",
        Stage::Replace => "putting it in place",
        Stage::Tidy => "tidying",
    }
}
