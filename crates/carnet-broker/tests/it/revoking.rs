//! Tokens taken back.

use carnet_core::{Reason, RevokedToken, TaskId};
use carnet_identity::{ExpectedAccess, verify_access};
use carnet_store::{Change, Commit, Key, Kind, Store as _};
use secrecy::ExposeSecret as _;

use crate::house::*;

/// A token of desk-agent for `task`, as it is taken back.
async fn issued(house: &House, task: &TaskId) -> RevokedToken {
    let token = house.broker.issue_token(house.token_request("desk-agent", Some(task))).await;
    let audience = "https://carnet.example/read/mcp/desk";
    let expected = ExpectedAccess { issuer: "https://carnet.example", audience };
    let keys = house.broker.access_keys();
    let token = token.unwrap();
    let claims = verify_access(token.token.expose_secret(), &keys, &expected, house.now()).unwrap();
    let (jti, expires) = (claims.jti, claims.exp);
    RevokedToken { jti, agent: agent("desk-agent"), task: claims.task, expires }
}

async fn revoke(house: &House, token: &RevokedToken) {
    let done = house.broker.revoke_token(token, &agent("desk-agent")).await.unwrap();
    assert!(done.revision.is_some(), "it is durable");
}

fn is_revoked(house: &House, token: &RevokedToken) -> bool {
    house.broker.view().snapshot.tokens_revoked.contains_key(&token.jti)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_stays_revoked_over_a_restart_and_is_recorded_once() {
    let house = House::furnished().await;
    let task = house.open(&[read()]).await.unwrap();
    let (token, other) = (issued(&house, &task).await, issued(&house, &task).await);
    revoke(&house, &token).await;
    revoke(&house, &token).await;
    assert!(is_revoked(&house, &token) && !is_revoked(&house, &other));
    house.drained().await;
    assert_eq!(house.count(&token.jti, "token_revoked"), 1);
    let house = house.restart().await;
    assert!(is_revoked(&house, &token) && !is_revoked(&house, &other));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_is_forgotten_once_no_clock_could_take_it_for_good() {
    let house = House::furnished().await;
    let task = house.open(&[read()]).await.unwrap();
    let token = issued(&house, &task).await;
    revoke(&house, &token).await;
    house.hand.pass_s(899);
    house.broker.sweep().await.unwrap();
    assert!(is_revoked(&house, &token), "it has expired, and a clock may step back");
    house.hand.pass_s(1);
    house.broker.sweep().await.unwrap();
    assert!(!is_revoked(&house, &token));
    let house = house.restart().await;
    assert!(!is_revoked(&house, &token));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_does_not_read_revokes_all_the_same() {
    let house = House::furnished().await;
    let change = Change::Put { key: Key::new(Kind::Token, "tok_1"), value: b"x".to_vec() };
    house.files.commit(Commit { changes: vec![change], ..Commit::default() }).await.unwrap();
    let house = house.restart().await;
    assert!(house.broker.view().snapshot.tokens_revoked.contains_key("tok_1"));
    house.hand.pass_s(100_000);
    house.broker.sweep().await.unwrap();
    assert!(house.broker.view().snapshot.tokens_revoked.contains_key("tok_1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_handed_on_with_a_revoked_token_is_closed_with_all_below_it() {
    let house = House::delegating().await;
    let parent = house.open(&[read()]).await.unwrap();
    let (token, other) = (issued(&house, &parent).await, issued(&house, &parent).await);
    let with = |token: &RevokedToken| Some(token.jti.clone());
    let child = house.hand_on_with(&parent, &[read()], with(&token)).await.unwrap();
    let stays = house.hand_on_with(&parent, &[read()], with(&other)).await.unwrap();
    let plain = house.hand_on(&parent, &[read()]).await.unwrap();
    revoke(&house, &token).await;
    let open = |task: &TaskId| house.broker.view().snapshot.task(task).is_some();
    assert!(!open(&child), "what was handed on with it");
    assert!(open(&stays) && open(&plain) && open(&parent), "nothing else");
    house.drained().await;
    assert_eq!(house.count(child.as_str(), "closed"), 1);
    // One that is handed on a moment too late permits nothing, and is closed by itself.
    let late = house.hand_on_with(&parent, &[read()], with(&token)).await.unwrap();
    let view = house.broker.view();
    let refused = view.snapshot.check_task(&late, house.now()).err();
    assert_eq!(refused, Some(Reason::TokenRevoked));
    drop(view);
    house.broker.sweep().await.unwrap();
    assert!(!open(&late));
}
