//! What a server asks of the client: an operation like any other. A person is never asked for it.

use std::time::Duration;

use bytes::Bytes;
use carnet_core::{Attempt, Decided, DecisionId, Operation, Permit, Reason, decide};
use serde_json::{Map, Value, json};

use super::codec::{
    Call, Classified, Request, ResultKind, Sender, Verified, classify, method, result_kind,
};
use super::exchange::Exchange;
use super::upstream::Outbound;
use crate::door::Passage;
use crate::gateway::{Gateway, decision_id};
use crate::record::{self, About, Outcome, Rejection};

/// How long a server may take the answer to its ping.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

impl Exchange {
    /// A request of the server's own goes on where it is permitted. Where not, the server is told
    /// in its own protocol.
    pub(super) async fn pass_request(&self, gateway: &Gateway, request: &Request) -> Option<Bytes> {
        let shape = method::Shape::Request;
        let classified =
            classify(self.revision, Sender::Server, shape, &request.method, &request.params);
        let is_permitted = match classified {
            // A ping asks for nothing, and what an agent would answer to it nobody decides on.
            Ok(Classified::Relay) => {
                self.answer_empty(request).await;
                return None;
            }
            Ok(Classified::Call(call)) => {
                let bytes = request.bytes().clone();
                self.may_ask(gateway, &call, &request.method, bytes).await
            }
            Ok(_) | Err(_) => false,
        };
        if is_permitted && self.channel.pass_on(request.id.clone()) {
            return Some(request.bytes().clone());
        }
        self.channel.decline(request).await;
        None
    }

    /// Answers a request of the server's that wants to know no more than that somebody is there.
    async fn answer_empty(&self, request: &Request) {
        let body = json!({ "jsonrpc": "2.0", "id": request.id, "result": {} });
        let (bytes, headers) = (Bytes::from(body.to_string()), Verified::own(self.revision, ""));
        let outbound = Outbound { bytes, id: None, headers: &headers, opens: false };
        let sent = self.channel.link.send(outbound, self.revision);
        if !matches!(tokio::time::timeout(ANSWER_TIMEOUT, sent).await, Ok(Ok(_))) {
            tracing::debug!("the server did not take the answer to its ping");
        }
    }

    /// Whether everything a result asks of the client is permitted. What is, may be answered.
    pub(super) async fn may_ask_for_input(
        &self,
        gateway: &Gateway,
        result: &Map<String, Value>,
    ) -> bool {
        let Some(demand) = &self.demand else { return false };
        let (requests, state) = match result_kind(self.revision, &demand.request.method, result) {
            Ok(ResultKind::Complete) => return true,
            Ok(ResultKind::InputRequired { requests, state }) => (requests, state),
            Err(refusal) => {
                tracing::warn!(%refusal, "a result is withheld");
                return false;
            }
        };
        for request in &requests {
            if !self.may_ask(gateway, &request.call, &request.method, Bytes::new()).await {
                return false;
            }
        }
        self.channel.awaited.remember(&demand.call, requests, state);
        true
    }

    /// Decides one thing a server asks.
    async fn may_ask(&self, gateway: &Gateway, call: &Call, method: &str, asked: Bytes) -> bool {
        let decision = decision_id();
        let (view, now) = (gateway.control.view(), gateway.control.now());
        let Some(operation) = self.operation_of(gateway, call) else {
            let rejection = Rejection {
                about: About::Call(call, None),
                ..Rejection::of(&self.caller, method, Reason::Unreviewed)
            };
            if self.channel.may_be_refused() {
                record::rejection(gateway, &decision, &rejection);
            }
            return false;
        };
        let attempt = Attempt { operation, original: asked };
        match decide(&view.snapshot, &*view.policy, attempt, self.caller.clone(), now) {
            Decided::Permit(permit) => gateway.let_ask(permit, decision).await,
            Decided::Deny(refused) | Decided::Ask(refused) => {
                if self.channel.may_be_refused() {
                    record::refusal(gateway, &decision, &refused);
                }
                false
            }
        }
    }

    fn operation_of(&self, gateway: &Gateway, call: &Call) -> Option<Operation> {
        let view = gateway.control.view();
        let resource = view.snapshot.resource(&self.caller.resource)?;
        let registered = resource.registered(&call.action(&resource.name).ok()?)?;
        let arguments = call.arguments.clone().try_into().ok()?;
        Operation::new(self.caller.resource.clone(), registered, arguments).ok()
    }
}

impl Gateway {
    /// Carries a permitted question through the phases: the client is who it is forwarded to.
    async fn let_ask(&self, permit: Permit, decision: DecisionId) -> bool {
        let noted = record::permit(&*self.control, &self.ledger, decision, permit).await;
        let Ok(noted) = noted else { return false };
        let passage = match Passage::open(&*self.control, &self.live, noted) {
            Ok(passage) => passage,
            Err(stopped) => {
                self.give_back(stopped).await;
                return false;
            }
        };
        let (asked, underway) = passage.into_parts();
        let Ok(released) = underway.release().await else { return false };
        let outcome = Outcome::Answered { bytes: asked.len() as u64, is_error: false };
        self.settle(&released, outcome).await;
        true
    }
}
