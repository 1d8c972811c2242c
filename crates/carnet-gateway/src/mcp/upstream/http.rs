//! Streamable HTTP upstreams.

use std::sync::atomic::{AtomicBool, Ordering};
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
    Watch,
};
use crate::control::Credential;
use crate::mcp::codec::{EVENT_BYTES_MAX, Event, Events, Revision};

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
/// The most idle connections that are kept to one server.
const IDLE_MAX: usize = 64;
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
    ended: AtomicBool,
    watch: Watch,
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
            .map_err(|error| UpstreamError::NotSent(error.to_string()))?
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_MAX)
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
        let uri = url
            .parse()
            .map_err(|error| UpstreamError::NotSent(format!("`{url}` is not a URL: {error}")))?;
        let secret = credential.map(|credential| credential.secret);
        let watch = Watch::new(secret.as_ref());
        let session = Mutex::new(None);
        let ended = AtomicBool::new(false);
        Ok(Self { client: client.clone(), uri, secret, session, ended, watch })
    }

    pub(crate) async fn send(
        &self,
        outbound: Outbound<'_>,
        revision: Revision,
    ) -> Result<Reply, UpstreamError> {
        if self.has_ended() {
            return Err(UpstreamError::NotSent("the session with it has ended".into()));
        }
        let mut request = self.request(Method::POST, outbound.bytes)?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let both = HeaderValue::from_static("application/json, text/event-stream");
        headers.insert(ACCEPT, both);
        for (name, value) in outbound.headers.iter() {
            headers.insert(name.clone(), value.clone());
        }
        if !outbound.opens {
            self.add_session(&mut request, revision);
        }
        let response = self.call(request).await?;
        if outbound.opens {
            self.keep_session(&response)?;
        }
        self.read_reply(response, outbound.id.is_some()).await
    }

    pub(crate) async fn listen(&self, revision: Revision) -> Result<Messages, UpstreamError> {
        let mut request = self.request(Method::GET, Bytes::new())?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        self.add_session(&mut request, revision);
        let response = self.call(request).await?;
        if kind_of(&response) != "text/event-stream" {
            return Err(UpstreamError::Status(response.status().as_u16()));
        }
        match self.read_reply(response, true).await? {
            Reply::Messages(messages) => Ok(messages),
            Reply::Accepted => Err(UpstreamError::Status(202)),
        }
    }

    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    pub(crate) fn cut(&self) {
        self.ended.store(true, Ordering::Release);
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
        let malformed = UpstreamError::NotSent;
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

    /// The revision, which an older server without a session would otherwise guess, and the
    /// session, where the server named one.
    fn add_session(&self, request: &mut Request<Full<Bytes>>, revision: Revision) {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let headers = request.headers_mut();
        headers.insert(VERSION, HeaderValue::from_static(revision.as_str()));
        if let Some(session) = session {
            headers.insert(SESSION, session);
        }
    }

    /// Only the answer that opens a session may name it.
    fn keep_session(&self, response: &Response<Incoming>) -> Result<(), UpstreamError> {
        let Some(session) = response.headers().get(SESSION) else { return Ok(()) };
        if session.len() > SESSION_BYTES_MAX {
            return Err(UpstreamError::Answer("its session id is too long".into()));
        }
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(session.clone());
        Ok(())
    }

    async fn call(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.client.0.request(request)).await;
        match answer {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if error.is_connect() => Err(UpstreamError::NotSent(chain(&error))),
            Ok(Err(error)) => Err(UpstreamError::Broken(chain(&error))),
            Err(_) => Err(UpstreamError::Broken("it did not answer in time".into())),
        }
    }

    async fn read_reply(
        &self,
        response: Response<Incoming>,
        wants_answer: bool,
    ) -> Result<Reply, UpstreamError> {
        let status = response.status();
        let has_session = self.session.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if status == StatusCode::NOT_FOUND && has_session {
            self.cut();
            return Err(UpstreamError::SessionGone);
        }
        match kind_of(&response).as_str() {
            _ if !wants_answer && status.is_success() => Ok(Reply::Accepted),
            _ if !wants_answer => Err(UpstreamError::Status(status.as_u16())),
            "text/event-stream" if status.is_success() => {
                let (sender, messages) = mpsc::channel(WAITING_MESSAGES_MAX);
                let streaming = Streaming { sender, watch: self.watch.clone() };
                tokio::spawn(streaming.run(response.into_body()));
                Ok(Reply::Messages(messages))
            }
            "application/json" => self.one(response).await,
            _ => Err(UpstreamError::Status(status.as_u16())),
        }
    }

    /// A plain JSON answer.
    async fn one(&self, response: Response<Incoming>) -> Result<Reply, UpstreamError> {
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
        let body = tokio::time::timeout(ANSWER_TIMEOUT, body).await;
        let body = body.map_err(|_| UpstreamError::Broken("it did not end in time".into()))?;
        let bytes = body.map_err(|error| UpstreamError::Answer(error.to_string()))?.to_bytes();
        let inbound = self.watch.read(bytes, status)?;
        let (sender, messages) = mpsc::channel(1);
        let _ = sender.try_send(Ok(inbound));
        Ok(Reply::Messages(messages))
    }
}

fn kind_of(response: &Response<Incoming>) -> String {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.unwrap_or("").split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

/// An event stream, read as it comes.
struct Streaming {
    sender: mpsc::Sender<Result<Inbound, UpstreamError>>,
    watch: Watch,
}

impl Streaming {
    async fn run(self, mut body: Incoming) {
        let mut events = Events::new(EVENT_BYTES_MAX);
        loop {
            // Nobody waits any more: the exchange was closed, and with it this connection.
            let frame = tokio::select! {
                frame = body.frame() => frame,
                () = self.sender.closed() => return,
            };
            let read = match frame {
                Some(Ok(frame)) => match frame.data_ref() {
                    Some(piece) => events.push(piece).map_err(answer),
                    None => continue,
                },
                Some(Err(error)) => Err(UpstreamError::Broken(chain(&error))),
                None => break,
            };
            if !self.pass_on(read).await {
                return;
            }
        }
        let last = events.finish().map_err(answer).map(|event| event.into_iter().collect());
        self.pass_on(last).await;
    }

    /// Passes events on as messages. False where there is nothing more to do.
    async fn pass_on(&self, read: Result<Vec<Event>, UpstreamError>) -> bool {
        let events = match read {
            Ok(events) => events,
            Err(error) => {
                let _ = self.sender.send(Err(error)).await;
                return false;
            }
        };
        for event in events {
            // An event without data only gives an id to resume from, or keeps the connection.
            let Some(inbound) = self.read(&event).transpose() else { continue };
            let failed = inbound.is_err();
            if self.sender.send(inbound).await.is_err() || failed {
                return false;
            }
        }
        true
    }

    fn read(&self, event: &Event) -> Result<Option<Inbound>, UpstreamError> {
        self.watch.check(event.data.as_deref().unwrap_or_default().as_bytes())?;
        let message = event.message().map_err(answer)?;
        Ok(message.map(|message| self.watch.noted(message, 200)))
    }
}

fn answer(error: crate::mcp::codec::SseError) -> UpstreamError {
    UpstreamError::Answer(error.to_string())
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
