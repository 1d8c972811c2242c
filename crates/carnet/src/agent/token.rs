//! A client of the token endpoint: one token, for one task, at one resource, on one path.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use carnet_core::{Path, ResourceName, TaskId, Timestamp};
use carnet_identity::DpopKey;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;
use url::form_urlencoded::Serializer;

use crate::agent::delegation::DelegationRefusal;
use crate::agent::http::{HttpClient, HttpError, collect};
use crate::agent::issuer::Issuer;
use crate::agent::workload::{Identity, WorkloadError};

/// The header of a proof (RFC 9449).
pub(crate) const DPOP: HeaderName = HeaderName::from_static("dpop");
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
const DETAILS_TYPE: &str = "carnet_task";
/// How long the token endpoint may take: opening a task waits for the ledger.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest answer read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long an SVID is used. It lives for five minutes, and other paths need it too.
const SVID_KEPT: Duration = Duration::from_secs(120);
/// How often a request is sent: for a nonce, a fresh SVID, or a busy server.
const ATTEMPTS_MAX: u32 = 4;
/// How long to wait for a busy server.
const BUSY_PAUSE: Duration = Duration::from_secs(1);
/// A token is renewed this long before it expires, or at half its life where that is later.
const RENEWED_BEFORE: Duration = Duration::from_secs(30);
/// The longest life believed.
const TTL_S_MAX: u64 = 3600;

/// A token, held for as long as it is good. It has no `Debug` of its content.
pub(crate) struct AccessToken {
    token: SecretString,
    /// Whether it is bound to our key.
    pub(crate) is_bound: bool,
    /// How long it lives.
    pub(crate) ttl_s: u64,
    /// The task it is for.
    pub(crate) task: Option<String>,
    got: Instant,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// No identity.
    #[error(transparent)]
    Identity(#[from] WorkloadError),
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Carnet said no.
    #[error("{0}")]
    Refused(TokenRefusal),
    /// Carnet does not let it be handed on.
    #[error("{0}")]
    NotDelegated(DelegationRefusal),
    /// An answer that is none.
    #[error(
        "the token endpoint's answer could not be understood: {0}; is this the address of Carnet?"
    )]
    Garbled(String),
    /// No proof could be made.
    #[error("no proof of possession could be made: {0}")]
    Proof(#[from] carnet_identity::MintError),
}

/// Carnet's no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no token for the {path} path of {resource}: {code}: {advice}")]
pub(crate) struct TokenRefusal {
    /// The path asked for.
    pub(crate) path: Path,
    /// The resource asked for.
    pub(crate) resource: ResourceName,
    /// OAuth's error.
    pub(crate) error: String,
    /// Carnet's stable code.
    pub(crate) code: String,
    /// What to do.
    pub(crate) advice: String,
}

/// Asks for tokens with one identity, one key and at most one task.
pub(crate) struct TokenClient {
    http: HttpClient,
    issuer: Issuer,
    identity: Arc<dyn Identity>,
    key: Option<DpopKey>,
    task: Option<TaskId>,
    svid: tokio::sync::Mutex<Option<(Arc<SecretString>, Instant)>>,
    nonce: Mutex<Option<String>>,
}

/// What asking is done with.
pub(crate) struct TokenClientParts {
    /// The way to the issuer.
    pub(crate) http: HttpClient,
    /// Who issues.
    pub(crate) issuer: Issuer,
    /// Who asks.
    pub(crate) identity: Arc<dyn Identity>,
    /// The key tokens are bound to, if they are to be.
    pub(crate) key: Option<DpopKey>,
    /// The task, or the agent's standing one.
    pub(crate) task: Option<TaskId>,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: String,
    expires_in: u64,
    #[serde(default)]
    scope: Option<String>,
}

#[derive(Deserialize)]
struct Denied {
    error: String,
    #[serde(default)]
    error_description: String,
    #[serde(default)]
    detail: Option<String>,
}

/// A refusal as Carnet tells it, fit for a terminal.
pub(crate) struct Denial {
    /// OAuth's error.
    pub(crate) error: String,
    /// Carnet's stable code.
    pub(crate) code: String,
    /// What to do.
    pub(crate) advice: String,
    /// What it is about, where that is told.
    pub(crate) detail: Option<String>,
}

/// Where a form goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Endpoint {
    /// Tokens.
    Token,
    /// Parts of tasks.
    Delegation,
}

impl TokenError {
    /// OAuth's error, where Carnet said no.
    fn oauth_error(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) => Some(&refusal.error),
            Self::NotDelegated(refusal) => Some(&refusal.error),
            _ => None,
        }
    }
}

impl AccessToken {
    /// The value of `Authorization`.
    pub(crate) fn authorization(&self) -> SecretString {
        format!("{} {}", self.token_type(), self.token.expose_secret()).into()
    }

