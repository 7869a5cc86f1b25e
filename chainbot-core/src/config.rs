//! The configuration: defaults < file < environment < what the host decides, checked as a whole.
//!
//! [`Config::load`] takes what a host hands over, `{"file": path?, "data_dir": path?, "values": {..}}` or nothing,
//! and gives typed sections or one CB-0500 with every problem. Keys without effect in this version are warnings;
//! unknown keys are errors. Reading has no effect but opening the file. One table ([`table`]) describes every
//! setting; schema, default file and help are made from it.

mod account;
mod change;
mod channels;
mod check;
mod fields;
mod key;
pub mod known;
mod mcp;
mod models;
mod old_models;
mod page;
mod pins;
mod read;
mod reference;
mod render;
mod source;
pub mod table;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

pub use change::{Changes, is_live};
pub use key::{Key, Kind};
pub use page::fill as fill_page;
pub use reference::{CREDENTIALS_DIRECTORY, Reference, Source};
pub use source::{ENV_PREFIX, Origin};

use crate::agent::ledger::DayLimits;
use crate::agent::tool::mcp::McpWay;
use crate::error::{Diagnostic, Result};
use crate::observe::LogFileOptions;
/// Section `retention`.
pub use crate::port::upkeep::Retention;

/// The file that is read when the host names none, if it exists.
pub const DEFAULT_FILE: &str = "/etc/alex_os/modules/chainbot/config.yaml";

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name, data folder, log level.
    pub module: Module,
    /// The store.
    pub database: Database,
    /// The port and its bounds.
    pub api: Api,
    /// How people sign in.
    pub security: Security,
    /// How runs are worked on.
    pub workflow_engine: WorkflowEngine,
    /// How many agents, and how long their tasks.
    pub agents: AgentManagement,
    /// What steps may reach.
    pub egress: Egress,
    /// The host's bus.
    pub alex_os: AlexOs,
    /// The log.
    pub logging: Logging,
    /// Mail.
    pub email: Email,
    /// WebSockets.
    pub websocket: WebSocket,
    /// What is kept for how long.
    pub retention: Retention,
    /// Backups.
    pub backup: Backup,
    /// Channels of notifications.
    pub notification: Notification,
    /// Pins.
    pub gpio: Gpio,
    /// Section `mcp`.
    pub mcp: Mcp,
    /// When health is told to have changed.
    pub monitoring: Monitoring,
    /// Traces.
    pub traces: TraceSettings,
    /// What is looked at on a Pi.
    pub raspberry_pi: RaspberryPi,
    /// Sections `models` and `gpt_integration`.
    pub models: crate::agent::models::ModelSettings,
    /// What agents are unless they say otherwise.
    pub presets: Vec<crate::agent::preset::Preset>,
    settings: Vec<Setting>,
    warnings: Vec<Diagnostic>,
    file: Option<PathBuf>,
}

/// Section `module`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// What the module calls itself.
    pub name: String,
    /// Absolute. Everything that is written lies here.
    pub data_dir: PathBuf,
    /// See [`Config::log_level`], which also minds `logging.level`.
    pub log_level: log::LevelFilter,
}

/// Section `database`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// The SQLite file, relative to the data folder.
    pub file: PathBuf,
}

/// Section `api`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// The address to listen on.
    pub host: IpAddr,
    /// `None` = no port of its own. `Some(0)` = any free one.
    pub port: Option<u16>,
    /// How long one request may take.
    pub timeout: Duration,
    /// Requests a second and token; 0 = no limit.
    pub rate_limit_per_token: u32,
    /// Requests at once before the rate counts.
    pub rate_limit_burst: u32,
    /// Plain HTTP beyond loopback was asked for.
    pub insecure_lan: bool,
    /// Who is believed about where a request comes from.
    pub trusted_proxies: Vec<IpAddr>,
}

/// Section `websocket`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocket {
    /// Open at once.
    pub max_connections: usize,
    /// Between two pings.
    pub ping_interval: Duration,
    /// For the answer to one.
    pub ping_timeout: Duration,
    /// For the answer to the end.
    pub close_timeout: Duration,
    /// Of a client's message, in bytes.
    pub max_message_size: usize,
}

/// Section `security`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    /// An access token's life.
    pub access_token: Duration,
    /// How long a program's login lasts.
    pub refresh_token: Duration,
    /// The least a new password has, in characters.
    pub password_chars_min: usize,
    /// What access tokens are signed with; `None`: a key that is made.
    pub secret_key: Option<Source>,
}

