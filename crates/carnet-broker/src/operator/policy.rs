//! Policy sets: looked at, put in force, taken back.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use carnet_core::Verb;
use carnet_policy::PolicySource;
use serde::Deserialize;
use serde_json::{Value, json};

use super::tasks::instants;
use super::{Desk, Failure, Operator};
use crate::error::BrokerError;

pub(crate) fn routes() -> Router<Desk> {
    Router::new()
        .route("/v1/policy", get(show))
        .route("/v1/policy/activate", post(activate))
        .route("/v1/policy/rollback", post(rollback))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Activate {
    /// File path within the set, to text.
    files: BTreeMap<String, String>,
}

async fn show(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
) -> Result<Json<Value>, Failure> {
    desk.authorize(&operator, Verb::RegistryRead)?;
    Ok(Json(json!(desk.broker.active_policy())))
}

async fn activate(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Json(activate): Json<Activate>,
) -> Result<Json<Value>, Failure> {
    desk.authorize(&operator, Verb::PolicyActivate)?;
    let source = PolicySource::from_files(activate.files)
        .map_err(|error| BrokerError::Policy(error.to_string()))?;
    let (digest, done) = desk.broker.activate_policy(&source, &operator.0).await?;
    Ok(Json(json!({ "digest": digest, "instants": instants(&done) })))
}

/// A brake: no policy is asked.
async fn rollback(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
) -> Result<Json<Value>, Failure> {
    let (digest, done) = desk.broker.rollback_policy(&operator.0).await?;
    Ok(Json(json!({ "digest": digest, "instants": instants(&done) })))
}
