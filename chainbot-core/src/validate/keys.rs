//! The keys of the language: one table for each object, one line for each key.
//!
//! The tables are the only list of keys. They drive what is required, unknown, misplaced or announced for
//! later, the words a value may be and the range of a number; help texts and a JSON Schema are made of them.

mod auth;
mod gpio;
mod transform;
mod trigger;

pub use trigger::{CONCURRENCY, GPIO_TRIGGER, TRIGGER, TRIGGER_KINDS};

pub use auth::{ATTACHMENT, AUTH, BASIC, HEADER, PAGINATION};
pub use transform::{TRANSFORM_TYPES, TRANSFORM_TYPES_LATER};

use crate::limits::{
    ATTEMPTS_MAX, CONCURRENCY_MAX, KEEP_RUNS_MAX, LOOP_ITERATIONS_MAX, STEP_OUTPUT_BYTES_MAX, STEPS_MAX,
};

/// An object of the language.
#[derive(Debug)]
pub struct Table {
    /// As messages name it: "`config` of `api_call`".
    pub what: &'static str,
    /// In the order in which people write them.
    pub keys: &'static [Key],
}

/// A key of an object.
#[derive(Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What its value is.
    pub shape: Shape,
    /// Whether it must, may or cannot be there.
    pub standing: Standing,
    /// What it means, in one line.
    pub doc: &'static str,
}

/// What a value is.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Text for people, taken as it is.
    Literal,
    /// A name: see the rule of each.
    Name,
    /// Text that may hold `{{ }}`.
    Text,
    /// Any value whose strings may hold `{{ }}`.
    Template,
    /// A map whose values may hold `{{ }}`, or one `{{ }}` that gives a map.
    TemplateMap,
    /// A bare expression.
    Expr,
    /// A map from names to bare expressions.
    ExprMap,
    /// A list or map written out, or an expression that gives one.
    Items,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of these words.
    Choices(&'static [&'static str]),
    /// A whole number from and up to.
    Number(u32, u32),
    /// `true` or `false`.
    Flag,
    /// The same, or an object with a table of its own, which means `true`.
    FlagOr(&'static Table),
    /// Such as `30s`, `1h30m`, or a number of seconds.
    Duration,
    /// A list of names.
    Names,
    /// A name, or a list of names.
    Secrets,
    /// Status codes or classes of them: `200`, `2xx`.
    Statuses,
    /// A list of steps.
    Steps,
    /// A map from names to lists of steps.
    StepsMap,
    /// A JSON Schema.
    Schema,
    /// An object with a table of its own.
    Object(&'static Table),
    /// A list of objects with a table of their own, or text with `{{ }}` that gives one.
    Objects(&'static Table),
    /// By the step's type: see [`STEP_TYPES`].
    Config,
    /// One step.
    Step,
    /// A list of objects by [`TRIGGER`].
    Triggers,
    /// A pin's number, or its name in the configuration.
    Pin,
}

/// Whether a key must, may or cannot be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Must be there.
    Required,
    /// May be there.
    Optional,
    /// An old or other spelling, and what to write instead.
    Old(&'static str),
}

impl Table {
    /// The key of this name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// Names of keys that this version takes.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        let taken = |key: &&Key| matches!(key.standing, Standing::Required | Standing::Optional);
        self.keys.iter().filter(taken).map(|key| key.name)
    }
}

const fn must(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, shape, standing: Standing::Required, doc }
}
const fn may(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, shape, standing: Standing::Optional, doc }
}
const fn old(name: &'static str, instead: &'static str) -> Key {
    Key { name, shape: Shape::Template, standing: Standing::Old(instead), doc: "An old way to write it." }
}

