//! Tokens: identity alone earns none.

use carnet_broker::TokenRequest;
use carnet_core::{LockTarget, Path, Reason};
use serde_json::json;

use crate::house::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_standing_task_is_opened_once_and_only_where_there_is_a_standing_intent() {
    let house = House::furnished().await;
    let none = house.broker.issue_token(house.token_request("desk-agent", None)).await;
    assert_eq!(reason(none), Reason::TaskUnknown);
    let broker = &house.broker;
    let request = || broker.issue_token(house.token_request("mail-agent", None));
    let (one, two, three) = tokio::join!(request(), request(), request());
    let tasks = [one, two, three].map(|issued| issued.unwrap().task);
    assert!(tasks.iter().all(|task| *task == tasks[0]), "{tasks:?}");
    let view = house.broker.view();
    assert!(view.snapshot.task(&tasks[0]).unwrap().task.standing);
    // Ended like any task; the next call opens another.
    house.close(&tasks[0]).await.unwrap();
    let next = house.broker.issue_token(house.token_request("mail-agent", None)).await.unwrap();
    assert_ne!(next.task, tasks[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_agents_task_is_as_unknown_as_one_that_never_was() {
    let house = House::furnished().await;
    let task = house.open(&[read()]).await.unwrap();
    let told = |task: &str| {
        let request = house.token_request("mail-agent", Some(&task.parse().unwrap()));
        let broker = house.broker.clone();
        let task = task.to_owned();
        async move {
            let error = broker.issue_token(request).await.unwrap_err();
            (error.code(), error.to_string().replace(&task, "it"))
        }
    };
    let never = told("task_0123").await;
    assert_eq!(never.0, "task_unknown");
    assert_eq!(told(task.as_str()).await, never);
    // Not by its state either.
    let target = LockTarget::Task(task.clone());
    let lock = house.broker.set_lock(target, "a test".into(), &user("ana")).await.unwrap().0;
    assert_eq!(told(task.as_str()).await, never);
    house.broker.lift_lock(&lock, &user("ana")).await.unwrap();
    house.hand.pass_s(3_600);
    assert_eq!(told(task.as_str()).await, never);
    house.broker.sweep().await.unwrap();
    assert_eq!(told(task.as_str()).await, never);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unbound_token_is_for_reading_and_only_where_the_agent_may_bear_one() {
    let house = House::furnished().await;
    let task = house.open(&[read(), pay(json!({}))]).await.unwrap();
    let unbound = |path| TokenRequest {
        thumbprint: None,
        path,
        ..house.token_request("desk-agent", Some(&task))
    };
    for path in [Path::Read, Path::Write] {
        let refused = house.broker.issue_token(unbound(path)).await;
        assert_eq!(reason(refused), Reason::ProofRequired);
    }
    let mut bearing = (*house.broker.agent(&agent("desk-agent")).unwrap()).clone();
    bearing.bearer_read = true;
    house.broker.put_agent(bearing, &user("ana")).await.unwrap();
    assert!(!house.broker.issue_token(unbound(Path::Read)).await.unwrap().is_bound);
    let refused = house.broker.issue_token(unbound(Path::Write)).await;
    assert_eq!(reason(refused), Reason::ProofRequired);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_issued_where_no_call_could_be_live() {
    let house = House::furnished().await;
    let task = house.open(&[read()]).await.unwrap();
    let instance = house.instance("desk-agent", &task).await;
    let request = || house.token_request("desk-agent", Some(&task));
    let targets = [
        LockTarget::Everything,
        LockTarget::Agent(agent("desk-agent")),
        LockTarget::Instance(instance),
        LockTarget::Resource("desk".parse().unwrap()),
        LockTarget::User(user("eve")),
        LockTarget::Task(task.clone()),
    ];
    for target in targets {
        let shown = format!("{target:?}");
        let lock = house.broker.set_lock(target, "a test".into(), &user("ana")).await.unwrap().0;
        let refused = house.broker.issue_token(request()).await;
        assert_eq!(reason(refused), Reason::Locked, "{shown}");
        house.broker.lift_lock(&lock, &user("ana")).await.unwrap();
    }
    // On the write path a person could be asked; on the admin path there is nothing.
    let admin = TokenRequest { path: Path::Admin, ..request() };
    assert_eq!(reason(house.broker.issue_token(admin).await), Reason::NotCovered);
    house.hand.run_s(3_601);
    assert_eq!(reason(house.broker.issue_token(request()).await), Reason::SnapshotStale);
    house.broker.freshen().await.unwrap();
    house.hand.pass_s(3_600);
    assert!(house.broker.issue_token(request()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_a_decision_in_the_ledger() {
    let house = House::furnished().await;
    let task = house.open(&[read()]).await.unwrap();
    let admin =
        || TokenRequest { path: Path::Admin, ..house.token_request("desk-agent", Some(&task)) };
    for _ in 0..10 {
        assert_eq!(reason(house.broker.issue_token(admin()).await), Reason::NotCovered);
    }
    house.hand.run_s(1);
    assert_eq!(reason(house.broker.issue_token(admin()).await), Reason::NotCovered);
    let refused = || {
        let leaves = house.leaves();
        let headers = leaves.iter().map(|leaf| leaf.header().clone());
        headers.filter(|header| header.contains_key("count")).collect::<Vec<_>>()
    };
    let both = async {
        while refused().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), both).await.expect("two records");
    let counts = refused();
    assert_eq!(counts.iter().map(|it| it["count"].clone()).collect::<Vec<_>>(), [1, 10]);
    assert_eq!(counts[0]["reasons"], json!(["not_covered"]));
    assert_eq!((&counts[0]["task"], &counts[0]["path"]), (&json!(task), &json!("admin")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_copy_is_not_back_with_another_key() {
    let house = House::furnished().await;
    let task = house.open(&[read()]).await.unwrap();
    let instance = house.instance("desk-agent", &task).await;
    let other = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA".parse().unwrap();
    let with_other_key = || TokenRequest {
        thumbprint: Some(other),
        ..house.token_request("desk-agent", Some(&task))
    };
    let target = LockTarget::Instance(instance);
    let lock = house.broker.set_lock(target, "a test".into(), &user("ana")).await.unwrap().0;
    assert_eq!(reason(house.broker.issue_token(with_other_key()).await), Reason::Locked);
    house.broker.lift_lock(&lock, &user("ana")).await.unwrap();
    assert!(house.broker.issue_token(with_other_key()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_with_its_task_and_is_recorded_before_it_is_handed_out() {
    let house = House::furnished().await;
    let task = house.open(&[read()]).await.unwrap();
    let issued = house.broker.issue_token(house.token_request("desk-agent", Some(&task))).await;
    assert_eq!(issued.unwrap().ttl_s, 300);
    house.hand.pass_s(3_590);
    let issued = house.broker.issue_token(house.token_request("desk-agent", Some(&task))).await;
    assert_eq!(issued.unwrap().ttl_s, 10);
    let leaves = house.leaves();
    let issued = leaves
        .iter()
        .filter(|leaf| leaf.header().get("transition").is_some_and(|word| word == "token_issued"));
    assert_eq!(issued.count(), 2);
    house.disk.fail();
    let unrecorded = house.broker.issue_token(house.token_request("desk-agent", Some(&task))).await;
    assert!(unrecorded.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn running_copies_are_bounded_and_the_oldest_is_forgotten() {
    let house = House::furnished().await;
    let task = house.open(&[read()]).await.unwrap();
    let first = house.instance("desk-agent", &task).await;
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for n in 0..256 {
        house.hand.pass_s(1);
        let mut key = [b'A'; 43];
        (key[0], key[1]) = (letters[1 + n % 63], letters[n / 63]);
        let key: carnet_identity::Thumbprint = std::str::from_utf8(&key).unwrap().parse().unwrap();
        let request = TokenRequest {
            thumbprint: Some(key),
            ..house.token_request("desk-agent", Some(&task))
        };
        house.broker.issue_token(request).await.unwrap();
    }
    let view = house.broker.view();
    assert_eq!(view.snapshot.instances.len(), 256);
    assert!(!view.snapshot.instances.contains_key(&first));
    house.broker.issue_token(house.token_request("desk-agent", Some(&task))).await.unwrap();
    assert!(house.broker.view().snapshot.instances.contains_key(&first), "its next token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_call_opens_a_standing_task_whatever_the_agent_is_called() {
    let house = House::furnished().await;
    // Names that once shared a lane with themselves, and waited for it until the caller gave up.
    for name in ["agent-52", "hr", "data-1"] {
        house.put_agent(name, Some(intent(&[read()]))).await;
        let asked = house.broker.issue_token(house.token_request(name, None));
        let issued = tokio::time::timeout(std::time::Duration::from_secs(60), asked).await;
        issued.expect("it waits for itself").unwrap();
    }
}
