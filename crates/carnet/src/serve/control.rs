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
use tokio::sync::watch;

/// The longest upstream secret.
const SECRET_BYTES_MAX: usize = 16 << 10;

/// The broker, as the gateway of the same process sees it.
pub(crate) struct Embedded {
    broker: Arc<Broker>,
    acknowledged: watch::Sender<u64>,
}

impl Embedded {
    pub(crate) fn new(broker: Arc<Broker>) -> Self {
        Self { broker, acknowledged: watch::Sender::new(0) }
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

    fn revisions(&self) -> watch::Receiver<u64> {
        self.broker.revisions()
    }

    fn acknowledge(&self, revision: u64) {
        self.acknowledged.send_replace(revision);
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