/// A whole definition.
pub static DEFINITION: Table = Table {
    what: "the definition",
    keys: &[
        must(
            "name",
            Shape::Name,
            "Unique name of the workflow: lower-case letters, digits, `_`, `-`; at most 63.",
        ),
        may("description", Shape::Literal, "What it is for."),
        may("type", Shape::Choice(&["sequential", "parallel", "conditional"]), "How the steps go together."),
        may(
            "match",
            Shape::Choice(&["all", "first"]),
            "`conditional`: run all steps whose `when` holds, or the first.",
        ),
        may("inputs", Shape::Schema, "JSON Schema of the input object; its defaults are filled in."),
        may("timeout", Shape::Duration, "Bound on the whole run."),
        may("retry", Shape::Object(&RETRY), "Retries of steps that do not say."),
        may("max_parallel_steps", Shape::Number(1, CONCURRENCY_MAX), "`parallel`: steps at once."),
        must("steps", Shape::Steps, "What is done."),
        may("output", Shape::Template, "The run's result; by default the last step's output."),
        may(
            "catch",
            Shape::Steps,
            "Runs when a step failed and nothing else handled it; `error` is in scope.",
        ),
        may("finally", Shape::Steps, "Runs at the end in every case, also after a timeout or a cancel."),
        may("keep", Shape::Object(&KEEP), "How long finished runs are kept."),
        may("publish", Shape::Object(&PUBLISH), "For whom the workflow is a tool."),
        may("on_failure", Shape::Object(&ON_FAILURE), "What a failed run does besides failing."),
        may("triggers", Shape::Triggers, "What starts a run by itself."),
        may("concurrency", Shape::Object(&CONCURRENCY), "How many runs at once."),
    ],
};

/// `keep` of a definition.
pub static KEEP: Table = Table {
    what: "`keep`",
    keys: &[
        may("completed", Shape::Duration, "Runs that completed."),
        may("failed", Shape::Duration, "Runs that failed or were cancelled."),
        may("max_runs", Shape::Number(1, KEEP_RUNS_MAX), "At most so many, the newest."),
    ],
};

/// `publish` of a definition.
pub static PUBLISH: Table = Table {
    what: "`publish`",
    keys: &[may(
        "mcp",
        Shape::FlagOr(&PUBLISH_MCP),
        "For clients of the Model Context Protocol at `/mcp`, who may start it.",
    )],
};

/// `publish.mcp` where there is more to say than `true`.
pub static PUBLISH_MCP: Table = Table {
    what: "`publish.mcp`",
    keys: &[
        may("name", Shape::Name, "Of the tool, in place of `workflow_` and the name of the workflow."),
        may("content", Shape::Flag, "The output is a list of content blocks as the protocol has them."),
    ],
};

/// `on_failure` of a definition.
pub static ON_FAILURE: Table = Table {
    what: "`on_failure`",
    keys: &[may("notify", Shape::Flag, "Sends a notification with the reason.")],
};

/// Types of step that leave something behind which another step can undo.
pub const COMPENSABLE: &[&str] =
    &["api_call", "webhook", "workflow", "emit", "notification", "email", "gpio", "agent_task"];
/// Types of step that cannot undo another: they hold steps of their own, or wait.
pub const NOT_COMPENSATING: &[&str] = &["condition", "loop", "parallel", "wait"];

