//! The broker over a ledger's disk that forgets everything unsynced, cut off at every moment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use carnet_broker::{Broker, BrokerError, BrokerParts, OpenTask, Reserve, Review, Vault};
use carnet_core::{
    Agent, AgentName, Charge, Closure, DecisionId, Digest, EffectClass, Intent, LockTarget,
    Principal, Resource, Selectors, TaskId, Timestamp, Transport, Upstream, User, UserName,
};
use carnet_ledger::{
    Entry, ForgetfulDisk, Kind, Ledger, LedgerConfig, LedgerKeys, Recovered, SEGMENT_BYTES_MIN,
    Sealed,
};
use carnet_policy::PolicySource;
use carnet_store::{SqliteOptions, SqliteStore};
use secrecy::SecretBox;
use serde_json::{Map, json};

const POLICY: &str = r#"
@id("people-open") permit(principal is Carnet::User, action == Carnet::Action::"task.open", resource is Carnet::Operation);
"#;
/// The seed of the signing key is 32 times 7.
const PKCS8: &[u8] = &[
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
];
/// At how many moments the power fails.
const CRASHES: u64 = 24;

/// What whoever asked was told is done.
#[derive(Debug, Default)]
struct Acknowledged {
    opened: BTreeSet<TaskId>,
    closed: BTreeSet<TaskId>,
    decisions: BTreeSet<String>,
    locks: BTreeSet<String>,
}

#[test]
fn nothing_that_was_acknowledged_is_lost_whenever_the_power_fails() {
    let (mut acknowledged, mut cut_off) = (0, 0);
    for crash in 0..CRASHES {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = ForgetfulDisk::new();
        let mut known = Acknowledged::default();
        run(dir.path(), &disk, |broker| async move { set_up(&broker).await.unwrap() }).unwrap();
        for round in 0..2 {
            disk = disk.after_power_loss(None);
            disk.crash_after(2 + crash * 5 + round * 7);
            let told = &mut known;
            // The crash may come while it starts: then nothing is acknowledged.
            let _ = run(dir.path(), &disk, |broker| async move { work(&broker, told).await });
            cut_off += usize::from(disk.is_crashed());
            disk = disk.after_power_loss((crash % 2 == 0).then_some(crash));
            widened_is_in_the_ledger_alone(&disk, &known);
        }
        acknowledged += known.opened.len() + known.decisions.len();
        let after = |broker: Arc<Broker>| async move {
            everything_is_there(&broker, &known);
            work(&broker, &mut known).await;
            everything_is_there(&broker, &known);
        };
        run(dir.path(), &disk, after).unwrap();
    }
    assert!(acknowledged > 0 && cut_off > 0, "nothing was tried: {acknowledged}, {cut_off}");
}

#[test]
fn an_older_store_than_the_ledger_remembers_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let disk = ForgetfulDisk::new();
    run(dir.path(), &disk, |broker| async move { set_up(&broker).await.unwrap() }).unwrap();
    let (store, older) = (dir.path().join("store"), dir.path().join("older"));
    std::fs::copy(&store, &older).unwrap();
    let mut known = Acknowledged::default();
    run(dir.path(), &disk, |broker| async move { work(&broker, &mut known).await }).unwrap();
    std::fs::rename(&older, &store).unwrap();
    let refused = run(dir.path(), &disk.after_power_loss(None), |_| async {});
    assert!(refused.unwrap_err().contains("older copy"));
}

