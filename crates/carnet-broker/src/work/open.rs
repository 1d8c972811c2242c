//! Opening a task: nobody can open one wider than policy lets them give.

use carnet_core::{AgentName, Closure, Digest, LockTarget, Registered, Resource};
use carnet_core::{
    Allowance, ApprovalFacts, ApprovalTerms, Approve, Arguments, Document, Grant, GrantEvent,
    GrantId, GrantState, Intent, Path, Principal, Reason, Snapshot, Target, Task, TaskEvent,
    TaskFacts, TaskId, TaskState, Timestamp, Verb, VerdictEffect, View, on_use_terms,
};
use carnet_ledger::{Sealed, fault_point};
use serde_json::json;

use crate::broker::{Broker, Done};
use crate::clock::fresh_bits;
use crate::draft::Draft;
use crate::error::BrokerError;
use crate::item::Item;
use crate::state::State;
use crate::work::ask;

/// How long a task lasts where its intent says nothing.
const DEADLINE_S_DEFAULT: u32 = 30 * 60;
/// The longest a task may last: a working day.
const DEADLINE_S_MAX: u32 = 8 * 60 * 60;
/// The most tasks one agent may have open at once.
const TASKS_OPEN_MAX: usize = 256;
/// How many grants are written in one commit, each with its question.
const GRANTS_A_STEP: usize = 20;

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

/// A grant as it will stand, and whom to ask where a person must approve it first.
struct Planned {
    allowance: Allowance,
    terms: Option<ApprovalTerms>,
}

impl Broker {
    /// Opens a task. Every allowance is judged for every operation it matches.
    pub async fn open_task(&self, request: OpenTask) -> Result<(TaskId, Done), BrokerError> {
        let view = self.view();
        let now = self.now();
        if !view.snapshot.is_fresh(now) {
            return Err(BrokerError::refused(Reason::SnapshotStale, "this node's view is stale"));
        }
        check_parties(&view.snapshot, &request)?;
        check_bounds(&request)?;
        let opening = Opening {
            id: TaskId::from_bits(fresh_bits()),
            plan: plan_grants(&view, &request, now.wall)?,
            policy: view.policy.digest(),
            request,
        };
        fault_point("open.before");
        let lane = self.lanes.enter(&opening.request.agent).await;
        let mut done = self.open_step(&opening, 0).await?;
        drop(lane);
        for step in 1..opening.steps() {
            done = match self.open_step(&opening, step).await {
                Ok(done) => done,
                // It was never open: what is there of it is taken back.
                Err(error) => {
                    let by = &opening.request.opened_by;
                    let _ = self.close_task(&opening.id, Closure::Failed, by).await;
                    return Err(error);
                }
            };
        }
        fault_point("open.after");
        Ok((opening.id, done))
    }

    /// Writes one part of the plan. The first proposes the task, the last opens it: nothing in it is
    /// permitted before.
    async fn open_step(&self, opening: &Opening, step: usize) -> Result<Done, BrokerError> {
        let (_, done) = self
            .transact(&opening.request.opened_by, |state, draft, now| {
                draft.widens();
                opening.compose(state, draft, step, now)
            })
            .await?;
        Ok(done)
    }
}

/// A task about to be opened.
struct Opening {
    request: OpenTask,
    id: TaskId,
    plan: Vec<Planned>,
    policy: Digest,
}

impl Opening {
    fn steps(&self) -> usize {
        self.plan.len().div_ceil(GRANTS_A_STEP).max(1)
    }

    fn compose(
        &self,
        state: &State,
        draft: &mut Draft<'_>,
        step: usize,
        now: Timestamp,
    ) -> Result<(), BrokerError> {
        let task = match step {
            0 => {
                check_room(state, &self.request)?;
                propose(&self.request, self.id.clone(), now)
            }
            _ => {
                let gone = || BrokerError::refused(Reason::TaskUnknown, "it was closed meanwhile");
                state.snapshot.task(&self.id).ok_or_else(gone)?.task.clone()
            }
        };
        let (deadline, is_last) = (task.deadline, step + 1 >= self.steps());
        let task = match is_last {
            true => {
                let (task, effects) = task.apply(TaskEvent::Open, now)?;
                record_opening(draft, &self.request, &self.id, &effects);
                task
            }
            false => task,
        };
        // The task before its grants: those of a task nobody knows are history.
        if step == 0 || is_last {
            draft.put(Item::Task(task))?;
        }
        for planned in self.plan.iter().skip(step * GRANTS_A_STEP).take(GRANTS_A_STEP) {
            add_grant(draft, &self.id, planned, deadline, self.policy, now)?;
        }
        Ok(())
    }
}

