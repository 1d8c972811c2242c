//! Verifying a log from its files, without a running ledger and without its secrets.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, RealDisk, read_small};
use crate::error::{IoContext, LedgerError};
use crate::frame;
use crate::leaf::Leaf;
use crate::lock::{lock_path, open_note};
use crate::note::{Checkpoint, VerifyingKey};
use crate::recovery::frame_index;
use crate::scan::{self, Scanned};
use crate::series::Series;
use crate::sidecar::SealedFrame;
use crate::tiles::{Edge, TILE_WIDTH, TileName, next_entry, read_either};

/// Most findings a report lists; more are counted.
pub const FINDINGS_MAX: usize = 1_000;

/// What a finding means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// Worth knowing; nothing is wrong.
    Note,
    /// Something that should be there is not, or a write was never finished.
    Incomplete,
    /// Something is not what was signed or written.
    Tampered,
}

/// One thing a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it means.
    pub problem: Problem,
    /// The file.
    pub path: PathBuf,
    /// What was found.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = match self.problem {
            Problem::Note => "note",
            Problem::Incomplete => "incomplete",
            Problem::Tampered => "tampered",
        };
        write!(f, "{problem}: `{}`: {}", self.path.display(), self.what)
    }
}

/// The result of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything signed is there and unchanged.
    Whole,
    /// Something was changed or forged.
    Tampered,
    /// Nothing was changed, something is missing.
    Incomplete,
}

impl Verdict {
    /// The exit code of a program that reports it: 0 whole, 1 tampered, 2 incomplete. 3 is for
    /// wrong usage.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Whole => 0,
            Self::Tampered => 1,
            Self::Incomplete => 2,
        }
    }
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Leaves read, signed or not.
    pub leaves: u64,
    /// The published checkpoint, if its signature is right.
    pub checkpoint: Option<Checkpoint>,
    /// Whether a running ledger held the log meanwhile.
    pub live: bool,
    /// What was found, at most [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// How many findings are not listed.
    pub unlisted: u64,
    /// The sum of it.
    pub verdict: Verdict,
}

/// Verifies the log in `dir`: every segment frame, leaf, tile and entry bundle, the sidecar's
/// frames, the root at the checkpoint's size, the checkpoint's signature, and with `lock_dir` that
/// nothing signed later was lost. Sealed values are not opened: that takes the ledger's keys.
pub fn verify(dir: &Path, lock_dir: Option<&Path>, key: &VerifyingKey) -> Report {
    verify_on(&(Arc::new(RealDisk) as Arc<dyn Disk>), dir, lock_dir, key)
}

/// [`verify`] on any disk.
pub fn verify_on(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    lock_dir: Option<&Path>,
    key: &VerifyingKey,
) -> Report {
    let mut check = Check {
        disk: Arc::clone(disk),
        dir: dir.to_path_buf(),
        segments: Series::segments(disk, dir, key.origin()),
        sidecar: Series::sidecar(disk, dir, key.origin()),
        sidecar_file: None,
        checkpoint: None,
        lock: None,
        edge: Edge::default(),
        live: is_live(&**disk, dir),
        findings: Vec::new(),
        unlisted: 0,
    };
    // In this order: a running ledger swaps the lock before it shows the checkpoint.
    check.checkpoint = check.note(&dir.join("checkpoint"), key);
    if let Some(lock_dir) = lock_dir {
        check.lock = check.note(&lock_path(lock_dir, key.origin()), key);
    }
    check.compare_notes();
    if let Err(error) = check.read_leaves() {
        check.failed(error);
    }
    check.report()
}

