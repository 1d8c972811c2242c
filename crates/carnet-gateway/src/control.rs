//! What the gateway needs of the control plane, and nothing more. The binary implements it over
//! the broker in one process; a fleet over mutual TLS.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use carnet_core::{
    AgentName, ApprovalId, ApprovalState, ApprovalTerms, Charge, DecisionId, Digest, GrantId,
    InstanceId, Now, Operation, Path, Reason, ReservationId, Resource, TaskId, View,
};
use carnet_identity::KeySet;
use carnet_ledger::Entry;
use secrecy::SecretString;
use tokio::sync::watch;

/// The control plane as a gateway sees it.
#[async_trait]
pub trait Control: Send + Sync + 'static {
    /// The view to decide from.
    fn view(&self) -> Arc<View>;

    /// The moment now, by the clocks the view's freshness is counted in.
    fn now(&self) -> Now;

    /// The keys access tokens are verified with now.
    fn access_keys(&self) -> Arc<KeySet>;

    /// Announces each revision as it comes into force.
    fn revisions(&self) -> watch::Receiver<u64>;

    /// Says that no permit decided on an older revision can still be forwarded by this node.
    fn acknowledge(&self, revision: u64);

    /// Puts a question to people, or finds the one that waits for exactly this.
    async fn ask(&self, question: Question) -> Result<ApprovalId, ControlError>;

    /// Waits at most `hold` for people, and tells where the question stands.
    async fn await_answer(
        &self,
        approval: &ApprovalId,
        hold: Duration,
    ) -> Result<ApprovalState, ControlError>;

    /// Sets aside what an operation takes, with its decision record, durably.
    async fn reserve(&self, reserve: Reserve) -> Result<ReservationId, ControlError>;

    /// Settles a reservation. One that was surely not forwarded is given back.
    async fn settle(
        &self,
        reservation: &ReservationId,
        agent: &AgentName,
        forwarded: bool,
    ) -> Result<(), ControlError>;

    /// The upstream credential of one path of a resource, where there is one.
    async fn credential(
        &self,
        resource: &Resource,
        path: Path,
    ) -> Result<Option<Credential>, ControlError>;
}

/// A question whether an operation may be done.
#[derive(Debug, Clone)]
pub struct Question {
    /// The decision that asks.
    pub decision: DecisionId,
    /// The task.
    pub task: TaskId,
    /// The agent.
    pub agent: AgentName,
    /// Its running copy.
    pub instance: InstanceId,
    /// What is to be done.
    pub operation: Operation,
    /// Who must be asked.
    pub terms: ApprovalTerms,
    /// The policy set that asks.
    pub policy: Digest,
    /// The grant it draws on, where an allowance is approved at each use.
    pub draws_on: Option<GrantId>,
}

/// What to set aside for one operation.
#[derive(Debug, Clone)]
pub struct Reserve {
    /// The decision.
    pub decision: DecisionId,
    /// The agent.
    pub agent: AgentName,
    /// The task.
    pub task: TaskId,
    /// What it takes, of which grants.
    pub charges: Vec<Charge>,
    /// Whether it takes one call of the task's budget.
    pub counts_call: bool,
    /// The copy that is marked by it, with the whole tree of the task.
    pub marks: Option<InstanceId>,
    /// The decision's ledger record.
    pub entry: Entry,
}

/// An upstream credential, injected at `forward` and shown to nobody.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The secret.
    pub secret: SecretString,
    /// For a child process: the environment variable it is handed in.
    pub as_variable: Option<String>,
}

/// Why the control plane did not do what was asked. Always a deny.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct ControlError {
    /// The reason the caller learns.
    pub reason: Reason,
    /// What the operator should know.
    pub detail: String,
}
