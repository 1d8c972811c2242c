//! One operation through the seven phases.

use std::sync::Arc;

use bytes::Bytes;
use carnet_core::{
    ActionName, ApprovalId, ApprovalState, Attempt, Decided, DecisionId, Operation, Permit, Reason,
    Refused, Registered, decide,
};
use http::Response;

use super::codec::{Ask, Call, Request, asked};
use super::endpoint::{Received, respond};
use super::exchange::Exchange;
use super::upstream::Outbound;
use crate::body::Body;
use crate::control::Question;
use crate::door::Passage;
use crate::filter::Duties;
use crate::gateway::{Gateway, decision_id};
use crate::record::{self, Outcome};

/// What the opaque state of our own questions begins with: a retry that carries it was never the
/// server's, and nothing in it counts.
const OWN_STATE_PREFIX: &str = "carnet:";
/// When an agent should look again at a question that waits.
const RETRY_AFTER_S: u32 = 5;

/// An operation that was refused on the way, and why.
struct Turned {
    reason: Reason,
    decision: DecisionId,
}

impl Gateway {
    /// Decides one operation and carries it out.
    pub(crate) async fn operate(
        self: &Arc<Self>,
        received: Received,
        request: Request,
        call: Call,
    ) -> Response<Body> {
        let waited = self.decide_once(&received, &request, &call).await;
        let outcome = match waited {
            // A person answered while the call was held: it is decided again, never resumed.
            Verdict::Asked(Some(approval), refused, decision) => {
                match self.control.await_answer(&approval, self.approval_hold).await {
                    Ok(ApprovalState::Approved) => {
                        self.decide_once(&received, &request, &call).await
                    }
                    _ => Verdict::Asked(Some(approval), refused, decision),
                }
            }
            other => other,
        };
        match outcome {
            Verdict::Permitted(permit, decision) => {
                self.forward(received, request, call, *permit, decision).await
            }
            Verdict::Asked(Some(approval), _, decision) => {
                self.say_asked(&received, &request, &call, &approval, &decision)
            }
            Verdict::Asked(None, _, decision) => {
                let reason = Reason::ControlUnavailable;
                self.say_denied(&received, &request, &call, &Turned { reason, decision })
            }
            Verdict::Denied(turned) => self.say_denied(&received, &request, &call, &turned),
        }
    }

    /// `classify` and `decide`, once, with what must be recorded of a refusal.
    async fn decide_once(&self, received: &Received, request: &Request, call: &Call) -> Verdict {
        let decision = decision_id();
        let attempt = match self.attempt(received, request, call) {
            Ok(attempt) => attempt,
            Err(reason) => {
                let at = self.control.now().wall;
                let caller = &received.caller;
                record::rejection(&self.ledger, &decision, caller, &request.method, reason, at);
                return Verdict::Denied(Turned { reason, decision });
            }
        };
        let view = self.control.view();
        let caller = received.caller.clone();
        let now = self.control.now();
        match decide(&view.snapshot, &*view.policy, attempt, caller, now) {
            Decided::Permit(permit) => Verdict::Permitted(Box::new(permit), decision),
            Decided::Deny(refused) => {
                record::refusal(&*self.control, &self.ledger, &decision, &refused);
                let reason = refused.decision.reasons.first().copied();
                let reason = reason.unwrap_or(Reason::NotCovered);
                Verdict::Denied(Turned { reason, decision })
            }
            Decided::Ask(refused) => self.ask(decision, refused).await,
        }
    }

    /// The operation and its original bytes. What cannot be parsed is refused.
    fn attempt(
        &self,
        received: &Received,
        request: &Request,
        call: &Call,
    ) -> Result<Attempt, Reason> {
        let (registered, action) = self.registered(received, call)?;
        let schema = self
            .schemas
            .compiled(call.kind, registered.pin, &registered.definition)
            .map_err(|error| {
                tracing::warn!(%error, %action, "the reviewed schema cannot be used");
                Reason::Unreviewed
            })?;
        schema.check(&call.arguments).map_err(|error| {
            tracing::info!(%error, %action, "the arguments do not fit the reviewed schema");
            Reason::ArgumentsInvalid
        })?;
        let arguments = call.arguments.clone().try_into().map_err(|_| Reason::ArgumentsInvalid)?;
        let resource = received.caller.resource.clone();
        let operation = Operation::new(resource, &registered, arguments)
            .map_err(|_| Reason::ArgumentsInvalid)?;
        Ok(Attempt { operation, original: original(request, call)? })
    }

    fn registered(
        &self,
        received: &Received,
        call: &Call,
    ) -> Result<(Registered, ActionName), Reason> {
        let view = self.control.view();
        let resource =
            view.snapshot.resource(&received.caller.resource).ok_or(Reason::Unreviewed)?;
        let action = call.action(&resource.name).map_err(|_| Reason::Unreviewed)?;
        let registered = resource.registered(&action).ok_or(Reason::Unreviewed)?;
        Ok((registered.clone(), action))
    }

    async fn ask(&self, decision: DecisionId, refused: Refused) -> Verdict {
        record::refusal(&*self.control, &self.ledger, &decision, &refused);
        let Some(terms) = refused.decision.terms.clone() else {
            return Verdict::Denied(Turned { reason: Reason::PolicyFailed, decision });
        };
        let cover = refused.decision.cover.as_ref();
        let draws_on = cover.filter(|cover| cover.wants_approval || !cover.charges.is_empty());
        let question = Question {
            decision: decision.clone(),
            task: refused.caller.task.clone(),
            agent: refused.caller.agent.clone(),
            instance: refused.caller.instance.clone(),
            operation: refused.operation.clone(),
            terms,
            policy: refused.decision.policy,
            draws_on: draws_on.map(|cover| cover.grant.clone()),
        };
        match self.control.ask(question).await {
            Ok(approval) => Verdict::Asked(Some(approval), Box::new(refused), decision),
            Err(error) => {
                tracing::info!(%error, %decision, "the question was not put");
                Verdict::Denied(Turned { reason: error.reason, decision })
            }
        }
    }

