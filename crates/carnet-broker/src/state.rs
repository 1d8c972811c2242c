//! The broker's picture of the store: a snapshot plus what only the broker needs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use carnet_core::{
    AgentName, Approval, ApprovalId, ApprovalState, Digest, Grant, Lease, LeaseId, Lock, LockId,
    LockState, LockTarget, ReservationId, RevokedToken, Snapshot, TASK_DEPTH_MAX, Task, TaskId,
    TaskState, TaskView, Timestamp,
};
use carnet_store::{Key, Kind, Record, Revision};

use crate::error::BrokerError;
use crate::item::{ActivePolicy, HEARD_PREFIX, Heard, Item, Reservation};
use crate::keys::Keys;

/// A record as it came to be: what it is now, or that it is gone.
pub(crate) type Touched = (Key, Option<Item>);

/// Everything the broker composes changes from. Commits are taken in, in their order. What is over
/// is not kept: history is the store's.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) snapshot: Snapshot,
    pub(crate) approvals: BTreeMap<ApprovalId, Arc<Approval>>,
    pub(crate) reservations: BTreeMap<ReservationId, Arc<Reservation>>,
    /// Those that are not over.
    pub(crate) leases: BTreeMap<LeaseId, Arc<Lease>>,
    pub(crate) active_policy: Option<ActivePolicy>,
    pub(crate) keys: Arc<Keys>,
    /// Since when the running copies of an agent are told as they are now.
    pub(crate) attested_after: BTreeMap<AgentName, Timestamp>,
    /// The events of other issuers that were taken, and when.
    pub(crate) heard: BTreeMap<Digest, Heard>,
    revisions: HashMap<Key, Revision>,
    /// Records of the store that do not read, and why. Nothing is permitted by them.
    pub(crate) unreadable: BTreeMap<String, String>,
    /// Records whose content here is ahead of the store, with the revision the store has of them.
    held: HashMap<Key, Option<Revision>>,
}

impl State {
    /// The state as a store had it at `revision`.
    pub(crate) fn load(revision: Revision, records: Vec<Record>) -> Self {
        let mut state = Self::default();
        // Tasks before grants and approvals: what belongs to no task in it is history.
        let (tasks, others): (Vec<_>, Vec<_>) =
            records.into_iter().partition(|record| record.key.kind == Kind::Task);
        for record in tasks.into_iter().chain(others) {
            match Item::decode(&record.key, &record.value) {
                Ok(Some(item)) => state.apply(&record.key, Some(item), record.revision),
                Ok(None) => {}
                Err(error) => state.put_aside(&record, &error),
            }
        }
        state.drop_orphans();
        state.snapshot.revision = revision.number();
        state
    }

    /// Does without a record that does not read. A right, or somebody who could have one, is then
    /// not there; what stopped something might have stopped anything, so everything is stopped until
    /// a person lifts it. The record can be written anew under its key.
    fn put_aside(&mut self, record: &Record, error: &BrokerError) {
        let key = &record.key;
        tracing::error!(%key, %error, "a record does not read: nothing is permitted by it");
        self.unreadable.insert(key.to_string(), error.to_string());
        // History is removed in its time; anything else is written anew over what is there.
        if !matches!(key.kind, Kind::Task | Kind::Grant | Kind::Approval) {
            self.revisions.insert(key.clone(), record.revision);
        }
        if key.kind == Kind::Token {
            self.keep_revoked(&key.id);
        }
        if let (Kind::Lock, Ok(id), Ok(by)) = (key.kind, key.id.parse::<LockId>(), "carnet".parse())
        {
            let lock = Lock {
                id: id.clone(),
                target: LockTarget::Everything,
                set_by: by,
                set_at: Timestamp::default(),
                reason: "this lock does not read: it may have stopped anything".to_owned(),
                state: LockState::Set,
            };
            Arc::make_mut(&mut self.snapshot.locks).insert(id, Arc::new(lock));
        }
    }

    /// The name alone says which token was taken back: it stays so.
    fn keep_revoked(&mut self, jti: &str) {
        let (Ok(agent), Ok(task)) = ("carnet".parse(), format!("{}0", TaskId::PREFIX).parse())
        else {
            return;
        };
        let expires = Timestamp::from_us(i64::MAX);
        let token = RevokedToken { jti: jti.to_owned(), agent, task, expires };
        Arc::make_mut(&mut self.snapshot.tokens_revoked).insert(jti.to_owned(), Arc::new(token));
    }

