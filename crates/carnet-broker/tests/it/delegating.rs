//! Delegating: a task hands on a part of what it has left, and everything ends with the whole.

use std::sync::Arc;

use carnet_broker::BrokerError;
use carnet_core::{
    ApprovalState, Decision, DecisionKind, GrantState, LockTarget, Miss, Principal, Reason, TaskId,
    TaskState,
};
use serde_json::{Map, Value, json};

use crate::house::*;

/// A task of desk-agent with five payments of 100 together.
async fn payer(house: &House) -> TaskId {
    house.open(&[read(), pay(json!({ "uses": 5, "total": { "cents": 100 } }))]).await.unwrap()
}

fn payments(uses: u64, cents: i64) -> Value {
    pay(json!({ "uses": uses, "total": { "cents": cents } }))
}

fn cents(cents: i64) -> Value {
    json!({ "cents": cents })
}

fn uses_left(house: &House, task: &TaskId) -> Option<u64> {
    let view = house.broker.view();
    let grants = &view.snapshot.task(task).unwrap().grants;
    grants.iter().find_map(carnet_core::Grant::uses_left)
}

fn text<T: std::fmt::Debug>(refused: Result<T, BrokerError>) -> String {
    refused.unwrap_err().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_handed_on_and_is_used_by_the_other_agent_alone() {
    let house = House::delegating().await;
    let parent = payer(&house).await;
    let child = house.hand_on(&parent, &[payments(2, 60)]).await.unwrap();
    let view = house.broker.view();
    let task = &view.snapshot.task(&child).unwrap().task;
    assert_eq!((task.parent.as_ref(), task.depth), (Some(&parent), 1));
    assert_eq!(task.subject, Principal::User(user("eve")), "it is for whom it was for");
    assert_eq!(task.opened_by, Principal::Agent(agent("desk-agent")));
    assert!(task.deadline <= view.snapshot.task(&parent).unwrap().task.deadline);
    assert_eq!(uses_left(&house, &parent), Some(3), "uses move");
    assert_eq!(house.count(child.as_str(), "opened"), 1);

    // Only whose task it is gets a token for it.
    let theirs = house.broker.issue_token(house.token_request("desk-agent", Some(&child))).await;
    assert_eq!(reason(theirs), Reason::TaskUnknown);
    house.reserve(&child, "pay", cents(40)).await.unwrap();
    assert_eq!(house.kind(&child, "pay", cents(21)).await, DecisionKind::Deny);
    assert_eq!(house.kind(&child, "pay", cents(20)).await, DecisionKind::Permit);
    assert_eq!(house.kind(&child, "read_ticket", json!({})).await, DecisionKind::Deny);
    assert_eq!(house.kind(&parent, "pay", cents(41)).await, DecisionKind::Deny, "totals move");
    assert_eq!(house.kind(&parent, "pay", cents(40)).await, DecisionKind::Permit);
}

#[tokio::test(flavor = "multi_thread")]
async fn ending_the_task_above_stops_the_other_agent_at_once() {
    let house = House::delegating().await;
    let parent = payer(&house).await;
    let child = house.hand_on(&parent, &[payments(2, 60)]).await.unwrap();
    let held = house.decide(&child, "pay", cents(1)).await;
    assert_eq!(held.kind, DecisionKind::Permit);
    house.close(&parent).await.unwrap();
    let after: Decision = house.decide(&child, "pay", cents(1)).await;
    assert_eq!(after.kind, DecisionKind::Deny);
    assert_eq!(after.reasons, [Reason::TaskUnknown]);
    house.drained().await;
    assert_eq!(house.count(child.as_str(), "closed"), 1);
    let refused = house.reserve_decided(&child, &held, cents(1)).await;
    assert_eq!(reason(refused), Reason::TaskUnknown, "what was permitted before is not forwarded");
    let refused = house.hand_on(&parent, &[payments(1, 1)]).await;
    assert_eq!(reason(refused), Reason::TaskUnknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_part_is_refused_with_what_is_wider_and_recorded() {
    let house = House::delegating().await;
    let parent = payer(&house).await;
    let refused = house.hand_on(&parent, &[read(), payments(6, 1)]).await;
    assert!(matches!(&refused, Err(BrokerError::NotAPart(_))), "{refused:?}");
    assert!(text(refused).contains("allow[1]: grant_"));
    house.hand.run_s(2);
    let text = text(house.hand_on(&parent, &[allow("send")]).await);
    assert!(text.contains("`desk.tool.send` names operations that `desk.tool."), "{text}");
    assert_eq!(uses_left(&house, &parent), Some(5), "nothing moved");
    assert_eq!(house.broker.view().snapshot.tasks.len(), 1);
    let told = || {
        let leaves = house.leaves();
        let headers = leaves.iter().map(|leaf| leaf.header().clone());
        let refused =
            |header: &Map<String, Value>| header.get("event") == Some(&json!("delegation_refused"));
        headers.filter(refused).collect::<Vec<_>>()
    };
    let both = async {
        while told().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), both).await.expect("two records");
    for header in told() {
        assert_eq!(header["reasons"], json!(["not_a_part"]));
        assert_eq!((&header["task"], &header["to"]), (&json!(parent), &json!("mail-agent")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_policy_lets_hands_on_and_only_their_own_task() {
    let house = House::furnished().await;
    let parent = payer(&house).await;
    let refused = house.hand_on(&parent, &[payments(1, 1)]).await;
    assert_eq!(reason(refused), Reason::PolicyDoesNotPermit);
    // Whom nothing may be handed on to is not told from whom nobody knows.
    let refused = house.hand_on_by("desk-agent", &parent, "nobody", &[payments(1, 1)]).await;
    assert_eq!(reason(refused), Reason::PolicyDoesNotPermit);
    house.delegate_by(DELEGATE).await;
    let refused = house.hand_on_by("desk-agent", &parent, "nobody", &[payments(1, 1)]).await;
    assert!(matches!(refused, Err(BrokerError::Missing { kind: "agent", .. })), "{refused:?}");
    let refused = house.hand_on_by("mail-agent", &parent, "mail-agent", &[payments(1, 1)]).await;
    assert_eq!(reason(refused), Reason::TaskUnknown, "another's task is no task");
    let child = house.hand_on(&parent, &[payments(1, 1)]).await.unwrap();
    let refused = house.hand_on_by("mail-agent", &child, "desk-agent", &[payments(1, 1)]).await;
    assert_eq!(
        reason(refused),
        Reason::PolicyDoesNotPermit,
        "it may not hand on what it was handed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_lets_nothing_be_handed_on_any_more_stops_what_was() {
    let house = House::delegating().await;
    let parent = payer(&house).await;
    let child = house.hand_on(&parent, &[payments(2, 60)]).await.unwrap();
    assert_eq!(house.kind(&child, "pay", cents(1)).await, DecisionKind::Permit);
    house.delegate_by(r#"@id("none") permit(principal == Carnet::Agent::"other", action == Carnet::Action::"task.delegate", resource);"#).await;
    let decision = house.decide(&child, "pay", cents(1)).await;
    assert_eq!(decision.reasons, [Reason::DelegationRefused]);
    assert_eq!(house.kind(&parent, "pay", cents(1)).await, DecisionKind::Permit);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_a_person_must_approve_waits_for_them() {
    let house = House::furnished().await;
    let asks = r#"@id("handing-on-asks") @approvers("team:finance") @threshold("1") @timeout_s("900")
        forbid(principal, action == Carnet::Action::"task.delegate", resource == Carnet::Operation::"desk.tool.pay");"#;
    let files =
        [("permit/all.cedar", PERMIT), ("permit/on.cedar", DELEGATE), ("ask/on.cedar", asks)];
    house.activate(&files).await;
    let parent = house.open(&[pay(json!({ "uses": 5 }))]).await.unwrap();
    let child = house.hand_on(&parent, &[pay(json!({ "uses": 1 }))]).await.unwrap();
    assert_eq!(house.kind(&child, "pay", json!({})).await, DecisionKind::Deny);
    let [asked] = &house.broker.pending_approvals()[..] else { panic!("not one question") };
    let (state, _) = house.broker.approve(&asked.id, &user("bo")).await.unwrap();
    assert_eq!(state, ApprovalState::Approved);
    assert_eq!(house.kind(&child, "pay", json!({})).await, DecisionKind::Permit);
    // Who said yes must be among those policy names today.
    let files = [
        ("permit/all.cedar", PERMIT),
        ("permit/on.cedar", DELEGATE),
        ("ask/on.cedar", &asks.replace("team:finance", "team:engineering")),
    ];
    house.activate(&files).await;
    let decision = house.decide(&child, "pay", json!({})).await;
    assert_eq!(decision.reasons, [Reason::DelegationRefused]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_at_once_never_gets_more_than_there_is() {
    let house = Arc::new(House::delegating().await);
    let parent = payer(&house).await;
    let asking = (0..8).map(|_| {
        let (house, parent) = (Arc::clone(&house), parent.clone());
        tokio::spawn(async move { house.hand_on(&parent, &[payments(1, 10)]).await })
    });
    let mut handed_on = 0;
    for asked in asking.collect::<Vec<_>>() {
        match asked.await.unwrap() {
            Ok(_) => handed_on += 1,
            Err(BrokerError::NotAPart(_) | BrokerError::Contended { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(handed_on, 5);
    let view = house.broker.view();
    let grants = &view.snapshot.task(&parent).unwrap().grants;
    assert!(grants.iter().any(|grant| grant.state == GrantState::Exhausted));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_agent_does_not_take_the_room_of_another_by_handing_on() {
    let house = House::delegating().await;
    let parent = house.open(&[pay(json!({}))]).await.unwrap();
    for _ in 0..32 {
        house.hand_on(&parent, &[pay(json!({}))]).await.unwrap();
    }
    let refused = house.hand_on(&parent, &[pay(json!({}))]).await;
    assert_eq!(reason(refused), Reason::BudgetSpent);
    house.open_for("mail-agent", "eve", "ana", &[read()]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_on_either_agent_or_on_the_person_stops_it() {
    for target in [
        LockTarget::Agent(agent("desk-agent")),
        LockTarget::Agent(agent("mail-agent")),
        LockTarget::User(user("eve")),
        LockTarget::Everything,
    ] {
        let house = House::delegating().await;
        let parent = payer(&house).await;
        let child = house.hand_on(&parent, &[payments(1, 1)]).await.unwrap();
        assert_eq!(house.kind(&child, "pay", cents(1)).await, DecisionKind::Permit);
        let (lock, _) =
            house.broker.set_lock(target.clone(), "drill".into(), &user("ana")).await.unwrap();
        let refused = house.hand_on(&parent, &[payments(1, 1)]).await;
        assert_eq!(reason(refused), Reason::Locked, "{target:?}");
        assert_eq!(house.kind(&child, "pay", cents(1)).await, DecisionKind::Deny, "{target:?}");
        house.broker.lift_lock(&lock, &user("ana")).await.unwrap();
        house.hand_on(&parent, &[payments(1, 1)]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_taken_back_above_stops_its_part() {
    let house = House::delegating().await;
    let parent = payer(&house).await;
    let child = house.hand_on(&parent, &[payments(2, 60)]).await.unwrap();
    let view = house.broker.view();
    let whole = view.snapshot.task(&child).unwrap().grants[0].cut_from.clone().unwrap();
    let target = LockTarget::Grant(whole.clone());
    house.broker.set_lock(target, "drill".into(), &user("ana")).await.unwrap();
    let decision = house.decide(&child, "pay", cents(1)).await;
    assert_eq!(decision.kind, DecisionKind::Deny);
    assert!(decision.misses.iter().any(|(_, miss)| *miss == Miss::Above(whole.clone())));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_and_what_moved_are_there_after_a_restart() {
    let house = House::delegating().await;
    let parent = payer(&house).await;
    let child = house.hand_on(&parent, &[payments(2, 60)]).await.unwrap();
    house.reserve(&child, "pay", cents(40)).await.unwrap();
    let house = house.restart().await;
    assert_eq!(uses_left(&house, &parent), Some(3));
    assert_eq!(house.kind(&child, "pay", cents(21)).await, DecisionKind::Deny);
    assert_eq!(house.kind(&child, "pay", cents(20)).await, DecisionKind::Permit);
    let state = house.broker.view().snapshot.task(&child).unwrap().task.state.clone();
    assert_eq!(state, TaskState::Open);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_wide_and_how_deep_a_task_may_hand_on_is_bounded_by_its_budget() {
    let house = House::delegating().await;
    let mut intent = intent(&[pay(json!({}))]);
    intent.budget =
        Some(carnet_core::Budget { fan_out: Some(1), depth: Some(1), ..Default::default() });
    let request = carnet_broker::OpenTask {
        agent: agent("desk-agent"),
        subject: Principal::User(user("eve")),
        opened_by: Principal::User(user("ana")),
        intent,
        standing: false,
    };
    let (parent, _) = house.broker.open_task(request).await.unwrap();
    let myself = |of| house.hand_on_by("desk-agent", of, "desk-agent", &[]);
    let empty = myself(&parent).await.unwrap();
    assert!(text(myself(&parent).await).contains("budget.fan_out"));
    assert!(text(myself(&empty).await).contains("budget.depth"));
}

#[tokio::test(flavor = "multi_thread")]
async fn handing_on_makes_no_room_for_more_questions_and_none_for_one_a_person_said_no_to() {
    let house = House::delegating().await;
    let parent = house.open(&[pay(json!({})), allow("send")]).await.unwrap();
    let asking = |text: &str| json!({ "text": text });
    let child = house.hand_on(&parent, &[allow("send")]).await.unwrap();
    let denied = house.ask(&parent, "send", asking("again")).await.unwrap();
    house.broker.deny(&denied, &user("bo")).await.unwrap();
    let refused = house.ask_by("mail-agent", &child, "send", asking("again")).await;
    assert_eq!(reason(refused), Reason::ApprovalDenied);
    for n in 0..6 {
        house.ask(&parent, "send", asking(&n.to_string())).await.unwrap();
    }
    let up_front = pay(json!({ "approve": "up_front" }));
    let refused =
        house.hand_on(&parent, &[up_front.clone(), up_front.clone(), up_front.clone()]).await;
    assert_eq!(reason(refused), Reason::QuestionsPending);
    house.hand_on(&parent, &[up_front]).await.unwrap();
    house.ask_by("mail-agent", &child, "send", asking("one")).await.unwrap();
    let refused = house.ask_by("mail-agent", &child, "send", asking("more")).await;
    assert_eq!(reason(refused), Reason::QuestionsPending);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_hands_on_what_it_may_not_do_itself() {
    let house = House::delegating().await;
    let parent = house.open(&[pay(json!({ "delegate_only": true, "uses": 2 }))]).await.unwrap();
    assert_eq!(house.kind(&parent, "pay", json!({})).await, DecisionKind::Deny);
    let child = house.hand_on(&parent, &[pay(json!({ "uses": 2 }))]).await.unwrap();
    assert_eq!(house.kind(&child, "pay", json!({})).await, DecisionKind::Permit);
}
