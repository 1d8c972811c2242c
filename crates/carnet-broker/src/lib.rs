//! The control plane of Carnet: one writer of state, which publishes what nodes decide from.
//!
//! The broker opens tasks, asks people and records what they say, issues tokens, sets aside what an
//! operation takes, and keeps the registry and the policy sets. Every change is committed to the
//! store together with its ledger record; what widens authority enters the published view only once
//! that record is durable, what narrows it enters at once.
//!
//! It does not stand in the way of traffic: nodes decide on the view they have.

mod broker;
mod clock;
pub mod context;
mod draft;
mod drain;
mod error;
mod federation;
pub mod fetch;
mod follow;
mod hold;
mod identities;
mod item;
pub mod keys;
mod lane;
mod lineage;
pub mod oauth;
pub mod operator;
mod outbox;
mod policy_set;
mod published;
mod registry;
mod state;
mod transact;
pub mod trust;
mod vault;
mod work;
pub mod workload;

pub use broker::{Broker, BrokerParts, Done};
pub use clock::{Clock, fresh_bits};
pub use error::BrokerError;
pub use item::{ActivePolicy, Reservation};
pub use registry::Review;
pub use vault::Vault;
pub use work::{
    AskUse, BoundCertificate, DETAILS_TYPE, DelegateTask, Federated, FederationRequest,
    FederationToken, IssuedToken, OpenTask, Reserve, TokenRequest,
};
