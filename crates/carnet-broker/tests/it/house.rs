//! A broker over a real store and ledger in a directory of its own, with people, agents, one
//! resource and a policy set; its clock is turned by hand.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use carnet_broker::{
    AskUse, Broker, BrokerError, BrokerParts, Clock, DelegateTask, OpenTask, Reserve, Review,
    TokenRequest, Vault, fresh_bits,
};
use carnet_core::{
    Agent, AgentName, ApprovalId, Caller, Decision, DecisionId, DecisionKind, Digest, EffectClass,
    InstanceId, Intent, Monotonic, Now, Operation, Principal, Reach, Reason, ReservationId,
    Resource, Selectors, TaskId, Timestamp, Transport, Upstream, User, UserName, assess, invariant,
};
use carnet_identity::Thumbprint;
use carnet_ledger::{
    Entry, Kind, Leaf, Ledger, LedgerConfig, LedgerKeys, SEGMENT_BYTES_MIN, Sealed, Verdict, verify,
};
use carnet_policy::PolicySource;
use carnet_store::{SqliteOptions, SqliteStore, Store};
use secrecy::SecretBox;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::gate::{DiskGate, GatedDisk, GatedStore, StoreGate};

/// People of support open tasks and run the house, people of finance answer. `pay` goes through up to
/// a bound, `send` asks at each use, `wire` asks before the task has it, `erase` nobody may give.
pub(crate) const PERMIT: &str = r#"
@id("support-operates") permit(principal in Carnet::Team::"support", action in Carnet::Action::"operate", resource);
@id("support-opens") permit(principal in Carnet::Team::"support", action == Carnet::Action::"task.open", resource in Carnet::Resource::"desk")
  unless { resource == Carnet::Operation::"desk.tool.erase" };
@id("agents-open-reads") permit(principal is Carnet::Agent, action == Carnet::Action::"task.open", resource is Carnet::Operation)
  when { resource.path == "read" };
@id("finance-answers") permit(principal in Carnet::Team::"finance", action == Carnet::Action::"approval.decide", resource in Carnet::Resource::"desk");
@id("support-answers") permit(principal in Carnet::Team::"support", action == Carnet::Action::"approval.decide", resource in Carnet::Resource::"desk");
@id("agents-call") permit(principal is Carnet::Agent, action in Carnet::Action::"call", resource in Carnet::Resource::"desk");
"#;
/// What lets desk-agent hand its work on, beside `PERMIT`.
pub(crate) const DELEGATE: &str = r#"
@id("desk-agent-hands-on") permit(principal == Carnet::Agent::"desk-agent", action == Carnet::Action::"task.delegate", resource in Carnet::Resource::"desk");
"#;
pub(crate) const ASK: &str = r#"
@id("send-asks") @approvers("team:finance") @threshold("1") @timeout_s("900")
forbid(principal is Carnet::Agent, action == Carnet::Action::"mcp.write", resource == Carnet::Operation::"desk.tool.send");
@id("wire-asks") @approvers("team:finance") @threshold("2") @timeout_s("900")
forbid(principal, action == Carnet::Action::"task.open", resource == Carnet::Operation::"desk.tool.wire");
"#;
/// A set that lets nobody do anything.
pub(crate) const NOTHING: &str = r#"
@id("nothing") forbid(principal, action, resource);
"#;

/// The seed of the ledger's signing key is 32 times 7.
const PKCS8: &[u8] = &[
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
];
const ORIGIN: &str = "carnet.example/log/test";
/// The thumbprint of the key the agents of a test hold.
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A clock turned by hand.
#[derive(Default)]
pub(crate) struct Hand {
    wall_us: AtomicI64,
    mono_us: AtomicU64,
}

impl Hand {
    fn clock(self: &Arc<Self>) -> Clock {
        let hand = Arc::clone(self);
        Clock::from_fn(move || Now {
            wall: Timestamp::from_us(hand.wall_us.load(Ordering::Relaxed)),
            mono: Monotonic::from_us(hand.mono_us.load(Ordering::Relaxed)),
        })
    }

    /// Moves the wall clock. The view stays fresh.
    pub(crate) fn pass_s(&self, s: i64) {
        self.wall_us.fetch_add(s * 1_000_000, Ordering::Relaxed);
    }

    /// Moves the monotonic clock.
    pub(crate) fn run_s(&self, s: u64) {
        self.mono_us.fetch_add(s * 1_000_000, Ordering::Relaxed);
    }
}

