//! Ending work: closing a task and everything below it, and setting and lifting locks.

use carnet_core::{
    ApprovalEvent, Closure, Grant, GrantEvent, Lock, LockEvent, LockId, LockState, LockTarget,
    Principal, Task, TaskEvent, TaskId, TaskState, Timestamp, UserName,
};
use carnet_ledger::fault_point;
use serde_json::json;

use crate::broker::{Broker, Done};
use crate::clock::fresh_bits;
use crate::draft::Draft;
use crate::error::BrokerError;
use crate::item::Item;
use crate::state::State;
use crate::trust::AuthorityKind;
use crate::work::lease;

/// How many commits one closing may take: each does as much as fits in it.
const STEPS_MAX: usize = 10_000;
/// The most of an operator's reason that is kept with a lock.
const REASON_CHARS_MAX: usize = 512;

impl Broker {
    /// Closes a task and every task below it. A brake: no policy can disable it.
    ///
    /// Nothing in it is permitted once the first commit is in force; what does not fit in that one is
    /// taken back in further ones, and the task is closing until then. It stays closing for as long as a
    /// lease of it is out at a target that takes nothing back.
    pub async fn close_task(
        &self,
        id: &TaskId,
        closure: Closure,
        by: &Principal,
    ) -> Result<Done, BrokerError> {
        fault_point("close.before");
        let (mut left, mut done) = self.close_step(id, closure, by, true).await?;
        for _ in 0..STEPS_MAX {
            if !left {
                break;
            }
            let step = self.close_step(id, closure, by, false).await?;
            left = step.0;
            done.complete_at = step.1.complete_at;
            // All of it is durable, or it is not.
            done.revision = done.revision.and(step.1.revision);
        }
        fault_point("close.after");
        Ok(done)
    }

    /// Does as much of a closing as fits in one commit, and tells whether something is left.
    async fn close_step(
        &self,
        id: &TaskId,
        closure: Closure,
        by: &Principal,
        is_first: bool,
    ) -> Result<(bool, Done), BrokerError> {
        self.transact(by, |state, draft, now| {
            draft.brakes();
            if is_first && !state.snapshot.tasks.contains_key(id) {
                return Err(BrokerError::Missing {
                    kind: "open task",
                    id: id.to_string(),
                    hint: "it is closed already or never existed; see `carnet task list`",
                });
            }
            close_below(state, draft, id, closure, now)
        })
        .await
    }

    /// Sets a lock. A brake: no policy can disable it.
    pub async fn set_lock(
        &self,
        target: LockTarget,
        reason: String,
        by: &UserName,
    ) -> Result<(LockId, Done), BrokerError> {
        let target = self.domain_of(target)?;
        let id = LockId::from_bits(fresh_bits());
        let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
        let (_, done) = self
            .transact(&Principal::User(by.clone()), |_, draft, now| {
                draft.brakes();
                let lock = Lock {
                    id: id.clone(),
                    target: target.clone(),
                    set_by: by.clone(),
                    set_at: now,
                    reason: reason.clone(),
                    state: LockState::Set,
                };
                draft.put(Item::Lock(lock))?;
                let details = json!({ "target": target });
                draft.record(carnet_ledger::Kind::Lock, id.as_str(), "set", true, &details, None);
                Ok(())
            })
            .await?;
        Ok((id, done))
    }

    /// A lock on another trust domain stops the agents it has names for, and no others.
    fn domain_of(&self, target: LockTarget) -> Result<LockTarget, BrokerError> {
        let domain = match target {
            LockTarget::TrustDomain(domain) | LockTarget::ForeignDomain(domain) => domain,
            target => return Ok(target),
        };
        if domain == self.trust_domain.as_str() {
            return Ok(LockTarget::TrustDomain(domain));
        }
        if self.trust.load().find(AuthorityKind::Domain, &domain).is_some() {
            return Ok(LockTarget::ForeignDomain(domain));
        }
        let problem = format!(
            "no agent of Carnet's is of `{domain}`: name one of [[trust.foreign_domain]]; a lock on {} stops all",
            self.trust_domain
        );
        Err(BrokerError::invalid("target", problem))
    }

