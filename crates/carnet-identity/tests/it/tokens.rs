//! What honest tokens may do, and what the cache of verified ones may not forget to ask.

use carnet_core::Path;
use carnet_identity::{
    ExpectedAccess, KeySet, KeyUse, MintError, SigningKey, TokenCache, TokenError, TrustBundles,
    mint_access, mint_svid, verify_access, verify_client_assertion, verify_svid,
};
use serde_json::json;

use crate::forge::{
    AUDIENCE, EXPECTED, ISSUER, NOW, World, agent, encode, svid_claims, trust_domain, with,
};

#[test]
fn an_access_token_comes_back_as_it_was_minted() {
    let world = World::new();
    let mut claims = world.claims();
    claims.authorization_details = vec![json!({"type": "carnet_operation", "max": 1.5})];
    let token = mint_access(&world.access, &claims).unwrap();
    assert_eq!(verify_access(&token, &world.keys, &EXPECTED, NOW), Ok(claims.clone()));
    assert_eq!(claims.agent_name().unwrap().as_str(), "desk-agent");
}

#[test]
fn a_token_is_dead_at_its_expiry_and_not_a_moment_later() {
    let world = World::new();
    let token = mint_access(&world.access, &world.claims()).unwrap();
    let at = |now| verify_access(&token, &world.keys, &EXPECTED, now).map(drop);
    assert_eq!(at(NOW.plus_s(299)), Ok(()));
    assert_eq!(at(NOW.plus_s(300)), Err(TokenError::Expired));
    assert_eq!(at(NOW.plus_s(-5)), Ok(()));
    assert_eq!(at(NOW.plus_s(-6)), Err(TokenError::NotYetValid));
}

#[test]
fn a_token_for_another_place_or_issuer_is_refused() {
    let world = World::new();
    let token = mint_access(&world.access, &world.claims()).unwrap();
    let elsewhere = ExpectedAccess { audience: "https://gw.example/write/mcp/desk", ..EXPECTED };
    let refused = verify_access(&token, &world.keys, &elsewhere, NOW);
    assert_eq!(refused, Err(TokenError::WrongAudience));
    let other = ExpectedAccess { issuer: "https://other.example", ..EXPECTED };
    assert_eq!(verify_access(&token, &world.keys, &other, NOW), Err(TokenError::WrongIssuer));
}

#[test]
fn what_the_verifier_would_refuse_is_not_minted() {
    let world = World::new();
    let mut unbound = world.claims();
    (unbound.cnf, unbound.path, unbound.exp) = (None, Path::Write, NOW.plus_s(60));
    let refused = mint_access(&world.access, &unbound);
    assert_eq!(refused, Err(MintError::Claims(TokenError::Unbound)));
    let mut long = world.claims();
    long.exp = NOW.plus_s(301);
    assert_eq!(mint_access(&world.access, &long).unwrap_err().code(), "mint_claims");
    let mut big = world.claims();
    big.authorization_details = vec![json!({"type": "t", "x": "x".repeat(20_000)})];
    assert_eq!(mint_access(&world.access, &big).unwrap_err().code(), "mint_claims");
    let wrong_key = mint_access(&world.svid, &world.claims());
    assert_eq!(wrong_key.unwrap_err().code(), "mint_key_use_refused");
}

#[test]
fn a_jwt_svid_comes_back_as_it_was_minted() {
    let world = World::new();
    let token = mint_svid(&world.svid, &agent(), ISSUER, NOW, 300).unwrap();
    let svid = verify_svid(&token, &world.keys, &trust_domain(), ISSUER, NOW).unwrap();
    assert_eq!(svid.id, agent());
    assert_eq!((svid.issued, svid.expires), (Some(NOW), NOW.plus_s(300)));
    for ttl_s in [0, -1, 301, i64::MAX] {
        let refused = mint_svid(&world.svid, &agent(), ISSUER, NOW, ttl_s);
        assert_eq!(refused, Err(MintError::Ttl { ttl_s_max: 300 }));
    }
    let wrong_key = mint_svid(&world.access, &agent(), ISSUER, NOW, 300);
    assert_eq!(wrong_key.unwrap_err().code(), "mint_key_use_refused");
}

#[test]
fn a_client_assertion_is_verified_with_its_own_trust_domains_keys() {
    let (ours, theirs) = (World::new(), World::new());
    let bundles = TrustBundles::from([
        (trust_domain(), ours.keys.clone()),
        ("partner.example".parse().unwrap(), theirs.keys.clone()),
    ]);
    let assert = |token: &str| verify_client_assertion(token, &bundles, ISSUER, NOW);
    let token = mint_svid(&ours.svid, &agent(), ISSUER, NOW, 300).unwrap();
    assert_eq!(assert(&token).unwrap().id, agent());
    let partner = "spiffe://partner.example/agent/x".parse().unwrap();
    let token = mint_svid(&theirs.svid, &partner, ISSUER, NOW, 300).unwrap();
    assert_eq!(assert(&token).unwrap().id, partner);
    let crossed = mint_svid(&theirs.svid, &agent(), ISSUER, NOW, 300).unwrap();
    assert_eq!(assert(&crossed), Err(TokenError::KeyUnknown), "their key cannot speak for us");
    let unknown = "spiffe://unknown.example/agent/x".parse().unwrap();
    let token = mint_svid(&ours.svid, &unknown, ISSUER, NOW, 300).unwrap();
    assert_eq!(assert(&token), Err(TokenError::WrongTrustDomain));
    let long = with(&svid_claims(), "exp", (NOW.s() + 306).into()).to_string();
    let long = ours.sign_svid(&ours.svid_header(), &long);
    assert_eq!(assert(&long).unwrap_err().code(), "token_too_long_lived");
    assert!(verify_svid(&long, &ours.keys, &trust_domain(), ISSUER, NOW).is_ok());
}

