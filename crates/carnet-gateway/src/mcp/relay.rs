//! What names no operation: the handshake, lists, and messages of an exchange that was decided.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use carnet_core::{Caller, Reason};
use http::header::HeaderValue;
use http::{Response, StatusCode};
use serde_json::{Map, Value};

use super::channel::Channel;
use super::codec::{
    self, Capabilities, ListKind, Message, Outcome as Said, Request, Revision, filter,
};
use super::endpoint::{Received, SESSION};
use super::session::Session;
use super::shared::Shared;
use super::upstream::{Outbound, Reply, UpstreamError};
use crate::body::{self, Body};
use crate::gateway::{Gateway, decision_id};
use crate::live::LiveGuard;
use crate::record;

/// How long a server may take for what names no operation.
const RELAY_TIMEOUT: Duration = Duration::from_secs(60);

/// What a handshake came to.
enum Opened {
    Session(Arc<Session>, Bytes),
    /// The server said no, and this.
    Refused(Bytes),
}

impl Gateway {
    /// Opens a session: a new conversation with the server, at the revision it agrees to.
    pub(super) async fn initialize(
        &self,
        received: &Received,
        request: &Request,
    ) -> Response<Body> {
        match self.open_session(received, request).await {
            Ok(Opened::Session(session, bytes)) => {
                let mut response = body::json(200, bytes);
                if let Ok(id) = HeaderValue::from_str(&session.id) {
                    response.headers_mut().insert(SESSION, id);
                }
                response
            }
            Ok(Opened::Refused(bytes)) => body::json(200, bytes),
            Err(reason) => self.deny_plainly(&received.caller, received.revision, request, reason),
        }
    }

    async fn open_session(&self, received: &Received, request: &Request) -> Result<Opened, Reason> {
        let caller = &received.caller;
        let seat = self.sessions.seat(caller)?;
        self.note(caller, &request.method).await?;
        let guard = self.register(caller)?;
        let opening = self.agree(received, request);
        let (channel, said, bytes) = self.bounded(caller, &guard, opening).await?;
        if matches!(said, Said::Failure(_)) {
            return Ok(Opened::Refused(bytes));
        }
        let declared = request.params.get("capabilities").and_then(Value::as_object);
        let capabilities = Capabilities::of(declared.unwrap_or(&Map::new()));
        let session = Session::new(caller.clone(), Arc::new(channel), capabilities, guard);
        // A client that left will not come back for it.
        if received.is_gone() {
            session.channel.link.close(session.revision()).await;
            return Err(Reason::UpstreamFailed);
        }
        Ok(Opened::Session(self.sessions.insert(session, seat), bytes))
    }

    /// A new conversation, and what the server said to its opening. The session speaks the
    /// revision the server answers with, so that both sides speak the same.
    async fn agree(
        &self,
        received: &Received,
        request: &Request,
    ) -> Result<(Channel, Said, Bytes), Reason> {
        let mut channel = self.open_channel(&received.caller, received.revision).await?;
        let answer = exchange_one(&channel, received, request).await?;
        if let Said::Result(result) = &answer.response.outcome {
            channel.revision = agreed(result).ok_or_else(|| {
                tracing::warn!("the upstream speaks no revision with sessions that is carried");
                Reason::UpstreamFailed
            })?;
        }
        let bytes = answer.response.bytes().clone();
        Ok((channel, answer.response.outcome, bytes))
    }

    /// Passes a request on and its answer back, a list filtered to what the task can reach.
    pub(super) async fn relay(
        &self,
        received: &Received,
        request: &Request,
        list: Option<ListKind>,
    ) -> Response<Body> {
        match self.relay_answer(received, request, list).await {
            Ok((status, bytes)) => body::json(status, bytes),
            Err(reason) => self.deny_plainly(&received.caller, received.revision, request, reason),
        }
    }

    async fn relay_answer(
        &self,
        received: &Received,
        request: &Request,
        list: Option<ListKind>,
    ) -> Result<(u16, Bytes), Reason> {
        let caller = &received.caller;
        self.note(caller, &request.method).await?;
        let guard = self.register(caller)?;
        let asking = received.unless_given_up(async {
            let channel = self.channel(received).await?;
            exchange_one(&channel, received, request).await
        });
        let asked = async { asking.await.unwrap_or(Err(Reason::UpstreamFailed)) };
        let answer = self.bounded(caller, &guard, asked).await?;
        let Some(kind) = list else {
            return Ok((answer.status, answer.response.bytes().clone()));
        };
        let shown = self.shown(received, kind);
        let filtered = filter(&answer.response, kind, received.revision, |item| shown.has(item));
        let filtered = filtered.map_err(|error| {
            tracing::warn!(%error, "a list is withheld");
            Reason::UpstreamFailed
        })?;
        Ok((answer.status, filtered.bytes))
    }

