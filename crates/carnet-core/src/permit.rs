//! The permit: a value only the decision core can make. It cannot be cloned and owns the operation
//! and its original bytes, so what is forwarded is what was decided on.

use bytes::Bytes;

use crate::coverage::Cover;
use crate::decide::{Caller, Decision, DecisionKind, assess, recheck};
use crate::{Now, Operation, Policy, Reason, Snapshot};

/// An operation with the bytes it was parsed from.
#[derive(Debug)]
pub struct Attempt {
    /// The parsed form, which is decided on.
    pub operation: Operation,
    /// The bytes as received, which are forwarded.
    pub original: Bytes,
}

/// What was decided. Each answer owns what it is about.
#[derive(Debug)]
pub enum Decided {
    /// It may be done, with this permit.
    Permit(Permit),
    /// It may not.
    Deny(Refused),
    /// A person must say yes first.
    Ask(Refused),
}

/// The proof of a positive decision.
///
/// ```compile_fail
/// fn twice(permit: carnet_core::Permit) -> (carnet_core::Permit, carnet_core::Permit) {
///     (permit.clone(), permit)
/// }
/// ```
///
/// ```compile_fail
/// let permit = carnet_core::Permit { attempt: todo!(), caller: todo!() };
/// ```
#[derive(Debug)]
#[must_use = "a permit that is not forwarded or settled leaves its reservation spent"]
pub struct Permit {
    attempt: Attempt,
    caller: Caller,
    cover: Cover,
    decision: Decision,
}

/// A decision other than permit, with what it is about.
#[derive(Debug)]
pub struct Refused {
    /// What was attempted.
    pub operation: Operation,
    /// By whom.
    pub caller: Caller,
    /// Why not.
    pub decision: Decision,
}

/// Decides one attempt.
pub fn decide(
    snapshot: &Snapshot,
    policy: &dyn Policy,
    attempt: Attempt,
    caller: Caller,
    now: Now,
) -> Decided {
    let decision = assess(snapshot, policy, &attempt.operation, &caller, now);
    debug_assert_eq!(
        crate::invariant::check_decision(snapshot, &attempt.operation, &caller, now, &decision),
        Ok(())
    );
    match (decision.kind, decision.cover.clone()) {
        (DecisionKind::Permit, Some(cover)) => {
            Decided::Permit(Permit { attempt, caller, cover, decision })
        }
        (DecisionKind::Ask, _) => {
            Decided::Ask(Refused { operation: attempt.operation, caller, decision })
        }
        // INVARIANT: a permit has a cover; one without is refused like any other failure.
        (DecisionKind::Deny | DecisionKind::Permit, _) => {
            Decided::Deny(Refused { operation: attempt.operation, caller, decision })
        }
    }
}

impl Permit {
    /// What is permitted.
    pub fn operation(&self) -> &Operation {
        &self.attempt.operation
    }

    /// To whom.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Under which grant.
    pub fn cover(&self) -> &Cover {
        &self.cover
    }

    /// What it was decided from.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// Whether it still holds on the current snapshot. Asked at the door, just before forwarding.
    pub fn recheck(&self, snapshot: &Snapshot, now: Now) -> Result<(), Reason> {
        if !snapshot.is_fresh(now) {
            return Err(Reason::SnapshotStale);
        }
        recheck(snapshot, &self.attempt.operation, &self.caller, &self.cover, now)
    }

    /// Gives up the permit for the bytes to forward.
    pub fn into_original(self) -> Bytes {
        self.attempt.original
    }
}
