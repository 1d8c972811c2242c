// Client credentials with a JWT-SVID: the SDK's own provider for a ready assertion, and the SVID
// from the SPIFFE Workload API.

import { fetchJwtSvid } from "./workload.mjs";

/// The provider: who we are is the assertion, which task it is for is the scope.
export async function credentials(sdk, { workload, issuer, task }) {
  const { id, svid } = await fetchJwtSvid(workload, issuer);
  return new sdk.StaticPrivateKeyJwtProvider({
    clientId: id,
    jwtBearerAssertion: svid,
    scope: `task:${task}`,
    expectedIssuer: issuer,
  });
}
