//! Why an operation is refused or a person is asked: stable codes, for callers, records and docs.

use serde::{Deserialize, Serialize};

/// One failed condition. The code is what a caller learns; the rest is for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The node cannot prove its view is fresh.
    SnapshotStale,
    /// The agent is not registered.
    AgentUnknown,
    /// The agent's owner is not registered any more.
    OwnerUnknown,
    /// The instance is not known, is another agent's, or holds another key.
    InstanceUnknown,
    /// The key that signed the token was taken away.
    KeyRemoved,
    /// The token, or the one its task was handed on with, was taken back.
    TokenRevoked,
    /// The token has expired.
    TokenExpired,
    /// The task does not exist or is closed.
    TaskUnknown,
    /// The task belongs to another agent.
    TaskOfAnother,
    /// The task is proposed, suspended or closing.
    TaskNotOpen,
    /// The task's deadline has passed.
    TaskExpired,
    /// A task above this one is closed, closing, suspended or past its deadline.
    AncestorClosed,
    /// The chain of parent tasks is longer than is allowed.
    TaskTooDeep,
    /// A lock is in force.
    Locked,
    /// The operation is at another resource than the token is for.
    ResourceMismatch,
    /// The operation travels on another path than the token is for.
    WrongPath,
    /// An unbound token was presented where possession must be proved.
    ProofRequired,
    /// Nobody reviewed the operation, or its definition changed since.
    Unreviewed,
    /// No active grant of the task covers the operation.
    NotCovered,
    /// A grant covers it, but its uses or totals are spent.
    GrantSpent,
    /// A policy forbids it, or a forbid failed.
    PolicyForbids,
    /// No policy permits it.
    PolicyDoesNotPermit,
    /// A policy engine failed.
    PolicyFailed,
    /// What is to be handed on is not a part of what the task has left.
    NotAPart,
    /// Policy does not let a task above hand the operation on.
    DelegationRefused,
    /// A delegation token tells of another chain than the task it is for has.
    ChainBroken,
    /// The gateway cannot do what a permit obliges to.
    ObligationUnknown,
    /// The task's budget of calls is spent.
    BudgetSpent,
    /// The task has too many questions waiting.
    QuestionsPending,
    /// A person must approve.
    ApprovalNeeded,
    /// A person said no to exactly this.
    ApprovalDenied,
    /// The arguments do not have the form the reviewed definition demands.
    ArgumentsInvalid,
    /// The message could not be understood.
    Malformed,
    /// The method is not carried.
    NotCarried,
    /// The agent provoked more refusals than it is given; its request was not read.
    TooManyRefusals,
    /// The record could not be made durable.
    LedgerUnavailable,
    /// What must be set aside could not be.
    ReservationRefused,
    /// The control plane could not be reached.
    ControlUnavailable,
    /// The upstream could not be reached, or what was asked of it first not understood. The
    /// operation was not sent.
    UpstreamFailed,
    /// The operation was sent, and no answer came: whether it was carried out is not known.
    OutcomeUnknown,
    /// The operation was sent and answered, and the answer may not be passed on.
    AnswerWithheld,
}

impl Reason {
    /// Every reason, for the docs.
    pub const ALL: [Self; 41] = [
        Self::SnapshotStale,
        Self::AgentUnknown,
        Self::OwnerUnknown,
        Self::InstanceUnknown,
        Self::KeyRemoved,
        Self::TokenRevoked,
        Self::TokenExpired,
        Self::TaskUnknown,
        Self::TaskOfAnother,
        Self::TaskNotOpen,
        Self::TaskExpired,
        Self::AncestorClosed,
        Self::TaskTooDeep,
        Self::Locked,
        Self::ResourceMismatch,
        Self::WrongPath,
        Self::ProofRequired,
        Self::Unreviewed,
        Self::NotCovered,
        Self::GrantSpent,
        Self::PolicyForbids,
        Self::PolicyDoesNotPermit,
        Self::PolicyFailed,
        Self::NotAPart,
        Self::DelegationRefused,
        Self::ChainBroken,
        Self::ObligationUnknown,
        Self::BudgetSpent,
        Self::QuestionsPending,
        Self::ApprovalNeeded,
        Self::ApprovalDenied,
        Self::ArgumentsInvalid,
        Self::Malformed,
        Self::NotCarried,
        Self::TooManyRefusals,
        Self::LedgerUnavailable,
        Self::ReservationRefused,
        Self::ControlUnavailable,
        Self::UpstreamFailed,
        Self::OutcomeUnknown,
        Self::AnswerWithheld,
    ];

