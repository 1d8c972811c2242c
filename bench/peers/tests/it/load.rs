//! The load client against the echo server, and against servers that answer wrongly.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
    routing::post,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bench_peers::{
    echo::Echo,
    listen::Listening,
    load::{self, Credential, Plan, Revision, Stop},
};

const REVISIONS: [Revision; 2] = [Revision::V2025_11_25, Revision::V2026_07_28];

fn plan(url: &str, revision: Revision) -> Plan {
    Plan {
        url: url.parse().unwrap(),
        revision,
        connections: 3,
        warm_up: Duration::ZERO,
        stop: Stop::Calls(20),
        tool: "echo".to_owned(),
        credential: Credential::default(),
    }
}

async fn echo() -> String {
    let address = "127.0.0.1:0".parse().unwrap();
    let listening = Listening::bind(Echo::new, address).await.unwrap();
    let url = listening.url();
    tokio::spawn(listening.serve());
    url
}

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test]
async fn every_call_to_the_echo_server_comes_back_right() {
    let url = echo().await;
    for revision in REVISIONS {
        let report = load::run(plan(&url, revision)).await.unwrap();
        assert_eq!((report.requests, report.errors, report.reconnects), (60, 0, 0), "{report:?}");
        assert!(report.p50_us > 0.0 && report.p50_us <= report.max_us);
    }
}

#[tokio::test]
async fn every_session_is_closed_with_the_same_credential_it_was_opened_with() {
    static OPEN: AtomicUsize = AtomicUsize::new(0);
    async fn open(headers: HeaderMap, body: String) -> axum::response::Response {
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let known = headers.contains_key("mcp-session-id");
        let text = &body["params"]["arguments"]["text"];
        let result = serde_json::json!({ "content": [{ "type": "text", "text": text }] });
        let answer = serde_json::json!({ "jsonrpc": "2.0", "id": body["id"], "result": result });
        OPEN.fetch_add(usize::from(!known), Ordering::SeqCst);
        let headers = [("content-type", "application/json"), ("mcp-session-id", "s")];
        (headers, answer.to_string()).into_response()
    }
    async fn close(headers: HeaderMap) -> StatusCode {
        let is_ours = headers.get("authorization").is_some_and(|value| value == "Bearer the-token");
        OPEN.fetch_sub(usize::from(is_ours), Ordering::SeqCst);
        StatusCode::NO_CONTENT
    }
    let url = serve(Router::new().route("/mcp", post(open).delete(close))).await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "the-token\n").unwrap();
    let credential = Credential::load(Some(&token), None).unwrap();
    let plan = Plan { credential, ..plan(&url, Revision::V2025_11_25) };
    assert_eq!(load::run(plan).await.unwrap().errors, 0);
    assert_eq!(OPEN.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_tool_that_does_not_exist_counts_as_errors() {
    let url = echo().await;
    for revision in REVISIONS {
        let plan = Plan { tool: "other".to_owned(), ..plan(&url, revision) };
        let report = load::run(plan).await.unwrap();
        assert_eq!((report.requests, report.errors), (0, 60), "{report:?}");
    }
}

#[tokio::test]
async fn an_answer_with_the_same_text_every_time_counts_as_an_error() {
    async fn canned(body: String) -> impl IntoResponse {
        let id = serde_json::from_str::<serde_json::Value>(&body).unwrap()["id"].clone();
        let result =
            serde_json::json!({ "content": [{ "type": "text", "text": "connection 0 call 1" }] });
        let answer = serde_json::json!({ "jsonrpc": "2.0", "id": id, "result": result });
        ([("content-type", "application/json")], answer.to_string())
    }
    let url = serve(Router::new().route("/mcp", post(canned))).await;
    let report = load::run(plan(&url, Revision::V2026_07_28)).await.unwrap();
    assert_eq!((report.requests, report.errors), (1, 59));
}

#[tokio::test]
async fn a_server_that_refuses_everybody_is_an_error_not_a_row_of_zeros() {
    async fn refuse() -> StatusCode {
        StatusCode::UNAUTHORIZED
    }
    let url = serve(Router::new().route("/mcp", post(refuse))).await;
    let error = load::run(plan(&url, Revision::V2025_11_25)).await.unwrap_err();
    assert!(error.to_string().contains("401"), "{error}");
}

#[tokio::test]
async fn the_token_and_a_fresh_proof_go_with_every_request() {
    async fn inspect(headers: HeaderMap, body: String) -> axum::response::Response {
        let shown = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        let proof = shown("dpop").split('.').count() == 3;
        if shown("authorization") != "DPoP the-token" || !proof {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let text = &body["params"]["arguments"]["text"];
        let result = serde_json::json!({ "content": [{ "type": "text", "text": text }] });
        let answer = serde_json::json!({ "jsonrpc": "2.0", "id": body["id"], "result": result });
        ([("content-type", "application/json")], answer.to_string()).into_response()
    }
    let url = serve(Router::new().route("/mcp", post(inspect))).await;
    let folder = tempfile::tempdir().unwrap();
    let (token, key) = (folder.path().join("token"), folder.path().join("key.pem"));
    let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    let der = STANDARD.encode(der.unwrap());
    std::fs::write(&token, "the-token\n").unwrap();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
    std::fs::write(&key, pem).unwrap();
    let credential = Credential::load(Some(&token), Some(&key)).unwrap();
    let plan = Plan { credential, ..plan(&url, Revision::V2026_07_28) };
    let report = load::run(plan).await.unwrap();
    assert_eq!((report.requests, report.errors), (60, 0), "{report:?}");
    let without = Credential::load(Some(&token), None).unwrap();
    let plan = Plan { credential: without, ..self::plan(&url, Revision::V2026_07_28) };
    assert!(load::run(plan).await.is_err());
}
