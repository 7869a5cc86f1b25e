//! Every setting that has effect.
//!
//! Invariant: a default is of its key's kind (a test reads them all). A key is here or in [`super::known`], never in both.

use super::key::{Key, Kind};
use super::known::KNOWN;
use crate::limits;

/// Levels of the log.
pub const LEVELS: &[&str] = &["DEBUG", "INFO", "WARNING", "WARN", "ERROR", "CRITICAL"];

/// Beyond that, write a larger number of runs instead.
const TEN_YEARS_S: u64 = 3_650 * 86_400;

/// Every setting with effect, in the order people read them.
pub const KEYS: &[Key] = &[
    Key {
        path: "module.name",
        kind: Kind::Name,
        default: r#""chainbot""#,
        doc: "What this module calls itself in events and logs.",
    },
    Key {
        path: "module.data_dir",
        kind: Kind::Folder,
        default: r#""/var/lib/alex_os/chainbot""#,
        doc: "Everything that is written lies here. One process at a time uses it. \
              A relative path in a file counts from the file's folder.",
    },
    Key {
        path: "module.log_level",
        kind: Kind::Choice(LEVELS),
        default: r#""INFO""#,
        doc: "The least important messages that are logged, unless logging.level says otherwise.",
    },
    Key {
        path: "database.url",
        kind: Kind::DatabaseUrl,
        default: r#""sqlite:chainbot.db""#,
        doc: "The database: `sqlite:` and a path relative to the data folder.",
    },
    Key {
        path: "api.host",
        kind: Kind::Address,
        default: r#""127.0.0.1""#,
        doc: "The address that the API listens on. Anything but loopback also needs api.insecure_lan.",
    },
    Key {
        path: "api.port",
        kind: Kind::Port,
        default: "8000",
        doc: "The port of the API. 0 takes any free one (server.json in the data folder names it); \
              null opens none, and the host forwards requests.",
    },
    Key {
        path: "api.timeout",
        kind: Kind::Duration { min_s: 1, max_s: 300 },
        default: "30",
        doc: "How long one request may take.",
    },
    Key {
        path: "api.rate_limit_per_token",
        kind: Kind::Int { min: 0, max: 1_000_000 },
        default: "60",
        doc: "Requests a second that one token may make; 0 = no limit.",
    },
    Key {
        path: "api.rate_limit_burst",
        kind: Kind::Int { min: 1, max: 1_000_000 },
        default: "200",
        doc: "Requests that one token may make at once before the rate counts.",
    },
    Key {
        path: "api.insecure_lan",
        kind: Kind::Bool,
        default: "false",
        doc: "Allows api.host to be more than loopback although the API speaks plain HTTP: \
              anyone on the network can read the token.",
    },
    Key {
        path: "api.trusted_proxies",
        kind: Kind::Addresses,
        default: "[]",
        doc: "Addresses of proxies. From these alone X-Forwarded-For and X-Forwarded-Prefix are believed on the port: for whom tries to sign in count, \
              and below which path links lie.",
    },
    Key {
        path: "security.access_token_expire_minutes",
        kind: Kind::Int { min: 1, max: 30 },
        default: "15",
        doc: "How long an access token lives. Its login's end ends it sooner.",
    },
    Key {
        path: "security.refresh_token_expire_days",
        kind: Kind::Int { min: 1, max: 365 },
        default: "7",
        doc: "How long a program's login lasts unless it renews its tokens. \
              A browser's ends after 30 idle minutes, and after 12 hours.",
    },
    Key {
        path: "security.password_min_length",
        kind: Kind::Int { min: 8, max: 128 },
        default: "8",
        doc: "The least a new password has, in characters.",
    },
    Key {
        path: "security.secret_key",
        kind: Kind::Secret,
        default: "null",
        doc: "What access tokens are signed with, for several nodes that share it: 32 characters or more, best a reference. \
              null uses a key that is made at the first start. After a change, access tokens are renewed by themselves.",
    },
    Key {
        path: "security.algorithm",
        kind: Kind::Choice(&["HS256"]),
        default: r#""HS256""#,
        doc: "How access tokens are signed. There is one way.",
    },
    Key {
        path: "workflow_engine.max_concurrent_workflows",
        kind: Kind::Int { min: 1, max: 10_000 },
        default: "10",
        doc: "Runs at work at once; others queue. A waiting run does not count.",
    },
    Key {
        path: "workflow_engine.max_queued",
        kind: Kind::Int { min: 1, max: limits::RUNS_QUEUED_MAX as u64 },
        default: "10000",
        doc: "Runs that may queue; a start beyond is refused.",
    },
    Key {
        path: "workflow_engine.retry_attempts",
        kind: Kind::Int { min: 0, max: 10 },
        default: "3",
        doc: "Tries of a step that may be repeated, the first included, when neither step nor definition says. \
              0 and 1 both mean a single try.",
    },
    Key {
        path: "workflow_engine.retry_delay",
        kind: Kind::Duration { min_s: 0, max_s: 300 },
        default: "5",
        doc: "The delay before the second try; it doubles from try to try.",
    },
    Key {
        path: "workflow_engine.cancel_grace",
        kind: Kind::Duration { min_s: 0, max_s: 3600 },
        default: "10",
        doc: "How long effects under way may go on in a run that is cancelled, before they are given up.",
    },
    Key {
        path: "workflow_engine.commit_delay_ms",
        kind: Kind::Int { min: 0, max: 1_000 },
        default: "0",
        doc: "How long a commit waits for others to share its write. \
              0 is fastest; 250 spares an SD card at the cost of latency.",
    },
    Key {
        path: "workflow_engine.constants",
        kind: Kind::Constants,
        default: "{}",
        doc: "Values that expressions see as `config.<name>`: {zone: north, limit_mm: 4}. No secrets: they are shown. A change counts from the next step on, also in runs under way; one step never sees a mix.",
    },
    Key {
        path: "egress.public",
        kind: Kind::Bool,
        default: "true",
        doc: "Whether steps may reach public addresses.",
    },
    Key {
        path: "egress.grants",
        kind: Kind::Grants,
        default: "[]",
        doc: "Hosts on loopback or the local network that steps may reach: \
              [{host: 192.168.1.20, ports: [8080], why: the heating}].",
    },
    Key {
        path: "alex_os.emit_prefixes",
        kind: Kind::Prefixes,
        default: r#"["chainbot.user.", "user."]"#,
        doc: "How topics of `emit` steps may begin.",
    },
    Key {
        path: "alex_os.queue_items",
        kind: Kind::Int { min: 1, max: limits::HOST_QUEUE_ITEMS_MAX },
        default: "1024",
        doc: "Events queued, and requests open, that the host handed over; beyond that it is asked to try again.",
    },
    Key {
        path: "alex_os.queue_bytes",
        kind: Kind::Int { min: 65_536, max: limits::HOST_QUEUE_BYTES_MAX },
        default: "16777216",
        doc: "Bytes of the events queued, and of the requests open.",
    },
    Key {
        path: "logging.level",
        kind: Kind::Choice(LEVELS),
        default: r#""INFO""#,
        doc: "The least important messages that are logged; beats module.log_level when both are set.",
    },
    Key {
        path: "logging.file",
        kind: Kind::File,
        default: "null",
        doc: "A file that the log is written to besides, without secrets. A relative path counts from the data folder.",
    },
    Key {
        path: "logging.max_size",
        kind: Kind::Int { min: 65_536, max: 1_073_741_824 },
        default: "10485760",
        doc: "Bytes after which logging.file is turned over.",
    },
    Key {
        path: "logging.backup_count",
        kind: Kind::Int { min: 1, max: 100 },
        default: "5",
        doc: "How many older ones of logging.file are kept beside it, as `.1`, `.2` and so on.",
    },
    Key {
        path: "email.accounts",
        kind: Kind::Accounts,
        default: "[]",
        doc: "Accounts that `email` steps send over: [{name: main, host: smtp.example.com, port: 587, tls: starttls, \
              user: bot, password: smtp_password, from: bot@example.com}]. `password` names a secret.",
    },
    Key {
        path: "websocket.max_connections",
        kind: Kind::Int { min: 10, max: 1_000 },
        default: "100",
        doc: "WebSockets open at once; one user may have 64.",
    },
    Key {
        path: "websocket.ping_interval",
        kind: Kind::Duration { min_s: 5, max_s: 300 },
        default: "30",
        doc: "Between two pings to a WebSocket client.",
    },
    Key {
        path: "websocket.ping_timeout",
        kind: Kind::Duration { min_s: 1, max_s: 60 },
        default: "10",
        doc: "A WebSocket client that answers no ping, or takes nothing of what waits for it, is closed after this.",
    },
    Key {
        path: "websocket.close_timeout",
        kind: Kind::Duration { min_s: 1, max_s: 60 },
        default: "10",
        doc: "How long a WebSocket client has to answer the end of the connection.",
    },
    Key {
        path: "websocket.max_message_size",
        kind: Kind::Int { min: 1_024, max: 10_485_760 },
        default: "1048576",
        doc: "A message of a WebSocket client, in bytes.",
    },
    Key {
        path: "retention.completed",
        kind: Kind::Duration { min_s: 0, max_s: TEN_YEARS_S },
        default: "2592000",
        doc: "How long a completed run is kept: 30 days.",
    },
    Key {
        path: "retention.failed",
        kind: Kind::Duration { min_s: 0, max_s: TEN_YEARS_S },
        default: "7776000",
        doc: "How long a failed run is kept: 90 days.",
    },
    Key {
        path: "retention.cancelled",
        kind: Kind::Duration { min_s: 0, max_s: TEN_YEARS_S },
        default: "2592000",
        doc: "How long a cancelled run is kept: 30 days.",
    },
    Key {
        path: "retention.max_runs",
        kind: Kind::Int { min: 0, max: 10_000_000 },
        default: "10000",
        doc: "Finished runs of one workflow that are kept at most, the newest ones.",
    },
    Key {
        path: "retention.archive_after",
        kind: Kind::Duration { min_s: 0, max_s: TEN_YEARS_S },
        default: "600",
        doc: "How long after its end a run's records are compressed into the archive. They read the same there.",
    },
    Key {
        path: "retention.idempotency_keys",
        kind: Kind::Duration { min_s: 60, max_s: TEN_YEARS_S },
        default: "604800",
        doc: "How long an Idempotency-Key is remembered: 7 days. A repeat after that is a new request.",
    },
    Key {
        path: "retention.outbox",
        kind: Kind::Duration { min_s: 60, max_s: TEN_YEARS_S },
        default: "2592000",
        doc: "How long messages of the outbox that were delivered or given up are kept: 30 days, the newest 1,000 of each.",
    },
    Key {
        path: "retention.audit",
        kind: Kind::Duration { min_s: 86_400, max_s: TEN_YEARS_S },
        default: "31536000",
        doc: "How long the audit log is kept: 365 days. It is dropped by whole segments of a hundred rows.",
    },
    Key {
        path: "backup.schedule",
        kind: Kind::Cron,
        default: "null",
        doc: "When a backup is made by itself: a cron expression in UTC, such as `17 3 * * *`. One that was missed is made after the start.",
    },
    Key {
        path: "backup.keep",
        kind: Kind::Int { min: 1, max: 365 },
        default: "7",
        doc: "How many backups of the schedule are kept, the newest ones. Those that somebody asked for stay until they are deleted.",
    },
    Key {
        path: "backup.dir",
        kind: Kind::Folder,
        default: r#""backups""#,
        doc: "Where backups go: a folder on another disk is best. A relative path counts from the data folder.",
    },
    Key {
        path: "monitoring.health_check_interval",
        kind: Kind::Duration { min_s: 5, max_s: 300 },
        default: "30",
        doc: "How often machine and components are looked at. Three looks in a row raise an alert or clear it.",
    },
    Key {
        path: "monitoring.alerting.enabled",
        kind: Kind::Bool,
        default: "true",
        doc: "Whether thresholds count: over one, health falls and the event chainbot.health.changed is sent, once a change.",
    },
    Key {
        path: "monitoring.alerting.cpu_threshold",
        kind: Kind::Int { min: 50, max: 100 },
        default: "80",
        doc: "Work of the processors that raises an alert, in percent.",
    },
    Key {
        path: "monitoring.alerting.memory_threshold",
        kind: Kind::Int { min: 50, max: 100 },
        default: "80",
        doc: "Memory in use that raises an alert, in percent.",
    },
    Key {
        path: "monitoring.alerting.disk_threshold",
        kind: Kind::Int { min: 50, max: 100 },
        default: "90",
        doc: "Use of the data folder's disk that raises an alert, in percent.",
    },
    Key {
        path: "monitoring.alerting.error_rate_threshold",
        kind: Kind::Int { min: 1, max: 100 },
        default: "5",
        doc: "Requests answered with 5xx that raise an alert, in percent of at least 20 between two looks.",
    },
    Key {
        path: "monitoring.traces.endpoint",
        kind: Kind::Url,
        default: "null",
        doc: "A collector of OpenTelemetry, such as `http://127.0.0.1:4318`: it is sent one trace a run, as OTLP in JSON. null sends none.",
    },
    Key {
        path: "monitoring.traces.token",
        kind: Kind::Key,
        default: "null",
        doc: "The secret that the collector is sent as a bearer token, if it wants one.",
    },
    Key {
        path: "raspberry_pi.hardware_monitoring",
        kind: Kind::Bool,
        default: "true",
        doc: "Whether temperature and throttling are looked at. On other machines there may be nothing to see.",
    },
    Key {
        path: "raspberry_pi.temperature_threshold",
        kind: Kind::Int { min: 50, max: 100 },
        default: "70",
        doc: "Temperature of the processor that raises an alert, in degrees Celsius.",
    },
    Key {
        path: "models.default",
        kind: Kind::NameOrNone,
        default: "null",
        doc: "The model that `default` means. null: the only one there is, or that of gpt_integration.default_provider.",
    },
    Key {
        path: "models.providers",
        kind: Kind::Providers,
        default: "{}",
        doc: "Servers of models, by name: {local: {kind: openai, base_url: \"http://127.0.0.1:8080/v1\"}}, with kind openai (which most servers \
              speak), anthropic, ollama or scripted. `api_key` names a secret. A server of the local network is opened for models by being named \
              here, and for nothing else.",
    },
    Key {
        path: "models.models",
        kind: Kind::Models,
        default: "{}",
        doc: "Models, by name: {home: {provider: local, model: qwen2.5-3b, context: 8192, price: {input: 0, output: 0}}}. Prices are for a million tokens.",
    },
    Key {
        path: "models.fallback",
        kind: Kind::Fallback,
        default: "{}",
        doc: "Models that are asked in the place of another, in order, when its server fails: {smart: [home]}.",
    },
    Key {
        path: "agent_management.max_agents",
        kind: Kind::Int { min: 1, max: 200 },
        default: "50",
        doc: "Live agents of all types together; one more is refused.",
    },
    Key {
        path: "agent_management.agent_timeout",
        kind: Kind::Duration { min_s: 1, max_s: 86_400 },
        default: "300",
        doc: "Working time of one task, when neither agent nor task says. Waiting for people does not count.",
    },
    Key {
        path: "agent_management.agent_idle_timeout",
        kind: Kind::Duration { min_s: 0, max_s: 31_536_000 },
        default: "0",
        doc: "Agents without a task for so long are terminated, unless they are `persistent`. 0 = never.",
    },
    Key {
        path: "agent_management.agent_cleanup_interval",
        kind: Kind::Duration { min_s: 1, max_s: 86_400 },
        default: "600",
        doc: "Between two looks for agents that were idle too long.",
    },
    Key {
        path: "agent_management.max_agent_memory",
        kind: Kind::Int { min: 1, max: 4096 },
        default: "512",
        doc: "MB that one agent may hold at work, as ChainBot counts them; the smaller of this and its type's memory_limit counts.",
    },
    Key {
        path: "agent_management.daily_budget.tokens",
        kind: Kind::Int { min: 0, max: 1_000_000_000_000 },
        default: "0",
        doc: "Tokens that all agents together may use of models in a day of UTC. A call that could take more is not made. 0 = no bound.",
    },
    Key {
        path: "agent_management.daily_budget.cost",
        kind: Kind::Amount,
        default: "0.0",
        doc: "What all agents together may cost in a day, in the currency of the models' prices. 0 = no bound.",
    },
    Key {
        path: "agent_management.daily_budget_per_owner.tokens",
        kind: Kind::Int { min: 0, max: 1_000_000_000_000 },
        default: "0",
        doc: "Tokens a day of the agents of each owner. 0 = no bound.",
    },
    Key {
        path: "agent_management.daily_budget_per_owner.cost",
        kind: Kind::Amount,
        default: "0.0",
        doc: "What the agents of each owner may cost a day. 0 = no bound.",
    },
    Key {
        path: "agent_management.agent_types.assistant.max_instances",
        kind: Kind::Int { min: 0, max: 200 },
        default: "20",
        doc: "Live assistants.",
    },
    Key {
        path: "agent_management.agent_types.data_processor.max_instances",
        kind: Kind::Int { min: 0, max: 200 },
        default: "15",
        doc: "Live data processors.",
    },
    Key {
        path: "agent_management.agent_types.data_processor.memory_limit",
        kind: Kind::Int { min: 1, max: 2048 },
        default: "128",
        doc: "MB of rows that one data processor may hold at once. More, and its task fails and says so.",
    },
    Key {
        path: "agent_management.agent_types.api.max_instances",
        kind: Kind::Int { min: 0, max: 200 },
        default: "10",
        doc: "Live api agents.",
    },
    Key {
        path: "agent_management.agent_types.workflow.max_instances",
        kind: Kind::Int { min: 0, max: 200 },
        default: "5",
        doc: "Live workflow agents.",
    },
    Key {
        path: "agent_management.presets",
        kind: Kind::Presets,
        default: "{}",
        doc: "Presets of agents, by name; general_assistant, code_assistant, creative_writer and analyst are there already, and what is said of \
              them here replaces what they have.",
    },
    Key {
        path: "gpt_integration.enabled",
        kind: Kind::Bool,
        default: "true",
        doc: "Whether `openai` and `maclink` of this section are servers of models beside those of `models`, each with one model of the same name.",
    },
    Key {
        path: "gpt_integration.default_provider",
        kind: Kind::NameOrNone,
        default: r#""openai""#,
        doc: "The model that `default` means when models.default does not say, if it is there.",
    },
    Key {
        path: "gpt_integration.openai.enabled",
        kind: Kind::Bool,
        default: "true",
        doc: "Whether it is used, once it has a key.",
    },
    Key {
        path: "gpt_integration.openai.api_key",
        kind: Kind::Key,
        default: "null",
        doc: "The secret that is OpenAI's key, for api.openai.com. null: there is no provider `openai`.",
    },
    Key {
        path: "gpt_integration.openai.default_model",
        kind: Kind::Line,
        default: r#""gpt-4o""#,
        doc: "The model, as OpenAI spells it.",
    },
    Key {
        path: "gpt_integration.openai.max_tokens",
        kind: Kind::Int { min: 1, max: 100_000 },
        default: "2048",
        doc: "Tokens of one reply, at most.",
    },
    Key {
        path: "gpt_integration.openai.temperature",
        kind: Kind::Temperature,
        default: "0.7",
        doc: "How words are drawn, unless the agent says.",
    },
    Key {
        path: "gpt_integration.openai.timeout",
        kind: Kind::Duration { min_s: 1, max_s: 3_600 },
        default: "30",
        doc: "How long the first word may take.",
    },
    Key {
        path: "gpt_integration.openai.max_retries",
        kind: Kind::Int { min: 0, max: 10 },
        default: "3",
        doc: "Tries of one call after the first.",
    },
    Key {
        path: "gpt_integration.openai.rate_limit_requests_per_minute",
        kind: Kind::Int { min: 0, max: 1_000_000 },
        default: "60",
        doc: "Requests in a minute; more wait. 0 = no limit.",
    },
    Key {
        path: "gpt_integration.openai.rate_limit_tokens_per_minute",
        kind: Kind::Int { min: 0, max: 1_000_000_000 },
        default: "150000",
        doc: "Tokens in a minute, prompts and replies; more wait. 0 = no limit.",
    },
    Key {
        path: "gpt_integration.maclink.enabled",
        kind: Kind::Bool,
        default: "true",
        doc: "Whether it is used, once it has an address.",
    },
    Key {
        path: "gpt_integration.maclink.macbook_url",
        kind: Kind::Url,
        default: "null",
        doc: "A server of models on another machine, which speaks OpenAI's interface. null: there is no provider `maclink`.",
    },
    Key {
        path: "gpt_integration.maclink.api_key",
        kind: Kind::Key,
        default: "null",
        doc: "The secret that is its key, if it wants one.",
    },
    Key {
        path: "gpt_integration.maclink.default_model",
        kind: Kind::Line,
        default: r#""llama2""#,
        doc: "The model, as the server spells it.",
    },
    Key {
        path: "gpt_integration.maclink.max_tokens",
        kind: Kind::Int { min: 1, max: 4_095 },
        default: "2048",
        doc: "Tokens of one reply, at most.",
    },
    Key {
        path: "gpt_integration.maclink.temperature",
        kind: Kind::Temperature,
        default: "0.7",
        doc: "How words are drawn, unless the agent says.",
    },
    Key {
        path: "gpt_integration.maclink.timeout",
        kind: Kind::Duration { min_s: 1, max_s: 3_600 },
        default: "60",
        doc: "How long the first word may take.",
    },
    Key {
        path: "gpt_integration.maclink.max_retries",
        kind: Kind::Int { min: 0, max: 10 },
        default: "3",
        doc: "Tries of one call after the first.",
    },
    Key {
        path: "gpt_integration.agent_brain.context_window_size",
        kind: Kind::Int { min: 1, max: 1_000 },
        default: "10",
        doc: "Exchanges of a conversation that are in a prompt, at most: what a person says and all that follows until they speak again.",
    },
    Key {
        path: "gpt_integration.agent_brain.conversation_history_limit",
        kind: Kind::Int { min: 1, max: 200 },
        default: "50",
        doc: "Messages of a conversation that are read for its window.",
    },
    Key {
        path: "gpt_integration.agent_brain.fallback_provider",
        kind: Kind::NameOrNone,
        default: "null",
        doc: "The model that is asked in the place of the default one when its server fails, where models.fallback does not say.",
    },
    Key {
        path: "notification.channels",
        kind: Kind::Channels,
        default: "{}",
        doc: "Channels that `notification` steps may name besides `gui` and `event_bus`: {phone: {kind: ntfy, topic: my-garden}}, with \
              kind ntfy, telegram or mqtt. Tokens and passwords are names of secrets.",
    },
    Key {
        path: "gpio.pins",
        kind: Kind::Pins,
        default: "{}",
        doc: "Pins that `gpio` steps may use, by name: {pump: {pin: 17, mode: output, safe: 0, max_on: 10m}, \
              door: {pin: 24, mode: input, bias: pull_up, debounce: 50ms}}. No other pin can be used.",
    },
    Key {
        path: "mcp.servers",
        kind: Kind::McpServers,
        default: "{}",
        doc: "Servers of the Model Context Protocol, by name. A program, over its pipes: {clock: {command: /usr/bin/clock-mcp, args: [], env: {}, \
              tools: {now: \"sha256:...\"}, classes: {now: read_only}, timeout: 60s}}; nothing else is ever started. Or one that runs already, over \
              HTTP: {house: {url: \"https://house.example/mcp\", token: \"${credential:house}\", tools: {...}}}; its address needs no grant.",
    },
];

/// The setting at a path.
pub fn key(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Every section, with and without effect, in order, each once.
pub fn sections() -> Vec<&'static str> {
    let mut sections: Vec<&'static str> = Vec::new();
    for path in KEYS.iter().map(|key| key.path).chain(KNOWN.iter().copied()) {
        let section = path.split('.').next().unwrap_or(path);
        if !sections.contains(&section) {
            sections.push(section);
        }
    }
    sections
}

/// Whether keys lie below a path, so that it is a map and no value.
pub fn is_group(path: &str) -> bool {
    let lies_below = |other: &str| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
    KEYS.iter().any(|key| lies_below(key.path))
        || KNOWN.iter().any(|known| lies_below(known.trim_end_matches(".*")))
}
