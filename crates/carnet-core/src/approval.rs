//! The approval: a person's answer to one question, bound to a digest of exactly what was asked.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::lifecycle::{Effect, Lifecycle, TransitionError};
use crate::{ActionName, Allowance, ApprovalId, ApprovalTerms, Arguments, Digest, DigestError};
use crate::{DecisionId, EffectClass, GrantId, InstanceId, Path, Principal, ResourceName, TaskId};
use crate::{Timestamp, UserName};

/// One question to people, and what they said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// What is asked.
    pub question: Question,
    /// The digest of what is asked, the nonce and the expiry included.
    pub digest: Digest,
    /// Who must answer, how many, for how long.
    pub terms: ApprovalTerms,
    /// The decision that asked, where an operation did.
    pub decision: Option<DecisionId>,
    /// The policy set that asked: recorded, not frozen.
    pub policy: Digest,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// When the question lapses.
    pub expires: Timestamp,
    /// What people said, in the order they said it.
    pub answers: Vec<Answer>,
    /// Where it stands.
    pub state: ApprovalState,
}

/// What a person is asked, fixed by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// For which task.
    pub task: TaskId,
    /// For which running copy of the agent, where one asked.
    pub instance: Option<InstanceId>,
    /// One use of one operation, or a whole allowance up front.
    pub of: Asked,
    /// 128 random bits as hexadecimal, so that no two questions have one digest.
    pub nonce: String,
    /// When the question lapses.
    pub expires: Timestamp,
}

/// What the question is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Asked {
    /// Exactly one use of exactly this operation.
    Use {
        /// The action.
        action: ActionName,
        /// The resource.
        resource: ResourceName,
        /// The path it travels on.
        path: Path,
        /// What it does, as reviewed.
        effect: EffectClass,
        /// The pin of the definition.
        pin: Digest,
        /// The canonical arguments.
        arguments: Arguments,
        /// The grant it draws on, where an allowance is approved at each use.
        draws_on: Option<GrantId>,
    },
    /// An allowance of the intent, before any untrusted data is read.
    Allowance {
        /// The grant that waits.
        grant: GrantId,
        /// What it would allow.
        allowance: Box<Allowance>,
    },
}

/// One person's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Who.
    pub by: UserName,
    /// Yes or no.
    pub yes: bool,
    /// When.
    pub at: Timestamp,
}

/// Where an approval stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApprovalState {
    /// Waits for people.
    Asked,
    /// Enough people said yes.
    Approved,
    /// Somebody said no.
    Denied,
    /// Nobody answered in time.
    Expired,
    /// The task ended, or the question no longer matters.
    Cancelled,
}

/// What can happen to an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApprovalEvent {
    /// A person who may answer does.
    Answer {
        /// Who.
        by: UserName,
        /// Yes or no.
        yes: bool,
    },
    /// Its time is over.
    Expire,
    /// It no longer matters.
    Cancel,
}

/// Who a person is, as far as answering goes.
#[derive(Debug, Clone, Copy)]
pub struct Approver<'a> {
    /// The person.
    pub user: &'a UserName,
    /// The teams they belong to.
    pub teams: &'a BTreeSet<String>,
}

/// Why a person may not answer with yes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApproverError {
    /// Not among those named.
    #[error("{user} is not among the approvers: ask one of {approvers}")]
    NotNamed {
        /// Who tried.
        user: UserName,
        /// Who may.
        approvers: String,
    },
    /// The task runs on this person's behalf, and policy does not name `subject`.
    #[error(
        "{user} is the subject of the task: a subject approves only where policy names `subject`"
    )]
    IsSubject {
        /// Who tried.
        user: UserName,
    },
    /// The person handed the work on, or it was handed on from a task on their behalf.
    #[error("{user} is in the delegation chain of the task: somebody outside it must answer")]
    InChain {
        /// Who tried.
        user: UserName,
    },
}

impl Question {
    /// The digest a person's answer is bound to.
    pub fn digest(&self) -> Result<Digest, DigestError> {
        Digest::of_json(self)
    }
}

