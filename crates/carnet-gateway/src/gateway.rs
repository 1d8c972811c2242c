//! The gateway: one node's enforcement point.

use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use carnet_core::{Caller, DecisionId, Path, Reason, ResourceName};
use carnet_ledger::Ledger;
use http::header::{HOST, HeaderValue, ORIGIN, RETRY_AFTER};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::body::{self, Body};
use crate::control::Control;
use crate::identify::Identifier;
use crate::live::LiveWork;
use crate::mcp::codec::{DENIED_CODE, Schemas};
use crate::mcp::session::Sessions;
use crate::mcp::shared::Channels;
use crate::mcp::upstream::{ChildRules, Children, HttpClient, Upstreams};
use crate::patience::{Patience, RETRY_AFTER_S};
use crate::record;

/// How many compiled schemas are kept.
const SCHEMAS_MAX: usize = 1_024;
/// How often deadlines are enforced on live work where nothing else happens.
const ENFORCE_EVERY: Duration = Duration::from_millis(250);

/// What a gateway is built from.
pub struct GatewayParts {
    /// The control plane.
    pub control: Arc<dyn Control>,
    /// The node's own ledger.
    pub ledger: Ledger,
    /// The address agents reach the gateway at, without a trailing slash. Tokens are issued by it.
    pub issuer: String,
    /// How long a call that needs a person waits before the agent is told to come back.
    pub approval_hold: Duration,
    /// As whom child processes may run.
    pub children: ChildRules,
}

/// One node's enforcement point.
pub struct Gateway {
    pub(crate) control: Arc<dyn Control>,
    pub(crate) ledger: Ledger,
    pub(crate) identifier: Identifier,
    pub(crate) live: Arc<LiveWork>,
    pub(crate) schemas: Schemas,
    pub(crate) sessions: Sessions,
    pub(crate) channels: Channels,
    pub(crate) upstreams: Upstreams,
    pub(crate) approval_hold: Duration,
    pub(crate) patience: Patience,
    authority: String,
    origin: String,
}

/// Why a gateway could not be built.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The issuer is not an address.
    #[error("the issuer `{0}` is not an address: write one like `http://127.0.0.1:7480`")]
    Issuer(String),
    /// The system's certificates could not be read.
    #[error("the client for upstreams could not be made: {0}")]
    Client(String),
}

