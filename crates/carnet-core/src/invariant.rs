//! What must always hold, by name: used in property tests, simulations and debug assertions.
//!
//! A predicate answers with the [`Breach`] it found. None of them is part of a decision: they check
//! the code that decides.

use crate::{Caller, Decision, DecisionKind, Grant, GrantState, LockTarget, Now, Operation};
use crate::{Snapshot, TaskState, TaskView, VerdictEffect};

/// A grant never spends more uses than it has.
pub const GRANT_USES: &str = "INV-GRANT-1";
/// A grant never spends more of a total than its ceiling.
pub const GRANT_TOTALS: &str = "INV-GRANT-2";
/// A grant belongs to the task it is listed under, and what it draws on does too.
pub const GRANT_TASK: &str = "INV-GRANT-3";
/// A grant never outlives its task.
pub const GRANT_EXPIRES: &str = "INV-GRANT-4";
/// No grant counts under a task that is not open, or that has an ancestor which is not, or which a
/// lock stops.
pub const TASK_LIVE: &str = "INV-TASK-1";
/// A task never makes more calls than its budget.
pub const TASK_CALLS: &str = "INV-TASK-2";
/// A closed task is in no snapshot.
pub const TASK_CLOSED: &str = "INV-TASK-3";
/// A permit has a fresh snapshot, a live lineage, a live cover and a verdict that permits.
pub const DECIDE_PERMIT: &str = "INV-DECIDE-1";
/// A decision that is no permit says why.
pub const DECIDE_REASON: &str = "INV-DECIDE-2";
/// A permit covers the operation it is for, with room for what it takes.
pub const DECIDE_COVER: &str = "INV-DECIDE-3";

/// An invariant that does not hold, and of what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} does not hold: {of}")]
pub struct Breach {
    /// The invariant.
    pub name: &'static str,
    /// What breaks it.
    pub of: String,
}

type Checked = Result<(), Breach>;

/// [`GRANT_USES`] and [`GRANT_TOTALS`].
pub fn check_grant(grant: &Grant) -> Checked {
    let uses_max = grant.allowance.uses.unwrap_or(u64::MAX);
    ensure(grant.uses_spent <= uses_max, GRANT_USES, || {
        format!("{} spent {} of {uses_max} uses", grant.id, grant.uses_spent)
    })?;
    for (argument, spent) in &grant.totals_spent {
        let ceiling = grant.allowance.total.get(argument).copied().unwrap_or(0);
        ensure((0..=ceiling).contains(spent), GRANT_TOTALS, || {
            format!("{} spent {spent} of {ceiling} {argument}", grant.id)
        })?;
    }
    Ok(())
}

/// Every invariant of a state, for every task in it.
pub fn check_snapshot(snapshot: &Snapshot) -> Checked {
    snapshot.tasks.values().try_for_each(|view| check_view(view))
}

fn check_view(view: &TaskView) -> Checked {
    let task = &view.task;
    ensure(!matches!(task.state, TaskState::Closed { .. }), TASK_CLOSED, || task.id.to_string())?;
    let calls_max = task.calls_max.unwrap_or(u64::MAX);
    ensure(task.calls_spent <= calls_max, TASK_CALLS, || {
        format!("{} made {} of {calls_max} calls", task.id, task.calls_spent)
    })?;
    for grant in &view.grants {
        check_grant(grant)?;
        let is_here = |id: &crate::GrantId| view.grants.iter().any(|other| other.id == *id);
        let belongs = grant.task == task.id && grant.draws_on.as_ref().is_none_or(is_here);
        ensure(belongs, GRANT_TASK, || format!("{} in {}", grant.id, task.id))?;
        ensure(grant.expires <= task.deadline, GRANT_EXPIRES, || grant.id.to_string())?;
    }
    Ok(())
}

/// [`DECIDE_PERMIT`], [`DECIDE_REASON`], [`DECIDE_COVER`] and [`TASK_LIVE`].
pub fn check_decision(
    snapshot: &Snapshot,
    operation: &Operation,
    caller: &Caller,
    now: Now,
    decision: &Decision,
) -> Checked {
    if decision.kind != DecisionKind::Permit {
        return ensure(!decision.reasons.is_empty(), DECIDE_REASON, || {
            format!("{:?}", decision.kind)
        });
    }
    ensure(decision.reasons.is_empty(), DECIDE_REASON, || format!("{:?}", decision.reasons))?;
    ensure(snapshot.is_fresh(now), DECIDE_PERMIT, || "the snapshot is stale".to_owned())?;
    let live = snapshot.check_task(&caller.task, now.wall);
    let view = live.map_err(|reason| breach(TASK_LIVE, format!("{}: {reason}", caller.task)))?;
    let effect = decision.verdict.as_ref().map(|verdict| &verdict.effect);
    let is_permitted = match effect {
        Some(VerdictEffect::Permit) => true,
        // People have said so: that they were the right ones is checked where they are counted.
        Some(VerdictEffect::Ask(_)) => {
            decision.cover.as_ref().is_some_and(|cover| !cover.approved_by.is_empty())
        }
        Some(VerdictEffect::Deny) | None => false,
    };
    ensure(is_permitted, DECIDE_PERMIT, || format!("the verdict is {effect:?}"))?;
    check_cover(snapshot, view, operation, caller, now, decision)
}

fn check_cover(
    snapshot: &Snapshot,
    view: &TaskView,
    operation: &Operation,
    caller: &Caller,
    now: Now,
    decision: &Decision,
) -> Checked {
    let none = || breach(DECIDE_PERMIT, "no grant covers it".to_owned());
    let cover = decision.cover.as_ref().ok_or_else(none)?;
    ensure(!cover.wants_approval, DECIDE_PERMIT, || format!("{} wants a person", cover.grant))?;
    let grant = view.grants.iter().find(|grant| grant.id == cover.grant).ok_or_else(none)?;
    let charged = cover.charges.iter().map(|charge| &charge.grant);
    for id in std::iter::once(&grant.id).chain(&grant.draws_on).chain(charged) {
        let held = view.grants.iter().find(|grant| grant.id == *id).ok_or_else(none)?;
        let is_live = held.state == GrantState::Active
            && now.wall < held.expires
            && held.is_for(&caller.instance)
            && !snapshot.is_locked(&LockTarget::Grant(held.id.clone()));
        ensure(is_live, DECIDE_PERMIT, || format!("{id} is not live"))?;
        let resource = snapshot.resource(operation.resource());
        let registered = resource.and_then(|resource| resource.registered(operation.action()));
        let kinds = registered.map(|registered| registered.arguments.clone()).unwrap_or_default();
        let totals = held.allowance.covers(operation, &kinds);
        let totals = totals.map_err(|why| breach(DECIDE_COVER, format!("{id}: {why}")))?;
        let has_room = held.has_room_for(&crate::Amounts { totals });
        ensure(has_room, DECIDE_COVER, || format!("{id} has no room left"))?;
    }
    Ok(())
}

fn breach(name: &'static str, of: String) -> Breach {
    Breach { name, of }
}

fn ensure(holds: bool, name: &'static str, of: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(breach(name, of())) }
}

#[cfg(test)]
mod tests;
