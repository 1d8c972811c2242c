//! A disk in memory for tests: it forgets what was not synced, tears writes, fails syncs, is full.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile, Hold};

/// The unit that a write is torn into at a crash.
const SECTOR_BYTES: usize = 512;

/// A disk that keeps, over a crash, only what was synced. Clones are the same disk.
#[derive(Clone, Default)]
pub struct ForgetfulDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: BTreeMap<u64, Content>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    name_changes: Vec<NameChange>,
    dirs: BTreeSet<PathBuf>,
    held: BTreeSet<PathBuf>,
    files_made: u64,
    operations: u64,
    crash_at: Option<u64>,
    crashed: bool,
    syncs_until_failure: Option<u64>,
    capacity: Option<u64>,
}

#[derive(Default, Clone)]
struct Content {
    current: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Clone)]
enum NameChange {
    Set(PathBuf, u64),
    Remove(PathBuf),
}

impl NameChange {
    fn path(&self) -> &Path {
        match self {
            Self::Set(path, _) | Self::Remove(path) => path,
        }
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Set(path, file) => drop(names.insert(path, file)),
            Self::Remove(path) => drop(names.remove(&path)),
        }
    }
}

fn write(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    let end = at + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    if let Some(into) = bytes.get_mut(at..end) {
        into.copy_from_slice(new);
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, new) => write(bytes, *at, new),
            Self::Length(length) => bytes.resize(*length, 0),
        }
    }
}

/// A small generator: tests must repeat (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % sides.max(1)
    }
}

impl ForgetfulDisk {
    /// An empty disk that works.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many changing operations there were.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// The machine stops when it has made this many more changing operations; the last one may be
    /// torn. Everything fails from then on.
    pub fn crash_after(&self, operations: u64) {
        let mut state = self.state();
        state.crash_at = Some(state.operations + operations);
    }

    /// Whether the machine has stopped.
    pub fn is_crashed(&self) -> bool {
        self.state().crashed
    }

    /// The disk after a power loss. With `torn = None` all that was not synced is gone; with a
    /// seed, any part of it may have reached the disk, in pieces.
    pub fn after_power_loss(&self, torn: Option<u64>) -> Self {
        let state = self.state();
        let mut dice = torn.map(Dice);
        let mut names = state.durable_names.clone();
        if let Some(dice) = &mut dice {
            let kept = dice.roll(state.name_changes.len() as u64 + 1) as usize;
            state.name_changes.iter().take(kept).for_each(|change| {
                change.clone().apply(&mut names);
            });
        }
        let keep = |content: &Content| {
            let mut durable = content.durable.clone();
            if let Some(dice) = &mut dice {
                content.unsynced.iter().for_each(|change| tear(change, &mut durable, dice));
            }
            Content { current: durable.clone(), durable, unsynced: Vec::new() }
        };
        let mut keep = keep;
        let files = state.files.iter().map(|(id, content)| (*id, keep(content))).collect();
        let next = State {
            files,
            durable_names: names.clone(),
            names,
            dirs: state.dirs.clone(),
            files_made: state.files_made,
            capacity: state.capacity,
            ..State::default()
        };
        Self(Arc::new(Mutex::new(next)))
    }

    /// The disk after the process alone died: nothing is lost yet, and nothing more is synced.
    pub fn after_kill(&self) -> Self {
        let state = self.state();
        let next = State {
            files: state.files.clone(),
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            name_changes: state.name_changes.clone(),
            dirs: state.dirs.clone(),
            files_made: state.files_made,
            capacity: state.capacity,
            ..State::default()
        };
        Self(Arc::new(Mutex::new(next)))
    }

    /// The `n`-th file sync from now fails (1 is the next), and what it should have made durable is
    /// lost.
    pub fn fail_sync(&self, n: u64) {
        self.state().syncs_until_failure = Some(n);
    }

    /// Limits the bytes of all files together.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// The bytes of all files together.
    pub fn used_bytes(&self) -> u64 {
        self.state().used()
    }

    /// The paths of all files.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state().names.keys().cloned().collect()
    }

    /// A file's bytes.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        let file = state.names.get(path)?;
        state.files.get(file).map(|content| content.current.clone())
    }

    /// Replaces a file's bytes durably, as someone with the disk in his hands could.
    pub fn overwrite(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        state.files_made += 1;
        let id = state.files_made;
        let content =
            Content { current: bytes.to_vec(), durable: bytes.to_vec(), unsynced: Vec::new() };
        state.files.insert(id, content);
        state.names.insert(path.to_path_buf(), id);
        state.durable_names.insert(path.to_path_buf(), id);
    }
}

/// Applies an unsynced change the way a crash may: not, whole, or in pieces.
fn tear(change: &Change, bytes: &mut Vec<u8>, dice: &mut Dice) {
    match change {
        Change::Length(_) => {
            if dice.roll(2) == 0 {
                change.apply(bytes);
            }
        }
        Change::Write(at, new) => {
            let mut offset = *at;
            for piece in new.chunks(SECTOR_BYTES) {
                if dice.roll(2) == 0 {
                    write(bytes, offset, piece);
                }
                offset += piece.len();
            }
        }
    }
}

