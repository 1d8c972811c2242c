//! The policy seam: what an engine is asked and what it answers.
//!
//! An engine is pure: it sees one [`Document`] and returns one [`Verdict`]. Every fact in the
//! document was derived by Carnet from the registry, the token and the parsed call; only
//! `arguments` come from the agent.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{ActionName, AgentName, Arguments, Digest, EffectClass, Path, PolicyId, ResourceName};
use crate::{Timestamp, UserName};

/// Who policy judges.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Principal {
    /// A registered agent.
    Agent(AgentName),
    /// A person.
    User(UserName),
}

impl std::fmt::Display for Principal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Agent(name) => write!(f, "agent:{name}"),
            Self::User(name) => write!(f, "user:{name}"),
        }
    }
}

/// What policy may know of the principal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrincipalFacts {
    /// The principal.
    pub principal: Principal,
    /// The teams it belongs to, sorted.
    pub teams: Vec<String>,
    /// `user:NAME` or `team:NAME` for an agent; empty for a user.
    pub owner: String,
    /// The environment an agent is registered in; empty for a user.
    pub environment: String,
}

/// The thing acted on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// A registered operation at a resource.
    Operation {
        /// Its action name, such as `desk.tool.issue_refund`.
        action: ActionName,
        /// The resource it belongs to.
        resource: ResourceName,
        /// The environment of the resource.
        environment: String,
        /// The labels of the resource, sorted.
        labels: Vec<String>,
        /// What it does, as reviewed.
        effect: EffectClass,
        /// The path it travels on.
        path: Path,
    },
    /// Carnet itself: its registry, policy and ledger.
    House,
}

impl Target {
    /// The target of `registered` at `resource`.
    pub fn operation(resource: &crate::Resource, registered: &crate::Registered) -> Self {
        Self::Operation {
            action: registered.action.clone(),
            resource: resource.name.clone(),
            environment: resource.environment.clone(),
            labels: resource.labels.iter().cloned().collect(),
            effect: registered.effect,
            path: registered.path,
        }
    }
}

/// What is asked. The names are the policy vocabulary and do not change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verb {
    /// An MCP call on the read path.
    #[serde(rename = "mcp.read")]
    McpRead,
    /// An MCP call on the write path.
    #[serde(rename = "mcp.write")]
    McpWrite,
    /// An MCP call on the admin path.
    #[serde(rename = "mcp.admin")]
    McpAdmin,
    /// Opening a task whose intent has an allowance for the operation.
    #[serde(rename = "task.open")]
    TaskOpen,
    /// Handing the operation on to a child task: asked when the task is opened, and again of each
    /// hop above it at each call.
    #[serde(rename = "task.delegate")]
    TaskDelegate,
    /// Answering an approval for the operation.
    #[serde(rename = "approval.decide")]
    ApprovalDecide,
    /// Registering and reviewing agents and resources.
    #[serde(rename = "registry.change")]
    RegistryChange,
    /// Reading tasks, grants, approvals and the registry.
    #[serde(rename = "registry.read")]
    RegistryRead,
    /// Reading the ledger.
    #[serde(rename = "ledger.read")]
    LedgerRead,
    /// Activating a policy set.
    #[serde(rename = "policy.activate")]
    PolicyActivate,
}

impl Verb {
    /// Every verb, for building a schema.
    pub const ALL: [Self; 10] = [
        Self::McpRead,
        Self::McpWrite,
        Self::McpAdmin,
        Self::TaskOpen,
        Self::TaskDelegate,
        Self::ApprovalDecide,
        Self::RegistryChange,
        Self::RegistryRead,
        Self::LedgerRead,
        Self::PolicyActivate,
    ];

    /// The verb of an MCP call on `path`.
    pub const fn mcp(path: Path) -> Self {
        match path {
            Path::Read => Self::McpRead,
            Path::Write => Self::McpWrite,
            Path::Admin => Self::McpAdmin,
        }
    }

