//! The decision: liveness, coverage, policy and budget, each of which must hold.

use serde::{Deserialize, Serialize};

use crate::coverage::{Cover, Coverage, Miss, cover};
use crate::{AgentName, ApprovalFacts, ApprovalTerms, Approver, Digest, Document, GrantId};
use crate::{InstanceId, LockTarget, Monotonic, Now, Operation, Owner, Path, Policy, Principal};
use crate::{
    Reason, Registered, Resource, ResourceName, Snapshot, Target, Task, TaskFacts, TaskId,
};
use crate::{TaskView, Timestamp, UserName, Verb, Verdict, VerdictEffect};

/// How many questions of one task may wait for people at once, so that a flood of requests cannot
/// wear reviewers out.
pub const QUESTIONS_PENDING_MAX: u32 = 8;
/// Who is asked where an allowance wants a person at each use and policy names nobody.
const ON_USE_APPROVER: &str = "owner";
/// How long such a question stands.
const ON_USE_TIMEOUT_S: u32 = 900;

/// Whether `caller` is live at all: what a method that names no operation is decided by.
pub fn check_caller(snapshot: &Snapshot, caller: &Caller, now: Now) -> Result<(), Reason> {
    check_liveness(snapshot, caller, now).map(|_| ())
}

/// Who calls, on which path of which resource: proved by `identify`, never claimed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The agent.
    pub agent: AgentName,
    /// Its running copy.
    pub instance: InstanceId,
    /// The task of the token.
    pub task: TaskId,
    /// The path of the token's audience.
    pub path: Path,
    /// The resource of the token's audience.
    pub resource: ResourceName,
    /// The token's id.
    pub token: String,
    /// The name of the key that signed it.
    pub key: String,
    /// When the token expires.
    pub expires: Timestamp,
    /// The thumbprint of the key the caller proved to hold, where it proved one.
    pub thumbprint: Option<String>,
}

/// The answer to one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecisionKind {
    /// It may be done.
    Permit,
    /// It may not.
    Deny,
    /// A person must say yes first.
    Ask,
}

impl DecisionKind {
    /// The answer's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Deny => "deny",
            Self::Ask => "ask",
        }
    }
}

/// An answer and everything it was made from. Pure data: the same inputs give the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The answer.
    pub kind: DecisionKind,
    /// Why not, or why a person is asked; sorted, each once. Empty on a permit.
    pub reasons: Vec<Reason>,
    /// The grant that covers it, and what it takes.
    pub cover: Option<Cover>,
    /// Why each grant of the task misses, where none covers.
    pub misses: Vec<(GrantId, Miss)>,
    /// What policy said.
    pub verdict: Option<Verdict>,
    /// What it said of each hop it was handed on by, from the task's own parent up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hops: Vec<Hop>,
    /// Who must be asked, on an ask.
    pub terms: Option<ApprovalTerms>,
    /// The document policy judged.
    pub document: Option<Document>,
    /// Whether the task counts its calls.
    pub counts_calls: bool,
    /// Whether it marks the task's tree and the copy: what it reads may come from anybody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub marks: bool,
    /// The digest of the policy set.
    pub policy: Digest,
    /// The store revision of the snapshot.
    pub revision: u64,
    /// Until when the snapshot was fresh.
    pub fresh_until: Monotonic,
    /// When it was decided.
    pub at: Timestamp,
}

/// One hop an operation was handed on by, and what policy says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// The task it was handed on to.
    pub task: TaskId,
    /// What policy judged.
    pub document: Document,
    /// What it said.
    pub verdict: Verdict,
    /// Whether that lets it be handed on: it permits, or those it asks have said yes.
    pub permits: bool,
}

impl Decision {
    /// Whether something must be set aside in the store before the operation is forwarded.
    pub fn needs_reservation(&self) -> bool {
        self.counts_calls
            || self.marks
            || self.cover.as_ref().is_some_and(|cover| !cover.charges.is_empty())
    }
}

/// Judges one operation. No I/O, no clock, no randomness.
pub fn assess(
    snapshot: &Snapshot,
    policy: &dyn Policy,
    operation: &Operation,
    caller: &Caller,
    now: Now,
) -> Decision {
    let mut decision = Decision {
        kind: DecisionKind::Deny,
        reasons: Vec::new(),
        cover: None,
        misses: Vec::new(),
        verdict: None,
        hops: Vec::new(),
        terms: None,
        document: None,
        counts_calls: false,
        marks: false,
        policy: policy.digest(),
        revision: snapshot.revision,
        fresh_until: snapshot.fresh_until,
        at: now.wall,
    };
    match check_liveness(snapshot, caller, now) {
        Err(reason) => decision.reasons.push(reason),
        Ok(live) => judge(snapshot, policy, operation, caller, &live, now, &mut decision),
    }
    decision.reasons.sort_unstable();
    decision.reasons.dedup();
    decision
}

