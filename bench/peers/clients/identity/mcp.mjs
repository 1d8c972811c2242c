// The TypeScript SDK's own providers of tokens, up to a call of a tool.

import assert from "node:assert/strict";
import * as sdk from "@modelcontextprotocol/client";
import { browse } from "./browser.mjs";
import { plan, refused, run, test } from "./cases.mjs";

const { client_id, pem } = plan.agents.bearer;
const key = { privateKey: pem, alg: "ES256" };

/// Connects with `authProvider` and calls the tool.
async function calls(authProvider) {
  const client = new sdk.Client({ name: "interop", version: "1" });
  const options = { authProvider };
  await client.connect(new sdk.StreamableHTTPClientTransport(new URL(plan.read), options));
  try {
    const { tools } = await client.listTools();
    assert.ok(tools.some(({ name }) => name === plan.tool), "the tool is not listed");
    const result = await client.callTool({ name: plan.tool, arguments: {} });
    assert.notEqual(result.isError, true, JSON.stringify(result));
  } finally {
    await client.close();
  }
}

function byKey(privateKey) {
  const algorithm = key.alg;
  return new sdk.PrivateKeyJwtProvider({
    clientId: client_id,
    privateKey,
    algorithm,
    expectedIssuer: plan.issuer,
  });
}

/// What the identity provider says of the person, after they logged in there.
async function login() {
  const verifier = crypto.randomUUID() + crypto.randomUUID();
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  const asked = new URL(plan.provider.authorization_endpoint);
  asked.search = new URLSearchParams({
    response_type: "code",
    client_id,
    redirect_uri: plan.web.redirect_uri,
    scope: "openid",
    code_challenge: Buffer.from(digest).toString("base64url"),
    code_challenge_method: "S256",
  });
  const arrived = await browse(asked, plan.web.redirect_uri);
  const answer = await fetch(plan.provider.token_endpoint, {
    method: "POST",
    body: new URLSearchParams({
      grant_type: "authorization_code",
      code: arrived.searchParams.get("code"),
      redirect_uri: plan.web.redirect_uri,
      code_verifier: verifier,
      client_id,
      client_secret: plan.provider.client_secret,
    }),
  });
  const { id_token, ...said } = await answer.json();
  assert.ok(id_token, JSON.stringify(said));
  return id_token;
}

/// The SDK's provider for what an identity provider lets a client do. Clients have no secret here, so
/// it authenticates with the SDK's own assertion.
function acrossApps(idToken, more) {
  const provider = new sdk.CrossAppAccessProvider({
    clientId: client_id,
    expectedIssuer: plan.issuer,
    assertion: async ({ authorizationServerUrl, resourceUrl, fetchFn }) => {
      const granted = await sdk.requestJwtAuthorizationGrant({
        tokenEndpoint: plan.provider.token_endpoint,
        audience: authorizationServerUrl,
        resource: resourceUrl,
        idToken,
        clientId: client_id,
        clientSecret: plan.provider.client_secret,
        fetchFn,
        ...more,
      });
      return granted.jwtAuthGrant;
    },
  });
  provider.addClientAuthentication = sdk.createPrivateKeyJwtAuth({
    issuer: client_id,
    subject: client_id,
    privateKey: pem,
    alg: key.alg,
  });
  return provider;
}

test("PrivateKeyJwtProvider: a tool is called", () => calls(byKey(pem)));

test("PrivateKeyJwtProvider: with a key nobody registered it is refused", () =>
  refused(
    () => calls(byKey(plan.agents.closer.pem)),
    (error) => /invalid_client|signature|token_/i.test(`${error.code} ${error.message}`),
    "the key is another client's",
  ));

test("CrossAppAccessProvider: a tool is called on behalf of the person who logged in", async () =>
  calls(acrossApps(await login())));

test("CrossAppAccessProvider: what was granted for another server is refused", async () => {
  const idToken = await login();
  await refused(
    () => calls(acrossApps(idToken, { audience: "https://other.example" })),
    (error) => /invalid_grant|audience/i.test(`${error.code} ${error.message}`),
    "it was for another authorization server",
  );
});

await run();
