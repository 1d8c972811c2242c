//! Suspending and resuming tasks, taking agents off the registry, and the rules of both.

use axum::extract::{Path, State};
use axum::routing::{delete, get, post};
use axum::{Extension, Json, Router};
use carnet_core::{AgentName, ContextEvent, TaskId, Verb};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::tasks::instants;
use super::{Desk, Failure, Operator};

pub(crate) fn routes() -> Router<Desk> {
    Router::new()
        .route("/v1/tasks/{id}/suspend", post(suspend))
        .route("/v1/tasks/{id}/resume", post(resume))
        .route("/v1/agents/{name}", delete(remove))
        .route("/v1/context/rules", get(rules))
}

/// One rule in force.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RuleShown {
    /// What becomes of somebody.
    pub event: ContextEvent,
    /// What is done about it.
    pub reaction: carnet_core::Reaction,
    /// `carnet.toml`, or `default`.
    pub from: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Suspend {
    reason: String,
}

/// A brake: no policy is asked.
async fn suspend(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Path(id): Path<TaskId>,
    Json(suspend): Json<Suspend>,
) -> Result<Json<Value>, Failure> {
    let done = desk.broker.suspend_task(&id, &suspend.reason, &operator.0).await?;
    Ok(Json(json!({ "task": id, "instants": instants(&done) })))
}

async fn resume(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Path(id): Path<TaskId>,
) -> Result<Json<Value>, Failure> {
    // Resuming widens: it is not a brake.
    desk.authorize(&operator, Verb::RegistryChange)?;
    let done = desk.broker.resume_task(&id, &operator.0).await?;
    let view = desk.broker.view();
    let grants = view.snapshot.task(&id).map(|held| held.grants.clone());
    Ok(Json(json!({ "task": id, "grants": grants, "instants": instants(&done) })))
}

async fn remove(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Path(name): Path<AgentName>,
) -> Result<Json<Value>, Failure> {
    desk.authorize(&operator, Verb::RegistryChange)?;
    let done = desk.broker.remove_agent(&name, &operator.0).await?;
    Ok(Json(json!({ "agent": name, "instants": instants(&done) })))
}

async fn rules(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
) -> Result<Json<Vec<RuleShown>>, Failure> {
    desk.authorize(&operator, Verb::RegistryRead)?;
    let rules = desk.broker.rules();
    let shown = ContextEvent::ALL.map(|event| RuleShown {
        event,
        reaction: rules.reaction(event),
        from: if rules.is_set(event) { "carnet.toml" } else { "default" }.to_owned(),
    });
    Ok(Json(shown.into()))
}
