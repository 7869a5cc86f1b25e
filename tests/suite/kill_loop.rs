//! The kill loops: the host with the module is killed at random instants under load, and nothing that was promised breaks.
//!
//! Two loops stand side by side: one of effects, one of people and triggers. Each life of the process makes some requests of
//! its own and repeats those that got no answer. A kill falls at a random instant after the spawn (so also into loading and
//! recovery), at one after it serves, right upon an answer, while an effect is in flight, when a lost commit would be noticed,
//! or into a stop. The second loop begins in the migration of an old database. `CHAINBOT_PROOF=long` takes 10,000 kills,
//! `CHAINBOT_SEED` repeats the choices.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::crash::client::Client;
use crate::crash::crowd::{CROWD, Crowd, STARTED};
use crate::crash::host::{Host, Module};
use crate::crash::ledger::Ledger;
use crate::crash::load::Load;
use crate::crash::{Random, crowd_verdict, now_ms, size, verdict};
use crate::support;

/// When a life ends.
enum Fall {
    /// So long after the spawn.
    AfterSpawn(Duration),
    /// So long after it serves.
    AfterReady(Duration),
    /// Upon the answer to its first start.
    OnAnswer,
    /// When the ledger has counted an effect and has not answered, or so long after it serves when there is none.
    OnEffect(Duration),
    /// So long after it was asked to stop.
    InStop(Duration),
}

impl Fall {
    fn choose(random: &mut Random) -> Self {
        match random.below(10) {
            0 | 1 => Fall::AfterSpawn(Duration::from_micros(random.below(200_000))),
            2 => Fall::OnAnswer,
            3 | 4 => Fall::OnEffect(Duration::from_micros(random.below(300_000))),
            5 => Fall::InStop(Duration::from_micros(random.below(60_000))),
            _ => Fall::AfterReady(Duration::from_micros(random.below(300_000))),
        }
    }
}

#[test]
fn nothing_that_was_promised_breaks_under_kills() {
    if !support::has_tool("python3") {
        support::skip!("kill_loop", "no python3 for the ledger");
    }
    let mut random = Random::seeded("kill_loop");
    let kills_wanted = size(60, 4_000);
    let runs_wanted = kills_wanted * 50 / 60;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let ledger = Ledger::start(folder.path(), 40);
    let mut load = Load::new(ledger.url());
    let mut kills = Vec::new();

    let mut host = Host::start(&data, ledger.port);
    Load::define(&host.ready(&data).expect("it starts"));
    let killer = host.killer();
    killer.kill();
    kills.push(now_ms());
    host.end();
    while (kills.len() as u64) < kills_wanted {
        let life = kills.len() as u64 + 1;
        while (load.starts.len() as u64) < runs_wanted * life / kills_wanted {
            load.add();
        }
        kills.push(live(&Module::shipped(), &mut random, &mut load, &data, &ledger));
    }

    let mut host = Host::start(&data, ledger.port);
    let client = host.ready(&data).expect("it starts once more");
    for index in load.open() {
        assert!(load.send(&client, index), "start {index} gets no answer from a host that lives");
    }
    client.wait_until(|| verdict::is_settled(&client));
    let runs = verdict::read(&client);
    let wrong = verdict::check(&runs, &load, &ledger.counted(), &kills);
    assert!(wrong.is_empty(), "{} after {} kills:\n{}", wrong.len(), kills.len(), wrong.join("\n"));
    open_the_gates(&client, &runs);
    let runs = verdict::read(&client);
    let wrong = verdict::check(&runs, &load, &ledger.counted(), &kills);
    assert!(wrong.is_empty(), "after the signals:\n{}", wrong.join("\n"));
    report(&runs, &load, &ledger, kills.len());
    host.terminate();
    let (code, stderr) = host.end();
    assert_eq!(code, Some(0), "{stderr}");
    verdict::check_database(&data);
}

/// One life of the process under the load of effects, up to its kill; gives the moment.
pub fn live(module: &Module, random: &mut Random, load: &mut Load, data: &Path, ledger: &Ledger) -> i64 {
    let fall = Fall::choose(random);
    let host = Host::start_module(module, data, ledger.port);
    live_one(host, data, ledger, fall, |client, until_answer| {
        act(load, client, random, until_answer);
    })
}

