//! The desk over streamable HTTP.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use tokio::net::TcpListener;

use crate::{
    credential::{Credential, CredentialFiles},
    desk::Desk,
    server::DeskServer,
};

/// The path under which the desk speaks MCP.
pub const MCP_PATH: &str = "/mcp";

/// A desk that has its port but answers nobody yet.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
}

impl Listening {
    /// Takes the port. With `files` every request must show one of the two tokens; without, anybody may write.
    ///
    /// # Errors
    ///
    /// When the port cannot be had.
    pub async fn bind(
        desk: Arc<Desk>,
        address: SocketAddr,
        files: Option<CredentialFiles>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, router: router(desk, address, files) })
    }

    /// Where clients reach it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}{MCP_PATH}", self.address)
    }

    /// Answers until `stop` completes.
    ///
    /// # Errors
    ///
    /// When the listener fails.
    pub async fn serve(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        axum::serve(self.listener, self.router).with_graceful_shutdown(stop).await
    }
}

fn router(desk: Arc<Desk>, address: SocketAddr, files: Option<CredentialFiles>) -> Router {
    // Only names this very socket is reached by are accepted: a rebound DNS name is not one of them.
    let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let hosts = hosts.into_iter().chain([address.ip().to_string()]);
    let config =
        StreamableHttpServerConfig::default().with_allowed_hosts(hosts).enforce_origin_validation();
    let service = StreamableHttpService::new(
        move || Ok(DeskServer::over_http(Arc::clone(&desk))),
        Arc::new(LocalSessionManager::default()),
        config,
    );
    Router::new()
        .nest_service(MCP_PATH, service)
        .layer(middleware::from_fn_with_state(Arc::new(files), authenticate))
}

async fn authenticate(
    State(files): State<Arc<Option<CredentialFiles>>>,
    mut request: Request,
    next: Next,
) -> Response {
    let credential = match files.as_ref() {
        None => Credential::Write,
        Some(files) => match bearer(request.headers()).map(|token| files.recognise(token)) {
            Some(Ok(Some(credential))) => credential,
            Some(Ok(None)) => return unauthorized("Bearer error=\"invalid_token\""),
            Some(Err(error)) => {
                eprintln!("support-desk: {error}");
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            }
            None => return unauthorized("Bearer"),
        },
    };
    request.extensions_mut().insert(credential);
    next.run(request).await
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn unauthorized(challenge: &'static str) -> Response {
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
}
