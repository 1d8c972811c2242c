//! One resource on one path: messages go there with a token and a proof, tokens are renewed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use carnet_core::{Path, ResourceName};
use carnet_gateway::mcp::codec::{Event, Events, Message, Sender, read_message};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use secrecy::ExposeSecret as _;
use tokio::time::Instant;

use crate::agent::http::{HttpError, collect};
use crate::agent::token::{AccessToken, DPOP, TokenClient, TokenError};

/// The longest message read.
pub(crate) const ANSWER_BYTES_MAX: usize = 8 << 20;
/// How long an answer may take to begin: a tool may work for minutes, and a call may be held for a
/// person.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1260);
/// The header of a session.
pub(crate) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// The longest session id taken.
const SESSION_BYTES_MAX: usize = 1024;
/// The longest text of an error that is looked at.
const CHALLENGE_BYTES_MAX: usize = 1024;

/// One resource on one path.
pub(crate) struct Endpoint {
    /// The path.
    pub(crate) path: Path,
    resource: ResourceName,
    address: String,
    uri: Uri,
    tokens: Arc<TokenClient>,
    token: tokio::sync::Mutex<Option<Arc<AccessToken>>>,
}

/// A request to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    /// POST, GET or DELETE.
    pub(crate) method: Method,
    /// What is said.
    pub(crate) body: Bytes,
    /// The headers of MCP.
    pub(crate) headers: HeaderMap,
}

/// What came back, and the session it names.
pub(crate) struct Answer {
    /// The session's id, where one was opened.
    pub(crate) session: Option<HeaderValue>,
    /// The rest.
    pub(crate) reply: Reply,
}

/// What came back.
pub(crate) enum Reply {
    /// Nothing, and nothing was to come.
    Accepted,
    /// One message.
    Message(Message),
    /// Several, as they come.
    Stream(EventStream),
    /// A status without a message, and OAuth's error code, if any.
    Status(StatusCode, String),
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// No token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// An answer that is none.
    #[error("the gateway's answer could not be understood: {0}")]
    Garbled(String),
}

/// An event stream, message by message.
pub(crate) struct EventStream {
    body: Incoming,
    events: Option<Events>,
    ready: VecDeque<Event>,
}

impl Endpoint {
    /// `resource` on `path`, for whoever `tokens` speaks for.
    pub(crate) fn new(
        tokens: Arc<TokenClient>,
        path: Path,
        resource: ResourceName,
    ) -> Result<Self, HttpError> {
        let address = tokens.address(path, &resource);
        let uri: Uri =
            address.parse().map_err(|error| HttpError::Request(format!("{address}: {error}")))?;
        Ok(Self { path, resource, address, uri, tokens, token: tokio::sync::Mutex::default() })
    }

    /// Makes sure that there is a token.
    pub(crate) async fn check(&self) -> Result<(), SendError> {
        self.token(None).await.map(|_| ())
    }

