//! Agents, resources and their review.

use axum::extract::{Path, State};
use axum::routing::{get, post, put};
use axum::{Extension, Json, Router};
use carnet_core::{ActionName, Agent, Digest, Resource, ResourceName, Verb};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Desk, Failure, Offered, Operator};
use crate::error::BrokerError;
use crate::federation;
use crate::registry::Review;

/// The most suspended tasks that the status names.
const SUSPENDED_SHOWN_MAX: usize = 100;

pub(crate) fn routes() -> Router<Desk> {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/agents", put(put_agent).get(agents))
        .route("/v1/resources", put(put_resource).get(resources))
        .route("/v1/resources/{name}", get(resource))
        .route("/v1/resources/{name}/offers", get(offers))
        .route("/v1/resources/{name}/review", post(review))
}

/// One offer against what was reviewed before.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Offer {
    /// The action it would be.
    pub action: ActionName,
    /// The digest of its definition.
    pub pin: Digest,
    /// What the server offers.
    pub offered: Offered,
    /// `new`, `unchanged` or `changed`.
    pub state: String,
    /// What was reviewed before, where something was.
    pub reviewed: Option<carnet_core::Registered>,
}

async fn status(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
) -> Result<Json<Value>, Failure> {
    let view = desk.broker.view();
    let now = desk.broker.now();
    Ok(Json(json!({
        "operator": operator.0,
        "issuer": desk.broker.issuer(),
        "revision": view.snapshot.revision,
        "fresh": view.snapshot.is_fresh(now),
        "policy": desk.broker.active_policy(),
        "agents": view.snapshot.agents.len(),
        "resources": view.snapshot.resources.len(),
        "tasks_open": view.snapshot.tasks.len(),
        "tasks_suspended": suspended(&view.snapshot),
        "approvals_waiting": desk.broker.pending_approvals().len(),
        "locks": view.snapshot.locks.values().collect::<Vec<_>>(),
        "ledger": {
            "leaves": desk.broker.ledger().size(),
            "writable": desk.broker.ledger().is_writable(),
            "problem": desk.broker.outbox_problem().as_deref(),
            "changes_waiting": desk.broker.changes_waiting(),
        },
        "authorities": desk.broker.authorities(),
        "holding": desk.broker.is_holding(),
        "unreadable": desk.broker.latest().unreadable,
    })))
}

/// The tasks that are suspended, and why.
fn suspended(snapshot: &carnet_core::Snapshot) -> Vec<Value> {
    let tasks = snapshot.tasks.values().map(|view| &view.task);
    let suspended = tasks.filter(|task| task.state == carnet_core::TaskState::Suspended);
    let shown = suspended.map(|task| json!({ "task": task.id, "suspension": task.suspension }));
    shown.take(SUSPENDED_SHOWN_MAX).collect()
}

async fn put_agent(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Json(agent): Json<Agent>,
) -> Result<Json<Value>, Failure> {
    desk.authorize(&operator, Verb::RegistryChange)?;
    let id = carnet_identity::SpiffeId::agent(desk.broker.trust_domain(), &agent.name);
    desk.broker.put_agent(agent, &operator.0).await?;
    Ok(Json(json!({ "spiffe_id": id.to_string() })))
}

async fn agents(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
) -> Result<Json<Value>, Failure> {
    desk.authorize(&operator, Verb::RegistryRead)?;
    let view = desk.broker.view();
    Ok(Json(json!(view.snapshot.agents.values().collect::<Vec<_>>())))
}

async fn put_resource(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Json(resource): Json<Resource>,
) -> Result<Json<Value>, Failure> {
    desk.authorize(&operator, Verb::RegistryChange)?;
    desk.confinement.check(&resource)?;
    let name = resource.name.clone();
    desk.broker.put_resource(resource, &operator.0).await?;
    let known = desk.known(&name)?;
    let addresses = carnet_core::Path::ALL.map(|path| desk.broker.address(path, &known));
    let reviewed = known.operations.len();
    Ok(Json(json!({ "addresses": addresses, "reviewed": reviewed })))
}

async fn resources(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
) -> Result<Json<Value>, Failure> {
    desk.authorize(&operator, Verb::RegistryRead)?;
    let view = desk.broker.view();
    Ok(Json(json!(view.snapshot.resources.values().collect::<Vec<_>>())))
}

async fn resource(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Path(name): Path<ResourceName>,
) -> Result<Json<Resource>, Failure> {
    desk.authorize(&operator, Verb::RegistryRead)?;
    Ok(Json(desk.known(&name)?))
}

async fn offers(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Path(name): Path<ResourceName>,
) -> Result<Json<Vec<Offer>>, Failure> {
    desk.authorize(&operator, Verb::RegistryRead)?;
    let resource = desk.known(&name)?;
    let offered = match federation::offers(&resource) {
        Some(offered) => offered,
        None => desk.inspect.inspect(&resource).await.map_err(|problem| {
            let message =
                format!("{problem}; check that the server runs and the read credential works");
            Failure::new(axum::http::StatusCode::BAD_GATEWAY, "upstream_failed", message)
        })?,
    };
    let offers = offered.into_iter().filter_map(|offered| compare(&resource, offered));
    Ok(Json(offers.collect()))
}

fn compare(resource: &Resource, offered: Offered) -> Option<Offer> {
    let action = ActionName::of(&resource.name, offered.kind.as_str(), &offered.name).ok()?;
    let pin = Digest::of_json(&offered.definition).ok()?;
    let reviewed = resource.registered(&action).cloned();
    let state = match &reviewed {
        None => "new",
        Some(reviewed) if reviewed.pin == pin => "unchanged",
        Some(_) => "changed",
    };
    Some(Offer { action, pin, offered, state: state.to_owned(), reviewed })
}

async fn review(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Path(name): Path<ResourceName>,
    Json(reviews): Json<Vec<Review>>,
) -> Result<Json<Value>, Failure> {
    desk.authorize(&operator, Verb::RegistryChange)?;
    let count = reviews.len();
    desk.broker.review(&name, reviews, &operator.0).await?;
    Ok(Json(json!({ "reviewed": count })))
}

impl Desk {
    fn known(&self, name: &ResourceName) -> Result<Resource, Failure> {
        let view = self.broker.view();
        let resource = view.snapshot.resource(name).ok_or_else(|| BrokerError::Missing {
            kind: "resource",
            id: name.to_string(),
            hint: "see `carnet resource list`, or add it with `carnet resource add`",
        })?;
        Ok((**resource).clone())
    }
}
