//! Records: every decision before its effect, every outcome after it.
//!
//! [`Recorded`] is the proof that a decision is durable. Only this room makes one, so a gateway
//! that forgets to record does not compile.

use std::time::Duration;

use carnet_core::{
    Caller, DecisionId, DecisionKind, Operation, Path, Permit, Principal, Reason, Refused,
    ReservationId, Timestamp,
};
use carnet_ledger::{
    Append, Entry, Kind, Ledger, LedgerError, Sealed, caller_header, decision_entry,
    decision_subject as subject_of, fault_point, operation_entry as entry,
};
use serde_json::{Value, json};

mod rejection;

use crate::control::{Control, Reserve};
use crate::gateway::Gateway;

pub(crate) use rejection::{About, Rejection, rejection, turned_away};

/// How often an outcome is handed in to a ledger without room, and how long between.
const BUSY_ATTEMPTS_MAX: u32 = 600;
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// A permit whose decision is durable.
#[derive(Debug)]
pub(crate) struct Recorded<T> {
    inner: T,
    ticket: Ticket,
}

/// A permit for a closed read, whose decision is on its way to the disk. It may be forwarded; its
/// response may not be released.
pub(crate) struct Early {
    permit: Permit,
    ticket: Ticket,
    append: Append,
}

/// What an outcome is written under.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    pub(crate) decision: DecisionId,
    pub(crate) reservation: Option<ReservationId>,
    pub(crate) caller: Caller,
}

/// The proof that a response may be released: its decision is durable.
#[derive(Debug)]
pub(crate) struct Release(());

/// A permit on its way through `record`.
pub(crate) enum Noted {
    /// Durable.
    Recorded(Recorded<Permit>),
    /// A closed read, in flight.
    Early(Early),
}

impl Recorded<Permit> {
    pub(crate) fn permit(&self) -> &Permit {
        &self.inner
    }

    pub(crate) fn into_parts(self) -> (Permit, Ticket, Release) {
        (self.inner, self.ticket, Release(()))
    }
}

impl Early {
    pub(crate) fn permit(&self) -> &Permit {
        &self.permit
    }

    pub(crate) fn into_parts(self) -> (Permit, Ticket, Pending) {
        (self.permit, self.ticket, Pending(self.append))
    }
}

/// A record in flight.
pub(crate) struct Pending(Append);

impl Pending {
    /// Waits until the record is durable.
    pub(crate) async fn durable(self) -> Result<Release, Reason> {
        match self.0.await {
            Ok(_) => {
                fault_point("record.after");
                Ok(Release(()))
            }
            Err(error) => {
                tracing::error!(%error, "a decision could not be recorded: its response is withheld");
                Err(Reason::LedgerUnavailable)
            }
        }
    }
}

/// Records a permit: with its reservation where something is counted, overlapping the forward
/// where it is a closed read, before anything else otherwise.
pub(crate) async fn permit(
    control: &dyn Control,
    ledger: &Ledger,
    decision: DecisionId,
    permit: Permit,
) -> Result<Noted, Reason> {
    // A closed read may overlap its record, not a ledger that would not take it.
    if !ledger.is_writable() {
        return Err(Reason::LedgerUnavailable);
    }
    let entry = decision_entry(
        &decision,
        permit.operation(),
        permit.caller(),
        permit.decision(),
        arguments(permit.operation(), permit.decision().kind),
        subject_of(&control.view().snapshot, permit.caller()),
    );
    let mut ticket = Ticket { decision, reservation: None, caller: permit.caller().clone() };
    if permit.decision().needs_reservation() {
        ticket.reservation = Some(reserve(control, &permit, &ticket, entry).await?);
        return Ok(Noted::Recorded(Recorded { inner: permit, ticket }));
    }
    fault_point("record.before");
    let append = ledger.append(entry);
    if permit.operation().path() == Path::Read && permit.operation().effect().is_closed() {
        return Ok(Noted::Early(Early { permit, ticket, append }));
    }
    Pending(append).durable().await?;
    Ok(Noted::Recorded(Recorded { inner: permit, ticket }))
}

async fn reserve(
    control: &dyn Control,
    permit: &Permit,
    ticket: &Ticket,
    entry: Entry,
) -> Result<ReservationId, Reason> {
    let reserve = Reserve {
        decision: ticket.decision.clone(),
        agent: permit.caller().agent.clone(),
        task: permit.caller().task.clone(),
        charges: permit.cover().charges.clone(),
        counts_call: permit.decision().counts_calls,
        marks: permit.decision().marks.then(|| permit.caller().instance.clone()),
        entry,
    };
    control.reserve(reserve).await.map_err(|error| {
        tracing::info!(%error, decision = %ticket.decision, "a reservation was refused");
        error.reason
    })
}

