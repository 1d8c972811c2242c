//! The embedded driver: one SQLite file owned by one process.
//!
//! One thread owns the writing connection and commits in groups; another reads through a connection that
//! cannot write. The files beside the store are its write-ahead log (`-wal`, `-shm`), the lock that keeps
//! other processes away (`.lock`) and the space kept back for narrowing commits (`.reserve`).

mod copy;
mod fault;
mod files;
mod options;
mod queue;
mod reader;
mod reserve;
mod schema;
mod writer;

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use crate::commit::{Commit, Committed, OutboxRecord, check_id, check_limit};
use crate::error::StoreError;
use crate::record::{Key, Kind, Record, Revision};
use crate::store::Store;
use crate::watch::{History, Watch};
use fault::Failure;
pub use options::SqliteOptions;
use queue::{Job, Queue};
use reader::Reader;
use reserve::Reserve;
use writer::Writer;

/// The store in one SQLite file.
///
/// Dropping it waits for the group of commits under way, closes the file and gives up the lock.
pub struct SqliteStore {
    path: PathBuf,
    queue: Arc<Queue>,
    reader: Option<Reader>,
    writer: Option<JoinHandle<()>>,
    history: History,
    failure: Arc<Failure>,
    /// Held until both threads are gone: fields are dropped after `Drop::drop` has joined them.
    _lock: Option<File>,
}

impl SqliteStore {
    /// Opens the store at `path`, creating it if the file does not exist. Blocks while it checks the file.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::Newer`], [`StoreError::Foreign`], [`StoreError::Exposed`],
    /// [`StoreError::Damaged`] or [`StoreError::Unavailable`]; each says what to do.
    pub fn open(path: &Path, options: SqliteOptions) -> Result<Self, StoreError> {
        let lock = files::lock(path)?;
        files::create_or_check(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let fault = |error| fault::unavailable(path, &error, true);
        let connection = Connection::open_with_flags(path, flags).map_err(fault)?;
        schema::prepare(&connection, path, &options)?;
        schema::check(&connection, path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reading = Connection::open_with_flags(path, flags).map_err(fault)?;
        schema::prepare_reader(&reading).map_err(fault)?;
        let reserve = Reserve::hold(files::beside(path, "reserve"), options.reserve_bytes);
        Self::start(path, connection, reading, Some(reserve), Some(lock), options)
    }

    /// A store without a file, gone when it is dropped; nothing in it is durable. For tests.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if SQLite cannot make one.
    #[cfg(any(test, feature = "testing"))]
    pub fn in_memory() -> Result<Self, StoreError> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("file:/carnet-store-{number}?vfs=memdb"));
        let options = SqliteOptions::default();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let fault = |error| fault::unavailable(&path, &error, true);
        let connection = Connection::open_with_flags(&path, flags).map_err(fault)?;
        schema::prepare_in_memory(&connection, &path)?;
        let reading = Connection::open_with_flags(&path, flags).map_err(fault)?;
        schema::prepare_reader(&reading).map_err(fault)?;
        Self::start(&path, connection, reading, None, None, options)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a consistent copy of the store to `to`, which must not exist, while it stays in use, and returns
    /// the revision of the copy.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] naming the copy if it cannot be written; what is there of it is of no use.
    pub async fn backup(&self, to: &Path) -> Result<Revision, StoreError> {
        self.failure.check()?;
        copy::copy(&self.path, to).await
    }

    fn start(
        path: &Path,
        connection: Connection,
        reading: Connection,
        reserve: Option<Reserve>,
        lock: Option<File>,
        options: SqliteOptions,
    ) -> Result<Self, StoreError> {
        let counters =
            writer::Counters::read(&connection).map_err(|fault| fault.to_error(path, true))?;
        let (publisher, history) =
            History::new(counters.revision, options.watch_batches_max, options.watch_bytes_max);
        let queue = Arc::new(Queue::new(options.commits_queued_max));
        let failure = Arc::new(Failure::default());
        let writer = Writer::new(
            connection,
            path.to_owned(),
            options,
            counters,
            reserve,
            publisher,
            Arc::clone(&failure),
        )?;
        let reader =
            Reader::start(reading, path.to_owned(), history.clone(), Arc::clone(&failure))?;
        let writer = writer.start(Arc::clone(&queue))?;
        Ok(Self {
            path: path.to_owned(),
            queue,
            reader: Some(reader),
            writer: Some(writer),
            history,
            failure,
            _lock: lock,
        })
    }

    fn reader(&self) -> Result<&Reader, StoreError> {
        self.reader.as_ref().ok_or_else(|| fault::closed(&self.path, true))
    }

    async fn perform<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> Result<T, StoreError> {
        self.failure.check()?;
        let (reply, answer) = oneshot::channel();
        if self.queue.push(job(reply)).await.is_err() {
            self.failure.check()?;
            return Err(fault::closed(&self.path, true));
        }
        answer.await.unwrap_or_else(|_| Err(fault::closed(&self.path, false)))
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn load(&self) -> Result<(Revision, Vec<Record>), StoreError> {
        self.reader()?.ask(reader::load).await
    }

    async fn read(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        check_id(&key.id)?;
        let key = key.clone();
        let (_, record) = self.reader()?.ask(move |tx| reader::read(tx, key)).await?;
        Ok(record)
    }

    async fn list(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        check_limit(limit)?;
        let after = after.unwrap_or("").to_owned();
        let (_, records) =
            self.reader()?.ask(move |tx| reader::list(tx, kind, &after, limit)).await?;
        Ok(records)
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        commit.check()?;
        self.perform(|reply| Job::Commit { commit, reply }).await
    }

    fn watch(&self, from: Revision) -> Watch {
        self.history.watch(from)
    }

    async fn outbox(&self, after: u64, limit: usize) -> Result<Vec<OutboxRecord>, StoreError> {
        check_limit(limit)?;
        let (_, records) = self.reader()?.ask(move |tx| reader::outbox(tx, after, limit)).await?;
        Ok(records)
    }

    async fn drained(&self, through: u64) -> Result<(), StoreError> {
        self.perform(|reply| Job::Drained { through, reply }).await
    }

    /// Answered from memory. Only this process commits, and a commit is counted here before it is
    /// acknowledged, so no acknowledged one can be missing.
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.failure.check()?;
        if self.queue.is_closed() {
            return Err(fault::closed(&self.path, true));
        }
        Ok(self.history.latest())
    }
}

impl Drop for SqliteStore {
    /// The reader goes first: SQLite folds the write-ahead log back when the last connection that can write closes.
    fn drop(&mut self) {
        drop(self.reader.take());
        self.queue.close();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!(path = %self.path.display(), "the writer of the store ended by a panic");
        }
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
