//! One change of context, and what the rules say is done about it.

use std::collections::BTreeSet;

use carnet_core::{
    Agent, AgentName, Closure, ContextEvent, Lock, LockId, LockState, LockTarget, Principal,
    Reaction, Task, TaskId, TaskState, Timestamp, UserName,
};
use carnet_ledger::fault_point;
use carnet_store::{Key, Kind};
use serde_json::{Value, json};

use crate::broker::{Broker, Done, lock as lock_mutex};
use crate::clock::fresh_bits;
use crate::context::suspend::suspend_below;
use crate::draft::Draft;
use crate::error::BrokerError;
use crate::item::{Attestation, Item};
use crate::state::State;
use crate::work::close::close_below;
use crate::work::sweep::carnet;

/// How many commits one change may take: each does as much as fits in it.
const STEPS_MAX: usize = 10_000;
/// The most tasks that the record of a change names; it counts them all.
const TASKS_NAMED_MAX: usize = 16;

/// Something became of an agent or a person.
#[derive(Debug, Clone)]
pub struct ContextChange {
    /// What.
    pub event: ContextEvent,
    /// Of whom.
    pub of: Principal,
    /// What the record says of it besides.
    pub details: Value,
    /// Whether the running copies of the agent are told by something else now: those that are known
    /// are forgotten, whatever the rules say.
    pub forgets_copies: bool,
}

impl Broker {
    /// Does what the rules say about a change. Where that takes something away it is a brake: no policy
    /// can disable it, and it takes effect even where the store cannot write it.
    pub async fn change_context(
        &self,
        change: &ContextChange,
        by: &Principal,
    ) -> Result<Done, BrokerError> {
        let reaction = self.rules().reaction(change.event);
        // Nobody says yes, in what they began before, to what comes after.
        if takes_away(change, reaction) {
            lock_mutex(&self.flows).forget(&change.of);
        }
        let (mut left, mut done) = self.change_step(change, reaction, by, true).await?;
        fault_point("context.first");
        for _ in 0..STEPS_MAX {
            if !left {
                break;
            }
            let step = self.change_step(change, reaction, by, false).await?;
            left = step.0;
            done.complete_at = step.1.complete_at;
            // All of it is durable, or it is not.
            done.revision = done.revision.and(step.1.revision);
        }
        Ok(done)
    }

    async fn change_step(
        &self,
        change: &ContextChange,
        reaction: Reaction,
        by: &Principal,
        is_first: bool,
    ) -> Result<(bool, Done), BrokerError> {
        self.transact(by, |state, draft, now| {
            if takes_away(change, reaction) {
                draft.brakes();
            }
            let tasks = resting_on(state, &change.of, reaction);
            if is_first {
                record(draft, change, reaction, &tasks);
                if reaction == Reaction::Lock {
                    lock(state, draft, change, now)?;
                }
            }
            let why = why(change);
            for task in &tasks {
                let left = match reaction {
                    Reaction::Suspend => suspend_below(state, draft, task, &why, now)?,
                    Reaction::Close => close_below(state, draft, task, Closure::Revoked, now)?,
                    Reaction::Record | Reaction::Lock => false,
                };
                if left || !draft.has_room() {
                    return Ok(true);
                }
            }
            match (&change.of, change.forgets_copies) {
                (Principal::Agent(agent), true) => forget_copies(state, draft, agent, now),
                _ => Ok(false),
            }
        })
        .await
    }

    /// Suspends or closes what rests on an agent that is registered otherwise now, and forgets its
    /// copies where they are told otherwise. A name that was taken off the registry before is another's
    /// now. Tells what was done, where there was anything to do.
    pub(crate) async fn narrow_for(
        &self,
        agent: &Agent,
        by: &UserName,
    ) -> Result<Option<ContextChange>, BrokerError> {
        let changed = {
            let state = self.latest();
            match state.snapshot.agents.get(&agent.name) {
                Some(known) => changed(known, agent),
                None if state.attested_after.contains_key(&agent.name) => vec!["registered_again"],
                None => Vec::new(),
            }
        };
        if changed.is_empty() {
            return Ok(None);
        }
        let tells = |it: &&str| matches!(*it, "selectors" | "identities" | "registered_again");
        let forgets_copies = changed.iter().any(tells);
        let change = ContextChange {
            event: ContextEvent::AgentChanged,
            of: Principal::Agent(agent.name.clone()),
            details: json!({ "changed": changed }),
            forgets_copies,
        };
        self.change_context(&change, &Principal::User(by.clone())).await?;
        fault_point("context.narrowed");
        Ok(Some(change))
    }