/// Section `workflow_engine`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowEngine {
    /// Runs at work at once.
    pub max_concurrent_workflows: usize,
    /// Runs that may queue.
    pub max_queued: usize,
    /// Tries of a repeatable step, the first included; at least 1.
    pub retry_attempts: u32,
    /// Before the second try.
    pub retry_delay: Duration,
    /// How long effects under way may go on in a cancelled run.
    pub cancel_grace: Duration,
    /// `config` in expressions.
    pub constants: crate::engine::Constants,
    /// How long a commit waits for others.
    pub commit_delay: Duration,
}

/// Section `agent_management`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentManagement {
    /// Live agents of all types together.
    pub max_agents: usize,
    /// Working time of one task.
    pub agent_timeout: Duration,
    /// Live agents of each type, in the order of [`crate::task::AgentKind::ALL`].
    pub max_of: [usize; 4],
    /// Without a task for so long an agent is terminated; zero is never.
    pub idle_timeout: Duration,
    /// Between two looks for those.
    pub cleanup_interval: Duration,
    /// What all of them, and those of each owner, may use in a day.
    pub day: DayLimits,
    /// Bytes of rows of one data processor.
    pub data_bytes: usize,
    /// Exchanges of a conversation in a prompt, and messages of it that are read for them.
    pub window: (u32, u32),
}

/// Section `egress`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Egress {
    /// Whether public addresses may be reached.
    pub public: bool,
    /// What may be reached on loopback and the local network.
    pub grants: Vec<Grant>,
}

/// One host that steps may reach although it is not public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// A name or an address, lower case, without brackets.
    pub host: String,
    /// At least one.
    pub ports: Vec<u16>,
    /// For whoever reads the file later.
    pub why: String,
}

/// Section `alex_os`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlexOs {
    /// How topics of `emit` steps may begin.
    pub emit_prefixes: Vec<String>,
    /// Events queued, and requests open, from the host.
    pub queue_items: usize,
    /// Their bytes, for each of the two.
    pub queue_bytes: usize,
}

/// Section `logging`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// Where the log is written besides.
    pub file: Option<LogFileOptions>,
    /// See [`Config::log_level`].
    pub level: log::LevelFilter,
}

/// Section `email`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    /// Accounts that mail is sent over.
    pub accounts: Vec<Account>,
}

/// One mail account. The password is a secret's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// What steps call it.
    pub name: String,
    /// Name or address of the server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the way there is kept private.
    pub tls: crate::net::MailTls,
    /// Who signs in.
    pub user: Option<String>,
    /// The secret that is the password.
    pub password: Option<String>,
    /// Sender of every mail.
    pub from: String,
}

/// Section `backup`.
#[derive(Clone, Debug)]
pub struct Backup {
    /// When, in UTC; `None`: only when somebody asks.
    pub schedule: Option<crate::schedule::Schedule>,
    /// Of those that the schedule made.
    pub keep: usize,
    /// Where. Absolute.
    pub dir: PathBuf,
}

/// Section `notification`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Channels that steps may name.
    pub channels: Vec<crate::step::Channel>,
}

/// Section `gpio`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpio {
    /// Pins that steps may use.
    pub pins: Vec<crate::gpio::PinSetup>,
}

/// Section `mcp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mcp {
    /// Servers whose tools agents may be granted.
    pub servers: Vec<crate::agent::tool::mcp::McpServer>,
}

/// Section `monitoring`. Thresholds are percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Monitoring {
    /// Between two looks.
    pub health_check_interval: Duration,
    /// Whether thresholds count.
    pub is_alerting: bool,
    /// Work of the processors.
    pub cpu_threshold: u32,
    /// Memory in use.
    pub memory_threshold: u32,
    /// Disk in use.
    pub disk_threshold: u32,
    /// Answers with 5xx.
    pub error_rate_threshold: u32,
}

/// Section `monitoring.traces`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceSettings {
    /// Of the collector; `None` sends no traces.
    pub endpoint: Option<String>,
    /// The secret that opens it, or a reference to one.
    pub token: Option<String>,
}

/// Section `raspberry_pi`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaspberryPi {
    /// Whether temperature and throttling are looked at.
    pub hardware_monitoring: bool,
    /// Degrees Celsius.
    pub temperature_threshold: u32,
}

