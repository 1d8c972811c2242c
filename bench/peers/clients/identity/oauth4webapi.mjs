// oauth4webapi against Carnet: every answer is judged by the library, none by us alone.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import * as oauth from "oauth4webapi";
import { browse } from "./browser.mjs";
import { answered, body, headers } from "./call.mjs";
import { plan, refused, run, test } from "./cases.mjs";
import { fetchWith } from "./http.mjs";
import { clientKey } from "./keys.mjs";
import { fetchJwtSvid, fetchX509Svid } from "./workload.mjs";

const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const TYPE = "urn:ietf:params:oauth:token-type:";
const issuer = new URL(plan.issuer);
const read = plan.read;

/// What one case leaves for the next.
let server;
let token;
let delegated;
let childs;

const pair = await oauth.generateKeyPair("ES256");
const closers = await oauth.generateKeyPair("ES256");

/// The client that is `agent`, how it authenticates, and its proofs of `keys`.
async function client(agent, keys) {
  const known = { client_id: plan.agents[agent].client_id };
  const auth = oauth.PrivateKeyJwt(await clientKey(agent));
  return { known, auth, DPoP: keys && oauth.DPoP(known, keys) };
}

/// Asks, and asks once more where the server demanded a nonce.
async function withNonce(DPoP, ask) {
  try {
    return await ask();
  } catch (error) {
    if (!DPoP || !oauth.isDPoPNonceError(error)) throw error;
    return ask();
  }
}

/// A token by client credentials.
async function credentials(agent, keys, parameters) {
  const { known, auth, DPoP } = await client(agent, keys);
  const answer = await withNonce(DPoP, async () => {
    const asked = new URLSearchParams({ resource: read, ...parameters });
    const sent = await oauth.clientCredentialsGrantRequest(server, known, auth, asked, { DPoP });
    return oauth.processClientCredentialsResponse(server, known, sent);
  });
  return { ...answer, DPoP };
}

/// A token exchange.
async function exchange(agent, keys, parameters) {
  const { known, auth, DPoP } = await client(agent, keys);
  const recognizedTokenTypes = { n_a: () => {} };
  return withNonce(DPoP, async () => {
    const asked = new URLSearchParams(parameters);
    const sent = await oauth.genericTokenEndpointRequest(server, known, auth, EXCHANGE, asked, { DPoP });
    return oauth.processGenericTokenEndpointResponse(server, known, sent, { recognizedTokenTypes });
  });
}

/// One MCP call with `token`.
function call({ access_token, DPoP }, more = {}) {
  const url = new URL(read);
  return oauth.protectedResourceRequest(access_token, "POST", url, headers(), body, { DPoP, ...more });
}

function handOn(more) {
  const intent = { purpose: plan.purpose, allow: [{ action: `fixture.tool.${plan.tool}`, path: "read" }] };
  return {
    subject_token: token.access_token,
    subject_token_type: `${TYPE}access_token`,
    audience: plan.agents.closer.spiffe_id,
    authorization_details: JSON.stringify([{ type: "carnet_delegation", intent }]),
    ...more,
  };
}

test("authorization server metadata (RFC 8414)", async () => {
  const sent = await oauth.discoveryRequest(issuer, { algorithm: "oauth2" });
  server = await oauth.processDiscoveryResponse(issuer, sent);
  assert.equal(server.issuer, plan.issuer);
});

test("OpenID discovery is of the same issuer", async () => {
  const sent = await oauth.discoveryRequest(issuer, { algorithm: "oidc" });
  const found = await oauth.processDiscoveryResponse(issuer, sent);
  assert.equal(found.token_endpoint, server.token_endpoint);
});

test("protected resource metadata (RFC 9728) leads to the issuer", async () => {
  const resource = new URL(read);
  const sent = await oauth.resourceDiscoveryRequest(resource);
  const found = await oauth.processResourceDiscoveryResponse(resource, sent);
  assert.deepEqual(found.authorization_servers, [plan.issuer]);
});

test("client credentials by private_key_jwt; a proof without a nonce is told to bring one", async () => {
  const { known, auth, DPoP } = await client("planner", pair);
  const asked = new URLSearchParams({ resource: read, scope: `task:${plan.tasks.planner}` });
  const sent = await oauth.clientCredentialsGrantRequest(server, known, auth, asked, { DPoP });
  await refused(
    () => oauth.processClientCredentialsResponse(server, known, sent),
    oauth.isDPoPNonceError,
    "no nonce was in the proof",
  );
  token = await credentials("planner", pair, { scope: `task:${plan.tasks.planner}` });
  assert.equal(token.token_type, "dpop");
});

