//! Writing a planned task: proposed, given its grants, opened, each with its record.

use carnet_core::{
    AgentName, Closure, Cut, Digest, Effect, Grant, GrantEvent, GrantId, GrantState, Intent,
    Principal, Reason, Task, TaskEvent, TaskId, Timestamp, hand_on,
};
use carnet_ledger::{Sealed, fault_point};
use serde_json::json;
use tokio::sync::MutexGuard;

use crate::broker::{Broker, Done};
use crate::clock::fresh_bits;
use crate::draft::Draft;
use crate::error::BrokerError;
use crate::item::Item;
use crate::state::State;
use crate::work::ask;
use crate::work::open::DEADLINE_S_DEFAULT;
use crate::work::plan::Planned;

/// The most tasks one agent may have open at once.
const TASKS_OPEN_MAX: usize = 256;
/// The most of them that one other agent handed on to it, so that none takes the room of all.
const TASKS_HANDED_ON_MAX: usize = 32;
/// How many grants are written in one commit, each with its question.
const GRANTS_A_STEP: usize = 20;

/// A task about to be opened.
pub(crate) struct Opening {
    /// The task, proposed.
    pub(crate) task: Task,
    pub(crate) intent: Intent,
    pub(crate) plan: Vec<Planned>,
    /// The policy set it was judged by.
    pub(crate) policy: Digest,
}

impl Broker {
    /// Writes `opening`. It keeps the lane it came by until others see the task.
    pub(crate) async fn open(
        &self,
        opening: &Opening,
        lane: Option<MutexGuard<'_, ()>>,
    ) -> Result<Done, BrokerError> {
        fault_point("open.before");
        let mut done = self.open_step(opening, 0, lane).await?;
        for step in 1..opening.steps() {
            done = match self.open_step(opening, step, None).await {
                Ok(done) => done,
                // It was never open: what is there of it is taken back.
                Err(error) => {
                    let by = &opening.task.opened_by;
                    let _ = self.close_task(&opening.task.id, Closure::Failed, by).await;
                    return Err(error);
                }
            };
        }
        fault_point("open.after");
        Ok(done)
    }

    /// Writes one part of the plan. The first proposes the task, the last opens it: nothing in it is
    /// permitted before.
    async fn open_step(
        &self,
        opening: &Opening,
        step: usize,
        lane: Option<MutexGuard<'_, ()>>,
    ) -> Result<Done, BrokerError> {
        let compose = |state: &State, draft: &mut Draft<'_>, now| {
            draft.widens();
            opening.compose(state, draft, step, now)
        };
        let ((), made) = self.commit(&opening.task.opened_by, compose).await?;
        self.follow_in_lane(&made, lane).await?;
        self.take_effect(made).await
    }
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
                check_room(state, &self.task)?;
                if let Some(parent) = &self.task.parent {
                    let asked = self.plan.iter().filter(|planned| planned.terms.is_some());
                    ask::check_questions(state, parent, asked.count())?;
                    self.take_from(state, draft, parent, now)?;
                }
                self.task.clone()
            }
            _ => {
                let gone = || BrokerError::refused(Reason::TaskUnknown, "it was closed meanwhile");
                state.snapshot.task(&self.task.id).ok_or_else(gone)?.task.clone()
            }
        };
        let is_last = step + 1 >= self.steps();
        let task = match is_last {
            true => {
                let (task, effects) = task.apply(TaskEvent::Open, now)?;
                self.record(draft, &effects);
                task
            }
            false => task,
        };
        // The task before its grants: those of a task nobody knows are history.
        if step == 0 || is_last {
            draft.put(Item::Task(task))?;
        }
        for planned in self.plan.iter().skip(step * GRANTS_A_STEP).take(GRANTS_A_STEP) {
            add_grant(draft, &self.task.id, planned, self.policy, now)?;
        }
        Ok(())
    }

    /// Takes what moves to the task from the one above it, as that stands now.
    fn take_from(
        &self,
        state: &State,
        draft: &mut Draft<'_>,
        parent: &TaskId,
        now: Timestamp,
    ) -> Result<(), BrokerError> {
        let why = |reason| BrokerError::refused(reason, format!("{parent} is not live any more"));
        let view = state.snapshot.check_task(parent, now).map_err(why)?;
        let at = self.task.opened_at;
        let handover = hand_on(&state.snapshot, view, &self.intent, DEADLINE_S_DEFAULT, at)?;
        let is_planned =
            |(cut, planned): (&Cut, &Planned)| Some(&cut.from) == planned.cut_from.as_ref();
        if !handover.cuts.iter().zip(&self.plan).all(is_planned) {
            return Err(BrokerError::Contended { attempts: 1 });
        }
        draft.put(Item::Task(handover.parent))?;
        for grant in handover.grants {
            draft.put(Item::Grant(grant))?;
        }
        Ok(())
    }

    fn record(&self, draft: &mut Draft<'_>, effects: &[Effect]) {
        let task = &self.task;
        let subject = task.subject.to_string();
        let mut details = json!({
            "agent": task.agent, "subject": subject, "standing": task.standing,
        });
        if let (Some(parent), Some(details)) = (&task.parent, details.as_object_mut()) {
            details.insert("parent".to_owned(), json!(parent));
            details.insert("depth".to_owned(), json!(task.depth));
        }
        let value = serde_json::to_value(&self.intent).unwrap_or_default();
        let sealed = vec![Sealed { name: "intent".into(), value }];
        for effect in effects {
            if let Effect::Append { transition, .. } = effect {
                let sealed = Some((subject.as_str(), sealed.clone()));
                let kind = carnet_ledger::Kind::Task;
                draft.record(kind, task.id.as_str(), transition, false, &details, sealed);
            }
        }
    }
}

