//! `chainbot events`: what happens on a server, as it happens, from where it was left.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::args::Events;
use crate::client::{Happened, segment};
use crate::error::{Result, code};
use crate::output::{self, Stream, Tone, printable};
use crate::session::Session;

/// How long a server may be away, for an upgrade or a restart, before following is given up.
const AWAY_MAX: Duration = Duration::from_secs(15);
/// Between two looks for a server that is away.
const AWAY_PACE: Duration = Duration::from_millis(250);
/// What is shown of an event's data; `--json` shows it whole.
const DATA_CHARS_MAX: usize = 160;

/// Follows until the server is gone for good, or until so many were shown.
pub async fn run(args: &Events) -> Result<u8> {
    let mut since = args.since;
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut away: Option<Instant> = None;
    loop {
        match follow(args, &mut since, &mut left, &mut away).await {
            Ok(()) if left == 0 => return Ok(0),
            // The server ended the stream: it stops, or starts anew.
            Ok(()) => {}
            // One that was there may be between its end and its next start, with no place to be found at.
            Err(error)
                if (error.is_away() || error.code() == code::NO_SERVER.id)
                    && away.is_some_and(|since| since.elapsed() < AWAY_MAX) => {}
            Err(error) => return Err(error),
        }
        away.get_or_insert_with(Instant::now);
        sleep(AWAY_PACE).await;
    }
}

async fn follow(
    args: &Events,
    since: &mut Option<u64>,
    left: &mut u64,
    away: &mut Option<Instant>,
) -> Result<()> {
    // Anew each time: a server that was started again may have another port.
    let session = Session::remote(&args.place)?;
    let mut query = format!("topics={}", segment(&args.topics.join(",")));
    if let Some(since) = since {
        query.push_str(&format!("&since={since}"));
    }
    let mut events = session.client.stream(&query).await?;
    *away = None;
    while *left > 0 {
        let event = match events.next().await {
            Ok(Some(event)) => event,
            // It ended the stream, or died over it.
            Ok(None) => {
                *away = Some(Instant::now());
                return Ok(());
            }
            Err(error) => {
                *away = Some(Instant::now());
                return Err(error);
            }
        };
        if let Some(id) = event.id.as_ref().and_then(|id| id.parse().ok()) {
            *since = Some(id);
        }
        if !event.kind.is_empty() {
            show(args, &event)?;
            *left -= 1;
        }
    }
    Ok(())
}

fn show(args: &Events, event: &Happened) -> Result<()> {
    let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
    if args.json.json {
        let seq = event.id.as_ref().and_then(|id| id.parse::<u64>().ok());
        return output::json_line(&json!({ "type": event.kind, "seq": seq, "data": data }));
    }
    let text = |name: &str| data.get(name).and_then(Value::as_str).map(printable).unwrap_or_default();
    let mut words: Vec<String> =
        ["workflow", "run", "step", "status", "level", "message"].map(text).into_iter().collect();
    words.retain(|word| !word.is_empty());
    if words.is_empty() {
        words.push(printable(&event.data).chars().take(DATA_CHARS_MAX).collect());
    }
    let kind = Stream::Stdout.paint(Tone::Faint, &format!("{:<20}", printable(&event.kind)));
    output::line(&format!("{kind} {}", words.join("  ")))
}
