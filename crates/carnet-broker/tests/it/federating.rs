//! Tokens for clouds: decided, recorded and counted as any operation; and the leases they are.

use std::sync::Arc;
use std::time::Duration;

use carnet_broker::keys::KeyPurpose;
use carnet_broker::{BrokerError, Federated, FederationRequest, FederationToken, Review};
use carnet_core::{
    ArgumentKind, Digest, EffectClass, FederationTarget, Lease, LeaseState, LockTarget, Path,
    Reach, Reason, Resource, TaskId, TaskState, Transport, Upstream,
};
use carnet_store::{Kind, Store as _};
use serde_json::{Value, json};

use crate::house::*;

const PERMIT_AWS: &str = r#"
@id("support-opens-aws") permit(principal in Carnet::Team::"support", action == Carnet::Action::"task.open", resource in Carnet::Resource::"aws");
@id("agents-federate") permit(principal is Carnet::Agent, action in Carnet::Action::"call", resource in Carnet::Resource::"aws");
@id("hands-on-aws") permit(principal == Carnet::Agent::"desk-agent", action == Carnet::Action::"task.delegate", resource in Carnet::Resource::"aws");
@id("finance-answers-aws") permit(principal in Carnet::Team::"finance", action == Carnet::Action::"approval.decide", resource in Carnet::Resource::"aws");
"#;
const ASK_AWS: &str = r#"
@id("admin-asks") @approvers("team:finance") @threshold("1") @timeout_s("900")
forbid(principal is Carnet::Agent, action == Carnet::Action::"mcp.admin", resource in Carnet::Resource::"aws");
"#;
/// How long what the target gives for a token may live after it.
const SESSION_S: i64 = 900;

fn target() -> FederationTarget {
    FederationTarget {
        audience: "sts.amazonaws.com".into(),
        ttl_s: 100,
        session_s: 900,
        aws_tags: true,
        subject_per_path: false,
    }
}

fn aws(target: FederationTarget) -> Resource {
    let transport = Transport::Federation(target);
    Resource {
        name: "aws".parse().unwrap(),
        environment: "test".into(),
        labels: Default::default(),
        upstream: Upstream { transport, credentials: Default::default() },
        operations: Default::default(),
    }
}

fn review(path: Path) -> Review {
    let definition = target().definition(path);
    let reach = if path == Path::Read { Reach::Inside } else { Reach::Egress };
    Review {
        action: format!("aws.federation.{path}").parse().unwrap(),
        pin: Digest::of_json(&definition).unwrap(),
        definition,
        path: Some(path),
        effect: EffectClass { reversible: false, reach },
        arguments: ["role", "session_name"].map(|name| (name.into(), ArgumentKind::Text)).into(),
    }
}

async fn house() -> House {
    let house = House::furnished().await;
    house
        .activate(&[
            ("permit/all.cedar", PERMIT),
            ("permit/aws.cedar", PERMIT_AWS),
            ("ask/all.cedar", ASK),
            ("ask/aws.cedar", ASK_AWS),
        ])
        .await;
    house.broker.put_resource(aws(target()), &user("ana")).await.unwrap();
    let reviews = Path::ALL.map(review).to_vec();
    house.broker.review(&"aws".parse().unwrap(), reviews, &user("ana")).await.unwrap();
    house
}

/// An allowance for tokens of the role `refunds`.
fn refunds(more: Value) -> Value {
    let role = json!({ "role": { "equals": "refunds" } });
    let mut allow = json!({ "action": "aws.federation.write", "path": "write", "where": role });
    allow.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    allow
}

fn request(task: &TaskId, role: &str) -> FederationRequest {
    FederationRequest {
        agent: agent("desk-agent"),
        thumbprint: Some(thumbprint()),
        task: Some(task.clone()),
        resource: "aws".parse().unwrap(),
        path: Path::Write,
        role: Some(role.into()),
        session_name: None,
    }
}

async fn federate(house: &House, task: &TaskId) -> Result<FederationToken, BrokerError> {
    match house.broker.federate(request(task, "refunds")).await? {
        Federated::Issued(issued) => Ok(issued),
        Federated::Asked(approval) => panic!("{approval}"),
    }
}

