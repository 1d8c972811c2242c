//! The immutable view a node decides from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::{ActionPattern, ArgumentKind, GrantId, GrantState};
use crate::{
    Agent, AgentName, Grant, Identity, Instance, InstanceId, Lock, LockId, LockTarget, Monotonic,
};
use crate::{Now, Principal, Reason, Resource, ResourceName, Task, TaskId, TaskState, Timestamp};
use crate::{RevokedToken, User, UserName};

/// How deep a chain of parent tasks may be.
pub const TASK_DEPTH_MAX: u32 = 8;

/// Everything a decision may depend on, at one revision. Cloning is cheap: tables are shared.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The store revision this view shows.
    pub revision: u64,
    /// Until when this node may permit on it.
    pub fresh_until: Monotonic,
    /// Agents by name.
    pub agents: Arc<BTreeMap<AgentName, Arc<Agent>>>,
    /// Attested running copies by id.
    pub instances: Arc<BTreeMap<InstanceId, Arc<Instance>>>,
    /// People by name.
    pub users: Arc<BTreeMap<UserName, Arc<User>>>,
    /// Reviewed resources by name.
    pub resources: Arc<BTreeMap<ResourceName, Arc<Resource>>>,
    /// Tasks that are not closed, with their grants.
    pub tasks: Arc<BTreeMap<TaskId, Arc<TaskView>>>,
    /// Locks in force.
    pub locks: Arc<BTreeMap<LockId, Arc<Lock>>>,
    /// The keys that were taken away before their time: nothing they signed counts.
    pub keys_removed: Arc<BTreeSet<String>>,
    /// The tokens that were taken back before their time, by name.
    pub tokens_revoked: Arc<BTreeMap<String, Arc<RevokedToken>>>,
}

/// A task with its grants, and how many of its questions wait for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskView {
    /// The task.
    pub task: Task,
    /// Its grants, in the order of their ids.
    pub grants: Vec<Grant>,
    /// How many questions it has waiting.
    pub questions_pending: u32,
}

impl TaskView {
    /// The grant with `id`.
    pub fn grant(&self, id: &GrantId) -> Option<&Grant> {
        self.grants.iter().find(|grant| grant.id == *id)
    }
}

impl Snapshot {
    /// The reviewed resource named `name`.
    pub fn resource(&self, name: &ResourceName) -> Option<&Arc<Resource>> {
        self.resources.get(name)
    }

    /// The agent another authority calls `identity`.
    pub fn agent_of(&self, identity: &Identity) -> Option<&Arc<Agent>> {
        let is_its = |agent: &&Arc<Agent>| agent.identities.iter().any(|it| it.is_same(identity));
        self.agents.values().find(is_its)
    }

    /// What reviewers call the argument `name`, over every operation `pattern` matches.
    pub fn kinds_of(&self, pattern: &ActionPattern, name: &str) -> Vec<Option<ArgumentKind>> {
        let operations = self.resources.values().flat_map(|resource| resource.operations.values());
        let matching = operations.filter(|registered| pattern.matches(&registered.action));
        matching.map(|registered| registered.arguments.get(name).copied()).collect()
    }

    /// The task with `id`, where it is not closed.
    pub fn task(&self, id: &TaskId) -> Option<&Arc<TaskView>> {
        self.tasks.get(id)
    }

    /// The person named `user`, where they are known.
    pub fn user(&self, user: &UserName) -> Option<&Arc<User>> {
        self.users.get(user)
    }

    /// The person `issuer` calls `subject`.
    pub fn user_of(&self, issuer: &str, subject: &str) -> Option<&Arc<User>> {
        let is_theirs = |user: &&Arc<User>| {
            user.logins.iter().any(|login| login.issuer == issuer && login.subject == subject)
        };
        self.users.values().find(is_theirs)
    }

    /// Whether the node may still permit on this view.
    pub fn is_fresh(&self, now: Now) -> bool {
        now.mono < self.fresh_until
    }