    /// Passes on one message that wants no answer.
    pub(super) async fn relay_one(
        &self,
        session: &Session,
        received: &Received,
        what: &str,
        bytes: Bytes,
    ) -> Response<Body> {
        let sent = async {
            self.note(&received.caller, what).await?;
            let guard = self.register(&received.caller)?;
            let headers = &received.headers;
            let outbound = Outbound { bytes, id: None, headers, opens: false };
            let sending = async {
                let sent = session.channel.link.send(outbound, session.revision()).await;
                sent.map(|_| ()).map_err(|error| failed(&error, what))
            };
            self.bounded(&received.caller, &guard, sending).await
        };
        match sent.await {
            Ok(()) => body::empty(StatusCode::ACCEPTED),
            Err(Reason::UpstreamFailed) => body::empty(StatusCode::BAD_GATEWAY),
            Err(_) => body::empty(StatusCode::FORBIDDEN),
        }
    }

    /// What `work` comes to while `guard` stands and a server may take.
    async fn bounded<T>(
        &self,
        caller: &Caller,
        guard: &LiveGuard,
        work: impl Future<Output = Result<T, Reason>>,
    ) -> Result<T, Reason> {
        match guard.run(tokio::time::timeout(RELAY_TIMEOUT, work)).await {
            Some(Ok(done)) => done,
            Some(Err(_)) => {
                tracing::warn!(resource = %caller.resource, "the upstream did not answer in time");
                Err(Reason::UpstreamFailed)
            }
            None => Err(self.standing(caller)),
        }
    }

    /// Records that a live caller was let through, durably, before anything is forwarded.
    pub(super) async fn note(&self, caller: &Caller, what: &str) -> Result<(), Reason> {
        let revision = self.control.view().snapshot.revision;
        let (decision, at) = (decision_id(), self.control.now().wall);
        record::handshake(&self.ledger, &decision, caller, what, revision, at).durable().await?;
        Ok(())
    }

    /// Registers live work for `caller`, which must be live itself.
    pub(super) fn register(&self, caller: &Caller) -> Result<LiveGuard, Reason> {
        self.live.register(caller, || self.control.view(), || self.control.now())
    }

    /// The channel of a message: its session's, or the shared one of a revision without sessions.
    pub(super) async fn channel(&self, received: &Received) -> Result<Arc<Channel>, Reason> {
        if let Some(session) = &received.session {
            return Ok(Arc::clone(&session.channel));
        }
        let caller = &received.caller;
        let open = async {
            self.note(caller, "open").await?;
            let guard = self.register(caller)?;
            let channel = self.open_channel(caller, received.revision).await?;
            Ok(Shared::new(channel, guard))
        };
        self.channels.opened(caller, open).await
    }

    /// The same, where there is one already.
    pub(super) fn known_channel(&self, received: &Received) -> Option<Arc<Channel>> {
        match &received.session {
            Some(session) => Some(Arc::clone(&session.channel)),
            None => self.channels.known(&received.caller),
        }
    }

    /// A new conversation with the upstream, with the credential of the caller's path.
    async fn open_channel(&self, caller: &Caller, revision: Revision) -> Result<Channel, Reason> {
        let view = self.control.view();
        let resource = view.snapshot.resource(&caller.resource).ok_or(Reason::NotCovered)?;
        let credential = self.control.credential(resource, caller.path).await.map_err(|error| {
            tracing::error!(%error, "the upstream credential could not be had");
            error.reason
        })?;
        let (path, agent) = (caller.path, Some(&caller.agent));
        let opened = Channel::open(&self.upstreams, resource, path, credential, revision, agent);
        opened.map_err(|error| {
            tracing::warn!(%error, resource = %caller.resource, "the upstream could not be opened");
            Reason::UpstreamFailed
        })
    }
}

/// The one answer to a request that names no operation.
struct Answered {
    response: codec::Response,
    status: u16,
}

/// One request, one answer; what else the server says meanwhile is not for this exchange.
async fn exchange_one(
    channel: &Channel,
    received: &Received,
    request: &Request,
) -> Result<Answered, Reason> {
    let outbound = Outbound {
        bytes: request.bytes_on(),
        id: Some(request.id.clone()),
        headers: &received.headers,
        opens: request.method == "initialize",
    };
    let failed = |error: UpstreamError| failed(&error, &request.method);
    let reply = channel.link.send(outbound, channel.revision).await.map_err(failed)?;
    let Reply::Messages(mut messages) = reply else { return Err(Reason::UpstreamFailed) };
    while let Some(inbound) = messages.recv().await {
        let inbound = inbound.map_err(failed)?;
        match inbound.message {
            Message::Response(response) if response.id.as_ref() == Some(&request.id) => {
                let status = super::exchange::status_for(channel.revision, inbound.status);
                return Ok(Answered { response, status });
            }
            Message::Request(asked) => channel.decline(&asked).await,
            Message::Response(response) if response.id.is_none() => break,
            Message::Response(_) | Message::Notification(_) => {}
        }
    }
    Err(Reason::UpstreamFailed)
}

fn failed(error: &UpstreamError, method: &str) -> Reason {
    tracing::warn!(%error, method, "the upstream did not answer");
    Reason::UpstreamFailed
}

/// The revision with sessions that a server answered with.
fn agreed(result: &Map<String, Value>) -> Option<Revision> {
    let answered = result.get("protocolVersion").and_then(Value::as_str)?;
    answered.parse().ok().filter(|revision: &Revision| !revision.is_stateless())
}