/// A running broker.
pub(crate) struct House {
    pub(crate) broker: Arc<Broker>,
    pub(crate) hand: Arc<Hand>,
    pub(crate) store: Arc<StoreGate>,
    pub(crate) disk: Arc<DiskGate>,
    pub(crate) files: Arc<GatedStore>,
    dir: TempDir,
}

/// A broker that was stopped, with its files.
pub(crate) struct Stopped {
    hand: Arc<Hand>,
    dir: TempDir,
}

impl House {
    /// A house with everything in it.
    pub(crate) async fn furnished() -> Self {
        let house = Self::empty().await;
        house.broker.put_users(people()).await.unwrap();
        house.activate(&[("permit/all.cedar", PERMIT), ("ask/all.cedar", ASK)]).await;
        house.put_agent("desk-agent", None).await;
        house.put_agent("mail-agent", Some(intent(&[read()]))).await;
        house.put_desk().await;
        house
    }

    /// The same, where desk-agent may hand its work on.
    pub(crate) async fn delegating() -> Self {
        let house = Self::furnished().await;
        house.delegate_by(DELEGATE).await;
        house
    }

    /// Puts `text` in force beside what is in every house.
    pub(crate) async fn delegate_by(&self, text: &str) {
        let files =
            [("permit/all.cedar", PERMIT), ("ask/all.cedar", ASK), ("permit/on.cedar", text)];
        self.activate(&files).await;
    }

