// What oidc-provider says of a workload, shown to Carnet.

import assert from "node:assert/strict";
import { browse } from "./browser.mjs";
import { answered, body, headers } from "./call.mjs";
import { plan, run, test } from "./cases.mjs";

/// What the provider says of `client_id`, for `resource`.
async function said(client_id, resource) {
  const { token_endpoint, client_secret } = plan.provider;
  const form = { grant_type: "client_credentials", client_id, client_secret, resource };
  const answer = await fetch(token_endpoint, { method: "POST", body: new URLSearchParams(form) });
  const { access_token, ...rest } = await answer.json();
  assert.ok(access_token, JSON.stringify(rest));
  return access_token;
}

async function ask(form) {
  const url = `${plan.issuer}/oauth/token`;
  const asked = new URLSearchParams({ resource: plan.read, ...form });
  const answer = await fetch(url, { method: "POST", body: asked });
  return { status: answer.status, ...(await answer.json()) };
}

function granted(assertion) {
  return ask({ grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer", assertion });
}

function refusedFor(answer, error) {
  assert.equal(answer.error, error, JSON.stringify(answer));
  assert.equal(answer.access_token, undefined);
}

test("its token is the workload's grant, and what comes opens the resource", async () => {
  const answer = await granted(await said("pod", plan.issuer));
  assert.equal(answer.status, 200, JSON.stringify(answer));
  const shown = headers();
  shown.set("authorization", `Bearer ${answer.access_token}`);
  await answered(await fetch(plan.read, { method: "POST", headers: shown, body }));
});

test("its token authenticates the workload as a client", async () => {
  const client_assertion_type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
  const client_assertion = await said("pod", plan.issuer);
  const form = { grant_type: "client_credentials", client_assertion_type, client_assertion };
  const answer = await ask(form);
  assert.equal(answer.status, 200, JSON.stringify(answer));
});

test("its token for a workload nobody registered is refused", async () => {
  refusedFor(await granted(await said("stranger", plan.issuer)), "invalid_grant");
});

test("its token for somebody else is refused", async () => {
  refusedFor(await granted(await said("pod", "https://other.example")), "invalid_grant");
});

test("a person logs in with it, and a client of theirs gets its answer", async () => {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(crypto.randomUUID()));
  const asked = new URL(`${plan.issuer}/oauth/authorize`);
  asked.search = new URLSearchParams({
    response_type: "code",
    client_id: plan.agents.web.client_id,
    redirect_uri: plan.web.redirect_uri,
    resource: plan.read,
    code_challenge: Buffer.from(digest).toString("base64url"),
    code_challenge_method: "S256",
  });
  const visited = [];
  const arrived = await browse(asked, plan.web.redirect_uri, visited);
  assert.ok(visited.includes(new URL(plan.provider.issuer).origin), "the provider was never asked");
  assert.ok(arrived.searchParams.get("code"), arrived.href);
  assert.equal(arrived.searchParams.get("iss"), plan.issuer);
});

await run();
