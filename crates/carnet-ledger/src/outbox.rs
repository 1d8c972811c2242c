//! Which outbox positions are already written.

use std::collections::BTreeMap;

use crate::entry::OutboxPosition;
use crate::error::LedgerError;
use crate::reader::Segments;
use crate::series::OutboxMark;

/// How many of the last positions are kept in memory; older ones are looked up on disk.
const RECENT_MAX: usize = 65_536;

/// The positions written so far.
#[derive(Default)]
pub(crate) struct Outbox {
    last: Option<OutboxMark>,
    recent: BTreeMap<u64, u64>,
}

impl Outbox {
    /// What a segment's header says was written before it.
    pub(crate) fn begin(&mut self, last: Option<OutboxMark>) {
        self.last = last;
    }

    pub(crate) fn last(&self) -> Option<OutboxMark> {
        self.last
    }

    /// A position was written as this leaf.
    pub(crate) fn wrote(&mut self, position: OutboxPosition, index: u64) {
        let OutboxPosition { seq, revision } = position;
        self.last = Some(OutboxMark { seq, revision, index });
        self.recent.insert(seq, index);
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_first();
        }
    }

    /// The leaf that already holds this position; `None` when it is new. A position that was passed
    /// over is refused: acknowledging it would lose the record.
    pub(crate) fn find(
        &self,
        position: OutboxPosition,
        segments: &Segments,
    ) -> Result<Option<u64>, LedgerError> {
        let seq = position.seq;
        let Some(last) = self.last.filter(|last| seq <= last.seq) else { return Ok(None) };
        if seq == last.seq {
            return Ok(Some(last.index));
        }
        if let Some(index) = self.recent.get(&seq) {
            return Ok(Some(*index));
        }
        let oldest = self.recent.first_key_value().map(|(seq, _)| *seq);
        if oldest.is_none_or(|oldest| seq < oldest)
            && let Some(index) = segments.find_outbox(seq)?
        {
            return Ok(Some(index));
        }
        Err(LedgerError::OutboxOrder { seq, last: last.seq })
    }
}
