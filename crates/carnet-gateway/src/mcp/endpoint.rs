//! The endpoint of one resource on one path: POST, before anything is decided.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use carnet_core::{ActionName, Caller, Reason, check_caller};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::channel::OWN_ID_PREFIX;
use super::codec::{
    self, Classified, DENIED_CODE, Id, Message, Mirrored, Notification, Refusal, Request, Revision,
    Sender, Verified, classify, mirrored, read_message, refused, revision_of, verify,
};
use super::denial::respond;
use super::operation::Demand;
use super::session::Session;
use crate::body::{self, Body};
use crate::gateway::{Gateway, carried_through, decision_id};
use crate::record::{self, About, Rejection};

/// The longest message an agent may send.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// How long it may take to send it.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);
pub(super) const SESSION: &str = "mcp-session-id";

/// A message that was understood, with everything the phases need.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) caller: Caller,
    pub(crate) revision: Revision,
    pub(crate) headers: Verified,
    pub(crate) session: Option<Arc<Session>>,
    /// Set when the client no longer waits for the answer.
    gone: CancellationToken,
}

impl Received {
    /// What `work` comes to, or nothing where the client gave it up: in the revision without
    /// sessions, to leave is to cancel; in the others it is not.
    pub(crate) async fn unless_given_up<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        if !self.revision.is_stateless() {
            return Some(work.await);
        }
        tokio::select! {
            biased;
            () = self.gone.cancelled() => None,
            done = work => Some(done),
        }
    }

    /// Whether the client no longer waits.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.is_cancelled()
    }

    /// Resolves when the client no longer waits.
    pub(crate) async fn gone(&self) {
        self.gone.cancelled().await;
    }
}

