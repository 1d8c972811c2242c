//! One path of the resource, and the session on it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use carnet_core::Path;
use carnet_gateway::mcp::codec::{Id, Message, Outcome, Response, Revision};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio_util::sync::CancellationToken;

use crate::agent::mcp::{Answer, Endpoint, Outgoing, Reply, SendError};
use crate::cli::connect::failure::Failure;
use crate::cli::connect::headers;

/// How long the gateway may take for what wants no answer.
const NOTE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the end of a session may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
const READY: &[u8] = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// How the client opened the conversation: each path's session is opened with the same words.
#[derive(Debug)]
pub(crate) struct Handshake {
    /// The request's id.
    pub(crate) id: Id,
    /// The request.
    pub(crate) bytes: Bytes,
    /// What it asks for.
    pub(crate) revision: Revision,
    /// Whether the client said that it is ready.
    pub(crate) is_ready: AtomicBool,
}

/// One session of one path.
#[derive(Debug)]
pub(crate) struct McpSession {
    id: Option<HeaderValue>,
    revision: Revision,
    /// Cancelled when it is replaced or closed.
    pub(crate) over: CancellationToken,
}

/// One path, and the session on it.
pub(crate) struct Link {
    endpoint: Endpoint,
    current: Mutex<Option<Arc<McpSession>>>,
    opening: tokio::sync::Mutex<()>,
    said: Mutex<Option<String>>,
}

/// What came of opening a session.
pub(crate) enum Opening {
    /// It was open already.
    Known(Arc<McpSession>),
    /// It is open now.
    Fresh(Arc<McpSession>, Response),
    /// The server or the gateway said no.
    Refused(Response),
}

impl McpSession {
    /// The headers of a message in it.
    pub(crate) fn headers(&self) -> HeaderMap {
        headers::session(self.revision, self.id.as_ref())
    }
}

impl Link {
    /// A path nothing was said on yet.
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            current: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            said: Mutex::default(),
        }
    }

    /// The path.
    pub(crate) fn path(&self) -> Path {
        self.endpoint.path
    }

    /// The session, where there is one.
    pub(crate) fn session(&self) -> Option<Arc<McpSession>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes sure that there is a token for this path.
    pub(crate) async fn check(&self) -> Result<(), Failure> {
        let checked = self.endpoint.check().await;
        checked.map_err(|error| self.failed(error))
    }

    /// Opens a session, unless there is one.
    pub(crate) async fn open(&self, handshake: &Handshake) -> Result<Opening, Failure> {
        let _turn = self.opening.lock().await;
        if let Some(session) = self.session() {
            return Ok(Opening::Known(session));
        }
        let answer = self.send(Method::POST, handshake.bytes.clone(), HeaderMap::new()).await?;
        let response = first_response(answer.reply, &handshake.id).await?;
        let Outcome::Result(result) = &response.outcome else {
            return Ok(Opening::Refused(response));
        };
        let version = result.get("protocolVersion").and_then(serde_json::Value::as_str);
        let revision = version.and_then(|version| version.parse().ok());
        let session = Arc::new(McpSession {
            id: answer.session,
            revision: revision.unwrap_or(handshake.revision),
            over: CancellationToken::new(),
        });
        if handshake.is_ready.load(Ordering::Acquire) {
            self.note(Bytes::from_static(READY), &session).await;
        }
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Some(Arc::clone(&session));
        Ok(Opening::Fresh(session, response))
    }

    /// Forgets a session that is gone, unless another took its place.
    pub(crate) fn forget(&self, session: &Arc<McpSession>) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|known| Arc::ptr_eq(known, session)) {
            *current = None;
        }
        session.over.cancel();
    }

    /// Sends a message that wants an answer.
    pub(crate) async fn post(&self, bytes: Bytes, headers: HeaderMap) -> Result<Reply, Failure> {
        Ok(self.send(Method::POST, bytes, headers).await?.reply)
    }

    /// Asks for what the server says by itself.
    pub(crate) async fn listen(&self, session: &McpSession) -> Result<Reply, Failure> {
        Ok(self.send(Method::GET, Bytes::new(), session.headers()).await?.reply)
    }

    /// Sends a message that wants no answer. Where it is lost, nothing waits for it.
    pub(crate) async fn note(&self, bytes: Bytes, session: &McpSession) {
        let sending = self.send(Method::POST, bytes, session.headers());
        match tokio::time::timeout(NOTE_TIMEOUT, sending).await {
            Ok(Ok(Answer { reply: Reply::Status(status, _), .. })) => {
                tracing::debug!(%status, path = %self.path(), "a message was not taken");
            }
            Ok(Ok(_)) => {}
            Ok(Err(failure)) => {
                tracing::debug!(%failure, path = %self.path(), "a message was lost")
            }
            Err(_) => tracing::debug!(path = %self.path(), "a message was not taken in time"),
        }
    }

    /// Ends the session, where there is one.
    pub(crate) async fn close(&self) {
        let Some(session) = self.session() else { return };
        self.forget(&session);
        if session.id.is_none() {
            return;
        }
        let closing = self.send(Method::DELETE, Bytes::new(), session.headers());
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
    }

    async fn send(
        &self,
        method: Method,
        body: Bytes,
        headers: HeaderMap,
    ) -> Result<Answer, Failure> {
        let sent = self.endpoint.send(&Outgoing { method, body, headers }).await;
        match sent {
            Ok(answer) => {
                *self.said.lock().unwrap_or_else(PoisonError::into_inner) = None;
                Ok(answer)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Says on standard error why this path contributes nothing, once for each reason.
    fn failed(&self, error: SendError) -> Failure {
        let failure = Failure::from(error);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.as_ref() != Some(&failure.reason) {
            eprintln!("carnet connect: the {} path is not available: {failure}", self.path());
            *said = Some(failure.reason.clone());
        }
        failure
    }
}

/// The answer to the request `id`; what else is said before a session is open is nobody's.
async fn first_response(reply: Reply, id: &Id) -> Result<Response, Failure> {
    let lost = || Failure::new("answer_lost", "Carnet ended its answer before it was whole");
    match reply {
        Reply::Message(Message::Response(response)) => Ok(response),
        Reply::Stream(mut stream) => loop {
            match stream.next().await? {
                Some(Message::Response(response)) if response.id.as_ref() == Some(id) => {
                    return Ok(response);
                }
                Some(_) => {}
                None => return Err(lost()),
            }
        },
        Reply::Status(status, code) => Err(Failure::of_status(status, &code)),
        Reply::Accepted => Err(Failure::of_status(StatusCode::ACCEPTED, "")),
        Reply::Message(_) => Err(lost()),
    }
}
