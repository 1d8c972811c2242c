//! Documents of others: keys, bundles, metadata. An address is resolved once, judged, and connected
//! to as it was judged; nothing is followed, and what comes is bounded in size and time.

mod place;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub use place::Reach;

/// How long the whole of one fetch may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

/// Fetches documents. It keeps no connections, cookies or credentials.
#[derive(Clone)]
pub struct Fetcher {
    /// Nothing where TLS cannot be spoken; nothing is fetched by it then.
    tls: Option<TlsConnector>,
}

/// A document as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its bytes.
    pub bytes: Bytes,
    /// How long it may be kept, where its sender said (`Cache-Control: max-age`); zero where it said
    /// that it must not be.
    pub max_age_s: Option<u64>,
}

/// Why there is no document. It holds nothing of what was sent or received.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The address is none that is fetched from.
    #[error("`{url}` {problem}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Nobody answers there.
    #[error("{host} cannot be reached: {problem}")]
    Unreachable {
        /// The host.
        host: String,
        /// What the system said.
        problem: String,
    },
    /// It took too long.
    #[error("{host} took longer than {} s", TIMEOUT.as_secs())]
    Late {
        /// The host.
        host: String,
    },
    /// The answer is not the document.
    #[error("{host} answered {status}; redirects are not followed")]
    Status {
        /// The host.
        host: String,
        /// The status.
        status: u16,
    },
    /// The document is too long.
    #[error("the document of {host} is longer than {bytes_max} bytes")]
    TooLarge {
        /// The host.
        host: String,
        /// The bound.
        bytes_max: usize,
    },
}

/// What is sent along.
struct Sent {
    method: Method,
    headers: HeaderMap,
    body: Bytes,
}

impl Fetcher {
    /// A fetcher that trusts the system's certificates, and `also` those.
    pub fn new(also: &[CertificateDer<'static>]) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots.add_parsable_certificates(also.iter().cloned());
        let config = ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ));
        let config = config.with_safe_default_protocol_versions().ok();
        let config = config.map(|it| it.with_root_certificates(roots).with_no_client_auth());
        Self { tls: config.map(|config| TlsConnector::from(Arc::new(config))) }
    }

    /// The document at `url`, of at most `bytes_max`.
    pub async fn get(
        &self,
        url: &str,
        reach: Reach,
        bytes_max: usize,
    ) -> Result<Document, FetchError> {
        let sent = Sent { method: Method::GET, headers: HeaderMap::new(), body: Bytes::new() };
        self.fetch(url, reach, bytes_max, sent).await
    }

    /// What `url` answers to a form.
    pub async fn post_form(
        &self,
        url: &str,
        reach: Reach,
        bytes_max: usize,
        form: String,
    ) -> Result<Document, FetchError> {
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, kind);
        let sent = Sent { method: Method::POST, headers, body: Bytes::from(form) };
        self.fetch(url, reach, bytes_max, sent).await
    }

    async fn fetch(
        &self,
        url: &str,
        reach: Reach,
        bytes_max: usize,
        sent: Sent,
    ) -> Result<Document, FetchError> {
        let place = place::Place::parse(url)?;
        let fetching = async {
            let addresses = place.resolve(reach).await?;
            let stream = connect(&place.host, &addresses).await?;
            match place.is_tls {
                false => exchange(stream, &place, bytes_max, sent).await,
                true => {
                    let stream = self.wrap(stream, &place.host).await?;
                    exchange(stream, &place, bytes_max, sent).await
                }
            }
        };
        let late = |_| FetchError::Late { host: place.host.clone() };
        tokio::time::timeout(TIMEOUT, fetching).await.map_err(late)?
    }

    async fn wrap(
        &self,
        stream: TcpStream,
        host: &str,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static, FetchError> {
        let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(name).map_err(|error| unreachable_at(host, &error))?;
        let tls =
            self.tls.as_ref().ok_or_else(|| unreachable_at(host, &"no TLS is spoken here"))?;
        tls.connect(name, stream).await.map_err(|error| unreachable_at(host, &error))
    }
}

async fn connect(host: &str, addresses: &[SocketAddr]) -> Result<TcpStream, FetchError> {
    let mut problem = "it has no address".to_owned();
    for address in addresses.iter().take(ADDRESSES_MAX) {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => problem = error.to_string(),
        }
    }
    Err(FetchError::Unreachable { host: host.to_owned(), problem })
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    place: &place::Place,
    bytes_max: usize,
    sent: Sent,
) -> Result<Document, FetchError> {
    let host = place.host.as_str();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unreachable_at(host, &error))?;
    let connection = tokio::spawn(connection);
    let answered = answer(&mut sender, place, bytes_max, sent).await;
    connection.abort();
    answered
}

