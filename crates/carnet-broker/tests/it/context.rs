//! What is done when what tasks rest on changes.

use std::sync::Arc;

use carnet_broker::BrokerError;
use carnet_broker::context::ContextChange;
use carnet_core::{
    Agent, ApprovalState, ContextEvent, ContextRules, DecisionKind, GrantState, LockTarget,
    Principal, Reaction, Reason, TaskId, TaskState,
};
use serde_json::json;

use crate::house::*;

impl House {
    fn state(&self, task: &TaskId) -> Option<TaskState> {
        self.broker.view().snapshot.task(task).map(|view| view.task.state.clone())
    }

    fn is_suspended(&self, task: &TaskId) -> bool {
        self.state(task) == Some(TaskState::Suspended)
    }

    fn why(&self, task: &TaskId) -> String {
        let view = self.broker.view();
        let held = view.snapshot.task(task).unwrap();
        held.task.suspension.as_ref().map(|it| it.why.clone()).unwrap_or_default()
    }

    async fn change(&self, name: &str, change: impl FnOnce(&mut Agent)) {
        let mut agent = (*self.broker.agent(&agent(name)).unwrap()).clone();
        change(&mut agent);
        self.broker.put_agent(agent, &user("ana")).await.unwrap();
    }

    fn follow(&self, event: ContextEvent, reaction: Reaction) {
        self.broker.follow_rules(ContextRules::of([(event, reaction)]));
    }

    async fn without(&self, name: &str) {
        let others = people().into_iter().filter(|person| person.name != user(name)).collect();
        self.broker.put_users(others).await.unwrap();
    }

