//! A workflow definition as its author wrote it, checked for shape but not compiled.
//!
//! Text that may hold `{{ }}` is a [`Template`], a bare expression an [`Expr`]; both keep their place in
//! the source so that a failure at run time can name it. Lists and maps keep the order of the source.

use std::time::Duration;

use super::{Node, Pos};

/// A bare expression: `steps.read.output.value > 3`. A number, a boolean or null in the source is
/// its own literal.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// Where it begins.
    pub pos: Pos,
    /// The expression.
    pub source: String,
}

/// Text that may hold `{{ }}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    /// Where it begins.
    pub pos: Pos,
    /// The text.
    pub source: String,
}

/// Any value whose strings, at any depth, may hold `{{ }}`. Keys are literal.
pub type Template = Node;

/// A list, object or range: an expression, or written out.
#[derive(Clone, Debug, PartialEq)]
pub enum Items {
    /// `for_each: inputs.rows`
    Expr(Expr),
    /// `for_each: [a, b]`
    Literal(Template),
}

/// A whole definition.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Unique: `[a-z0-9][a-z0-9_-]{0,62}`.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// How the steps go together.
    pub kind: WorkflowKind,
    /// JSON Schema of the input object.
    pub inputs: Option<serde_json::Value>,
    /// The whole run; `None` takes the configuration's.
    pub timeout: Option<Duration>,
    /// For steps that do not say.
    pub retry: Option<Retry>,
    /// At once, for `type: parallel`.
    pub max_parallel_steps: Option<u32>,
    /// In order of the source.
    pub steps: Vec<Step>,
    /// The run's result; `None` = the last step's output.
    pub output: Option<Template>,
    /// Runs when a step failed and nothing else handled it.
    pub catch: Vec<Step>,
    /// Runs at the end in every case.
    pub finally: Vec<Step>,
    /// Tell people when a run fails.
    pub notify_on_failure: bool,
    /// How long runs are kept.
    pub keep: Keep,
    /// For whom it is a tool besides.
    pub publish: super::Publish,
    /// What starts a run by itself.
    pub triggers: Vec<super::TriggerDef>,
    /// How many runs at once; `None` = as many as there are permits.
    pub concurrency: Option<super::Concurrency>,
}

/// How the steps of a workflow go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkflowKind {
    /// In the order written.
    Sequential,
    /// As soon as what they depend on is done.
    Parallel,
    /// Those whose `when` holds: all in order, or only the first.
    Conditional {
        /// `match: first`
        first_only: bool,
    },
}

/// Retries of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// All tries, the first included. From 1.
    pub attempts: u32,
    /// How the delay grows.
    pub backoff: Backoff,
    /// Before the second try.
    pub delay: Duration,
    /// The delay grows no further.
    pub max_delay: Duration,
    /// Whether the delay is drawn between 0 and its value.
    pub full_jitter: bool,
    /// Classes of error that are tried again; empty = those that may pass by themselves.
    pub on: Vec<String>,
}

/// How a retry's delay grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backoff {
    /// Always the same.
    Fixed,
    /// Doubles.
    Exponential,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Unique in the definition: `[a-z][a-z0-9_]*`.
    pub id: String,
    /// Where the step begins.
    pub pos: Pos,
    /// For people.
    pub name: Option<String>,
    /// False = skipped.
    pub when: Option<Expr>,
    /// One try.
    pub timeout: Option<Duration>,
    /// `None` takes the definition's, else the default of the type.
    pub retry: Option<Retry>,
    /// When the last try failed.
    pub on_error: OnError,
    /// When the process died in the middle of it; `None` takes the type's.
    pub on_uncertain: Option<OnUncertain>,
    /// Puts the output at `vars.<name>`.
    pub output_variable: Option<String>,
    /// Ids of sibling steps; only in `type: parallel` and inside `parallel`.
    pub depends_on: Vec<(String, Pos)>,
    /// Its completion is on disk before the run goes on.
    pub checkpoint: bool,
    /// What it does.
    pub action: Action,
    /// Undoes this step when the run fails or is cancelled later.
    pub compensate: Option<Box<Step>>,
}

/// When a step has failed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnError {
    /// The run fails.
    #[default]
    Fail,
    /// The run goes on; `steps.<id>.error` tells.
    Continue,
}

/// When it is unknown whether an effect happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUncertain {
    /// Again, with the same key.
    Retry,
    /// A person decides.
    Ask,
    /// The step fails.
    Fail,
}

