//! Delegation tokens: their exact shape, their bounds, and that they are no other kind.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use carnet_core::Timestamp;
use carnet_identity::{
    Act, DelegationClaims, KeySet, KeyUse, MayAct, MintError, SigningKey, TokenError, TrustBundles,
    mint_access, mint_delegation, mint_svid, verify_access, verify_client_assertion,
    verify_delegation, verify_issued,
};
use serde_json::{Value, json};

use crate::forge::{EXPECTED, ISSUER, NOW, World, agent, pair, sign_es256, trust_domain, with};

/// One key for delegation tokens, in a set with all the others.
struct Desk {
    world: World,
    key: SigningKey,
    keys: KeySet,
}

impl Desk {
    fn new() -> Self {
        let (world, key) = (World::new(), SigningKey::generate(KeyUse::Delegation).unwrap());
        let all = [&world.access, &world.svid, &key].map(SigningKey::verifying_key);
        Self { world, key, keys: KeySet::from_keys(all).unwrap() }
    }

    fn verify(&self, token: &str, now: Timestamp) -> Result<DelegationClaims, TokenError> {
        verify_delegation(token, &self.keys, ISSUER, now).map(|verified| verified.claims)
    }

    fn header(&self) -> Value {
        json!({ "alg": "ES256", "kid": self.key.kid(), "typ": "carnet-delegation+jwt" })
    }

    fn sign(&self, header: &Value, payload: &Value) -> String {
        sign_es256(&pair(&self.key), &header.to_string(), payload.to_string().as_bytes())
    }
}

fn claims() -> DelegationClaims {
    let above = Act { sub: "spiffe://carnet.example/agent/lead".into(), iss: None, act: None };
    DelegationClaims {
        iss: ISSUER.into(),
        sub: "user:alice".into(),
        aud: ISSUER.into(),
        iat: NOW,
        exp: NOW.plus_s(300),
        jti: "tok_2".into(),
        may_act: MayAct { sub: "spiffe://carnet.example/agent/closer".into() },
        act: Act { sub: agent().to_string(), iss: None, act: Some(Box::new(above)) },
        task: "task_2".parse().unwrap(),
        parent_jti: "tok_1".into(),
    }
}

