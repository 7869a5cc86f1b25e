//! Brings the sources together: finds the file, reads all sources, checks what spans keys, fills the typed sections.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::key::Kind;
use super::reference::{Reference, Source};
use super::source::{Given, Origin, Reading, from_json};
use super::{
    AgentManagement, AlexOs, Api, Backup, Config, Database, Egress, Email, Gpio, Grant, Logging, Mcp, Module,
    Monitoring, Notification, RaspberryPi, Retention, Security, Setting, TraceSettings, WebSocket,
    WorkflowEngine, table,
};
use crate::agent::ledger::{DayLimits, Most};
use crate::agent::models::ModelSettings;
use crate::agent::preset::Preset;
use crate::agent::provider::Scripted;
use crate::error::code::config as code;
use crate::error::{Diagnostic, Error, Result, Severity, similar};
use crate::limits::CONFIG_BYTES_MAX;
use crate::model::Pos;
use crate::observe::LogFileOptions;
use crate::schedule::Schedule;

/// Stands for a value that is not shown.
const HIDDEN: &str = "***";

/// What a host hands over.
#[derive(Default)]
struct Handed {
    file: Option<PathBuf>,
    data_dir: Option<PathBuf>,
    values: Option<Value>,
}

/// Reads everything. Apart from [`Config::load`] so that tests give their own environment and default file.
pub(super) fn load(
    document: &str,
    variables: impl Iterator<Item = (String, String)>,
    default_file: &Path,
) -> Result<Config> {
    let handed = handed(document)?;
    let mut reading = Reading::default();
    let file = file(&handed, default_file)?;
    if let Some((path, text)) = &file {
        read_file(&mut reading, path, text);
    }
    reading.environment(variables);
    if let Some(values) = &handed.values {
        reading.tree(&from_json(values), &Origin::Host);
    }
    let path = file.map(|(path, _)| path);
    place_data_dir(&mut reading, &handed, path.as_deref());
    let host_pos = reading.values.get("api.host").map_or(Pos::default(), |given| given.pos);
    let secret_key =
        reading.values.get("security.secret_key").and_then(|given| given.value.as_str()).map(Source::of);
    let places: BTreeMap<&'static str, Pos> =
        reading.values.iter().map(|(path, given)| (*path, given.pos)).collect();
    let settings = merge(&mut reading);
    check_across(&mut reading, &settings, host_pos);
    let agents = agents(&mut reading, &settings, &places, path.as_deref());
    let (errors, warnings): (Vec<_>, Vec<_>) =
        reading.diagnostics.into_iter().partition(|d| d.severity == Severity::Error);
    if errors.is_empty() {
        Ok(typed(settings, secret_key, agents, warnings, path))
    } else {
        Err(invalid(errors, path.as_deref()))
    }
}

fn invalid(errors: Vec<Diagnostic>, file: Option<&Path>) -> Error {
    let count = match errors.len() {
        1 => "1 problem".to_owned(),
        n => format!("{n} problems"),
    };
    let of_file = file.filter(|_| errors.iter().any(|error| error.pos.line > 0));
    let place = of_file.map_or_else(String::new, |path| format!(" in {}", path.display()));
    let first = errors.first().map_or_else(String::new, |error| {
        let line = if error.pos.line > 0 { format!("line {}: ", error.pos.line) } else { String::new() };
        format!("; the first: {line}{}", error.message)
    });
    Error::new(&code::INVALID, format!("the configuration has {count}{place}{first}"))
        .help("`chainbot config check` shows each with its line")
        .diagnostics_of(errors)
}

