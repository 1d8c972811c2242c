//! Every kind of token, signed by every key there is, at every parameter and header that takes a
//! token. What each says would do everywhere, so that its type and its key are all that is wrong.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::exchange::{JWT, Pair};
use super::{Ask, BEARER_GRANT, BEARER_TYPE, Bench, TOKEN_ENDPOINT, delegation, fresh};
use crate::keys::KeyPurpose;
use crate::oauth::fixture::ISSUER;

const ID: &str = "spiffe://carnet.example/agent/desk-agent";

/// The kinds there are, by their type: ours, those of other issuers, and those of standards we do
/// not speak.
const TYPES: [Option<&str>; 17] = [
    None,
    Some("JWT"),
    Some("at+jwt"),
    Some("application/at+jwt"),
    Some("dpop+jwt"),
    Some("client-authentication+jwt"),
    Some("oauth-id-jag+jwt"),
    Some("secevent+jwt"),
    Some("logout+jwt"),
    Some("carnet-delegation+jwt"),
    Some("wit+jwt"),
    Some("wpt+jwt"),
    Some("txntoken+jwt"),
    Some("statuslist+jwt"),
    Some("token-introspection+jwt"),
    Some("oauth-authz-req+jwt"),
    Some("vc+jwt"),
];

/// Where a token is taken: a request that is granted but for the token in that place.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    ClientAssertion,
    BearerAssertion,
    Grant,
    IdentityAssertion,
    Proof,
    DelegationAssertion,
    DelegationProof,
    HandOnSubject,
    RedeemSubject,
    RedeemActor,
}

const PLACES: [Place; 10] = [
    Place::ClientAssertion,
    Place::BearerAssertion,
    Place::Grant,
    Place::IdentityAssertion,
    Place::Proof,
    Place::DelegationAssertion,
    Place::DelegationProof,
    Place::HandOnSubject,
    Place::RedeemSubject,
    Place::RedeemActor,
];

impl Place {
    fn ask(self, pair: &Pair, handed_on: &str, token: &str) -> Ask {
        let (bench, parent) = (&pair.bench, &pair.parent);
        let good = bench.good();
        match self {
            Self::ClientAssertion => good.set("client_assertion", token),
            Self::BearerAssertion => {
                good.set("client_assertion", token).set("client_assertion_type", BEARER_TYPE)
            }
            Self::Grant => good
                .without("client_assertion")
                .without("client_assertion_type")
                .set("grant_type", BEARER_GRANT)
                .set("assertion", token),
            Self::IdentityAssertion => good.set("grant_type", BEARER_GRANT).set("assertion", token),
            Self::Proof => good.header("dpop", token),
            Self::DelegationAssertion => {
                delegation::good(bench, parent).set("client_assertion", token)
            }
            Self::DelegationProof => delegation::good(bench, parent).header("dpop", token),
            Self::HandOnSubject => pair.hand_on().set("subject_token", token),
            Self::RedeemSubject => pair.redeem(token),
            Self::RedeemActor => {
                pair.redeem(handed_on).set("actor_token", token).set("actor_token_type", JWT)
            }
        }
    }

    fn is_for_proofs(self) -> bool {
        matches!(self, Self::Proof | Self::DelegationProof)
    }

    /// How it says no to another token.
    fn error(self, typ: Option<&str>) -> &'static str {
        let is_id_jag = typ == Some("oauth-id-jag+jwt");
        match self {
            // It says for whom, and the client is to say who it is.
            Self::Grant if is_id_jag => "invalid_client",
            Self::IdentityAssertion if is_id_jag => "invalid_grant",
            Self::IdentityAssertion => "invalid_request",
            Self::Grant => "invalid_grant",
            Self::HandOnSubject | Self::RedeemSubject | Self::RedeemActor => "invalid_request",
            _ if self.is_for_proofs() => "invalid_dpop_proof",
            _ => "invalid_client",
        }
    }

    /// Where a proof for it was made for.
    fn url(self) -> String {
        match self {
            Self::DelegationProof => format!("{ISSUER}/oauth/delegate"),
            _ => TOKEN_ENDPOINT.to_owned(),
        }
    }
}

/// A key, by the name of what it is for, and the public half where it is an instance's.
struct Signer {
    name: String,
    kid: String,
    pair: EcdsaKeyPair,
    jwk: Option<Value>,
}

