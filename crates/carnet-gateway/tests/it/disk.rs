//! A disk whose syncs wait at a gate, or fail.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use carnet_ledger::{Disk, DiskFile, Hold, RealDisk};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    Closed,
    Broken,
}

/// The real disk behind a gate. Clones are the same one.
#[derive(Clone)]
pub(crate) struct GatedDisk {
    gate: Arc<(Mutex<Gate>, Condvar)>,
}

impl GatedDisk {
    pub(crate) fn new() -> Self {
        Self { gate: Arc::new((Mutex::new(Gate::Open), Condvar::new())) }
    }

    pub(crate) fn set(&self, gate: Gate) {
        *self.gate.0.lock().unwrap() = gate;
        self.gate.1.notify_all();
    }

    fn pass(&self) -> io::Result<()> {
        let mut gate = self.gate.0.lock().unwrap();
        while *gate == Gate::Closed {
            gate = self.gate.1.wait(gate).unwrap();
        }
        match *gate {
            Gate::Broken => Err(io::Error::other("the disk is broken")),
            _ => Ok(()),
        }
    }

    fn gated(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(GatedFile { file, disk: self.clone() })
    }
}

struct GatedFile {
    file: Arc<dyn DiskFile>,
    disk: GatedDisk,
}

impl DiskFile for GatedFile {
    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.file.allocate(bytes)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }
    fn sync(&self) -> io::Result<()> {
        self.disk.pass()?;
        self.file.sync()
    }
    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.file.set_bytes(bytes)
    }
    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }
}

impl Disk for GatedDisk {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.make_dir(path)
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        RealDisk.create(path).map(|file| self.gated(file))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        RealDisk.open(path).map(|file| self.gated(file))
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
