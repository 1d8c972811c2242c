//! Clients that prove who they are by the connection.

use axum::body::Body;
use axum::http::Request;
use carnet_core::LockTarget;
use carnet_identity::{KeyUse, SigningKey, X509Svid, verify_x509_svid};
use serde_json::json;

use super::*;

const DESK: &str = "spiffe://carnet.example/agent/desk-agent";

/// What the listener would tell of a connection with a fresh SVID of `name`.
pub(super) fn svid_of(bench: &Bench, name: &str, ttl_s: i64) -> X509Svid {
    let key = SigningKey::generate(KeyUse::X509Svid).unwrap();
    svid_over(bench, name, &key, ttl_s)
}

fn svid_over(bench: &Bench, name: &str, key: &SigningKey, ttl_s: i64) -> X509Svid {
    let broker = &bench.house.broker;
    let issued = broker.issue_x509_svid(&agent(name), key, ttl_s).unwrap();
    verify_x509_svid(&[&issued.certificate], &broker.x509_bundles(), bench.now()).unwrap()
}

/// A request over mutual TLS: no assertion, no proof.
fn ask(id: &str, resource: &str) -> Ask {
    let ask = Ask::new("").without("client_assertion").without("client_assertion_type");
    ask.set("client_id", id).set("resource", resource)
}

pub(super) fn over(svid: &X509Svid, ask: Ask) -> Request<Body> {
    let mut request = ask.request();
    request.extensions_mut().insert(svid.clone());
    request
}

fn check(answer: &Answer, error: &str, code: &str) {
    assert_eq!(answer.refusal(), (error.to_owned(), code.to_owned()), "{}", answer.text);
}

#[tokio::test]
async fn a_connection_with_its_svid_gets_a_token_bound_to_the_certificate() {
    let bench = Bench::new().await;
    let svid = svid_of(&bench, "desk-agent", 3600);
    let task = bench.house.open_task("desk-agent").await;
    let wanted = ask(DESK, WRITE).set("scope", &format!("task:{task}"));
    let answer = bench.answer(over(&svid, wanted)).await;
    assert_eq!(answer.json()["token_type"], "Bearer", "{}", answer.text);
    let claims = answer.claims();
    assert_eq!(claims["cnf"], json!({ "x5t#S256": svid.certificate.to_string() }));
    assert_eq!((&claims["client_id"], &claims["carnet_path"]), (&json!(DESK), &json!("write")));
    // It may ask as often as it likes: nothing that could be stolen was sent.
    let again = bench.answer(over(&svid, ask(DESK, READ))).await;
    assert_eq!(again.status, StatusCode::OK, "{}", again.text);
}

#[tokio::test]
async fn a_proof_binds_the_token_to_its_key_over_any_connection() {
    let bench = Bench::new().await;
    let svid = svid_of(&bench, "desk-agent", 3600);
    let answer = bench.answer(over(&svid, ask(DESK, READ).header("dpop", &bench.proof()))).await;
    assert_eq!(answer.json()["token_type"], "DPoP", "{}", answer.text);
    assert_eq!(answer.claims()["cnf"], json!({ "jkt": bench.key.thumbprint().to_string() }));
}

#[tokio::test]
async fn an_assertion_over_a_connection_of_the_same_agent_binds_to_the_certificate() {
    let bench = Bench::new().await;
    let own = svid_of(&bench, "desk-agent", 3600);
    let ask = || Ask::new(&bench.svid("desk-agent")).set("resource", READ);
    let answer = bench.answer(over(&own, ask())).await;
    assert!(answer.claims()["cnf"].get("x5t#S256").is_some(), "{}", answer.text);
    let of_another = svid_of(&bench, "mail-agent", 3600);
    let answer = bench.answer(over(&of_another, ask())).await;
    check(&answer, "invalid_client", "certificate_differs");
}

