//! Reading a segment from its beginning, whatever its bytes are.

use std::path::Path;
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::error::LedgerError;
use crate::frame::{self, Frames, Step};
use crate::series::{Header, Series};

/// One leaf as a scan finds it.
pub(crate) struct Found<'a> {
    pub(crate) index: u64,
    pub(crate) offset: u64,
    /// The byte at which its batch begins.
    pub(crate) batch: u64,
    pub(crate) bytes: &'a [u8],
}

/// How far a segment reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scanned {
    pub(crate) header: Option<Header>,
    /// The index after the last leaf.
    pub(crate) next: u64,
    /// The byte after the last good frame.
    pub(crate) end: u64,
    /// Index and byte at which the last batch begins.
    pub(crate) batch: Option<(u64, u64)>,
    /// What stands at `end`, if it is not the unwritten rest.
    pub(crate) bad: Option<&'static str>,
}

/// Reads the frames of the segment `number` in order and shows every leaf.
pub(crate) fn scan(
    series: &Series,
    number: u64,
    file: &Arc<dyn DiskFile>,
    mut show: impl FnMut(Found<'_>) -> Result<(), LedgerError>,
) -> Result<Scanned, LedgerError> {
    let path = series.path(number);
    let mut out = Scanned { header: None, next: number, end: 0, batch: None, bad: None };
    let mut frames = Frames::new(file, &path, 0);
    loop {
        let (kind, content, offset) = match frames.step()? {
            Step::Frame { kind, content, offset } => (kind, content, offset),
            Step::End { .. } => return Ok(out),
            Step::Bad { why, .. } => return Ok(Scanned { bad: Some(why), ..out }),
        };
        let why = match (kind, &out.header) {
            (frame::HEADER, None) => {
                out.header = series.read_header(number, content);
                out.header.is_none().then_some("the header of another log or segment")
            }
            (frame::BATCH, Some(_)) if content == out.next.to_be_bytes() => {
                out.batch = Some((out.next, offset));
                None
            }
            (frame::BATCH, Some(_)) => Some("a batch that does not follow"),
            (frame::LEAF, Some(_)) if let Some((_, batch)) = out.batch => {
                show(Found { index: out.next, offset, batch, bytes: content })?;
                out.next += 1;
                None
            }
            _ => Some("a frame out of place"),
        };
        if why.is_some() {
            return Ok(Scanned { bad: why, ..out });
        }
        out.end = offset + (frame::HEAD_BYTES + content.len()) as u64;
    }
}

/// Reads the header alone.
pub(crate) fn header(series: &Series, number: u64) -> Result<Option<Header>, LedgerError> {
    let file = series.open_read(number)?;
    let path: &Path = &series.path(number);
    Ok(match frame::read_one(&file, path, 0)? {
        Some((frame::HEADER, content)) => series.read_header(number, &content),
        _ => None,
    })
}
