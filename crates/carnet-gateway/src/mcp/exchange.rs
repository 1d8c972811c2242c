//! What a server says in answer: filtered, decided where it asks for something itself, released
//! only when its decision is durable, and closed when it is revoked.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use carnet_core::{Caller, Reason};
use http::Response;
use serde_json::Value;
use tokio::sync::mpsc;

use super::channel::Channel;
use super::codec::{
    Event, Id, Message, Notification, Outcome as Said, Response as Answer, Revision, Sender,
    classify, method,
};
use super::operation::{Demand, Turned};
use super::upstream::{Inbound, Messages, Reply};
use crate::body::{self, Body};
use crate::door::{Released, Stopped, Underway};
use crate::filter::Duties;
use crate::gateway::Gateway;
use crate::live::LiveGuard;
use crate::record::{self, Outcome};

/// How long a server may be silent while an answer is waited for.
const SILENCE_MAX: Duration = Duration::from_secs(600);
/// The one method whose answer comes when the client leaves.
const LISTEN: &str = "subscriptions/listen";

/// One exchange with a server.
pub(crate) struct Exchange {
    pub(super) channel: Arc<Channel>,
    pub(super) caller: Caller,
    pub(super) revision: Revision,
    /// What is answered; nothing on a stream of the server's own.
    pub(super) demand: Option<Demand>,
    duties: Duties,
}

/// What the server says next that is for the client, or how it ends.
enum Spoken {
    /// It goes on, and more may follow.
    On(Bytes),
    /// It goes on, with this status, and ends the exchange.
    Last { bytes: Bytes, status: u16, is_error: bool },
    /// It ends without an answer that could be passed on.
    Ended(Outcome),
}

impl Exchange {
    /// The exchange of one operation.
    pub(super) fn answering(channel: Arc<Channel>, duties: Duties, demand: Demand) -> Self {
        let caller = demand.received.caller.clone();
        let revision = channel.revision;
        Self { channel, caller, revision, demand: Some(demand), duties }
    }

    /// A stream of what a server says by itself.
    pub(crate) fn unsolicited(channel: &Arc<Channel>, caller: Caller) -> Self {
        let (channel, revision) = (Arc::clone(channel), channel.revision);
        Self { channel, caller, revision, demand: None, duties: Duties::default() }
    }

    /// The answer to an operation that was forwarded.
    pub(super) async fn answer(
        self,
        gateway: &Arc<Gateway>,
        underway: Underway,
        reply: Result<Reply, Outcome>,
    ) -> Response<Body> {
        let released = match underway.release().await {
            Ok(released) => released,
            Err(stopped) => return self.withhold(gateway, stopped).await,
        };
        let (spoken, messages) = match reply {
            Ok(Reply::Messages(mut messages)) => {
                (self.spoken(gateway, &mut messages, &released.guard, None).await, Some(messages))
            }
            Ok(Reply::Accepted) => (Spoken::Ended(Outcome::Unknown), None),
            Err(outcome) => (Spoken::Ended(outcome), None),
        };
        match (spoken, messages) {
            (Spoken::Last { bytes, status, is_error }, _) => {
                let outcome = Outcome::Answered { bytes: bytes.len() as u64, is_error };
                gateway.settle(&released, outcome).await;
                body::json(status, bytes)
            }
            (first @ Spoken::On(_), Some(messages)) => {
                self.stream_from(Arc::clone(gateway), first, messages, released)
            }
            (Spoken::Ended(outcome), _) => self.end(gateway, &released, outcome).await,
            (Spoken::On(_), None) => self.end(gateway, &released, Outcome::Unknown).await,
        }
    }

    /// The decision did not become durable: what the server says stays unread.
    async fn withhold(&self, gateway: &Gateway, stopped: Stopped) -> Response<Body> {
        let Stopped { reason, ticket } = stopped;
        record::outcome(&*gateway.control, &gateway.ledger, &ticket, Outcome::Unknown).await;
        let detail = Some("It was sent; its answer is withheld.".to_owned());
        self.say_failed(gateway, Turned { reason, decision: ticket.decision, detail })
    }

