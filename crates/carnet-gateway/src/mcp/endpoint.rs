//! The endpoint of one resource on one path: POST, GET and DELETE, before anything is decided.

use std::sync::Arc;

use bytes::Bytes;
use carnet_core::{Caller, DecisionId, Reason, check_caller};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::json;

use super::channel::{Channel, OWN_ID_PREFIX};
use super::codec::{
    Answer, Capabilities, Classified, DENIED_CODE, Denial, Id, Message, Notification, Refusal,
    Request, Revision, Sender, Verified, classify, denied, method, mirrored, read_message, refused,
    revision_of, verify,
};
use super::exchange::Exchange;
use super::session::Session;
use crate::body::{self, Body};
use crate::gateway::{Gateway, decision_id};
use crate::live::LiveGuard;
use crate::record;

/// The longest message an agent may send.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
const SESSION: &str = "mcp-session-id";

/// A request that was understood, with everything the phases need.
pub(crate) struct Received {
    pub(crate) caller: Caller,
    pub(crate) revision: Revision,
    pub(crate) headers: Verified,
    pub(crate) session: Option<Arc<Session>>,
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
            return body::empty(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let bytes = match Limited::new(incoming, MESSAGE_BYTES_MAX).collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(_) => return body::empty(StatusCode::PAYLOAD_TOO_LARGE),
        };
        let message = match read_message(bytes, Sender::Client) {
            Ok(message) => message,
            Err(refusal) => return self.refuse(&caller, "", &refusal, None),
        };
        let view = self.control.view();
        if let Err(reason) = check_caller(&view.snapshot, &caller, self.control.now()) {
            return self.turn_away(&caller, &message, reason);
        }
        match self.understand(&parts.headers, &message, caller.clone()) {
            Ok(received) => self.dispatch(received, message).await,
            Err(Misunderstood::Refusal(refusal)) => {
                self.refuse(&caller, name_of(&message), &refusal, id_of(&message))
            }
            Err(Misunderstood::NoSession) => body::empty(StatusCode::NOT_FOUND),
            Err(Misunderstood::SessionMissing) => body::empty(StatusCode::BAD_REQUEST),
        }
    }

    /// Which revision, which session, and whether the headers say what the body says.
    fn understand(
        &self,
        headers: &HeaderMap,
        message: &Message,
        caller: Caller,
    ) -> Result<Received, Misunderstood> {
        let session = match headers.get(SESSION) {
            None => None,
            Some(id) => {
                let id = id.to_str().map_err(|_| Misunderstood::NoSession)?;
                Some(self.sessions.find(id, &caller).ok_or(Misunderstood::NoSession)?)
            }
        };
        let agreed = session.as_ref().map(|session| session.revision());
        let revision = revision_of(message, headers, agreed)?;
        if let Some(Id::Text(id)) = id_of(message)
            && id.starts_with(OWN_ID_PREFIX)
        {
            return Err(Refusal::Request("an id may not begin with `carnet:`").into());
        }
        let opens = name_of(message) == "initialize";
        if !revision.is_stateless() && session.is_none() && !opens {
            return Err(Misunderstood::SessionMissing);
        }
        let mirrored = self.mirrored(revision, message, &caller);
        let headers = verify(revision, message, headers, &mirrored)?;
        Ok(Received { caller, revision, headers, session })
    }

    /// The arguments the reviewed schema wants repeated in headers.
    fn mirrored(
        &self,
        revision: Revision,
        message: &Message,
        caller: &Caller,
    ) -> Vec<super::codec::Mirrored> {
        let Message::Request(request) = message else { return Vec::new() };
        if !revision.mirrors_headers() || request.method != "tools/call" {
            return Vec::new();
        }
        let view = self.control.view();
        let name = request.params.get("name").and_then(serde_json::Value::as_str).unwrap_or("");
        let action = carnet_core::ActionName::of(&caller.resource, "tool", name).ok();
        let registered = view
            .snapshot
            .resource(&caller.resource)
            .and_then(|resource| action.and_then(|action| resource.registered(&action).cloned()));
        let schema =
            registered.and_then(|reviewed| reviewed.definition.get("inputSchema").cloned());
        schema.and_then(|schema| mirrored(&schema).ok()).unwrap_or_default()
    }

    async fn dispatch(self: &Arc<Self>, received: Received, message: Message) -> Response<Body> {
        match message {
            Message::Request(request) => self.request(received, request).await,
            Message::Notification(notification) => self.notify(received, notification).await,
            Message::Response(response) => {
                let Some(session) = &received.session else {
                    return body::empty(StatusCode::BAD_REQUEST);
                };
                match &response.id {
                    Some(id) if session.channel.was_passed_on(id) => {
                        let bytes = response.bytes().clone();
                        self.relay_one(&session.channel, bytes, &received.headers).await
                    }
                    _ => body::empty(StatusCode::BAD_REQUEST),
                }
            }
        }
    }

    async fn request(self: &Arc<Self>, received: Received, request: Request) -> Response<Body> {
        let shape = method::Shape::Request;
        let classified =
            classify(received.revision, Sender::Client, shape, &request.method, &request.params);
        let classified = match classified {
            Ok(classified) => classified,
            Err(refusal) => {
                return self.refuse(&received.caller, &request.method, &refusal, Some(&request.id));
            }
        };
        match classified {
            Classified::Call(call) => self.operate(received, request, call).await,
            Classified::Handshake if request.method == "initialize" => {
                self.initialize(received, request).await
            }
            Classified::Handshake | Classified::Relay => self.relay(received, request, None).await,
            Classified::List(kind) => self.relay(received, request, Some(kind)).await,
        }
    }

    async fn notify(
        self: &Arc<Self>,
        received: Received,
        notification: Notification,
    ) -> Response<Body> {
        let shape = method::Shape::Notification;
        let known = classify(
            received.revision,
            Sender::Client,
            shape,
            &notification.method,
            &notification.params,
        );
        if let Err(refusal) = known {
            return self.refuse(&received.caller, &notification.method, &refusal, None);
        }
        let channel = match &received.session {
            Some(session) => Arc::clone(&session.channel),
            // Without a session there is nothing a notification could be about.
            None => return body::empty(StatusCode::ACCEPTED),
        };
        let bytes = notification.bytes().clone();
        self.relay_one(&channel, bytes, &received.headers).await
    }

    /// GET: what the server says by itself.
    pub(crate) async fn listen(self: &Arc<Self>, parts: &Parts, caller: Caller) -> Response<Body> {
        let view = self.control.view();
        if check_caller(&view.snapshot, &caller, self.control.now()).is_err() {
            return self.challenge(caller.path, &caller.resource, "invalid_token");
        }
        let session = parts.headers.get(SESSION).and_then(|id| id.to_str().ok());
        let Some(id) = session else { return body::empty(StatusCode::METHOD_NOT_ALLOWED) };
        let Some(session) = self.sessions.find(id, &caller) else {
            return body::empty(StatusCode::NOT_FOUND);
        };
        let registered = self.register(&caller);
        let Ok(guard) = registered else { return body::empty(StatusCode::FORBIDDEN) };
        match session.channel.link.listen(session.revision()).await {
            Ok(messages) => {
                let exchange = Exchange::unsolicited(Arc::clone(&session), caller);
                exchange.stream(Arc::clone(self), messages, guard)
            }
            Err(error) => {
                tracing::debug!(%error, "the server offers no stream of its own");
                body::empty(StatusCode::METHOD_NOT_ALLOWED)
            }
        }
    }

    /// DELETE: the end of a session.
    pub(crate) async fn end_session(&self, parts: &Parts, caller: Caller) -> Response<Body> {
        let id = parts.headers.get(SESSION).and_then(|id| id.to_str().ok());
        let Some(id) = id else { return body::empty(StatusCode::METHOD_NOT_ALLOWED) };
        if self.sessions.find(id, &caller).is_none() {
            return body::empty(StatusCode::NOT_FOUND);
        }
        if let Some(session) = self.sessions.remove(id) {
            session.channel.link.close(session.revision()).await;
        }
        body::empty(StatusCode::NO_CONTENT)
    }

    /// Registers live work for `caller`, which must be live itself.
    pub(crate) fn register(&self, caller: &Caller) -> Result<LiveGuard, Reason> {
        self.live.register(caller, || self.control.view(), self.control.now())
    }

    /// The channel of a request: its session's, or the shared one of a revision without sessions.
    pub(crate) async fn channel(&self, received: &Received) -> Result<Arc<Channel>, Reason> {
        if let Some(session) = &received.session {
            return Ok(Arc::clone(&session.channel));
        }
        let caller = &received.caller;
        let open = async || {
            let channel = self.open_channel(caller, received.revision).await?;
            Ok((Arc::new(channel), self.register(caller)?))
        };
        self.channels.get(caller, open).await
    }

    /// A new conversation with the upstream, with the credential of the caller's path.
    pub(crate) async fn open_channel(
        &self,
        caller: &Caller,
        revision: Revision,
    ) -> Result<Channel, Reason> {
        let view = self.control.view();
        let resource = view.snapshot.resource(&caller.resource).ok_or(Reason::NotCovered)?;
        let credential = self.control.credential(resource, caller.path).await.map_err(|error| {
            tracing::error!(%error, "the upstream credential could not be had");
            error.reason
        })?;
        Channel::open(&self.client, resource, caller.path, credential, revision).await.map_err(
            |error| {
                tracing::warn!(%error, resource = %caller.resource, "the upstream could not be opened");
                Reason::UpstreamFailed
            },
        )
    }

    /// Refuses a message that was not understood, and records it.
    fn refuse(
        &self,
        caller: &Caller,
        method: &str,
        refusal: &Refusal,
        id: Option<&Id>,
    ) -> Response<Body> {
        let reason = match refusal {
            Refusal::NotCarried { .. } | Refusal::Method { .. } => Reason::NotCarried,
            _ => Reason::Malformed,
        };
        let decision = decision_id();
        let at = self.control.now().wall;
        record::rejection(&self.ledger, &decision, caller, method, reason, at);
        tracing::info!(%decision, %refusal, "a message was refused");
        respond(refused(refusal, id))
    }

    /// Turns away a caller that is not live: the token is good, what it stands for is over.
    fn turn_away(&self, caller: &Caller, message: &Message, reason: Reason) -> Response<Body> {
        let decision = decision_id();
        let at = self.control.now().wall;
        record::rejection(&self.ledger, &decision, caller, name_of(message), reason, at);
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

    /// Denies a request for `reason`, in the protocol's own form.
    pub(crate) fn deny(
        &self,
        received: &Received,
        request: &Request,
        reason: &str,
        decision: &DecisionId,
        has_output_schema: bool,
    ) -> Response<Body> {
        let denial = Denial { reason, decision };
        let revision = received.revision;
        respond(denied(revision, &request.method, has_output_schema, &request.id, &denial))
    }

    /// What the client can be asked: said at the start of a session, or with each request.
    pub(crate) fn capabilities(received: &Received, request: &Request) -> Capabilities {
        match &received.session {
            Some(session) => session.capabilities,
            None => Capabilities::declared(received.revision, &request.params).unwrap_or_default(),
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

pub(crate) fn respond(answer: Answer) -> Response<Body> {
    body::json(answer.status, answer.body)
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