    /// The verb's name in policy.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::McpRead => "mcp.read",
            Self::McpWrite => "mcp.write",
            Self::McpAdmin => "mcp.admin",
            Self::TaskOpen => "task.open",
            Self::TaskDelegate => "task.delegate",
            Self::ApprovalDecide => "approval.decide",
            Self::RegistryChange => "registry.change",
            Self::RegistryRead => "registry.read",
            Self::LedgerRead => "ledger.read",
            Self::PolicyActivate => "policy.activate",
        }
    }

    /// The groups the verb belongs to, narrowest first.
    pub const fn groups(self) -> &'static [&'static str] {
        match self {
            Self::McpRead => &["read", "call"],
            Self::McpWrite => &["write", "call"],
            Self::McpAdmin => &["admin", "call"],
            Self::RegistryChange | Self::RegistryRead | Self::LedgerRead | Self::PolicyActivate => {
                &["operate"]
            }
            Self::TaskOpen | Self::TaskDelegate | Self::ApprovalDecide => &[],
        }
    }
}

/// What policy may know of the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFacts {
    /// The declared purpose.
    pub purpose: String,
    /// The agent that works on it.
    pub agent: AgentName,
    /// On whose behalf it runs.
    pub subject: Principal,
    /// Who opened it.
    pub opened_by: Principal,
    /// Whether it was opened from a standing intent.
    pub standing: bool,
    /// How many tasks are above it.
    pub depth: u32,
    /// Whether something untrusted has been read in its tree.
    pub marked: bool,
}

/// What policy may know of the approvals the covering grant rests on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ApprovalFacts {
    /// Who approved exactly this operation, sorted.
    pub by: Vec<UserName>,
}

/// What an engine is asked: the operation document, the same for every engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Who policy judges.
    pub principal: PrincipalFacts,
    /// What is asked.
    pub verb: Verb,
    /// Of what.
    pub target: Target,
    /// For which task, where there is one.
    pub task: Option<TaskFacts>,
    /// What people have said.
    pub approvals: ApprovalFacts,
    /// The parsed arguments: the only part that comes from the agent.
    pub arguments: Arguments,
    /// When.
    pub now: Timestamp,
}

/// Who must approve, how many, and for how long the question stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalTerms {
    /// `user:NAME`, `team:NAME`, `owner` or `subject`, sorted. Never empty.
    pub approvers: BTreeSet<String>,
    /// How many of them must say yes.
    pub threshold: u32,
    /// How long the question stands, in seconds.
    pub timeout_s: u32,
}

/// Something the gateway must do for the permit to hold. One it does not know is a deny.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Obligation {
    /// The kind, such as `result_bytes_max`.
    pub kind: String,
    /// Its value, in the form its kind defines.
    pub value: String,
}

/// A policy that failed, or an engine that did.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EngineError {
    /// The policy, where one can be named.
    pub policy: Option<PolicyId>,
    /// What went wrong, for the operator.
    pub message: String,
}

/// What an engine answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerdictEffect {
    /// Some policy permits it, none forbids it, none wants a person.
    Permit,
    /// A forbid fired, a forbid failed, or nothing permits it.
    Deny,
    /// It may be done once people said so.
    Ask(ApprovalTerms),
}

/// An engine's answer, with everything that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The answer.
    pub effect: VerdictEffect,
    /// The policies that determined it, sorted. Empty means that no policy permits it.
    pub determining: Vec<PolicyId>,
    /// What a permit obliges to, merged to the stricter, sorted by kind.
    pub obligations: Vec<Obligation>,
    /// What failed on the way, sorted. A failure never widens the answer.
    pub errors: Vec<EngineError>,
}

impl Verdict {
    /// The verdict of an engine that could not answer: a deny that names the failure.
    pub fn failed(message: impl Into<String>) -> Self {
        Self {
            effect: VerdictEffect::Deny,
            determining: Vec::new(),
            obligations: Vec::new(),
            errors: vec![EngineError { policy: None, message: message.into() }],
        }
    }
}

/// A policy engine with one policy set loaded.
pub trait Policy: Send + Sync {
    /// The digest of the loaded policy set, named by every decision.
    fn digest(&self) -> Digest;

    /// Judges one document. Pure; an engine that fails answers [`Verdict::failed`].
    fn judge(&self, document: &Document) -> Verdict;
}
