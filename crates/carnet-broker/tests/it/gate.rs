//! A store that can be made to fail, and a disk that can be made to wait.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use async_trait::async_trait;
use carnet_ledger::{Disk, DiskFile, Hold, RealDisk};
use carnet_store::{
    Commit, Committed, Key, Kind, OutboxRecord, Record, Revision, SqliteStore, Store, StoreError,
    Watch,
};

/// What a test can do to the store.
#[derive(Default)]
pub(crate) struct StoreGate {
    /// No commit is written: the disk is full, reserve and all.
    pub(crate) is_full: AtomicBool,
    /// Nobody answers what the revision is.
    pub(crate) is_silent: AtomicBool,
}

/// The real store behind a gate.
pub(crate) struct GatedStore {
    pub(crate) store: SqliteStore,
    pub(crate) gate: Arc<StoreGate>,
}

fn unavailable() -> StoreError {
    StoreError::Unavailable {
        path: "state".into(),
        cause: "a test says so".into(),
        advice: "open the gate".into(),
        unchanged: true,
    }
}

#[async_trait]
impl Store for GatedStore {
    async fn load(&self) -> Result<(Revision, Vec<Record>), StoreError> {
        self.store.load().await
    }
    async fn read(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.store.read(key).await
    }
    async fn list(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.store.list(kind, after, limit).await
    }
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        if self.gate.is_full.load(Ordering::Relaxed) {
            return Err(unavailable());
        }
        self.store.commit(commit).await
    }
    fn watch(&self, from: Revision) -> Watch {
        self.store.watch(from)
    }
    async fn outbox(&self, after: u64, limit: usize) -> Result<Vec<OutboxRecord>, StoreError> {
        self.store.outbox(after, limit).await
    }
    async fn drained(&self, through: u64) -> Result<(), StoreError> {
        self.store.drained(through).await
    }
    async fn revision(&self) -> Result<Revision, StoreError> {
        if self.gate.is_silent.load(Ordering::Relaxed) {
            return Err(unavailable());
        }
        self.store.revision().await
    }
}

/// What a test can do to the ledger's disk.
#[derive(Default)]
pub(crate) struct DiskGate {
    is_closed: Mutex<bool>,
    opened: Condvar,
    fails: AtomicBool,
}

impl DiskGate {
    /// Every sync waits from now on.
    pub(crate) fn close(&self) {
        *self.is_closed.lock().unwrap() = true;
    }

    /// Every sync goes on.
    pub(crate) fn open(&self) {
        *self.is_closed.lock().unwrap() = false;
        self.opened.notify_all();
    }

    /// Every sync fails from now on.
    pub(crate) fn fail(&self) {
        self.fails.store(true, Ordering::Relaxed);
    }

    fn pass(&self) -> io::Result<()> {
        let mut is_closed = self.is_closed.lock().unwrap();
        while *is_closed {
            is_closed = self.opened.wait(is_closed).unwrap();
        }
        match self.fails.load(Ordering::Relaxed) {
            true => Err(io::Error::other("a test says so")),
            false => Ok(()),
        }
    }
}

/// The real disk behind a gate.
#[derive(Clone)]
pub(crate) struct GatedDisk(pub(crate) Arc<DiskGate>);

struct GatedFile(Arc<dyn DiskFile>, Arc<DiskGate>);

impl GatedDisk {
    fn gated(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(GatedFile(file, Arc::clone(&self.0)))
    }
}

impl Disk for GatedDisk {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.make_dir(path)
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.gated(RealDisk.create(path)?))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.gated(RealDisk.open(path)?))
    }
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        RealDisk.open_read(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(path)
    }
    fn hold(&self, path: &Path) -> io::Result<Box<dyn Hold>> {
        RealDisk.hold(path)
    }
}

impl DiskFile for GatedFile {
    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.0.allocate(bytes)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(into, offset)
    }
    fn sync(&self) -> io::Result<()> {
        self.1.pass()?;
        self.0.sync()
    }
    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.0.set_bytes(bytes)
    }
    fn bytes(&self) -> io::Result<u64> {
        self.0.bytes()
    }
}