    /// The code a caller learns.
    pub const fn code(self) -> &'static str {
        match self {
            Self::SnapshotStale => "snapshot_stale",
            Self::AgentUnknown => "agent_unknown",
            Self::OwnerUnknown => "owner_unknown",
            Self::InstanceUnknown => "instance_unknown",
            Self::KeyRemoved => "key_removed",
            Self::TokenRevoked => "token_revoked",
            Self::TokenExpired => "token_expired",
            Self::TaskUnknown => "task_unknown",
            Self::TaskOfAnother => "task_of_another",
            Self::TaskNotOpen => "task_not_open",
            Self::TaskExpired => "task_expired",
            Self::AncestorClosed => "ancestor_closed",
            Self::TaskTooDeep => "task_too_deep",
            Self::Locked => "locked",
            Self::ResourceMismatch => "resource_mismatch",
            Self::WrongPath => "wrong_path",
            Self::ProofRequired => "proof_required",
            Self::Unreviewed => "unreviewed",
            Self::NotCovered => "not_covered",
            Self::GrantSpent => "grant_spent",
            Self::PolicyForbids => "policy_forbids",
            Self::PolicyDoesNotPermit => "policy_does_not_permit",
            Self::PolicyFailed => "policy_failed",
            Self::NotAPart => "not_a_part",
            Self::DelegationRefused => "delegation_refused",
            Self::ChainBroken => "chain_broken",
            Self::ObligationUnknown => "obligation_unknown",
            Self::BudgetSpent => "budget_spent",
            Self::QuestionsPending => "questions_pending",
            Self::ApprovalNeeded => "approval_needed",
            Self::ApprovalDenied => "approval_denied",
            Self::ArgumentsInvalid => "arguments_invalid",
            Self::Malformed => "malformed",
            Self::NotCarried => "not_carried",
            Self::TooManyRefusals => "too_many_refusals",
            Self::LedgerUnavailable => "ledger_unavailable",
            Self::ReservationRefused => "reservation_refused",
            Self::ControlUnavailable => "control_unavailable",
            Self::UpstreamFailed => "upstream_failed",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::AnswerWithheld => "answer_withheld",
        }
    }

    /// What it means and what to do, for the operator.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::SnapshotStale => "the node could not read the store in time; look at its health",
            Self::AgentUnknown => "register the agent with `carnet agent add`",
            Self::OwnerUnknown => "the agent's owner is gone; name another with `carnet agent add`",
            Self::KeyRemoved => "the key that signed the token was taken away; get another token",
            Self::InstanceUnknown => "the running copy must prove its identity again",
            Self::TokenRevoked => {
                "the token, or the one its task was handed on with, was taken back; get another"
            }
            Self::TokenExpired => "ask for another token; it is decided again",
            Self::TaskUnknown => "the task is closed or never existed; open one",
            Self::TaskOfAnother => "the token's task belongs to another agent; open one of its own",
            Self::TaskNotOpen => {
                "the task is proposed, suspended or closing; see `carnet task show`"
            }
            Self::TaskExpired => "the deadline passed; open another task",
            Self::AncestorClosed => "a task above this one is over, and with it this one",
            Self::TaskTooDeep => "the delegation chain is longer than Carnet allows",
            Self::Locked => "an operator pulled a lock; see the locks in `carnet status`",
            Self::ResourceMismatch => "the token is for another resource; ask for one for this",
            Self::WrongPath => "the operation travels on another path; use that path's address",
            Self::ProofRequired => "prove possession with DPoP, or let policy accept bearer reads",
            Self::Unreviewed => "review it with `carnet resource review`",
            Self::NotCovered => {
                "no allowance of the task covers this call; open a task that says so"
            }
            Self::GrantSpent => "the covering grant's uses or totals are spent",
            Self::PolicyForbids => "a forbid policy applies",
            Self::PolicyDoesNotPermit => "no permit policy applies",
            Self::PolicyFailed => {
                "a policy failed to evaluate; correct it, or go back with `carnet policy rollback`"
            }
            Self::NotAPart => {
                "what is handed on must be a part of what the task has left; ask for less"
            }
            Self::DelegationRefused => {
                "policy does not let the agent of a task above hand this on (`task.delegate`)"
            }
            Self::ChainBroken => {
                "the chain in the delegation token is not the task's; have it handed on anew"
            }
            Self::ObligationUnknown => "this gateway cannot do what the permit obliges to",
            Self::BudgetSpent => "the task's budget of calls is spent",
            Self::QuestionsPending => "answer the task's waiting questions first",
            Self::ApprovalNeeded => {
                "a person must approve exactly this call; see `carnet approvals`"
            }
            Self::ApprovalDenied => "a person said no to exactly this call",
            Self::ArgumentsInvalid => "the arguments do not fit the reviewed schema",
            Self::Malformed => "the message could not be understood",
            Self::NotCarried => "the gateway does not carry this method",
            Self::TooManyRefusals => {
                "the agent was refused too often at once; see what it tries with `carnet ledger tail`"
            }
            Self::LedgerUnavailable => "the ledger cannot write; everything is denied until it can",
            Self::ReservationRefused => "another call took what was left, or the state changed",
            Self::ControlUnavailable => "the control plane could not be reached",
            Self::UpstreamFailed => "the upstream could not be reached or understood; not sent",
            Self::OutcomeUnknown => "it was sent and has no answer; look at the upstream",
            Self::AnswerWithheld => "it was sent; the answer may not be passed on",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}
