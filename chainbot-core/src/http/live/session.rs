//! One WebSocket from its upgrade to its end: who it is, what it asks, what it is told.
//!
//! ```text
//! upgrade ─► [first frame says who] ─► welcome ─► loop { the end? pings, checks, client's frames, events } ─► close
//! ```
//!
//! Invariants: nothing is told before it is known who listens, nor after that ended; events are taken only while the client's
//! queue has room, so a slow client costs a bounded queue, and one that takes nothing at all is closed. Every end has a code.

use std::sync::Arc;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use super::dialect::{Dialect, Plain, Said, Stand, Wish, mistake, token_of};
use super::event::{Event, READ};
use super::seats::Seat;
use super::sight::Sight;
use super::source::{Source, Told, is_foreign};
use super::window::{Old, Window};
use super::wire::{Came, Wire};
use crate::auth::Who;
use crate::env::Env;
use crate::error::code::general;
use crate::error::{Error, Result};
use crate::http::Shared;
use crate::http::backend::Backend;
use crate::id::Lsn;
use crate::limits::{SOCKET_AUTH_BYTES_MAX, SOCKET_MISTAKES_MAX};

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// Topics.
    Plain,
    /// The frames of the previous system.
    Window(Window),
}

/// A WebSocket that was accepted.
pub struct Session {
    /// What handlers have in common.
    pub(in crate::http) shared: Arc<Shared>,
    /// Its place.
    pub seat: Seat,
    /// Who it is; `None` when the first frame says so.
    pub who: Option<Arc<Who>>,
    /// What is spoken.
    pub speaks: Speaks,
    /// Where it comes from, for people.
    pub peer: String,
}

/// Why it ends. The codes are in docs/websocket.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Left,
    Closing,
    Protocol,
    Binary,
    NotText,
    TooLarge,
    Mistakes,
    Unknown,
    Over,
    Forbidden,
    Silent,
    Full,
    Slow,
    Lost,
}

impl End {
    /// Whether what waits for the client is not for it any more, or can only hold up the end.
    fn leaves_the_rest(self) -> bool {
        matches!(self, End::Over | End::Slow | End::Silent)
    }

    fn code(self) -> (u16, &'static str) {
        match self {
            End::Left => (1000, ""),
            End::Closing => (1001, "ChainBot stops; come again with `since`"),
            End::Protocol => (1002, "that is no WebSocket frame"),
            End::Binary => (1003, "frames are text"),
            End::NotText => (1007, "that is no UTF-8"),
            End::TooLarge => (1009, "the message is over its bound"),
            End::Lost => (1011, "the journal cannot be read; come again with `since`"),
            End::Mistakes => (4400, "too many frames that cannot be used"),
            End::Unknown => (4401, "who this is was not said in time, or is not known"),
            End::Over => (4401, "the login or the token is over, or its role has changed"),
            End::Forbidden => (4403, "this needs chainbot:read"),
            End::Silent => (4408, "no answer to a ping"),
            End::Full => (4429, "this user has as many WebSockets as one may have"),
            End::Slow => (4430, "too slow: nothing was taken for too long; come again with `since`"),
        }
    }
}

type Socket = Wire<TokioIo<Upgraded>>;

impl Session {
    /// To the end of the connection.
    pub async fn run(self, on: OnUpgrade) {
        let upgraded = match on.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                log::debug!(target: "chainbot::http", "a WebSocket was not opened: {error}");
                return;
            }
        };
        let limits = *self.shared.live.limits();
        let mut wire = Wire::new(TokioIo::new(upgraded), limits.message_bytes, limits.queue_frames).await;
        // Kept until the connection is closed, so that places are places of connections.
        let (mut seat, shared) = (self.seat, self.shared);
        let mut closing = shared.closing.subscribe();
        let who = match self.who {
            Some(who) => Ok(who),
            None => stranger(&shared, &mut seat, &mut wire, &mut closing, &self.peer).await,
        };
        let end = match who {
            Err(end) => end,
            Ok(who) => {
                let sight = Sight::new(shared.accounts.clone(), who);
                let dialect = dialect(self.speaks, &shared.env);
                Talk::new(&shared, &mut wire, sight, dialect).run(&mut closing).await
            }
        };
        let (code, reason) = end.code();
        log::debug!(target: "chainbot::http", "a WebSocket of {} ends: {code} {reason}", self.peer);
        if end.leaves_the_rest() {
            wire.drop_waiting();
        }
        wire.close(code, reason, limits.close_timeout).await;
        drop(seat);
    }
}

fn dialect(speaks: Speaks, env: &Env) -> Box<dyn Dialect> {
    match speaks {
        Speaks::Plain => Box::new(Plain::default()),
        Speaks::Window(window) => {
            let connection = uuid::Builder::from_random_bytes(env.bytes()).into_uuid().to_string();
            Box::new(Old::new(window, connection))
        }
    }
}