fn propose(request: &OpenTask, id: TaskId, now: Timestamp) -> Task {
    let deadline_s = request.intent.deadline_s.unwrap_or(DEADLINE_S_DEFAULT);
    Task {
        id,
        agent: request.agent.clone(),
        subject: request.subject.clone(),
        opened_by: request.opened_by.clone(),
        purpose: request.intent.purpose.to_string(),
        standing: request.standing,
        parent: None,
        depth: 0,
        opened_at: now,
        deadline: now.plus_s(i64::from(deadline_s)),
        calls_max: request.intent.budget.as_ref().and_then(|budget| budget.calls),
        calls_spent: 0,
        children_max: None,
        children: 0,
        levels_max: None,
        marked: false,
        state: TaskState::Proposed,
    }
}

/// How many tasks of the agent are open already; of its own standing ones there is one.
fn check_room(state: &State, request: &OpenTask) -> Result<(), BrokerError> {
    let tasks = state.snapshot.tasks.values();
    let mine = tasks.filter(|view| view.task.agent == request.agent);
    if mine.count() >= TASKS_OPEN_MAX {
        return Err(BrokerError::refused(
            Reason::BudgetSpent,
            format!("agent {} has {TASKS_OPEN_MAX} tasks open: close some first", request.agent),
        ));
    }
    Ok(())
}

fn record_opening(
    draft: &mut Draft<'_>,
    request: &OpenTask,
    id: &TaskId,
    effects: &[carnet_core::Effect],
) {
    let details = json!({
        "agent": request.agent, "subject": request.subject.to_string(), "standing": request.standing,
    });
    let sealed = vec![Sealed {
        name: "intent".into(),
        value: serde_json::to_value(&request.intent).unwrap_or_default(),
    }];
    let subject = request.subject.to_string();
    for effect in effects {
        if let carnet_core::Effect::Append { transition, .. } = effect {
            let kind = carnet_ledger::Kind::Task;
            let sealed = Some((subject.as_str(), sealed.clone()));
            draft.record(kind, id.as_str(), transition, false, &details, sealed);
        }
    }
}

/// Adds one grant: active where nobody need be asked, pending where a person must.
fn add_grant(
    draft: &mut Draft<'_>,
    task: &TaskId,
    planned: &Planned,
    deadline: Timestamp,
    policy: Digest,
    now: Timestamp,
) -> Result<(), BrokerError> {
    let expires = planned.allowance.expires_s.map(|s| now.plus_s(i64::from(s)));
    let grant = Grant {
        id: GrantId::from_bits(fresh_bits()),
        task: task.clone(),
        allowance: planned.allowance.clone(),
        expires: expires.map_or(deadline, |expires| expires.min(deadline)),
        uses_spent: 0,
        totals_spent: Default::default(),
        approved: None,
        draws_on: None,
        cut_from: None,
        state: GrantState::Requested,
    };
    let details =
        json!({ "task": task, "action": grant.allowance.action, "path": grant.allowance.path });
    let (grant, effects) = match &planned.terms {
        None => grant.apply(GrantEvent::Activate, now)?,
        Some(terms) => {
            let approval = ask::up_front(&grant, terms.clone(), policy, now)?;
            let asked = approval.id.clone();
            ask::put(draft, approval, "asked")?;
            grant.apply(GrantEvent::Ask(asked), now)?
        }
    };
    draft.transition(Item::Grant(grant), &effects, details)
}

