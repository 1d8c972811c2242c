// openid-client against Carnet: discovery, client credentials, token exchange and a call, with keys
// proven at every step.

import assert from "node:assert/strict";
import * as client from "openid-client";
import { answered, body, headers } from "./call.mjs";
import { plan, refused, run, test } from "./cases.mjs";
import { clientKey } from "./keys.mjs";

const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const TYPE = "urn:ietf:params:oauth:token-type:";

const pair = await client.randomDPoPKeyPair("ES256");
let planner;
let token;
let delegated;

async function discovered(agent, algorithm) {
  const { client_id } = plan.agents[agent];
  const auth = client.PrivateKeyJwt(await clientKey(agent));
  return client.discovery(new URL(plan.issuer), client_id, undefined, auth, { algorithm });
}

test("discovery of the issuer", async () => {
  planner = await discovered("planner", "oauth2");
  assert.equal(planner.serverMetadata().issuer, plan.issuer);
});

test("client credentials by private_key_jwt, the key proven with the nonce demanded", async () => {
  const DPoP = client.getDPoPHandle(planner, pair);
  const asked = { resource: plan.read, scope: `task:${plan.tasks.planner}` };
  token = await client.clientCredentialsGrant(planner, asked, { DPoP });
  assert.equal(token.token_type, "dpop");
});

test("the token opens the resource, with proofs of the key", async () => {
  const DPoP = client.getDPoPHandle(planner, pair);
  const url = new URL(plan.read);
  const { access_token } = token;
  await answered(
    await client.fetchProtectedResource(planner, access_token, url, "POST", body, headers(), { DPoP }),
  );
});

test("token exchange: a part is handed on", async () => {
  const DPoP = client.getDPoPHandle(planner, pair);
  const allow = [{ action: `fixture.tool.${plan.tool}`, path: "read" }];
  const details = [{ type: "carnet_delegation", intent: { purpose: plan.purpose, allow } }];
  const asked = {
    subject_token: token.access_token,
    subject_token_type: `${TYPE}access_token`,
    audience: plan.agents.closer.spiffe_id,
    authorization_details: JSON.stringify(details),
  };
  delegated = await client.genericGrantRequest(planner, EXCHANGE, asked, { DPoP });
  assert.equal(delegated.issued_token_type, `${TYPE}jwt`);
});

test("token exchange: the other redeems it, and uses what it gets", async () => {
  const closer = await discovered("closer", "oauth2");
  const keys = await client.randomDPoPKeyPair("ES256");
  const DPoP = client.getDPoPHandle(closer, keys);
  const asked = {
    subject_token: delegated.access_token,
    subject_token_type: `${TYPE}jwt`,
    resource: plan.read,
  };
  const redeemed = await client.genericGrantRequest(closer, EXCHANGE, asked, { DPoP });
  const url = new URL(plan.read);
  const { access_token } = redeemed;
  await answered(
    await client.fetchProtectedResource(closer, access_token, url, "POST", body, headers(), { DPoP }),
  );
});

test("introspection", async () => {
  const found = await client.tokenIntrospection(planner, token.access_token);
  assert.equal(found.active, true);
  assert.equal(found.client_id, plan.agents.planner.spiffe_id);
});

test("revocation, and the resource is closed", async () => {
  await client.tokenRevocation(planner, token.access_token);
  const DPoP = client.getDPoPHandle(planner, pair);
  const url = new URL(plan.read);
  await refused(
    () => client.fetchProtectedResource(planner, token.access_token, url, "POST", body, headers(), { DPoP }),
    (error) => error.status === 401,
    "the token was revoked",
  );
});

await run();
