//! A broker with two agents, one resource and a policy that lets people and agents work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use carnet_core::{
    Agent, AgentName, Digest, EffectClass, Intent, Lock, LockState, LockTarget, Path, Principal,
    Reach, Resource, Selectors, TaskId, Transport, Upstream, User, UserName,
};
use carnet_ledger::{Ledger, LedgerConfig, LedgerKeys, RealDisk};
use carnet_policy::PolicySource;
use carnet_store::{SqliteOptions, SqliteStore};
use secrecy::SecretBox;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::broker::{Broker, BrokerParts};
use crate::item::Item;
use crate::registry::Review;
use crate::vault::Vault;
use crate::work::OpenTask;

pub(crate) const ISSUER: &str = "https://carnet.example";
pub(crate) const DOMAIN: &str = "carnet.example";

const POLICY: &str = r#"
@id("people-open") permit(principal is Carnet::User, action == Carnet::Action::"task.open", resource is Carnet::Operation);
@id("agents-stand") permit(principal is Carnet::Agent, action == Carnet::Action::"task.open", resource is Carnet::Operation);
@id("agents-call") permit(principal is Carnet::Agent, action in Carnet::Action::"call", resource is Carnet::Operation);
@id("desk-agent-hands-on") permit(principal == Carnet::Agent::"desk-agent", action == Carnet::Action::"task.delegate", resource is Carnet::Operation);
"#;

/// A running broker.
pub(crate) struct House {
    pub(crate) broker: Arc<Broker>,
    dir: TempDir,
}

impl House {
    /// A broker reached at `issuer`, with `desk-agent` (a standing read, may bear tokens) and
    /// `mail-agent` (neither), both of this process's own user.
    pub(crate) async fn at(issuer: &str) -> Self {
        let house = Self::empty(issuer).await;
        house.register_resource().await;
        let standing = intent("standing", &[("read", "read_ticket")]);
        house.register("desk-agent", own_selectors(), Some(standing)).await;
        house.register("mail-agent", own_selectors(), None).await;
        house
    }

    /// A broker that knows no agent.
    pub(crate) async fn empty(issuer: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config =
            LedgerConfig::new(dir.path().join("log"), dir.path().join("lock"), "c.example/log");
        (config.segment_bytes, config.reserve_bytes) = (1 << 20, 128 * 1024);
        config.checkpoint_every = None;
        let keys = LedgerKeys::generate().unwrap();
        let (ledger, recovered) = Ledger::open(config, Arc::new(RealDisk), keys).unwrap();
        let options = SqliteOptions { reserve_bytes: 1 << 20, ..SqliteOptions::default() };
        let parts = BrokerParts {
            store: Arc::new(SqliteStore::open(&dir.path().join("state"), options).unwrap()),
            ledger,
            last_outbox: recovered.outbox,
            vault: Vault::new(SecretBox::new(Box::new([7; 32]))),
            trust_domain: DOMAIN.parse().unwrap(),
            issuer: issuer.to_owned(),
            freshness_window: Duration::from_secs(3600),
        };
        let broker = Broker::start(parts).await.unwrap();
        broker
            .put_users(vec![User { name: ana(), teams: BTreeSet::new(), logins: Vec::new() }])
            .await
            .unwrap();
        let files = BTreeMap::from([("permit/all.cedar".to_owned(), POLICY.to_owned())]);
        let source = PolicySource::from_files(files).unwrap();
        broker.activate_policy(&source, &ana()).await.unwrap();
        Self { broker, dir }
    }

    /// Where the ledger and whatever a test makes is.
    pub(crate) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    pub(crate) async fn register(
        &self,
        name: &str,
        selectors: Selectors,
        standing: Option<Intent>,
    ) {
        let agent = Agent {
            name: agent(name),
            owner: "user:ana".parse().unwrap(),
            environment: "production".to_owned(),
            selectors: Some(selectors),
            identities: Vec::new(),
            bearer_read: standing.is_some(),
            standing,
        };
        self.broker.put_agent(agent, &ana()).await.unwrap();
    }

    /// A task of `name` that ana opened, to read and close tickets.
    pub(crate) async fn open_task(&self, name: &str) -> TaskId {
        let request = OpenTask {
            agent: agent(name),
            subject: Principal::User(ana()),
            opened_by: Principal::User(ana()),
            intent: intent("support", &[("read", "read_ticket"), ("write", "close_ticket")]),
            standing: false,
        };
        self.broker.open_task(request).await.unwrap().0
    }

    /// Puts a policy set in force that permits agents nothing.
    pub(crate) async fn forbid_everything(&self) {
        let text = r#"@id("operate") permit(principal is Carnet::User, action, resource);"#;
        let files = BTreeMap::from([("permit/all.cedar".to_owned(), text.to_owned())]);
        let source = PolicySource::from_files(files).unwrap();
        self.broker.activate_policy(&source, &ana()).await.unwrap();
    }

    /// Sets a lock.
    pub(crate) async fn lock(&self, target: LockTarget) {
        let lock = Lock {
            id: "lock_1".parse().unwrap(),
            target,
            set_by: ana(),
            set_at: self.broker.now().wall,
            reason: "a test".to_owned(),
            state: LockState::Set,
        };
        let by = Principal::User(ana());
        self.broker.transact(&by, |_, draft, _| draft.put(Item::Lock(lock.clone()))).await.unwrap();
    }

    async fn register_resource(&self) {
        let resource = Resource {
            name: "desk".parse().unwrap(),
            environment: "production".to_owned(),
            labels: BTreeSet::new(),
            upstream: Upstream {
                transport: Transport::Http { url: "https://desk.example/mcp".to_owned() },
                credentials: BTreeMap::new(),
            },
            operations: BTreeMap::new(),
        };
        self.broker.put_resource(resource, &ana()).await.unwrap();
        let reviews = vec![
            review("read_ticket", Path::Read, EffectClass::CLOSED),
            review(
                "close_ticket",
                Path::Write,
                EffectClass { reversible: true, reach: Reach::Inside },
            ),
        ];
        self.broker.review(&"desk".parse().unwrap(), reviews, &ana()).await.unwrap();
    }
}

pub(crate) fn agent(name: &str) -> AgentName {
    name.parse().unwrap()
}

pub(crate) fn ana() -> UserName {
    "ana".parse().unwrap()
}

/// Any process of the user this test runs as.
pub(crate) fn own_selectors() -> Selectors {
    let uid = rustix::process::geteuid().as_raw();
    Selectors { uid, gid: None, executable: None, executable_digest: None }
}

pub(crate) fn intent(purpose: &str, allowed: &[(&str, &str)]) -> Intent {
    let allow: Vec<Value> = allowed
        .iter()
        .map(|(path, tool)| json!({ "action": format!("desk.tool.{tool}"), "path": path, "other": "any" }))
        .collect();
    let text = json!({ "purpose": purpose, "allow": allow }).to_string();
    Intent::from_json(text.as_bytes()).unwrap()
}

fn review(tool: &str, path: Path, effect: EffectClass) -> Review {
    let definition = json!({ "name": tool, "inputSchema": { "type": "object" } });
    Review {
        action: format!("desk.tool.{tool}").parse().unwrap(),
        pin: Digest::of_json(&definition).unwrap(),
        definition,
        path: Some(path),
        effect,
        arguments: BTreeMap::new(),
    }
}