/// Waits for the first frame, which says who it is.
async fn stranger(
    shared: &Shared,
    seat: &mut Seat,
    wire: &mut Socket,
    closing: &mut watch::Receiver<bool>,
    peer: &str,
) -> std::result::Result<Arc<Who>, End> {
    let first = async {
        loop {
            match wire.next().await {
                Came::Text(text) if text.len() > SOCKET_AUTH_BYTES_MAX => return Err(End::TooLarge),
                Came::Text(text) => return Ok(text),
                Came::Alive | Came::Room | Came::Stuck => {}
                other => return Err(end_of(&other)),
            }
        }
    };
    let text = tokio::select! {
        biased;
        () = closed(closing) => return Err(End::Closing),
        text = tokio::time::timeout(shared.live.limits().auth_time, first) => text.unwrap_or(Err(End::Unknown))?,
    };
    let who = token_of(&text).and_then(|token| shared.guard.known(&token, peer));
    let who = who.map_err(|error| {
        let id = shared.env.bytes::<16>();
        let request = uuid::Builder::from_random_bytes(id).into_uuid().to_string();
        shared.refused.note(shared.engine.machine().audit(), &shared.env, &request, error.message(), peer);
        End::Unknown
    })?;
    who.may(shared.accounts.access(), READ, None).map_err(|_| End::Forbidden)?;
    seat.is_of(who.user).map_err(|_| End::Full)?;
    Ok(Arc::new(who))
}

fn end_of(came: &Came) -> End {
    match came {
        Came::Binary => End::Binary,
        Came::TooLarge => End::TooLarge,
        Came::NotText => End::NotText,
        Came::Broken => End::Protocol,
        Came::Text(_) | Came::Alive | Came::Room | Came::Stuck | Came::Gone => End::Left,
    }
}

/// A session whose client is known.
struct Talk<'a> {
    shared: &'a Arc<Shared>,
    /// For whoever listens: what is not theirs is not there.
    engine: Arc<dyn Backend>,
    wire: &'a mut Socket,
    sight: Sight,
    dialect: Box<dyn Dialect>,
    source: Option<Source>,
    mistakes: u32,
    /// When the client last gave a sign of life, and when it was asked for one that is still to come.
    heard: Instant,
    asked: Option<Instant>,
    checked: Instant,
}

impl<'a> Talk<'a> {
    fn new(shared: &'a Arc<Shared>, wire: &'a mut Socket, sight: Sight, dialect: Box<dyn Dialect>) -> Self {
        let now = Instant::now();
        let (source, asked) = (None, None);
        let engine = shared.engine.of_known(sight.who()).shared();
        Self { shared, engine, wire, sight, dialect, source, mistakes: 0, heard: now, asked, checked: now }
    }

    async fn run(mut self, closing: &mut watch::Receiver<bool>) -> End {
        let mut accounts = self.shared.accounts.changes();
        let ping_s = self.shared.live.limits().ping_interval.as_secs();
        self.say(&self.dialect.welcome(self.sight.who(), ping_s));
        if self.dialect.listens_at_once() {
            match Source::open(&self.shared.live, self.engine.clone(), None).await {
                Ok(source) => self.source = Some(source),
                Err(error) => {
                    log::warn!(target: "chainbot::http", "a window cannot be told anything: {error:?}");
                    return End::Lost;
                }
            }
        }
        // What changed since the request was looked at is not told by `accounts`.
        if !self.sight.is_current() {
            return End::Over;
        }
        loop {
            let has_room = self.wire.has_room();
            let next = self.next_look();
            tokio::select! {
                biased;
                () = closed(closing) => return End::Closing,
                changed = accounts.changed() => {
                    // The sender lives as long as the accounts, which the service holds.
                    if changed.is_err() || !self.sight.is_current() {
                        return End::Over;
                    }
                }
                came = self.wire.next() => {
                    if let Err(end) = self.take(came).await {
                        return end;
                    }
                }
                () = tokio::time::sleep_until(next) => {
                    if let Err(end) = self.look(Instant::now()) {
                        return end;
                    }
                }
                told = next_of(&mut self.source), if has_room => {
                    if let Err(end) = self.tell(told) {
                        return end;
                    }
                }
            }
            // A backlog never waits; without this it would keep a worker of the runtime to itself.
            tokio::task::consume_budget().await;
        }
    }

    /// When there is something to look after, whatever happens.
    fn next_look(&self) -> Instant {
        let limits = self.shared.live.limits();
        let ping = match self.asked {
            Some(asked) => asked + limits.ping_timeout,
            None => self.heard + limits.ping_interval,
        };
        let stuck = self.wire.stuck().map(|since| since + limits.ping_timeout);
        let check = self.checked + limits.recheck;
        stuck.into_iter().fold(ping.min(check), Instant::min)
    }