fn is_live(disk: &dyn Disk, dir: &Path) -> bool {
    let path = dir.join("LOCK");
    // Opened first, so that a copy without the file stays as it is.
    disk.open_read(&path).is_ok()
        && matches!(disk.hold(&path), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

struct Check {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segments: Series,
    sidecar: Series,
    sidecar_file: Option<(u64, Arc<dyn DiskFile>)>,
    checkpoint: Option<Checkpoint>,
    lock: Option<Checkpoint>,
    edge: Edge,
    live: bool,
    findings: Vec<Finding>,
    unlisted: u64,
}

impl Check {
    fn find(&mut self, problem: Problem, path: &Path, what: impl Into<String>) {
        if self.findings.len() < FINDINGS_MAX {
            let (path, what) = (path.to_path_buf(), what.into());
            self.findings.push(Finding { problem, path, what });
        } else {
            self.unlisted += 1;
            // The worst one must be among those that are listed.
            if let Some(last) = self.findings.last_mut() {
                last.problem = last.problem.max(problem);
            }
        }
    }

    fn failed(&mut self, error: LedgerError) {
        let dir = self.dir.clone();
        let path = match &error {
            LedgerError::Io { path, .. } | LedgerError::Damaged { path, .. } => path,
            _ => &dir,
        };
        let problem = match &error {
            LedgerError::Io { .. } => Problem::Incomplete,
            _ => Problem::Tampered,
        };
        self.find(problem, &path.clone(), error.to_string());
    }

    /// Reads a signed note.
    fn note(&mut self, path: &Path, key: &VerifyingKey) -> Option<Checkpoint> {
        match read_small(&*self.disk, path).at("read", path) {
            Ok(Some(bytes)) => match open_note(&bytes, path, key) {
                Ok(note) => return Some(note),
                Err(error) => self.find(Problem::Tampered, path, error.to_string()),
            },
            Ok(None) => self.find(Problem::Incomplete, path, "the signed checkpoint is missing"),
            Err(error) => self.failed(error),
        }
        None
    }

    fn compare_notes(&mut self) {
        let (Some(shown), Some(lock)) = (&self.checkpoint, &self.lock) else { return };
        let path = self.dir.join("checkpoint");
        let (problem, what) = match shown.size.cmp(&lock.size) {
            std::cmp::Ordering::Equal if shown.root == lock.root => return,
            std::cmp::Ordering::Equal => {
                (Problem::Tampered, "checkpoint and lock sign different roots for one size")
            }
            std::cmp::Ordering::Less => (
                Problem::Note,
                "the lock is ahead: a publication was not finished, or is under way",
            ),
            std::cmp::Ordering::Greater => {
                (Problem::Incomplete, "the lock is older than the checkpoint: it was set back")
            }
        };
        self.find(problem, &path, what);
    }

    /// The size of the newest signed checkpoint.
    fn signed(&self) -> u64 {
        let size = |note: &Option<Checkpoint>| note.as_ref().map_or(0, |note| note.size);
        size(&self.checkpoint).max(size(&self.lock))
    }

    fn read_leaves(&mut self) -> Result<(), LedgerError> {
        self.compare_roots();
        let numbers = match self.segments.numbers() {
            Ok(numbers) if !numbers.is_empty() => numbers,
            Ok(_) | Err(LedgerError::Io { .. }) => return self.read_bundles(),
            Err(error) => return Err(error),
        };
        for (i, number) in numbers.iter().enumerate() {
            let path = self.segments.path(*number);
            if *number != self.edge.size() {
                let what = format!("leaf {} should be where this segment begins", self.edge.size());
                self.find(Problem::Incomplete, &path, what);
                return Ok(());
            }
            if !self.read_segment(*number, i + 1 == numbers.len())? {
                return Ok(());
            }
        }
        if self.edge.size() < self.signed() {
            let what =
                format!("{} leaves were signed, {} are here", self.signed(), self.edge.size());
            let dir = self.segments.dir.clone();
            self.find(Problem::Incomplete, &dir, what);
        }
        Ok(())
    }

    /// Reads a segment; false when what follows it cannot be judged.
    fn read_segment(&mut self, number: u64, last: bool) -> Result<bool, LedgerError> {
        let path = self.segments.path(number);
        let file = self.segments.open_read(number)?;
        let series = self.segments.clone();
        let scanned = scan::scan(&series, number, &file, |found| {
            self.check_leaf(found.index, found.bytes, &path)
        })?;
        let tail = frame::tail(&*file, &path, scanned.end)?;
        let Scanned { next, end, bad, .. } = scanned;
        if scanned.header.is_none() {
            let what = bad.unwrap_or("the header is missing");
            self.find(Problem::Tampered, &path, format!("at byte {end}: {what}"));
            return Ok(false);
        }
        if tail.torn_bytes == 0 {
            return Ok(true);
        }
        let why = bad.unwrap_or("bytes behind the last record");
        let what = format!("at byte {end}, after leaf {next} (exclusive): {why}");
        let problem = if !last || next < self.signed() || tail.later_batch.is_some() {
            Problem::Tampered
        } else if self.live {
            Problem::Note
        } else {
            Problem::Incomplete
        };
        self.find(problem, &path, what);
        Ok(problem != Problem::Tampered)
    }

    fn check_leaf(&mut self, index: u64, bytes: &[u8], path: &Path) -> Result<(), LedgerError> {
        match Leaf::parse(index, bytes) {
            Ok(leaf) => self.check_sealed(&leaf)?,
            Err(error) => self.find(Problem::Tampered, path, error.to_string()),
        }
        let mut full: Vec<(TileName, Vec<u8>)> = Vec::new();
        self.edge.push(bytes, |name, bytes| {
            full.push((name, bytes.to_vec()));
            Ok::<_, LedgerError>(())
        })?;
        let published = self.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size);
        if self.edge.size() <= published {
            full.iter().try_for_each(|(name, bytes)| self.compare_tile(*name, bytes))?;
        }
        if self.edge.size() == published {
            let mut partial = Vec::new();
            self.edge.partials(|name, bytes| {
                partial.push((name, bytes.to_vec()));
                Ok::<_, LedgerError>(())
            })?;
            partial.iter().try_for_each(|(name, bytes)| self.compare_tile(*name, bytes))?;
        }
        self.compare_roots();
        Ok(())
    }

    /// Compares the root with every note of this size.
    fn compare_roots(&mut self) {
        let size = self.edge.size();
        let at = |note: &&Checkpoint| note.size == size;
        let notes: Vec<&Checkpoint> = self.checkpoint.iter().chain(&self.lock).filter(at).collect();
        if notes.is_empty() {
            return;
        }
        let root = self.edge.frontier().root();
        if notes.iter().any(|note| note.root != root) {
            let what = format!("the first {size} leaves do not have the signed root");
            let dir = self.dir.clone();
            self.find(Problem::Tampered, &dir, what);
        }
    }

    fn compare_tile(&mut self, name: TileName, bytes: &[u8]) -> Result<(), LedgerError> {
        let path = self.dir.join(name.path());
        match read_either(&*self.disk, &self.dir, name)? {
            None => self.find(Problem::Incomplete, &path, "the file is missing"),
            // A full file may stand for a partial one; then it must begin alike.
            Some(found) if found.starts_with(bytes) => {
                if found.len() != bytes.len() && name.width == TILE_WIDTH {
                    self.find(Problem::Tampered, &path, "the file is longer than it may be");
                }
            }
            Some(_) => {
                self.find(Problem::Tampered, &path, "the file differs from the leaves");
            }
        }
        Ok(())
    }

    fn check_sealed(&mut self, leaf: &Leaf) -> Result<(), LedgerError> {
        let Some(place) = leaf.sidecar() else {
            if !leaf.commitments().is_empty() {
                let what = format!("leaf {} does not say where its values lie", leaf.index);
                let dir = self.dir.clone();
                self.find(Problem::Tampered, &dir, what);
            }
            return Ok(());
        };
        let path = self.sidecar.path(place.file);
        let file = match self.sidecar_file(place.file) {
            Ok(file) => file,
            Err(error) => {
                let what = format!("the values of leaf {} are missing: {error}", leaf.index);
                self.find(Problem::Incomplete, &path, what);
                return Ok(());
            }
        };
        let found = frame::read_one(&file, &path, place.offset)?;
        let right = found.is_some_and(|(kind, content)| {
            let frame = SealedFrame::read(content.get(8..).unwrap_or_default());
            kind == frame::SEALED
                && frame_index(&content) == Some(leaf.index)
                && frame.is_some_and(|frame| belongs(&frame, leaf))
        });
        if !right {
            let problem = self.unsigned_problem(leaf.index);
            let what =
                format!("at byte {}: the values of leaf {} were changed", place.offset, leaf.index);
            self.find(problem, &path, what);
        }
        Ok(())
    }

    /// Segment and sidecar are synced side by side: at the end of a log that stopped, or is being
    /// written, the one may be there without the other. A start cuts such a leaf off.
    fn unsigned_problem(&self, index: u64) -> Problem {
        match (index < self.signed(), self.live) {
            (true, _) => Problem::Tampered,
            (false, true) => Problem::Note,
            (false, false) => Problem::Incomplete,
        }
    }

    /// Opens a sidecar file, or takes the one opened last.
    fn sidecar_file(&mut self, number: u64) -> std::io::Result<Arc<dyn DiskFile>> {
        match &self.sidecar_file {
            Some((open, file)) if *open == number => Ok(Arc::clone(file)),
            _ => {
                let file = self.disk.open_read(&self.sidecar.path(number))?;
                self.sidecar_file = Some((number, Arc::clone(&file)));
                Ok(file)
            }
        }
    }

    /// Reads the entry bundles of a published copy without segments.
    fn read_bundles(&mut self) -> Result<(), LedgerError> {
        let size = self.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size);
        if size == 0 {
            return Ok(());
        }
        let dir = self.segments.dir.clone();
        self.find(Problem::Note, &dir, "there are no segments; the entry bundles were read");
        let width = TILE_WIDTH as u64;
        for number in 0..size.div_ceil(width) {
            let name = TileName {
                level: None,
                number,
                width: (size - number * width).min(width) as usize,
            };
            let path = self.dir.join(name.path());
            let Some(bundle) = read_either(&*self.disk, &self.dir, name)? else {
                self.find(Problem::Incomplete, &path, "the entry bundle is missing");
                return Ok(());
            };
            let mut rest = bundle.as_slice();
            for at in 0..name.width as u64 {
                let Some(entry) = next_entry(&mut rest) else {
                    self.find(Problem::Tampered, &path, "the entry bundle is cut short");
                    return Ok(());
                };
                self.check_leaf(number * width + at, entry, &path)?;
            }
        }
        Ok(())
    }

    fn report(self) -> Report {
        let worst = self.findings.iter().map(|finding| finding.problem).max();
        let verdict = match worst {
            None | Some(Problem::Note) => Verdict::Whole,
            Some(Problem::Incomplete) => Verdict::Incomplete,
            Some(Problem::Tampered) => Verdict::Tampered,
        };
        Report {
            leaves: self.edge.size(),
            checkpoint: self.checkpoint,
            live: self.live,
            findings: self.findings,
            unlisted: self.unlisted,
            verdict,
        }
    }
}

/// Whether a frame holds the values that the leaf commits to, by its record and their names.
fn belongs(frame: &SealedFrame<'_>, leaf: &Leaf) -> bool {
    frame.kind == leaf.kind().as_str()
        && frame.id == leaf.id()
        && frame.fields.len() == leaf.commitments().len()
        && frame.fields.iter().all(|(name, _)| leaf.commitments().contains_key(*name))
}
