//! The lease: a credential a target honours without asking Carnet.
//!
//! A lease is intended before the target is touched, under a name we chose. So after a crash at any
//! point no credential exists that no lease knows. A target that takes nothing back is watched until
//! what it honours is over by itself.

use serde::{Deserialize, Serialize};

use crate::lifecycle::{Effect, Lifecycle, TransitionError};
use crate::{AgentName, DecisionId, LeaseId, Path, ResourceName, TaskId, Timestamp};

/// A lease and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// Its id: the name the target knows the credential by.
    pub id: LeaseId,
    /// The task it is for.
    pub task: TaskId,
    /// The agent it was handed to.
    pub agent: AgentName,
    /// The target.
    pub resource: ResourceName,
    /// The path it was given on.
    pub path: Path,
    /// The decision it rests on.
    pub decision: DecisionId,
    /// The role it was decided for, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// When it was intended.
    pub intended_at: Timestamp,
    /// When all the target honours of it is over by itself.
    pub expires: Timestamp,
    /// Where it stands.
    pub state: LeaseState,
}

/// Where a lease stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LeaseState {
    /// Durable, under a name we chose. The target was not touched.
    Intended,
    /// The target is being touched: it may honour the credential already.
    Issuing,
    /// The target honours it.
    Active,
    /// It is to end. The target still honours it, until it says otherwise or time is up.
    Revoking {
        /// Since when.
        since: Timestamp,
    },
    /// The target did not take it back. It is tried again until it does, or time is up.
    RevokeFailed {
        /// Since when it is to end.
        since: Timestamp,
        /// How often it was tried.
        attempts: u32,
    },
    /// The target does not honour it, or never did.
    Revoked {
        /// Since when.
        at: Timestamp,
    },
    /// Its time is over.
    Expired {
        /// When that was seen.
        at: Timestamp,
    },
}

/// What can happen to a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseEvent {
    /// The target is about to be touched.
    Issue,
    /// The target honours it.
    Confirm,
    /// It is to end.
    Revoke,
    /// The target says that it honours it no more.
    Gone,
    /// The target did not take it back.
    Fail,
    /// Its time is over.
    Expire,
}

impl LeaseEvent {
    const fn name(self) -> &'static str {
        match self {
            Self::Issue => "be issued",
            Self::Confirm => "become active",
            Self::Revoke => "be revoked",
            Self::Gone => "be gone",
            Self::Fail => "fail to be revoked",
            Self::Expire => "expire before its time",
        }
    }
}

impl LeaseState {
    /// The state's name.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Issuing => "issuing",
            Self::Active => "active",
            Self::Revoking { .. } => "revoking",
            Self::RevokeFailed { .. } => "revoke-failed",
            Self::Revoked { .. } => "revoked",
            Self::Expired { .. } => "expired",
        }
    }
}

impl Lease {
    /// Whether nothing can become of it any more.
    pub const fn is_over(&self) -> bool {
        matches!(self.state, LeaseState::Revoked { .. } | LeaseState::Expired { .. })
    }

    /// Whether a target may honour something of it at `now`.
    pub fn is_out(&self, now: Timestamp) -> bool {
        !self.is_over() && self.state != LeaseState::Intended && now < self.expires
    }