    /// Whether a lock in force names `target`, or everything. Every agent is of our own trust
    /// domain, so a lock on it is one on everything; one on another stops the agents it has names for.
    pub fn is_locked(&self, target: &LockTarget) -> bool {
        let names = |lock: &Lock| match &lock.target {
            LockTarget::Everything | LockTarget::TrustDomain(_) => true,
            LockTarget::ForeignDomain(domain) => self.is_told_by(target, domain),
            stopped => stopped == target,
        };
        self.locks.values().any(|lock| lock.is_in_force() && names(lock))
    }

    /// Whether `target` is an agent that the trust domain `domain` has a name for.
    fn is_told_by(&self, target: &LockTarget, domain: &str) -> bool {
        let LockTarget::Agent(name) = target else { return false };
        let is_of = |identity: &Identity| match identity {
            Identity::Spiffe { id } => {
                let rest = id.strip_prefix("spiffe://").and_then(|it| it.strip_prefix(domain));
                rest.is_some_and(|rest| rest.starts_with('/'))
            }
            _ => false,
        };
        self.agents.get(name).is_some_and(|agent| agent.identities.iter().any(is_of))
    }

    /// Whether `task` and every task above it is open, before its deadline and unlocked, those they
    /// run for, by and under included. Tells the task.
    pub fn check_task(&self, task: &TaskId, now: Timestamp) -> Result<&Arc<TaskView>, Reason> {
        let lineage = self.lineage(task)?;
        let Some((view, above)) = lineage.split_first() else {
            return Err(Reason::TaskUnknown);
        };
        if view.task.state != TaskState::Open {
            return Err(Reason::TaskNotOpen);
        }
        if !view.task.is_live(now) {
            return Err(Reason::TaskExpired);
        }
        if above.iter().any(|above| !above.task.is_live(now)) {
            return Err(Reason::AncestorClosed);
        }
        if lineage.iter().any(|view| self.is_opening_revoked(&view.task)) {
            return Err(Reason::TokenRevoked);
        }
        if !self.locks.is_empty() && lineage.iter().any(|view| self.is_task_locked(&view.task)) {
            return Err(Reason::Locked);
        }
        Ok(view)
    }

    /// Whether the token `task` was handed on with was taken back.
    pub fn is_opening_revoked(&self, task: &Task) -> bool {
        task.opened_with.as_ref().is_some_and(|jti| self.tokens_revoked.contains_key(jti))
    }

    fn is_task_locked(&self, task: &Task) -> bool {
        self.is_locked(&LockTarget::Task(task.id.clone()))
            || self.is_locked(&LockTarget::Agent(task.agent.clone()))
            || [&task.subject, &task.opened_by].into_iter().any(|party| match party {
                Principal::User(user) => self.is_locked(&LockTarget::User(user.clone())),
                Principal::Agent(agent) => self.is_locked(&LockTarget::Agent(agent.clone())),
            })
    }

    /// Whether something untrusted was read in the tree of `task`, or by the copy that works on it. A
    /// mark is kept at the root, so that it reaches every task of the tree at once; a tree that cannot be
    /// followed counts as marked.
    pub fn is_marked(&self, task: &Task, by: Option<&InstanceId>) -> bool {
        let copy = by.and_then(|id| self.instances.get(id));
        let above = task.parent.as_ref().is_some_and(|parent| {
            let above = self.lineage(parent);
            above.map_or(true, |above| above.iter().any(|view| view.task.marked))
        });
        task.marked || above || copy.is_some_and(|copy| copy.marked)
    }

    /// The task at the top of the tree that `task` is in.
    pub fn root_of(&self, task: &TaskId) -> Result<&Arc<TaskView>, Reason> {
        self.lineage(task)?.pop().ok_or(Reason::TaskUnknown)
    }