fn handed(document: &str) -> Result<Handed> {
    let malformed = |message: String| {
        Error::new(&code::DOCUMENT, message)
            .help(r#"hand over {"file": path, "data_dir": path, "values": {..}}, each optional, or nothing"#)
    };
    if document.len() > CONFIG_BYTES_MAX {
        return Err(malformed(format!("the document is over {CONFIG_BYTES_MAX} bytes")));
    }
    if document.trim().is_empty() {
        return Ok(Handed::default());
    }
    let entries = match serde_json::from_str(document) {
        Ok(Value::Object(entries)) => entries,
        Ok(_) => return Err(malformed("the document is JSON and not an object".to_owned())),
        Err(error) => return Err(malformed(format!("the document is not JSON: {error}"))),
    };
    let mut handed = Handed::default();
    for (name, value) in entries {
        match (name.as_str(), value) {
            ("file" | "data_dir" | "values", Value::Null) => {}
            ("file", Value::String(path)) if !path.is_empty() => handed.file = Some(path.into()),
            ("data_dir", Value::String(path)) if !path.is_empty() => handed.data_dir = Some(path.into()),
            ("values", value @ Value::Object(_)) => handed.values = Some(value),
            ("file" | "data_dir", _) => return Err(malformed(format!("`{name}` takes a path"))),
            ("values", _) => return Err(malformed("`values` takes an object of sections".to_owned())),
            _ => {
                let message = format!("there is no field `{name}`");
                let hint = if table::sections().contains(&name.as_str()) {
                    format!("; put the section `{name}` into `values`")
                } else {
                    similar(&name, ["file", "data_dir", "values"])
                        .map_or_else(String::new, |field| format!("; did you mean `{field}`?"))
                };
                return Err(malformed(message + &hint));
            }
        }
    }
    Ok(handed)
}

/// The file's absolute path and text. A file that was asked for must be there, the default one need not.
fn file(handed: &Handed, default_file: &Path) -> Result<Option<(PathBuf, String)>> {
    let path = handed.file.as_deref().unwrap_or(default_file);
    let failed = |error: std::io::Error| {
        Error::new(&code::FILE, format!("{} cannot be read: {error}", path.display()))
            .help("check the path and who may read it")
            .because(error)
    };
    let path = std::path::absolute(path).map_err(failed)?;
    let opened = match std::fs::File::open(&path) {
        Err(error) if handed.file.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(None);
        }
        other => other.map_err(failed)?,
    };
    let mut bytes = Vec::new();
    opened.take(CONFIG_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > CONFIG_BYTES_MAX {
        return Err(failed(std::io::Error::other(format!("it is over {CONFIG_BYTES_MAX} bytes"))));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some((path, text))),
        Err(_) => Err(failed(std::io::Error::other("it is not UTF-8 text"))),
    }
}

fn read_file(reading: &mut Reading, path: &Path, text: &str) {
    // A file of comments only sets nothing, which is what a fresh default file is.
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return;
    }
    match crate::validate::document(text) {
        Ok(root) => reading.tree(&root, &Origin::File),
        Err(problems) => reading.diagnostics.extend(problems.into_iter().map(|problem| Diagnostic {
            code: code::SYNTAX.id,
            message: format!("{} does not parse: {}", path.display(), problem.message),
            ..problem
        })),
    }
}

/// Makes the data folder absolute: a file's path counts from the file, any other from the working directory.
fn place_data_dir(reading: &mut Reading, handed: &Handed, file: Option<&Path>) {
    const KEY: &str = "module.data_dir";
    if let Some(folder) = &handed.data_dir {
        let value = Value::from(folder.to_string_lossy().into_owned());
        if let Some(given) = reading.values.get(KEY)
            && given.origin == Origin::Host
            && given.value != value
        {
            let message = format!("`data_dir` is {value} and module.data_dir is {}", given.value);
            let hint = Some("hand over one of them".to_owned());
            return reading.say(&code::DOCUMENT, Pos::default(), KEY, &Origin::Host, &message, hint);
        }
        reading.values.insert(KEY, Given { value, origin: Origin::Host, pos: Pos::default() });
    }
    let Some(given) = reading.values.get_mut(KEY) else { return };
    let text = given.value.as_str().unwrap_or_default();
    let base = match (&given.origin, file.and_then(Path::parent)) {
        (Origin::File, Some(folder)) => folder.join(text),
        _ => PathBuf::from(text),
    };
    match std::path::absolute(&base) {
        Ok(path) => given.value = Value::from(path.to_string_lossy().into_owned()),
        Err(error) => {
            let (origin, pos) = (given.origin.clone(), given.pos);
            let message = format!("{} cannot be made absolute: {error}", base.display());
            reading.say(&code::VALUE, pos, KEY, &origin, &message, None);
        }
    }
}

