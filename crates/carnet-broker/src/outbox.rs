//! The form a ledger record waits in: sealed, so that the store never holds its values in clear.

use carnet_core::{Digest, Timestamp};
use carnet_ledger::{Entry, Kind, OutboxPosition, Sealed};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::BrokerError;
use crate::vault::Vault;

const PURPOSE: &str = "outbox";
/// The longest header of a record. The ledger takes a little more: one it refuses would hold up all
/// that come after it, so it is refused before it is committed.
const HEADER_BYTES_MAX: usize = 48 * 1024;
/// The longest record that is kept whole where it does not read: escaping it doubles it at most.
const KEPT_BYTES_MAX: usize = carnet_ledger::SEALED_BYTES_MAX / 2 - 64;
/// The longest id and subject.
const NAME_BYTES_MAX: usize = carnet_ledger::NAME_BYTES_MAX;

#[derive(PartialEq, Serialize, Deserialize)]
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

/// What is read of a record that does not read whole: whose it is, and that it narrows.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Remains {
    kind: String,
    id: String,
    at: Timestamp,
    subject: String,
    narrows: bool,
}

/// The bytes of `entry` as it waits in the outbox. What would read otherwise than it was written is
/// refused here: once committed it would be lost, or hold up all that come after it.
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
    let bytes = serde_json::to_vec(&waiting).map_err(corrupt)?;
    check_reads_back(&format!("the record of {}", entry.id), &waiting, &bytes)?;
    vault.seal(PURPOSE, bytes)
}

/// Whether `bytes` read as `written`. The JSON reader gives a few member names a meaning of its own,
/// and has a bound on nesting.
pub(crate) fn check_reads_back<T: PartialEq + serde::de::DeserializeOwned>(
    what: &str,
    written: &T,
    bytes: &[u8],
) -> Result<(), BrokerError> {
    let problem = match serde_json::from_slice::<T>(bytes) {
        Ok(read) if read == *written => return Ok(()),
        Ok(_) => "it would read back as something else".to_owned(),
        Err(error) => format!("it would not read back ({error})"),
    };
    Err(BrokerError::invalid(
        "value",
        format!(
            "{what} cannot be kept: {problem}; a member of it is named like a private name of the \
             JSON reader (`$serde_json::private::…`) or it is nested too deep: leave that out"
        ),
    ))
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

/// The entry that waits as `bytes`, with its position. What opens and does not read never will: it
/// is put aside as a gap, so that it does not hold up all that come after it.
pub(crate) fn open(
    vault: &Vault,
    bytes: &[u8],
    position: OutboxPosition,
) -> Result<Entry, BrokerError> {
    let bytes = vault.open(PURPOSE, bytes)?;
    Ok(read(&bytes, position).unwrap_or_else(|problem| {
        tracing::error!(seq = position.seq, problem, "a record in the outbox does not read");
        gap(&bytes, position, &problem)
    }))
}

fn read(bytes: &[u8], position: OutboxPosition) -> Result<Entry, String> {
    let waiting: Waiting = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let kind = waiting.kind.parse();
    let kind = kind.map_err(|error: carnet_ledger::LedgerError| error.to_string())?;
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

/// What takes the place of an entry that the ledger will never take.
pub(crate) fn gap_of(entry: &Entry, position: OutboxPosition, problem: &str) -> Entry {
    let waiting = Waiting {
        kind: entry.kind.as_str().to_owned(),
        id: entry.id.clone(),
        at: entry.at,
        header: entry.header.clone(),
        sealed: entry.sealed.iter().map(|one| (one.name.clone(), one.value.clone())).collect(),
        subject: entry.subject.clone(),
        narrows: entry.narrows,
    };
    gap(&serde_json::to_vec(&waiting).unwrap_or_default(), position, problem)
}

/// A gap in place of the record `bytes`: which it was, its digest, and itself as far as it fits,
/// sealed under its own subject's key, so that it can be erased like any other.
fn gap(bytes: &[u8], position: OutboxPosition, problem: &str) -> Entry {
    let remains: Remains = serde_json::from_slice(bytes).unwrap_or_default();
    let short = |text: &str| text.chars().take(NAME_BYTES_MAX / 4).collect::<String>();
    let details = json!({
        "transition": "unreadable", "by": "user:carnet", "outbox_seq": position.seq,
        "record_bytes": bytes.len(), "record_digest": Digest::of(bytes),
        "record_kind": short(&remains.kind), "record_id": short(&remains.id),
        "problem": short(problem),
    });
    let is_kept = bytes.len() <= KEPT_BYTES_MAX
        && (1..=carnet_ledger::SUBJECT_BYTES_MAX).contains(&remains.subject.len());
    let sealed = is_kept.then(|| Sealed {
        name: "record".to_owned(),
        value: json!(String::from_utf8_lossy(bytes)),
    });
    Entry {
        kind: Kind::Gap,
        id: format!("outbox:{}", position.seq),
        at: remains.at,
        header: details.as_object().cloned().unwrap_or_default(),
        sealed: sealed.into_iter().collect(),
        subject: if is_kept { remains.subject } else { "user:carnet".to_owned() },
        position: Some(position),
        narrows: remains.narrows,
    }
}