    /// Takes an agent off the registry. What rests on it ends first.
    pub async fn remove_agent(&self, name: &AgentName, by: &UserName) -> Result<Done, BrokerError> {
        let _lane = self.lanes.enter(&("agent", name)).await;
        let missing = || BrokerError::Missing {
            kind: "agent",
            id: name.to_string(),
            hint: "see `carnet agent list`",
        };
        self.latest().snapshot.agents.get(name).map(drop).ok_or_else(missing)?;
        let by = Principal::User(by.clone());
        let change = ContextChange {
            event: ContextEvent::AgentRemoved,
            of: Principal::Agent(name.clone()),
            details: json!({}),
            forgets_copies: true,
        };
        let narrowed = self.change_context(&change, &by).await?;
        fault_point("context.narrowed");
        let (_, done) = self
            .transact(&by, |state, draft, _| {
                state.snapshot.agents.get(name).map(drop).ok_or_else(missing)?;
                let kind = carnet_ledger::Kind::Agent;
                draft.record(kind, name.as_str(), "removed", true, &json!({}), None);
                draft.delete(Key::new(Kind::Agent, name.as_str()));
                Ok(())
            })
            .await?;
        // What was opened for it while it went: it permits nothing, and ends.
        if self.is_open_under(&change) {
            self.change_context(&change, &by).await?;
        }
        Ok(Done { revision: narrowed.revision.and(done.revision), ..done })
    }

    /// Whether a task that the rules want ended or suspended is open.
    pub(crate) fn is_open_under(&self, change: &ContextChange) -> bool {
        let rule = self.rules().reaction(change.event);
        let state = self.latest();
        let tasks = resting_on(&state, &change.of, rule);
        let mut views = tasks.iter().filter_map(|id| state.snapshot.tasks.get(id));
        views.any(|view| matches!(view.task.state, TaskState::Proposed | TaskState::Open))
    }

    /// Does what the rules say about people who are no longer known, or known otherwise, before that
    /// is so.
    pub(crate) async fn narrow_for_people(
        &self,
        users: &[carnet_core::User],
    ) -> Result<(), BrokerError> {
        let by = carnet()?;
        // The state is let go of before anything is composed from it.
        let changes = people_changes(&self.latest(), users);
        for change in changes {
            self.change_context(&change, &by).await?;
        }
        fault_point("context.narrowed");
        Ok(())
    }
}

/// What of a registration others rely on is another. Whether it may bear read tokens is looked at at
/// each call, and counts for nothing here.
fn changed(known: &Agent, agent: &Agent) -> Vec<&'static str> {
    let members = [
        ("owner", known.owner != agent.owner),
        ("environment", known.environment != agent.environment),
        ("selectors", known.selectors != agent.selectors),
        ("identities", known.identities != agent.identities),
        ("standing", known.standing != agent.standing),
    ];
    members.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect()
}

/// What becomes of people, and of the agents they own, when `users` are those who are known.
fn people_changes(state: &State, users: &[carnet_core::User]) -> Vec<ContextChange> {
    let change = |event, of, details| ContextChange { event, of, details, forgets_copies: false };
    let mut changes = Vec::new();
    for known in state.snapshot.users.values() {
        let of = Principal::User(known.name.clone());
        match users.iter().find(|user| user.name == known.name) {
            None => changes.push(change(ContextEvent::UserGone, of, json!({}))),
            Some(user) if *user != **known => {
                let details = json!({
                    "teams": user.teams != known.teams, "logins": user.logins != known.logins,
                });
                changes.push(change(ContextEvent::UserChanged, of, details));
            }
            Some(_) => {}
        }
    }
    let known: Vec<_> = state.snapshot.users.values().map(|user| (**user).clone()).collect();
    for agent in state.snapshot.agents.values() {
        if agent.owner.is_among(&known) && !agent.owner.is_among(users) {
            let of = Principal::Agent(agent.name.clone());
            let details = json!({ "owner": agent.owner });
            changes.push(change(ContextEvent::OwnerGone, of, details));
        }
    }
    changes
}

