//! Answering: what a person says, checked against who they are, and what follows from it.

use carnet_core::{
    Allowance, Approval, ApprovalEvent, ApprovalId, ApprovalState, Approved, Approver, Asked,
    Grant, GrantEvent, GrantId, GrantState, Operation, Principal, Reason, Timestamp, UserName,
};
use serde_json::json;

use crate::broker::{Broker, Done};
use crate::clock::fresh_bits;
use crate::draft::Draft;
use crate::error::BrokerError;
use crate::item::Item;
use crate::state::State;

impl Broker {
    /// Records a person's yes. It yields exactly one use of exactly what was asked.
    pub async fn approve(
        &self,
        id: &ApprovalId,
        by: &UserName,
    ) -> Result<(ApprovalState, Done), BrokerError> {
        self.answer(id, by, true).await
    }

    /// Records a person's no. A brake: it needs no policy and no eligibility.
    pub async fn deny(
        &self,
        id: &ApprovalId,
        by: &UserName,
    ) -> Result<(ApprovalState, Done), BrokerError> {
        self.answer(id, by, false).await
    }

    async fn answer(
        &self,
        id: &ApprovalId,
        by: &UserName,
        yes: bool,
    ) -> Result<(ApprovalState, Done), BrokerError> {
        let principal = Principal::User(by.clone());
        self.transact(&principal, |state, draft, now| {
            let approval = known(state, id)?;
            if yes {
                check_eligible(state, &approval, by)?;
            } else {
                draft.brakes();
            }
            let event = ApprovalEvent::Answer { by: by.clone(), yes };
            let (approval, effects) = approval.apply(event, now)?;
            let outcome = approval.state;
            let details = json!({
                "task": approval.question.task, "digest": approval.digest, "yes": yes,
            });
            follow(state, draft, &approval, now)?;
            draft.transition(Item::Approval(Box::new(approval)), &effects, details)?;
            Ok(outcome)
        })
        .await
    }
}

fn known(state: &State, id: &ApprovalId) -> Result<Approval, BrokerError> {
    let approval = state.approvals.get(id).ok_or_else(|| BrokerError::Missing {
        kind: "approval",
        id: id.to_string(),
        hint: "see `carnet approvals` for those that wait",
    })?;
    Ok((**approval).clone())
}

fn check_eligible(state: &State, approval: &Approval, by: &UserName) -> Result<(), BrokerError> {
    let task = &approval.question.task;
    let over = || BrokerError::refused(Reason::TaskUnknown, format!("{task} is over"));
    let view = state.snapshot.tasks.get(task).ok_or_else(over)?;
    let agent = state.snapshot.agents.get(&view.task.agent).ok_or_else(over)?;
    let user = state.snapshot.users.get(by).ok_or_else(|| BrokerError::Missing {
        kind: "user",
        id: by.to_string(),
        hint: "add them under `[[user]]` in carnet.toml",
    })?;
    let approver = Approver { user: by, teams: &user.teams };
    approval.check_approver(approver, &view.task.subject, &agent.owner.to_string())?;
    Ok(())
}

/// What follows from the answer for the grant that waits, or for the one that is to be made.
fn follow(
    state: &State,
    draft: &mut Draft<'_>,
    approval: &Approval,
    now: Timestamp,
) -> Result<(), BrokerError> {
    match (approval.state, &approval.question.of) {
        (ApprovalState::Approved, Asked::Use { .. }) => {
            add_exact_grant(state, draft, approval, now)
        }
        (ApprovalState::Approved, Asked::Allowance { grant, .. }) => {
            let approved = approved(approval);
            move_grant(state, draft, approval, grant, GrantEvent::Approve(approved), now)
        }
        (ApprovalState::Denied, Asked::Allowance { grant, .. }) => {
            move_grant(state, draft, approval, grant, GrantEvent::Deny, now)
        }
        _ => Ok(()),
    }
}

fn approved(approval: &Approval) -> Approved {
    Approved { approval: approval.id.clone(), by: approval.approvers() }
}

fn add_exact_grant(
    state: &State,
    draft: &mut Draft<'_>,
    approval: &Approval,
    now: Timestamp,
) -> Result<(), BrokerError> {
    let Asked::Use { action, resource, pin, arguments, draws_on, .. } = &approval.question.of
    else {
        return Ok(());
    };
    let task = &approval.question.task;
    let unreviewed = || {
        let detail = format!("{action} changed since it was asked: it must be asked again");
        BrokerError::refused(Reason::Unreviewed, detail)
    };
    let reviewed = state.snapshot.resources.get(resource).ok_or_else(unreviewed)?;
    let registered = reviewed.registered(action).ok_or_else(unreviewed)?;
    if registered.pin != *pin {
        return Err(unreviewed());
    }
    let operation = Operation::new(resource.clone(), registered, arguments.clone())
        .map_err(|error| BrokerError::invalid("arguments", error.to_string()))?;
    let deadline =
        state.snapshot.tasks.get(task).map_or(approval.expires, |view| view.task.deadline);
    let grant = Grant {
        id: GrantId::from_bits(fresh_bits()),
        task: task.clone(),
        allowance: Allowance::exact(&operation),
        expires: approval.expires.min(deadline),
        uses_spent: 0,
        totals_spent: Default::default(),
        approved: Some(approved(approval)),
        draws_on: draws_on.clone(),
        state: GrantState::Requested,
    };
    let (grant, effects) = grant.apply(GrantEvent::Activate, now)?;
    let details = json!({ "task": task, "action": action, "approval": approval.id, "uses": 1 });
    draft.transition(Item::Grant(grant), &effects, details)
}

fn move_grant(
    state: &State,
    draft: &mut Draft<'_>,
    approval: &Approval,
    grant: &GrantId,
    event: GrantEvent,
    now: Timestamp,
) -> Result<(), BrokerError> {
    let task = &approval.question.task;
    let view = state.snapshot.tasks.get(task);
    let known = view.and_then(|view| view.grants.iter().find(|known| known.id == *grant));
    let Some(known) = known else {
        return Err(BrokerError::refused(Reason::TaskUnknown, format!("{task} is over")));
    };
    let (grant, effects) = known.clone().apply(event, now)?;
    let details = json!({ "task": task, "approval": approval.id });
    draft.transition(Item::Grant(grant), &effects, details)
}
