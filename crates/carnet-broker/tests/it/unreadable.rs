//! What cannot be read back is never committed; what is there all the same stops nothing but itself.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use carnet_broker::BrokerError;
use carnet_core::{
    ApprovalState, Arguments, ArgumentsError, Decision, DecisionKind, LockTarget, Reason, TaskId,
};
use carnet_store::{Change, Commit, Key, Kind, Outgoing, Store as _};
use serde_json::{Map, Value, json};

use crate::house::*;

/// A member name that the JSON reader takes for its own.
const PRIVATE: &str = "$serde_json::private::RawValue";

fn poison(text: &str) -> Map<String, Value> {
    let mut inner = Map::new();
    inner.insert(PRIVATE.to_owned(), json!(text));
    Map::from_iter([("note".to_owned(), Value::Object(inner))])
}

async fn paid(house: &House, task: &TaskId) -> Decision {
    let decision = house.decide(task, "pay", json!({})).await;
    assert_eq!(decision.kind, DecisionKind::Permit);
    decision
}

async fn put(house: &House, kind: Kind, id: &str, value: &[u8]) {
    let change = Change::Put { key: Key::new(kind, id), value: value.to_vec() };
    house.files.commit(Commit { changes: vec![change], ..Commit::default() }).await.unwrap();
}

/// `bytes` as the broker of the tests seals what waits in its outbox.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
    let (nonce, mut body) = ([9; 12], bytes.to_vec());
    let unique = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(unique, Aad::from(b"outbox"), &mut body).unwrap();
    [nonce.as_slice(), &body].concat()
}

