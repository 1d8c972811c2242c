//! Sessions of the revisions that have them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use carnet_core::{Caller, Reason};

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
    by_id: Mutex<HashMap<String, Arc<Session>>>,
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
        let by_id = self.lock();
        let session = by_id.get(id).filter(|session| is_same_caller(&session.caller, caller))?;
        if session.is_dead() {
            return None;
        }
        *session.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Some(Arc::clone(session))
    }

    /// Whether `caller` may open one more.
    pub(crate) fn check_room(&self, caller: &Caller) -> Result<(), Reason> {
        Self::room(&self.lock(), caller)
    }

    /// Takes a session in. One there is no room for is given back, to be closed.
    pub(crate) fn insert(&self, session: Session) -> Result<Arc<Session>, (Reason, Arc<Channel>)> {
        let mut by_id = self.lock();
        match Self::room(&by_id, &session.caller) {
            Err(reason) => Err((reason, session.channel)),
            Ok(()) => {
                let session = Arc::new(session);
                by_id.insert(session.id.clone(), Arc::clone(&session));
                Ok(session)
            }
        }
    }

    pub(crate) fn remove(&self, id: &str) -> Option<Arc<Session>> {
        self.lock().remove(id)
    }

    /// Takes out the sessions that are dead, and gives the channels to close.
    pub(crate) fn take_dead(&self) -> Vec<Arc<Channel>> {
        let mut by_id = self.lock();
        let dead = by_id.extract_if(|_, session| session.is_dead());
        dead.map(|(_, session)| Arc::clone(&session.channel)).collect()
    }

    fn room(by_id: &HashMap<String, Arc<Session>>, caller: &Caller) -> Result<(), Reason> {
        let mine = by_id.values().filter(|known| {
            known.caller.task == caller.task && known.caller.path == caller.path && !known.is_dead()
        });
        match by_id.len() >= SESSIONS_MAX || mine.count() >= SESSIONS_PER_TASK_MAX {
            true => Err(Reason::BudgetSpent),
            false => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
