//! Places of WebSockets: how many there are, whose they are, and the tasks that hold them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::SocketLimits;
use crate::error::code::live as code;
use crate::error::{Error, Result};
use crate::id::UserId;
use crate::limits::SOCKET_STRANGERS_MAX;
use crate::runtime::Component;

/// All places.
pub struct Seats {
    limits: SocketLimits,
    strangers: Arc<Semaphore>,
    state: Mutex<State>,
    // Held for an insertion or a look; the tasks themselves never take it.
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct State {
    open: usize,
    /// The token of the data folder is one user more.
    by_user: HashMap<Option<UserId>, usize>,
}

/// A place, until it is dropped.
pub struct Seat {
    seats: Arc<Seats>,
    user: Option<Option<UserId>>,
    stranger: Option<OwnedSemaphorePermit>,
}

impl Seats {
    /// All free.
    pub fn new(limits: SocketLimits) -> Self {
        Self {
            limits,
            strangers: Arc::new(Semaphore::new(SOCKET_STRANGERS_MAX)),
            state: Mutex::default(),
            tasks: Mutex::default(),
        }
    }

    /// The bounds.
    pub fn limits(&self) -> &SocketLimits {
        &self.limits
    }

    /// How many are taken.
    pub fn open(&self) -> usize {
        self.state.lock().open
    }

    /// How it stands: one client less than there may be is still well.
    pub fn component(&self) -> Component {
        let open = self.open();
        match open < self.limits.connections {
            true => Component::new(1.0, None),
            false => {
                Component::new(0.7, Some(format!("all {open} WebSockets are taken: new ones are refused")))
            }
        }
    }

    /// A place of somebody who is known.
    pub fn take(self: &Arc<Self>, user: Option<UserId>) -> Result<Seat> {
        let mut seat = self.any(None)?;
        seat.is_of(user)?;
        Ok(seat)
    }

    /// A place of somebody who has still to say who it is.
    pub fn take_as_stranger(self: &Arc<Self>) -> Result<Seat> {
        let permit = self.strangers.clone().try_acquire_owned().map_err(|_| {
            full(
                "as many WebSockets as may wait for who opened them do so",
                "send the credential with the request",
            )
        })?;
        self.any(Some(permit))
    }

    fn any(self: &Arc<Self>, stranger: Option<OwnedSemaphorePermit>) -> Result<Seat> {
        let mut state = self.state.lock();
        if state.open >= self.limits.connections {
            let what = format!("{} WebSockets are open, which is websocket.max_connections", state.open);
            return Err(full(&what, "close one, or use GET /api/chainbot/events"));
        }
        state.open += 1;
        Ok(Seat { seats: self.clone(), user: None, stranger })
    }

    /// Runs a session. Whoever ends the service joins it by [`end`](Self::end).
    pub fn spawn(&self, session: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(session);
    }

    /// Waits for all sessions, which end by themselves once the service closes. Dropping the future cuts those that
    /// are left.
    pub async fn ended(&self) {
        loop {
            let mut tasks = std::mem::take(&mut *self.tasks.lock());
            if tasks.is_empty() {
                return;
            }
            while tasks.join_next().await.is_some() {}
        }
    }
}

impl Seat {
    /// Says whose it is.
    pub fn is_of(&mut self, user: Option<UserId>) -> Result<()> {
        let mut state = self.seats.state.lock();
        let count = state.by_user.entry(user).or_default();
        if *count >= self.seats.limits.per_user {
            return Err(full(
                &format!("this user has {count} WebSockets open, and may have no more"),
                "close one of them",
            ));
        }
        *count += 1;
        self.user = Some(user);
        self.stranger = None;
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.seats.state.lock();
        state.open -= 1;
        if let Some(user) = &self.user
            && let Some(count) = state.by_user.get_mut(user)
        {
            *count -= 1;
            if *count == 0 {
                state.by_user.remove(user);
            }
        }
    }
}

fn full(what: &str, help: &str) -> Error {
    Error::new(&code::SOCKETS, what).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(connections: usize, per_user: usize) -> Arc<Seats> {
        Arc::new(Seats::new(SocketLimits { connections, per_user, ..Default::default() }))
    }

    #[test]
    fn a_seat_is_free_again_when_it_is_dropped() {
        let seats = seats(2, 2);
        let (one, two) = (seats.take(None).unwrap(), seats.take(None).unwrap());
        assert_eq!(seats.take(None).err().unwrap().code().id, "CB-0828");
        assert_eq!((seats.open(), seats.component().status), (2, "degraded"));
        drop(one);
        assert_eq!((seats.open(), seats.component().status), (1, "healthy"));
        drop((two, seats.take(None).unwrap()));
        assert_eq!(seats.open(), 0);
        assert!(seats.state.lock().by_user.is_empty());
    }

    #[test]
    fn one_user_takes_no_more_than_its_share_and_strangers_have_their_own() {
        let seats = seats(100, 1);
        let mia = Some(UserId::from([1; 16]));
        let _mia = seats.take(mia).unwrap();
        assert!(seats.take(mia).is_err());
        let _other = seats.take(None).unwrap();
        let strangers: Vec<Seat> =
            (0..SOCKET_STRANGERS_MAX).map(|_| seats.take_as_stranger().unwrap()).collect();
        assert!(seats.take_as_stranger().is_err());
        assert_eq!(seats.open(), 2 + SOCKET_STRANGERS_MAX, "a refused one holds nothing");
        drop(strangers);
        let mut stranger = seats.take_as_stranger().unwrap();
        assert!(stranger.is_of(mia).is_err());
        stranger.is_of(Some(UserId::from([2; 16]))).unwrap();
    }
}