impl Approval {
    /// Whether the question still waits at `now`.
    pub fn is_pending(&self, now: Timestamp) -> bool {
        self.state == ApprovalState::Asked && now < self.expires
    }

    /// The people who said yes, sorted, each once.
    pub fn approvers(&self) -> Vec<UserName> {
        let yes = self.answers.iter().filter(|answer| answer.yes);
        yes.map(|answer| answer.by.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Whether `approver` may say yes, for a task on behalf of `subject`, handed on by `chain`, of an
    /// agent owned by `owner` (`user:NAME` or `team:NAME`). Saying no needs no permission.
    pub fn check_approver(
        &self,
        approver: Approver<'_>,
        subject: &Principal,
        chain: &BTreeSet<UserName>,
        owner: &str,
    ) -> Result<(), ApproverError> {
        approver.may_approve(&self.terms, subject, chain, owner)
    }

    /// Moves the approval by one event. The first threshold met decides: one no is enough.
    pub fn apply(
        mut self,
        event: ApprovalEvent,
        now: Timestamp,
    ) -> Result<(Self, Vec<Effect>), TransitionError> {
        use ApprovalState as S;
        let from = self.state.as_str();
        let refused = |event| TransitionError::new(Lifecycle::Approval, &self.id, from, event);
        let (state, transition) = match (self.state, event) {
            (S::Asked, ApprovalEvent::Answer { by, yes }) => {
                if now >= self.expires {
                    return Err(refused("be answered after it lapsed"));
                }
                if self.answers.iter().any(|answer| answer.by == by) {
                    return Err(refused("be answered twice by one person"));
                }
                self.answers.push(Answer { by, yes, at: now });
                self.after_answer(yes)
            }
            (S::Asked, ApprovalEvent::Expire) => (S::Expired, "expired"),
            (S::Asked, ApprovalEvent::Cancel) => (S::Cancelled, "cancelled"),
            (_, ApprovalEvent::Answer { .. }) => return Err(refused("be answered")),
            (_, ApprovalEvent::Expire) => return Err(refused("expire")),
            (_, ApprovalEvent::Cancel) => return Err(refused("be cancelled")),
        };
        self.state = state;
        let effects = self.effects_of(transition);
        Ok((self, effects))
    }

    fn after_answer(&self, yes: bool) -> (ApprovalState, &'static str) {
        let enough = self.approvers().len() >= self.terms.threshold.max(1) as usize;
        match (yes, enough) {
            (false, _) => (ApprovalState::Denied, "denied"),
            (true, true) => (ApprovalState::Approved, "approved"),
            (true, false) => (ApprovalState::Asked, "answered"),
        }
    }

    fn effects_of(&self, transition: &'static str) -> Vec<Effect> {
        let id = self.id.to_string();
        let narrows = !matches!(self.state, ApprovalState::Asked | ApprovalState::Approved);
        let lifecycle = Lifecycle::Approval;
        vec![
            Effect::Append { lifecycle, id: id.clone(), transition, narrows },
            Effect::Notify { transition, id },
        ]
    }
}

impl ApprovalState {
    /// The state's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Approver<'_> {
    /// Whether this person may say yes under `terms`.
    pub fn may_approve(
        &self,
        terms: &ApprovalTerms,
        subject: &Principal,
        chain: &BTreeSet<UserName>,
        owner: &str,
    ) -> Result<(), ApproverError> {
        if matches!(subject, Principal::User(user) if user == self.user) {
            let user = self.user.clone();
            let named = terms.approvers.contains("subject");
            return if named { Ok(()) } else { Err(ApproverError::IsSubject { user }) };
        }
        if chain.contains(self.user) {
            return Err(ApproverError::InChain { user: self.user.clone() });
        }
        let names = |term: &String| self.is(if term == "owner" { owner } else { term });
        if terms.approvers.iter().any(names) {
            return Ok(());
        }
        let approvers: Vec<&str> = terms.approvers.iter().map(String::as_str).collect();
        Err(ApproverError::NotNamed { user: self.user.clone(), approvers: approvers.join(", ") })
    }

    fn is(&self, term: &str) -> bool {
        match term.split_once(':') {
            Some(("user", name)) => self.user.as_str() == name,
            Some(("team", name)) => self.teams.contains(name),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    const NOW: Timestamp = Timestamp::from_s(1_000);
    const NOBODY: BTreeSet<UserName> = BTreeSet::new();

    fn yes(by: &str) -> ApprovalEvent {
        ApprovalEvent::Answer { by: by.parse().unwrap(), yes: true }
    }

    #[test]
    fn one_no_decides_whatever_was_said_before() {
        let approval = fixture::approval(&["team:finance"], 2);
        let (approval, _) = approval.apply(yes("bo"), NOW).unwrap();
        assert_eq!(approval.state, ApprovalState::Asked);
        let no = ApprovalEvent::Answer { by: "cy".parse().unwrap(), yes: false };
        let (approval, _) = approval.apply(no, NOW).unwrap();
        assert_eq!(approval.state, ApprovalState::Denied);
        assert!(approval.apply(yes("di"), NOW).is_err());
    }

    #[test]
    fn one_person_counts_once() {
        let approval = fixture::approval(&["team:finance"], 2);
        let (approval, _) = approval.apply(yes("bo"), NOW).unwrap();
        assert!(approval.clone().apply(yes("bo"), NOW).is_err());
        let (approval, _) = approval.apply(yes("cy"), NOW).unwrap();
        assert_eq!(approval.state, ApprovalState::Approved);
    }

    #[test]
    fn a_lapsed_question_cannot_be_approved() {
        let approval = fixture::approval(&["user:bo"], 1);
        let lapsed = approval.expires;
        assert!(approval.apply(yes("bo"), lapsed).is_err());
    }

    #[test]
    fn the_subject_approves_only_where_policy_says_so() {
        let subject = Principal::User("ana".parse().unwrap());
        let ana: UserName = "ana".parse().unwrap();
        let teams = BTreeSet::from(["finance".to_owned()]);
        let approver = Approver { user: &ana, teams: &teams };
        let named = fixture::approval(&["team:finance"], 1);
        let error = named.check_approver(approver, &subject, &NOBODY, "team:support").unwrap_err();
        assert!(matches!(error, ApproverError::IsSubject { .. }));
        let allowed = fixture::approval(&["subject"], 1);
        allowed.check_approver(approver, &subject, &NOBODY, "team:support").unwrap();
    }

    #[test]
    fn only_those_named_may_approve() {
        let subject = Principal::User("ana".parse().unwrap());
        let bo: UserName = "bo".parse().unwrap();
        let teams = BTreeSet::from(["support".to_owned()]);
        let approver = Approver { user: &bo, teams: &teams };
        let finance = fixture::approval(&["team:finance"], 1);
        assert!(finance.check_approver(approver, &subject, &NOBODY, "team:support").is_err());
        let owner = fixture::approval(&["owner"], 1);
        owner.check_approver(approver, &subject, &NOBODY, "team:support").unwrap();
    }

    #[test]
    fn whoever_handed_the_work_on_does_not_approve_it() {
        let subject = Principal::User("ana".parse().unwrap());
        let bo: UserName = "bo".parse().unwrap();
        let teams = BTreeSet::from(["finance".to_owned()]);
        let approver = Approver { user: &bo, teams: &teams };
        let asked = fixture::approval(&["team:finance"], 1);
        asked.check_approver(approver, &subject, &NOBODY, "team:support").unwrap();
        let chain = BTreeSet::from([bo.clone()]);
        let error = asked.check_approver(approver, &subject, &chain, "team:support").unwrap_err();
        assert!(matches!(error, ApproverError::InChain { .. }));
    }

    #[test]
    fn another_amount_is_another_question() {
        let question = fixture::question(500);
        let changed = fixture::question(501);
        assert_ne!(question.digest().unwrap(), changed.digest().unwrap());
        assert_eq!(question.digest().unwrap(), fixture::question(500).digest().unwrap());
    }
}