    /// A house with nobody in it.
    pub(crate) async fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hand = Arc::new(Hand::default());
        hand.pass_s(1_800_000_000);
        Stopped { dir, hand }.start().await.unwrap()
    }

    /// Stops the broker and lets go of its files.
    pub(crate) async fn stop(self) -> Stopped {
        let Self { broker, hand, dir, disk, files, .. } = self;
        drop(files);
        broker.stop().await;
        disk.open();
        let ledger = broker.ledger().clone();
        tokio::task::spawn_blocking(move || ledger.close()).await.unwrap();
        let last = Arc::try_unwrap(broker);
        assert!(last.is_ok(), "something still holds the broker");
        Stopped { hand, dir }
    }

    /// Stops the broker and starts it again on its files.
    pub(crate) async fn restart(self) -> Self {
        self.stop().await.start().await.unwrap()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.broker.now().wall
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) async fn activate(&self, files: &[(&str, &str)]) -> Digest {
        self.broker.activate_policy(&policy(files), &user("ana")).await.unwrap().0
    }

    pub(crate) async fn put_agent(&self, name: &str, standing: Option<Intent>) {
        let selectors = Selectors { uid: 1, gid: None, executable: None, executable_digest: None };
        let agent = Agent {
            name: agent(name),
            owner: "user:dee".parse().unwrap(),
            environment: "test".into(),
            selectors: Some(selectors),
            identities: Vec::new(),
            bearer_read: false,
            standing,
        };
        self.broker.put_agent(agent, &user("ana")).await.unwrap();
    }

    /// Labels the desk, whose reviews stay.
    pub(crate) async fn label_desk(&self, label: &str) {
        let view = self.broker.view();
        let mut desk = (**view.snapshot.resource(&"desk".parse().unwrap()).unwrap()).clone();
        desk.labels.insert(label.to_owned());
        self.broker.put_resource(desk, &user("ana")).await.unwrap();
    }

    async fn put_desk(&self) {
        let url = "https://desk.example/mcp".to_owned();
        let resource = Resource {
            name: "desk".parse().unwrap(),
            environment: "test".into(),
            labels: Default::default(),
            upstream: Upstream { transport: Transport::Http { url }, credentials: BTreeMap::new() },
            operations: BTreeMap::new(),
        };
        self.broker.put_resource(resource, &user("ana")).await.unwrap();
        let reviews = ["read_ticket", "pay", "send", "wire", "erase"].map(review).to_vec();
        self.broker.review(&"desk".parse().unwrap(), reviews, &user("ana")).await.unwrap();
    }

    /// Opens a task of `desk-agent` that ana opens for eve.
    pub(crate) async fn open(&self, allow: &[Value]) -> Result<TaskId, BrokerError> {
        self.open_for("desk-agent", "eve", "ana", allow).await
    }

    pub(crate) async fn open_for(
        &self,
        name: &str,
        subject: &str,
        by: &str,
        allow: &[Value],
    ) -> Result<TaskId, BrokerError> {
        let request = OpenTask {
            agent: agent(name),
            subject: Principal::User(user(subject)),
            opened_by: Principal::User(user(by)),
            intent: intent(allow),
            standing: false,
        };
        self.broker.open_task(request).await.map(|(task, _)| task)
    }

    pub(crate) async fn close(&self, task: &TaskId) -> Result<carnet_broker::Done, BrokerError> {
        let by = Principal::User(user("ana"));
        self.broker.close_task(task, carnet_core::Closure::Completed, &by).await
    }

    /// The running copy of `name` that holds the tests' key, known from its first token on.
    pub(crate) async fn instance(&self, name: &str, task: &TaskId) -> InstanceId {
        let known = |view: &carnet_core::View| {
            let mut all = view.snapshot.instances.values();
            all.find(|known| known.agent == agent(name)).map(|known| known.id.clone())
        };
        if let Some(instance) = known(&self.broker.view()) {
            return instance;
        }
        // It is known even where the task has nothing to read.
        let _ = self.broker.issue_token(self.token_request(name, Some(task))).await;
        known(&self.broker.view()).unwrap()
    }

    /// A request for a read token.
    pub(crate) fn token_request(&self, name: &str, task: Option<&TaskId>) -> TokenRequest {
        TokenRequest {
            certificate: None,
            agent: agent(name),
            thumbprint: Some(thumbprint()),
            task: task.cloned(),
            subject: None,
            resource: "desk".parse().unwrap(),
            path: carnet_core::Path::Read,
        }
    }

    pub(crate) fn operation(&self, name: &str, arguments: Value) -> Operation {
        let view = self.broker.view();
        let desk = view.snapshot.resource(&"desk".parse().unwrap()).unwrap().clone();
        let registered = desk.registered(&action(name)).unwrap();
        let arguments = serde_json::from_value(arguments).unwrap();
        Operation::new(desk.name.clone(), registered, arguments).unwrap()
    }

    /// The agent of `task`, where it is open.
    fn agent_of(&self, task: &TaskId) -> AgentName {
        let held = self.broker.view().snapshot.task(task).map(|view| view.task.agent.clone());
        held.unwrap_or_else(|| agent("desk-agent"))
    }

    /// Hands `allow` of desk-agent's task on to mail-agent.
    pub(crate) async fn hand_on(
        &self,
        parent: &TaskId,
        allow: &[Value],
    ) -> Result<TaskId, BrokerError> {
        self.hand_on_by("desk-agent", parent, "mail-agent", allow).await
    }

    /// The same with a token of that name.
    pub(crate) async fn hand_on_with(
        &self,
        parent: &TaskId,
        allow: &[Value],
        opened_with: Option<String>,
    ) -> Result<TaskId, BrokerError> {
        let request = delegation("desk-agent", parent, "mail-agent", allow);
        let delegated = self.broker.delegate_task(DelegateTask { opened_with, ..request }).await;
        delegated.map(|(task, _)| task)
    }

    pub(crate) async fn hand_on_by(
        &self,
        by: &str,
        parent: &TaskId,
        to: &str,
        allow: &[Value],
    ) -> Result<TaskId, BrokerError> {
        let request = delegation(by, parent, to, allow);
        self.broker.delegate_task(request).await.map(|(task, _)| task)
    }

    /// Who calls for `task`, as a gateway would identify them.
    pub(crate) async fn caller(&self, task: &TaskId, operation: &Operation) -> Caller {
        let agent = self.agent_of(task);
        Caller {
            instance: self.instance(agent.as_str(), task).await,
            agent,
            task: task.clone(),
            path: operation.path(),
            resource: "desk".parse().unwrap(),
            token: "tok_1".into(),
            key: String::new(),
            expires: self.now().plus_s(60),
            thumbprint: Some(KEY.into()),
        }
    }

    /// Decides one call on the view in force, and checks that the decision may be.
    pub(crate) async fn decide(&self, task: &TaskId, name: &str, arguments: Value) -> Decision {
        let operation = self.operation(name, arguments);
        let caller = self.caller(task, &operation).await;
        let view = self.broker.view();
        let now = self.broker.now();
        let decision = assess(&view.snapshot, &*view.policy, &operation, &caller, now);
        invariant::check_decision(&view.snapshot, &operation, &caller, now, &decision).unwrap();
        decision
    }

    pub(crate) async fn kind(&self, task: &TaskId, name: &str, arguments: Value) -> DecisionKind {
        self.decide(task, name, arguments).await.kind
    }

    /// Sets aside what a permitted call takes, as the gateway does before it forwards.
    pub(crate) async fn reserve(
        &self,
        task: &TaskId,
        name: &str,
        arguments: Value,
    ) -> Result<ReservationId, Reason> {
        let decision = self.decide(task, name, arguments.clone()).await;
        if decision.kind != DecisionKind::Permit {
            return Err(decision.reasons[0]);
        }
        self.reserve_decided(task, &decision, arguments).await.map_err(|error| match error {
            BrokerError::Refused { reason, .. } => reason,
            other => panic!("{other}"),
        })
    }

    pub(crate) async fn reserve_decided(
        &self,
        task: &TaskId,
        decision: &Decision,
        arguments: Value,
    ) -> Result<ReservationId, BrokerError> {
        let id = DecisionId::from_bits(fresh_bits());
        let copy = self.instance(self.agent_of(task).as_str(), task).await;
        let entry = Entry {
            kind: Kind::Decision,
            id: id.to_string(),
            at: self.now(),
            header: Map::from_iter([
                ("decision".to_owned(), json!("permit")),
                ("grant".to_owned(), json!(decision.cover.as_ref().map(|cover| &cover.grant))),
            ]),
            sealed: vec![Sealed { name: "arguments".into(), value: arguments }],
            subject: "user:eve".into(),
            position: None,
            narrows: false,
        };
        let reserve = Reserve {
            agent: self.agent_of(task),
            decision: id,
            task: task.clone(),
            charges: decision.cover.clone().unwrap().charges,
            counts_call: decision.counts_calls,
            marks: decision.marks.then_some(copy),
            entry,
        };
        self.broker.reserve(reserve).await
    }

    pub(crate) async fn settle(
        &self,
        id: &ReservationId,
        forwarded: bool,
    ) -> Result<(), BrokerError> {
        self.broker.settle_reservation(id, &agent("desk-agent"), forwarded).await
    }

    /// Puts the question a decision asks of desk-agent.
    pub(crate) async fn ask(
        &self,
        task: &TaskId,
        name: &str,
        arguments: Value,
    ) -> Result<ApprovalId, BrokerError> {
        self.ask_by("desk-agent", task, name, arguments).await
    }

    pub(crate) async fn ask_by(
        &self,
        by: &str,
        task: &TaskId,
        name: &str,
        arguments: Value,
    ) -> Result<ApprovalId, BrokerError> {
        let decision = self.decide(task, name, arguments.clone()).await;
        let Some(terms) = decision.terms.clone() else {
            // A permitted call, too, has nothing to ask: it has no reason against it.
            let reason = decision.reasons.first().copied().unwrap_or(Reason::ReservationRefused);
            return Err(BrokerError::Refused {
                reason,
                detail: format!("it is {:?}", decision.kind),
            });
        };
        let ask = AskUse {
            decision: DecisionId::from_bits(fresh_bits()),
            task: task.clone(),
            instance: self.instance(by, task).await,
            agent: agent(by),
            operation: self.operation(name, arguments),
            terms,
            policy: decision.policy,
            draws_on: decision.cover.map(|cover| cover.grant),
        };
        self.broker.ask(ask).await
    }

    /// Waits until the ledger has every record there is.
    pub(crate) async fn drained(&self) {
        while !self.files.outbox(0, 1).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Every leaf of the ledger.
    pub(crate) fn leaves(&self) -> Vec<Leaf> {
        self.broker.ledger().leaves(0).map(Result::unwrap).collect()
    }

    /// How many leaves say this of `id`.
    pub(crate) fn count(&self, id: &str, transition: &str) -> usize {
        let leaves = self.leaves();
        let said = |leaf: &&Leaf| {
            let found = leaf.header().get("transition").and_then(Value::as_str).unwrap_or("");
            leaf.id() == id && found == transition
        };
        leaves.iter().filter(said).count()
    }
}