fn check_parties(snapshot: &Snapshot, request: &OpenTask) -> Result<(), BrokerError> {
    if !snapshot.agents.contains_key(&request.agent) {
        return Err(BrokerError::Missing {
            kind: "agent",
            id: request.agent.to_string(),
            hint: "register it with `carnet agent add`",
        });
    }
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

/// A task an agent opens for itself runs on its own behalf and carries no unapproved write.
fn check_own_task(opener: &AgentName, request: &OpenTask) -> Result<(), BrokerError> {
    if *opener != request.agent || request.subject != Principal::Agent(opener.clone()) {
        return Err(BrokerError::invalid(
            "subject",
            "an agent opens tasks only for itself and on its own behalf; let the person open it",
        ));
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

fn check_bounds(request: &OpenTask) -> Result<(), BrokerError> {
    let deadline_s = request.intent.deadline_s.unwrap_or(DEADLINE_S_DEFAULT);
    if deadline_s == 0 || deadline_s > DEADLINE_S_MAX {
        return Err(BrokerError::invalid(
            "deadline",
            format!("{deadline_s} seconds: choose between 1 second and {DEADLINE_S_MAX} (8 hours)"),
        ));
    }
    if let Some(budget) = &request.intent.budget {
        let measured = [
            ("rows", budget.rows),
            ("spend_cents", budget.spend_cents),
            ("fan_out", budget.fan_out),
            ("depth", budget.depth),
        ];
        if let Some((name, _)) = measured.iter().find(|(_, bound)| bound.is_some()) {
            return Err(BrokerError::invalid(
                format!("budget.{name}"),
                "this version cannot measure it and will not pretend to: remove it, or bound `calls`",
            ));
        }
    }
    Ok(())
}

fn plan_grants(
    view: &View,
    request: &OpenTask,
    now: Timestamp,
) -> Result<Vec<Planned>, BrokerError> {
    let allowances = request.intent.allowances.iter().enumerate();
    allowances.map(|(index, allowance)| plan_grant(view, request, index, allowance, now)).collect()
}

fn plan_grant(
    view: &View,
    request: &OpenTask,
    index: usize,
    allowance: &Allowance,
    now: Timestamp,
) -> Result<Planned, BrokerError> {
    let mut asked: Option<ApprovalTerms> = None;
    let mut matched = false;
    for (resource, registered) in matching(&view.snapshot, allowance) {
        matched = true;
        let document = opening(view, request, resource, registered, now)?;
        let verdict = view.policy.judge(&document);
        match verdict.effect {
            VerdictEffect::Permit => {}
            VerdictEffect::Ask(terms) if asked.as_ref().is_none_or(|known| *known == terms) => {
                asked = Some(terms);
            }
            VerdictEffect::Ask(_) => {
                let problem =
                    "different people must approve different operations it matches: split it";
                return Err(BrokerError::invalid(format!("allow[{index}].action"), problem));
            }
            VerdictEffect::Deny => {
                return Err(denied(index, registered, request, &verdict));
            }
        }
    }
    if !matched {
        let problem = format!(
            "`{}` matches no reviewed operation on the {} path: see `carnet resource show`, or review it first",
            allowance.action, allowance.path
        );
        return Err(BrokerError::invalid(format!("allow[{index}].action"), problem));
    }
    if asked.is_none() && allowance.approve == Approve::UpFront {
        asked = Some(on_use_terms());
    }
    Ok(Planned { allowance: allowance.clone(), terms: asked })
}

/// The reviewed operations `allowance` speaks of.
pub(crate) fn matching<'a>(
    snapshot: &'a Snapshot,
    allowance: &'a Allowance,
) -> impl Iterator<Item = (&'a Resource, &'a Registered)> {
    snapshot.resources.values().flat_map(move |resource| {
        let operations = resource.operations.values();
        let matching = operations.filter(|registered| {
            registered.path == allowance.path && allowance.action.matches(&registered.action)
        });
        matching.map(move |registered| (&**resource, registered))
    })
}

fn opening(
    view: &View,
    request: &OpenTask,
    resource: &Resource,
    registered: &Registered,
    now: Timestamp,
) -> Result<Document, BrokerError> {
    let principal = view.snapshot.principal_facts(&request.opened_by).ok_or_else(|| {
        BrokerError::refused(Reason::AgentUnknown, format!("{} is not known", request.opened_by))
    })?;
    Ok(Document {
        principal,
        verb: Verb::TaskOpen,
        target: Target::operation(resource, registered),
        task: Some(TaskFacts {
            purpose: request.intent.purpose.to_string(),
            agent: request.agent.clone(),
            subject: request.subject.clone(),
            opened_by: request.opened_by.clone(),
            standing: request.standing,
            depth: 0,
            marked: false,
        }),
        approvals: ApprovalFacts::default(),
        arguments: Arguments::default(),
        now,
    })
}

fn denied(
    index: usize,
    registered: &Registered,
    request: &OpenTask,
    verdict: &carnet_core::Verdict,
) -> BrokerError {
    let because = match verdict.determining.as_slice() {
        [] => "no policy permits it".to_owned(),
        ids => format!("policy {ids:?} forbids it"),
    };
    let reason = match verdict.determining.is_empty() {
        true => Reason::PolicyDoesNotPermit,
        false => Reason::PolicyForbids,
    };
    BrokerError::refused(
        reason,
        format!(
            "allow[{index}]: {} may not open a task of {} for {} with the purpose {}: {because}",
            request.opened_by, request.agent, registered.action, request.intent.purpose
        ),
    )
}
