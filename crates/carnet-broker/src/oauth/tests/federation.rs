//! Federation tokens as an agent asks for them, and as a cloud reads them: with what it finds at the
//! issuer, and with an implementation that is not ours.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use carnet_core::{
    ArgumentKind, Digest, EffectClass, FederationTarget, Intent, Path, Principal, Reach, Resource,
    TaskId, Transport, Upstream,
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};

use super::{Answer, Ask, Bench, READ};
use crate::oauth::fixture::{agent, ana};
use crate::registry::Review;
use crate::work::OpenTask;

const AWS: &str = "https://carnet.example/write/federation/aws";
const CLOUD: &str = "sts.amazonaws.com";

/// A bench with a target, and a task that may get tokens of one role there.
async fn bench(approve: &str) -> (Bench, TaskId) {
    let bench = Bench::new().await;
    let target = FederationTarget {
        audience: CLOUD.into(),
        ttl_s: 60,
        session_s: 900,
        aws_tags: true,
        subject_per_path: false,
    };
    let definition = target.definition(Path::Write);
    let review = Review {
        action: "aws.federation.write".parse().unwrap(),
        pin: Digest::of_json(&definition).unwrap(),
        definition,
        path: Some(Path::Write),
        effect: EffectClass { reversible: false, reach: Reach::Egress },
        arguments: ["role", "session_name"].map(|name| (name.into(), ArgumentKind::Text)).into(),
    };
    let upstream =
        Upstream { transport: Transport::Federation(target), credentials: BTreeMap::new() };
    let (name, environment) = ("aws".parse().unwrap(), "production".to_owned());
    let (labels, operations) = (Default::default(), BTreeMap::new());
    let resource = Resource { name, environment, labels, upstream, operations };
    let broker = &bench.house.broker;
    broker.put_resource(resource, &ana()).await.unwrap();
    broker.review(&"aws".parse().unwrap(), vec![review], &ana()).await.unwrap();
    let allow = json!([{
        "action": "aws.federation.write", "path": "write", "approve": approve,
        "where": { "role": { "equals": "refunds" } },
    }]);
    let intent = json!({ "purpose": "refund an order", "allow": allow }).to_string();
    let request = OpenTask {
        agent: agent("desk-agent"),
        subject: Principal::User(ana()),
        opened_by: Principal::User(ana()),
        intent: Intent::from_json(intent.as_bytes()).unwrap(),
        standing: false,
    };
    let task = broker.open_task(request).await.unwrap().0;
    (bench, task)
}

fn ask(bench: &Bench, task: &TaskId) -> Ask {
    let svid = bench.svid("desk-agent");
    let ask = Ask::new(&svid).set("resource", AWS).header("dpop", &bench.proof());
    ask.set("scope", &format!("task:{task}")).set("role", "refunds")
}

/// What a cloud makes of `token` that knows the issuer and nothing else.
async fn cloud(bench: &Bench, token: &str, audience: &str) -> Result<Value, String> {
    let configuration = bench.get("/.well-known/openid-configuration").await.json();
    let keys = configuration["jwks_uri"].as_str().unwrap();
    let keys = bench.get(keys.strip_prefix("https://carnet.example").unwrap()).await.json();
    let kid = decode_header(token).unwrap().kid;
    let jwk =
        keys["keys"].as_array().unwrap().iter().find(|jwk| jwk["kid"].as_str() == kid.as_deref());
    let jwk = serde_json::from_value(jwk.ok_or("no such key")?.clone()).unwrap();
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_audience(&[audience]);
    rules.set_issuer(&[configuration["issuer"].as_str().unwrap()]);
    rules.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    rules.validate_nbf = true;
    let read = decode::<Value>(token, &DecodingKey::from_jwk(&jwk).unwrap(), &rules);
    read.map(|read| read.claims).map_err(|error| error.to_string())
}

