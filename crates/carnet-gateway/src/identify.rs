//! `identify`: who calls, on which path of which resource. Nothing here builds a caller without a
//! verified token, and every failure is the same 401.

use std::sync::{Mutex, PoisonError};

use carnet_core::{Caller, Now, Path, ResourceName, Timestamp};
use carnet_identity::{
    DpopProof, ExpectedAccess, ExpectedDpop, KeySet, Possession, ReplayCache, TokenCache,
    TokenError, Verified, X509Svid, verify_dpop,
};
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName};

/// The header of a proof of possession (RFC 9449).
pub(crate) const DPOP: HeaderName = HeaderName::from_static("dpop");
/// The most tokens whose verified claims are kept.
const TOKENS_MAX: usize = 4_096;
/// The most proofs that are remembered: 39 bytes each at worst, so below 28 MiB.
const PROOFS_MAX: usize = 720_000;
/// The most of them of one key: 4,000 requests a second for the 140 seconds a proof may be kept.
const PROOFS_OF_KEY_MAX: usize = 560_000;

/// Verifies tokens and proofs for one issuer.
pub(crate) struct Identifier {
    issuer: String,
    tokens: Mutex<TokenCache>,
    replays: Mutex<ReplayCache>,
    /// What was proved before is not remembered.
    started: Timestamp,
}

/// Why a request has no caller. The variants are for the operator; a client learns the code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unidentified {
    /// No token, or more than one.
    #[error("no token: send exactly one `Authorization` header")]
    Missing,
    /// A scheme that is neither `Bearer` nor `DPoP`, or not the token's.
    #[error("the token was sent under the wrong scheme")]
    Scheme,
    /// The token is refused.
    #[error("the token is refused: {0}")]
    Token(TokenError),
    /// The proof of possession is refused.
    #[error("the proof is refused: {0}")]
    Proof(TokenError),
    /// The proof may have been seen by the node that ran before this one.
    #[error("the proof is older than this node's start")]
    ProofBeforeStart,
    /// The proof was seen before, or cannot be remembered.
    #[error("the proof is refused: {0}")]
    Replay(#[from] carnet_identity::ReplayError),
}

impl Unidentified {
    /// The OAuth error code (RFC 6750 section 3.1, RFC 9449 section 7.1).
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "",
            Self::Scheme | Self::Token(_) => "invalid_token",
            Self::Proof(_) | Self::ProofBeforeStart | Self::Replay(_) => "invalid_dpop_proof",
        }
    }
}

impl Identifier {
    pub(crate) fn new(issuer: String, started: Timestamp) -> Self {
        Self {
            issuer,
            tokens: Mutex::new(TokenCache::new(TOKENS_MAX)),
            replays: Mutex::new(ReplayCache::with_share(PROOFS_MAX, PROOFS_OF_KEY_MAX)),
            started,
        }
    }

    /// The address of `resource` on `path`: the audience of its tokens and the `htu` of its proofs.
    pub(crate) fn address(&self, path: Path, resource: &ResourceName) -> String {
        format!("{}/{path}/mcp/{resource}", self.issuer)
    }

    /// The caller of a request to `address`, whose token one of `keys` signed.
    pub(crate) fn identify(
        &self,
        parts: &Parts,
        address: &str,
        keys: &KeySet,
        now: Now,
    ) -> Result<Caller, Unidentified> {
        let (scheme, token) = presented(&parts.headers)?;
        let expected = ExpectedAccess { issuer: &self.issuer, audience: address };
        let Verified { claims, kid } = {
            let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            tokens.verify(token, keys, &expected, now.wall).map_err(Unidentified::Token)?
        };
        let proof = match scheme {
            Scheme::Dpop => Some(proof(parts, address, token, now)?),
            Scheme::Bearer => None,
        };
        // What the listener verified of this connection; no header says it.
        let certificate = parts.extensions.get::<X509Svid>().filter(|it| now.wall < it.expires);
        let shown = certificate.map(|it| &it.certificate);
        let thumbprint = match (claims.possession_on(proof.as_ref(), shown), proof) {
            (Ok(Possession::Proved), Some(proof)) => {
                self.admit(&proof, now)?;
                Some(proof.thumbprint.to_string())
            }
            (Ok(Possession::Proved), None) => certificate.map(|it| it.key.to_string()),
            (Ok(Possession::Bearer), None) => None,
            (Err(error), None) if is_of_certificate(error) => {
                return Err(Unidentified::Token(error));
            }
            (Err(error), Some(_)) => return Err(Unidentified::Proof(error)),
            // A bound token sent as a bearer, or an unbound one with a proof of something.
            _ => return Err(Unidentified::Scheme),
        };
        let agent = claims.agent_name().ok_or(Unidentified::Token(TokenError::WrongTrustDomain))?;
        Ok(Caller {
            agent,
            instance: claims.instance.clone(),
            task: claims.task.clone(),
            path: claims.path,
            resource: claims.resource.clone(),
            token: claims.jti.clone(),
            key: kid,
            expires: claims.exp,
            thumbprint,
        })
    }

    /// Lets a proof through once.
    fn admit(&self, proof: &DpopProof, now: Now) -> Result<(), Unidentified> {
        // A proof tells whole seconds.
        if proof.iat.s() < self.started.s() {
            return Err(Unidentified::ProofBeforeStart);
        }
        let mut replays = self.replays.lock().unwrap_or_else(PoisonError::into_inner);
        replays.admit(&proof.thumbprint, &proof.jti, now.wall)?;
        Ok(())
    }
}

const fn is_of_certificate(error: TokenError) -> bool {
    matches!(error, TokenError::CertificateMissing | TokenError::CertificateDiffers)
}

