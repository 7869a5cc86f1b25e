//! What a schedule happens in: a data folder, a clock that moves when told, a receiver that counts, a host's bus, and lives of the
//! engine one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use chainbot_core::engine::Defaults;
use chainbot_core::env::{Clock, Env, SystemRandom};
use chainbot_core::error::code::{definition, store as store_code};
use chainbot_core::net::{Egress, Grant, Policy};
use chainbot_core::port::{EventBus, Published, SigningKeys, Store};
use chainbot_core::runtime::{Handle, Options, Runtime};
use chainbot_core::secret::Vault;
use chainbot_core::step::Executors;
use chainbot_core::store::{DataDir, OpenOptions as StoreOptions, SqliteStore};
use chainbot_core::time::Timestamp;
use chainbot_core::{Error, Result};

/// When the first life begins. Each later one begins so much later.
const BEGIN: Timestamp = Timestamp(1_800_000_000_000);
const BETWEEN_MS: i64 = 600_000;

/// The wall clock is the test's; monotonic time, which guards against hangs, is the machine's.
pub struct TestClock {
    wall: AtomicI64,
    start: Instant,
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.wall.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

impl TestClock {
    pub fn advance(&self, by: Duration) {
        self.wall.fetch_add(by.as_millis() as i64, Ordering::SeqCst);
    }
}

/// The receiver of all effects, one for the process: for each path the keys that came, in order.
pub struct Ledger {
    pub port: u16,
    counted: Mutex<BTreeMap<String, Vec<String>>>,
}

impl Ledger {
    /// The one of this process.
    pub fn get() -> &'static Ledger {
        static LEDGER: OnceLock<&'static Ledger> = OnceLock::new();
        LEDGER.get_or_init(|| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let port = listener.local_addr().expect("bound").port();
            let ledger: &Ledger = Box::leak(Box::new(Ledger { port, counted: Mutex::default() }));
            // Both end with the process.
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    std::thread::spawn(move || ledger.serve(stream));
                }
            });
            ledger
        })
    }

    /// What came under a prefix, taken out.
    pub fn take(&self, prefix: &str) -> BTreeMap<String, Vec<String>> {
        let mut counted = self.counted.lock().expect("no panic");
        let rest = counted.split_off(prefix);
        let (own, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
            rest.into_iter().partition(|(path, _)| path.starts_with(prefix));
        counted.extend(others);
        own
    }

    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let (mut line, mut length, mut key) = (String::new(), 0, String::new());
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            let path = line.split(' ').nth(1)?.to_owned();
            loop {
                line.clear();
                reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
                let Some((name, value)) = line.trim().split_once(':') else { break };
                match name.to_lowercase().as_str() {
                    "content-length" => length = value.trim().parse().ok()?,
                    "idempotency-key" => key = value.trim().to_owned(),
                    _ => {}
                }
            }
            reader.read_exact(&mut vec![0; length]).ok()?;
            let count = {
                let mut counted = self.counted.lock().expect("no panic");
                let keys = counted.entry(path.clone()).or_default();
                keys.push(key);
                keys.len()
            };
            let step = path.rsplit('/').next().unwrap_or_default();
            let status = match count {
                1 if step.starts_with("flaky") => "503 Service Unavailable",
                1 if step.starts_with("broken") => "404 Not Found",
                _ => "200 OK",
            };
            let reply = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: 8\r\n\r\n{{\"n\": 1}}"
            );
            reader.get_mut().write_all(reply.as_bytes()).ok()?;
        }
    }
}

/// A host that remembers what it was told.
#[derive(Default)]
pub struct Bus(pub Mutex<BTreeSet<String>>);

impl EventBus for Bus {
    fn publish(&self, _: &str, _: &str, id: &str, _: Timestamp) -> Published {
        self.0.lock().expect("no panic").insert(id.to_owned());
        Published::Sent
    }

    fn subscribe(&self, _: &str) -> Result<()> {
        Ok(())
    }
}

struct NoKeys;

impl SigningKeys for NoKeys {
    fn signing_key(&self, _: Option<chainbot_core::id::UserId>, name: &str) -> Result<String> {
        Err(Error::new(&definition::NO_SECRET, format!("there is no secret `{name}`")))
    }
}

/// Everything of one schedule that outlives a life.
pub struct World {
    pub folder: PathBuf,
    pub port: u16,
    /// Of the schedule, in the paths of its effects.
    pub number: u64,
    pub clock: Arc<TestClock>,
    pub bus: Arc<Bus>,
    acks: Mutex<File>,
}

