//! Reservations: what is set aside for one operation before it is forwarded, committed with its
//! decision record. No reservation, no forward; one without an outcome stays spent.

use carnet_core::{
    Charge, DecisionId, Grant, GrantEvent, GrantState, Instance, InstanceId, Principal, Reason,
    ReservationId, Task, TaskEvent, TaskId, Timestamp,
};
use carnet_ledger::{Entry, fault_point};
use carnet_store::Key;
use serde_json::json;

use crate::broker::Broker;
use crate::clock::fresh_bits;
use crate::draft::Draft;
use crate::error::BrokerError;
use crate::item::{Item, Reservation};
use crate::state::State;
use crate::transact::Made;

/// What to set aside, and the decision that wants it.
#[derive(Debug, Clone)]
pub struct Reserve {
    /// The agent in whose name the record is written.
    pub agent: carnet_core::AgentName,
    /// The decision.
    pub decision: DecisionId,
    /// The task.
    pub task: TaskId,
    /// What it takes, of which grants.
    pub charges: Vec<Charge>,
    /// Whether it takes one call of the task's budget.
    pub counts_call: bool,
    /// The copy that is marked by it, with the whole tree of the task, where it reads something
    /// untrusted.
    pub marks: Option<InstanceId>,
    /// The decision's ledger record.
    pub entry: Entry,
}

impl Broker {
    /// Sets aside what one operation takes, with its decision record, durably.
    pub async fn reserve(&self, reserve: Reserve) -> Result<ReservationId, BrokerError> {
        let by = Principal::Agent(reserve.agent.clone());
        let id = ReservationId::from_bits(fresh_bits());
        fault_point("reserve.before");
        let lane = self.lanes.enter(&Some(&reserve.task)).await;
        let made = self.commit(&by, |state, draft, now| {
            take(state, draft, &reserve, now)?;
            draft.put(Item::Reservation(Reservation {
                id: id.clone(),
                decision: reserve.decision.clone(),
                task: reserve.task.clone(),
                charges: reserve.charges.clone(),
                counts_call: reserve.counts_call,
            }))?;
            // The decision's record must be in the ledger before the operation is forwarded.
            draft.widens();
            draft.entry(reserve.entry.clone());
            Ok(())
        });
        let made = made.await?.1;
        self.follow_in_lane(&made, lane).await?;
        let in_force = self.take_effect(made).await;
        fault_point("reserve.after");
        if let Err(error) = in_force {
            self.withdraw(&reserve, &id).await;
            return Err(error);
        }
        Ok(id)
    }

    /// Keeps the lane until the latest state has the change, so that the next in it sees it.
    pub(crate) async fn follow_in_lane(
        &self,
        made: &Made,
        lane: Option<tokio::sync::MutexGuard<'_, ()>>,
    ) -> Result<(), BrokerError> {
        if let Made::Stored { committed, .. } = made {
            self.settle_in(committed.revision).await?;
        }
        drop(lane);
        Ok(())
    }

    /// Gives back what was set aside for an operation that will not be forwarded, because its
    /// decision could not be recorded. Where that fails too it stays spent.
    async fn withdraw(&self, reserve: &Reserve, id: &ReservationId) {
        if let Err(error) = self.settle(id, &reserve.agent, false, true).await {
            tracing::warn!(%error, reservation = %id, "a reservation stays spent");
        }
    }

    /// Settles a reservation. Only what was surely never forwarded is given back.
    pub async fn settle_reservation(
        &self,
        id: &ReservationId,
        agent: &carnet_core::AgentName,
        forwarded: bool,
    ) -> Result<(), BrokerError> {
        fault_point("settle.before");
        self.settle(id, agent, forwarded, false).await?;
        fault_point("settle.after");
        Ok(())
    }

    /// Settles a reservation, where the gateway does not know of it with a record of the outcome.
    async fn settle(
        &self,
        id: &ReservationId,
        agent: &carnet_core::AgentName,
        forwarded: bool,
        is_recorded: bool,
    ) -> Result<(), BrokerError> {
        let by = Principal::Agent(agent.clone());
        let task = self.latest().reservations.get(id).map(|held| held.task.clone());
        let lane = self.lanes.enter(&task.as_ref()).await;
        let made = self.commit(&by, |state, draft, now| {
            let held = state.reservations.get(id).ok_or_else(|| BrokerError::Missing {
                kind: "reservation",
                id: id.to_string(),
                hint: "it is settled already",
            })?;
            if !forwarded {
                give_back(state, draft, held, now)?;
            }
            // It takes nothing away: it has no claim to what the store keeps for brakes.
            draft.widens();
            if is_recorded {
                let details = json!({
                    "outcome": "not_forwarded", "reservation": id, "task": held.task,
                });
                let (kind, decision) = (carnet_ledger::Kind::Outcome, held.decision.as_str());
                draft.record(kind, decision, "withdrawn", false, &details, None);
            }
            draft.delete(Key::new(carnet_store::Kind::Reservation, id.as_str()));
            Ok(())
        });
        let made = made.await?.1;
        self.follow_in_lane(&made, lane).await
    }
}

