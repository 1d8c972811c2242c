//! Enforcement: every operation of an agent passes here, in seven phases, or does not happen.
//!
//! `identify` → `classify` → `decide` → `record` → `forward` → `filter` → `settle`. A protocol
//! adapter supplies the first two and the bytes; the rest is shared. The types carry the law: a
//! [`carnet_core::Permit`] is made by the decision core alone, becomes `Recorded` only in
//! `record`, and is the only way to the bytes that are forwarded.
//!
//! The gateway never reaches the store: what it needs of the control plane is the trait
//! [`Control`].

mod body;
mod control;
mod door;
mod filter;
mod gateway;
mod identify;
mod live;
pub mod mcp;
mod patience;
mod record;

pub use body::Body;
pub use control::{Control, ControlError, Credential, Question, Reserve};
pub use gateway::{Gateway, GatewayError, GatewayParts};
pub use mcp::{ChildRules, Offer};
