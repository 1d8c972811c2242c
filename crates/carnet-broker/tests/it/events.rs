//! Security events as they are pushed: taken once, by the rules, from who may tell of them.

use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use carnet_broker::context::{KeySource, Transmitter, router};
use carnet_broker::fetch::Fetcher;
use carnet_core::{Login, TaskId, TaskState};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::house::*;

const IDP: &str = "https://idp.example";
const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";

/// An identity provider that tells of events, and the house it tells.
struct Idp {
    key: EcdsaKeyPair,
    router: Router,
}

impl Idp {
    async fn of(house: &House) -> Self {
        let logins = |mut user: carnet_core::User| {
            user.logins = vec![Login { issuer: IDP.into(), subject: format!("id-{}", user.name) }];
            user
        };
        house.broker.put_users(people().into_iter().map(logins).collect()).await.unwrap();
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let file = house.dir().join("idp.json");
        std::fs::write(&file, jwks(&key).to_string()).unwrap();
        let router = Self::router(house, file);
        Self { key, router }
    }

    fn router(house: &House, file: PathBuf) -> Router {
        let transmitter = Transmitter {
            issuer: IDP.into(),
            keys: KeySource::File(file),
            audience: "https://carnet.example".into(),
            speaks_for: vec!["spiffe://carnet.example".into()],
        };
        router(Arc::clone(&house.broker), Fetcher::new(&[]), vec![transmitter])
    }

    async fn send(&self, event: String) -> (StatusCode, Value) {
        send(&self.router, "application/secevent+jwt", event).await
    }

    async fn err(&self, event: String) -> String {
        let (status, body) = self.send(event).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        body["err"].as_str().unwrap().to_owned()
    }

    fn sign(&self, claims: &Value) -> String {
        sign(&self.key, "secevent+jwt", claims)
    }
}

fn jwks(key: &EcdsaKeyPair) -> Value {
    let point = key.public_key().as_ref();
    let part = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
    json!({ "keys": [{
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "k1",
        "x": part(&point[1..33]), "y": part(&point[33..65]),
    }]})
}

