//! The gateway's `Control`, over the broker in the same process.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use carnet_broker::{AskUse, Broker, BrokerError};
use carnet_core::{
    AgentName, ApprovalId, ApprovalState, Now, Path, Reason, ReservationId, Resource, SecretRef,
    SecretSource, View,
};
use carnet_gateway::{Control, ControlError, Credential, Question, Reserve};
use carnet_identity::KeySet;
use tokio::sync::watch;

/// The longest upstream secret.
const SECRET_BYTES_MAX: usize = 16 << 10;

/// The broker, as the gateway of the same process sees it.
pub(crate) struct Embedded {
    broker: Arc<Broker>,
}

impl Embedded {
    pub(crate) fn new(broker: Arc<Broker>) -> Self {
        Self { broker }
    }
}

#[async_trait]
impl Control for Embedded {
    fn view(&self) -> Arc<View> {
        self.broker.view()
    }

    fn now(&self) -> Now {
        self.broker.now()
    }

    fn access_keys(&self) -> Arc<KeySet> {
        self.broker.access_keys()
    }

    fn revisions(&self) -> watch::Receiver<u64> {
        self.broker.revisions()
    }

    fn acknowledge(&self, revision: u64) {
        self.broker.acknowledge(revision);
    }

    async fn ask(&self, question: Question) -> Result<ApprovalId, ControlError> {
        let ask = AskUse {
            decision: question.decision,
            task: question.task,
            instance: question.instance,
            agent: question.agent,
            operation: question.operation,
            terms: question.terms,
            policy: question.policy,
            draws_on: question.draws_on,
        };
        self.broker.ask(ask).await.map_err(failed)
    }

    async fn await_answer(
        &self,
        approval: &ApprovalId,
        hold: Duration,
    ) -> Result<ApprovalState, ControlError> {
        self.broker.await_answer(approval, hold).await.map_err(failed)
    }

    async fn reserve(&self, reserve: Reserve) -> Result<ReservationId, ControlError> {
        let reserve = carnet_broker::Reserve {
            agent: reserve.agent,
            decision: reserve.decision,
            task: reserve.task,
            charges: reserve.charges,
            counts_call: reserve.counts_call,
            marks: reserve.marks,
            entry: reserve.entry,
        };
        self.broker.reserve(reserve).await.map_err(failed)
    }

    async fn settle(
        &self,
        reservation: &ReservationId,
        agent: &AgentName,
        forwarded: bool,
    ) -> Result<(), ControlError> {
        self.broker.settle_reservation(reservation, agent, forwarded).await.map_err(failed)
    }

    async fn credential(
        &self,
        resource: &Resource,
        path: Path,
    ) -> Result<Option<Credential>, ControlError> {
        let Some(reference) = resource.upstream.credentials.get(&path) else { return Ok(None) };
        let secret = read_secret(reference).map_err(|detail| ControlError {
            reason: Reason::UpstreamFailed,
            detail: format!("the {path} credential of {}: {detail}", resource.name),
        })?;
        let as_variable = reference.as_variable.clone();
        Ok(Some(Credential { secret: secret.into(), as_variable }))
    }
}

/// Any error of the control plane is a deny, here and nowhere else.
fn failed(error: BrokerError) -> ControlError {
    let reason = match &error {
        BrokerError::Refused { reason, .. } => *reason,
        BrokerError::Ledger(_) => Reason::LedgerUnavailable,
        _ => Reason::ControlUnavailable,
    };
    ControlError { reason, detail: error.to_string() }
}

fn read_secret(reference: &SecretRef) -> Result<String, String> {
    let secret = match &reference.source {
        SecretSource::File(file) => {
            std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?
        }
        SecretSource::Env(name) => {
            std::env::var(name).map_err(|_| format!("the variable {name} is not set"))?
        }
    };
    let secret = secret.trim_end_matches(['\n', '\r']).to_owned();
    match secret.len() {
        0 => Err("it is empty".into()),
        1..=SECRET_BYTES_MAX => Ok(secret),
        _ => Err(format!("it is longer than {SECRET_BYTES_MAX} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use carnet_broker::{BrokerParts, Clock};
    use carnet_core::{LockTarget, Monotonic, Timestamp, User};
    use carnet_ledger::{Ledger, LedgerConfig, RealDisk};
    use carnet_store::{SqliteOptions, SqliteStore};

    use super::*;
    use crate::serve::keys::{Keys, make_private_dir};

    async fn broker(dir: &std::path::Path, clock: Clock) -> Arc<Broker> {
        make_private_dir(dir).unwrap();
        let keys = Keys::load_or_create(&dir.join("keys"), false, None).unwrap();
        let config = LedgerConfig::new(dir.join("ledger"), dir.join("lock"), "carnet.local/ledger");
        let open = move || Ledger::open(config, Arc::new(RealDisk), keys.ledger).unwrap();
        let (ledger, recovered) = tokio::task::spawn_blocking(open).await.unwrap();
        let store = SqliteStore::open(&dir.join("store.db"), SqliteOptions::default()).unwrap();
        let parts = BrokerParts {
            store: Arc::new(store),
            ledger,
            last_outbox: recovered.outbox,
            vault: keys.vault,
            trust_domain: "carnet.local".parse().unwrap(),
            issuer: "http://127.0.0.1:7480".into(),
            freshness_window: Duration::from_secs(3_600),
        };
        Broker::start_by(parts, clock).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_lock_is_effective_once_the_gateway_acknowledged_it_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let hand = Arc::new(AtomicI64::new(1_800_000_000_000_000));
        let read = Arc::clone(&hand);
        let clock = Clock::from_fn(move || Now {
            wall: Timestamp::from_us(read.load(Ordering::Relaxed)),
            mono: Monotonic::default(),
        });
        let broker = broker(&dir.path().join("state"), clock).await;
        let control = Embedded::new(Arc::clone(&broker));
        // The gateway is there: it said so of the view it started on.
        control.acknowledge(control.view().snapshot.revision);
        let mut revisions = control.revisions();
        let locking = {
            let broker = Arc::clone(&broker);
            tokio::spawn(async move {
                let by = "ana".parse().unwrap();
                broker.set_lock(LockTarget::Everything, "a test".into(), &by).await.unwrap().1
            })
        };
        while control.view().snapshot.locks.is_empty() {
            revisions.changed().await.unwrap();
        }
        // Saying an older view again says nothing of this one.
        control.acknowledge(control.view().snapshot.revision - 1);
        // A whole change later, its record on the disk, the lock is still not said to be effective.
        let people = vec![User {
            name: "bo".parse().unwrap(),
            teams: Default::default(),
            logins: Vec::new(),
        }];
        broker.put_users(people).await.unwrap();
        assert!(!locking.is_finished());
        hand.fetch_add(7_000_000, Ordering::Relaxed);
        let acknowledged_at = control.now().wall;
        control.acknowledge(control.view().snapshot.revision);
        let done = locking.await.unwrap();
        assert_eq!(done.effective_at, acknowledged_at);
        assert!(done.committed_at <= done.effective_at);
    }
}
