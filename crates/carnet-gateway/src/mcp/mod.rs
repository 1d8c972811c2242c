//! The MCP adapter: streamable HTTP to agents, streamable HTTP or a child process to servers, the
//! same revision on both sides.

pub(crate) mod channel;
pub mod codec;
mod endpoint;
mod exchange;
mod inspect;
mod operation;
mod relay;
pub(crate) mod session;
pub(crate) mod upstream;

pub use channel::Offer;
