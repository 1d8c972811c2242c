//! One commit within the transaction of its group.

use rusqlite::{OptionalExtension, Savepoint, Transaction, params};

use super::{Counters, Verdict};
use crate::commit::{Change, Commit, Committed, Expected, Outgoing};
use crate::error::StoreError;
use crate::record::Revision;
use crate::sqlite::fault::Fault;
use crate::sqlite::options::SqliteOptions;
use crate::sqlite::reader::{place, revision_of};

/// Applies the commit, or refuses it and leaves the transaction and the counters as they were.
pub(super) fn commit(
    tx: &mut Transaction<'_>,
    counters: &mut Counters,
    commit: &Commit,
    options: &SqliteOptions,
) -> Result<Verdict, Fault> {
    for expected in &commit.expected {
        if let Some(conflict) = conflict(tx, expected)? {
            return Ok(Verdict::Refused(conflict));
        }
    }
    let mut savepoint = tx.savepoint()?;
    let mut after = *counters;
    match write(&savepoint, &mut after, commit, options)? {
        Ok(committed) => {
            savepoint.commit()?;
            *counters = after;
            Ok(Verdict::Committed(committed))
        }
        Err(refused) => {
            savepoint.rollback()?;
            savepoint.commit()?;
            Ok(Verdict::Refused(refused))
        }
    }
}

/// Removes what was drained. A place never given out is refused: it would remove what nobody has drained.
pub(super) fn drained(
    tx: &Transaction<'_>,
    counters: &mut Counters,
    through: u64,
) -> Result<Verdict, Fault> {
    if through >= counters.next_seq {
        let reason = format!(
            "the outbox was drained through {through}, but the last place given out is {}",
            counters.next_seq.saturating_sub(1)
        );
        return Ok(Verdict::Refused(StoreError::malformed(reason)));
    }
    let removed =
        tx.prepare_cached("DELETE FROM outbox WHERE seq <= ?1")?.execute([place(through)])?;
    counters.outbox = counters.outbox.saturating_sub(removed as u64);
    Ok(Verdict::Drained)
}

fn conflict(tx: &Transaction<'_>, expected: &Expected) -> Result<Option<StoreError>, Fault> {
    let found: Option<i64> = tx
        .prepare_cached("SELECT revision FROM record WHERE kind = ?1 AND id = ?2")?
        .query_row(params![expected.key.kind.as_str(), expected.key.id], |row| row.get(0))
        .optional()?;
    let found = found.map(revision_of).transpose()?;
    if found == expected.revision {
        return Ok(None);
    }
    Ok(Some(StoreError::Conflict { key: expected.key.clone(), expected: expected.revision, found }))
}

fn write(
    savepoint: &Savepoint<'_>,
    after: &mut Counters,
    commit: &Commit,
    options: &SqliteOptions,
) -> Result<Result<Committed, StoreError>, Fault> {
    let before = *after;
    after.revision = before.revision.next();
    for change in &commit.changes {
        apply_change(savepoint, after, change)?;
    }
    for outgoing in &commit.outgoing {
        if !put_out(savepoint, after, outgoing)? {
            let id = outgoing.id.clone();
            return Ok(Err(StoreError::DuplicateOutgoing { id }));
        }
    }
    if let Some(refused) = beyond(&before, after, commit, options) {
        return Ok(Err(refused));
    }
    let seqs = before.next_seq..after.next_seq;
    Ok(Ok(Committed { revision: after.revision, seqs }))
}

/// Bounds of the whole store. They do not hold up what takes authority away, nor what makes nothing more.
fn beyond(
    before: &Counters,
    after: &Counters,
    commit: &Commit,
    options: &SqliteOptions,
) -> Option<StoreError> {
    if commit.narrows {
        return None;
    }
    if after.records > before.records && after.records > options.records_max {
        return Some(StoreError::Full { live: before.records, max: options.records_max });
    }
    if after.outbox > before.outbox && after.outbox > options.outbox_records_max {
        let (waiting, max) = (before.outbox, options.outbox_records_max);
        return Some(StoreError::OutboxFull { waiting, max });
    }
    None
}

fn apply_change(
    savepoint: &Savepoint<'_>,
    after: &mut Counters,
    change: &Change,
) -> Result<(), Fault> {
    match change {
        Change::Put { key, value } => {
            let (kind, revision) = (key.kind.as_str(), after.revision);
            let updated = savepoint
                .prepare_cached(
                    "UPDATE record SET revision = ?3, value = ?4 WHERE kind = ?1 AND id = ?2",
                )?
                .execute(params![kind, key.id, number(revision), value])?;
            if updated == 0 {
                savepoint
                    .prepare_cached(
                        "INSERT INTO record (kind, id, revision, value) VALUES (?1, ?2, ?3, ?4)",
                    )?
                    .execute(params![kind, key.id, number(revision), value])?;
                after.records = after.records.saturating_add(1);
            }
        }
        Change::Delete { key } => {
            let deleted = savepoint
                .prepare_cached("DELETE FROM record WHERE kind = ?1 AND id = ?2")?
                .execute(params![key.kind.as_str(), key.id])?;
            after.records = after.records.saturating_sub(deleted as u64);
        }
    }
    Ok(())
}

/// Puts a ledger record into the outbox; false if one with its id is there already.
fn put_out(
    savepoint: &Savepoint<'_>,
    after: &mut Counters,
    outgoing: &Outgoing,
) -> Result<bool, Fault> {
    let inserted = savepoint
        .prepare_cached(
            "INSERT INTO outbox (seq, revision, id, bytes, narrows) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            place(after.next_seq),
            number(after.revision),
            outgoing.id,
            outgoing.bytes,
            outgoing.narrows
        ])?;
    after.next_seq = after.next_seq.saturating_add(1);
    after.outbox = after.outbox.saturating_add(1);
    Ok(inserted == 1)
}

fn number(revision: Revision) -> i64 {
    place(revision.number())
}
