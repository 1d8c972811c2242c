//! Leases: what may still be out at a target.

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Extension, Json, Router};
use carnet_core::{Lease, TaskId, Verb};
use carnet_store::Kind;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Desk, Failure, Operator};
use crate::item::Item;

pub(crate) fn routes() -> Router<Desk> {
    Router::new().route("/v1/leases", get(list))
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    #[serde(default)]
    task: Option<TaskId>,
}

async fn list(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Query(which): Query<Which>,
) -> Result<Json<Value>, Failure> {
    desk.authorize(&operator, Verb::RegistryRead)?;
    Ok(Json(json!(desk.broker.leases_out(which.task.as_ref()))))
}

impl Desk {
    /// The leases of a task, those that are over too.
    pub(super) async fn leases_of(&self, task: &TaskId) -> Result<Vec<Lease>, Failure> {
        self.history(Kind::Lease, |item| match item {
            Item::Lease(lease) if lease.task == *task => Some(lease),
            _ => None,
        })
        .await
    }
}
