//! Handing a part of a task on, as an agent asks for it.

use axum::http::StatusCode;
use carnet_core::{LockTarget, TaskId};
use carnet_identity::DpopKey;
use serde_json::{Value, json};

use super::{Answer, Ask, Bench, READ, TOKEN_ENDPOINT};
use crate::oauth::OAuthOptions;
use crate::oauth::fixture::agent;

const ENDPOINT: &str = "https://carnet.example/oauth/delegate";

fn intent() -> Value {
    let allow = json!([{ "action": "desk.tool.read_ticket", "path": "read" }]);
    json!({ "purpose": "support", "allow": allow })
}

/// A request that succeeds: `desk-agent` hands reading on to `mail-agent`.
pub(super) fn good(bench: &Bench, parent: &TaskId) -> Ask {
    let mut ask = Ask::new(&bench.svid("desk-agent")).without("grant_type");
    ask.uri = "/oauth/delegate".to_owned();
    ask.set("task", parent.as_str())
        .set("agent", "mail-agent")
        .set("intent", &intent().to_string())
        .header("dpop", &bench.proof_with(&bench.key, ENDPOINT, None))
}

#[track_caller]
fn refused(answer: &Answer, error: &str, code: &str) {
    assert!(answer.status.is_client_error(), "{}", answer.text);
    assert_eq!(answer.refusal(), (error.to_owned(), code.to_owned()), "{}", answer.text);
}

#[tokio::test]
async fn the_other_agent_redeems_its_part_with_its_own_identity_and_key() {
    let bench = Bench::new().await;
    let parent = bench.house.open_task("desk-agent").await;
    let answer = bench.send(good(&bench, &parent)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let told = answer.json();
    assert_eq!((&told["parent"], &told["agent"]), (&json!(parent), &json!("mail-agent")));
    assert_eq!(told["grants"][0]["state"], "active");
    assert!(told.get("access_token").is_none(), "who hands on never holds the other's token");

    let key = DpopKey::generate().unwrap();
    let token = |name: &str| {
        Ask::new(&bench.svid(name))
            .set("resource", READ)
            .set("scope", &format!("task:{}", told["task"].as_str().unwrap()))
            .header("dpop", &bench.proof_with(&key, TOKEN_ENDPOINT, None))
    };
    let claims = bench.send(token("mail-agent")).await.claims();
    assert_eq!(claims["sub"], "user:ana", "it is for whom it was for");
    assert_eq!(claims["client_id"], "spiffe://carnet.example/agent/mail-agent");
    // The present actor is outermost, and whose work it was is below it.
    assert_eq!(
        claims["act"],
        json!({
            "sub": "spiffe://carnet.example/agent/mail-agent",
            "act": { "sub": "spiffe://carnet.example/agent/desk-agent" },
        })
    );
    refused(&bench.send(token("desk-agent")).await, "invalid_scope", "task_unknown");
}

#[tokio::test]
async fn an_agent_that_works_for_itself_is_named_once_in_the_chain() {
    let bench = Bench::new().await;
    let standing = bench.send(bench.good()).await.claims();
    assert!(standing.get("act").is_none(), "it acts for nobody else");
    let parent: TaskId = standing["carnet_task"].as_str().unwrap().parse().unwrap();
    let narrower = json!({ "purpose": "standing", "allow": intent()["allow"] });
    let answer = bench.send(good(&bench, &parent).set("intent", &narrower.to_string())).await;
    let told = answer.json();
    let child = told["task"].as_str().unwrap_or_else(|| panic!("{told}"));
    let ask = Ask::new(&bench.svid("mail-agent"))
        .set("resource", READ)
        .set("scope", &format!("task:{child}"))
        .header("dpop", &bench.proof_with(&DpopKey::generate().unwrap(), TOKEN_ENDPOINT, None));
    let claims = bench.send(ask).await.claims();
    assert_eq!(claims["sub"], "spiffe://carnet.example/agent/desk-agent");
    assert_eq!(claims["act"], json!({ "sub": "spiffe://carnet.example/agent/mail-agent" }));
}

#[tokio::test]
async fn what_is_wider_is_named_to_whose_task_it_is() {
    let bench = Bench::new().await;
    let parent = bench.house.open_task("desk-agent").await;
    let allow = json!([{ "action": "desk.tool.*", "path": "read", "other": "any" }]);
    let wider = json!({ "purpose": "support", "allow": allow });
    let answer = bench.send(good(&bench, &parent).set("intent", &wider.to_string())).await;
    refused(&answer, "invalid_authorization_details", "not_a_part");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.starts_with("allow[0]: grant_") && detail.contains("`desk.tool.*`"), "{detail}");
    let longer = json!({ "purpose": "support", "deadline": "8h", "allow": [] });
    let answer = bench.send(good(&bench, &parent).set("intent", &longer.to_string())).await;
    assert!(answer.text.contains("deadline: 28800 s are asked for"), "{}", answer.text);
}

#[tokio::test]
async fn a_delegation_that_is_not_proved_or_not_well_formed_is_refused() {
    let bench = Bench::new().await;
    let parent = bench.house.open_task("desk-agent").await;
    let ask = || good(&bench, &parent);
    let another = ask().set("client_assertion", &bench.svid("mail-agent"));
    for (ask, error, code) in [
        (ask().no_header("dpop"), "invalid_dpop_proof", "proof_required"),
        (ask().header("dpop", &bench.proof()), "invalid_dpop_proof", "proof_url"),
        (ask().without("client_assertion"), "invalid_client", "assertion_missing"),
        (ask().set("client_secret", "x"), "invalid_client", "client_secret"),
        (ask().header("authorization", "Basic eDp5"), "invalid_client", "authorization_header"),
        (ask().without("task"), "invalid_request", "task_malformed"),
        (ask().set("task", "grant_1"), "invalid_request", "task_malformed"),
        (ask().set("agent", "Mail Agent"), "invalid_request", "agent_malformed"),
        (ask().set("intent", "{}"), "invalid_request", "intent_malformed"),
        (ask().add("task", "task_1"), "invalid_request", "parameter_twice"),
        (another, "invalid_authorization_details", "task_unknown"),
        (ask().set("agent", "nobody"), "invalid_request", "agent_unknown"),
    ] {
        refused(&bench.send(ask).await, error, code);
    }
    let replayed = ask();
    assert_eq!(bench.send(replayed.clone()).await.status, StatusCode::CREATED);
    refused(&bench.send(replayed).await, "invalid_dpop_proof", "proof_replayed");
}

#[tokio::test]
async fn a_locked_agent_hands_nothing_on() {
    let bench = Bench::new().await;
    let parent = bench.house.open_task("desk-agent").await;
    let ask = good(&bench, &parent);
    bench.house.lock(LockTarget::Agent(agent("desk-agent"))).await;
    refused(&bench.send(ask).await, "unauthorized_client", "locked");
}

#[tokio::test]
async fn a_nonce_is_demanded_of_a_delegation_too() {
    let bench = Bench::with(OAuthOptions { dpop_nonce: true, ..OAuthOptions::default() }, 0).await;
    let parent = bench.house.open_task("desk-agent").await;
    let answer = bench.send(good(&bench, &parent)).await;
    refused(&answer, "use_dpop_nonce", "proof_nonce");
    let nonce = answer.header("dpop-nonce").unwrap().to_owned();
    let proof = bench.proof_with(&bench.key, ENDPOINT, Some(&nonce));
    let answer = bench.send(good(&bench, &parent).header("dpop", &proof)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
}
