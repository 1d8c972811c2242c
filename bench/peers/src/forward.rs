//! A loopback forwarder that adds a token: for clients of others that cannot show one.
//!
//! Every request goes to one URL, whatever its own path, with the bearer token that a file holds at
//! that moment. Bodies pass both ways as they come. The forwarder speaks for itself alone: only
//! where a request names the forwarder as its host or origin is it changed to name the target, so
//! that a request with another's name arrives as such.

use std::{
    convert::Infallible,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{body::Incoming, client, server, service::service_fn};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};

/// The largest token, in bytes.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

type Body = BoxBody<Bytes, hyper::Error>;

/// Why a forwarder cannot do its work.
#[derive(Debug, Error)]
pub enum ForwardError {
    /// The target is no address it can reach.
    #[error("the target `{0}` must be http://HOST:PORT/PATH")]
    Target(Uri),
    /// The token file cannot be used.
    #[error("{path} must hold one token of at most {TOKEN_BYTES_MAX} bytes")]
    Token {
        /// The file.
        path: PathBuf,
    },
    /// A socket failed.
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    /// HTTP went wrong.
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
}

/// A forwarder that has its port but answers nobody yet.
#[derive(Debug)]
pub struct Forwarder {
    listener: TcpListener,
    route: Arc<Route>,
}

/// From where to where, and with what.
#[derive(Debug)]
struct Route {
    own: SocketAddr,
    target: Uri,
    authority: HeaderValue,
    origin: HeaderValue,
    token_file: PathBuf,
}

impl Forwarder {
    /// Takes the port.
    ///
    /// # Errors
    ///
    /// When the port cannot be had or the target is no plain HTTP address.
    pub async fn bind(
        listen: SocketAddr,
        target: Uri,
        token_file: &Path,
    ) -> Result<Self, ForwardError> {
        let bad = || ForwardError::Target(target.clone());
        if target.scheme_str() != Some("http") {
            return Err(bad());
        }
        let authority = target.authority().ok_or_else(bad)?.as_str();
        let value = |text: &str| HeaderValue::from_str(text).map_err(|_| bad());
        let (origin, authority) = (value(&format!("http://{authority}"))?, value(authority)?);
        let listener = TcpListener::bind(listen).await?;
        let (own, token_file) = (listener.local_addr()?, token_file.to_owned());
        let route = Arc::new(Route { own, target, authority, origin, token_file });
        Ok(Self { listener, route })
    }

    /// Where clients reach it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.route.own)
    }

    /// Prints the URL as one line and forwards until the process ends.
    ///
    /// # Errors
    ///
    /// When stdout or the listener fails.
    pub async fn announce_and_serve(self) -> Result<(), ForwardError> {
        let mut stdout = std::io::stdout();
        writeln!(stdout, "{}", self.url())?;
        stdout.flush()?;
        self.serve().await
    }

    /// Forwards for ever.
    ///
    /// # Errors
    ///
    /// When the listener fails.
    pub async fn serve(self) -> Result<(), ForwardError> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            stream.set_nodelay(true)?;
            let route = Arc::clone(&self.route);
            let service = service_fn(move |request| answer(Arc::clone(&route), request));
            tokio::spawn(async move {
                let served = server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
                // A client that goes away in the middle is the client's business.
                drop(served);
            });
        }
    }
}

async fn answer(
    route: Arc<Route>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    Ok(match route.forward(request).await {
        Ok(response) => response,
        Err(error) => {
            let text = Full::new(Bytes::from(format!("the forwarder: {error}\n")));
            let mut response = Response::new(text.map_err(|never| match never {}).boxed());
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    })
}

impl Route {
    async fn forward(
        &self,
        mut request: Request<Incoming>,
    ) -> Result<Response<Body>, ForwardError> {
        self.readdress(request.headers_mut());
        let token = self.token()?;
        request.headers_mut().insert(header::AUTHORIZATION, token);
        let path = self.target.path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = Uri::try_from(path).unwrap_or_default();
        let host = self.target.host().unwrap_or_default().trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, self.target.port_u16().unwrap_or(80))).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut response = sender.send_request(request).await?;
        drop_hop(response.headers_mut());
        Ok(response.map(|body| body.boxed()))
    }

    fn readdress(&self, headers: &mut HeaderMap) {
        drop_hop(headers);
        let names = [self.own.to_string(), format!("localhost:{}", self.own.port())];
        let is = |value: &HeaderValue, text: &str| value.as_bytes() == text.as_bytes();
        for name in names {
            if headers.get(header::HOST).is_some_and(|host| is(host, &name)) {
                headers.insert(header::HOST, self.authority.clone());
            }
            let origin = format!("http://{name}");
            if headers.get(header::ORIGIN).is_some_and(|value| is(value, &origin)) {
                headers.insert(header::ORIGIN, self.origin.clone());
            }
        }
    }

    fn token(&self) -> Result<HeaderValue, ForwardError> {
        let bad = || ForwardError::Token { path: self.token_file.clone() };
        let text = std::fs::read_to_string(&self.token_file).map_err(|_| bad())?;
        let text = text.trim();
        if text.is_empty() || text.len() > TOKEN_BYTES_MAX {
            return Err(bad());
        }
        let mut value = HeaderValue::from_str(&format!("Bearer {text}")).map_err(|_| bad())?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Headers that are about one connection and not about the message.
fn drop_hop(headers: &mut HeaderMap) {
    for name in [header::CONNECTION, header::HeaderName::from_static("keep-alive")] {
        headers.remove(name);
    }
}
