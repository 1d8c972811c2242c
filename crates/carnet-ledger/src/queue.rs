//! The bounded queue between writers and the committer, and the answer a writer waits for.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::config::LedgerConfig;
use crate::entry::OutboxPosition;
use crate::error::LedgerError;
use crate::pace::Pace;

/// A record is durable, as this leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The leaf's index.
    pub index: u64,
}

pub(crate) type Answer = Result<Appended, LedgerError>;

/// The answer to an append: a future, or [`Append::wait`] for it. The record is on its way whether
/// or not anybody waits.
#[must_use = "a record is durable only when the answer says so"]
pub struct Append(State);

enum State {
    Answered(Option<LedgerError>),
    Waiting(oneshot::Receiver<Answer>),
}

impl Append {
    pub(crate) fn refused(error: LedgerError) -> Self {
        Self(State::Answered(Some(error)))
    }

    /// Blocks this thread until the record is durable or refused.
    pub fn wait(self) -> Result<Appended, LedgerError> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut append = std::pin::pin!(self);
        loop {
            match append.as_mut().poll(&mut context) {
                Poll::Ready(answer) => return answer,
                Poll::Pending => thread::park(),
            }
        }
    }
}

impl Future for Append {
    type Output = Result<Appended, LedgerError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let stopped = || LedgerError::Unavailable { why: "the committer ended".to_owned() };
        match &mut self.0 {
            State::Answered(error) => Poll::Ready(Err(error.take().unwrap_or(LedgerError::Closed))),
            State::Waiting(receiver) => {
                Pin::new(receiver).poll(context).map(|answer| answer.unwrap_or(Err(stopped())))
            }
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A record ready to be written: all but its place is done.
pub(crate) struct Pending {
    pub(crate) leaf_start: Vec<u8>,
    pub(crate) sealed: Option<Vec<u8>>,
    pub(crate) position: Option<OutboxPosition>,
    pub(crate) narrows: bool,
    pub(crate) haste: Haste,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// A record as the queue takes it.
pub(crate) struct Record {
    pub(crate) leaf_start: Vec<u8>,
    pub(crate) sealed: Option<Vec<u8>>,
    pub(crate) position: Option<OutboxPosition>,
    pub(crate) narrows: bool,
}

/// Whether an effect waits for the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Haste {
    /// It is written at once, or with those that others hand in at the same moment.
    Awaited,
    /// It goes with the next record that is awaited, or by itself a moment later.
    Behind,
}

impl Pending {
    fn bytes(&self) -> usize {
        self.leaf_start.len() + self.sealed.as_ref().map_or(0, Vec::len)
    }
}

/// What the committer is to do next.
pub(crate) enum Work {
    Write(Vec<Pending>),
    /// See whether the disk has space again.
    Probe,
    Stop,
}

struct Inner {
    waiting: VecDeque<Pending>,
    /// How many of them are awaited.
    awaited: usize,
    /// How many of them narrow.
    urgent: usize,
    /// Since when one waits that is not.
    behind_since: Option<Instant>,
    bytes: usize,
    pace: Pace,
    probe: bool,
    closed: bool,
}

pub(crate) struct Queue {
    inner: Mutex<Inner>,
    ready: Condvar,
    entries_max: usize,
    bytes_max: usize,
    /// How long a record that nobody awaits may wait for one that somebody does.
    linger: Duration,
}

impl Inner {
    fn new(gather: Duration) -> Self {
        Self {
            waiting: VecDeque::new(),
            awaited: 0,
            urgent: 0,
            behind_since: None,
            bytes: 0,
            pace: Pace::new(gather),
            probe: false,
            closed: false,
        }
    }

    fn put(&mut self, pending: Pending) {
        self.bytes += pending.bytes();
        self.urgent += usize::from(pending.narrows);
        match pending.haste {
            Haste::Awaited => self.awaited += 1,
            Haste::Behind => drop(self.behind_since.get_or_insert_with(Instant::now)),
        }
        self.waiting.push_back(pending);
    }

    /// Everything queued, up to the bounds of one batch.
    fn batch(&mut self, entries_max: usize, bytes_max: usize) -> Vec<Pending> {
        let mut batch = Vec::with_capacity(self.waiting.len().min(entries_max));
        let mut bytes = 0;
        self.pace.begin(Instant::now(), self.awaited);
        while batch.len() < entries_max && bytes < bytes_max {
            let Some(pending) = self.waiting.pop_front() else { break };
            bytes += pending.bytes();
            self.awaited -= usize::from(pending.haste == Haste::Awaited);
            self.urgent -= usize::from(pending.narrows);
            batch.push(pending);
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        if self.waiting.is_empty() {
            self.behind_since = None;
        }
        batch
    }

    /// How long what waits may still wait; nothing where it is due. What narrows is due at once.
    fn may_linger(&self, linger: Duration) -> Option<Duration> {
        if self.closed || self.urgent > 0 {
            return None;
        }
        if self.awaited > 0 {
            return self.pace.wait(Instant::now());
        }
        let waited = self.behind_since.map_or(linger, |since| since.elapsed());
        linger.checked_sub(waited).filter(|left| !left.is_zero())
    }
}

impl Queue {
    pub(crate) fn new(config: &LedgerConfig) -> Self {
        Self {
            inner: Mutex::new(Inner::new(config.gather)),
            ready: Condvar::new(),
            entries_max: config.queue_entries_max,
            bytes_max: config.queue_bytes_max,
            linger: config.linger,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a record; its answer comes through what is returned.
    pub(crate) fn push(&self, record: Record, haste: Haste) -> Append {
        let (answer, receiver) = oneshot::channel();
        let Record { leaf_start, sealed, position, narrows } = record;
        let pending = Pending { leaf_start, sealed, position, narrows, haste, answer };
        let mut inner = self.inner();
        if inner.closed {
            return Append::refused(LedgerError::Closed);
        }
        // A revocation finds room where nothing else does.
        let room = if narrows { 2 } else { 1 };
        let entries = inner.waiting.len();
        if entries >= self.entries_max.saturating_mul(room)
            || inner.bytes.saturating_add(pending.bytes()) > self.bytes_max.saturating_mul(room)
        {
            return Append::refused(LedgerError::Busy { entries });
        }
        inner.put(pending);
        // What joins records that linger or gather needs nobody woken.
        let is_first = haste == Haste::Awaited && inner.awaited == 1;
        let is_news = is_first || entries == 0 || narrows;
        drop(inner);
        if is_news {
            self.ready.notify_one();
        }
        Append(State::Waiting(receiver))
    }

    /// Waits for work.
    pub(crate) fn take(&self, entries_max: usize, bytes_max: usize) -> Work {
        let mut inner = self.inner();
        loop {
            if std::mem::take(&mut inner.probe) {
                return Work::Probe;
            }
            inner = match (inner.waiting.is_empty(), inner.may_linger(self.linger)) {
                (true, _) if inner.closed => return Work::Stop,
                (true, _) => self.ready.wait(inner).unwrap_or_else(PoisonError::into_inner),
                (false, None) => return Work::Write(inner.batch(entries_max, bytes_max)),
                (false, Some(left)) => {
                    let waited = self.ready.wait_timeout(inner, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Asks the committer to look for space.
    pub(crate) fn probe(&self) {
        self.inner().probe = true;
        self.ready.notify_one();
    }

    /// Takes no more; what is queued is still written.
    pub(crate) fn close(&self) {
        self.inner().closed = true;
        self.ready.notify_all();
    }
}