/// Starts that are open, and one that may have been acknowledged: a repeat is the same run, however often it is killed between.
fn act(load: &mut Load, client: &Client, random: &mut Random, until_answer: bool) -> bool {
    let mut wanted = load.open();
    if !load.starts.is_empty() {
        wanted.push(random.below(load.starts.len() as u64) as usize);
    }
    let mut is_alive = true;
    for index in wanted {
        is_alive = load.send(client, index);
        if !is_alive || until_answer {
            break;
        }
    }
    if is_alive && !until_answer && !load.starts.is_empty() {
        let index = random.below(load.starts.len() as u64) as usize;
        load.look(client, index);
    }
    is_alive
}

/// One life of the process, up to its kill; gives the moment. `act` is told whether to end with its first answer.
fn live_one(
    mut host: Host,
    data: &Path,
    ledger: &Ledger,
    fall: Fall,
    act: impl FnOnce(&Client, bool),
) -> i64 {
    let killer = host.killer();
    let (now, kill_now) = channel::<Duration>();
    let kill = std::thread::spawn(move || {
        // Until told how long to let it live; then for that long, which is the random instant itself.
        let wait = kill_now.recv().unwrap_or_default();
        match kill_now.recv_timeout(wait) {
            Ok(_) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => killer.kill(),
        }
        now_ms()
    });
    // The driver keeps its end of the channel until the kill, for dropping it would be one.
    let told = |after: Duration| now.send(after).expect("the killer waits");
    if let Fall::AfterSpawn(after) = fall {
        told(after);
    }
    if let Some(client) = host.ready(data) {
        if let Fall::AfterReady(after) = fall {
            told(after);
        }
        act(&client, matches!(fall, Fall::OnAnswer));
        match fall {
            Fall::OnAnswer => told(Duration::ZERO),
            Fall::OnEffect(at_most) => {
                // What came before is not the one to meet.
                while ledger.arrivals.try_recv().is_ok() {}
                let _ = ledger.arrivals.recv_timeout(at_most);
                told(Duration::ZERO);
            }
            Fall::InStop(after) => {
                host.terminate();
                told(after);
            }
            Fall::AfterSpawn(_) | Fall::AfterReady(_) => {}
        }
    } else if !matches!(fall, Fall::AfterSpawn(_)) {
        drop(now);
        let _ = kill.join();
        panic!("the host ended by itself: {}", host.end().1);
    }
    let at = kill.join().expect("the killer does not panic");
    drop(now);
    let (code, stderr) = host.end();
    // A stop may be done before the kill.
    let is_stopped = matches!(fall, Fall::InStop(_)) && code == Some(0);
    assert!(code.is_none() || is_stopped, "the host ended by itself ({code:?}), not by the kill: {stderr}");
    at
}

