//! Requests of people and programs under way: futures that are polled when they were woken.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::Result;
use crate::id::RunId;

/// What was acknowledged.
#[derive(Clone, Debug)]
pub enum Done {
    /// A run exists.
    Started(RunId, String),
    /// A signal with this key is kept.
    Signalled(RunId, String),
    /// The run is going to end.
    Cancelled,
    /// It is going on after its failure.
    Retried,
    /// The workflow has a new version.
    Updated,
    /// Anything else.
    Other,
}

type Ask = Pin<Box<dyn Future<Output = Result<Done>>>>;

/// The requests.
#[derive(Default)]
pub struct Asks(Vec<Open>);

struct Open {
    label: String,
    ask: Ask,
    woken: Arc<Flag>,
    /// Its thread waits for the disk.
    blocks: bool,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Asks {
    pub fn push(&mut self, label: String, blocks: bool, ask: impl Future<Output = Result<Done>> + 'static) {
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        self.0.push(Open { label, ask: Box::pin(ask), woken, blocks });
    }

    /// Requests that could go on.
    pub fn woken(&self) -> Vec<usize> {
        let woken = self.0.iter().enumerate().filter(|(_, open)| open.woken.0.load(Ordering::SeqCst));
        woken.map(|(index, _)| index).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the request's thread waits for the disk.
    pub fn blocks(&self, index: usize) -> bool {
        self.0[index].blocks
    }

    pub fn poll(&mut self, index: usize) -> Option<(String, Result<Done>)> {
        let open = &mut self.0[index];
        open.woken.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(open.woken.clone());
        match open.ask.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => None,
            Poll::Ready(result) => {
                let open = self.0.remove(index);
                Some((open.label, result))
            }
        }
    }
}