/// What liveness found: everything below may rely on it.
struct Live<'a> {
    view: &'a TaskView,
}

/// Agent, owner, instance, task and all its ancestors: live, unexpired, unlocked; the view fresh.
fn check_liveness<'a>(
    snapshot: &'a Snapshot,
    caller: &Caller,
    now: Now,
) -> Result<Live<'a>, Reason> {
    if !snapshot.is_fresh(now) {
        return Err(Reason::SnapshotStale);
    }
    let agent = snapshot.agents.get(&caller.agent).ok_or(Reason::AgentUnknown)?;
    if let Owner::User(owner) = &agent.owner
        && !snapshot.users.contains_key(owner)
    {
        return Err(Reason::OwnerUnknown);
    }
    let instance = snapshot.instances.get(&caller.instance).ok_or(Reason::InstanceUnknown)?;
    if instance.agent != caller.agent || instance.thumbprint != caller.thumbprint {
        return Err(Reason::InstanceUnknown);
    }
    if snapshot.keys_removed.contains(&caller.key) {
        return Err(Reason::KeyRemoved);
    }
    if snapshot.tokens_revoked.contains_key(&caller.token) {
        return Err(Reason::TokenRevoked);
    }
    if now.wall >= caller.expires {
        return Err(Reason::TokenExpired);
    }
    if caller.thumbprint.is_none() && (caller.path != Path::Read || !agent.bearer_read) {
        return Err(Reason::ProofRequired);
    }
    let view = check_lineage(snapshot, caller, now.wall)?;
    check_locks(snapshot, caller)?;
    Ok(Live { view })
}

fn check_lineage<'a>(
    snapshot: &'a Snapshot,
    caller: &Caller,
    now: Timestamp,
) -> Result<&'a TaskView, Reason> {
    let view = snapshot.task(&caller.task).ok_or(Reason::TaskUnknown)?;
    if view.task.agent != caller.agent {
        return Err(Reason::TaskOfAnother);
    }
    snapshot.check_task(&caller.task, now).map(|view| &**view)
}

fn check_locks(snapshot: &Snapshot, caller: &Caller) -> Result<(), Reason> {
    if snapshot.locks.is_empty() {
        return Ok(());
    }
    let targets = [
        LockTarget::Agent(caller.agent.clone()),
        LockTarget::Instance(caller.instance.clone()),
        LockTarget::Resource(caller.resource.clone()),
    ];
    match targets.iter().any(|target| snapshot.is_locked(target)) {
        true => Err(Reason::Locked),
        false => Ok(()),
    }
}

/// The operation must be at the token's resource, as reviewed, on the token's path.
fn check_address<'a>(
    snapshot: &'a Snapshot,
    operation: &Operation,
    caller: &Caller,
) -> Result<(&'a Resource, &'a Registered), Reason> {
    if operation.resource() != &caller.resource {
        return Err(Reason::ResourceMismatch);
    }
    let resource = snapshot.resource(operation.resource()).ok_or(Reason::Unreviewed)?;
    let registered = resource.registered(operation.action()).ok_or(Reason::Unreviewed)?;
    let same = registered.pin == operation.pin()
        && registered.path == operation.path()
        && registered.effect == operation.effect();
    if !same {
        return Err(Reason::Unreviewed);
    }
    if operation.path() != caller.path {
        return Err(Reason::WrongPath);
    }
    Ok((resource, registered))
}

fn judge(
    snapshot: &Snapshot,
    policy: &dyn Policy,
    operation: &Operation,
    caller: &Caller,
    live: &Live<'_>,
    now: Now,
    decision: &mut Decision,
) {
    let (resource, registered) = match check_address(snapshot, operation, caller) {
        Ok(found) => found,
        Err(reason) => return decision.reasons.push(reason),
    };
    let coverage = cover(snapshot, live.view, operation, &caller.instance, now.wall);
    let approved_by = match &coverage {
        Ok(cover) => cover.approved_by.clone(),
        Err(_) => Vec::new(),
    };
    let target = Target::operation(resource, registered);
    let document =
        document_of(snapshot, operation, target, caller, live.view, approved_by, now.wall);
    let Some(document) = document else {
        return decision.reasons.push(Reason::AgentUnknown);
    };
    let approval = Approval { by: &document.approvals.by, task: &live.view.task };
    let verdict = approval.judge(snapshot, policy, &document);
    decision.counts_calls = live.view.task.calls_max.is_some();
    decision.marks = resource.is_untrusted() && !is_marked_whole(snapshot, live.view, caller);
    if let Ok(cover) = &coverage {
        match judge_hops(snapshot, policy, &document, caller, live.view, cover) {
            Ok(hops) => decision.hops = hops,
            Err(reason) => decision.reasons.push(reason),
        }
    }
    if decision.hops.iter().any(|hop| !hop.permits) {
        decision.reasons.push(Reason::DelegationRefused);
    }
    conclude(snapshot, live, &coverage, &verdict, decision);
    decision.document = Some(document);
    decision.verdict = Some(verdict);
    match coverage {
        Ok(cover) => decision.cover = Some(cover),
        Err(misses) => decision.misses = misses,
    }
}