fn refused(detail: impl Into<String>) -> BrokerError {
    BrokerError::refused(Reason::ReservationRefused, detail)
}

pub(super) fn take(
    state: &State,
    draft: &mut Draft<'_>,
    reserve: &Reserve,
    now: Timestamp,
) -> Result<(), BrokerError> {
    let gone = || refused(format!("{} is not open any more", reserve.task));
    let why =
        |reason| BrokerError::refused(reason, format!("{} is not live any more", reserve.task));
    let view = state.snapshot.check_task(&reserve.task, now).map_err(why)?;
    if view.task.agent != reserve.agent {
        return Err(gone());
    }
    if reserve.counts_call {
        let task: Task = view.task.clone();
        let spent = |_| BrokerError::refused(Reason::BudgetSpent, "the budget of calls is spent");
        let (task, _) = task.apply(TaskEvent::ReserveCall, now).map_err(spent)?;
        draft.put(Item::Task(task))?;
    }
    for charge in &reserve.charges {
        let grant = find(&view.grants, charge).ok_or_else(gone)?;
        if grant.state == GrantState::Exhausted {
            let detail = format!("{} is spent", grant.id);
            return Err(BrokerError::refused(Reason::GrantSpent, detail));
        }
        if !grant.is_live(now) {
            return Err(refused(format!("{} is not active any more", grant.id)));
        }
        let spent =
            |_| BrokerError::refused(Reason::GrantSpent, format!("{} is spent", charge.grant));
        let event = GrantEvent::Reserve(charge.amounts.clone());
        let (grant, _) = grant.clone().apply(event, now).map_err(spent)?;
        draft.put(Item::Grant(grant))?;
    }
    match &reserve.marks {
        Some(copy) => mark(state, draft, reserve, copy, now),
        None => Ok(()),
    }
}

/// Marks the copy and the tree of the task: what is read next may come from anybody. It is not taken
/// back where the operation is not forwarded after all.
fn mark(
    state: &State,
    draft: &mut Draft<'_>,
    reserve: &Reserve,
    copy: &InstanceId,
    now: Timestamp,
) -> Result<(), BrokerError> {
    let why = |reason| BrokerError::refused(reason, format!("{} is not live", reserve.task));
    let details = json!({
        "decision": reserve.decision, "read_in": reserve.task, "instance": copy,
    });
    let root = state.snapshot.root_of(&reserve.task).map_err(why)?;
    if !root.task.marked {
        let root = draft.task(&root.task.id).unwrap_or(&root.task).clone();
        let (root, effects) = root.apply(TaskEvent::Mark, now)?;
        draft.transition(Item::Task(root), &effects, details.clone())?;
    }
    let known = state.snapshot.instances.get(copy);
    let known = known.ok_or_else(|| why(Reason::InstanceUnknown))?;
    if !known.marked {
        let kind = carnet_ledger::Kind::Agent;
        draft.record(kind, copy.as_str(), "marked", false, &details, None);
        draft.put(Item::Instance(Instance { marked: true, ..(**known).clone() }))?;
    }
    Ok(())
}

/// Gives back what an operation took that was never forwarded. What is gone with its task is gone.
pub(super) fn give_back(
    state: &State,
    draft: &mut Draft<'_>,
    held: &Reservation,
    now: Timestamp,
) -> Result<(), BrokerError> {
    let Some(view) = state.snapshot.tasks.get(&held.task) else {
        return Ok(());
    };
    if held.counts_call {
        let (task, _) = view.task.clone().apply(TaskEvent::ReleaseCall, now)?;
        draft.put(Item::Task(task))?;
    }
    for charge in &held.charges {
        if let Some(grant) = find(&view.grants, charge) {
            let event = GrantEvent::Release(charge.amounts.clone());
            let (grant, _) = grant.clone().apply(event, now)?;
            draft.put(Item::Grant(grant))?;
        }
    }
    Ok(())
}

fn find<'a>(grants: &'a [Grant], charge: &Charge) -> Option<&'a Grant> {
    grants.iter().find(|grant| grant.id == charge.grant)
}