fn crashed() -> io::Error {
    io::Error::other("the machine crashed")
}

impl State {
    /// Counts a changing operation; true when the machine stops with it.
    fn step(&mut self) -> io::Result<bool> {
        if self.crashed {
            return Err(crashed());
        }
        self.operations += 1;
        self.crashed = self.crash_at.is_some_and(|at| self.operations >= at);
        Ok(self.crashed)
    }

    fn alive(&self) -> io::Result<()> {
        if self.crashed { Err(crashed()) } else { Ok(()) }
    }

    fn used(&self) -> u64 {
        let length = |file: &u64| self.files.get(file).map_or(0, |content| content.current.len());
        self.names.values().map(|file| length(file) as u64).sum()
    }

    fn rename(&mut self, change: NameChange) {
        change.clone().apply(&mut self.names);
        self.name_changes.push(change);
    }

    fn change(&mut self, file: u64, change: Change) -> io::Result<()> {
        let stops = self.step()?;
        let used = self.used();
        let content = self.files.get_mut(&file).ok_or_else(crashed)?;
        let length = match &change {
            Change::Write(at, new) => at + new.len(),
            Change::Length(length) => *length,
        };
        let growth = length.saturating_sub(content.current.len()) as u64;
        if growth > 0 && self.capacity.is_some_and(|capacity| used + growth > capacity) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        change.apply(&mut content.current);
        content.unsynced.push(change);
        if stops { Err(crashed()) } else { Ok(()) }
    }

    fn sync(&mut self, file: u64) -> io::Result<()> {
        if self.step()? {
            return Err(crashed());
        }
        let fails = match &mut self.syncs_until_failure {
            Some(left) => {
                *left = left.saturating_sub(1);
                *left == 0
            }
            None => false,
        };
        if fails {
            self.syncs_until_failure = None;
        }
        let content = self.files.get_mut(&file).ok_or_else(crashed)?;
        let unsynced = std::mem::take(&mut content.unsynced);
        if fails {
            return Err(io::Error::other("the disk could not write"));
        }
        unsynced.iter().for_each(|change| change.apply(&mut content.durable));
        Ok(())
    }
}

struct ForgetfulFile {
    disk: ForgetfulDisk,
    id: u64,
}

impl DiskFile for ForgetfulFile {
    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let now = self.bytes()?;
        self.disk.state().change(self.id, Change::Length(now.max(bytes) as usize))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.state().change(self.id, Change::Write(offset as usize, bytes.to_vec()))
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        state.alive()?;
        let content = state.files.get(&self.id).ok_or_else(crashed)?;
        let from = content.current.get(offset as usize..).unwrap_or_default();
        into.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        Ok(into.len().min(from.len()))
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.state().sync(self.id)
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.disk.state().change(self.id, Change::Length(bytes as usize))
    }

    fn bytes(&self) -> io::Result<u64> {
        let state = self.disk.state();
        state.alive()?;
        state.files.get(&self.id).map(|content| content.current.len() as u64).ok_or_else(crashed)
    }
}

struct ForgetfulHold {
    disk: ForgetfulDisk,
    path: PathBuf,
}

impl Hold for ForgetfulHold {}

impl Drop for ForgetfulHold {
    fn drop(&mut self) {
        self.disk.state().held.remove(&self.path);
    }
}

impl Disk for ForgetfulDisk {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        state.dirs.extend(path.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        if state.step()? {
            return Err(crashed());
        }
        state.files_made += 1;
        let id = state.files_made;
        state.files.insert(id, Content::default());
        state.rename(NameChange::Set(path.to_path_buf(), id));
        Ok(Arc::new(ForgetfulFile { disk: self.clone(), id }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state();
        state.alive()?;
        let id = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(ForgetfulFile { disk: self.clone(), id }))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.step()? {
            return Err(crashed());
        }
        let id = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.rename(NameChange::Set(to.to_path_buf(), id));
        state.rename(NameChange::Remove(from.to_path_buf()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.step()? {
            return Err(crashed());
        }
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.rename(NameChange::Remove(path.to_path_buf()));
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.step()? {
            return Err(crashed());
        }
        let inside: Vec<PathBuf> =
            state.names.keys().filter(|name| name.starts_with(path)).cloned().collect();
        inside.into_iter().for_each(|name| state.rename(NameChange::Remove(name)));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.step()? {
            return Err(crashed());
        }
        let changes = std::mem::take(&mut state.name_changes);
        for change in changes {
            if change.path().parent() == Some(path) {
                change.apply(&mut state.durable_names);
            } else {
                state.name_changes.push(change);
            }
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.alive()?;
        if !state.dirs.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state.names.keys().filter(|name| name.parent() == Some(path));
        let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into());
        Ok(inside.filter_map(name).collect())
    }

    fn hold(&self, path: &Path) -> io::Result<Box<dyn Hold>> {
        let mut state = self.state();
        state.alive()?;
        if !state.held.insert(path.to_path_buf()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(ForgetfulHold { disk: self.clone(), path: path.to_path_buf() }))
    }
}
