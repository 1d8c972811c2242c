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
/// The most events that are remembered, of all transmitters together.
pub(crate) const HEARD_MAX: usize = 65_536;
/// How many commits may be made to forget what is old before there is room for one more.
const STEPS_MAX: usize = 10_000;
/// How many that need not be remembered any more are forgotten with each that is taken.
const FORGOTTEN_A_STEP: usize = 16;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It was taken, whatever it led to.
    Now,
    /// It was taken before.
    Before,
    /// It was done, and there is no room to remember that it was.
    Full,
}

impl Broker {
    /// Takes the event `jti` of `transmitter`. What the rules say comes first: an event is remembered
    /// once it was done, so that one sent again after a crash is done then. Of one transmitter `share`
    /// events are remembered: none takes the room of another.
    pub(crate) async fn hear(
        &self,
        transmitter: &Transmitter,
        jti: &str,
        signal: &Signal,
        share: usize,
    ) -> Result<Taken, BrokerError> {
        let id = id_of(transmitter, jti);
        let _lane = self.lanes.enter(&("event", &id)).await;
        if self.has_heard(transmitter, jti) {
            return Ok(Taken::Before);
        }
        let of = self.concerned(transmitter, signal);
        if let (Some(event), Some(of)) = (signal.event, &of) {
            let details = json!({ "issuer": transmitter.issuer, "jti": jti });
            let change = ContextChange { event, of: of.clone(), details, forgets_copies: false };
            self.change_context(&change, &carnet()?).await?;
        }
        let from = Digest::of(transmitter.issuer.as_bytes());
        if !self.make_room(&from, share).await? {
            return Ok(Taken::Full);
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
            forget_some(state, draft, now, None, FORGOTTEN_A_STEP);
            draft.put(Item::Heard(Heard { id, at: now, from: Some(from) }))
        })
        .await?;
        Ok(Taken::Now)
    }

    /// Whether the event `jti` of `transmitter` was taken before.
    pub(crate) fn has_heard(&self, transmitter: &Transmitter, jti: &str) -> bool {
        self.latest().heard.contains_key(&id_of(transmitter, jti))
    }

    /// Whether one more event of `from` can be remembered, once what is old of it is forgotten.
    async fn make_room(&self, from: &Digest, share: usize) -> Result<bool, BrokerError> {
        for _ in 0..STEPS_MAX {
            if count_of(&self.latest(), from) < share {
                return Ok(true);
            }
            let forget = |state: &State, draft: &mut Draft<'_>, now| {
                Ok(forget_some(state, draft, now, Some(from), usize::MAX))
            };
            let (forgotten, _) = self.transact(&carnet()?, forget).await?;
            if forgotten == 0 {
                return Ok(false);
            }
        }
        Ok(false)
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

fn id_of(transmitter: &Transmitter, jti: &str) -> Digest {
    Digest::of(format!("{}\n{jti}", transmitter.issuer).as_bytes())
}

fn count_of(state: &State, from: &Digest) -> usize {
    state.heard.values().filter(|heard| heard.from.as_ref() == Some(from)).count()
}

/// Forgets events so old that their tokens would be refused: at most so many, those of one
/// transmitter or of all. Tells how many.
fn forget_some(
    state: &State,
    draft: &mut Draft<'_>,
    now: Timestamp,
    from: Option<&Digest>,
    at_most: usize,
) -> usize {
    let is_old = |heard: &&Heard| heard.at.plus_s(REMEMBERED_S) < now;
    let is_its = |heard: &&Heard| from.is_none_or(|from| heard.from.as_ref() == Some(from));
    let mut forgotten = 0;
    for heard in state.heard.values().filter(is_old).filter(is_its).take(at_most) {
        if !draft.has_room() {
            break;
        }
        draft.delete(Key::new(Kind::Meta, format!("{HEARD_PREFIX}{}", heard.id)));
        forgotten += 1;
    }
    forgotten
}

#[cfg(test)]
mod tests {
    use carnet_core::{ContextEvent, TaskState};
    use serde_json::Value;