test("the access token is one of RFC 9068, bound to the key", async () => {
  let shown;
  const keep = (url, options) => {
    shown = new Request(url, { method: options.method, headers: options.headers });
    return fetch(url, options);
  };
  await answered(await call(token, { [oauth.customFetch]: keep }));
  const claims = await oauth.validateJwtAccessToken(server, shown, read, { requireDPoP: true });
  assert.equal(claims.client_id, plan.agents.planner.spiffe_id);
  assert.equal(claims.carnet_task, plan.tasks.planner);
});

test("a bound token is no bearer token", async () => {
  const shown = new Headers(headers());
  shown.set("authorization", `Bearer ${token.access_token}`);
  const answer = await fetch(read, { method: "POST", headers: shown, body });
  assert.equal(answer.status, 401);
  assert.match(answer.headers.get("www-authenticate") ?? "", /DPoP/);
});

test("a bound token is no good with another key", async () => {
  const other = oauth.DPoP({ client_id: "other" }, await oauth.generateKeyPair("ES256"));
  await refused(
    () => call({ access_token: token.access_token, DPoP: other }),
    (error) => error instanceof oauth.WWWAuthenticateChallengeError && error.status === 401,
    "another key was shown",
  );
});

test("client credentials without a key of the client are refused", async () => {
  const { privateKey } = await oauth.generateKeyPair("ES256");
  const known = { client_id: plan.agents.planner.client_id };
  const auth = oauth.PrivateKeyJwt({ key: privateKey, kid: plan.agents.planner.jwk.kid });
  const asked = new URLSearchParams({ resource: read });
  const DPoP = oauth.DPoP(known, pair);
  const sent = await oauth.clientCredentialsGrantRequest(server, known, auth, asked, { DPoP });
  await refused(
    () => oauth.processClientCredentialsResponse(server, known, sent),
    // The answer is a challenge too, and the library looks at that first.
    (error) => error.status === 401 && /"invalid_client"/.test(JSON.stringify(error.cause)),
    "the assertion was signed by nobody",
  );
});

test("two resources for one token are refused", async () => {
  const { known, auth, DPoP } = await client("planner", pair);
  await refused(
    () =>
      withNonce(DPoP, async () => {
        const asked = new URLSearchParams([["resource", read], ["resource", plan.write]]);
        const sent = await oauth.clientCredentialsGrantRequest(server, known, auth, asked, { DPoP });
        return oauth.processClientCredentialsResponse(server, known, sent);
      }),
    (error) => error.error === "invalid_target",
    "two resources were named",
  );
});

test("token exchange: a part is handed on, and what comes is no access token", async () => {
  delegated = await exchange("planner", pair, handOn());
  assert.equal(delegated.issued_token_type, `${TYPE}jwt`);
  assert.equal(delegated.token_type, "n_a");
  assert.match(delegated.scope, /^task:task_/);
});

test("token exchange: more than the task has is refused", async () => {
  const intent = { purpose: plan.purpose, allow: [{ action: "fixture.tool.*", path: "write" }] };
  const details = JSON.stringify([{ type: "carnet_delegation", intent }]);
  await refused(
    () => exchange("planner", pair, handOn({ authorization_details: details })),
    (error) => error.error === "invalid_authorization_details",
    "it is no part of the task",
  );
});

test("token exchange: with another key than the token's it is refused", async () => {
  await refused(
    () => exchange("planner", closers, handOn()),
    (error) => ["invalid_request", "invalid_dpop_proof"].includes(error.error),
    "the proof was another key's",
  );
});

test("token exchange: who gave it cannot redeem it", async () => {
  await refused(
    () =>
      exchange("planner", pair, {
        subject_token: delegated.access_token,
        subject_token_type: `${TYPE}jwt`,
        resource: read,
      }),
    (error) => ["invalid_request", "unauthorized_client", "invalid_grant"].includes(error.error),
    "it is for another agent",
  );
});

test("token exchange: the agent it is for redeems it, with its SVID as the actor token", async () => {
  const { svid } = await fetchJwtSvid(plan.workload, plan.issuer, plan.agents.closer.spiffe_id);
  const answer = await exchange("closer", closers, {
    subject_token: delegated.access_token,
    subject_token_type: `${TYPE}jwt`,
    actor_token: svid,
    actor_token_type: `${TYPE}jwt`,
    resource: read,
  });
  assert.equal(answer.issued_token_type, `${TYPE}access_token`);
  childs = { ...answer, DPoP: oauth.DPoP({ client_id: "closer" }, closers) };
  await answered(await call(childs));
});

test("introspection tells an agent of its own token", async () => {
  const { known, auth } = await client("planner");
  const sent = await oauth.introspectionRequest(server, known, auth, token.access_token);
  const found = await oauth.processIntrospectionResponse(server, known, sent);
  assert.equal(found.active, true);
  assert.equal(found.aud, read);
  assert.equal(found.cnf?.jkt, await thumbprint(pair));
});