    async fn tell(&self, event: ContextEvent, of: Principal) {
        let details = json!({});
        let change = ContextChange { event, of, details, forgets_copies: false };
        let by = Principal::User(user("ana"));
        self.broker.change_context(&change, &by).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_task_permits_nothing_until_it_is_resumed() {
    let house = House::furnished().await;
    let task = house.open(&[read()]).await.unwrap();
    house.broker.suspend_task(&task, "a doubt", &user("dee")).await.unwrap();
    let decision = house.decide(&task, "read_ticket", json!({})).await;
    assert_eq!(decision.reasons, [Reason::TaskNotOpen]);
    let refused = house.broker.issue_token(house.token_request("desk-agent", Some(&task))).await;
    assert_eq!(reason(refused), Reason::TaskNotOpen);
    assert_eq!(house.why(&task), "a doubt");
    let house = house.restart().await;
    assert!(house.is_suspended(&task));
    house.broker.resume_task(&task, &user("ana")).await.unwrap();
    assert_eq!(house.kind(&task, "read_ticket", json!({})).await, DecisionKind::Permit);
    assert_eq!(house.why(&task), "");
    house.drained().await;
    assert_eq!(house.count(task.as_str(), "suspended"), 1);
    assert_eq!(house.count(task.as_str(), "resumed"), 1);
    house.stop().await.verify_ledger();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_not_suspended_is_not_resumed_and_one_that_is_over_is_not_suspended() {
    let house = House::furnished().await;
    let task = house.open(&[read()]).await.unwrap();
    let error = house.broker.resume_task(&task, &user("ana")).await.unwrap_err();
    assert_eq!(error.code(), "illegal_transition");
    house.close(&task).await.unwrap();
    let error = house.broker.suspend_task(&task, "late", &user("ana")).await.unwrap_err();
    assert!(matches!(error, BrokerError::Missing { .. }), "{error}");
    let task = house.open(&[read()]).await.unwrap();
    house.broker.suspend_task(&task, "a doubt", &user("ana")).await.unwrap();
    house.hand.pass_s(3_601);
    assert_eq!(reason(house.broker.resume_task(&task, &user("ana")).await), Reason::TaskExpired);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_below_a_suspended_task_is_suspended_and_resumed_with_it() {
    let house = House::delegating().await;
    let parent = house.open(&[read()]).await.unwrap();
    let child = house.hand_on(&parent, &[read()]).await.unwrap();
    assert_eq!(house.kind(&child, "read_ticket", json!({})).await, DecisionKind::Permit);
    house.broker.suspend_task(&parent, "a doubt", &user("ana")).await.unwrap();
    assert!(house.is_suspended(&child));
    assert_ne!(house.kind(&child, "read_ticket", json!({})).await, DecisionKind::Permit);
    // Not by itself, while the one above is suspended.
    let refused = house.broker.resume_task(&child, &user("ana")).await;
    assert_eq!(reason(refused), Reason::AncestorClosed);
    house.broker.resume_task(&parent, &user("ana")).await.unwrap();
    assert_eq!(house.kind(&child, "read_ticket", json!({})).await, DecisionKind::Permit);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_suspended_for_its_own_sake_is_not_resumed_with_what_is_above() {
    let house = House::delegating().await;
    let parent = house.open(&[read()]).await.unwrap();
    let child = house.hand_on(&parent, &[read()]).await.unwrap();
    house.broker.suspend_task(&parent, "a doubt", &user("ana")).await.unwrap();
    house.change("mail-agent", |agent| agent.environment = "production".into()).await;
    house.broker.resume_task(&parent, &user("ana")).await.unwrap();
    assert_eq!(house.kind(&parent, "read_ticket", json!({})).await, DecisionKind::Permit);
    assert!(house.is_suspended(&child));
    assert!(house.why(&child).contains("agent_changed"), "{}", house.why(&child));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_approved_before_is_asked_again_after() {
    let house = House::furnished().await;
    let task = house.open(&[read(), allow("send")]).await.unwrap();
    let arguments = json!({ "text": "hello" });
    let asked = house.ask(&task, "send", arguments.clone()).await.unwrap();
    house.broker.approve(&asked, &user("bo")).await.unwrap();
    assert_eq!(house.kind(&task, "send", arguments.clone()).await, DecisionKind::Permit);
    house.broker.suspend_task(&task, "a doubt", &user("ana")).await.unwrap();
    house.broker.resume_task(&task, &user("ana")).await.unwrap();
    assert_eq!(house.kind(&task, "send", arguments.clone()).await, DecisionKind::Ask);
    let again = house.ask(&task, "send", arguments.clone()).await.unwrap();
    assert_ne!(asked, again);
    house.broker.approve(&again, &user("bo")).await.unwrap();
    assert_eq!(house.kind(&task, "send", arguments).await, DecisionKind::Permit);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowance_approved_up_front_waits_for_a_person_again() {
    let house = House::furnished().await;
    let task = house.open(&[read(), allow("wire")]).await.unwrap();
    let pending = || house.broker.pending_approvals();
    let first = pending()[0].id.clone();
    for person in ["bo", "cy"] {
        house.broker.approve(&first, &user(person)).await.unwrap();
    }
    assert_eq!(house.kind(&task, "wire", json!({})).await, DecisionKind::Permit);
    house.broker.suspend_task(&task, "a doubt", &user("ana")).await.unwrap();
    house.broker.resume_task(&task, &user("ana")).await.unwrap();
    assert_ne!(house.kind(&task, "wire", json!({})).await, DecisionKind::Permit);
    let again = pending();
    assert_eq!(again.len(), 1);
    assert_ne!(again[0].id, first);
    for person in ["bo", "cy"] {
        house.broker.approve(&again[0].id, &user(person)).await.unwrap();
    }
    assert_eq!(house.kind(&task, "wire", json!({})).await, DecisionKind::Permit);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_what_a_person_approved_is_handed_on_again() {
    let house = House::delegating().await;
    let task = house.open(&[read(), allow("wire")]).await.unwrap();
    let first = house.broker.pending_approvals()[0].id.clone();
    for person in ["bo", "cy"] {
        house.broker.approve(&first, &user(person)).await.unwrap();
    }
    let child = house.hand_on(&task, &[allow("wire")]).await.unwrap();
    house.broker.suspend_task(&task, "a doubt", &user("ana")).await.unwrap();
    house.broker.resume_task(&task, &user("ana")).await.unwrap();
    let again = house.broker.pending_approvals()[0].id.clone();
    for person in ["bo", "cy"] {
        house.broker.approve(&again, &user(person)).await.unwrap();
    }
    let view = house.broker.view();
    assert_eq!(view.snapshot.task(&child).unwrap().grants[0].state, GrantState::Revoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_were_asked_for_a_suspended_task_is_cancelled() {
    let house = House::furnished().await;
    let task = house.open(&[read(), allow("send")]).await.unwrap();
    let asked = house.ask(&task, "send", json!({ "text": "hello" })).await.unwrap();
    house.broker.suspend_task(&task, "a doubt", &user("ana")).await.unwrap();
    assert_eq!(house.broker.approval(&asked).unwrap().state, ApprovalState::Cancelled);
    assert!(house.broker.approve(&asked, &user("bo")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_registered_otherwise_has_its_tasks_suspended() {
    let changes: [fn(&mut Agent); 4] = [
        |agent| agent.owner = "user:ana".parse().unwrap(),
        |agent| agent.environment = "production".into(),
        |agent| agent.selectors.as_mut().unwrap().uid = 2,
        |agent| agent.standing = Some(intent(&[read()])),
    ];
    for change in changes {
        let house = House::furnished().await;
        let task = house.open(&[read()]).await.unwrap();
        let other = house.open_for("mail-agent", "eve", "ana", &[read()]).await.unwrap();
        house.change("desk-agent", |_| {}).await;
        house.change("desk-agent", |agent| agent.bearer_read = true).await;
        assert!(
            !house.is_suspended(&task),
            "what is the same, or looked at each time, is no change"
        );
        house.change("desk-agent", change).await;
        assert!(house.is_suspended(&task));
        assert!(!house.is_suspended(&other));
        house.drained().await;
        assert_eq!(house.count("desk-agent", "context.changed"), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_is_refused_suspends_nothing() {
    let house = House::furnished().await;
    let task = house.open(&[read()]).await.unwrap();
    let mut wrong = (*house.broker.agent(&agent("desk-agent")).unwrap()).clone();
    wrong.owner = "user:nobody".parse().unwrap();
    house.broker.put_agent(wrong, &user("ana")).await.unwrap_err();
    assert!(!house.is_suspended(&task));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_rule_is_obeyed() {
    let changed = |agent: &mut Agent| agent.environment = "production".into();
    let house = House::furnished().await;
    house.follow(ContextEvent::AgentChanged, Reaction::Close);
    let task = house.open(&[read()]).await.unwrap();
    house.change("desk-agent", changed).await;
    assert_eq!(house.state(&task), None);

    let house = House::furnished().await;
    house.follow(ContextEvent::AgentChanged, Reaction::Record);
    let task = house.open(&[read()]).await.unwrap();
    house.change("desk-agent", changed).await;
    assert_eq!(house.kind(&task, "read_ticket", json!({})).await, DecisionKind::Permit);
    house.drained().await;
    assert_eq!(house.count("desk-agent", "context.changed"), 1);

    let house = House::furnished().await;
    house.follow(ContextEvent::AgentChanged, Reaction::Lock);
    let task = house.open(&[read()]).await.unwrap();
    house.instance("desk-agent", &task).await;
    house.change("desk-agent", changed).await;
    assert_eq!(house.decide(&task, "read_ticket", json!({})).await.reasons, [Reason::Locked]);
    let view = house.broker.view();
    let target = LockTarget::Agent(agent("desk-agent"));
    assert!(view.snapshot.locks.values().any(|lock| lock.target == target));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_removed_loses_everything_and_gets_nothing() {
    let house = House::delegating().await;
    let task = house.open(&[read()]).await.unwrap();
    let child = house.hand_on(&task, &[read()]).await.unwrap();
    house.instance("desk-agent", &task).await;
    house.broker.remove_agent(&agent("desk-agent"), &user("ana")).await.unwrap();
    assert_eq!((house.state(&task), house.state(&child)), (None, None));
    let request = house.token_request("desk-agent", Some(&task));
    assert_eq!(reason(house.broker.issue_token(request).await), Reason::AgentUnknown);
    house.open(&[read()]).await.unwrap_err();
    let gone = house.broker.remove_agent(&agent("desk-agent"), &user("ana")).await.unwrap_err();
    assert!(matches!(gone, BrokerError::Missing { .. }), "{gone}");
    let view = house.broker.view();
    assert!(view.snapshot.instances.values().all(|copy| copy.agent != agent("desk-agent")));
    let house = house.restart().await;
    assert!(house.broker.agent(&agent("desk-agent")).is_none());
    house.stop().await.verify_ledger();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_owner_is_gone_has_its_tasks_suspended() {
    let house = House::furnished().await;
    let task = house.open(&[read()]).await.unwrap();
    house.without("dee").await;
    assert!(house.is_suspended(&task));
    assert!(house.why(&task).contains("owner_gone"));
    // The owner is back: what was in doubt is still for an operator to settle.
    house.broker.put_users(people()).await.unwrap();
    assert_eq!(house.decide(&task, "read_ticket", json!({})).await.reasons, [Reason::TaskNotOpen]);
    house.broker.resume_task(&task, &user("ana")).await.unwrap();
    assert_eq!(house.kind(&task, "read_ticket", json!({})).await, DecisionKind::Permit);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_that_nobody_is_in_any_more_owns_nothing() {
    let house = House::furnished().await;
    house.change("desk-agent", |agent| agent.owner = "team:engineering".parse().unwrap()).await;
    let task = house.open(&[read()]).await.unwrap();
    house.without("dee").await;
    assert!(house.is_suspended(&task));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_for_or_by_a_person_who_is_gone_is_closed() {
    let house = House::furnished().await;
    let hers = house.open_for("desk-agent", "eve", "ana", &[read()]).await.unwrap();
    let other = house.open_for("desk-agent", "bo", "ana", &[read()]).await.unwrap();
    house.without("eve").await;
    assert_eq!(house.state(&hers), None);
    assert_eq!(house.state(&other), Some(TaskState::Open));
    house.without("ana").await;
    assert_eq!(house.state(&other), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_does_what_its_rule_says() {
    for event in ContextEvent::ALL {
        for reaction in [Reaction::Record, Reaction::Suspend, Reaction::Close, Reaction::Lock] {
            let house = House::furnished().await;
            house.follow(event, reaction);
            let task = house.open(&[read()]).await.unwrap();
            house.tell(event, Principal::User(user("eve"))).await;
            let decision = house.decide(&task, "read_ticket", json!({})).await;
            let expected: &[Reason] = match reaction {
                Reaction::Record => &[],
                Reaction::Suspend => &[Reason::TaskNotOpen],
                Reaction::Close => &[Reason::TaskUnknown],
                Reaction::Lock => &[Reason::Locked],
            };
            assert_eq!(decision.reasons, expected, "{event} {reaction:?}");
            house.drained().await;
            assert_eq!(house.count("eve", "context.changed"), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_tasks_rest_on_it_all_are_suspended_before_the_change() {
    let house = House::furnished().await;
    let mut tasks = Vec::new();
    for _ in 0..60 {
        tasks.push(house.open(&[read()]).await.unwrap());
    }
    house.change("desk-agent", |agent| agent.environment = "production".into()).await;
    assert!(tasks.iter().all(|task| house.is_suspended(task)));
    house.drained().await;
    let leaves = house.leaves();
    let transition = |leaf: &carnet_ledger::Leaf| leaf.header().get("transition").cloned();
    let suspended = leaves.iter().rposition(|leaf| transition(leaf) == Some(json!("suspended")));
    let registered = leaves.iter().rposition(|leaf| transition(leaf) == Some(json!("registered")));
    assert!(suspended < registered);
    let changed = leaves.iter().find(|leaf| transition(leaf) == Some(json!("context.changed")));
    assert_eq!(changed.unwrap().header()["tasks_count"], 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_between_the_suspension_and_the_change_leaves_nothing_open() {
    let house = Arc::new(House::furnished().await);
    let tasks = [house.open(&[read()]).await.unwrap(), house.open(&[read()]).await.unwrap()];
    // The registration widens and waits for its record; the suspension does not.
    house.disk.close();
    let changing = {
        let house = Arc::clone(&house);
        tokio::spawn(async move {
            let mut agent = (*house.broker.agent(&agent("desk-agent")).unwrap()).clone();
            agent.environment = "production".into();
            let _ = house.broker.put_agent(agent, &user("ana")).await;
        })
    };
    let mut revisions = house.broker.revisions();
    while !tasks.iter().all(|task| house.is_suspended(task)) {
        revisions.changed().await.unwrap();
    }
    changing.abort();
    let _ = changing.await;
    let house = Arc::into_inner(house).unwrap().restart().await;
    assert!(tasks.iter().all(|task| house.is_suspended(task)));
    house.stop().await.verify_ledger();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_told_by_the_old_selectors_is_forgotten_and_stays_so_with_its_old_identity() {
    let house = House::furnished().await;
    house.follow(ContextEvent::AgentChanged, Reaction::Record);
    let task = house.open(&[read()]).await.unwrap();
    let operation = house.operation("read_ticket", json!({}));
    let caller = house.caller(&task, &operation).await;
    let check = |house: &House| {
        carnet_core::check_caller(&house.broker.view().snapshot, &caller, house.broker.now())
    };
    check(&house).unwrap();
    let issued = house.now();
    house.change("desk-agent", |agent| agent.environment = "production".into()).await;
    check(&house).unwrap();
    assert!(house.broker.is_attested_since(&agent("desk-agent"), issued));
    house.change("desk-agent", |agent| agent.selectors.as_mut().unwrap().uid = 2).await;
    assert_eq!(check(&house), Err(Reason::InstanceUnknown));
    assert!(!house.broker.is_attested_since(&agent("desk-agent"), issued));
    let house = house.restart().await;
    assert!(!house.broker.is_attested_since(&agent("desk-agent"), issued));
    house.hand.pass_s(1);
    assert!(house.broker.is_attested_since(&agent("desk-agent"), house.now()));
    assert!(house.broker.is_attested_since(&agent("mail-agent"), issued));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_standing_task_is_not_gone_round_by_another() {
    let house = House::furnished().await;
    let issued = house.broker.issue_token(house.token_request("mail-agent", None)).await.unwrap();
    house.tell(ContextEvent::RiskLevelHigh, Principal::Agent(agent("mail-agent"))).await;
    assert!(house.is_suspended(&issued.task));
    let again = house.broker.issue_token(house.token_request("mail-agent", None)).await;
    assert_eq!(reason(again), Reason::TaskNotOpen);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_registered_again_is_not_proven_with_what_was_given_before() {
    let house = House::furnished().await;
    let name = agent("desk-agent");
    let registered = (*house.broker.agent(&name).unwrap()).clone();
    house.broker.remove_agent(&name, &user("ana")).await.unwrap();
    house.hand.pass_s(10);
    let between = house.now();
    house.hand.pass_s(10);
    house.broker.put_agent(registered, &user("ana")).await.unwrap();
    assert!(!house.broker.is_attested_since(&name, between));
    house.hand.pass_s(10);
    assert!(house.broker.is_attested_since(&name, house.now()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_recorded_is_no_brake() {
    let house = House::furnished().await;
    house.store.is_full.store(true, std::sync::atomic::Ordering::Relaxed);
    let change = |event| ContextChange {
        event,
        of: Principal::User(user("eve")),
        details: json!({}),
        forgets_copies: false,
    };
    let by = Principal::User(user("ana"));
    house.broker.change_context(&change(ContextEvent::RiskLevelLow), &by).await.unwrap_err();
    let task = house.broker.change_context(&change(ContextEvent::RiskLevelHigh), &by).await;
    assert_eq!(task.unwrap().revision, None, "what takes away takes effect all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_takes_effect_where_nothing_can_be_written() {
    let house = House::furnished().await;
    let task = house.open(&[read()]).await.unwrap();
    house.store.is_full.store(true, std::sync::atomic::Ordering::Relaxed);
    let done = house.broker.suspend_task(&task, "a doubt", &user("ana")).await.unwrap();
    assert_eq!(done.revision, None, "it says that it is not durable");
    assert!(house.is_suspended(&task));
}
