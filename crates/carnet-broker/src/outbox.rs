//! The form a ledger record waits in: sealed, so that the store never holds its values in clear.

use carnet_core::Timestamp;
use carnet_ledger::{Entry, OutboxPosition, Sealed};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::BrokerError;
use crate::vault::Vault;

const PURPOSE: &str = "outbox";
/// The longest header of a record. The ledger takes a little more: one it refuses would hold up all
/// that come after it, so it is refused before it is committed.
const HEADER_BYTES_MAX: usize = 48 * 1024;
/// The longest id and subject.
const NAME_BYTES_MAX: usize = carnet_ledger::NAME_BYTES_MAX;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Waiting {
    kind: String,
    id: String,
    at: Timestamp,
    header: Map<String, Value>,
    sealed: Vec<(String, Value)>,
    subject: String,
    narrows: bool,
}

/// The bytes of `entry` as it waits in the outbox.
pub(crate) fn seal(vault: &Vault, entry: &Entry) -> Result<Vec<u8>, BrokerError> {
    check(entry)?;
    let waiting = Waiting {
        kind: entry.kind.as_str().to_owned(),
        id: entry.id.clone(),
        at: entry.at,
        header: entry.header.clone(),
        sealed: entry.sealed.iter().map(|one| (one.name.clone(), one.value.clone())).collect(),
        subject: entry.subject.clone(),
        narrows: entry.narrows,
    };
    let corrupt = |error| BrokerError::Corrupt { key: format!("outbox/{}", entry.id), error };
    vault.seal(PURPOSE, serde_json::to_vec(&waiting).map_err(corrupt)?)
}

/// Whether the ledger will take `entry`.
fn check(entry: &Entry) -> Result<(), BrokerError> {
    let corrupt = |error| BrokerError::Corrupt { key: format!("outbox/{}", entry.id), error };
    let header_bytes = serde_json::to_vec(&entry.header).map_err(corrupt)?.len();
    let fits = header_bytes <= HEADER_BYTES_MAX
        && (1..=NAME_BYTES_MAX).contains(&entry.id.len())
        && entry.subject.len() <= carnet_ledger::SUBJECT_BYTES_MAX
        && entry.sealed.len() <= carnet_ledger::SEALED_FIELDS_MAX;
    match fits {
        true => Ok(()),
        false => Err(BrokerError::invalid(
            "record",
            format!(
                "the ledger record of {header_bytes} bytes is larger than a leaf may be: ask for less at a time"
            ),
        )),
    }
}

/// The entry that waits as `bytes`, with its position.
pub(crate) fn open(
    vault: &Vault,
    bytes: &[u8],
    position: OutboxPosition,
) -> Result<Entry, BrokerError> {
    let key = format!("outbox/{}", position.seq);
    let bytes = vault.open(PURPOSE, bytes)?;
    let waiting: Waiting = serde_json::from_slice(&bytes)
        .map_err(|error| BrokerError::Corrupt { key: key.clone(), error })?;
    let kind = waiting.kind.parse().map_err(|_| {
        BrokerError::invalid(key, format!("`{}` is not a kind of leaf", waiting.kind))
    })?;
    let sealed = waiting.sealed.into_iter().map(|(name, value)| Sealed { name, value });
    Ok(Entry {
        kind,
        id: waiting.id,
        at: waiting.at,
        header: waiting.header,
        sealed: sealed.collect(),
        subject: waiting.subject,
        position: Some(position),
        narrows: waiting.narrows,
    })
}
