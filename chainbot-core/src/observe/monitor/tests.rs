//! The monitor over a machine made of files, one look after another.

use super::super::system::Fake;
use super::*;
use crate::env::{SeededRandom, VirtualClock};
use crate::port::Published;
use crate::store::memory::MemoryStore;
use crate::time::Timestamp;

/// What the host was told, as `alert state value` or `before -> status`.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl EventBus for Heard {
    fn publish(&self, topic: &str, payload: &str, _: &str, _: Timestamp) -> Published {
        assert_eq!(topic, "chainbot.health.changed");
        let event: Value = serde_json::from_str(payload).unwrap();
        assert_eq!((&event["specversion"], &event["type"]), (&json!("1.0"), &json!(topic)));
        let data = &event["data"];
        let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
        self.0.lock().push(match data["alert"].is_string() {
            true => {
                format!("{} {} {:.0}", text("alert"), text("state"), data["value"].as_f64().unwrap_or(-1.0))
            }
            false => format!("{} -> {}", text("before"), text("status")),
        });
        Published::Sent
    }

    fn subscribe(&self, _: &str) -> Result<()> {
        Ok(())
    }
}

struct Bench {
    fake: Fake,
    heard: Arc<Heard>,
    meters: Arc<Meters>,
    store: Arc<MemoryStore>,
    engine: Arc<Mutex<f64>>,
    monitor: Arc<Monitor>,
}

const RULES: Rules = Rules {
    every: Duration::from_secs(30),
    is_alerting: true,
    has_sensors: true,
    cpu_percent: 80.0,
    memory_percent: 80.0,
    disk_percent: 90.0,
    error_percent: 5.0,
    temperature_c: 70.0,
};

impl Bench {
    fn new() -> Self {
        Self::with(10, RULES)
    }

    fn with(disk_used: u64, rules: Rules) -> Self {
        let (fake, heard, meters) = (Fake::pi(), Arc::new(Heard::default()), Arc::<Meters>::default());
        let (store, engine) = (MemoryStore::without_thread(), Arc::new(Mutex::new(1.0)));
        let of_engine = engine.clone();
        let monitor = Monitor::idle(MonitorOptions {
            store: store.clone(),
            system: fake.system(disk_used),
            meters: meters.clone(),
            rules,
            env: Env::new(Arc::new(VirtualClock::default()), Arc::new(SeededRandom::new(1))),
            bus: Some(heard.clone()),
            components: Box::new(move || {
                let score = *of_engine.lock();
                let reason = (score < 1.0).then(|| "threads were lost".to_owned());
                vec![
                    ("database", Component::new(1.0, None)),
                    ("workflow_engine", Component::new(score, reason)),
                ]
            }),
        });
        Self { fake, heard, meters, store, engine, monitor }
    }

    /// Looks so often; what was told meanwhile.
    fn looks(&self, times: u32) -> Vec<String> {
        (0..times).for_each(|_| self.monitor.look());
        std::mem::take(&mut *self.heard.0.lock())
    }

    fn temperature(&self, degrees: u32) {
        self.fake.put("sys/class/thermal/thermal_zone0/temp", &format!("{degrees}000\n"));
    }

    fn score(&self, name: &str) -> (f64, String) {
        let report = self.monitor.report();
        let (_, component, _) = report.checks.iter().find(|(of, _, _)| *of == name).unwrap();
        (component.score, report.detail)
    }
}

#[test]
fn all_is_well_at_rest() {
    let bench = Bench::new();
    assert_eq!(bench.looks(5), Vec::<String>::new());
    let report = bench.monitor.report();
    assert_eq!((report.score, report.detail.as_str()), (1.0, "ok"));
    let names: Vec<&str> = report.checks.iter().map(|(name, _, _)| *name).collect();
    assert_eq!(names, ["database", "workflow_engine", "system"]);
    assert!(report.checks[0].2.is_some(), "the database was asked, and that took some time");
    assert_eq!(bench.monitor.open_questions(), Some(0));
}

