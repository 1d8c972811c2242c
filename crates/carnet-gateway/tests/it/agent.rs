//! An agent: a key, a task, and tokens for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use carnet_core::{InstanceId, Path, TaskId, Timestamp};
use carnet_identity::{AccessClaims, Confirmation, DpopKey, SigningKey, mint_access};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::answer::{Answer, Stream};
use crate::control::NOW;

pub(crate) const OLD: &str = "2025-06-18";
pub(crate) const MIDDLE: &str = "2025-11-25";
pub(crate) const NEW: &str = "2026-07-28";

/// An agent's running copy.
#[derive(Clone)]
pub(crate) struct Agent {
    pub(crate) issuer: String,
    pub(crate) signing: Arc<SigningKey>,
    pub(crate) dpop: Arc<DpopKey>,
    pub(crate) instance: InstanceId,
    pub(crate) task: TaskId,
    pub(crate) client: Client<hyper_util::client::legacy::connect::HttpConnector, Full<Bytes>>,
    pub(crate) serial: Arc<AtomicU64>,
}

/// A request being made up.
#[derive(Clone)]
pub(crate) struct Draft {
    agent: Agent,
    method: &'static str,
    path: Path,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Agent {
    pub(crate) fn new(issuer: &str, signing: &Arc<SigningKey>, instance: u128, task: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            signing: Arc::clone(signing),
            dpop: Arc::new(DpopKey::generate().unwrap()),
            instance: InstanceId::from_bits(instance),
            task: task.parse().unwrap(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            serial: Arc::default(),
        }
    }

    /// The address of the desk on `path`.
    pub(crate) fn address(&self, path: Path) -> String {
        format!("{}/{path}/mcp/desk", self.issuer)
    }

    /// The claims of a token for `path`, bound to this agent's key.
    pub(crate) fn claims(&self, path: Path) -> AccessClaims {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        AccessClaims {
            iss: self.issuer.clone(),
            sub: "user:ana".into(),
            client_id: "spiffe://example.org/agent/support-agent".into(),
            aud: self.address(path),
            iat: NOW.wall,
            nbf: NOW.wall,
            exp: NOW.wall.plus_s(60),
            jti: format!("token-{serial}"),
            scope: None,
            cnf: Some(Confirmation::Key { jkt: self.dpop.thumbprint() }),
            act: None,
            task: self.task.clone(),
            path,
            resource: "desk".parse().unwrap(),
            instance: self.instance.clone(),
            authorization_details: vec![],
        }
    }

    pub(crate) fn token(&self, path: Path) -> String {
        mint_access(&self.signing, &self.claims(path)).unwrap()
    }

    /// The name of the token the last draft was made with: its proof came after it.
    pub(crate) fn last_token(&self) -> String {
        format!("token-{}", self.serial.load(Ordering::Relaxed) - 2)
    }

    pub(crate) fn proof(&self, method: &str, path: Path, token: &str) -> String {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let (url, jti) = (self.address(path), format!("proof-{serial}"));
        let now: Timestamp = NOW.wall;
        self.dpop.prove(method, &url, Some(token), &jti, now, None).unwrap()
    }

    /// A request with a fresh token and proof.
    pub(crate) fn draft(&self, method: &'static str, path: Path, body: impl Into<Bytes>) -> Draft {
        let token = self.token(path);
        let proof = self.proof(method, path, &token);
        self.bare(method, path, body)
            .header("authorization", &format!("DPoP {token}"))
            .header("dpop", &proof)
    }

    /// A request of nobody.
    pub(crate) fn bare(&self, method: &'static str, path: Path, body: impl Into<Bytes>) -> Draft {
        let draft = Draft { agent: self.clone(), method, path, headers: vec![], body: body.into() };
        draft.header("content-type", "application/json")
    }

    /// Opens a session of the revision `version`.
    pub(crate) async fn open(&self, path: Path, version: &'static str) -> Session {
        self.open_with(path, version, json!({})).await
    }

    pub(crate) async fn open_with(
        &self,
        path: Path,
        version: &'static str,
        capabilities: Value,
    ) -> Session {
        let answer = self.initialize(path, version, capabilities).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.json()["result"].is_object(), "{}", answer.text());
        let id = answer.headers["mcp-session-id"].to_str().unwrap().to_owned();
        Session { agent: self.clone(), path, version, id }
    }

    pub(crate) async fn initialize(
        &self,
        path: Path,
        version: &'static str,
        capabilities: Value,
    ) -> Answer {
        let body = json!({
            "jsonrpc": "2.0", "id": 0, "method": "initialize",
            "params": {
                "protocolVersion": version,
                "capabilities": capabilities,
                "clientInfo": { "name": "agent", "version": "1" },
            },
        });
        self.draft("POST", path, body.to_string()).send().await
    }

    /// A request of the revision without sessions.
    pub(crate) fn stateless(&self, path: Path, method: &str, mut params: Value) -> Draft {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": NEW,
            "io.modelcontextprotocol/clientCapabilities": { "elicitation": {} },
        });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let draft = self
            .draft("POST", path, body.to_string())
            .header("mcp-protocol-version", NEW)
            .header("mcp-method", method);
        match params.get("name").or(params.get("uri")).and_then(Value::as_str) {
            Some(name) => draft.header("mcp-name", name),
            None => draft,
        }
    }

    /// A call of the revision without sessions.
    pub(crate) fn call(&self, path: Path, tool: &str, arguments: Value) -> Draft {
        self.stateless(path, "tools/call", json!({ "name": tool, "arguments": arguments }))
    }
}

impl Draft {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    pub(crate) async fn begin(self) -> Response<Incoming> {
        let uri = self.agent.address(self.path);
        self.begin_at(&uri).await
    }

    pub(crate) async fn begin_at(self, uri: &str) -> Response<Incoming> {
        let mut request = Request::builder().method(self.method).uri(uri);
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().unwrap();
            request = request.header(name, HeaderValue::from_str(value).unwrap());
        }
        let request = request.body(Full::new(self.body)).unwrap();
        self.agent.client.request(request).await.unwrap()
    }

    pub(crate) async fn send(self) -> Answer {
        Answer::of(self.begin().await).await
    }

    pub(crate) async fn stream(self) -> Stream {
        Stream::of(self.begin().await)
    }
}

/// A session an agent opened.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) agent: Agent,
    pub(crate) path: Path,
    pub(crate) version: &'static str,
    pub(crate) id: String,
}

impl Session {
    pub(crate) fn draft(&self, method: &'static str, body: impl Into<Bytes>) -> Draft {
        self.agent
            .draft(method, self.path, body)
            .header("mcp-session-id", &self.id)
            .header("mcp-protocol-version", self.version)
    }

    pub(crate) fn request(&self, id: u32, method: &str, params: Value) -> Draft {
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.draft("POST", body.to_string())
    }

    pub(crate) fn call(&self, tool: &str, arguments: Value) -> Draft {
        self.request(1, "tools/call", json!({ "name": tool, "arguments": arguments }))
    }
}
