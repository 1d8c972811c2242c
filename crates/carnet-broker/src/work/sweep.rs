//! What time does by itself: deadlines, lapsed questions, freshness, and what a crash left behind.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use carnet_core::{
    ApprovalEvent, ApprovalState, Asked, Closure, Grant, GrantEvent, GrantState, Principal, TaskId,
    TaskState, Timestamp,
};
use serde_json::json;

use crate::broker::Broker;
use crate::draft::Draft;
use crate::error::BrokerError;
use crate::item::Item;
use crate::keys;
use crate::state::State;
use crate::transact::Made;
use crate::work::close::{close_below, is_waiting};
use crate::work::{lease, revoke};

/// How often time is looked at.
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// Every how many looks history is looked through: once in ten minutes.
const PRUNE_EVERY: u32 = 1_200;
/// How many times a freshness window is renewed within itself.
const RENEWALS_PER_WINDOW: u32 = 4;
/// What is held back of a window for the uncertainty of clocks.
const FRESHNESS_MARGIN: Duration = Duration::from_millis(50);
/// How many commits one look may take: each does as much as fits in it.
const STEPS_MAX: usize = 1_000;
/// In whose name Carnet itself acts, in the ledger.
const CARNET: &str = "carnet";

impl Broker {
    /// Proves that the view is fresh: a linearizable read, counted from when it was sent, of a store
    /// this node has followed that far.
    pub async fn freshen(&self) -> Result<(), BrokerError> {
        let sent = self.now().mono;
        let revision = self.store.revision().await?;
        self.settle_in(revision).await?;
        let lasts = self.freshness_window.saturating_sub(FRESHNESS_MARGIN);
        let lasts_us = u64::try_from(lasts.as_micros()).unwrap_or(u64::MAX);
        self.publish_freshness(sent.plus_us(lasts_us));
        Ok(())
    }

    /// Freshens for as long as the broker runs. A store that does not answer lets the window run
    /// out, and then nothing is permitted.
    pub(crate) async fn freshen_forever(self: Arc<Self>) {
        let every = self.freshness_window / RENEWALS_PER_WINDOW;
        loop {
            tokio::time::sleep(every).await;
            if let Err(error) = self.freshen().await {
                tracing::error!(%error, "the store did not answer: the freshness window runs out");
            }
        }
    }

