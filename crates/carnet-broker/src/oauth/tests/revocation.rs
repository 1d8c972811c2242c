//! Taking tokens back.

use axum::http::StatusCode;
use carnet_core::{Path, Reason, TaskId};
use serde_json::json;

use super::exchange::{Pair, token_in};
use super::refusals::{Case, check};
use super::{Answer, Ask, Bench, READ};

/// A request of `name` to take `token` back.
fn revoke(bench: &Bench, name: &str, token: &str) -> Ask {
    let mut ask = Ask::new(&bench.svid(name)).without("grant_type").set("token", token);
    ask.uri = "/oauth/revoke".to_owned();
    ask
}

async fn active(pair: &Pair, token: &str) -> bool {
    let mut ask = revoke(&pair.bench, "desk-agent", token);
    ask.uri = "/oauth/introspect".to_owned();
    pair.bench.send(ask).await.json() != json!({ "active": false })
}

#[track_caller]
fn done(answer: &Answer) {
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, ""));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

fn is_open(pair: &Pair, task: &TaskId) -> bool {
    pair.bench.house.broker.view().snapshot.task(task).is_some()
}

#[tokio::test]
async fn a_revoked_access_token_is_dead_and_so_is_what_was_handed_on_with_it() {
    let pair = Pair::new().await;
    let bench = &pair.bench;
    let (delegation, child) = pair.handed_on().await;
    let redeemed = token_in(&bench.send(pair.redeem(&delegation)).await);
    let ask = bench.good().set("scope", &format!("task:{}", pair.parent));
    let another = token_in(&bench.send(ask).await);
    done(&bench.send(revoke(bench, "desk-agent", &pair.token)).await);
    for dead in [&pair.token, &delegation, &redeemed] {
        assert!(!active(&pair, dead).await);
    }
    assert!(!is_open(&pair, &child));
    // Its task goes on, with its other tokens.
    assert!(is_open(&pair, &pair.parent) && active(&pair, &another).await);
    let request = "invalid_request";
    check(
        bench,
        vec![
            Case(300, "it hands nothing on", pair.hand_on(), 400, request, "token_revoked"),
            Case(
                301,
                "what it handed on is over",
                pair.redeem(&delegation),
                400,
                request,
                "task_unknown",
            ),
        ],
    )
    .await;
    // A gateway decides by the view: this caller is none any more.
    let view = bench.house.broker.view();
    let revoked = view.snapshot.tokens_revoked.values().next().unwrap();
    assert_eq!((&revoked.task, revoked.agent.as_str()), (&pair.parent, "desk-agent"));
    done(&bench.send(revoke(bench, "desk-agent", &pair.token)).await);
}

#[tokio::test]
async fn a_revoked_delegation_token_closes_its_task_and_no_other() {
    let pair = Pair::new().await;
    let bench = &pair.bench;
    let (first, first_child) = pair.handed_on().await;
    let (second, second_child) = pair.handed_on().await;
    let redeemed = token_in(&bench.send(pair.redeem(&first)).await);
    done(&bench.send(revoke(bench, "desk-agent", &first)).await);
    assert!(!is_open(&pair, &first_child) && is_open(&pair, &second_child));
    assert!(!active(&pair, &redeemed).await && active(&pair, &second).await);
    // The agent it was handed on to may decline it.
    done(&bench.send(revoke(bench, "mail-agent", &second)).await);
    assert!(!is_open(&pair, &second_child) && is_open(&pair, &pair.parent));
}

#[tokio::test]
async fn who_handed_a_task_on_takes_back_the_tokens_of_it_and_nobody_takes_back_those_above() {
    let pair = Pair::new().await;
    let bench = &pair.bench;
    let (delegation, child) = pair.handed_on().await;
    let redeemed = token_in(&bench.send(pair.redeem(&delegation)).await);
    let above = revoke(bench, "mail-agent", &pair.token);
    check(
        bench,
        vec![Case(310, "of the task above", above, 400, "unauthorized_client", "token_of_another")],
    )
    .await;
    assert!(active(&pair, &pair.token).await);
    done(&bench.send(revoke(bench, "desk-agent", &redeemed)).await);
    assert!(!active(&pair, &redeemed).await);
    assert!(is_open(&pair, &child), "the task goes on: another token can be had for it");
}

#[tokio::test]
async fn what_is_no_token_of_ours_is_as_good_as_revoked_and_an_svid_is_not_revocable() {
    let bench = Bench::new().await;
    let svid = bench.svid("desk-agent");
    for nothing in ["x", "a.b.c"] {
        let ask = revoke(&bench, "desk-agent", nothing).set("token_type_hint", "refresh_token");
        done(&bench.send(ask).await);
    }
    let ask = revoke(&bench, "desk-agent", &svid);
    let unproved = revoke(&bench, "desk-agent", "x").without("client_assertion");
    check(
        &bench,
        vec![
            Case(320, "an SVID", ask, 400, "unsupported_token_type", "token_not_revocable"),
            Case(321, "nobody", unproved, 401, "invalid_client", "assertion_missing"),
            Case(
                322,
                "nothing",
                revoke(&bench, "desk-agent", ""),
                400,
                "invalid_request",
                "token_missing",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn no_policy_keeps_an_agent_from_taking_a_token_back() {
    let pair = Pair::new().await;
    pair.bench.house.forbid_everything().await;
    done(&pair.bench.send(revoke(&pair.bench, "desk-agent", &pair.token)).await);
    assert!(!active(&pair, &pair.token).await);
}

#[tokio::test]
async fn a_call_with_a_revoked_token_is_no_call() {
    let pair = Pair::new().await;
    let claims =
        pair.bench.send(pair.bench.good().set("scope", &format!("task:{}", pair.parent))).await;
    let (token, claims) = (token_in(&claims), claims.claims());
    let text = |name: &str| claims[name].as_str().unwrap().to_owned();
    let call = carnet_core::Caller {
        agent: "desk-agent".parse().unwrap(),
        instance: text("carnet_instance").parse().unwrap(),
        task: pair.parent.clone(),
        path: Path::Read,
        resource: "desk".parse().unwrap(),
        token: text("jti"),
        key: "k".to_owned(),
        expires: pair.bench.now().plus_s(300),
        thumbprint: Some(pair.bench.key.thumbprint().to_string()),
    };
    let broker = &pair.bench.house.broker;
    let check = || carnet_core::check_caller(&broker.view().snapshot, &call, broker.now());
    assert_eq!((check(), text("aud").as_str()), (Ok(()), READ));
    done(&pair.bench.send(revoke(&pair.bench, "desk-agent", &token)).await);
    assert_eq!(check(), Err(Reason::TokenRevoked));
}
