//! The grant: an allowance made live for one task.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::delegation::Share;
use crate::lifecycle::{Effect, Lifecycle, TransitionError};
use crate::{Allowance, ApprovalId, GrantId, InstanceId, TaskId, Timestamp, UserName};

/// A grant and what has been used of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// The task it is for.
    pub task: TaskId,
    /// What it allows.
    pub allowance: Allowance,
    /// When it ends by itself; never after the task's deadline.
    pub expires: Timestamp,
    /// How many uses are spent or reserved.
    pub uses_spent: u64,
    /// How much of each total is spent or reserved.
    #[serde(default)]
    pub totals_spent: BTreeMap<String, i64>,
    /// The approval it rests on, and who gave it.
    pub approved: Option<Approved>,
    /// The grant whose uses and totals it also draws on: an allowance approved at each use.
    pub draws_on: Option<GrantId>,
    /// The grant of the parent task it was cut from: it is live no longer than that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_from: Option<GrantId>,
    /// Where it stands.
    pub state: GrantState,
}

/// The approval a grant rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approved {
    /// Which approval.
    pub approval: ApprovalId,
    /// Who said yes, sorted.
    pub by: Vec<UserName>,
    /// The running copy that asked, where one did: nobody said yes to another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
}

/// Where a grant stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum GrantState {
    /// Declared, not yet live.
    Requested,
    /// Waits for a person.
    Pending(ApprovalId),
    /// Live.
    Active,
    /// Every use is spent.
    Exhausted,
    /// Its time is over.
    Expired,
    /// Taken back.
    Revoked,
    /// Given up before it was live.
    Withdrawn,
    /// A person said no.
    Denied,
}

/// What one operation takes of a grant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amounts {
    /// What it adds to each total.
    pub totals: BTreeMap<String, i64>,
}

/// What can happen to a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantEvent {
    /// It needs no person.
    Activate,
    /// A person is asked.
    Ask(ApprovalId),
    /// What a person was asked, or said yes to, is asked again: the context is another.
    AskAgain(ApprovalId),
    /// The person said yes.
    Approve(Approved),
    /// The person said no, or did not answer in time.
    Deny,
    /// It is given up.
    Withdraw,
    /// One use is set aside.
    Reserve(Amounts),
    /// A reserved use was never forwarded.
    Release(Amounts),
    /// A part of it moves to a child task.
    HandOn(Share),
    /// It is taken back.
    Revoke,
    /// Its time is over.
    Expire,
}

impl GrantEvent {
    const fn name(&self) -> &'static str {
        match self {
            Self::Activate => "become active",
            Self::Ask(_) => "ask",
            Self::AskAgain(_) => "ask again",
            Self::Approve(_) => "be approved",
            Self::Deny => "be denied",
            Self::Withdraw => "be withdrawn",
            Self::Reserve(_) => "reserve a use within its bounds",
            Self::Release(_) => "release a use",
            Self::HandOn(_) => "hand on within its bounds",
            Self::Revoke => "be revoked",
            Self::Expire => "expire",
        }
    }
}

impl GrantState {
    /// The state's name.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Pending(_) => "pending",
            Self::Active => "active",
            Self::Exhausted => "exhausted",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Withdrawn => "withdrawn",
            Self::Denied => "denied",
        }
    }
}

