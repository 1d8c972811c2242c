//! Approvals, as the people who answer them see them.

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use carnet_core::{
    Approval, ApprovalFacts, ApprovalId, Asked, Document, Principal, Target, Verb, VerdictEffect,
};
use serde_json::{Value, json};

use super::tasks::instants;
use super::{Desk, Failure, Operator};

pub(crate) fn routes() -> Router<Desk> {
    Router::new()
        .route("/v1/approvals", get(list))
        .route("/v1/approvals/{id}", get(show))
        .route("/v1/approvals/{id}/approve", post(approve))
        .route("/v1/approvals/{id}/deny", post(deny))
}

async fn list(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
) -> Result<Json<Value>, Failure> {
    desk.authorize(&operator, Verb::RegistryRead)?;
    let waiting = desk.broker.pending_approvals();
    let shown: Vec<Value> = waiting.iter().map(|approval| desk.shown(approval)).collect();
    Ok(Json(json!(shown)))
}

async fn show(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Path(id): Path<ApprovalId>,
) -> Result<Json<Value>, Failure> {
    desk.authorize(&operator, Verb::RegistryRead)?;
    let approval = desk.broker.approval(&id)?;
    Ok(Json(desk.shown(&approval)))
}

async fn approve(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Path(id): Path<ApprovalId>,
) -> Result<Json<Value>, Failure> {
    let approval = desk.broker.approval(&id)?;
    desk.authorize_approving(&operator, &approval)?;
    let (state, done) = desk.broker.approve(&id, &operator.0).await?;
    Ok(Json(json!({ "approval": id, "state": state, "instants": instants(&done) })))
}

/// A brake: no policy is asked.
async fn deny(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Path(id): Path<ApprovalId>,
) -> Result<Json<Value>, Failure> {
    let (state, done) = desk.broker.deny(&id, &operator.0).await?;
    Ok(Json(json!({ "approval": id, "state": state, "instants": instants(&done) })))
}

impl Desk {
    /// What the approver sees: built by Carnet from the operation. The arguments are the agent's
    /// and are labelled so.
    fn shown(&self, approval: &Approval) -> Value {
        let view = self.broker.view();
        let held = view.snapshot.task(&approval.question.task);
        let task = held.map(|held| {
            let task = &held.task;
            json!({
                "id": task.id, "agent": task.agent, "purpose": task.purpose,
                "subject": task.subject, "opened_by": task.opened_by,
            })
        });
        let (asked, from_agent) = match &approval.question.of {
            Asked::Use { action, resource, path, effect, pin, arguments, draws_on } => (
                json!({
                    "one_use_of": action, "resource": resource, "path": path, "effect": effect,
                    "pin": pin, "draws_on": draws_on,
                }),
                json!({ "arguments": arguments }),
            ),
            Asked::Allowance { grant, allowance } => {
                (json!({ "allowance": allowance, "grant": grant }), Value::Null)
            }
        };
        json!({
            "id": approval.id, "state": approval.state, "task": task, "asked": asked,
            "from_agent": from_agent, "digest": approval.digest, "terms": approval.terms,
            "answers": approval.answers, "asked_at": approval.asked_at, "expires": approval.expires,
            "decision": approval.decision,
        })
    }

    /// Approving is an operation like any other: policy may say who approves what.
    fn authorize_approving(&self, operator: &Operator, approval: &Approval) -> Result<(), Failure> {
        let Asked::Use { action, resource, arguments, .. } = &approval.question.of else {
            return self.authorize(operator, Verb::RegistryRead);
        };
        let refused = |why: String| {
            let status = axum::http::StatusCode::FORBIDDEN;
            Failure::new(
                status,
                "not_permitted",
                format!("{} may not approve this: {why}", operator.0),
            )
        };
        let view = self.broker.view();
        let reviewed = view.snapshot.resource(resource);
        let registered = reviewed.and_then(|reviewed| reviewed.registered(action));
        let (Some(reviewed), Some(registered)) = (reviewed, registered) else {
            return Err(refused("the operation is not reviewed any more".into()));
        };
        let principal = Principal::User(operator.0.clone());
        let principal = view.snapshot.principal_facts(&principal);
        let principal = principal.ok_or_else(|| refused("they are not a known user".into()))?;
        let held = view.snapshot.task(&approval.question.task);
        let document = Document {
            principal,
            verb: Verb::ApprovalDecide,
            target: Target::operation(reviewed, registered),
            task: held.map(|held| carnet_core::task_facts(&held.task)),
            approvals: ApprovalFacts::default(),
            arguments: arguments.clone(),
            now: self.broker.now().wall,
        };
        let verdict = view.policy.judge(&document);
        match verdict.effect {
            VerdictEffect::Permit => Ok(()),
            _ if verdict.determining.is_empty() => Err(refused("no policy permits it".into())),
            _ => Err(refused(format!("policy {:?} does not let them", verdict.determining))),
        }
    }
}