    /// A grant whose base does not read draws on nothing: it is done without, too.
    fn drop_orphans(&mut self) {
        if self.unreadable.is_empty() {
            return;
        }
        for view in Arc::make_mut(&mut self.snapshot.tasks).values_mut() {
            let known: BTreeSet<_> = view.grants.iter().map(|grant| grant.id.clone()).collect();
            let is_based =
                |grant: &Grant| grant.draws_on.as_ref().is_none_or(|id| known.contains(id));
            if !view.grants.iter().all(is_based) {
                Arc::make_mut(view).grants.retain(is_based);
            }
        }
    }

    /// The revision the store has of `key`, where it exists.
    pub(crate) fn revision_of(&self, key: &Key) -> Option<Revision> {
        match self.held.get(key) {
            Some(held) => *held,
            None => self.revisions.get(key).copied(),
        }
    }

    /// Takes in one record as of `revision`; none means that it was deleted.
    pub(crate) fn apply(&mut self, key: &Key, item: Option<Item>, revision: Revision) {
        self.snapshot.revision = self.snapshot.revision.max(revision.number());
        let exists = item.is_some();
        if let Some(held) = self.held.get_mut(key) {
            // What is held narrows, and is about to be written over this.
            *held = exists.then_some(revision);
            return;
        }
        let is_kept = match item {
            Some(item) => self.put(item),
            None => {
                self.remove(key);
                false
            }
        };
        self.unreadable.remove(&key.to_string());
        match is_kept {
            true => drop(self.revisions.insert(key.clone(), revision)),
            false => drop(self.revisions.remove(key)),
        }
    }

    /// Takes in what the store could not write. It stays, whatever the store says of these records,
    /// until it is [released](Self::release).
    pub(crate) fn hold(&mut self, touched: &[Touched]) {
        for (key, item) in touched {
            let stored = self.revision_of(key);
            match item.clone() {
                Some(item) => drop(self.put(item)),
                None => self.remove(key),
            }
            self.revisions.remove(key);
            self.held.insert(key.clone(), stored);
        }
    }

    /// Whether something is held that the store does not have.
    pub(crate) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Lets go of what was held, now that the store has it at `revision`. What is held again since,
    /// by one of `still`, stays.
    pub(crate) fn release(&mut self, touched: &[Touched], revision: Revision, still: &[Key]) {
        for (key, item) in touched {
            match still.contains(key) {
                true => drop(self.held.insert(key.clone(), item.as_ref().map(|_| revision))),
                false => {
                    self.held.remove(key);
                    self.apply(key, item.clone(), revision);
                }
            }
        }
    }

