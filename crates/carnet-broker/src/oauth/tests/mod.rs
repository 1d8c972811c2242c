//! The routes, driven as an agent drives them.

mod certificates;
mod confusion;
mod delegation;
mod documents;
// One case a line.
#[rustfmt::skip]
mod exchange;
mod federation;
mod foreign;
mod grants;
mod introspection;
mod loopback;
mod people;
// One case a line.
#[rustfmt::skip]
mod refusals;
mod revocation;
mod schemas;
mod secrets;
// One case a line.
#[rustfmt::skip]
mod subject;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use carnet_core::Timestamp;
use carnet_identity::{DpopKey, SpiffeId};
use http_body_util::BodyExt;
use secrecy::ExposeSecret;
use serde_json::Value;
use tower::ServiceExt;

use crate::keys::KeyPurpose;
use crate::oauth::fixture::{House, ISSUER, agent};
use crate::oauth::surface::Surface;
use crate::oauth::{OAuthOptions, routes};

pub(super) const TOKEN_ENDPOINT: &str = "https://carnet.example/oauth/token";
pub(super) const SPIFFE_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
pub(super) const BEARER_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
pub(super) const BEARER_GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
pub(super) const READ: &str = "https://carnet.example/read/mcp/desk";
pub(super) const WRITE: &str = "https://carnet.example/write/mcp/desk";

static NONCE: AtomicU64 = AtomicU64::new(0);

/// A house and the routes to it.
pub(super) struct Bench {
    pub(super) house: House,
    pub(super) router: Router,
    pub(super) key: DpopKey,
}

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

/// A request for a token, to be bent by each case.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) method: &'static str,
    pub(super) uri: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) form: Vec<(String, String)>,
}

impl Bench {
    pub(super) async fn new() -> Self {
        Self::with(OAuthOptions::default(), 0).await
    }

    /// Routes that started `later_s` from now.
    pub(super) async fn with(options: OAuthOptions, later_s: i64) -> Self {
        let house = House::at(ISSUER).await;
        let started = house.broker.now().wall.plus_s(later_s);
        let surface = Surface::new(Arc::clone(&house.broker), options, started).unwrap();
        let router = routes(Arc::new(surface));
        Self { house, router, key: DpopKey::generate().unwrap() }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.house.broker.now().wall
    }

    /// A fresh SVID of `name` for the issuer.
    pub(super) fn svid(&self, name: &str) -> String {
        let svid = self.house.broker.mint_svid(&agent(name), ISSUER).unwrap();
        svid.expose_secret().to_owned()
    }

    /// An SVID as no Workload API would issue it.
    pub(super) fn odd_svid(&self, id: &str, audience: &str, at: Timestamp) -> String {
        let id: SpiffeId = id.parse().unwrap();
        let key = self.house.broker.signing_key(KeyPurpose::JwtSvid).unwrap();
        carnet_identity::mint_svid(&key, &id, audience, at, 300).unwrap()
    }

    /// A fresh proof for the token endpoint.
    pub(super) fn proof(&self) -> String {
        self.proof_with(&self.key, TOKEN_ENDPOINT, None)
    }

    pub(super) fn proof_with(&self, key: &DpopKey, url: &str, nonce: Option<&str>) -> String {
        key.prove("POST", url, None, &fresh(), self.now(), nonce).unwrap()
    }

    /// A request that succeeds: `desk-agent`, its standing task, the read path, bound.
    pub(super) fn good(&self) -> Ask {
        Ask::new(&self.svid("desk-agent")).set("resource", READ).header("dpop", &self.proof())
    }

    pub(super) async fn send(&self, ask: Ask) -> Answer {
        self.answer(ask.request()).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        let request = Request::get(path).header("host", "carnet.example").body(Body::empty());
        self.answer(request.unwrap()).await
    }

    pub(super) async fn answer(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }
}

impl Ask {
    pub(super) fn new(svid: &str) -> Self {
        let headers = vec![
            ("host", "carnet.example".to_owned()),
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
        ];
        let ask =
            Self { method: "POST", uri: "/oauth/token".to_owned(), headers, form: Vec::new() };
        ask.set("grant_type", "client_credentials")
            .set("client_assertion_type", SPIFFE_TYPE)
            .set("client_assertion", svid)
    }

    /// Replaces the parameter `name`.
    pub(super) fn set(self, name: &str, value: &str) -> Self {
        self.without(name).add(name, value)
    }

    /// Adds a parameter, be it there already or not.
    pub(super) fn add(mut self, name: &str, value: &str) -> Self {
        self.form.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.form.retain(|(known, _)| known != name);
        self
    }

    /// Replaces the header `name`.
    pub(super) fn header(self, name: &'static str, value: &str) -> Self {
        self.no_header(name).more_header(name, value)
    }

    pub(super) fn more_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn no_header(mut self, name: &'static str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self
    }

    pub(super) fn request(self) -> Request<Body> {
        let mut request = Request::builder().method(self.method).uri(&self.uri);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request.body(Body::from(encode(&self.form))).unwrap()
    }
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The OAuth error and the code that begins its description.
    pub(super) fn refusal(&self) -> (String, String) {
        let body = self.json();
        let description = body["error_description"].as_str().unwrap_or_default();
        let code = description.split(':').next().unwrap_or_default();
        (body["error"].as_str().unwrap_or_default().to_owned(), code.to_owned())
    }

    /// The claims of the token in it, unverified.
    pub(super) fn claims(&self) -> Value {
        use base64::Engine;
        let body = self.json();
        let token = body["access_token"].as_str().unwrap_or_else(|| panic!("{body}"));
        let payload = token.split('.').nth(1).unwrap();
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }
}

/// A text never used before.
pub(super) fn fresh() -> String {
    format!("jti-{}", NONCE.fetch_add(1, Ordering::Relaxed))
}

pub(super) fn encode(form: &[(String, String)]) -> String {
    let escape = |text: &str| -> String {
        text.bytes()
            .map(|b| match b {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                    char::from(b).to_string()
                }
                _ => format!("%{b:02X}"),
            })
            .collect()
    };
    let pairs: Vec<String> =
        form.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
    pairs.join("&")
}
