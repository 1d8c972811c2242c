//! The form a ledger record waits in: sealed, so that the store never holds its values in clear.

use carnet_core::Timestamp;
use carnet_ledger::{Entry, OutboxPosition, Sealed};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::BrokerError;
use crate::vault::Vault;

const PURPOSE: &str = "outbox";

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
