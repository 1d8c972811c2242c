//! Tests of the codec. The numbered cases are data in `conformance/mcp`.

mod answers;
mod conformance;
mod corpus;
mod document;
mod envelope;
mod lists;
mod schemas;
mod streams;
mod suggestions;
mod texts;
mod undecided;

use bytes::Bytes;
use serde_json::Value;

use super::{Message, Refusal, Sender, read_message};

fn read(text: &str, sender: Sender) -> Result<Message, Refusal> {
    read_message(Bytes::copy_from_slice(text.as_bytes()), sender)
}

fn value(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}