/// Records a deny or an ask. The caller is answered without waiting for the disk.
pub(crate) fn refusal(gateway: &Gateway, decision: &DecisionId, refused: &Refused) {
    let subject = subject_of(&gateway.control.view().snapshot, &refused.caller);
    let arguments = arguments(&refused.operation, refused.decision.kind);
    let Refused { operation, caller, decision: said } = refused;
    let entry = decision_entry(decision, operation, caller, said, arguments, subject);
    write_behind(&gateway.ledger, entry);
}

/// Records that a method which names no operation was let through for a live task.
pub(crate) fn handshake(
    ledger: &Ledger,
    decision: &DecisionId,
    caller: &Caller,
    method: &str,
    revision: u64,
    at: Timestamp,
) -> Pending {
    let mut header = caller_header(caller);
    header.insert("decision".into(), json!(DecisionKind::Permit));
    header.insert("method".into(), json!(method));
    header.insert("revision".into(), json!(revision));
    let subject = Principal::Agent(caller.agent.clone()).to_string();
    Pending(ledger.append(entry(Kind::Decision, decision, at, header, Vec::new(), subject)))
}

/// What became of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The upstream answered, with so many bytes.
    Answered { bytes: u64, is_error: bool },
    /// The upstream answered what may not be passed on.
    Withheld,
    /// The upstream failed, or the answer was cut off, after the operation was forwarded.
    Unknown,
    /// It was surely never forwarded.
    NotForwarded(Reason),
    /// It was forwarded and then closed by a revocation.
    Revoked,
}

/// Records what became of an operation and settles its reservation.
pub(crate) async fn outcome(
    control: &dyn Control,
    ledger: &Ledger,
    ticket: &Ticket,
    outcome: Outcome,
) {
    let mut header = caller_header(&ticket.caller);
    let (word, forwarded) = match outcome {
        Outcome::Answered { bytes, is_error } => {
            header.insert("bytes".into(), json!(bytes));
            (if is_error { "error" } else { "done" }, true)
        }
        Outcome::Withheld => ("withheld", true),
        Outcome::Unknown => ("unknown", true),
        Outcome::Revoked => ("revoked", true),
        Outcome::NotForwarded(reason) => {
            header.insert("reasons".into(), json!([reason]));
            ("not_forwarded", false)
        }
    };
    header.insert("outcome".into(), json!(word));
    header.insert("reservation".into(), json!(ticket.reservation));
    let subject = Principal::Agent(ticket.caller.agent.clone()).to_string();
    let at = control.now().wall;
    let entry = entry(Kind::Outcome, &ticket.decision, at, header, Vec::new(), subject);
    write_in_the_end(ledger, entry);
    if let Some(reservation) = &ticket.reservation
        && let Err(error) = control.settle(reservation, &ticket.caller.agent, forwarded).await
    {
        tracing::warn!(%error, %reservation, "a reservation stays spent: it could not be settled");
    }
}

/// Writes what happened, without waiting: as often as the ledger has no room for it, for a while.
/// What is still not written by then is unknown at the next start, and said to be.
fn write_in_the_end(ledger: &Ledger, entry: Entry) {
    let (mut append, ledger) = (ledger.append_behind(&entry), ledger.clone());
    tokio::spawn(async move {
        for _ in 0..BUSY_ATTEMPTS_MAX {
            match append.await {
                Err(LedgerError::Busy { .. }) => tokio::time::sleep(BUSY_PAUSE).await,
                Err(error) => return tracing::error!(%error, "an outcome could not be recorded"),
                Ok(_) => return,
            }
            append = ledger.append_behind(&entry);
        }
        tracing::error!(decision = entry.id, "an outcome could not be recorded: no room for long");
    });
}

/// Writes without waiting. A record that fails is logged; the ledger then refuses permits itself.
fn write_behind(ledger: &Ledger, entry: Entry) {
    let append = ledger.append_behind(&entry);
    tokio::spawn(async move {
        if let Err(error) = append.await {
            tracing::error!(%error, "a refusal could not be recorded");
        }
    });
}

/// The arguments: whole where somebody may act on them, bounded where they were refused.
fn arguments(operation: &Operation, kind: DecisionKind) -> Sealed {
    match (kind, json!(operation.arguments())) {
        (DecisionKind::Deny, Value::Object(arguments)) => {
            rejection::bounded("arguments", &arguments)
        }
        (_, value) => Sealed { name: "arguments".into(), value },
    }
}
