//! What a caller is told of a refusal, and how it is recorded.

use carnet_core::{
    ApprovalId, Caller, DecisionId, Reason, Registered, Resource, Snapshot, View, check_caller,
    reachable,
};
use http::Response;
use std::sync::Arc;

use super::awaited::OWN_STATE_PREFIX;
use super::codec::{Answer, Ask, Capabilities, Denial, Request, Revision, asked, denied};
use super::operation::{Demand, Turned};
use crate::body::{self, Body};
use crate::gateway::Gateway;
use crate::record::{self, About, Rejection};

/// When an agent should look again at a question that waits.
const RETRY_AFTER_S: u32 = 5;

impl Gateway {
    /// Says no, in the protocol's own form.
    pub(super) fn say_denied(&self, demand: &Demand, turned: &Turned) -> Response<Body> {
        respond(self.denial(demand, turned))
    }

    /// The answer to an operation that was refused.
    pub(super) fn denial(&self, demand: &Demand, turned: &Turned) -> Answer {
        let visible = self.visible(demand);
        let mut denial = Denial::of(turned.reason, &turned.decision);
        let address = visible.as_ref().map(|registered| {
            self.identifier.address(registered.path, &demand.received.caller.resource)
        });
        match (turned.reason, &address) {
            // The other path's address is what the agent needs.
            (Reason::WrongPath, Some(address)) => denial.address = Some(address),
            // Whether there is such an operation is not for everybody to know.
            (Reason::WrongPath | Reason::ArgumentsInvalid, None) | (Reason::Unreviewed, _) => {
                denial.reason = Reason::NotCovered;
            }
            (Reason::UpstreamFailed, _) => denial.detail = Some("Nothing was sent."),
            _ => denial.detail = turned.detail.as_deref(),
        }
        let has_schema = has_output_schema(visible.as_ref());
        let Demand { received, request, .. } = demand;
        denied(received.revision, &request.method, has_schema, &request.id, &denial)
    }

    /// Says no to what is no operation, and records it.
    pub(super) fn deny_plainly(
        &self,
        caller: &Caller,
        revision: Revision,
        request: &Request,
        reason: Reason,
    ) -> Response<Body> {
        let decision = self.reject_method(caller, &request.method, reason);
        let denial = Denial::of(reason, &decision);
        respond(denied(revision, &request.method, false, &request.id, &denial))
    }

    /// Says that a person must approve first.
    pub(super) fn say_asked(
        &self,
        demand: &Demand,
        approval: &ApprovalId,
        decision: &DecisionId,
    ) -> Response<Body> {
        let Demand { received, request, .. } = demand;
        let state = format!("{OWN_STATE_PREFIX}{approval}");
        let capabilities = match &received.session {
            Some(session) => session.capabilities,
            None => Capabilities::declared(received.revision, &request.params).unwrap_or_default(),
        };
        let ask = Ask {
            reason: Reason::ApprovalNeeded.code(),
            decision,
            approval,
            retry_after_s: RETRY_AFTER_S,
            state: &state,
            url: None,
            capabilities,
        };
        let has_schema = has_output_schema(self.visible(demand).as_ref());
        respond(asked(received.revision, &request.method, has_schema, &request.id, &ask))
    }

    /// Records that the gateway itself refused, whatever policy said: nothing was forwarded.
    pub(super) fn reject(&self, demand: &Demand, turned: &Turned) {
        let Demand { received, request, call } = demand;
        let action = self.registered(received, call).ok().map(|(_, action)| action);
        let rejection = Rejection {
            about: About::Call(call, action.as_ref()),
            problem: turned.detail.as_deref(),
            ..Rejection::of(&received.caller, &request.method, turned.reason)
        };
        self.wear(&received.caller, turned.reason);
        record::rejection(self, &turned.decision, &rejection);
    }

    fn reject_method(&self, caller: &Caller, method: &str, reason: Reason) -> DecisionId {
        let decision = crate::gateway::decision_id();
        let rejection = Rejection::of(caller, method, reason);
        self.wear(caller, reason);
        record::rejection(self, &decision, &rejection);
        decision
    }

    /// Why `caller` is not live any more, as far as that can be seen.
    pub(super) fn standing(&self, caller: &Caller) -> Reason {
        let view = self.control.view();
        let standing = check_caller(&view.snapshot, caller, self.control.now());
        standing.err().unwrap_or(Reason::NotCovered)
    }

    /// The review of what is called, where the task may know of it.
    fn visible(&self, demand: &Demand) -> Option<Registered> {
        let (registered, _) = self.registered(&demand.received, &demand.call).ok()?;
        self.is_within_reach(&demand.received.caller, &registered).then_some(registered)
    }

    /// Whether the task can reach `registered` on the path it travels on.
    pub(super) fn is_within_reach(&self, caller: &Caller, registered: &Registered) -> bool {
        let view = self.control.view();
        let Some(whole) = view.snapshot.resource(&caller.resource) else { return false };
        // The resource as if it had this one operation: policy is asked of that one alone.
        let one = Resource {
            name: whole.name.clone(),
            environment: whole.environment.clone(),
            labels: whole.labels.clone(),
            upstream: whole.upstream.clone(),
            operations: [(registered.action.clone(), registered.clone())].into(),
        };
        let resources = Arc::new([(one.name.clone(), Arc::new(one))].into());
        let snapshot = Snapshot { resources, ..view.snapshot.clone() };
        let view = View { snapshot, policy: Arc::clone(&view.policy) };
        let (path, now) = (registered.path, self.control.now().wall);
        !reachable(&view, &caller.task, &caller.resource, path, now).is_empty()
    }
}

fn has_output_schema(registered: Option<&Registered>) -> bool {
    registered.is_some_and(|registered| registered.definition.get("outputSchema").is_some())
}

pub(super) fn respond(answer: Answer) -> Response<Body> {
    body::json(answer.status, answer.body)
}
