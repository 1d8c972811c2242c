//! Publishing: tiles, then the lock, then the checkpoint. Off the path of those who append.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use aws_lc_rs::signature::Ed25519KeyPair;

use crate::committer::Shared;
use crate::disk::{Disk, read_small, replace_small};
use crate::error::{IoContext, LedgerError};
use crate::lock::Lock;
use crate::note::{Checkpoint, VerifyingKey};
use crate::tiles::{Edge, TileName, TileWriter};

/// Signs and publishes checkpoints of what is durable.
pub(crate) struct Publisher {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) lock: Lock,
    pub(crate) key: VerifyingKey,
    pub(crate) pair: Ed25519KeyPair,
    /// The tree as published.
    pub(crate) edge: Edge,
    pub(crate) current: Checkpoint,
}

impl Publisher {
    /// Publishes a checkpoint of everything durable, if the log grew.
    pub(crate) fn publish(&mut self, shared: &Shared) -> Result<Checkpoint, LedgerError> {
        if let Some(stopped) = shared.stopped() {
            return Err(stopped);
        }
        self.publish_grown(shared).map_err(|error| {
            let ours = |path: &PathBuf| path.starts_with(&shared.config.dir);
            match &error {
                // A full disk passes, and a lock out of reach is for people to see to: the leaves
                // themselves are safe. Everything else means that they may not be.
                LedgerError::Io { full: true, .. } => error,
                LedgerError::Io { path, .. } if !ours(path) => error,
                _ => shared.stop(&error),
            }
        })
    }

    fn publish_grown(&mut self, shared: &Shared) -> Result<Checkpoint, LedgerError> {
        let (size, root) = shared.durable();
        // Tiles that a start could not use are written again even when nothing grew.
        if size == self.current.size && size == self.edge.size() {
            return Ok(self.current.clone());
        }
        let dir = &shared.config.dir;
        let mut edge = self.edge.clone();
        let mut tiles = TileWriter::new(&*self.disk, dir);
        let mut filled: Vec<TileName> = Vec::new();
        let mut scan = shared.segments.scan(edge.size(), size);
        while let Some((_, leaf)) = scan.step()? {
            edge.push(&leaf, |name, bytes| {
                filled.push(name);
                tiles.write(name, bytes)
            })?;
        }
        edge.partials(|name, bytes| tiles.write(name, bytes))?;
        tiles.sync()?;
        if edge.frontier().root() != root {
            let why = "what was written does not read back: the disk changed it";
            return Err(LedgerError::damaged(&dir.join("seg"), 0, why));
        }
        let next = Checkpoint::sign(&self.key, &self.pair, size, root);
        self.lock.swap(&next)?;
        self.edge = edge;
        self.current = next;
        self.show(&dir.join("checkpoint"))?;
        let tiles = TileWriter::new(&*self.disk, dir);
        filled.into_iter().try_for_each(|name| tiles.drop_partials(name))?;
        Ok(self.current.clone())
    }

    /// Puts the checkpoint of the lock where everyone reads it.
    pub(crate) fn show(&self, path: &std::path::Path) -> Result<(), LedgerError> {
        let note = self.current.note.as_bytes();
        let shown = read_small(&*self.disk, path).at("read", path)?;
        if shown.as_deref() == Some(note) {
            return Ok(());
        }
        replace_small(&*self.disk, path, note).at("write", path)
    }
}

/// Publishes on a timer until told to stop.
pub(crate) struct Timer {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Timer {
    pub(crate) fn spawn(
        shared: Arc<Shared>,
        publisher: Arc<Mutex<Publisher>>,
    ) -> Result<Self, LedgerError> {
        let stop: Arc<(Mutex<bool>, Condvar)> = Arc::default();
        let Some(every) = shared.config.checkpoint_every else {
            return Ok(Self { stop, thread: None });
        };
        let dir = shared.config.dir.clone();
        let told = Arc::clone(&stop);
        let run = move || {
            while !wait(&told, every) {
                tick(&shared, &publisher);
            }
        };
        let thread = thread::Builder::new().name("ledger-publish".into()).spawn(run);
        Ok(Self { stop, thread: Some(thread.at("start the publisher of", &dir)?) })
    }

    pub(crate) fn stop(self) {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.1.notify_all();
        if let Some(thread) = self.thread {
            let _ = thread.join();
        }
    }
}

/// True when told to stop, false after the time.
fn wait(told: &(Mutex<bool>, Condvar), every: Duration) -> bool {
    let guard = told.0.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = told.1.wait_timeout_while(guard, every, |stop| !*stop);
    *waited.unwrap_or_else(PoisonError::into_inner).0
}

fn tick(shared: &Shared, publisher: &Mutex<Publisher>) {
    if shared.stopped().is_some() {
        return;
    }
    if shared.is_full() {
        shared.queue.probe();
    }
    let mut publisher = publisher.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(error) = publisher.publish(shared) {
        let origin = &shared.config.origin;
        tracing::error!(%origin, %error, "could not publish a checkpoint");
    }
}