/// Keys of every step.
pub static STEP: Table = Table {
    what: "a step",
    keys: &[
        must("id", Shape::Name, "Unique in the definition: a lower-case letter, then letters, digits, `_`."),
        must(
            "type",
            Shape::Name,
            "`api_call`, `condition`, `emit`, `loop`, `notification`, `parallel`, `set`, `transform`, `wait`, \
             `webhook`, `workflow`, `email` or `gpio`.",
        ),
        may("name", Shape::Literal, "Title for people."),
        may("when", Shape::Expr, "The step is skipped when this is false."),
        may("timeout", Shape::Duration, "Bound on one try."),
        may("retry", Shape::Object(&RETRY), "Tries after a failure."),
        may("on_error", Shape::Choice(&["fail", "continue"]), "What the run does when the last try failed."),
        may(
            "on_uncertain",
            Shape::Choice(&["retry", "ask", "fail"]),
            "When the process died in the middle of it.",
        ),
        may("output_variable", Shape::Name, "Puts the output at `vars.<name>`."),
        may("depends_on", Shape::Names, "Steps beside it that come before; in `parallel` only."),
        may("checkpoint", Shape::Flag, "Its completion is on disk before the run goes on."),
        may("config", Shape::Config, "What the type needs."),
        may(
            "compensate",
            Shape::Step,
            "The step that undoes this one when the run fails or is cancelled later.",
        ),
        old("condition", "write `when`"),
        old("on_failure", "write `on_error: fail` or `continue`, and `retry: {attempts: 3}` for retries"),
        old("max_retries", "write `retry: {attempts: 3}`; it counts all tries"),
        old("retry_count", "write `retry: {attempts: 3}`; it counts all tries"),
    ],
};

/// Retries.
pub static RETRY: Table = Table {
    what: "`retry`",
    keys: &[
        may("attempts", Shape::Number(1, ATTEMPTS_MAX), "All tries, the first included."),
        may("backoff", Shape::Choice(&["fixed", "exponential"]), "How the delay grows."),
        may("delay", Shape::Duration, "Before the second try."),
        may("max_delay", Shape::Duration, "The delay grows no further."),
        may(
            "jitter",
            Shape::Choice(&["full", "none"]),
            "Whether the delay is drawn between 0 and its value.",
        ),
        may("on", Shape::Choices(RETRY_CLASSES), "Classes of error that are tried again."),
        old("max_attempts", "write `attempts`"),
        old("max_retries", "write `attempts`; it counts all tries"),
    ],
};

/// Classes of error that `retry.on` may name.
pub const RETRY_CLASSES: &[&str] =
    &["timeout", "connect", "cut", "http_429", "http_4xx", "http_5xx", "http_status", "child", "any"];
/// Classes of error of steps that this version does not have.
pub const RETRY_CLASSES_LATER: &[&str] = &["rate_limited", "overloaded", "model_invalid"];

/// Types of step, and the table of each one's `config`.
pub static STEP_TYPES: &[(&str, &Table)] = &[
    ("api_call", &API_CALL),
    ("condition", &CONDITION),
    ("emit", &EMIT),
    ("loop", &LOOP),
    ("notification", &NOTIFICATION),
    ("parallel", &PARALLEL),
    ("set", &SET),
    ("transform", &TRANSFORM),
    ("wait", &WAIT),
    ("webhook", &WEBHOOK),
    ("workflow", &WORKFLOW),
    ("email", &auth::EMAIL),
    ("gpio", &gpio::GPIO),
    ("agent_task", &AGENT_TASK),
];
/// Types of step of the language that this version does not have.
pub const STEP_TYPES_LATER: &[&str] = &[];

/// `api_call`.
pub static API_CALL: Table = Table {
    what: "`config` of `api_call`",
    keys: &[
        must("url", Shape::Text, "Absolute URL, http or https."),
        may("method", Shape::Choice(METHODS), "HTTP method; GET by default."),
        may("query", Shape::TemplateMap, "Appended to the URL."),
        may("headers", Shape::TemplateMap, "Request headers."),
        may("body", Shape::Text, "Sent as text."),
        may("json", Shape::Template, "Sent as JSON."),
        may("form", Shape::TemplateMap, "Sent as a form."),
        may("expect", Shape::Object(&EXPECT), "What counts as success."),
        may("response", Shape::Choice(&["auto", "json", "text", "bytes"]), "How the reply is read."),
        may("max_bytes", Shape::Number(1, STEP_OUTPUT_BYTES_MAX as u32), "Bound on the reply."),
        may("follow_redirects", Shape::Flag, "At most three hops."),
        may("idempotency", Shape::Choice(&["key"]), "The receiver honours `Idempotency-Key`."),
        may("auth", Shape::Object(&auth::AUTH), "A credential from the secret store."),
        may("pagination", Shape::Object(&auth::PAGINATION), "Pages fetched one after another."),
        may("multipart", Shape::TemplateMap, "Sent as multipart form data."),
        old("params", "write `query`"),
        old("data", "write `json` (or `form`, or `body` for text)"),
    ],
};
/// HTTP methods.
pub const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// `expect` of `api_call`.
pub static EXPECT: Table = Table {
    what: "`expect`",
    keys: &[
        may("status", Shape::Statuses, "Codes or classes that are success; 2xx by default."),
        may("schema", Shape::Schema, "JSON Schema of the reply's data."),
    ],
};