/// The proof of possession for this request and token.
fn proof(parts: &Parts, address: &str, token: &str, now: Now) -> Result<DpopProof, Unidentified> {
    let proof =
        single(&parts.headers, &DPOP).ok_or(Unidentified::Proof(TokenError::ProofMissing))?;
    let expected = ExpectedDpop {
        method: parts.method.as_str(),
        url: address,
        access_token: Some(token),
        nonce: None,
    };
    verify_dpop(proof, &expected, now.wall).map_err(Unidentified::Proof)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Bearer,
    Dpop,
}

fn presented(headers: &HeaderMap) -> Result<(Scheme, &str), Unidentified> {
    let value = single(headers, &AUTHORIZATION).ok_or(Unidentified::Missing)?;
    let (scheme, token) = value.split_once(' ').ok_or(Unidentified::Scheme)?;
    let scheme = match scheme {
        scheme if scheme.eq_ignore_ascii_case("bearer") => Scheme::Bearer,
        scheme if scheme.eq_ignore_ascii_case("dpop") => Scheme::Dpop,
        _ => return Err(Unidentified::Scheme),
    };
    Ok((scheme, token))
}

/// The one value of a header that must be there once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use carnet_identity::{
        AccessClaims, Confirmation, KeyUse, SigningKey, X509Authority, X509Bundle, mint_access,
        verify_x509_svid,
    };

    use carnet_core::Monotonic;

    use super::*;

    const ADDRESS: &str = "https://carnet.example/write/mcp/desk";
    const AT: Timestamp = Timestamp::from_s(1_800_000_000);

    fn svid(ttl_s: i64) -> X509Svid {
        let domain = "carnet.example".parse().unwrap();
        let key = SigningKey::generate(KeyUse::X509Authority).unwrap();
        let certificate = X509Authority::certify(&key, &domain, 7, AT).unwrap();
        let authority = X509Authority::of(key, certificate, &domain).unwrap();
        let leaf = SigningKey::generate(KeyUse::X509Svid).unwrap();
        let id = "spiffe://carnet.example/agent/desk-agent".parse().unwrap();
        let issued = authority.issue(&leaf, &id, 7, AT, ttl_s).unwrap();
        let bundle = Arc::new(X509Bundle::of([authority.certificate()]).unwrap());
        verify_x509_svid(&[&issued.certificate], &BTreeMap::from([(domain, bundle)]), AT).unwrap()
    }

    fn claims(cnf: Confirmation) -> AccessClaims {
        AccessClaims {
            iss: "https://carnet.example".into(),
            sub: "user:ana".into(),
            client_id: "spiffe://carnet.example/agent/desk-agent".into(),
            aud: ADDRESS.into(),
            iat: AT,
            nbf: AT,
            exp: AT.plus_s(60),
            jti: "tok_1".into(),
            scope: None,
            cnf: Some(cnf),
            act: None,
            task: "task_1".parse().unwrap(),
            path: Path::Write,
            resource: "desk".parse().unwrap(),
            instance: "inst_1".parse().unwrap(),
            authorization_details: vec![],
        }
    }

    fn identify(
        claims: &AccessClaims,
        authorization: &str,
        over: Option<&X509Svid>,
        at: Timestamp,
    ) -> Result<Caller, Unidentified> {
        let signing = SigningKey::generate(KeyUse::AccessToken).unwrap();
        let token = mint_access(&signing, claims).unwrap();
        let keys = KeySet::from_keys([signing.verifying_key()]).unwrap();
        let request = http::Request::post("/write/mcp/desk")
            .header("authorization", authorization.replace("TOKEN", &token))
            .header("x-forwarded-client-cert", "spiffe://carnet.example/agent/desk-agent");
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        if let Some(svid) = over {
            parts.extensions.insert(svid.clone());
        }
        let now = Now { wall: at, mono: Monotonic::from_us(1) };
        Identifier::new("https://carnet.example".into(), AT).identify(&parts, ADDRESS, &keys, now)
    }

    #[test]
    fn a_token_bound_to_a_certificate_is_good_over_its_own_connection_and_no_other() {
        let (own, other) = (svid(3600), svid(3600));
        let bound = claims(Confirmation::Certificate { x5t: own.certificate });
        let caller = identify(&bound, "Bearer TOKEN", Some(&own), AT).unwrap();
        assert_eq!(caller.thumbprint, Some(own.key.to_string()));
        for (over, error) in
            [(Some(&other), TokenError::CertificateDiffers), (None, TokenError::CertificateMissing)]
        {
            let refused = identify(&bound, "Bearer TOKEN", over, AT).unwrap_err();
            assert_eq!(refused.code(), "invalid_token");
            assert!(matches!(refused, Unidentified::Token(it) if it == error), "{refused}");
        }
        assert!(identify(&bound, "DPoP TOKEN", Some(&own), AT).is_err());
        // The connection outlived the certificate.
        let short = svid(10);
        let bound = claims(Confirmation::Certificate { x5t: short.certificate });
        assert!(identify(&bound, "Bearer TOKEN", Some(&short), AT.plus_s(9)).is_ok());
        let refused = identify(&bound, "Bearer TOKEN", Some(&short), AT.plus_s(10)).unwrap_err();
        assert_eq!(refused.code(), "invalid_token");
    }

    #[test]
    fn a_certificate_is_no_proof_of_another_key() {
        let own = svid(3600);
        let bound = claims(Confirmation::Key { jkt: own.key });
        assert!(identify(&bound, "Bearer TOKEN", Some(&own), AT).is_err());
    }
}
