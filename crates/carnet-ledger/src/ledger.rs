//! The handle that writers and readers hold.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::committer::{self, Shared, Start};
use crate::config::LedgerConfig;
use crate::disk::{Disk, Hold};
use crate::entry::{Entry, OutboxPosition};
use crate::error::{IoContext, LedgerError};
use crate::frame;
use crate::keys::LedgerKeys;
use crate::leaf::Leaf;
use crate::lock::{Lock, hold};
use crate::note::{Checkpoint, VerifyingKey};
use crate::proof;
use crate::publisher::{Publisher, Timer};
use crate::queue::{Append, Haste, Record};
use crate::reader::{Scan, Segments};
use crate::recovery::{Restored, frame_index, restore};
use crate::reserve::Reserve;
use crate::series::{OutboxMark, Series};
use crate::sidecar::{self, Unsealed};
use crate::subject::SubjectKeys;
use crate::tiles::Edge;

/// What a start found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Durable leaves.
    pub leaves: u64,
    /// Leaves covered by the last signed checkpoint.
    pub signed: u64,
    /// Bytes of an unfinished, never acknowledged write that were cut off.
    pub torn_bytes: u64,
    /// The last outbox position that is written.
    pub outbox: Option<OutboxPosition>,
    /// The tiles were missing or did not lead to the signed root, and were computed again.
    pub rebuilt: bool,
}

/// An open ledger. Clones are handles to the same one; the last to go closes it.
#[derive(Clone)]
pub struct Ledger {
    core: Arc<Core>,
}

struct Core {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    sidecar: Series,
    keys: SubjectKeys,
    key: VerifyingKey,
    publisher: Arc<Mutex<Publisher>>,
    running: Mutex<Option<Running>>,
}

struct Running {
    committer: JoinHandle<()>,
    timer: Timer,
    _hold: Box<dyn Hold>,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let size = self.size();
        f.debug_struct("Ledger").field("key", &self.core.key).field("size", &size).finish()
    }
}

impl Ledger {
    /// Opens the log in `config.dir`, or begins it. Refused when another process holds it, when it
    /// holds less than was signed, or when its leaves are not those that were signed.
    pub fn open(
        config: LedgerConfig,
        disk: Arc<dyn Disk>,
        keys: LedgerKeys,
    ) -> Result<(Self, Recovered), LedgerError> {
        config.check()?;
        let key = keys.verifying_key(&config.origin)?;
        let (pair, wrapping) = keys.into_parts();
        let reserve = Reserve::new(&disk, &config.dir, config.reserve_bytes);
        let keys_dir = config.dir.join("sidecar").join("keys");
        for dir in [&config.dir.join("seg"), &keys_dir, reserve.dir()] {
            disk.make_dir(dir).at("make", dir)?;
        }
        let held = hold(&*disk, &config.dir.join("LOCK"))?;
        let lock = Lock::open(&disk, &config.lock_dir, &config.origin)?;
        let publisher = first_publisher(&config, &disk, lock, key.clone(), pair)?;
        let keys = SubjectKeys::new(Arc::clone(&disk), keys_dir, &wrapping)?;
        keys.finish_erasures()?;
        Self::start(config, disk, publisher, keys, reserve, held)
    }

    fn start(
        config: LedgerConfig,
        disk: Arc<dyn Disk>,
        mut publisher: Publisher,
        keys: SubjectKeys,
        reserve: Reserve,
        held: Box<dyn Hold>,
    ) -> Result<(Self, Recovered), LedgerError> {
        let restored = restore(&disk, &config, &publisher.current)?;
        let recovered = recovered(&restored, &publisher.current);
        let series = Series::segments(&disk, &config.dir, &config.origin);
        let sidecar = Series::sidecar(&disk, &config.dir, &config.origin);
        let segments = Arc::new(Segments::new(series.clone(), restored.known));
        let shared = Arc::new(Shared::new(config, segments, &restored.frontier));
        match reserve.fill() {
            Err(error) if error.is_full() => shared.set_full(true),
            other => other?,
        }
        let start = Start {
            segments: series,
            sidecar: sidecar.clone(),
            reserve,
            segment_tip: restored.segment_tip,
            sidecar_tip: restored.sidecar_tip,
            frontier: restored.frontier,
            outbox: restored.outbox,
        };
        publisher.edge = restored.edge;
        let key = publisher.key.clone();
        let publisher = Arc::new(Mutex::new(publisher));
        let committer = committer::spawn(Arc::clone(&shared), start)?;
        let timer = Timer::spawn(Arc::clone(&shared), Arc::clone(&publisher))?;
        let running = Mutex::new(Some(Running { committer, timer, _hold: held }));
        let core = Core { shared, disk, sidecar, keys, key, publisher, running };
        Ok((Self { core: Arc::new(core) }, recovered))
    }

