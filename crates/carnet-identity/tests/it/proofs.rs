//! What a proof is bound to: the request, the token, the key, the nonce, and one use.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use carnet_core::Timestamp;
use carnet_identity::{
    DpopKey, ExpectedDpop, MintError, Possession, ReplayCache, ReplayError, TokenError, verify_dpop,
};
use proptest::prelude::*;
use serde_json::json;

use crate::forge::{AUDIENCE, NOW, World, encode, expected_proof, proof_claims};

#[test]
fn a_token_bound_to_a_certificate_is_good_over_a_connection_with_that_one_only() {
    let world = World::new();
    let print = |text: &str| -> carnet_identity::Thumbprint { text.parse().unwrap() };
    let x5t = print("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    let other = world.instance.thumbprint();
    let mut claims = world.claims();
    claims.cnf = Some(carnet_identity::Confirmation::Certificate { x5t });
    let on = |certificate| claims.possession_on(None, certificate);
    assert_eq!(on(Some(&x5t)), Ok(Possession::Proved));
    assert_eq!(on(Some(&other)), Err(TokenError::CertificateDiffers));
    assert_eq!(on(None), Err(TokenError::CertificateMissing));
    assert_eq!(claims.possession(None), Err(TokenError::CertificateMissing));
}

#[test]
fn a_token_is_bound_to_one_thing() {
    let print = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
    let read = |cnf: serde_json::Value| {
        serde_json::from_value::<carnet_identity::Confirmation>(cnf).map(drop)
    };
    assert!(read(serde_json::json!({ "jkt": print })).is_ok());
    assert!(read(serde_json::json!({ "x5t#S256": print })).is_ok());
    for odd in [
        serde_json::json!({}),
        serde_json::json!({ "jkt": print, "x5t#S256": print }),
        serde_json::json!({ "x5t": print }),
        serde_json::json!({ "x5t#S256": "short" }),
        serde_json::json!({ "jkt": print, "kid": "a" }),
    ] {
        assert!(read(odd.clone()).is_err(), "{odd}");
    }
}

#[test]
fn a_proof_with_its_token_names_the_key_the_token_is_bound_to() {
    let world = World::new();
    let token = carnet_identity::mint_access(&world.access, &world.claims()).unwrap();
    let proof = world.instance.prove("POST", AUDIENCE, Some(&token), "j1", NOW, None).unwrap();
    let expected = ExpectedDpop { access_token: Some(&token), ..expected_proof() };
    let proved = verify_dpop(&proof, &expected, NOW).unwrap();
    assert_eq!(Some(proved.thumbprint), world.claims().cnf.and_then(|cnf| cnf.jkt().copied()));
    assert_eq!((proved.jti.as_str(), proved.iat, proved.nonce), ("j1", NOW, None));
    let other = ExpectedDpop { access_token: Some("another token"), ..expected };
    assert_eq!(verify_dpop(&proof, &other, NOW), Err(TokenError::ProofToken));
    let without = ExpectedDpop { access_token: None, ..expected };
    assert_eq!(verify_dpop(&proof, &without, NOW), Err(TokenError::ProofToken));
    let bare = world.instance.prove("POST", AUDIENCE, None, "j2", NOW, None).unwrap();
    assert_eq!(verify_dpop(&bare, &expected, NOW), Err(TokenError::ProofToken));
}

#[test]
fn another_keys_proof_verifies_but_names_another_key() {
    let (world, thief) = (World::new(), DpopKey::generate().unwrap());
    let proof = thief.prove("POST", AUDIENCE, None, "j1", NOW, None).unwrap();
    let proved = verify_dpop(&proof, &expected_proof(), NOW).unwrap();
    assert_eq!(proved.thumbprint, thief.thumbprint());
    let claims = world.claims();
    assert_eq!(claims.possession(Some(&proved)), Err(TokenError::ProofWrongKey));
}

#[test]
fn a_bound_token_never_passes_as_a_bearer() {
    let world = World::new();
    let proof = world.instance.prove("POST", AUDIENCE, None, "j1", NOW, None).unwrap();
    let proved = verify_dpop(&proof, &expected_proof(), NOW).unwrap();
    let mut claims = world.claims();
    assert_eq!(claims.possession(Some(&proved)), Ok(Possession::Proved));
    assert_eq!(claims.possession(None), Err(TokenError::ProofMissing));
    claims.cnf = None;
    assert_eq!(claims.possession(None), Ok(Possession::Bearer));
    assert_eq!(claims.possession(Some(&proved)), Ok(Possession::Bearer), "a proof binds nothing");
}

#[test]
fn a_nonce_is_demanded_where_one_is_expected() {
    let world = World::new();
    let prove = |nonce| world.instance.prove("POST", AUDIENCE, None, "j1", NOW, nonce).unwrap();
    let expected = ExpectedDpop { nonce: Some("n-2"), ..expected_proof() };
    assert_eq!(verify_dpop(&prove(None), &expected, NOW), Err(TokenError::ProofNonce));
    assert_eq!(verify_dpop(&prove(Some("n-1")), &expected, NOW), Err(TokenError::ProofNonce));
    let proved = verify_dpop(&prove(Some("n-2")), &expected, NOW).unwrap();
    assert_eq!(proved.nonce.as_deref(), Some("n-2"));
    let proved = verify_dpop(&prove(Some("n-1")), &expected_proof(), NOW).unwrap();
    assert_eq!(proved.nonce.as_deref(), Some("n-1"), "handed on where none was demanded");
}

#[test]
fn a_proof_lives_for_its_window_on_either_side() {
    let world = World::new();
    let proof = world.instance.prove("POST", AUDIENCE, None, "j1", NOW, None).unwrap();
    for s in [-60, 0, 60] {
        assert!(verify_dpop(&proof, &expected_proof(), NOW.plus_s(s)).is_ok(), "{s}");
    }
    for s in [-61, 61] {
        let late = verify_dpop(&proof, &expected_proof(), NOW.plus_s(s));
        assert_eq!(late, Err(TokenError::ProofStale), "{s}");
    }
}

#[test]
fn the_request_url_may_carry_a_query_and_another_spelling_of_its_host() {
    let world = World::new();
    let proof = world.instance.prove("POST", AUDIENCE, None, "j1", NOW, None).unwrap();
    for url in
        ["https://gw.example/read/mcp/desk?cursor=1", "https://GW.EXAMPLE:443/read/mcp/desk#top"]
    {
        assert!(verify_dpop(&proof, &ExpectedDpop { url, ..expected_proof() }, NOW).is_ok());
    }
    let broken = ExpectedDpop { url: "/read/mcp/desk", ..expected_proof() };
    let error = verify_dpop(&proof, &broken, NOW).unwrap_err();
    assert_eq!(error.code(), "expectation_unusable");
    let refused = world.instance.prove("POST", "/read", None, "j1", NOW, None);
    assert_eq!(refused, Err(MintError::Url));
}

#[test]
fn an_ed25519_key_proves_under_either_name() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref())});
    for alg in ["EdDSA", "Ed25519"] {
        let header = json!({"alg": alg, "jwk": jwk, "typ": "dpop+jwt"}).to_string();
        let signed = format!("{}.{}", encode(header), encode(proof_claims().to_string()));
        let proof = format!("{signed}.{}", encode(pair.sign(signed.as_bytes())));
        let proved = verify_dpop(&proof, &expected_proof(), NOW).unwrap();
        assert_eq!(proved.jti, "j1");
    }
}

