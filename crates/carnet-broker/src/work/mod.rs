//! The work agents do and people judge: tasks, grants, approvals, reservations, tokens.

mod answer;
pub(crate) mod ask;
pub(crate) mod close;
mod delegate;
mod exchange;
mod federate;
mod federation_claims;
mod intended;
pub(crate) mod lease;
pub(crate) mod open;
mod opening;
pub(crate) mod plan;
mod prune;
mod reserve;
mod revoke;
mod standing;
pub(crate) mod sweep;
mod token;
pub(crate) mod turned_down;

pub use ask::AskUse;
pub use delegate::DelegateTask;
pub use federate::{Federated, FederationRequest, FederationToken};
pub(crate) use open::DEADLINE_S_DEFAULT;
pub use open::OpenTask;
pub use reserve::Reserve;
pub use token::{BoundCertificate, DETAILS_TYPE, IssuedToken, TokenRequest};
