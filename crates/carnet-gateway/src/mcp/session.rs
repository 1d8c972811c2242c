//! Sessions of the revisions that have them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use carnet_core::{Caller, Path, Reason, TaskId};

use super::channel::{Channel, is_same_caller};
use super::codec::{Capabilities, Revision};
use crate::live::LiveGuard;

/// The most sessions of one node.
const SESSIONS_MAX: usize = 16_384;
/// The most sessions one task may have on one path.
const SESSIONS_PER_TASK_MAX: usize = 32;
/// How long a session may lie idle.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(30 * 60);

/// A session: a client, its channel, and what it said it can do.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) caller: Caller,
    pub(crate) channel: Arc<Channel>,
    pub(crate) capabilities: Capabilities,
    guard: LiveGuard,
    used: Mutex<Instant>,
}

/// Every session of one node.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    room: Arc<Mutex<Room>>,
}

/// The sessions there are, and who is opening one.
#[derive(Debug, Default)]
struct Room {
    by_id: HashMap<String, Arc<Session>>,
    /// By the number of the seat.
    opening: HashMap<u64, Holder>,
    seats: u64,
}

/// Whose a session is, as far as sessions are counted.
#[derive(Debug)]
struct Holder {
    task: TaskId,
    path: Path,
}

/// Room for one session, held while it is opened: what is started for it was counted before.
#[derive(Debug)]
pub(crate) struct Seat {
    room: Arc<Mutex<Room>>,
    number: u64,
}

impl Session {
    pub(crate) fn new(
        caller: Caller,
        channel: Arc<Channel>,
        capabilities: Capabilities,
        guard: LiveGuard,
    ) -> Self {
        // Unguessable, though holding it is worth nothing without the caller's token.
        let id = format!("{:032x}", uuid::Uuid::new_v4().as_u128());
        Self { id, caller, channel, capabilities, guard, used: Mutex::new(Instant::now()) }
    }

    pub(crate) fn revision(&self) -> Revision {
        self.channel.revision
    }

    /// Revoked, ended by the server, or idle: used by nobody now, and not for long.
    fn is_dead(&self) -> bool {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        self.guard.cancelled().is_cancelled()
            || self.channel.link.has_ended()
            || (used.elapsed() > IDLE_MAX && Arc::strong_count(&self.channel) == 1)
    }
}

impl Sessions {
    /// The session `id` of exactly this caller. Another's session does not exist for it.
    pub(crate) fn find(&self, id: &str, caller: &Caller) -> Option<Arc<Session>> {
        let room = self.lock();
        let session =
            room.by_id.get(id).filter(|session| is_same_caller(&session.caller, caller))?;
        if session.is_dead() {
            return None;
        }
        *session.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Some(Arc::clone(session))
    }

    /// Room for one more session of `caller`, or the reason why there is none.
    pub(crate) fn seat(&self, caller: &Caller) -> Result<Seat, Reason> {
        let mut room = self.lock();
        let number = room.take_seat(Holder::of(caller))?;
        Ok(Seat { room: Arc::clone(&self.room), number })
    }

    /// Takes in the session that `seat` was kept for.
    pub(crate) fn insert(&self, session: Session, seat: Seat) -> Arc<Session> {
        let session = Arc::new(session);
        self.lock().by_id.insert(session.id.clone(), Arc::clone(&session));
        drop(seat);
        session
    }

    pub(crate) fn remove(&self, id: &str) -> Option<Arc<Session>> {
        self.lock().by_id.remove(id)
    }

    /// Takes out the sessions that are dead, and gives the channels to close.
    pub(crate) fn take_dead(&self) -> Vec<Arc<Channel>> {
        let mut room = self.lock();
        let dead = room.by_id.extract_if(|_, session| session.is_dead());
        dead.map(|(_, session)| Arc::clone(&session.channel)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    fn take_seat(&mut self, holder: Holder) -> Result<u64, Reason> {
        let (mut all, mut of_task) = (0_usize, 0_usize);
        let mut count = |task: &TaskId, path: Path| {
            all += 1;
            of_task += usize::from(*task == holder.task && path == holder.path);
        };
        for session in self.by_id.values().filter(|session| !session.is_dead()) {
            count(&session.caller.task, session.caller.path);
        }
        for other in self.opening.values() {
            count(&other.task, other.path);
        }
        let is_full = all >= SESSIONS_MAX || of_task >= SESSIONS_PER_TASK_MAX;
        if is_full {
            return Err(Reason::BudgetSpent);
        }
        self.seats += 1;
        self.opening.insert(self.seats, holder);
        Ok(self.seats)
    }
}

impl Holder {
    fn of(caller: &Caller) -> Self {
        Self { task: caller.task.clone(), path: caller.path }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        room.opening.remove(&self.number);
    }
}