/// What a step does, by its type.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Changes data.
    Transform(Transform),
    /// Sets variables; each is a bare expression, in order, and sees those before it.
    Set {
        /// Name and value.
        variables: Vec<(String, Expr)>,
    },
    /// Takes one way.
    Condition(Condition),
    /// Repeats steps.
    Loop(Loop),
    /// Runs steps side by side.
    Parallel(Parallel),
    /// Waits.
    Wait(Wait),
    /// Sends an HTTP request.
    ApiCall(ApiCall),
    /// Posts JSON to a URL.
    Webhook(Webhook),
    /// Sends an event.
    Emit {
        /// Topic; may hold `{{ }}`.
        topic: Text,
        /// Data.
        data: Option<Template>,
    },
    /// Tells people.
    Notification(Notification),
    /// Starts another workflow.
    Workflow {
        /// Its name.
        workflow: Text,
        /// Its inputs.
        inputs: Option<Template>,
        /// Whether this step ends with the child (the default) or at once.
        wait: bool,
    },
    /// Gives an agent a task.
    AgentTask(AgentTask),
    /// Sends a mail.
    Email(Email),
    /// Uses a pin of the machine.
    Gpio(Gpio),
}

/// `agent_task`.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentTask {
    /// The agent's name.
    pub agent: Text,
    /// What is to be done.
    pub task: Template,
    /// What belongs to it.
    pub context: Option<Template>,
    /// JSON Schema of the answer.
    pub output_schema: Option<serde_json::Value>,
    /// Narrows the agent's.
    pub budget: Option<Template>,
    /// The conversation that it goes on with.
    pub thread: Option<Text>,
}

/// `transform`, by its `type` key.
#[derive(Clone, Debug, PartialEq)]
pub enum Transform {
    /// Text from a template; `input` is in scope.
    Template { template: Text, input: Option<Template> },
    /// The value of an expression.
    Expression { expr: Expr, input: Option<Template> },
    /// Text to JSON.
    JsonParse { input: Template },
    /// JSON to text.
    JsonStringify { input: Template, pretty: bool },
    /// Those items for which `where` holds.
    Filter { input: Items, condition: Expr },
    /// `expr` of each item.
    Map { input: Items, expr: Expr },
    /// By a key, stable.
    Sort { input: Items, by: Option<Expr>, descending: bool },
    /// Lists by key.
    Group { input: Items, by: Expr, collect: Option<Expr> },
    /// Objects into one.
    Merge { inputs: Items, strategy: MergeStrategy },
    /// Regular expression over text.
    Regex { input: Template, pattern: Text, mode: RegexMode, replacement: Option<Text> },
    /// Hex digest of text.
    Hash { input: Template, algorithm: HashAlgorithm },
    /// Keyed hex digest of text, by HMAC-SHA256.
    Hmac { input: Template, secret: String },
    /// CSV text to a list of objects, or of lists without a header.
    CsvParse { input: Template, header: bool, delimiter: u8, infer: bool },
    /// A list of objects or lists to CSV text.
    CsvStringify { input: Items, columns: Vec<String>, delimiter: u8 },
    /// Text to Base64 or back.
    Base64 { input: Template, decode: bool, url_safe: bool },
    /// Times.
    Date { input: Template, mode: DateMode },
    /// What a path (RFC 9535) leads to: all of it, or the first.
    JsonPath { input: Template, path: Text, many: bool },
}

/// What `date` does.
#[derive(Clone, Debug, PartialEq)]
pub enum DateMode {
    /// Text to RFC 3339 in UTC.
    Parse { format: Option<Text> },
    /// A time to text.
    Format { format: Option<Text>, timezone: Option<Text> },
    /// A time and a duration to RFC 3339 in UTC.
    Add { amount: Text },
    /// Seconds from the first of two times to the second.
    Diff,
}

/// How `merge` treats keys that are on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeStrategy {
    /// The later wins.
    Shallow,
    /// Objects are merged inside, else the later wins.
    Deep,
    /// RFC 7396: null removes.
    Patch,
}

/// What `regex` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegexMode {
    /// The first match with its groups, or null.
    Match,
    /// Every match's text.
    FindAll,
    /// The text with matches replaced.
    Replace,
    /// The text between matches.
    Split,
}

/// What `hash` computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// SHA-256.
    Sha256,
    /// BLAKE3.
    Blake3,
}

