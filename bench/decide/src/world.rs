//! A house of some size: 100 tasks of ten agents at ten resources of 50 operations each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use carnet_core::{
    ActionName, Agent, ArgumentKind, Arguments, Caller, Digest, Document, EffectClass, Grant,
    GrantId, GrantState, Instance, InstanceId, Monotonic, Now, Operation, Owner, Path, Policy,
    Principal, Reach, Registered, Resource, ResourceName, Selectors, Snapshot, Task, TaskId,
    TaskState, TaskView, Timestamp, Transport, Upstream, User, UserName, assess,
};
use serde_json::{Value, json};

pub(crate) const AGENTS: usize = 10;
const TASKS: usize = 100;
const OPERATIONS: usize = 50;
/// The operation that is attempted: one of the 50.
pub(crate) const ATTEMPTED: &str = "issue_refund";

pub(crate) const NOW: Now =
    Now { wall: Timestamp::from_s(1_764_000_000), mono: Monotonic::from_us(1_000) };
const THUMBPRINT: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";

/// The snapshot and the calls that are decided on it: one for each task.
pub(crate) struct World {
    pub(crate) snapshot: Snapshot,
    pub(crate) calls: Vec<Call>,
}

/// One call, ready to be decided.
pub(crate) struct Call {
    pub(crate) operation: Operation,
    pub(crate) caller: Caller,
}

impl World {
    pub(crate) fn new() -> Result<Self, String> {
        let mut snapshot = Snapshot {
            revision: 7,
            fresh_until: Monotonic::from_us(1_000_000),
            users: Arc::new(users()?),
            ..Snapshot::default()
        };
        let mut calls = Vec::new();
        for k in 0..AGENTS {
            let agent = agent(k)?;
            let instance = instance(&agent, k);
            let resource = resource(k)?;
            Arc::make_mut(&mut snapshot.instances).insert(instance.id.clone(), Arc::new(instance));
            Arc::make_mut(&mut snapshot.resources)
                .insert(resource.name.clone(), Arc::new(resource));
            Arc::make_mut(&mut snapshot.agents).insert(agent.name.clone(), Arc::new(agent));
        }
        for n in 0..TASKS {
            let view = task_view(n)?;
            calls.push(call(n, &view.task, &snapshot)?);
            Arc::make_mut(&mut snapshot.tasks).insert(view.task.id.clone(), Arc::new(view));
        }
        Ok(Self { snapshot, calls })
    }

    /// What policy is shown of each call.
    pub(crate) fn documents(&self, policy: &dyn Policy) -> Result<Vec<Document>, String> {
        let document = |call: &Call| {
            assess(&self.snapshot, policy, &call.operation, &call.caller, NOW).document
        };
        let all: Option<Vec<Document>> = self.calls.iter().map(document).collect();
        all.ok_or_else(|| "a call came to no document".to_owned())
    }
}

fn name<T: std::str::FromStr>(text: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| format!("{text}: {error}"))
}

fn users() -> Result<BTreeMap<UserName, Arc<User>>, String> {
    let user = |n: usize| {
        let name: UserName = name(&format!("user-{n}"))?;
        let teams = BTreeSet::from([format!("team-{}", n % AGENTS), "support".to_owned()]);
        Ok((name.clone(), Arc::new(User { name, teams, logins: Vec::new() })))
    };
    (0..AGENTS * 5).map(user).collect()
}

fn agent(k: usize) -> Result<Agent, String> {
    Ok(Agent {
        name: name(&format!("agent-{k}"))?,
        owner: Owner::Team(name(&format!("team-{k}"))?),
        environment: "production".into(),
        selectors: Some(Selectors {
            uid: 1_000,
            gid: None,
            executable: None,
            executable_digest: None,
        }),
        identities: Vec::new(),
        standing: None,
        bearer_read: false,
    })
}

fn instance(agent: &Agent, k: usize) -> Instance {
    Instance {
        id: InstanceId::from_bits(k as u128),
        agent: agent.name.clone(),
        thumbprint: Some(THUMBPRINT.into()),
        seen_at: NOW.wall,
        marked: false,
    }
}

fn resource(k: usize) -> Result<Resource, String> {
    let resource: ResourceName = name(&format!("resource-{k}"))?;
    let others = (1..OPERATIONS).map(|n| format!("operation_{n}"));
    let operations = std::iter::once(ATTEMPTED.to_owned()).chain(others).enumerate();
    let operations = operations.map(|(n, item)| {
        let action: ActionName = name(&format!("{resource}.tool.{item}"))?;
        let path = if n % 3 == 0 { Path::Write } else { Path::Read };
        Ok((action.clone(), registered(action, path)))
    });
    Ok(Resource {
        environment: "production".into(),
        labels: ["customer-data", "task-write"].map(str::to_owned).into(),
        upstream: Upstream {
            transport: Transport::Http { url: "https://desk.internal/mcp".into() },
            credentials: BTreeMap::new(),
        },
        operations: operations.collect::<Result<_, String>>()?,
        name: resource,
    })
}

