//! Opening a log: what is there, is it whole, and where does writing go on.

use std::sync::Arc;

use crate::config::LedgerConfig;
use crate::disk::Disk;
use crate::entry::SidecarPlace;
use crate::error::{IoContext, LedgerError};
use crate::frame::{self, Frames, Step, Tail};
use crate::leaf::Leaf;
use crate::merkle::{Frontier, leaf_hash};
use crate::note::Checkpoint;
use crate::outbox::Outbox;
use crate::reader::Known;
use crate::scan::{self, Found, Scanned};
use crate::series::{Series, Tip};
use crate::tiles::{Edge, TILE_WIDTH, TileName, read_tile};

/// A log read back.
pub(crate) struct Restored {
    pub(crate) edge: Edge,
    pub(crate) frontier: Frontier,
    pub(crate) outbox: Outbox,
    pub(crate) known: Vec<Known>,
    pub(crate) segment_tip: Tip,
    pub(crate) sidecar_tip: Tip,
    pub(crate) torn_bytes: u64,
    /// The tiles did not lead to the signed root; they were computed from the segments again.
    pub(crate) rebuilt: bool,
}

struct Recovery<'a> {
    disk: &'a Arc<dyn Disk>,
    config: &'a LedgerConfig,
    segments: Series,
    sidecar: Series,
    signed: &'a Checkpoint,
}

/// Where the last segment is cut.
struct Cut {
    /// Leaves from this index on are not kept.
    next: u64,
    end: u64,
    torn_bytes: u64,
}

/// Reads the log back, requires that it holds what was signed, and cuts an unfinished write off.
pub(crate) fn restore(
    disk: &Arc<dyn Disk>,
    config: &LedgerConfig,
    signed: &Checkpoint,
) -> Result<Restored, LedgerError> {
    let segments = Series::segments(disk, &config.dir, &config.origin);
    let sidecar = Series::sidecar(disk, &config.dir, &config.origin);
    Recovery { disk, config, segments, sidecar, signed }.run()
}

