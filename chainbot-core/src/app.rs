//! Wiring: the only file that may name everybody.
//!
//! [`App::check`] reads and validates a configuration without any effect; [`App::start`] opens the data
//! folder, recovers, opens the port and serves; [`App::stop`] ends all of it within a deadline. One `App` owns
//! one data folder. `start`, `call` and `stop` run inside a tokio runtime of the caller (the plugin's supervisor
//! thread, the CLI); no thread that the host owns ever enters here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use self::reaper::reap;
use crate::agent::calls::AgentCalls;
use crate::agent::kind::{api::ApiTools, data_processor::DataTools};
use crate::agent::ledger::Ledger;
use crate::agent::memory::Reminder;
use crate::agent::memory::tool::MemoryTools;
use crate::agent::models::{Models, ModelsOptions};
use crate::agent::tool::{gpio::GpioTools, http::HttpTools, mcp::McpServers, mcp::McpTools};
use crate::auth::{Accounts, AccountsOptions, Rules};
use crate::backup::{self, Backups};
use crate::config::{Config, Reference, credentials};
use crate::engine::Defaults;
use crate::engine::decide::AgentRules;
use crate::env::Env;
use crate::error::code::{config as config_code, definition, general};
use crate::error::{Error, Result};
use crate::gpio::{Keeper, Mode, PinSetup, Pins, SimBackend};
use crate::http::live::{Deltas, Live, SocketLimits, Tee, of_health};
use crate::http::{AccessToken, Api, ApiLimits, ApiOptions, ConfigPart, ConfigSource};
use crate::id::UserId;
use crate::meter::Meters;
use crate::net::{Egress, Grant, MailServer, Policy};
use crate::observe::system::{Disk, System};
use crate::observe::{LogFile, Metrics, Monitor, MonitorOptions, Rules as AlertRules, Sources, Traces};
use crate::port::{EventBus, OpenSecret, ProbeRows, SecretText, Secrets, SigningKeys, Store, StoredProbe};
use crate::runtime::{Component, Event, Handle, Options, Runtime, WorkflowTools, announce};
use crate::secret::Vault;
use crate::step::{Executors, MailAccount};
use crate::store::backup::Shelf;
use crate::store::{DataDir, OpenOptions, SqliteStore};
use crate::time::Timestamp;
use crate::validate::{Known, KnownPin};

mod live;
mod reaper;
mod traces;

pub use crate::http::{HealthReport, Peer, Routes, ViaHost};
pub use live::check_change;

/// The API token's file in the data folder.
pub const TOKEN_FILE: &str = "token";
/// Says where the API is, while there is a port.
pub const SERVER_FILE: &str = "server.json";
/// Connections that read beside the writer.
const READERS: usize = 2;
/// Of a stop's deadline, kept for the store and the port after the engine.
const STOP_RESERVE: Duration = Duration::from_millis(500);

/// How long what was begun has to end when a start fails after it.
const START_UNDO: Duration = Duration::from_secs(2);

/// What the surroundings give.
pub struct Services {
    /// Clock and randomness.
    pub env: Env,
    /// The host's bus; `None` when nobody listens.
    pub bus: Option<Arc<dyn EventBus>>,
    /// What this process is called in the lock of the data folder: `host-shim`, `chainbot run`.
    pub process: String,
    /// Where this program lies, for people who ask.
    pub module_path: Option<String>,
    /// With `api.port: 0`, the port to take if it is free: clients know it from the version before.
    pub port_hint: Option<u16>,
}