/// What policy says of each hop the operation was handed on by: that the agent of the task above
/// may hand exactly this on. The grants above are those that coverage found standing.
fn judge_hops(
    snapshot: &Snapshot,
    policy: &dyn Policy,
    document: &Document,
    caller: &Caller,
    view: &TaskView,
    cover: &Cover,
) -> Result<Vec<Hop>, Reason> {
    let mut hops = Vec::new();
    let (mut view, mut grant) = (view, view.grant(&cover.grant).ok_or(Reason::NotCovered)?);
    while let Some(parent) = &view.task.parent {
        let parent = snapshot.task(parent).ok_or(Reason::AncestorClosed)?;
        let base = grant.draws_on.as_ref().map_or(Some(grant), |base| view.grant(base));
        let part = base.ok_or(Reason::NotCovered)?;
        let delegator = Principal::Agent(parent.task.agent.clone());
        let by = part.approved.as_ref().map(|approved| approved.by.clone()).unwrap_or_default();
        let asked = Document {
            principal: snapshot.principal_facts(&delegator).ok_or(Reason::AgentUnknown)?,
            verb: Verb::TaskDelegate,
            task: Some(task_facts(snapshot, &view.task, Some(&caller.instance))),
            approvals: ApprovalFacts { by },
            ..document.clone()
        };
        let approval = Approval { by: &asked.approvals.by, task: &view.task };
        let verdict = approval.judge(snapshot, policy, &asked);
        let permits = match &verdict.effect {
            VerdictEffect::Permit => true,
            VerdictEffect::Ask(terms) => approval.meets(snapshot, terms),
            VerdictEffect::Deny => false,
        };
        hops.push(Hop { task: view.task.id.clone(), document: asked, verdict, permits });
        let whole = part.cut_from.as_ref().and_then(|id| parent.grant(id));
        (view, grant) = (parent, whole.ok_or(Reason::NotCovered)?);
    }
    Ok(hops)
}

/// Who said yes to what is done in a task.
struct Approval<'a> {
    by: &'a [UserName],
    task: &'a Task,
}

impl Approval<'_> {
    /// What policy says, with those who said yes counted only where they meet the terms policy sets
    /// today: an engine sees names, the snapshot knows what they stand for.
    fn judge(&self, snapshot: &Snapshot, policy: &dyn Policy, document: &Document) -> Verdict {
        let verdict = policy.judge(document);
        if self.by.is_empty() || verdict.effect != VerdictEffect::Permit {
            return verdict;
        }
        let unapproved = Document { approvals: ApprovalFacts::default(), ..document.clone() };
        let bare = policy.judge(&unapproved);
        match &bare.effect {
            VerdictEffect::Ask(terms) if !self.meets(snapshot, terms) => bare,
            _ => verdict,
        }
    }

    /// Whether they meet today's terms: the stored yes is judged again.
    fn meets(&self, snapshot: &Snapshot, terms: &ApprovalTerms) -> bool {
        let agent = snapshot.agents.get(&self.task.agent);
        let Some(owner) = agent.map(|agent| agent.owner.to_string()) else { return false };
        let chain = snapshot.delegators(&self.task.id);
        let counts = |name: &&UserName| {
            let teams = snapshot.users.get(*name).map(|user| &user.teams);
            teams.is_some_and(|teams| {
                let approver = Approver { user: name, teams };
                approver.may_approve(terms, &self.task.subject, &chain, &owner).is_ok()
            })
        };
        let met = self.by.iter().filter(counts).count();
        !terms.approvers.is_empty() && met >= terms.threshold.max(1) as usize
    }
}

/// Whether both the tree and the copy are marked, so that nothing is left to mark.
fn is_marked_whole(snapshot: &Snapshot, view: &TaskView, caller: &Caller) -> bool {
    let copy = snapshot.instances.get(&caller.instance);
    snapshot.is_marked(&view.task, None) && copy.is_some_and(|copy| copy.marked)
}

/// The facts policy may know of `task`, when `by` works on it.
pub fn task_facts(snapshot: &Snapshot, task: &Task, by: Option<&InstanceId>) -> TaskFacts {
    TaskFacts {
        purpose: task.purpose.clone(),
        agent: task.agent.clone(),
        subject: task.subject.clone(),
        opened_by: task.opened_by.clone(),
        standing: task.standing,
        depth: task.depth,
        marked: snapshot.is_marked(task, by),
    }
}

