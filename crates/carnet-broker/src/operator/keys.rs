//! Signing keys: looked at, changed, taken away.

use axum::extract::{Path, State};
use axum::routing::{delete, get, post};
use axum::{Extension, Json, Router};
use carnet_core::{Timestamp, Verb};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::tasks::instants;
use super::{Desk, Failure, Operator};
use crate::keys::{KeyPurpose, KeyRecord, Phase};

pub(crate) fn routes() -> Router<Desk> {
    Router::new()
        .route("/v1/keys", get(list))
        .route("/v1/keys/rotate", post(rotate))
        .route("/v1/keys/{kid}", delete(remove))
}

/// A key as operators see it: never its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyShown {
    /// Its name.
    pub kid: String,
    /// What it signs.
    pub purpose: KeyPurpose,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it signs.
    pub signs_from: Timestamp,
    /// Where it stands.
    pub phase: Phase,
}

impl KeyShown {
    fn of(key: &KeyRecord, phase: Phase) -> Self {
        let KeyRecord { kid, purpose, made_at, signs_from, .. } = key;
        let (purpose, made_at, signs_from) = (*purpose, *made_at, *signs_from);
        Self { kid: kid.clone(), purpose, made_at, signs_from, phase }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotate {
    purpose: KeyPurpose,
    #[serde(default)]
    at_once: bool,
}

async fn list(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
) -> Result<Json<Vec<KeyShown>>, Failure> {
    desk.authorize(&operator, Verb::RegistryRead)?;
    let mut keys = desk.broker.keys();
    keys.sort_by_key(|(key, _)| (key.purpose.as_str(), key.signs_from, key.kid.clone()));
    Ok(Json(keys.iter().map(|(key, phase)| KeyShown::of(key, *phase)).collect()))
}

async fn rotate(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Json(rotate): Json<Rotate>,
) -> Result<Json<Value>, Failure> {
    desk.authorize(&operator, Verb::RegistryChange)?;
    let rotated = desk.broker.rotate_key(rotate.purpose, rotate.at_once, &operator.0).await?;
    let (key, done) = rotated;
    let (kid, purpose, signs_from) = (&key.kid, key.purpose, key.signs_from);
    Ok(Json(json!({
        "kid": kid, "purpose": purpose, "signs_from": signs_from, "instants": instants(&done),
    })))
}

/// A brake: no policy is asked.
async fn remove(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Path(kid): Path<String>,
) -> Result<Json<Value>, Failure> {
    let done = desk.broker.remove_key(&kid, &operator.0).await?;
    Ok(Json(json!({ "kid": kid, "instants": instants(&done) })))
}