    /// The people in the delegation chain of `task`: those it was handed on by, and those the tasks
    /// above it run for. None of them says yes to what is done in it.
    pub fn delegators(&self, task: &TaskId) -> BTreeSet<UserName> {
        let lineage = self.lineage(task).unwrap_or_default();
        let handed_on = lineage.iter().filter(|view| view.task.parent.is_some());
        let by = handed_on.map(|view| &view.task.opened_by);
        let above = lineage.iter().skip(1).map(|view| &view.task.subject);
        let people = by.chain(above).filter_map(|party| match party {
            Principal::User(user) => Some(user.clone()),
            Principal::Agent(_) => None,
        });
        people.collect()
    }

    /// The agents that act in `task`, from its own up to the one whose work it was first.
    pub fn actors(&self, task: &TaskId) -> Result<Vec<&AgentName>, Reason> {
        Ok(self.lineage(task)?.into_iter().map(|view| &view.task.agent).collect())
    }

    /// The task and every task above it, or why they cannot all be vouched for.
    pub(crate) fn lineage(&self, id: &TaskId) -> Result<Vec<&Arc<TaskView>>, Reason> {
        let mut views = Vec::new();
        let mut next = Some(id);
        while let Some(id) = next {
            if views.len() > TASK_DEPTH_MAX as usize {
                return Err(Reason::TaskTooDeep);
            }
            let view = self.tasks.get(id).ok_or(if views.is_empty() {
                Reason::TaskUnknown
            } else {
                Reason::AncestorClosed
            })?;
            next = view.task.parent.as_ref();
            views.push(view);
        }
        Ok(views)
    }

    /// The grants that `grant`, of the task of `view`, was cut from, up to the root's: all of them
    /// standing, or the one that is not. A grant of a child task that was cut from none is none.
    pub fn grants_above<'a>(
        &'a self,
        view: &'a TaskView,
        grant: &'a Grant,
        now: Timestamp,
    ) -> Result<Vec<&'a Grant>, GrantId> {
        let (mut above, mut view, mut grant) = (Vec::new(), view, grant);
        while let Some(parent) = &view.task.parent {
            // A yes to one operation rests on the allowance it draws on.
            if let Some(base) = &grant.draws_on {
                grant = view.grant(base).ok_or_else(|| base.clone())?;
            }
            let from = grant.cut_from.as_ref().ok_or_else(|| grant.id.clone())?;
            let parent = self.task(parent).ok_or_else(|| from.clone())?;
            let held = parent.grant(from).filter(|held| {
                let stands = matches!(held.state, GrantState::Active | GrantState::Exhausted);
                let is_locked = self.is_locked(&LockTarget::Grant(held.id.clone()));
                stands && now < held.expires && !is_locked
            });
            grant = held.ok_or_else(|| from.clone())?;
            view = parent;
            above.push(grant);
            if above.len() > TASK_DEPTH_MAX as usize {
                return Err(grant.id.clone());
            }
        }
        Ok(above)
    }

    /// The facts policy may know of `principal`, where it is registered.
    pub fn principal_facts(&self, principal: &Principal) -> Option<crate::PrincipalFacts> {
        let (teams, owner, environment) = match principal {
            Principal::Agent(name) => {
                let agent = self.agents.get(name)?;
                let teams = match &agent.owner {
                    crate::Owner::Team(team) => vec![team.to_string()],
                    crate::Owner::User(_) => Vec::new(),
                };
                (teams, agent.owner.to_string(), agent.environment.clone())
            }
            Principal::User(name) => {
                let user = self.users.get(name)?;
                (user.teams.iter().cloned().collect(), String::new(), String::new())
            }
        };
        let principal = principal.clone();
        Some(crate::PrincipalFacts { principal, teams, owner, environment })
    }
}

/// A snapshot with the policy set in force: swapped together, so a decision never mixes two.
#[derive(Clone)]
pub struct View {
    /// The state.
    pub snapshot: Snapshot,
    /// The policy.
    pub policy: Arc<dyn crate::Policy>,
}
