//! Resuming a task: an operator settles the doubt. What a person approved in the old context is asked
//! again; nothing of a stored yes is simply resumed.

use carnet_core::{
    ApprovalState, Asked, Grant, GrantEvent, GrantState, Principal, Reason, Snapshot, Suspension,
    Task, TaskEvent, TaskId, TaskState, TaskView, Timestamp, UserName,
};
use serde_json::json;

use crate::broker::{Broker, Done};
use crate::draft::Draft;
use crate::error::BrokerError;
use crate::item::Item;
use crate::state::State;
use crate::work::ask::{put, up_front};

/// How many commits one resumption may take.
const STEPS_MAX: usize = 10_000;

/// What becomes of a grant when its task is resumed.
enum Fate {
    /// It rests on nobody's yes.
    Stays,
    /// Whoever was asked for the allowance is asked again.
    AskedAgain(Box<carnet_core::Approval>),
    /// The next call asks anew, or whoever handed it on hands it on again.
    Revoked,
}

impl Broker {
    /// Resumes a suspended task and what was suspended with it. It stays suspended until everything
    /// that was approved is taken back or asked again, and where something else is held against it
    /// meanwhile.
    pub async fn resume_task(&self, id: &TaskId, by: &UserName) -> Result<Done, BrokerError> {
        let against = self.latest_of(|snapshot| against(snapshot, id));
        self.resume_from(id, against.as_ref(), by).await
    }

    /// Resumes a task that was suspended for this.
    async fn resume_from(
        &self,
        id: &TaskId,
        began: Option<&Suspension>,
        by: &UserName,
    ) -> Result<Done, BrokerError> {
        let by = Principal::User(by.clone());
        for _ in 0..STEPS_MAX {
            let step = |state: &State, draft: &mut Draft<'_>, now| {
                check_can_be(state, id, now)?;
                if against(&state.snapshot, id).as_ref() != began {
                    return Err(BrokerError::Contended { attempts: 1 });
                }
                resume_some(state, draft, id, now)
            };
            let (left, done) = self.transact(&by, step).await?;
            if !left {
                return Ok(done);
            }
        }
        Err(BrokerError::Contended { attempts: u32::try_from(STEPS_MAX).unwrap_or(u32::MAX) })
    }
}

/// What is held against the task.
fn against(snapshot: &Snapshot, id: &TaskId) -> Option<Suspension> {
    snapshot.tasks.get(id)?.task.suspension.clone()
}

fn check_can_be(state: &State, id: &TaskId, now: Timestamp) -> Result<(), BrokerError> {
    let view = state.snapshot.tasks.get(id).ok_or_else(|| BrokerError::Missing {
        kind: "suspended task",
        id: id.to_string(),
        hint: "it is closed or never existed; see `carnet task list`",
    })?;
    view.task.clone().apply(TaskEvent::Resume, now)?;
    if now >= view.task.deadline {
        let detail = format!("{id} is past its deadline: open another task");
        return Err(BrokerError::refused(Reason::TaskExpired, detail));
    }
    let Some(parent) = &view.task.parent else { return Ok(()) };
    state.snapshot.check_task(parent, now).map(drop).map_err(|_| {
        let detail = format!("{id} is a part of {parent}, which is not open: resume that first");
        BrokerError::refused(Reason::AncestorClosed, detail)
    })
}

/// Does as much of a resumption as fits in one commit, and tells whether something is left. From the
/// leaves up: the task itself is open last, and nothing below it is permitted before.
fn resume_some(
    state: &State,
    draft: &mut Draft<'_>,
    root: &TaskId,
    now: Timestamp,
) -> Result<bool, BrokerError> {
    let ids = state.subtree(root);
    let tasks = ids.iter().rev().filter_map(|id| state.snapshot.tasks.get(id));
    for view in tasks.filter(|view| is_resumed_with(&view.task, root)) {
        for grant in &view.grants {
            if !draft.has_room() {
                return Ok(true);
            }
            settle(state, draft, view, grant, now)?;
        }
        if !draft.has_room() {
            return Ok(true);
        }
        let (task, effects) = view.task.clone().apply(TaskEvent::Resume, now)?;
        let details = json!({ "agent": task.agent });
        draft.transition(Item::Task(task), &effects, details)?;
    }
    Ok(false)
}

