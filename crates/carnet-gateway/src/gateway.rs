//! The gateway: one node's enforcement point.

use std::sync::Arc;
use std::time::Duration;

use carnet_core::{DecisionId, Path, ResourceName};
use carnet_identity::KeySet;
use carnet_ledger::Ledger;
use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use crate::body::{self, Body};
use crate::control::Control;
use crate::identify::Identifier;
use crate::live::LiveWork;
use crate::mcp::codec::Schemas;
use crate::mcp::session::{Channels, Sessions};
use crate::mcp::upstream::HttpClient;

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
    /// The keys access tokens are verified with.
    pub keys: KeySet,
    /// The address agents reach the gateway at, without a trailing slash. Tokens are issued by it.
    pub issuer: String,
    /// How long a call that needs a person waits before the agent is told to come back.
    pub approval_hold: Duration,
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
    pub(crate) client: HttpClient,
    pub(crate) approval_hold: Duration,
    authority: String,
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
        let authority =
            uri.authority().ok_or_else(|| GatewayError::Issuer(parts.issuer.clone()))?.to_string();
        let client = HttpClient::new().map_err(|error| GatewayError::Client(error.to_string()))?;
        let gateway = Arc::new(Self {
            control: parts.control,
            ledger: parts.ledger,
            identifier: Identifier::new(parts.issuer, parts.keys),
            live: Arc::default(),
            schemas: Schemas::new(SCHEMAS_MAX),
            sessions: Sessions::default(),
            channels: Channels::default(),
            client,
            approval_hold: parts.approval_hold,
            authority,
        });
        tokio::spawn(Arc::clone(&gateway).enforce_forever());
        Ok(gateway)
    }

    /// Whether `path` of a URL is the gateway's to answer.
    pub fn serves(url_path: &str) -> bool {
        route(url_path).is_some()
    }

    /// Answers one request.
    pub async fn handle(self: &Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if let Err(status) = self.check_browser(&parts) {
            return body::empty(status);
        }
        let Some((path, resource)) = route(parts.uri.path()) else {
            return body::empty(StatusCode::NOT_FOUND);
        };
        if parts.uri.query().is_some() {
            return body::empty(StatusCode::BAD_REQUEST);
        }
        let address = self.identifier.address(path, &resource);
        let caller = match self.identifier.identify(&parts, &address, self.control.now()) {
            Ok(caller) => caller,
            Err(error) => {
                tracing::info!(%error, %path, %resource, "a request without a caller");
                return self.challenge(path, &resource, error.code());
            }
        };
        match parts.method {
            Method::POST => self.post(parts, body, caller).await,
            Method::GET => self.listen(&parts, caller).await,
            Method::DELETE => self.end_session(&parts, caller).await,
            _ => body::empty(StatusCode::METHOD_NOT_ALLOWED),
        }
    }

    /// A browser that was tricked into calling us names another host, or an origin (DNS rebinding).
    fn check_browser(&self, parts: &Parts) -> Result<(), StatusCode> {
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| parts.uri.authority().map(|authority| authority.as_str()));
        if !host.is_some_and(|host| host.eq_ignore_ascii_case(&self.authority)) {
            return Err(StatusCode::MISDIRECTED_REQUEST);
        }
        match parts.headers.contains_key(ORIGIN) {
            true => Err(StatusCode::FORBIDDEN),
            false => Ok(()),
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

    /// Closes what each new view no longer vouches for, then acknowledges it.
    async fn enforce_forever(self: Arc<Self>) {
        let mut revisions = self.control.revisions();
        loop {
            let view = self.control.view();
            let closed = self.live.enforce(&view.snapshot, self.control.now());
            if closed > 0 {
                tracing::info!(closed, revision = view.snapshot.revision, "live work was closed");
            }
            for session in self.sessions.take_dead() {
                let revision = session.revision();
                tokio::spawn(async move { session.channel.link.close(revision).await });
            }
            self.channels.drop_dead().await;
            self.control.acknowledge(view.snapshot.revision);
            let changed = tokio::time::timeout(ENFORCE_EVERY, revisions.changed()).await;
            if matches!(changed, Ok(Err(_))) {
                return;
            }
        }
    }
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
