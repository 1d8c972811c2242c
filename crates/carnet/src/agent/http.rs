//! A small HTTP client: no redirects, no cookies, no proxies; every wait and size has a bound.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::agent::issuer::Issuer;

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The client. Clones share their connections.
#[derive(Debug, Clone)]
pub(crate) struct HttpClient(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// The certificates the system trusts could not be read.
    #[error(
        "the certificates this system trusts cannot be read: {0}; name a file of them in \
         SSL_CERT_FILE"
    )]
    Certificates(String),
    /// A request that cannot be written.
    #[error("a request could not be made: {0}")]
    Request(String),
    /// Nobody is there, or the connection broke.
    #[error("Carnet could not be reached: {0}; is it up (`carnet up`), and is this its address?")]
    Unreachable(String),
    /// No answer in time.
    #[error("Carnet did not answer within {0} s")]
    Late(u64),
    /// An answer that is longer than we read.
    #[error("the answer is longer than {bytes_max} bytes, or broke off")]
    TooLong {
        /// The bound.
        bytes_max: usize,
    },
}

impl HttpClient {
    /// A client for `issuer`. It trusts the certificates the system trusts, where it needs any.
    pub(crate) fn new(issuer: &Issuer) -> Result<Self, HttpError> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let builder = HttpsConnectorBuilder::new();
        let connector = match issuer.is_tls() {
            true => builder
                .with_native_roots()
                .map_err(|error| HttpError::Certificates(error.to_string()))?
                .https_only()
                .enable_http1()
                .wrap_connector(connector),
            false => builder
                .with_tls_config(trusting_nobody()?)
                .https_or_http()
                .enable_http1()
                .wrap_connector(connector),
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self(client))
    }

    /// Sends a request and waits at most `wait` for the head of its answer.
    pub(crate) async fn send(
        &self,
        request: Request<Bytes>,
        wait: Duration,
    ) -> Result<Response<Incoming>, HttpError> {
        match tokio::time::timeout(wait, self.0.request(request.map(Full::new))).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(HttpError::Unreachable(chain(&error))),
            Err(_) => Err(HttpError::Late(wait.as_secs())),
        }
    }
}

/// All of a body, if it is at most `bytes_max` long.
pub(crate) async fn collect(body: Incoming, bytes_max: usize) -> Result<Bytes, HttpError> {
    let collected = Limited::new(body, bytes_max).collect().await;
    collected.map(|body| body.to_bytes()).map_err(|_| HttpError::TooLong { bytes_max })
}

/// For an issuer without TLS: should anything speak TLS after all, it is not believed.
fn trusting_nobody() -> Result<rustls::ClientConfig, HttpError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| HttpError::Request(error.to_string()))?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Ok(config)
}

/// An error with what caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