/// Whether the task is the root, or was suspended with it and for nothing else.
fn is_resumed_with(task: &Task, root: &TaskId) -> bool {
    let with = task.suspension.as_ref().and_then(|suspension| suspension.with.as_ref());
    task.state == TaskState::Suspended && (task.id == *root || with == Some(root))
}

fn settle(
    state: &State,
    draft: &mut Draft<'_>,
    view: &TaskView,
    grant: &Grant,
    now: Timestamp,
) -> Result<(), BrokerError> {
    let details = json!({ "task": view.task.id, "why": "its context is another" });
    match fate(state, view, grant, now)? {
        Fate::Stays => Ok(()),
        Fate::Revoked => {
            let (grant, effects) = grant.clone().apply(GrantEvent::Revoke, now)?;
            draft.transition(Item::Grant(grant), &effects, details)
        }
        Fate::AskedAgain(approval) => {
            let event = GrantEvent::AskAgain(approval.id.clone());
            let (grant, effects) = grant.clone().apply(event, now)?;
            draft.transition(Item::Grant(grant), &effects, details)?;
            put(draft, *approval, "asked")
        }
    }
}

fn fate(
    state: &State,
    view: &TaskView,
    grant: &Grant,
    now: Timestamp,
) -> Result<Fate, BrokerError> {
    let asked = match &grant.state {
        GrantState::Pending(asked) => asked,
        GrantState::Active => match &grant.approved {
            Some(approved) => &approved.approval,
            None if rests_on_yes(state, view, grant) => return Ok(Fate::Revoked),
            None => return Ok(Fate::Stays),
        },
        _ => return Ok(Fate::Stays),
    };
    let Some(known) = state.approvals.get(asked) else { return Ok(Fate::Revoked) };
    if known.state == ApprovalState::Asked {
        return Ok(Fate::Stays);
    }
    match &known.question.of {
        Asked::Use { .. } => Ok(Fate::Revoked),
        Asked::Allowance { .. } => {
            let policy = state.active_policy.as_ref().map_or(known.policy, |it| it.digest);
            let question = up_front(grant, known.terms.clone(), policy, now)?;
            Ok(Fate::AskedAgain(Box::new(question)))
        }
    }
}

/// Whether what `grant` was cut from, or draws on, rests on what a person said or is asked.
fn rests_on_yes(state: &State, view: &TaskView, grant: &Grant) -> bool {
    let (mut view, mut grant) = (view, grant);
    for _ in 0..=2 * carnet_core::TASK_DEPTH_MAX {
        if grant.approved.is_some() || matches!(grant.state, GrantState::Pending(_)) {
            return true;
        }
        let next = match (&grant.draws_on, &grant.cut_from, &view.task.parent) {
            (Some(base), ..) => view.grant(base),
            (None, Some(from), Some(parent)) => {
                let Some(above) = state.snapshot.tasks.get(parent) else { return true };
                view = above;
                view.grant(from)
            }
            _ => return false,
        };
        // What cannot be followed cannot be vouched for.
        let Some(next) = next else { return true };
        grant = next;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::fixture::{House, ISSUER, ana};

    #[tokio::test]
    async fn a_doubt_that_came_while_a_task_was_resumed_is_not_wiped_out() {
        let house = House::at(ISSUER).await;
        let id = house.open_task("mail-agent").await;
        house.broker.suspend_task(&id, "a doubt", &ana()).await.unwrap();
        let began = house.broker.latest_of(|snapshot| against(snapshot, &id));
        house.broker.suspend_task(&id, "another", &ana()).await.unwrap();
        let refused = house.broker.resume_from(&id, began.as_ref(), &ana()).await;
        assert!(matches!(refused, Err(BrokerError::Contended { .. })));
        let now = house.broker.latest_of(|snapshot| against(snapshot, &id));
        assert_eq!(now.unwrap().why, "another; a doubt");
        house.broker.resume_task(&id, &ana()).await.unwrap();
    }
}
