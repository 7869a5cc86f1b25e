//! Examples of the commands that have no longer help of their own, and what the exit codes mean.

use clap::Command;

/// Exit codes of all commands; what a command means by its own stands in its help.
pub const EXIT_CODES: &str = "\
| code | meaning |
|---|---|
| 0 | done; for `run`: completed |
| 1 | the answer is no: a run failed, a definition is invalid, no server runs, a check found something |
| 2 | it could not be tried: wrong arguments, inputs or files, or no way to the server |
| 3 | `run`: the run was cancelled |
| 4 | `run`: the run is not over: it waits, or --timeout passed |
";

/// One example or more for each.
const EXAMPLES: &[(&str, &str)] = &[
    ("version", "chainbot version --json"),
    ("stop", "chainbot stop --timeout 1m"),
    ("status", "chainbot status --data ./state"),
    ("health", "chainbot health --url https://pi.example:8443 --token-file token"),
    ("cancel", "chainbot cancel 01932b6e-0f2a-7c40-8000-3c1f4b1d2a00 --reason 'wrong inputs'"),
    ("pause", "chainbot pause 01932b6e-0f2a-7c40-8000-3c1f4b1d2a00"),
    ("resume", "chainbot resume 01932b6e-0f2a-7c40-8000-3c1f4b1d2a00"),
    ("retry", "chainbot retry 01932b6e-0f2a-7c40-8000-3c1f4b1d2a00"),
    ("inbox", "chainbot inbox --json"),
    ("workflows", "chainbot workflows"),
    ("delete", "chainbot delete greenhouse"),
    ("versions", "chainbot versions greenhouse"),
    ("rollback", "chainbot rollback greenhouse 3"),
    ("enable", "chainbot enable greenhouse"),
    ("disable", "chainbot disable greenhouse"),
    ("doctor", "chainbot doctor --json"),
    ("fsck", "chainbot fsck --repair --data ./state"),
];

/// What stands below a command's help: its own text, or an example from here with it.
pub fn of(root: &Command, name: &str) -> String {
    let own = root
        .find_subcommand(name)
        .and_then(Command::get_after_help)
        .map(ToString::to_string)
        .unwrap_or_default();
    match EXAMPLES.iter().find(|(known, _)| *known == name) {
        Some((_, example)) if own.is_empty() => format!("Example:\n  {example}"),
        Some((_, example)) => format!("{own}\n\nExample:\n  {example}"),
        None => own,
    }
}

/// The command line with the examples in its help.
pub fn with_examples(root: Command) -> Command {
    let mut out = root.clone();
    for (name, _) in EXAMPLES {
        let text = of(&root, name);
        out = out.mut_subcommand(name, |command| command.after_help(text));
    }
    out
}
