//! Leases: what was handed out for a task and a target honours without asking. Each is durable before
//! its target is touched, listed as long as it may be out, and over when the target or time says so.

use std::sync::Arc;

use carnet_core::{Lease, LeaseEvent, LeaseState, Reason, TaskId, Timestamp};
use serde_json::json;

use crate::broker::Broker;
use crate::draft::Draft;
use crate::error::BrokerError;
use crate::item::Item;
use crate::state::State;

/// The most leases of one task at a time, and of one agent: agents loop.
const LEASES_OF_TASK_MAX: usize = 64;
const LEASES_OF_AGENT_MAX: usize = 256;

impl Broker {
    /// What may still be out at a target, of every task or of one and those below it, the longest
    /// last.
    pub fn leases_out(&self, task: Option<&TaskId>) -> Vec<Arc<Lease>> {
        let now = self.now().wall;
        let state = self.latest();
        let below = task.map(|task| state.subtree(task));
        let is_meant = |lease: &&Arc<Lease>| {
            lease.is_out(now) && below.as_ref().is_none_or(|tasks| tasks.contains(&lease.task))
        };
        let mut out: Vec<_> = state.leases.values().filter(is_meant).cloned().collect();
        out.sort_by(|one, other| (one.expires, &one.id).cmp(&(other.expires, &other.id)));
        out
    }
}

impl State {
    /// The leases of `task` that are not over.
    pub(crate) fn leases_of<'a>(
        &'a self,
        task: &'a TaskId,
    ) -> impl Iterator<Item = &'a Arc<Lease>> {
        self.leases.values().filter(move |lease| lease.task == *task)
    }

    /// Whether something of `task`, or of one below it, may be out at a target at `now`.
    pub(crate) fn has_leases_out(&self, task: &TaskId, now: Timestamp) -> bool {
        let is_out = |task: &TaskId| self.leases_of(task).any(|lease| lease.is_out(now));
        // Most have none at all: the tree need not be looked at.
        !self.leases.is_empty() && self.subtree(task).iter().any(is_out)
    }
}

/// Whether one more lease may be intended.
pub(crate) fn check_room(state: &State, lease: &Lease) -> Result<(), BrokerError> {
    let of_agent = state.leases.values().filter(|known| known.agent == lease.agent).count();
    let of_task = state.leases_of(&lease.task).count();
    if of_task < LEASES_OF_TASK_MAX && of_agent < LEASES_OF_AGENT_MAX {
        return Ok(());
    }
    let detail = format!(
        "{of_task} leases of {} and {of_agent} of {} are out: wait until some are over",
        lease.task, lease.agent
    );
    Err(BrokerError::refused(Reason::ReservationRefused, detail))
}

/// Moves a lease, with a record that says what it is of.
pub(crate) fn advance(
    draft: &mut Draft<'_>,
    lease: &Lease,
    event: LeaseEvent,
    now: Timestamp,
) -> Result<Lease, BrokerError> {
    let (lease, effects) = lease.clone().apply(event, now)?;
    let details = json!({
        "task": lease.task, "agent": lease.agent, "resource": lease.resource, "path": lease.path,
        "decision": lease.decision, "expires_us": lease.expires,
    });
    draft.transition(Item::Lease(lease.clone()), &effects, details)?;
    Ok(lease)
}

/// Ends the leases of a task, and tells whether all of it fitted. What a target does not take back is
/// out until its time is over.
pub(crate) fn revoke_of(
    state: &State,
    draft: &mut Draft<'_>,
    task: &TaskId,
    now: Timestamp,
) -> Result<bool, BrokerError> {
    for lease in state.leases_of(task).filter(|lease| is_to_revoke(lease)) {
        if !draft.has_room() {
            return Ok(false);
        }
        advance(draft, lease, LeaseEvent::Revoke, now)?;
    }
    Ok(true)
}

/// Whether `lease` stands where nobody said that it is to end.
pub(crate) const fn is_to_revoke(lease: &Lease) -> bool {
    matches!(lease.state, LeaseState::Intended | LeaseState::Issuing | LeaseState::Active)
}

/// Whether time has something to say of `lease`.
pub(crate) fn is_overdue(lease: &Lease, now: Timestamp) -> bool {
    !lease.is_over() && now >= lease.expires
}

/// Ends as many leases past their time as fit in one commit, and tells whether there was none.
pub(crate) fn sweep(
    state: &State,
    draft: &mut Draft<'_>,
    now: Timestamp,
) -> Result<bool, BrokerError> {
    let mut is_done = true;
    for lease in state.leases.values().filter(|lease| is_overdue(lease, now)) {
        is_done = false;
        if !draft.has_room() {
            break;
        }
        let event = match lease.state {
            LeaseState::Intended => LeaseEvent::Revoke,
            _ => LeaseEvent::Expire,
        };
        advance(draft, lease, event, now)?;
    }
    Ok(is_done)
}

/// Ends what was intended when the process ended: a token leaves only after its lease is active, so
/// none of these did. Tells whether some are left.
pub(crate) fn abandon(
    state: &State,
    draft: &mut Draft<'_>,
    now: Timestamp,
) -> Result<bool, BrokerError> {
    for lease in state.leases.values().filter(|lease| lease.state == LeaseState::Intended) {
        if !draft.has_room() {
            return Ok(true);
        }
        advance(draft, lease, LeaseEvent::Revoke, now)?;
    }
    Ok(false)
}
