//! Agents told by others: issuers of workloads, other trust domains, and clients with keys.

use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use carnet_core::{Agent, Identity, LockTarget};
use carnet_identity::{KeySet, KeyUse, SigningKey, mint_svid};
use serde_json::{Value, json};

use super::{Answer, Ask, BEARER_TYPE, Bench, READ, SPIFFE_TYPE, fresh};
use crate::oauth::fixture::{ISSUER, agent, ana};
use crate::trust::{AuthorityConfig, AuthorityKind, Source, Trust};

const SUBJECT: &str = "repo:acme/desk:ref:refs/heads/main";
const CLIENT: &str = "desk-client";

/// A key of somebody else.
pub(super) struct Signer {
    pub(super) kid: &'static str,
    pair: EcdsaKeyPair,
}

impl Signer {
    pub(super) fn new(kid: &'static str) -> Self {
        Self { kid, pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap() }
    }

    pub(super) fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "kid": self.kid, "alg": "ES256",
            "x": text(&point[1..33]), "y": text(&point[33..65]) })
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        self.sign_as(&json!({ "alg": "ES256", "kid": self.kid, "typ": "JWT" }), claims)
    }

    pub(super) fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

/// An issuer on this machine, whose key set can be changed.
pub(super) struct Place {
    pub(super) url: String,
    keys: Arc<Mutex<Value>>,
}

impl Place {
    /// One whose metadata says that it is `called`, or what it is.
    pub(super) async fn new(key: &Signer, called: Option<&str>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let keys = Arc::new(Mutex::new(json!({ "keys": [key.jwk()] })));
        let metadata = json!({ "issuer": called.unwrap_or(&url), "jwks_uri": format!("{url}/k") });
        let served = Arc::clone(&keys);
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(|| async move { Json(metadata) }))
            .route("/k", get(|| async move { Json(served.lock().unwrap().clone()) }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, keys }
    }

    fn publish(&self, keys: &[&Signer]) {
        let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
        *self.keys.lock().unwrap() = json!({ "keys": keys });
    }

    pub(super) fn config(&self) -> AuthorityConfig {
        issuer(&self.url, Source::Discovery)
    }
}

fn issuer(name: &str, source: Source) -> AuthorityConfig {
    let (kind, audience) = (AuthorityKind::Issuer, ISSUER.to_owned());
    AuthorityConfig { kind, name: name.to_owned(), audience, source, ca: Vec::new() }
}

/// A bench that trusts `authorities` and has read their keys.
pub(super) async fn trusting(authorities: Vec<AuthorityConfig>) -> Bench {
    let bench = Bench::new().await;
    let names: Vec<_> = authorities.iter().map(|it| (it.kind, it.name.clone())).collect();
    bench.house.broker.trust.store(Arc::new(Trust::new(authorities)));
    for (kind, name) in names {
        refresh(&bench, kind, &name).await.unwrap();
    }
    bench
}

async fn refresh(bench: &Bench, kind: AuthorityKind, name: &str) -> Result<(), String> {
    let trust = bench.house.broker.trust.load_full();
    let now = bench.house.broker.now().mono;
    let authority = trust.find(kind, name).unwrap();
    authority.refresh(now).await.map(drop).map_err(|error| error.to_string())
}

/// Makes `desk-agent` one that is told by `identity` too.
pub(super) async fn told_by(bench: &Bench, identity: Identity) {
    let known = bench.house.broker.agent(&agent("desk-agent")).unwrap();
    let told = Agent { identities: vec![identity], ..(*known).clone() };
    bench.house.broker.put_agent(told, &ana()).await.unwrap();
    next_second(bench).await;
}

