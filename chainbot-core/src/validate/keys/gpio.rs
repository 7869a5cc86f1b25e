//! Keys of `gpio`.

use super::{Shape, Table, may, must};

/// What a `gpio` step can do.
pub const ACTIONS: &[&str] = &["read", "write", "pulse", "wait_edge", "pwm"];

/// `gpio`.
pub static GPIO: Table = Table {
    what: "`config` of `gpio`",
    keys: &[
        must("pin", Shape::Pin, "The pin: its number or its name in the configuration."),
        must("action", Shape::Choice(ACTIONS), "What to do."),
        may(
            "value",
            Shape::Template,
            "`write`: 0 or 1. `pulse`: the level meanwhile; the one that is not safe by default. \
             `pwm`: share of the time at 1, from 0 to 1.",
        ),
        may(
            "duration",
            Shape::Duration,
            "`pulse`: how long. `pwm`: how long; without it until the next write.",
        ),
        may(
            "edge",
            Shape::Choice(&["rising", "falling", "both"]),
            "`wait_edge`: which change; `rising` by default.",
        ),
        may(
            "safe_value",
            Shape::Number(0, 1),
            "`pulse`, `pwm`: level after it and at a cancel; the configured safe level by default.",
        ),
    ],
};
