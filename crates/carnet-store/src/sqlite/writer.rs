//! Writing: one thread that owns the connection and commits in groups.
//!
//! A group is one SQLite transaction and one sync. Each commit in it stands behind a savepoint, so one refused
//! leaves the others be, and none is acknowledged before the whole transaction is on disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::fault::{self, Failure, Fault};
use super::options::SqliteOptions;
use super::queue::{Job, Queue};
use super::reader::{place, revision_of};
use super::reserve::Reserve;
use super::schema;
use crate::commit::{Change, Commit, Committed};
use crate::error::StoreError;
use crate::record::{Batch, Key, Record, Revision};
use crate::watch::Publisher;

mod apply;

/// The write-ahead log is folded back into the file after about this much was written to it.
const FOLD_BYTES: usize = 4 * 1024 * 1024;

/// What a commit writes beside its values: pages of the tables and of their indexes, roughly.
const COMMIT_OVERHEAD_BYTES: usize = 16 * 1024;

/// Where the store stands. Kept in memory by its only writer, and taken over only once it is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) revision: Revision,
    pub(super) next_seq: u64,
    pub(super) records: u64,
    pub(super) outbox: u64,
}

impl Counters {
    pub(super) fn read(connection: &Connection) -> Result<Self, Fault> {
        let (revision, next_seq) = connection.query_row(
            "SELECT revision, next_seq FROM meta WHERE one = 1",
            [],
            |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)),
        )?;
        let next_seq = u64::try_from(next_seq)
            .map_err(|_| Fault::Damaged(format!("its next place in the outbox is {next_seq}")))?;
        let count = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let records = count("SELECT count(*) FROM record")?;
        let outbox = count("SELECT count(*) FROM outbox")?;
        Ok(Self {
            revision: revision_of(revision)?,
            next_seq,
            records: u64::try_from(records).unwrap_or(0),
            outbox: u64::try_from(outbox).unwrap_or(0),
        })
    }

    fn write(&self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        tx.prepare_cached("UPDATE meta SET revision = ?1, next_seq = ?2 WHERE one = 1")?
            .execute([place(self.revision.number()), place(self.next_seq)])?;
        Ok(())
    }
}

/// What became of one job within a transaction that is not yet on disk.
#[derive(Debug)]
pub(super) enum Verdict {
    Committed(Committed),
    Drained,
    Refused(StoreError),
}

/// Why a transaction as a whole did not happen.
enum Undone {
    /// It was rolled back; the file is as before.
    Before(Fault),
    /// It failed while becoming durable; whether it did is not known.
    During(Fault),
}

impl Undone {
    fn is_full(&self) -> bool {
        matches!(self, Self::Before(fault) if fault.is_full())
    }

    fn describe(&self, path: &Path) -> StoreError {
        match self {
            Self::Before(fault) => fault.to_error(path, true),
            Self::During(fault) => fault.to_error(path, false),
        }
    }
}

