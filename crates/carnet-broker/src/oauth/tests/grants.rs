//! What a token request gets when it is right.

use axum::http::StatusCode;
use carnet_identity::{DpopKey, ExpectedAccess, verify_access};
use serde_json::json;

use super::{Ask, BEARER_GRANT, BEARER_TYPE, Bench, READ, TOKEN_ENDPOINT, WRITE};
use crate::oauth::OAuthOptions;
use crate::oauth::fixture::ISSUER;

#[tokio::test]
async fn an_agent_without_a_task_gets_a_bound_read_token_for_its_standing_task() {
    let bench = Bench::new().await;
    let answer = bench.send(bench.good()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("dpop-nonce"), None);
    let body = answer.json();
    assert_eq!(body["token_type"], "DPoP");
    assert_eq!(body["expires_in"], 300);

    let expected = ExpectedAccess { issuer: ISSUER, audience: READ };
    let token = body["access_token"].as_str().unwrap();
    let keys = bench.house.broker.access_keys();
    let claims = verify_access(token, &keys, &expected, bench.now()).unwrap();
    assert_eq!(claims.client_id, "spiffe://carnet.example/agent/desk-agent");
    assert_eq!(claims.cnf.unwrap().jkt(), Some(&bench.key.thumbprint()));
    assert_eq!(body["scope"], format!("task:{}", claims.task));
    let details = json!([{
        "type": "carnet_task", "task": claims.task, "path": "read", "locations": [READ],
    }]);
    assert_eq!(body["authorization_details"], details);
    assert!(bench.house.broker.view().snapshot.task(&claims.task).unwrap().task.standing);
}

#[tokio::test]
async fn a_task_is_named_in_the_details_or_in_the_scope_or_alike_in_both() {
    let bench = Bench::new().await;
    let task = bench.house.open_task("desk-agent").await;
    let scope = format!("task:{task}");
    let full =
        json!([{ "type": "carnet_task", "task": task, "path": "write", "locations": [WRITE] }]);
    let short = json!([{ "type": "carnet_task", "task": task }]);
    for (details, scope) in [
        (Some(&full), None),
        (Some(&short), None),
        (None, Some(&scope)),
        (Some(&full), Some(&scope)),
    ] {
        let mut ask = bench.good().set("resource", WRITE);
        if let Some(details) = details {
            ask = ask.set("authorization_details", &details.to_string());
        }
        if let Some(scope) = scope {
            ask = ask.set("scope", scope);
        }
        let answer = bench.send(ask).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let claims = answer.claims();
        assert_eq!(claims["carnet_task"], task.as_str());
        assert_eq!(claims["carnet_path"], "write");
        assert_eq!(claims["aud"], WRITE);
        assert_eq!(claims["sub"], "user:ana");
        assert_eq!(claims["act"]["sub"], "spiffe://carnet.example/agent/desk-agent");
        assert_eq!(answer.json()["expires_in"], 120);
    }
}

#[tokio::test]
async fn one_svid_is_good_for_several_tokens_with_the_same_key() {
    let bench = Bench::new().await;
    let task = bench.house.open_task("desk-agent").await;
    let svid = bench.svid("desk-agent");
    for resource in [READ, WRITE, READ] {
        let ask = Ask::new(&svid)
            .set("resource", resource)
            .set("scope", &format!("task:{task}"))
            .header("dpop", &bench.proof());
        let answer = bench.send(ask).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    }
}

#[tokio::test]
async fn a_request_refused_for_its_form_does_not_use_up_its_svid() {
    let bench = Bench::new().await;
    let ask = Ask::new(&bench.svid("desk-agent"));
    let refused = bench.send(ask.clone()).await;
    assert_eq!(refused.refusal().0, "invalid_target");
    let answer = bench.send(ask.set("resource", READ)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
}

#[tokio::test]
async fn an_agent_that_may_bear_tokens_reads_without_a_proof() {
    let bench = Bench::new().await;
    let ask = Ask::new(&bench.svid("desk-agent"))
        .set("client_assertion_type", BEARER_TYPE)
        .set("client_id", "spiffe://carnet.example/agent/desk-agent")
        .set("resource", READ);
    let answer = bench.send(ask).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.json()["token_type"], "Bearer");
    assert_eq!(answer.claims().get("cnf"), None);
}

#[tokio::test]
async fn the_jwt_bearer_grant_gives_the_same_token() {
    let bench = Bench::new().await;
    let ask = bench
        .good()
        .without("client_assertion")
        .without("client_assertion_type")
        .set("grant_type", BEARER_GRANT)
        .set("assertion", &bench.svid("desk-agent"));
    let answer = bench.send(ask).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.claims()["client_id"], "spiffe://carnet.example/agent/desk-agent");
}

#[tokio::test]
async fn the_host_may_be_upper_case_or_name_the_default_port_and_unknown_parameters_are_passed_over()
 {
    let bench = Bench::new().await;
    for host in ["CARNET.example", "carnet.example:443"] {
        let ask = bench.good().header("host", host).set("x_unknown", "1");
        let answer = bench.send(ask).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    }
    let upper = bench.good().set("resource", "HTTPS://CARNET.EXAMPLE/read/mcp/desk");
    assert_eq!(bench.send(upper).await.claims()["aud"], READ);
}

#[tokio::test]
async fn a_demanded_nonce_is_told_and_then_accepted() {
    let options = OAuthOptions { dpop_nonce: true, ..OAuthOptions::default() };
    let bench = Bench::with(options, 0).await;
    let refused = bench.send(bench.good()).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(refused.refusal(), ("use_dpop_nonce".into(), "proof_nonce".into()));
    let nonce = refused.header("dpop-nonce").unwrap().to_owned();

    let wrong = bench.proof_with(&bench.key, TOKEN_ENDPOINT, Some("AAAA"));
    assert_eq!(bench.send(bench.good().header("dpop", &wrong)).await.refusal().0, "use_dpop_nonce");
    let right = bench.proof_with(&bench.key, TOKEN_ENDPOINT, Some(&nonce));
    let answer = bench.send(bench.good().header("dpop", &right)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert!(answer.header("dpop-nonce").is_some());
}

#[tokio::test]
async fn two_copies_of_an_agent_with_keys_of_their_own_do_not_disturb_each_other() {
    let bench = Bench::new().await;
    for key in [DpopKey::generate().unwrap(), DpopKey::generate().unwrap()] {
        let proof = bench.proof_with(&key, TOKEN_ENDPOINT, None);
        let answer = bench.send(bench.good().header("dpop", &proof)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    }
}
