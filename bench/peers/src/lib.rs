//! Fixture servers and a load client for measuring what a gateway costs.
//!
//! - [`echo`]: an MCP server with one tool that returns what it is given, as the thing behind a gateway.
//! - [`load`]: a closed-loop MCP client that checks every answer and measures how long it took.
//! - [`conformance`]: an MCP server with everything the official conformance suite expects to find.
//! - [`forward`]: a loopback forwarder that adds a token, for clients that cannot show one.
//!
//! None of them knows what stands between them. What they do not do: compare products, or judge the numbers.

pub mod conformance;
pub mod echo;
pub mod forward;
pub mod listen;
pub mod load;
