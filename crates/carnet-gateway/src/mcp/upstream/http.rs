//! Streamable HTTP upstreams.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{HeaderName, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::mpsc;

use super::{
    ANSWER_BYTES_MAX, Inbound, Messages, Outbound, Reply, UpstreamError, WAITING_MESSAGES_MAX,
};
use crate::control::Credential;
use crate::mcp::codec::{Event, Events, Revision, Sender, read_message};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The longest session id a server may give.
const SESSION_BYTES_MAX: usize = 1024;
/// How long a connection to a server may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a server may take to begin its answer. A tool may work for minutes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);
/// How long an idle connection to a server is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the end of a session may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The client every HTTP upstream shares. It keeps connections, never cookies or credentials.
#[derive(Debug, Clone)]
pub(crate) struct HttpClient(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// One session with one server.
#[derive(Debug)]
pub(crate) struct HttpLink {
    client: HttpClient,
    uri: Uri,
    secret: Option<SecretString>,
    session: Mutex<Option<HeaderValue>>,
}

impl HttpClient {
    /// A client that trusts the system's certificates.
    pub(crate) fn new() -> Result<Self, UpstreamError> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(|error| UpstreamError::Unreachable(error.to_string()))?
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self(client))
    }
}

impl HttpLink {
    pub(crate) fn open(
        client: &HttpClient,
        url: &str,
        credential: Option<Credential>,
    ) -> Result<Self, UpstreamError> {
        let uri = url.parse().map_err(|error| {
            UpstreamError::Unreachable(format!("`{url}` is not a URL: {error}"))
        })?;
        let secret = credential.map(|credential| credential.secret);
        Ok(Self { client: client.clone(), uri, secret, session: Mutex::new(None) })
    }

    pub(crate) async fn send(
        &self,
        outbound: Outbound<'_>,
        revision: Revision,
    ) -> Result<Reply, UpstreamError> {
        let mut request = self.request(Method::POST, outbound.bytes)?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let both = HeaderValue::from_static("application/json, text/event-stream");
        headers.insert(ACCEPT, both);
        for (name, value) in outbound.headers.iter() {
            headers.insert(name.clone(), value.clone());
        }
        self.add_session(&mut request, revision);
        let response = self.call(request).await?;
        self.keep_session(&response)?;
        read_reply(response, outbound.id.is_some()).await
    }

    pub(crate) async fn listen(&self, revision: Revision) -> Result<Messages, UpstreamError> {
        let mut request = self.request(Method::GET, Bytes::new())?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        self.add_session(&mut request, revision);
        let response = self.call(request).await?;
        match read_reply(response, true).await? {
            Reply::Messages(messages) => Ok(messages),
            Reply::Accepted => Err(UpstreamError::Status(202)),
        }
    }

    pub(crate) async fn close(&self, revision: Revision) {
        if self.session.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            return;
        }
        let Ok(mut request) = self.request(Method::DELETE, Bytes::new()) else { return };
        self.add_session(&mut request, revision);
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.client.0.request(request)).await;
    }

    /// A request with the credential of this path. Nothing of the agent's own request is in it.
    fn request(&self, method: Method, body: Bytes) -> Result<Request<Full<Bytes>>, UpstreamError> {
        let malformed = |error: String| UpstreamError::Unreachable(error);
        let mut request = Request::builder()
            .method(method)
            .uri(self.uri.clone())
            .body(Full::new(body))
            .map_err(|error| malformed(error.to_string()))?;
        if let Some(secret) = &self.secret {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", secret.expose_secret()))
                .map_err(|_| malformed("the credential has bytes no header may have".into()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(request)
    }

    fn add_session(&self, request: &mut Request<Full<Bytes>>, revision: Revision) {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let headers = request.headers_mut();
        if let Some(session) = session {
            headers.insert(SESSION, session);
            headers.insert(VERSION, HeaderValue::from_static(revision.as_str()));
        }
    }

    fn keep_session(&self, response: &Response<Incoming>) -> Result<(), UpstreamError> {
        let Some(session) = response.headers().get(SESSION) else { return Ok(()) };
        if session.len() > SESSION_BYTES_MAX {
            return Err(UpstreamError::Answer("its session id is too long".into()));
        }
        let mut known = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            *known = Some(session.clone());
        }
        Ok(())
    }

    async fn call(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.client.0.request(request)).await;
        match answer {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(UpstreamError::Unreachable(chain(&error))),
            Err(_) => Err(UpstreamError::Unreachable("it did not answer in time".into())),
        }
    }
}

async fn read_reply(
    response: Response<Incoming>,
    wants_answer: bool,
) -> Result<Reply, UpstreamError> {
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or("").split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    match (status, kind.as_str()) {
        (StatusCode::ACCEPTED | StatusCode::NO_CONTENT, _) if !wants_answer => Ok(Reply::Accepted),
        (status, "text/event-stream") if status.is_success() => {
            Ok(Reply::Messages(stream(response.into_body(), status.as_u16())))
        }
        (_, "application/json") if wants_answer => one(response).await,
        (status, _) if status.is_success() && !wants_answer => Ok(Reply::Accepted),
        (StatusCode::NOT_FOUND, _) => Err(UpstreamError::SessionGone),
        (status, _) => Err(UpstreamError::Status(status.as_u16())),
    }
}

/// A plain JSON answer.
async fn one(response: Response<Incoming>) -> Result<Reply, UpstreamError> {
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let bytes = body.map_err(|error| UpstreamError::Answer(error.to_string()))?.to_bytes();
    let message = read_message(bytes, Sender::Server)
        .map_err(|refusal| UpstreamError::Answer(refusal.to_string()))?;
    let (sender, messages) = mpsc::channel(1);
    let _ = sender.try_send(Ok(Inbound { message, status }));
    Ok(Reply::Messages(messages))
}

/// An event stream, read as it comes.
fn stream(mut body: Incoming, status: u16) -> Messages {
    let (sender, messages) = mpsc::channel(WAITING_MESSAGES_MAX);
    tokio::spawn(async move {
        let mut events = Events::new(ANSWER_BYTES_MAX);
        loop {
            // Nobody waits any more: the exchange was closed, and with it this connection.
            let frame = tokio::select! {
                frame = body.frame() => frame,
                () = sender.closed() => return,
            };
            let read = match frame {
                Some(Ok(frame)) => match frame.data_ref() {
                    Some(piece) => events.push(piece).map_err(answer),
                    None => continue,
                },
                Some(Err(error)) => Err(UpstreamError::Answer(chain(&error))),
                None => break,
            };
            if !pass_on(&sender, read, status).await {
                return;
            }
        }
        let last = events.finish().map_err(answer).map(|event| event.into_iter().collect());
        pass_on(&sender, last, status).await;
    });
    messages
}

fn answer(error: crate::mcp::codec::SseError) -> UpstreamError {
    UpstreamError::Answer(error.to_string())
}

/// Passes events on as messages. False where there is nothing more to do.
async fn pass_on(
    sender: &mpsc::Sender<Result<Inbound, UpstreamError>>,
    read: Result<Vec<Event>, UpstreamError>,
    status: u16,
) -> bool {
    let events = match read {
        Ok(events) => events,
        Err(error) => {
            let _ = sender.send(Err(error)).await;
            return false;
        }
    };
    for event in events {
        let inbound = match event.message() {
            Ok(Some(message)) => Ok(Inbound { message, status }),
            Ok(None) => continue,
            Err(error) => Err(answer(error)),
        };
        let failed = inbound.is_err();
        if sender.send(inbound).await.is_err() || failed {
            return false;
        }
    }
    true
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
