//! The keys of `triggers` and `concurrency`.

use super::{Shape, Table, may, must};
use crate::limits::CONCURRENCY_RUNS_MAX;

/// What a trigger may listen to: exactly one of these keys.
pub const TRIGGER_KINDS: &[&str] = &["cron", "event", "webhook", "gpio", "workflow"];

/// One trigger.
pub static TRIGGER: Table = Table {
    what: "a trigger",
    keys: &[
        may("cron", Shape::Literal, "Times: five fields, or six with seconds first."),
        may("event", Shape::Literal, "A topic pattern: `*` is one segment, a last `#` the rest."),
        may("webhook", Shape::Name, "`POST /api/chainbot/hooks/<name>` starts a run."),
        may("gpio", Shape::Object(&GPIO_TRIGGER), "Edges of a pin."),
        may("workflow", Shape::Name, "The end of a run of this workflow."),
        may("timezone", Shape::Literal, "`cron`: IANA name such as `Europe/Berlin`; UTC by default."),
        may(
            "missed",
            MISSED,
            "`cron`: what becomes of times that passed while nothing ran; `skip` by default.",
        ),
        may("secret", Shape::Name, "`webhook`: the secret that signs; without it the API token is needed."),
        may(
            "on",
            Shape::Choice(&["completed", "failed", "any"]),
            "`workflow`: which ends; `completed` by default.",
        ),
        may("when", Shape::Expr, "Fires only when this holds; `event` is in scope."),
        may("inputs", Shape::TemplateMap, "The run's inputs; `event` is in scope."),
    ],
};

const MISSED: Shape = Shape::Choice(&["skip", "one", "all"]);

/// `gpio` of a trigger.
pub static GPIO_TRIGGER: Table = Table {
    what: "`gpio` of a trigger",
    keys: &[
        must("pin", Shape::Pin, "The pin: its number or its name in the configuration."),
        may("edge", Shape::Choice(&["rising", "falling", "both"]), "Which change; `rising` by default."),
        may("debounce", Shape::Duration, "Changes within this time of the last one do not count."),
    ],
};

/// `concurrency`.
pub static CONCURRENCY: Table = Table {
    what: "`concurrency`",
    keys: &[
        must(
            "mode",
            Shape::Choice(&["single", "restart", "queued", "parallel"]),
            "`single` refuses one more run, `restart` cancels the others, `queued` and `parallel` let it wait.",
        ),
        may(
            "max",
            Shape::Number(1, CONCURRENCY_RUNS_MAX),
            "Runs at once; 1 for `queued`, no bound for `parallel`.",
        ),
        may(
            "key",
            Shape::Text,
            "Runs with different keys do not count for each other; `inputs` is in scope.",
        ),
    ],
};
