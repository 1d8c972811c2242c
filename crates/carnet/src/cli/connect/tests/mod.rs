//! The bridge against a gateway that checks what it is sent.

mod client;
mod lists;
mod renewal;
mod sessions;
mod streams;

use serde_json::{Value, json};

/// A tool of this name.
fn tool(name: &str) -> Value {
    json!({ "name": name, "inputSchema": { "type": "object" } })
}

/// The `_meta` of the stateless revision.
fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
    })
}