#[tokio::test]
async fn a_connection_says_who_it_is_and_nothing_else_does() {
    let bench = Bench::new().await;
    let svid = svid_of(&bench, "desk-agent", 3600);
    let mail = "spiffe://carnet.example/agent/mail-agent";
    for id in [mail, "desk-agent"] {
        let answer = bench.answer(over(&svid, ask(id, READ))).await;
        check(&answer, "invalid_client", "client_id_differs");
    }
    let answer = bench.answer(over(&svid, ask(DESK, READ).without("client_id"))).await;
    check(&answer, "invalid_client", "client_id_missing");
    let answer = bench.answer(over(&svid, ask(DESK, READ).set("client_secret", "x"))).await;
    check(&answer, "invalid_client", "client_secret");
    // Headers of proxies are nothing, with whatever in them.
    for header in ["x-forwarded-client-cert", "x-client-cert", "ssl-client-cert", "client-cert"] {
        let answer = bench.send(ask(DESK, READ).header(header, DESK)).await;
        check(&answer, "invalid_client", "assertion_missing");
    }
}

#[tokio::test]
async fn a_certificate_whose_agent_authority_or_time_is_gone_opens_nothing() {
    let bench = Bench::new().await;
    let broker = Arc::clone(&bench.house.broker);
    let ana = "ana".parse().unwrap();
    let (desk, mail) = (svid_of(&bench, "desk-agent", 3600), svid_of(&bench, "mail-agent", 3600));
    bench.house.lock(LockTarget::Agent(agent("mail-agent"))).await;
    let locked = ask("spiffe://carnet.example/agent/mail-agent", READ);
    check(&bench.answer(over(&mail, locked)).await, "unauthorized_client", "locked");
    let short = svid_of(&bench, "desk-agent", 1);
    while bench.now() < short.expires {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let answer = bench.answer(over(&short, ask(DESK, READ))).await;
    check(&answer, "invalid_client", "certificate_over");
    let kid = broker.x509_authority().unwrap().kid().to_owned();
    broker.remove_key(&kid, &ana).await.unwrap();
    let answer = bench.answer(over(&desk, ask(DESK, READ))).await;
    check(&answer, "invalid_client", "certificate_over");
    while broker.x509_authority().is_err() {
        tokio::task::yield_now().await;
    }
    let fresh = svid_of(&bench, "desk-agent", 3600);
    assert_eq!(bench.answer(over(&fresh, ask(DESK, READ))).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_running_copy_stays_the_same_over_a_rotation_and_its_token_ends_with_the_certificate() {
    let bench = Bench::new().await;
    let key = SigningKey::generate(KeyUse::X509Svid).unwrap();
    let first = svid_over(&bench, "desk-agent", &key, 3600);
    let second = svid_over(&bench, "desk-agent", &key, 60);
    let token = async |svid: &X509Svid| bench.answer(over(svid, ask(DESK, READ))).await;
    let (before, after) = (token(&first).await, token(&second).await);
    assert_eq!(before.claims()["carnet_instance"], after.claims()["carnet_instance"]);
    assert_ne!(before.claims()["cnf"], after.claims()["cnf"]);
    assert_eq!(after.claims()["exp"], json!(second.expires.s()));
    let other = token(&svid_of(&bench, "desk-agent", 3600)).await;
    assert_ne!(other.claims()["carnet_instance"], after.claims()["carnet_instance"]);
}

#[tokio::test]
async fn the_documents_tell_of_mutual_tls_where_it_is_on_and_only_there() {
    let resource = "/.well-known/oauth-protected-resource/write/mcp/desk";
    for mutual_tls in [false, true] {
        let bench = Bench::with(OAuthOptions { mutual_tls, ..OAuthOptions::default() }, 0).await;
        let told = bench.get("/.well-known/oauth-authorization-server").await.json();
        let methods = told["token_endpoint_auth_methods_supported"].as_array().unwrap();
        for method in ["tls_client_auth", "spiffe_x509"] {
            assert_eq!(methods.contains(&json!(method)), mutual_tls, "{method}");
        }
        let bound = told.get("tls_client_certificate_bound_access_tokens");
        assert_eq!(bound, mutual_tls.then_some(&json!(true)));
        let alias = &told["mtls_endpoint_aliases"]["token_endpoint"];
        assert_eq!(alias, &if mutual_tls { json!(TOKEN_ENDPOINT) } else { json!(null) });
        let told = bench.get(resource).await.json();
        assert_eq!(told["dpop_bound_access_tokens_required"], json!(!mutual_tls));
        let bound = told.get("tls_client_certificate_bound_access_tokens");
        assert_eq!(bound, mutual_tls.then_some(&json!(true)));
    }
}
