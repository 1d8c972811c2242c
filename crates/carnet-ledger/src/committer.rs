//! The one thread that writes: it gives records their place, writes them, syncs once, and answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use crate::config::LedgerConfig;
use crate::disk::DiskFile;
use crate::entry::{SidecarPlace, leaf_end};
use crate::error::{IoContext, LedgerError};
use crate::fault_point::fault_point;
use crate::frame;
use crate::merkle::{Frontier, Hash, leaf_hash};
use crate::outbox::Outbox;
use crate::queue::{Answer, Appended, Pending, Queue, Work};
use crate::reader::Segments;
use crate::reserve::Reserve;
use crate::series::{Series, Tip};

/// Most bytes a leaf's frame takes beside the part its writer made, with its batch frame.
const LEAF_EXTRA_BYTES: u64 = 192;

/// What all threads of a ledger see.
pub(crate) struct Shared {
    pub(crate) config: LedgerConfig,
    pub(crate) queue: Queue,
    pub(crate) segments: Arc<Segments>,
    durable: Mutex<(u64, Hash)>,
    size: AtomicU64,
    full: AtomicBool,
    stopped: Mutex<Option<String>>,
}

impl Shared {
    pub(crate) fn new(config: LedgerConfig, segments: Arc<Segments>, frontier: &Frontier) -> Self {
        Self {
            queue: Queue::new(&config),
            config,
            segments,
            durable: Mutex::new((frontier.size(), frontier.root())),
            size: AtomicU64::new(frontier.size()),
            full: AtomicBool::new(false),
            stopped: Mutex::new(None),
        }
    }

    /// How many leaves are durable.
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Size and root of what is durable.
    pub(crate) fn durable(&self) -> (u64, Hash) {
        *self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    pub(crate) fn set_full(&self, full: bool) {
        if self.full.swap(full, Ordering::AcqRel) != full {
            let origin = &self.config.origin;
            tracing::error!(%origin, full, "the ledger's disk ran full or has space again");
        }
    }

    /// The first error that stopped this ledger.
    pub(crate) fn stopped(&self) -> Option<LedgerError> {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        stopped.clone().map(|why| LedgerError::Unavailable { why })
    }

    /// Stops acknowledging for good.
    pub(crate) fn stop(&self, error: &LedgerError) -> LedgerError {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let why = stopped.get_or_insert_with(|| {
            let origin = &self.config.origin;
            tracing::error!(%origin, %error, "the ledger stopped; nothing is acknowledged");
            error.to_string()
        });
        LedgerError::Unavailable { why: why.clone() }
    }

    fn grew(&self, frontier: &Frontier) {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        *durable = (frontier.size(), frontier.root());
        self.size.store(frontier.size(), Ordering::Release);
    }
}

/// What the committer starts from.
pub(crate) struct Start {
    pub(crate) segments: Series,
    pub(crate) sidecar: Series,
    pub(crate) reserve: Reserve,
    pub(crate) segment_tip: Tip,
    pub(crate) sidecar_tip: Tip,
    pub(crate) frontier: Frontier,
    pub(crate) outbox: Outbox,
}

/// What is written and synced together.
#[derive(Default)]
struct Batch {
    leaves: Vec<u8>,
    sealed: Vec<u8>,
    /// Index and byte of each leaf.
    places: Vec<(u64, u64)>,
    answers: Vec<(oneshot::Sender<Answer>, u64)>,
}

struct Committer {
    shared: Arc<Shared>,
    start: Start,
    beside: Beside,
    batch: Batch,
}

/// Starts the committer; it ends when the queue is closed and empty.
pub(crate) fn spawn(shared: Arc<Shared>, start: Start) -> Result<JoinHandle<()>, LedgerError> {
    let path = shared.config.dir.clone();
    let beside = Beside::spawn().at("start the sidecar's thread for", &path)?;
    let committer = Committer { shared, start, beside, batch: Batch::default() };
    thread::Builder::new()
        .name("ledger-commit".into())
        .spawn(move || committer.run())
        .at("start the committer of", &path)
}

impl Committer {
    fn run(mut self) {
        let (entries_max, bytes_max) =
            (self.shared.config.batch_entries_max, self.shared.config.batch_bytes_max);
        loop {
            match self.shared.queue.take(entries_max, bytes_max) {
                Work::Write(pendings) => {
                    pendings.into_iter().for_each(|pending| self.place(pending));
                    self.flush();
                }
                Work::Probe => self.probe(),
                Work::Stop => return,
            }
        }
    }

