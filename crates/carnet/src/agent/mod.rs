//! The agent's side of Carnet: prove who one is, get a token, speak to a gateway with it.
//!
//! Everything here is what any client could do with standards alone (SPIFFE Workload API, OAuth
//! client credentials, DPoP, MCP over HTTP); `carnet connect` and `carnet token` do it for clients
//! that cannot. Nothing is kept: the key lives in memory, tokens and SVIDs until they are renewed.
//!
//! It does not decide, cache what was decided, or hold a secret of an upstream.

pub(crate) mod delegation;
pub(crate) mod http;
pub(crate) mod issuer;
pub(crate) mod key;
pub(crate) mod mcp;
pub(crate) mod place;
pub(crate) mod token;
pub(crate) mod workload;

#[cfg(test)]
pub(crate) mod fixture;
