//! The agents' listener: one address for the gateway's three paths and the token endpoint.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use carnet_gateway::Gateway;
use http::Request;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::peer::{Over, Peer, SvidVerifier, Vouches};
use super::seats::{Busy, Limits, Seat, Seats};
use crate::config::Tls;

/// How long a client may take to send its request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest head of a request.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// The most requests at once on one connection.
const STREAMS_MAX: u32 = 64;
/// How often a silent HTTP/2 client is asked whether it is still there.
const ALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// How long it may take to say so.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// What is answered.
type Answer = http::Response<UnsyncBoxBody<Bytes, axum::Error>>;

/// Whoever answers requests.
pub(crate) trait Answers: Clone + Send + Sync + 'static {
    /// The answer to `request`.
    fn answer(self, request: Request<Incoming>) -> impl Future<Output = Answer> + Send;
}

/// What answers on the agents' listener.
#[derive(Clone)]
pub(crate) struct Front {
    pub gateway: Arc<Gateway>,
    pub oauth: axum::Router,
}

impl Answers for Front {
    async fn answer(self, request: Request<Incoming>) -> Answer {
        if Gateway::serves(request.uri().path()) {
            let response = self.gateway.handle(request).await;
            return response.map(|body| body.map_err(|never| match never {}).boxed_unsync());
        }
        let response = match self.oauth.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        response.map(|body| body.boxed_unsync())
    }
}

/// TLS on the agents' listener, and who vouches for the clients that show a certificate.
#[derive(Clone)]
pub(crate) struct Secured {
    acceptor: TlsAcceptor,
    vouches: Arc<dyn Vouches>,
}

/// Serves connections for as long as the listener lives.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Secured>,
    front: impl Answers,
    limits: Limits,
) {
    let seats = Seats::new(limits);
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let Some(seat) = seats.take(peer.ip()) else {
            tracing::debug!(%peer, "a connection was closed: every seat is taken");
            continue;
        };
        let _ = stream.set_nodelay(true);
        tokio::spawn(seated(stream, tls.clone(), front.clone(), Arc::new(seat)));
    }
}

/// Serves one connection until it ends, or has to.
async fn seated(stream: TcpStream, tls: Option<Secured>, front: impl Answers, seat: Arc<Seat>) {
    let serving = async {
        match tls {
            None => connection(stream, None, front, Arc::clone(&seat)).await,
            Some(tls) => secured(stream, &tls, front, Arc::clone(&seat)).await,
        }
    };
    tokio::select! {
        () = serving => {}
        () = seat.is_over() => tracing::debug!("a connection that asked for nothing was closed"),
    }
}

