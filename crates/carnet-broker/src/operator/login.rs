//! Who is at a browser: a person says on the machine that it is them.
//!
//! Nobody needs leave for it: who they are is what the kernel says, and what they may have is decided
//! when they agree.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Extension, Json, Router};
use carnet_core::LockTarget;
use serde_json::{Value, json};

use super::{Desk, Failure, Operator};
use crate::broker::lock;
use crate::oauth::authorize::Asked;
use crate::oauth::authorize::flows::CodeError;

pub(crate) fn routes() -> Router<Desk> {
    Router::new().route("/v1/logins/{code}", get(show).post(confirm))
}

async fn show(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Path(code): Path<String>,
) -> Result<Json<Value>, Failure> {
    let now = desk.broker.now().wall;
    let asked = lock(&desk.broker.flows).look(&code, &operator.0, now).map_err(refused)?;
    Ok(Json(told(&asked, &operator)))
}

async fn confirm(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Path(code): Path<String>,
) -> Result<Json<Value>, Failure> {
    let view = desk.broker.view();
    if view.snapshot.is_locked(&LockTarget::User(operator.0.clone())) {
        let message = format!("{} is locked and cannot log in", operator.0);
        return Err(Failure::new(StatusCode::FORBIDDEN, "locked", message));
    }
    let now = desk.broker.now().wall;
    let asked = lock(&desk.broker.flows).confirm(&code, &operator.0, now).map_err(refused)?;
    tracing::info!(person = %operator.0, agent = %asked.client.agent, "a person logged in");
    Ok(Json(told(&asked, &operator)))
}

/// What a code is for. The client's words are marked as such by the member's name.
fn told(asked: &Asked, operator: &Operator) -> Value {
    json!({
        "person": operator.0,
        "agent": asked.client.agent,
        "client": asked.client.id,
        "client_calls_itself": asked.client.name,
        "answers_go_to": asked.back.redirect.as_str(),
        "resource": asked.wanted.resource,
        "path": asked.wanted.path,
        "task": asked.wanted.task,
    })
}

fn refused(error: CodeError) -> Failure {
    match error {
        CodeError::Unknown => {
            let message =
                "there is no such login code, or it is too late: begin again in the client";
            Failure::new(StatusCode::NOT_FOUND, "login_unknown", message)
        }
        CodeError::TooMany => {
            let message = "too many wrong login codes: wait a minute";
            Failure::new(StatusCode::TOO_MANY_REQUESTS, "logins_too_many", message)
        }
    }
}
