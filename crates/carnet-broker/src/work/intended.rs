//! From a permit to what may leave: the decision, what it takes and the lease are durable in one
//! commit, before anything is signed; and the lease is active in another, before it leaves.

use carnet_core::{
    Caller, Lease, LeaseEvent, LeaseState, Operation, Permit, Principal, Reason, ReservationId,
    Timestamp,
};
use carnet_ledger::{
    Kind as LeafKind, Sealed, caller_header, decision_entry, decision_subject, operation_entry,
};
use carnet_store::{Key, Kind};
use serde_json::json;

use super::Reserve;
use super::lease::{advance, check_room};
use super::reserve::{give_back, take};
use crate::broker::Broker;
use crate::clock::fresh_bits;
use crate::draft::Draft;
use crate::error::BrokerError;
use crate::item::{Item, Reservation};

/// A permit that is durable, with its lease and what it took.
pub(super) struct Intended {
    pub(super) lease: Lease,
    pub(super) caller: Caller,
    reservation: Option<ReservationId>,
}

impl Broker {
    /// Makes the decision, what it takes and the lease durable in one commit.
    pub(super) async fn intend(
        &self,
        permit: &Permit,
        lease: Lease,
    ) -> Result<Intended, BrokerError> {
        let caller = permit.caller().clone();
        let (decision, view) = (permit.decision(), self.view());
        let subject = decision_subject(&view.snapshot, &caller);
        let (operation, id) = (permit.operation(), &lease.decision);
        let entry =
            decision_entry(id, operation, &caller, decision, arguments_of(operation), subject);
        let reserve = Reserve {
            agent: caller.agent.clone(),
            decision: id.clone(),
            task: caller.task.clone(),
            charges: permit.cover().charges.clone(),
            counts_call: decision.counts_calls,
            marks: decision.marks.then(|| caller.instance.clone()),
            entry,
        };
        let id = ReservationId::from_bits(fresh_bits());
        let reservation = decision.needs_reservation().then_some(id);
        let by = Principal::Agent(caller.agent.clone());
        let lane = self.lanes.enter(&Some(&caller.task)).await;
        let made = self.commit(&by, |state, draft, now| {
            check_room(state, &lease)?;
            take(state, draft, &reserve, now)?;
            if let Some(id) = &reservation {
                draft.put(Item::Reservation(Reservation {
                    id: id.clone(),
                    decision: reserve.decision.clone(),
                    task: reserve.task.clone(),
                    charges: reserve.charges.clone(),
                    counts_call: reserve.counts_call,
                }))?;
            }
            draft.widens();
            draft.entry(reserve.entry.clone());
            let details = json!({
                "task": lease.task, "agent": lease.agent, "resource": lease.resource,
                "path": lease.path, "decision": lease.decision, "expires_us": lease.expires,
            });
            draft.record(LeafKind::Lease, lease.id.as_str(), "intended", false, &details, None);
            draft.put(Item::Lease(lease.clone()))
        });
        let made = made.await?.1;
        self.follow_in_lane(&made, lane).await?;
        let intended = Intended { lease, caller, reservation };
        if let Err(error) = self.take_effect(made).await {
            self.withdraw_lease(&intended).await;
            return Err(error);
        }
        Ok(intended)
    }

    /// Makes the lease active and settles what it took, before the token leaves. A lease that a
    /// closing took back meanwhile is not there to be confirmed.
    pub(super) async fn confirm_lease(&self, intended: &Intended) -> Result<(), BrokerError> {
        let by = Principal::Agent(intended.caller.agent.clone());
        let lane = self.lanes.enter(&Some(&intended.caller.task)).await;
        let made = self.commit(&by, |state, draft, now| {
            let gone = || BrokerError::refused(Reason::TaskNotOpen, "its lease was taken back");
            let lease = state.leases.get(&intended.lease.id).ok_or_else(gone)?;
            draft.widens();
            let (issuing, _) = (**lease).clone().apply(LeaseEvent::Issue, now)?;
            advance(draft, &issuing, LeaseEvent::Confirm, now)?;
            self.settle_lease(draft, intended, "done", now);
            Ok(())
        });
        let made = made.await?.1;
        self.follow_in_lane(&made, lane).await?;
        self.take_effect(made).await.map(drop)
    }

    /// The outcome of what was decided, in the change that makes it.
    fn settle_lease(
        &self,
        draft: &mut Draft<'_>,
        intended: &Intended,
        outcome: &str,
        now: Timestamp,
    ) {
        let mut header = caller_header(&intended.caller);
        header.insert("outcome".into(), json!(outcome));
        header.insert("reservation".into(), json!(intended.reservation));
        let subject = Principal::Agent(intended.caller.agent.clone()).to_string();
        let (kind, id) = (LeafKind::Outcome, &intended.lease.decision);
        draft.entry(operation_entry(kind, id, now, header, Vec::new(), subject));
        if let Some(id) = &intended.reservation {
            draft.delete(Key::new(Kind::Reservation, id.as_str()));
        }
    }

    /// Ends a lease whose token never left, and gives back what it took. Where that fails it stays
    /// spent, and the lease is ended at the next start or when its time is over.
    pub(super) async fn withdraw_lease(&self, intended: &Intended) {
        let by = Principal::Agent(intended.caller.agent.clone());
        let made = self.commit(&by, |state, draft, now| {
            let Some(lease) = state.leases.get(&intended.lease.id) else { return Ok(()) };
            if lease.state != LeaseState::Intended {
                return Ok(());
            }
            advance(draft, lease, LeaseEvent::Revoke, now)?;
            if let Some(held) =
                intended.reservation.as_ref().and_then(|id| state.reservations.get(id))
            {
                give_back(state, draft, held, now)?;
            }
            self.settle_lease(draft, intended, "not_forwarded", now);
            draft.widens();
            Ok(())
        });
        if let Err(error) = made.await {
            tracing::warn!(%error, lease = %intended.lease.id, "a lease that was never issued could not be ended yet");
        }
    }
}

/// The arguments, whole: their lengths are bounded.
pub(super) fn arguments_of(operation: &Operation) -> Sealed {
    Sealed { name: "arguments".into(), value: json!(operation.arguments()) }
}