fn registered(action: ActionName, path: Path) -> Registered {
    Registered {
        pin: Digest::of(action.to_string().as_bytes()),
        action,
        path,
        effect: EffectClass { reversible: true, reach: Reach::Inside },
        arguments: [
            ("email".to_owned(), ArgumentKind::Email),
            ("amount_cents".to_owned(), ArgumentKind::Number),
        ]
        .into(),
        definition: Value::Null,
    }
}

fn task_view(n: usize) -> Result<TaskView, String> {
    let task = Task {
        id: TaskId::from_bits(n as u128),
        agent: name(&format!("agent-{}", n % AGENTS))?,
        subject: Principal::User(name(&format!("user-{}", n % 50))?),
        opened_by: Principal::User(name(&format!("user-{}", n % 50))?),
        purpose: "refund".into(),
        standing: false,
        parent: None,
        depth: 0,
        opened_at: NOW.wall.plus_s(-60),
        deadline: NOW.wall.plus_s(1_800),
        calls_max: Some(50),
        calls_spent: 3,
        children_max: None,
        children: 0,
        levels_max: None,
        opened_with: None,
        marked: false,
        state: TaskState::Open,
        suspension: None,
    };
    let grants = allowances(n % AGENTS, n).into_iter().enumerate().map(|(m, allowance)| {
        Ok(Grant {
            id: GrantId::from_bits((n * 16 + m) as u128),
            task: task.id.clone(),
            allowance: serde_json::from_value(allowance).map_err(|error| error.to_string())?,
            expires: task.deadline,
            uses_spent: 0,
            totals_spent: BTreeMap::new(),
            approved: None,
            draws_on: None,
            cut_from: None,
            state: GrantState::Active,
        })
    });
    let grants = grants.collect::<Result<_, String>>()?;
    Ok(TaskView { task, grants, questions_pending: 0 })
}

/// Five allowances, as a task of some substance has; the one that covers the call is the last.
fn allowances(k: usize, n: usize) -> [Value; 5] {
    let action = |item: &str| format!("resource-{k}.tool.{item}");
    [
        json!({ "action": action("operation_*"), "path": "read" }),
        json!({ "action": format!("resource-{k}.resource.read"), "path": "read",
                "where": { "uri": { "url": { "scheme": "https", "host": "desk.internal" } } } }),
        json!({ "action": action("operation_3"), "path": "write", "uses": 5,
                "where": { "state": { "one_of": ["open", "closed", "waiting"] } } }),
        json!({ "action": action("operation_6"), "path": "write", "approve": "on_use",
                "where": { "email": { "email": { "domain": "example.com" } } } }),
        json!({ "action": action(ATTEMPTED), "path": "write", "uses": 3,
                "total": { "amount_cents": 12_000 },
                "where": {
                    "order_id": { "equals": format!("o-{n}") },
                    "amount_cents": { "at_most": 5_000 },
                    "currency": { "one_of": ["EUR", "CHF"] },
                    "reason": { "length": { "max": 200 } },
                    "email": { "email": { "domain": "example.com" } },
                    "items": { "length": { "max": 10 } },
                } }),
    ]
}

fn call(n: usize, task: &Task, snapshot: &Snapshot) -> Result<Call, String> {
    let k = n % AGENTS;
    let resource: ResourceName = name(&format!("resource-{k}"))?;
    let action: ActionName = name(&format!("{resource}.tool.{ATTEMPTED}"))?;
    let registered = snapshot.resource(&resource).and_then(|it| it.registered(&action));
    let registered = registered.ok_or_else(|| format!("{action} is not registered"))?;
    let arguments: Arguments = serde_json::from_value(json!({
        "order_id": format!("o-{n}"),
        "amount_cents": 4_200,
        "currency": "EUR",
        "reason": "arrived damaged, customer sent a photograph",
        "email": "ana@example.com",
        "items": [{ "sku": "a-1", "count": 2 }],
    }))
    .map_err(|error| error.to_string())?;
    let caller = Caller {
        agent: task.agent.clone(),
        instance: InstanceId::from_bits(k as u128),
        task: task.id.clone(),
        path: Path::Write,
        resource: resource.clone(),
        token: format!("token-{n}"),
        key: String::new(),
        expires: NOW.wall.plus_s(60),
        thumbprint: Some(THUMBPRINT.into()),
    };
    let operation = Operation::new(resource, registered, arguments);
    Ok(Call { operation: operation.map_err(|error| error.to_string())?, caller })
}
