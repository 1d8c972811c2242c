//! Live work: every connection, stream and child process, registered under its task, so that a
//! revocation reaches it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use carnet_core::{
    ActionName, Caller, Digest, GrantId, GrantState, LockTarget, Monotonic, Now, Permit, Reason,
    Snapshot, TaskId, Timestamp, VerdictEffect, View, check_caller,
};
use tokio_util::sync::CancellationToken;

/// The most pieces of live work of one node; one more is refused.
const WORK_MAX: usize = 65_536;
/// The most pieces of live work of one task.
const WORK_OF_TASK_MAX: usize = 1_024;

/// The registry of live work of one node.
#[derive(Debug, Default)]
pub(crate) struct LiveWork {
    inner: Mutex<Registry>,
}

#[derive(Debug, Default)]
struct Registry {
    next: u64,
    work: HashMap<u64, Work>,
    of_task: HashMap<TaskId, usize>,
}

#[derive(Debug)]
struct Work {
    caller: Caller,
    /// What it was permitted by, where it is one operation.
    basis: Option<Basis>,
    cancelled: CancellationToken,
}

/// What an operation was permitted by, and as what it was reviewed.
#[derive(Debug)]
struct Basis {
    /// The covering grant, and what it draws on.
    grants: Vec<GrantId>,
    action: ActionName,
    pin: Digest,
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
        now: impl FnOnce() -> Now,
    ) -> Result<LiveGuard, Reason> {
        let check = || check_caller(&view().snapshot, caller, now());
        self.register_if(caller, None, check)
    }

    /// Checks `permit` again on the current view and registers what it is forwarded as, in one
    /// step: a revocation either comes before, and the check fails, or after, and closes it.
    pub(crate) fn register_permit(
        self: &Arc<Self>,
        permit: &Permit,
        view: impl FnOnce() -> Arc<View>,
        now: impl FnOnce() -> Now,
    ) -> Result<LiveGuard, Reason> {
        let (operation, cover) = (permit.operation(), permit.cover());
        let drawn_on = cover.charges.iter().map(|charge| charge.grant.clone());
        let basis = Basis {
            grants: std::iter::once(cover.grant.clone()).chain(drawn_on).collect(),
            action: operation.action().clone(),
            pin: operation.pin(),
        };
        self.register_if(permit.caller(), Some(basis), || still_holds(permit, &view(), now()))
    }

    fn register_if(
        self: &Arc<Self>,
        caller: &Caller,
        basis: Option<Basis>,
        check: impl FnOnce() -> Result<(), Reason>,
    ) -> Result<LiveGuard, Reason> {
        let mut inner = self.lock();
        check()?;
        let of_task = inner.of_task.get(&caller.task).copied().unwrap_or_default();
        if inner.work.len() >= WORK_MAX || of_task >= WORK_OF_TASK_MAX {
            return Err(Reason::BudgetSpent);
        }
        let cancelled = CancellationToken::new();
        let id = inner.next;
        inner.next += 1;
        *inner.of_task.entry(caller.task.clone()).or_default() += 1;
        // What was forwarded may outlive its token; what authorised it is looked at all the same.
        let caller = Caller { expires: Timestamp::from_us(i64::MAX), ..caller.clone() };
        inner.work.insert(id, Work { caller, basis, cancelled: cancelled.clone() });
        Ok(LiveGuard { registry: Arc::clone(self), id, cancelled })
    }

    /// Closes everything the snapshot no longer vouches for. Staleness alone closes nothing: it
    /// stops new work, and ends when the store answers again.
    pub(crate) fn enforce(&self, snapshot: &Snapshot, now: Now) -> usize {
        let fresh_until = Monotonic::from_us(u64::MAX);
        let snapshot = &Snapshot { fresh_until, ..snapshot.clone() };
        let inner = self.lock();
        let dead = inner
            .work
            .values()
            .filter(|work| !work.cancelled.is_cancelled() && !work.is_vouched_for(snapshot, now));
        dead.inspect(|work| work.cancelled.cancel()).count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    fn is_vouched_for(&self, snapshot: &Snapshot, now: Now) -> bool {
        check_caller(snapshot, &self.caller, now).is_ok()
            && self.basis.as_ref().is_none_or(|basis| basis.stands(snapshot, &self.caller, now))
    }
}

impl Basis {
    /// Whether the grants and the review an operation rests on are what they were. A grant whose
    /// last use this operation took is exhausted, and stands.
    fn stands(&self, snapshot: &Snapshot, caller: &Caller, now: Now) -> bool {
        let Some(view) = snapshot.task(&caller.task) else { return false };
        let is_live = |id: &GrantId| {
            view.grant(id).is_some_and(|grant| {
                matches!(grant.state, GrantState::Active | GrantState::Exhausted)
                    && now.wall < grant.expires
                    && !snapshot.is_locked(&LockTarget::Grant(id.clone()))
                    && snapshot.grants_above(view, grant, now.wall).is_ok()
            })
        };
        let resource = snapshot.resource(&caller.resource);
        let reviewed = resource.and_then(|resource| resource.registered(&self.action));
        self.grants.iter().all(is_live) && reviewed.is_some_and(|reviewed| reviewed.pin == self.pin)
    }
}

/// Whether `permit` holds on the view of this moment. Where another policy set came into force in
/// between, what was decided on is judged again; what people approved is decided again from the
/// start.
fn still_holds(permit: &Permit, view: &View, now: Now) -> Result<(), Reason> {
    permit.recheck(&view.snapshot, now)?;
    let decided = permit.decision();
    if view.policy.digest() == decided.policy {
        return Ok(());
    }
    let (Some(document), Some(then)) = (&decided.document, &decided.verdict) else {
        return Err(Reason::PolicyFailed);
    };
    let today = view.policy.judge(document);
    let is_same = matches!(today.effect, VerdictEffect::Permit)
        && today.obligations == then.obligations
        && document.approvals.by.is_empty()
        // What was handed on is decided again from the start, hop by hop.
        && decided.hops.is_empty();
    if is_same { Ok(()) } else { Err(Reason::PolicyDoesNotPermit) }
}

impl LiveGuard {
    /// Set when the work is revoked.
    pub(crate) fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }

    /// What `work` comes to, or nothing where it is revoked first. A revocation that is already
    /// there wins: nothing of the work is begun.
    pub(crate) async fn run<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.cancelled.cancelled() => None,
            done = work => Some(done),
        }
    }
}

impl Drop for LiveGuard {
    fn drop(&mut self) {
        let mut inner = self.registry.lock();
        let Some(work) = inner.work.remove(&self.id) else { return };
        if let Some(count) = inner.of_task.get_mut(&work.caller.task) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                inner.of_task.remove(&work.caller.task);
            }
        }
    }
}