async fn stored(house: &House) -> Vec<Lease> {
    let records = house.files.list(Kind::Lease, None, 100).await.unwrap();
    records.iter().map(|record| serde_json::from_slice(&record.value).unwrap()).collect()
}

fn state(house: &House, task: &TaskId) -> Option<TaskState> {
    house.broker.view().snapshot.task(task).map(|held| held.task.state.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_federation_token_is_decided_recorded_and_counted_like_any_operation() {
    let house = house().await;
    let task = house.open(&[refunds(json!({ "uses": 1 }))]).await.unwrap();
    let issued = federate(&house, &task).await.unwrap();
    assert_eq!((issued.ttl_s, &issued.task), (100, &task));
    house.drained().await;
    for transition in ["intended", "active"] {
        assert_eq!(house.count(issued.lease.as_str(), transition), 1, "{transition}");
    }
    let [lease] = &stored(&house).await[..] else { panic!("one lease") };
    assert_eq!((lease.state, &lease.id), (LeaseState::Active, &issued.lease));
    assert_eq!(lease.expires.s(), house.now().s() + 100 + SESSION_S);
    // The decision is before the lease, the lease before the outcome.
    let leaves = house.leaves();
    let said = |kind| move |leaf: &carnet_ledger::Leaf| leaf.kind() == kind;
    let decided = leaves.iter().position(|leaf| leaf.id() == lease.decision.as_str()).unwrap();
    assert_eq!(leaves[decided].header()["decision"], "permit");
    assert_eq!(leaves[decided].header()["action"], "aws.federation.write");
    let outcome = leaves.iter().position(said(carnet_ledger::Kind::Outcome)).unwrap();
    assert!(decided < outcome);
    assert_eq!(leaves[outcome].id(), lease.decision.as_str());
    assert_eq!(leaves[outcome].header()["outcome"], "done");
    // Its one use is spent.
    assert_eq!(reason(federate(&house, &task).await), Reason::NotCovered);
    assert_eq!(stored(&house).await.len(), 1);
    house.stop().await.verify_ledger();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_issued_without_a_grant_for_exactly_that() {
    let house = house().await;
    let task = house.open(&[refunds(json!({}))]).await.unwrap();
    let refused = async |request| reason(house.broker.federate(request).await.map(|_| ()));
    let good = request(&task, "refunds");
    // Another role; none; a session no binding names; another path; no key; no task.
    assert_eq!(refused(request(&task, "admins")).await, Reason::NotCovered);
    assert_eq!(refused(FederationRequest { role: None, ..good.clone() }).await, Reason::NotCovered);
    let named = FederationRequest { session_name: Some("s-1".into()), ..good.clone() };
    assert_eq!(refused(named).await, Reason::NotCovered);
    let read = FederationRequest { path: Path::Read, ..good.clone() };
    assert_eq!(refused(read).await, Reason::NotCovered);
    let unproved = FederationRequest { thumbprint: None, ..good.clone() };
    assert_eq!(refused(unproved).await, Reason::ProofRequired);
    assert_eq!(
        refused(FederationRequest { task: None, ..good.clone() }).await,
        Reason::TaskUnknown
    );
    let odd = FederationRequest { role: Some("refunds\n".into()), ..good.clone() };
    assert_eq!(refused(odd).await, Reason::ArgumentsInvalid);
    // What is there and what is not are told alike.
    let desk = FederationRequest { resource: "desk".parse().unwrap(), ..good.clone() };
    let none = FederationRequest { resource: "gcp".parse().unwrap(), ..good.clone() };
    assert_eq!(
        (refused(desk).await, refused(none).await),
        (Reason::NotCovered, Reason::NotCovered)
    );
    assert!(stored(&house).await.is_empty(), "nothing was intended either");
    assert!(federate(&house, &task).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_asked_and_what_they_said_yes_to_is_decided_again() {
    let house = house().await;
    let task = house.open(&[refunds(json!({}))]).await.unwrap();
    // Nothing of the task covers it, and policy asks for it.
    let ask = async || {
        let request = FederationRequest { path: Path::Admin, ..request(&task, "refunds") };
        house.broker.federate(request).await.unwrap()
    };
    let Federated::Asked(approval) = ask().await else { panic!("nobody was asked") };
    let Federated::Asked(again) = ask().await else { panic!("nobody was asked") };
    assert_eq!(approval, again, "asking again is the same question");
    assert!(stored(&house).await.is_empty());
    house.broker.approve(&approval, &user("bo")).await.unwrap();
    assert!(matches!(ask().await, Federated::Issued(_)));
    assert!(matches!(ask().await, Federated::Asked(_)), "a yes is one use");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_dies_with_its_target_its_path_or_its_task_whichever_is_first() {
    let house = house().await;
    let task = house.open(&[refunds(json!({}))]).await.unwrap();
    house.hand.pass_s(3600 - 30);
    assert_eq!(federate(&house, &task).await.unwrap().ttl_s, 30);
    house.hand.pass_s(30);
    assert_eq!(reason(federate(&house, &task).await), Reason::TaskNotOpen);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_task_shows_what_is_still_good_until_it_is_over() {
    let house = house().await;
    let task = house.open(&[refunds(json!({}))]).await.unwrap();
    let issued = federate(&house, &task).await.unwrap();
    let good_until = house.now().s() + 100 + SESSION_S;
    house.close(&task).await.unwrap();
    // Nothing new, at once; what is out is listed and the task says that it is not over.
    assert_eq!(reason(federate(&house, &task).await), Reason::TaskNotOpen);
    let out = house.broker.leases_out(Some(&task));
    assert_eq!((out[0].id.clone(), out[0].expires.s()), (issued.lease.clone(), good_until));
    assert!(matches!(out[0].state, LeaseState::Revoking { .. }));
    assert!(matches!(state(&house, &task), Some(TaskState::Closing { .. })));
    // A restart forgets nothing of it, nor does a second closing.
    let house = house.restart().await;
    house.close(&task).await.unwrap();
    house.hand.pass_s(100 + SESSION_S - 1);
    house.broker.sweep().await.unwrap();
    assert!(matches!(state(&house, &task), Some(TaskState::Closing { .. })));
    assert_eq!(house.broker.leases_out(None).len(), 1);
    house.hand.pass_s(1);
    house.broker.sweep().await.unwrap();
    assert_eq!((state(&house, &task), house.broker.leases_out(None).len()), (None, 0));
    house.drained().await;
    assert_eq!(house.count(issued.lease.as_str(), "expired"), 1);
    assert_eq!(
        (house.count(task.as_str(), "closing"), house.count(task.as_str(), "closed")),
        (1, 1)
    );
    let lease = stored(&house).await.remove(0);
    assert_eq!(lease.state, LeaseState::Expired { at: house.now() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_not_over_before_what_its_child_tasks_let_out_is() {
    let house = house().await;
    let parent = house.open(&[refunds(json!({}))]).await.unwrap();
    let child = house.hand_on(&parent, &[refunds(json!({}))]).await.unwrap();
    let mut request = request(&child, "refunds");
    request.agent = agent("mail-agent");
    let Ok(Federated::Issued(_)) = house.broker.federate(request).await else { panic!("refused") };
    house.close(&parent).await.unwrap();
    for task in [&parent, &child] {
        assert!(matches!(state(&house, task), Some(TaskState::Closing { .. })));
    }
    assert_eq!(house.broker.leases_out(Some(&parent)).len(), 1);
    house.hand.pass_s(100 + SESSION_S);
    house.broker.sweep().await.unwrap();
    assert_eq!((state(&house, &parent), state(&house, &child)), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_the_intention_and_the_token_leaves_no_credential_that_nobody_knows() {
    let house = house().await;
    let task = house.open(&[refunds(json!({ "uses": 1 }))]).await.unwrap();
    house.instance("desk-agent", &task).await;
    // The record of the decision cannot become durable: the token does not leave.
    house.disk.close();
    let asking = {
        let (broker, request) = (Arc::clone(&house.broker), request(&task, "refunds"));
        tokio::spawn(async move { broker.federate(request).await })
    };
    while stored(&house).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(stored(&house).await[0].state, LeaseState::Intended);
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    let house = house.restart().await;
    let lease = stored(&house).await.remove(0);
    assert!(matches!(lease.state, LeaseState::Revoked { .. }));
    assert!(house.broker.leases_out(None).is_empty());
    house.drained().await;
    assert_eq!(house.count(lease.id.as_str(), "never_issued"), 1);
    assert_eq!(house.count(lease.id.as_str(), "active"), 0);
    // What it took stays spent: nobody can say that it was not used.
    assert_eq!(reason(federate(&house, &task).await), Reason::NotCovered);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_locked_gets_no_token() {
    let house = house().await;
    let task = house.open(&[refunds(json!({}))]).await.unwrap();
    let target = LockTarget::Resource("aws".parse().unwrap());
    house.broker.set_lock(target, "a test".into(), &user("ana")).await.unwrap();
    assert_eq!(reason(federate(&house, &task).await), Reason::Locked);
    assert!(stored(&house).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_target_is_reviewed_again_and_a_review_is_of_what_the_target_is_told() {
    let house = house().await;
    let (name, ana) = ("aws".parse().unwrap(), user("ana"));
    let task = house.open(&[refunds(json!({}))]).await.unwrap();
    // Egress on the read path, another path than its name, another definition: none is a review.
    let mut sends = review(Path::Read);
    sends.effect.reach = Reach::Egress;
    let moved =
        Review { path: Some(Path::Read), effect: EffectClass::CLOSED, ..review(Path::Admin) };
    let definition = json!({ "name": "write" });
    let pin = Digest::of_json(&definition).unwrap();
    let forged = Review { definition, pin, ..review(Path::Write) };
    for bad in [sends, moved, forged] {
        assert!(house.broker.review(&name, vec![bad], &ana).await.is_err());
    }
    assert!(federate(&house, &task).await.is_ok());
    let longer = FederationTarget { ttl_s: 200, ..target() };
    house.broker.put_resource(aws(longer), &ana).await.unwrap();
    assert_eq!(reason(federate(&house, &task).await), Reason::NotCovered);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_brings_its_key_and_has_no_audience_of_ours() {
    let house = House::furnished().await;
    assert!(house.broker.federation_keys().is_empty());
    let ours = "https://carnet.example/write/mcp/desk".to_owned();
    let bad = aws(FederationTarget { audience: ours, ..target() });
    assert!(house.broker.put_resource(bad, &user("ana")).await.is_err());
    house.broker.put_resource(aws(target()), &user("ana")).await.unwrap();
    assert_eq!(house.broker.federation_keys().len(), 1);
    // Taking it away makes another in its place, as for the others.
    let keys = house.broker.keys();
    let (key, _) = keys.iter().find(|(key, _)| key.purpose == KeyPurpose::Federation).unwrap();
    house.broker.remove_key(&key.kid, &user("ana")).await.unwrap();
    assert!(house.broker.federation_keys().key(&key.kid).is_none());
    assert_eq!(house.broker.federation_keys().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_asks_on_and_on_holds_a_bounded_number_of_leases() {
    let house = house().await;
    let task = house.open(&[refunds(json!({}))]).await.unwrap();
    for _ in 0..64 {
        federate(&house, &task).await.unwrap();
    }
    assert_eq!(reason(federate(&house, &task).await), Reason::ReservationRefused);
    assert_eq!(house.broker.leases_out(Some(&task)).len(), 64);
    // Closing fits, in as many commits as it takes.
    house.close(&task).await.unwrap();
    let out = house.broker.leases_out(None);
    assert!(out.iter().all(|lease| matches!(lease.state, LeaseState::Revoking { .. })));
    house.hand.pass_s(100 + SESSION_S);
    house.broker.sweep().await.unwrap();
    assert_eq!((state(&house, &task), house.broker.leases_out(None).len()), (None, 0));
}