    /// Hands a record in. Canonical form and sealing are done here, on the caller's thread; the
    /// record is queued when this returns, in this order, and durable when the answer says so.
    /// The first record of a subject makes its key durable, which takes a few disk operations.
    pub fn append(&self, entry: Entry) -> Append {
        self.queue(&entry, Haste::Awaited).unwrap_or_else(Append::refused)
    }

    /// Hands in a record that no effect waits for, such as an outcome: it is queued in its order
    /// like any other, and written with the next record that is awaited or a moment later
    /// ([`LedgerConfig::linger`]). A crash in that moment loses it.
    pub fn append_behind(&self, entry: &Entry) -> Append {
        self.queue(entry, Haste::Behind).unwrap_or_else(Append::refused)
    }

    fn queue(&self, entry: &Entry, haste: Haste) -> Result<Append, LedgerError> {
        let shared = &self.core.shared;
        if let Some(stopped) = shared.stopped() {
            return Err(stopped);
        }
        entry.check()?;
        let config = &shared.config;
        let sealed = sidecar::seal(entry, &config.origin, &self.core.keys)?;
        let (content, commitments) =
            sealed.map_or((None, Vec::new()), |part| (Some(part.content), part.commitments));
        let record = Record {
            leaf_start: entry.leaf_start(&config.node, &commitments)?,
            sealed: content,
            position: entry.position,
            narrows: entry.narrows,
        };
        Ok(shared.queue.push(record, haste))
    }

    /// How many leaves are durable.
    pub fn size(&self) -> u64 {
        self.core.shared.size()
    }

    /// Whether an ordinary record would be taken: not closed, not stopped by an error, not full.
    pub fn is_writable(&self) -> bool {
        let running = self.core.running.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &self.core.shared;
        running.is_some() && shared.stopped().is_none() && !shared.is_full()
    }

    /// The key that checks this log's checkpoints.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.core.key
    }

    /// Signs and publishes a checkpoint of everything durable: tiles, then the lock, then the
    /// checkpoint file. Also makes a ledger on a full disk look for space.
    pub fn checkpoint(&self) -> Result<Checkpoint, LedgerError> {
        if self.core.shared.is_full() {
            self.core.shared.queue.probe();
        }
        self.core.publisher().publish(&self.core.shared)
    }

    /// Reads a durable leaf.
    pub fn leaf(&self, index: u64) -> Result<Leaf, LedgerError> {
        let none = || LedgerError::NoSuchLeaf { index, size: self.size() };
        let to = index.checked_add(1).filter(|to| *to <= self.size()).ok_or_else(none)?;
        let found = self.core.shared.segments.scan(index, to).step()?;
        let (index, bytes) = found.ok_or_else(none)?;
        Leaf::parse(index, &bytes)
    }

    /// Reads the leaves from `from` to the last that is durable now, with bounded memory.
    pub fn leaves(&self, from: u64) -> impl Iterator<Item = Result<Leaf, LedgerError>> + use<> {
        Leaves(Some(self.core.shared.segments.scan(from, self.size())))
    }

    /// Opens a leaf's sealed values and checks each against its commitment. What is gone is named
    /// with the reason; what was changed is an error.
    pub fn unseal(&self, leaf: &Leaf) -> Result<Unsealed, LedgerError> {
        let Some(place) = leaf.sidecar() else { return Ok(Unsealed::default()) };
        let core = &self.core;
        let path = core.sidecar.path(place.file);
        let file = match core.disk.open_read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(sidecar::frame_missing(leaf));
            }
            other => other.at("open", &path)?,
        };
        let changed = |why: &str| LedgerError::SealedChanged {
            index: leaf.index,
            name: "*".to_owned(),
            why: why.to_owned(),
        };
        match frame::read_one(&file, &path, place.offset)? {
            Some((frame::SEALED, content)) if frame_index(&content) == Some(leaf.index) => {
                let content = content.get(8..).unwrap_or_default();
                sidecar::unseal(leaf, content, &core.shared.config.origin, &core.keys)
            }
            Some(_) => Err(changed("another record's frame stands in its place")),
            None => Err(changed("no whole frame stands in its place")),
        }
    }

    /// Destroys a subject's data key: what was sealed under it can never be read again, here or in
    /// a backup without the key. Append a leaf that records the erasure first, and name it here.
    /// False when the subject has no key.
    pub fn erase(&self, subject: &str, recorded_in: u64) -> Result<bool, LedgerError> {
        if recorded_in >= self.size() {
            return Err(LedgerError::NoSuchLeaf { index: recorded_in, size: self.size() });
        }
        self.core.keys.destroy(subject, recorded_in)
    }

    /// Publishes a checkpoint and makes a proof file (C2SP tlog-proof) for a leaf: with it, anyone
    /// who has the verifying key can check offline that the leaf is in this log.
    pub fn prove(&self, index: u64) -> Result<String, LedgerError> {
        let checkpoint = self.checkpoint()?;
        proof::prove(&*self.core.disk, &self.core.shared.config.dir, &checkpoint, index)
    }

    /// Writes what is queued, publishes a last checkpoint and ends the threads. For all handles.
    pub fn close(self) {
        self.core.close();
    }
}

