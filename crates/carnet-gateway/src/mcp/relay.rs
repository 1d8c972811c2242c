//! What names no operation: the handshake, lists, and messages of an exchange that was decided.

use std::sync::Arc;

use bytes::Bytes;
use carnet_core::{ActionName, Reason, reachable};
use http::header::HeaderValue;
use http::{Response, StatusCode};
use serde_json::Value;

use super::channel::Channel;
use super::codec::{
    Capabilities, Item, ListKind, Message, Outcome as Said, Request, Revision, Verified, filter,
    pin,
};
use super::endpoint::Received;
use super::session::Session;
use super::upstream::{Inbound, Outbound, Reply};
use crate::body::{self, Body};
use crate::gateway::{Gateway, decision_id};
use crate::record;

impl Gateway {
    /// Opens a session: a new conversation with the server, at the revision the client named.
    pub(crate) async fn initialize(
        self: &Arc<Self>,
        received: Received,
        request: Request,
    ) -> Response<Body> {
        match self.open_session(&received, &request).await {
            Ok((session, bytes)) => {
                let mut response = body::json(200, bytes);
                if let Ok(id) = HeaderValue::from_str(&session.id) {
                    response.headers_mut().insert("mcp-session-id", id);
                }
                response
            }
            Err(reason) => self.deny_plainly(&received, &request, reason),
        }
    }

    async fn open_session(
        &self,
        received: &Received,
        request: &Request,
    ) -> Result<(Arc<Session>, Bytes), Reason> {
        self.note(received, request).await?;
        let guard = self.register(&received.caller)?;
        let channel = self.open_channel(&received.caller, received.revision).await?;
        let inbound = self.exchange_one(&channel, received, request).await?;
        let Message::Response(response) = inbound.message else {
            return Err(Reason::UpstreamFailed);
        };
        check_revision(&response.outcome, received.revision)?;
        let none = serde_json::Map::new();
        let declared = request.params.get("capabilities").and_then(Value::as_object);
        let capabilities = Capabilities::of(declared.unwrap_or(&none));
        let caller = received.caller.clone();
        let session = Session::new(caller, Arc::new(channel), capabilities, guard);
        Ok((self.sessions.insert(session)?, response.bytes().clone()))
    }

    /// Passes a request on and its answer back, a list filtered to what the task can reach.
    pub(crate) async fn relay(
        self: &Arc<Self>,
        received: Received,
        request: Request,
        list: Option<ListKind>,
    ) -> Response<Body> {
        match self.relay_answer(&received, &request, list).await {
            Ok((status, bytes)) => body::json(status, bytes),
            Err(reason) => self.deny_plainly(&received, &request, reason),
        }
    }

    async fn relay_answer(
        &self,
        received: &Received,
        request: &Request,
        list: Option<ListKind>,
    ) -> Result<(u16, Bytes), Reason> {
        self.note(received, request).await?;
        let channel = self.channel(received).await?;
        let inbound = self.exchange_one(&channel, received, request).await?;
        let Message::Response(response) = &inbound.message else {
            return Err(Reason::UpstreamFailed);
        };
        let Some(kind) = list else { return Ok((inbound.status, response.bytes().clone())) };
        let keep = self.keeper(received, kind);
        let filtered = filter(response, kind, received.revision, keep).map_err(|error| {
            tracing::warn!(%error, "a list is withheld");
            Reason::UpstreamFailed
        })?;
        Ok((inbound.status, filtered.bytes))
    }

    /// Whether an item of a list is shown: reviewed, unchanged, and within the task's reach.
    fn keeper(&self, received: &Received, kind: ListKind) -> impl FnMut(&Item<'_>) -> bool {
        let view = self.control.view();
        let caller = &received.caller;
        let now = self.control.now().wall;
        let reach = reachable(&view, &caller.task, &caller.resource, caller.path, now);
        let resource = caller.resource.clone();
        let operations = view
            .snapshot
            .resource(&resource)
            .map(|found| found.operations.clone())
            .unwrap_or_default();
        move |item| {
            let (word, name, is_pinned) = match kind {
                ListKind::Tools => ("tool", item.key, true),
                ListKind::Prompts => ("prompt", item.key, true),
                ListKind::Resources | ListKind::Templates => ("resource", "read", false),
            };
            let Ok(action) = ActionName::of(&resource, word, name) else { return false };
            let Some(registered) = operations.get(&action) else { return false };
            let is_same = !is_pinned || pin(item.definition).ok() == Some(registered.pin);
            is_same && reach.contains(&action)
        }
    }

    /// One request, one answer; what else the server says meanwhile is not for this exchange.
    async fn exchange_one(
        &self,
        channel: &Channel,
        received: &Received,
        request: &Request,
    ) -> Result<Inbound, Reason> {
        let outbound = Outbound {
            bytes: request.bytes().clone(),
            id: Some(request.id.clone()),
            headers: &received.headers,
        };
        let failed = |error: super::upstream::UpstreamError| {
            tracing::warn!(%error, method = %request.method, "the upstream did not answer");
            Reason::UpstreamFailed
        };
        let reply = channel.link.send(outbound, received.revision).await.map_err(failed)?;
        let Reply::Messages(mut messages) = reply else { return Err(Reason::UpstreamFailed) };
        while let Some(inbound) = messages.recv().await {
            let inbound = inbound.map_err(failed)?;
            let id = Some(&request.id);
            if matches!(&inbound.message, Message::Response(said) if said.id.as_ref() == id) {
                return Ok(inbound);
            }
        }
        Err(Reason::UpstreamFailed)
    }

    /// Passes on one message that wants no answer.
    pub(crate) async fn relay_one(
        &self,
        channel: &Channel,
        bytes: Bytes,
        headers: &Verified,
    ) -> Response<Body> {
        let outbound = Outbound { bytes, id: None, headers };
        match channel.link.send(outbound, channel.revision).await {
            Ok(_) => body::empty(StatusCode::ACCEPTED),
            Err(error) => {
                tracing::warn!(%error, "the upstream did not take a message");
                body::empty(StatusCode::BAD_GATEWAY)
            }
        }
    }

    /// Records that a live caller was let through, durably, before anything is forwarded.
    async fn note(&self, received: &Received, request: &Request) -> Result<(), Reason> {
        let revision = self.control.view().snapshot.revision;
        let at = self.control.now().wall;
        let (caller, method) = (&received.caller, &request.method);
        let decision = decision_id();
        record::handshake(&self.ledger, &decision, caller, method, revision, at).durable().await?;
        Ok(())
    }

    fn deny_plainly(
        &self,
        received: &Received,
        request: &Request,
        reason: Reason,
    ) -> Response<Body> {
        let decision = decision_id();
        let at = self.control.now().wall;
        let caller = &received.caller;
        record::rejection(&self.ledger, &decision, caller, &request.method, reason, at);
        self.deny(received, request, reason.code(), &decision, false)
    }
}

/// The same revision on both sides: a server that answers with another is not bridged.
fn check_revision(outcome: &Said, revision: Revision) -> Result<(), Reason> {
    let Said::Result(result) = outcome else { return Ok(()) };
    let answered = result.get("protocolVersion").and_then(Value::as_str);
    match answered == Some(revision.as_str()) {
        true => Ok(()),
        false => {
            tracing::warn!(
                ?answered,
                wanted = revision.as_str(),
                "the upstream speaks another revision"
            );
            Err(Reason::UpstreamFailed)
        }
    }
}
