//! A small world: one desk with a few tools, one agent with one open task, one gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use carnet_core::{
    Agent as Registration, Closure, EffectClass, Grant, GrantState, Instance, Monotonic, Path,
    Principal, Reach, Registered, Resource, Selectors, Snapshot, Task, TaskState, TaskView,
    Transport, Upstream, User, View,
};
use carnet_gateway::mcp::codec::pin;
use carnet_gateway::{ChildRules, Gateway, GatewayParts};
use carnet_identity::{KeySet, KeyUse, SigningKey};
use carnet_ledger::{Entry, Kind, Ledger, LedgerConfig, LedgerKeys, SEGMENT_BYTES_MIN};
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::agent::Agent;
use crate::control::{FakeControl, NOW, Rules};
use crate::disk::GatedDisk;
use crate::server::Server;

pub(crate) const TASK: &str = "task_1";
/// What the desk offers, written as no serializer of ours would.
pub(crate) const TICKET: &str = r#"{ "name":"get_ticket", "x-unknown" : [1, 2.50],
  "inputSchema":{"type":"object","properties":{"id":{"type":"string"}},"required":["id"]} }"#;
pub(crate) const REFUND: &str = r#"{"name":"issue_refund","inputSchema":{"type":"object",
  "properties":{"order":{"type":"string"}}},"outputSchema":{"type":"object"}}"#;
pub(crate) const PAYROLL: &str = r#"{"name":"read_payroll","inputSchema":{"type":"object",
  "properties":{"year":{"type":"integer"}},"required":["year"]},"outputSchema":{"type":"object"}}"#;
pub(crate) const UNREVIEWED: &str = r#"{"name":"brand_new","inputSchema":{"type":"object"}}"#;

