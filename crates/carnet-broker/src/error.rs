//! Why the broker refuses. One mapping to a code; the message is for the operator.

use carnet_core::{ApproverError, DigestError, NotAPart, Reason, TransitionError};
use carnet_store::StoreError;

/// Why the broker did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The thing named does not exist.
    #[error("there is no {kind} `{id}`: {hint}")]
    Missing {
        /// The kind of thing.
        kind: &'static str,
        /// What was named.
        id: String,
        /// What to do.
        hint: &'static str,
    },
    /// A field of the request is wrong.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field.
        field: String,
        /// What is wrong and how to mend it.
        problem: String,
    },
    /// It is refused, for this reason.
    #[error("refused ({reason}): {detail}")]
    Refused {
        /// The stable reason.
        reason: Reason,
        /// What the operator should know.
        detail: String,
    },
    /// What is to be handed on is not a part of what there is.
    #[error(transparent)]
    NotAPart(#[from] NotAPart),
    /// The person may not answer.
    #[error(transparent)]
    Approver(#[from] ApproverError),
    /// The state does not allow it.
    #[error(transparent)]
    Transition(#[from] TransitionError),
    /// A value has no canonical form.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// The store refused or could not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger could not make the record durable.
    #[error("the ledger cannot write: {0}; everything is denied until it can")]
    Ledger(String),
    /// A record could not be read or written.
    #[error(
        "the record {key} is not what this version writes: {error}; restore the store from a backup or use the version that wrote it"
    )]
    Corrupt {
        /// The record.
        key: String,
        /// What the decoder said.
        error: serde_json::Error,
    },
    /// Others kept changing the same records.
    #[error("the same records were changed by others {attempts} times in a row: try again")]
    Contended {
        /// How often it was tried.
        attempts: u32,
    },
    /// The policy set does not load.
    #[error("{0}")]
    Policy(String),
    /// A key could not be used.
    #[error("a key could not be used: {0}")]
    Key(String),
}

impl BrokerError {
    /// A field that is wrong, and how to mend it.
    pub(crate) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), problem: problem.into() }
    }

    /// A refusal for `reason`.
    pub(crate) fn refused(reason: Reason, detail: impl Into<String>) -> Self {
        Self::Refused { reason, detail: detail.into() }
    }

    /// The stable code of the error, for APIs and scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "not_found",
            Self::Invalid { .. } => "invalid",
            Self::Refused { reason, .. } => reason.code(),
            Self::NotAPart(_) => Reason::NotAPart.code(),
            Self::Approver(_) => "not_an_approver",
            Self::Transition(_) => "illegal_transition",
            Self::Digest(_) => "invalid",
            Self::Store(_) => "store_unavailable",
            Self::Ledger(_) => "ledger_unavailable",
            Self::Corrupt { .. } => "corrupt",
            Self::Contended { .. } => "contended",
            Self::Policy(_) => "policy_invalid",
            Self::Key(_) => "key",
        }
    }
}
