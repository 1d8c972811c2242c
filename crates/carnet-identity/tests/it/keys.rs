//! What a key set may hold.

use carnet_identity::{KeyError, KeySet, KeyUse, SigningKey};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::forge::{World, encode, with};

fn read(key: &Value) -> Result<KeySet, KeyError> {
    KeySet::from_jwks(json!({"keys": [key]}).to_string().as_bytes())
}

#[test]
fn a_key_survives_its_document_with_the_same_name() {
    let key = SigningKey::generate(KeyUse::JwtSvid).unwrap();
    let pkcs8 = key.to_pkcs8().unwrap();
    let again = SigningKey::from_pkcs8(KeyUse::JwtSvid, pkcs8.expose_secret()).unwrap();
    assert_eq!((again.kid(), again.key_use()), (key.kid(), KeyUse::JwtSvid));
    assert!(SigningKey::from_pkcs8(KeyUse::JwtSvid, b"x").is_err());
    assert!(SigningKey::from_pkcs8(KeyUse::JwtSvid, &[0x30; 5000]).is_err());
    let shown = format!("{key:?}");
    assert_eq!(shown, format!("SigningKey(JwtSvid, {})", key.kid()));
}

#[test]
fn the_name_of_a_key_is_the_thumbprint_others_compute() {
    let world = World::new();
    let jwks = world.keys.to_jwks();
    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(jwks["keys"][0].clone()).unwrap();
    let theirs = jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap();
    assert_eq!(theirs, world.access.kid());
}

#[test]
fn a_key_that_is_not_a_public_signature_key_refuses_its_set() {
    let world = World::new();
    let key = world.keys.to_jwks()["keys"][0].clone();
    assert_eq!(read(&key).unwrap().len(), 1);
    let set = |name: &str, to: Value| with(&key, name, to);
    let rsa = |n: &[u8], e: &[u8]| json!({"kty": "RSA", "kid": "k", "use": "sig", "n": encode(n), "e": encode(e)});
    let refused = [
        ("private half", set("d", key["x"].clone())),
        ("symmetric half", set("k", "AA".into())),
        (
            "symmetric key",
            json!({"kty": "oct", "kid": "k", "alg": "HS256", "use": "sig", "k": "AAAA"}),
        ),
        ("use enc", set("use", "enc".into())),
        ("use unknown", set("use", "x509-svid".into())),
        ("use not a text", set("use", json!(["sig"]))),
        ("key_ops encrypt", set("key_ops", json!(["encrypt"]))),
        ("key_ops sign", set("key_ops", json!(["sign", "verify"]))),
        ("key_ops empty", set("key_ops", json!([]))),
        ("says nothing of its purpose", with(&set("use", Value::Null), "alg", Value::Null)),
        ("alg of another curve", set("alg", "ES384".into())),
        ("alg of another type", set("alg", "RS256".into())),
        ("alg symmetric", set("alg", "HS256".into())),
        ("alg none", set("alg", "none".into())),
        ("alg not a text", set("alg", 1.into())),
        ("no kid", set("kid", Value::Null)),
        ("empty kid", set("kid", "".into())),
        ("kid not plain", set("kid", "a\0".into())),
        ("over-long kid", set("kid", "k".repeat(257).into())),
        ("no kty", set("kty", Value::Null)),
        ("unknown curve", set("crv", "secp256k1".into())),
        ("off its curve", set("x", key["y"].clone())),
        ("short coordinate", set("x", encode([1; 31]).into())),
        ("long coordinate", set("x", encode([1; 33]).into())),
        ("coordinate padded", set("x", format!("{}=", key["x"].as_str().unwrap()).into())),
        (
            "EdDSA",
            json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "use": "sig", "x": encode([9; 32])}),
        ),
        ("RSA of 1024 bits", rsa(&[0xc3; 128], &[1, 0, 1])),
        ("RSA of 2040 bits, padded", rsa(&[&[0][..], &[0xc3; 255]].concat(), &[1, 0, 1])),
        ("RSA of 8192 bits", rsa(&[0xc3; 1024], &[1, 0, 1])),
        ("RSA exponent 1", rsa(&[0xc3; 256], &[1])),
        ("RSA exponent 3", rsa(&[0xc3; 256], &[3])),
        ("RSA even exponent", rsa(&[0xc3; 256], &[1, 0, 0])),
        ("RSA exponent padded", rsa(&[0xc3; 256], &[0, 1, 0, 1])),
        ("not an object", "key".into()),
    ];
    for (what, key) in refused {
        let error = read(&key).expect_err(what);
        assert_eq!(error.code(), "keys_refused", "{what}");
    }
}

#[test]
fn an_algorithm_that_is_not_its_keys_is_named_as_the_reason() {
    let key = World::new().keys.to_jwks()["keys"][0].clone();
    for algorithm in ["ES384", "ES512", "RS256", "PS512", "EdDSA"] {
        let error = read(&with(&key, "alg", algorithm.into())).unwrap_err().to_string();
        assert!(error.contains("not its key type's or curve's"), "{algorithm}: {error}");
    }
}

#[test]
fn a_set_is_strict_json_bounded_and_free_of_doubles() {
    let world = World::new();
    let key = world.keys.to_jwks()["keys"][0].clone();
    let code = |text: &str| KeySet::from_jwks(text.as_bytes()).unwrap_err().code();
    assert_eq!(code(&json!({"keys": [key, key]}).to_string()), "keys_duplicate_kid");
    assert_eq!(code(r#"{"keys":[],"keys":[]}"#), "keys_malformed");
    assert_eq!(code(r#"{"keys":{}}"#), "keys_malformed");
    assert_eq!(code("{}"), "keys_malformed");
    assert_eq!(code(&key.to_string()), "keys_malformed");
    assert_eq!(code(&" ".repeat(300_000)), "keys_too_large");
    assert_eq!(code(&json!({"keys": vec![json!({}); 65]}).to_string()), "keys_too_many");
    let twice = key.to_string().replacen('{', r#"{"kid":"other","#, 1);
    assert_eq!(code(&format!(r#"{{"keys":[{twice}]}}"#)), "keys_malformed");
    let mut set = KeySet::default();
    for _ in 0..64 {
        set.insert(SigningKey::generate(KeyUse::JwtSvid).unwrap().verifying_key()).unwrap();
    }
    let more = SigningKey::generate(KeyUse::JwtSvid).unwrap().verifying_key();
    assert_eq!(set.insert(more), Err(KeyError::TooMany { keys_max: 64 }));
}

#[test]
fn a_spiffe_bundle_is_read_for_its_jwt_svid_keys_only() {
    let world = World::new();
    let mut bundle = world.keys.spiffe_bundle(3, 60);
    let keys = bundle["keys"].as_array_mut().unwrap();
    keys.push(json!({"kty": "EC", "use": "x509-svid", "x5c": ["MII"]}));
    keys.push(json!({"kty": "AKP", "use": "wit-svid", "kid": "w"}));
    keys.push(json!({"kty": "EC"}));
    let read = KeySet::from_spiffe_bundle(bundle.to_string().as_bytes()).unwrap();
    assert_eq!(read.keys.len(), 1);
    assert!(read.keys.key(world.svid.kid()).is_some());
    bundle["keys"][0]["kid"] = Value::Null;
    let error = KeySet::from_spiffe_bundle(bundle.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.code(), "keys_refused", "a jwt-svid key needs a name");
    let bad = json!({"keys": [], "spiffe_sequence": -1}).to_string();
    assert_eq!(KeySet::from_spiffe_bundle(bad.as_bytes()).unwrap_err().code(), "keys_malformed");
}