/// A result of `tools/list` that holds `tools`.
pub(crate) fn listing(tools: &[&str]) -> String {
    format!(r#"{{ "tools": [ {} ],  "x": 1.0 }}"#, tools.join(" ,\n"))
}

pub(crate) struct World {
    pub(crate) agent: Agent,
    pub(crate) control: Arc<FakeControl>,
    pub(crate) server: Server,
    pub(crate) ledger: Ledger,
    pub(crate) disk: GatedDisk,
    pub(crate) signing: Arc<SigningKey>,
    pub(crate) issuer: String,
    pub(crate) dir: tempfile::TempDir,
    _serving: JoinSet<()>,
}

/// What a test wants other than usual.
pub(crate) struct Plan {
    pub(crate) transport: Option<Transport>,
    pub(crate) grants: Vec<Value>,
    pub(crate) rules: Rules,
    pub(crate) hold: Duration,
    /// Whether a child process may run as who runs the test.
    pub(crate) same_user: bool,
}

impl Default for Plan {
    fn default() -> Self {
        let grants = vec![
            json!({ "action": "desk.tool.get_ticket", "path": "read" }),
            json!({ "action": "desk.tool.issue_refund", "path": "write", "other": "any" }),
        ];
        let rules = Rules::default();
        Self { transport: None, grants, rules, hold: Duration::ZERO, same_user: true }
    }
}

impl Plan {
    /// The same, with the refund allowed `uses` times.
    pub(crate) fn counted(uses: u64) -> Self {
        let mut plan = Self::default();
        plan.grants[1]["uses"] = json!(uses);
        plan
    }

    pub(crate) fn with_grant(mut self, grant: Value) -> Self {
        self.grants.push(grant);
        self
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Plan::default()).await
    }

    pub(crate) async fn with(plan: Plan) -> Self {
        capture();
        let server = Server::start(&listing(&[TICKET, PAYROLL, REFUND, UNREVIEWED])).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let signing = Arc::new(SigningKey::generate(KeyUse::AccessToken).unwrap());
        let agent = Agent::new(&issuer, &signing, 1, TASK);
        let transport =
            plan.transport.unwrap_or_else(|| Transport::Http { url: server.url.clone() });
        let snapshot = snapshot(&agent, transport, &plan.grants);
        let control = FakeControl::new(snapshot, plan.rules);
        let (disk, dir) = (GatedDisk::new(), tempfile::tempdir().unwrap());
        let ledger = ledger(&disk, &dir);
        control.keep(ledger.clone());
        control.set_access_keys(KeySet::from_keys([signing.verifying_key()]).unwrap());
        let gateway = Gateway::start(GatewayParts {
            control: Arc::<FakeControl>::clone(&control),
            ledger: ledger.clone(),
            issuer: issuer.clone(),
            approval_hold: plan.hold,
            children: ChildRules { same_user: plan.same_user, ..ChildRules::default() },
        })
        .unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, gateway));
        Self { agent, control, server, ledger, disk, signing, issuer, dir, _serving: serving }
    }

    /// Every leaf, once what was handed in so far is durable.
    pub(crate) async fn leaves(&self) -> Vec<Map<String, Value>> {
        let marker = Entry {
            kind: Kind::Node,
            id: "marker".into(),
            at: NOW.wall,
            header: Map::new(),
            sealed: vec![],
            subject: String::new(),
            position: None,
            narrows: false,
        };
        self.ledger.append(marker).await.unwrap();
        let leaves = self.ledger.leaves(0).map(Result::unwrap);
        leaves.map(|leaf| leaf.header().clone()).collect()
    }

    /// The outcomes recorded so far.
    pub(crate) async fn outcomes(&self) -> Vec<String> {
        let leaves = self.leaves().await;
        let outcomes = leaves.iter().filter_map(|header| header.get("outcome")?.as_str());
        outcomes.map(str::to_owned).collect()
    }

    /// Waits until this outcome is recorded: of a stream that was cut off, that is a moment later.
    pub(crate) async fn outcome(&self, wanted: &str) {
        let there =
            async { while !self.outcomes().await.iter().any(|outcome| outcome == wanted) {} };
        tokio::time::timeout(Duration::from_secs(20), there).await.expect(wanted);
    }

    /// Changes the task, and waits until that is in force at the gateway.
    pub(crate) async fn change_task(&self, change: impl FnOnce(&mut TaskView)) {
        let revision = self.control.change(|view| {
            let tasks = Arc::make_mut(&mut view.snapshot.tasks);
            change(Arc::make_mut(tasks.get_mut(&TASK.parse().unwrap()).unwrap()));
        });
        self.control.effective(revision).await;
    }

    pub(crate) async fn close_task(&self) {
        self.change_task(|view| {
            let closure = Closure::Revoked;
            view.task.state = TaskState::Closing { closure, since: NOW.wall };
        })
        .await;
    }

    /// Another agent process, with its own key and instance, of the same agent and task.
    pub(crate) fn neighbour(&self) -> Agent {
        let neighbour = Agent::new(&self.issuer, &self.signing, 2, TASK);
        self.control.change(|view| add_instance(&mut view.snapshot, &neighbour));
        neighbour
    }
}

async fn serve(listener: TcpListener, gateway: Arc<Gateway>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let gateway = Arc::clone(&gateway);
        connections.spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let gateway = Arc::clone(&gateway);
                async move { Ok::<_, std::convert::Infallible>(gateway.handle(request).await) }
            });
            let builder = auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn ledger(disk: &GatedDisk, dir: &tempfile::TempDir) -> Ledger {
    let (log, lock) = (dir.path().join("log"), dir.path().join("lock"));
    let mut config = LedgerConfig::new(log, lock, "carnet.example/log/test");
    config.segment_bytes = SEGMENT_BYTES_MIN;
    config.reserve_bytes = SEGMENT_BYTES_MIN;
    config.checkpoint_every = None;
    Ledger::open(config, Arc::new(disk.clone()), LedgerKeys::generate().unwrap()).unwrap().0
}

fn registered(kind: &str, name: &str, path: Path, reach: Reach, definition: &str) -> Registered {
    let definition: Value = serde_json::from_str(definition).unwrap();
    Registered {
        action: format!("desk.{kind}.{name}").parse().unwrap(),
        path,
        effect: EffectClass { reversible: path == Path::Read, reach },
        arguments: BTreeMap::new(),
        pin: pin(&definition).unwrap(),
        definition,
    }
}