    /// Sends a request. A token that is not taken any more is renewed once, and the request sent
    /// once more: a request that was turned away at the door went nowhere.
    pub(crate) async fn send(&self, outgoing: &Outgoing) -> Result<Answer, SendError> {
        let token = self.token(None).await?;
        let response = self.send_with(&token, outgoing).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Answer::read(response).await;
        }
        let turned_away = Answer::read(response).await?;
        match (self.token(Some(&token)).await, &turned_away.reply) {
            (Ok(renewed), _) => Answer::read(self.send_with(&renewed, outgoing).await?).await,
            // The gateway said which of what the token stands for is over.
            (Err(SendError::Token(TokenError::Refused(_))), Reply::Message(_)) => Ok(turned_away),
            (Err(error), _) => Err(error),
        }
    }

    /// The token in use, renewed where it is about to expire or is `refused`.
    async fn token(
        &self,
        refused: Option<&Arc<AccessToken>>,
    ) -> Result<Arc<AccessToken>, SendError> {
        let mut current = self.token.lock().await;
        if let Some(token) = &*current
            && token.is_fresh(Instant::now())
            && !refused.is_some_and(|refused| Arc::ptr_eq(refused, token))
        {
            return Ok(Arc::clone(token));
        }
        // Should renewal fail, the old one is not tried again.
        *current = None;
        let token = Arc::new(self.tokens.token(self.path, &self.resource).await?);
        *current = Some(Arc::clone(&token));
        Ok(token)
    }

    async fn send_with(
        &self,
        token: &AccessToken,
        outgoing: &Outgoing,
    ) -> Result<Response<Incoming>, SendError> {
        let mut request = Request::new(outgoing.body.clone());
        *request.method_mut() = outgoing.method.clone();
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        *headers = outgoing.headers.clone();
        let accepted = match outgoing.method {
            Method::GET => "text/event-stream",
            _ => "application/json, text/event-stream",
        };
        headers.insert(ACCEPT, HeaderValue::from_static(accepted));
        if outgoing.method == Method::POST {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let mut authorization = HeaderValue::from_str(token.authorization().expose_secret())
            .map_err(|_| TokenError::Garbled("a token no header can hold".into()))?;
        authorization.set_sensitive(true);
        headers.insert(AUTHORIZATION, authorization);
        let secret = token.is_bound.then(|| token.secret().expose_secret());
        if let Some(secret) = secret
            && let Some(proof) =
                self.tokens.prove(&outgoing.method, &self.address, Some(secret), None)?
        {
            headers.insert(DPOP, proof);
        }
        Ok(self.tokens.http().send(request, ANSWER_TIMEOUT).await?)
    }
}

impl Answer {
    async fn read(response: Response<Incoming>) -> Result<Self, SendError> {
        let session = response.headers().get(SESSION).cloned();
        if session.as_ref().is_some_and(|id| id.len() > SESSION_BYTES_MAX) {
            return Err(SendError::Garbled("its session id is too long".into()));
        }
        Ok(Self { session, reply: read(response).await? })
    }
}

async fn read(response: Response<Incoming>) -> Result<Reply, SendError> {
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or("").split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    match kind.as_str() {
        "text/event-stream" if status.is_success() => {
            Ok(Reply::Stream(EventStream::new(response.into_body())))
        }
        "application/json" => {
            let bytes = collect(response.into_body(), ANSWER_BYTES_MAX).await?;
            let message = read_message(bytes, Sender::Server);
            message.map(Reply::Message).map_err(|refusal| SendError::Garbled(refusal.to_string()))
        }
        _ if status == StatusCode::ACCEPTED || status == StatusCode::NO_CONTENT => {
            Ok(Reply::Accepted)
        }
        _ => Ok(Reply::Status(status, challenge(response.headers()))),
    }
}

/// OAuth's error code in a challenge, or nothing.
fn challenge(headers: &HeaderMap) -> String {
    let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|text| text.to_str().ok());
    let codes = texts.filter(|text| text.len() <= CHALLENGE_BYTES_MAX).filter_map(|text| {
        let code = text.split_once("error=\"")?.1.split_once('"')?.0;
        Some(code.to_owned())
    });
    codes.into_iter().next().unwrap_or_default()
}

impl EventStream {
    fn new(body: Incoming) -> Self {
        Self { body, events: Some(Events::new(ANSWER_BYTES_MAX)), ready: VecDeque::new() }
    }

    /// The next message, or none at the end of the stream. Nothing is lost where it is dropped.
    pub(crate) async fn next(&mut self) -> Result<Option<Message>, SendError> {
        loop {
            while let Some(event) = self.ready.pop_front() {
                if let Some(message) = event.message().map_err(garbled)? {
                    return Ok(Some(message));
                }
            }
            let Some(events) = &mut self.events else { return Ok(None) };
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    let Some(piece) = frame.data_ref() else { continue };
                    self.ready.extend(events.push(piece).map_err(garbled)?);
                }
                Some(Err(error)) => return Err(SendError::Garbled(error.to_string())),
                None => {
                    let last = self.events.take().map(Events::finish).transpose();
                    self.ready.extend(last.map_err(garbled)?.flatten());
                }
            }
        }
    }
}

fn garbled(error: impl std::fmt::Display) -> SendError {
    SendError::Garbled(error.to_string())
}