    /// `record`, `forward`, `filter`, `settle`.
    async fn forward(
        self: &Arc<Self>,
        received: Received,
        request: Request,
        call: Call,
        permit: Permit,
        decision: DecisionId,
    ) -> Response<Body> {
        let turned = |reason| Turned { reason, decision: decision.clone() };
        let duties = match Duties::of(permit.decision()) {
            Ok(duties) => duties,
            Err(reason) => return self.stop(&received, &request, &call, turned(reason)),
        };
        let channel = match self.channel(&received).await {
            Ok(channel) => channel,
            Err(reason) => return self.stop(&received, &request, &call, turned(reason)),
        };
        match channel.is_as_reviewed(call.kind, &call.item, &permit.operation().pin()).await {
            Ok(true) => {}
            Ok(false) => {
                let reason = Reason::Unreviewed;
                return self.stop(&received, &request, &call, turned(reason));
            }
            Err(error) => {
                tracing::warn!(%error, "what the upstream offers could not be seen");
                let reason = Reason::UpstreamFailed;
                return self.stop(&received, &request, &call, turned(reason));
            }
        }
        let noted = record::permit(&*self.control, &self.ledger, decision.clone(), permit).await;
        let noted = match noted {
            Ok(noted) => noted,
            Err(reason) => return self.stop(&received, &request, &call, turned(reason)),
        };
        let mut passage = match Passage::open(&*self.control, &self.live, noted) {
            Ok(passage) => passage,
            Err(stopped) => {
                let outcome = Outcome::NotForwarded(stopped.reason);
                record::outcome(&*self.control, &self.ledger, &stopped.ticket, outcome).await;
                return self.say_denied(&received, &request, &call, &turned(stopped.reason));
            }
        };
        let outbound = Outbound {
            bytes: std::mem::take(&mut passage.original),
            id: Some(request.id.clone()),
            headers: &received.headers,
        };
        let cancelled = passage.guard.cancelled().clone();
        let reply = tokio::select! {
            reply = channel.link.send(outbound, received.revision) => reply.map_err(|error| {
                tracing::warn!(%error, %decision, "an operation was forwarded and its answer is not known");
                Outcome::Unknown
            }),
            () = cancelled.cancelled() => Err(Outcome::Revoked),
        };
        let exchange = Exchange::operation(channel, &received, &request, duties);
        exchange.answer(self, received, request, &call, passage, reply).await
    }

    /// Refuses what policy permitted: the gateway itself cannot go on. Nothing was forwarded.
    fn stop(
        &self,
        received: &Received,
        request: &Request,
        call: &Call,
        turned: Turned,
    ) -> Response<Body> {
        let at = self.control.now().wall;
        let caller = &received.caller;
        let method = &request.method;
        record::rejection(&self.ledger, &turned.decision, caller, method, turned.reason, at);
        self.say_denied(received, request, call, &turned)
    }

    fn say_denied(
        &self,
        received: &Received,
        request: &Request,
        call: &Call,
        turned: &Turned,
    ) -> Response<Body> {
        let registered = self.registered(received, call).ok();
        let reason = match (turned.reason, &registered) {
            // The other path's address is what the agent needs.
            (Reason::WrongPath, Some((registered, _))) => {
                let address = self.identifier.address(registered.path, &received.caller.resource);
                format!("{} (it travels on {address})", Reason::WrongPath)
            }
            // Whether there is such an operation is not for everybody to know.
            (Reason::Unreviewed, _) => Reason::NotCovered.to_string(),
            (reason, _) => reason.to_string(),
        };
        let has_schema = has_output_schema(registered.as_ref());
        self.deny(received, request, &reason, &turned.decision, has_schema)
    }

    fn say_asked(
        &self,
        received: &Received,
        request: &Request,
        call: &Call,
        approval: &ApprovalId,
        decision: &DecisionId,
    ) -> Response<Body> {
        let registered = self.registered(received, call).ok();
        let state = format!("{OWN_STATE_PREFIX}{approval}");
        let ask = Ask {
            reason: Reason::ApprovalNeeded.code(),
            decision,
            approval,
            retry_after_s: RETRY_AFTER_S,
            state: &state,
            url: None,
            capabilities: Self::capabilities(received, request),
        };
        let has_schema = has_output_schema(registered.as_ref());
        respond(asked(received.revision, &request.method, has_schema, &request.id, &ask))
    }
}

enum Verdict {
    Permitted(Box<Permit>, DecisionId),
    Asked(Option<ApprovalId>, Box<Refused>, DecisionId),
    Denied(Turned),
}

/// The bytes to forward: as received, without the traces of a question of our own.
fn original(request: &Request, call: &Call) -> Result<Bytes, Reason> {
    let state = call.retry.as_ref().and_then(|retry| retry.state.as_deref());
    match state {
        Some(state) if state.starts_with(OWN_STATE_PREFIX) => {
            request.bytes_without_retry().map_err(|_| Reason::Malformed)
        }
        _ => Ok(request.bytes().clone()),
    }
}

fn has_output_schema(registered: Option<&(Registered, ActionName)>) -> bool {
    registered.is_some_and(|(registered, _)| registered.definition.get("outputSchema").is_some())
}
