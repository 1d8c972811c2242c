//! What time does by itself: deadlines, lapsed questions, freshness, and what a crash left behind.

use std::sync::Arc;
use std::time::Duration;

use carnet_core::{
    ApprovalEvent, ApprovalState, Closure, GrantEvent, GrantState, Principal, Snapshot, TaskId,
    TaskState, Timestamp,
};
use serde_json::json;

use crate::broker::Broker;
use crate::draft::Draft;
use crate::error::BrokerError;
use crate::item::Item;
use crate::state::State;
use crate::work::close::close_one;

/// How often time is looked at.
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// How many times a freshness window is renewed within itself.
const RENEWALS_PER_WINDOW: u32 = 4;
/// What is held back of a window for the uncertainty of clocks.
const FRESHNESS_MARGIN: Duration = Duration::from_millis(50);
/// In whose name Carnet itself acts, in the ledger.
const CARNET: &str = "carnet";

impl Broker {
    /// Proves that the view is fresh: a linearizable read, counted from when it was sent.
    pub(crate) async fn freshen(&self) -> Result<(), BrokerError> {
        let sent = self.now().mono;
        self.store.revision().await?;
        let lasts = self.freshness_window.saturating_sub(FRESHNESS_MARGIN);
        let lasts_us = u64::try_from(lasts.as_micros()).unwrap_or(u64::MAX);
        self.publish_freshness(sent.plus_us(lasts_us));
        Ok(())
    }

    /// Freshens for as long as the broker lives. A store that does not answer lets the window run
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

    /// Sweeps for as long as the broker lives.
    pub(crate) async fn sweep_forever(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            if let Err(error) = self.sweep().await {
                tracing::error!(%error, "what is past its time could not be written as ended; it permits nothing");
            }
        }
    }

    /// Ends what is past its time. Decisions do not wait for this: they look at the time themselves.
    pub(crate) async fn sweep(&self) -> Result<(), BrokerError> {
        let now = self.now().wall;
        if !has_overdue(&self.state(), now) {
            return Ok(());
        }
        self.transact(&carnet()?, |state, draft, now| {
            for id in overdue_tasks(&state.snapshot, now) {
                close_one(state, draft, &id, Closure::Expired, now)?;
            }
            expire_approvals(state, draft, now)?;
            expire_grants(&state.snapshot, draft, now)
        })
        .await?;
        Ok(())
    }

    /// Finishes what a crash interrupted: no task stays half closed.
    pub(crate) async fn recover(&self) -> Result<(), BrokerError> {
        self.transact(&carnet()?, |state, draft, now| {
            let views = state.snapshot.tasks.values();
            for view in views.filter(|view| matches!(view.task.state, TaskState::Closing { .. })) {
                close_one(state, draft, &view.task.id, Closure::Revoked, now)?;
            }
            Ok(())
        })
        .await?;
        self.sweep().await
    }
}

fn carnet() -> Result<Principal, BrokerError> {
    let name = CARNET.parse().map_err(|_| BrokerError::invalid("name", CARNET))?;
    Ok(Principal::User(name))
}

fn has_overdue(state: &State, now: Timestamp) -> bool {
    let lapsed = |approval: &carnet_core::Approval| {
        approval.state == ApprovalState::Asked && now >= approval.expires
    };
    let tasks = &state.snapshot.tasks;
    tasks.values().any(|view| {
        now >= view.task.deadline || view.grants.iter().any(|grant| is_overdue(grant, now))
    }) || state.approvals.values().any(|approval| lapsed(approval))
}

fn is_overdue(grant: &carnet_core::Grant, now: Timestamp) -> bool {
    now >= grant.expires && grant.state == GrantState::Active
}

fn overdue_tasks(snapshot: &Snapshot, now: Timestamp) -> Vec<TaskId> {
    let overdue = snapshot.tasks.values().filter(|view| now >= view.task.deadline);
    overdue.map(|view| view.task.id.clone()).collect()
}

fn is_task_overdue(snapshot: &Snapshot, task: &TaskId, now: Timestamp) -> bool {
    snapshot.tasks.get(task).is_none_or(|view| now >= view.task.deadline)
}

fn expire_approvals(
    state: &State,
    draft: &mut Draft<'_>,
    now: Timestamp,
) -> Result<(), BrokerError> {
    for approval in state.approvals.values() {
        let task = &approval.question.task;
        let is_lapsed = approval.state == ApprovalState::Asked && now >= approval.expires;
        // Those of an overdue task were cancelled with it.
        if !is_lapsed || is_task_overdue(&state.snapshot, task, now) {
            continue;
        }
        let (expired, effects) = (**approval).clone().apply(ApprovalEvent::Expire, now)?;
        draft.transition(Item::Approval(Box::new(expired)), &effects, json!({ "task": task }))?;
        if let carnet_core::Asked::Allowance { grant, .. } = &approval.question.of {
            deny_waiting(&state.snapshot, draft, task, grant, now)?;
        }
    }
    Ok(())
}

fn deny_waiting(
    snapshot: &Snapshot,
    draft: &mut Draft<'_>,
    task: &TaskId,
    grant: &carnet_core::GrantId,
    now: Timestamp,
) -> Result<(), BrokerError> {
    let Some(view) = snapshot.tasks.get(task) else { return Ok(()) };
    let Some(known) = view.grants.iter().find(|known| known.id == *grant) else { return Ok(()) };
    let (denied, effects) = known.clone().apply(GrantEvent::Deny, now)?;
    draft.transition(Item::Grant(denied), &effects, json!({ "task": task }))
}

fn expire_grants(
    snapshot: &Snapshot,
    draft: &mut Draft<'_>,
    now: Timestamp,
) -> Result<(), BrokerError> {
    for view in snapshot.tasks.values().filter(|view| now < view.task.deadline) {
        for grant in view.grants.iter().filter(|grant| is_overdue(grant, now)) {
            let (expired, effects) = grant.clone().apply(GrantEvent::Expire, now)?;
            draft.transition(Item::Grant(expired), &effects, json!({ "task": view.task.id }))?;
        }
    }
    Ok(())
}
