//! One operation that was permitted: `record`, `forward`, and on to the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use carnet_core::{DecisionId, Permit, Reason};
use carnet_ledger::fault_point;
use http::Response;

use super::channel::Channel;
use super::exchange::Exchange;
use super::operation::{Demand, Turned};
use super::upstream::{Outbound, Reply};
use crate::body::Body;
use crate::door::{Passage, Stopped, Underway};
use crate::filter::Duties;
use crate::gateway::Gateway;
use crate::record::{self, Outcome};

/// What a permit needs before it is recorded.
struct Ready {
    channel: Arc<Channel>,
    duties: Duties,
}

impl Gateway {
    /// Records, forwards and answers.
    pub(super) async fn forward(
        self: Arc<Self>,
        demand: Demand,
        permit: Permit,
        decision: DecisionId,
    ) -> Response<Body> {
        let (ready, passage) = match self.pass(&demand, permit, &decision).await {
            Ok(passed) => passed,
            Err(reason) => return self.say_denied(&demand, &Turned::of(reason, decision)),
        };
        let (original, underway) = passage.into_parts();
        fault_point("forward.before");
        let reply = self.send(&demand, &ready.channel, original, &underway).await;
        fault_point("forward.after");
        Exchange::operation(ready, demand).answer(&self, underway, reply).await
    }

    /// Everything between a permit and the bytes: what cannot be done is found out first, then it
    /// is recorded, then it is checked once more at the door. Where it fails nothing is forwarded.
    async fn pass(
        &self,
        demand: &Demand,
        permit: Permit,
        decision: &DecisionId,
    ) -> Result<(Ready, Passage), Reason> {
        let rejected = |reason| {
            self.reject(demand, &Turned::of(reason, decision.clone()));
            reason
        };
        let ready = self.make_ready(demand, &permit).await.map_err(rejected)?;
        let (control, ledger) = (&*self.control, &self.ledger);
        let noted = record::permit(control, ledger, decision.clone(), permit).await;
        let noted = noted.map_err(rejected)?;
        match Passage::open(control, &self.live, noted) {
            Ok(passage) => Ok((ready, passage)),
            Err(stopped) => Err(self.give_back(stopped).await),
        }
    }

    /// The obligations this gateway can meet, the channel, and the definition as the server offers
    /// it now.
    async fn make_ready(&self, demand: &Demand, permit: &Permit) -> Result<Ready, Reason> {
        let duties = Duties::of(permit.decision())?;
        // A server is not so much as asked where nothing could be recorded.
        if !self.ledger.is_writable() {
            return Err(Reason::LedgerUnavailable);
        }
        let guard = self.register(permit.caller())?;
        let looked = guard.run(async {
            let channel = self.channel(&demand.received).await?;
            let (call, operation) = (&demand.call, permit.operation());
            let same = channel
                .is_as_reviewed(call.kind, &call.item, &operation.pin(), operation.path())
                .await;
            match same {
                Ok(true) => Ok(channel),
                Ok(false) => Err(Reason::Unreviewed),
                Err(error) => {
                    tracing::warn!(%error, "what the upstream offers could not be seen");
                    Err(Reason::UpstreamFailed)
                }
            }
        });
        let channel = looked.await.unwrap_or_else(|| Err(self.standing(permit.caller())))?;
        Ok(Ready { channel, duties })
    }

    /// `forward`, as long as it is neither revoked nor given up.
    async fn send(
        &self,
        demand: &Demand,
        channel: &Channel,
        bytes: Bytes,
        underway: &Underway,
    ) -> Result<Reply, Outcome> {
        let Demand { received, request, .. } = demand;
        let id = Some(request.id.clone());
        let outbound = Outbound { bytes, id, headers: &received.headers, opens: false };
        let is_begun = AtomicBool::new(false);
        let sending = received.unless_given_up(async {
            is_begun.store(true, Ordering::Relaxed);
            channel.link.send(outbound, channel.revision).await
        });
        match underway.guard.run(sending).await {
            Some(Some(Ok(reply))) => Ok(reply),
            Some(Some(Err(error))) => {
                let decision = &underway.ticket.decision;
                tracing::warn!(%error, %decision, "an operation has no answer");
                Err(match error.is_unsent() {
                    true => Outcome::NotForwarded(Reason::UpstreamFailed),
                    false => Outcome::Unknown,
                })
            }
            Some(None) => Err(Outcome::Unknown),
            None if is_begun.load(Ordering::Relaxed) => Err(Outcome::Revoked),
            None => Err(Outcome::NotForwarded(self.standing(&received.caller))),
        }
    }

    /// Records that nothing was forwarded, so that what was set aside is given back.
    pub(super) async fn give_back(&self, stopped: Stopped) -> Reason {
        let outcome = Outcome::NotForwarded(stopped.reason);
        record::outcome(&*self.control, &self.ledger, &stopped.ticket, outcome).await;
        stopped.reason
    }
}

impl Exchange {
    fn operation(ready: Ready, demand: Demand) -> Self {
        Self::answering(ready.channel, ready.duties, demand)
    }
}
