//! Policy sets: looked at, put in force, taken back.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use carnet_core::Verb;
use carnet_policy::{CedarPolicy, PolicySource};
use serde::Deserialize;
use serde_json::{Value, json};

use super::tasks::instants;
use super::{Desk, Failure, Operator};
use crate::error::BrokerError;

/// Why a set is not put in force that nobody could replace.
const NO_WAY_OUT: &str = "with this set no operator could activate another one, and everybody would be locked out: \
    permit `policy.activate` to somebody who is a `[[user]]` with a `uid` (see permit/people.cedar of `carnet init`)";

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
    let policy =
        CedarPolicy::load(&source).map_err(|errors| BrokerError::Policy(errors.to_string()))?;
    if !desk.leaves_a_way_out(&policy) {
        return Err(BrokerError::Policy(NO_WAY_OUT.to_owned()).into());
    }
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