test("introspection tells who handed it on of the other's token, with the chain", async () => {
  const { known, auth } = await client("planner");
  const sent = await oauth.introspectionRequest(server, known, auth, childs.access_token);
  const found = await oauth.processIntrospectionResponse(server, known, sent);
  assert.equal(found.active, true);
  assert.equal(found.act.sub, plan.agents.closer.spiffe_id);
  assert.equal(found.act.act.sub, plan.agents.planner.spiffe_id);
});

test("introspection tells nobody else anything", async () => {
  const { known, auth } = await client("bearer");
  const sent = await oauth.introspectionRequest(server, known, auth, token.access_token);
  const found = await oauth.processIntrospectionResponse(server, known, sent);
  assert.deepEqual(found, { active: false });
});

test("revocation by an agent that has no part in it is refused, and the token stays", async () => {
  const { known, auth } = await client("bearer");
  await refused(
    async () => {
      const sent = await oauth.revocationRequest(server, known, auth, token.access_token);
      return oauth.processRevocationResponse(sent);
    },
    (error) => typeof error.error === "string",
    "it is another agent's token",
  );
  await answered(await call(token));
});

test("revocation ends the token, and what was handed on with it", async () => {
  const { known, auth } = await client("planner");
  const sent = await oauth.revocationRequest(server, known, auth, token.access_token);
  await oauth.processRevocationResponse(sent);
  const challenged = (error) => error instanceof oauth.WWWAuthenticateChallengeError;
  await refused(() => call(token), challenged, "the token was revoked");
  await refused(
    async () => answered(await call(childs)),
    (error) => challenged(error) || error instanceof assert.AssertionError,
    "the token above it was revoked",
  );
  const found = await oauth.processIntrospectionResponse(
    server,
    known,
    await oauth.introspectionRequest(server, known, (await client("planner")).auth, token.access_token),
  );
  assert.deepEqual(found, { active: false });
});

test("revocation of what never was is no error", async () => {
  const { known, auth } = await client("planner");
  const sent = await oauth.revocationRequest(server, known, auth, "never.was.one");
  await oauth.processRevocationResponse(sent);
});

test("mutual TLS with an X.509-SVID: a token bound to the certificate, and used with it", async () => {
  const id = plan.agents.planner.spiffe_id;
  const withCertificate = fetchWith(await fetchX509Svid(plan.workload, id), plan.ca);
  const known = { client_id: id, use_mtls_endpoint_aliases: true };
  const options = { [oauth.customFetch]: withCertificate };
  const asked = new URLSearchParams({ resource: read, scope: `task:${plan.tasks.planner}` });
  const auth = oauth.TlsClientAuth();
  const sent = await oauth.clientCredentialsGrantRequest(server, known, auth, asked, options);
  const bound = await oauth.processClientCredentialsResponse(server, known, sent);
  assert.equal(bound.token_type, "bearer");
  await answered(await call(bound, options));
  await refused(
    () => call(bound),
    (error) => error instanceof oauth.WWWAuthenticateChallengeError,
    "no certificate was shown",
  );
});

test("authorization code with PKCE: a person logs in with a code on the command line", async () => {
  const { known, auth, DPoP } = await client("web", pair);
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const asked = new URL(server.authorization_endpoint);
  asked.search = new URLSearchParams({
    response_type: "code",
    client_id: known.client_id,
    redirect_uri: plan.web.redirect_uri,
    resource: read,
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
  });
  const arrived = await browse(asked, plan.web.redirect_uri);
  await refused(
    async () => oauth.validateAuthResponse({ ...server, issuer: "https://other.example" }, known, arrived, state),
    (error) => /iss/.test(error.message),
    "the answer is another issuer's",
  );
  const answer = oauth.validateAuthResponse(server, known, arrived, state);
  const ask = () =>
    oauth.authorizationCodeGrantRequest(server, known, auth, answer, plan.web.redirect_uri, verifier, {
      DPoP,
      additionalParameters: { resource: read },
    });
  const persons = await withNonce(DPoP, async () =>
    oauth.processAuthorizationCodeResponse(server, known, await ask()),
  );
  await answered(await call({ ...persons, DPoP }));
  await refused(
    async () => oauth.processAuthorizationCodeResponse(server, known, await ask()),
    (error) => error.error === "invalid_grant",
    "the code was used",
  );
});

async function thumbprint({ publicKey }) {
  const { crv, kty, x, y } = await crypto.subtle.exportKey("jwk", publicKey);
  return createHash("sha256").update(JSON.stringify({ crv, kty, x, y })).digest("base64url");
}

await run();