fn document_of(
    snapshot: &Snapshot,
    operation: &Operation,
    target: Target,
    caller: &Caller,
    view: &TaskView,
    approved_by: Vec<UserName>,
    now: Timestamp,
) -> Option<Document> {
    Some(Document {
        principal: snapshot.principal_facts(&Principal::Agent(view.task.agent.clone()))?,
        verb: Verb::mcp(operation.path()),
        target,
        task: Some(task_facts(snapshot, &view.task, Some(&caller.instance))),
        approvals: ApprovalFacts { by: approved_by },
        arguments: operation.arguments().clone(),
        now,
    })
}

/// Joins coverage, policy and budget into the answer. The order of the checks is the order of
/// strictness: nothing a person could say outweighs a forbid or a spent budget.
fn conclude(
    snapshot: &Snapshot,
    live: &Live<'_>,
    coverage: &Coverage,
    verdict: &Verdict,
    decision: &mut Decision,
) {
    let task = &live.view.task;
    if task.calls_max.is_some_and(|max| task.calls_spent >= max) {
        decision.reasons.push(Reason::BudgetSpent);
    }
    let policy_terms = match &verdict.effect {
        VerdictEffect::Deny => {
            decision.reasons.push(refusal_of(verdict));
            None
        }
        VerdictEffect::Permit => None,
        VerdictEffect::Ask(terms) => Some(terms),
    };
    let asked = match coverage {
        Ok(cover) => {
            let approval = Approval { by: &cover.approved_by, task };
            let unmet = |terms: &&ApprovalTerms| !approval.meets(snapshot, terms);
            merge(policy_terms.filter(unmet), cover.wants_approval)
        }
        Err(_) => policy_terms.cloned(),
    };
    if let (Err(misses), None) = (coverage, &asked) {
        let is_spent = misses.iter().any(|(_, miss)| *miss == Miss::Spent);
        decision.reasons.push(if is_spent { Reason::GrantSpent } else { Reason::NotCovered });
    }
    if asked.is_some() && live.view.questions_pending >= QUESTIONS_PENDING_MAX {
        decision.reasons.push(Reason::QuestionsPending);
    }
    decision.kind = match (&decision.reasons[..], &asked) {
        ([], None) => DecisionKind::Permit,
        ([], Some(_)) => DecisionKind::Ask,
        _ => return,
    };
    if asked.is_some() {
        decision.reasons.push(Reason::ApprovalNeeded);
        decision.terms = asked;
    }
}

fn refusal_of(verdict: &Verdict) -> Reason {
    match (verdict.determining.is_empty(), verdict.errors.is_empty()) {
        (false, _) => Reason::PolicyForbids,
        (true, false) => Reason::PolicyFailed,
        (true, true) => Reason::PolicyDoesNotPermit,
    }
}

fn merge(policy: Option<&ApprovalTerms>, wants_approval: bool) -> Option<ApprovalTerms> {
    match (policy, wants_approval) {
        (Some(terms), _) => Some(terms.clone()),
        (None, true) => Some(on_use_terms()),
        (None, false) => None,
    }
}

/// The terms of an allowance that wants a person where policy names nobody: the agent's owner.
pub fn on_use_terms() -> ApprovalTerms {
    ApprovalTerms {
        approvers: [ON_USE_APPROVER.to_owned()].into(),
        threshold: 1,
        timeout_s: ON_USE_TIMEOUT_S,
    }
}

/// Whether a permit decided on an older snapshot still holds on this one.
pub(crate) fn recheck(
    snapshot: &Snapshot,
    operation: &Operation,
    caller: &Caller,
    cover: &Cover,
    now: Now,
) -> Result<(), Reason> {
    let live = check_liveness(snapshot, caller, now)?;
    check_address(snapshot, operation, caller)?;
    // The allowance an approved use draws on may have been taken back since.
    let drawn_on = cover.charges.iter().map(|charge| &charge.grant);
    for id in std::iter::once(&cover.grant).chain(drawn_on) {
        let grant = live.view.grants.iter().find(|grant| grant.id == *id);
        let grant = grant.ok_or(Reason::NotCovered)?;
        // The operation's own reservation may have spent the last use.
        let is_charged = cover.charges.iter().any(|charge| charge.grant == *id);
        let is_last = is_charged && grant.state == crate::GrantState::Exhausted;
        let holds = grant.is_live(now.wall) || (is_last && now.wall < grant.expires);
        let is_cut_off = snapshot.grants_above(live.view, grant, now.wall).is_err();
        if !holds || is_cut_off || snapshot.is_locked(&LockTarget::Grant(grant.id.clone())) {
            return Err(Reason::NotCovered);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
