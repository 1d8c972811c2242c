// One MCP call as one HTTP request: the revision without sessions.

import assert from "node:assert/strict";
import { plan } from "./cases.mjs";

const REVISION = "2026-07-28";

/// The headers of the call.
export function headers() {
  return new Headers({
    "content-type": "application/json",
    accept: "application/json, text/event-stream",
    "mcp-protocol-version": REVISION,
    "mcp-method": "tools/call",
    "mcp-name": plan.tool,
  });
}

/// Its body.
export const body = JSON.stringify({
  jsonrpc: "2.0",
  id: 1,
  method: "tools/call",
  params: {
    name: plan.tool,
    arguments: {},
    _meta: {
      "io.modelcontextprotocol/protocolVersion": REVISION,
      "io.modelcontextprotocol/clientInfo": { name: "interop", version: "1" },
      "io.modelcontextprotocol/clientCapabilities": {},
    },
  },
});

/// The tool must have answered.
export async function answered(response) {
  const text = await response.text();
  assert.equal(response.status, 200, text);
  const data = text.match(/^data: ?(\{.*\})$/m)?.[1] ?? text;
  const { result } = JSON.parse(data);
  assert.ok(result && result.isError !== true, text);
}