/// Runs a broker in a runtime of its own, which ends with everything that runs in it.
fn run<T, F: Future<Output = T>>(
    dir: &Path,
    disk: &ForgetfulDisk,
    act: impl FnOnce(Arc<Broker>) -> F,
) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (ledger, recovered) = open(disk).map_err(|error| error.to_string())?;
    let out = runtime.block_on(async {
        let broker = start(dir, ledger.clone(), &recovered).await;
        match broker {
            Ok(broker) => Ok(act(broker).await),
            Err(error) => Err(error.to_string()),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(10));
    // A machine that stopped does not say good-bye; this ends the threads.
    ledger.close();
    out
}

fn open(disk: &ForgetfulDisk) -> Result<(Ledger, Recovered), carnet_ledger::LedgerError> {
    let mut config = LedgerConfig::new("/log", "/lock", "c.example/log");
    (config.segment_bytes, config.reserve_bytes) = (SEGMENT_BYTES_MIN, SEGMENT_BYTES_MIN);
    config.checkpoint_every = None;
    Ledger::open(config, Arc::new(disk.clone()), LedgerKeys::from_bytes(PKCS8, [5; 32]).unwrap())
}

async fn start(
    dir: &Path,
    ledger: Ledger,
    recovered: &Recovered,
) -> Result<Arc<Broker>, BrokerError> {
    let options = SqliteOptions { reserve_bytes: 1 << 16, ..SqliteOptions::default() };
    let parts = BrokerParts {
        store: Arc::new(SqliteStore::open(&dir.join("store"), options)?),
        ledger,
        last_outbox: recovered.outbox,
        vault: Vault::new(SecretBox::new(Box::new([7; 32]))),
        trust_domain: "carnet.example".parse().unwrap(),
        issuer: "https://carnet.example".to_owned(),
        freshness_window: Duration::from_secs(3600),
    };
    Broker::start(parts).await
}

async fn set_up(broker: &Broker) -> Result<(), BrokerError> {
    broker
        .put_users(vec![User { name: ana(), teams: BTreeSet::new(), logins: Vec::new() }])
        .await?;
    let files = BTreeMap::from([("permit/all.cedar".to_owned(), POLICY.to_owned())]);
    broker.activate_policy(&PolicySource::from_files(files).unwrap(), &ana()).await?;
    let selectors = Selectors { uid: 1, gid: None, executable: None, executable_digest: None };
    let agent = Agent {
        name: agent(),
        owner: "user:ana".parse().unwrap(),
        environment: "test".to_owned(),
        selectors: Some(selectors),
        identities: Vec::new(),
        bearer_read: false,
        standing: None,
    };
    broker.put_agent(agent, &ana()).await?;
    let url = "https://desk.example/mcp".to_owned();
    let upstream = Upstream { transport: Transport::Http { url }, credentials: BTreeMap::new() };
    let resource = Resource {
        name: "desk".parse().unwrap(),
        environment: "test".to_owned(),
        labels: BTreeSet::new(),
        upstream,
        operations: BTreeMap::new(),
    };
    broker.put_resource(resource, &ana()).await?;
    let definition = json!({ "name": "pay", "inputSchema": { "type": "object" } });
    let review = Review {
        action: "desk.tool.pay".parse().unwrap(),
        pin: Digest::of_json(&definition).unwrap(),
        definition,
        path: Some(carnet_core::Path::Write),
        effect: EffectClass::CLOSED,
        arguments: BTreeMap::new(),
    };
    broker.review(&"desk".parse().unwrap(), vec![review], &ana()).await.map(drop)
}

/// Opens, sets aside, closes and locks until something fails.
async fn work(broker: &Broker, known: &mut Acknowledged) {
    for _ in 0..4 {
        let Ok(task) = open_task(broker).await else { return };
        known.opened.insert(task.clone());
        let Ok(decision) = reserve(broker, &task).await else { return };
        known.decisions.insert(decision);
        if known.opened.len().is_multiple_of(2) {
            let by = Principal::User(ana());
            let Ok(done) = broker.close_task(&task, Closure::Completed, &by).await else { return };
            assert!(done.revision.is_some(), "the store works: it must be durable");
            known.closed.insert(task);
        }
        let target = LockTarget::User(ana());
        let Ok((lock, _)) = broker.set_lock(target, "a test".to_owned(), &ana()).await else {
            return;
        };
        known.locks.insert(lock.to_string());
    }
}

async fn open_task(broker: &Broker) -> Result<TaskId, BrokerError> {
    let allow = json!([{ "action": "desk.tool.pay", "path": "write", "other": "any", "uses": 3 }]);
    let text = json!({ "purpose": "a test", "allow": allow }).to_string();
    let request = OpenTask {
        agent: agent(),
        subject: Principal::User(ana()),
        opened_by: Principal::User(ana()),
        intent: Intent::from_json(text.as_bytes()).unwrap(),
        standing: false,
    };
    broker.open_task(request).await.map(|(task, _)| task)
}

async fn reserve(broker: &Broker, task: &TaskId) -> Result<String, BrokerError> {
    let view = broker.view();
    let grant = view.snapshot.task(task).unwrap().grants[0].id.clone();
    let decision = DecisionId::from_bits(uuid::Uuid::new_v4().as_u128());
    let entry = Entry {
        kind: Kind::Decision,
        id: decision.to_string(),
        at: Timestamp::from_us(1),
        header: Map::new(),
        sealed: vec![Sealed { name: "arguments".into(), value: json!({ "amount": 1 }) }],
        subject: "user:ana".to_owned(),
        position: None,
        narrows: false,
    };
    let reserve = Reserve {
        agent: agent(),
        decision: decision.clone(),
        task: task.clone(),
        charges: vec![Charge { grant, amounts: Default::default() }],
        counts_call: false,
        marks: None,
        entry,
    };
    broker.reserve(reserve).await.map(|_| decision.to_string())
}

/// What gave somebody more was in the ledger before it was acknowledged, whatever the store has.
fn widened_is_in_the_ledger_alone(disk: &ForgetfulDisk, known: &Acknowledged) {
    let (ledger, _) = open(disk).unwrap();
    let leaves = leaves(&ledger);
    for task in &known.opened {
        assert_eq!(count(&leaves, task.as_str(), "opened"), 1, "{task}");
    }
    for decision in &known.decisions {
        assert_eq!(count(&leaves, decision, ""), 1, "{decision}");
    }
    ledger.close();
}

fn everything_is_there(broker: &Broker, known: &Acknowledged) {
    let view = broker.view();
    let leaves = leaves(broker.ledger());
    for task in known.opened.difference(&known.closed) {
        let held = view.snapshot.task(task);
        assert!(held.is_some_and(|held| held.task.is_live(broker.now().wall)), "{task}");
        // What was set aside and never settled stays spent.
        assert!(held.is_some_and(|held| held.grants[0].uses_spent <= 1), "{task}");
    }
    for task in &known.closed {
        assert!(view.snapshot.task(task).is_none(), "{task} is open again");
    }
    for lock in &known.locks {
        assert!(view.snapshot.locks.keys().any(|known| known.as_str() == lock), "{lock}");
    }
    for decision in &known.decisions {
        assert_eq!(count(&leaves, decision, ""), 1, "{decision}");
    }
}

type Shown = (String, String);

fn leaves(ledger: &Ledger) -> Vec<Shown> {
    let shown = ledger.leaves(0).map(Result::unwrap).map(|leaf| {
        let transition = leaf.header().get("transition").and_then(|word| word.as_str());
        (leaf.id().to_owned(), transition.unwrap_or_default().to_owned())
    });
    shown.collect()
}

fn count(leaves: &[Shown], id: &str, transition: &str) -> usize {
    leaves.iter().filter(|leaf| leaf.0 == id && leaf.1 == transition).count()
}

fn ana() -> UserName {
    "ana".parse().unwrap()
}

fn agent() -> AgentName {
    "desk-agent".parse().unwrap()
}