#[test]
fn people_and_triggers_get_what_was_promised_under_kills() {
    if !support::has_tool("python3") {
        support::skip!("kill_loop", "no python3 for the ledger");
    }
    let mut random = Random::seeded("kill_loop of people and triggers");
    let kills_wanted = size(140, 6_000);
    let starts_wanted = kills_wanted * 11 / 14;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::copy(support::root().join("tests/data/databases/schema-1.db"), data.join("chainbot.db"))
        .unwrap();
    let ledger = Ledger::start(folder.path(), 30);
    let start = || Host::with(&data, &settings(ledger.port));
    let (mut load, mut crowd) = (Load::of(ledger.url(), STARTED.to_vec()), Crowd::default());
    let mut kills = Vec::new();

    // Into the migration of the old database, and whatever of it is left.
    for _ in 0..4 {
        let fall = Fall::AfterSpawn(Duration::from_micros(random.below(80_000)));
        kills.push(live_one(start(), &data, &ledger, fall, |_, _| {}));
    }
    let mut host = start();
    let client = host.ready(&data).expect("it starts");
    Crowd::define(&client);
    Load::define_all(&client, CROWD);
    host.killer().kill();
    kills.push(now_ms());
    host.end();
    while (kills.len() as u64) < kills_wanted {
        let life = kills.len() as u64 + 1;
        while (load.starts.len() as u64) < starts_wanted * life / kills_wanted {
            load.add();
        }
        // Some live long enough for upkeep to begin.
        let fall = match life % 70 {
            69 => Fall::AfterReady(Duration::from_micros(5_400_000 + random.below(400_000))),
            _ => Fall::choose(&mut random),
        };
        kills.push(live_one(start(), &data, &ledger, fall, |client, until_answer| {
            if act(&mut load, client, &mut random, until_answer) && !until_answer {
                crowd.act(client, &load, &mut random);
            }
        }));
    }

    let mut host = start();
    let client = host.ready(&data).expect("it starts once more");
    for index in load.open() {
        assert!(load.send(&client, index), "start {index} gets no answer from a host that lives");
    }
    let off = client.send("POST", "/api/chainbot/workflows/tick/disable", "", "").expect("an answer");
    assert_eq!(off.status, 200, "{}", off.body);
    client.wait_until(|| {
        crowd.finish(&client, &load);
        crowd_verdict::is_over(&client)
    });
    let mut runs = verdict::read(&client);
    runs.retain(|run| crowd_verdict::is_ours(&run.workflow.as_str().into()));
    let (counted, moments) = (ledger.counted(), ledger.moments());
    let wrong = crowd_verdict::check(&runs, &load, &crowd, &counted, &moments, &kills);
    assert!(wrong.is_empty(), "{} after {} kills:\n{}", wrong.len(), kills.len(), wrong.join("\n"));
    let archived = crowd_verdict::archived(&data);
    println!(
        "kill_loop of people and triggers: {} kills, {} runs, {archived} archived meanwhile, {} effects sent {} times, {} \
         answers, {} signals, {} cancels, {} deliveries, {} starts and {} others repeated",
        kills.len(),
        runs.len(),
        counted.len(),
        counted.values().map(Vec::len).sum::<usize>(),
        crowd.answers.len(),
        crowd.signals.len(),
        crowd.cancels.len(),
        crowd.deliveries.len(),
        load.repeats,
        crowd.repeats
    );
    assert!(archived > 0, "upkeep never ran under the kills");
    host.terminate();
    let (code, stderr) = host.end();
    assert_eq!(code, Some(0), "{stderr}");
    verdict::check_database(&data);
}

/// Enough at once, and upkeep that takes what is over at its first look.
fn settings(ledger_port: u16) -> [String; 5] {
    let grant =
        serde_json::json!([{ "host": "127.0.0.1", "ports": [ledger_port], "why": "the test's ledger" }]);
    [
        "api.port=0".to_owned(),
        "api.rate_limit_per_token=0".to_owned(),
        "workflow_engine.max_concurrent_workflows=64".to_owned(),
        "retention.archive_after=0".to_owned(),
        format!("egress.grants={grant}"),
    ]
}

/// Every run that waits for its signal gets it, twice with one key, and completes.
fn open_the_gates(client: &Client, runs: &[verdict::Run]) {
    for run in runs.iter().filter(|run| run.workflow == "signalled") {
        for _ in 0..2 {
            let path = format!("/api/chainbot/runs/{}/signal/go", run.id);
            let headers = format!("idempotency-key: go-{}\r\n", run.n);
            let reply = client.send("POST", &path, &headers, "").expect("an answer");
            // A repeat may find the run over.
            assert!(matches!(reply.status, 200 | 409), "{}: {}", reply.status, reply.body);
        }
    }
    client.wait_until(|| {
        let done = |run: &&verdict::Run| {
            client.get(&format!("/api/chainbot/runs/{}", run.id))["status"] == "completed"
        };
        runs.iter().filter(|run| run.workflow == "signalled").all(|run| done(&run))
    });
}

/// What the loop saw, so that a loop without kills in flight is noticed by a reader.
fn report(runs: &[verdict::Run], load: &Load, ledger: &Ledger, kills: usize) {
    let of = |status: &str| runs.iter().filter(|run| run.status == status).count();
    let counted = ledger.counted();
    let sent: usize = counted.values().map(Vec::len).sum();
    println!(
        "kill_loop: {kills} kills, {} runs ({} completed, {} failed as declared, {} asking), {} effects sent {sent} \
         times, {} starts repeated",
        runs.len(),
        of("completed"),
        of("failed"),
        of("waiting"),
        counted.len(),
        load.repeats
    );
    assert!(sent > counted.len(), "no kill met an effect in flight: the loop proves nothing");
}
