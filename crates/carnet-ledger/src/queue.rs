//! The bounded queue between writers and the committer, and the answer a writer waits for.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use tokio::sync::oneshot;

use crate::entry::OutboxPosition;
use crate::error::LedgerError;

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
    pub(crate) answer: oneshot::Sender<Answer>,
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

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Pending>,
    bytes: usize,
    probe: bool,
    closed: bool,
}

pub(crate) struct Queue {
    inner: Mutex<Inner>,
    ready: Condvar,
    entries_max: usize,
    bytes_max: usize,
}

impl Queue {
    pub(crate) fn new(entries_max: usize, bytes_max: usize) -> Self {
        Self { inner: Mutex::default(), ready: Condvar::new(), entries_max, bytes_max }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a record; its answer comes through what is returned.
    pub(crate) fn push(
        &self,
        leaf_start: Vec<u8>,
        sealed: Option<Vec<u8>>,
        position: Option<OutboxPosition>,
        narrows: bool,
    ) -> Append {
        let (answer, receiver) = oneshot::channel();
        let pending = Pending { leaf_start, sealed, position, narrows, answer };
        let mut inner = self.inner();
        if inner.closed {
            return Append::refused(LedgerError::Closed);
        }
        // A revocation finds room where nothing else does.
        let room = if narrows { 2 } else { 1 };
        let entries = inner.waiting.len();
        let bytes = pending.bytes();
        if entries >= self.entries_max.saturating_mul(room)
            || inner.bytes.saturating_add(bytes) > self.bytes_max.saturating_mul(room)
        {
            return Append::refused(LedgerError::Busy { entries });
        }
        inner.bytes += bytes;
        inner.waiting.push_back(pending);
        drop(inner);
        self.ready.notify_one();
        Append(State::Waiting(receiver))
    }

    /// Waits for work: everything queued, up to the bounds of one batch.
    pub(crate) fn take(&self, entries_max: usize, bytes_max: usize) -> Work {
        let mut inner = self.inner();
        loop {
            if std::mem::take(&mut inner.probe) {
                return Work::Probe;
            }
            if !inner.waiting.is_empty() {
                break;
            }
            if inner.closed {
                return Work::Stop;
            }
            inner = self.ready.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        let mut batch = Vec::with_capacity(inner.waiting.len().min(entries_max));
        let mut bytes = 0;
        while batch.len() < entries_max && bytes < bytes_max {
            let Some(pending) = inner.waiting.pop_front() else { break };
            bytes += pending.bytes();
            batch.push(pending);
        }
        inner.bytes = inner.bytes.saturating_sub(bytes);
        Work::Write(batch)
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
