//! Approvals, as the people who answer them see them.

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use carnet_core::{Approval, ApprovalId, Asked, Verb};
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

/// Those who read the registry see every question; others those they may answer.
async fn list(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
) -> Result<Json<Value>, Failure> {
    let reads = desk.authorize(&operator, Verb::RegistryRead);
    let mut waiting = desk.broker.pending_approvals();
    if let Err(refused) = reads {
        waiting.retain(|approval| desk.broker.check_may_approve(approval, &operator.0).is_ok());
        if waiting.is_empty() {
            return Err(refused);
        }
    }
    let shown: Vec<Value> = waiting.iter().map(|approval| desk.shown(approval)).collect();
    Ok(Json(json!(shown)))
}

async fn show(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Path(id): Path<ApprovalId>,
) -> Result<Json<Value>, Failure> {
    let reads = desk.authorize(&operator, Verb::RegistryRead);
    let approval = desk.broker.approval(&id);
    match (reads, approval) {
        (Ok(()), approval) => Ok(Json(desk.shown(&*approval?))),
        (Err(_), Ok(approval)) if desk.broker.check_may_approve(&approval, &operator.0).is_ok() => {
            Ok(Json(desk.shown(&approval)))
        }
        // Whether there is such a question is not for them to know.
        (Err(refused), _) => Err(refused),
    }
}

/// What policy says of it, and who they are, is judged where the answer is recorded.
async fn approve(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Path(id): Path<ApprovalId>,
) -> Result<Json<Value>, Failure> {
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
}
