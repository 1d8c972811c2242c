//! What a server says in answer: filtered, decided where it asks for something itself, released
//! only when its decision is durable, and closed when it is revoked.

use std::sync::Arc;

use bytes::Bytes;
use carnet_core::{Attempt, Caller, Decided, Operation, Reason, decide};
use http::Response;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::channel::Channel;
use super::codec::{
    Call, Classified, Event, Id, Message, Outcome as Said, Request, ResultKind, Revision, Sender,
    Verified, classify, method, result_kind,
};
use super::endpoint::Received;
use super::session::Session;
use super::upstream::{Inbound, Messages, Outbound, Reply};
use crate::body::{self, Body};
use crate::door::{Passage, Released};
use crate::filter::Duties;
use crate::gateway::{Gateway, decision_id};
use crate::live::LiveGuard;
use crate::record::{self, Outcome};

/// One exchange with a server.
pub(crate) struct Exchange {
    channel: Arc<Channel>,
    caller: Caller,
    revision: Revision,
    /// The request whose answer ends the exchange; none for a stream of its own.
    id: Option<Id>,
    method: String,
    duties: Duties,
}

/// What becomes of one message on its way to the client.
enum Passed {
    /// It goes on, and more may follow.
    On(Bytes),
    /// It goes on, with this status, and ends the exchange.
    Last { bytes: Bytes, status: u16, is_error: bool },
    /// It stays here.
    Withheld,
    /// It ends the exchange without an answer that could be passed on.
    Failed,
}

impl Exchange {
    /// The exchange of one operation.
    pub(crate) fn operation(
        channel: Arc<Channel>,
        received: &Received,
        request: &Request,
        duties: Duties,
    ) -> Self {
        Self {
            channel,
            caller: received.caller.clone(),
            revision: received.revision,
            id: Some(request.id.clone()),
            method: request.method.clone(),
            duties,
        }
    }

    /// A stream of what a server says by itself.
    pub(crate) fn unsolicited(session: Arc<Session>, caller: Caller) -> Self {
        Self {
            channel: Arc::clone(&session.channel),
            caller,
            revision: session.revision(),
            id: None,
            method: String::new(),
            duties: Duties::default(),
        }
    }

    /// The answer to an operation that was forwarded.
    pub(crate) async fn answer(
        self,
        gateway: &Arc<Gateway>,
        received: Received,
        request: Request,
        call: &Call,
        passage: Passage,
        reply: Result<Reply, Outcome>,
    ) -> Response<Body> {
        let ticket = passage.ticket.clone();
        let failed = |reason: Reason| {
            let has_schema = false;
            gateway.deny(&received, &request, reason.code(), &ticket.decision, has_schema)
        };
        let released = match passage.release().await {
            Ok((released, _release)) => released,
            Err(reason) => return failed(reason),
        };
        let mut messages = match reply {
            Ok(Reply::Messages(messages)) => messages,
            Ok(Reply::Accepted) => {
                return self.fail(gateway, &released, Outcome::Unknown, failed).await;
            }
            Err(outcome) => return self.fail(gateway, &released, outcome, failed).await,
        };
        tracing::trace!(item = %call.item, "the server answers");
        loop {
            let next = self.next(gateway, &mut messages, &released.guard).await;
            match next {
                Ok(Passed::Last { bytes, status, is_error }) => {
                    let outcome = Outcome::Answered { bytes: bytes.len() as u64, is_error };
                    gateway.settle(&released, outcome).await;
                    return body::json(status, bytes);
                }
                Ok(Passed::On(bytes)) => {
                    let gateway = Arc::clone(gateway);
                    return self.stream_from(gateway, bytes, messages, released);
                }
                Ok(Passed::Withheld) => {}
                Ok(Passed::Failed) => {
                    return self.fail(gateway, &released, Outcome::Unknown, failed).await;
                }
                Err(outcome) => return self.fail(gateway, &released, outcome, failed).await,
            }
        }
    }

