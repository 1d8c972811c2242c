//! Opening a task: nobody can open one wider than policy lets them give.

use carnet_core::{
    AgentName, Allowance, Approve, Budget, Intent, LockTarget, Path, Principal, Reason, Snapshot,
    Task, TaskId, TaskState, Timestamp, Verb,
};

use crate::broker::{Broker, Done};
use crate::clock::fresh_bits;
use crate::error::BrokerError;
use crate::work::delegate::check_heir;
use crate::work::opening::Opening;
use crate::work::plan::{Giver, Planned};

/// How long a task lasts where its intent says nothing.
pub(crate) const DEADLINE_S_DEFAULT: u32 = 30 * 60;
/// The longest a task may last: a working day.
const DEADLINE_S_MAX: u32 = 8 * 60 * 60;

/// A request to open a task.
#[derive(Debug, Clone)]
pub struct OpenTask {
    /// The agent that will work on it.
    pub agent: AgentName,
    /// On whose behalf.
    pub subject: Principal,
    /// Who opens it.
    pub opened_by: Principal,
    /// What it will do.
    pub intent: Intent,
    /// Whether it is opened from the agent's standing intent.
    pub standing: bool,
}

impl Broker {
    /// Opens a task. Every allowance is judged for every operation it matches.
    pub async fn open_task(&self, request: OpenTask) -> Result<(TaskId, Done), BrokerError> {
        check_own_subject(&request)?;
        self.open_vouched(request).await
    }

    /// The same, with a subject who vouched for it, be it opened by an agent or not.
    pub(super) async fn open_vouched(
        &self,
        request: OpenTask,
    ) -> Result<(TaskId, Done), BrokerError> {
        let view = self.view();
        let now = self.now();
        if !view.snapshot.is_fresh(now) {
            return Err(BrokerError::refused(Reason::SnapshotStale, "this node's view is stale"));
        }
        check_parties(&view.snapshot, &request)?;
        check_bounds(&request.intent)?;
        let task = propose(&request, now.wall);
        let by = request.opened_by;
        let giver = Giver { view: &view, by, verb: Verb::TaskOpen, task: &task, now: now.wall };
        let terms = giver.terms(&request.intent)?;
        let planned = request.intent.allowances.iter().zip(terms).map(|(allowance, terms)| {
            let expires = expiry(allowance, task.deadline, now.wall);
            Planned { allowance: allowance.clone(), terms, expires, cut_from: None }
        });
        let (plan, policy) = (planned.collect(), view.policy.digest());
        let opening = Opening { task, intent: request.intent, plan, policy };
        let lane = self.lanes.enter(&opening.task.agent).await;
        let done = self.open(&opening, lane).await?;
        Ok((opening.task.id, done))
    }
}

fn expiry(allowance: &Allowance, deadline: Timestamp, now: Timestamp) -> Timestamp {
    let asked = allowance.expires_s.map(|s| now.plus_s(i64::from(s)));
    asked.map_or(deadline, |asked| asked.min(deadline))
}

fn propose(request: &OpenTask, now: Timestamp) -> Task {
    let deadline_s = request.intent.deadline_s.unwrap_or(DEADLINE_S_DEFAULT);
    let budget = request.intent.budget.unwrap_or_default();
    Task {
        id: TaskId::from_bits(fresh_bits()),
        agent: request.agent.clone(),
        subject: request.subject.clone(),
        opened_by: request.opened_by.clone(),
        purpose: request.intent.purpose.to_string(),
        standing: request.standing,
        parent: None,
        depth: 0,
        opened_at: now,
        deadline: now.plus_s(i64::from(deadline_s)),
        calls_max: budget.calls,
        calls_spent: 0,
        children_max: budget.fan_out,
        children: 0,
        levels_max: budget.depth.map(|levels| u32::try_from(levels).unwrap_or(u32::MAX)),
        opened_with: None,
        marked: false,
        state: TaskState::Proposed,
        suspension: None,
    }
}

fn check_parties(snapshot: &Snapshot, request: &OpenTask) -> Result<(), BrokerError> {
    check_heir(snapshot, &request.agent)?;
    if let Principal::User(user) = &request.subject
        && !snapshot.users.contains_key(user)
    {
        let hint = "add them under `[[user]]` in carnet.toml";
        return Err(BrokerError::Missing { kind: "user", id: user.to_string(), hint });
    }
    let is_locked = |party: &Principal| match party {
        Principal::User(user) => snapshot.is_locked(&LockTarget::User(user.clone())),
        Principal::Agent(agent) => snapshot.is_locked(&LockTarget::Agent(agent.clone())),
    };
    let agent = Principal::Agent(request.agent.clone());
    if let Some(party) =
        [&agent, &request.subject, &request.opened_by].into_iter().find(|party| is_locked(party))
    {
        return Err(BrokerError::refused(Reason::Locked, format!("{party} is locked")));
    }
    match &request.opened_by {
        Principal::User(_) => Ok(()),
        Principal::Agent(opener) => check_own_task(opener, request),
    }
}

/// An agent may not say on whose behalf it works: that takes the subject's own word.
fn check_own_subject(request: &OpenTask) -> Result<(), BrokerError> {
    match &request.opened_by {
        own @ Principal::Agent(_) if request.subject != *own => Err(not_its_own()),
        _ => Ok(()),
    }
}

fn not_its_own() -> BrokerError {
    BrokerError::invalid(
        "subject",
        "an agent opens tasks only for itself and on its own behalf; let the person open it",
    )
}

/// A task an agent opens is for itself and carries no unapproved write.
fn check_own_task(opener: &AgentName, request: &OpenTask) -> Result<(), BrokerError> {
    if *opener != request.agent {
        return Err(not_its_own());
    }
    for (index, allowance) in request.intent.allowances.iter().enumerate() {
        let unapproved = allowance.path != Path::Read
            && (request.standing || allowance.approve == Approve::None);
        if unapproved {
            return Err(BrokerError::invalid(
                format!("allow[{index}].approve"),
                "a write in a task an agent opens for itself must be approved: write `on_use` or `up_front`, \
                 and keep a standing intent to the read path",
            ));
        }
    }
    Ok(())
}

/// What an intent may ask for at all: a task that ends, and a budget that can be measured.
pub(crate) fn check_bounds(intent: &Intent) -> Result<(), BrokerError> {
    let deadline_s = intent.deadline_s.unwrap_or(DEADLINE_S_DEFAULT);
    if deadline_s == 0 || deadline_s > DEADLINE_S_MAX {
        return Err(BrokerError::invalid(
            "deadline",
            format!("{deadline_s} seconds: choose between 1 second and {DEADLINE_S_MAX} (8 hours)"),
        ));
    }
    let Budget { rows, spend_cents, .. } = intent.budget.unwrap_or_default();
    let unmeasured = [("rows", rows), ("spend_cents", spend_cents)];
    match unmeasured.iter().find(|(_, bound)| bound.is_some()) {
        Some((name, _)) => Err(BrokerError::invalid(
            format!("budget.{name}"),
            "this version cannot measure it and will not pretend to: remove it, or bound `calls`",
        )),
        None => Ok(()),
    }
}