fn token(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_cloud_verifies_the_token_with_what_it_finds_at_the_issuer() {
    let (bench, task) = bench("none").await;
    let answer = bench.send(ask(&bench, &task)).await;
    let claims = cloud(&bench, &token(&answer), CLOUD).await.unwrap();
    assert_eq!(claims["sub"], "spiffe://carnet.example/agent/desk-agent");
    assert_eq!(claims["carnet_task"], task.as_str());
    assert_eq!([&claims["carnet_purpose"], &claims["carnet_path"]], ["refund an order", "write"]);
    assert_eq!(claims["carnet_subject"], "user:ana");
    assert_eq!(claims["act"]["sub"], "spiffe://carnet.example/agent/desk-agent");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
    let tags = &claims["https://aws.amazon.com/tags"];
    assert_eq!(tags["principal_tags"]["task"], json!([task]));
    assert_eq!(tags["principal_tags"]["role"], json!(["refunds"]));
    assert_eq!(tags["transitive_tag_keys"], json!(["task"]));
    assert_eq!(claims["https://aws.amazon.com/source_identity"], task.as_str());
    let body = answer.json();
    assert_eq!(body["issued_token_type"], "urn:ietf:params:oauth:token-type:jwt");
    assert_eq!([&body["token_type"], &body["expires_in"]], [&json!("N_A"), &json!(60)]);
    assert_eq!(body["authorization_details"][0]["locations"], json!([AWS]));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    // At another relying party it is worth nothing.
    assert!(cloud(&bench, &token(&answer), "api://AzureADTokenExchange").await.is_err());
}

#[tokio::test]
async fn a_federation_token_and_an_access_token_are_worth_nothing_in_each_others_place() {
    let (bench, task) = bench("none").await;
    let federation = token(&bench.send(ask(&bench, &task)).await);
    let access = token(&bench.send(bench.good()).await);
    let refused = cloud(&bench, &access, READ).await.unwrap_err();
    assert_eq!(refused, "no such key");
    let expected =
        carnet_identity::ExpectedAccess { issuer: "https://carnet.example", audience: CLOUD };
    let keys = bench.house.broker.access_keys();
    assert!(carnet_identity::verify_access(&federation, &keys, &expected, bench.now()).is_err());
    // Nor does it authenticate anybody here.
    let answer = bench.send(bench.good().set("client_assertion", &federation)).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn who_may_not_have_one_is_told_as_of_any_token() {
    let (bench, task) = bench("none").await;
    let refusal = async |ask: Ask| {
        let answer = bench.send(ask).await;
        assert_ne!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.refusal()
    };
    let told = |error: &str, code: &str| (error.to_owned(), code.to_owned());
    let good = || ask(&bench, &task);
    let not_covered = told("invalid_target", "not_covered");
    assert_eq!(refusal(good().set("role", "admins")).await, not_covered);
    assert_eq!(refusal(good().without("role")).await, not_covered);
    let unknown = "https://carnet.example/write/federation/gcp";
    assert_eq!(refusal(good().set("resource", unknown)).await, not_covered);
    let desk = "https://carnet.example/write/federation/desk";
    assert_eq!(refusal(good().set("resource", desk)).await, not_covered);
    // Its address at the gateway leads nowhere.
    let gateway = "https://carnet.example/write/mcp/aws";
    assert_eq!(refusal(good().set("resource", gateway)).await, not_covered);
    let unproved = told("invalid_dpop_proof", "proof_required");
    assert_eq!(refusal(good().no_header("dpop")).await, unproved);
    let twice = refusal(good().add("resource", READ)).await;
    assert_eq!(twice, told("invalid_target", "target_twice"));
    let another = told("invalid_scope", "task_unknown");
    let mail = Ask::new(&bench.svid("mail-agent")).header("dpop", &bench.proof());
    let mail = mail.set("resource", AWS).set("role", "refunds");
    assert_eq!(refusal(mail.set("scope", &format!("task:{task}"))).await, another);
}

#[tokio::test]
async fn where_a_person_must_say_yes_the_client_is_told_to_come_again() {
    let (bench, task) = bench("on_use").await;
    let answer = bench.send(ask(&bench, &task)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let told = ("authorization_pending".to_owned(), "approval_needed".to_owned());
    assert_eq!(answer.refusal(), told);
    assert_eq!(answer.header("retry-after"), Some("5"));
    let approval = bench.house.broker.pending_approvals().remove(0);
    assert_eq!(answer.json()["detail"], approval.id.as_str());
}