fn merge(reading: &mut Reading) -> Vec<Setting> {
    table::KEYS
        .iter()
        .map(|key| match reading.values.remove(key.path) {
            Some(given) => {
                let hide = |value: Value| match (key.kind, value) {
                    (Kind::Secret, Value::String(text)) if !Reference::begins(&text) => Value::from(HIDDEN),
                    (_, value) => value,
                };
                Setting { key, value: hide(given.value), origin: given.origin }
            }
            None => {
                let value =
                    serde_json::from_str(key.default).expect("defaults are JSON: a test reads them all");
                Setting { key, value, origin: Origin::Default }
            }
        })
        .collect()
}

/// What no single key can say.
fn check_across(reading: &mut Reading, settings: &[Setting], host_pos: Pos) {
    let values = Values::new(settings);
    if !values.address("api.host").is_loopback() && !values.flag("api.insecure_lan") {
        let origin =
            settings.iter().find(|s| s.key.path == "api.host").map_or(Origin::Default, |s| s.origin.clone());
        let message = format!(
            "api.host {} is not loopback: anyone on the network could read the token",
            values.text("api.host")
        );
        let hint = "use 127.0.0.1 with a proxy that speaks TLS, or set api.insecure_lan: true".to_owned();
        reading.say(&code::NOT_ALLOWED, host_pos, "api.host", &origin, &message, Some(hint));
    }
}

/// Models, presets, and what is wrong between their keys.
fn agents(
    reading: &mut Reading,
    settings: &[Setting],
    places: &BTreeMap<&'static str, Pos>,
    file: Option<&Path>,
) -> (ModelSettings, Vec<Preset>) {
    let values = Values::new(settings);
    let (mut read, mut wrong) = (BTreeMap::new(), super::models::Across::new());
    let folder = file.and_then(Path::parent).unwrap_or(Path::new("."));
    for (provider, path) in super::models::scripts(values.get("models.providers")) {
        match script(&folder.join(path)) {
            Ok(turns) => drop(read.insert(provider.to_owned(), turns)),
            Err(error) => {
                let hint = error.remedy().unwrap_or("correct the file").to_owned();
                wrong.push((
                    "models.providers",
                    format!("the script of `{provider}`: {}", error.message()),
                    hint,
                ));
            }
        }
    }
    let (models, presets, across) = super::models::read(|path| values.get(path), &read);
    wrong.extend(across);
    for (path, message, hint) in wrong {
        let origin = settings.iter().find(|setting| setting.key.path == path);
        let origin = origin.map_or(Origin::Default, |setting| setting.origin.clone());
        let pos = places.get(path).copied().unwrap_or_default();
        reading.say(&code::VALUE, pos, path, &origin, &message, Some(hint));
    }
    (models, presets)
}

