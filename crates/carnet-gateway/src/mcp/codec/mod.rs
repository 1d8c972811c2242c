//! Reading MCP: bytes in, words of Carnet out. No I/O, no clock, no randomness.
//!
//! A message is read once, strictly, into a [`Document`] that keeps the original bytes. From it
//! comes a [`Message`], and from that, by the one table in [`method`], what is to be decided: a
//! [`Call`] that becomes an operation, a list to filter, or a message that is relayed. What is not
//! in the table, or not understood, is a typed [`Refusal`]. Decisions are made on the parsed body;
//! headers are only verified against it.
//!
//! What goes on to a server is the original bytes. Where something must be taken away from a
//! message (an item of a list, the traces of an approval) the bytes around it stay as they were.
//!
//! What this module does *not* do: decide, keep sessions, open connections, or hold a credential.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::unreachable
    )
)]

mod answer;
mod arguments;
mod classify;
mod cost;
mod difference;
mod fuzz;
mod headers;
mod input;
mod json;
mod list;
mod message;
pub mod method;
mod mirror;
mod pin;
mod refusal;
mod revision;
mod splice;
mod sse;
mod suggest;
mod suspicion;
mod undecided;
mod uri;

#[cfg(test)]
mod tests;

pub use answer::{Answer, Ask, DENIED_CODE, Denial, PENDING_CODE, asked, denied, refused};
pub use arguments::{ArgumentError, Schema, SchemaError, Schemas};
pub use classify::{Call, Classified, classify};
pub use difference::{Change, Difference, difference};
#[doc(hidden)]
pub use fuzz::fuzz_jsonrpc;
pub use headers::{Verified, revision_of, verify};
pub use input::{Capabilities, InputRequest, ResultKind, Retry, result_kind};
pub use json::{Document, JsonError, Limits, Names, Numbers, read};
pub use list::{Filtered, Item, ListError, ListKind, filter};
pub use message::{
    Failure, Id, Message, Notification, Outcome, Request, Response, Sender, read_message,
};
pub use mirror::{MirrorError, Mirrored, mirrored};
pub use pin::pin;
pub use refusal::Refusal;
pub use revision::Revision;
pub use sse::{EVENT_BYTES_MAX, Event, Events, SseError};
pub use suggest::{Suggestion, suggest};
pub use suspicion::{Neighbour, Suspicion, suspicions};
