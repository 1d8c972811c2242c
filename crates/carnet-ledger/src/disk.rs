//! The disk as a seam: everything a ledger does to files goes through [`Disk`], so that tests can
//! use one that forgets what was not synced, runs full or fails a sync.

use std::io;
use std::path::Path;
use std::sync::Arc;

mod real;

pub use real::RealDisk;

/// One open file.
pub trait DiskFile: Send + Sync {
    /// Makes the file at least `bytes` long, with the space truly set aside. New bytes are zero.
    fn allocate(&self, bytes: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Reads into `into` from `offset`; returns how much, 0 at the end.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Makes the content durable. After an error nothing is known about what is on disk.
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file, or extends it with zeros.
    fn set_bytes(&self, bytes: u64) -> io::Result<()>;
    /// How long the file is.
    fn bytes(&self) -> io::Result<u64>;
}

/// An exclusive hold on a path; dropping it lets go.
pub trait Hold: Send + Sync {}

/// Files and directories as a ledger uses them.
pub trait Disk: Send + Sync {
    /// Makes a directory and those above it, durably.
    fn make_dir(&self, path: &Path) -> io::Result<()>;
    /// Opens a new, empty file for reading and writing; an old one of that name is emptied.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file that exists for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file that exists for reading.
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file another name, replacing what had it. Durable after [`Disk::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. Durable after [`Disk::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and what is in it; one that does not exist is fine.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, in no order.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Holds a path for this process alone; `WouldBlock` when another holds it.
    fn hold(&self, path: &Path) -> io::Result<Box<dyn Hold>>;
}

/// Longest small file (checkpoint, lock, key, tile) read in one piece.
pub(crate) const SMALL_FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Reads a small file whole; `None` when it does not exist.
pub(crate) fn read_small(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open_read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let bytes = file.bytes()?;
    if bytes > SMALL_FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is too long"));
    }
    let mut out = vec![0; usize::try_from(bytes).unwrap_or(0)];
    let read = read_full(&*file, &mut out, 0)?;
    out.truncate(read);
    Ok(Some(out))
}

/// Reads until `into` is full or the file ends.
pub(crate) fn read_full(file: &dyn DiskFile, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = into.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(read as u64))? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

/// Replaces a small file so that a reader, and a crash, see the old content or the new.
pub(crate) fn replace_small(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let no_parent = || io::Error::new(io::ErrorKind::InvalidInput, "a file needs a directory");
    let dir = path.parent().ok_or_else(no_parent)?;
    let mut name = path.file_name().ok_or_else(no_parent)?.to_os_string();
    name.push(".tmp");
    let tmp = dir.join(name);
    let file = disk.create(&tmp)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    disk.rename(&tmp, path)?;
    disk.sync_dir(dir)
}