impl Gateway {
    /// POST: one message.
    pub(crate) async fn post(
        self: &Arc<Self>,
        parts: Parts,
        incoming: Incoming,
        caller: Caller,
    ) -> Response<Body> {
        if !is_json(&parts.headers) {
            let message = "send `Content-Type: application/json`";
            return body::problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, message);
        }
        let whole = Limited::new(incoming, MESSAGE_BYTES_MAX).collect();
        let bytes = match tokio::time::timeout(MESSAGE_TIMEOUT, whole).await {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(_)) => {
                let message = "a message has at most 1 MiB, or it broke off";
                return body::problem(StatusCode::PAYLOAD_TOO_LARGE, message);
            }
            Err(_) => {
                let message = "the message took longer than 30 s to arrive";
                return body::problem(StatusCode::REQUEST_TIMEOUT, message);
            }
        };
        let gateway = Arc::clone(self);
        carried_through(
            |gone| async move { gateway.answer(&parts.headers, bytes, caller, gone).await },
        )
        .await
    }

    async fn answer(
        self: Arc<Self>,
        headers: &HeaderMap,
        bytes: Bytes,
        caller: Caller,
        gone: CancellationToken,
    ) -> Response<Body> {
        let message = match read_message(bytes, Sender::Client) {
            Ok(message) => message,
            Err(refusal) => return self.refuse(&caller, Heard::default(), &refusal),
        };
        let view = self.control.view();
        if let Err(reason) = check_caller(&view.snapshot, &caller, self.control.now()) {
            return self.turn_away(&caller, &message, reason);
        }
        match self.understand(headers, &message, caller.clone(), gone) {
            Ok(received) => self.dispatch(received, message).await,
            Err(Misunderstood::Refusal(refusal)) => {
                self.refuse(&caller, Heard::message(&message), &refusal)
            }
            Err(Misunderstood::NoSession) => no_session(),
            Err(Misunderstood::SessionMissing) => body::problem(
                StatusCode::BAD_REQUEST,
                "this revision has sessions: send `initialize` first, and then `Mcp-Session-Id`",
            ),
        }
    }

    /// Which revision, which session, and whether the headers say what the body says.
    fn understand(
        &self,
        headers: &HeaderMap,
        message: &Message,
        caller: Caller,
        gone: CancellationToken,
    ) -> Result<Received, Misunderstood> {
        let mut session = self.session_of(headers, &caller)?;
        let agreed = session.as_ref().map(|session| session.revision());
        let revision = revision_of(message, headers, agreed)?;
        if let Some(Id::Text(id)) = id_of(message)
            && id.starts_with(OWN_ID_PREFIX)
        {
            return Err(Refusal::Request("an id may not begin with `carnet:`").into());
        }
        if revision.is_stateless() {
            // It knows no sessions: one of an older revision has no part in this.
            session = None;
        } else if session.is_none() && name_of(message) != "initialize" {
            return Err(Misunderstood::SessionMissing);
        }
        let mirrored = self.mirrored(revision, message, &caller);
        let headers = verify(revision, message, headers, &mirrored)?;
        Ok(Received { caller, revision, headers, session, gone })
    }

    fn session_of(
        &self,
        headers: &HeaderMap,
        caller: &Caller,
    ) -> Result<Option<Arc<Session>>, Misunderstood> {
        let Some(id) = headers.get(SESSION) else { return Ok(None) };
        let id = id.to_str().map_err(|_| Misunderstood::NoSession)?;
        self.sessions.find(id, caller).map(Some).ok_or(Misunderstood::NoSession)
    }

    /// The arguments the reviewed schema wants repeated in headers. Of a tool the task cannot
    /// reach, none: a header that is missed would say that there is one.
    fn mirrored(&self, revision: Revision, message: &Message, caller: &Caller) -> Vec<Mirrored> {
        let Message::Request(request) = message else { return Vec::new() };
        if !revision.mirrors_headers() || request.method != "tools/call" {
            return Vec::new();
        }
        let name = request.params.get("name").and_then(Value::as_str).unwrap_or("");
        let view = self.control.view();
        let registered = ActionName::of(&caller.resource, "tool", name).ok().and_then(|action| {
            let resource = view.snapshot.resource(&caller.resource)?;
            resource.registered(&action)
        });
        let schema = registered.and_then(|reviewed| reviewed.definition.get("inputSchema"));
        let found = schema.and_then(|schema| mirrored(schema).ok()).unwrap_or_default();
        match registered {
            Some(reviewed) if !found.is_empty() && self.is_within_reach(caller, reviewed) => found,
            _ => Vec::new(),
        }
    }

    async fn dispatch(self: Arc<Self>, received: Received, message: Message) -> Response<Body> {
        match message {
            Message::Request(request) => self.request(received, request).await,
            Message::Notification(notification) => self.notify(received, notification).await,
            Message::Response(response) => self.client_answers(&received, &response).await,
        }
    }

    async fn request(self: Arc<Self>, received: Received, request: Request) -> Response<Body> {
        let shape = codec::method::Shape::Request;
        let Received { caller, revision, .. } = &received;
        let classified =
            classify(*revision, Sender::Client, shape, &request.method, &request.params);
        match classified {
            Err(refusal) => self.refuse(caller, Heard::request(&request), &refusal),
            Ok(Classified::Call(call)) => self.operate(Demand { received, request, call }).await,
            Ok(Classified::Handshake) if request.method == "initialize" => {
                self.initialize(&received, &request).await
            }
            Ok(Classified::Handshake | Classified::Relay) => {
                self.relay(&received, &request, None).await
            }
            Ok(Classified::List(kind)) => self.relay(&received, &request, Some(kind)).await,
        }
    }

    async fn notify(&self, received: Received, notification: Notification) -> Response<Body> {
        let shape = codec::method::Shape::Notification;
        let (method, params) = (&notification.method, &notification.params);
        if let Err(refusal) = classify(received.revision, Sender::Client, shape, method, params) {
            let heard = Heard { method, params: Some(params), id: None };
            return self.refuse(&received.caller, heard, &refusal);
        }
        match &received.session {
            Some(session) => {
                self.relay_one(session, &received, method, notification.bytes_on()).await
            }
            // Without a session there is nothing a notification could be about.
            None => body::empty(StatusCode::ACCEPTED),
        }
    }

    /// What the client says to a request of the server's that was passed on to it.
    async fn client_answers(
        &self,
        received: &Received,
        response: &codec::Response,
    ) -> Response<Body> {
        let session = received.session.as_ref();
        let known = session.zip(response.id.as_ref());
        match known.filter(|(session, id)| session.channel.was_passed_on(id)) {
            Some((session, _)) => {
                self.relay_one(session, received, "answer", response.bytes_on()).await
            }
            None => body::problem(StatusCode::BAD_REQUEST, "this answers nothing that was asked"),
        }
    }

    /// Refuses a message that was not understood, and records it.
    pub(super) fn refuse(
        &self,
        caller: &Caller,
        Heard { method, params, id }: Heard<'_>,
        refusal: &Refusal,
    ) -> Response<Body> {
        let reason = match refusal {
            Refusal::NotCarried { .. } | Refusal::Method { .. } => Reason::NotCarried,
            _ => Reason::Malformed,
        };
        let (decision, problem) = (decision_id(), refusal.to_string());
        let rejection = Rejection {
            about: params.map_or(About::Nothing, About::Parameters),
            problem: Some(&problem),
            ..Rejection::of(caller, method, reason)
        };
        self.wear(caller, reason);
        record::rejection(self, &decision, &rejection);
        tracing::info!(%decision, %refusal, "a message was refused");
        respond(refused(refusal, id))
    }

    /// Turns away a caller that is not live: the token is good, what it stands for is over.
    fn turn_away(&self, caller: &Caller, message: &Message, reason: Reason) -> Response<Body> {
        let decision = decision_id();
        let rejection = Rejection::of(caller, name_of(message), reason);
        self.wear(caller, reason);
        record::rejection(self, &decision, &rejection);
        tracing::info!(%decision, %reason, agent = %caller.agent, "a caller was turned away");
        let mut response = self.challenge(caller.path, &caller.resource, "invalid_token");
        if matches!(reason, Reason::SnapshotStale) {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        let error = json!({
            "jsonrpc": "2.0",
            "id": id_of(message),
            "error": {
                "code": DENIED_CODE,
                "message": format!("Denied by Carnet: {reason}. Decision {decision}."),
                "data": { "reason": reason.code(), "decision": decision },
            },
        });
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        *response.body_mut() = body::full(Bytes::from(error.to_string()));
        response
    }
}