#[test]
fn an_alert_is_told_once_when_it_is_raised_and_once_when_it_is_cleared() {
    let bench = Bench::new();
    bench.temperature(70);
    assert_eq!(bench.looks(2), Vec::<String>::new(), "a peak is no news");
    assert_eq!(bench.looks(1), ["temperature raised 70"]);
    assert_eq!(bench.looks(9), Vec::<String>::new(), "it was told");
    let (score, detail) = bench.score("system");
    assert_eq!((score, detail.as_str()), (0.7, "system: temperature 70 °C"));
    // Between the threshold and the margin below it, it stays; and three looks in a row must agree.
    bench.temperature(67);
    assert_eq!(bench.looks(9), Vec::<String>::new());
    bench.temperature(60);
    assert_eq!(bench.looks(2), Vec::<String>::new());
    bench.temperature(69);
    bench.looks(1);
    bench.temperature(60);
    assert_eq!(bench.looks(2), Vec::<String>::new());
    assert_eq!(bench.looks(1), ["temperature cleared 60"]);
    assert_eq!(bench.monitor.report().score, 1.0);
}

#[test]
fn each_threshold_raises_its_own_alert() {
    let memory = Bench::new();
    memory.fake.put("proc/meminfo", "MemTotal: 100 kB\nMemAvailable: 15 kB\n");
    assert_eq!(memory.looks(4), ["memory raised 85"]);
    assert_eq!(memory.score("system"), (0.8, "system: memory 85%".to_owned()));

    let disk = Bench::with(95, RULES);
    assert_eq!(disk.looks(4), ["disk raised 95"]);

    let cpu = Bench::new();
    let mut told = Vec::new();
    for look in 1..=4_u32 {
        cpu.fake.put("proc/stat", &format!("cpu  {} 0 0 800 0 0 0 0\n", 1_000 * look));
        told.extend(cpu.looks(1));
    }
    assert_eq!(told, ["cpu raised 100"], "from the second look on there is a value");

    let errors = Bench::new();
    let mut told = Vec::new();
    for _ in 0..3 {
        (0..18).for_each(|_| errors.meters.requests.one("GET", "/a", 200));
        (0..2).for_each(|_| errors.meters.requests.one("GET", "/a", 500));
        told.extend(errors.looks(1));
    }
    assert_eq!(told, ["errors raised 10"]);
    // Too few requests to say anything: as good as none.
    (0..3).for_each(|_| {
        errors.meters.requests.one("GET", "/a", 500);
        told.extend(errors.looks(1));
    });
    assert_eq!(told, ["errors raised 10", "errors cleared -1"]);
}

#[test]
fn alerts_can_be_switched_off_and_sensors_too() {
    let bench = Bench::with(95, Rules { is_alerting: false, ..RULES });
    bench.temperature(99);
    assert_eq!(bench.looks(5), Vec::<String>::new());
    assert_eq!(bench.monitor.report().score, 1.0);
    bench.monitor.set_rules(Rules { has_sensors: false, ..RULES });
    assert_eq!(bench.looks(4), ["disk raised 95"], "the sensors are not looked at");
    assert_eq!(bench.monitor.reading().temperature_c, None);
    bench.monitor.set_rules(Rules { is_alerting: false, ..RULES });
    assert_eq!(bench.monitor.report().score, 1.0, "what was raised is over");
}

#[test]
fn a_component_that_breaks_is_named_and_its_label_is_told_once() {
    let bench = Bench::new();
    bench.looks(1);
    *bench.engine.lock() = 0.6;
    assert_eq!(bench.looks(3), ["healthy -> degraded"]);
    assert_eq!(bench.score("workflow_engine"), (0.6, "workflow_engine: threads were lost".to_owned()));
    *bench.engine.lock() = 1.0;
    assert_eq!(bench.looks(2), ["degraded -> healthy"]);
    bench.store.close();
    assert_eq!(bench.looks(2), ["healthy -> unhealthy"]);
    let (score, detail) = bench.score("database");
    assert_eq!(score, 0.3);
    assert!(detail.starts_with("database: it does not answer"), "{detail}");
    assert_eq!(bench.monitor.open_questions(), None);
}

#[test]
fn the_thread_looks_at_once_and_ends_when_it_is_closed() {
    let bench = Bench::new();
    let store = bench.store.clone();
    let monitor = Monitor::start(MonitorOptions {
        store,
        system: bench.fake.system(10),
        meters: bench.meters.clone(),
        rules: RULES,
        env: Env::system(),
        bus: None,
        components: Box::new(Vec::new),
    })
    .unwrap();
    // Closing waits for the thread, which looks before it sleeps.
    monitor.close();
    assert_eq!(monitor.open_questions(), Some(0));
}
