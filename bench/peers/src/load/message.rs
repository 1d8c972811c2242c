//! The JSON-RPC messages a load connection sends.

use serde_json::{Value, json};

/// The revision of MCP to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revision {
    /// With a session.
    V2025_11_25,
    /// Stateless.
    V2026_07_28,
}

impl Revision {
    /// Its date, as the protocol writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }
}

pub(super) fn initialize() -> Value {
    json!({
        "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": Revision::V2025_11_25.as_str(),
            "capabilities": {}, "clientInfo": client_info(),
        },
    })
}

pub(super) fn initialized() -> Value {
    json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })
}

pub(super) fn discover() -> Value {
    json!({
        "jsonrpc": "2.0", "id": 0, "method": "server/discover",
        "params": { "_meta": request_meta() },
    })
}

pub(super) fn call(revision: Revision, id: u64, tool: &str, text: &str) -> Value {
    let mut params = json!({ "name": tool, "arguments": { "text": text } });
    if let (Revision::V2026_07_28, Value::Object(params)) = (revision, &mut params) {
        params.insert("_meta".to_owned(), request_meta());
    }
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
}

fn request_meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": Revision::V2026_07_28.as_str(),
        "io.modelcontextprotocol/clientInfo": client_info(),
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

fn client_info() -> Value {
    json!({ "name": "load", "version": env!("CARGO_PKG_VERSION") })
}