async fn answer(
    sender: &mut http1::SendRequest<Full<Bytes>>,
    place: &place::Place,
    bytes_max: usize,
    sent: Sent,
) -> Result<Document, FetchError> {
    let host = place.host.as_str();
    let response = sender
        .send_request(request(place, sent))
        .await
        .map_err(|error| unreachable_at(host, &error))?;
    if response.status() != StatusCode::OK {
        let status = response.status().as_u16();
        return Err(FetchError::Status { host: host.to_owned(), status });
    }
    let max_age_s = max_age_s(response.headers());
    let body = Limited::new(response.into_body(), bytes_max).collect().await;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => FetchError::TooLarge { host: host.to_owned(), bytes_max },
        false => FetchError::Unreachable { host: host.to_owned(), problem: error.to_string() },
    })?;
    Ok(Document { bytes: body.to_bytes(), max_age_s })
}

fn request(place: &place::Place, sent: Sent) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(sent.body));
    *request.method_mut() = sent.method;
    *request.headers_mut() = sent.headers;
    // Both were read as parts of an address before.
    *request.uri_mut() = place.target.parse().unwrap_or_else(|_| Uri::from_static("/"));
    let headers = request.headers_mut();
    if let Ok(authority) = HeaderValue::from_str(&place.authority) {
        headers.insert(header::HOST, authority);
    }
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, */*;q=0.1"));
    request
}

/// How long the sender lets the document be kept.
fn max_age_s(headers: &HeaderMap) -> Option<u64> {
    let said = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|it| it.to_str().ok());
    let mut age = None;
    for directive in said.flat_map(|said| said.split(',')).map(str::trim) {
        if directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache")
        {
            return Some(0);
        }
        if let Some((name, value)) = directive.split_once('=')
            && name.eq_ignore_ascii_case("max-age")
        {
            age = value.trim_matches('"').parse().ok();
        }
    }
    age
}

fn unreachable_at(host: &str, error: &dyn std::fmt::Display) -> FetchError {
    FetchError::Unreachable { host: host.to_owned(), problem: error.to_string() }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one request with `answer` and tells what was asked.
    async fn answering(answer: &'static [u8]) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys?a=b", listener.local_addr().unwrap());
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap();
            stream.write_all(answer).await.unwrap();
            String::from_utf8_lossy(&head[..read]).into_owned()
        });
        (url, asked)
    }

    async fn fetched(answer: &'static [u8]) -> Result<Document, FetchError> {
        let (url, _asked) = answering(answer).await;
        Fetcher::new(&[]).get(&url, Reach::Configured, 16).await
    }

    #[tokio::test]
    async fn a_document_comes_with_how_long_it_may_be_kept() {
        let answer =
            b"HTTP/1.1 200 OK\r\ncache-control: public, max-age=60\r\ncontent-length: 2\r\n\r\n{}";
        let (url, asked) = answering(answer).await;
        let document = Fetcher::new(&[]).get(&url, Reach::Configured, 16).await.unwrap();
        assert_eq!((document.bytes.as_ref(), document.max_age_s), (&b"{}"[..], Some(60)));
        let asked = asked.await.unwrap();
        assert!(asked.starts_with("GET /keys?a=b HTTP/1.1\r\n"), "{asked}");
        assert!(!asked.to_lowercase().contains("authorization"), "{asked}");
    }

    #[tokio::test]
    async fn a_redirect_an_error_and_too_much_are_no_document() {
        let moved =
            b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        assert!(matches!(fetched(moved).await, Err(FetchError::Status { status: 302, .. })));
        let long = b"HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n01234567890123456";
        assert!(matches!(fetched(long).await, Err(FetchError::TooLarge { bytes_max: 16, .. })));
        let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n0";
        assert!(matches!(fetched(cut).await, Err(FetchError::Unreachable { .. })));
    }

    #[tokio::test]
    async fn a_stranger_sends_us_nowhere_within_our_own_walls() {
        let fetcher = Fetcher::new(&[]);
        for url in [
            "https://127.0.0.1:1/",
            "https://localhost:1/",
            "https://10.0.0.1/",
            "https://169.254.169.254/latest/meta-data/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[fd00::1]/",
            "https://0.0.0.0/",
            "http://example.com/",
        ] {
            let error = fetcher.get(url, Reach::Public, 16).await.unwrap_err();
            assert!(matches!(error, FetchError::Address { .. }), "{url}: {error}");
        }
    }

    #[test]
    fn what_must_not_be_kept_is_kept_for_no_time() {
        let age = |said: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(said));
            max_age_s(&headers)
        };
        assert_eq!(age("max-age=5"), Some(5));
        assert_eq!(age("max-age=5, No-Store"), Some(0));
        assert_eq!(age("private"), None);
        assert_eq!(age("max-age=soon"), None);
    }
}