/// `condition`.
pub static CONDITION: Table = Table {
    what: "`config` of `condition`",
    keys: &[
        may("if", Shape::Expr, "Decides between `then` and `else`."),
        may("then", Shape::Steps, "Runs when `if` holds."),
        may("else", Shape::Steps, "Runs when it does not."),
        may("switch", Shape::Expr, "Its value as text picks one of `cases`."),
        may("cases", Shape::StepsMap, "Steps by value."),
        may("default", Shape::Steps, "Runs when no case fits."),
        old("condition", "write `if`"),
        old("expression", "write `if`"),
    ],
};

/// `loop`.
pub static LOOP: Table = Table {
    what: "`config` of `loop`",
    keys: &[
        may("for_each", Shape::Items, "A list, an object, or a number n for 0 to n-1."),
        may("while", Shape::Expr, "Tested before each iteration."),
        may("until", Shape::Expr, "Tested after each iteration."),
        may("times", Shape::Expr, "So many iterations."),
        must("steps", Shape::Steps, "What is repeated."),
        may("as", Shape::Name, "Name of the item in expressions; `item` by default."),
        may("max_concurrency", Shape::Number(1, CONCURRENCY_MAX), "Iterations at once; 1 by default."),
        may("max_iterations", Shape::Number(1, LOOP_ITERATIONS_MAX), "The loop fails beyond this."),
        may("on_error", Shape::Choice(&["stop", "continue"]), "Whether a failed iteration ends the loop."),
        may("collect", Shape::Expr, "An iteration's result; by default its last step's output."),
        old("items", "write `for_each`"),
    ],
};

/// `parallel`.
pub static PARALLEL: Table = Table {
    what: "`config` of `parallel`",
    keys: &[
        may("steps", Shape::Steps, "Each step is a branch."),
        may("branches", Shape::StepsMap, "Each list is a branch, done in order."),
        may("max_concurrency", Shape::Number(1, CONCURRENCY_MAX), "Branches at once."),
        may("join", Shape::Choice(&["all", "any", "quorum"]), "When it is done."),
        may("quorum", Shape::Number(1, STEPS_MAX as u32), "`join: quorum`: branches that must succeed."),
        may("on_error", Shape::Choice(&["cancel_others", "wait"]), "What the first failure does."),
    ],
};

/// `wait`.
pub static WAIT: Table = Table {
    what: "`config` of `wait`",
    keys: &[
        may("duration", Shape::Text, "Some time: `90s`."),
        may("until", Shape::Text, "A time (RFC 3339)."),
        may("signal", Shape::Text, "A signal by name, or `{name, schema}`."),
        may("timeout", Shape::Duration, "The same as the step's `timeout`."),
        may("on_timeout", Shape::Choice(&["fail", "continue"]), "What running out of `timeout` does."),
        may(
            "event",
            Shape::Text,
            "An event by topic (`*` one word, a last `#` the rest), or `{topic, when}`.",
        ),
        may("approval", Shape::Object(&APPROVAL), "A person's decision."),
        old("schema", "write it with the name: `signal: {name: ..., schema: ...}`"),
        old("seconds", "write `duration: 90s`"),
    ],
};