impl World {
    /// `life`: how many there were before.
    pub fn new(folder: &Path, port: u16, number: u64, life: i64) -> Self {
        let clock = TestClock { wall: AtomicI64::new(BEGIN.0 + life * BETWEEN_MS), start: Instant::now() };
        let acks = OpenOptions::new().create(true).append(true).open(folder.join("acks")).expect("a file");
        Self {
            folder: folder.to_owned(),
            port,
            number,
            clock: Arc::new(clock),
            bus: Arc::default(),
            acks: Mutex::new(acks),
        }
    }

    /// Notes what the engine has said, at once: this process may end.
    pub fn acknowledged(&self, what: &str) {
        let line = format!("{what}\n");
        self.acks.lock().expect("no panic").write_all(line.as_bytes()).expect("noted");
    }

    pub fn acks(&self) -> BTreeSet<String> {
        let text = std::fs::read_to_string(self.folder.join("acks")).expect("a file");
        text.lines().map(str::to_owned).collect()
    }

    pub fn next_life(&self) {
        self.clock.advance(Duration::from_millis(BETWEEN_MS as u64));
    }

    /// What the paths of this schedule's effects begin with.
    pub fn prefix(&self) -> String {
        format!("/{}/", self.number)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/{}", self.port, self.number)
    }
}

/// One life of the engine on the folder.
pub struct Life {
    pub store: Arc<SqliteStore>,
    pub runtime: Arc<Runtime>,
    pub handle: Handle,
    pub vault: Arc<Vault>,
}

fn egress(port: u16) -> Arc<Egress> {
    static EGRESS: OnceLock<Arc<Egress>> = OnceLock::new();
    let make = || {
        let why = "the receiver of this test".to_owned();
        let grants = vec![Grant { host: "127.0.0.1".to_owned(), ports: vec![port], why }];
        let policy = Policy { grants, public: false, own_addresses: Vec::new() };
        Arc::new(Egress::new(policy, Env::system()).expect("a way out"))
    };
    EGRESS.get_or_init(make).clone()
}

impl Life {
    /// Opens everything as the module does.
    pub async fn open(world: &World) -> Result<Life> {
        let (folder, env) =
            (world.folder.join("data"), Env::new(world.clock.clone(), Arc::new(SystemRandom)));
        let (clock, bus, egress) = (world.clock.clone(), world.bus.clone(), egress(world.port));
        let open = move || {
            let data_dir = Arc::new(DataDir::open(&folder, "fault")?);
            let options = StoreOptions { reserve: true, ..StoreOptions::new(data_dir.clone()) };
            let store = SqliteStore::open(options)?;
            // As the module: the folder is free again when a start fails.
            let closed = ClosedUnlessWhole(Some(store.clone()));
            if data_dir.read("token")?.is_none() {
                data_dir.write_private("token", b"a token")?;
            }
            let vault = Arc::new(Vault::open(store.clone(), data_dir.clone(), env.clone())?);
            let runtime = Runtime::start(Options {
                store: store.clone(),
                executors: Arc::new(Executors::new(egress, env.clone()).with_secrets(vault.clone())),
                env: Env::new(clock, Arc::new(SystemRandom)),
                host_bus: Some(bus),
                defaults: Defaults::default(),
                runs_max: 16,
                queued_max: 100,
                workers: 2,
                poison_file: Some(folder.join("evaluating")),
                tokio: tokio::runtime::Handle::current(),
                signing_keys: Arc::new(NoKeys),
                known: Default::default(),
                pins: None,
                retention: None,
                meters: Arc::default(),
            })?;
            let handle = Handle::new(runtime.clone());
            closed.whole();
            Ok(Life { store, runtime, handle, vault })
        };
        match tokio::task::spawn_blocking(open).await {
            Ok(life) => life,
            Err(_) => Err(Error::new(&store_code::OPEN, "a panic in the start")),
        }
    }

    /// Stops in order, and whatever that meets leaves the folder free.
    pub async fn close(self) -> std::result::Result<(), String> {
        let Life { store, runtime, handle, vault } = self;
        let stopping = runtime.clone();
        let stopped = tokio::spawn(async move { stopping.stop(Duration::from_secs(3)).await }).await;
        let stopped = match stopped {
            Ok(stopped) => stopped.map_err(|error| error.to_string()),
            // The threads must be gone before the next life, so nothing goes wrong the second time.
            Err(_) => {
                chainbot_core::env::fault::arm(None);
                runtime.stop(Duration::from_secs(3)).await.map_err(|error| error.to_string())
            }
        };
        drop((handle, runtime, vault));
        tokio::task::spawn_blocking(move || store.close()).await.expect("closing contains its panics");
        stopped
    }
}

/// Closes the store of a start that failed.
struct ClosedUnlessWhole(Option<Arc<SqliteStore>>);

impl ClosedUnlessWhole {
    fn whole(mut self) {
        self.0 = None;
    }
}

impl Drop for ClosedUnlessWhole {
    fn drop(&mut self) {
        if let Some(store) = self.0.take() {
            store.close();
        }
    }
}