struct Leaves(Option<Scan>);

impl Iterator for Leaves {
    type Item = Result<Leaf, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.0.as_mut()?.step();
        let item = step
            .and_then(|found| found.map(|(index, bytes)| Leaf::parse(index, &bytes)).transpose());
        // Nothing can be said of what follows an error.
        if !matches!(item, Ok(Some(_))) {
            self.0 = None;
        }
        item.transpose()
    }
}

impl Core {
    fn publisher(&self) -> std::sync::MutexGuard<'_, Publisher> {
        self.publisher.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(running) = running else { return };
        self.shared.queue.close();
        let _ = running.committer.join();
        running.timer.stop();
        if let Err(error) = self.publisher().publish(&self.shared) {
            let origin = &self.shared.config.origin;
            tracing::error!(%origin, %error, "closed without a last checkpoint");
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.close();
    }
}

fn recovered(restored: &Restored, signed: &Checkpoint) -> Recovered {
    let position = |mark: OutboxMark| OutboxPosition { seq: mark.seq, revision: mark.revision };
    Recovered {
        leaves: restored.frontier.size(),
        signed: signed.size,
        torn_bytes: restored.torn_bytes,
        outbox: restored.outbox.last().map(position),
        rebuilt: restored.rebuilt,
    }
}

/// The publisher as the lock has it. A new origin's lock is made before its first leaf, so that a
/// log with leaves and without a lock is always a log that lost its lock.
fn first_publisher(
    config: &LedgerConfig,
    disk: &Arc<dyn Disk>,
    mut lock: Lock,
    key: VerifyingKey,
    pair: aws_lc_rs::signature::Ed25519KeyPair,
) -> Result<Publisher, LedgerError> {
    let shown = config.dir.join("checkpoint");
    let current = match lock.checkpoint(&key)? {
        Some(current) => current,
        None => {
            let series = Series::segments(disk, &config.dir, &config.origin);
            let used = crate::disk::read_small(&**disk, &shown).at("read", &shown)?.is_some();
            if used || !series.numbers()?.is_empty() {
                return Err(LedgerError::LockMissing { path: lock.path().to_path_buf() });
            }
            let first = Checkpoint::sign(&key, &pair, 0, crate::merkle::empty_root());
            lock.swap(&first)?;
            first
        }
    };
    let disk = Arc::clone(disk);
    let publisher = Publisher { disk, lock, key, pair, edge: Edge::default(), current };
    publisher.show(&shown)?;
    Ok(publisher)
}
