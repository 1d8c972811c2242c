//! The means of an attacker, and of an honest agent: fixed names, good claims, and any token at
//! all signed with any key.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use carnet_core::{Path, Timestamp};
use carnet_identity::{
    AccessClaims, Act, Confirmation, DpopKey, ExpectedAccess, ExpectedDpop, KeySet, KeyUse,
    SigningKey, SpiffeId, TrustDomain,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

pub(crate) const ISSUER: &str = "https://carnet.example";
pub(crate) const AUDIENCE: &str = "https://gw.example/read/mcp/desk";
pub(crate) const NOW: Timestamp = Timestamp::from_s(1_800_000_000);
pub(crate) const EXPECTED: ExpectedAccess<'_> =
    ExpectedAccess { issuer: ISSUER, audience: AUDIENCE };

/// One of each key, and the sets that publish them.
pub(crate) struct World {
    pub(crate) access: SigningKey,
    pub(crate) svid: SigningKey,
    pub(crate) instance: DpopKey,
    pub(crate) keys: KeySet,
}

impl World {
    pub(crate) fn new() -> Self {
        let access = SigningKey::generate(KeyUse::AccessToken).unwrap();
        let svid = SigningKey::generate(KeyUse::JwtSvid).unwrap();
        let keys = KeySet::from_keys([access.verifying_key(), svid.verifying_key()]).unwrap();
        Self { access, svid, instance: DpopKey::generate().unwrap(), keys }
    }

    pub(crate) fn claims(&self) -> AccessClaims {
        AccessClaims {
            iss: ISSUER.to_owned(),
            sub: "user:alice".to_owned(),
            client_id: agent().to_string(),
            aud: AUDIENCE.to_owned(),
            iat: NOW,
            nbf: NOW,
            exp: NOW.plus_s(300),
            jti: "7d0c3a5e".to_owned(),
            scope: Some("desk:read".to_owned()),
            cnf: Some(Confirmation::Key { jkt: self.instance.thumbprint() }),
            act: Some(Act { sub: agent().to_string(), iss: None, act: None }),
            task: "task_1".parse().unwrap(),
            path: Path::Read,
            resource: "desk".parse().unwrap(),
            instance: "inst_1".parse().unwrap(),
            authorization_details: vec![],
        }
    }

    /// What a good access token says, as JSON.
    pub(crate) fn payload(&self) -> Value {
        serde_json::to_value(self.claims()).unwrap()
    }

    pub(crate) fn access_header(&self) -> Value {
        json!({ "alg": "ES256", "kid": self.access.kid(), "typ": "at+jwt" })
    }

    pub(crate) fn svid_header(&self) -> Value {
        json!({ "alg": "ES256", "kid": self.svid.kid(), "typ": "JWT" })
    }

    /// The public members of the instance's key, as its own proofs carry them.
    pub(crate) fn instance_jwk(&self) -> Value {
        let proof = self.instance.prove("GET", AUDIENCE, None, "x", NOW, None).unwrap();
        part(&proof, 0)["jwk"].clone()
    }

    pub(crate) fn proof_header(&self) -> Value {
        json!({ "alg": "ES256", "jwk": self.instance_jwk(), "typ": "dpop+jwt" })
    }

    pub(crate) fn sign_access(&self, header: &Value, payload: &str) -> String {
        sign_es256(&pair(&self.access), &header.to_string(), payload.as_bytes())
    }

    pub(crate) fn sign_svid(&self, header: &Value, payload: &str) -> String {
        sign_es256(&pair(&self.svid), &header.to_string(), payload.as_bytes())
    }

    pub(crate) fn sign_proof(&self, header: &Value, payload: &str) -> String {
        let pkcs8 = self.instance.to_pkcs8().unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.expose_secret());
        sign_es256(&pair.unwrap(), &header.to_string(), payload.as_bytes())
    }
}

pub(crate) fn trust_domain() -> TrustDomain {
    "carnet.example".parse().unwrap()
}

pub(crate) fn agent() -> SpiffeId {
    SpiffeId::agent(&trust_domain(), &"desk-agent".parse().unwrap())
}

pub(crate) fn svid_claims() -> Value {
    json!({ "sub": agent(), "aud": [ISSUER], "iat": NOW.s(), "exp": NOW.s() + 300 })
}

pub(crate) fn proof_claims() -> Value {
    json!({ "jti": "j1", "htm": "POST", "htu": AUDIENCE, "iat": NOW.s() })
}

pub(crate) fn expected_proof() -> ExpectedDpop<'static> {
    ExpectedDpop { method: "POST", url: AUDIENCE, access_token: None, nonce: None }
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The JSON in part `index` of a token.
pub(crate) fn part(token: &str, index: usize) -> Value {
    let text = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

pub(crate) fn pair(key: &SigningKey) -> EcdsaKeyPair {
    let pkcs8 = key.to_pkcs8().unwrap();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.expose_secret()).unwrap()
}

pub(crate) fn sign_es256(pair: &EcdsaKeyPair, header: &str, payload: &[u8]) -> String {
    let signed = format!("{}.{}", encode(header), encode(payload));
    let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", encode(signature))
}

/// `value` with `name` set to `to`, or removed where that is null.
pub(crate) fn with(value: &Value, name: &str, to: Value) -> Value {
    let mut map = value.as_object().unwrap().clone();
    match to {
        Value::Null => map.remove(name),
        to => map.insert(name.to_owned(), to),
    };
    Value::Object(map)
}
