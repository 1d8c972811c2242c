//! A person who logs in with an identity provider, and a provider that says what each case has it say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use carnet_core::{Digest, Identity, LockTarget, Login, User};
use carnet_identity::{ExpectedForeign, ForeignKind, KeySet, verify_foreign};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::super::{Answer, Bench, encode};
use super::{
    CLIENT, REDIRECT, Visit, between, people, redeem, register, request, sent_back, visit,
};
use crate::broker::lock;
use crate::oauth::fixture::ana;
use crate::oauth::{LoginOptions, OAuthOptions, ProviderOptions};

const CALLBACK: &str = "https://carnet.example/oauth/callback";
/// The name the provider has for ana.
const SUBJECT: &str = "person-7";

/// What the provider says, and what it was asked.
struct Said {
    metadata: Value,
    keys: Value,
    token: (u16, Value),
    asked: Vec<(String, String)>,
}

struct Idp {
    issuer: String,
    said: Arc<Mutex<Said>>,
    key: Key,
}

struct Key {
    kid: &'static str,
    pair: EcdsaKeyPair,
}

impl Key {
    fn generate(kid: &'static str) -> Self {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
        Self { kid, pair: EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).unwrap() }
    }

    fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid,
            "x": part(1..33), "y": part(33..65) })
    }

    fn sign(&self, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({ "alg": "ES256", "kid": self.kid });
        let head = format!("{}.{}", encode(&header), encode(claims));
        let signature = self.pair.sign(&SystemRandom::new(), head.as_bytes()).unwrap();
        format!("{head}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

impl Idp {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let key = Key::generate("k1");
        let metadata = json!({ "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize?tenant=1"),
            "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/jwks") });
        let said = Said {
            metadata,
            keys: json!({ "keys": [key.jwk()] }),
            token: (500, Value::Null),
            asked: Vec::new(),
        };
        let said = Arc::new(Mutex::new(said));
        let own = Arc::clone(&said);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                serve(stream, &own).await;
            }
        });
        Self { issuer, said, key }
    }

    /// What it says of ana to the client that asked with `asked`.
    fn claims(&self, bench: &Bench, asked: &BTreeMap<String, String>) -> Value {
        let now = bench.now().s();
        json!({ "iss": self.issuer, "sub": SUBJECT, "aud": "carnet", "nonce": asked["nonce"],
            "iat": now, "exp": now + 300 })
    }

    fn gives(&self, token: &str) {
        let answer = json!({ "access_token": "a", "token_type": "Bearer", "id_token": token });
        lock(&self.said).token = (200, answer);
    }

    fn asked_at(&self, path: &str) -> Vec<String> {
        let said = lock(&self.said);
        said.asked.iter().filter(|(at, _)| at == path).map(|(_, body)| body.clone()).collect()
    }
}

async fn serve(mut stream: TcpStream, said: &Mutex<Said>) {
    let mut read = Vec::new();
    let (head, body) = loop {
        let mut more = [0; 4096];
        let count = stream.read(&mut more).await.unwrap_or(0);
        read.extend_from_slice(&more[..count]);
        let text = String::from_utf8_lossy(&read).into_owned();
        let whole = text.split_once("\r\n\r\n").filter(|(head, body)| {
            let head = head.to_lowercase();
            let length = head.split_once("content-length: ").map_or("0", |(_, rest)| rest);
            body.len() >= length.lines().next().unwrap().trim().parse().unwrap()
        });
        if let Some((head, body)) = whole {
            break (head.to_owned(), body.to_owned());
        }
        if count == 0 {
            return;
        }
    };
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let (status, answer) = {
        let mut said = lock(said);
        said.asked.push((path.clone(), body));
        match path.as_str() {
            "/.well-known/openid-configuration" => (200, said.metadata.clone()),
            "/jwks" => (200, said.keys.clone()),
            "/token" => said.token.clone(),
            _ => (404, Value::Null),
        }
    };
    let answer = answer.to_string();
    let length = answer.len();
    let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{answer}");
    let _ = stream.write_all(answer.as_bytes()).await;
}

