//! The operators' interface: JSON over HTTP on a Unix socket whose peer uid maps to a named user.
//!
//! Reading and changing are authorised by the policy set in force. The brakes (close, lock, deny an
//! approval, roll policy back, remove a key) are authorised by being an operator at all, so that no policy,
//! however broken, can disable them. While no set is in force, activating the first one is too.

mod approvals;
mod authorize;
mod confinement;
mod context;
mod explain;
mod failure;
mod keys;
mod leases;
mod ledger;
mod login;
mod policy;
pub mod registry;
mod serve;
mod tasks;
mod usage;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use carnet_core::{OperationKind, Resource, UserName};
use serde::{Deserialize, Serialize};

use crate::broker::Broker;
use confinement::Confinement;

pub use context::RuleShown;
pub use explain::Explained;
pub use failure::Failure;
pub use keys::KeyShown;
pub use serve::{OperatorOptions, OperatorSocketError, Operators, serve};
pub use usage::{AgentUsage, Authority};

/// Looks at what a server offers. The gateway does it; the binary joins the two.
#[async_trait]
pub trait Inspect: Send + Sync + 'static {
    /// What the server behind `resource` offers now, or what went wrong.
    async fn inspect(&self, resource: &Resource) -> Result<Vec<Offered>, String>;
}

/// One thing a server offers, with what a reviewer may want to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offered {
    /// What it is.
    pub kind: OperationKind,
    /// Its name at the server.
    pub name: String,
    /// The whole definition.
    pub definition: serde_json::Value,
    /// The path its annotations suggest. Only a suggestion.
    pub suggested_path: carnet_core::Path,
    /// The effect class its annotations suggest. Only a suggestion.
    pub suggested_effect: carnet_core::EffectClass,
    /// How its schema suggests to read its arguments. Only a suggestion.
    pub suggested_arguments: std::collections::BTreeMap<String, carnet_core::ArgumentKind>,
    /// What looks suspicious in it.
    pub suspicions: Vec<String>,
}

/// What every request is handled with.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) broker: Arc<Broker>,
    pub(crate) inspect: Arc<dyn Inspect>,
    pub(crate) confinement: Arc<Confinement>,
    /// Who may be at the other end.
    pub(crate) operators: Arc<BTreeSet<UserName>>,
}

/// The operator on the other end of the socket, put there by [`serve`] and by nothing else.
#[derive(Debug, Clone)]
pub(crate) struct Operator(pub(crate) UserName);

fn router(desk: Desk) -> Router {
    Router::new()
        .merge(registry::routes())
        .merge(tasks::routes())
        .merge(leases::routes())
        .merge(context::routes())
        .merge(approvals::routes())
        .merge(policy::routes())
        .merge(keys::routes())
        .merge(usage::routes())
        .merge(ledger::routes())
        .merge(login::routes())
        .fallback(failure::unknown_route)
        .with_state(desk)
}
