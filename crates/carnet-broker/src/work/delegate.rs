//! Delegation: an agent hands on a part of what its task has left, as a task of another agent. That
//! one redeems it with its own identity and its own key; who handed it on never holds its token.

use carnet_core::{
    AgentName, Handover, InstanceId, Intent, LockTarget, Principal, Reason, Snapshot, Task, TaskId,
    TaskState, Timestamp, Verb, View, hand_on,
};
use carnet_identity::Thumbprint;
use serde_json::{Map, json};

use crate::broker::{Broker, Done};
use crate::clock::fresh_bits;
use crate::error::BrokerError;
use crate::work::open::{DEADLINE_S_DEFAULT, check_bounds};
use crate::work::opening::Opening;
use crate::work::plan::{Giver, Planned};
use crate::work::token::{check_agent, unknown};
use crate::work::turned_down::Refused;

/// A request to hand a part of a task on, by an agent that has proved who it is.
#[derive(Debug, Clone)]
pub struct DelegateTask {
    /// Who hands on.
    pub by: AgentName,
    /// The key it proved to hold.
    pub thumbprint: Thumbprint,
    /// Its task.
    pub parent: TaskId,
    /// Who is to do it.
    pub agent: AgentName,
    /// What they will do.
    pub intent: Intent,
    /// The name of the token it is handed on with, where it is with one.
    pub opened_with: Option<String>,
}

impl Broker {
    /// Opens a task of another agent with a part of what a task has left. What is refused is
    /// recorded too.
    pub async fn delegate_task(
        &self,
        request: DelegateTask,
    ) -> Result<(TaskId, Done), BrokerError> {
        let delegated = self.delegate(&request).await;
        if let Err(error) = &delegated {
            self.record_refused(&request, error);
        }
        delegated
    }

    async fn delegate(&self, request: &DelegateTask) -> Result<(TaskId, Done), BrokerError> {
        let copy = self.check_delegator(request).await?;
        check_bounds(&request.intent)?;
        // What it has left changes in this lane only.
        let lane = self.lanes.enter(&Some(&request.parent)).await;
        let (view, now) = (self.view(), self.now().wall);
        let opening = plan(&view, request, &copy, now)?;
        let done = self.open(&opening, lane).await?;
        Ok((opening.task.id, done))
    }

    /// Whether who asks is live, and the task theirs. Tells which of its copies asks.
    async fn check_delegator(&self, request: &DelegateTask) -> Result<InstanceId, BrokerError> {
        let view = self.view();
        if !view.snapshot.is_fresh(self.now()) {
            return Err(BrokerError::refused(Reason::SnapshotStale, "this node's view is stale"));
        }
        check_known(&view.snapshot, &request.by)?;
        let instance = self.ensure_instance(&request.by, Some(&request.thumbprint)).await?;
        if self.view().snapshot.is_locked(&LockTarget::Instance(instance.clone())) {
            return Err(BrokerError::refused(Reason::Locked, format!("{instance} is locked")));
        }
        let view = self.view();
        let held = view.snapshot.task(&request.parent).ok_or_else(|| unknown(&request.parent))?;
        if held.task.agent != request.by {
            return Err(unknown(&request.parent));
        }
        let why = |reason: Reason| {
            BrokerError::refused(reason, format!("{}: {}", request.parent, reason.advice()))
        };
        view.snapshot.check_task(&request.parent, self.now().wall).map(|_| instance).map_err(why)
    }

    fn record_refused(&self, request: &DelegateTask, error: &BrokerError) {
        let reason = match error {
            BrokerError::Refused { reason, .. } => *reason,
            BrokerError::NotAPart(_) => Reason::NotAPart,
            BrokerError::Missing { .. } => Reason::AgentUnknown,
            _ => return,
        };
        let mut header = Map::new();
        header.insert("to".into(), json!(request.agent));
        header.insert("task".into(), json!(request.parent));
        let agent = &request.by;
        self.record_turned_down(Refused { agent, event: "delegation_refused", reason, header });
    }
}

/// The child task: a part of what the parent has left, and what policy lets be handed on.
fn plan(
    view: &View,
    request: &DelegateTask,
    copy: &InstanceId,
    now: Timestamp,
) -> Result<Opening, BrokerError> {
    let snapshot = &view.snapshot;
    let parent = snapshot.task(&request.parent).ok_or_else(|| unknown(&request.parent))?;
    let handover = hand_on(snapshot, parent, &request.intent, DEADLINE_S_DEFAULT, now)?;
    let marked = snapshot.is_marked(&parent.task, Some(copy));
    let task = propose(request, &parent.task, &handover, marked, now);
    let by = Principal::Agent(request.by.clone());
    let giver = Giver { view, by, verb: Verb::TaskDelegate, task: &task, now };
    let terms = giver.terms(&request.intent)?;
    // After policy: whom an agent may not hand anything on to, it does not learn of.
    check_heir(snapshot, &request.agent)?;
    let planned = handover.cuts.into_iter().zip(terms).map(|(cut, terms)| Planned {
        allowance: cut.allowance,
        terms,
        expires: cut.expires,
        cut_from: Some(cut.from),
    });
    let (plan, policy) = (planned.collect(), view.policy.digest());
    Ok(Opening { task, intent: request.intent.clone(), plan, policy })
}

fn propose(
    request: &DelegateTask,
    parent: &Task,
    handover: &Handover,
    marked: bool,
    now: Timestamp,
) -> Task {
    Task {
        id: TaskId::from_bits(fresh_bits()),
        agent: request.agent.clone(),
        subject: parent.subject.clone(),
        opened_by: Principal::Agent(request.by.clone()),
        purpose: parent.purpose.clone(),
        standing: false,
        parent: Some(parent.id.clone()),
        depth: parent.depth + 1,
        opened_at: now,
        deadline: handover.deadline,
        calls_max: handover.calls_max,
        calls_spent: 0,
        children_max: handover.children_max,
        children: 0,
        levels_max: handover.levels_max,
        opened_with: request.opened_with.clone(),
        marked,
        state: TaskState::Proposed,
        suspension: None,
    }
}

/// An agent that is registered, has an owner, and is not locked.
fn check_known(snapshot: &Snapshot, name: &AgentName) -> Result<(), BrokerError> {
    let agent = snapshot.agents.get(name).ok_or_else(|| {
        BrokerError::refused(Reason::AgentUnknown, format!("{name} is not registered"))
    })?;
    check_agent(snapshot, agent)
}

/// Who gets a task: registered, with an owner who is known, and not locked.
pub(crate) fn check_heir(snapshot: &Snapshot, name: &AgentName) -> Result<(), BrokerError> {
    let missing = || BrokerError::Missing {
        kind: "agent",
        id: name.to_string(),
        hint: "register it with `carnet agent add`",
    };
    check_agent(snapshot, snapshot.agents.get(name).ok_or_else(missing)?)
}
