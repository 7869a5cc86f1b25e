//! The commands, one file each. Every one returns the exit code of the process.

mod agent;
mod audit;
mod backup;
mod cancel;
mod chat;
mod chats;
mod config;
mod control;
mod deploy;
mod doctor;
mod dry;
mod events;
mod fsck;
mod gpio;
mod graph;
mod health;
mod import;
mod inbox;
mod logs;
mod manual;
mod mcp;
mod model;
mod outbox;
mod restore;
mod run;
mod runs;
mod secret;
mod secret_file;
mod signal;
mod start;
mod status;
mod stop;
mod test;
mod token;
mod triggers;
mod user;
mod validate;
mod version;
mod versions;
mod workflows;

use std::future::Future;

use crate::args::{Command, ConfigView, Import, ImportView};
use crate::error::{Error, Result, code};
use crate::session::elsewhere;

/// Carries out a command.
pub fn run(command: Command) -> Result<u8> {
    match command {
        Command::Version(json) => version::run(json),
        Command::Validate(args) => with_runtime(validate::run(&args)),
        Command::Run(args) if args.dry => with_runtime(dry::run(&args)),
        Command::Run(args) => with_runtime(run::run(&args)),
        Command::Deploy(args) => with_runtime(deploy::run(&args)),
        Command::Start(args) => start::run(&args),
        Command::Stop(args) => stop::run(&args),
        Command::Status(args) => with_runtime(status::run(&args)),
        Command::Health(args) => with_runtime(health::run(&args)),
        Command::Runs(args) => with_runtime(runs::run(&args)),
        Command::Cancel(args) => with_runtime(cancel::run(&args)),
        Command::Signal(args) => with_runtime(signal::run(&args)),
        Command::Logs(args) => with_runtime(logs::run(&args)),
        Command::Events(args) => with_runtime(events::run(&args)),
        Command::Pause(args) => with_runtime(control::pause(&args)),
        Command::Resume(args) => with_runtime(control::resume(&args)),
        Command::Retry(args) => with_runtime(control::retry(&args)),
        Command::Fork(args) => with_runtime(control::fork(&args)),
        Command::Inbox(args) => with_runtime(inbox::inbox(&args)),
        Command::Answer(args) => with_runtime(inbox::answer(&args)),
        Command::Workflows(args) => with_runtime(workflows::list(&args)),
        Command::Delete(args) => with_runtime(workflows::delete(&args)),
        Command::Versions(args) => with_runtime(versions::versions(&args)),
        Command::Rollback(args) => with_runtime(versions::rollback(&args)),
        Command::Diff(args) => with_runtime(versions::diff(&args)),
        Command::Triggers(args) => with_runtime(triggers::list(&args)),
        Command::Share(args) => with_runtime(workflows::share(&args)),
        Command::Enable(args) => with_runtime(triggers::switch(&args, true)),
        Command::Disable(args) => with_runtime(triggers::switch(&args, false)),
        Command::Doctor(args) => with_runtime(doctor::run(&args)),
        Command::Fsck(args) => fsck::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Graph(args) => with_runtime(graph::run(&args)),
        Command::Import(Import { view: Some(ImportView::Chatgpt(args)), .. }) => {
            with_runtime(chats::run(&args))
        }
        Command::Import(args) => import::run(&args.definition),
        Command::Config { view: ConfigView::Show(args) } if args.place.url.is_some() => with_runtime(async {
            match elsewhere(&args.place)? {
                Some(client) => config::show_of(&args, &client).await,
                None => config::run(&ConfigView::Show(args)),
            }
        }),
        Command::Config { view } => config::run(&view),
        Command::Schema => crate::output::raw(&chainbot_core::validate::schema_text()).map(|()| 0),
        Command::Secret { view } => with_runtime(secret::run(&view)),
        Command::User { view } => with_runtime(user::run(&view)),
        Command::Token { view } => with_runtime(token::run(&view)),
        Command::Outbox { view } => with_runtime(outbox::run(&view)),
        Command::Agent { view } => with_runtime(agent::run(&view)),
        Command::Chat(args) => with_runtime(chat::run(&args)),
        Command::Model { view } => with_runtime(model::run(&view)),
        Command::Gpio { view } => with_runtime(gpio::run(&view)),
        Command::Mcp { view } => with_runtime(mcp::run(&view)),
        Command::Backup(args) => with_runtime(backup::run(&args)),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man(args) => manual::man(&args),
        Command::Restore(args) => restore::run(&args),
        Command::Audit { view } => with_runtime(audit::run(&view)),
    }
}

/// Drives a command that talks to the API. Commands without it start no threads.
fn with_runtime<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(&code::ENGINE, format!("no threads for the engine: {error}")))?;
    runtime.block_on(work)
}