async fn put_in_outbox(house: &House, bytes: &[u8]) {
    let outgoing = Outgoing { id: "poison".into(), bytes: sealed(bytes), narrows: false };
    let commit = Commit { outgoing: vec![outgoing], ..Commit::default() };
    house.files.commit(commit).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_would_not_read_back_is_refused_before_it_is_committed() {
    let house = House::furnished().await;
    let task = house.open(&[read(), pay(json!({ "uses": 2 }))]).await.unwrap();
    let decision = paid(&house, &task).await;
    for text in ["not JSON", "1"] {
        let arguments = Value::Object(poison(text));
        let refused = house.reserve_decided(&task, &decision, arguments).await;
        assert!(matches!(refused, Err(BrokerError::Invalid { .. })), "{refused:?}");
    }
    house.reserve(&task, "pay", json!({ "amount": 0.1 })).await.unwrap();
    house.drained().await;
    let house = house.restart().await;
    house.reserve(&task, "pay", json!({})).await.unwrap();
    assert_eq!(reason_of(house.reserve(&task, "pay", json!({})).await), Reason::GrantSpent);
}

fn reason_of<T: std::fmt::Debug>(result: Result<T, Reason>) -> Reason {
    result.unwrap_err()
}

#[test]
fn a_question_that_would_not_read_back_is_not_put() {
    // The core makes no arguments of it, so that nobody can ask about them.
    for text in ["not JSON", "1"] {
        let refused = Arguments::try_from(poison(text));
        assert!(matches!(refused, Err(ArgumentsError::Reserved)), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_in_the_outbox_that_does_not_read_becomes_a_gap_and_holds_up_nothing() {
    let house = House::furnished().await;
    let mut arguments = Map::new();
    arguments.insert("note".into(), Value::Object(poison("not JSON")));
    let record = json!({
        "kind": "decision", "id": "dec_1", "at": 7, "header": {}, "subject": "user:eve",
        "sealed": [["arguments", arguments]], "narrows": false,
    });
    put_in_outbox(&house, record.to_string().as_bytes()).await;
    // What comes after it reaches the ledger, in the running broker and in one that starts on it.
    let task = house.open(&[read()]).await.unwrap();
    let house = house.restart().await;
    put_in_outbox(&house, b"not even JSON").await;
    house.close(&task).await.unwrap();
    house.drained().await;
    assert_eq!(house.count(task.as_str(), "closed"), 1);
    let leaves = house.leaves();
    let gaps: Vec<_> =
        leaves.iter().filter(|leaf| leaf.kind() == carnet_ledger::Kind::Gap).collect();
    assert_eq!(gaps.len(), 2);
    assert_eq!(gaps[0].header()["record_id"], "dec_1");
    assert_eq!(gaps[0].header()["record_digest"], record_digest(&record.to_string()));
    assert!(gaps[0].header()["outbox_seq"].as_u64().is_some_and(|seq| seq > 0));
    // Nothing is lost: whoever may see what was sealed sees it.
    let unsealed = house.broker.ledger().unseal(gaps[0]).unwrap();
    assert_eq!(unsealed.values["record"], record.to_string());
    house.stop().await.verify_ledger();
}

fn record_digest(text: &str) -> String {
    carnet_core::Digest::of(text.as_bytes()).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_record_that_does_not_read_permits_nothing_and_can_be_written_anew() {
    let house = House::furnished().await;
    let task = house.open(&[read()]).await.unwrap();
    let other = house.open_for("mail-agent", "eve", "ana", &[read()]).await.unwrap();
    house.instance("mail-agent", &other).await;
    let asked = house.open(&[read(), allow("send")]).await.unwrap();
    let asked = house.ask(&asked, "send", json!({ "text": "hello" })).await.unwrap();
    house.instance("desk-agent", &task).await;
    put(&house, Kind::Agent, "desk-agent", b"{").await;
    put(&house, Kind::Approval, asked.as_str(), b"{").await;
    let house = house.restart().await;
    let decision = house.decide(&task, "read_ticket", json!({})).await;
    assert_eq!(decision.reasons, [Reason::AgentUnknown]);
    assert!(house.broker.approve(&asked, &user("bo")).await.is_err());
    assert_eq!(house.kind(&other, "read_ticket", json!({})).await, DecisionKind::Permit);
    // What to do about it: register it again.
    house.put_agent("desk-agent", None).await;
    assert_eq!(house.kind(&task, "read_ticket", json!({})).await, DecisionKind::Permit);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_does_not_read_stops_everything_until_it_is_lifted() {
    let house = House::furnished().await;
    let task = house.open(&[read()]).await.unwrap();
    house.instance("desk-agent", &task).await;
    let target = LockTarget::User(user("cy"));
    let (lock, _) = house.broker.set_lock(target, "x".into(), &user("ana")).await.unwrap();
    put(&house, Kind::Lock, lock.as_str(), b"{").await;
    let house = house.restart().await;
    let decision = house.decide(&task, "read_ticket", json!({})).await;
    assert_eq!(decision.reasons, [Reason::Locked]);
    house.broker.lift_lock(&lock, &user("ana")).await.unwrap();
    assert_eq!(house.kind(&task, "read_ticket", json!({})).await, DecisionKind::Permit);
    let house = house.restart().await;
    assert_eq!(house.kind(&task, "read_ticket", json!({})).await, DecisionKind::Permit);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_changed_under_its_digest_cannot_be_approved() {
    let house = House::furnished().await;
    let task = house.open(&[read(), allow("send")]).await.unwrap();
    let asked = house.ask(&task, "send", json!({ "text": "hello" })).await.unwrap();
    let mut stored = serde_json::to_value(&*house.broker.approval(&asked).unwrap()).unwrap();
    stored["question"]["of"]["use"]["arguments"]["text"] = json!("all of it");
    put(&house, Kind::Approval, asked.as_str(), stored.to_string().as_bytes()).await;
    let house = house.restart().await;
    let refused = house.broker.approve(&asked, &user("bo")).await;
    assert!(matches!(refused, Err(BrokerError::Invalid { .. })), "{refused:?}");
    let (state, _) = house.broker.deny(&asked, &user("bo")).await.unwrap();
    assert_eq!(state, ApprovalState::Denied);
}
