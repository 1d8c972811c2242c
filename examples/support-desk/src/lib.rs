//! A small support desk and its agent, both on an unmodified MCP SDK.
//!
//! The *desk* keeps customers, orders and tickets in memory and offers them as MCP tools over streamable HTTP or
//! stdio. The *agent* is scripted: it does what a driver tells it, one step a line, or, when *hijacked*, whatever a
//! ticket tells it. Neither knows what stands between them: they speak plain MCP with an ordinary bearer token.
//!
//! The desk tells a *read* credential from a *write* credential and refuses a write on the former by itself, and it
//! journals every write it carried out, so that anybody can count effects instead of trusting answers.
//!
//! What it does not do: keep anything after it stops, think, or decide who may do what beyond those two credentials.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)
)]

pub mod agent;
pub mod credential;
pub mod desk;
pub mod http;
pub mod server;