impl Gateway {
    /// A gateway, with live work enforced from now on.
    pub fn start(parts: GatewayParts) -> Result<Arc<Self>, GatewayError> {
        let uri: http::Uri =
            parts.issuer.parse().map_err(|_| GatewayError::Issuer(parts.issuer.clone()))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(GatewayError::Issuer(parts.issuer));
        };
        let (origin, authority) = (format!("{scheme}://{authority}"), authority.to_string());
        let started = parts.control.now().wall;
        let client = HttpClient::new().map_err(|error| GatewayError::Client(error.to_string()))?;
        let gateway = Arc::new(Self {
            control: parts.control,
            ledger: parts.ledger,
            identifier: Identifier::new(parts.issuer, started),
            live: Arc::default(),
            schemas: Schemas::new(SCHEMAS_MAX),
            sessions: Sessions::default(),
            channels: Channels::default(),
            upstreams: Upstreams { client, children: Children::new(parts.children) },
            approval_hold: parts.approval_hold,
            patience: Patience::default(),
            authority,
            origin,
        });
        tokio::spawn(enforce_forever(Arc::downgrade(&gateway), gateway.control.revisions()));
        Ok(gateway)
    }

    /// Whether `path` of a URL is the gateway's to answer.
    pub fn serves(url_path: &str) -> bool {
        route(url_path).is_some()
    }

    /// Answers one request.
    pub async fn handle(self: &Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let caller = match self.identified(&parts) {
            Ok(caller) => caller,
            Err(response) => return *response,
        };
        match parts.method {
            Method::POST | Method::GET
                if !self.patience.is_left_for(&caller, self.control.now().mono) =>
            {
                too_many_refusals()
            }
            Method::POST => self.post(parts, body, caller).await,
            Method::GET => self.listen(&parts, caller).await,
            Method::DELETE => self.end_session(&parts, caller).await,
            _ => not_allowed(),
        }
    }

    /// `identify`: the caller, or the answer to who is none.
    fn identified(&self, parts: &Parts) -> Result<Caller, Box<Response<Body>>> {
        let refused = |(status, message)| Box::new(body::problem(status, message));
        self.check_browser(parts).map_err(refused)?;
        let found = route(parts.uri.path());
        let (path, resource) =
            found.ok_or_else(|| refused((StatusCode::NOT_FOUND, "nothing is served here")))?;
        if parts.uri.query().is_some() {
            return Err(refused((StatusCode::BAD_REQUEST, "the address has no query")));
        }
        let address = self.identifier.address(path, &resource);
        let keys = self.control.access_keys();
        self.identifier.identify(parts, &address, &keys, self.control.now()).map_err(|error| {
            tracing::info!(%error, %path, %resource, "a request without a caller");
            Box::new(self.challenge(path, &resource, error.code()))
        })
    }

    /// A browser that was tricked into calling us names another host, or the origin of another site
    /// (DNS rebinding). Our own origin serves no pages, so that who names it is a client that says it
    /// always.
    fn check_browser(&self, parts: &Parts) -> Result<(), (StatusCode, &'static str)> {
        let mut hosts = parts.headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or(""));
        let authority = parts.uri.authority().map(|authority| authority.as_str());
        let is_ours = |host: &str| host.eq_ignore_ascii_case(&self.authority);
        let is_named = parts.headers.contains_key(HOST) || authority.is_some();
        if !is_named || !hosts.all(is_ours) || !authority.is_none_or(is_ours) {
            let message =
                "use the address of the issuer: another name for this host is not accepted";
            return Err((StatusCode::MISDIRECTED_REQUEST, message));
        }
        let is_own =
            |origin: &HeaderValue| origin.as_bytes().eq_ignore_ascii_case(self.origin.as_bytes());
        match parts.headers.get_all(ORIGIN).iter().all(is_own) {
            true => Ok(()),
            false => Err((StatusCode::FORBIDDEN, "pages of other sites have no business here")),
        }
    }

    /// 401, with where to get a token (RFC 9728).
    pub(crate) fn challenge(
        &self,
        path: Path,
        resource: &ResourceName,
        code: &str,
    ) -> Response<Body> {
        let issuer = self.identifier.address(path, resource);
        let metadata = issuer.replacen(
            &format!("/{path}/mcp/"),
            &format!("/.well-known/oauth-protected-resource/{path}/mcp/"),
            1,
        );
        let error = match code {
            "" => String::new(),
            code => format!("error=\"{code}\", "),
        };
        let mut response = body::empty(StatusCode::UNAUTHORIZED);
        for scheme in ["Bearer ", "DPoP algs=\"ES256 EdDSA\", "] {
            let value = format!("{scheme}{error}resource_metadata=\"{metadata}\"");
            if let Ok(value) = value.parse() {
                response.headers_mut().append(http::header::WWW_AUTHENTICATE, value);
            }
        }
        response
    }

    /// Counts a refusal that `caller` is told of.
    pub(crate) fn wear(&self, caller: &Caller, reason: Reason) {
        self.patience.wear(&caller.agent, reason, self.control.now().mono);
    }

    /// Closes what the view of this moment no longer vouches for, then acknowledges it: child
    /// processes are dead by then, and nothing that was cancelled begins any more.
    fn enforce(&self) {
        let view = self.control.view();
        let revision = view.snapshot.revision;
        let closed = self.live.enforce(&view.snapshot, self.control.now());
        if closed > 0 {
            tracing::info!(closed, revision, "live work was closed");
        }
        for channel in self.sessions.take_dead().into_iter().chain(self.channels.take_dead()) {
            channel.link.cut();
            tokio::spawn(async move { channel.link.close(channel.revision).await });
        }
        self.control.acknowledge(revision);
        for (caller, count) in self.patience.take_due(self.control.now().mono) {
            tracing::warn!(agent = %caller.agent, count, "requests were turned away unread: too many refusals");
            record::turned_away(self, &caller, count);
        }
    }
}

