//! Approving: who may answer, what an answer yields, and what asking again brings.

use std::sync::Arc;

use carnet_broker::BrokerError;
use carnet_core::{
    ApprovalState, ApproverError, DecisionKind, GrantState, LockTarget, QUESTIONS_PENDING_MAX,
    Reason,
};
use serde_json::json;

use crate::house::*;

/// A task with a question about sending this text.
async fn asked(house: &House) -> (carnet_core::TaskId, carnet_core::ApprovalId) {
    let task = house.open(&[read(), allow("send")]).await.unwrap();
    let id = house.ask(&task, "send", json!({ "text": "hello" })).await.unwrap();
    (task, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yes_yields_one_use_of_exactly_what_was_asked() {
    let house = House::furnished().await;
    let (task, id) = asked(&house).await;
    let (state, _) = house.broker.approve(&id, &user("bo")).await.unwrap();
    assert_eq!(state, ApprovalState::Approved);
    let other = house.kind(&task, "send", json!({ "text": "hello!" })).await;
    assert_eq!(other, DecisionKind::Ask);
    let text = json!({ "text": "hello" });
    house.reserve(&task, "send", text.clone()).await.unwrap();
    assert_eq!(house.kind(&task, "send", text).await, DecisionKind::Ask, "the use is spent");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_named_approve_and_never_the_subject() {
    let house = House::furnished().await;
    let (_, id) = asked(&house).await;
    let refused = |result: Result<_, BrokerError>| match result {
        Err(BrokerError::Approver(error)) => error,
        other => panic!("{other:?}"),
    };
    // ana is of support: policy lets her answer, the question does not name her.
    let error = refused(house.broker.approve(&id, &user("ana")).await.map(|done| done.0));
    assert!(matches!(error, ApproverError::NotNamed { .. }));
    // eve is of finance, and the subject.
    let error = refused(house.broker.approve(&id, &user("eve")).await.map(|done| done.0));
    assert!(matches!(error, ApproverError::IsSubject { .. }));
    // dee is not let by policy, whatever a question names.
    let error = house.broker.approve(&id, &user("dee")).await;
    assert_eq!(reason(error), Reason::PolicyDoesNotPermit);
    assert!(house.broker.approve(&id, &user("nobody")).await.is_err());
    assert_eq!(house.broker.approval(&id).unwrap().state, ApprovalState::Asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_counts_once_towards_a_threshold() {
    let house = House::furnished().await;
    let task = house.open(&[read(), allow("wire")]).await.unwrap();
    let id = house.broker.pending_approvals()[0].id.clone();
    let (state, _) = house.broker.approve(&id, &user("bo")).await.unwrap();
    assert_eq!(state, ApprovalState::Asked);
    let again = house.broker.approve(&id, &user("bo")).await;
    assert!(matches!(again, Err(BrokerError::Transition(_))), "{again:?}");
    assert_ne!(house.kind(&task, "wire", json!({})).await, DecisionKind::Permit);
    let (state, _) = house.broker.approve(&id, &user("cy")).await.unwrap();
    assert_eq!(state, ApprovalState::Approved);
    assert_eq!(house.kind(&task, "wire", json!({})).await, DecisionKind::Permit);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_person_does_not_approve() {
    let house = House::furnished().await;
    let (_, id) = asked(&house).await;
    let target = LockTarget::User(user("bo"));
    house.broker.set_lock(target, "a test".into(), &user("ana")).await.unwrap();
    assert_eq!(reason(house.broker.approve(&id, &user("bo")).await), Reason::Locked);
    house.broker.approve(&id, &user("cy")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_is_one_question_however_often_it_is_asked() {
    let house = Arc::new(House::furnished().await);
    let task = house.open(&[read(), allow("send")]).await.unwrap();
    house.instance("desk-agent", &task).await;
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (house, task) = (Arc::clone(&house), task.clone());
        asking.spawn(async move { house.ask(&task, "send", json!({ "text": "hello" })).await });
    }
    let mut ids: Vec<_> = asking.join_all().await.into_iter().map(Result::unwrap).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(house.broker.pending_approvals().len(), 1);
    assert_eq!(house.count(ids[0].as_str(), "asked"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_questions_at_once_is_bounded() {
    let house = Arc::new(House::furnished().await);
    let task = house.open(&[read(), allow("send")]).await.unwrap();
    house.instance("desk-agent", &task).await;
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..32 {
        let (house, task) = (Arc::clone(&house), task.clone());
        asking.spawn(async move { house.ask(&task, "send", json!({ "text": n })).await });
    }
    let answers = asking.join_all().await;
    let put = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(put, QUESTIONS_PENDING_MAX as usize);
    for refused in answers.into_iter().filter(|answer| answer.is_err()) {
        assert_eq!(reason(refused), Reason::QuestionsPending);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_again_after_a_no_is_refused_for_a_while() {
    let house = House::furnished().await;
    let (task, id) = asked(&house).await;
    house.broker.deny(&id, &user("bo")).await.unwrap();
    let again = house.ask(&task, "send", json!({ "text": "hello" })).await;
    assert_eq!(reason(again), Reason::ApprovalDenied);
    house.ask(&task, "send", json!({ "text": "good day" })).await.unwrap();
    house.hand.pass_s(301);
    house.ask(&task, "send", json!({ "text": "hello" })).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_approved_or_asked_for_a_task_that_is_over() {
    let house = House::furnished().await;
    let (task, id) = asked(&house).await;
    let operation = house.operation("send", json!({ "text": "later" }));
    let decision = house.decide(&task, "send", json!({ "text": "later" })).await;
    let instance = house.instance("desk-agent", &task).await;
    house.close(&task).await.unwrap();
    assert!(house.broker.approve(&id, &user("bo")).await.is_err());
    // A gateway that decided before it was closed asks too late.
    let late = carnet_broker::AskUse {
        decision: carnet_core::DecisionId::from_bits(1),
        task: task.clone(),
        instance,
        agent: agent("desk-agent"),
        operation,
        terms: decision.terms.unwrap(),
        policy: decision.policy,
        draws_on: None,
    };
    assert_eq!(reason(house.broker.ask(late).await), Reason::TaskUnknown);
    assert!(house.broker.pending_approvals().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowance_past_its_tasks_deadline_is_not_approved() {
    let house = House::furnished().await;
    let task = house.open(&[read(), allow("wire")]).await.unwrap();
    let id = house.broker.pending_approvals()[0].id.clone();
    // The deadline is an hour away; the question lapses before.
    house.hand.pass_s(3_600);
    assert_eq!(reason(house.broker.approve(&id, &user("bo")).await), Reason::TaskExpired);
    house.broker.sweep().await.unwrap();
    assert!(house.broker.view().snapshot.task(&task).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_definition_is_not_approved() {
    let house = House::furnished().await;
    let (_, id) = asked(&house).await;
    let definition = json!({ "name": "send", "description": "and copies it to a stranger" });
    let review = carnet_broker::Review {
        action: action("send"),
        pin: carnet_core::Digest::of_json(&definition).unwrap(),
        definition,
        path: Some(carnet_core::Path::Write),
        effect: carnet_core::EffectClass::CLOSED,
        arguments: Default::default(),
    };
    house.broker.review(&"desk".parse().unwrap(), vec![review], &user("ana")).await.unwrap();
    assert_eq!(reason(house.broker.approve(&id, &user("bo")).await), Reason::Unreviewed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_up_front_allowance_that_is_denied_or_lapses_is_never_live() {
    let house = House::furnished().await;
    let denied = house.open(&[read(), allow("wire")]).await.unwrap();
    let id = house.broker.pending_approvals()[0].id.clone();
    house.broker.deny(&id, &user("dee")).await.unwrap();
    let lapsed = house.open(&[read(), allow("wire")]).await.unwrap();
    house.hand.pass_s(901);
    house.broker.sweep().await.unwrap();
    let view = house.broker.view();
    for task in [denied, lapsed] {
        let grants = &view.snapshot.task(&task).unwrap().grants;
        assert_eq!(grants[1].state, GrantState::Denied);
    }
    assert!(house.broker.pending_approvals().is_empty());
}