#[test]
fn a_delegation_token_is_byte_for_byte_this() {
    let desk = Desk::new();
    let token = mint_delegation(&desk.key, &claims()).unwrap();
    let text = |index: usize| {
        let part = token.split('.').nth(index).unwrap();
        String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    assert_eq!(
        text(0).replace(desk.key.kid(), "KID"),
        r#"{"alg":"ES256","kid":"KID","typ":"carnet-delegation+jwt"}"#
    );
    let expected = concat!(
        r#"{"iss":"https://carnet.example","sub":"user:alice","aud":"https://carnet.example","#,
        r#""iat":1800000000,"exp":1800000300,"jti":"tok_2","#,
        r#""may_act":{"sub":"spiffe://carnet.example/agent/closer"},"#,
        r#""act":{"sub":"spiffe://carnet.example/agent/desk-agent","#,
        r#""act":{"sub":"spiffe://carnet.example/agent/lead"}},"#,
        r#""carnet_task":"task_2","carnet_parent_jti":"tok_1"}"#,
    );
    assert_eq!(text(1), expected);
    assert_eq!(desk.verify(&token, NOW), Ok(claims()));
}

#[test]
fn a_delegation_token_is_accepted_in_its_own_place_and_no_other_kind_is_there() {
    let desk = Desk::new();
    let (world, now) = (&desk.world, NOW);
    let token = mint_delegation(&desk.key, &claims()).unwrap();
    assert!(verify_access(&token, &desk.keys, &EXPECTED, now).is_err());
    assert!(verify_issued(&token, &desk.keys, ISSUER, now).is_err());
    let bundles = TrustBundles::from([(trust_domain(), desk.keys.clone())]);
    assert!(verify_client_assertion(&token, &bundles, ISSUER, now).is_err());
    let access = mint_access(&world.access, &world.claims()).unwrap();
    let svid = mint_svid(&world.svid, &agent(), ISSUER, now, 300).unwrap();
    let proof = world.instance.prove("POST", ISSUER, None, "j", now, None).unwrap();
    for other in [&access, &svid, &proof] {
        assert!(desk.verify(other, now).is_err());
    }
    // The right type under another kind's key, and the right key under another type.
    let payload = serde_json::to_value(claims()).unwrap();
    for key in [&world.access, &world.svid] {
        assert_eq!(
            mint_delegation(key, &claims()).map_err(|e| e.code()),
            Err("mint_key_use_refused")
        );
        let header = with(&desk.header(), "kid", key.kid().into());
        let forged = sign_es256(&pair(key), &header.to_string(), payload.to_string().as_bytes());
        assert_eq!(desk.verify(&forged, now), Err(TokenError::KeyUseRefused));
    }
    for kind in [Value::Null, "JWT".into(), "at+jwt".into(), "Carnet-Delegation+JWT".into()] {
        let forged = desk.sign(&with(&desk.header(), "typ", kind), &payload);
        assert!(matches!(desk.verify(&forged, now), Err(TokenError::WrongType { .. })));
    }
    assert!(world.keys.to_jwks()["keys"].as_array().unwrap().len() == 1, "it is not published");
    assert!(desk.keys.to_jwks()["keys"].as_array().unwrap().len() == 1, "it is not published");
}

#[test]
fn a_delegation_token_is_read_as_strictly_as_it_is_minted() {
    let desk = Desk::new();
    let good = serde_json::to_value(claims()).unwrap();
    let act = |depth: usize| {
        (1..depth).fold(json!({ "sub": "a" }), |act, _| json!({ "sub": "a", "act": act }))
    };
    assert!(desk.verify(&desk.sign(&desk.header(), &with(&good, "act", act(9))), NOW).is_ok());
    let cases: [(&str, Value); 20] = [
        ("iss", "https://other.example".into()),
        ("aud", "https://other.example".into()),
        ("aud", json!([ISSUER])),
        ("sub", Value::Null),
        ("sub", "user:\u{430}lice".into()),
        ("iat", (NOW.s() + 60).into()),
        ("iat", json!(1.5)),
        ("exp", (NOW.s() + 301).into()),
        ("exp", NOW.s().into()),
        ("exp", Value::Null),
        ("jti", "".into()),
        ("jti", "x".repeat(129).into()),
        ("may_act", Value::Null),
        ("may_act", json!({ "sub": "closer" })),
        ("may_act", json!({ "sub": "spiffe://carnet.example/agent/closer", "iss": ISSUER })),
        ("act", Value::Null),
        ("act", act(10)),
        ("carnet_parent_jti", Value::Null),
        ("carnet_task", "grant_1".into()),
        ("scope", "all".into()),
    ];
    for (name, value) in cases {
        let token = desk.sign(&desk.header(), &with(&good, name, value.clone()));
        assert!(desk.verify(&token, NOW).is_err(), "{name} {value}");
    }
    let token = desk.sign(&desk.header(), &good);
    assert_eq!(desk.verify(&token, NOW.plus_s(299)).map(drop), Ok(()));
    assert_eq!(desk.verify(&token, NOW.plus_s(300)), Err(TokenError::Expired));
    assert_eq!(desk.verify(&token, NOW.plus_s(-6)), Err(TokenError::NotYetValid));
    let long = DelegationClaims { exp: NOW.plus_s(301), ..claims() };
    assert!(matches!(mint_delegation(&desk.key, &long), Err(MintError::Claims(_))));
}

#[test]
fn an_issuer_knows_its_own_access_tokens_wherever_they_are_good_and_only_while_they_are() {
    let world = World::new();
    let token = mint_access(&world.access, &world.claims()).unwrap();
    let verify = |issuer, now| verify_issued(&token, &world.keys, issuer, now).map(|it| it.kid);
    assert_eq!(verify(ISSUER, NOW), Ok(world.access.kid().to_owned()));
    assert_eq!(verify("https://other.example", NOW), Err(TokenError::WrongIssuer));
    assert_eq!(verify(ISSUER, NOW.plus_s(300)), Err(TokenError::Expired));
    assert_eq!(verify(ISSUER, NOW.plus_s(-6)), Err(TokenError::NotYetValid));
}
