// A client on the official TypeScript SDK, told on its command line what to do.
//
//   node client.mjs '{"sdk": "new", "url": "http://…", "token_file": "…", "steps": […]}'
//
// The installed package must be found from where this file stands. Prints one line of JSON: what
// was agreed on and what came of each step. A step that throws is an outcome like any other.

import { readFileSync } from "node:fs";
import { credentials } from "./credentials.mjs";

const plan = JSON.parse(process.argv[2]);

async function load(sdk) {
  if (sdk === "new") {
    const main = await import("@modelcontextprotocol/client");
    const stdio = await import("@modelcontextprotocol/client/stdio");
    return { ...main, StdioClientTransport: stdio.StdioClientTransport };
  }
  const [client, http, stdio, extensions] = await Promise.all([
    import("@modelcontextprotocol/sdk/client/index.js"),
    import("@modelcontextprotocol/sdk/client/streamableHttp.js"),
    import("@modelcontextprotocol/sdk/client/stdio.js"),
    import("@modelcontextprotocol/sdk/client/auth-extensions.js"),
  ]);
  return { ...client, ...http, ...stdio, ...extensions };
}

async function transport(sdk) {
  if (plan.stdio) {
    const [command, ...args] = plan.stdio;
    return new sdk.StdioClientTransport({ command, args, stderr: "inherit" });
  }
  const options = {};
  if (plan.token_file) {
    const token = readFileSync(plan.token_file, "utf8").trim();
    options.requestInit = { headers: { Authorization: `Bearer ${token}` } };
  }
  if (plan.credentials) {
    options.authProvider = await credentials(sdk, plan.credentials);
  }
  return new sdk.StreamableHTTPClientTransport(new URL(plan.url), options);
}

async function step(client, { kind, name, arguments: args }) {
  switch (kind) {
    case "tool":
      return client.callTool({ name, arguments: args ?? {} });
    case "prompt":
      return client.getPrompt({ name, arguments: args ?? {} });
    case "resource":
      return client.readResource({ uri: name });
    case "tools":
      return { names: (await client.listTools()).tools.map((tool) => tool.name) };
    case "resources":
      return { names: (await client.listResources()).resources.map((item) => item.uri) };
    case "prompts":
      return { names: (await client.listPrompts()).prompts.map((prompt) => prompt.name) };
    default:
      throw new Error(`a step of the unknown kind ${kind}`);
  }
}

async function run() {
  const sdk = await load(plan.sdk);
  const versions = plan.mode ? { versionNegotiation: { mode: plan.mode } } : {};
  const client = new sdk.Client({ name: "interop", version: "1" }, versions);
  await client.connect(await transport(sdk));
  const outcomes = [];
  for (const one of plan.steps) {
    try {
      outcomes.push({ result: await step(client, one) });
    } catch (error) {
      const { code, data } = error;
      outcomes.push({ error: { code, data, message: String(error.message) } });
    }
  }
  const server = client.getServerVersion?.()?.name;
  const protocol = client.getNegotiatedProtocolVersion?.() ?? null;
  await client.close();
  return { server, protocol, outcomes };
}

try {
  console.log(JSON.stringify(await run()));
} catch (error) {
  console.log(JSON.stringify({ failed: `${error?.name}: ${error?.message}` }));
  process.exitCode = 1;
}
