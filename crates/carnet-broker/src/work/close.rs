//! Ending work: closing a task and everything below it, and setting and lifting locks.

use carnet_core::{
    ApprovalEvent, ApprovalState, Closure, GrantEvent, Lock, LockEvent, LockId, LockState,
    LockTarget, Principal, TaskEvent, TaskId, TaskState, Timestamp, UserName,
};
use serde_json::json;

use crate::broker::{Broker, Done};
use crate::clock::fresh_bits;
use crate::draft::Draft;
use crate::error::BrokerError;
use crate::item::Item;
use crate::state::State;

impl Broker {
    /// Closes a task and every task below it. A brake: no policy can disable it.
    ///
    /// This version hands out no leases, so nothing is left at a target once the live connections
    /// are closed, and the task is drained in the same commit.
    pub async fn close_task(
        &self,
        id: &TaskId,
        closure: Closure,
        by: &Principal,
    ) -> Result<Done, BrokerError> {
        let (_, done) = self
            .transact(by, |state, draft, now| {
                draft.brakes();
                if !state.snapshot.tasks.contains_key(id) {
                    return Err(BrokerError::Missing {
                        kind: "open task",
                        id: id.to_string(),
                        hint: "it is closed already or never existed; see `carnet task list`",
                    });
                }
                for task in state.subtree(id) {
                    close_one(state, draft, &task, closure, now)?;
                }
                Ok(())
            })
            .await?;
        Ok(done)
    }

    /// Sets a lock. A brake: no policy can disable it.
    pub async fn set_lock(
        &self,
        target: LockTarget,
        reason: String,
        by: &UserName,
    ) -> Result<(LockId, Done), BrokerError> {
        let id = LockId::from_bits(fresh_bits());
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

/// Closes one task: its live grants are revoked, its waiting questions cancelled.
pub(crate) fn close_one(
    state: &State,
    draft: &mut Draft<'_>,
    id: &TaskId,
    closure: Closure,
    now: Timestamp,
) -> Result<(), BrokerError> {
    let Some(view) = state.snapshot.tasks.get(id) else {
        return Ok(());
    };
    for grant in &view.grants {
        if let Ok((grant, effects)) = grant.clone().apply(GrantEvent::Revoke, now) {
            draft.transition(Item::Grant(grant), &effects, json!({ "task": id }))?;
        }
    }
    let waiting = state
        .approvals
        .values()
        .filter(|approval| approval.question.task == *id && approval.state == ApprovalState::Asked);
    for approval in waiting {
        let (approval, effects) = (**approval).clone().apply(ApprovalEvent::Cancel, now)?;
        draft.transition(Item::Approval(Box::new(approval)), &effects, json!({ "task": id }))?;
    }
    let task = view.task.clone();
    let (task, closing) = match task.state {
        TaskState::Closing { .. } => (task, Vec::new()),
        _ => task.apply(TaskEvent::Close(closure), now)?,
    };
    let (task, closed) = task.apply(TaskEvent::Drain, now)?;
    let effects: Vec<_> = closing.into_iter().chain(closed).collect();
    let details = json!({ "closure": closure.as_str(), "agent": task.agent });
    draft.transition(Item::Task(task), &effects, details)
}
