//! The operators' interface: everything is authorised by policy, or is a brake.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use carnet_broker::operator::{Inspect, Offered, OperatorOptions, Operators, serve};
use carnet_core::{Identity, Resource, Selectors, UserName};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use crate::house::*;

struct Nothing;

#[async_trait]
impl Inspect for Nothing {
    async fn inspect(&self, _: &Resource) -> Result<Vec<Offered>, String> {
        Ok(Vec::new())
    }
}

/// The interface as the operator `name` sees it.
struct Desk {
    socket: std::path::PathBuf,
    serving: JoinHandle<()>,
}

impl Desk {
    async fn of(house: &House, name: &str) -> Self {
        let own = rustix::process::getuid().as_raw();
        let operators: Operators = [(own, user(name))].into();
        Self::with(house, name, operators).await
    }

    async fn with(house: &House, name: &str, operators: Operators) -> Self {
        let socket = house.dir().join(format!("{name}.sock"));
        let broker = Arc::clone(&house.broker);
        let options = OperatorOptions { operators, same_user: false };
        let serving = serve(broker, Arc::new(Nothing), options, &socket).await.unwrap();
        Self { socket, serving: tokio::spawn(serving) }
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        call(&self.socket, method, path, body.to_string()).await
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn call(socket: &Path, method: Method, path: &str, body: String) -> (StatusCode, Value) {
    try_call(socket, method, path, body).await.unwrap()
}

/// The same, where the other end may hang up before it was told everything.
async fn try_call(
    socket: &Path,
    method: Method,
    path: &str,
    body: String,
) -> hyper::Result<(StatusCode, Value)> {
    let stream = UnixStream::connect(socket).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "carnet")
        .header("content-type", "application/json")
        .body(Full::new(bytes::Bytes::from(body)))
        .unwrap();
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    connection.abort();
    Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_brake_is_refused_to_an_operator_policy_does_not_name() {
    let house = House::furnished().await;
    let task = house.open(&[read(), allow("send")]).await.unwrap();
    let asked = house.ask(&task, "send", json!({ "text": "hello" })).await.unwrap();
    let target = carnet_core::LockTarget::User(user("cy"));
    let lock = house.broker.set_lock(target, "x".into(), &user("ana")).await.unwrap().0;
    // dee is known and in no team that may do anything.
    let desk = Desk::of(&house, "dee").await;
    let agent = serde_json::to_value(&*house.broker.agent(&agent("desk-agent")).unwrap()).unwrap();
    let view = house.broker.view();
    let resource = view.snapshot.resource(&"desk".parse().unwrap()).unwrap();
    let intent = json!({ "purpose": "a test", "allow": [read()] });
    let calls = [
        (Method::PUT, "/v1/agents".to_owned(), agent),
        (Method::GET, "/v1/agents".to_owned(), Value::Null),
        (Method::PUT, "/v1/resources".to_owned(), serde_json::to_value(&**resource).unwrap()),
        (Method::GET, "/v1/resources".to_owned(), Value::Null),
        (Method::GET, "/v1/resources/desk".to_owned(), Value::Null),
        (Method::GET, "/v1/resources/desk/offers".to_owned(), Value::Null),
        (Method::POST, "/v1/resources/desk/review".to_owned(), json!([])),
        (Method::POST, "/v1/tasks".to_owned(), json!({ "agent": "desk-agent", "intent": intent })),
        (Method::GET, "/v1/tasks?all=true".to_owned(), Value::Null),
        (Method::GET, format!("/v1/tasks/{task}"), Value::Null),
        (Method::GET, "/v1/grants".to_owned(), Value::Null),
        (Method::DELETE, format!("/v1/locks/{lock}"), Value::Null),
        (Method::GET, "/v1/approvals".to_owned(), Value::Null),
        (Method::GET, format!("/v1/approvals/{asked}"), Value::Null),
        (Method::GET, "/v1/approvals/appr_0".to_owned(), Value::Null),
        (Method::POST, format!("/v1/approvals/{asked}/approve"), Value::Null),
        (Method::GET, "/v1/policy".to_owned(), Value::Null),
        (Method::POST, "/v1/policy/activate".to_owned(), json!({ "files": {} })),
        (Method::GET, "/v1/ledger/leaves".to_owned(), Value::Null),
        (Method::GET, "/v1/ledger/leaves/0".to_owned(), Value::Null),
        (Method::POST, "/v1/ledger/checkpoint".to_owned(), Value::Null),
        (Method::GET, "/v1/decisions/dec_0".to_owned(), Value::Null),
    ];
    for (method, path, body) in calls {
        let (status, answer) = desk.call(method, &path, body).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}: {answer}");
        assert!(!answer.to_string().contains("hello"), "{path} tells what was asked");
    }
    // The brakes are hers all the same.
    let brakes = [
        (format!("/v1/approvals/{asked}/deny"), Value::Null),
        ("/v1/locks".to_owned(), json!({ "target": { "agent": "desk-agent" }, "reason": "x" })),
        (format!("/v1/tasks/{task}/close"), json!({ "closure": "revoked" })),
    ];
    for (path, body) in brakes {
        let (status, answer) = desk.call(Method::POST, &path, body).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        assert_eq!(answer["instants"]["durable"], true);
    }
    house.activate(&[("permit/all.cedar", PERMIT), ("forbid/all.cedar", NOTHING)]).await;
    let (status, answer) = desk.call(Method::POST, "/v1/policy/rollback", Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_that_is_not_there_is_not_found_and_not_a_fault_of_the_ledger() {
    let house = House::furnished().await;
    let desk = Desk::of(&house, "ana").await;
    let (status, answer) = desk.call(Method::GET, "/v1/ledger/leaves/9999", Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");
    assert!(answer.to_string().contains("carnet ledger tail"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_set_is_put_in_force_that_no_operator_could_replace() {
    let house = House::furnished().await;
    let before = house.broker.active_policy().unwrap();
    let desk = Desk::of(&house, "ana").await;
    let finance = r#"@id("x") permit(principal in Carnet::Team::"finance", action == Carnet::Action::"policy.activate", resource);"#;
    let nobody = [
        json!({ "permit/all.cedar": PERMIT, "forbid/all.cedar": NOTHING }),
        // Some could, and none of them is an operator.
        json!({ "permit/all.cedar": finance }),
    ];
    for files in nobody {
        let activate = json!({ "files": files });
        let (status, answer) = desk.call(Method::POST, "/v1/policy/activate", activate).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert!(answer.to_string().contains("locked out"), "{answer}");
        assert_eq!(house.broker.active_policy().unwrap(), before);
    }
    let activate = json!({ "files": { "permit/all.cedar": PERMIT } });
    let (status, answer) = desk.call(Method::POST, "/v1/policy/activate", activate).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_on_a_name_nobody_knows_stands_and_says_so() {
    let house = House::furnished().await;
    let desk = Desk::of(&house, "ana").await;
    for (name, known) in [("desk-agent", true), ("desk-agnet", false)] {
        let lock = json!({ "target": { "agent": name }, "reason": "x" });
        let (status, answer) = desk.call(Method::POST, "/v1/locks", lock).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(answer["known"], known);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_has_an_owner_that_is_somebody_and_a_standing_intent_of_reads() {
    let house = House::furnished().await;
    let desk = Desk::of(&house, "ana").await;
    let agent = serde_json::to_value(&*house.broker.agent(&agent("desk-agent")).unwrap()).unwrap();
    let write = json!({ "purpose": "p", "allow": [read(), pay(json!({}))] });
    let wrong = [
        ("owner", json!("user:nobody"), "carnet.toml"),
        ("owner", json!("team:nobodies"), "nobody is in the team"),
        ("standing", write, "standing.allow[1].path"),
    ];
    for (member, value, told) in wrong {
        let mut changed = agent.clone();
        changed[member] = value;
        let (status, answer) = desk.call(Method::PUT, "/v1/agents", changed).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert!(answer.to_string().contains(told), "{answer}");
    }
    let (status, answer) = desk.call(Method::PUT, "/v1/agents", agent).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_of_a_task_that_never_was_are_not_found() {
    let house = House::furnished().await;
    let desk = Desk::of(&house, "ana").await;
    let (status, answer) = desk.call(Method::GET, "/v1/grants?task=task_0", Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_uid_nobody_named_is_told_that_and_nothing_else() {
    let house = House::furnished().await;
    let own = rustix::process::getuid().as_raw();
    let desk = Desk::with(&house, "stranger", [(own + 1, user("ana"))].into()).await;
    for (method, path) in [(Method::GET, "/v1/status"), (Method::POST, "/v1/policy/rollback")] {
        let (status, answer) = desk.call(method, path, Value::Null).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{answer}");
        assert_eq!(answer["code"], "not_an_operator");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_no_set_is_in_force_nothing_is_permitted() {
    let house = House::empty().await;
    house.broker.put_users(people()).await.unwrap();
    house.put_agent("mail-agent", Some(intent(&[read()]))).await;
    let desk = Desk::of(&house, "ana").await;
    let (status, answer) = desk.call(Method::GET, "/v1/agents", Value::Null).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{answer}");
    assert!(answer.to_string().contains("carnet policy activate"), "{answer}");
    assert!(house.open(&[read()]).await.is_err());
    let token = house.broker.issue_token(house.token_request("mail-agent", None)).await;
    assert!(token.is_err(), "a standing task is not opened either");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_answer_a_question_sees_it_and_nobody_elses() {
    let house = House::furnished().await;
    let task = house.open(&[read(), allow("send"), pay(json!({ "approve": "on_use" }))]).await;
    let task = task.unwrap();
    let sending = house.ask(&task, "send", json!({ "text": "hello" })).await.unwrap();
    // This one is for the agent's owner.
    let paying = house.ask(&task, "pay", json!({ "amount_cents": 5 })).await.unwrap();
    let desk = Desk::of(&house, "bo").await;
    let (status, answer) = desk.call(Method::GET, "/v1/approvals", Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    let ids: Vec<&str> =
        answer.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [sending.as_str()]);
    assert_eq!(answer[0]["from_agent"]["arguments"]["text"], "hello");
    let path = format!("/v1/approvals/{paying}");
    assert_eq!(desk.call(Method::GET, &path, Value::Null).await.0, StatusCode::FORBIDDEN);
    let path = format!("/v1/approvals/{sending}/approve");
    let (status, answer) = desk.call(Method::POST, &path, Value::Null).await;
    assert_eq!((status, &answer["state"]), (StatusCode::OK, &json!("approved")));
    let all = Desk::of(&house, "ana").await.call(Method::GET, "/v1/approvals", Value::Null).await;
    assert_eq!(all.1.as_array().unwrap().len(), 1, "ana reads the registry");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_uid_that_is_no_operators_is_turned_away() {
    let house = House::furnished().await;
    let nobody: std::collections::BTreeMap<u32, UserName> = [(u32::MAX - 7, user("ana"))].into();
    let desk = Desk::with(&house, "nobody", nobody).await;
    let (status, answer) = desk.call(Method::POST, "/v1/policy/rollback", Value::Null).await;
    assert_eq!((status, &answer["code"]), (StatusCode::FORBIDDEN, &json!("not_an_operator")));
    assert!(house.broker.active_policy().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_policy_set_is_activated_by_any_operator_and_the_next_by_policy() {
    let house = House::empty().await;
    house.broker.put_users(people()).await.unwrap();
    let own = rustix::process::getuid().as_raw();
    let operators = [(own, user("dee")), (own + 1, user("ana"))].into();
    let desk = Desk::with(&house, "dee", operators).await;
    let files = json!({ "files": { "permit/all.cedar": PERMIT } });
    let (status, answer) = desk.call(Method::POST, "/v1/policy/activate", files.clone()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (status, _) = desk.call(Method::POST, "/v1/policy/activate", files).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_too_large_is_refused_and_a_broken_set_changes_nothing() {
    let house = House::furnished().await;
    let desk = Desk::of(&house, "ana").await;
    let named = agent("desk-agent");
    let mut large = serde_json::to_value(&*house.broker.agent(&named).unwrap()).unwrap();
    large["environment"] = json!("x".repeat(3 << 20));
    // It may hang up while it is still being told: then its answer can be lost.
    let answer = try_call(&desk.socket, Method::PUT, "/v1/agents", large.to_string()).await;
    if let Ok((status, answer)) = answer {
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{answer}");
    }
    assert!(house.broker.agent(&named).unwrap().environment.len() < 100);
    let before = house.broker.view().policy.digest();
    let broken = json!({ "files": { "permit/all.cedar": "permit(principal, action);" } });
    let (status, answer) = desk.call(Method::POST, "/v1/policy/activate", broken).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    assert_eq!(house.broker.view().policy.digest(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_is_shown_with_its_grants() {
    let house = House::furnished().await;
    let task = house.open(&[read(), pay(json!({}))]).await.unwrap();
    house.close(&task).await.unwrap();
    let desk = Desk::of(&house, "ana").await;
    let (status, answer) = desk.call(Method::GET, &format!("/v1/tasks/{task}"), Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["grants"].as_array().unwrap().len(), 2);
    let (_, all) = desk.call(Method::GET, "/v1/tasks?all=true", Value::Null).await;
    assert_eq!(all.as_array().unwrap().len(), 1);
    let (_, status) = desk.call(Method::GET, "/v1/status", Value::Null).await;
    assert_eq!((&status["fresh"], &status["holding"]), (&json!(true), &json!(false)));
    assert_eq!(status["ledger"]["problem"], Value::Null);
}

const SOCKET: &str = "CARNET_TEST_OPERATOR_SOCKET";

/// Not a test by itself: what the test below starts. Without a socket it has nothing to do.
#[test]
fn the_child_that_would_be_an_operator() {
    use std::io::{Read as _, Write as _};
    let Some(socket) = std::env::var_os(SOCKET) else { return };
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: c\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    println!("{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_carnet_started_is_no_operator_under_any_uid() {
    let house = House::furnished().await;
    let desk = Desk::of(&house, "ana").await;
    assert_eq!(desk.call(Method::GET, "/v1/status", Value::Null).await.0, StatusCode::OK);
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
    let name = "operators::the_child_that_would_be_an_operator";
    child.args(["--exact", name, "--nocapture"]).env(SOCKET, &desk.socket);
    let told = String::from_utf8(child.output().await.unwrap().stdout).unwrap();
    assert!(told.contains("HTTP/1.1 403") && told.contains("was started by Carnet"), "{told}");
    // Nor is the child of a child.
    let mut child = tokio::process::Command::new("sh");
    let script =
        format!("{} --exact {name} --nocapture; exit", std::env::current_exe().unwrap().display());
    child.args(["-c", &script]).env(SOCKET, &desk.socket);
    let told = String::from_utf8(child.output().await.unwrap().stdout).unwrap();
    assert!(told.contains("was started by Carnet"), "a child of a child is one: {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_process_needs_a_user_that_is_nobody_elses() {
    let house = House::furnished().await;
    let desk = Desk::of(&house, "ana").await;
    let put = async |run_as: Value| {
        let stdio = json!({ "command": "/bin/true", "args": [], "run_as": run_as });
        let resource = json!({
            "name": "files", "environment": "test",
            "upstream": { "transport": { "stdio": stdio }, "credentials": {} },
        });
        desk.call(Method::PUT, "/v1/resources", resource).await
    };
    let (status, refused) = put(Value::Null).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
    assert!(refused.to_string().contains("same_user = true"), "{refused}");
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let taken = house.broker.agent(&agent("desk-agent")).unwrap().selectors.clone().unwrap().uid;
    let (status, refused) = put(json!({ "uid": taken, "gid": taken })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
    let (status, answer) = put(json!({ "uid": 54_321, "gid": 54_321 })).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    // And the other way round: an agent whose uid a server runs as.
    let mut next = (*house.broker.agent(&agent("desk-agent")).unwrap()).clone();
    next.selectors = next.selectors.map(|selectors| Selectors { uid: 54_321, ..selectors });
    let put = house.broker.put_agent(next, &user("ana")).await;
    assert!(put.unwrap_err().to_string().contains("could be this agent"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_tells_what_was_given_and_never_used() {
    let house = House::delegating().await;
    let task = house.open(&[read(), pay(json!({ "uses": 5 })), allow("send")]).await.unwrap();
    let child = house.hand_on(&task, &[pay(json!({ "uses": 1 }))]).await.unwrap();
    house.reserve(&child, "pay", json!({})).await.unwrap();
    let desk = Desk::of(&house, "ana").await;
    let (status, review) = desk.call(Method::GET, "/v1/agents/review", Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{review}");
    let of = |agent: &str, action: &str| {
        let agents = review.as_array().unwrap();
        let agent = agents.iter().find(|it| it["agent"] == agent).unwrap();
        let lines = agent["authority"].as_array().unwrap();
        let line = lines.iter().find(|line| line["action"] == format!("desk.tool.{action}"));
        let line = line.unwrap_or_else(|| panic!("{agent}")).clone();
        (line["granted"].clone(), line["used"].clone(), line["last_used"].is_null())
    };
    assert_eq!(of("mail-agent", "pay"), (json!(1), json!(1), false));
    assert_eq!(of("desk-agent", "pay"), (json!(1), json!(1), false), "what it handed on was used");
    assert_eq!(of("desk-agent", "send"), (json!(1), json!(0), true));
    assert_eq!(of("desk-agent", "read_ticket"), (json!(1), json!(0), true));
    assert!(review.as_array().unwrap().iter().all(|it| it["owner_known"] == true));
    // Who answers for them leaves.
    let others = people().into_iter().filter(|person| person.name != user("dee"));
    house.broker.put_users(others.collect()).await.unwrap();
    let (_, review) = desk.call(Method::GET, "/v1/agents/review", Value::Null).await;
    let known = review.as_array().unwrap().iter().map(|it| it["owner_known"] == true);
    assert_eq!(known.collect::<Vec<_>>(), [false, false]);
    assert_eq!(reason(house.open(&[read()]).await), carnet_core::Reason::OwnerUnknown);
    assert_eq!(
        house.decide(&task, "send", json!({})).await.reasons,
        [carnet_core::Reason::OwnerUnknown]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_told_by_something_and_nobody_else_by_the_same() {
    let house = House::furnished().await;
    let known = house.broker.agent(&agent("desk-agent")).unwrap();
    let put = |name: &str, uid: Option<u32>, identities: Vec<Identity>| {
        let mut next = (*known).clone();
        next.name = agent(name);
        next.selectors = next.selectors.filter(|_| uid.is_some());
        next.identities = identities;
        let broker = Arc::clone(&house.broker);
        async move { broker.put_agent(next, &user("ana")).await }
    };
    let oidc = |subject: &str| Identity::Oidc {
        issuer: "https://ci.example".into(),
        subject: subject.into(),
    };
    let nothing = put("ghost", None, Vec::new()).await.unwrap_err();
    assert!(nothing.to_string().contains("nothing tells"), "{nothing}");
    put("builder", None, vec![oidc("repo:a/b")]).await.unwrap();
    let taken = put("other", None, vec![oidc("repo:a/c"), oidc("repo:a/b")]).await.unwrap_err();
    assert!(taken.to_string().contains("identities[1]"), "{taken}");
    assert!(taken.to_string().contains("builder"), "{taken}");
    // It may be registered again with what is its own.
    put("builder", Some(1), vec![oidc("repo:a/b"), oidc("repo:a/c")]).await.unwrap();
    let view = house.broker.view();
    assert_eq!(view.snapshot.agent_of(&oidc("repo:a/c")).unwrap().name, agent("builder"));
    assert!(view.snapshot.agent_of(&oidc("repo:a/B")).is_none(), "it is compared exactly");
}