    /// OAuth's name for how it is presented.
    pub(crate) fn token_type(&self) -> &'static str {
        if self.is_bound { "DPoP" } else { "Bearer" }
    }

    /// The token itself.
    pub(crate) fn secret(&self) -> &SecretString {
        &self.token
    }

    /// Whether it need not be renewed yet.
    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        let ttl = Duration::from_secs(self.ttl_s);
        let margin = RENEWED_BEFORE.min(ttl / 2);
        now.duration_since(self.got) + margin < ttl
    }
}

impl TokenClient {
    /// A client.
    pub(crate) fn new(parts: TokenClientParts) -> Self {
        let TokenClientParts { http, issuer, identity, key, task } = parts;
        let (svid, nonce) = (tokio::sync::Mutex::default(), Mutex::default());
        Self { http, issuer, identity, key, task, svid, nonce }
    }

    /// The way to the issuer.
    pub(crate) fn http(&self) -> &HttpClient {
        &self.http
    }

    /// Where `resource` is on `path`.
    pub(crate) fn address(&self, path: Path, resource: &ResourceName) -> String {
        self.issuer.address(path, resource)
    }

    /// Makes sure that this process has an identity.
    pub(crate) async fn check_identity(&self) -> Result<(), WorkloadError> {
        self.svid().await.map(|_| ())
    }

    /// A fresh token for `resource` on `path`. Each is decided anew.
    pub(crate) async fn token(
        &self,
        path: Path,
        resource: &ResourceName,
    ) -> Result<AccessToken, TokenError> {
        let mut attempt = 1;
        loop {
            match self.ask(path, resource).await {
                Err(refusal) => self.prepare_again(&mut attempt, refusal).await?,
                Ok(token) => return Ok(token),
            }
        }
    }

    /// Makes ready to ask once more, where the refusal says that this can help.
    pub(crate) async fn prepare_again(
        &self,
        attempt: &mut u32,
        refusal: TokenError,
    ) -> Result<(), TokenError> {
        match refusal.oauth_error() {
            _ if *attempt >= ATTEMPTS_MAX => return Err(refusal),
            // The nonce came with the refusal; it is in the next proof.
            Some("use_dpop_nonce") => {}
            // Carnet was started again, or the SVID is too old.
            Some("invalid_client") if *attempt == 1 => *self.svid.lock().await = None,
            Some("temporarily_unavailable") => tokio::time::sleep(BUSY_PAUSE).await,
            _ => return Err(refusal),
        }
        *attempt += 1;
        Ok(())
    }

    /// The proof that goes with `token` to `url`, where it is bound.
    pub(crate) fn prove(
        &self,
        method: &Method,
        url: &str,
        token: Option<&str>,
        nonce: Option<&str>,
    ) -> Result<Option<HeaderValue>, TokenError> {
        let Some(key) = &self.key else { return Ok(None) };
        let jti = uuid::Uuid::new_v4().simple().to_string();
        let proof = key.prove(method.as_str(), url, token, &jti, now(), nonce)?;
        let value = HeaderValue::from_str(&proof);
        value.map(Some).map_err(|error| TokenError::Garbled(error.to_string()))
    }

    async fn ask(&self, path: Path, resource: &ResourceName) -> Result<AccessToken, TokenError> {
        let svid = self.svid().await?;
        let form = self.form(path, resource, svid.expose_secret());
        let got = Instant::now();
        let (status, body) = self.post(Endpoint::Token, form).await?;
        match status {
            StatusCode::OK => granted(&body, got),
            _ => Err(self.denied(status, &body, path, resource)),
        }
    }

    /// Sends `form`, with a proof where there is a key, and tells the status and the whole body.
    pub(crate) async fn post(
        &self,
        endpoint: Endpoint,
        form: String,
    ) -> Result<(StatusCode, Bytes), TokenError> {
        let url = match endpoint {
            Endpoint::Token => self.issuer.token_endpoint(),
            Endpoint::Delegation => self.issuer.delegation_endpoint(),
        };
        let nonce = self.nonce.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut request = Request::new(Bytes::from(form));
        *request.method_mut() = Method::POST;
        *request.uri_mut() =
            url.parse().map_err(|error| HttpError::Request(format!("{url}: {error}")))?;
        let media_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(CONTENT_TYPE, media_type);
        if let Some(proof) = self.prove(&Method::POST, &url, None, nonce.as_deref())? {
            request.headers_mut().insert(DPOP, proof);
        }
        let response = self.http.send(request, ANSWER_TIMEOUT).await?;
        let nonce = response.headers().get(DPOP_NONCE).and_then(|nonce| nonce.to_str().ok());
        if let Some(nonce) = nonce {
            *self.nonce.lock().unwrap_or_else(PoisonError::into_inner) = Some(nonce.to_owned());
        }
        let status = response.status();
        Ok((status, collect(response.into_body(), ANSWER_BYTES_MAX).await?))
    }