/// One setting with its effective value.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// What it is.
    pub key: &'static Key,
    /// In normal form.
    pub value: Value,
    /// Who decided.
    pub origin: Origin,
}

/// The folder of a service's credentials, where systemd gave one.
pub fn credentials() -> Option<PathBuf> {
    std::env::var_os(CREDENTIALS_DIRECTORY).filter(|path| !path.is_empty()).map(PathBuf::from)
}

impl Config {
    /// Reads and checks everything. `document`: empty, or JSON `{"file": path?, "data_dir": path?, "values": {..}}`.
    /// Relative paths in it count from the working directory. CB-0500 lists every problem; a diagnostic with a
    /// line is about the file that the message names.
    pub fn load(document: &str) -> Result<Config> {
        // `vars` would panic on a variable of anyone's that is not Unicode.
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        });
        read::load(document, variables, Path::new(DEFAULT_FILE))
    }

    /// The least important messages to log: `logging.level` where it is set, else `module.log_level`.
    pub fn log_level(&self) -> log::LevelFilter {
        if self.origin("logging.level") == Some(&Origin::Default) {
            self.module.log_level
        } else {
            self.logging.level
        }
    }

    /// Who decided a setting; `None` when there is no such key.
    pub fn origin(&self, path: &str) -> Option<&Origin> {
        self.settings.iter().find(|setting| setting.key.path == path).map(|setting| &setting.origin)
    }

    /// Every setting with its value and who decided it, in the order of the table.
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// The file that was read.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What works and is probably not as meant: keys without effect.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// Secrets that the configuration has elsewhere, each with the hosts it may be sent to, in normal form.
    pub fn references(&self) -> Vec<(Reference, Vec<String>)> {
        let mail = self.email.accounts.iter().filter_map(|account| {
            let server = format!("{}:{}", account.host, account.port);
            Some((account.password.as_deref()?, server))
        });
        let channels = self.notification.channels.iter().filter_map(|channel| channel.way.secret());
        let models = self.models.providers.iter().filter_map(|provider| {
            let server = crate::net::Endpoint::of_url(&provider.base_url).ok()?;
            Some((provider.api_key.as_deref()?, server.entry()))
        });
        let traces = self.traces.endpoint.iter().filter_map(|endpoint| {
            let server = crate::net::Endpoint::of_url(endpoint).ok()?;
            Some((self.traces.token.as_deref()?, server.entry()))
        });
        let servers = self.mcp.servers.iter().map(|server| &server.way);
        let of_mcp = servers.flat_map(|way| match way {
            // Given to a program of this machine, and sent nowhere.
            McpWay::Program(program) => {
                program.env.iter().map(|(_, text)| (text.as_str(), String::new())).collect::<Vec<_>>()
            }
            McpWay::Address(at) => at
                .token
                .as_deref()
                .zip(crate::net::Endpoint::of_url(&at.url).ok())
                .map(|(token, server)| (token, server.entry()))
                .into_iter()
                .collect(),
        });
        let mut all: Vec<(Reference, Vec<String>)> = Vec::new();
        for (text, host) in mail.chain(channels).chain(models).chain(traces).chain(of_mcp) {
            let Ok(reference) = Reference::parse(text) else { continue };
            let host = crate::net::allowed_host(&host);
            match all.iter_mut().find(|(known, _)| *known == reference) {
                Some((_, hosts)) => hosts.extend(host),
                None => all.push((reference, host.into_iter().collect())),
            }
        }
        all
    }

    /// Problems with what references lead to; nothing of it is kept.
    pub fn check_references(&self) -> Vec<crate::error::Error> {
        let credentials = credentials();
        let signing =
            self.security.secret_key.as_ref().and_then(|key| key.signing_key(credentials.as_deref()).err());
        let others =
            self.references().into_iter().filter_map(|(one, _)| one.read(credentials.as_deref()).err());
        signing.into_iter().chain(others).collect()
    }

    /// The effective configuration as JSON, in the shape of the file. Holds no secret: a setting that is one is shown as
    /// `***` or as its reference, and a value of a key without effect is never kept.
    pub fn show(&self) -> Value {
        render::show(&self.settings)
    }

    /// JSON Schema (2020-12) of the file and of the host's `values`.
    pub fn schema() -> Value {
        render::schema()
    }

    /// The default configuration as a commented file.
    pub fn default_yaml() -> String {
        render::default_yaml()
    }
}
