//! An issuer that is not ours, signing with an implementation that is not ours.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
    RsaKeyPair,
};
use base64::Engine;
use carnet_identity::{ForeignKind, KeySet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::forge::{NOW, encode, sign_es256};

/// Who it is.
pub(crate) const STRANGER: &str = "https://stranger.example";
/// A client that signs for itself.
pub(crate) const SHOP: &str = "shop-client";
/// Where its tokens are good.
pub(crate) const PLACE: &str = crate::forge::ISSUER;
/// What we are to it as a client.
pub(crate) const OWN: &str = "carnet-login";

pub(crate) const KINDS: [ForeignKind; 5] = [
    ForeignKind::WorkloadToken,
    ForeignKind::ClientAssertion,
    ForeignKind::IdToken,
    ForeignKind::IdJag,
    ForeignKind::SecurityEvent,
];

/// The `typ` of `kind`, where it must have one.
pub(crate) fn type_of(kind: ForeignKind) -> Option<&'static str> {
    // A new kind has no row in the tests until it has one here.
    match kind {
        ForeignKind::WorkloadToken | ForeignKind::ClientAssertion | ForeignKind::IdToken => None,
        ForeignKind::IdJag => Some("oauth-id-jag+jwt"),
        ForeignKind::SecurityEvent => Some("secevent+jwt"),
    }
}

/// What a good token of `kind` says.
pub(crate) fn claims_of(kind: ForeignKind) -> Value {
    let (iat, exp) = (NOW.s(), NOW.s() + 240);
    match kind {
        ForeignKind::WorkloadToken => json!({
            "iss": STRANGER, "sub": "repo:shop/desk:ref:refs/heads/main", "aud": PLACE,
            "iat": iat, "exp": exp, "jti": "j1",
        }),
        ForeignKind::ClientAssertion => json!({
            "iss": SHOP, "sub": SHOP, "aud": PLACE, "iat": iat, "exp": exp, "jti": "j1",
        }),
        ForeignKind::IdToken => json!({
            "iss": STRANGER, "sub": "248289761001", "aud": OWN, "iat": iat, "exp": exp,
            "nonce": "n", "jti": "j1",
        }),
        ForeignKind::IdJag => json!({
            "iss": STRANGER, "sub": "248289761001", "aud": PLACE, "iat": iat, "exp": exp,
            "jti": "j1", "client_id": SHOP, "resource": "https://gw.example/read/mcp/desk",
        }),
        ForeignKind::SecurityEvent => json!({
            "iss": STRANGER, "aud": PLACE, "iat": iat, "jti": "j1",
            "events": { "https://schemas.openid.net/secevent/caep/event-type/session-revoked": {} },
        }),
    }
}

/// One key of it.
pub(crate) struct Stranger {
    algorithm: Algorithm,
    key: EncodingKey,
    jwk: Value,
    pair: Option<EcdsaKeyPair>,
}

impl Stranger {
    /// With a P-256 key.
    pub(crate) fn new() -> Self {
        Self::on_curve(&ECDSA_P256_SHA256_FIXED_SIGNING, Algorithm::ES256, "P-256")
    }

    /// One for each algorithm the other implementation has of those we take.
    pub(crate) fn of_every_algorithm() -> Vec<Self> {
        use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
        let rsa = [RS256, RS384, RS512, PS256, PS384, PS512];
        let mut all: Vec<Self> = rsa.into_iter().map(Self::of_rsa).collect();
        all.push(Self::new());
        all.push(Self::on_curve(&ECDSA_P384_SHA384_FIXED_SIGNING, Algorithm::ES384, "P-384"));
        all.push(Self::on_edwards());
        all
    }

    /// An ES512 key: the other implementation has none, so that it publishes and never signs.
    pub(crate) fn jwk_of_p521() -> Value {
        let pair = EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).unwrap();
        jwk_of(&pair, "P-521", "ES512")
    }

    fn on_curve(curve: &'static EcdsaSigningAlgorithm, algorithm: Algorithm, name: &str) -> Self {
        let pair = EcdsaKeyPair::generate(curve).unwrap();
        let key = EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref());
        let jwk = jwk_of(&pair, name, &format!("{algorithm:?}"));
        Self { algorithm, key, jwk, pair: (algorithm == Algorithm::ES256).then_some(pair) }
    }

    fn on_edwards() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let key = EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref());
        let x = encode(pair.public_key());
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "stranger-ed", "x": x });
        Self { algorithm: Algorithm::EdDSA, key, jwk, pair: None }
    }

    fn of_rsa(algorithm: Algorithm) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let n = encode(pair.public_key().modulus().big_endian_without_leading_zero());
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let base64 = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n");
        let alg = format!("{algorithm:?}");
        let jwk = json!({
            "kty": "RSA", "use": "sig", "alg": alg, "kid": "stranger-rsa", "n": n, "e": "AQAB",
        });
        let key = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
        Self { algorithm, key, jwk, pair: None }
    }

    /// Its key as published.
    pub(crate) fn jwk(&self) -> Value {
        self.jwk.clone()
    }

    pub(crate) fn kid(&self) -> &str {
        self.jwk["kid"].as_str().unwrap()
    }

    /// What it publishes, as we read it.
    pub(crate) fn keys(&self) -> KeySet {
        let document = json!({ "keys": [self.jwk] }).to_string();
        KeySet::from_foreign_jwks(document.as_bytes()).unwrap()
    }

    /// A token as the other implementation makes it.
    pub(crate) fn sign(&self, kind: Option<&str>, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.kid().to_owned());
        header.typ = kind.map(str::to_owned);
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }

    pub(crate) fn header(&self, kind: Option<&str>) -> Value {
        let mut header = json!({ "alg": "ES256", "kid": self.kid() });
        if let Some(kind) = kind {
            header["typ"] = kind.into();
        }
        header
    }

    /// A token as nobody honest makes it.
    pub(crate) fn sign_under(&self, header: &Value, payload: &str) -> String {
        let pair = self.pair.as_ref().expect("only of a P-256 key");
        sign_es256(pair, &header.to_string(), payload.as_bytes())
    }
}

fn jwk_of(pair: &EcdsaKeyPair, curve: &str, alg: &str) -> Value {
    let point = &pair.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    let kid = encode(&x[..8]);
    json!({ "kty": "EC", "crv": curve, "alg": alg, "kid": kid, "x": encode(x), "y": encode(y) })
}
