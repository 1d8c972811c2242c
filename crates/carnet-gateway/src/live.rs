//! Live work: every connection, stream and child process, registered under its task, so that a
//! revocation reaches it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use carnet_core::{Caller, Now, Permit, Reason, Snapshot, Timestamp, View, check_caller};
use tokio_util::sync::CancellationToken;

/// The most pieces of live work of one node; one more is refused.
const WORK_MAX: usize = 65_536;

/// The registry of live work of one node.
#[derive(Debug, Default)]
pub(crate) struct LiveWork {
    inner: Mutex<Registry>,
}

#[derive(Debug, Default)]
struct Registry {
    next: u64,
    work: HashMap<u64, Work>,
}

#[derive(Debug)]
struct Work {
    caller: Caller,
    cancelled: CancellationToken,
}

/// One piece of live work; dropping it takes it off the registry.
#[derive(Debug)]
pub(crate) struct LiveGuard {
    registry: Arc<LiveWork>,
    id: u64,
    cancelled: CancellationToken,
}

impl LiveWork {
    /// Registers work that outlives one operation, such as a session or a stream.
    pub(crate) fn register(
        self: &Arc<Self>,
        caller: &Caller,
        view: impl FnOnce() -> Arc<View>,
        now: Now,
    ) -> Result<LiveGuard, Reason> {
        self.register_if(caller, || check_caller(&view().snapshot, caller, now))
    }

    /// Checks `permit` again on the current view and registers what it is forwarded as, in one
    /// step: a revocation either comes before, and the check fails, or after, and closes it.
    pub(crate) fn register_permit(
        self: &Arc<Self>,
        permit: &Permit,
        view: impl FnOnce() -> Arc<View>,
        now: Now,
    ) -> Result<LiveGuard, Reason> {
        self.register_if(permit.caller(), || permit.recheck(&view().snapshot, now))
    }

    fn register_if(
        self: &Arc<Self>,
        caller: &Caller,
        check: impl FnOnce() -> Result<(), Reason>,
    ) -> Result<LiveGuard, Reason> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        check()?;
        if inner.work.len() >= WORK_MAX {
            return Err(Reason::BudgetSpent);
        }
        let cancelled = CancellationToken::new();
        let id = inner.next;
        inner.next += 1;
        // What was forwarded may outlive its token; what authorised it is looked at all the same.
        let caller = Caller { expires: Timestamp::from_us(i64::MAX), ..caller.clone() };
        inner.work.insert(id, Work { caller, cancelled: cancelled.clone() });
        Ok(LiveGuard { registry: Arc::clone(self), id, cancelled })
    }

    /// Closes everything the snapshot no longer vouches for. Staleness alone closes nothing: it
    /// stops new work, and ends when the store answers again.
    pub(crate) fn enforce(&self, snapshot: &Snapshot, now: Now) -> usize {
        let now = Now { mono: carnet_core::Monotonic::from_us(0), ..now };
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let dead = inner.work.values().filter(|work| {
            !work.cancelled.is_cancelled() && check_caller(snapshot, &work.caller, now).is_err()
        });
        dead.inspect(|work| work.cancelled.cancel()).count()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).work.len()
    }
}

impl LiveGuard {
    /// Resolves when the work is revoked.
    pub(crate) fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }
}

impl Drop for LiveGuard {
    fn drop(&mut self) {
        let mut inner = self.registry.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.work.remove(&self.id);
    }
}
