//! Reading leaves back from the segments, while they are being written.

use std::sync::{Arc, PoisonError, RwLock};

use crate::error::LedgerError;
use crate::frame::{self, Frames, Step};
use crate::leaf::Leaf;
use crate::scan;
use crate::series::{OutboxMark, Series};

/// Every how many leaves of a segment the place is remembered.
const SPARSE_EVERY: u64 = 32;

/// The segments of a log: which leaves each holds, and roughly where.
pub(crate) struct Segments {
    series: Series,
    known: RwLock<Vec<Known>>,
}

/// What is known of one segment.
pub(crate) struct Known {
    pub(crate) first: u64,
    /// The byte of every 32nd leaf; `None` until somebody looks for one.
    pub(crate) sparse: Option<Vec<u64>>,
}

impl Known {
    /// A leaf was seen, in order.
    pub(crate) fn saw(&mut self, index: u64, offset: u64) {
        if index.saturating_sub(self.first).is_multiple_of(SPARSE_EVERY)
            && let Some(sparse) = &mut self.sparse
        {
            sparse.push(offset);
        }
    }
}

/// Where a scan is to begin.
struct Place {
    segment: u64,
    index: u64,
    offset: u64,
}

impl Segments {
    pub(crate) fn new(series: Series, known: Vec<Known>) -> Self {
        Self { series, known: RwLock::new(known) }
    }

    /// A segment was begun.
    pub(crate) fn begin(&self, first: u64) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        // A segment without leaves may be replaced by one of the same first leaf.
        known.retain(|segment| segment.first != first);
        known.push(Known { first, sparse: Some(Vec::new()) });
    }

    /// Leaves were written to the last segment, in order.
    pub(crate) fn wrote(&self, places: &[(u64, u64)]) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(segment) = known.last_mut() {
            places.iter().for_each(|(index, offset)| segment.saw(*index, *offset));
        }
    }

    /// The leaves from `from` to `to`, which must be durable.
    pub(crate) fn scan(self: &Arc<Self>, from: u64, to: u64) -> Scan {
        Scan { segments: Arc::clone(self), next: from, to, open: None, segment: None }
    }

    fn place(&self, index: u64) -> Result<Place, LedgerError> {
        let first = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            let after = known.partition_point(|segment| segment.first <= index);
            let none = || LedgerError::NoSuchLeaf { index, size: 0 };
            let segment = after.checked_sub(1).and_then(|at| known.get(at)).ok_or_else(none)?;
            if let Some(sparse) = &segment.sparse {
                return Ok(near(segment.first, sparse, index));
            }
            segment.first
        };
        // Only segments that grow no more come without their places.
        let mut seen = Known { first, sparse: Some(Vec::new()) };
        scan::scan(&self.series, first, &self.series.open_read(first)?, |found| {
            seen.saw(found.index, found.offset);
            Ok(())
        })?;
        let place = near(first, seen.sparse.as_deref().unwrap_or_default(), index);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(segment) = known.iter_mut().find(|segment| segment.first == first) {
            *segment = seen;
        }
        Ok(place)
    }

    /// The leaf that holds an outbox position, looked up on disk.
    pub(crate) fn find_outbox(&self, seq: u64) -> Result<Option<u64>, LedgerError> {
        let numbers: Vec<u64> = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            known.iter().map(|segment| segment.first).collect()
        };
        // Headers name the last position before them, so they are in order of it.
        let (mut low, mut high) = (0, numbers.len());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let Some(number) = numbers.get(middle) else { return Ok(None) };
            let mark: Option<OutboxMark> =
                scan::header(&self.series, *number)?.and_then(|header| header.outbox);
            match mark {
                Some(mark) if mark.seq == seq => return Ok(Some(mark.index)),
                Some(mark) if mark.seq > seq => high = middle,
                _ => low = middle,
            }
        }
        let Some(&number) = numbers.get(low) else { return Ok(None) };
        let mut found = None;
        scan::scan(&self.series, number, &self.series.open_read(number)?, |leaf| {
            let parsed = Leaf::parse(leaf.index, leaf.bytes)?;
            if parsed.outbox().is_some_and(|position| position.seq == seq) {
                found = Some(leaf.index);
            }
            Ok(())
        })?;
        Ok(found)
    }
}

fn near(first: u64, sparse: &[u64], index: u64) -> Place {
    let step = ((index - first) / SPARSE_EVERY) as usize;
    let step = step.min(sparse.len().saturating_sub(1));
    match sparse.get(step) {
        Some(offset) => {
            Place { segment: first, index: first + step as u64 * SPARSE_EVERY, offset: *offset }
        }
        None => Place { segment: first, index: first, offset: 0 },
    }
}

/// Leaves in order, read with bounded memory.
pub(crate) struct Scan {
    segments: Arc<Segments>,
    next: u64,
    to: u64,
    open: Option<(Frames, u64)>,
    segment: Option<u64>,
}

impl Scan {
    /// The next leaf's index and bytes; `None` behind the last.
    pub(crate) fn step(&mut self) -> Result<Option<(u64, Vec<u8>)>, LedgerError> {
        while self.next < self.to {
            let (mut frames, mut index) = match self.open.take() {
                Some(open) => open,
                None => self.enter()?,
            };
            let path = frames.path().to_path_buf();
            match frames.step()? {
                Step::Frame { kind: frame::LEAF, content, .. } => {
                    let found = (index == self.next).then(|| content.to_vec());
                    index += 1;
                    self.open = Some((frames, index));
                    if let Some(bytes) = found {
                        self.next += 1;
                        return Ok(Some((index - 1, bytes)));
                    }
                }
                Step::Frame { .. } => self.open = Some((frames, index)),
                Step::End { .. } if index == self.next => {}
                Step::End { offset } => {
                    let why = format!("leaf {} should be in this segment", self.next);
                    return Err(LedgerError::damaged(&path, offset, why));
                }
                Step::Bad { offset, why } => return Err(LedgerError::damaged(&path, offset, why)),
            }
        }
        Ok(None)
    }

    fn enter(&mut self) -> Result<(Frames, u64), LedgerError> {
        let place = self.segments.place(self.next)?;
        let series = &self.segments.series;
        let path = series.path(place.segment);
        if self.segment.replace(place.segment) == Some(place.segment) {
            let why = format!("it ends before leaf {}", self.next);
            return Err(LedgerError::damaged(&path, place.offset, why));
        }
        let file = series.open_read(place.segment)?;
        Ok((Frames::new(&file, &path, place.offset), place.index))
    }
}
