//! The confusion matrix: every kind of token in every place. One place accepts each, at most.

use carnet_identity::{
    TrustBundles, mint_access, mint_svid, verify_access, verify_client_assertion, verify_dpop,
    verify_svid,
};
use serde_json::{Value, json};

use crate::forge::{
    AUDIENCE, EXPECTED, ISSUER, NOW, World, agent, expected_proof, proof_claims, trust_domain, with,
};

const PLACES: [&str; 4] = ["gateway", "svid", "assertion", "proof"];

/// Which places accept `token`.
fn accepted(world: &World, token: &str) -> Vec<&'static str> {
    let domain = trust_domain();
    let bundles = TrustBundles::from([(domain.clone(), world.keys.clone())]);
    let answers = [
        verify_access(token, &world.keys, &EXPECTED, NOW).is_ok(),
        verify_svid(token, &world.keys, &domain, "https://other.example", NOW).is_ok(),
        verify_client_assertion(token, &bundles, ISSUER, NOW).is_ok(),
        verify_dpop(token, &expected_proof(), NOW).is_ok(),
    ];
    PLACES.into_iter().zip(answers).filter(|(_, yes)| *yes).map(|(place, _)| place).collect()
}

/// Claims that would satisfy every place at once, were it not for what keeps kinds apart.
fn chimera(world: &World) -> Value {
    let mut claims = serde_json::to_value(world.claims()).unwrap();
    let sub = agent().to_string();
    for (name, value) in [("sub", json!(sub)), ("aud", json!(ISSUER)), ("iss", json!(ISSUER))] {
        claims[name] = value;
    }
    for (name, value) in proof_claims().as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

#[test]
fn each_kind_is_accepted_in_its_own_place_and_no_other() {
    let world = World::new();
    let access = mint_access(&world.access, &world.claims()).unwrap();
    let svid = mint_svid(&world.svid, &agent(), "https://other.example", NOW, 300).unwrap();
    let assertion = mint_svid(&world.svid, &agent(), ISSUER, NOW, 300).unwrap();
    let proof = world.instance.prove("POST", AUDIENCE, None, "j", NOW, None).unwrap();
    assert_eq!(accepted(&world, &access), ["gateway"]);
    assert_eq!(accepted(&world, &svid), ["svid"]);
    assert_eq!(accepted(&world, &assertion), ["assertion"]);
    assert_eq!(accepted(&world, &proof), ["proof"]);
}

#[test]
fn no_other_kind_of_token_is_accepted_anywhere_whichever_of_our_keys_signs_it() {
    let world = World::new();
    let claims = chimera(&world).to_string();
    let kinds = [
        "oauth-id-jag+jwt",
        "txntoken+jwt",
        "secevent+jwt",
        "wit+jwt",
        "wpt+jwt",
        "statuslist+jwt",
        "logout+jwt",
        "token-introspection+jwt",
        "client-authentication+jwt",
        "oauth-authz-req+jwt",
        "vc+jwt",
        "kb+jwt",
        "entity-statement+jwt",
        "jwt",
        "AT+JWT",
        "application/jwt",
        "application/dpop+jwt",
        "at+jwt ",
        "",
    ];
    for kind in kinds {
        for header in [world.access_header(), world.svid_header(), world.proof_header()] {
            let header = with(&header, "typ", kind.into());
            for token in [
                world.sign_access(&header, &claims),
                world.sign_svid(&header, &claims),
                world.sign_proof(&header, &claims),
            ] {
                assert_eq!(accepted(&world, &token), [""; 0], "{kind}");
            }
        }
    }
}

#[test]
fn a_kinds_key_and_a_kinds_type_go_together() {
    let world = World::new();
    let claims = chimera(&world).to_string();
    let types = ["at+jwt", "application/at+jwt", "JWT", "JOSE", "dpop+jwt"];
    for kind in types {
        // The access key under any `typ` that is not the access token's, and so on.
        let access = with(&world.access_header(), "typ", kind.into());
        let svid = with(&world.svid_header(), "typ", kind.into());
        let as_access = accepted(&world, &world.sign_access(&access, &claims));
        assert_eq!(as_access, [""; 0], "the audience is the issuer's: {kind}");
        let as_svid = accepted(&world, &world.sign_svid(&svid, &claims));
        let expected: &[&str] = if matches!(kind, "JWT" | "JOSE") { &["assertion"] } else { &[] };
        assert_eq!(as_svid, expected, "{kind}");
    }
}

#[test]
fn an_id_token_of_our_own_issuer_is_no_access_token() {
    let world = World::new();
    let claims = json!({
        "iss": ISSUER, "sub": "user:alice", "aud": AUDIENCE, "iat": NOW.s(), "exp": NOW.s() + 300,
        "nonce": "n",
    });
    for kind in [Value::Null, "JWT".into()] {
        let header = with(&world.access_header(), "typ", kind);
        let token = world.sign_access(&header, &claims.to_string());
        assert_eq!(accepted(&world, &token), [""; 0]);
    }
}