async fn secured(stream: TcpStream, tls: &Secured, front: impl Answers, seat: Arc<Seat>) {
    let stream = match tls.acceptor.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!(%error, "a TLS handshake failed"),
    };
    let peer = Peer::of(stream.get_ref().1.peer_certificates(), &tls.vouches);
    match peer {
        Ok(peer) => connection(stream, peer, front, seat).await,
        Err(error) => tracing::info!(code = error.code(), "a resumed client was refused"),
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Option<Peer>,
    front: impl Answers,
    seat: Arc<Seat>,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX * 2);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(ALIVE_INTERVAL)
        .keep_alive_timeout(ALIVE_TIMEOUT);
    let client = peer.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(client) = &client {
            client.tell(&mut request);
        }
        let (front, busy) = (front.clone(), seat.busy());
        async move { Ok::<_, Infallible>(held(front.answer(request).await, busy)) }
    });
    let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let over = async {
        match &peer {
            Some(peer) => peer.is_over().await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        over = over => match over {
            // What runs ends by itself, within the life of its token.
            Over::Expired => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
            // Nobody vouches for this client any more: what runs for it ends here.
            Over::Withdrawn => return tracing::info!("a connection was closed: its client's authority is gone"),
        },
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

/// `answer`, which keeps its connection busy for as long as it streams. One whose length is known is
/// done when it is handed over: a client that does not read it is idle, and keeps nobody out.
fn held(answer: Answer, busy: Busy) -> http::Response<Streaming> {
    let is_stream = answer.body().size_hint().exact().is_none();
    answer.map(|body| Streaming { body, _busy: is_stream.then_some(busy) })
}

/// A body, and what lasts as long as it does.
struct Streaming {
    body: UnsyncBoxBody<Bytes, axum::Error>,
    _busy: Option<Busy>,
}

impl Body for Streaming {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The configured certificate with its key.
pub(crate) fn certified(tls: &Tls, root: &std::path::Path) -> anyhow::Result<CertifiedKey> {
    let (certificate, key) = (root.join(&tls.certificate), root.join(&tls.key));
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&certificate)
        .and_then(|certificates| certificates.collect())
        .with_context(|| format!("listen.tls.certificate: {}", certificate.display()))?;
    let key = PrivateKeyDer::from_pem_file(&key)
        .with_context(|| format!("listen.tls.key: {}", key.display()))?;
    CertifiedKey::from_der(chain, key, &rustls::crypto::aws_lc_rs::default_provider())
        .context("listen.tls: the certificate and the key do not belong together")
}

/// TLS with that certificate, which asks clients for theirs and takes the ones `vouches` stands for.
pub(crate) fn secured_by(certified: CertifiedKey, vouches: Arc<dyn Vouches>) -> Secured {
    let mut config = rustls::ServerConfig::builder()
        .with_client_cert_verifier(Arc::new(SvidVerifier::new(Arc::clone(&vouches))))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Secured { acceptor: TlsAcceptor::from(Arc::new(config)), vouches }
}

#[cfg(test)]
mod tests {
    mod certificates;

    use http_body_util::{Full, StreamBody};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Longer than any test takes, so that only what is tested can end a connection.
    const NEVER: Duration = Duration::from_secs(3_600);
    /// So long a test waits before it says that nothing happened.
    const PATIENCE: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(50);

    /// Answers `/stream` with a body that never ends, everything else with `yes`.
    #[derive(Clone)]
    struct Yes;

    impl Answers for Yes {
        async fn answer(self, request: Request<Incoming>) -> Answer {
            let body = match request.uri().path() {
                "/stream" => {
                    let head = futures::stream::iter([Ok(Frame::data(Bytes::from("yes")))]);
                    let stream = futures::StreamExt::chain(head, futures::stream::pending());
                    StreamBody::new(stream).boxed_unsync()
                }
                _ => Full::from("yes").map_err(|never| match never {}).boxed_unsync(),
            };
            http::Response::new(body)
        }
    }

    async fn listening(limits: Limits) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, None, Yes, limits));
        address
    }

    fn limits(connections_max: usize, first_request: Duration, idle: Duration) -> Limits {
        Limits { connections_max, peer_connections_max: 1, first_request, idle }
    }

    async fn connected(address: std::net::SocketAddr, first: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(first).await.unwrap();
        stream
    }

    /// What comes until the other side closes.
    async fn rest(stream: &mut TcpStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
        // A reset is an end as well.
        let _ = read.expect("the connection is still open");
        bytes
    }

    /// What comes until `yes` is in it.
    async fn until_yes(stream: &mut TcpStream) {
        let mut bytes = Vec::new();
        while !bytes.windows(3).any(|window| window == b"yes") {
            let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut bytes)).await;
            assert!(read.expect("no answer").unwrap() > 0, "closed without an answer");
        }
    }

    async fn is_answered(address: std::net::SocketAddr) {
        let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        until_yes(&mut connected(address, request).await).await;
    }

    #[tokio::test]
    async fn a_connection_that_asks_for_nothing_is_closed() {
        let address = listening(limits(8, SHORT, NEVER)).await;
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        for first in [b"" as &[u8], b"P", b"PRI * HTTP/2.0\r\n", preface, b"GET / HTTP/1.1\r\nho"] {
            let mut stream = connected(address, first).await;
            let said = rest(&mut stream).await;
            assert!(!said.windows(3).any(|window| window == b"yes"), "{said:?}");
        }
    }

    #[tokio::test]
    async fn silent_connections_do_not_keep_anybody_out() {
        let address = listening(limits(2, NEVER, NEVER)).await;
        let mut silent = Vec::new();
        for first in [b"" as &[u8], b"PRI", b"P", b""] {
            silent.push(connected(address, first).await);
        }
        is_answered(address).await;
        // The oldest went first.
        rest(&mut silent[0]).await;
    }

    #[tokio::test]
    async fn a_connection_that_asked_and_went_silent_is_closed() {
        let address = listening(limits(8, NEVER, SHORT)).await;
        let mut stream = connected(address, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        until_yes(&mut stream).await;
        rest(&mut stream).await;
    }

    #[tokio::test]
    async fn a_stream_that_is_being_answered_is_not_idle() {
        let address = listening(limits(1, SHORT, SHORT)).await;
        let mut stream = connected(address, b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n").await;
        until_yes(&mut stream).await;
        // The seat is taken: whoever comes is turned away, however often, and the stream goes on.
        for _ in 0..3 {
            assert!(rest(&mut connected(address, b"").await).await.is_empty());
        }
        let more = tokio::time::timeout(SHORT * 4, stream.read_u8()).await;
        assert!(more.is_err_and(|_late| true), "the stream was closed");
    }
}