/// An event from the host's bus.
#[derive(Clone, Debug)]
pub struct HostEvent {
    /// Segments separated by dots.
    pub topic: String,
    /// JSON.
    pub payload: Value,
    /// Idempotency key, or empty.
    pub id: String,
    /// When it happened, milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// A running ChainBot.
pub struct App {
    api: Api,
    handle: Handle,
    runtime: Arc<Runtime>,
    pins: Keeper,
    mcp: Arc<McpServers>,
    backups: Arc<Backups>,
    store: Arc<SqliteStore>,
    data_dir: Arc<DataDir>,
    bus: Option<Arc<dyn EventBus>>,
    env: Env,
    port: Option<SocketAddr>,
    config: Arc<Mutex<Config>>,
    egress: Arc<Egress>,
    /// The way to servers of models, and to nothing else; steps have no part in its grants.
    models_egress: Arc<Egress>,
    models: Arc<Models>,
    vault: Arc<Vault>,
    monitor: Arc<Monitor>,
    figures: Arc<Figures>,
    log_file: Option<Arc<LogFile>>,
    redactor: Arc<dyn Secrets>,
    serving: Mutex<Option<Serving>>,
    /// Ended by `stop`, or with the app.
    watch: Watching,
    /// Where idle agents are terminated.
    _reaper: Option<Watching>,
    /// As long as there is a collector.
    traces: Mutex<Option<Traces>>,
}

/// A task that ends with the app.
struct Watching(JoinHandle<()>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The task behind the port.
struct Serving {
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl App {
    /// Reads what a host hands to `initialize` (`{"file": path?, "data_dir": path?, "values": {..}}`, or
    /// nothing), merges defaults, file, environment and values, and checks everything. No effect but reading the file.
    pub fn check(document: &str) -> Result<Config> {
        Config::load(document)
    }

    /// Takes the data folder, recovers, opens the port if the configuration has one.
    pub async fn start(config: Config, services: Services) -> Result<App> {
        Self::start_with(Routes::new()?, config, services).await
    }

    /// The same, with routes that were made before.
    pub async fn start_with(routes: Routes, config: Config, services: Services) -> Result<App> {
        let Services { env, bus, process, module_path, port_hint } = services;
        let (begun, meters) = (env.monotonic(), Arc::<Meters>::default());
        let opened = {
            let (config, process, env, meters) =
                (config.clone(), process.clone(), env.clone(), meters.clone());
            // An engine that a command opened for itself is out of everybody's reach.
            let is_served = config.api.port.is_some() || bus.is_some();
            blocking(move || Opened::open(&config, &process, &env, meters, is_served)).await?
        };
        let Opened { data_dir, store, accounts, vault, probes } = opened;
        let live = Live::new(
            SocketLimits {
                connections: config.websocket.max_connections,
                ping_interval: config.websocket.ping_interval,
                ping_timeout: config.websocket.ping_timeout,
                close_timeout: config.websocket.close_timeout,
                message_bytes: config.websocket.max_message_size,
                ..SocketLimits::default()
            },
            env.clone(),
        );
        let log_file = config.logging.file.clone().map(LogFile::open).transpose()?;
        if let Some(file) = &log_file {
            live.lines.write_to(file.clone());
        }
        // Whoever listens hears what the host is told besides runs.
        let bus: Option<Arc<dyn EventBus>> =
            bus.map(|host| Arc::new(Tee { host, live: live.clone() }) as Arc<dyn EventBus>);
        let listener = match config.api.port {
            None => None,
            Some(port) => Some(listen_as_before(config.api.host, port, port_hint).await?),
        };
        let port = listener.as_ref().map(|(_, address)| *address);
        let egress = Arc::new(Egress::new(policy(&config, port), env.clone())?);
        let models_egress = Egress::new(models_policy(&config, port)?, env.clone())?;
        // Calls last for minutes, and all agents ask the same few servers.
        let models_egress = Arc::new(models_egress.with_places(crate::limits::MODEL_PLACES_MAX));
        let collector = traces::egress(&config, port, &env)?;
        let models = Arc::new(Models::new(ModelsOptions {
            settings: config.models.clone(),
            presets: config.presets.clone(),
            probes,
            store: Some(store.clone()),
            egress: models_egress.clone(),
            secrets: vault.clone(),
            env: env.clone(),
            meters: meters.clone(),
            pause: Arc::new(|time| Box::pin(tokio::time::sleep(time))),
        })?);
        // Before any run or trigger: outputs are safe from here on.
        let pins = Pins::open(Arc::new(SimBackend::new(env.clone())), config.gpio.pins.clone(), env.clone())?;
        // Safe again whatever becomes of this start, and of a stop that panics: threads and tasks have the pins too.
        let kept_pins = Keeper::of(pins.clone());
        let workflow_tools = Arc::new(WorkflowTools::default());
        // What agents act with: no mail, no channels, no agents of their own.
        let hands = Arc::new(
            Executors::new(egress.clone(), env.clone()).with_secrets(vault.clone()).with_pins(pins.clone()),
        );
        let of_mcp = vault.clone();
        let mcp = McpServers::new(config.mcp.servers.clone(), env.clone(), port.into_iter().collect())?;
        let mcp = Arc::new(mcp.with_references(Arc::new(move |text: &str| {
            of_mcp.open_of_operator(text).map(|secret| secret.value)
        })));
        let calls = AgentCalls::new(models.clone())
            .with_ledger(Ledger::new(store.clone(), env.clone(), config.agents.day))
            .with_watcher(Arc::new(Deltas { live: live.clone(), env: env.clone() }))
            .with_recall(Arc::new(Reminder::new(store.clone(), env.clone(), config.agents.window)))
            .with_family(workflow_tools.clone())
            .with_family(Arc::new(MemoryTools::new(store.clone(), env.clone())))
            .with_family(Arc::new(ApiTools::new(hands.clone(), env.clone())))
            .with_family(Arc::new(DataTools::new(hands.clone(), env.clone(), config.agents.data_bytes)))
            .with_family(Arc::new(HttpTools::new(hands.clone())))
            .with_family(Arc::new(GpioTools::new(hands.clone(), Some(pins.clone()))))
            .with_family(Arc::new(McpTools::new(mcp.clone(), hands)));
        let options = Options {
            store: store.clone(),
            executors: Arc::new(
                Executors::new(egress.clone(), env.clone())
                    .with_secrets(vault.clone())
                    .with_mail(mail_accounts(&config))
                    .with_channels(config.notification.channels.clone())
                    .with_pins(pins.clone())
                    .with_calls(Arc::new(calls)),
            ),
            env: env.clone(),
            host_bus: bus.clone(),
            defaults: Defaults { marker_key: env.bytes(), ..defaults(&config) },
            runs_max: config.workflow_engine.max_concurrent_workflows,
            queued_max: config.workflow_engine.max_queued,
            workers: 0,
            poison_file: Some(data_dir.path().join("evaluating")),
            tokio: tokio::runtime::Handle::current(),
            signing_keys: Arc::new(HookKeys(vault.clone())),
            known: known(&config),
            pins: Some(pins.clone()),
            retention: Some(config.retention),
            meters: meters.clone(),
        };
        let runtime = match blocking(move || Runtime::start(options)).await {
            Ok(runtime) => runtime,
            Err(error) => {
                // The folder must be free for the next try, whoever still holds the store.
                store.close();
                return Err(error);
            }
        };
        workflow_tools.attach(&runtime);
        let handle = Handle::new(runtime.clone());
        let keeper = backup::Options {
            store: store.clone(),
            shelf: Shelf::new(config.backup.dir.clone()),
            plan: plan(&config),
            env: env.clone(),
            bus: bus.clone(),
        };
        let backups = match blocking(move || Backups::start(keeper)).await {
            Ok(backups) => backups,
            Err(error) => {
                undo_start(&runtime, &store).await;
                return Err(error);
            }
        };
        let watching = MonitorOptions {
            store: store.clone(),
            system: System::new("/", Disk::Of(data_dir.path().to_owned())),
            meters: meters.clone(),
            rules: rules(&config),
            env: env.clone(),
            bus: bus.clone(),
            components: {
                let (handle, backups, live, models) =
                    (handle.clone(), backups.clone(), live.clone(), models.clone());
                Box::new(move || {
                    let (score, why) = models.component();
                    let others = [
                        ("backup", backups.component()),
                        ("websocket", live.seats.component()),
                        ("models", Component::new(score, why)),
                    ];
                    handle.components().into_iter().chain(others).collect()
                })
            },
        };
        let monitor = match Monitor::start(watching) {
            Ok(monitor) => monitor,
            Err(error) => {
                backups.close();
                undo_start(&runtime, &store).await;
                return Err(error);
            }
        };
        let figures = Arc::new(Figures {
            handle: handle.clone(),
            meters: meters.clone(),
            monitor: monitor.clone(),
            store: store.clone(),
            backups: backups.clone(),
            live: live.clone(),
            env: env.clone(),
            begun,
        });
        let running = Arc::new(Mutex::new(config.clone()));
        let parts = Parts { monitor: monitor.clone(), live: live.clone() };
        let face = ApiOptions {
            backend: Arc::new(handle.clone()),
            accounts,
            env: env.clone(),
            health: {
                let monitor = monitor.clone();
                Arc::new(move || monitor.report())
            },
            metrics: {
                let figures = figures.clone();
                Arc::new(move || figures.take())
            },
            machine: {
                let monitor = monitor.clone();
                Arc::new(move || monitor.machine())
            },
            meters: meters.clone(),
            config: config_source(running.clone()),
            manifest: manifest(),
            own_port: port,
            insecure_lan: config.api.insecure_lan,
            trusted_proxies: config.api.trusted_proxies.clone(),
            limits: ApiLimits {
                rate_per_s: config.api.rate_limit_per_token,
                rate_burst: config.api.rate_limit_burst,
                request_time: config.api.timeout,
                ..ApiLimits::default()
            },
            secrets: Some(vault.clone()),
            pins: Some(pins.clone()),
            models: Some(models.clone()),
            backups: Some(backups.clone()),
            live: live.clone(),
        };
        let redactor: Arc<dyn Secrets> = vault.clone();
        let told = match port {
            None => Ok(()),
            Some(address) => {
                let server = json!({
                    "url": format!("http://{address}"), "pid": std::process::id(), "process": process,
                    "started_at": env.now(), "version": crate::VERSION, "module": module_path,
                });
                data_dir.write_passing(SERVER_FILE, server.to_string().as_bytes())
            }
        };
        if let Err(error) = told {
            monitor.close();
            backups.close();
            undo_start(&runtime, &store).await;
            return Err(error);
        }
        let watch = tokio::spawn(parts.clone().watch(redactor.clone(), env.clone()));
        let (idle, every) = (config.agents.idle_timeout, config.agents.cleanup_interval);
        let reaper = (!idle.is_zero()).then(|| Watching(tokio::spawn(reap(handle.clone(), idle, every))));
        let api = Api::new(routes, face);
        let serving = listener.map(|(listener, _)| serve(&api, listener));
        let traces = traces::start(&config, collector, store.clone(), handle.clone(), vault.clone());
        let app = App {
            api,
            handle,
            runtime,
            pins: kept_pins,
            mcp,
            backups,
            store,
            data_dir,
            bus,
            env,
            port,
            config: running,
            egress,
            models_egress,
            models,
            vault,
            monitor,
            figures,
            log_file,
            redactor,
            serving: Mutex::new(serving),
            watch: Watching(watch),
            _reaper: reaper,
            traces: Mutex::new(traces),
        };
        app.announce(
            "chainbot.module.ready",
            &json!({ "module": "chainbot", "version": crate::VERSION, "status": "ready" }),
        );
        Ok(app)
    }

    /// Answers one request, as the port would. Bounded by the caller's timeout; dropping the future is safe.
    pub async fn call(
        &self,
        request: axum::http::Request<axum::body::Body>,
    ) -> axum::http::Response<axum::body::Body> {
        self.api.call(request).await
    }

    /// Takes an event of the host's bus, for the steps that wait for it and the triggers that ask for it. Never blocks.
    pub fn handle_event(&self, event: HostEvent) -> Result<()> {
        let HostEvent { topic, payload, id, at_ms } = event;
        self.handle.offer(Event { id, topic, at: Timestamp(at_ms), data: payload })
    }

    /// What the API offers, for callers in the same process.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The address of the module's own port.
    pub fn port(&self) -> Option<SocketAddr> {
        self.port
    }

    /// How well it goes; cheap, from memory.
    pub fn health(&self) -> HealthReport {
        self.monitor.report()
    }

    /// Resolves when the app cannot work on (a failed commit, lost threads), with the reason.
    pub async fn failed(&self) -> Error {
        let error = self.runtime.failed().await;
        Error::new(error.code(), error.message())
    }

    /// Refuses new work, suspends runs at their next durable point, closes port and store. `Err` names what was
    /// left when `deadline` passed; it may be called again then.
    pub async fn stop(&self, deadline: Duration) -> Result<()> {
        let data = json!({ "module": "chainbot", "status": "stopping" });
        self.announce("chainbot.module.stopping", &data);
        let until = self.env.monotonic() + deadline;
        self.api.close();
        self.watch.0.abort();
        drop(self.traces.lock().take());
        let serving = self.serving.lock().take();
        let task = serving.map(|serving| {
            // The task may have ended by itself.
            let _ = serving.shutdown.send(());
            serving.task
        });
        let engine = deadline.saturating_sub(STOP_RESERVE.min(deadline / 4));
        let stopped = self.runtime.stop(engine).await;
        // Also when threads of the engine are left: they are refused from here on.
        self.pins.close();
        self.mcp.stop().await;
        stopped?;
        if let Some(mut task) = task {
            let left = until.saturating_sub(self.env.monotonic()).max(Duration::from_millis(50));
            if tokio::time::timeout(left, &mut task).await.is_err() {
                // Requests were told; what is left are connections that do not read their answers.
                task.abort();
            }
        }
        let (store, data_dir, backups) = (self.store.clone(), self.data_dir.clone(), self.backups.clone());
        let monitor = self.monitor.clone();
        let log_file = self.log_file.clone();
        self.figures.live.settle_log(|text| self.redactor.redact(text));
        blocking(move || {
            monitor.close();
            backups.close();
            if let Some(file) = log_file {
                file.close();
            }
            // While the folder is still ours: closing the store gives it back.
            let removed = data_dir.remove(SERVER_FILE);
            store.close();
            removed
        })
        .await
    }

    fn announce(&self, topic: &str, data: &Value) {
        announce(self.bus.as_deref(), &self.env, topic, data);
    }
}

/// Signing keys of incoming webhooks, from the secret store.
struct HookKeys(Arc<Vault>);

impl SigningKeys for HookKeys {
    fn signing_key(&self, owner: Option<UserId>, name: &str) -> Result<String> {
        Secrets::open(self.0.as_ref(), owner, name).map(|secret| secret.value.reveal().to_owned()).map_err(
            |error| {
                let remedy = error.remedy().unwrap_or("store it with `chainbot secret set`").to_owned();
                Error::new(&definition::NO_SECRET, error.message().to_owned()).help(remedy)
            },
        )
    }
}

/// What is on the disk.
struct Opened {
    data_dir: Arc<DataDir>,
    store: Arc<SqliteStore>,
    accounts: Arc<Accounts>,
    vault: Arc<Vault>,
    probes: Vec<StoredProbe>,
}

impl Opened {
    fn open(config: &Config, process: &str, env: &Env, meters: Arc<Meters>, is_served: bool) -> Result<Self> {
        let credentials = credentials();
        let data_dir = Arc::new(DataDir::open(&config.module.data_dir, process)?);
        let store = SqliteStore::open(OpenOptions {
            path: config.database.file.clone(),
            commit_delay: config.workflow_engine.commit_delay,
            readers: READERS,
            reserve: true,
            shelf: Shelf::new(config.backup.dir.clone()),
            meters,
            ..OpenOptions::new(data_dir.clone())
        })?;
        let secret_key = config.security.secret_key.as_ref();
        let secret_key = secret_key.map(|key| key.signing_key(credentials.as_deref())).transpose()?;
        let accounts = Accounts::open(AccountsOptions {
            store: store.clone(),
            folder: Some(data_dir.clone()),
            env: env.clone(),
            local: token(&data_dir, env)?,
            secret_key: secret_key.clone(),
            rules: Rules {
                access: config.security.access_token,
                login: config.security.refresh_token,
                password_chars_min: config.security.password_chars_min,
            },
            pause: Arc::new(|time| Box::pin(tokio::time::sleep(time))),
            is_served,
        })?;
        let vault = Vault::open(store.clone(), data_dir.clone(), env.clone())?;
        let vault = vault.with_given(given(config, secret_key)?)?;
        let vault = Arc::new(vault);
        let probes = store.probes()?;
        Ok(Self { data_dir, store, accounts, vault, probes })
    }
}

/// What the configuration refers to, read.
fn given(config: &Config, secret_key: Option<SecretText>) -> Result<Vec<(String, OpenSecret)>> {
    let credentials = credentials();
    let read = |(reference, hosts): (Reference, Vec<String>)| {
        let value = reference.read(credentials.as_deref())?;
        Ok((reference.to_string(), OpenSecret { value, hosts }))
    };
    let mut given = config.references().into_iter().map(read).collect::<Result<Vec<_>>>()?;
    // Definitions cannot reach it, and nothing is sent it: it is here so that no text that is written down shows it.
    let hidden = |value| ("security.secret_key".to_owned(), OpenSecret { value, hosts: Vec::new() });
    given.extend(secret_key.map(hidden));
    Ok(given)
}

/// The API token: read, or made at the first start.
fn token(data_dir: &DataDir, env: &Env) -> Result<AccessToken> {
    match data_dir.read(TOKEN_FILE)? {
        Some(bytes) => AccessToken::parse(String::from_utf8_lossy(&bytes).trim()),
        None => {
            let token = AccessToken::generate(env);
            data_dir.write_private(TOKEN_FILE, format!("{}\n", token.reveal()).as_bytes())?;
            log::info!("an API token was made: {}", data_dir.path().join(TOKEN_FILE).display());
            Ok(token)
        }
    }
}

/// Listens where the version before did when any port will do, else where the configuration says.
async fn listen_as_before(
    host: std::net::IpAddr,
    port: u16,
    hint: Option<u16>,
) -> Result<(TcpListener, SocketAddr)> {
    if let (0, Some(hint)) = (port, hint)
        && let Ok(listening) = listen(SocketAddr::new(host, hint)).await
    {
        return Ok(listening);
    }
    listen(SocketAddr::new(host, port)).await
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let fail = |error: std::io::Error| {
        Error::new(&config_code::PORT, format!("{address} cannot be listened on: {error}"))
            .help("set api.port to a free port, or to null for no port of its own")
    };
    let listener = TcpListener::bind(address).await.map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    Ok((listener, address))
}

fn serve(api: &Api, listener: TcpListener) -> Serving {
    let (shutdown, stopped) = oneshot::channel();
    let api = api.clone();
    // Joined by `stop`.
    let task = tokio::spawn(async move {
        api.serve(listener, async {
            // A dropped sender means the same: the app is gone.
            let _ = stopped.await;
        })
        .await;
    });
    Serving { shutdown, task }
}

fn config_source(running: Arc<Mutex<Config>>) -> ConfigSource {
    Arc::new(move |part| match part {
        ConfigPart::Values => running.lock().show(),
        ConfigPart::Origins => {
            let config = running.lock();
            let all = config.settings().iter();
            all.map(|setting| (setting.key.path.to_owned(), json!(setting.origin.to_string()))).collect()
        }
        ConfigPart::Schema => Config::schema(),
    })
}

fn policy(config: &Config, port: Option<SocketAddr>) -> Policy {
    let grants = config.egress.grants.iter();
    Policy {
        grants: grants
            .map(|grant| Grant {
                host: grant.host.clone(),
                ports: grant.ports.clone(),
                why: grant.why.clone(),
            })
            .collect(),
        public: config.egress.public,
        own_addresses: port.into_iter().collect(),
    }
}

/// The servers of models, and nothing else: who names one in the configuration means it to be called.
fn models_policy(config: &Config, port: Option<SocketAddr>) -> Result<Policy> {
    let asked = config.models.providers.iter().filter(|provider| !provider.base_url.is_empty());
    let asked = asked.map(|one| (one.base_url.as_str(), format!("the models of `{}`", one.name)));
    Policy::to_servers(asked, port.into_iter().collect())
}

fn mail_accounts(config: &Config) -> Vec<MailAccount> {
    let accounts = config.email.accounts.iter();
    accounts
        .map(|account| MailAccount {
            name: account.name.clone(),
            server: MailServer { host: account.host.clone(), port: account.port, tls: account.tls },
            user: account.user.clone(),
            password: account.password.clone(),
            from: account.from.clone(),
        })
        .collect()
}

/// What definitions may name on this machine.
fn known(config: &Config) -> Known {
    let pin = |setup: &PinSetup| KnownPin {
        name: setup.name.clone(),
        number: setup.pin.0,
        is_output: matches!(setup.mode, Mode::Output { .. }),
    };
    Known {
        channels: Some(config.notification.channels.iter().map(|channel| channel.name.clone()).collect()),
        pins: Some(config.gpio.pins.iter().map(pin).collect()),
        constants: Some(config.workflow_engine.constants.keys().cloned().collect()),
        accounts: Some(config.email.accounts.iter().map(|account| account.name.clone()).collect()),
    }
}

fn defaults(config: &Config) -> Defaults {
    Defaults {
        retry_attempts: config.workflow_engine.retry_attempts,
        retry_delay: config.workflow_engine.retry_delay,
        cancel_grace: config.workflow_engine.cancel_grace,
        emit_prefixes: config.alex_os.emit_prefixes.clone(),
        constants: config.workflow_engine.constants.clone(),
        task_time: config.agents.agent_timeout,
        agents: AgentRules { max_agents: config.agents.max_agents, max_of: config.agents.max_of },
        ..Defaults::default()
    }
}

/// What backups are made by themselves.
fn plan(config: &Config) -> backup::Plan {
    backup::Plan { schedule: config.backup.schedule.clone(), keep: config.backup.keep }
}

/// A start failed after the runtime's: nobody has it yet, so nobody else would end it.
async fn undo_start(runtime: &Arc<Runtime>, store: &Arc<SqliteStore>) {
    if let Err(left) = runtime.stop(START_UNDO).await {
        log::error!("after a start that failed: {left}");
    }
    store.close();
}

/// Where the figures come from.
struct Figures {
    handle: Handle,
    meters: Arc<Meters>,
    monitor: Arc<Monitor>,
    store: Arc<SqliteStore>,
    backups: Arc<Backups>,
    live: Arc<Live>,
    env: Env,
    begun: Duration,
}

impl Figures {
    fn take(&self) -> Metrics {
        Metrics::take(&Sources {
            handle: &self.handle,
            meters: &self.meters,
            monitor: &self.monitor,
            connections: self.store.connections(),
            backup: self.backups.last_success(),
            sockets: self.live.seats.open(),
            uptime_s: self.env.monotonic().saturating_sub(self.begun).as_secs_f64(),
        })
    }
}

/// What those who listen are told besides runs.
#[derive(Clone)]
struct Parts {
    monitor: Arc<Monitor>,
    live: Arc<Live>,
}

impl Parts {
    /// Tells those who listen of the log and of health, to the end of the app. A look at health is some reads of memory.
    async fn watch(self, redactor: Arc<dyn Secrets>, env: Env) {
        let look = Duration::from_secs(crate::limits::HEALTH_LOOK_S);
        let mut was = self.monitor.report();
        loop {
            tokio::select! {
                () = self.live.lines.came() => self.live.settle_log(|text| redactor.redact(text)),
                () = tokio::time::sleep(look) => {
                    let is = self.monitor.report();
                    if (is.score, &is.detail) != (was.score, &was.detail) {
                        let status = crate::http::label(is.score);
                        self.live.signal(|| of_health(status, is.score, &is.detail, env.now()));
                        was = is;
                    }
                }
            }
        }
    }
}

/// When health is told to have changed.
fn rules(config: &Config) -> AlertRules {
    let monitoring = &config.monitoring;
    AlertRules {
        every: monitoring.health_check_interval,
        is_alerting: monitoring.is_alerting,
        has_sensors: config.raspberry_pi.hardware_monitoring,
        cpu_percent: monitoring.cpu_threshold.into(),
        memory_percent: monitoring.memory_threshold.into(),
        disk_percent: monitoring.disk_threshold.into(),
        error_percent: monitoring.error_rate_threshold.into(),
        temperature_c: config.raspberry_pi.temperature_threshold.into(),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            Err(Error::new(&general::INTERNAL, "starting or stopping was cut short").because(error))
        }
    }
}

/// What the module is, for hosts: the manifest of the ABI. Made without an instance and without effects.
pub fn manifest() -> Value {
    json!({
        "name": "chainbot",
        "version": crate::VERSION,
        "description": "Durable workflows for ALEX OS: they survive a power cut at any instant",
        "capabilities": ["workflow_orchestration", "real_time_monitoring"],
        "api_endpoints": {
            "health": "/api/chainbot/health",
            "metrics": "/api/chainbot/metrics",
            "info": "/api/chainbot/info",
            "workflows": "/api/chainbot/workflows",
            "runs": "/api/chainbot/runs",
            "events": "/api/chainbot/events",
            "openapi": "/api/chainbot/openapi.json",
        },
        "event_topics": {
            "publish": [
                "chainbot.module.ready", "chainbot.module.stopping", "chainbot.workflow.started",
                "chainbot.workflow.completed", "chainbot.workflow.failed", "chainbot.workflow.cancelled",
                "chainbot.workflow.waiting", "chainbot.workflow.skipped", "chainbot.workflow.enabled",
                "chainbot.workflow.disabled", "chainbot.message.dead", "chainbot.backup.completed", "chainbot.backup.failed",
                "chainbot.inbox.added", "chainbot.health.changed", "chainbot.notification", "chainbot.user.#", "user.#",
            ],
            "subscribe": [],
        },
        "webhooks": [{ "method": "*", "path": "/", "max_body": crate::limits::DEFINITION_BODY_BYTES_MAX }],
        "config_schema": Config::schema(),
        "storage": { "format": "chainbot-sqlite", "version": crate::store::schema_version() },
    })
}
