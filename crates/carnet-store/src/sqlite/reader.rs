//! Reading: one thread with a connection that cannot write, one transaction a question.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::{mpsc, oneshot};

use super::fault::{self, Failure, Fault};
use crate::commit::OutboxRecord;
use crate::error::StoreError;
use crate::limits::LIST_BYTES_MAX;
use crate::record::{Key, Kind, Record, Revision};
use crate::watch::History;

/// How many questions may wait; further ones wait to be let in.
const READS_QUEUED_MAX: usize = 256;

type Question = Box<dyn FnOnce(&Connection) + Send>;

/// The reading thread. Dropping it waits for the question under way.
pub(super) struct Reader {
    questions: Option<mpsc::Sender<Question>>,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
    history: History,
    failure: Arc<Failure>,
}

impl Reader {
    pub(super) fn start(
        connection: Connection,
        path: PathBuf,
        history: History,
        failure: Arc<Failure>,
    ) -> Result<Self, StoreError> {
        let (questions, mut waiting) = mpsc::channel::<Question>(READS_QUEUED_MAX);
        let thread = thread::Builder::new()
            .name("store-reader".to_owned())
            .spawn(move || {
                while let Some(question) = waiting.blocking_recv() {
                    question(&connection);
                }
            })
            .map_err(|error| fault::io(&path, "its reading thread cannot start", &error))?;
        Ok(Self { questions: Some(questions), thread: Some(thread), path, history, failure })
    }

    /// Answers from one transaction, with the revision it saw. Held back until that revision can be watched from.
    pub(super) async fn ask<T, F>(&self, question: F) -> Result<(Revision, T), StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        self.failure.check()?;
        let closed = || fault::closed(&self.path, true);
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |connection| {
            let _ = reply.send(within_transaction(connection, question));
        });
        let questions = self.questions.as_ref().ok_or_else(closed)?;
        questions.send(question).await.map_err(|_| closed())?;
        let (revision, found) = answer
            .await
            .map_err(|_| closed())?
            .map_err(|fault| fault.to_error(&self.path, true))?;
        if self.history.reach(revision).await.is_err() {
            self.failure.check()?;
            return Err(closed());
        }
        Ok((revision, found))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        drop(self.questions.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(path = %self.path.display(), "the reader of the store ended by a panic");
        }
    }
}

pub(super) fn within_transaction<T>(
    connection: &Connection,
    question: impl FnOnce(&Connection) -> Result<T, Fault>,
) -> Result<(Revision, T), Fault> {
    let tx = connection.unchecked_transaction()?;
    let revision: i64 = tx
        .prepare_cached("SELECT revision FROM meta WHERE one = 1")?
        .query_row([], |row| row.get(0))?;
    let found = question(&tx)?;
    tx.commit()?;
    Ok((revision_of(revision)?, found))
}

pub(super) fn load(connection: &Connection) -> Result<Vec<Record>, Fault> {
    let mut statement = connection
        .prepare_cached("SELECT kind, id, revision, value FROM record ORDER BY kind, id")?;
    let mut rows = statement.query([])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(record_of(row)?);
    }
    Ok(records)
}

pub(super) fn read(connection: &Connection, key: Key) -> Result<Option<Record>, Fault> {
    let mut statement = connection
        .prepare_cached("SELECT revision, value FROM record WHERE kind = ?1 AND id = ?2")?;
    let found = statement
        .query_row(params![key.kind.as_str(), key.id], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
        })
        .optional()?;
    let Some((revision, value)) = found else { return Ok(None) };
    Ok(Some(Record { key, revision: revision_of(revision)?, value }))
}

pub(super) fn list(
    connection: &Connection,
    kind: Kind,
    after: &str,
    limit: usize,
) -> Result<Vec<Record>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT kind, id, revision, value FROM record WHERE kind = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
    )?;
    let mut rows = statement.query(params![kind.as_str(), after, place(limit as u64)])?;
    let (mut records, mut bytes) = (Vec::new(), 0_usize);
    while let Some(row) = rows.next()? {
        let record = record_of(row)?;
        bytes = bytes.saturating_add(record.value.len());
        if bytes > LIST_BYTES_MAX && !records.is_empty() {
            break;
        }
        records.push(record);
    }
    Ok(records)
}

pub(super) fn outbox(
    connection: &Connection,
    after: u64,
    limit: usize,
) -> Result<Vec<OutboxRecord>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, revision, id, bytes, narrows FROM outbox WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    let mut rows = statement.query(params![place(after), place(limit as u64)])?;
    let (mut records, mut bytes) = (Vec::new(), 0_usize);
    while let Some(row) = rows.next()? {
        let record = outgoing_of(row)?;
        bytes = bytes.saturating_add(record.bytes.len());
        if bytes > LIST_BYTES_MAX && !records.is_empty() {
            break;
        }
        records.push(record);
    }
    Ok(records)
}

fn record_of(row: &Row<'_>) -> Result<Record, Fault> {
    let name: String = row.get(0)?;
    let kind = Kind::from_name(&name).ok_or_else(|| {
        Fault::Damaged(format!("it holds a record of the unknown kind {:?}", name))
    })?;
    let key = Key { kind, id: row.get(1)? };
    Ok(Record { key, revision: revision_of(row.get(2)?)?, value: row.get(3)? })
}

fn outgoing_of(row: &Row<'_>) -> Result<OutboxRecord, Fault> {
    let seq: i64 = row.get(0)?;
    let seq = u64::try_from(seq)
        .map_err(|_| Fault::Damaged(format!("the outbox holds a record at the place {seq}")))?;
    let revision = revision_of(row.get(1)?)?;
    Ok(OutboxRecord { seq, revision, id: row.get(2)?, bytes: row.get(3)?, narrows: row.get(4)? })
}

/// A number of the file as a revision; a negative one was not written by us.
pub(super) fn revision_of(number: i64) -> Result<Revision, Fault> {
    u64::try_from(number)
        .map(Revision::new)
        .map_err(|_| Fault::Damaged(format!("it holds the revision {number}")))
}

/// A bound for a comparison: beyond what SQLite can count there is nothing.
pub(super) fn place(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