    /// Takes in a record, and tells whether it is kept: history is not.
    fn put(&mut self, item: Item) -> bool {
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
                if !lock.is_in_force() {
                    locks.remove(&lock.id);
                    return false;
                }
                locks.insert(lock.id.clone(), Arc::new(lock));
            }
            Item::Task(task) => return self.put_task(task),
            Item::Grant(grant) => return self.put_grant(grant),
            Item::Approval(approval) => return self.put_approval(*approval),
            Item::Reservation(held) => {
                self.reservations.insert(held.id.clone(), Arc::new(held));
            }
            Item::Lease(lease) => return self.put_lease(lease),
            Item::ActivePolicy(active) => self.active_policy = Some(active),
            Item::RevokedToken(token) => {
                let revoked = Arc::make_mut(&mut snapshot.tokens_revoked);
                revoked.insert(token.jti.clone(), Arc::new(token));
            }
            Item::Attestation(it) => drop(self.attested_after.insert(it.agent, it.after)),
            Item::Heard(it) => drop(self.heard.insert(it.id, it)),
            Item::Key(key) => {
                if key.removed_at.is_some() {
                    Arc::make_mut(&mut snapshot.keys_removed).insert(key.kid.clone());
                }
                Arc::make_mut(&mut self.keys).insert(key.kid.clone(), Arc::new(key));
            }
        }
        true
    }

    /// A lease that is over is history: only the store keeps it.
    fn put_lease(&mut self, lease: Lease) -> bool {
        if lease.is_over() {
            self.leases.remove(&lease.id);
            return false;
        }
        self.leases.insert(lease.id.clone(), Arc::new(lease));
        true
    }

    fn put_task(&mut self, task: Task) -> bool {
        if matches!(task.state, TaskState::Closed { .. }) {
            self.forget_task(&task.id);
            return false;
        }
        let tasks = Arc::make_mut(&mut self.snapshot.tasks);
        let view = tasks.entry(task.id.clone()).or_insert_with(|| {
            Arc::new(TaskView { task: task.clone(), grants: Vec::new(), questions_pending: 0 })
        });
        Arc::make_mut(view).task = task;
        true
    }

    /// Drops a task that is over with all that hangs on it.
    fn forget_task(&mut self, id: &TaskId) {
        let Some(view) = Arc::make_mut(&mut self.snapshot.tasks).remove(id) else {
            return;
        };
        for grant in &view.grants {
            self.revisions.remove(&Key::new(Kind::Grant, grant.id.as_str()));
        }
        let revisions = &mut self.revisions;
        self.approvals.retain(|approval, known| {
            let stays = known.question.task != *id;
            if !stays {
                revisions.remove(&Key::new(Kind::Approval, approval.as_str()));
            }
            stays
        });
        self.revisions.remove(&Key::new(Kind::Task, id.as_str()));
    }

    /// A grant of a task that is closed is history: only the store keeps it.
    fn put_grant(&mut self, grant: Grant) -> bool {
        let Some(view) = Arc::make_mut(&mut self.snapshot.tasks).get_mut(&grant.task) else {
            return false;
        };
        let grants = &mut Arc::make_mut(view).grants;
        match grants.iter_mut().find(|known| known.id == grant.id) {
            Some(known) => *known = grant,
            None => {
                grants.push(grant);
                grants.sort_by(|one, other| one.id.cmp(&other.id));
            }
        }
        true
    }

    fn put_approval(&mut self, approval: Approval) -> bool {
        let task = approval.question.task.clone();
        if !self.snapshot.tasks.contains_key(&task) {
            return false;
        }
        self.approvals.insert(approval.id.clone(), Arc::new(approval));
        let questions_pending = u32::try_from(self.asked_of(&task).count()).unwrap_or(u32::MAX);
        if let Some(view) = Arc::make_mut(&mut self.snapshot.tasks).get_mut(&task) {
            Arc::make_mut(view).questions_pending = questions_pending;
        }
        true
    }

    fn remove(&mut self, key: &Key) {
        fn without<K: Ord + Clone + std::str::FromStr, V: Clone>(
            map: &mut Arc<BTreeMap<K, V>>,
            id: &str,
        ) {
            if let Ok(id) = id.parse::<K>()
                && map.contains_key(&id)
            {
                Arc::make_mut(map).remove(&id);
            }
        }
        let snapshot = &mut self.snapshot;
        match key.kind {
            Kind::Agent => without(&mut snapshot.agents, &key.id),
            Kind::Instance => without(&mut snapshot.instances, &key.id),
            Kind::Operator => without(&mut snapshot.users, &key.id),
            Kind::Resource => without(&mut snapshot.resources, &key.id),
            Kind::Lock => without(&mut snapshot.locks, &key.id),
            Kind::Task => {
                if let Ok(id) = key.id.parse() {
                    self.forget_task(&id);
                }
            }
            Kind::Reservation => {
                if let Ok(id) = key.id.parse::<ReservationId>() {
                    self.reservations.remove(&id);
                }
            }
            // Nothing deletes these while their task is there; what is the policy in force stays so.
            Kind::Grant | Kind::Approval => {}
            Kind::Meta => {
                let heard = key.id.strip_prefix(HEARD_PREFIX).and_then(|id| id.parse().ok());
                if let Some(id) = heard {
                    self.heard.remove(&id);
                }
            }
            Kind::Secret => {
                Arc::make_mut(&mut self.keys).remove(&key.id);
            }
            Kind::Token => without(&mut snapshot.tokens_revoked, &key.id),
            Kind::Lease => {
                if let Ok(id) = key.id.parse::<LeaseId>() {
                    self.leases.remove(&id);
                }
            }
            Kind::Policy => {}
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

    /// The whole tree `task` is in, from its root down.
    pub(crate) fn tree(&self, task: &TaskId) -> Vec<TaskId> {
        let mut root = task.clone();
        for _ in 0..=TASK_DEPTH_MAX {
            let above = self.snapshot.tasks.get(&root).and_then(|view| view.task.parent.clone());
            let Some(above) = above else { break };
            root = above;
        }
        self.subtree(&root)
    }

    /// How many questions of the whole tree `task` is in nobody has answered: handing work on makes
    /// no room for more.
    pub(crate) fn asked_in_tree(&self, task: &TaskId) -> usize {
        self.tree(task).iter().map(|task| self.asked_of(task).count()).sum()
    }

    /// The questions of `task` that nobody has answered.
    pub(crate) fn asked_of<'a>(
        &'a self,
        task: &'a TaskId,
    ) -> impl Iterator<Item = &'a Arc<Approval>> {
        self.approvals.values().filter(move |approval| {
            approval.question.task == *task && approval.state == ApprovalState::Asked
        })
    }

    /// The approvals that still wait at `now`.
    pub(crate) fn pending_approvals(&self, now: Timestamp) -> Vec<Arc<Approval>> {
        let pending = self.approvals.values().filter(|approval| approval.is_pending(now));
        pending.cloned().collect()
    }
}