#[test]
fn an_assertion_in_another_dress_is_still_the_same_assertion() {
    let world = World::new();
    let token = mint_svid(&world.svid, &agent(), ISSUER, NOW, 300).unwrap();
    let again = mint_svid(&world.svid, &agent(), ISSUER, NOW, 300).unwrap();
    let digest =
        |t: &str| verify_svid(t, &world.keys, &trust_domain(), ISSUER, NOW).unwrap().token_digest;
    let twin = with_negated_s(&token);
    assert_ne!(twin, token);
    assert_eq!(digest(&twin), digest(&token), "anyone can make the twin without the key");
    assert_ne!(digest(&again), digest(&token), "an agent may well ask twice in one second");
}

/// The same token with `s` turned into `n - s`, which verifies as well.
pub(crate) fn with_negated_s(token: &str) -> String {
    use base64::Engine;
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (signed, tail) = token.rsplit_once('.').unwrap();
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let mut signature = engine.decode(tail).unwrap();
    let mut borrow = 0_i16;
    for i in (0..32).rev() {
        let rest = i16::from(ORDER[i]) - i16::from(signature[32 + i]) - borrow;
        borrow = i16::from(rest < 0);
        signature[32 + i] = rest.rem_euclid(256) as u8;
    }
    format!("{signed}.{}", encode(signature))
}

#[test]
fn a_cached_token_is_still_judged_by_place_moment_and_key() {
    let world = World::new();
    let token = mint_access(&world.access, &world.claims()).unwrap();
    let mut cache = TokenCache::new(8);
    let mut ask = |keys: &KeySet, expected: &ExpectedAccess<'_>, now| {
        cache.verify(&token, keys, expected, now).map(|verified| verified.claims.jti.clone())
    };
    assert!(ask(&world.keys, &EXPECTED, NOW).is_ok());
    assert!(ask(&world.keys, &EXPECTED, NOW.plus_s(299)).is_ok());
    assert_eq!(ask(&world.keys, &EXPECTED, NOW.plus_s(300)), Err(TokenError::Expired));
    assert_eq!(ask(&world.keys, &EXPECTED, NOW.plus_s(-6)), Err(TokenError::NotYetValid));
    let write = ExpectedAccess { audience: "https://gw.example/write/mcp/desk", ..EXPECTED };
    assert_eq!(ask(&world.keys, &write, NOW), Err(TokenError::WrongAudience));
    let other = ExpectedAccess { issuer: "https://other.example", ..EXPECTED };
    assert_eq!(ask(&world.keys, &other, NOW), Err(TokenError::WrongIssuer));
    let withdrawn = KeySet::from_keys([world.svid.verifying_key()]).unwrap();
    assert_eq!(ask(&withdrawn, &EXPECTED, NOW), Err(TokenError::KeyUnknown));
    assert!(ask(&world.keys, &EXPECTED, NOW).is_ok(), "and asked again with the right keys");
}

#[test]
fn a_cached_token_does_not_survive_its_key_being_replaced_under_the_same_name() {
    let world = World::new();
    let token = mint_access(&world.access, &world.claims()).unwrap();
    let mut cache = TokenCache::new(8);
    cache.verify(&token, &world.keys, &EXPECTED, NOW).unwrap();
    let fresh = SigningKey::generate(KeyUse::AccessToken).unwrap();
    let mut jwks = KeySet::from_keys([fresh.verifying_key()]).unwrap().to_jwks();
    jwks["keys"][0]["kid"] = world.access.kid().into();
    let replaced = KeySet::from_jwks(jwks.to_string().as_bytes()).unwrap();
    let refused = cache.verify(&token, &replaced, &EXPECTED, NOW);
    assert_eq!(refused.map(drop), Err(TokenError::Signature));
    let mut jwks = world.keys.to_jwks();
    jwks["keys"][0]["use"] = "jwt-svid".into();
    let reused = KeySet::from_jwks(jwks.to_string().as_bytes()).unwrap();
    let refused = cache.verify(&token, &reused, &EXPECTED, NOW);
    assert_eq!(refused.map(drop), Err(TokenError::KeyUseRefused));
}

#[test]
fn the_cache_is_bounded_and_remembers_no_refusal() {
    let world = World::new();
    let mut cache = TokenCache::new(4);
    assert!(cache.verify("x.y.z", &world.keys, &EXPECTED, NOW).is_err());
    assert!(cache.is_empty());
    for n in 0..50 {
        let mut claims = world.claims();
        claims.jti = format!("j{n}");
        let token = mint_access(&world.access, &claims).unwrap();
        let got = cache.verify(&token, &world.keys, &EXPECTED, NOW).unwrap();
        assert_eq!(got.claims.jti, claims.jti);
        assert!(cache.len() <= 4, "{}", cache.len());
    }
    let mut far = world.claims();
    far.aud = format!("{AUDIENCE}/x");
    let token = mint_access(&world.access, &far).unwrap();
    let refused = cache.verify(&token, &world.keys, &EXPECTED, NOW);
    assert_eq!(refused.map(drop), Err(TokenError::WrongAudience));
}
