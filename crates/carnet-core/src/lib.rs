//! The decision core of Carnet: words, lifecycles, coverage and [`decide`].
//!
//! Everything here is a pure function of its arguments. There is no I/O, no clock, no randomness
//! and no `async`; time comes in as [`Now`], identifiers are made outside and parsed here. The same
//! inputs give the same bytes out, which is what makes a recorded decision replayable.
//!
//! What this crate does *not* do: parse a wire protocol, verify a token, write a record or talk to
//! a person. Those are adapters around it.
//!
//! The words are the ones of the design: an *agent* works on a *task*, whose *intent* is a list of
//! *allowances*; an allowance made live is a *grant*; one concrete attempt is an *operation*; the
//! answer is a *decision*.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::unreachable
    )
)]

mod agent;
mod approval;
mod context;
mod coverage;
mod decide;
mod delegation;
mod digest;
mod effect;
mod federation;
#[cfg(test)]
mod fixture;
mod grant;
mod id;
mod intent;
pub mod invariant;
mod lease;
mod lifecycle;
mod lock;
mod name;
mod operation;
mod path;
mod permit;
mod policy;
mod reach;
mod reason;
mod registry;
mod revoked;
mod snapshot;
mod task;
mod time;
mod value;

pub use agent::{Agent, Identity, Instance, Login, Owner, OwnerError, Selectors, User};
pub use approval::{
    Answer, Approval, ApprovalEvent, ApprovalState, Approver, ApproverError, Asked, Question,
};
pub use context::{ContextEvent, ContextRules, Reaction};
pub use coverage::{Charge, Cover, Miss};
pub use decide::{
    Caller, Decision, DecisionKind, Hop, QUESTIONS_PENDING_MAX, assess, check_caller, on_use_terms,
    task_facts,
};
pub use delegation::{Cut, Handover, NotAPart, Share, Shortfall, hand_on};
pub use digest::{Digest, DigestError};
pub use effect::{EffectClass, Reach};
pub use federation::{
    FederationTarget, ROLE_BYTES_MAX, SESSION_NAME_BYTES_MAX, is_role, is_session_name,
};
pub use grant::{Amounts, Approved, Grant, GrantEvent, GrantState};
pub use id::{
    ApprovalId, DecisionId, GrantId, IdError, InstanceId, LeaseId, LockId, ReservationId, TaskId,
};
pub use intent::{
    ActionPattern, ActionPatternError, Allowance, Approve, Binding, BindingError, BindingMismatch,
    Budget, EmailBinding, Intent, IntentError, Other, Purpose, PurposeError, RegularExpression,
    RegularExpressionError, Uncovered, UrlBinding, UrlBindingError, Wider, fuzz_intent,
};
pub use lease::{Lease, LeaseEvent, LeaseState};
pub use lifecycle::{Effect, Lifecycle, TransitionError};
pub use lock::{Lock, LockEvent, LockState, LockTarget};
pub use name::{ActionName, AgentName, NameError, PolicyId, ResourceName, UserName};
pub use operation::{Arguments, ArgumentsError, Operation, OperationError, is_reserved_name};
pub use path::{Path, PathError};
pub use permit::{Attempt, Decided, Permit, Refused, decide};
pub use policy::{
    ApprovalFacts, ApprovalTerms, Document, EngineError, Obligation, Policy, Principal,
    PrincipalFacts, Target, TaskFacts, Verb, Verdict, VerdictEffect,
};
pub use reach::reachable;
pub use reason::Reason;
pub use registry::{
    ArgumentKind, OperationKind, Registered, Resource, RunAs, SecretRef, SecretSource, Transport,
    Upstream,
};
pub use revoked::RevokedToken;
pub use snapshot::{Snapshot, TASK_DEPTH_MAX, TaskView, View};
pub use task::{Closure, Suspension, Task, TaskEvent, TaskState};
pub use time::{Monotonic, Now, Timestamp};
pub use value::{Email, EmailDomain, FilePath, Number, ValueError, ValueType, WebUrl};
