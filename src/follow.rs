//! Follows a run until it ends or the caller has had enough.
//!
//! The stream of events only wakes; what is shown is asked of the API each time. So an event that is cut, repeated
//! or missed does no harm, and a server and an embedded engine look alike.

use std::time::Duration;

use chainbot_core::model::{RunStatus, RunView, StepView};
use tokio::time::{Instant, sleep, sleep_until};

use crate::client::{Client, Events};
use crate::error::Result;
use crate::progress::Progress;

/// Between two looks at least: ten a second look smooth and stay far below the API's rate bound.
const PACE_MIN: Duration = Duration::from_millis(100);
/// Between two looks at most, should no event wake us.
const PACE_MAX: Duration = Duration::from_secs(1);
/// The share of time that looking may take is one in this many: long runs have thousands of steps.
const PACE_SHARE: u32 = 5;
/// Instances of steps that are looked at; a loop may make more, and their lines would help nobody.
pub const STEPS_MAX: usize = 10_000;

/// How long a server may be away, for an upgrade or a restart, before following is given up.
const AWAY_MAX: Duration = Duration::from_secs(15);
/// Between two looks for a server that is away.
const AWAY_PACE: Duration = Duration::from_millis(250);

/// When to leave before the run ends.
pub struct Until {
    /// When it waits.
    pub waiting: bool,
    /// After this time.
    pub timeout: Option<Duration>,
}

/// Why following ended.
pub enum End {
    /// The run is over.
    Over(RunView),
    /// It waits, and the caller would not.
    Waits(RunView),
    /// The time is up.
    TimeUp(RunView),
}

/// Follows a run, showing its steps.
pub async fn follow(client: &Client, id: &str, progress: &mut Progress, until: &Until) -> Result<End> {
    // A time so far away that adding it would overflow is no limit.
    let deadline = until.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut events = Some(client.events(id).await?);
    // Steps before this one are over and are not asked for again.
    let mut settled = 0;
    let mut away: Option<Instant> = None;
    loop {
        let begin = Instant::now();
        let run = match look(client, id, &mut settled, progress).await {
            Ok(run) => run,
            // The run goes on with the server, and a look changes nothing.
            Err(error) if error.is_away() && away.get_or_insert(begin).elapsed() < AWAY_MAX => {
                sleep(AWAY_PACE).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        if away.take().is_some() {
            events = client.events(id).await.ok();
        }
        if run.status.is_terminal() {
            return Ok(End::Over(run));
        }
        if until.waiting && matches!(run.status, RunStatus::Waiting | RunStatus::Paused) {
            return Ok(End::Waits(run));
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(End::TimeUp(run));
        }
        let pace = begin + PACE_MIN.max(begin.elapsed() * PACE_SHARE);
        tokio::select! {
            () = woken(&mut events) => {}
            () = sleep(PACE_MAX) => {}
            () = at(deadline) => continue,
            error = client.failed() => return Err(error),
        }
        sleep_until(deadline.map_or(pace, |deadline| pace.min(deadline))).await;
    }
}

async fn look(client: &Client, id: &str, settled: &mut usize, progress: &mut Progress) -> Result<RunView> {
    // The run first: when it is over, the steps that are read after it are final.
    let run: RunView = client.get(&format!("/runs/{id}")).await?;
    *settled += show_steps(client, id, *settled, progress).await?;
    Ok(run)
}

/// Shows the steps from `settled` on; returns how many of them, from the first, are over.
async fn show_steps(client: &Client, id: &str, settled: usize, progress: &mut Progress) -> Result<usize> {
    let room = STEPS_MAX.saturating_sub(settled);
    if room == 0 {
        return Ok(0);
    }
    let cursor = (settled > 0).then(|| settled.to_string());
    let path = format!("/runs/{id}/steps");
    let (steps, _) = client.list_after::<StepView>(&path, cursor, room).await?;
    progress.update(&steps);
    Ok(steps.iter().take_while(|step| step.status.is_terminal()).count())
}

/// Waits for an event. A stream that ended or broke is not taken up again: the regular look goes on, and says so
/// if the server is gone.
async fn woken(events: &mut Option<Events>) {
    match events {
        Some(stream) => {
            if !matches!(stream.happened().await, Ok(true)) {
                *events = None;
            }
        }
        None => std::future::pending().await,
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
