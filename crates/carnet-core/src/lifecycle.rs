//! What every lifecycle has in common: effects as data, and the refusal of an illegal transition.

use serde::{Deserialize, Serialize};

use crate::TaskId;

/// Which lifecycle a record or a refusal speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lifecycle {
    /// A task.
    Task,
    /// A grant.
    Grant,
    /// An approval.
    Approval,
    /// A lock.
    Lock,
    /// A lease.
    Lease,
}

impl Lifecycle {
    /// The name used in records and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Grant => "grant",
            Self::Approval => "approval",
            Self::Lock => "lock",
            Self::Lease => "lease",
        }
    }
}

/// What a transition asks its driver to do. The driver commits every `Append` together with the
/// new state, so no transition exists without its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Write a ledger record of the transition.
    Append {
        /// The lifecycle that moved.
        lifecycle: Lifecycle,
        /// The id of what moved.
        id: String,
        /// The transition's name.
        transition: &'static str,
        /// Whether it narrows authority: it then enters snapshots at once and may use the reserve.
        narrows: bool,
    },
    /// Close every connection, stream, child process and lease under the task.
    Revoke(TaskId),
    /// Tell the people concerned.
    Notify {
        /// What happened, in the words of the record.
        transition: &'static str,
        /// The id of what it happened to.
        id: String,
    },
}

/// An event that a state does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{lifecycle} {id} is {state}: it cannot {event}", lifecycle = .lifecycle.as_str())]
pub struct TransitionError {
    lifecycle: Lifecycle,
    id: String,
    state: &'static str,
    event: &'static str,
}

impl TransitionError {
    pub(crate) fn new(
        lifecycle: Lifecycle,
        id: impl ToString,
        state: &'static str,
        event: &'static str,
    ) -> Self {
        Self { lifecycle, id: id.to_string(), state, event }
    }

    /// The name of the state that does not allow the event.
    pub fn state(&self) -> &'static str {
        self.state
    }
}