/// `condition`: two ways, or one of many.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// `if`, `then`, `else`
    If { condition: Expr, then: Vec<Step>, otherwise: Vec<Step> },
    /// `switch`, `cases`, `default`. Case names are compared with the value as text.
    Switch { value: Expr, cases: Vec<(String, Vec<Step>)>, default: Vec<Step> },
}

/// `loop`.
#[derive(Clone, Debug, PartialEq)]
pub struct Loop {
    /// What it goes over.
    pub over: LoopOver,
    /// What is repeated.
    pub steps: Vec<Step>,
    /// Name of the item in scope; `item` unless said.
    pub item_name: String,
    /// At once, from 1. More than 1 only for `for_each` and `times`.
    pub max_concurrency: u32,
    /// A tighter bound than [`crate::limits::LOOP_ITERATIONS_MAX`].
    pub max_iterations: u32,
    /// Whether a failed iteration leaves the others running; its result is then null.
    pub continue_on_error: bool,
    /// An iteration's result; `None` = its last step's output.
    pub collect: Option<Expr>,
}

/// What a loop goes over.
#[derive(Clone, Debug, PartialEq)]
pub enum LoopOver {
    /// A list, the keys and values of an object, or a range.
    ForEach(Items),
    /// As long as it holds, tested before.
    While(Expr),
    /// Until it holds, tested after.
    Until(Expr),
    /// So many times.
    Times(Expr),
}

/// `parallel`.
#[derive(Clone, Debug, PartialEq)]
pub struct Parallel {
    /// Each branch is a sequence; `steps` become one branch each, named by the step.
    pub branches: Vec<Branch>,
    /// At once.
    pub max_concurrency: u32,
    /// When it is done.
    pub join: Join,
    /// Whether the first failure cancels the others (the default) or waits for them.
    pub cancel_others: bool,
}

/// One branch of `parallel`.
#[derive(Clone, Debug, PartialEq)]
pub struct Branch {
    /// Key of its result.
    pub name: String,
    /// In order.
    pub steps: Vec<Step>,
    /// Names of branches that come before (`depends_on` of a step in `steps`).
    pub depends_on: Vec<String>,
}

/// When `parallel` is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// All branches.
    All,
    /// The first that succeeds; the others are cancelled.
    Any,
    /// So many that succeed.
    Quorum(u32),
}

/// `wait`.
#[derive(Clone, Debug, PartialEq)]
pub struct Wait {
    /// What for.
    pub target: WaitFor,
    /// Whether running out of the step's `timeout` fails the step (the default) or ends the wait.
    pub continue_on_timeout: bool,
}

/// What a wait waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum WaitFor {
    /// Some time: `90s`, or a template that gives a duration.
    Duration(Text),
    /// A time (RFC 3339) or a template that gives one.
    Until(Text),
    /// A signal by name.
    Signal {
        /// Its name; may hold `{{ }}`.
        name: Text,
        /// JSON Schema of its data.
        schema: Option<serde_json::Value>,
    },
    /// An event of the host's bus or of other runs.
    Event {
        /// A topic or a pattern (`*` one segment, a last `#` the rest); may hold `{{ }}`.
        topic: Text,
        /// Which of them; `event` is in scope.
        when: Option<Expr>,
    },
    /// A person's decision.
    Approval(WaitApproval),
}

/// `approval` of `wait`.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitApproval {
    /// The question; may hold `{{ }}`.
    pub message: Text,
    /// Names of those who may answer; empty = anybody.
    pub approvers: Vec<String>,
    /// What they may answer.
    pub actions: Vec<String>,
    /// What counts when `timeout` is over.
    pub default: Option<String>,
}

/// `api_call`.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiCall {
    /// Absolute URL, http or https.
    pub url: Text,
    /// In capitals: GET HEAD POST PUT PATCH DELETE OPTIONS.
    pub method: String,
    /// Appended to the URL; a map of scalars or lists of them.
    pub query: Option<Template>,
    /// A map of text.
    pub headers: Option<Template>,
    /// What is sent.
    pub body: Body,
    /// Status codes that are success: numbers, or classes as `2xx`. Empty = 2xx.
    pub expect_status: Vec<String>,
    /// JSON Schema of the reply's data.
    pub expect_schema: Option<serde_json::Value>,
    /// How the reply is read.
    pub response: ResponseAs,
    /// Of the reply, after decompression.
    pub max_bytes: Option<usize>,
    /// At most 3 hops.
    pub follow_redirects: bool,
    /// `idempotency: key`: the receiver honours `Idempotency-Key`, so a repeat is harmless.
    pub idempotent: bool,
    /// A credential.
    pub auth: Option<Auth>,
    /// Pages fetched one after another.
    pub pagination: Option<Pagination>,
}