#[test]
fn the_thumbprint_of_the_rfcs_example_key_is_the_rfcs() {
    // RFC 8037 appendix A.3.
    let jwk = json!({"kty": "OKP", "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let pair = Ed25519KeyPair::from_seed_unchecked(&[
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c,
        0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae,
        0x7f, 0x60,
    ])
    .unwrap();
    let header = json!({"alg": "EdDSA", "jwk": jwk, "typ": "dpop+jwt"}).to_string();
    let signed = format!("{}.{}", encode(header), encode(proof_claims().to_string()));
    let proof = format!("{signed}.{}", encode(pair.sign(signed.as_bytes())));
    let proved = verify_dpop(&proof, &expected_proof(), NOW).unwrap();
    assert_eq!(proved.thumbprint.to_string(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn a_proof_sent_twice_is_refused_the_second_time() {
    let world = World::new();
    let proof = world.instance.prove("POST", AUDIENCE, None, "j1", NOW, None).unwrap();
    let mut cache = ReplayCache::default();
    let mut send = |now: Timestamp| {
        let proved = verify_dpop(&proof, &expected_proof(), now).unwrap();
        cache.admit(&proved.thumbprint, &proved.jti, now)
    };
    assert_eq!(send(NOW), Ok(()));
    assert_eq!(send(NOW.plus_s(60)), Err(ReplayError::Replayed));
}

proptest! {
    #[test]
    fn no_proof_that_verifies_twice_is_ever_admitted_twice(
        made in prop::collection::vec((0_u8..3, 0_u8..4, -60_i64..=60), 1..40),
        steps in prop::collection::vec((0_usize..40, -8_i64..50), 1..120),
    ) {
        let keys: Vec<_> = (0..3).map(|_| DpopKey::generate().unwrap().thumbprint()).collect();
        let mut cache = ReplayCache::with_share(12, 6);
        let mut admitted = std::collections::HashSet::new();
        let mut now = NOW;
        for (index, step_s) in steps {
            now = now.plus_s(step_s);
            let (key, jti, skew_s) = made[index % made.len()];
            // Every proof here is dated around the start, so that most can still be verified.
            let iat = NOW.plus_s(skew_s);
            let verifies = iat >= now.plus_s(-60) && iat <= now.plus_s(60);
            let answer = cache.admit(&keys[usize::from(key)], &jti.to_string(), now);
            prop_assert!(cache.len() <= 12);
            if verifies && answer.is_ok() {
                prop_assert!(admitted.insert((key, jti)), "admitted twice while verifiable");
            }
        }
    }
}