/// How many tasks of the agent are open already, and how many of them the same agent handed on.
fn check_room(state: &State, task: &Task) -> Result<(), BrokerError> {
    let tasks = || state.snapshot.tasks.values().filter(|view| view.task.agent == task.agent);
    if tasks().count() >= TASKS_OPEN_MAX {
        let detail =
            format!("agent {} has {TASKS_OPEN_MAX} tasks open: close some first", task.agent);
        return Err(BrokerError::refused(Reason::BudgetSpent, detail));
    }
    let alike = |by: &AgentName| {
        let by = Principal::Agent(by.clone());
        tasks().filter(|view| view.task.parent.is_some() && view.task.opened_by == by).count()
    };
    match &task.opened_by {
        Principal::Agent(by) if task.parent.is_some() && alike(by) >= TASKS_HANDED_ON_MAX => {
            let detail = format!(
                "{by} has handed {TASKS_HANDED_ON_MAX} tasks on to {} that are open: let some end first",
                task.agent
            );
            Err(BrokerError::refused(Reason::BudgetSpent, detail))
        }
        _ => Ok(()),
    }
}

/// Adds one grant: active where nobody need be asked, pending where a person must.
fn add_grant(
    draft: &mut Draft<'_>,
    task: &TaskId,
    planned: &Planned,
    policy: Digest,
    now: Timestamp,
) -> Result<(), BrokerError> {
    let grant = Grant {
        id: GrantId::from_bits(fresh_bits()),
        task: task.clone(),
        allowance: planned.allowance.clone(),
        expires: planned.expires,
        uses_spent: 0,
        totals_spent: Default::default(),
        approved: None,
        draws_on: None,
        cut_from: planned.cut_from.clone(),
        state: GrantState::Requested,
    };
    let mut details =
        json!({ "task": task, "action": grant.allowance.action, "path": grant.allowance.path });
    if let (Some(from), Some(details)) = (&grant.cut_from, details.as_object_mut()) {
        details.insert("cut_from".to_owned(), json!(from));
        details.insert("uses".to_owned(), json!(grant.allowance.uses));
        details.insert("total".to_owned(), json!(grant.allowance.total));
    }
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