    async fn end(
        &self,
        gateway: &Gateway,
        released: &Released,
        outcome: Outcome,
    ) -> Response<Body> {
        gateway.settle(released, outcome).await;
        self.say_failed(gateway, Turned::of(reason_of(outcome), released.ticket.decision.clone()))
    }

    fn say_failed(&self, gateway: &Gateway, turned: Turned) -> Response<Body> {
        match &self.demand {
            Some(demand) => gateway.say_denied(demand, &turned),
            None => body::empty(http::StatusCode::BAD_GATEWAY),
        }
    }

    /// Waits for what is for the client, which reads `events` if it is streamed to already. A
    /// revocation that is there wins over a message.
    async fn spoken(
        &self,
        gateway: &Gateway,
        messages: &mut Messages,
        guard: &LiveGuard,
        events: Option<&mpsc::Sender<Bytes>>,
    ) -> Spoken {
        loop {
            let inbound = tokio::select! {
                biased;
                () = guard.cancelled().cancelled() => return Spoken::Ended(Outcome::Revoked),
                () = self.left(events) => return Spoken::Ended(self.give_up(guard)),
                inbound = messages.recv() => inbound,
                () = self.silence() => None,
            };
            let Some(Ok(inbound)) = inbound else {
                let error = inbound.and_then(Result::err).map(|error| error.to_string());
                let resource = &self.caller.resource;
                tracing::warn!(error, %resource, "the answer was cut off");
                return Spoken::Ended(Outcome::Unknown);
            };
            // Never dropped halfway: what it records gets its outcome.
            let passed = self.pass(gateway, inbound).await;
            if guard.cancelled().is_cancelled() {
                return Spoken::Ended(Outcome::Revoked);
            }
            if let Some(spoken) = passed {
                return spoken;
            }
        }
    }

    /// Resolves when the client no longer takes an answer.
    async fn left(&self, events: Option<&mpsc::Sender<Bytes>>) {
        match (events, &self.demand) {
            (Some(events), _) => events.closed().await,
            (None, Some(demand)) if self.revision.is_stateless() => demand.received.gone().await,
            (None, _) => pending().await,
        }
    }

    /// What an exchange comes to whose client left: where that is because its stream was revoked,
    /// that.
    fn give_up(&self, guard: &LiveGuard) -> Outcome {
        if guard.cancelled().is_cancelled() {
            return Outcome::Revoked;
        }
        if let Some(id) = self.id().filter(|_| self.revision.is_stateless()) {
            self.channel.link.give_up(id);
        }
        Outcome::Unknown
    }

    async fn silence(&self) {
        match &self.demand {
            Some(demand) if demand.request.method != LISTEN => {
                tokio::time::sleep(SILENCE_MAX).await;
            }
            _ => pending().await,
        }
    }

    fn id(&self) -> Option<&Id> {
        self.demand.as_ref().map(|demand| &demand.request.id)
    }

    /// What becomes of one message; nothing where it stays here.
    async fn pass(&self, gateway: &Gateway, inbound: Inbound) -> Option<Spoken> {
        match inbound.message {
            Message::Response(answer) => match (&answer.id, self.id()) {
                (Some(id), Some(ours)) if id == ours => {
                    Some(self.pass_answer(gateway, &answer, inbound.status).await)
                }
                // An error that names no request ends the one there is.
                (None, Some(_)) => Some(Spoken::Ended(Outcome::Unknown)),
                // An answer to something this client did not ask is nobody's.
                _ => None,
            },
            Message::Notification(notification) => self.pass_notification(&notification),
            Message::Request(request) => self.pass_request(gateway, &request).await.map(Spoken::On),
        }
    }

    async fn pass_answer(&self, gateway: &Gateway, answer: &Answer, status: u16) -> Spoken {
        let is_error = match &answer.outcome {
            Said::Failure(_) => true,
            Said::Result(result) => {
                if !self.may_ask_for_input(gateway, result).await {
                    return Spoken::Ended(Outcome::Withheld);
                }
                result.get("isError") == Some(&Value::Bool(true))
            }
        };
        match self.duties.apply(answer.bytes().clone()) {
            Some(bytes) => {
                Spoken::Last { bytes, status: status_for(self.revision, status), is_error }
            }
            None => Spoken::Ended(Outcome::Withheld),
        }
    }

