//! Suspending a task and everything below it: nothing of it is permitted until it is resumed.

use carnet_core::{
    ApprovalEvent, Closure, Effect, Principal, Suspension, Task, TaskId, TaskState, Timestamp,
    UserName,
};
use serde_json::json;

use crate::broker::{Broker, Done};
use crate::draft::Draft;
use crate::error::BrokerError;
use crate::item::Item;
use crate::state::State;
use crate::work::close::close_below;

/// How many commits one suspension may take: each does as much as fits in it.
const STEPS_MAX: usize = 10_000;
/// The most that is kept of why a task is suspended.
const WHY_CHARS_MAX: usize = 512;

impl Broker {
    /// Suspends a task and every task below it. A brake: no policy can disable it.
    pub async fn suspend_task(
        &self,
        id: &TaskId,
        why: &str,
        by: &UserName,
    ) -> Result<Done, BrokerError> {
        let by = Principal::User(by.clone());
        let why = bounded(why);
        let step = || {
            self.transact(&by, |state, draft, now| {
                draft.brakes();
                check_can_be(state, id, now)?;
                suspend_below(state, draft, id, &why, now)
            })
        };
        let (mut left, mut done) = step().await?;
        for _ in 0..STEPS_MAX {
            if !left {
                break;
            }
            let next = step().await?;
            left = next.0;
            done.complete_at = next.1.complete_at;
            done.revision = done.revision.and(next.1.revision);
        }
        Ok(done)
    }
}

fn check_can_be(state: &State, id: &TaskId, now: Timestamp) -> Result<(), BrokerError> {
    let view = state.snapshot.tasks.get(id).ok_or_else(|| BrokerError::Missing {
        kind: "open task",
        id: id.to_string(),
        hint: "it is closed already or never existed; see `carnet task list`",
    })?;
    if view.task.state == TaskState::Suspended {
        return Ok(());
    }
    Ok(view.task.clone().apply(carnet_core::TaskEvent::Suspend, now).map(drop)?)
}

/// Suspends as much of a task and what is below it as fits in one commit, and tells whether something
/// is left. The task itself comes first, so that nothing below it is permitted either. What its
/// people were asked is cancelled: they were asked in another context.
pub(crate) fn suspend_below(
    state: &State,
    draft: &mut Draft<'_>,
    root: &TaskId,
    why: &str,
    now: Timestamp,
) -> Result<bool, BrokerError> {
    for id in state.subtree(root) {
        let Some(view) = state.snapshot.tasks.get(&id) else { continue };
        if !draft.has_room() {
            return Ok(true);
        }
        // One that is still being opened never is.
        if view.task.state == TaskState::Proposed {
            if close_below(state, draft, &id, Closure::Revoked, now)? {
                return Ok(true);
            }
            continue;
        }
        let with = (id != *root).then(|| root.clone());
        if let Some((task, effects)) = suspended(&view.task, with, why, now)? {
            let details = json!({ "agent": task.agent, "why": why });
            draft.transition(Item::Task(task), &effects, details)?;
        }
        for approval in state.asked_of(&id) {
            if !draft.has_room() {
                return Ok(true);
            }
            let (cancelled, effects) = (**approval).clone().apply(ApprovalEvent::Cancel, now)?;
            let details = json!({ "task": id, "why": why });
            draft.transition(Item::Approval(Box::new(cancelled)), &effects, details)?;
        }
    }
    Ok(false)
}

/// The task as it is suspended, or none where there is nothing to do. One that was suspended with
/// another, or for something else, has one more thing against it now.
fn suspended(
    task: &Task,
    with: Option<TaskId>,
    why: &str,
    now: Timestamp,
) -> Result<Option<(Task, Vec<Effect>)>, BrokerError> {
    match (&task.state, &task.suspension) {
        (TaskState::Open, _) => {
            let suspension = Suspension { why: bounded(why), since: now, with };
            Ok(Some(task.clone().suspend(suspension, now)?))
        }
        (TaskState::Suspended, Some(known)) if with.is_none() => {
            if known.with.is_none() && known.why.contains(&bounded(why)) {
                return Ok(None);
            }
            let joined = match &known.with {
                Some(_) => bounded(why),
                None => bounded(&format!("{why}; {}", known.why)),
            };
            let suspension = Suspension { why: joined, since: known.since, with: None };
            let task = Task { suspension: Some(suspension), ..task.clone() };
            let effect = Effect::Append {
                lifecycle: carnet_core::Lifecycle::Task,
                id: task.id.to_string(),
                transition: "suspended",
                narrows: true,
            };
            Ok(Some((task, vec![effect])))
        }
        _ => Ok(None),
    }
}

fn bounded(why: &str) -> String {
    why.chars().take(WHY_CHARS_MAX).collect()
}