/// A bench whose people log in with a provider, which knows ana.
async fn with_provider() -> (Bench, Idp) {
    let idp = Idp::start().await;
    let provider = ProviderOptions {
        issuer: idp.issuer.clone(),
        client_id: "carnet".to_owned(),
        ca: Vec::new(),
    };
    let login = LoginOptions { client_hosts: Vec::new(), provider: Some(provider) };
    let bench = Bench::with(OAuthOptions { login, ..OAuthOptions::default() }, 0).await;
    let redirect_uris = vec![REDIRECT.to_owned()];
    let client = Identity::Client { id: CLIENT.to_owned(), keys: None, redirect_uris };
    register(&bench, "editor", client).await;
    let login = Login { issuer: idp.issuer.clone(), subject: SUBJECT.to_owned() };
    let user = User { name: ana(), teams: BTreeSet::new(), logins: vec![login] };
    bench.house.broker.put_users(vec![user]).await.unwrap();
    (bench, idp)
}

/// The person goes to the provider: what it is asked with.
async fn leave(bench: &Bench, visit: &Visit) -> BTreeMap<String, String> {
    let answer = open(bench, &format!("{}/provider", visit.place), &visit.cookie).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    let query = answer.header("location").unwrap().split_once("?tenant=1&").unwrap().1.to_owned();
    let plain = |value: &str| value.replace("%3A", ":").replace("%2F", "/");
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, value)| (name.to_owned(), plain(value))).collect()
}

async fn open(bench: &Bench, path: &str, cookie: &str) -> Answer {
    let request = Request::get(path).header("host", "carnet.example").header("cookie", cookie);
    bench.answer(request.body(Body::empty()).unwrap()).await
}

/// A browser brings an answer.
async fn bring(bench: &Bench, cookie: &str, said: &[(&str, &str)]) -> Answer {
    let said: Vec<_> = said.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    open(bench, &format!("/oauth/callback?{}", encode(&said)), cookie).await
}

/// The answer is a page that sends nobody anywhere, with this code.
fn refused(answer: &Answer, status: StatusCode, code: &str) {
    assert_eq!(answer.status, status, "{code}: {}", answer.text);
    assert!(answer.text.contains(&format!("<code>{code}: ")), "{code}: {}", answer.text);
    assert_eq!(answer.header("location"), None);
}

#[tokio::test]
async fn a_person_logs_in_with_the_identity_provider_and_reads_the_same_page() {
    let (bench, idp) = with_provider().await;
    let visit = visit(&bench, &request()).await;
    let page = visit.look(&bench).await.text;
    assert!(page.contains("Log in with 127.0.0.1") && page.contains("carnet login "), "{page}");
    let asked = leave(&bench, &visit).await;
    let said = ["response_type", "client_id", "redirect_uri", "scope", "code_challenge_method"];
    let said = said.map(|name| asked[name].as_str());
    assert_eq!(said, ["code", "carnet", CALLBACK, "openid", "S256"]);
    idp.gives(&idp.key.sign(&idp.claims(&bench, &asked)));
    let back = [("code", "c-1"), ("state", asked["state"].as_str()), ("iss", &idp.issuer)];
    let answer = bring(&bench, &visit.cookie, &back).await;
    assert_eq!(answer.header("location"), Some(visit.place.as_str()), "{}", answer.text);

    let shown = idp.asked_at("/token").remove(0);
    let part = |name: &str| between(&format!("{shown}&"), &format!("{name}="), "&");
    let challenge = URL_SAFE_NO_PAD.encode(Digest::of(part("code_verifier").as_bytes()).as_bytes());
    assert_eq!((challenge, part("code")), (asked["code_challenge"].clone(), "c-1".to_owned()));
    let keys = bench.get("/oauth/client-jwks").await.text;
    let keys = KeySet::from_foreign_jwks(keys.as_bytes()).unwrap();
    let kind = ForeignKind::ClientAssertion;
    let expected = ExpectedForeign { kind, issuer: "carnet", audience: &idp.issuer };
    let claims = verify_foreign(&part("client_assertion"), &keys, &expected, bench.now()).unwrap();
    assert!(claims.expires.unwrap() <= bench.now().plus_s(60));
    let kid = keys.keys().next().unwrap().kid().to_owned();
    assert!(bench.house.broker.access_keys().key(&kid).is_none(), "a key of its own");

    let page = visit.look(&bench).await;
    assert!(page.text.contains("You are <strong>ana</strong>"), "{}", page.text);
    let code = sent_back(&bench.send(visit.form(&page, "yes")).await, "code");
    assert_eq!(bench.send(redeem(&bench, &code)).await.claims()["sub"], "user:ana");
}

