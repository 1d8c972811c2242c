//! Nothing an agent sends or gets is ever shown.

use std::io;
use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use super::{Answer, Ask, Bench, READ, TOKEN_ENDPOINT, WRITE};
use carnet_identity::DpopKey;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Every signed part of `token`, so that half of one in a log is found too.
fn parts(token: &str) -> Vec<String> {
    token.split('.').skip(1).map(str::to_owned).collect()
}

#[tokio::test]
async fn no_assertion_proof_or_token_reaches_a_log_or_an_error() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    tracing::info!("the log is being kept");

    let bench = Bench::new().await;
    let mut secrets = vec!["canary-in-a-parameter".to_owned()];
    let mut refused: Vec<Answer> = Vec::new();
    let thief = bench.proof_with(&DpopKey::generate().unwrap(), TOKEN_ENDPOINT, None);
    let (svid, proof) = (bench.svid("desk-agent"), bench.proof());
    let ask = Ask::new(&svid).set("resource", READ).header("dpop", &proof);
    let granted = bench.send(ask.clone()).await;
    assert_eq!(granted.status, StatusCode::OK);
    for secret in [&svid, &proof, &thief, granted.json()["access_token"].as_str().unwrap()] {
        secrets.extend(parts(secret));
    }
    let canary = "canary-in-a-parameter";
    for bent in [
        ask.clone(),
        ask.clone().header("dpop", &thief),
        ask.clone().set("client_assertion", canary),
        ask.clone().set("client_assertion", &format!("{svid}{canary}")),
        ask.clone().set("grant_type", canary),
        ask.clone().set("grant_type", &svid),
        ask.clone().set("client_id", &svid),
        ask.clone().set("resource", &svid),
        ask.clone().set("scope", &format!("task:{svid}")),
        ask.clone()
            .set("authorization_details", &json!([{ "type": canary, "task": svid }]).to_string()),
        ask.clone().add(&svid, "1").add(&svid, "1"),
        ask.clone().header("dpop", &format!("{proof}{canary}")),
        ask.clone().set("resource", WRITE).header("dpop", &bench.proof()),
        ask.clone().header("host", canary),
        ask.header("content-type", canary),
    ] {
        let answer = bench.send(bent).await;
        assert_ne!(answer.status, StatusCode::OK);
        refused.push(answer);
    }

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("the log is being kept") && log.contains("token issued"), "{log}");
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} is in the log");
        for answer in &refused {
            assert!(!answer.text.contains(&secret), "{secret} is in {}", answer.text);
        }
    }
}
