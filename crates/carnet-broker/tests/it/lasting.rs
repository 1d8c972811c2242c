//! What lasts over a restart, and what time ends.

use std::collections::BTreeSet;

use carnet_broker::BrokerError;
use carnet_core::{ApprovalState, DecisionKind, GrantState, LockTarget, Reason};
use serde_json::json;

use crate::house::*;

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_everything_is_as_it_was() {
    let house = House::furnished().await;
    let task = house.open(&[read(), pay(json!({ "uses": 3 })), allow("send")]).await.unwrap();
    let closed = house.open(&[read(), allow("send")]).await.unwrap();
    let old = house.ask(&closed, "send", json!({ "text": "old" })).await.unwrap();
    house.close(&closed).await.unwrap();
    let asked = house.ask(&task, "send", json!({ "text": "hello" })).await.unwrap();
    let held = house.reserve(&task, "pay", json!({})).await.unwrap();
    house.settle(&held, true).await.unwrap();
    let target = LockTarget::User(user("dee"));
    let (lock, _) = house.broker.set_lock(target, "a test".into(), &user("ana")).await.unwrap();
    let before = house.broker.view();
    let house = house.restart().await;
    let after = house.broker.view();
    assert_eq!(*after.snapshot.tasks, *before.snapshot.tasks);
    assert_eq!(*after.snapshot.agents, *before.snapshot.agents);
    assert_eq!(*after.snapshot.instances, *before.snapshot.instances);
    assert_eq!(*after.snapshot.users, *before.snapshot.users);
    assert_eq!(*after.snapshot.resources, *before.snapshot.resources);
    assert_eq!(*after.snapshot.locks, *before.snapshot.locks);
    assert_eq!(after.policy.digest(), before.policy.digest());
    assert_eq!(house.broker.approval(&asked).unwrap().state, ApprovalState::Asked);
    assert!(house.broker.approval(&old).is_err(), "what is over is history");
    house.broker.lift_lock(&lock, &user("ana")).await.unwrap();
    house.broker.approve(&asked, &user("bo")).await.unwrap();
    let kind = house.kind(&task, "send", json!({ "text": "hello" })).await;
    assert_eq!(kind, DecisionKind::Permit);
    house.stop().await.verify_ledger();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_is_drained_once_over_restarts() {
    let house = House::furnished().await;
    let task = house.open(&[read()]).await.unwrap();
    // The records of this closing wait when it stops.
    house.disk.close();
    house.close(&task).await.unwrap();
    let mut house = house.restart().await;
    for _ in 0..3 {
        house.drained().await;
        assert_eq!(house.count(task.as_str(), "closing"), 1);
        assert_eq!(house.count(task.as_str(), "closed"), 1);
        house = house.restart().await;
    }
    let ids: Vec<_> = house
        .leaves()
        .iter()
        .map(|leaf| (leaf.id().to_owned(), leaf.header().get("transition").cloned()))
        .collect();
    let opened = ids.iter().filter(|(id, _)| id == task.as_str()).count();
    assert_eq!(opened, 3, "opened, closing, closed");
    house.stop().await.verify_ledger();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_older_than_the_ledger_is_refused() {
    let stopped = House::furnished().await.stop().await;
    let older = stopped.dir().join("older");
    std::fs::copy(stopped.dir().join("store"), &older).unwrap();
    let house = stopped.start().await.unwrap();
    let target = LockTarget::Everything;
    house.broker.set_lock(target, "a test".into(), &user("ana")).await.unwrap();
    house.drained().await;
    let stopped = house.stop().await;
    std::fs::rename(&older, stopped.dir().join("store")).unwrap();
    let error = stopped.start().await.map(drop).unwrap_err();
    assert!(matches!(&error, BrokerError::Invalid { .. }), "{error}");
    assert!(error.to_string().contains("older copy"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_sealed_under_another_key_is_refused_and_says_why() {
    let house = House::furnished().await;
    house.disk.close();
    let target = LockTarget::Everything;
    house.broker.set_lock(target, "a test".into(), &user("ana")).await.unwrap();
    let error = house.stop().await.start_sealed_by([8; 32]).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("restore the key file"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_is_gone_from_the_configuration_is_gone() {
    let house = House::furnished().await;
    let task = house.open(&[read(), allow("send")]).await.unwrap();
    let asked = house.ask(&task, "send", json!({ "text": "hello" })).await.unwrap();
    let without = |name: &str| {
        people().into_iter().filter(|person| person.name != user(name)).collect::<Vec<_>>()
    };
    house.broker.put_users(without("bo")).await.unwrap();
    assert!(house.broker.view().snapshot.user(&user("bo")).is_none());
    assert!(house.broker.approve(&asked, &user("bo")).await.is_err());
    // The agents' owner: without one an agent does nothing.
    house.broker.put_users(without("dee")).await.unwrap();
    let decision = house.decide(&task, "read_ticket", json!({})).await;
    assert_eq!(decision.reasons, [Reason::OwnerUnknown]);
    let house = house.restart().await;
    assert!(house.broker.view().snapshot.user(&user("dee")).is_none());
    assert!(house.broker.view().snapshot.user(&user("bo")).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_people_is_taken_in() {
    let house = House::empty().await;
    let crowd: Vec<_> = (0..150)
        .map(|n| carnet_core::User {
            name: user(&format!("user-{n}")),
            teams: BTreeSet::new(),
            logins: Vec::new(),
        })
        .collect();
    house.broker.put_users(crowd.clone()).await.unwrap();
    assert_eq!(house.broker.view().snapshot.users.len(), 150);
    house.broker.put_users(vec![]).await.unwrap();
    assert!(house.broker.view().snapshot.users.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_past_its_time_is_ended_and_recorded() {
    let house = House::furnished().await;
    let short = pay(json!({ "expires": "10m" }));
    let task = house.open(&[read(), short, allow("send")]).await.unwrap();
    let asked = house.ask(&task, "send", json!({ "text": "hello" })).await.unwrap();
    let grant = house.broker.view().snapshot.task(&task).unwrap().grants[1].id.clone();
    house.hand.pass_s(601);
    // Decisions look at the time themselves.
    assert_ne!(house.kind(&task, "pay", json!({})).await, DecisionKind::Permit);
    house.broker.sweep().await.unwrap();
    let view = house.broker.view();
    assert_eq!(view.snapshot.task(&task).unwrap().grants[1].state, GrantState::Expired);
    house.hand.pass_s(300);
    house.broker.sweep().await.unwrap();
    assert_eq!(house.broker.approval(&asked).unwrap().state, ApprovalState::Expired);
    house.hand.pass_s(2_700);
    let decision = house.decide(&task, "read_ticket", json!({})).await;
    assert_eq!(decision.reasons, [Reason::TaskExpired]);
    house.broker.sweep().await.unwrap();
    assert!(house.broker.view().snapshot.tasks.is_empty());
    house.drained().await;
    assert_eq!(house.count(grant.as_str(), "expired"), 1);
    assert_eq!(house.count(asked.as_str(), "expired"), 1);
    assert_eq!(house.count(task.as_str(), "closed"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn however_much_is_past_its_time_it_is_ended() {
    let house = House::furnished().await;
    for _ in 0..30 {
        house
            .open(&[read(), pay(json!({})), pay(json!({ "uses": 1 })), allow("wire")])
            .await
            .unwrap();
    }
    house.hand.pass_s(3_601);
    house.broker.sweep().await.unwrap();
    assert!(house.broker.view().snapshot.tasks.is_empty());
    assert!(house.broker.pending_approvals().is_empty());
    house.drained().await;
    let closed = house
        .leaves()
        .iter()
        .filter(|leaf| {
            leaf.kind() == carnet_ledger::Kind::Task
                && leaf.header().get("transition").is_some_and(|word| word == "closed")
        })
        .count();
    assert_eq!(closed, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_set_that_cannot_be_loaded_permits_nothing_and_stops_nobody_from_going_back() {
    use carnet_store::{Change, Commit, Key, Kind, Store as _};
    let house = House::furnished().await;
    let task = house.open(&[read()]).await.unwrap();
    let before = house.broker.active_policy().unwrap().digest;
    let broken = house.activate(&[("permit/all.cedar", PERMIT)]).await;
    let key = Key::new(Kind::Policy, broken.to_string());
    let value = b"not a policy set".to_vec();
    let commit = Commit { changes: vec![Change::Put { key, value }], ..Commit::default() };
    house.files.commit(commit).await.unwrap();
    let house = house.restart().await;
    assert_eq!(house.broker.view().policy.digest(), broken, "every decision names it");
    let decision = house.decide(&task, "read_ticket", json!({})).await;
    assert_eq!(decision.reasons, [Reason::PolicyFailed]);
    house.broker.rollback_policy(&user("ana")).await.unwrap();
    assert_eq!(house.broker.view().policy.digest(), before);
    assert_eq!(house.kind(&task, "read_ticket", json!({})).await, DecisionKind::Permit);
}