fn sign(key: &EcdsaKeyPair, typ: &str, claims: &Value) -> String {
    let header = json!({ "alg": "ES256", "kid": "k1", "typ": typ }).to_string();
    let part = |text: String| URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", part(header), part(claims.to_string()));
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

async fn send(router: &Router, kind: &str, event: String) -> (StatusCode, Value) {
    let request = Request::post("/ssf/events").header("content-type", kind);
    let request = request.body(Body::from(event)).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn person(name: &str) -> Value {
    json!({ "format": "iss_sub", "iss": IDP, "sub": format!("id-{name}") })
}

fn claims(house: &House, jti: &str, name: &str, body: Value, sub_id: Value) -> Value {
    json!({
        "iss": IDP, "aud": "https://carnet.example", "jti": jti, "iat": house.now().s(),
        "sub_id": sub_id, "events": { format!("{CAEP}{name}"): body },
    })
}

fn state(house: &House, task: &TaskId) -> Option<TaskState> {
    house.broker.view().snapshot.task(task).map(|view| view.task.state.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_session_closes_what_runs_for_or_by_that_person_and_nothing_else() {
    let house = House::furnished().await;
    let idp = Idp::of(&house).await;
    let hers = house.open_for("desk-agent", "eve", "ana", &[read()]).await.unwrap();
    let other = house.open_for("desk-agent", "bo", "ana", &[read()]).await.unwrap();
    let event = claims(&house, "1", "session-revoked", json!({}), person("eve"));
    assert_eq!(idp.send(idp.sign(&event)).await, (StatusCode::ACCEPTED, Value::Null));
    assert_eq!(state(&house, &hers), None);
    assert_eq!(state(&house, &other), Some(TaskState::Open));
    let user = json!({ "format": "complex", "user": person("ana") });
    let event = claims(&house, "2", "session-revoked", json!({}), user);
    idp.send(idp.sign(&event)).await;
    assert_eq!(state(&house, &other), None);
    drop(idp);
    house.stop().await.verify_ledger();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_high_risk_suspends_and_a_lower_one_is_recorded() {
    let house = House::furnished().await;
    let idp = Idp::of(&house).await;
    let task = house.open(&[read()]).await.unwrap();
    for (n, level) in ["LOW", "MEDIUM", "HIGH"].into_iter().enumerate() {
        assert_eq!(state(&house, &task), Some(TaskState::Open));
        let body = json!({ "current_level": level, "principal": "USER" });
        let event = claims(&house, &n.to_string(), "risk-level-change", body, person("eve"));
        assert_eq!(idp.send(idp.sign(&event)).await.0, StatusCode::ACCEPTED);
    }
    assert_eq!(state(&house, &task), Some(TaskState::Suspended));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_workload_reaches_its_agent() {
    let house = House::furnished().await;
    let idp = Idp::of(&house).await;
    let task = house.open(&[read()]).await.unwrap();
    let id = "spiffe://carnet.example/agent/desk-agent";
    let body = json!({ "change_type": "revoke", "credential_type": "x509" });
    let uri = json!({ "format": "uri", "uri": id });
    let event = claims(&house, "1", "credential-change", body, uri);
    assert_eq!(idp.send(idp.sign(&event)).await.0, StatusCode::ACCEPTED);
    assert_eq!(state(&house, &task), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_sent_again_undoes_nothing_an_operator_did_not_even_after_a_restart() {
    let house = House::furnished().await;
    let idp = Idp::of(&house).await;
    let task = house.open(&[read()]).await.unwrap();
    let body = json!({ "current_level": "HIGH" });
    let event = idp.sign(&claims(&house, "1", "risk-level-change", body, person("eve")));
    idp.send(event.clone()).await;
    house.broker.resume_task(&task, &user("ana")).await.unwrap();
    assert_eq!(idp.send(event.clone()).await.0, StatusCode::ACCEPTED);
    assert_eq!(state(&house, &task), Some(TaskState::Open));
    let Idp { key, router } = idp;
    drop(router);
    let house = house.restart().await;
    let router = Idp::router(&house, house.dir().join("idp.json"));
    let idp = Idp { key, router };
    assert_eq!(idp.send(event).await.0, StatusCode::ACCEPTED);
    assert_eq!(state(&house, &task), Some(TaskState::Open));
    // Another of the same kind is another.
    let body = json!({ "current_level": "HIGH" });
    let event = claims(&house, "2", "risk-level-change", body, person("eve"));
    idp.send(idp.sign(&event)).await;
    assert_eq!(state(&house, &task), Some(TaskState::Suspended));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_again_takes_no_room_of_others() {
    let house = House::furnished().await;
    let idp = Idp::of(&house).await;
    let nobody = |n: u32| {
        let event = claims(&house, &n.to_string(), "session-revoked", json!({}), person("nobody"));
        idp.sign(&event)
    };
    let first = nobody(0);
    for _ in 0..100 {
        assert_eq!(idp.send(first.clone()).await.0, StatusCode::ACCEPTED);
    }
    // The clock stands still: all of it is one second.
    for n in 1..64 {
        assert_eq!(idp.send(nobody(n)).await.0, StatusCode::ACCEPTED, "{n}");
    }
    assert_eq!(idp.send(nobody(64)).await.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(idp.send(first).await.0, StatusCode::ACCEPTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_anybody_is_whom_an_event_is_about_is_not_told() {
    let house = House::furnished().await;
    let idp = Idp::of(&house).await;
    let strangers = [
        person("nobody"),
        json!({ "format": "iss_sub", "iss": "https://other.example", "sub": "id-eve" }),
        json!({ "format": "uri", "uri": "spiffe://other.example/a" }),
        json!({ "format": "email", "email": "eve@example.com" }),
    ];
    for (n, stranger) in strangers.into_iter().enumerate() {
        let event = claims(&house, &n.to_string(), "session-revoked", json!({}), stranger);
        let told = idp.send(idp.sign(&event)).await;
        assert_eq!(told, (StatusCode::ACCEPTED, Value::Null));
    }
    house.drained().await;
    let taken = house.leaves().into_iter().filter(|leaf| {
        leaf.header().get("transition") == Some(&json!("event_taken"))
            && leaf.header().get("subject_known") == Some(&json!(false))
    });
    assert_eq!(taken.count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transmitter_tells_of_its_own_people_only() {
    let house = House::furnished().await;
    let idp = Idp::of(&house).await;
    let mut users = people();
    users[4].logins = vec![Login { issuer: "https://other.example".into(), subject: "7".into() }];
    house.broker.put_users(users).await.unwrap();
    let task = house.open(&[read()]).await.unwrap();
    let eve = json!({ "format": "iss_sub", "iss": "https://other.example", "sub": "7" });
    let event = claims(&house, "1", "session-revoked", json!({}), eve);
    assert_eq!(idp.send(idp.sign(&event)).await.0, StatusCode::ACCEPTED);
    assert_eq!(state(&house, &task), Some(TaskState::Open));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_not_as_it_must_be_is_refused_and_does_nothing() {
    let house = House::furnished().await;
    let idp = Idp::of(&house).await;
    let task = house.open(&[read()]).await.unwrap();
    let good = claims(&house, "1", "session-revoked", json!({}), person("eve"));
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let stranger = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let two =
        json!({ format!("{CAEP}session-revoked"): {}, format!("{CAEP}credential-change"): {} });
    let old = house.now().s() - 4_000;
    let risk = json!({ format!("{CAEP}risk-level-change"): { "current_level": "GREAT" } });
    let cases = [
        (sign(&stranger, "secevent+jwt", &good), "authentication_failed"),
        (sign(&idp.key, "JWT", &good), "invalid_request"),
        (sign(&idp.key, "at+jwt", &good), "invalid_request"),
        (idp.sign(&with("iss", json!("https://other.example"))), "invalid_issuer"),
        (idp.sign(&with("aud", json!("https://other.example"))), "invalid_audience"),
        (idp.sign(&with("iat", json!(old))), "invalid_request"),
        (idp.sign(&with("sub", json!("id-eve"))), "invalid_request"),
        (idp.sign(&with("exp", json!(house.now().s() + 60))), "invalid_request"),
        (idp.sign(&with("jti", Value::Null)), "invalid_request"),
        (idp.sign(&with("jti", json!("j".repeat(300)))), "invalid_request"),
        (idp.sign(&with("sub_id", Value::Null)), "invalid_request"),
        (idp.sign(&with("events", two)), "invalid_request"),
        (idp.sign(&with("events", json!({}))), "invalid_request"),
        (idp.sign(&with("events", risk)), "invalid_request"),
        ("no token".to_owned(), "invalid_request"),
        ("x".repeat(17 * 1024), "invalid_request"),
    ];
    for (n, (event, err)) in cases.into_iter().enumerate() {
        assert_eq!(idp.err(event).await, err, "case {n}");
    }
    let form = send(&idp.router, "application/x-www-form-urlencoded", idp.sign(&good)).await;
    assert_eq!(form.0, StatusCode::BAD_REQUEST);
    assert_eq!(state(&house, &task), Some(TaskState::Open));
    let refused = || {
        let is_one = |leaf: &carnet_ledger::Leaf| {
            leaf.header().get("transition") == Some(&json!("event_refused"))
        };
        house.leaves().into_iter().filter(is_one).count()
    };
    let written = async {
        while refused() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), written).await.expect("a record");
    assert_eq!(refused(), 1, "the clock stands still: it is one record");
    // And the same event, as it must be, is taken.
    assert_eq!(idp.send(idp.sign(&good)).await.0, StatusCode::ACCEPTED);
    assert_eq!(state(&house, &task), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transmitter_that_changed_its_keys_is_believed_by_the_new_ones() {
    let house = House::furnished().await;
    let idp = Idp::of(&house).await;
    let event = claims(&house, "1", "session-revoked", json!({}), person("bo"));
    assert_eq!(idp.send(idp.sign(&event)).await.0, StatusCode::ACCEPTED);
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let mut keys = jwks(&key);
    keys["keys"][0]["kid"] = json!("k2");
    std::fs::write(house.dir().join("idp.json"), keys.to_string()).unwrap();
    house.hand.run_s(301);
    let old = claims(&house, "2", "session-revoked", json!({}), person("bo"));
    assert_eq!(idp.err(idp.sign(&old)).await, "invalid_key");
    assert_eq!(house.broker.view().snapshot.tasks.len(), 0);
}