    async fn fail(
        &self,
        gateway: &Gateway,
        released: &Released,
        outcome: Outcome,
        failed: impl Fn(Reason) -> Response<Body>,
    ) -> Response<Body> {
        gateway.settle(released, outcome).await;
        failed(match outcome {
            Outcome::Revoked => Reason::TaskNotOpen,
            Outcome::NotForwarded(reason) => reason,
            Outcome::Answered { .. } | Outcome::Unknown => Reason::UpstreamFailed,
        })
    }

    /// The next message for the client, or how the exchange ended without an answer.
    async fn next(
        &self,
        gateway: &Gateway,
        messages: &mut Messages,
        guard: &LiveGuard,
    ) -> Result<Passed, Outcome> {
        let inbound = tokio::select! {
            biased;
            () = guard.cancelled().cancelled() => return Err(Outcome::Revoked),
            inbound = messages.recv() => inbound,
        };
        match inbound {
            Some(Ok(inbound)) => Ok(self.pass(gateway, inbound).await),
            Some(Err(error)) => {
                tracing::warn!(%error, resource = %self.caller.resource, "the answer was cut off");
                Err(Outcome::Unknown)
            }
            None => Err(Outcome::Unknown),
        }
    }

    async fn pass(&self, gateway: &Gateway, inbound: Inbound) -> Passed {
        match inbound.message {
            Message::Response(response) if response.id == self.id && self.id.is_some() => {
                let is_error = match &response.outcome {
                    Said::Failure(_) => true,
                    Said::Result(result) => result.get("isError") == Some(&Value::Bool(true)),
                };
                if let Said::Result(result) = &response.outcome
                    && !self.may_ask_for_input(gateway, result).await
                {
                    return Passed::Failed;
                }
                match self.duties.apply(response.bytes().clone()) {
                    Some(bytes) => Passed::Last { bytes, status: inbound.status, is_error },
                    None => Passed::Failed,
                }
            }
            // An answer to something this client did not ask is nobody's.
            Message::Response(response) => match response.id {
                // An error that names no request ends the one there is.
                None if self.id.is_some() => Passed::Failed,
                _ => Passed::Withheld,
            },
            Message::Notification(notification) => {
                let shape = method::Shape::Notification;
                let known = classify(
                    self.revision,
                    Sender::Server,
                    shape,
                    &notification.method,
                    &notification.params,
                );
                if notification.method.ends_with("/list_changed") {
                    self.channel.forget_offers().await;
                }
                match known.ok().and_then(|_| self.duties.apply(notification.bytes().clone())) {
                    Some(bytes) => Passed::On(bytes),
                    None => Passed::Withheld,
                }
            }
            Message::Request(request) => self.pass_request(gateway, request).await,
        }
    }

    /// A request of the server's own: an operation like any other, or refused in its own protocol.
    async fn pass_request(&self, gateway: &Gateway, request: Request) -> Passed {
        let shape = method::Shape::Request;
        let classified =
            classify(self.revision, Sender::Server, shape, &request.method, &request.params);
        let permitted = match classified {
            Ok(Classified::Relay) => true,
            Ok(Classified::Call(call)) => {
                let bytes = request.bytes().clone();
                self.decide_servers(gateway, &call, &request.method, bytes).await
            }
            Ok(_) | Err(_) => false,
        };
        if permitted {
            self.channel.pass_on(request.id.clone());
            return Passed::On(request.bytes().clone());
        }
        let refusal = json!({
            "jsonrpc": "2.0", "id": request.id,
            "error": { "code": -32601, "message": "Denied by Carnet: the client may not be asked this." },
        });
        let own = Verified::own(self.revision, "");
        let bytes = Bytes::from(refusal.to_string());
        let outbound = Outbound { bytes, id: None, headers: &own };
        if let Err(error) = self.channel.link.send(outbound, self.revision).await {
            tracing::debug!(%error, "the server did not take the refusal of its request");
        }
        Passed::Withheld
    }

    /// Whether everything a result asks of the client is permitted.
    async fn may_ask_for_input(
        &self,
        gateway: &Gateway,
        result: &serde_json::Map<String, Value>,
    ) -> bool {
        let requests = match result_kind(self.revision, &self.method, result) {
            Ok(ResultKind::Complete) => return true,
            Ok(ResultKind::InputRequired { requests, .. }) => requests,
            Err(refusal) => {
                tracing::warn!(%refusal, "a result is withheld");
                return false;
            }
        };
        for request in requests {
            if !self.decide_servers(gateway, &request.call, &request.method, Bytes::new()).await {
                return false;
            }
        }
        true
    }