#[tokio::test]
async fn an_id_token_that_is_not_of_this_login_logs_nobody_in() {
    let (bench, idp) = with_provider().await;
    let now = bench.now().s();
    for (name, value) in [
        ("nonce", json!("another")),
        ("nonce", Value::Null),
        ("azp", json!("another-client")),
        ("azp", json!(["carnet"])),
        ("aud", json!("another-client")),
        ("aud", json!(["carnet", "another-client"])),
        ("iss", json!("https://idp.example")),
        ("iat", json!(now - 400)),
        ("exp", json!(now - 1)),
    ] {
        let visit = visit(&bench, &request()).await;
        let asked = leave(&bench, &visit).await;
        let mut claims = idp.claims(&bench, &asked);
        claims[name] = value.clone();
        idp.gives(&idp.key.sign(&claims));
        let back = [("code", "c"), ("state", asked["state"].as_str())];
        let answer = bring(&bench, &visit.cookie, &back).await;
        refused(&answer, StatusCode::BAD_REQUEST, "id_token_refused");
        let page = visit.look(&bench).await.text;
        assert!(page.contains("carnet login "), "{name}={value}: {page}");
    }
    let visit = visit(&bench, &request()).await;
    let asked = leave(&bench, &visit).await;
    idp.gives(&Key::generate("k1").sign(&idp.claims(&bench, &asked)));
    let back = [("code", "c"), ("state", asked["state"].as_str())];
    let answer = bring(&bench, &visit.cookie, &back).await;
    refused(&answer, StatusCode::BAD_REQUEST, "id_token_refused");
}