    /// Lifts a lock.
    pub async fn lift_lock(&self, id: &LockId, by: &UserName) -> Result<Done, BrokerError> {
        let (_, done) = self
            .transact(&Principal::User(by.clone()), |state, draft, now| {
                let lock = state.snapshot.locks.get(id).ok_or_else(|| BrokerError::Missing {
                    kind: "lock in force",
                    id: id.to_string(),
                    hint: "see the locks in `carnet status`",
                })?;
                let (lock, effects) = (**lock).clone().apply(LockEvent::Lift, now)?;
                draft.transition(Item::Lock(lock), &effects, json!({}))
            })
            .await?;
        Ok(done)
    }
}

/// Closes as much of a task and what is below it as fits in one commit, and tells whether something
/// is left. The task itself is then closing, so that nothing below it is permitted either.
pub(crate) fn close_below(
    state: &State,
    draft: &mut Draft<'_>,
    root: &TaskId,
    closure: Closure,
    now: Timestamp,
) -> Result<bool, BrokerError> {
    // From the leaves up: a task is closed when nothing is left below it.
    for id in state.subtree(root).iter().rev() {
        if close_one(state, draft, id, closure, now)? {
            continue;
        }
        if let Some(view) = state.snapshot.tasks.get(root)
            && !view.task.is_over()
        {
            let (task, effects) = view.task.clone().apply(TaskEvent::Close(closure), now)?;
            draft.transition(Item::Task(task), &effects, json!({ "closure": closure.as_str() }))?;
        }
        return Ok(true);
    }
    Ok(false)
}

/// Closes one task: its live grants are revoked, its waiting questions cancelled. Tells whether all
/// of it fitted.
fn close_one(
    state: &State,
    draft: &mut Draft<'_>,
    id: &TaskId,
    closure: Closure,
    now: Timestamp,
) -> Result<bool, BrokerError> {
    let Some(view) = state.snapshot.tasks.get(id) else {
        return Ok(true);
    };
    for grant in &view.grants {
        if let Ok((grant, effects)) = grant.clone().apply(GrantEvent::Revoke, now) {
            if !draft.has_room() {
                return Ok(false);
            }
            draft.transition(Item::Grant(grant), &effects, json!({ "task": id }))?;
        }
    }
    for approval in state.asked_of(id) {
        if !draft.has_room() {
            return Ok(false);
        }
        let (approval, effects) = (**approval).clone().apply(ApprovalEvent::Cancel, now)?;
        draft.transition(Item::Approval(Box::new(approval)), &effects, json!({ "task": id }))?;
    }
    if !lease::revoke_of(state, draft, id, now)? || !draft.has_room() {
        return Ok(false);
    }
    end(draft, view.task.clone(), closure, state.has_leases_out(id, now), now)?;
    Ok(true)
}

/// Whether the task is closing and nothing is left to do about it but to wait for a lease.
pub(crate) fn is_waiting(state: &State, id: &TaskId, now: Timestamp) -> bool {
    state.has_leases_out(id, now)
        && state.subtree(id).iter().all(|id| {
            let Some(view) = state.snapshot.tasks.get(id) else { return true };
            let is_revocable = |grant: &Grant| grant.clone().apply(GrantEvent::Revoke, now).is_ok();
            matches!(view.task.state, TaskState::Closing { .. })
                && !view.grants.iter().any(is_revocable)
                && state.asked_of(id).next().is_none()
                && !state.leases_of(id).any(|it| lease::is_to_revoke(it))
        })
}

/// Ends a task, as far as it can be: one with a lease out, or above one that has, is closing until
/// that is over.
fn end(
    draft: &mut Draft<'_>,
    task: Task,
    closure: Closure,
    waits: bool,
    now: Timestamp,
) -> Result<(), BrokerError> {
    let (task, closing) = match task.state {
        TaskState::Closing { .. } if waits => return Ok(()),
        TaskState::Closing { .. } => (task, Vec::new()),
        _ => task.apply(TaskEvent::Close(closure), now)?,
    };
    if waits {
        let details = json!({ "closure": closure.as_str(), "agent": task.agent });
        return draft.transition(Item::Task(task), &closing, details);
    }
    let closure = match &task.state {
        TaskState::Closing { closure, .. } => *closure,
        _ => closure,
    };
    let (task, closed) = task.apply(TaskEvent::Drain, now)?;
    let effects: Vec<_> = closing.into_iter().chain(closed).collect();
    let details = json!({ "closure": closure.as_str(), "agent": task.agent });
    draft.transition(Item::Task(task), &effects, details)
}