/// Tokens count whole seconds: one of the second of a change may be from before it.
pub(super) async fn next_second(bench: &Bench) {
    let changed = bench.now().s();
    while bench.now().s() <= changed {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn job(issuer: &str) -> Identity {
    Identity::Oidc { issuer: issuer.to_owned(), subject: SUBJECT.to_owned() }
}

fn ask(bench: &Bench, assertion: &str) -> Ask {
    Ask::new(assertion)
        .set("client_assertion_type", BEARER_TYPE)
        .set("resource", READ)
        .header("dpop", &bench.proof())
}

fn workload(bench: &Bench, issuer: &str) -> Value {
    let now = bench.now().s();
    json!({ "iss": issuer, "sub": SUBJECT, "aud": ISSUER, "iat": now, "exp": now + 600, "jti": fresh() })
}

pub(super) fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

pub(super) fn code(answer: &Answer) -> String {
    if answer.status.is_success() { "granted".to_owned() } else { answer.refusal().1 }
}

#[tokio::test]
async fn a_workload_of_a_configured_issuer_gets_a_token_and_its_neighbours_do_not() {
    let key = Signer::new("k1");
    let place = Place::new(&key, None).await;
    let bench = trusting(vec![place.config()]).await;
    told_by(&bench, job(&place.url)).await;
    let good = || workload(&bench, &place.url);
    let other = Signer::new("k1");
    let mut cases = vec![
        (1, key.sign(&good()), "granted"),
        (2, key.sign(&with(good(), "aud", json!([ISSUER]))), "granted"),
        (3, key.sign(&with(good(), "aud", json!([ISSUER, "x"]))), "token_claim"),
        (
            4,
            key.sign(&with(good(), "aud", json!("https://elsewhere.example"))),
            "token_wrong_audience",
        ),
        (5, key.sign(&with(good(), "iss", json!(format!("{}/", place.url)))), "token_wrong_issuer"),
        (6, other.sign(&good()), "token_signature"),
        (7, Signer::new("k2").sign(&good()), "token_key_unknown"),
        (
            8,
            key.sign_as(&json!({ "alg": "RS256", "kid": "k1" }), &good()),
            "token_algorithm_refused",
        ),
    ];
    for (number, neighbour) in [
        "repo:acme/desk:ref:refs/heads/mainx",
        "repo:acme/desk:ref:refs/heads/dev",
        "repo:acme/desk2:ref:refs/heads/main",
        "repo:ACME/desk:ref:refs/heads/main",
        "system:serviceaccount:prod:desk",
    ]
    .into_iter()
    .enumerate()
    {
        let token = key.sign(&with(good(), "sub", json!(neighbour)));
        cases.push((20 + number, token, "agent_unknown"));
    }
    for (number, token, wanted) in cases {
        let answer = bench.send(ask(&bench, &token)).await;
        assert_eq!(code(&answer), wanted, "{number}: {}", answer.text);
    }
    let named_as_svid = ask(&bench, &key.sign(&good())).set("client_assertion_type", SPIFFE_TYPE);
    assert_eq!(bench.send(named_as_svid).await.status.as_u16(), 401);
}

#[tokio::test]
async fn a_new_key_of_an_issuer_is_followed_and_an_old_one_forgotten() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let place = Place::new(&old, None).await;
    let bench = trusting(vec![place.config()]).await;
    told_by(&bench, job(&place.url)).await;
    place.publish(&[&new]);
    let by = |key: &Signer| ask(&bench, &key.sign(&workload(&bench, &place.url)));
    assert_eq!(code(&bench.send(by(&new)).await), "token_key_unknown");
    refresh(&bench, AuthorityKind::Issuer, &place.url).await.unwrap();
    assert_eq!(code(&bench.send(by(&new)).await), "granted");
    assert_eq!(code(&bench.send(by(&old)).await), "token_key_unknown");
}

#[tokio::test]
async fn metadata_of_another_issuer_gives_no_keys() {
    let key = Signer::new("k1");
    let place = Place::new(&key, Some("https://idp.example")).await;
    let bench = Bench::new().await;
    bench.house.broker.trust.store(Arc::new(Trust::new(vec![place.config()])));
    let error = refresh(&bench, AuthorityKind::Issuer, &place.url).await.unwrap_err();
    assert!(error.contains("another `issuer`"), "{error}");
    told_by(&bench, job(&place.url)).await;
    let answer = bench.send(ask(&bench, &key.sign(&workload(&bench, &place.url)))).await;
    assert_eq!(code(&answer), "token_key_unknown");
}

#[tokio::test]
async fn one_issuer_never_speaks_for_another_though_its_key_has_the_same_name() {
    let (key, other) = (Signer::new("k1"), Signer::new("k1"));
    let (place, elsewhere) = (Place::new(&key, None).await, Place::new(&other, None).await);
    let bench = trusting(vec![place.config(), elsewhere.config()]).await;
    told_by(&bench, job(&place.url)).await;
    let forged = bench.send(ask(&bench, &other.sign(&workload(&bench, &place.url)))).await;
    assert_eq!(code(&forged), "token_signature");
    let theirs = bench.send(ask(&bench, &other.sign(&workload(&bench, &elsewhere.url)))).await;
    assert_eq!(code(&theirs), "agent_unknown");
}

#[tokio::test]
async fn a_client_authenticates_with_its_registered_key_once_an_assertion() {
    let key = Signer::new("c1");
    let bench = Bench::new().await;
    let keys = Some(json!({ "keys": [key.jwk()] }));
    told_by(&bench, Identity::Client { id: CLIENT.to_owned(), keys, redirect_uris: Vec::new() })
        .await;
    let now = bench.now().s();
    let good = || json!({ "iss": CLIENT, "sub": CLIENT, "aud": ISSUER, "iat": now, "exp": now + 60, "jti": fresh() });
    let first = key.sign(&good());
    assert_eq!(code(&bench.send(ask(&bench, &first)).await), "granted");
    // Even with the same proof key.
    assert_eq!(code(&bench.send(ask(&bench, &first)).await), "assertion_used");
    let unknown = with(with(good(), "iss", json!("nobody")), "sub", json!("nobody"));
    let cases = [
        (1, key.sign(&with(good(), "aud", json!([ISSUER]))), "granted"),
        (2, key.sign(&with(good(), "aud", json!([ISSUER, "x"]))), "token_claim"),
        (3, key.sign(&with(good(), "aud", json!(super::TOKEN_ENDPOINT))), "token_wrong_audience"),
        (4, key.sign(&with(good(), "exp", json!(now + 900))), "token_too_long_lived"),
        (5, key.sign(&with(good(), "jti", json!(""))), "token_claim"),
        // Who is registered is not told: a wrong key and no such client are one answer.
        (6, Signer::new("c1").sign(&good()), "token_key_unknown"),
        (7, Signer::new("c2").sign(&good()), "token_key_unknown"),
        (8, key.sign(&unknown), "token_key_unknown"),
    ];
    for (number, token, wanted) in cases {
        let answer = bench.send(ask(&bench, &token)).await;
        assert_eq!(code(&answer), wanted, "{number}: {}", answer.text);
    }
    let another = ask(&bench, &key.sign(&good())).set("client_id", "another");
    assert_eq!(code(&bench.send(another).await), "client_id_differs");
    let own = ask(&bench, &key.sign(&good()))
        .set("client_id", "spiffe://carnet.example/agent/desk-agent");
    assert_eq!(code(&bench.send(own).await), "granted");
}

#[tokio::test]
async fn an_svid_of_another_trust_domain_is_good_until_that_domain_is_locked() {
    let key = SigningKey::generate(KeyUse::JwtSvid).unwrap();
    let bundle = KeySet::from_keys([key.verifying_key()]).unwrap().spiffe_bundle(1, 300);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bundle.json");
    std::fs::write(&file, bundle.to_string()).unwrap();
    let domain = AuthorityConfig {
        kind: AuthorityKind::Domain,
        ..issuer("cluster.example", Source::File(file))
    };
    let bench = trusting(vec![domain]).await;
    let id = "spiffe://cluster.example/ns/prod/sa/desk";
    told_by(&bench, Identity::Spiffe { id: id.to_owned() }).await;
    let svid = |id: &str| mint_svid(&key, &id.parse().unwrap(), ISSUER, bench.now(), 300).unwrap();
    assert_eq!(code(&bench.send(ask(&bench, &svid(id))).await), "granted");
    for (other, wanted) in [
        ("spiffe://cluster.example/ns/prod/sa/desk2", "agent_unknown"),
        ("spiffe://carnet.example/agent/desk-agent", "token_key_unknown"),
        ("spiffe://elsewhere.example/ns/prod/sa/desk", "token_wrong_trust_domain"),
    ] {
        assert_eq!(code(&bench.send(ask(&bench, &svid(other))).await), wanted, "{other}");
    }
    let elsewhere = LockTarget::TrustDomain("elsewhere.example".to_owned());
    let broker = &bench.house.broker;
    assert!(broker.set_lock(elsewhere, String::new(), &ana()).await.is_err());
    let locked = LockTarget::TrustDomain("cluster.example".to_owned());
    broker.set_lock(locked, String::new(), &ana()).await.unwrap();
    assert_eq!(code(&bench.send(ask(&bench, &svid(id))).await), "locked");
    assert!(!broker.is_agent_locked(&agent("mail-agent")));
}
