//! Answering: what a person says, checked against who they are, and what follows from it.

use carnet_core::{
    Allowance, Approval, ApprovalEvent, ApprovalFacts, ApprovalId, ApprovalState, Approved,
    Approver, Arguments, Asked, Document, Grant, GrantEvent, GrantId, GrantState, LockTarget,
    Operation, Principal, Reason, Registered, Resource, Snapshot, Target, Timestamp, UserName,
    Verb, VerdictEffect, View, task_facts,
};
use carnet_ledger::fault_point;
use serde_json::json;

use crate::broker::{Broker, Done};
use crate::clock::fresh_bits;
use crate::draft::Draft;
use crate::error::BrokerError;
use crate::item::Item;
use crate::state::State;
use crate::work::plan::matching;

impl Broker {
    /// Records a person's yes. It yields exactly one use of exactly what was asked.
    pub async fn approve(
        &self,
        id: &ApprovalId,
        by: &UserName,
    ) -> Result<(ApprovalState, Done), BrokerError> {
        fault_point("approve.before");
        let answered = self.answer(id, by, true).await?;
        fault_point("approve.after");
        Ok(answered)
    }

    /// Records a person's no. A brake: it needs no policy and no eligibility.
    pub async fn deny(
        &self,
        id: &ApprovalId,
        by: &UserName,
    ) -> Result<(ApprovalState, Done), BrokerError> {
        self.answer(id, by, false).await
    }

    /// Whether `by` may say yes to it: who they are, and what policy lets them answer.
    pub fn check_may_approve(&self, approval: &Approval, by: &UserName) -> Result<(), BrokerError> {
        let (view, now) = (self.view(), self.now().wall);
        self.in_force(|state| check_eligible(state, approval, by, now))?;
        check_permitted(&view, approval, by, now)
    }

    async fn answer(
        &self,
        id: &ApprovalId,
        by: &UserName,
        yes: bool,
    ) -> Result<(ApprovalState, Done), BrokerError> {
        let principal = Principal::User(by.clone());
        if yes {
            // The question never changes: what policy says of it need not be asked while composing.
            let (approval, now) = (self.approval(id)?, self.now().wall);
            check_permitted(&self.view(), &approval, by, now)?;
        }
        self.transact(&principal, |state, draft, now| {
            let approval = known(state, id)?;
            if yes {
                check_as_asked(&approval)?;
                check_eligible(state, &approval, by, now)?;
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

/// A yes is a yes to what was asked: the stored question must be the one its digest was made of.
fn check_as_asked(approval: &Approval) -> Result<(), BrokerError> {
    match approval.question.digest()? == approval.digest {
        true => Ok(()),
        false => Err(BrokerError::invalid(
            "digest",
            format!("the stored question of {} is not what was asked: deny it", approval.id),
        )),
    }
}

/// Whether `by` is one of those whose yes counts: a known person, not locked, among those named, and
/// neither the subject nor in the delegation chain of a task that is live.
fn check_eligible(
    state: &State,
    approval: &Approval,
    by: &UserName,
    now: Timestamp,
) -> Result<(), BrokerError> {
    let task = &approval.question.task;
    let over = |reason| BrokerError::refused(reason, format!("{task} is not live: {reason}"));
    let view = state.snapshot.check_task(task, now).map_err(over)?;
    let agent = state.snapshot.agents.get(&view.task.agent);
    let agent = agent.ok_or_else(|| over(Reason::AgentUnknown))?;
    let user = state.snapshot.users.get(by).ok_or_else(|| BrokerError::Missing {
        kind: "user",
        id: by.to_string(),
        hint: "add them under `[[user]]` in carnet.toml",
    })?;
    if state.snapshot.is_locked(&LockTarget::User(by.clone())) {
        return Err(BrokerError::refused(Reason::Locked, format!("{by} is locked")));
    }
    let approver = Approver { user: by, teams: &user.teams };
    let chain = state.snapshot.delegators(task);
    let owner = agent.owner.to_string();
    approval.check_approver(approver, &view.task.subject, &chain, &owner)?;
    Ok(())
}

/// Whether policy lets `by` answer this: asked for every operation the answer would allow.
fn check_permitted(
    view: &View,
    approval: &Approval,
    by: &UserName,
    now: Timestamp,
) -> Result<(), BrokerError> {
    let snapshot = &view.snapshot;
    let refused = |reason: Reason, why: &str| {
        BrokerError::refused(reason, format!("{by} may not approve this: {why}"))
    };
    let principal = snapshot.principal_facts(&Principal::User(by.clone()));
    let principal = principal
        .ok_or_else(|| refused(Reason::PolicyDoesNotPermit, "they are not a known user"))?;
    let (operations, arguments) = operations_of(snapshot, approval);
    if operations.is_empty() {
        return Err(refused(Reason::Unreviewed, "what it is about is not reviewed any more"));
    }
    let held = snapshot.task(&approval.question.task);
    for (resource, registered) in operations {
        let document = Document {
            principal: principal.clone(),
            verb: Verb::ApprovalDecide,
            target: Target::operation(resource, registered),
            task: held.map(|held| task_facts(snapshot, &held.task, None)),
            approvals: ApprovalFacts::default(),
            arguments: arguments.clone(),
            now,
        };
        let verdict = view.policy.judge(&document);
        match verdict.effect {
            VerdictEffect::Permit => {}
            _ if verdict.determining.is_empty() => {
                return Err(refused(Reason::PolicyDoesNotPermit, "no policy permits it"));
            }
            _ => {
                let why = format!("policy {:?} does not let them", verdict.determining);
                return Err(refused(Reason::PolicyForbids, &why));
            }
        }
    }
    Ok(())
}

/// The reviewed operations an answer would allow, with the arguments that are asked about.
fn operations_of<'a>(
    snapshot: &'a Snapshot,
    approval: &'a Approval,
) -> (Vec<(&'a Resource, &'a Registered)>, Arguments) {
    match &approval.question.of {
        Asked::Use { action, resource, arguments, .. } => {
            let resource = snapshot.resource(resource);
            let found =
                resource.and_then(|resource| Some((&**resource, resource.registered(action)?)));
            (found.into_iter().collect(), arguments.clone())
        }
        Asked::Allowance { allowance, .. } => {
            (matching(snapshot, allowance).collect(), Arguments::default())
        }
    }
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
    let instance = approval.question.instance.clone();
    Approved { approval: approval.id.clone(), by: approval.approvers(), instance }
}

fn add_exact_grant(
    state: &State,
    draft: &mut Draft<'_>,
    approval: &Approval,
    now: Timestamp,
) -> Result<(), BrokerError> {
    let Asked::Use { action, resource, path, effect, pin, arguments, draws_on } =
        &approval.question.of
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
    if (registered.pin, registered.path, registered.effect) != (*pin, *path, *effect) {
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
        cut_from: None,
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
