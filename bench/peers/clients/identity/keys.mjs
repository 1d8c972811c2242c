// The keys of the agents that are OAuth clients, made for this run and known to it alone.

import { plan } from "./cases.mjs";

const ES256 = { name: "ECDSA", namedCurve: "P-256" };

/// The private key of the client that is `agent`, for signing and with its name.
export async function clientKey(agent) {
  const { kid, ...jwk } = plan.agents[agent].jwk;
  delete jwk.alg;
  delete jwk.use;
  const key = await crypto.subtle.importKey("jwk", jwk, ES256, false, ["sign"]);
  return { key, kid };
}
