//! One operation, up to its verdict.

use std::sync::Arc;

use bytes::Bytes;
use carnet_core::{
    ActionName, ApprovalId, ApprovalState, Attempt, Decided, DecisionId, Operation, Permit, Reason,
    Refused, Registered, decide,
};
use http::Response;

use super::awaited::{check_retry, is_own};
use super::codec::{Call, Request};
use super::endpoint::{Heard, Received};
use crate::body::Body;
use crate::control::Question;
use crate::gateway::{Gateway, decision_id};
use crate::record;

/// What a client demands: a request, what it was classified as, and whose it is.
#[derive(Debug)]
pub(crate) struct Demand {
    pub(crate) received: Received,
    pub(crate) request: Request,
    pub(crate) call: Call,
}

/// An operation that was refused on the way, and why.
pub(super) struct Turned {
    pub(super) reason: Reason,
    pub(super) decision: DecisionId,
    /// What else its caller may know.
    pub(super) detail: Option<String>,
}

impl Turned {
    pub(super) const fn of(reason: Reason, decision: DecisionId) -> Self {
        Self { reason, decision, detail: None }
    }
}

/// What never became an operation: why, and what is wrong with it, without its values.
#[derive(Debug)]
pub(super) struct Unfit {
    reason: Reason,
    problem: String,
}

impl Unfit {
    fn of(reason: Reason, problem: &dyn std::fmt::Display) -> Self {
        Self { reason, problem: problem.to_string() }
    }
}

/// What was decided.
enum Verdict {
    Permitted(Box<Permit>, DecisionId),
    Asked(ApprovalId, DecisionId),
    Denied(Turned),
}

impl Gateway {
    /// Decides one operation and carries it out.
    pub(crate) async fn operate(self: Arc<Self>, demand: Demand) -> Response<Body> {
        let Demand { received, request, call } = &demand;
        let channel = self.known_channel(received);
        let awaited = channel.as_ref().map(|channel| &channel.awaited);
        if let Err(refusal) = check_retry(awaited, received.revision, call) {
            return self.refuse(&received.caller, Heard::request(request), &refusal);
        }
        let verdict = match self.decide_once(&demand).await {
            Verdict::Asked(approval, decision) => self.hold(&demand, approval, decision).await,
            verdict => verdict,
        };
        match verdict {
            Verdict::Permitted(permit, decision) => self.forward(demand, *permit, decision).await,
            Verdict::Asked(approval, decision) => self.say_asked(&demand, &approval, &decision),
            Verdict::Denied(turned) => self.say_denied(&demand, &turned),
        }
    }

    /// Waits a while for people. When they said yes it is decided again, never resumed; nothing is
    /// done for a client that left.
    async fn hold(&self, demand: &Demand, approval: ApprovalId, decision: DecisionId) -> Verdict {
        let answered = tokio::select! {
            answered = self.control.await_answer(&approval, self.approval_hold) => answered,
            () = demand.received.gone() => return Verdict::Asked(approval, decision),
        };
        match answered {
            Ok(ApprovalState::Approved) if !demand.received.is_gone() => {
                self.decide_once(demand).await
            }
            Ok(ApprovalState::Denied) => {
                // A decision of its own: what was recorded is that a person was asked.
                let detail = Some(format!("A person was asked under {decision}."));
                let turned =
                    Turned { reason: Reason::ApprovalDenied, decision: decision_id(), detail };
                self.reject(demand, &turned);
                Verdict::Denied(turned)
            }
            _ => Verdict::Asked(approval, decision),
        }
    }

