//! The lock: a pushed stop.

use serde::{Deserialize, Serialize};

use crate::lifecycle::{Effect, Lifecycle, TransitionError};
use crate::{AgentName, GrantId, InstanceId, LockId, ResourceName, TaskId, Timestamp, UserName};

/// A pushed stop, who pushed it and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Its id.
    pub id: LockId,
    /// What it stops.
    pub target: LockTarget,
    /// Who set it.
    pub set_by: UserName,
    /// When.
    pub set_at: Timestamp,
    /// Why, in the operator's words.
    pub reason: String,
    /// Where it stands.
    pub state: LockState,
}

/// What a lock stops.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockTarget {
    /// Every task on behalf of a person.
    User(UserName),
    /// Every task of an agent.
    Agent(AgentName),
    /// One running copy.
    Instance(InstanceId),
    /// One task and everything below it.
    Task(TaskId),
    /// One grant.
    Grant(GrantId),
    /// Every operation at a resource.
    Resource(ResourceName),
    /// Every agent of a trust domain.
    TrustDomain(String),
    /// Every agent told by a SPIFFE ID of another trust domain.
    ForeignDomain(String),
    /// Everything.
    Everything,
}

/// Where a lock stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockState {
    /// In force; not every node has said so yet.
    Set,
    /// Every node has acknowledged it, or its freshness window ran out.
    Acknowledged,
    /// No longer in force.
    Lifted,
}

/// What can happen to a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockEvent {
    /// Every node has it.
    Acknowledge,
    /// An operator lifts it.
    Lift,
}

impl Lock {
    /// Whether the lock stops what it names. A lock works from the moment it is set.
    pub fn is_in_force(&self) -> bool {
        self.state != LockState::Lifted
    }

    /// Moves the lock by one event.
    pub fn apply(
        mut self,
        event: LockEvent,
        _now: Timestamp,
    ) -> Result<(Self, Vec<Effect>), TransitionError> {
        let (state, transition) = match (self.state, event) {
            (LockState::Set, LockEvent::Acknowledge) => (LockState::Acknowledged, "acknowledged"),
            (LockState::Set | LockState::Acknowledged, LockEvent::Lift) => {
                (LockState::Lifted, "lifted")
            }
            (state, event) => {
                let event = match event {
                    LockEvent::Acknowledge => "be acknowledged",
                    LockEvent::Lift => "be lifted",
                };
                return Err(TransitionError::new(Lifecycle::Lock, &self.id, state.as_str(), event));
            }
        };
        self.state = state;
        let effect = Effect::Append {
            lifecycle: Lifecycle::Lock,
            id: self.id.to_string(),
            transition,
            narrows: state != LockState::Lifted,
        };
        Ok((self, vec![effect]))
    }
}

impl LockState {
    /// The state's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Acknowledged => "acknowledged",
            Self::Lifted => "lifted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_in_force_until_it_is_lifted_and_is_lifted_once() {
        let now = Timestamp::from_s(1);
        let lock = Lock {
            id: LockId::from_bits(1),
            target: LockTarget::Everything,
            set_by: "ana".parse().unwrap(),
            set_at: now,
            reason: "drill".into(),
            state: LockState::Set,
        };
        assert!(lock.is_in_force());
        let (lock, _) = lock.apply(LockEvent::Acknowledge, now).unwrap();
        assert!(lock.is_in_force());
        let (lock, _) = lock.apply(LockEvent::Lift, now).unwrap();
        assert!(!lock.is_in_force());
        assert!(lock.apply(LockEvent::Lift, now).is_err());
    }
}
