//! What a code is good for.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use carnet_core::{Digest, Identity};
use serde_json::{Value, json};

use super::super::{TOKEN_ENDPOINT, WRITE, fresh};
use super::{
    CLIENT, REDIRECT, challenge, people, redeem, refused_at_the_token, register, request, set,
    visit,
};
use crate::oauth::fixture::ISSUER;

const JWT_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

#[tokio::test]
async fn a_code_is_good_for_exactly_what_it_was_given_for() {
    let bench = people(None).await;
    let other = Identity::Client {
        id: "other".to_owned(),
        keys: None,
        redirect_uris: vec![REDIRECT.to_owned()],
    };
    register(&bench, "other", other).await;
    for (name, value) in [
        ("client_id", "other"),
        ("redirect_uri", "https://app.example/cb/"),
        ("redirect_uri", "http://127.0.0.1/cb"),
        ("resource", WRITE),
        ("resource", "https://carnet.example/read/mcp/other"),
        ("code_verifier", "another-verifier-of-at-least-43-characters-long"),
        ("code_verifier", challenge().as_str()),
        ("code_verifier", "short"),
        ("scope", "task:task_01a20a7031957442890c3571546c6eb5"),
    ] {
        let code = visit(&bench, &request()).await.agree(&bench).await;
        refused_at_the_token(&bench, redeem(&bench, &code).set(name, value)).await;
        if name != "client_id" {
            // Whoever showed it is not its client: it is gone.
            refused_at_the_token(&bench, redeem(&bench, &code)).await;
        }
    }
    refused_at_the_token(&bench, redeem(&bench, "a-code-nobody-gave")).await;
    for name in ["code_verifier", "redirect_uri", "client_id", "code"] {
        let answer = bench.send(redeem(&bench, "c").without(name)).await;
        assert_eq!(answer.refusal().1, "code_incomplete", "{name}");
    }
}

#[tokio::test]
async fn a_code_asked_for_with_a_key_is_good_with_that_key_only() {
    let bench = people(None).await;
    let proof = bench.proof();
    let header: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(proof.split('.').next().unwrap()).unwrap())
            .unwrap();
    let jwk = &header["jwk"];
    let members = match jwk["kty"].as_str().unwrap() {
        "EC" => format!(
            "{{\"crv\":{},\"kty\":{},\"x\":{},\"y\":{}}}",
            jwk["crv"], jwk["kty"], jwk["x"], jwk["y"]
        ),
        _ => format!("{{\"crv\":{},\"kty\":{},\"x\":{}}}", jwk["crv"], jwk["kty"], jwk["x"]),
    };
    let jkt = URL_SAFE_NO_PAD.encode(Digest::of(members.as_bytes()).as_bytes());
    let asked = set(request(), "dpop_jkt", &jkt);

    let code = visit(&bench, &asked).await.agree(&bench).await;
    let other = carnet_identity::DpopKey::generate().unwrap();
    let proof = bench.proof_with(&other, TOKEN_ENDPOINT, None);
    refused_at_the_token(&bench, redeem(&bench, &code).header("dpop", &proof)).await;
    let code = visit(&bench, &asked).await.agree(&bench).await;
    refused_at_the_token(&bench, redeem(&bench, &code).no_header("dpop")).await;
    let code = visit(&bench, &asked).await.agree(&bench).await;
    assert_eq!(bench.send(redeem(&bench, &code)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_code_used_twice_ends_what_it_gave() {
    let bench = people(None).await;
    let code = visit(&bench, &request()).await.agree(&bench).await;
    let claims = bench.send(redeem(&bench, &code)).await.claims();
    let task = claims["carnet_task"].as_str().unwrap().parse().unwrap();
    assert!(bench.house.broker.view().snapshot.task(&task).is_some());
    refused_at_the_token(&bench, redeem(&bench, &code)).await;
    assert!(bench.house.broker.view().snapshot.task(&task).is_none(), "the task is still open");
    // Whoever goes on showing it writes nothing more.
    for _ in 0..3 {
        refused_at_the_token(&bench, redeem(&bench, &code)).await;
    }
    let said = || {
        let leaves = bench.house.broker.ledger().leaves(0).map(Result::unwrap);
        let is_twice = |leaf: &carnet_ledger::Leaf| {
            leaf.header().get("transition") == Some(&json!("code_used_twice"))
        };
        leaves.filter(is_twice).count()
    };
    let written = async {
        while said() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), written).await.expect("a record");
    assert_eq!(said(), 1);
}

#[tokio::test]
async fn a_client_with_keys_signs_for_itself() {
    let pkcs8 =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
    let point = pair.public_key().as_ref();
    let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
    let jwk = json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "k",
        "x": part(1..33), "y": part(33..65) });
    let bench = people(Some(json!({ "keys": [jwk] }))).await;
    let assertion = |sub: &str, aud: &str| {
        let now = bench.now().s();
        let claims = json!({ "iss": CLIENT, "sub": sub, "aud": aud, "jti": fresh(), "iat": now, "exp": now + 60 });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head =
            format!("{}.{}", encode(&json!({ "alg": "ES256", "kid": "k" })), encode(&claims));
        let signature = pair.sign(&SystemRandom::new(), head.as_bytes()).unwrap();
        format!("{head}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    };
    let signed = |code: &str, assertion: &str| {
        let ask = redeem(&bench, code).set("client_assertion_type", JWT_TYPE);
        ask.set("client_assertion", assertion)
    };
    let code = visit(&bench, &request()).await.agree(&bench).await;
    for ask in [
        redeem(&bench, &code),
        signed(&code, &assertion("other", ISSUER)),
        signed(&code, &assertion(CLIENT, "https://other.example")),
        signed(&code, &bench.svid("desk-agent")),
        signed(&code, &assertion(CLIENT, ISSUER)).set("client_secret", "s"),
    ] {
        let answer = bench.send(ask).await;
        assert_eq!(answer.refusal().0, "invalid_client", "{}", answer.text);
    }
    let good = assertion(CLIENT, ISSUER);
    let answer = bench.send(signed(&code, &good)).await;
    assert_eq!(
        answer.status,
        StatusCode::OK,
        "who cannot sign does not use up a code: {}",
        answer.text
    );
}
