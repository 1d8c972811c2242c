//! The MCP adapter: streamable HTTP to agents, streamable HTTP or a child process to servers, the
//! same revision on both sides.

mod awaited;
pub(crate) mod channel;
pub mod codec;
mod denial;
mod endpoint;
mod exchange;
mod forward;
mod inspect;
mod listing;
mod offers;
mod operation;
mod question;
mod relay;
pub(crate) mod session;
pub(crate) mod shared;
mod stream;
pub(crate) mod upstream;

pub use channel::Offer;
pub use inspect::InspectError;
pub use upstream::ChildRules;