    /// The parameters that say who asks.
    pub(crate) fn client_form(svid: &str) -> Serializer<'static, String> {
        let mut form = Serializer::new(String::new());
        form.append_pair("client_assertion_type", ASSERTION_TYPE)
            .append_pair("client_assertion", svid);
        form
    }

    fn form(&self, path: Path, resource: &ResourceName, svid: &str) -> String {
        let address = self.issuer.address(path, resource);
        let mut form = Self::client_form(svid);
        form.append_pair("grant_type", "client_credentials").append_pair("resource", &address);
        if let Some(task) = &self.task {
            let details = json!([{
                "type": DETAILS_TYPE, "task": task, "path": path, "locations": [address],
            }]);
            form.append_pair("authorization_details", &details.to_string());
        }
        form.finish()
    }

    /// The SVID in use, or a fresh one. The same one may be used again with the same key only.
    pub(crate) async fn svid(&self) -> Result<Arc<SecretString>, WorkloadError> {
        let mut kept = self.svid.lock().await;
        if let Some((svid, got)) = &*kept
            && got.elapsed() < SVID_KEPT
            && self.key.is_some()
        {
            return Ok(Arc::clone(svid));
        }
        let svid = Arc::new(self.identity.svid(self.issuer.as_str()).await?);
        *kept = Some((Arc::clone(&svid), Instant::now()));
        Ok(svid)
    }

    fn denied(
        &self,
        status: StatusCode,
        body: &[u8],
        path: Path,
        resource: &ResourceName,
    ) -> TokenError {
        let Denial { error, code, advice, .. } = match read_denial(status, body) {
            Ok(denial) => denial,
            Err(error) => return error,
        };
        let advice = self.hint(&code).map_or(advice, str::to_owned);
        let resource = resource.clone();
        TokenError::Refused(TokenRefusal { path, resource, error, code, advice })
    }

    /// What to do about a refusal, where this side knows better.
    fn hint(&self, code: &str) -> Option<&'static str> {
        Some(match code {
            "task_unknown" if self.task.is_none() => {
                "no task was named and the agent has no standing intent: have one opened with \
                 `carnet task open`, and name it with --task or CARNET_TASK"
            }
            "task_unknown" => {
                "the task is over, never existed, or is another agent's: have one opened with \
                 `carnet task open`, and name it with --task or CARNET_TASK"
            }
            "proof_required" if self.key.is_none() => {
                "the token must be bound to a key: give one with --dpop-key FILE"
            }
            "not_covered" => "the task has nothing there that is live: see `carnet task show`",
            _ => return None,
        })
    }
}

fn granted(body: &[u8], got: Instant) -> Result<AccessToken, TokenError> {
    let granted: Granted =
        serde_json::from_slice(body).map_err(|error| TokenError::Garbled(error.to_string()))?;
    let is_bound = match granted.token_type.as_str() {
        kind if kind.eq_ignore_ascii_case("dpop") => true,
        kind if kind.eq_ignore_ascii_case("bearer") => false,
        _ => return Err(TokenError::Garbled("a token of a type nobody asked for".into())),
    };
    let task = granted.scope.as_deref().and_then(|scope| scope.strip_prefix("task:"));
    Ok(AccessToken {
        task: task.map(str::to_owned),
        token: granted.access_token.into(),
        is_bound,
        ttl_s: granted.expires_in.min(TTL_S_MAX),
        got,
    })
}

/// The refusal in `body`.
pub(crate) fn read_denial(status: StatusCode, body: &[u8]) -> Result<Denial, TokenError> {
    let denied: Denied = serde_json::from_slice(body)
        .map_err(|_| TokenError::Garbled(format!("status {status}")))?;
    let (code, advice) = match denied.error_description.split_once(": ") {
        Some((code, advice)) if is_code(code) => (code, advice),
        _ => (denied.error.as_str(), denied.error_description.as_str()),
    };
    let (code, advice, error) = (plain(code), plain(advice), plain(&denied.error));
    Ok(Denial { error, code, advice, detail: denied.detail.as_deref().map(plain) })
}

fn is_code(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// A text of the server's as it may stand on a terminal.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(400).collect()
}