/// 404: whose session it is, or was, is not for everybody to know.
pub(super) fn no_session() -> Response<Body> {
    body::problem(StatusCode::NOT_FOUND, "there is no such session: send `initialize` again")
}

/// What is known of a message that is refused.
#[derive(Debug, Default)]
pub(super) struct Heard<'a> {
    method: &'a str,
    params: Option<&'a Map<String, Value>>,
    id: Option<&'a Id>,
}

impl<'a> Heard<'a> {
    pub(super) fn request(request: &'a Request) -> Self {
        Self { method: &request.method, params: Some(&request.params), id: Some(&request.id) }
    }

    fn message(message: &'a Message) -> Self {
        match message {
            Message::Request(request) => Self::request(request),
            Message::Notification(notification) => {
                Self { method: &notification.method, params: Some(&notification.params), id: None }
            }
            Message::Response(_) => Self::default(),
        }
    }
}

enum Misunderstood {
    Refusal(Refusal),
    NoSession,
    SessionMissing,
}

impl From<Refusal> for Misunderstood {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("");
    kind.trim().eq_ignore_ascii_case("application/json")
}

fn name_of(message: &Message) -> &str {
    match message {
        Message::Request(request) => &request.method,
        Message::Notification(notification) => &notification.method,
        Message::Response(_) => "",
    }
}

fn id_of(message: &Message) -> Option<&Id> {
    match message {
        Message::Request(request) => Some(&request.id),
        Message::Notification(_) | Message::Response(_) => None,
    }
}