impl Grant {
    /// Whether the grant is active and its time is not over.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.state == GrantState::Active && now < self.expires
    }

    /// Whether `instance` may use it: a yes to one running copy's question is for that copy.
    pub fn is_for(&self, instance: &InstanceId) -> bool {
        let asked = self.approved.as_ref().and_then(|approved| approved.instance.as_ref());
        asked.is_none_or(|asked| asked == instance)
    }

    /// Whether every operation under it must be reserved first.
    pub fn is_counted(&self) -> bool {
        self.allowance.is_counted() || self.draws_on.is_some()
    }

    /// How many uses are left, where they are counted.
    pub fn uses_left(&self) -> Option<u64> {
        self.allowance.uses.map(|uses| uses.saturating_sub(self.uses_spent))
    }

    /// Whether one more operation taking `amounts` stays within uses and totals.
    pub fn has_room_for(&self, amounts: &Amounts) -> bool {
        self.state == GrantState::Active && self.with_reserved(amounts).is_some()
    }

    /// Moves the grant by one event.
    pub fn apply(
        mut self,
        event: GrantEvent,
        _now: Timestamp,
    ) -> Result<(Self, Vec<Effect>), TransitionError> {
        use GrantState as S;
        let from = self.state.as_str();
        let refused = TransitionError::new(Lifecycle::Grant, &self.id, from, event.name());
        let (state, transition) = match (&self.state, event) {
            (S::Active, GrantEvent::Reserve(amounts)) => {
                return self.with_reserved(&amounts).map(|grant| (grant, vec![])).ok_or(refused);
            }
            (S::Active, GrantEvent::HandOn(share)) => {
                return self.with_moved(&share).map(|grant| (grant, vec![])).ok_or(refused);
            }
            (_, GrantEvent::Release(amounts)) => {
                return self.with_released(&amounts).map(|grant| (grant, vec![])).ok_or(refused);
            }
            (S::Requested, GrantEvent::Activate) => (S::Active, "activated"),
            (S::Requested, GrantEvent::Ask(approval)) => (S::Pending(approval), "asked"),
            (S::Pending(_), GrantEvent::AskAgain(approval)) => {
                (S::Pending(approval), "asked_again")
            }
            (S::Active, GrantEvent::AskAgain(approval)) if self.approved.is_some() => {
                self.approved = None;
                (S::Pending(approval), "asked_again")
            }
            (S::Pending(asked), GrantEvent::Approve(approved)) if *asked == approved.approval => {
                self.approved = Some(approved);
                (S::Active, "approved")
            }
            (S::Pending(_), GrantEvent::Deny) => (S::Denied, "denied"),
            (S::Requested | S::Pending(_), GrantEvent::Withdraw) => (S::Withdrawn, "withdrawn"),
            (S::Requested | S::Pending(_) | S::Active, GrantEvent::Revoke) => {
                (S::Revoked, "revoked")
            }
            (S::Requested | S::Pending(_) | S::Active, GrantEvent::Expire) => {
                (S::Expired, "expired")
            }
            _ => return Err(refused),
        };
        self.state = state;
        let effect = self.append(transition);
        Ok((self, vec![effect]))
    }

    fn append(&self, transition: &'static str) -> Effect {
        Effect::Append {
            lifecycle: Lifecycle::Grant,
            id: self.id.to_string(),
            transition,
            narrows: !matches!(self.state, GrantState::Active | GrantState::Pending(_)),
        }
    }

    /// The grant with one more use and `amounts` spent, or none where that exceeds a bound.
    fn with_reserved(&self, amounts: &Amounts) -> Option<Self> {
        let mut grant = self.clone();
        grant.uses_spent = grant.uses_spent.checked_add(1)?;
        if grant.allowance.uses.is_some_and(|uses| grant.uses_spent > uses) {
            return None;
        }
        for (argument, ceiling) in &self.allowance.total {
            let amount = *amounts.totals.get(argument)?;
            let spent = grant.totals_spent.get(argument).copied().unwrap_or(0);
            let next = spent.checked_add(amount)?;
            if amount < 0 || next > *ceiling {
                return None;
            }
            grant.totals_spent.insert(argument.clone(), next);
        }
        if grant.uses_left() == Some(0) {
            grant.state = GrantState::Exhausted;
        }
        debug_assert_eq!(crate::invariant::check_grant(&grant), Ok(()));
        Some(grant)
    }

    /// The grant with `share` moved away, or none where it has less.
    fn with_moved(&self, share: &Share) -> Option<Self> {
        let mut grant = self.clone();
        if let Some(uses) = self.allowance.uses {
            grant.uses_spent = grant.uses_spent.checked_add(share.uses)?;
            if share.uses == 0 || grant.uses_spent > uses {
                return None;
            }
        }
        for (argument, ceiling) in &self.allowance.total {
            let amount = *share.totals.get(argument)?;
            let spent = grant.totals_spent.get(argument).copied().unwrap_or(0);
            let next = spent.checked_add(amount)?;
            if amount < 0 || next > *ceiling {
                return None;
            }
            grant.totals_spent.insert(argument.clone(), next);
        }
        if grant.uses_left() == Some(0) {
            grant.state = GrantState::Exhausted;
        }
        debug_assert_eq!(crate::invariant::check_grant(&grant), Ok(()));
        Some(grant)
    }

    /// The grant with one use and `amounts` given back. Only an exhausted grant becomes active
    /// again by it: a revoked or expired one stays what it is.
    fn with_released(&self, amounts: &Amounts) -> Option<Self> {
        let mut grant = self.clone();
        grant.uses_spent = grant.uses_spent.checked_sub(1)?;
        for argument in self.allowance.total.keys() {
            let amount = *amounts.totals.get(argument)?;
            let spent = grant.totals_spent.get(argument).copied().unwrap_or(0);
            let next = spent.checked_sub(amount).filter(|next| *next >= 0)?;
            grant.totals_spent.insert(argument.clone(), next);
        }
        if grant.state == GrantState::Exhausted {
            grant.state = GrantState::Active;
        }
        Some(grant)
    }
}
