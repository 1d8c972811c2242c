// oidc-provider as somebody else's identity provider. It prints its address when it listens.
//
// Beside what it does by itself it gives assertions for other applications (ID-JAG), which the library
// has no code for: they are signed with its key after it has judged the ID token itself.

import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { importJWK, SignJWT } from "jose";
import { Provider } from "oidc-provider";
import { plan } from "./cases.mjs";

const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const ID_JAG = "urn:ietf:params:oauth:token-type:id-jag";
const { issuer, port, jwk, client_secret } = plan.provider;
const own = { ...jwk, alg: "ES256", use: "sig" };
const es256 = { id_token_signed_response_alg: "ES256" };

const clients = [
  {
    client_id: "carnet",
    redirect_uris: [`${plan.issuer}/oauth/callback`],
    grant_types: ["authorization_code"],
    token_endpoint_auth_method: "private_key_jwt",
    token_endpoint_auth_signing_alg: "ES256",
    jwks_uri: `${plan.issuer}/oauth/client-jwks`,
    ...es256,
  },
  {
    client_id: plan.agents.bearer.client_id,
    client_secret,
    redirect_uris: [plan.web.redirect_uri],
    application_type: "native",
    grant_types: ["authorization_code", EXCHANGE],
    token_endpoint_auth_method: "client_secret_post",
    ...es256,
  },
  ...["pod", "stranger"].map((client_id) => ({
    client_id,
    client_secret,
    redirect_uris: [],
    response_types: [],
    grant_types: ["client_credentials"],
    token_endpoint_auth_method: "client_secret_post",
    ...es256,
  })),
];

// The one line on standard output is the address.
console.info = console.warn = console.error;

const provider = new Provider(issuer, {
  clients,
  jwks: { keys: [own] },
  cookies: { keys: [crypto.randomUUID()] },
  pkce: { required: () => true },
  findAccount: (_ctx, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  formats: {
    // Tokens of workloads say who somebody is, and are not for any resource: they are plain JWTs.
    customizers: {
      jwt: (_ctx, _token, parts) => {
        parts.header = { ...parts.header, typ: "JWT" };
      },
    },
  },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_ctx, audience) => ({
        scope: "",
        audience,
        accessTokenTTL: 300,
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: "ES256" } },
      }),
    },
  },
});

async function assertion(ctx) {
  const { client, params } = ctx.oidc;
  const { payload } = await provider.IdToken.validate(params.subject_token, client);
  const { resource } = params;
  const key = await importJWK(own, "ES256");
  const signed = await new SignJWT({ client_id: client.clientId, resource })
    .setProtectedHeader({ alg: "ES256", kid: own.kid, typ: "oauth-id-jag+jwt" })
    .setIssuer(issuer)
    .setSubject(payload.sub)
    .setAudience(params.audience)
    .setJti(crypto.randomUUID())
    .setIssuedAt()
    .setExpirationTime("2m")
    .sign(key);
  ctx.body = { access_token: signed, issued_token_type: ID_JAG, token_type: "N_A", expires_in: 120 };
}

provider.on("server_error", (_ctx, error) => console.error(error));
const named = ["audience", "resource", "scope", "requested_token_type"];
provider.registerGrantType(EXCHANGE, assertion, [...named, "subject_token", "subject_token_type"]);

const tls = { cert: readFileSync(plan.tls.certificate), key: readFileSync(plan.tls.key) };
createServer(tls, provider.callback()).listen(port, "127.0.0.1", () => console.log(issuer));