/// `event` of `wait`, when written with a condition.
pub static WAIT_EVENT: Table = Table {
    what: "`event`",
    keys: &[
        must("topic", Shape::Text, "A topic or a pattern: `*` for one word, a last `#` for the rest."),
        may("when", Shape::Expr, "Which of them; `event` is in scope."),
    ],
};

/// `approval` of `wait`.
pub static APPROVAL: Table = Table {
    what: "`approval`",
    keys: &[
        must("message", Shape::Text, "The question."),
        may("approvers", Shape::Names, "Who may answer; anybody unless given."),
        may("actions", Shape::Names, "What may be answered: `[approve, reject]` unless given."),
        may("default", Shape::Name, "What counts when `timeout` is over."),
    ],
};

/// `signal` of `wait`, when written with a schema.
pub static SIGNAL: Table = Table {
    what: "`signal`",
    keys: &[
        must("name", Shape::Text, "The signal's name."),
        may("schema", Shape::Schema, "JSON Schema of its data."),
    ],
};

/// `webhook`.
pub static WEBHOOK: Table = Table {
    what: "`config` of `webhook`",
    keys: &[
        must("url", Shape::Text, "Absolute URL, http or https."),
        may("payload", Shape::Template, "Sent as JSON."),
        may("headers", Shape::TemplateMap, "Request headers."),
        may("secret", Shape::Secrets, "Secret that signs the message, or a list of them."),
        may(
            "delivery",
            Shape::Choice(&["step", "outbox"]),
            "`step`: this step sends it (the default). `outbox`: it is sent after this step, for days if need be.",
        ),
    ],
};

/// `emit`.
pub static EMIT: Table = Table {
    what: "`config` of `emit`",
    keys: &[
        must("topic", Shape::Text, "Starts with `user.` or `chainbot.user.`."),
        may("data", Shape::Template, "The event's data."),
    ],
};

/// `notification`.
pub static NOTIFICATION: Table = Table {
    what: "`config` of `notification`",
    keys: &[
        must("message", Shape::Text, "What it says."),
        may("title", Shape::Text, "Above it."),
        may(
            "type",
            Shape::Choice(&["info", "success", "warning", "error"]),
            "How it looks; info by default.",
        ),
        may(
            "channels",
            Shape::Names,
            "Where to: `gui` (the default), `event_bus`, and names of `notification.channels`.",
        ),
    ],
};

/// `workflow`.
pub static WORKFLOW: Table = Table {
    what: "`config` of `workflow`",
    keys: &[
        must("workflow", Shape::Text, "Name of the workflow to start."),
        may("inputs", Shape::Template, "Its inputs."),
        may("wait", Shape::Flag, "Whether this step ends with the child (the default) or at once."),
    ],
};

/// `agent_task`.
pub static AGENT_TASK: Table = Table {
    what: "`config` of `agent_task`",
    keys: &[
        must("agent", Shape::Text, "Name of the agent."),
        must("task", Shape::Template, "What is to be done: text, or what the agent's type takes."),
        may(
            "context",
            Shape::Template,
            "What belongs to it. It taints the task, since it may come from anywhere.",
        ),
        may("output_schema", Shape::Schema, "JSON Schema of the answer; it is held to it."),
        may(
            "budget",
            Shape::TemplateMap,
            "Narrows the agent's: `tokens`, `cost`, `turns`, `tool_calls`, `time`.",
        ),
        may("thread", Shape::Text, "The conversation that it goes on with."),
    ],
};

/// `set`.
pub static SET: Table = Table {
    what: "`config` of `set`",
    keys: &[must("variables", Shape::ExprMap, "Name and value; each sees those before it.")],
};

/// `transform` before its type is known.
pub static TRANSFORM: Table = Table {
    what: "`config` of `transform`",
    keys: &[must("type", Shape::Name, "What it does with the data.")],
};
