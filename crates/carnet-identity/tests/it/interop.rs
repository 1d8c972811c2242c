//! An implementation that is not ours reads what we mint, and we read what it mints.

use carnet_identity::{KeySet, mint_access, mint_svid, verify_access, verify_svid};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::forge::{AUDIENCE, EXPECTED, ISSUER, NOW, World, agent, svid_claims, trust_domain};

/// The other's rules without its clock, which is the machine's.
fn validation(audience: &str) -> Validation {
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[audience]);
    validation.validate_exp = false;
    validation
}

#[test]
fn another_implementation_verifies_our_tokens_with_our_published_keys() {
    let world = World::new();
    let token = mint_access(&world.access, &world.claims()).unwrap();
    let jwk = serde_json::from_value(world.keys.to_jwks()["keys"][0].clone()).unwrap();
    let key = DecodingKey::from_jwk(&jwk).unwrap();
    let read = decode::<Value>(&token, &key, &validation(AUDIENCE)).unwrap();
    assert_eq!(read.header.typ.as_deref(), Some("at+jwt"));
    assert_eq!(read.claims, serde_json::to_value(world.claims()).unwrap());
    let svid = mint_svid(&world.svid, &agent(), ISSUER, NOW, 300).unwrap();
    let bundle = world.keys.spiffe_bundle(1, 300);
    let jwk = serde_json::from_value(bundle["keys"][0].clone());
    if let Ok(jwk) = jwk {
        let key = DecodingKey::from_jwk(&jwk).unwrap();
        let read = decode::<Value>(&svid, &key, &validation(ISSUER)).unwrap();
        assert_eq!(read.claims["sub"], agent().as_str());
    } else {
        panic!("the other implementation cannot read our bundle's key: {bundle}");
    }
}

#[test]
fn we_verify_what_another_implementation_signs() {
    let world = World::new();
    let pkcs8 = world.access.to_pkcs8().unwrap();
    let key = EncodingKey::from_ec_der(pkcs8.expose_secret());
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some(world.access.kid().to_owned());
    header.typ = Some("at+jwt".to_owned());
    let token = encode(&header, &world.claims(), &key).unwrap();
    assert_eq!(verify_access(&token, &world.keys, &EXPECTED, NOW), Ok(world.claims()));
}

/// An RSA key as another implementation signs with it, and its modulus.
fn rsa_key() -> (EncodingKey, String) {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::signature::{KeyPair, RsaKeyPair};
    let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let n = pair.public_key().modulus().big_endian_without_leading_zero().to_vec();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der.as_ref())
    );
    (EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(), crate::forge::encode(n))
}

#[test]
fn an_rsa_key_published_for_access_tokens_signs_none() {
    let world = World::new();
    let (key, n) = rsa_key();
    let jwk = serde_json::json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "rsa-1", "e": "AQAB", "n": n});
    let document = serde_json::json!({ "keys": [jwk] }).to_string();
    let keys = KeySet::from_jwks(document.as_bytes()).unwrap();
    let mut header = Header::new(Algorithm::RS256);
    header.kid = Some("rsa-1".to_owned());
    header.typ = Some("at+jwt".to_owned());
    let token = encode(&header, &world.claims(), &key).unwrap();
    let refused = verify_access(&token, &keys, &EXPECTED, NOW).unwrap_err();
    assert_eq!(refused.code(), "token_algorithm_refused");
}

#[test]
fn a_foreign_rsa_issuers_svid_is_verified_under_the_algorithm_its_key_is_pinned_to() {
    let (key, n) = rsa_key();
    let bundle = |alg: Option<&str>| {
        let mut jwk = serde_json::json!({
            "kty": "RSA", "use": "jwt-svid", "kid": "rsa-1", "e": "AQAB", "n": n,
        });
        if let Some(alg) = alg {
            jwk["alg"] = alg.into();
        }
        let document = serde_json::json!({ "keys": [jwk] }).to_string();
        KeySet::from_spiffe_bundle(document.as_bytes()).unwrap().keys
    };
    let verify = |algorithm, keys: &KeySet| {
        let mut header = Header::new(algorithm);
        header.kid = Some("rsa-1".to_owned());
        let token = encode(&header, &svid_claims(), &key).unwrap();
        verify_svid(&token, keys, &trust_domain(), ISSUER, NOW).map(|svid| svid.id)
    };
    assert_eq!(verify(Algorithm::RS256, &bundle(None)), Ok(agent()));
    assert_eq!(verify(Algorithm::PS384, &bundle(Some("PS384"))), Ok(agent()));
    assert_eq!(verify(Algorithm::RS512, &bundle(Some("RS512"))), Ok(agent()));
    let refused = verify(Algorithm::PS256, &bundle(None)).unwrap_err();
    assert_eq!(refused.code(), "token_algorithm_refused");
    let refused = verify(Algorithm::RS256, &bundle(Some("PS256"))).unwrap_err();
    assert_eq!(refused.code(), "token_algorithm_refused");
}