    /// Sweeps for as long as the broker runs, and writes what could not be written before.
    pub(crate) async fn sweep_forever(self: Arc<Self>) {
        let mut looks: u32 = 0;
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            self.write_held().await;
            if let Err(error) = self.sweep().await {
                tracing::error!(%error, "what is past its time could not be written as ended; it permits nothing");
            }
            if looks.is_multiple_of(PRUNE_EVERY)
                && let Err(error) = self.prune().await
            {
                tracing::error!(%error, "old history could not be removed from the store");
            }
            looks = looks.wrapping_add(1);
        }
    }

    /// Ends what is past its time. Decisions do not wait for this: they look at the time themselves.
    pub async fn sweep(&self) -> Result<(), BrokerError> {
        for _ in 0..STEPS_MAX {
            let now = self.now().wall;
            if self.is_holding() || !has_overdue(&self.latest(), now) {
                return Ok(());
            }
            let (is_whole, _) = self.transact(&carnet()?, sweep_some).await?;
            if is_whole {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Finishes what a crash interrupted: no task stays half closed, and what was set aside for an
    /// operation whose outcome nobody told stays spent, with a record that says so.
    pub(crate) async fn recover(&self) -> Result<(), BrokerError> {
        let (by, mut left) = (carnet()?, true);
        while left {
            // It takes nothing that is not taken already: it need not wait for its records.
            let (more, made) = self
                .commit(&by, |state, draft, now| {
                    let more = forget_reservations(state, draft)?;
                    Ok(lease::abandon(state, draft, now)? || more)
                })
                .await?;
            if let Made::Stored { committed, .. } = made {
                self.settle_in(committed.revision).await?;
            }
            left = more;
        }
        self.sweep().await
    }
}

/// Removes as many reservations as fit in one commit, and tells whether some are left.
fn forget_reservations(state: &State, draft: &mut Draft<'_>) -> Result<bool, BrokerError> {
    for held in state.reservations.values() {
        if !draft.has_room() {
            return Ok(true);
        }
        let details = json!({ "outcome": "unknown", "reservation": held.id, "task": held.task });
        let (kind, id) = (carnet_ledger::Kind::Outcome, held.decision.as_str());
        draft.record(kind, id, "recovered", false, &details, None);
        draft.delete(Item::Reservation((**held).clone()).key());
    }
    Ok(false)
}

/// In whose name Carnet itself acts.
pub(crate) fn carnet() -> Result<Principal, BrokerError> {
    let name = CARNET.parse().map_err(|_| BrokerError::invalid("name", CARNET))?;
    Ok(Principal::User(name))
}

/// Ends as much of what is past its time as fits in one commit, and tells whether that was all.
fn sweep_some(state: &State, draft: &mut Draft<'_>, now: Timestamp) -> Result<bool, BrokerError> {
    let is_swept = keys::sweep(state, draft, now)
        && revoke::sweep(state, draft, now)
        && lease::sweep(state, draft, now)?;
    if !is_swept {
        return Ok(false);
    }
    let ending = ending(state, now);
    let mut covered = BTreeSet::new();
    for id in &ending {
        let is_below = state
            .snapshot
            .tasks
            .get(id)
            .and_then(|view| view.task.parent.as_ref())
            .is_some_and(|parent| ending.contains(parent));
        if is_below {
            continue;
        }
        covered.extend(state.subtree(id));
        if close_below(state, draft, id, closure_of(state, id), now)? {
            return Ok(false);
        }
    }
    Ok(expire_approvals(state, draft, &covered, now)?
        && expire_grants(state, draft, &covered, now)?)
}

/// Why a task ends that ends by itself.
fn closure_of(state: &State, id: &TaskId) -> Closure {
    let is_revoked =
        |view: &Arc<carnet_core::TaskView>| state.snapshot.is_opening_revoked(&view.task);
    match state.snapshot.tasks.get(id).is_some_and(is_revoked) {
        true => Closure::Revoked,
        false => Closure::Expired,
    }
}

fn has_overdue(state: &State, now: Timestamp) -> bool {
    if keys::spent(&state.keys, now).next().is_some()
        || revoke::spent(state, now).next().is_some()
        || state.leases.values().any(|it| lease::is_overdue(it, now))
    {
        return true;
    }
    let lapsed = |approval: &carnet_core::Approval| {
        approval.state == ApprovalState::Asked && now >= approval.expires
    };
    let tasks = &state.snapshot.tasks;
    tasks.values().any(|view| view.grants.iter().any(|grant| is_overdue(grant, now)))
        || !ending(state, now).is_empty()
        || state.approvals.values().any(|approval| lapsed(approval))
}

fn is_overdue(grant: &Grant, now: Timestamp) -> bool {
    now >= grant.expires && grant.state == GrantState::Active
}

/// The tasks that are past their deadline, half closed, or handed on with a token that was taken back,
/// with what is below them.
fn ending(state: &State, now: Timestamp) -> BTreeSet<TaskId> {
    let is_ending = |task: &carnet_core::Task| {
        now >= task.deadline
            || matches!(task.state, TaskState::Closing { .. })
            || state.snapshot.is_opening_revoked(task)
    };
    let tops = state
        .snapshot
        .tasks
        .values()
        .filter(|view| is_ending(&view.task) && !is_waiting(state, &view.task.id, now));
    tops.flat_map(|view| state.subtree(&view.task.id)).collect()
}

fn expire_approvals(
    state: &State,
    draft: &mut Draft<'_>,
    covered: &BTreeSet<TaskId>,
    now: Timestamp,
) -> Result<bool, BrokerError> {
    for approval in state.approvals.values() {
        let task = &approval.question.task;
        let is_lapsed = approval.state == ApprovalState::Asked && now >= approval.expires;
        // Those of a task that ends are cancelled with it.
        if !is_lapsed || covered.contains(task) {
            continue;
        }
        if !draft.has_room() {
            return Ok(false);
        }
        let (expired, effects) = (**approval).clone().apply(ApprovalEvent::Expire, now)?;
        draft.transition(Item::Approval(Box::new(expired)), &effects, json!({ "task": task }))?;
        if let Asked::Allowance { grant, .. } = &approval.question.of {
            deny_waiting(state, draft, task, grant, now)?;
        }
    }
    Ok(true)
}

fn deny_waiting(
    state: &State,
    draft: &mut Draft<'_>,
    task: &TaskId,
    grant: &carnet_core::GrantId,
    now: Timestamp,
) -> Result<(), BrokerError> {
    let Some(view) = state.snapshot.tasks.get(task) else { return Ok(()) };
    let Some(known) = view.grants.iter().find(|known| known.id == *grant) else { return Ok(()) };
    // One that does not wait any more needs no denying.
    match known.clone().apply(GrantEvent::Deny, now) {
        Ok((denied, effects)) => {
            draft.transition(Item::Grant(denied), &effects, json!({ "task": task }))
        }
        Err(_) => Ok(()),
    }
}

fn expire_grants(
    state: &State,
    draft: &mut Draft<'_>,
    covered: &BTreeSet<TaskId>,
    now: Timestamp,
) -> Result<bool, BrokerError> {
    let tasks = state.snapshot.tasks.values();
    for view in tasks.filter(|view| !covered.contains(&view.task.id)) {
        for grant in view.grants.iter().filter(|grant| is_overdue(grant, now)) {
            if !draft.has_room() {
                return Ok(false);
            }
            let (expired, effects) = grant.clone().apply(GrantEvent::Expire, now)?;
            draft.transition(Item::Grant(expired), &effects, json!({ "task": view.task.id }))?;
        }
    }
    Ok(true)
}