    /// Moves the lease by one event.
    pub fn apply(
        mut self,
        event: LeaseEvent,
        now: Timestamp,
    ) -> Result<(Self, Vec<Effect>), TransitionError> {
        use LeaseState as S;
        let from = self.state.as_str();
        let refused = TransitionError::new(Lifecycle::Lease, &self.id, from, event.name());
        let (state, transition) = match (self.state, event) {
            (S::Intended, LeaseEvent::Issue) if now < self.expires => (S::Issuing, "issuing"),
            (S::Issuing, LeaseEvent::Confirm) => (S::Active, "active"),
            // The target was not touched: there is nothing to take back.
            (S::Intended, LeaseEvent::Revoke) => (S::Revoked { at: now }, "never_issued"),
            (S::Issuing | S::Active, LeaseEvent::Revoke) => {
                (S::Revoking { since: now }, "revoking")
            }
            (S::RevokeFailed { since, .. }, LeaseEvent::Revoke) => {
                (S::Revoking { since }, "revoking")
            }
            (S::Revoking { .. } | S::RevokeFailed { .. }, LeaseEvent::Gone) => {
                (S::Revoked { at: now }, "revoked")
            }
            (S::Revoking { since }, LeaseEvent::Fail) => {
                (S::RevokeFailed { since, attempts: 1 }, "revoke_failed")
            }
            (S::RevokeFailed { since, attempts }, LeaseEvent::Fail) => {
                let attempts = attempts.saturating_add(1);
                (S::RevokeFailed { since, attempts }, "revoke_failed")
            }
            (
                S::Issuing | S::Active | S::Revoking { .. } | S::RevokeFailed { .. },
                LeaseEvent::Expire,
            ) if now >= self.expires => (S::Expired { at: now }, "expired"),
            _ => return Err(refused),
        };
        self.state = state;
        let narrows = !matches!(state, S::Issuing | S::Active);
        let (lifecycle, id) = (Lifecycle::Lease, self.id.to_string());
        Ok((self, vec![Effect::Append { lifecycle, id, transition, narrows }]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_s(1_000);

    fn intended() -> Lease {
        Lease {
            id: "lease_1".parse().unwrap(),
            task: "task_1".parse().unwrap(),
            agent: "desk-agent".parse().unwrap(),
            resource: "aws".parse().unwrap(),
            path: Path::Write,
            decision: "dec_1".parse().unwrap(),
            role: Some("refunds".to_owned()),
            intended_at: NOW,
            expires: NOW.plus_s(100),
            state: LeaseState::Intended,
        }
    }

    fn after(lease: Lease, events: &[LeaseEvent], at: Timestamp) -> Lease {
        events.iter().fold(lease, |lease, event| lease.apply(*event, at).unwrap().0)
    }

    #[test]
    fn a_lease_is_stored_like_this() {
        let active = after(intended(), &[LeaseEvent::Issue, LeaseEvent::Confirm], NOW);
        let revoking = after(active.clone(), &[LeaseEvent::Revoke], NOW);
        let written = serde_json::to_string(&revoking).unwrap();
        assert_eq!(
            written,
            concat!(
                r#"{"id":"lease_1","task":"task_1","agent":"desk-agent","resource":"aws","#,
                r#""path":"write","decision":"dec_1","role":"refunds","intended_at":1000000000,"#,
                r#""expires":1100000000,"state":{"revoking":{"since":1000000000}}}"#,
            )
        );
        assert_eq!(serde_json::from_str::<Lease>(&written).unwrap(), revoking);
        assert!(serde_json::to_string(&active).unwrap().ends_with(r#""state":"active"}"#));
    }

    #[test]
    fn what_never_touched_its_target_leaves_nothing_there() {
        assert!(!intended().is_out(NOW));
        let (lease, effects) = intended().apply(LeaseEvent::Revoke, NOW).unwrap();
        assert!(lease.is_over());
        assert!(matches!(
            &effects[..],
            [Effect::Append { transition: "never_issued", narrows: true, .. }]
        ));
        assert!(lease.apply(LeaseEvent::Issue, NOW).is_err());
    }

    #[test]
    fn what_may_have_touched_its_target_is_out_until_the_target_or_the_time_says_otherwise() {
        let issuing = after(intended(), &[LeaseEvent::Issue], NOW);
        let active = after(issuing.clone(), &[LeaseEvent::Confirm], NOW);
        for lease in [issuing, active] {
            let lease = after(lease, &[LeaseEvent::Revoke, LeaseEvent::Fail], NOW.plus_s(1));
            let last = NOW.plus_s(99);
            assert!(lease.is_out(last) && !lease.is_over());
            assert!(lease.clone().apply(LeaseEvent::Expire, last).is_err());
            let over = after(lease.clone(), &[LeaseEvent::Expire], lease.expires);
            assert!(over.is_over() && !over.is_out(lease.expires));
            assert!(after(lease, &[LeaseEvent::Gone], last).is_over());
        }
    }

    #[test]
    fn taking_back_is_tried_again_and_counted() {
        let events = [LeaseEvent::Issue, LeaseEvent::Revoke, LeaseEvent::Fail, LeaseEvent::Fail];
        let failed = after(intended(), &events, NOW);
        assert_eq!(failed.state, LeaseState::RevokeFailed { since: NOW, attempts: 2 });
        let again = after(failed, &[LeaseEvent::Revoke], NOW.plus_s(9));
        assert_eq!(again.state, LeaseState::Revoking { since: NOW });
    }

    #[test]
    fn a_lease_that_is_over_stays_over_and_none_begins_past_its_time() {
        let all = [
            LeaseEvent::Issue,
            LeaseEvent::Confirm,
            LeaseEvent::Revoke,
            LeaseEvent::Gone,
            LeaseEvent::Fail,
            LeaseEvent::Expire,
        ];
        let late = NOW.plus_s(100);
        let expired =
            after(after(intended(), &[LeaseEvent::Issue], NOW), &[LeaseEvent::Expire], late);
        let revoked = after(intended(), &[LeaseEvent::Revoke], NOW);
        for over in [expired, revoked] {
            assert!(all.iter().all(|event| over.clone().apply(*event, late).is_err()));
        }
        assert!(intended().apply(LeaseEvent::Issue, late).is_err());
    }
}
