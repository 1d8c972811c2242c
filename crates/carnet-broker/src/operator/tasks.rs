//! Tasks, grants and locks.

use std::collections::VecDeque;

use axum::extract::{Path, Query, State};
use axum::routing::{delete, get, post};
use axum::{Extension, Json, Router};
use carnet_core::{
    AgentName, Closure, Grant, Intent, LockId, LockTarget, Principal, Snapshot, TASK_DEPTH_MAX,
    Task, TaskId, UserName, Verb,
};
use carnet_store::{Key, Kind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Desk, Failure, Operator};
use crate::broker::Done;
use crate::error::BrokerError;
use crate::item::Item;
use crate::work::OpenTask;

/// The most records of history one answer holds: the newest.
const HISTORY_MAX: usize = 1_000;
/// How many records are read at a time.
const PAGE: usize = 256;

pub(crate) fn routes() -> Router<Desk> {
    Router::new()
        .route("/v1/tasks", post(open).get(list))
        .route("/v1/tasks/{id}", get(show))
        .route("/v1/tasks/{id}/close", post(close))
        .route("/v1/grants", get(grants))
        .route("/v1/locks", post(lock))
        .route("/v1/locks/{id}", delete(lift))
}

/// A request to open a task.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Open {
    agent: AgentName,
    /// On whose behalf; the operator where nobody is named.
    #[serde(default)]
    subject: Option<UserName>,
    intent: Intent,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Close {
    closure: Closure,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetLock {
    target: LockTarget,
    reason: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    #[serde(default)]
    all: bool,
    #[serde(default)]
    task: Option<TaskId>,
}

async fn open(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Json(open): Json<Open>,
) -> Result<Json<Value>, Failure> {
    let subject = open.subject.unwrap_or_else(|| operator.0.clone());
    let request = OpenTask {
        agent: open.agent,
        subject: Principal::User(subject),
        opened_by: Principal::User(operator.0.clone()),
        intent: open.intent,
        standing: false,
    };
    let (task, done) = desk.broker.open_task(request).await?;
    let view = desk.broker.view();
    let held = view.snapshot.task(&task);
    Ok(Json(json!({
        "task": task,
        "deadline": held.map(|held| held.task.deadline),
        "grants": held.map(|held| held.grants.clone()),
        "instants": instants(&done),
    })))
}

async fn list(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Query(which): Query<Which>,
) -> Result<Json<Value>, Failure> {
    desk.authorize(&operator, Verb::RegistryRead)?;
    if which.all {
        let tasks: Vec<Task> = desk
            .history(Kind::Task, |item| match item {
                Item::Task(task) => Some(task),
                _ => None,
            })
            .await?;
        return Ok(Json(json!(tasks)));
    }
    let view = desk.broker.view();
    let tasks: Vec<&Task> = view.snapshot.tasks.values().map(|held| &held.task).collect();
    Ok(Json(json!(tasks)))
}

async fn show(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Path(id): Path<TaskId>,
) -> Result<Json<Value>, Failure> {
    desk.authorize(&operator, Verb::RegistryRead)?;
    let task = match desk.item(Key::new(Kind::Task, id.as_str())).await? {
        Some(Item::Task(task)) => task,
        _ => return Err(missing(&id).into()),
    };
    let above = desk.above(&task).await?;
    let below: Vec<Task> = desk.below(&id).await?;
    let grants = desk.grants_of(&id).await?;
    let leases = desk.leases_of(&id).await?;
    Ok(Json(json!({
        "task": task, "grants": grants, "above": above, "below": below, "leases": leases,
    })))
}

async fn close(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Path(id): Path<TaskId>,
    Json(close): Json<Close>,
) -> Result<Json<Value>, Failure> {
    let by = Principal::User(operator.0.clone());
    let done = desk.broker.close_task(&id, close.closure, &by).await?;
    let left = desk.broker.leases_out(Some(&id));
    let mut instants = instants(&done);
    if !left.is_empty() {
        // Told when the last of them is over: `task show` then says when that was.
        instants["complete"] = Value::Null;
    }
    Ok(Json(json!({ "task": id, "instants": instants, "leases": left })))
}

async fn grants(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Query(which): Query<Which>,
) -> Result<Json<Value>, Failure> {
    desk.authorize(&operator, Verb::RegistryRead)?;
    if let Some(task) = which.task {
        if desk.item(Key::new(Kind::Task, task.as_str())).await?.is_none() {
            return Err(missing(&task).into());
        }
        return Ok(Json(json!(desk.grants_of(&task).await?)));
    }
    let view = desk.broker.view();
    let grants: Vec<&Grant> = view.snapshot.tasks.values().flat_map(|held| &held.grants).collect();
    Ok(Json(json!(grants)))
}

async fn lock(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Json(lock): Json<SetLock>,
) -> Result<Json<Value>, Failure> {
    let is_known = is_known(&desk.broker.view().snapshot, &lock.target);
    let (id, done) = desk.broker.set_lock(lock.target, lock.reason, &operator.0).await?;
    Ok(Json(json!({ "lock": id, "known": is_known, "instants": instants(&done) })))
}

async fn lift(
    State(desk): State<Desk>,
    Extension(operator): Extension<Operator>,
    Path(id): Path<LockId>,
) -> Result<Json<Value>, Failure> {
    // Lifting widens: it is not a brake.
    desk.authorize(&operator, Verb::RegistryChange)?;
    let done = desk.broker.lift_lock(&id, &operator.0).await?;
    Ok(Json(json!({ "lock": id, "instants": instants(&done) })))
}

/// The three instants of a change, as far as they have come.
pub(crate) fn instants(done: &Done) -> Value {
    json!({
        "durable": done.revision.is_some(),
        "committed": done.committed_at,
        "effective": done.effective_at,
        "complete": done.complete_at,
    })
}

fn missing(id: &TaskId) -> BrokerError {
    BrokerError::Missing { kind: "task", id: id.to_string(), hint: "see `carnet task list --all`" }
}

impl Desk {
    async fn item(&self, key: Key) -> Result<Option<Item>, Failure> {
        let record = self.broker.store.read(&key).await.map_err(BrokerError::from)?;
        let Some(record) = record else { return Ok(None) };
        Ok(Item::decode(&record.key, &record.value)?)
    }

    /// Every task above `task`, the nearest first.
    async fn above(&self, task: &Task) -> Result<Vec<Task>, Failure> {
        let mut above = Vec::new();
        let mut next = task.parent.clone();
        while let Some(id) = next.take() {
            let Some(Item::Task(parent)) = self.item(Key::new(Kind::Task, id.as_str())).await?
            else {
                break;
            };
            next = parent.parent.clone().filter(|_| above.len() < TASK_DEPTH_MAX as usize);
            above.push(parent);
        }
        Ok(above)
    }

    /// The tasks `id` handed parts of itself on to.
    async fn below(&self, id: &TaskId) -> Result<Vec<Task>, Failure> {
        self.history(Kind::Task, |item| match item {
            Item::Task(task) if task.parent.as_ref() == Some(id) => Some(task),
            _ => None,
        })
        .await
    }

    /// The newest records of a kind that `wanted` keeps: ids are in the order they were made.
    pub(super) async fn history<T>(
        &self,
        kind: Kind,
        wanted: impl Fn(Item) -> Option<T>,
    ) -> Result<Vec<T>, Failure> {
        let mut items = VecDeque::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.broker.store.list(kind, after.as_deref(), PAGE).await;
            let page = page.map_err(BrokerError::from)?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.id.clone());
            for record in &page {
                // One that does not read hides no other; `carnet status` names it.
                let item = Item::decode(&record.key, &record.value).ok().flatten();
                items.extend(item.and_then(&wanted));
            }
            let excess = items.len().saturating_sub(HISTORY_MAX);
            items.drain(..excess);
        }
        Ok(items.into())
    }

    async fn grants_of(&self, task: &TaskId) -> Result<Vec<Grant>, Failure> {
        if let Some(held) = self.broker.view().snapshot.task(task) {
            return Ok(held.grants.clone());
        }
        let grants = self.history(Kind::Grant, |item| match item {
            Item::Grant(grant) if grant.task == *task => Some(grant),
            _ => None,
        });
        grants.await
    }
}

/// Whether there is what a lock is to stop. It stands all the same: a name may be known in a moment.
fn is_known(snapshot: &Snapshot, target: &LockTarget) -> bool {
    match target {
        LockTarget::User(name) => snapshot.users.contains_key(name),
        LockTarget::Agent(name) => snapshot.agents.contains_key(name),
        LockTarget::Instance(id) => snapshot.instances.contains_key(id),
        LockTarget::Task(id) => snapshot.tasks.contains_key(id),
        LockTarget::Grant(id) => {
            let mut grants = snapshot.tasks.values().flat_map(|view| &view.grants);
            grants.any(|grant| grant.id == *id)
        }
        LockTarget::Resource(name) => snapshot.resources.contains_key(name),
        LockTarget::TrustDomain(_) | LockTarget::ForeignDomain(_) | LockTarget::Everything => true,
    }
}
