//! Federation tokens: what another implementation reads of them, byte for byte, and where they are
//! worth nothing.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use carnet_core::Path;
use carnet_identity::{
    Act, AwsTags, FederationClaims, KeySet, KeyUse, MintError, SigningKey, TrustBundles,
    mint_access, mint_federation, mint_svid, verify_access, verify_client_assertion, verify_svid,
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::forge::{AUDIENCE, EXPECTED, ISSUER, NOW, World, agent, trust_domain};

const CLOUD: &str = "sts.amazonaws.com";

fn claims() -> FederationClaims {
    FederationClaims {
        iss: ISSUER.to_owned(),
        sub: agent().to_string(),
        aud: CLOUD.to_owned(),
        iat: NOW,
        nbf: NOW,
        exp: NOW.plus_s(120),
        jti: "lease_1".to_owned(),
        act: None,
        carnet_task: "task_1".parse().unwrap(),
        carnet_purpose: "refund an order".to_owned(),
        carnet_path: Path::Write,
        carnet_resource: "aws".parse().unwrap(),
        carnet_subject: "user:alice".to_owned(),
        carnet_role: None,
        carnet_session_name: None,
        aws_tags: None,
        aws_source_identity: None,
    }
}

fn full() -> FederationClaims {
    let tags = [("agent", "desk-agent"), ("task", "task_1")];
    let tags = tags.map(|(name, value)| (name.to_owned(), [value.to_owned()]));
    FederationClaims {
        act: Some(Act { sub: agent().to_string(), iss: None, act: None }),
        carnet_role: Some("arn:aws:iam::111122223333:role/refunds".to_owned()),
        carnet_session_name: Some("refund-17".to_owned()),
        aws_tags: Some(AwsTags {
            principal_tags: tags.into(),
            transitive_tag_keys: vec!["task".to_owned()],
        }),
        aws_source_identity: Some("task_1".to_owned()),
        ..claims()
    }
}

fn key() -> SigningKey {
    SigningKey::generate(KeyUse::Federation).unwrap()
}

fn text(token: &str, part: usize) -> String {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(part).unwrap()).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// What a relying party says that knows the published keys and nothing else of us.
fn relying_party(token: &str, keys: &Value, algorithm: Algorithm) -> Option<Value> {
    let kid = jsonwebtoken::decode_header(token).unwrap().kid?;
    let jwk = keys["keys"].as_array().unwrap().iter().find(|jwk| jwk["kid"] == kid)?;
    let jwk = serde_json::from_value(jwk.clone()).unwrap();
    let mut rules = Validation::new(algorithm);
    rules.set_audience(&[CLOUD]);
    rules.set_issuer(&[ISSUER]);
    rules.validate_exp = false;
    decode::<Value>(token, &DecodingKey::from_jwk(&jwk).unwrap(), &rules)
        .ok()
        .map(|read| read.claims)
}

#[test]
fn a_full_federation_token_is_byte_for_byte_this() {
    let key = key();
    let token = mint_federation(&key, &full()).unwrap();
    let header = text(&token, 0).replace(key.kid(), "KID");
    assert_eq!(header, r#"{"alg":"RS256","kid":"KID","typ":"JWT"}"#);
    let expected = concat!(
        r#"{"iss":"https://carnet.example","sub":"spiffe://carnet.example/agent/desk-agent","#,
        r#""aud":"sts.amazonaws.com","iat":1800000000,"nbf":1800000000,"exp":1800000120,"#,
        r#""jti":"lease_1","act":{"sub":"spiffe://carnet.example/agent/desk-agent"},"#,
        r#""carnet_task":"task_1","carnet_purpose":"refund an order","carnet_path":"write","#,
        r#""carnet_resource":"aws","carnet_subject":"user:alice","#,
        r#""carnet_role":"arn:aws:iam::111122223333:role/refunds","#,
        r#""carnet_session_name":"refund-17","#,
        r#""https://aws.amazon.com/tags":{"principal_tags":{"agent":["desk-agent"],"#,
        r#""task":["task_1"]},"transitive_tag_keys":["task"]},"#,
        r#""https://aws.amazon.com/source_identity":"task_1"}"#,
    );
    assert_eq!(text(&token, 1), expected);
}

#[test]
fn a_relying_party_reads_it_with_the_published_keys_alone() {
    let key = key();
    let published = KeySet::from_keys([key.verifying_key()]).unwrap().to_federation_jwks();
    let jwk = &published["keys"][0];
    assert_eq!([&jwk["kty"], &jwk["use"], &jwk["alg"]], ["RSA", "sig", "RS256"]);
    assert!(jwk.get("d").is_none());
    let token = mint_federation(&key, &full()).unwrap();
    let read = relying_party(&token, &published, Algorithm::RS256).unwrap();
    assert_eq!(read, serde_json::to_value(full()).unwrap());
    assert!(relying_party(&format!("{token}A"), &published, Algorithm::RS256).is_none());
}

#[test]
fn a_federation_token_is_accepted_at_no_place_of_ours_whatever_it_says() {
    let (world, key) = (World::new(), key());
    let mut keys = world.keys.clone();
    // Even where its key has come into the set by a mistake.
    keys.insert(key.verifying_key()).unwrap();
    let bundles = TrustBundles::from([(trust_domain(), keys.clone())]);
    for audience in [CLOUD, AUDIENCE, ISSUER] {
        let token = mint_federation(&key, &FederationClaims { aud: audience.into(), ..claims() });
        let token = token.unwrap();
        assert!(verify_access(&token, &keys, &EXPECTED, NOW).is_err());
        assert!(verify_svid(&token, &keys, &trust_domain(), audience, NOW).is_err());
        assert!(verify_client_assertion(&token, &bundles, ISSUER, NOW).is_err());
    }
}

#[test]
fn nothing_else_we_sign_verifies_with_what_clouds_read() {
    let (world, key) = (World::new(), key());
    let mut all = world.keys.clone();
    all.insert(key.verifying_key()).unwrap();
    let published = all.to_federation_jwks();
    assert_eq!(published["keys"].as_array().unwrap().len(), 1);
    assert!(all.to_jwks()["keys"].as_array().unwrap().iter().all(|jwk| jwk["alg"] == "ES256"));
    let mut access = world.claims();
    access.aud = CLOUD.to_owned();
    let access = mint_access(&world.access, &access).unwrap();
    let svid = mint_svid(&world.svid, &agent(), CLOUD, NOW, 300).unwrap();
    for token in [access, svid] {
        assert!(relying_party(&token, &published, Algorithm::ES256).is_none());
    }
    // Nor can one key be used for the other's kind.
    let needed = mint_federation(&world.access, &claims()).unwrap_err();
    assert!(matches!(needed, MintError::KeyUseRefused { .. }));
    assert!(mint_access(&key, &world.claims()).is_err());
    assert!(mint_svid(&key, &agent(), ISSUER, NOW, 300).is_err());
}

#[test]
fn it_lives_a_second_at_least_and_five_minutes_at_most() {
    let key = key();
    for (ttl_s, is_made) in [(-1, false), (0, false), (1, true), (300, true), (301, false)] {
        let claims = FederationClaims { exp: NOW.plus_s(ttl_s), ..claims() };
        assert_eq!(mint_federation(&key, &claims).is_ok(), is_made, "{ttl_s}");
    }
}

#[test]
fn a_federation_key_is_the_same_after_it_was_kept() {
    let key = key();
    let kept = key.to_pkcs8().unwrap();
    let again = SigningKey::from_pkcs8(KeyUse::Federation, kept.expose_secret()).unwrap();
    assert_eq!((again.kid(), again.key_use()), (key.kid(), KeyUse::Federation));
    // A document of the other kind is no key for this use, either way round.
    assert!(SigningKey::from_pkcs8(KeyUse::AccessToken, kept.expose_secret()).is_err());
    let ec = World::new().access.to_pkcs8().unwrap();
    assert!(SigningKey::from_pkcs8(KeyUse::Federation, ec.expose_secret()).is_err());
}
