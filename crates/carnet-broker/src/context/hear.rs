//! Taking a security event: once, by the rules, and so that it is not done again after a restart.

use carnet_core::{Digest, Identity, Principal, Snapshot, Timestamp};
use carnet_identity::SpiffeId;
use carnet_ledger::{Kind as LeafKind, Sealed};
use carnet_store::{Key, Kind};
use serde_json::json;

use crate::broker::Broker;
use crate::context::ContextChange;
use crate::context::signal::{Signal, Subject};
use crate::context::transmitter::Transmitter;
use crate::draft::Draft;
use crate::error::BrokerError;
use crate::item::{HEARD_PREFIX, Heard, Item};
use crate::state::State;
use crate::work::sweep::carnet;

/// For how long an event is remembered: twice as long as one is taken after it was issued.
const REMEMBERED_S: i64 = 7_200;
/// The most events that are remembered; one more is told to come again.
const HEARD_MAX: usize = 65_536;
/// How many that need not be remembered any more are forgotten with each that is taken.
const FORGOTTEN_A_STEP: usize = 16;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It was taken, whatever it led to.
    Now,
    /// It was taken before.
    Before,
    /// There is no room to remember it.
    Full,
}

impl Broker {
    /// Takes the event `jti` of `transmitter`. What the rules say comes first: an event is remembered
    /// once it was done, so that one sent again after a crash is done then.
    pub(crate) async fn hear(
        &self,
        transmitter: &Transmitter,
        jti: &str,
        signal: &Signal,
    ) -> Result<Taken, BrokerError> {
        let id = Digest::of(format!("{}\n{jti}", transmitter.issuer).as_bytes());
        let _lane = self.lanes.enter(&("event", &id)).await;
        if let Some(known) = self.remembers(&id) {
            return Ok(known);
        }
        let of = self.concerned(transmitter, signal);
        if let (Some(event), Some(of)) = (signal.event, &of) {
            let details = json!({ "issuer": transmitter.issuer, "jti": jti });
            let change = ContextChange { event, of: of.clone(), details, forgets_copies: false };
            self.change_context(&change, &carnet()?).await?;
        }
        self.transact(&carnet()?, |state, draft, now| {
            let details = json!({
                "issuer": transmitter.issuer, "jti": jti, "type": signal.kind,
                "event": signal.event, "subject_known": of.is_some(),
            });
            let sealed = vec![Sealed { name: "subject".into(), value: signal.sub_id.clone() }];
            let subject = of.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string);
            let (kind, at) = (LeafKind::Node, id.to_string());
            draft.record(kind, &at, "event_taken", false, &details, Some((&subject, sealed)));
            forget_some(state, draft, now);
            draft.put(Item::Heard(Heard { id, at: now }))
        })
        .await?;
        Ok(Taken::Now)
    }

    fn remembers(&self, id: &Digest) -> Option<Taken> {
        let state = self.latest();
        if state.heard.contains_key(id) {
            return Some(Taken::Before);
        }
        (state.heard.len() >= HEARD_MAX).then_some(Taken::Full)
    }

    /// Whom the event is about, where they are known and its transmitter speaks for them.
    fn concerned(&self, transmitter: &Transmitter, signal: &Signal) -> Option<Principal> {
        let view = self.view();
        match signal.subject.as_ref()? {
            Subject::Issued { issuer, subject } if transmitter.speaks_for(issuer) => {
                issued(&view.snapshot, issuer, subject)
            }
            Subject::Workload(id) => {
                let id: SpiffeId = id.parse().ok()?;
                if !transmitter.speaks_for(&id.trust_domain().id()) {
                    return None;
                }
                self.workload(&view.snapshot, &id)
            }
            Subject::Issued { .. } => None,
        }
    }

    fn workload(&self, snapshot: &Snapshot, id: &SpiffeId) -> Option<Principal> {
        let name = match *id.trust_domain() == self.trust_domain {
            true => id.agent_name().filter(|name| snapshot.agents.contains_key(name))?,
            false => snapshot.agent_of(&Identity::Spiffe { id: id.to_string() })?.name.clone(),
        };
        Some(Principal::Agent(name))
    }
}

fn issued(snapshot: &Snapshot, issuer: &str, subject: &str) -> Option<Principal> {
    if let Some(user) = snapshot.user_of(issuer, subject) {
        return Some(Principal::User(user.name.clone()));
    }
    let identity = Identity::Oidc { issuer: issuer.to_owned(), subject: subject.to_owned() };
    snapshot.agent_of(&identity).map(|agent| Principal::Agent(agent.name.clone()))
}

/// Events so old that their tokens would be refused need not be remembered.
fn forget_some(state: &State, draft: &mut Draft<'_>, now: Timestamp) {
    let is_old = |at: &Timestamp| at.plus_s(REMEMBERED_S) < now;
    let old = state.heard.iter().filter(|(_, at)| is_old(at));
    for (id, _) in old.take(FORGOTTEN_A_STEP) {
        draft.delete(Key::new(Kind::Meta, format!("{HEARD_PREFIX}{id}")));
    }
}
