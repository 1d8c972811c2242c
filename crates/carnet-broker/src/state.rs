//! The broker's picture of the store: a snapshot plus what only the broker needs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use carnet_core::{
    Approval, ApprovalId, ApprovalState, Grant, ReservationId, Snapshot, Task, TaskId, TaskState,
    TaskView, Timestamp,
};
use carnet_store::{Key, Revision};

use crate::item::{ActivePolicy, Item, Reservation};

/// Everything the broker composes changes from. Applying is idempotent and ignores what is older
/// than what it has, so that batches may arrive out of order.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) snapshot: Snapshot,
    pub(crate) approvals: BTreeMap<ApprovalId, Arc<Approval>>,
    pub(crate) reservations: BTreeMap<ReservationId, Arc<Reservation>>,
    pub(crate) active_policy: Option<ActivePolicy>,
    revisions: HashMap<Key, Revision>,
}

impl State {
    /// The revision of the last change to `key`, where it exists.
    pub(crate) fn revision_of(&self, key: &Key) -> Option<Revision> {
        self.revisions.get(key).copied()
    }

    /// Takes in one record as of `revision`; none means that it was deleted.
    pub(crate) fn apply(&mut self, key: &Key, item: Option<Item>, revision: Revision) {
        if self.revisions.get(key).is_some_and(|known| *known >= revision) {
            return;
        }
        match item {
            Some(item) => {
                self.revisions.insert(key.clone(), revision);
                self.put(item);
            }
            None => {
                self.revisions.remove(key);
                if let Ok(id) = key.id.parse::<ReservationId>() {
                    self.reservations.remove(&id);
                }
            }
        }
        self.snapshot.revision = self.snapshot.revision.max(revision.number());
    }

    fn put(&mut self, item: Item) {
        let snapshot = &mut self.snapshot;
        match item {
            Item::Agent(agent) => {
                Arc::make_mut(&mut snapshot.agents).insert(agent.name.clone(), Arc::new(agent));
            }
            Item::Instance(instance) => {
                let instances = Arc::make_mut(&mut snapshot.instances);
                instances.insert(instance.id.clone(), Arc::new(instance));
            }
            Item::User(user) => {
                Arc::make_mut(&mut snapshot.users).insert(user.name.clone(), Arc::new(user));
            }
            Item::Resource(resource) => {
                let resources = Arc::make_mut(&mut snapshot.resources);
                resources.insert(resource.name.clone(), Arc::new(resource));
            }
            Item::Lock(lock) => {
                let locks = Arc::make_mut(&mut snapshot.locks);
                match lock.is_in_force() {
                    true => locks.insert(lock.id.clone(), Arc::new(lock)),
                    false => locks.remove(&lock.id),
                };
            }
            Item::Task(task) => self.put_task(task),
            Item::Grant(grant) => self.put_grant(grant),
            Item::Approval(approval) => self.put_approval(*approval),
            Item::Reservation(held) => {
                self.reservations.insert(held.id.clone(), Arc::new(held));
            }
            Item::ActivePolicy(active) => self.active_policy = Some(active),
        }
    }

    fn put_task(&mut self, task: Task) {
        let tasks = Arc::make_mut(&mut self.snapshot.tasks);
        if matches!(task.state, TaskState::Closed { .. }) {
            tasks.remove(&task.id);
            self.approvals.retain(|_, approval| approval.question.task != task.id);
            return;
        }
        let view = tasks.entry(task.id.clone()).or_insert_with(|| {
            Arc::new(TaskView { task: task.clone(), grants: Vec::new(), questions_pending: 0 })
        });
        Arc::make_mut(view).task = task;
    }

    /// A grant of a task that is closed is history: only the store keeps it.
    fn put_grant(&mut self, grant: Grant) {
        let Some(view) = Arc::make_mut(&mut self.snapshot.tasks).get_mut(&grant.task) else {
            return;
        };
        let grants = &mut Arc::make_mut(view).grants;
        match grants.iter_mut().find(|known| known.id == grant.id) {
            Some(known) => *known = grant,
            None => {
                grants.push(grant);
                grants.sort_by(|one, other| one.id.cmp(&other.id));
            }
        }
    }

    fn put_approval(&mut self, approval: Approval) {
        let task = approval.question.task.clone();
        self.approvals.insert(approval.id.clone(), Arc::new(approval));
        let waiting = self
            .approvals
            .values()
            .filter(|known| known.question.task == task && known.state == ApprovalState::Asked);
        let questions_pending = u32::try_from(waiting.count()).unwrap_or(u32::MAX);
        if let Some(view) = Arc::make_mut(&mut self.snapshot.tasks).get_mut(&task) {
            Arc::make_mut(view).questions_pending = questions_pending;
        }
    }

    /// The tasks below `task`, itself first.
    pub(crate) fn subtree(&self, task: &TaskId) -> Vec<TaskId> {
        let mut found = vec![task.clone()];
        let mut next = 0;
        while let Some(above) = found.get(next).cloned() {
            next += 1;
            let children = self.snapshot.tasks.values().filter(|view| {
                view.task.parent.as_ref() == Some(&above) && !found.contains(&view.task.id)
            });
            let children: Vec<TaskId> = children.map(|view| view.task.id.clone()).collect();
            found.extend(children);
        }
        found
    }

    /// The approvals that still wait at `now`.
    pub(crate) fn pending_approvals(&self, now: Timestamp) -> Vec<Arc<Approval>> {
        let pending = self.approvals.values().filter(|approval| approval.is_pending(now));
        pending.cloned().collect()
    }
}