/// The one place that changes the file.
pub(super) struct Writer {
    connection: Connection,
    path: PathBuf,
    options: SqliteOptions,
    counters: Counters,
    /// None for a store without a file.
    reserve: Option<Reserve>,
    /// None after a failure: dropping it closes the watches.
    publisher: Option<Publisher>,
    failure: Arc<Failure>,
    unfolded_bytes: usize,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        path: PathBuf,
        options: SqliteOptions,
        counters: Counters,
        reserve: Option<Reserve>,
        publisher: Publisher,
        failure: Arc<Failure>,
    ) -> Result<Self, StoreError> {
        let writer = Self {
            connection,
            path,
            options,
            counters,
            reserve,
            publisher: Some(publisher),
            failure,
            unfolded_bytes: 0,
        };
        writer.bound_file().map_err(|fault| fault.to_error(&writer.path, true))?;
        Ok(writer)
    }

    pub(super) fn start(self, queue: Arc<Queue>) -> Result<JoinHandle<()>, StoreError> {
        let path = self.path.clone();
        thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || self.run(&queue))
            .map_err(|error| fault::io(&path, "its writing thread cannot start", &error))
    }

    fn run(mut self, queue: &Queue) {
        /// However the thread ends, nobody is left waiting for it.
        struct Abandon<'a>(&'a Queue);
        impl Drop for Abandon<'_> {
            fn drop(&mut self) {
                self.0.abandon();
            }
        }
        let _abandon = Abandon(queue);
        while let Some(group) = queue.take() {
            self.perform(group);
            self.fold();
        }
    }

    /// Carries out a group and answers everyone in it.
    pub(super) fn perform(&mut self, group: Vec<Job>) {
        if let Err(error) = self.failure.check() {
            return refuse(group, &error);
        }
        let group = self.admit(group);
        if group.is_empty() {
            return;
        }
        match self.attempt(&group) {
            Ok((counters, verdicts)) => self.acknowledge(group, counters, verdicts),
            Err(undone) if undone.is_full() => self.perform_on_reserve(group, undone),
            Err(undone) => self.give_up(group, undone),
        }
    }

    /// While the reserve is spent the space it left is for narrowing commits alone: others are let in again
    /// only when it could be set aside anew.
    fn admit(&mut self, group: Vec<Job>) -> Vec<Job> {
        let Some(reserve) = &mut self.reserve else { return group };
        if reserve.is_held() || group.iter().all(is_brake) {
            return group;
        }
        match reserve.hold_again() {
            Ok(()) => {
                if let Err(fault) = self.bound_file() {
                    tracing::warn!(?fault, "the bound of the store could not be set back");
                }
                group
            }
            Err(cause) => {
                let (brakes, others) = group.into_iter().partition(is_brake);
                refuse(others, &fault::reserve_spent(&self.path, &cause));
                brakes
            }
        }
    }

    /// The disk is full. Ordinary commits are refused; narrowing ones are tried without them, since it may be
    /// the others that did not fit, and then once more on the reserve.
    fn perform_on_reserve(&mut self, group: Vec<Job>, mut undone: Undone) {
        let (narrowing, others): (Vec<_>, Vec<_>) = group.into_iter().partition(Job::narrows);
        let together = !others.is_empty();
        refuse(others, &undone.describe(&self.path));
        if narrowing.is_empty() {
            return;
        }
        for on_reserve in [false, true] {
            if (on_reserve && !self.release()) || (!on_reserve && !together) {
                continue;
            }
            match self.attempt(&narrowing) {
                Ok((counters, verdicts)) => return self.acknowledge(narrowing, counters, verdicts),
                Err(again) if again.is_full() => undone = again,
                Err(other) => return self.give_up(narrowing, other),
            }
        }
        self.give_up(narrowing, undone);
    }

    /// Gives up the reserve; false if there is none left to give.
    fn release(&mut self) -> bool {
        let Some(reserve) = self.reserve.as_mut().filter(|reserve| reserve.is_held()) else {
            return false;
        };
        tracing::error!(
            path = %self.path.display(),
            "the store is full; its reserve is now used for narrowing commits, all others are refused"
        );
        if let Err(error) = reserve.release() {
            tracing::error!(%error, "the reserve of the store could not be given up");
        }
        self.bound_file().is_ok()
    }

    fn bound_file(&self) -> Result<(), Fault> {
        let Some(reserve) = &self.reserve else { return Ok(()) };
        let extra = if reserve.is_held() { 0 } else { reserve.bytes() };
        schema::bound_file(&self.connection, self.options.file_bytes_max.saturating_add(extra))
    }

    /// One transaction for the whole group. Only counters and verdicts come out; nothing is taken over yet.
    fn attempt(&mut self, group: &[Job]) -> Result<(Counters, Vec<Verdict>), Undone> {
        let before = |error: rusqlite::Error| Undone::Before(error.into());
        let mut counters = self.counters;
        let mut tx = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(before)?;
        let mut verdicts = Vec::with_capacity(group.len());
        for job in group {
            let verdict = match job {
                Job::Commit { commit, .. } => {
                    apply::commit(&mut tx, &mut counters, commit, &self.options)
                }
                Job::Drained { through, .. } => apply::drained(&tx, &mut counters, *through),
            };
            verdicts.push(verdict.map_err(Undone::Before)?);
        }
        counters.write(&tx).map_err(before)?;
        // Of a failed commit SQLite takes everything back when the space ran out, or a lock was not to be had;
        // after any other error the sync itself may have failed.
        tx.commit().map_err(|error| match Fault::from(error) {
            fault if fault.is_full() || fault.is_busy() => Undone::Before(fault),
            fault => Undone::During(fault),
        })?;
        Ok((counters, verdicts))
    }

    /// The group is durable: watches first, then those who asked, so that whoever is answered can be watched.
    fn acknowledge(&mut self, group: Vec<Job>, counters: Counters, verdicts: Vec<Verdict>) {
        self.counters = counters;
        for (job, verdict) in group.into_iter().zip(verdicts) {
            self.unfolded_bytes =
                self.unfolded_bytes.saturating_add(job.byte_count() + COMMIT_OVERHEAD_BYTES);
            match (job, verdict) {
                (Job::Commit { commit, reply }, Verdict::Committed(committed)) => {
                    if let Some(publisher) = &self.publisher {
                        publisher.publish(batch(commit, &committed));
                    }
                    drop(reply.send(Ok(committed)));
                }
                (Job::Drained { reply, .. }, Verdict::Drained) => drop(reply.send(Ok(()))),
                (job, Verdict::Refused(error)) => job.refuse(error),
                (job, _) => job.refuse(fault::closed(&self.path, false)),
            }
        }
    }

    fn give_up(&mut self, group: Vec<Job>, undone: Undone) {
        let error = undone.describe(&self.path);
        tracing::error!(%error, commits = group.len(), "the store could not commit");
        if matches!(undone, Undone::During(_)) {
            self.fail(&error);
        }
        refuse(group, &error);
    }

    /// Ends all use of the store: what is on the disk is in doubt until it is opened anew.
    fn fail(&mut self, error: &StoreError) {
        self.failure.set(error.clone());
        self.publisher = None;
    }

    /// Folds the write-ahead log back into the file. A full disk is no harm here: the log keeps what it has.
    fn fold(&mut self) {
        if self.unfolded_bytes < FOLD_BYTES || self.reserve.is_none() || self.failure.is_set() {
            return;
        }
        self.unfolded_bytes = 0;
        let folded = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        match folded.map_err(Fault::from) {
            Ok(()) => {}
            Err(fault) if fault.is_full() || fault.is_busy() => {
                tracing::warn!(
                    ?fault,
                    "the log of the store could not be folded back; trying again later"
                );
            }
            Err(fault) => {
                let error = fault.to_error(&self.path, true);
                tracing::error!(%error, "the log of the store could not be folded back");
                self.fail(&error);
            }
        }
    }
}

/// What passes while the reserve is spent: narrowing commits, and draining, which only makes room.
fn is_brake(job: &Job) -> bool {
    job.narrows() || matches!(job, Job::Drained { .. })
}

fn refuse(group: Vec<Job>, error: &StoreError) {
    for job in group {
        job.refuse(error.clone());
    }
}

fn batch(commit: Commit, committed: &Committed) -> Batch {
    let revision = committed.revision;
    let changed = |change: Change| -> (Key, Option<Record>) {
        match change {
            Change::Put { key, value } => (key.clone(), Some(Record { key, revision, value })),
            Change::Delete { key } => (key, None),
        }
    };
    Batch {
        revision,
        changes: commit.changes.into_iter().map(changed).collect(),
        narrows: commit.narrows,
        seqs: committed.seqs.clone(),
    }
}

#[cfg(test)]
mod tests;