/// The wall clock: what proofs are dated with.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_us(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::fixture::{FakeCarnet, SVID};

    fn desk() -> ResourceName {
        "desk".parse().unwrap()
    }

    fn refusal(answer: Result<AccessToken, TokenError>) -> TokenRefusal {
        match answer {
            Err(TokenError::Refused(refusal)) => refusal,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("a token was issued"),
        }
    }

    #[tokio::test]
    async fn a_token_is_asked_for_one_resource_one_path_and_one_task() {
        let carnet = FakeCarnet::start().await;
        let token = carnet.tokens(Some("task_1")).token(Path::Write, &desk()).await.unwrap();
        assert!(token.is_bound && token.ttl_s == 120);
        assert_eq!(token.task.as_deref(), Some("task_1"));
        let form = carnet.last_form();
        let address = format!("{}/write/mcp/desk", carnet.issuer());
        assert_eq!(form["resource"], address);
        assert_eq!(form["client_assertion"], SVID);
        assert_eq!(form["client_assertion_type"], ASSERTION_TYPE);
        let details: serde_json::Value =
            serde_json::from_str(&form["authorization_details"]).unwrap();
        let expected = json!([{
            "type": "carnet_task", "task": "task_1", "path": "write", "locations": [address],
        }]);
        assert_eq!(details, expected);
    }

    #[tokio::test]
    async fn a_demanded_nonce_is_in_the_next_proof() {
        let carnet = FakeCarnet::start().await;
        carnet.set(|state| state.nonce = Some("n-1".into()));
        let tokens = carnet.tokens(None);
        assert!(tokens.token(Path::Read, &desk()).await.is_ok());
        assert_eq!(carnet.get(|state| state.token_requests), 2);
        assert!(tokens.token(Path::Read, &desk()).await.is_ok());
        assert_eq!(carnet.get(|state| state.token_requests), 3, "the nonce is kept");
    }

    #[tokio::test]
    async fn an_svid_from_before_a_restart_is_fetched_again_once() {
        let carnet = FakeCarnet::start().await;
        let tokens = carnet.tokens(None);
        assert!(tokens.token(Path::Read, &desk()).await.is_ok());
        carnet.set(|state| {
            state.refused_once = Some(("invalid_client", "assertion_before_start: x"))
        });
        assert!(tokens.token(Path::Read, &desk()).await.is_ok());
        assert_eq!(carnet.svids_fetched(), 2);
    }

    #[tokio::test]
    async fn an_svid_is_used_again_with_the_same_key_and_never_without_one() {
        let carnet = FakeCarnet::start().await;
        let bound = carnet.tokens(None);
        for _ in 0..2 {
            assert!(bound.token(Path::Read, &desk()).await.is_ok());
        }
        assert_eq!(carnet.svids_fetched(), 1);
        let unbound = carnet.tokens_without_key();
        for _ in 0..2 {
            assert!(unbound.token(Path::Read, &desk()).await.is_ok());
        }
        assert_eq!(carnet.svids_fetched(), 3);
    }

    #[tokio::test]
    async fn a_refusal_says_what_to_do() {
        let carnet = FakeCarnet::start().await;
        carnet.close_path(Path::Write, "invalid_target", "not_covered: no allowance");
        let refused = refusal(carnet.tokens(None).token(Path::Write, &desk()).await);
        assert_eq!((refused.code.as_str(), refused.path), ("not_covered", Path::Write));
        carnet.close_path(Path::Read, "unauthorized_client", "task_unknown: gone");
        let refused = refusal(carnet.tokens(None).token(Path::Read, &desk()).await);
        assert!(refused.to_string().contains("--task"), "{refused}");
        carnet.close_path(Path::Read, "unauthorized_client", "locked: an operator pulled a lock");
        let refused = refusal(carnet.tokens(None).token(Path::Read, &desk()).await);
        assert!(refused.to_string().contains("locked: an operator"), "{refused}");
    }

    #[tokio::test]
    async fn without_a_key_the_refusal_names_the_option() {
        let carnet = FakeCarnet::start().await;
        let refused = refusal(carnet.tokens_without_key().token(Path::Write, &desk()).await);
        assert!(refused.to_string().contains("--dpop-key"), "{refused}");
        let token = carnet.tokens_without_key().token(Path::Read, &desk()).await.unwrap();
        assert!(!token.is_bound);
        let header = token.authorization();
        assert!(header.expose_secret().starts_with("Bearer tok-"));
    }

    #[tokio::test]
    async fn a_token_is_renewed_before_it_expires() {
        let got = Instant::now();
        let body = br#"{"access_token":"t","token_type":"DPoP","expires_in":120}"#;
        let token = granted(body, got).unwrap();
        assert!(token.is_fresh(got + Duration::from_secs(89)));
        assert!(!token.is_fresh(got + Duration::from_secs(90)));
        let body = br#"{"access_token":"t","token_type":"DPoP","expires_in":10}"#;
        let short = granted(body, got).unwrap();
        assert!(short.is_fresh(got + Duration::from_secs(4)));
        assert!(!short.is_fresh(got + Duration::from_secs(5)));
    }
}