    /// Gives a record its place in the batch, or answers at once why not.
    fn place(&mut self, pending: Pending) {
        match self.prepare(&pending) {
            Ok(Some(index)) => self.batch.answers.push((pending.answer, index)),
            Ok(None) => self.add(pending),
            // The writer may be gone; that is its business.
            Err(error) => drop(pending.answer.send(Err(error))),
        }
    }

    /// Finds a leaf that already holds the record, or makes room for a new one.
    fn prepare(&mut self, pending: &Pending) -> Result<Option<u64>, LedgerError> {
        if let Some(stopped) = self.shared.stopped() {
            return Err(stopped);
        }
        if let Some(position) = pending.position
            && let Some(index) = self.start.outbox.find(position, &self.shared.segments)?
        {
            return Ok(Some(index));
        }
        if self.shared.is_full() && !pending.narrows {
            return Err(LedgerError::Full);
        }
        let leaf_bytes = pending.leaf_start.len() as u64 + LEAF_EXTRA_BYTES;
        if self.start.segment_tip.room() < self.batch.leaves.len() as u64 + leaf_bytes {
            self.flush();
            self.roll(pending.narrows, Self::roll_segment)?;
        }
        if let Some(sealed) = &pending.sealed {
            let bytes = (sealed.len() + 8 + frame::HEAD_BYTES) as u64;
            if self.start.sidecar_tip.room() < self.batch.sealed.len() as u64 + bytes {
                self.flush();
                self.roll(pending.narrows, |own, reserve| own.roll_sidecar(reserve, bytes))?;
            }
        }
        match self.shared.stopped() {
            Some(stopped) => Err(stopped),
            None => Ok(None),
        }
    }

    fn add(&mut self, pending: Pending) {
        let index = self.start.frontier.size();
        let batch = &mut self.batch;
        let sidecar = pending.sealed.map(|sealed| {
            let tip = &self.start.sidecar_tip;
            let offset = tip.offset + batch.sealed.len() as u64;
            frame::push(&mut batch.sealed, frame::SEALED, &[&index.to_be_bytes(), &sealed]);
            SidecarPlace { file: tip.number, offset }
        });
        if batch.leaves.is_empty() {
            frame::push(&mut batch.leaves, frame::BATCH, &[&index.to_be_bytes()]);
        }
        let mut leaf = pending.leaf_start;
        leaf.extend_from_slice(&leaf_end(index, sidecar));
        let offset = self.start.segment_tip.offset + batch.leaves.len() as u64;
        frame::push(&mut batch.leaves, frame::LEAF, &[&leaf]);
        batch.places.push((index, offset));
        batch.answers.push((pending.answer, index));
        self.start.frontier.push(leaf_hash(&leaf));
        if let Some(position) = pending.position {
            self.start.outbox.wrote(position, index);
        }
    }

    /// Makes the batch durable, then answers its writers.
    fn flush(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        let wrote = match self.shared.stopped() {
            Some(stopped) => Err(stopped),
            None if batch.leaves.is_empty() => Ok(()),
            None => self.write(&mut batch),
        };
        for (answer, index) in batch.answers {
            let _ = answer.send(wrote.clone().map(|()| Appended { index }));
        }
    }

    fn write(&mut self, batch: &mut Batch) -> Result<(), LedgerError> {
        let (segment, sidecar) = (&mut self.start.segment_tip, &mut self.start.sidecar_tip);
        let sealed = std::mem::take(&mut batch.sealed);
        let sealed_bytes = sealed.len() as u64;
        if sealed_bytes > 0 {
            self.beside.write(&sidecar.file, sidecar.offset, sealed);
        }
        let wrote = segment
            .file
            .write_at(&batch.leaves, segment.offset)
            .inspect(|()| fault_point("ledger.written"))
            .and_then(|()| segment.file.sync())
            .at("write and sync", &segment.path);
        let beside = if sealed_bytes > 0 { self.beside.wait() } else { Ok(()) };
        let beside = beside.at("write and sync", &sidecar.path);
        wrote.and(beside).map_err(|error| self.shared.stop(&error))?;
        fault_point("ledger.synced");
        segment.offset += batch.leaves.len() as u64;
        sidecar.offset += sealed_bytes;
        // The places first: who sees the new size may look for the leaves at once.
        self.shared.segments.wrote(&batch.places);
        self.shared.grew(&self.start.frontier);
        Ok(())
    }

