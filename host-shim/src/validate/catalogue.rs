//! The checks by name, and the exercises that make them. Several checks judge one exercise, because most of its time
//! is the same; docs/abi/validator.md has a section for each.

use super::bench::Bench;
use super::exercise::{
    arguments, completions, extensions, fuzz, fuzz_extensions, hosting, life, shape, states, stopping,
};

/// One thing that is judged.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// What `--only` takes.
    pub name: &'static str,
    /// The exercise that makes it.
    pub exercise: &'static str,
    /// One line.
    pub about: &'static str,
}

/// How an exercise is run.
#[derive(Clone, Copy)]
pub enum Run {
    /// Before the module is known to be one.
    Path(fn(&std::path::Path)),
    /// On the loaded module.
    Bench(fn(&Bench)),
    /// The same, for as long as `--fuzz` says.
    Fuzz(fn(&Bench)),
}

/// The exercises, in the order in which they run.
pub const EXERCISES: &[(&str, Run)] = &[
    ("entry", Run::Path(shape::entry)),
    ("describe", Run::Bench(shape::describe)),
    ("initialize", Run::Bench(shape::initialize)),
    ("life", Run::Bench(life::life)),
    ("states", Run::Bench(states::states)),
    ("instances", Run::Bench(states::instances)),
    ("health", Run::Bench(life::health)),
    ("time", Run::Bench(life::time)),
    ("arguments", Run::Bench(arguments::arguments)),
    ("completions", Run::Bench(completions::completions)),
    ("pressure", Run::Bench(completions::pressure)),
    ("stop", Run::Bench(stopping::stop)),
    ("cycles", Run::Bench(stopping::cycles)),
    ("hosting", Run::Bench(hosting::hosting)),
    ("extensions", Run::Bench(extensions::extensions)),
    ("fuzz-calls", Run::Fuzz(fuzz::calls)),
    ("fuzz-configuration", Run::Fuzz(fuzz::configuration)),
    ("fuzz-order", Run::Fuzz(fuzz::order)),
    ("fuzz-reconfigure", Run::Fuzz(fuzz_extensions::reconfigure)),
    ("fuzz-hand-over", Run::Fuzz(fuzz_extensions::hand_over)),
];

const fn check(name: &'static str, exercise: &'static str, about: &'static str) -> Check {
    Check { name, exercise, about }
}

