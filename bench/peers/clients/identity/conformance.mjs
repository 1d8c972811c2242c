// The official conformance suite's scenarios of an authorization server. The suite stands where a
// client stands; the person and the browser are ours.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { browse } from "./browser.mjs";
import { plan, run, test } from "./cases.mjs";

const WITHIN_MS = 90_000;

/// What the suite says of every scenario. They are run together: the second asks what the first found.
let said;

/// Runs the suite; the address it prints for the person's browser is opened.
function suite() {
  const port = new URL(plan.suite_redirect_uri).port;
  const { client_id } = plan.agents.suite;
  const words = ["--url", plan.issuer, "--client-id", client_id, "--resource", plan.read, "--port", port];
  const running = spawn(process.execPath, [plan.suite, "authorization", ...words], { timeout: WITHIN_MS });
  let printed = "";
  let browsing;
  const look = (chunk) => {
    printed += chunk;
    const asked = printed.match(/^(https?:\/\/\S+\?\S*response_type=code\S*)\s/m)?.[1];
    if (asked && !browsing) browsing = visit(asked).catch((error) => running.kill() && error);
  };
  running.stdout.on("data", look);
  running.stderr.on("data", look);
  return new Promise((resolve, reject) => {
    running.on("error", reject);
    running.on("close", async () => {
      const failed = await browsing;
      if (failed) reject(failed);
      else resolve(printed);
    });
  });
}

/// The browser, up to and with the visit to where the suite listens.
async function visit(url) {
  const arrived = await browse(url, plan.suite_redirect_uri);
  await fetch(arrived);
}

/// The scenario must have passed: `✓ name: 1 passed, 0 failed` in the summary, and nothing skipped.
async function passed(scenario) {
  said ??= suite();
  const printed = await said;
  const line = printed.split("\n").findLast((line) => line.includes(`${scenario}:`)) ?? "";
  assert.match(line, /✓.*: [1-9]\d* passed, 0 failed/, `${line}${printed.slice(-1500)}`);
}

for (const scenario of ["authorization-server-metadata-endpoint", "authorization-code-grant"]) {
  test(scenario, () => passed(scenario));
}

await run();
