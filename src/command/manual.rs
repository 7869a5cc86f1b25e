//! `chainbot completions` and `chainbot man`: what shells and readers need, made from the command line itself.

use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::aot::{Bash, Fish, Zsh, generate};

use crate::args::{Cli, EXIT_CODES, Man, Shell, with_examples};
use crate::error::{Error, Result, code};
use crate::output;

/// The script of a shell.
pub fn completions(shell: Shell) -> Result<u8> {
    let (mut line, mut script) = (with_examples(Cli::command()), Vec::new());
    match shell {
        Shell::Bash => generate(Bash, &mut line, "chainbot", &mut script),
        Shell::Zsh => generate(Zsh, &mut line, "chainbot", &mut script),
        Shell::Fish => generate(Fish, &mut line, "chainbot", &mut script),
    }
    output::raw(&String::from_utf8_lossy(&script)).map(|()| 0)
}

/// The manual.
pub fn man(args: &Man) -> Result<u8> {
    let mut line = with_examples(Cli::command());
    line.build();
    match &args.dir {
        None => output::raw(&markdown(&line)).map(|()| 0),
        Some(dir) => {
            let mut written = 0;
            pages(&line, "chainbot", dir, &mut written)?;
            output::note(&format!("{written} pages are in {}", dir.display()));
            Ok(0)
        }
    }
}

/// A page for a command and one for each below it.
fn pages(command: &Command, name: &str, dir: &Path, written: &mut u32) -> Result<()> {
    let mut page = Vec::new();
    let path = dir.join(format!("{name}.1"));
    let failed = |error: std::io::Error| {
        Error::new(&code::INPUT, format!("{} cannot be written: {error}", path.display()))
            .help("name a folder that is there and that you may write to")
    };
    clap_mangen::Man::new(command.clone()).title(name).render(&mut page).map_err(failed)?;
    std::fs::write(&path, page).map_err(failed)?;
    *written += 1;
    for below in shown(command) {
        pages(below, &format!("{name}-{}", below.get_name()), dir, written)?;
    }
    Ok(())
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|below| below.get_name() != "help" && !below.is_hide_set())
}

fn markdown(root: &Command) -> String {
    let mut out = String::from(
        "# The command line\n\nMade by `chainbot man --markdown`; `chainbot man DIR` writes the same as pages of the manual, and \
         `chainbot completions bash` (or `zsh`, `fish`) what a shell needs.\n\nWith `--json` a command prints JSON, errors included, \
         and nothing else.\n\n## Exit codes\n\n",
    );
    out.push_str(EXIT_CODES);
    out.push_str(
        "\n## Options of most commands\n\n| option | what |\n|---|---|\n\
         | `--data DIR` | the data folder; else `module.data_dir`, else `$XDG_STATE_HOME/chainbot` or `~/.local/state/chainbot` |\n\
         | `--config FILE` | the configuration; else /etc/alex_os/modules/chainbot/config.yaml if it exists |\n\
         | `--url URL` | a server instead of a data folder: https, or http on this machine |\n\
         | `--token-file FILE` | with `--url`: a file that holds an API token or an access token; else `$CHAINBOT_TOKEN` |\n\
         | `--json` | print JSON, errors included, and nothing else |\n\n## Commands\n",
    );
    for command in shown(root) {
        section(command, command.get_name(), "###", &mut out);
    }
    out
}

/// Options that most commands have; the page tells of them once.
const COMMON: [&str; 5] = ["data", "config", "url", "token_file", "json"];

fn section(command: &Command, path: &str, heading: &str, out: &mut String) {
    out.push_str(&format!("\n{heading} chainbot {path}\n\n"));
    let mut own = command.clone().disable_help_flag(true);
    let mut common = Vec::new();
    for id in COMMON {
        if command.get_arguments().any(|arg| arg.get_id() == id && arg.get_long().is_some()) {
            common.push(format!("`--{}`", id.replace('_', "-")));
            own = own.mut_arg(id, |arg| arg.hide(true));
        }
    }
    // Without the width of somebody's terminal, so that the page is the same everywhere.
    let help = own.term_width(100).render_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    out.push_str(&format!("```text\n{}\n```\n", lines.join("\n").trim_end()));
    if !common.is_empty() {
        out.push_str(&format!("\nAnd {}.\n", common.join(", ")));
    }
    for below in shown(command) {
        section(below, &format!("{path} {}", below.get_name()), "####", out);
    }
}