impl Recovery<'_> {
    fn run(&self) -> Result<Restored, LedgerError> {
        let mut numbers = self.segments.numbers()?;
        let mut fresh = None;
        if numbers.is_empty() {
            if self.signed.size > 0 {
                return Err(self.lost(0));
            }
            fresh = Some(self.segments.begin(0, self.config.segment_bytes, None)?);
            numbers.push(0);
        }
        let last = numbers.last().copied().unwrap_or_default();
        if numbers.first() != Some(&0) {
            let why = "the first segment is missing";
            return Err(LedgerError::damaged(&self.segments.path(0), 0, why));
        }
        let cut = self.find_cut(last)?;
        let (read, rebuilt) = self.read_any(&numbers, &cut)?;
        let segment_tip = match fresh {
            Some(tip) => tip,
            None => self.segment_tip(last, &cut)?,
        };
        let sidecar_tip = self.sidecar_tip(read.frontier.size())?;
        let Read { edge, frontier, outbox, known } = read;
        let torn_bytes = cut.torn_bytes;
        Ok(Restored {
            edge,
            frontier,
            outbox,
            known,
            segment_tip,
            sidecar_tip,
            torn_bytes,
            rebuilt,
        })
    }

    /// Reads on from the published tiles if they lead to the signed root, and everything if not;
    /// true when the tiles could not be used.
    fn read_any(&self, numbers: &[u64], cut: &Cut) -> Result<(Read, bool), LedgerError> {
        if let Some(edge) = self.edge_from_tiles()?
            && let Some(read) = self.read(numbers, edge, cut)?
        {
            return Ok((read, false));
        }
        let read = self.read(numbers, Edge::default(), cut)?.ok_or_else(|| self.changed())?;
        Ok((read, self.signed.size > 0))
    }

    fn lost(&self, leaves: u64) -> LedgerError {
        LedgerError::Lost { dir: self.config.dir.clone(), leaves, signed: self.signed.size }
    }

    fn changed(&self) -> LedgerError {
        LedgerError::Changed { dir: self.config.dir.clone(), signed: self.signed.size }
    }

    /// Finds where the last segment ends, and tells an unfinished write from damage: a batch is
    /// begun only after the one before is synced, so what lies before a batch was durable.
    fn find_cut(&self, last: u64) -> Result<Cut, LedgerError> {
        let path = self.segments.path(last);
        let file = self.segments.open_read(last)?;
        // The last batch: index, byte, and place in the sidecar of each of its leaves.
        let mut batch: (u64, Vec<(u64, u64, SidecarPlace)>) = (0, Vec::new());
        let scanned = scan::scan(&self.segments, last, &file, |found| {
            if found.batch != batch.0 {
                batch = (found.batch, Vec::new());
            }
            if let Some(place) = Leaf::parse(found.index, found.bytes)?.sidecar() {
                batch.1.push((found.index, found.offset, place));
            }
            Ok(())
        })?;
        if scanned.header.is_none() {
            return Err(LedgerError::damaged(&path, 0, "it has no header of this log"));
        }
        let Tail { torn_bytes, later_batch } = frame::tail(&*file, &path, scanned.end)?;
        if later_batch.is_some() {
            let why = scanned.bad.unwrap_or("zeros where records were durable");
            return Err(LedgerError::damaged(&path, scanned.end, why));
        }
        let mut cut = Cut { next: scanned.next, end: scanned.end, torn_bytes };
        for (index, offset, place) in batch.1.into_iter().filter(|at| at.0 >= self.signed.size) {
            // Segment and sidecar are synced side by side; a leaf whose values did not make it was
            // never acknowledged.
            if !holds(&self.sidecar, place, index)? {
                let torn_bytes = torn_bytes + scanned.end - offset;
                cut = Cut { next: index, end: offset, torn_bytes };
                break;
            }
        }
        Ok(cut)
    }

    /// The right edge of the signed tree from its tiles, if they lead to the signed root.
    fn edge_from_tiles(&self) -> Result<Option<Edge>, LedgerError> {
        let edge = Edge::load(&**self.disk, &self.config.dir, self.signed.size)?;
        Ok(edge.filter(|edge| edge.frontier().root() == self.signed.root))
    }

    /// Reads the segments from the one that holds the edge of `edge`. `None` when their leaves do
    /// not fit its tiles or do not lead to the signed root.
    fn read(&self, numbers: &[u64], edge: Edge, cut: &Cut) -> Result<Option<Read>, LedgerError> {
        let at = numbers.partition_point(|first| *first <= edge.size()).saturating_sub(1);
        let (older, newer) = numbers.split_at_checked(at).unwrap_or((&[], numbers));
        let mut read = Read {
            frontier: edge.frontier(),
            known: older.iter().map(|first| Known { first: *first, sparse: None }).collect(),
            outbox: Outbox::default(),
            edge,
        };
        let first = newer.first().copied().unwrap_or_default();
        read.outbox.begin(scan::header(&self.segments, first)?.and_then(|header| header.outbox));
        let mut tile = Vec::new();
        let mut fits = true;
        for (i, number) in newer.iter().enumerate() {
            let file = self.segments.open_read(*number)?;
            read.known.push(Known { first: *number, sparse: Some(Vec::new()) });
            let scanned = scan::scan(&self.segments, *number, &file, |found| {
                if found.index < cut.next {
                    fits &= self.take(&mut read, &found, &mut tile)?;
                }
                Ok(())
            })?;
            self.check_joint(*number, &scanned, newer.get(i + 1).copied())?;
        }
        if cut.next < self.signed.size {
            return Err(self.lost(cut.next));
        }
        Ok(Some(read).filter(|_| fits))
    }

    /// Takes a leaf in; false when it does not fit what was signed.
    fn take(
        &self,
        read: &mut Read,
        found: &Found<'_>,
        tile: &mut Vec<[u8; 32]>,
    ) -> Result<bool, LedgerError> {
        if let Some(known) = read.known.last_mut() {
            known.saw(found.index, found.offset);
        }
        if let Some(position) = Leaf::parse(found.index, found.bytes)?.outbox() {
            read.outbox.wrote(position, found.index);
        }
        let hash = leaf_hash(found.bytes);
        if found.index < read.edge.size() {
            return self.in_tile(found.index, &hash, tile);
        }
        read.frontier.push(hash);
        let signed = read.frontier.size() == self.signed.size;
        Ok(!signed || read.frontier.root() == self.signed.root)
    }

    /// A segment that is not the last must end where the next one begins.
    fn check_joint(
        &self,
        number: u64,
        scanned: &Scanned,
        follows: Option<u64>,
    ) -> Result<(), LedgerError> {
        let Some(next) = follows else { return Ok(()) };
        if scanned.bad.is_none() && scanned.next == next {
            return Ok(());
        }
        let why = scanned.bad.unwrap_or("the next segment does not follow");
        Err(LedgerError::damaged(&self.segments.path(number), scanned.end, why))
    }

    /// Whether a tile of the signed tree holds this leaf. `tile` keeps the last one read.
    fn in_tile(
        &self,
        index: u64,
        hash: &[u8; 32],
        tile: &mut Vec<[u8; 32]>,
    ) -> Result<bool, LedgerError> {
        let width = TILE_WIDTH as u64;
        let (number, at) = (index / width, (index % width) as usize);
        if at == 0 || tile.is_empty() {
            let width = (self.signed.size - number * width).min(width) as usize;
            let name = TileName { level: Some(0), number, width };
            *tile = read_tile(&**self.disk, &self.config.dir, name)?.unwrap_or_default();
        }
        Ok(tile.get(at) == Some(hash))
    }

    /// Opens the last segment for writing, without what was torn. It is synced even when nothing
    /// is cut: the process may have died between writing and syncing.
    fn segment_tip(&self, number: u64, cut: &Cut) -> Result<Tip, LedgerError> {
        let path = self.segments.path(number);
        let file = self.disk.open(&path).at("open", &path)?;
        if cut.torn_bytes > 0 {
            file.set_bytes(cut.end).at("cut", &path)?;
            match file.allocate(self.config.segment_bytes).at("set aside space for", &path) {
                Err(error) if !error.is_full() => return Err(error),
                _ => {}
            }
        }
        file.sync().at("sync", &path)?;
        self.disk.sync_dir(&self.segments.dir).at("sync", &self.segments.dir)?;
        let capacity = file.bytes().at("measure", &path)?;
        Ok(Tip { file, path, number, offset: cut.end, capacity })
    }

    /// Goes on in the last sidecar file if it ends cleanly, and in a new one if not: sealed values
    /// are never cut.
    fn sidecar_tip(&self, leaves: u64) -> Result<Tip, LedgerError> {
        let Some(number) = self.sidecar.numbers()?.last().copied() else {
            return self.sidecar.begin(0, self.config.segment_bytes, None);
        };
        let path = self.sidecar.path(number);
        let file = self.disk.open(&path).at("open", &path)?;
        file.sync().at("sync", &path)?;
        self.disk.sync_dir(&self.sidecar.dir).at("sync", &self.sidecar.dir)?;
        let mut frames = Frames::new(&file, &path, 0);
        let mut end = 0;
        let mut clean = true;
        while let Step::Frame { kind, content, offset } = frames.step()? {
            end = offset + (frame::HEAD_BYTES + content.len()) as u64;
            clean &= kind != frame::SEALED || frame_index(content).is_some_and(|at| at < leaves);
        }
        let torn_bytes = frame::tail(&*file, &path, end)?.torn_bytes;
        let capacity = file.bytes().at("measure", &path)?;
        if clean && torn_bytes == 0 {
            return Ok(Tip { file, path, number, offset: end, capacity });
        }
        match self.sidecar.begin(number + 1, self.config.segment_bytes, None) {
            Err(error) if error.is_full() => {
                // No room in this one; the committer finds some, or the reserve.
                Ok(Tip { file, path, number, offset: end + torn_bytes, capacity: 0 })
            }
            other => other,
        }
    }
}

struct Read {
    edge: Edge,
    frontier: Frontier,
    outbox: Outbox,
    known: Vec<Known>,
}

/// The index of the leaf a sidecar frame belongs to.
pub(crate) fn frame_index(content: &[u8]) -> Option<u64> {
    content.split_first_chunk::<8>().map(|(index, _)| u64::from_be_bytes(*index))
}

/// Whether the sidecar holds the values of this leaf.
fn holds(sidecar: &Series, place: SidecarPlace, index: u64) -> Result<bool, LedgerError> {
    let path = sidecar.path(place.file);
    if !sidecar.numbers()?.contains(&place.file) {
        return Ok(false);
    }
    let file = sidecar.open_read(place.file)?;
    let found = frame::read_one(&file, &path, place.offset)?;
    Ok(found.is_some_and(|(kind, content)| {
        kind == frame::SEALED && frame_index(&content) == Some(index)
    }))
}