    /// Decides what a server asks of the client. A person is never asked for it.
    async fn decide_servers(
        &self,
        gateway: &Gateway,
        call: &Call,
        method: &str,
        original: Bytes,
    ) -> bool {
        let decision = decision_id();
        let view = gateway.control.view();
        let now = gateway.control.now();
        let resource = view.snapshot.resource(&self.caller.resource);
        let registered = resource.and_then(|resource| {
            let action = call.action(&resource.name).ok()?;
            resource.registered(&action)
        });
        let operation = registered.and_then(|registered| {
            let arguments = call.arguments.clone().try_into().ok()?;
            Operation::new(self.caller.resource.clone(), registered, arguments).ok()
        });
        let Some(operation) = operation else {
            let reason = Reason::Unreviewed;
            let ledger = &gateway.ledger;
            record::rejection(ledger, &decision, &self.caller, method, reason, now.wall);
            return false;
        };
        let attempt = Attempt { operation, original };
        match decide(&view.snapshot, &*view.policy, attempt, self.caller.clone(), now) {
            Decided::Permit(permit) => {
                let control = &*gateway.control;
                let noted = record::permit(control, &gateway.ledger, decision, permit).await;
                let Ok(noted) = noted else { return false };
                let Ok(passage) = Passage::open(control, &gateway.live, noted) else {
                    return false;
                };
                passage.release().await.is_ok()
            }
            Decided::Deny(refused) | Decided::Ask(refused) => {
                record::refusal(&*gateway.control, &gateway.ledger, &decision, &refused);
                false
            }
        }
    }

    /// Goes on as an event stream: the server said something before its answer.
    fn stream_from(
        self,
        gateway: Arc<Gateway>,
        first: Bytes,
        mut messages: Messages,
        released: Released,
    ) -> Response<Body> {
        let (events, response) = body::events();
        tokio::spawn(async move {
            let outcome = match send(&events, &first).await {
                true => self.pump(&gateway, &events, &mut messages, &released.guard).await,
                false => Outcome::Unknown,
            };
            gateway.settle(&released, outcome).await;
        });
        response
    }

    /// A stream that no answer ends.
    pub(crate) fn stream(
        self,
        gateway: Arc<Gateway>,
        mut messages: Messages,
        guard: LiveGuard,
    ) -> Response<Body> {
        let (events, response) = body::events();
        tokio::spawn(async move {
            self.pump(&gateway, &events, &mut messages, &guard).await;
        });
        response
    }

    async fn pump(
        &self,
        gateway: &Gateway,
        events: &mpsc::Sender<Bytes>,
        messages: &mut Messages,
        guard: &LiveGuard,
    ) -> Outcome {
        loop {
            let next = tokio::select! {
                next = self.next(gateway, messages, guard) => next,
                () = events.closed() => return Outcome::Unknown,
            };
            match next {
                Ok(Passed::On(bytes)) => {
                    if !send(events, &bytes).await {
                        return Outcome::Unknown;
                    }
                }
                Ok(Passed::Last { bytes, is_error, .. }) => {
                    send(events, &bytes).await;
                    return Outcome::Answered { bytes: bytes.len() as u64, is_error };
                }
                Ok(Passed::Withheld) => {}
                Ok(Passed::Failed) => return Outcome::Unknown,
                Err(outcome) => return outcome,
            }
        }
    }
}

impl Gateway {
    /// `settle`: what became of an operation.
    async fn settle(&self, released: &Released, outcome: Outcome) {
        record::outcome(&*self.control, &self.ledger, &released.ticket, outcome).await;
    }
}

async fn send(events: &mpsc::Sender<Bytes>, message: &Bytes) -> bool {
    let Ok(text) = std::str::from_utf8(message) else { return false };
    events.send(Event::of(text)).await.is_ok()
}
