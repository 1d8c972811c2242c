// The official conformance suite's scenarios of an authorization server. The suite stands where a
// client stands; the person and the browser are ours.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { browse } from "./browser.mjs";
import { plan, run, test } from "./cases.mjs";

const WITHIN_MS = 90_000;

/// Runs one scenario; the address it prints for the person's browser is opened.
function scenario(name, more) {
  const words = ["authorization", "--url", plan.issuer, "--scenario", name, ...more];
  const suite = spawn(process.execPath, [plan.suite, ...words], { timeout: WITHIN_MS });
  let printed = "";
  let browsing;
  const look = (chunk) => {
    printed += chunk;
    const asked = printed.match(/^(https?:\/\/\S+\?\S*response_type=code\S*)\s/m)?.[1];
    if (asked && !browsing) browsing = visit(asked).catch((error) => suite.kill() && error);
  };
  suite.stdout.on("data", look);
  suite.stderr.on("data", look);
  return new Promise((resolve, reject) => {
    suite.on("error", reject);
    suite.on("close", async (code) => {
      const failed = await browsing;
      if (failed) reject(failed);
      else resolve({ code, printed });
    });
  });
}

/// The browser, up to and with the visit to where the suite listens.
async function visit(url) {
  const arrived = await browse(url, plan.suite_redirect_uri);
  await fetch(arrived);
}

function passed({ code, printed }) {
  assert.equal(code, 0, printed.slice(-1500));
  assert.doesNotMatch(printed, /skipped: [1-9]|[1-9]\d* skipped|SKIPPED/i, printed.slice(-1500));
}

test("authorization-server-metadata-endpoint", async () => {
  passed(await scenario("authorization-server-metadata-endpoint", []));
});

test("authorization-code-grant, the person logging in with `carnet login`", async () => {
  const port = new URL(plan.suite_redirect_uri).port;
  const more = ["--client-id", plan.agents.suite.client_id, "--resource", plan.read, "--port", port];
  passed(await scenario("authorization-code-grant", more));
});

await run();
