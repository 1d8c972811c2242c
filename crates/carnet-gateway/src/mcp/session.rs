//! Sessions of the revisions that have them, and shared channels of the one that does not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
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
const IDLE_MAX: Duration = Duration::from_secs(30 * 60);

/// A session: a client, its channel, and what it said it can do.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) caller: Caller,
    pub(crate) channel: Arc<Channel>,
    pub(crate) capabilities: Capabilities,
    pub(crate) guard: LiveGuard,
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

    fn is_idle(&self) -> bool {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > IDLE_MAX
    }
}

impl Sessions {
    /// The session `id` of exactly this caller. Another's session does not exist for it.
    pub(crate) fn find(&self, id: &str, caller: &Caller) -> Option<Arc<Session>> {
        let by_id = self.lock();
        let session = by_id.get(id).filter(|session| is_same_caller(&session.caller, caller))?;
        *session.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Some(Arc::clone(session))
    }

    pub(crate) fn insert(&self, session: Session) -> Result<Arc<Session>, Reason> {
        let mut by_id = self.lock();
        by_id.retain(|_, known| !known.is_idle() && !known.guard.cancelled().is_cancelled());
        let mine = by_id.values().filter(|known| {
            known.caller.task == session.caller.task && known.caller.path == session.caller.path
        });
        if mine.count() >= SESSIONS_PER_TASK_MAX || by_id.len() >= SESSIONS_MAX {
            return Err(Reason::BudgetSpent);
        }
        let session = Arc::new(session);
        by_id.insert(session.id.clone(), Arc::clone(&session));
        Ok(session)
    }

    pub(crate) fn remove(&self, id: &str) -> Option<Arc<Session>> {
        self.lock().remove(id)
    }

    /// Takes out the sessions that were revoked or lie idle.
    pub(crate) fn take_dead(&self) -> Vec<Arc<Session>> {
        let mut by_id = self.lock();
        let is_dead =
            |session: &Session| session.guard.cancelled().is_cancelled() || session.is_idle();
        let dead: Vec<Arc<Session>> =
            by_id.values().filter(|session| is_dead(session)).cloned().collect();
        by_id.retain(|_, session| !is_dead(session));
        dead
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Channels of the revision without sessions: one for each task, path and resource.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    by_caller: tokio::sync::Mutex<HashMap<ChannelKey, Arc<Shared>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ChannelKey {
    task: carnet_core::TaskId,
    path: carnet_core::Path,
    resource: carnet_core::ResourceName,
    instance: carnet_core::InstanceId,
}

/// A shared channel and its registration.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) channel: Arc<Channel>,
    guard: LiveGuard,
    used: Mutex<Instant>,
}

impl Channels {
    /// The channel of `caller`, opened by `open` where there is none.
    pub(crate) async fn get<E, F>(&self, caller: &Caller, open: F) -> Result<Arc<Channel>, E>
    where
        F: AsyncFnOnce() -> Result<(Arc<Channel>, LiveGuard), E>,
    {
        let key = ChannelKey {
            task: caller.task.clone(),
            path: caller.path,
            resource: caller.resource.clone(),
            instance: caller.instance.clone(),
        };
        let mut by_caller = self.by_caller.lock().await;
        by_caller.retain(|_, shared| !shared.is_dead());
        if let Some(shared) = by_caller.get(&key) {
            *shared.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            return Ok(Arc::clone(&shared.channel));
        }
        let (channel, guard) = open().await?;
        let used = Mutex::new(Instant::now());
        let shared = Arc::new(Shared { channel: Arc::clone(&channel), guard, used });
        by_caller.insert(key, shared);
        Ok(channel)
    }

    /// Forgets the channels that were revoked or lie idle; what they held is dropped with them.
    pub(crate) async fn drop_dead(&self) {
        self.by_caller.lock().await.retain(|_, shared| !shared.is_dead());
    }
}

impl Shared {
    fn is_dead(&self) -> bool {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        self.guard.cancelled().is_cancelled() || used.elapsed() > IDLE_MAX
    }
}
