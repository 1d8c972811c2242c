//! The agents' listener: one address for the gateway's three paths and the token endpoint.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use carnet_gateway::Gateway;
use http::Request;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::config::Tls;

/// The most connections at once.
const CONNECTIONS_MAX: usize = 4_096;
/// How long a client may take to send its request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest head of a request.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// What answers on the agents' listener.
#[derive(Clone)]
pub(crate) struct Front {
    pub gateway: Arc<Gateway>,
    pub oauth: axum::Router,
}

/// Serves connections for as long as the listener lives.
pub(crate) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, front: Front) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let (tls, front) = (tls.clone(), front.clone());
        tokio::spawn(async move {
            match tls {
                None => connection(stream, front).await,
                Some(tls) => {
                    match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                        Ok(Ok(stream)) => connection(stream, front).await,
                        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                        Err(_) => tracing::debug!("a TLS handshake took too long"),
                    }
                }
            }
            drop(place);
        });
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, front: Front) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX * 2);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(HEAD_BYTES_MAX as u32);
    let service = service_fn(move |request| answer(front.clone(), request));
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection ended");
    }
}

type Answer = http::Response<http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, axum::Error>>;

async fn answer(
    front: Front,
    request: Request<Incoming>,
) -> Result<Answer, std::convert::Infallible> {
    if Gateway::serves(request.uri().path()) {
        let response = front.gateway.handle(request).await;
        return Ok(response.map(|body| body.map_err(|never| match never {}).boxed_unsync()));
    }
    let response = match front.oauth.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    Ok(response.map(|body| body.boxed_unsync()))
}

/// The acceptor for a configured certificate and key.
pub(crate) fn acceptor(tls: &Tls, root: &std::path::Path) -> anyhow::Result<TlsAcceptor> {
    let (certificate, key) = (root.join(&tls.certificate), root.join(&tls.key));
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&certificate)
        .and_then(|certificates| certificates.collect())
        .with_context(|| format!("listen.tls.certificate: {}", certificate.display()))?;
    let key = PrivateKeyDer::from_pem_file(&key)
        .with_context(|| format!("listen.tls.key: {}", key.display()))?;
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("listen.tls: the certificate and the key do not belong together")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
