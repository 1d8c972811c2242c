//! Channels of the revision without sessions: one for each instance, task, path and resource.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use carnet_core::{Caller, InstanceId, Path, Reason, ResourceName, TaskId};
use tokio::sync::OnceCell;

use super::channel::Channel;
use super::session::IDLE_MAX;
use crate::live::LiveGuard;

/// The most shared channels of one node.
const CHANNELS_MAX: usize = 16_384;

/// Every shared channel of one node.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    by_caller: Mutex<HashMap<ChannelKey, Arc<Slot>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ChannelKey {
    task: TaskId,
    path: Path,
    resource: ResourceName,
    instance: InstanceId,
}

/// A place for a channel. It is opened by the first who needs it, while the others with the same
/// key wait, and nobody else does.
#[derive(Debug)]
struct Slot {
    opened: OnceCell<Shared>,
    used: Mutex<Instant>,
}

/// A shared channel and its registration.
#[derive(Debug)]
pub(crate) struct Shared {
    channel: Arc<Channel>,
    guard: LiveGuard,
}

impl Shared {
    pub(crate) fn new(channel: Channel, guard: LiveGuard) -> Self {
        Self { channel: Arc::new(channel), guard }
    }
}

impl Channels {
    /// The channel of `caller`, opened by `open` where there is none.
    pub(crate) async fn opened(
        &self,
        caller: &Caller,
        open: impl Future<Output = Result<Shared, Reason>>,
    ) -> Result<Arc<Channel>, Reason> {
        let slot = self.slot(caller)?;
        let shared = slot.opened.get_or_try_init(|| open).await?;
        Ok(Arc::clone(&shared.channel))
    }

    /// The channel of `caller`, where there is one already.
    pub(crate) fn known(&self, caller: &Caller) -> Option<Arc<Channel>> {
        let by_caller = self.lock();
        let slot = by_caller.get(&ChannelKey::of(caller)).filter(|slot| !slot.is_dead())?;
        slot.opened.get().map(|shared| Arc::clone(&shared.channel))
    }

    fn slot(&self, caller: &Caller) -> Result<Arc<Slot>, Reason> {
        let key = ChannelKey::of(caller);
        let mut by_caller = self.lock();
        if let Some(slot) = by_caller.get(&key).filter(|slot| !slot.is_dead()) {
            *slot.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            return Ok(Arc::clone(slot));
        }
        if by_caller.len() >= CHANNELS_MAX && !by_caller.contains_key(&key) {
            return Err(Reason::BudgetSpent);
        }
        let slot = Arc::new(Slot { opened: OnceCell::new(), used: Mutex::new(Instant::now()) });
        if let Some(dead) = by_caller.insert(key, Arc::clone(&slot))
            && let Some(shared) = dead.opened.get()
        {
            shared.channel.link.cut();
        }
        Ok(slot)
    }

    /// Takes out the channels that are dead, and gives them, to be closed.
    pub(crate) fn take_dead(&self) -> Vec<Arc<Channel>> {
        let mut by_caller = self.lock();
        let dead = by_caller.extract_if(|_, slot| slot.is_dead() || slot.is_abandoned());
        dead.filter_map(|(_, slot)| slot.opened.get().map(|shared| Arc::clone(&shared.channel)))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChannelKey, Arc<Slot>>> {
        self.by_caller.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChannelKey {
    fn of(caller: &Caller) -> Self {
        Self {
            task: caller.task.clone(),
            path: caller.path,
            resource: caller.resource.clone(),
            instance: caller.instance.clone(),
        }
    }
}

impl Slot {
    /// Revoked, ended by the server, or idle: used by nobody now, and not for long.
    fn is_dead(&self) -> bool {
        let Some(shared) = self.opened.get() else { return false };
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        shared.guard.cancelled().is_cancelled()
            || shared.channel.link.has_ended()
            || (used.elapsed() > IDLE_MAX && Arc::strong_count(&shared.channel) == 1)
    }

    /// Opening it failed, and nobody tries any more.
    fn is_abandoned(self: &Arc<Self>) -> bool {
        self.opened.get().is_none() && Arc::strong_count(self) == 1
    }
}