/// Every key of ours, and the instance's own.
fn signers(bench: &Bench) -> Vec<Signer> {
    let pair =
        |pkcs8: &[u8]| EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).unwrap();
    // Federation keys are of another algorithm, which no place takes; authorities sign no tokens.
    use KeyPurpose::{AccessToken, Client, Delegation, JwtSvid};
    let es256 = [AccessToken, JwtSvid, Delegation, Client].into_iter();
    let ours = es256.map(|purpose| {
        let key = bench.house.broker.signing_key(purpose).unwrap();
        let pkcs8 = key.to_pkcs8().unwrap();
        let (name, kid) = (purpose.to_string(), key.kid().to_owned());
        Signer { name, kid, pair: pair(pkcs8.expose_secret()), jwk: None }
    });
    let proof = bench.proof();
    let head = URL_SAFE_NO_PAD.decode(proof.split('.').next().unwrap()).unwrap();
    let head: Value = serde_json::from_slice(&head).unwrap();
    let pkcs8 = bench.key.to_pkcs8().unwrap();
    let own = Signer {
        name: "instance".to_owned(),
        kid: bench.key.thumbprint().to_string(),
        pair: pair(pkcs8.expose_secret()),
        jwk: Some(head["jwk"].clone()),
    };
    ours.chain([own]).collect()
}

/// A token of type `typ` that says everything any place asks for.
fn token(bench: &Bench, typ: Option<&str>, signer: &Signer, url: &str) -> String {
    let mut header = match &signer.jwk {
        Some(jwk) if typ == Some("dpop+jwt") => json!({ "alg": "ES256", "jwk": jwk }),
        _ => json!({ "alg": "ES256", "kid": signer.kid }),
    };
    if let Some(typ) = typ {
        header["typ"] = typ.into();
    }
    let now = bench.now().s();
    let claims = json!({
        "iss": ISSUER, "sub": ID, "aud": ISSUER, "iat": now, "nbf": now, "exp": now + 200,
        "jti": fresh(), "client_id": ID, "azp": ID, "act": { "sub": ID }, "may_act": { "sub": ID },
        "htm": "POST", "htu": url, "events": { "urn:x": {} }, "txn": fresh(), "scope": "task:task_1",
        "cnf": { "jkt": bench.key.thumbprint() },
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = signer.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Whether a token of type `typ` by `signer` is what `place` is for.
fn belongs(typ: Option<&str>, signer: &str, place: Place) -> bool {
    match place {
        _ if place.is_for_proofs() => (typ, signer) == (Some("dpop+jwt"), "instance"),
        // What these take says more than all the others ask for.
        Place::HandOnSubject | Place::RedeemSubject | Place::RedeemActor => false,
        // No identity provider is trusted here, and nothing of ours is one's.
        Place::IdentityAssertion => false,
        _ => signer == "jwt-svid" && matches!(typ, None | Some("JWT")),
    }
}

#[tokio::test]
async fn every_kind_of_token_is_refused_at_every_endpoint_it_is_not_for() {
    let pair = Pair::new().await;
    let (handed_on, _) = pair.handed_on().await;
    let bench = &pair.bench;
    let (mut taken, mut refused) = (0, 0);
    for signer in signers(bench) {
        for typ in TYPES {
            for place in PLACES {
                let token = token(bench, typ, &signer, &place.url());
                let answer = bench.send(place.ask(&pair, &handed_on, &token)).await;
                let what = format!("{typ:?} by {} at {place:?}: {}", signer.name, answer.text);
                if belongs(typ, &signer.name, place) {
                    assert!(answer.status.is_success(), "{what}");
                    taken += 1;
                    continue;
                }
                assert!(answer.status.is_client_error(), "{what}");
                assert_eq!(answer.refusal().0, place.error(typ), "{what}");
                assert!(!answer.text.contains("access_token"), "{what}");
                refused += 1;
            }
        }
    }
    assert_eq!(taken, 2 * 4 + 2, "what belongs is taken, or nothing was shown");
    assert!(refused >= 4 * 17 * 10 - taken);
}

#[tokio::test]
async fn a_token_of_ours_opens_nothing_but_its_own_place() {
    let pair = Pair::new().await;
    let (handed_on, _) = pair.handed_on().await;
    let bench = &pair.bench;
    let answer = bench.send(bench.good()).await.json();
    let access = answer["access_token"].as_str().unwrap();
    let (svid, proof) = (bench.svid("desk-agent"), bench.proof());
    for place in PLACES {
        let others: Vec<&str> = match place {
            Place::HandOnSubject => vec![&svid, &proof, &handed_on],
            Place::RedeemSubject => vec![&svid, &proof, access],
            Place::RedeemActor => vec![&svid, &proof, access, &handed_on],
            _ if place.is_for_proofs() => vec![&svid, access, &handed_on],
            _ => vec![&proof, access, &handed_on],
        };
        for other in others {
            let refused = bench.send(place.ask(&pair, &handed_on, other)).await;
            assert_eq!(refused.refusal().0, place.error(None), "{place:?}: {}", refused.text);
        }
    }
}