/// `auth` of an `api_call`. Secrets are named, not written.
#[derive(Clone, Debug, PartialEq)]
pub enum Auth {
    /// `Authorization: Bearer`
    Bearer {
        /// The secret.
        secret: String,
    },
    /// `Authorization: Basic`
    Basic {
        /// `None`: the secret is `user:password`.
        user: Option<Text>,
        /// The secret.
        secret: String,
    },
    /// A header of its own.
    Header {
        /// Its name.
        name: String,
        /// The secret.
        secret: String,
    },
}

/// `pagination` of an `api_call`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pagination {
    /// How the next page is found.
    pub by: PageBy,
    /// Where in the data the items are; `None` = the data is their list.
    pub items: Option<String>,
    /// More is an error.
    pub max_pages: Option<u32>,
}

/// How the next page is found.
#[derive(Clone, Debug, PartialEq)]
pub enum PageBy {
    /// The `Link` header.
    Link,
    /// A path in the data to its URL.
    Next(String),
    /// A query parameter that counts.
    Page {
        /// Its name.
        parameter: String,
        /// The first page.
        start: u32,
    },
}

/// `email`.
#[derive(Clone, Debug, PartialEq)]
pub struct Email {
    /// An address or a list of them.
    pub to: Template,
    /// The same.
    pub cc: Option<Template>,
    /// The same; not in the message.
    pub bcc: Option<Template>,
    /// Where answers go.
    pub reply_to: Option<Text>,
    /// One line.
    pub subject: Text,
    /// As plain text.
    pub body: Option<Text>,
    /// As HTML.
    pub html: Option<Text>,
    /// A list of `{filename, content | json | base64, content_type}`.
    pub attachments: Option<Template>,
    /// The account in the configuration; `None` = the only one, or `default`.
    pub smtp: Option<String>,
}

/// Body of an `api_call`.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// None.
    Empty,
    /// As text.
    Text(Text),
    /// As JSON.
    Json(Template),
    /// As `application/x-www-form-urlencoded`; a map.
    Form(Template),
    /// As `multipart/form-data`; a map.
    Multipart(Template),
}

/// How a reply is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseAs {
    /// By its content type.
    Auto,
    /// As JSON, or the step fails.
    Json,
    /// As text.
    Text,
    /// As base64 text.
    Bytes,
}

/// `webhook`.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// Absolute URL.
    pub url: Text,
    /// JSON.
    pub payload: Option<Template>,
    /// A map of text.
    pub headers: Option<Template>,
    /// Secrets that sign; none: unsigned.
    pub secrets: Vec<String>,
    /// `delivery: outbox`: the step is done once the message is on disk.
    pub is_queued: bool,
}

/// Channels of `notification` that need no configuration.
pub const BUILT_IN_CHANNELS: [&str; 2] = ["gui", "event_bus"];

/// `notification`.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// What it says.
    pub message: Text,
    /// Above it.
    pub title: Option<Text>,
    /// `info`, `success`, `warning` or `error`.
    pub level: String,
    /// [`BUILT_IN_CHANNELS`], and names of the configuration.
    pub channels: Vec<String>,
}

/// `keep`: how long finished runs of a workflow are kept. `None` takes the configuration's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Keep {
    /// Those that completed.
    pub completed: Option<Duration>,
    /// Those that failed or were cancelled.
    pub failed: Option<Duration>,
    /// At most so many of all, the newest.
    pub max_runs: Option<u32>,
}

/// `gpio`.
#[derive(Clone, Debug, PartialEq)]
pub struct Gpio {
    /// Which pin.
    pub pin: super::Pin,
    /// `read`, `write`, `pulse`, `wait_edge` or `pwm`.
    pub action: &'static str,
    /// A level, or pwm's share of the time.
    pub value: Option<Template>,
    /// Of a pulse; of pwm, which goes on without it.
    pub duration: Option<Duration>,
    /// What `wait_edge` waits for.
    pub edge: Option<super::Edge>,
    /// Where the pin is after a pulse or pwm, instead of its configured safe level.
    pub safe_value: Option<bool>,
}
