//! What a start reads from files that anyone may have written, as one function for fuzzing.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, RealDisk};
use crate::error::LedgerError;
use crate::frame;
use crate::leaf::Leaf;
use crate::note::{Checkpoint, VerifyingKey};
use crate::scan::scan;
use crate::series::Series;
use crate::sidecar::SealedFrame;

/// A segment in memory that cannot be written.
struct Bytes(Vec<u8>);

fn read_only() -> io::Error {
    io::Error::from(io::ErrorKind::PermissionDenied)
}

impl DiskFile for Bytes {
    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
        into.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        Ok(into.len().min(from.len()))
    }

    fn sync(&self) -> io::Result<()> {
        Err(read_only())
    }

    fn set_bytes(&self, _: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

/// Reads `data` as the first segment of the log `fuzz`, as a start does, and as a note and a sidecar
/// frame. Returns where each accepted leaf's frame begins. Must never panic, and never accept a
/// frame whose checksum is wrong.
pub fn fuzz_recovery(data: &[u8]) -> Result<Vec<u64>, LedgerError> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let series = Series::segments(&disk, Path::new("fuzz"), "fuzz");
    let file: Arc<dyn DiskFile> = Arc::new(Bytes(data.to_vec()));
    let mut offsets = Vec::new();
    let scanned = scan(&series, 0, &file, |found| {
        // Whether it reads as a leaf does not matter here; that it never panics does.
        let _ = Leaf::parse(found.index, found.bytes);
        offsets.push(found.offset);
        Ok(())
    })?;
    frame::tail(&*file, Path::new("fuzz"), scanned.end)?;
    drop(SealedFrame::read(data));
    if let (Ok(text), Ok(key)) = (std::str::from_utf8(data), VerifyingKey::new("fuzz", [3; 32])) {
        let _ = Checkpoint::open(text, &key);
        let _ = text.parse::<VerifyingKey>();
        let _ = crate::check_proof(text, b"leaf", &key);
    }
    Ok(offsets)
}