/// The turns of a scripted model, from its file.
fn script(path: &Path) -> Result<Value> {
    let failed = |error: std::io::Error| {
        Error::new(&code::FILE, format!("{} cannot be read: {error}", path.display()))
            .help("check the path and who may read it")
    };
    let mut text = String::new();
    let opened = std::fs::File::open(path).map_err(failed)?;
    opened.take(CONFIG_BYTES_MAX as u64 + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() > CONFIG_BYTES_MAX {
        return Err(failed(std::io::Error::other(format!("it is over {CONFIG_BYTES_MAX} bytes"))));
    }
    let turns = crate::validate::document(&text).map_err(|problems| {
        let first = problems.first().map_or_else(String::new, |problem| problem.message.clone());
        Error::new(&code::SYNTAX, format!("{} does not parse: {first}", path.display()))
    })?;
    let turns = turns.to_json();
    Scripted::new(&turns)?;
    Ok(turns)
}

fn typed(
    settings: Vec<Setting>,
    secret_key: Option<Source>,
    (models, presets): (ModelSettings, Vec<Preset>),
    warnings: Vec<Diagnostic>,
    file: Option<PathBuf>,
) -> Config {
    let values = Values::new(&settings);
    Config {
        module: Module {
            name: values.text("module.name").to_owned(),
            data_dir: values.text("module.data_dir").into(),
            log_level: values.level("module.log_level"),
        },
        database: Database {
            file: values.text("database.url").strip_prefix("sqlite:").unwrap_or_default().into(),
        },
        api: Api {
            host: values.address("api.host"),
            port: values.port("api.port"),
            timeout: values.duration("api.timeout"),
            rate_limit_per_token: values.count("api.rate_limit_per_token"),
            rate_limit_burst: values.count("api.rate_limit_burst"),
            insecure_lan: values.flag("api.insecure_lan"),
            trusted_proxies: values.addresses("api.trusted_proxies"),
        },
        security: Security {
            access_token: Duration::from_secs(
                u64::from(values.count("security.access_token_expire_minutes")) * 60,
            ),
            refresh_token: Duration::from_secs(
                u64::from(values.count("security.refresh_token_expire_days")) * 86_400,
            ),
            password_chars_min: values.count("security.password_min_length") as usize,
            secret_key,
        },
        workflow_engine: WorkflowEngine {
            max_concurrent_workflows: values.count("workflow_engine.max_concurrent_workflows") as usize,
            max_queued: values.count("workflow_engine.max_queued") as usize,
            retry_attempts: values.count("workflow_engine.retry_attempts").max(1),
            retry_delay: values.duration("workflow_engine.retry_delay"),
            cancel_grace: values.duration("workflow_engine.cancel_grace"),
            constants: values.constants("workflow_engine.constants"),
            commit_delay: Duration::from_millis(values.count("workflow_engine.commit_delay_ms").into()),
        },
        agents: AgentManagement {
            max_agents: values.count("agent_management.max_agents") as usize,
            agent_timeout: values.duration("agent_management.agent_timeout"),
            max_of: crate::task::AgentKind::ALL.map(|kind| {
                values.count(&format!("agent_management.agent_types.{}.max_instances", kind.as_str()))
                    as usize
            }),
            idle_timeout: values.duration("agent_management.agent_idle_timeout"),
            cleanup_interval: values.duration("agent_management.agent_cleanup_interval"),
            day: DayLimits {
                house: values.most("agent_management.daily_budget"),
                owner: values.most("agent_management.daily_budget_per_owner"),
            },
            data_bytes: {
                let own = values.count("agent_management.agent_types.data_processor.memory_limit");
                own.min(values.count("agent_management.max_agent_memory")) as usize * 1024 * 1024
            },
            window: (
                values.count("gpt_integration.agent_brain.context_window_size"),
                values.count("gpt_integration.agent_brain.conversation_history_limit"),
            ),
        },
        egress: Egress { public: values.flag("egress.public"), grants: values.grants("egress.grants") },
        alex_os: AlexOs {
            emit_prefixes: values.texts("alex_os.emit_prefixes"),
            queue_items: values.count("alex_os.queue_items") as usize,
            queue_bytes: values.count("alex_os.queue_bytes") as usize,
        },
        logging: Logging {
            level: values.level("logging.level"),
            file: values.get("logging.file").as_str().map(|file| LogFileOptions {
                path: Path::new(values.text("module.data_dir")).join(file),
                bytes_max: u64::from(values.count("logging.max_size")),
                kept: values.count("logging.backup_count") as usize,
            }),
        },
        email: Email { accounts: super::account::read(values.get("email.accounts")) },
        websocket: WebSocket {
            max_connections: values.count("websocket.max_connections") as usize,
            ping_interval: values.duration("websocket.ping_interval"),
            ping_timeout: values.duration("websocket.ping_timeout"),
            close_timeout: values.duration("websocket.close_timeout"),
            max_message_size: values.count("websocket.max_message_size") as usize,
        },
        retention: Retention {
            completed: values.duration("retention.completed"),
            failed: values.duration("retention.failed"),
            cancelled: values.duration("retention.cancelled"),
            runs_max: values.count("retention.max_runs"),
            archive_after: values.duration("retention.archive_after"),
            keys: values.duration("retention.idempotency_keys"),
            outbox: values.duration("retention.outbox"),
            audit: values.duration("retention.audit"),
        },
        backup: Backup {
            schedule: values.get("backup.schedule").as_str().map(|cron| {
                Schedule::parse(cron, "UTC").expect("a checked expression, and a zone there always is")
            }),
            keep: values.count("backup.keep") as usize,
            dir: Path::new(values.text("module.data_dir")).join(values.text("backup.dir")),
        },
        notification: Notification { channels: super::channels::read(values.get("notification.channels")) },
        gpio: Gpio { pins: super::pins::read(values.get("gpio.pins")) },
        mcp: Mcp { servers: super::mcp::read(values.get("mcp.servers")) },
        traces: TraceSettings {
            endpoint: values.get("monitoring.traces.endpoint").as_str().map(str::to_owned),
            token: values.get("monitoring.traces.token").as_str().map(str::to_owned),
        },
        monitoring: Monitoring {
            health_check_interval: values.duration("monitoring.health_check_interval"),
            is_alerting: values.flag("monitoring.alerting.enabled"),
            cpu_threshold: values.count("monitoring.alerting.cpu_threshold"),
            memory_threshold: values.count("monitoring.alerting.memory_threshold"),
            disk_threshold: values.count("monitoring.alerting.disk_threshold"),
            error_rate_threshold: values.count("monitoring.alerting.error_rate_threshold"),
        },
        raspberry_pi: RaspberryPi {
            hardware_monitoring: values.flag("raspberry_pi.hardware_monitoring"),
            temperature_threshold: values.count("raspberry_pi.temperature_threshold"),
        },
        models,
        presets,
        settings,
        warnings,
        file,
    }
}

/// Typed reading of merged values. Each was checked against its key and brought to normal form, and every key has
/// a default, so a value that is missing or of another type is a bug in the table, which its test finds.
struct Values<'a>(BTreeMap<&'static str, &'a Value>);

impl<'a> Values<'a> {
    fn new(settings: &'a [Setting]) -> Self {
        Self(settings.iter().map(|setting| (setting.key.path, &setting.value)).collect())
    }

    fn get(&self, path: &str) -> &'a Value {
        self.0.get(path).expect("every key that is read is in the table")
    }

    fn text(&self, path: &str) -> &'a str {
        self.get(path).as_str().expect("a checked text")
    }

    fn flag(&self, path: &str) -> bool {
        self.get(path).as_bool().expect("a checked flag")
    }

    /// A bound in tokens and money; 0 is none.
    fn most(&self, path: &str) -> Most {
        let tokens = self.get(&format!("{path}.tokens")).as_u64().filter(|tokens| *tokens > 0);
        let cost = self.get(&format!("{path}.cost")).as_f64().filter(|cost| *cost > 0.0);
        Most { tokens, cost: cost.map(|cost| (cost * 1e6).round() as u64) }
    }

    fn count(&self, path: &str) -> u32 {
        self.get(path).as_u64().and_then(|n| u32::try_from(n).ok()).expect("a checked number within u32")
    }

    fn port(&self, path: &str) -> Option<u16> {
        self.get(path).as_u64().map(|n| u16::try_from(n).expect("a checked port"))
    }

    fn address(&self, path: &str) -> IpAddr {
        self.text(path).parse().expect("a checked address")
    }

    fn addresses(&self, path: &str) -> Vec<IpAddr> {
        self.texts(path).iter().filter_map(|text| text.parse().ok()).collect()
    }

    fn constants(&self, path: &str) -> crate::engine::Constants {
        let entries = self.get(path).as_object().expect("a checked map");
        entries.iter().map(|(name, value)| (name.clone(), crate::model::Json::new(value.clone()))).collect()
    }

    fn duration(&self, path: &str) -> Duration {
        Duration::from_secs_f64(self.get(path).as_f64().expect("checked seconds, finite and not negative"))
    }

    fn level(&self, path: &str) -> log::LevelFilter {
        match self.text(path) {
            "DEBUG" => log::LevelFilter::Debug,
            "INFO" => log::LevelFilter::Info,
            "WARNING" | "WARN" => log::LevelFilter::Warn,
            // The log's own faces know no level above error; CRITICAL hides nothing that is worse.
            _ => log::LevelFilter::Error,
        }
    }

    fn texts(&self, path: &str) -> Vec<String> {
        let items = self.get(path).as_array().expect("a checked list");
        items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    fn grants(&self, path: &str) -> Vec<Grant> {
        let items = self.get(path).as_array().expect("a checked list");
        let text = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
        let port = |port: &Value| port.as_u64().and_then(|n| u16::try_from(n).ok());
        items
            .iter()
            .map(|item| Grant {
                host: text(item, "host"),
                ports: item["ports"].as_array().into_iter().flatten().filter_map(port).collect(),
                why: text(item, "why"),
            })
            .collect()
    }
}