#[tokio::test]
async fn an_answer_counts_once_and_in_the_browser_that_was_sent() {
    let (bench, idp) = with_provider().await;
    let (mine, theirs) = (visit(&bench, &request()).await, visit(&bench, &request()).await);
    let asked = leave(&bench, &mine).await;
    let others = leave(&bench, &theirs).await;
    idp.gives(&idp.key.sign(&idp.claims(&bench, &asked)));
    let id = mine.place.rsplit('/').next().unwrap();
    let secret =
        |asked: &BTreeMap<String, String>| asked["state"].split_once('.').unwrap().1.to_owned();
    for (state, cookie) in [
        (asked["state"].clone(), theirs.cookie.as_str()),
        (asked["state"].clone(), ""),
        (others["state"].clone(), &mine.cookie),
        (format!("{id}.{}", secret(&others)), &mine.cookie),
        (format!("{id}."), &mine.cookie),
        (secret(&asked), &mine.cookie),
        (String::new(), &mine.cookie),
    ] {
        let answer = bring(&bench, cookie, &[("code", "c"), ("state", &state)]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{state}: {}", answer.text);
    }
    assert_eq!(idp.asked_at("/token").len(), 0, "no code is shown to anybody");
    // Sent again, the first answer counts no more.
    let again = leave(&bench, &mine).await;
    let back = |asked: &BTreeMap<String, String>| {
        [("code", "c".to_owned()), ("state", asked["state"].clone())]
    };
    let good = back(&again).map(|(name, value)| (name.to_owned(), value));
    let late = back(&asked).map(|(name, value)| (name.to_owned(), value));
    let send = async |said: &[(String, String)]| {
        open(&bench, &format!("/oauth/callback?{}", encode(said)), &mine.cookie).await
    };
    assert_eq!(send(&late).await.status, StatusCode::NOT_FOUND);
    idp.gives(&idp.key.sign(&idp.claims(&bench, &again)));
    assert_eq!(send(&good).await.header("location"), Some(mine.place.as_str()));
    assert_eq!(send(&good).await.status, StatusCode::NOT_FOUND, "it is brought once");
    // Whoever is known by now is not asked again.
    let answer = open(&bench, &format!("{}/provider", mine.place), &mine.cookie).await;
    assert_eq!(answer.header("location"), Some(mine.place.as_str()));
    let answer = open(&bench, &format!("{}/provider", theirs.place), &mine.cookie).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_answer_of_another_provider_is_refused_before_its_code_is_shown_to_anybody() {
    for (names_itself, iss) in
        [(false, Some("https://evil.example")), (true, Some("https://evil.example")), (true, None)]
    {
        let (bench, idp) = with_provider().await;
        lock(&idp.said).metadata["authorization_response_iss_parameter_supported"] =
            names_itself.into();
        let visit = visit(&bench, &request()).await;
        let asked = leave(&bench, &visit).await;
        idp.gives(&idp.key.sign(&idp.claims(&bench, &asked)));
        let mut back = vec![("code", "c"), ("state", asked["state"].as_str())];
        back.extend(iss.map(|iss| ("iss", iss)));
        let answer = bring(&bench, &visit.cookie, &back).await;
        refused(&answer, StatusCode::BAD_REQUEST, "provider_differs");
        assert_eq!(idp.asked_at("/token").len(), 0);
    }
}

#[tokio::test]
async fn a_person_nobody_knows_and_one_who_is_locked_are_told_the_same() {
    let (bench, idp) = with_provider().await;
    let mut pages = Vec::new();
    for subject in ["person-8", "PERSON-7", SUBJECT] {
        if subject == SUBJECT {
            bench.house.lock(LockTarget::User(ana())).await;
        }
        let visit = visit(&bench, &request()).await;
        let asked = leave(&bench, &visit).await;
        let mut claims = idp.claims(&bench, &asked);
        claims["sub"] = subject.into();
        idp.gives(&idp.key.sign(&claims));
        let back = [("code", "c"), ("state", asked["state"].as_str())];
        let answer = bring(&bench, &visit.cookie, &back).await;
        refused(&answer, StatusCode::FORBIDDEN, "person_unknown");
        pages.push(between(&answer.text, "<body>", "</body>"));
    }
    assert!(pages.iter().all(|page| *page == pages[0] && !page.contains("person-")), "{pages:?}");
}

#[tokio::test]
async fn a_provider_that_gives_nothing_logs_nobody_in_and_its_words_are_shown_to_nobody() {
    let (bench, idp) = with_provider().await;
    for answer in [
        (400, json!({ "error": "invalid_grant", "error_description": "<b>evil</b>" })),
        (302, json!({ "id_token": "x" })),
        (200, json!({ "access_token": "a" })),
        (200, json!({ "id_token": 7 })),
        (200, json!("x".repeat(300 * 1024))),
    ] {
        let visit = visit(&bench, &request()).await;
        let asked = leave(&bench, &visit).await;
        lock(&idp.said).token = answer;
        let back = [("code", "c"), ("state", asked["state"].as_str())];
        let answer = bring(&bench, &visit.cookie, &back).await;
        refused(&answer, StatusCode::BAD_REQUEST, "provider_code");
        assert!(!answer.text.contains("evil"), "{}", answer.text);
    }
    for said in [
        [("error", "access_denied"), ("error_description", "<b>evil</b>")],
        [("error", "evil"), ("code", "c")],
        [("code", ""), ("scope", "openid")],
    ] {
        let visit = visit(&bench, &request()).await;
        let asked = leave(&bench, &visit).await;
        let back = [&said[..], &[("state", asked["state"].as_str())]].concat();
        let answer = bring(&bench, &visit.cookie, &back).await;
        refused(&answer, StatusCode::BAD_REQUEST, "provider_error");
        assert!(!answer.text.contains("evil"), "{}", answer.text);
    }
}

#[tokio::test]
async fn keys_nobody_knows_are_looked_for_once_and_metadata_is_kept() {
    let (bench, idp) = with_provider().await;
    for kid in ["k2", "k3", "k4"] {
        let visit = visit(&bench, &request()).await;
        let asked = leave(&bench, &visit).await;
        let token = Key::generate(kid).sign(&idp.claims(&bench, &asked));
        idp.gives(&token);
        let back = [("code", "c"), ("state", asked["state"].as_str())];
        let answer = bring(&bench, &visit.cookie, &back).await;
        refused(&answer, StatusCode::BAD_REQUEST, "id_token_refused");
    }
    assert_eq!(idp.asked_at("/jwks").len(), 1, "not again within 30 s");
    assert_eq!(idp.asked_at("/.well-known/openid-configuration").len(), 1);
}

#[tokio::test]
async fn a_provider_that_says_it_is_another_is_not_used() {
    let (bench, idp) = with_provider().await;
    lock(&idp.said).metadata["issuer"] = format!("{}/", idp.issuer).into();
    let visit = visit(&bench, &request()).await;
    let answer = open(&bench, &format!("{}/provider", visit.place), &visit.cookie).await;
    refused(&answer, StatusCode::SERVICE_UNAVAILABLE, "provider_metadata");
}

#[tokio::test]
async fn without_a_provider_nobody_is_sent_to_one_and_nothing_comes_back() {
    let bench = people(None).await;
    let visit = visit(&bench, &request()).await;
    assert!(!visit.look(&bench).await.text.contains("Log in with"));
    let answer = open(&bench, &format!("{}/provider", visit.place), &visit.cookie).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let id = visit.place.rsplit('/').next().unwrap();
    let state = format!("{id}.s");
    let answer = bring(&bench, &visit.cookie, &[("code", "c"), ("state", &state)]).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}