    fn pass_notification(&self, notification: &Notification) -> Option<Spoken> {
        let shape = method::Shape::Notification;
        let (name, params) = (&notification.method, &notification.params);
        classify(self.revision, Sender::Server, shape, name, params).ok()?;
        self.duties.apply(notification.bytes().clone()).map(Spoken::On)
    }

    /// Goes on as an event stream: the server said something before its answer.
    fn stream_from(
        self,
        gateway: Arc<Gateway>,
        first: Spoken,
        mut messages: Messages,
        released: Released,
    ) -> Response<Body> {
        let (events, response) = body::events(released.guard.cancelled().clone());
        tokio::spawn(async move {
            let guard = &released.guard;
            let outcome = self.pump(&gateway, first, &events, &mut messages, guard).await;
            gateway.settle(&released, outcome).await;
            self.say_ended(&gateway, &events, &released, outcome).await;
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
        let (events, response) = body::events(guard.cancelled().clone());
        tokio::spawn(async move {
            let first = self.spoken(&gateway, &mut messages, &guard, Some(&events)).await;
            self.pump(&gateway, first, &events, &mut messages, &guard).await;
        });
        response
    }

    async fn pump(
        &self,
        gateway: &Gateway,
        first: Spoken,
        events: &mpsc::Sender<Bytes>,
        messages: &mut Messages,
        guard: &LiveGuard,
    ) -> Outcome {
        let mut spoken = first;
        loop {
            let (bytes, last) = match spoken {
                Spoken::On(bytes) => (bytes, None),
                Spoken::Last { bytes, is_error, .. } => {
                    let outcome = Outcome::Answered { bytes: bytes.len() as u64, is_error };
                    (bytes, Some(outcome))
                }
                Spoken::Ended(outcome) => return outcome,
            };
            let sent = guard.run(send(events, &bytes)).await;
            match (sent, last) {
                (None, _) => return Outcome::Revoked,
                (Some(_), Some(outcome)) => return outcome,
                (Some(false), None) => return self.give_up(guard),
                (Some(true), None) => {}
            }
            spoken = self.spoken(gateway, messages, guard, Some(events)).await;
        }
    }

    /// Ends a stream that has no answer with a refusal, so that nobody waits for one.
    async fn say_ended(
        &self,
        gateway: &Gateway,
        events: &mpsc::Sender<Bytes>,
        released: &Released,
        outcome: Outcome,
    ) {
        let Some(demand) = &self.demand else { return };
        if matches!(outcome, Outcome::Answered { .. } | Outcome::Revoked) {
            return;
        }
        let turned = Turned::of(reason_of(outcome), released.ticket.decision.clone());
        let denial = gateway.denial(demand, &turned);
        released.guard.run(send(events, &denial.body)).await;
    }
}

impl Gateway {
    /// `settle`: what became of an operation.
    pub(super) async fn settle(&self, released: &Released, outcome: Outcome) {
        record::outcome(&*self.control, &self.ledger, &released.ticket, outcome).await;
    }
}

/// What a caller is told of an operation without an answer. What was sent is not called denied,
/// whatever ended it.
const fn reason_of(outcome: Outcome) -> Reason {
    match outcome {
        Outcome::NotForwarded(reason) => reason,
        Outcome::Withheld => Reason::AnswerWithheld,
        Outcome::Answered { .. } | Outcome::Unknown | Outcome::Revoked => Reason::OutcomeUnknown,
    }
}

/// The statuses that mean something about the message itself go on. What a server thinks of our
/// credential is not for the client.
pub(super) fn status_for(revision: Revision, status: u16) -> u16 {
    match status {
        400 | 404 if revision.is_stateless() => status,
        _ => 200,
    }
}

async fn send(events: &mpsc::Sender<Bytes>, message: &Bytes) -> bool {
    let Ok(text) = std::str::from_utf8(message) else { return false };
    events.send(Event::of(text)).await.is_ok()
}
