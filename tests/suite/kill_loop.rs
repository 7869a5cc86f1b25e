//! The kill loop: the host with the module is killed at random instants under load, and nothing that was promised breaks.
//!
//! Each life of the process makes some starts of its own and repeats those that got no answer. A kill falls at a
//! random instant after the spawn (so also into loading and recovery), at one after it serves, or right upon an answer
//! or while an effect is in flight, when a lost commit would be noticed. `CHAINBOT_PROOF=long` takes 1,000 kills, `CHAINBOT_SEED` repeats the choices.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::crash::host::{Host, Module};
use crate::crash::ledger::Ledger;
use crate::crash::load::Load;
use crate::crash::{Random, now_ms, size, verdict};
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
}

impl Fall {
    fn choose(random: &mut Random) -> Self {
        match random.below(8) {
            0 | 1 => Fall::AfterSpawn(Duration::from_micros(random.below(200_000))),
            2 => Fall::OnAnswer,
            3 | 4 => Fall::OnEffect(Duration::from_micros(random.below(300_000))),
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
    let kills_wanted = size(60, 1_000);
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

/// One life of the process, up to its kill; gives the moment.
pub fn live(
    module: &Module,
    random: &mut Random,
    load: &mut Load,
    data: &std::path::Path,
    ledger: &Ledger,
) -> i64 {
    let mut host = Host::start_module(module, data, ledger.port);
    let killer = host.killer();
    let fall = Fall::choose(random);
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
        let mut wanted = load.open();
        if !load.starts.is_empty() {
            // Also one that was acknowledged: a repeat is the same run, however often it is killed between.
            wanted.push(random.below(load.starts.len() as u64) as usize);
        }
        let mut is_alive = true;
        for index in wanted {
            is_alive = load.send(&client, index);
            if !is_alive || matches!(fall, Fall::OnAnswer) {
                break;
            }
        }
        if matches!(fall, Fall::OnAnswer) {
            told(Duration::ZERO);
        } else if let Fall::OnEffect(at_most) = fall {
            // What came before is not the one to meet.
            while ledger.arrivals.try_recv().is_ok() {}
            let _ = ledger.arrivals.recv_timeout(at_most);
            told(Duration::ZERO);
        } else if is_alive && !load.starts.is_empty() {
            let index = random.below(load.starts.len() as u64) as usize;
            load.look(&client, index);
        }
    } else if !matches!(fall, Fall::AfterSpawn(_)) {
        drop(now);
        let _ = kill.join();
        panic!("the host ended by itself: {}", host.end().1);
    }
    let at = kill.join().expect("the killer does not panic");
    drop(now);
    let (code, stderr) = host.end();
    assert_eq!(code, None, "the host ended by itself, not by the kill: {stderr}");
    at
}

/// Every run that waits for its signal gets it, twice with one key, and completes.
fn open_the_gates(client: &crate::crash::client::Client, runs: &[verdict::Run]) {
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
