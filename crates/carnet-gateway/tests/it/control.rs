//! A control plane in memory that remembers what it was asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use carnet_core::{
    AgentName, ApprovalId, ApprovalState, ApprovalTerms, Digest, Document, Monotonic, Now,
    Obligation, Path, Policy, Reason, ReservationId, Resource, Snapshot, Target, Timestamp,
    Verdict, VerdictEffect, View,
};
use carnet_gateway::{Control, ControlError, Credential, Question, Reserve};
use carnet_identity::KeySet;
use carnet_ledger::Ledger;
use tokio::sync::{Semaphore, watch};

pub(crate) const NOW: Now =
    Now { wall: Timestamp::from_s(1_800_000_000), mono: Monotonic::from_us(1_000) };

/// A policy that permits, but for what it is told to forbid or to ask about.
#[derive(Clone, Default)]
pub(crate) struct Rules {
    pub(crate) forbid: BTreeSet<String>,
    pub(crate) ask: BTreeSet<String>,
    pub(crate) obligations: Vec<Obligation>,
    pub(crate) version: u8,
}

impl Policy for Rules {
    fn digest(&self) -> Digest {
        Digest::of(&[self.version])
    }

    fn judge(&self, document: &Document) -> Verdict {
        let action = match &document.target {
            Target::Operation { action, .. } => action.to_string(),
            Target::House => String::new(),
        };
        let effect = if self.forbid.contains(&action) {
            VerdictEffect::Deny
        } else if self.ask.contains(&action) && document.approvals.by.is_empty() {
            let approvers = ["user:bo".to_owned()].into();
            VerdictEffect::Ask(ApprovalTerms { approvers, threshold: 1, timeout_s: 900 })
        } else {
            VerdictEffect::Permit
        };
        let determining = vec!["rule".parse().unwrap()];
        Verdict { effect, determining, obligations: self.obligations.clone(), errors: vec![] }
    }
}

pub(crate) struct FakeControl {
    view: Mutex<Arc<View>>,
    now: Mutex<Now>,
    revisions: watch::Sender<u64>,
    pub(crate) acknowledged: watch::Sender<u64>,
    ledger: OnceLock<Ledger>,
    pub(crate) credentials: Mutex<BTreeMap<Path, Credential>>,
    pub(crate) asked: Mutex<Vec<Question>>,
    access_keys: Mutex<Arc<KeySet>>,
    /// Where every question stands.
    pub(crate) answer: watch::Sender<ApprovalState>,
    pub(crate) reserved: Mutex<Vec<Reserve>>,
    /// How many reservations were asked for.
    pub(crate) reserving: watch::Sender<u64>,
    /// A reservation takes a place here first.
    pub(crate) may_reserve: Semaphore,
    /// Each settled reservation, and whether it was forwarded.
    pub(crate) settled: watch::Sender<Vec<bool>>,
    /// How many credentials were handed out.
    pub(crate) credentials_given: watch::Sender<u64>,
    /// A credential takes a place here first.
    pub(crate) may_give: Semaphore,
}

impl FakeControl {
    pub(crate) fn new(snapshot: Snapshot, rules: Rules) -> Arc<Self> {
        let view = View { snapshot, policy: Arc::new(rules) };
        Arc::new(Self {
            view: Mutex::new(Arc::new(view)),
            now: Mutex::new(NOW),
            revisions: watch::Sender::new(1),
            acknowledged: watch::Sender::new(0),
            ledger: OnceLock::new(),
            credentials: Mutex::default(),
            asked: Mutex::default(),
            access_keys: Mutex::default(),
            answer: watch::Sender::new(ApprovalState::Asked),
            reserved: Mutex::default(),
            reserving: watch::Sender::default(),
            may_reserve: Semaphore::new(Semaphore::MAX_PERMITS),
            settled: watch::Sender::default(),
            credentials_given: watch::Sender::default(),
            may_give: Semaphore::new(Semaphore::MAX_PERMITS),
        })
    }

    pub(crate) fn keep(&self, ledger: Ledger) {
        assert!(self.ledger.set(ledger).is_ok());
    }

    /// Puts another view into force and gives its revision.
    pub(crate) fn change(&self, change: impl FnOnce(&mut View)) -> u64 {
        let mut held = self.view.lock().unwrap();
        let mut view = (**held).clone();
        change(&mut view);
        view.snapshot.revision += 1;
        let revision = view.snapshot.revision;
        *held = Arc::new(view);
        drop(held);
        self.revisions.send_replace(revision);
        revision
    }

    pub(crate) fn set_access_keys(&self, keys: KeySet) {
        *self.access_keys.lock().unwrap() = Arc::new(keys);
    }

    pub(crate) fn set_now(&self, now: Now) {
        *self.now.lock().unwrap() = now;
    }

    /// Waits until `revision` is effective at this node.
    pub(crate) async fn effective(&self, revision: u64) {
        let mut acknowledged = self.acknowledged.subscribe();
        acknowledged.wait_for(|known| *known >= revision).await.unwrap();
    }

    /// Waits until a reservation was asked for.
    pub(crate) async fn reserving(&self) {
        self.reserving.subscribe().wait_for(|asked| *asked > 0).await.unwrap();
    }

    pub(crate) async fn settled(&self, count: usize) -> Vec<bool> {
        let mut settled = self.settled.subscribe();
        settled.wait_for(|all| all.len() >= count).await.unwrap().clone()
    }
}

#[async_trait]
impl Control for FakeControl {
    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.lock().unwrap())
    }

    fn now(&self) -> Now {
        *self.now.lock().unwrap()
    }

    fn access_keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.access_keys.lock().unwrap())
    }

    fn revisions(&self) -> watch::Receiver<u64> {
        self.revisions.subscribe()
    }

    fn acknowledge(&self, revision: u64) {
        self.acknowledged.send_replace(revision);
    }

    async fn ask(&self, question: Question) -> Result<ApprovalId, ControlError> {
        self.asked.lock().unwrap().push(question);
        Ok(ApprovalId::from_bits(7))
    }

    async fn await_answer(
        &self,
        _: &ApprovalId,
        hold: Duration,
    ) -> Result<ApprovalState, ControlError> {
        let mut answer = self.answer.subscribe();
        let answered = answer.wait_for(|state| *state != ApprovalState::Asked);
        let _ = tokio::time::timeout(hold, answered).await;
        Ok(*self.answer.borrow())
    }

    async fn reserve(&self, reserve: Reserve) -> Result<ReservationId, ControlError> {
        self.reserving.send_modify(|asked| *asked += 1);
        self.may_reserve.acquire().await.unwrap().forget();
        let durable = self.ledger.get().unwrap().append(reserve.entry.clone()).await;
        durable.map_err(|error| ControlError {
            reason: Reason::LedgerUnavailable,
            detail: error.to_string(),
        })?;
        let mut reserved = self.reserved.lock().unwrap();
        reserved.push(reserve);
        Ok(ReservationId::from_bits(reserved.len() as u128))
    }

    async fn settle(
        &self,
        _: &ReservationId,
        _: &AgentName,
        forwarded: bool,
    ) -> Result<(), ControlError> {
        self.settled.send_modify(|settled| settled.push(forwarded));
        Ok(())
    }

    async fn credential(
        &self,
        _: &Resource,
        path: Path,
    ) -> Result<Option<Credential>, ControlError> {
        self.credentials_given.send_modify(|given| *given += 1);
        self.may_give.acquire().await.unwrap().forget();
        Ok(self.credentials.lock().unwrap().get(&path).cloned())
    }
}
