//! The ledger, as operators read it.

use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use carnet_core::{DecisionId, Verb};
use carnet_ledger::{Leaf, LedgerError};
use serde::Deserialize;
use serde_json::{Value, json};

use super::explain::{Explained, explain};
use super::{Desk, Failure, Operator};
use crate::error::BrokerError;

/// The most leaves of one page.
const PAGE_MAX: u64 = 1_000;

pub(crate) fn routes() -> Router<Desk> {
    Router::new()
        .route("/v1/ledger/leaves", get(leaves))
        .route("/v1/ledger/leaves/{index}", get(leaf))
        .route("/v1/ledger/checkpoint", post(checkpoint))
        .route("/v1/decisions/{id}", get(decision))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    /// The first leaf; the last `limit` ones where nothing is said.
    #[serde(default)]
    from: Option<u64>,
    #[serde(default)]
    limit: Option<u64>,
}

async fn leaves(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Query(page): Query<Page>,
) -> Result<Json<Value>, Failure> {
    desk.authorize(&operator, Verb::LedgerRead)?;
    let limit = page.limit.unwrap_or(20).min(PAGE_MAX);
    let size = desk.broker.ledger().size();
    let from = page.from.unwrap_or(size.saturating_sub(limit));
    let ledger = desk.broker.ledger().clone();
    let read = tokio::task::spawn_blocking(move || {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        ledger.leaves(from).take(limit).collect::<Result<Vec<Leaf>, _>>()
    });
    let leaves = read.await.map_err(|error| BrokerError::Ledger(error.to_string()))?;
    let leaves = leaves.map_err(|error| BrokerError::Ledger(error.to_string()))?;
    let shown: Vec<Value> = leaves.iter().map(shown).collect();
    Ok(Json(json!({ "size": size, "leaves": shown })))
}

async fn leaf(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Path(index): Path<u64>,
) -> Result<Json<Value>, Failure> {
    desk.authorize(&operator, Verb::LedgerRead)?;
    let ledger = desk.broker.ledger();
    let failed = |error: LedgerError| match error {
        LedgerError::NoSuchLeaf { .. } => BrokerError::Missing {
            kind: "leaf",
            id: index.to_string(),
            hint: "see the newest ones with `carnet ledger tail`",
        },
        error => BrokerError::Ledger(error.to_string()),
    };
    let leaf = ledger.leaf(index).map_err(failed)?;
    let unsealed = ledger.unseal(&leaf).map_err(failed)?;
    let mut out = shown(&leaf);
    out["values"] = json!(unsealed.values);
    Ok(Json(out))
}

async fn checkpoint(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
) -> Result<Json<Value>, Failure> {
    desk.authorize(&operator, Verb::LedgerRead)?;
    let ledger = desk.broker.ledger().clone();
    let signed = tokio::task::spawn_blocking(move || ledger.checkpoint()).await;
    let signed = signed.map_err(|error| BrokerError::Ledger(error.to_string()))?;
    let checkpoint = signed.map_err(|error| BrokerError::Ledger(error.to_string()))?;
    let key = desk.broker.ledger().verifying_key().to_string();
    Ok(Json(json!({ "size": checkpoint.size, "key": key })))
}

async fn decision(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Path(id): Path<DecisionId>,
) -> Result<Json<Explained>, Failure> {
    desk.authorize(&operator, Verb::LedgerRead)?;
    Ok(Json(explain(&desk.broker, &id).await?))
}

pub(crate) fn shown(leaf: &Leaf) -> Value {
    json!({
        "index": leaf.index, "kind": leaf.kind().as_str(), "id": leaf.id(), "at": leaf.at(),
        "node": leaf.node(), "header": leaf.header(), "sealed": leaf.commitments().keys().collect::<Vec<_>>(),
    })
}
