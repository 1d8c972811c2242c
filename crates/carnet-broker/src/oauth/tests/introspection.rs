//! Asking about tokens.

use axum::http::StatusCode;
use carnet_core::LockTarget;
use carnet_identity::DpopKey;
use serde_json::{Value, json};

use super::exchange::{DESK, MAIL, Pair, token_in};
use super::{Answer, Ask, Bench, READ, SPIFFE_TYPE, TOKEN_ENDPOINT};
use crate::oauth::fixture::{agent, ana};

const ENDPOINT: &str = "https://carnet.example/oauth/introspect";

/// A question of `name` about `token`.
fn ask(bench: &Bench, name: &str, token: &str) -> Ask {
    let mut ask = Ask::new(&bench.svid(name)).without("grant_type").set("token", token);
    ask.uri = "/oauth/introspect".to_owned();
    ask
}

async fn told(bench: &Bench, name: &str, token: &str) -> Value {
    let answer = bench.send(ask(bench, name, token)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer.json()
}

fn inactive() -> Value {
    json!({ "active": false })
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status.as_u16(), answer.refusal().1.as_str()), (status, code));
}

#[tokio::test]
async fn a_live_token_is_told_whole_to_its_own_agent_and_to_who_handed_its_task_on() {
    let pair = Pair::new().await;
    let (delegation, child) = pair.handed_on().await;
    let redeemed = pair.bench.send(pair.redeem(&delegation)).await;
    let (claims, token) = (redeemed.claims(), token_in(&redeemed));
    for name in ["mail-agent", "desk-agent"] {
        let told = told(&pair.bench, name, &token).await;
        for member in [
            "iss",
            "sub",
            "aud",
            "client_id",
            "exp",
            "iat",
            "nbf",
            "jti",
            "cnf",
            "act",
            "authorization_details",
            "carnet_task",
            "carnet_path",
        ] {
            assert_eq!(told[member], claims[member], "{member}");
            assert!(!told[member].is_null(), "{member}");
        }
        assert_eq!((&told["active"], &told["token_type"]), (&json!(true), &json!("DPoP")));
        assert_eq!(told["scope"], format!("task:{child}"));
    }
    // The delegation token too, to both.
    for name in ["mail-agent", "desk-agent"] {
        let told = told(&pair.bench, name, &delegation).await;
        assert_eq!((&told["active"], &told["token_type"]), (&json!(true), &json!("N_A")));
        assert_eq!((&told["may_act"]["sub"], &told["act"]["sub"]), (&json!(MAIL), &json!(DESK)));
    }
    let bare = pair.bench.send(pair.bench.good().no_header("dpop")).await;
    assert_eq!(told(&pair.bench, "desk-agent", &token_in(&bare)).await["token_type"], "Bearer");
}

#[tokio::test]
async fn whoever_may_not_know_learns_what_one_learns_of_no_token_at_all() {
    let pair = Pair::new().await;
    let (delegation, _) = pair.handed_on().await;
    let bench = &pair.bench;
    // Whose task was handed on to it does not know of the tokens above.
    assert_eq!(told(bench, "mail-agent", &pair.token).await, inactive());
    let svid = bench.svid("desk-agent");
    for nothing in ["x", "a.b.c", &svid, &format!("{delegation}x")] {
        assert_eq!(told(bench, "desk-agent", nothing).await, inactive(), "{nothing}");
    }
}

#[tokio::test]
async fn a_token_is_inactive_as_soon_as_a_gateway_would_refuse_it() {
    let pair = Pair::new().await;
    let (delegation, child) = pair.handed_on().await;
    let bench = &pair.bench;
    let token = token_in(&bench.send(pair.redeem(&delegation)).await);
    assert_eq!(told(bench, "desk-agent", &token).await["active"], true);
    // A task above is locked, and with it what is below.
    bench.house.lock(LockTarget::Task(pair.parent.clone())).await;
    for token in [&token, &delegation, &pair.token] {
        assert_eq!(told(bench, "desk-agent", token).await, inactive(), "{child}");
    }
    let pair = Pair::new().await;
    let keys = pair.bench.house.broker.keys();
    for (key, _) in &keys {
        if key.purpose != crate::keys::KeyPurpose::JwtSvid {
            pair.bench.house.broker.remove_key(&key.kid, &ana()).await.unwrap();
        }
    }
    assert_eq!(told(&pair.bench, "desk-agent", &pair.token).await, inactive());
}

#[tokio::test]
async fn who_asks_proves_who_it_is_and_keeps_its_assertion() {
    let pair = Pair::new().await;
    let bench = &pair.bench;
    let good = || ask(bench, "desk-agent", &pair.token);
    refused(&bench.send(good().without("client_assertion")).await, 401, "assertion_missing");
    refused(
        &bench.send(good().set("client_assertion", &pair.token)).await,
        401,
        "token_wrong_type",
    );
    refused(
        &bench.send(good().header("authorization", "Basic eDp5")).await,
        401,
        "authorization_header",
    );
    refused(&bench.send(good().without("token")).await, 400, "token_missing");
    refused(&bench.send(good().header("dpop", &bench.proof())).await, 400, "proof_url");
    let proof = bench.proof_with(&bench.key, ENDPOINT, None);
    assert_eq!(bench.send(good().header("dpop", &proof)).await.status, StatusCode::OK);
    refused(&bench.send(good().header("dpop", &proof)).await, 400, "proof_replayed");

    // An SVID that only said who asks is still good for tokens, with one key.
    let svid = bench.svid("desk-agent");
    let with =
        |ask: Ask| ask.set("client_assertion", &svid).set("client_assertion_type", SPIFFE_TYPE);
    for _ in 0..2 {
        assert_eq!(bench.send(with(good())).await.status, StatusCode::OK);
    }
    assert_eq!(bench.send(with(bench.good())).await.status, StatusCode::OK);
    assert_eq!(bench.send(with(good())).await.status, StatusCode::OK);
    let thief = bench.proof_with(&DpopKey::generate().unwrap(), TOKEN_ENDPOINT, None);
    refused(&bench.send(with(bench.good()).header("dpop", &thief)).await, 401, "assertion_used");
    // One that was used up without a key says nothing any more.
    let bare = bench.svid("desk-agent");
    let bearer = Ask::new(&bare).set("resource", READ);
    assert_eq!(bench.send(bearer).await.status, StatusCode::OK);
    refused(&bench.send(good().set("client_assertion", &bare)).await, 401, "assertion_used");
}

#[tokio::test]
async fn a_locked_agent_asks_nothing() {
    let pair = Pair::new().await;
    let question = ask(&pair.bench, "desk-agent", &pair.token);
    pair.bench.house.lock(LockTarget::Agent(agent("desk-agent"))).await;
    refused(&pair.bench.send(question).await, 400, "locked");
}