    fn look(&mut self, now: Instant) -> std::result::Result<(), End> {
        let limits = self.shared.live.limits();
        if self.wire.stuck().is_some_and(|since| since + limits.ping_timeout <= now) {
            return Err(End::Slow);
        }
        if self.checked + limits.recheck <= now {
            self.checked = now;
            if !self.sight.is_current() {
                return Err(End::Over);
            }
        }
        match self.asked {
            Some(asked) if asked + limits.ping_timeout <= now => Err(End::Silent),
            None if self.heard + limits.ping_interval <= now => {
                self.wire.ping();
                self.asked = Some(now);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Takes what came of the client.
    async fn take(&mut self, came: Came) -> std::result::Result<(), End> {
        if let Came::Text(_) | Came::Alive = came {
            self.heard = Instant::now();
            self.asked = None;
        }
        let text = match came {
            Came::Text(text) => text,
            Came::Alive | Came::Room | Came::Stuck => return Ok(()),
            other => return Err(end_of(&other)),
        };
        let stand = Stand { told: self.position(), newest: self.engine.newest_lsn() };
        let done = match self.allowed().and_then(|()| self.dialect.hear(&text, stand)) {
            Ok(Wish::Answer(said)) => {
                self.say(&said);
                Ok(())
            }
            Ok(Wish::Listen(since, said)) => self.listen(since, &said).await,
            Err(error) => Err(error),
        };
        let Err(error) = done else { return Ok(()) };
        self.say(&mistake(&error));
        self.mistakes += 1;
        if self.mistakes >= SOCKET_MISTAKES_MAX { Err(End::Mistakes) } else { Ok(()) }
    }

    /// A frame counts like a request.
    fn allowed(&self) -> Result<()> {
        let Some(rate) = &self.shared.rate else { return Ok(()) };
        rate.take(self.sight.who().via).map_err(|seconds| {
            Error::new(&general::BUSY, "this token has sent too much")
                .help(format!("send it again in {seconds} s"))
        })
    }

    async fn listen(&mut self, since: Option<Lsn>, said: &Said) -> Result<()> {
        let backend = &self.engine;
        let foreign = is_foreign(&**backend, since);
        let since = foreign.or(since);
        match (&mut self.source, since) {
            (None, since) => {
                self.source = Some(Source::open(&self.shared.live, backend.clone(), since).await?);
            }
            (Some(source), Some(since)) if Some(since) < source.position() => source.go_back(since).await?,
            (Some(_), _) => {}
        }
        self.say(said);
        if foreign.is_some() {
            self.gap(foreign, "the cursor is newer than the journal");
        }
        Ok(())
    }

    fn tell(&mut self, told: Told) -> std::result::Result<(), End> {
        match told {
            Told::Record(group) => {
                let wanted = |event: &&Event| self.dialect.wants(event) && self.sight.sees(event);
                let wanted: Vec<&Event> = group.iter().filter(wanted).collect();
                let last = wanted.len().saturating_sub(1);
                for (index, event) in wanted.into_iter().enumerate() {
                    let text = self.dialect.tell(event, index == last);
                    match event.run.filter(|_| event.is_state) {
                        Some(run) => self.wire.send_state(run, text),
                        None => self.wire.send(text),
                    }
                }
                Ok(())
            }
            Told::Signal(event) => {
                if self.dialect.wants(&event) && self.sight.sees(&event) {
                    self.wire.send(self.dialect.tell(&event, false));
                }
                Ok(())
            }
            Told::SignalsLost(lost) => {
                self.say(&Said {
                    kind: "gap",
                    data: json!({ "signals": lost, "detail": "they came too fast" }),
                });
                Ok(())
            }
            Told::Gap(since, why) => {
                self.gap(since, why);
                Err(End::Lost)
            }
            Told::End => Err(End::Closing),
        }
    }

    fn gap(&mut self, since: Option<Lsn>, why: &str) {
        self.say(&Said { kind: "gap", data: json!({ "since": since.map(|lsn| lsn.0), "detail": why }) });
    }

    fn position(&self) -> Option<Lsn> {
        self.source.as_ref().and_then(Source::position)
    }

    /// An answer says how far the client was told, so that it can go on from there.
    fn say(&mut self, said: &Said) {
        let text = self.dialect.say(said, self.position(), self.shared.env.now());
        self.wire.send(text);
    }
}

/// The service closes, or is gone.
async fn closed(closing: &mut watch::Receiver<bool>) {
    drop(closing.wait_for(|closing| *closing).await);
}

/// Waits for ever where nothing was asked for.
async fn next_of(source: &mut Option<Source>) -> Told {
    match source {
        Some(source) => source.next().await,
        None => std::future::pending().await,
    }
}