/// All checks, in the order of their exercises. The first of an exercise is told when it ends in a way that nobody
/// foresaw.
pub const CHECKS: &[Check] = &[
    check("entry", "entry", "the library loads and exports alex_base_module"),
    check("versions", "entry", "the struct tells its version, also to a host of another major"),
    check("struct-size", "entry", "struct_size covers the functions of 1.0"),
    check("functions", "entry", "no function of 1.0 is null"),
    check("manifest", "describe", "describe writes a JSON document with the members of a manifest"),
    check("describe-time", "describe", "describe takes at most 100 ms"),
    check("initialize-arguments", "initialize", "initialize refuses wrong arguments with INVALID"),
    check("initialize-failure", "initialize", "a failed initialize leaves `out` null"),
    check("initialize-threads", "initialize", "initialize leaves no thread behind"),
    check("life", "life", "initialize, start, work, stop and cleanup succeed"),
    check("signal-handlers", "life", "no signal handler is installed or removed"),
    check("signal-mask", "life", "the caller's signal mask is as before"),
    check("locale", "life", "the locale is as before"),
    check("working-directory", "life", "the working directory is as before"),
    check("environment", "life", "the environment is as before"),
    check("umask", "life", "the umask is as before"),
    check("host-arguments", "life", "what services are given is UTF-8, JSON, sized and known"),
    check("host-read-only", "life", "the Host is not written to"),
    check("host-after-cleanup", "life", "no service is called outside of initialize to cleanup"),
    check("borrowed-pointers", "life", "no argument is used after its call or written to"),
    check("argument-bounds", "life", "no byte behind an argument is touched"),
    check("error-buffer", "life", "an ErrorBuf is written within its room, as UTF-8, and cleared on success"),
    check("topics-declared", "life", "topics that are published stand in the manifest"),
    check("extensions-served", "life", "every extension of the manifest is there, with all functions"),
    check("extension-unknown", "life", "get_extension gives null for an id that it does not know"),
    check("states-initialized", "states", "an initialized instance refuses what needs a started one"),
    check("states-started", "states", "a started instance refuses start and cleanup"),
    check("states-stopped", "states", "a stopped instance refuses work and stop"),
    check("null-instance", "instances", "every call on a null instance gives INVALID"),
    check("unknown-instance", "instances", "every call on a made-up instance gives INVALID"),
    check("released-instance", "instances", "every call on a released instance gives INVALID"),
    check("health-score", "health", "the score is a number from 0 to 1 in every state"),
    check("health-fields", "health", "health fills its struct within its size and tells the state"),
    check("health-threads", "health", "health answers many threads at once"),
    check("call-time", "time", "calls that must not block return within 5 ms, at most 250 ms"),
    check("event-arguments", "arguments", "handle_event refuses wrong arguments with INVALID"),
    check("webhook-arguments", "arguments", "handle_webhook refuses wrong arguments with INVALID"),
    check("completion-once", "completions", "an accepted request is completed exactly once, in its time"),
    check("completion-stack", "completions", "no completion comes on the stack of handle_webhook"),
    check("completion-refused", "completions", "a refused request is not completed"),
    check("reply", "completions", "replies have a size, a status, headers as JSON, and a body"),
    check("pressure", "pressure", "a flood gives BUSY and loses no request"),
    check("completion-at-stop", "stop", "stop leaves no request open, and none is completed after it"),
    check("stop-deadline", "stop", "stop returns by its deadline, or TIMEOUT names what is left"),
    check("restart", "cycles", "a stopped instance starts again, and a new one after cleanup"),
    check("threads", "cycles", "stop leaves no thread behind"),
    check("descriptors", "cycles", "cleanup leaves no descriptor behind"),
    check("host-refusals", "hosting", "services that fail are taken without a crash"),
    check("host-slow", "hosting", "services that are slow do not make calls block"),
    check("metrics", "extensions", "alex.metrics/1 writes OpenMetrics text"),
    check("drain", "extensions", "alex.drain/1 drains, gives nothing up, goes back and hands over"),
    check("reconfigure", "extensions", "alex.reconfigure/1 checks without a change and refuses nonsense"),
    check("fuzz-calls", "fuzz-calls", "random events and requests do no harm"),
    check(
        "fuzz-configuration",
        "fuzz-configuration",
        "random configurations are taken or refused, not fatal",
    ),
    check("fuzz-order", "fuzz-order", "random orders of calls keep the table of states"),
    check(
        "fuzz-reconfigure",
        "fuzz-reconfigure",
        "random configurations are applied as a whole or not at all",
    ),
    check(
        "fuzz-hand-over",
        "fuzz-hand-over",
        "random states of another version are taken or refused, not fatal",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_an_exercise_and_a_name_of_its_own() {
        for (at, check) in CHECKS.iter().enumerate() {
            assert!(EXERCISES.iter().any(|(name, _)| *name == check.exercise), "{}", check.name);
            assert!(CHECKS[..at].iter().all(|other| other.name != check.name), "{} stands twice", check.name);
        }
        for (name, _) in EXERCISES {
            assert!(CHECKS.iter().any(|check| check.exercise == *name), "{name} makes no check");
        }
    }

    #[test]
    fn every_check_has_a_section_in_the_page() {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/abi/validator.md");
        let page = std::fs::read_to_string(page).unwrap();
        let sections: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
        let names: Vec<_> = CHECKS.iter().map(|check| check.name).collect();
        assert_eq!(sections, names, "the sections of docs/abi/validator.md are the checks, in their order");
        for check in CHECKS {
            let text = page.split(&format!("### {}\n", check.name)).nth(1).unwrap_or_default();
            assert!(
                text.trim_start().to_lowercase().starts_with(&check.about.to_lowercase()),
                "{}: its section begins with `{}`",
                check.name,
                check.about
            );
        }
    }
}