    /// Goes on in a new file; on a full disk in the reserve, for what narrows.
    fn roll(
        &mut self,
        narrows: bool,
        mut next: impl FnMut(&mut Self, bool) -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        if let Some(stopped) = self.shared.stopped() {
            return Err(stopped);
        }
        let full = match next(self, false) {
            Ok(()) => return Ok(()),
            Err(error) if error.is_full() => LedgerError::Full,
            Err(error) => return Err(self.shared.stop(&error)),
        };
        self.shared.set_full(true);
        if !narrows {
            return Err(full);
        }
        match next(self, true) {
            Ok(()) => Ok(()),
            Err(LedgerError::Io { doing: "open", .. }) => Err(LedgerError::ReserveSpent),
            Err(error) => Err(self.shared.stop(&error)),
        }
    }

    fn roll_segment(&mut self, reserve: bool) -> Result<(), LedgerError> {
        let (number, mark) = (self.start.frontier.size(), self.start.outbox.last());
        let bytes = self.shared.config.segment_bytes;
        let next = match reserve {
            false => self.start.segments.begin(number, bytes, mark)?,
            true => self.start.segments.begin_from(&self.start.reserve.segment(), number, mark)?,
        };
        self.shared.segments.begin(number);
        trim(&std::mem::replace(&mut self.start.segment_tip, next));
        Ok(())
    }

    fn roll_sidecar(&mut self, reserve: bool, needed: u64) -> Result<(), LedgerError> {
        let number = self.start.sidecar_tip.number + 1;
        // Longer than usual for a record that is longer than usual; 4 KiB for the header.
        let bytes = self.shared.config.segment_bytes.max(needed + 4096);
        let next = match reserve {
            false => self.start.sidecar.begin(number, bytes, None)?,
            true if self.shared.config.reserve_bytes < needed + 4096 => {
                return Err(LedgerError::Io {
                    doing: "open",
                    path: self.start.reserve.sidecar(),
                    why: "the record is longer than the reserve".to_owned(),
                    full: true,
                });
            }
            true => self.start.sidecar.begin_from(&self.start.reserve.sidecar(), number, None)?,
        };
        trim(&std::mem::replace(&mut self.start.sidecar_tip, next));
        Ok(())
    }

    /// Looks whether a full disk has space again: for the next files and for the reserve.
    fn probe(&mut self) {
        if !self.shared.is_full() || self.shared.stopped().is_some() {
            return;
        }
        let found = self
            .start
            .reserve
            .fill()
            .and_then(|()| self.roll_segment(false))
            .and_then(|()| self.roll_sidecar(false, 0));
        match found {
            Ok(()) => self.shared.set_full(false),
            Err(error) if error.is_full() => {}
            Err(error) => drop(self.shared.stop(&error)),
        }
    }
}

/// Gives back the unused end of a file that grows no more. Only space depends on it.
fn trim(tip: &Tip) {
    let _ = tip.file.set_bytes(tip.offset);
}

type Job = (Arc<dyn DiskFile>, u64, Vec<u8>);

/// Writes and syncs the sidecar while the committer does the same with the segment, so that both
/// together take the time of one.
struct Beside {
    jobs: mpsc::SyncSender<Job>,
    done: mpsc::Receiver<std::io::Result<()>>,
}

impl Beside {
    fn spawn() -> std::io::Result<Self> {
        let (jobs, todo) = mpsc::sync_channel::<Job>(1);
        let (finished, done) = mpsc::sync_channel(1);
        let run = move || {
            for (file, offset, bytes) in todo {
                let wrote = file.write_at(&bytes, offset).and_then(|()| file.sync());
                if finished.send(wrote).is_err() {
                    return;
                }
            }
        };
        // It ends with its sender, which the committer owns.
        thread::Builder::new().name("ledger-sidecar".into()).spawn(run)?;
        Ok(Self { jobs, done })
    }

    fn write(&self, file: &Arc<dyn DiskFile>, offset: u64, bytes: Vec<u8>) {
        // Should the thread be gone, `wait` says so.
        let _ = self.jobs.send((Arc::clone(file), offset, bytes));
    }

    fn wait(&self) -> std::io::Result<()> {
        let gone = || std::io::Error::other("the sidecar's thread ended");
        self.done.recv().unwrap_or_else(|_| Err(gone()))
    }
}