/// Enforces each new view, and deadlines where nothing else happens, while there is a gateway.
async fn enforce_forever(gateway: Weak<Gateway>, mut revisions: tokio::sync::watch::Receiver<u64>) {
    let mut ticks = tokio::time::interval(ENFORCE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut has_control = true;
    loop {
        let Some(gateway) = gateway.upgrade() else { return };
        gateway.enforce();
        drop(gateway);
        tokio::select! {
            changed = revisions.changed(), if has_control => has_control = changed.is_ok(),
            _ = ticks.tick() => {}
        }
    }
}

/// Runs `work` to its end whether or not the client waits for it: a decision that was recorded
/// gets its outcome. The token tells the work that the client left.
pub(crate) async fn carried_through<W>(work: impl FnOnce(CancellationToken) -> W) -> Response<Body>
where
    W: Future<Output = Response<Body>> + Send + 'static,
{
    let gone = CancellationToken::new();
    let leaving = gone.clone().drop_guard();
    let done = tokio::spawn(work(gone).in_current_span()).await;
    leaving.disarm();
    done.unwrap_or_else(|error| {
        tracing::error!(%error, "a request was not answered");
        body::empty(StatusCode::INTERNAL_SERVER_ERROR)
    })
}

/// 429, to whom nothing is read of any more for a while.
fn too_many_refusals() -> Response<Body> {
    let reason = Reason::TooManyRefusals;
    let error = serde_json::json!({
        "jsonrpc": "2.0",
        "id": null,
        "error": {
            "code": DENIED_CODE,
            "message": format!("Denied by Carnet: {reason}. Nothing was read; come again in {RETRY_AFTER_S} s."),
            "data": { "reason": reason.code(), "retry_after_s": RETRY_AFTER_S },
        },
    });
    let mut response = body::json(429, error.to_string());
    response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_S.into());
    response
}

/// 405, with what is allowed.
pub(crate) fn not_allowed() -> Response<Body> {
    let message = "send a POST; GET and DELETE are for sessions, where the server has them";
    let mut response = body::problem(StatusCode::METHOD_NOT_ALLOWED, message);
    let allowed = http::HeaderValue::from_static("POST, GET, DELETE");
    response.headers_mut().insert(http::header::ALLOW, allowed);
    response
}

/// A fresh id for a decision.
pub(crate) fn decision_id() -> DecisionId {
    DecisionId::from_bits(uuid::Uuid::now_v7().as_u128())
}

/// `/{path}/mcp/{resource}`, exactly.
fn route(url_path: &str) -> Option<(Path, ResourceName)> {
    let mut parts = url_path.strip_prefix('/')?.split('/');
    let (path, protocol, resource) = (parts.next()?, parts.next()?, parts.next()?);
    if protocol != "mcp" || parts.next().is_some() {
        return None;
    }
    Some((path.parse().ok()?, resource.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_three_audiences_are_served() {
        assert!(Gateway::serves("/read/mcp/desk"));
        assert!(Gateway::serves("/admin/mcp/desk"));
        for path in [
            "/",
            "/mcp/desk",
            "/READ/mcp/desk",
            "/read/mcp/desk/",
            "/read/mcp/../desk",
            "/read/mcp/desk%2f",
            "//read/mcp/desk",
            "/read/http/desk",
        ] {
            assert!(!Gateway::serves(path), "{path}");
        }
    }
}