    use super::*;
    use crate::context::transmitter::KeySource;
    use crate::oauth::fixture::{House, ISSUER, agent};

    fn transmitter(issuer: &str) -> Transmitter {
        Transmitter {
            issuer: issuer.into(),
            keys: KeySource::File("none".into()),
            audience: ISSUER.into(),
            speaks_for: vec!["spiffe://carnet.example".into()],
        }
    }

    fn signal() -> Signal {
        Signal {
            kind: "risk".into(),
            event: Some(ContextEvent::RiskLevelHigh),
            subject: Some(Subject::Workload("spiffe://carnet.example/agent/mail-agent".into())),
            sub_id: Value::Null,
        }
    }

    /// Remembers `count` events of `from` that were taken so long ago.
    async fn remember(house: &House, from: &Transmitter, count: usize, s_ago: i64) {
        let put = |_: &State, draft: &mut Draft<'_>, now: Timestamp| {
            for n in 0..count {
                let (id, at) = (id_of(from, &format!("{s_ago}/{n}")), now.plus_s(-s_ago));
                let from = Some(Digest::of(from.issuer.as_bytes()));
                draft.put(Item::Heard(Heard { id, at, from }))?;
            }
            Ok(())
        };
        house.broker.transact(&carnet().unwrap(), put).await.unwrap();
    }

    async fn suspends(house: &House, from: &Transmitter, jti: &str, share: usize) -> Taken {
        let task = house.open_task("mail-agent").await;
        let taken = house.broker.hear(from, jti, &signal(), share).await.unwrap();
        let view = house.broker.view();
        let held = view.snapshot.task(&task).unwrap();
        assert_eq!(held.task.agent, agent("mail-agent"));
        assert_eq!(held.task.state, TaskState::Suspended, "{jti}: it is done whatever the count");
        taken
    }

    #[tokio::test]
    async fn an_event_is_done_where_no_more_can_be_remembered() {
        let house = House::at(ISSUER).await;
        let (idp, other) = (transmitter("https://idp.example"), transmitter("https://b.example"));
        remember(&house, &idp, 3, 10).await;
        assert_eq!(suspends(&house, &idp, "1", 3).await, Taken::Full);
        assert_eq!(suspends(&house, &idp, "1", 3).await, Taken::Full, "and again");
        assert_eq!(suspends(&house, &other, "1", 3).await, Taken::Now, "another has its own room");
    }

    #[tokio::test]
    async fn a_full_memory_forgets_what_is_old_and_takes_the_next_event() {
        let house = House::at(ISSUER).await;
        let idp = transmitter("https://idp.example");
        remember(&house, &idp, 20, REMEMBERED_S + 10).await;
        remember(&house, &idp, 2, 10).await;
        assert_eq!(suspends(&house, &idp, "1", 3).await, Taken::Now);
        assert_eq!(house.broker.latest().heard.len(), 3);
        assert!(house.broker.has_heard(&idp, "1"));
        assert!(house.broker.has_heard(&idp, "10/0"), "what is not old is remembered");
        let again = house.broker.hear(&idp, "1", &signal(), 3).await.unwrap();
        assert_eq!(again, Taken::Before);
    }

    #[tokio::test]
    async fn a_task_that_is_still_being_opened_never_is_once_its_agent_is_another() {
        let house = House::at(ISSUER).await;
        let id = house.open_task("mail-agent").await;
        let propose = |state: &State, draft: &mut Draft<'_>, _: Timestamp| {
            let mut task = state.snapshot.tasks.get(&id).unwrap().task.clone();
            task.state = TaskState::Proposed;
            draft.put(Item::Task(task))
        };
        house.broker.transact(&carnet().unwrap(), propose).await.unwrap();
        let idp = transmitter("https://idp.example");
        house.broker.hear(&idp, "1", &signal(), 3).await.unwrap();
        let view = house.broker.view();
        assert!(view.snapshot.task(&id).is_none_or(|held| {
            matches!(held.task.state, TaskState::Closing { .. } | TaskState::Closed { .. })
        }));
    }
}
