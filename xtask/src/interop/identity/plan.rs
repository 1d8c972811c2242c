//! What the programs are told: one JSON document each, readable by nobody else, for it holds keys.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::agents;
use super::lab::{DOMAIN, FIXTURE, PERSON, PROVIDER, PURPOSE, Places, TOOL, json_of};
use super::programs::Programs;
use crate::installation::Installation;

/// The revision of MCP without sessions: one call is one request.
const REVISION: &str = "2026-07-28";
/// What clients of the identity provider are known to it by. Carnet's clients have no secrets.
const PROVIDER_SECRET: &str = "only-the-provider-knows-its-clients-by-this";

/// What the identity provider is told.
pub(super) fn of_provider(places: &Places) -> anyhow::Result<Value> {
    let keys = &places.keys;
    Ok(json!({
        "issuer": places.issuer(),
        "agents": agents::told(keys)?,
        "web": { "redirect_uri": places.web },
        "provider": provider(places)?,
        "tls": { "certificate": keys.join("server.pem"), "key": keys.join("server-key.pem") },
    }))
}

/// What the programs on `carnet` are told.
pub(super) fn whole(
    programs: &Programs,
    places: &Places,
    carnet: &Installation,
    task: &str,
) -> anyhow::Result<Value> {
    let read = carnet.address(FIXTURE);
    Ok(json!({
        "issuer": carnet.issuer(),
        "trust_domain": DOMAIN,
        "ca": places.keys.join("ca.pem"),
        "workload": carnet.workload_socket(),
        "carnet": carnet.words(&[]),
        "read": read,
        "write": read.replace("/read/", "/write/"),
        "tool": TOOL,
        "call": call(),
        "purpose": PURPOSE,
        "tasks": { "planner": task },
        "agents": agents::told(&places.keys)?,
        "local": agents::LOCAL,
        "web": { "redirect_uri": places.web },
        "suite": programs.suite,
        "suite_redirect_uri": places.suite,
        "provider": provider(places)?,
    }))
}

fn provider(places: &Places) -> anyhow::Result<Value> {
    let issuer = places.provider();
    Ok(json!({
        "issuer": issuer,
        "port": places.provider_port,
        "authorization_endpoint": format!("{issuer}/auth"),
        "token_endpoint": format!("{issuer}/token"),
        "client_secret": PROVIDER_SECRET,
        "subject": PERSON,
        "jwk": json_of(&agents::key_file(&places.keys, PROVIDER, "jwk.json"))?,
        "pem": agents::read(&agents::key_file(&places.keys, PROVIDER, "pem"))?,
    }))
}

/// One call of the tool, for programs that have no MCP client.
fn call() -> Value {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": REVISION,
        "io.modelcontextprotocol/clientInfo": { "name": "interop", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    json!({
        "headers": {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": REVISION,
            "mcp-method": "tools/call",
            "mcp-name": TOOL,
        },
        "body": {
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": { "name": TOOL, "arguments": {}, "_meta": meta },
        },
    })
}

/// Writes `plan` where only this user reads it.
pub(super) fn write(file: &Path, plan: &Value) -> anyhow::Result<()> {
    let shown = || file.display().to_string();
    let mut out = OpenOptions::new();
    let mut out = out.write(true).create_new(true).mode(0o600).open(file).with_context(shown)?;
    out.write_all(plan.to_string().as_bytes()).with_context(shown)
}