impl Stopped {
    /// Starts a broker on these files.
    pub(crate) async fn start(self) -> Result<House, BrokerError> {
        self.start_sealed_by([7; 32]).await
    }

    pub(crate) async fn start_sealed_by(self, kek: [u8; 32]) -> Result<House, BrokerError> {
        let Self { hand, dir } = self;
        let (store, disk) = (Arc::new(StoreGate::default()), Arc::new(DiskGate::default()));
        let gated = GatedDisk(Arc::clone(&disk));
        let config = ledger_config(dir.path());
        let open = move || Ledger::open(config, Arc::new(gated), ledger_keys());
        let (ledger, recovered) = tokio::task::spawn_blocking(open).await.unwrap().unwrap();
        let options = SqliteOptions { reserve_bytes: 1 << 16, ..SqliteOptions::default() };
        let opened = SqliteStore::open(&dir.path().join("store"), options).unwrap();
        let files = Arc::new(GatedStore { store: opened, gate: Arc::clone(&store) });
        let parts = BrokerParts {
            store: Arc::clone(&files) as Arc<dyn Store>,
            ledger: ledger.clone(),
            last_outbox: recovered.outbox,
            vault: Vault::new(SecretBox::new(Box::new(kek))),
            trust_domain: "carnet.example".parse().unwrap(),
            issuer: "https://carnet.example".into(),
            freshness_window: Duration::from_secs(3600),
        };
        let started = Broker::start_by(parts, hand.clock()).await;
        if started.is_err() {
            tokio::task::spawn_blocking(move || ledger.close()).await.unwrap();
        }
        Ok(House { broker: started?, hand, store, disk, files, dir })
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Checks the ledger as somebody does who does not trust it.
    pub(crate) fn verify_ledger(&self) {
        let key = ledger_keys().verifying_key(ORIGIN).unwrap();
        let (dir, lock_dir) = (self.dir.path().join("ledger"), self.dir.path().join("lock"));
        let report = verify(&dir, Some(&lock_dir), &key);
        assert_eq!(report.verdict, Verdict::Whole, "{:?}", report.findings);
    }
}

fn ledger_keys() -> LedgerKeys {
    LedgerKeys::from_bytes(PKCS8, [5; 32]).unwrap()
}

fn ledger_config(dir: &Path) -> LedgerConfig {
    let mut config = LedgerConfig::new(dir.join("ledger"), dir.join("lock"), ORIGIN);
    (config.segment_bytes, config.reserve_bytes) = (4 * SEGMENT_BYTES_MIN, SEGMENT_BYTES_MIN);
    config.checkpoint_every = None;
    config
}

pub(crate) fn policy(files: &[(&str, &str)]) -> PolicySource {
    let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    PolicySource::from_files(files.collect()).unwrap()
}

pub(crate) fn user(name: &str) -> UserName {
    name.parse().unwrap()
}

pub(crate) fn agent(name: &str) -> AgentName {
    name.parse().unwrap()
}

pub(crate) fn action(name: &str) -> carnet_core::ActionName {
    format!("desk.tool.{name}").parse().unwrap()
}

pub(crate) fn thumbprint() -> Thumbprint {
    KEY.parse().unwrap()
}

/// ana opens and operates, bo and cy answer, dee owns the agents, eve is whom tasks run for.
pub(crate) fn people() -> Vec<User> {
    let person = |name: &str, team: &str| User {
        name: user(name),
        teams: [team.to_owned()].into(),
        logins: Vec::new(),
    };
    vec![
        person("ana", "support"),
        person("bo", "finance"),
        person("cy", "finance"),
        person("dee", "engineering"),
        person("eve", "finance"),
    ]
}

pub(crate) fn intent(allow: &[Value]) -> Intent {
    let text = json!({ "purpose": "a test", "deadline": "1h", "allow": allow }).to_string();
    Intent::from_json(text.as_bytes()).unwrap()
}

fn delegation(by: &str, parent: &TaskId, to: &str, allow: &[Value]) -> DelegateTask {
    let mut intent = intent(allow);
    intent.deadline_s = None;
    DelegateTask {
        by: agent(by),
        thumbprint: thumbprint(),
        parent: parent.clone(),
        agent: agent(to),
        intent,
        opened_with: None,
    }
}

pub(crate) fn read() -> Value {
    json!({ "action": "desk.tool.read_ticket", "path": "read" })
}

/// Paying, uncounted unless `more` says so.
pub(crate) fn pay(more: Value) -> Value {
    let mut allow = json!({ "action": "desk.tool.pay", "path": "write", "other": "any" });
    allow.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    allow
}

pub(crate) fn allow(name: &str) -> Value {
    json!({ "action": format!("desk.tool.{name}"), "path": "write", "other": "any" })
}

fn review(name: &str) -> Review {
    let definition = json!({ "name": name, "inputSchema": { "type": "object" } });
    let path = match name {
        "read_ticket" => carnet_core::Path::Read,
        _ => carnet_core::Path::Write,
    };
    Review {
        action: action(name),
        pin: Digest::of_json(&definition).unwrap(),
        definition,
        path: Some(path),
        effect: EffectClass { reversible: false, reach: Reach::Inside },
        arguments: BTreeMap::new(),
    }
}

/// The reason of a refusal.
pub(crate) fn reason<T: std::fmt::Debug>(result: Result<T, BrokerError>) -> Reason {
    match result {
        Err(BrokerError::Refused { reason, .. }) => reason,
        other => panic!("not refused: {other:?}"),
    }
}