    /// `classify` and `decide`, once, with what must be recorded of a refusal.
    async fn decide_once(&self, demand: &Demand) -> Verdict {
        let decision = decision_id();
        let attempt = match self.attempt(demand) {
            Ok(attempt) => attempt,
            Err(Unfit { reason, problem }) => {
                let turned = Turned { reason, decision, detail: Some(problem) };
                self.reject(demand, &turned);
                return Verdict::Denied(turned);
            }
        };
        let view = self.control.view();
        let caller = demand.received.caller.clone();
        match decide(&view.snapshot, &*view.policy, attempt, caller, self.control.now()) {
            Decided::Permit(permit) => Verdict::Permitted(Box::new(permit), decision),
            Decided::Deny(refused) => {
                record::refusal(self, &decision, &refused);
                let reason = refused.decision.reasons.first().copied();
                let reason = reason.unwrap_or(Reason::NotCovered);
                self.wear(&refused.caller, reason);
                Verdict::Denied(Turned::of(reason, decision))
            }
            Decided::Ask(refused) => self.ask(decision, refused).await,
        }
    }

    /// The operation and its original bytes. What cannot be parsed is refused.
    fn attempt(&self, demand: &Demand) -> Result<Attempt, Unfit> {
        let Demand { received, request, call } = demand;
        let (registered, action) = self.registered(received, call)?;
        let schema = self
            .schemas
            .compiled(call.kind, registered.pin, &registered.definition)
            .map_err(|error| {
                tracing::warn!(%error, %action, "the reviewed schema cannot be used");
                Unfit::of(Reason::Unreviewed, &error)
            })?;
        let invalid = |error: &dyn std::fmt::Display| {
            tracing::info!(%error, %action, "the arguments do not fit the reviewed schema");
            Unfit::of(Reason::ArgumentsInvalid, error)
        };
        schema.check(&call.arguments).map_err(|error| invalid(&error))?;
        let arguments = call.arguments.clone().try_into().map_err(|error| invalid(&error))?;
        let resource = received.caller.resource.clone();
        let operation =
            Operation::new(resource, &registered, arguments).map_err(|error| invalid(&error))?;
        Ok(Attempt { operation, original: original(request, call)? })
    }

    /// The review of what is called, where there is one.
    pub(super) fn registered(
        &self,
        received: &Received,
        call: &Call,
    ) -> Result<(Registered, ActionName), Unfit> {
        let unreviewed = |problem: &str| Unfit::of(Reason::Unreviewed, &problem);
        let view = self.control.view();
        let resource = view.snapshot.resource(&received.caller.resource);
        let resource = resource.ok_or_else(|| unreviewed("the resource is not registered"))?;
        let action = call.action(&resource.name);
        let action = action.map_err(|error| Unfit::of(Reason::Unreviewed, &error))?;
        let registered = resource.registered(&action);
        let registered = registered.ok_or_else(|| unreviewed("nobody reviewed it"))?;
        Ok((registered.clone(), action))
    }

    async fn ask(&self, decision: DecisionId, refused: Refused) -> Verdict {
        record::refusal(self, &decision, &refused);
        self.wear(&refused.caller, Reason::ApprovalNeeded);
        let Some(terms) = refused.decision.terms else {
            return Verdict::Denied(Turned::of(Reason::PolicyFailed, decision));
        };
        let cover = refused.decision.cover;
        let draws_on = cover.filter(|cover| cover.wants_approval || !cover.charges.is_empty());
        let question = Question {
            decision: decision.clone(),
            task: refused.caller.task,
            agent: refused.caller.agent,
            instance: refused.caller.instance,
            operation: refused.operation,
            terms,
            policy: refused.decision.policy,
            draws_on: draws_on.map(|cover| cover.grant),
        };
        match self.control.ask(question).await {
            Ok(approval) => Verdict::Asked(approval, decision),
            Err(error) => {
                tracing::info!(%error, %decision, "the question was not put");
                Verdict::Denied(Turned::of(error.reason, decision))
            }
        }
    }
}

/// The bytes to forward: as received, without the traces of a question of our own.
fn original(request: &Request, call: &Call) -> Result<Bytes, Unfit> {
    match call.retry.as_ref().is_some_and(is_own) {
        true => request
            .bytes_without_retry()
            .map_err(|_| Unfit::of(Reason::Malformed, &"the answer to Carnet's question stays in")),
        false => Ok(request.bytes().clone()),
    }
}