/// The tasks that run for, by or under `of`, and on which the reaction has something to do; none
/// below another of them.
fn resting_on(state: &State, of: &Principal, reaction: Reaction) -> Vec<TaskId> {
    let tasks = &state.snapshot.tasks;
    let rests = |task: &Task| {
        let is_its = matches!(of, Principal::Agent(agent) if task.agent == *agent);
        is_its || task.subject == *of || task.opened_by == *of
    };
    let is_open_to = |task: &Task| match reaction {
        Reaction::Suspend => {
            matches!(task.state, TaskState::Proposed | TaskState::Open | TaskState::Suspended)
        }
        Reaction::Close => true,
        Reaction::Record | Reaction::Lock => false,
    };
    let resting: BTreeSet<&TaskId> = tasks
        .values()
        .filter(|view| rests(&view.task) && is_open_to(&view.task))
        .map(|view| &view.task.id)
        .collect();
    let is_top = |id: &&&TaskId| {
        let mut above = tasks.get(**id).and_then(|view| view.task.parent.as_ref());
        for _ in 0..=carnet_core::TASK_DEPTH_MAX {
            let Some(parent) = above else { return true };
            if resting.contains(parent) {
                return false;
            }
            above = tasks.get(parent).and_then(|view| view.task.parent.as_ref());
        }
        true
    };
    resting.iter().filter(is_top).map(|id| (*id).clone()).collect()
}

/// Whether anything is taken away. What is only recorded has no claim on the store's reserve.
fn takes_away(change: &ContextChange, reaction: Reaction) -> bool {
    reaction != Reaction::Record || change.forgets_copies
}

fn why(change: &ContextChange) -> String {
    format!("{} of {}", change.event, change.of)
}

fn record(draft: &mut Draft<'_>, change: &ContextChange, reaction: Reaction, tasks: &[TaskId]) {
    let named: Vec<_> = tasks.iter().take(TASKS_NAMED_MAX).collect();
    let details = json!({
        "event": change.event, "of": change.of.to_string(), "reaction": reaction,
        "tasks": named, "tasks_count": tasks.len(), "copies_forgotten": change.forgets_copies,
        "details": change.details,
    });
    let (kind, id) = match &change.of {
        Principal::Agent(agent) => (carnet_ledger::Kind::Agent, agent.as_str()),
        Principal::User(user) => (carnet_ledger::Kind::Node, user.as_str()),
    };
    let narrows = takes_away(change, reaction);
    draft.record(kind, id, "context.changed", narrows, &details, None);
}

/// Locks whom it is about, where that was not done before.
fn lock(
    state: &State,
    draft: &mut Draft<'_>,
    change: &ContextChange,
    now: Timestamp,
) -> Result<(), BrokerError> {
    let target = match &change.of {
        Principal::Agent(agent) => LockTarget::Agent(agent.clone()),
        Principal::User(user) => LockTarget::User(user.clone()),
    };
    let is_set = |known: &Lock| known.is_in_force() && known.target == target;
    if state.snapshot.locks.values().any(|known| is_set(known)) {
        return Ok(());
    }
    let Principal::User(set_by) = carnet()? else { return Ok(()) };
    let id = LockId::from_bits(fresh_bits());
    let details = json!({ "target": target });
    draft.record(carnet_ledger::Kind::Lock, id.as_str(), "set", true, &details, None);
    let state = LockState::Set;
    draft.put(Item::Lock(Lock { id, target, set_by, set_at: now, reason: why(change), state }))
}

/// Forgets the running copies of an agent, and says since when they are told otherwise. One that is
/// locked stays known: while it is, no copy comes back with another key.
pub(crate) fn forget_copies(
    state: &State,
    draft: &mut Draft<'_>,
    agent: &AgentName,
    now: Timestamp,
) -> Result<bool, BrokerError> {
    let attestation = Attestation { agent: agent.clone(), after: now };
    if state.attested_after.get(agent).is_none_or(|after| *after < now) {
        draft.put(Item::Attestation(attestation))?;
    }
    for copy in state.snapshot.instances.values().filter(|copy| copy.agent == *agent) {
        if state.snapshot.is_locked(&LockTarget::Instance(copy.id.clone())) {
            continue;
        }
        if !draft.has_room() {
            return Ok(true);
        }
        let (kind, details) = (carnet_ledger::Kind::Agent, json!({ "agent": agent }));
        draft.record(kind, copy.id.as_str(), "forgotten", true, &details, None);
        draft.delete(Key::new(Kind::Instance, copy.id.as_str()));
    }
    Ok(false)
}
