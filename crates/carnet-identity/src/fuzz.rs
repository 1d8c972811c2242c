//! One entry for fuzzing everything here that reads bytes from outside. Ordinary tests run it over
//! the checked-in corpus.

use std::sync::OnceLock;

use carnet_core::Timestamp;

use crate::access::{ExpectedAccess, mint_access, verify_access};
use crate::dpop::{ExpectedDpop, verify_dpop};
use crate::json::encode_base64url;
use crate::keyset::KeySet;
use crate::signing::{KeyUse, SigningKey};
use crate::spiffe::{SpiffeId, TrustDomain};
use crate::svid::{TrustBundles, verify_client_assertion, verify_svid};

const ISSUER: &str = "https://carnet.example";
const AUDIENCE: &str = "https://gw.example/read/mcp/desk";

/// A new year's day; corpus entries are dated around it.
const NOW: Timestamp = Timestamp::from_s(1_800_000_000);

struct Keys {
    access: SigningKey,
    svid: SigningKey,
    proof: SigningKey,
    set: KeySet,
}

fn keys() -> Option<&'static Keys> {
    static KEYS: OnceLock<Option<Keys>> = OnceLock::new();
    let make = || {
        let access = SigningKey::generate(KeyUse::AccessToken).ok()?;
        let svid = SigningKey::generate(KeyUse::JwtSvid).ok()?;
        let proof = SigningKey::generate(KeyUse::DpopProof).ok()?;
        let set = KeySet::from_keys([access.verifying_key(), svid.verifying_key()]).ok()?;
        Some(Keys { access, svid, proof, set })
    };
    KEYS.get_or_init(make).as_ref()
}

/// Gives `data` to every reader: as a key set, as a token, and, where it has a line break, as the
/// header and the payload of a token that is signed here, so that what lies behind the signature is
/// reached too. `KID` in a header stands for the key's name, `"JWK"` for the proof's key.
///
/// # Panics
/// When something accepted breaks a promise. That is what it is for.
#[doc(hidden)]
pub fn fuzz_token(data: &[u8]) {
    let Some(keys) = keys() else { return };
    if let Ok(set) = KeySet::from_jwks(data) {
        let again = set.to_jwks().to_string();
        assert!(KeySet::from_jwks(again.as_bytes()).is_ok(), "what we publish we can read");
    }
    let _ = KeySet::from_spiffe_bundle(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(id) = text.parse::<SpiffeId>() {
        assert_eq!(id.as_str(), text, "an identity has one spelling");
    }
    assert!(!verify_everywhere(keys, text), "nobody signed this");
    if let Some((header, payload)) = text.split_once('\n') {
        for key in [&keys.access, &keys.svid, &keys.proof] {
            if let Some(token) = sign(key, header, payload) {
                verify_everywhere(keys, &token);
            }
        }
    }
}

fn sign(key: &SigningKey, header: &str, payload: &str) -> Option<String> {
    let jwk = serde_json::Value::Object(key.public_members()).to_string();
    // In this order: the key's numbers may well have the letters KID in them.
    let header = header.replace("KID", key.kid()).replace("\"JWK\"", &jwk);
    let signed = format!("{}.{}", encode_base64url(header), encode_base64url(payload));
    let signature = key.sign(key.key_use(), signed.as_bytes()).ok()?;
    Some(format!("{signed}.{}", encode_base64url(signature)))
}

/// Whether any of our own keys' tokens was accepted anywhere; at most one place may accept it.
fn verify_everywhere(keys: &Keys, token: &str) -> bool {
    let access = is_access(keys, token);
    let svid = is_svid(keys, token);
    let own_proof = is_proof(token);
    assert!(usize::from(access) + usize::from(svid) + usize::from(own_proof) <= 1);
    access || svid
}

fn is_access(keys: &Keys, token: &str) -> bool {
    let expected = ExpectedAccess { issuer: ISSUER, audience: AUDIENCE };
    let Ok(claims) = verify_access(token, &keys.set, &expected, NOW) else { return false };
    let again = mint_access(&keys.access, &claims).map(|token| {
        verify_access(&token, &keys.set, &expected, NOW).is_ok_and(|again| again == claims)
    });
    assert_eq!(again, Ok(true), "what is accepted can be minted again, the same");
    true
}

fn is_svid(keys: &Keys, token: &str) -> bool {
    let Ok(trust_domain) = "carnet.example".parse::<TrustDomain>() else { return false };
    let bundles = TrustBundles::from([(trust_domain.clone(), keys.set.clone())]);
    let assertion = verify_client_assertion(token, &bundles, ISSUER, NOW);
    let svid = verify_svid(token, &keys.set, &trust_domain, ISSUER, NOW);
    if let Ok(assertion) = &assertion {
        assert_eq!(Ok(assertion), svid.as_ref(), "an assertion is an SVID, only stricter");
    }
    svid.is_ok_and(|svid| *svid.id.trust_domain() == trust_domain)
}

fn is_proof(token: &str) -> bool {
    let expected = ExpectedDpop { method: "POST", url: AUDIENCE, access_token: None, nonce: None };
    verify_dpop(token, &expected, NOW).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpop::DpopKey;

    const ACCESS: &str = r#"{"alg":"ES256","kid":"KID","typ":"at+jwt"}"#;
    const CLAIMS: &str = r#"{"iss":"https://carnet.example","sub":"user:alice","client_id":"spiffe://carnet.example/agent/a","aud":"https://gw.example/read/mcp/desk","iat":1800000000,"nbf":1800000000,"exp":1800000300,"jti":"j","carnet_task":"task_1","carnet_path":"read","carnet_resource":"desk","carnet_instance":"inst_1"}"#;

    #[test]
    fn the_fuzzer_reaches_what_lies_behind_a_signature() {
        let keys = keys().unwrap();
        let token = sign(&keys.access, ACCESS, CLAIMS).unwrap();
        assert!(is_access(keys, &token));
        let token = sign(&keys.svid, ACCESS, CLAIMS).unwrap();
        assert!(!verify_everywhere(keys, &token));
        let proof =
            r#"{"jti":"j","htm":"POST","htu":"https://gw.example/read/mcp/desk","iat":1800000000}"#;
        let header = r#"{"alg":"ES256","jwk":"JWK","typ":"dpop+jwt"}"#;
        assert!(is_proof(&sign(&keys.proof, header, proof).unwrap()));
        let svid = r#"{"sub":"spiffe://carnet.example/agent/a","aud":"https://carnet.example","exp":1800000300}"#;
        let header = r#"{"alg":"ES256","kid":"KID"}"#;
        assert!(is_svid(keys, &sign(&keys.svid, header, svid).unwrap()));
    }

    #[test]
    fn a_key_made_here_proves_like_any_other() {
        let key = DpopKey::generate().unwrap();
        let proof = key.prove("POST", AUDIENCE, None, "j", NOW, None).unwrap();
        assert!(is_proof(&proof));
        fuzz_token(proof.as_bytes());
    }
}