fn desk(transport: Transport) -> Resource {
    let asking = r#"{"method":"elicitation/create"}"#;
    let operations = [
        registered("tool", "get_ticket", Path::Read, Reach::Inside, TICKET),
        registered("tool", "read_payroll", Path::Read, Reach::Inside, PAYROLL),
        registered("tool", "issue_refund", Path::Write, Reach::Inside, REFUND),
        registered("method", "elicitation.create", Path::Read, Reach::Inside, asking),
    ];
    Resource {
        name: "desk".parse().unwrap(),
        environment: "test".into(),
        labels: BTreeSet::new(),
        upstream: Upstream { transport, credentials: BTreeMap::new() },
        operations: operations.into_iter().map(|one| (one.action.clone(), one)).collect(),
    }
}

pub(crate) fn grant(number: usize, allowance: &Value) -> Grant {
    Grant {
        id: format!("grant_{number}").parse().unwrap(),
        task: TASK.parse().unwrap(),
        allowance: serde_json::from_value(allowance.clone()).unwrap(),
        expires: NOW.wall.plus_s(1_000),
        uses_spent: 0,
        totals_spent: BTreeMap::new(),
        approved: None,
        draws_on: None,
        cut_from: None,
        state: GrantState::Active,
    }
}

fn task() -> Task {
    Task {
        id: TASK.parse().unwrap(),
        agent: "support-agent".parse().unwrap(),
        subject: Principal::User("ana".parse().unwrap()),
        opened_by: Principal::User("ana".parse().unwrap()),
        purpose: "support".into(),
        standing: false,
        parent: None,
        depth: 0,
        opened_at: NOW.wall.plus_s(-10),
        deadline: NOW.wall.plus_s(1_000),
        calls_max: None,
        calls_spent: 0,
        children_max: None,
        children: 0,
        levels_max: None,
        opened_with: None,
        marked: false,
        state: TaskState::Open,
        suspension: None,
    }
}

pub(crate) fn add_instance(snapshot: &mut Snapshot, agent: &Agent) {
    let instance = Instance {
        id: agent.instance.clone(),
        agent: "support-agent".parse().unwrap(),
        thumbprint: Some(agent.dpop.thumbprint().to_string()),
        seen_at: NOW.wall,
        marked: false,
    };
    Arc::make_mut(&mut snapshot.instances).insert(instance.id.clone(), Arc::new(instance));
}

fn snapshot(agent: &Agent, transport: Transport, grants: &[Value]) -> Snapshot {
    let registration = Registration {
        name: "support-agent".parse().unwrap(),
        owner: "team:support".parse().unwrap(),
        environment: "test".into(),
        selectors: Some(Selectors { uid: 1, gid: None, executable: None, executable_digest: None }),
        identities: Vec::new(),
        standing: None,
        bearer_read: false,
    };
    let user = |name: &str| {
        let user = User {
            name: name.parse().unwrap(),
            teams: ["support".to_owned()].into(),
            logins: Vec::new(),
        };
        (user.name.clone(), Arc::new(user))
    };
    let grants = grants.iter().enumerate().map(|(number, one)| grant(number, one)).collect();
    let view = TaskView { task: task(), grants, questions_pending: 0 };
    let mut snapshot = Snapshot {
        revision: 1,
        fresh_until: Monotonic::from_us(u64::MAX),
        agents: Arc::new([(registration.name.clone(), Arc::new(registration))].into()),
        users: Arc::new([user("ana"), user("bo")].into()),
        resources: Arc::new([("desk".parse().unwrap(), Arc::new(desk(transport)))].into()),
        tasks: Arc::new([(TASK.parse().unwrap(), Arc::new(view))].into()),
        ..Snapshot::default()
    };
    add_instance(&mut snapshot, agent);
    snapshot
}

/// Changes the policy of a view.
pub(crate) fn set_rules(view: &mut View, rules: Rules) {
    view.policy = Arc::new(rules);
}

/// Everything that was logged in this process, at every level.
pub(crate) fn logged() -> String {
    String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned()
}

static LOG: LazyLock<Mutex<Vec<u8>>> = LazyLock::new(Mutex::default);

struct Log;

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn capture() {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(|| Log)
        .finish();
    // Every test asks for it; the first gets it.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
