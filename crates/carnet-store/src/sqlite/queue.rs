//! What waits for the writer: two bounded lanes, the narrowing one first.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, oneshot};

use crate::commit::{Commit, Committed};
use crate::error::StoreError;

/// Most jobs in one transaction; more would make the first of them wait for the last.
pub(super) const GROUP_JOBS_MAX: usize = 256;

/// Most bytes in one transaction, after the first job.
pub(super) const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One thing the writer is asked to do, and where to answer.
pub(super) enum Job {
    Commit { commit: Commit, reply: oneshot::Sender<Result<Committed, StoreError>> },
    Drained { through: u64, reply: oneshot::Sender<Result<(), StoreError>> },
}

impl Job {
    pub(super) const fn narrows(&self) -> bool {
        matches!(self, Self::Commit { commit, .. } if commit.narrows)
    }

    pub(super) fn byte_count(&self) -> usize {
        match self {
            Self::Commit { commit, .. } => commit.byte_count(),
            Self::Drained { .. } => 0,
        }
    }

    /// Answers with an error. Who asked may be gone; that is no concern here.
    pub(super) fn refuse(self, error: StoreError) {
        match self {
            Self::Commit { reply, .. } => drop(reply.send(Err(error))),
            Self::Drained { reply, .. } => drop(reply.send(Err(error))),
        }
    }
}

/// The queue was closed.
#[derive(Debug)]
pub(super) struct Closed;

struct Lanes {
    narrowing: VecDeque<Job>,
    ordinary: VecDeque<Job>,
    open: bool,
}

/// A flood of ordinary commits fills only its own lane, so a revocation neither waits behind it nor for room.
pub(super) struct Queue {
    lanes: Mutex<Lanes>,
    filled: Condvar,
    narrowing_room: Semaphore,
    ordinary_room: Semaphore,
}

impl Queue {
    pub(super) fn new(jobs_max: usize) -> Self {
        let jobs_max = jobs_max.clamp(1, Semaphore::MAX_PERMITS);
        let lanes = Lanes { narrowing: VecDeque::new(), ordinary: VecDeque::new(), open: true };
        Self {
            lanes: Mutex::new(lanes),
            filled: Condvar::new(),
            narrowing_room: Semaphore::new(jobs_max),
            ordinary_room: Semaphore::new(jobs_max),
        }
    }

    /// Waits for room in the lane of the job and puts it there.
    pub(super) async fn push(&self, job: Job) -> Result<(), Closed> {
        let narrows = job.narrows();
        let room = if narrows { &self.narrowing_room } else { &self.ordinary_room };
        room.acquire().await.map_err(|_| Closed)?.forget();
        let mut lanes = self.lock();
        if !lanes.open {
            return Err(Closed);
        }
        let lane = if narrows { &mut lanes.narrowing } else { &mut lanes.ordinary };
        lane.push_back(job);
        drop(lanes);
        self.filled.notify_one();
        Ok(())
    }

    /// The next group, waiting for it if need be; `None` once closed and empty.
    pub(super) fn take(&self) -> Option<Vec<Job>> {
        let mut lanes = self.lock();
        while lanes.narrowing.is_empty() && lanes.ordinary.is_empty() {
            if !lanes.open {
                return None;
            }
            lanes = self.filled.wait(lanes).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut group, mut bytes) = (Vec::new(), 0);
        let Lanes { narrowing, ordinary, .. } = &mut *lanes;
        let narrowed = fill(&mut group, &mut bytes, narrowing);
        let others = fill(&mut group, &mut bytes, ordinary);
        drop(lanes);
        self.narrowing_room.add_permits(narrowed);
        self.ordinary_room.add_permits(others);
        Some(group)
    }

    /// Lets nothing more in; what is in is still taken.
    pub(super) fn close(&self) {
        self.lock().open = false;
        self.narrowing_room.close();
        self.ordinary_room.close();
        self.filled.notify_all();
    }

    /// Closes, and drops what nobody will take any more, so that those who wait for an answer learn of it.
    pub(super) fn abandon(&self) {
        self.close();
        let mut lanes = self.lock();
        lanes.narrowing.clear();
        lanes.ordinary.clear();
    }

    pub(super) fn is_closed(&self) -> bool {
        !self.lock().open
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fill(group: &mut Vec<Job>, bytes: &mut usize, lane: &mut VecDeque<Job>) -> usize {
    let before = group.len();
    while let Some(job) = lane.front() {
        let with = bytes.saturating_add(job.byte_count());
        if group.len() >= GROUP_JOBS_MAX || (!group.is_empty() && with > GROUP_BYTES_MAX) {
            break;
        }
        *bytes = with;
        group.extend(lane.pop_front());
    }
    group.len() - before
}
